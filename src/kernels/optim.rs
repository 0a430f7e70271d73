//! The gradient norm and AdamW, over tensors that may exceed one binding. Sums run over blocks of fixed size, then over the
//! blocks in a fixed order.

use super::reduce::{RowPick, by_row, refuse, row_variants, shaped};
use super::{Kernel, On, Variant};
use crate::gpu::{Bind, Dispatch, Gpu, GpuTensor, linear_grid};
use crate::ops::{AdamW, Dtype, Result, TensorMeta};
use crate::part;
use std::ops::Range;

pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "global_norm",
        family: "optim",
        twin: "global_norm",
        variants: row_variants!("global_norm", "optim_square.wgsl", 64, &[&[]]),
    },
    Kernel {
        name: "block_sums",
        family: "optim",
        twin: "global_norm",
        variants: &[Variant {
            name: "block_sums.group",
            parts: &[part!("reduce_group.wgsl"), part!("optim_finish.wgsl")],
            consts: &[("WG", 256)],
            samples: &[&[("COUNT", 0)], &[("COUNT", 1)]],
            ..Variant::BASE
        }],
    },
    Kernel {
        name: "adamw",
        family: "optim",
        twin: "adamw",
        variants: row_variants!("adamw", "optim_adamw.wgsl", 64, &[&[]]),
    },
    Kernel {
        name: "adamw_bf16",
        family: "optim",
        twin: "adamw_bf16",
        variants: &[
            Variant {
                name: "adamw_bf16.group",
                why: "a workgroup per block",
                parts: &[
                    part!("lib/grid.wgsl"),
                    part!("rows_unit4.wgsl"),
                    part!("reduce_group.wgsl"),
                    part!("optim_adamw_bf16.wgsl"),
                ],
                consts: &[("WG", 64)],
                on: On::Hardware,
                ..Variant::BASE
            },
            Variant {
                name: "adamw_bf16.lane",
                why: "no barriers",
                parts: &[
                    part!("lib/grid.wgsl"),
                    part!("rows_unit4.wgsl"),
                    part!("reduce_lane.wgsl"),
                    part!("optim_adamw_bf16.wgsl"),
                ],
                consts: &[("WG", 64)],
                on: On::Software,
                ..Variant::BASE
            },
        ],
    },
];

const GLOBAL_NORM: &Kernel = &KERNELS[0];
const BLOCK_SUMS: &Kernel = &KERNELS[1];
const ADAMW: &Kernel = &KERNELS[2];
const ADAMW_BF16: &Kernel = &KERNELS[3];

/// Bytes that a step of AdamW reads and writes for each byte of a tensor.
const MOVED: u64 = 7;

/// Elements per block; part of the definition of the sums.
pub(crate) const BLOCK: usize = 2048;

/// A window of a flat tensor and its blocks.
struct Piece {
    bytes: Range<u64>,
    /// Number of its first block among all.
    first: usize,
    blocks: usize,
    units: usize,
}

/// The variant for a tensor of `len` elements: whole units of four only where the length is a multiple of four, because
/// what lies beyond the end must not enter a sum.
fn pick(gpu: &Gpu, kernel: &'static Kernel, len: usize) -> RowPick {
    by_row(gpu, kernel, if len.is_multiple_of(4) { BLOCK } else { BLOCK - 1 })
}

/// Units per block of the picked variant.
fn block_units(len: usize) -> usize {
    if len.is_multiple_of(4) { BLOCK / 4 } else { BLOCK }
}

/// Pieces of a tensor whose first block is number `first`.
fn pieces(gpu: &Gpu, x: &GpuTensor, mut first: usize) -> Vec<Piece> {
    let per_unit = if x.len().is_multiple_of(4) { 16 } else { 4 };
    gpu.byte_windows(x.bytes(), MOVED)
        .map(|bytes| {
            let units = ((bytes.end - bytes.start) / per_unit) as usize;
            let blocks = units.div_ceil(block_units(x.len()));
            first += blocks;
            Piece { bytes, first: first - blocks, blocks, units }
        })
        .collect()
}

/// Sums `blocks` pairs of partial sums: the root of the first goes into row `row` of `y`, beside it the second with `count`.
fn block_sums(gpu: &Gpu, partial: &GpuTensor, y: Bind, row: usize, blocks: usize, count: bool) -> Result<()> {
    gpu.dispatch(&Dispatch {
        binds: &[partial.bind(), y],
        params: &[blocks as u32, row as u32],
        consts: &[("COUNT", u32::from(count))],
        flops: 2 * blocks as u64,
        bytes: 8 * blocks as u64,
        ..Dispatch::new(gpu.select(BLOCK_SUMS, 1))
    })
}

/// `[1,2]`: the L2 norm of the finite elements of all tensors, and how many are NaN or infinite (found by their bits).
pub fn global_norm(gpu: &Gpu, grads: &[&GpuTensor]) -> Result<GpuTensor> {
    let op = "global_norm";
    let mut blocks = 0;
    let mut work = Vec::with_capacity(grads.len());
    for g in grads {
        shaped(op, "a gradient", g, g.rows(), g.cols())?;
        let pieces = pieces(gpu, g, blocks);
        blocks += pieces.iter().map(|p| p.blocks).sum::<usize>();
        work.push((*g, pieces));
    }
    let partial = gpu.alloc_f32(blocks, 2)?;
    for (g, pieces) in &work {
        let pick = pick(gpu, GLOBAL_NORM, g.len());
        for p in pieces {
            gpu.dispatch(&Dispatch {
                binds: &[g.bind_bytes(p.bytes.clone()), partial.bind()],
                params: &[p.units as u32, block_units(g.len()) as u32, p.first as u32],
                groups: linear_grid(p.blocks.div_ceil(pick.rows)),
                flops: (p.bytes.end - p.bytes.start) / 2,
                bytes: p.bytes.end - p.bytes.start,
                ..Dispatch::new(pick.variant)
            })?;
        }
    }
    let norm = gpu.alloc_f32(1, 2)?;
    block_sums(gpu, &partial, norm.bind(), 0, blocks, true)?;
    Ok(norm)
}

/// One step on one tensor; `norm` from [`global_norm`]. Returns `[1,1]`: the L2 norm of the change of `w`.
pub fn adamw(
    gpu: &Gpu,
    w: &mut GpuTensor,
    g: &GpuTensor,
    m: &mut GpuTensor,
    v: &mut GpuTensor,
    hyper: &AdamW,
    norm: &GpuTensor,
) -> Result<GpuTensor> {
    let op = "adamw";
    let (rows, cols) = (w.rows(), w.cols());
    shaped(op, "w", w, rows, cols)?;
    shaped(op, "g", g, rows, cols)?;
    shaped(op, "m", m, rows, cols)?;
    shaped(op, "v", v, rows, cols)?;
    shaped(op, "norm", norm, 1, 2)?;
    if hyper.max_norm.is_nan() {
        return refuse(op, "max_norm is not a number".into());
    }
    let pieces = pieces(gpu, w, 0);
    let blocks = pieces.iter().map(|p| p.blocks).sum();
    let partial = gpu.alloc_f32(blocks, 2)?;
    let pick = pick(gpu, ADAMW, w.len());
    let clip = hyper.max_norm.is_finite();
    // As torch: these scalars are computed in f64.
    let decay = (1.0 - hyper.lr as f64 * hyper.weight_decay as f64) as f32;
    let step = (hyper.lr as f64 / hyper.bias_correction1 as f64) as f32;
    let root2 = (hyper.bias_correction2 as f64).sqrt() as f32;
    for p in &pieces {
        let bytes = || p.bytes.clone();
        gpu.dispatch(&Dispatch {
            binds: &[
                w.bind_bytes(bytes()),
                g.bind_bytes(bytes()),
                m.bind_bytes(bytes()),
                v.bind_bytes(bytes()),
                norm.bind(),
                partial.bind(),
            ],
            params: &[
                p.units as u32,
                block_units(w.len()) as u32,
                p.first as u32,
                u32::from(clip),
                if clip { hyper.max_norm.to_bits() } else { 0 },
                decay.to_bits(),
                hyper.beta1.to_bits(),
                hyper.beta2.to_bits(),
                step.to_bits(),
                root2.to_bits(),
                hyper.eps.to_bits(),
            ],
            groups: linear_grid(p.blocks.div_ceil(pick.rows)),
            flops: 4 * (p.bytes.end - p.bytes.start),
            bytes: MOVED * (p.bytes.end - p.bytes.start),
            ..Dispatch::new(pick.variant)
        })?;
    }
    let change = gpu.alloc_f32(1, 1)?;
    block_sums(gpu, &partial, change.bind(), 0, blocks, false)?;
    Ok(change)
}

/// One step on one tensor whose weights and moments are bf16, rounded stochastically with bits from `key` and the element's number.
/// Row `row` of `report` becomes the L2 norm of the change of `w` and the number of elements that changed.
#[allow(clippy::too_many_arguments)]
pub fn adamw_bf16(
    gpu: &Gpu,
    w: &mut GpuTensor,
    g: &GpuTensor,
    m: &mut GpuTensor,
    v: &mut GpuTensor,
    hyper: &AdamW,
    norm: &GpuTensor,
    key: [u32; 2],
    report: &mut GpuTensor,
    row: usize,
) -> Result<()> {
    let op = "adamw_bf16";
    let (rows, cols) = (w.rows(), w.cols());
    shaped(op, "g", g, rows, cols)?;
    shaped(op, "norm", norm, 1, 2)?;
    shaped(op, "report", report, report.rows(), 2)?;
    for (what, x) in [("w", &*w), ("m", &*m), ("v", &*v)] {
        if (x.rows(), x.cols(), x.dtype()) != (rows, cols, Dtype::Bf16) {
            return refuse(op, format!("{what} is not a bf16 tensor of [{rows}, {cols}]"));
        }
    }
    if hyper.max_norm.is_nan() || row >= report.rows() {
        return refuse(op, format!("max_norm {}, row {row} of {}", hyper.max_norm, report.rows()));
    }
    if !w.len().is_multiple_of(4) {
        return refuse(op, format!("{} elements are no multiple of four", w.len()));
    }
    // Windows of the gradient, whose elements are the widest: a multiple of four elements each, since bindings are.
    let windows: Vec<Range<u64>> = gpu.byte_windows(g.bytes(), 4).collect();
    let blocks_of = |r: &Range<u64>| (((r.end - r.start) / 4) as usize).div_ceil(BLOCK);
    let blocks: usize = windows.iter().map(blocks_of).sum();
    let partial = gpu.alloc_f32(blocks, 2)?;
    let lane = gpu.caps().software;
    let (variant, per_group) = if lane { (&ADAMW_BF16.variants[1], 64) } else { (&ADAMW_BF16.variants[0], 1) };
    let clip = hyper.max_norm.is_finite();
    let decay = (1.0 - hyper.lr as f64 * hyper.weight_decay as f64) as f32;
    let step = (hyper.lr as f64 / hyper.bias_correction1 as f64) as f32;
    let root2 = (hyper.bias_correction2 as f64).sqrt() as f32;
    let mut first = 0;
    for window in &windows {
        let half = window.start / 2..window.end / 2;
        let own = blocks_of(window);
        gpu.dispatch(&Dispatch {
            binds: &[
                w.bind_bytes(half.clone()),
                g.bind_bytes(window.clone()),
                m.bind_bytes(half.clone()),
                v.bind_bytes(half),
                norm.bind(),
                partial.bind(),
            ],
            params: &[
                ((window.end - window.start) / 16) as u32,
                (BLOCK / 4) as u32,
                first as u32,
                u32::from(clip),
                if clip { hyper.max_norm.to_bits() } else { 0 },
                decay.to_bits(),
                hyper.beta1.to_bits(),
                hyper.beta2.to_bits(),
                step.to_bits(),
                root2.to_bits(),
                hyper.eps.to_bits(),
                (window.start / 4) as u32,
                key[0],
                key[1],
            ],
            groups: linear_grid(own.div_ceil(per_group)),
            flops: 12 * (window.end - window.start),
            bytes: 4 * (window.end - window.start),
            ..Dispatch::new(variant)
        })?;
        first += own;
    }
    block_sums(gpu, &partial, report.bind(), row, blocks, true)
}
