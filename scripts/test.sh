#!/usr/bin/env bash
# Runs every test. Installs the software Vulkan driver (lavapipe) when no Vulkan driver is found.
set -euo pipefail
cd "$(dirname "$0")/.."

has_driver() {
  [ "$(uname)" != Linux ] && return 0
  ldconfig -p 2>/dev/null | grep -q 'libvulkan\.so\.1' || return 1
  local d
  for d in /usr/share/vulkan/icd.d /etc/vulkan/icd.d /usr/local/share/vulkan/icd.d; do
    compgen -G "$d/*.json" >/dev/null && return 0
  done
  [ -n "${VK_DRIVER_FILES:-}${VK_ICD_FILENAMES:-}" ]
}

if ! has_driver; then
  echo "No Vulkan driver found: installing lavapipe (mesa-vulkan-drivers)."
  root=""
  [ "$(id -u)" = 0 ] || root=sudo
  $root apt-get update -qq
  DEBIAN_FRONTEND=noninteractive $root apt-get install -y -qq --no-install-recommends mesa-vulkan-drivers libvulkan1
fi

cargo fmt --check
exec cargo test --all-targets "$@"
