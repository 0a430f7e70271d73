//! Devices, buffers and submission: the only place that names wgpu.
//!
//! [`list_adapters`] and [`select`] find an adapter, [`Gpu::open`] makes a device with `min(adapter, what is used)` limits.
//! A [`Gpu`] records dispatches into one open compute pass and submits it by a budget of dispatches and estimated time.
//! One buffer per tensor; dropped tensors go back to a pool, which is safe because the queue runs commands in the order
//! they were recorded. Faults that the driver reports late become [`OpError`](crate::ops::OpError)s at the next read or sync.

mod adapters;
mod budget;
mod caps;
mod ceilings;
mod errors;
mod memory;
pub mod meter;
mod ops;
mod pool;
mod profile;
mod submit;
mod tensor;
#[cfg(test)]
mod tests;

pub use adapters::{Adapter, DeviceSpec, Selected, list_adapters, select};
pub use budget::{MAX_DISPATCHES, MAX_SECONDS, Submitted};
pub use caps::{Caps, GpuOptions};
pub use errors::DeviceError;
pub use submit::{Dispatch, linear_grid};
pub use tensor::{Bind, GpuIndex, GpuTensor};

use crate::kernels::{Kernel, Variant};
use errors::Watch;
use pool::Pool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use submit::Recorder;

/// One device of one adapter. Shared freely between threads; work is ordered as it was recorded.
pub struct Gpu {
    device: wgpu::Device,
    queue: wgpu::Queue,
    caps: Caps,
    checked_shaders: bool,
    name: String,
    watch: Arc<Watch>,
    pool: Arc<Pool>,
    recorder: Mutex<Recorder>,
    /// Buffer that reads go through; kept between reads.
    staging: Mutex<Option<wgpu::Buffer>>,
}

impl Gpu {
    /// Makes a device on the adapter.
    pub fn open(adapter: &Adapter, options: &GpuOptions) -> Result<Gpu, DeviceError> {
        let caps = Caps::of(adapter, options)?;
        let (device, queue) = pollster::block_on(adapter.handle.request_device(&wgpu::DeviceDescriptor {
            label: Some("probity"),
            required_features: caps.features(),
            required_limits: caps.limits(),
            memory_hints: wgpu::MemoryHints::MemoryUsage,
            experimental_features: match caps.cooperative > 0 {
                // SAFETY: the kernels that use them keep wgpu's rules; a test holds them against f64 wherever they run.
                true => unsafe { wgpu::ExperimentalFeatures::enabled() },
                false => wgpu::ExperimentalFeatures::disabled(),
            },
            ..Default::default()
        }))
        .map_err(|e| DeviceError::Request { adapter: adapter.to_string(), detail: e.to_string() })?;
        let watch = Arc::new(Watch::new(adapter.name_and_backend()));
        watch.install(&device);
        Ok(Gpu {
            pool: Arc::new(Pool::new(device.clone(), watch.clone(), &caps)),
            recorder: Mutex::new(Recorder::new(&caps)),
            staging: Mutex::new(None),
            checked_shaders: options.checked_shaders,
            // Other bits are another device.
            name: adapter.name_and_backend() + if caps.cooperative > 0 { ", fast" } else { "" },
            device,
            queue,
            caps,
            watch,
        })
    }

    /// What makes the device be lost.
    #[cfg(test)]
    pub fn destroyer(&self) -> impl Fn() + use<> {
        let device = self.device.clone();
        move || device.destroy()
    }

    pub fn caps(&self) -> &Caps {
        &self.caps
    }

    /// Adapter name and backend.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The variant of `kernel` that runs here for `rows` rows.
    pub fn select(&self, kernel: &'static Kernel, rows: usize) -> &'static Variant {
        crate::kernels::select::select(kernel, rows, 1, &self.caps)
    }

    /// The variant for a result of `rows` by `cols`.
    pub fn select_for(&self, kernel: &'static Kernel, rows: usize, cols: usize) -> &'static Variant {
        crate::kernels::select::select(kernel, rows, cols, &self.caps)
    }
}

impl Drop for Gpu {
    fn drop(&mut self) {
        // A device dropped with work in flight leaks its memory in wgpu (wgpu#5648).
        lock(&self.recorder).flush(&self.device, &self.queue, &self.pool);
        // One that failed before is given a moment: it may never answer.
        let seconds = if self.watch.check().is_ok() { 600 } else { 5 };
        let timeout = Some(std::time::Duration::from_secs(seconds));
        let _ = self.device.poll(wgpu::PollType::Wait { submission_index: None, timeout });
    }
}

/// Locks; a panic of another thread while it held the lock does not matter here (tests run many at once).
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
