//! The gate of the MLP (Shazeer 2020).

use super::reduce::{shaped, unit_grid};
use super::{Kernel, Variant};
use crate::gpu::{Dispatch, Gpu, GpuTensor};
use crate::ops::{Result, TensorMeta};
use crate::part;

// Elementwise over flat data: a last unit may reach into the padding of the buffers.
pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "swiglu",
        family: "swiglu",
        twin: "swiglu",
        variants: &[Variant {
            name: "swiglu.vec4",
            parts: &[part!("lib/grid.wgsl"), part!("rows_unit4.wgsl"), part!("lib/gate.wgsl"), part!("swiglu.wgsl")],
            consts: &[("WG", 256)],
            ..Variant::BASE
        }],
    },
    Kernel {
        name: "swiglu_bwd",
        family: "swiglu",
        twin: "swiglu_bwd",
        variants: &[Variant {
            name: "swiglu_bwd.vec4",
            parts: &[part!("lib/grid.wgsl"), part!("rows_unit4.wgsl"), part!("swiglu_bwd.wgsl")],
            consts: &[("WG", 256)],
            ..Variant::BASE
        }],
    },
];

const SWIGLU: &Kernel = &KERNELS[0];
const SWIGLU_BWD: &Kernel = &KERNELS[1];

/// `y = silu(g) * u`, `silu(g) = g / (1 + exp(-g))`.
pub fn swiglu(gpu: &Gpu, g: &GpuTensor, u: &GpuTensor) -> Result<GpuTensor> {
    let op = "swiglu";
    shaped(op, "g", g, g.rows(), g.cols())?;
    shaped(op, "u", u, g.rows(), g.cols())?;
    let y = gpu.alloc_f32(g.rows(), g.cols())?;
    flat(gpu, SWIGLU, &[g, u, &y])?;
    Ok(y)
}

/// Returns `(dg, du)`.
pub fn swiglu_bwd(gpu: &Gpu, dy: &GpuTensor, g: &GpuTensor, u: &GpuTensor) -> Result<(GpuTensor, GpuTensor)> {
    let op = "swiglu_bwd";
    shaped(op, "g", g, g.rows(), g.cols())?;
    shaped(op, "u", u, g.rows(), g.cols())?;
    shaped(op, "dy", dy, g.rows(), g.cols())?;
    let (dg, du) = (gpu.alloc_f32(g.rows(), g.cols())?, gpu.alloc_f32(g.rows(), g.cols())?);
    flat(gpu, SWIGLU_BWD, &[dy, g, u, &dg, &du])?;
    Ok((dg, du))
}

/// One dispatch per window of the operands, which have the same shape.
fn flat(gpu: &Gpu, kernel: &'static Kernel, operands: &[&GpuTensor]) -> Result<()> {
    for bytes in gpu.byte_windows(operands.first().map_or(0, |x| x.bytes()), operands.len() as u64) {
        let len = bytes.end - bytes.start;
        let units = len.div_ceil(16) as usize;
        let binds: Vec<_> = operands.iter().map(|x| x.bind_bytes(bytes.clone())).collect();
        gpu.dispatch(&Dispatch {
            binds: &binds,
            params: &[units as u32],
            groups: unit_grid(units),
            flops: 5 * len,
            bytes: len * operands.len() as u64,
            ..Dispatch::new(gpu.select(kernel, 1))
        })?;
    }
    Ok(())
}
