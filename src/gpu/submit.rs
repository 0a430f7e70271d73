//! Recording dispatches and submitting them.

use super::budget::{Budget, MAX_SECONDS, Submitted};
use super::caps::Caps;
use super::pool::Pool;
use super::profile::Clock;
use super::tensor::Bind;
use super::{Gpu, lock};
use crate::kernels::Variant;
use crate::kernels::compose::compose;
use crate::kernels::registry::Const;
use crate::ops::{Dtype, OpError, Result};
use std::collections::{HashMap, VecDeque};
use std::time::Duration;

/// A driver that does not answer for so long hangs, which is an error: the longest submission is a fraction of a second.
const HUNG: Duration = Duration::from_secs(600);
/// Wait for the oldest submission when this many are in flight.
const MAX_IN_FLIGHT: usize = 8;

/// One dispatch of a variant.
pub struct Dispatch<'a> {
    pub variant: &'static Variant,
    /// Storage of the operand behind `w4`, for variants that have one.
    pub weight: Option<Dtype>,
    /// Constants of the module beyond the variant's own; every set of values compiles its own pipeline.
    pub consts: &'a [Const],
    /// Bindings 0, 1, 2, ... of group 0.
    pub binds: &'a [Bind<'a>],
    /// Contents of the immediates, at most sixteen words; floats as bits.
    pub params: &'a [u32],
    pub groups: [u32; 3],
    /// Estimates for the submission budget.
    pub flops: u64,
    pub bytes: u64,
}

impl Dispatch<'_> {
    /// Of one workgroup, without operands; for `Dispatch { binds, params, groups, ..Dispatch::new(variant) }`.
    pub fn new(variant: &'static Variant) -> Self {
        Self { variant, weight: None, consts: &[], binds: &[], params: &[], groups: [1, 1, 1], flops: 0, bytes: 0 }
    }
}

/// A grid of at least `n` workgroups folded over x and y; `linear_group` of `lib/grid.wgsl` numbers them.
pub fn linear_grid(n: usize) -> [u32; 3] {
    let rows = n.div_ceil(Caps::MAX_GROUPS);
    if rows <= 1 { [n as u32, 1, 1] } else { [n.div_ceil(rows) as u32, rows as u32, 1] }
}

type PipelineKey = (Option<Dtype>, Vec<Const>);

/// A compute pipeline and the layout of its one bind group.
#[derive(Clone)]
struct Pipeline {
    pipeline: wgpu::ComputePipeline,
    layout: wgpu::BindGroupLayout,
}

/// The open encoder and pass, the pipelines, and the submissions in flight.
pub(crate) struct Recorder {
    // The pass borrows from the encoder and must end first.
    pass: Option<wgpu::ComputePass<'static>>,
    pub(super) encoder: Option<wgpu::CommandEncoder>,
    pipelines: HashMap<&'static str, Vec<(PipelineKey, Pipeline)>>,
    budget: Budget,
    /// There while the device is profiled.
    pub(super) clock: Option<Clock>,
    in_flight: VecDeque<wgpu::SubmissionIndex>,
}

impl Recorder {
    pub fn new(caps: &Caps) -> Self {
        Self {
            pass: None,
            encoder: None,
            pipelines: HashMap::new(),
            budget: Budget::new(caps),
            clock: None,
            in_flight: VecDeque::new(),
        }
    }

    /// The encoder, outside any pass: for copies.
    pub fn encoder(&mut self, device: &wgpu::Device) -> &mut wgpu::CommandEncoder {
        self.pass = None;
        self.encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default()))
    }

    /// The open pass; under a clock a new one for every dispatch.
    fn pass(&mut self, device: &wgpu::Device, name: &'static str) -> &mut wgpu::ComputePass<'static> {
        let encoder = self.encoder.get_or_insert_with(|| device.create_command_encoder(&Default::default()));
        if let Some(clock) = &mut self.clock {
            self.pass = None;
            return self.pass.insert(clock.pass(encoder, name));
        }
        self.pass.get_or_insert_with(|| encoder.begin_compute_pass(&Default::default()).forget_lifetime())
    }

    /// Submits what is recorded, if anything.
    pub fn flush(&mut self, device: &wgpu::Device, queue: &wgpu::Queue, pool: &Pool) {
        self.pass = None;
        let Some(encoder) = self.encoder.take() else { return };
        pool.watch().submit(self.budget.submitted());
        self.in_flight.push_back(queue.submit([encoder.finish()]));
        pool.submitted();
        if self.in_flight.len() > MAX_IN_FLIGHT {
            let submission_index = self.in_flight.pop_front();
            if let Err(e) = device.poll(wgpu::PollType::Wait { submission_index, timeout: Some(HUNG) }) {
                // The next read or sync says so.
                let _ = pool.watch().lost(format!("waiting failed: {e}"));
            }
        } else {
            let _ = device.poll(wgpu::PollType::Poll);
        }
    }
}

impl Gpu {
    /// Records a dispatch. An empty grid is no dispatch.
    pub fn dispatch(&self, d: &Dispatch) -> Result<()> {
        if d.groups.contains(&0) {
            return Ok(());
        }
        self.check_dispatch(d)?;
        if lock(&self.recorder).clock.as_ref().is_some_and(Clock::full) {
            self.look_at_clock()?;
        }
        let mut recorder = lock(&self.recorder);
        let pipeline = self.pipeline(&mut recorder, d);
        self.watch.enter(d.variant.name);
        let entries: Vec<wgpu::BindGroupEntry> = (0..)
            .zip(d.binds)
            .map(|(binding, b)| wgpu::BindGroupEntry {
                binding,
                resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                    buffer: b.buffer,
                    offset: b.offset,
                    size: std::num::NonZeroU64::new(b.bytes),
                }),
            })
            .collect();
        let group = self.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some(d.variant.name),
            layout: &pipeline.layout,
            entries: &entries,
        });
        let seconds = recorder.budget.seconds(d.flops, d.bytes);
        if recorder.budget.leaves_no_room_for(seconds) {
            recorder.flush(&self.device, &self.queue, &self.pool);
        }
        let pass = recorder.pass(&self.device, d.variant.name);
        pass.set_pipeline(&pipeline.pipeline);
        pass.set_bind_group(0, &group, &[]);
        if !d.params.is_empty() {
            pass.set_immediates(0, bytemuck::cast_slice(d.params));
        }
        pass.dispatch_workgroups(d.groups[0], d.groups[1], d.groups[2]);
        if recorder.budget.add(d.variant.name, seconds) {
            recorder.flush(&self.device, &self.queue, &self.pool);
        }
        Ok(())
    }

    /// What wgpu would refuse too, but late and without naming the operation.
    fn check_dispatch(&self, d: &Dispatch) -> Result<()> {
        let shape = |detail: String| Err(OpError::Shape { op: d.variant.name, detail });
        for (i, b) in d.binds.iter().enumerate() {
            if b.bytes > self.caps.max_binding.next_multiple_of(16) || b.offset + b.bytes > b.buffer.size() {
                return shape(format!(
                    "binding {i} spans bytes {}..{} of a buffer of {} where at most {} can be bound",
                    b.offset,
                    b.offset + b.bytes,
                    b.buffer.size(),
                    self.caps.max_binding
                ));
            }
            if !b.offset.is_multiple_of(Caps::ALIGN) {
                return shape(format!("binding {i} starts at byte {}, no multiple of {}", b.offset, Caps::ALIGN));
            }
        }
        if d.groups.iter().any(|g| *g as usize > Caps::MAX_GROUPS) {
            return shape(format!("grid {:?} exceeds {} workgroups in a dimension", d.groups, Caps::MAX_GROUPS));
        }
        if d.weight.is_some_and(|w| !d.variant.weights.contains(&w)) {
            return shape(format!("no accessor for {:?} weights", d.weight));
        }
        Ok(())
    }

    fn pipeline(&self, recorder: &mut Recorder, d: &Dispatch) -> Pipeline {
        let built = recorder.pipelines.entry(d.variant.name).or_default();
        if let Some((_, p)) = built.iter().find(|((weight, consts), _)| *weight == d.weight && consts == d.consts) {
            return p.clone();
        }
        self.watch.enter(d.variant.name);
        let source = wgpu::ShaderSource::Wgsl(compose(d.variant, d.weight, d.consts).into());
        let desc = wgpu::ShaderModuleDescriptor { label: Some(d.variant.name), source };
        let module = if self.checked_shaders {
            self.device.create_shader_module(desc)
        } else {
            // SAFETY: every kernel masks its accesses by the sizes in its parameters and bounds its loops; the kernel
            // tests run the same text with checks on.
            unsafe { self.device.create_shader_module_trusted(desc, wgpu::ShaderRuntimeChecks::unchecked()) }
        };
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(d.variant.name),
            layout: None,
            module: &module,
            entry_point: Some(d.variant.entry),
            compilation_options: wgpu::PipelineCompilationOptions {
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        let made = Pipeline { layout: pipeline.get_bind_group_layout(0), pipeline };
        built.push(((d.weight, d.consts.to_vec()), made.clone()));
        made
    }

    /// Submits what has been recorded without waiting for it.
    pub fn flush(&self) {
        lock(&self.recorder).flush(&self.device, &self.queue, &self.pool);
    }

    /// Submits, waits, and reports any fault so far.
    pub fn sync(&self) -> Result<()> {
        self.flush();
        self.wait(None)?;
        self.watch.check()
    }

    pub(super) fn wait(&self, submission_index: Option<wgpu::SubmissionIndex>) -> Result<()> {
        match self.device.poll(wgpu::PollType::Wait { submission_index, timeout: Some(HUNG) }) {
            Ok(_) => Ok(()),
            Err(e) => Err(self.watch.lost(format!("waiting failed: {e}"))),
        }
    }

    /// What has been submitted so far.
    pub fn submitted(&self) -> Submitted {
        lock(&self.recorder).budget.total
    }

    /// Rows of a row-wise operation per dispatch, so that none runs too long: as many as their work allows, a multiple of 64, the
    /// height of a tile: fewer would take as long.
    pub fn rows_per_dispatch(&self, flops_per_row: u64, bytes_per_row: u64) -> usize {
        let seconds = lock(&self.recorder).budget.seconds(flops_per_row, bytes_per_row);
        // Saturates, where a row is nothing.
        let rows = (MAX_SECONDS / seconds) as usize;
        (rows / 64 * 64).max(64)
    }
}
