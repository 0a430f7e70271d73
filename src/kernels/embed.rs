//! Token embedding and its gradient, over tables that may exceed one binding.

use super::reduce::{by_unit, refuse, shaped, unit_grid, unit_variants, windows};
use super::{Kernel, Variant, rows};
use crate::gpu::{Dispatch, Gpu, GpuIndex, GpuTensor};
use crate::ops::{Dtype, IndexMeta, Result, ScatterPlan, TensorMeta};
use crate::part;

pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "embed",
        family: "embed",
        twin: "embed",
        variants: &[Variant {
            name: "embed.vec4",
            parts: &[part!("lib/grid.wgsl"), part!("embed.wgsl")],
            consts: &[("WG", 256)],
            weights: &Dtype::WEIGHTS,
            ..Variant::BASE
        }],
    },
    Kernel {
        name: "embed_bwd",
        family: "embed",
        twin: "embed_bwd",
        variants: unit_variants!("embed_bwd", "embed_bwd.wgsl", &[&[]]),
    },
];

const EMBED: &Kernel = &KERNELS[0];
const EMBED_BWD: &Kernel = &KERNELS[1];

/// `y[M,H] = w[ids[i], :]`; `w` is `[V,H]` in any storage (H a multiple of 4). Ids beyond the table are by contract absent.
pub fn embed(gpu: &Gpu, w: &GpuTensor, ids: &GpuIndex) -> Result<GpuTensor> {
    let op = "embed";
    let cols = w.cols();
    if !cols.is_multiple_of(4) {
        if w.dtype() != Dtype::F32 {
            let stored = w.dtype().name();
            return refuse(op, format!("a table in {stored} needs a width that is a multiple of 4, it is {cols}"));
        }
        return rows::gather_rows(gpu, w, ids);
    }
    let y = gpu.alloc_f32(ids.len(), cols)?;
    let units = cols / 4;
    for out in windows(gpu, op, ids.len(), cols)? {
        for table in gpu.row_windows(op, w.rows(), &[w.row_bytes()], usize::MAX)? {
            let n = out.len() * units;
            gpu.dispatch(&Dispatch {
                weight: Some(w.dtype()),
                binds: &[w.bind_rows(table.clone()), ids.bind(), y.bind_rows(out.clone())],
                params: &[n as u32, units as u32, table.start as u32, table.len() as u32, out.start as u32],
                groups: unit_grid(n),
                bytes: 8 * (out.len() * cols) as u64,
                ..Dispatch::new(gpu.select(EMBED, ids.len()))
            })?;
        }
    }
    Ok(y)
}

/// `dw[ids[i], :] += dy[i, :]`, occurrences of one id added in row order.
pub fn embed_bwd(gpu: &Gpu, dw: &mut GpuTensor, dy: &GpuTensor, plan: &ScatterPlan<GpuIndex>) -> Result<()> {
    let op = "embed_bwd";
    let (targets, offsets, source) = &plan.host;
    let cols = dw.cols();
    shaped(op, "dw", dw, dw.rows(), cols)?;
    shaped(op, "dy", dy, source.len(), cols)?;
    if let Some(t) = targets.iter().find(|&&t| t as usize >= dw.rows()) {
        return refuse(op, format!("target {t} of a table of {} rows", dw.rows()));
    }
    let rising = offsets.windows(2).all(|o| o[0] <= o[1]);
    let within = offsets.last().is_none_or(|&o| o as usize <= source.len());
    let rows_exist = source.iter().all(|&r| (r as usize) < dy.rows());
    let lengths = plan.targets.len() == targets.len() && plan.rows.len() == source.len();
    if offsets.len() != targets.len() + 1
        || plan.offsets.len() != offsets.len()
        || !(rising && within && rows_exist && lengths)
    {
        return refuse(op, "the plan's offsets do not rise within its rows".into());
    }
    let (variant, units) = by_unit(EMBED_BWD, cols);
    let n = targets.len() * units;
    for table in windows(gpu, op, dw.rows(), cols)? {
        // Targets rise, so a window without any is known here.
        let first = targets.partition_point(|&t| (t as usize) < table.start);
        if targets.get(first).is_none_or(|&t| t as usize >= table.end) {
            continue;
        }
        gpu.dispatch(&Dispatch {
            binds: &[
                dw.bind_rows(table.clone()),
                dy.bind(),
                plan.targets.bind(),
                plan.offsets.bind(),
                plan.rows.bind(),
            ],
            params: &[n as u32, units as u32, table.start as u32, table.len() as u32],
            groups: unit_grid(n),
            flops: (source.len() * cols) as u64,
            bytes: 12 * (source.len() * cols) as u64,
            ..Dispatch::new(variant)
        })?;
    }
    Ok(())
}
