//! Errors of finding and opening a device, and the watch for faults that the driver reports late.

use super::budget::Recorded;
use crate::ops::{OpError, Result};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use thiserror::Error;

/// What goes wrong before there is a device.
#[derive(Debug, Error)]
pub enum DeviceError {
    #[error(
        "unknown device {0:?}: give auto, cpu, index:N, name:TEXT, pci:BUS or check, optionally check:SELECTOR (`probity devices` lists what there is)"
    )]
    Spec(String),
    #[error("no adapter matches {spec:?}; this machine has: {found}")]
    NotFound { spec: String, found: String },
    #[error(
        "no graphics adapter found: install a Vulkan driver (Debian and Ubuntu: apt-get install mesa-vulkan-drivers), or use --device cpu"
    )]
    NoAdapter,
    #[error(
        "{adapter} cannot pass immediates (push constants) of 64 bytes to a shader: update its driver, choose another device or use --device cpu"
    )]
    NoImmediates { adapter: String },
    #[error(
        "{adapter} refused to open a device: {detail}. Update its driver, choose another device or use --device cpu"
    )]
    Request { adapter: String, detail: String },
}

enum Fault {
    OutOfMemory(String),
    Lost(String),
    Validation(String),
}

/// Remembers the first fault and the kernel that was recorded last when it came.
pub(crate) struct Watch {
    adapter: String,
    kernel: Mutex<&'static str>,
    /// What was submitted last.
    submitted: Mutex<Recorded>,
    fault: Mutex<Option<(Fault, &'static str)>>,
    faulted: AtomicBool,
}

impl Watch {
    pub fn new(adapter: String) -> Self {
        Self {
            adapter,
            kernel: Mutex::new("none"),
            submitted: Mutex::default(),
            fault: Mutex::new(None),
            faulted: AtomicBool::new(false),
        }
    }

    /// Sets the device's callbacks.
    pub fn install(self: &Arc<Self>, device: &wgpu::Device) {
        let watch = self.clone();
        device.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            watch.raise(match e {
                wgpu::Error::OutOfMemory { source } => Fault::OutOfMemory(source.to_string()),
                wgpu::Error::Validation { description, .. } => Fault::Validation(one_line(&description)),
                wgpu::Error::Internal { description, .. } => Fault::Validation(one_line(&description)),
            })
        }));
        let watch = self.clone();
        device.set_device_lost_callback(move |reason, message| {
            watch.raise(Fault::Lost(format!("{reason:?}: {}", one_line(&message))))
        });
    }

    /// Names the kernel that is about to be recorded.
    pub fn enter(&self, kernel: &'static str) {
        *super::lock(&self.kernel) = kernel;
    }

    /// Remembers what a submission held: a loss is told later, and the last kernel recorded need not be the one that ran.
    pub fn submit(&self, recorded: Recorded) {
        // Copies alone, as for reading back, say nothing.
        if recorded.dispatches > 0 {
            *super::lock(&self.submitted) = recorded;
        }
    }

    fn raise(&self, fault: Fault) {
        let fault = match fault {
            Fault::Lost(detail) => {
                let last = *super::lock(&self.submitted);
                let (heaviest, seconds) = last.heaviest;
                Fault::Lost(format!(
                    "{detail}; last submission: {} dispatches, about {:.0} ms by estimate, {:.0} ms of it {heaviest}",
                    last.dispatches,
                    1e3 * last.seconds,
                    1e3 * seconds,
                ))
            }
            fault => fault,
        };
        let kernel = *super::lock(&self.kernel);
        let mut slot = super::lock(&self.fault);
        // Everything after a lost device fails too; the loss is the news.
        if slot.is_none() || matches!(fault, Fault::Lost(_)) {
            *slot = Some((fault, kernel));
        }
        self.faulted.store(true, Ordering::Release);
    }

    /// Raises a device loss that a failed wait or map revealed, unless a fault is known already.
    pub fn lost(&self, detail: String) -> OpError {
        if !self.faulted.load(Ordering::Acquire) {
            self.raise(Fault::Lost(detail.clone()));
        }
        self.check().err().unwrap_or(OpError::Unsupported(detail))
    }

    pub fn out_of_memory(&self, detail: String) -> OpError {
        OpError::OutOfMemory { kernel: super::lock(&self.kernel).to_string(), adapter: self.adapter.clone(), detail }
    }

    /// The first fault, for as long as the device lives: results after it cannot be trusted.
    pub fn check(&self) -> Result<()> {
        if !self.faulted.load(Ordering::Acquire) {
            return Ok(());
        }
        let Some((fault, kernel)) = &*super::lock(&self.fault) else { return Ok(()) };
        let (kernel, adapter) = (kernel.to_string(), self.adapter.clone());
        Err(match fault {
            Fault::OutOfMemory(d) => OpError::OutOfMemory { kernel, adapter, detail: d.clone() },
            Fault::Lost(d) => OpError::Lost { kernel, adapter, detail: d.clone() },
            Fault::Validation(d) => OpError::Validation { kernel, adapter, detail: d.clone() },
        })
    }
}

/// wgpu's messages span lines.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
