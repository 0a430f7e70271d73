//! From `--device` to a backend.

use std::error::Error;

use crate::cpu::Cpu;
use crate::gpu::{Adapter, DeviceSpec, Gpu, GpuOptions, Selected, select};
use crate::ops::Ops;
use crate::ops::checked::Checked;

/// Work that can run on any backend.
pub trait Job {
    type Out;
    fn run<O: Ops>(self, o: &O) -> Result<Self::Out, Box<dyn Error>>;
}

/// `--device` of every command that computes.
#[derive(clap::Args, Clone, Debug)]
pub struct DeviceArgs {
    /// auto, cpu, index:N, name:TEXT, pci:BUS, or check[:SELECTOR] (GPU and CPU side by side); see `probity devices`
    #[arg(long, default_value = "auto", value_name = "SELECTOR")]
    pub device: DeviceSpec,
}

impl DeviceArgs {
    /// Opens the device and runs the job on it.
    pub fn run<J: Job>(&self, job: J) -> Result<J::Out, Box<dyn Error>> {
        let open = |adapter: &Adapter| Gpu::open(adapter, &GpuOptions::default());
        match select(&self.device)? {
            Selected::Cpu => job.run(&Cpu::<f32>::new()),
            Selected::Gpu(adapter) => job.run(&open(&adapter)?),
            Selected::Check(adapter) => {
                job.run(&Checked::new(open(&adapter)?, Cpu::<f32>::new(), Checked::<Gpu, Cpu<f32>>::BOUND))
            }
        }
    }
}
