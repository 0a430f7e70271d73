//! What this device does at best, measured: the figures that kernels are held against.

use std::time::Instant;

use super::{Dispatch, Gpu};
use crate::kernels::{Variant, copy};
use crate::ops::{Ceiling, Result};
use crate::part;

static FMA: Variant = Variant { name: "ceiling.fma", parts: &[part!("ceilings/fma.wgsl")], ..Variant::BASE };

/// Multiply-adds of an invocation in a round.
const PER_ROUND: u64 = 8 * 8 * 4;

impl Gpu {
    /// Arithmetic, memory, and what a dispatch, a submission and a readback of four bytes cost.
    pub fn ceilings(&self) -> Result<Vec<Ceiling>> {
        Ok(vec![
            Ceiling { name: "multiply-add, f32", value: self.fma_rate()? / 1e9, unit: "GFLOP/s" },
            Ceiling { name: "copy", value: self.copy_rate()? / 1e9, unit: "GB/s" },
            Ceiling { name: "dispatch", value: 1e6 * self.dispatch_seconds()?, unit: "us" },
            Ceiling { name: "submission", value: 1e6 * self.submit_seconds()?, unit: "us" },
            Ceiling { name: "readback of 4 bytes", value: 1e6 * self.readback_seconds()?, unit: "us" },
        ])
    }

    /// Seconds of the fastest of a few runs of `work`, the first not counted.
    fn fastest(&self, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
        let mut best = f64::INFINITY;
        for run in 0..6 {
            let clock = Instant::now();
            work()?;
            self.sync()?;
            if run > 0 {
                best = best.min(clock.elapsed().as_secs_f64());
            }
        }
        Ok(best)
    }

    /// FLOP/s; the loop is as long as a few milliseconds take on this device.
    fn fma_rate(&self) -> Result<f64> {
        let groups = if self.caps().software { 64 } else { 4096 };
        let out = self.alloc_f32(groups, 256)?;
        let mut rounds = 1u64;
        loop {
            let flops = 2 * PER_ROUND * rounds * 256 * groups as u64;
            let seconds = self.fastest(|| {
                self.dispatch(&Dispatch {
                    binds: &[out.bind()],
                    params: &[rounds as u32, 0.999f32.to_bits()],
                    groups: [groups as u32, 1, 1],
                    ..Dispatch::new(&FMA)
                })
            })?;
            if seconds > 4e-3 || rounds > 1 << 16 {
                return Ok(flops as f64 / seconds);
            }
            rounds *= 4;
        }
    }

    /// Bytes read and written in a second by copying 64 MiB within the device, again and again.
    fn copy_rate(&self) -> Result<f64> {
        let (rows, cols) = (4096, 4096);
        let (from, to) = (self.alloc_f32(rows, cols)?, self.alloc_f32(rows, cols)?);
        const TIMES: usize = 8;
        let seconds =
            self.fastest(|| (0..TIMES).try_for_each(|_| copy::copy_range(self, to.bind(), from.bind(), from.bytes())))?;
        Ok((2 * TIMES) as f64 * from.bytes() as f64 / seconds)
    }

    fn tiny(&self, out: &super::GpuTensor) -> Result<()> {
        self.dispatch(&Dispatch { binds: &[out.bind()], params: &[0, 0.5f32.to_bits()], ..Dispatch::new(&FMA) })
    }

    /// Of one dispatch among many that wait for each other.
    fn dispatch_seconds(&self) -> Result<f64> {
        let out = self.alloc_f32(1, 256)?;
        const MANY: u32 = 512;
        Ok(self.fastest(|| (0..MANY).try_for_each(|_| self.tiny(&out)))? / f64::from(MANY))
    }

    /// Of a submission with one dispatch, among many.
    fn submit_seconds(&self) -> Result<f64> {
        let out = self.alloc_f32(1, 256)?;
        const MANY: u32 = 64;
        let all = self.fastest(|| {
            (0..MANY).try_for_each(|_| {
                self.tiny(&out)?;
                self.flush();
                Ok(())
            })
        })?;
        Ok(all / f64::from(MANY))
    }

    fn readback_seconds(&self) -> Result<f64> {
        let out = self.alloc_f32(1, 1)?;
        self.fastest(|| self.read(&out).map(drop))
    }
}
