//! The devices that kernel tests run on, and how results are compared.

use probity::gpu::{Gpu, GpuOptions, list_adapters};
pub use probity::ops::selftest::random;
use std::sync::OnceLock;

/// Every adapter twice: as it is, and poor (WebGPU's default limits, no subgroups, 4 MiB bindings). PROBITY_ADAPTER keeps the
/// adapters whose name contains its value.
fn devices() -> &'static [(String, Gpu)] {
    static DEVICES: OnceLock<Vec<(String, Gpu)>> = OnceLock::new();
    DEVICES.get_or_init(|| {
        let wanted = std::env::var("PROBITY_ADAPTER").unwrap_or_default().to_lowercase();
        let mut devices = Vec::new();
        for adapter in list_adapters().iter().filter(|a| a.info.name.to_lowercase().contains(&wanted)) {
            let full = GpuOptions { checked_shaders: true, ..Default::default() };
            for (kind, options) in [("full", full), ("poor", GpuOptions::poor())] {
                let gpu = Gpu::open(adapter, &options).unwrap_or_else(|e| panic!("{e}"));
                devices.push((format!("{adapter}, {kind}"), gpu));
            }
        }
        devices
    })
}

/// Runs `test` on every device; it panics on failure, and the device is named before the message.
pub fn for_each_gpu(test: impl Fn(&Gpu)) {
    assert!(
        !devices().is_empty(),
        "kernel tests need a graphics adapter: on a machine without a GPU install a software one (apt-get install mesa-vulkan-drivers)"
    );
    for (name, gpu) in devices() {
        eprintln!("on {name}");
        test(gpu);
    }
}

/// Panics unless every element of `got` is within `bound` of `want`, relative to the largest magnitude of `want`; where all of it
/// should be zero (log-probabilities over one class), `bound` is absolute: the terms are about one.
pub fn compare(what: &str, got: &[f32], want: &[f64], bound: f64) {
    assert_eq!(got.len(), want.len(), "{what}: number of elements");
    let largest = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    let scale = if largest > 0.0 { largest } else { 1.0 };
    let error = |i: usize| if got[i].is_finite() { (got[i] as f64 - want[i]).abs() / scale } else { f64::INFINITY };
    if let Some(worst) = (0..got.len()).max_by(|&a, &b| error(a).total_cmp(&error(b))) {
        assert!(
            error(worst) <= bound,
            "{what}: element {worst} of {} is {:e}, should be {:e}: error {:.2e} of the largest magnitude, bound {bound:.0e}",
            got.len(),
            got[worst],
            want[worst],
            error(worst)
        );
    }
}
