//! Causal attention over ragged batches and caches, with grouped heads, and its gradients.
//!
//! A row of the output depends on its own query and the keys it sees, taken in order from the first: tiles are counted
//! from there, so a row decoded from a cache has the bits of the same row in a packed batch.

use super::reduce::{refuse, shaped};
use super::registry::Const;
use super::{Kernel, On, Part, Variant};
use crate::gpu::{Dispatch, Gpu, GpuIndex, GpuTensor, linear_grid};
use crate::ops::{AttnPlan, AttnShape, IndexMeta, Result, TensorMeta};
use crate::part;
use std::ops::Range;

/// Heads of Qwen2-0.5B, and the widest heads allowed.
const SAMPLES: &[&[Const]] = &[
    &[("HEAD4", 16), ("HEADS", 14), ("KV_HEADS", 2), ("ROWS", 2)],
    &[("HEAD4", 64), ("HEADS", 4), ("KV_HEADS", 4), ("ROWS", 1)],
];

/// Widest head: its vectors are private arrays.
const MAX_HEAD_DIM: usize = 256;

/// Invocations per workgroup.
const GROUP: usize = 64;

/// Rows that share the keys they load, on adapters where loads cost more than spills. Pipelines of wide heads would take many
/// seconds to compile with more.
fn tile_rows(head_dim: usize) -> usize {
    (128 / head_dim).clamp(1, 4)
}

const fn lanes(name: &'static str, why: &'static str, parts: &'static [Part], on: On) -> Variant {
    Variant { name, why, parts, consts: &[("WG", GROUP as u32)], samples: SAMPLES, on, ..Variant::BASE }
}

macro_rules! kernel {
    ($name:literal, $twin:literal, $file:literal) => {
        Kernel {
            name: $name,
            family: "attention",
            twin: $twin,
            variants: &[
                lanes(
                    concat!($name, ".lanes32"),
                    "32 lanes share a row and head",
                    &[part!("lib/grid.wgsl"), part!("attention_lanes32.wgsl"), part!($file)],
                    On::Hardware,
                ),
                lanes(
                    concat!($name, ".lanes1"),
                    "no barriers",
                    &[part!("lib/grid.wgsl"), part!("attention_lanes1.wgsl"), part!($file)],
                    On::Software,
                ),
            ],
        }
    };
}

pub static KERNELS: &[Kernel] = &[
    kernel!("attention", "attention", "attention.wgsl"),
    Kernel {
        name: "attention_delta",
        family: "attention",
        twin: "attention_bwd",
        variants: &[lanes(
            "attention_delta.head",
            "the only variant",
            &[part!("lib/grid.wgsl"), part!("attention_bwd_delta.wgsl")],
            On::Any,
        )],
    },
    kernel!("attention_bwd_q", "attention_bwd", "attention_bwd_q.wgsl"),
    kernel!("attention_bwd_kv", "attention_bwd", "attention_bwd_kv.wgsl"),
];

const FORWARD: &Kernel = &KERNELS[0];
const DELTA: &Kernel = &KERNELS[1];
const BWD_Q: &Kernel = &KERNELS[2];
const BWD_KV: &Kernel = &KERNELS[3];

/// Checks the operands; returns the most keys a row sees.
fn check(
    op: &'static str,
    q: &GpuTensor,
    k: &GpuTensor,
    v: &GpuTensor,
    plan: &AttnPlan<GpuIndex>,
    shape: &AttnShape,
) -> Result<usize> {
    let AttnShape { heads, kv_heads, head_dim, .. } = *shape;
    if heads == 0 || kv_heads == 0 || head_dim == 0 || !heads.is_multiple_of(kv_heads) {
        return refuse(op, format!("{heads} heads of {head_dim} over {kv_heads} key/value heads"));
    }
    if !head_dim.is_multiple_of(4) || head_dim > MAX_HEAD_DIM {
        return refuse(op, format!("heads of {head_dim}: a multiple of 4 up to {MAX_HEAD_DIM} is needed"));
    }
    shaped(op, "q", q, plan.rows(), heads * head_dim)?;
    shaped(op, "k", k, k.rows(), kv_heads * head_dim)?;
    shaped(op, "v", v, k.rows(), kv_heads * head_dim)?;
    let (mut rows, mut most) = (0, 0);
    for s in &plan.spans {
        let keys = s.k0.checked_add(s.past).and_then(|n| n.checked_add(s.n));
        if s.q0 != rows || keys.is_none_or(|n| n > k.rows()) {
            return refuse(op, format!("{s:?} with {} key rows and {rows} query rows before it", k.rows()));
        }
        rows += s.n;
        most = most.max(s.past + s.n);
    }
    if [&plan.kstart, &plan.klen].iter().any(|i| i.len() != rows) {
        return refuse(op, format!("the plan's index lists do not have {rows} entries"));
    }
    Ok(most)
}

/// One pass over (row, head) pairs in windows of rows.
struct Pass<'a> {
    gpu: &'a Gpu,
    op: &'static str,
    shape: &'a AttnShape,
    rows: usize,
    /// Keys (or queries) a row meets at most.
    most: usize,
    /// Neighbouring rows see the same keys.
    neighbours: bool,
}

impl Pass<'_> {
    /// Row windows, and the dispatch of each made by `run(window, dispatch without operands)`. A work item is one of `heads`
    /// heads of a few neighbouring rows; it costs `products` multiply-adds per row, key and head dimension.
    fn each(
        &self,
        kernel: &'static Kernel,
        heads: usize,
        products: usize,
        run: impl Fn(Range<usize>, Dispatch) -> Result<()>,
    ) -> Result<()> {
        let AttnShape { heads: all, kv_heads, head_dim, .. } = *self.shape;
        let flops_per_row = (2 * products * all * head_dim * self.most) as u64;
        let row_bytes = (heads * head_dim * 4) as u64;
        let variant = self.gpu.select(kernel, self.rows);
        let lanes = if variant.name.ends_with(".lanes32") { 32 } else { 1 };
        let tile = if variant.name.ends_with(".lanes1") && self.neighbours { tile_rows(head_dim) } else { 1 };
        let consts = [
            ("HEAD4", (head_dim / 4) as u32),
            ("HEADS", all as u32),
            ("KV_HEADS", kv_heads as u32),
            ("ROWS", tile as u32),
        ];
        let max_rows = self.gpu.rows_per_dispatch(flops_per_row, 4 * row_bytes);
        for w in self.gpu.row_windows(self.op, self.rows, &[row_bytes], max_rows)? {
            let items = w.len().div_ceil(tile) * heads;
            run(
                w.clone(),
                Dispatch {
                    consts: &consts,
                    params: &[w.len() as u32, self.shape.scale.to_bits(), w.start as u32],
                    groups: linear_grid(items.div_ceil(GROUP / lanes)),
                    flops: flops_per_row / 2 * w.len() as u64,
                    bytes: 4 * row_bytes * w.len() as u64,
                    ..Dispatch::new(variant)
                },
            )?;
        }
        Ok(())
    }
}

/// Returns `(out [M, heads*d], lse [M, heads])`.
pub fn attention(
    gpu: &Gpu,
    q: &GpuTensor,
    k: &GpuTensor,
    v: &GpuTensor,
    plan: &AttnPlan<GpuIndex>,
    shape: &AttnShape,
) -> Result<(GpuTensor, GpuTensor)> {
    let op = "attention";
    let most = check(op, q, k, v, plan, shape)?;
    let (out, lse) = (gpu.alloc_f32(q.rows(), q.cols())?, gpu.alloc_f32(q.rows(), shape.heads)?);
    let neighbours = plan.spans.iter().any(|s| s.n > 1);
    let pass = Pass { gpu, op, shape, rows: q.rows(), most, neighbours };
    pass.each(FORWARD, shape.heads, 2, |w, d| {
        let binds = [
            q.bind_rows(w.clone()),
            k.bind(),
            v.bind(),
            plan.kstart.bind(),
            plan.klen.bind(),
            out.bind_rows(w),
            lse.bind(),
        ];
        gpu.dispatch(&Dispatch { binds: &binds, ..d })
    })?;
    Ok((out, lse))
}

/// Returns `(dq, dk, dv)`; every key row must belong to one span of the plan.
#[allow(clippy::too_many_arguments)]
pub fn attention_bwd(
    gpu: &Gpu,
    dout: &GpuTensor,
    q: &GpuTensor,
    k: &GpuTensor,
    v: &GpuTensor,
    out: &GpuTensor,
    lse: &GpuTensor,
    plan: &AttnPlan<GpuIndex>,
    shape: &AttnShape,
) -> Result<(GpuTensor, GpuTensor, GpuTensor)> {
    let op = "attention_bwd";
    let most = check(op, q, k, v, plan, shape)?;
    let m = q.rows();
    let keys = k.rows();
    if plan.key_rows != Some(keys) || plan.qrange.len() != 2 * keys {
        return refuse(op, format!("the plan's spans do not own {keys} key rows in order"));
    }
    shaped(op, "dout", dout, m, q.cols())?;
    shaped(op, "out", out, m, q.cols())?;
    shaped(op, "lse", lse, m, shape.heads)?;
    let (dq, dk, dv) = (gpu.alloc_f32(m, q.cols())?, gpu.alloc_f32(keys, k.cols())?, gpu.alloc_f32(keys, k.cols())?);
    let stat = gpu.alloc_f32(m, 2 * shape.heads)?;
    Pass { gpu, op, shape, rows: m, most: 1, neighbours: false }.each(DELTA, shape.heads, 1, |w, d| {
        let binds = [dout.bind_rows(w.clone()), out.bind_rows(w), lse.bind(), stat.bind()];
        gpu.dispatch(&Dispatch { binds: &binds, ..d })
    })?;
    let pass = Pass { gpu, op, shape, rows: m, most, neighbours: true };
    pass.each(BWD_Q, shape.heads, 3, |w, d| {
        let binds = [
            dout.bind_rows(w.clone()),
            q.bind_rows(w.clone()),
            k.bind(),
            v.bind(),
            stat.bind(),
            plan.kstart.bind(),
            plan.klen.bind(),
            dq.bind_rows(w),
        ];
        gpu.dispatch(&Dispatch { binds: &binds, ..d })
    })?;
    Pass { rows: keys, ..pass }.each(BWD_KV, shape.kv_heads, 4, |w, d| {
        let binds = [
            dout.bind(),
            q.bind(),
            k.bind_rows(w.clone()),
            v.bind_rows(w.clone()),
            stat.bind(),
            plan.qrange.bind(),
            dk.bind_rows(w.clone()),
            dv.bind_rows(w),
        ];
        gpu.dispatch(&Dispatch { binds: &binds, ..d })
    })?;
    Ok((dq, dk, dv))
}
