//! Rotary position embedding (Su et al. 2021).

use super::Kernel;
use super::reduce::{by_unit, counted, refuse, shaped, unit_grid, unit_variants, windows};
use crate::gpu::{Dispatch, Gpu, GpuIndex, GpuTensor};
use crate::ops::{Result, TensorMeta};

pub static KERNELS: &[Kernel] =
    &[Kernel { name: "rope", family: "rope", twin: "rope", variants: unit_variants!("rope", "rope.wgsl", &[&[]]) }];

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
