//! Rotary position embedding (Su et al. 2021).

use super::Kernel;
use super::reduce::{by_unit, counted, refuse, shaped, unit_grid, unit_variants, windows};
use super::rows::scatter_rows;
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
        twin: "rope_append",
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

/// Turns queries in place, keys into rows `slots` of the cache `keys`, and copies values into those of `values`: one dispatch where every
/// operand can be bound whole, else [`rope`] and [`scatter_rows`] twice each, to the same bits.
#[allow(clippy::too_many_arguments)]
pub fn rope_append(
    gpu: &Gpu,
    q: &mut GpuTensor,
    mut k: GpuTensor,
    v: &GpuTensor,
    pos: &GpuIndex,
    table: &GpuTensor,
    head_dim: usize,
    (keys, values): (&mut GpuTensor, &mut GpuTensor),
    slots: &GpuIndex,
) -> Result<()> {
    let op = "rope_append";
    let (m, wide, narrow) = (q.rows(), q.cols(), k.cols());
    let whole = [q.bytes(), k.bytes(), v.bytes(), keys.bytes(), values.bytes(), table.bytes()];
    if whole.iter().any(|b| *b > gpu.caps().max_binding) {
        rope(gpu, q, pos, table, head_dim, false)?;
        rope(gpu, &mut k, pos, table, head_dim, false)?;
        scatter_rows(gpu, keys, &k, slots)?;
        return scatter_rows(gpu, values, v, slots);
    }
    if head_dim == 0
        || !head_dim.is_multiple_of(2)
        || !wide.is_multiple_of(head_dim)
        || !narrow.is_multiple_of(head_dim)
    {
        return refuse(op, format!("rows of {wide} and {narrow} are not heads of {head_dim} (even)"));
    }
    shaped(op, "q", q, m, wide)?;
    shaped(op, "k", &k, m, narrow)?;
    shaped(op, "v", v, m, narrow)?;
    shaped(op, "keys", keys, keys.rows(), narrow)?;
    shaped(op, "values", values, keys.rows(), narrow)?;
    shaped(op, "table", table, table.rows(), head_dim)?;
    counted(op, "pos", pos, m)?;
    counted(op, "slots", slots, m)?;
    if table.rows() == 0 && m > 0 {
        return refuse(op, "the table has no positions".into());
    }
    let (variant, half) = by_unit(&KERNELS[1], head_dim / 2);
    let (heads, kv_heads) = (wide / head_dim, narrow / head_dim);
    gpu.dispatch(&Dispatch {
        binds: &[q.bind(), k.bind(), v.bind(), pos.bind(), table.bind(), keys.bind(), values.bind(), slots.bind()],
        params: &[m, heads, kv_heads, half, table.rows(), keys.rows()].map(|x| x as u32),
        groups: unit_grid(m * (heads + 2 * kv_heads) * half),
        flops: 3 * (m * (wide + narrow)) as u64,
        bytes: 8 * (m * (wide + 2 * narrow)) as u64,
        ..Dispatch::new(variant)
    })
}
