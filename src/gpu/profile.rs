//! Where a device spends its time, kernel by kernel, by timestamps of its own. Every dispatch is then a pass of its own, so the sum is
//! longer than what the same work takes otherwise.

use super::{Gpu, lock};
use crate::ops::{Result, Spent};
use std::collections::BTreeMap;

/// Dispatches between two looks at the timestamps: two queries each, and a set holds 4096.
const ROOM: usize = 2048;

/// Timestamps of the dispatches recorded since the last look.
pub(super) struct Clock {
    set: wgpu::QuerySet,
    stamps: wgpu::Buffer,
    names: Vec<&'static str>,
    spent: BTreeMap<&'static str, (u64, f64)>,
}

impl Clock {
    fn new(device: &wgpu::Device) -> Self {
        let count = 2 * ROOM as u32;
        Self {
            set: device.create_query_set(&wgpu::QuerySetDescriptor {
                label: Some("profile"),
                ty: wgpu::QueryType::Timestamp,
                count,
            }),
            stamps: device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("profile"),
                size: u64::from(count) * 8,
                usage: wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC,
                mapped_at_creation: false,
            }),
            names: Vec::new(),
            spent: BTreeMap::new(),
        }
    }

    /// The pass of one more dispatch; there is room for it.
    pub fn pass(&mut self, encoder: &mut wgpu::CommandEncoder, name: &'static str) -> wgpu::ComputePass<'static> {
        let at = 2 * self.names.len() as u32;
        self.names.push(name);
        let timestamp_writes = Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(at),
            end_of_pass_write_index: Some(at + 1),
        });
        encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: Some(name), timestamp_writes })
            .forget_lifetime()
    }

    pub fn full(&self) -> bool {
        self.names.len() >= ROOM
    }
}

impl Gpu {
    /// Runs `work` and returns the device's time by kernel variant, longest first; `None` where it has no timestamps.
    pub fn profile(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Option<Vec<Spent>>> {
        if !self.caps.timestamps {
            return Ok(None);
        }
        self.sync()?;
        lock(&self.recorder).clock = Some(Clock::new(&self.device));
        let done = work().and_then(|()| self.look_at_clock());
        let clock = lock(&self.recorder).clock.take();
        done?;
        let spent = clock.map(|c| c.spent).unwrap_or_default();
        let mut spent: Vec<Spent> =
            spent.into_iter().map(|(kernel, (calls, seconds))| Spent { kernel, calls, seconds }).collect();
        spent.sort_by(|a, b| b.seconds.total_cmp(&a.seconds));
        Ok(Some(spent))
    }

    /// Adds up the timestamps so far and makes room.
    pub(super) fn look_at_clock(&self) -> Result<()> {
        let (stamps, count) = {
            let recorder = &mut *lock(&self.recorder);
            recorder.encoder(&self.device);
            let (Some(clock), Some(encoder)) = (&recorder.clock, &mut recorder.encoder) else { return Ok(()) };
            let count = 2 * clock.names.len() as u32;
            if count == 0 {
                return Ok(());
            }
            encoder.resolve_query_set(&clock.set, 0..count, &clock.stamps, 0);
            (clock.stamps.clone(), count)
        };
        let bytes = self.transfer([(&stamps, 0, u64::from(count) * 8)])?;
        let ticks: Vec<u64> = bytemuck::pod_collect_to_vec(&bytes);
        let period = f64::from(self.queue.get_timestamp_period()) * 1e-9;
        let mut recorder = lock(&self.recorder);
        let Some(clock) = &mut recorder.clock else { return Ok(()) };
        for (name, pair) in clock.names.drain(..).zip(ticks.chunks_exact(2)) {
            let of = clock.spent.entry(name).or_default();
            // A driver may reset its clock in between.
            *of = (of.0 + 1, of.1 + pair[1].saturating_sub(pair[0]) as f64 * period);
        }
        Ok(())
    }
}
