//! Fill, copy, add and scale: elementwise over flat f32 data (`shaders/copy.wgsl`).

use super::{Kernel, Part, Variant};
use crate::gpu::{Bind, Dispatch, Gpu, GpuTensor, linear_grid};
use crate::ops::{Dtype, OpError, Result, TensorMeta};
use crate::part;

const PARTS: &[Part] = &[part!("lib/grid.wgsl"), part!("copy.wgsl")];

pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "fill",
        family: "copy",
        twin: "fill",
        variants: &[Variant { name: "fill.vec4", entry: "fill", parts: PARTS, ..Variant::BASE }],
    },
    Kernel {
        name: "copy",
        family: "copy",
        twin: "copy",
        variants: &[Variant { name: "copy.vec4", entry: "copy", parts: PARTS, ..Variant::BASE }],
    },
    Kernel {
        name: "add",
        family: "copy",
        twin: "add",
        variants: &[Variant { name: "add.vec4", entry: "add", parts: PARTS, ..Variant::BASE }],
    },
    Kernel {
        name: "scale",
        family: "copy",
        twin: "scale",
        variants: &[Variant { name: "scale.vec4", entry: "scale", parts: PARTS, ..Variant::BASE }],
    },
];

const FILL: &Kernel = &KERNELS[0];
const COPY: &Kernel = &KERNELS[1];
const ADD: &Kernel = &KERNELS[2];
const SCALE: &Kernel = &KERNELS[3];

/// `x[..] = value`.
pub fn fill(gpu: &Gpu, x: &mut GpuTensor, value: f32) -> Result<()> {
    elementwise(gpu, FILL, x, None, value, 0)
}

/// A new tensor with the elements of `x`, as they are stored.
pub fn copy(gpu: &Gpu, x: &GpuTensor) -> Result<GpuTensor> {
    let out = gpu.alloc(x.rows(), x.cols(), x.dtype())?;
    elementwise(gpu, COPY, &out, Some(x), 0.0, 0)?;
    Ok(out)
}

/// Copies `bytes` between two bound ranges of f32 data, in 16-byte steps: the last may reach into the padding of `dst`.
pub(crate) fn copy_range(gpu: &Gpu, dst: Bind, src: Bind, bytes: u64) -> Result<()> {
    let count4 = bytes.div_ceil(16) as usize;
    gpu.dispatch(&Dispatch {
        groups: linear_grid(count4.div_ceil(256)),
        params: &[count4 as u32, 0],
        binds: &[dst, src],
        bytes: 2 * bytes,
        ..Dispatch::new(gpu.select(COPY, 1))
    })
}

/// `a += b`, same shape.
pub fn add(gpu: &Gpu, a: &mut GpuTensor, b: &GpuTensor) -> Result<()> {
    if (a.rows(), a.cols()) != (b.rows(), b.cols()) {
        return Err(OpError::Shape {
            op: "add",
            detail: format!("[{}, {}] += [{}, {}]", a.rows(), a.cols(), b.rows(), b.cols()),
        });
    }
    elementwise(gpu, ADD, a, Some(b), 0.0, 1)
}

/// `a *= s`.
pub fn scale(gpu: &Gpu, a: &mut GpuTensor, s: f32) -> Result<()> {
    elementwise(gpu, SCALE, a, None, s, 1)
}

/// One dispatch per window of `dst` (and the same window of `src`).
fn elementwise(
    gpu: &Gpu,
    kernel: &'static Kernel,
    dst: &GpuTensor,
    src: Option<&GpuTensor>,
    value: f32,
    flops: u64,
) -> Result<()> {
    if kernel.name != "copy" && (dst.dtype() != Dtype::F32 || src.is_some_and(|s| s.dtype() != Dtype::F32)) {
        return Err(OpError::Shape { op: kernel.name, detail: "packed tensors are read-only weights".into() });
    }
    for bytes in gpu.byte_windows(dst.bytes(), 1 + u64::from(src.is_some()) + flops) {
        let len = bytes.end - bytes.start;
        let count4 = len.div_ceil(16) as usize;
        let mut binds = vec![dst.bind_bytes(bytes.clone())];
        binds.extend(src.map(|s| s.bind_bytes(bytes.clone())));
        gpu.dispatch(&Dispatch {
            groups: linear_grid(count4.div_ceil(256)),
            params: &[count4 as u32, value.to_bits()],
            binds: &binds,
            flops: flops * len / 4,
            bytes: (binds.len() as u64 + flops) * len,
            ..Dispatch::new(gpu.select(kernel, dst.rows()))
        })?;
    }
    Ok(())
}
