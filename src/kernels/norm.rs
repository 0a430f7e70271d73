//! RMSNorm (Zhang & Sennrich 2019), alone and fused with the residual sum, and its gradients.

use super::Kernel;
use super::reduce::{by_row, by_unit, row_variants, shaped, sum_rows, unit_grid, unit_variants, windows};
use crate::gpu::{Dispatch, Gpu, GpuTensor, linear_grid};
use crate::ops::{Result, TensorMeta};

pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "rmsnorm",
        family: "norm",
        twin: "rmsnorm",
        variants: row_variants!("rmsnorm", "norm.wgsl", 64, &[&[]]),
    },
    Kernel {
        name: "add_rmsnorm",
        family: "norm",
        twin: "add_rmsnorm",
        variants: row_variants!("add_rmsnorm", "norm_add.wgsl", 64, &[&[]]),
    },
    Kernel {
        name: "rmsnorm_bwd",
        family: "norm",
        twin: "rmsnorm_bwd",
        variants: row_variants!("rmsnorm_bwd", "norm_bwd.wgsl", 64, &[&[("ADD", 0)], &[("ADD", 1)]]),
    },
    Kernel {
        name: "rmsnorm_bwd_weight",
        family: "norm",
        twin: "rmsnorm_bwd",
        variants: unit_variants!("rmsnorm_bwd_weight", "norm_bwd_weight.wgsl", &[&[("ADD", 0)], &[("ADD", 1)]]),
    },
];

const RMSNORM: &Kernel = &KERNELS[0];
const ADD_RMSNORM: &Kernel = &KERNELS[1];
const RMSNORM_BWD: &Kernel = &KERNELS[2];
const RMSNORM_BWD_WEIGHT: &Kernel = &KERNELS[3];

/// `rstd = 1/sqrt(mean(x²) + eps)` `[M,1]`, `y = x * rstd * w`; `w` `[1,H]`. Returns `(y, rstd)`.
pub fn rmsnorm(gpu: &Gpu, x: &GpuTensor, w: &GpuTensor, eps: f32) -> Result<(GpuTensor, GpuTensor)> {
    let op = "rmsnorm";
    let (m, h) = (x.rows(), x.cols());
    shaped(op, "x", x, m, h)?;
    shaped(op, "w", w, 1, h)?;
    let (y, rstd) = (gpu.alloc_f32(m, h)?, gpu.alloc_f32(m, 1)?);
    let pick = by_row(gpu, RMSNORM, h);
    for r in windows(gpu, op, m, h)? {
        gpu.dispatch(&Dispatch {
            binds: &[x.bind_rows(r.clone()), w.bind(), y.bind_rows(r.clone()), rstd.bind()],
            params: &[r.len() as u32, pick.units as u32, eps.to_bits(), r.start as u32],
            groups: linear_grid(r.len().div_ceil(pick.rows)),
            flops: 4 * (r.len() * h) as u64,
            bytes: 12 * (r.len() * h) as u64,
            ..Dispatch::new(pick.variant)
        })?;
    }
    Ok((y, rstd))
}

/// `s = x + delta`, then RMSNorm of `s`. Returns `(s, y, rstd)`.
pub fn add_rmsnorm(
    gpu: &Gpu,
    x: &GpuTensor,
    delta: &GpuTensor,
    w: &GpuTensor,
    eps: f32,
) -> Result<(GpuTensor, GpuTensor, GpuTensor)> {
    let op = "add_rmsnorm";
    let (m, h) = (x.rows(), x.cols());
    shaped(op, "x", x, m, h)?;
    shaped(op, "delta", delta, m, h)?;
    shaped(op, "w", w, 1, h)?;
    let (s, y, rstd) = (gpu.alloc_f32(m, h)?, gpu.alloc_f32(m, h)?, gpu.alloc_f32(m, 1)?);
    let pick = by_row(gpu, ADD_RMSNORM, h);
    for r in windows(gpu, op, m, h)? {
        gpu.dispatch(&Dispatch {
            binds: &[
                x.bind_rows(r.clone()),
                delta.bind_rows(r.clone()),
                w.bind(),
                s.bind_rows(r.clone()),
                y.bind_rows(r.clone()),
                rstd.bind(),
            ],
            params: &[r.len() as u32, pick.units as u32, eps.to_bits(), r.start as u32],
            groups: linear_grid(r.len().div_ceil(pick.rows)),
            flops: 5 * (r.len() * h) as u64,
            bytes: 20 * (r.len() * h) as u64,
            ..Dispatch::new(pick.variant)
        })?;
    }
    Ok((s, y, rstd))
}

/// `dx = rstd (dy w - x̂ mean(dy w x̂))` with `x̂ = x rstd`, plus `dres` when given; `dw += Σ_rows dy x̂`.
pub fn rmsnorm_bwd(
    gpu: &Gpu,
    dy: &GpuTensor,
    x: &GpuTensor,
    w: &GpuTensor,
    rstd: &GpuTensor,
    dw: Option<&mut GpuTensor>,
    dres: Option<GpuTensor>,
) -> Result<GpuTensor> {
    let op = "rmsnorm_bwd";
    let (m, h) = (x.rows(), x.cols());
    shaped(op, "x", x, m, h)?;
    shaped(op, "dy", dy, m, h)?;
    shaped(op, "w", w, 1, h)?;
    shaped(op, "rstd", rstd, m, 1)?;
    let add = u32::from(dres.is_some());
    let dx = match dres {
        Some(dres) => {
            shaped(op, "dres", &dres, m, h)?;
            dres
        }
        None => gpu.alloc_f32(m, h)?,
    };
    let pick = by_row(gpu, RMSNORM_BWD, h);
    for r in windows(gpu, op, m, h)? {
        gpu.dispatch(&Dispatch {
            binds: &[dy.bind_rows(r.clone()), x.bind_rows(r.clone()), w.bind(), rstd.bind(), dx.bind_rows(r.clone())],
            params: &[r.len() as u32, pick.units as u32, r.start as u32],
            consts: &[("ADD", add)],
            groups: linear_grid(r.len().div_ceil(pick.rows)),
            flops: 9 * (r.len() * h) as u64,
            bytes: 24 * (r.len() * h) as u64,
            ..Dispatch::new(pick.variant)
        })?;
    }
    if let Some(dw) = dw {
        shaped(op, "dw", dw, 1, h)?;
        let (variant, units) = by_unit(RMSNORM_BWD_WEIGHT, h);
        sum_rows(gpu, op, dw, m, h, |sums, r| {
            let n = r.len().div_ceil(sums.block) * units;
            gpu.dispatch(&Dispatch {
                binds: &[dy.bind_rows(r.clone()), x.bind_rows(r.clone()), rstd.bind(), sums.out],
                params: &[r.len() as u32, units as u32, sums.block as u32, n as u32, sums.first as u32, r.start as u32],
                consts: &[("ADD", u32::from(sums.add))],
                groups: unit_grid(n),
                flops: 3 * (r.len() * h) as u64,
                bytes: 8 * (r.len() * h) as u64,
                ..Dispatch::new(variant)
            })
        })?;
    }
    Ok(dx)
}
