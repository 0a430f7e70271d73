//! Rotary position embedding (Su et al. 2021).

use super::Kernel;
use super::reduce::{by_unit, counted, refuse, shaped, unit_grid, unit_variants, windows};
use crate::gpu::{Dispatch, Gpu, GpuIndex, GpuTensor};
use crate::ops::{Result, TensorMeta};

pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "rope",
        family: "rope",
        twin: "rope",
        variants: unit_variants!("rope", "rope.wgsl", &[&[]], ["lib/turn.wgsl"]),
    },
    Kernel {
        name: "rope_append",
        family: "rope",
        twin: "qkv_append",
        variants: unit_variants!("rope_append", "rope_append.wgsl", &[&[]], ["lib/turn.wgsl"]),
    },
];

/// In place, half-split pairs `(i, i + head_dim/2)` of every head of `x [M, heads*head_dim]`, by the angles of
/// `table [positions, head_dim]` (cosines, sines) at `pos [M]`; `inverse` turns back. Positions beyond the table are by
/// contract absent; they take its last row.
pub fn rope(
    gpu: &Gpu,
    x: &mut GpuTensor,
    pos: &GpuIndex,
    table: &GpuTensor,
    head_dim: usize,
    inverse: bool,
) -> Result<()> {
    let op = "rope";
    let (m, cols) = (x.rows(), x.cols());
    if head_dim == 0 || !head_dim.is_multiple_of(2) || !cols.is_multiple_of(head_dim) {
        return refuse(op, format!("rows of {cols} are not heads of {head_dim} (even)"));
    }
    shaped(op, "x", x, m, cols)?;
    shaped(op, "table", table, table.rows(), head_dim)?;
    counted(op, "pos", pos, m)?;
    if table.rows() == 0 && m > 0 {
        return refuse(op, "the table has no positions".into());
    }
    let heads = cols / head_dim;
    let (variant, half) = by_unit(&KERNELS[0], head_dim / 2);
    let sign: f32 = if inverse { -1.0 } else { 1.0 };
    for w in windows(gpu, op, m, cols)? {
        let n = w.len() * heads * half;
        gpu.dispatch(&Dispatch {
            binds: &[x.bind_rows(w.clone()), pos.bind(), table.bind()],
            params: &[n as u32, heads as u32, half as u32, sign.to_bits(), table.rows() as u32, w.start as u32],
            groups: unit_grid(n),
            flops: 3 * (w.len() * cols) as u64,
            bytes: 12 * (w.len() * cols) as u64,
            ..Dispatch::new(variant)
        })?;
    }
    Ok(())
}

/// Turned queries `[M, heads*head_dim]` of `qkv` (queries, keys, values side by side); its keys are turned into rows `slots` of the cache
/// `keys`, its values copied into those of `values`. Every operand is bound whole.
#[allow(clippy::too_many_arguments)]
pub fn append(
    gpu: &Gpu,
    qkv: &GpuTensor,
    pos: &GpuIndex,
    table: &GpuTensor,
    head_dim: usize,
    (keys, values): (&mut GpuTensor, &mut GpuTensor),
    slots: &GpuIndex,
) -> Result<GpuTensor> {
    let op = "qkv_append";
    let (m, narrow) = (qkv.rows(), keys.cols());
    let wide = qkv.cols().saturating_sub(2 * narrow);
    if head_dim == 0
        || !head_dim.is_multiple_of(2)
        || !wide.is_multiple_of(head_dim)
        || !narrow.is_multiple_of(head_dim)
        || narrow == 0
    {
        return refuse(op, format!("rows of {wide} and {narrow} are not heads of {head_dim} (even)"));
    }
    shaped(op, "qkv", qkv, m, wide + 2 * narrow)?;
    shaped(op, "keys", keys, keys.rows(), narrow)?;
    shaped(op, "values", values, keys.rows(), narrow)?;
    shaped(op, "table", table, table.rows(), head_dim)?;
    counted(op, "pos", pos, m)?;
    counted(op, "slots", slots, m)?;
    if table.rows() == 0 && m > 0 {
        return refuse(op, "the table has no positions".into());
    }
    let q = gpu.alloc_f32(m, wide)?;
    let (variant, half) = by_unit(&KERNELS[1], head_dim / 2);
    let (heads, kv_heads) = (wide / head_dim, narrow / head_dim);
    gpu.dispatch(&Dispatch {
        binds: &[qkv.bind(), q.bind(), pos.bind(), table.bind(), keys.bind(), values.bind(), slots.bind()],
        params: &[m, heads, kv_heads, half, table.rows(), keys.rows()].map(|x| x as u32),
        groups: unit_grid(m * (heads + 2 * kv_heads) * half),
        flops: 3 * (m * (wide + narrow)) as u64,
        bytes: 8 * (m * (wide + 2 * narrow)) as u64,
        ..Dispatch::new(variant)
    })?;
    Ok(q)
}
