//! What goes wrong between this machine and the hub.

use std::path::PathBuf;

/// Every variant says what was asked for, what stood in the way, and what to do.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    #[error("{name}: not the name of a repository: {detail}. Write ORG/NAME or ORG/NAME@REVISION")]
    Name { name: String, detail: String },
    #[error("environment variable {variable}: {detail}")]
    Env { variable: &'static str, detail: String },
    /// Not, or not wholly, in the cache, and nobody asked for the network.
    #[error(
        "{id}: no such folder, and the model is not in the local Hugging Face cache: {} has {found}. Nothing is downloaded unless \
         asked for: run `probity fetch {id}`, or add --fetch to this command ({size})",
        cache.display()
    )]
    Missing { id: String, cache: PathBuf, found: String, size: String },
    #[error(
        "{id}: HF_HUB_OFFLINE (or TRANSFORMERS_OFFLINE) is set, so nothing is fetched. Unset it to allow the network"
    )]
    Offline { id: String },
    #[error("{id}: the hub refuses access (status {status}): {hint}")]
    Denied { id: String, status: u16, hint: String },
    #[error("{id}: {endpoint} knows no such {what} (status 404). Check the spelling on {endpoint}")]
    NotFound { id: String, what: String, endpoint: String },
    #[error("{id}: {detail}")]
    Unusable { id: String, detail: String },
    #[error("{url}: unexpected answer: {detail}. Check HF_ENDPOINT and proxies, or try later")]
    Answer { url: String, detail: String },
    #[error(
        "{url}: {detail}. Check the connection, HF_ENDPOINT and proxies (HTTPS_PROXY, NO_PROXY, SSL_CERT_FILE), or try later"
    )]
    Network { url: String, detail: String },
    #[error(
        "{id}: {file} was interrupted at {have} of {size} bytes: {detail}. What arrived is kept: the same command goes on from there"
    )]
    Interrupted { id: String, file: String, have: u64, size: u64, detail: String },
    #[error(
        "{id}: {file} arrived damaged: its {hash} is {found}, the hub says {expected}. It was deleted; run the command again, and \
         if that does not help, look for a proxy that changes downloads"
    )]
    Checksum { id: String, file: String, hash: &'static str, expected: String, found: String },
    #[error("{}: another process is downloading this file. Wait for it, or stop it", path.display())]
    Locked { path: PathBuf },
    #[error("{}: cannot {doing}: {source}. {hint}", path.display())]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error, hint: &'static str },
}

impl HubError {
    /// For `map_err` on file operations.
    pub(super) fn io(path: impl Into<PathBuf>, doing: &'static str) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.into();
        move |source| {
            let hint = match source.kind() {
                std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                    "Make room, or set HF_HUB_CACHE to a folder elsewhere; what arrived is kept and the same command goes on"
                }
                std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
                    "Set HF_HUB_CACHE to a folder that you may write"
                }
                _ => "Check the disk, and the folder that HF_HOME or HF_HUB_CACHE names",
            };
            Self::Io { path, doing, source, hint }
        }
    }

    /// Mistakes of the caller, as opposed to failures of network and disk.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            Self::Name { .. } | Self::Env { .. } | Self::Missing { .. } | Self::Offline { .. } | Self::Unusable { .. }
        )
    }
}
