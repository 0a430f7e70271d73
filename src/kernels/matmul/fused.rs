//! Several products with one input in one dispatch, for decoding: where every operand can be bound whole.

use super::{GATED, THREE, Variant, check, grid, shape, words};
use crate::gpu::{Dispatch, Gpu, GpuTensor};
use crate::ops::{Result, TensorMeta};

/// `[x w^T + b, ...]` of three weights side by side, `[M, N0+N1+N2]`, by a given variant of [`THREE`]; `None` where an operand is too
/// large to be bound whole or the weights are stored in different ways.
pub fn three_by(
    gpu: &Gpu,
    variant: Option<&'static Variant>,
    x: &GpuTensor,
    parts: [(&GpuTensor, Option<&GpuTensor>); 3],
) -> Result<Option<GpuTensor>> {
    const OP: &str = "qkv_append";
    let (m, k) = (x.rows(), x.cols());
    let [(w, b), (w1, b1), (w2, b2)] = parts;
    let ends = [w.rows(), w.rows() + w1.rows(), w.rows() + w1.rows() + w2.rows()];
    for (w, b) in parts {
        if w.cols() != k || b.is_some_and(|b| b.len() != w.rows()) {
            return Err(shape(OP, format!("[{m}, {k}] [{}, {}]^T with its bias", w.rows(), w.cols())));
        }
    }
    check(OP, k, &[Some(x), b, b1, b2])?;
    let alike = w.dtype() == w1.dtype() && w.dtype() == w2.dtype();
    if !alike || !whole(gpu, &[w, w1, w2], m, ends[2], k) {
        return Ok(None);
    }
    let y = gpu.alloc_f32(m, ends[2])?;
    let variant = variant.unwrap_or_else(|| gpu.select_for(THREE, m, ends[2]));
    let [on, on1, on2] = [b, b1, b2].map(|b| b.unwrap_or(x).bind());
    let biases = b.is_some() as usize + 2 * b1.is_some() as usize + 4 * b2.is_some() as usize;
    gpu.dispatch(&Dispatch {
        weight: Some(w.dtype()),
        binds: &[w.bind(), w1.bind(), w2.bind(), x.bind(), on, on1, on2, y.bind()],
        params: &words([m, ends[2], k / 4, ends[0], ends[1], biases]),
        groups: grid(variant, m, ends[2], 1),
        flops: 2 * (m * ends[2] * k) as u64,
        bytes: w.dtype().bytes(ends[2], k) + 4 * (m * (k + ends[2])) as u64,
        ..Dispatch::new(variant)
    })?;
    Ok(Some(y))
}

/// `silu(x w^T) * (x w1^T)` by a given variant of [`GATED`]; `None` as [`three_by`].
pub fn gated_by(
    gpu: &Gpu,
    variant: Option<&'static Variant>,
    x: &GpuTensor,
    w: &GpuTensor,
    w1: &GpuTensor,
) -> Result<Option<GpuTensor>> {
    const OP: &str = "gated";
    let (m, k, n) = (x.rows(), x.cols(), w.rows());
    if w.cols() != k || (w1.rows(), w1.cols()) != (n, k) {
        let sizes = format!("[{n}, {}]^T and [{}, {}]^T", w.cols(), w1.rows(), w1.cols());
        return Err(shape(OP, format!("[{m}, {k}] with {sizes}")));
    }
    check(OP, k, &[Some(x)])?;
    if w.dtype() != w1.dtype() || !whole(gpu, &[w, w1], m, 2 * n, k) {
        return Ok(None);
    }
    let y = gpu.alloc_f32(m, n)?;
    let variant = variant.unwrap_or_else(|| gpu.select_for(GATED, m, 2 * n));
    let pair = variant.consts.iter().find(|(name, _)| *name == "PAIR").map_or(2, |(_, v)| *v as usize);
    let cols = n.div_ceil(pair) * 2 * pair;
    gpu.dispatch(&Dispatch {
        weight: Some(w.dtype()),
        binds: &[w.bind(), w1.bind(), x.bind(), y.bind()],
        params: &words([m, cols, k / 4, n]),
        groups: grid(variant, m, cols, 1),
        flops: 4 * (m * n * k) as u64,
        bytes: w.dtype().bytes(2 * n, k) + 4 * (m * (k + n)) as u64,
        ..Dispatch::new(variant)
    })?;
    Ok(Some(y))
}

/// Whether a product of `m` rows is one dispatch: every operand bound at once, no more work than a submission should hold.
fn whole(gpu: &Gpu, weights: &[&GpuTensor], m: usize, n: usize, k: usize) -> bool {
    let most = gpu.rows_per_dispatch(2 * (n * k) as u64, 4 * (n + k) as u64);
    let bound = gpu.caps().max_binding;
    m > 0 && m <= most && weights.iter().all(|w| w.bytes() <= bound) && 4 * (m * n.max(k)) as u64 <= bound
}
