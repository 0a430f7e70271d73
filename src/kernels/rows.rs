//! Rows: add one to all, project one out of all, gather, scatter.

use super::Kernel;
use super::reduce::{by_row, by_unit, counted, row_variants, shaped, unit_grid, unit_variants, windows};
use crate::gpu::{Dispatch, Gpu, GpuIndex, GpuTensor, linear_grid};
use crate::ops::{IndexMeta, Result, TensorMeta};

pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "add_row",
        family: "rows",
        twin: "add_row",
        variants: unit_variants!("add_row", "rows_add_row.wgsl", &[&[]]),
    },
    Kernel {
        name: "ablate_row",
        family: "rows",
        twin: "ablate_row",
        variants: row_variants!("ablate_row", "rows_ablate.wgsl", 64, &[&[]]),
    },
    Kernel {
        name: "gather_rows",
        family: "rows",
        twin: "gather_rows",
        variants: unit_variants!("gather_rows", "rows_gather.wgsl", &[&[]]),
    },
    Kernel {
        name: "scatter_rows",
        family: "rows",
        twin: "scatter_rows",
        variants: unit_variants!("scatter_rows", "rows_scatter.wgsl", &[&[("ADD", 0)], &[("ADD", 1)]]),
    },
];

const ADD_ROW: &Kernel = &KERNELS[0];
const ABLATE_ROW: &Kernel = &KERNELS[1];
const GATHER_ROWS: &Kernel = &KERNELS[2];
const SCATTER_ROWS: &Kernel = &KERNELS[3];

/// `x[i, :] += s * v` for every row; `v` is `[1, cols]`.
pub fn add_row(gpu: &Gpu, x: &mut GpuTensor, v: &GpuTensor, s: f32) -> Result<()> {
    let op = "add_row";
    let (m, cols) = (x.rows(), x.cols());
    shaped(op, "x", x, m, cols)?;
    shaped(op, "v", v, 1, cols)?;
    let (variant, units) = by_unit(ADD_ROW, cols);
    for w in windows(gpu, op, m, cols)? {
        let n = w.len() * units;
        gpu.dispatch(&Dispatch {
            binds: &[x.bind_rows(w.clone()), v.bind()],
            params: &[n as u32, units as u32, s.to_bits()],
            groups: unit_grid(n),
            flops: 2 * (w.len() * cols) as u64,
            bytes: 8 * (w.len() * cols) as u64,
            ..Dispatch::new(variant)
        })?;
    }
    Ok(())
}

/// `x[i, :] -= (x[i, :]·d) d` for every row; `d` is `[1, cols]`, unit length by contract.
pub fn ablate_row(gpu: &Gpu, x: &mut GpuTensor, d: &GpuTensor) -> Result<()> {
    let op = "ablate_row";
    let (m, cols) = (x.rows(), x.cols());
    shaped(op, "x", x, m, cols)?;
    shaped(op, "d", d, 1, cols)?;
    let pick = by_row(gpu, ABLATE_ROW, cols);
    for w in windows(gpu, op, m, cols)? {
        gpu.dispatch(&Dispatch {
            binds: &[x.bind_rows(w.clone()), d.bind()],
            params: &[w.len() as u32, pick.units as u32],
            groups: linear_grid(w.len().div_ceil(pick.rows)),
            flops: 4 * (w.len() * cols) as u64,
            bytes: 8 * (w.len() * cols) as u64,
            ..Dispatch::new(pick.variant)
        })?;
    }
    Ok(())
}

/// `y[i, :] = x[rows[i], :]`. Rows beyond `x` are by contract absent; they leave the output row undefined.
pub fn gather_rows(gpu: &Gpu, x: &GpuTensor, rows: &GpuIndex) -> Result<GpuTensor> {
    let op = "gather_rows";
    let cols = x.cols();
    shaped(op, "x", x, x.rows(), cols)?;
    let y = gpu.alloc_f32(rows.len(), cols)?;
    let (variant, units) = by_unit(GATHER_ROWS, cols);
    for out in windows(gpu, op, rows.len(), cols)? {
        for w in windows(gpu, op, x.rows(), cols)? {
            let n = out.len() * units;
            gpu.dispatch(&Dispatch {
                binds: &[x.bind_rows(w.clone()), rows.bind(), y.bind_rows(out.clone())],
                params: &[n as u32, units as u32, w.start as u32, w.len() as u32, out.start as u32],
                groups: unit_grid(n),
                bytes: 8 * (out.len() * cols) as u64,
                ..Dispatch::new(variant)
            })?;
        }
    }
    Ok(y)
}

/// `dst[rows[i], :] = src[i, :]`; `rows` are distinct by contract.
pub fn scatter_rows(gpu: &Gpu, dst: &mut GpuTensor, src: &GpuTensor, rows: &GpuIndex) -> Result<()> {
    scatter(gpu, "scatter_rows", dst, src, rows, false)
}

/// `dst[rows[i], :] += src[i, :]`; `rows` are distinct by contract.
pub fn scatter_add_rows(gpu: &Gpu, dst: &mut GpuTensor, src: &GpuTensor, rows: &GpuIndex) -> Result<()> {
    scatter(gpu, "scatter_add_rows", dst, src, rows, true)
}

fn scatter(
    gpu: &Gpu,
    op: &'static str,
    dst: &mut GpuTensor,
    src: &GpuTensor,
    rows: &GpuIndex,
    add: bool,
) -> Result<()> {
    let cols = dst.cols();
    shaped(op, "dst", dst, dst.rows(), cols)?;
    shaped(op, "src", src, src.rows(), cols)?;
    counted(op, "rows", rows, src.rows())?;
    let (variant, units) = by_unit(SCATTER_ROWS, cols);
    for from in windows(gpu, op, src.rows(), cols)? {
        for w in windows(gpu, op, dst.rows(), cols)? {
            let n = from.len() * units;
            gpu.dispatch(&Dispatch {
                binds: &[dst.bind_rows(w.clone()), src.bind_rows(from.clone()), rows.bind()],
                params: &[n as u32, units as u32, w.start as u32, w.len() as u32, from.start as u32],
                consts: &[("ADD", u32::from(add))],
                groups: unit_grid(n),
                bytes: 12 * (from.len() * cols) as u64,
                ..Dispatch::new(variant)
            })?;
        }
    }
    Ok(())
}
