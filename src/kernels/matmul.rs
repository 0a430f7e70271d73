//! Matrix products: `y = x w^T`, `dx = dy w`, `dw += dy^T x` (`shaders/matmul/`).
//!
//! A variant is an operand file (which product) and a core (how it is tiled). Every core adds the products of one
//! element of the result in the order of the shared dimension into one accumulator, so variants give the same bits and the
//! number of rows, and windows over large buffers, change none. The exception is [`NN_SPLIT`], chosen by the shape of
//! the weights alone: it cuts a very long shared dimension (the vocabulary) into slices whose sums are added in order.

mod fused;
mod variants;

pub use fused::{gated_by, three_by};
pub use variants::{GATED, KERNELS, NN, NN_ANY, NN_SPLIT, NT, ROW_SCALE, THREE, TN, TN_ANY};

use self::variants::SUM_SLICES;
use super::reduce::by_row;
use super::{Kernel, Needs, Variant};
use crate::gpu::{Caps, Dispatch, Gpu, GpuTensor, linear_grid};
use crate::ops::{Dtype, OpError, Result, TensorMeta};

/// Length of a slice of [`NN_SPLIT`].
const SLICE: usize = 4096;

/// Rows of `w` and `dw` are windowed by multiples of this many bytes per row's worth, so that a window starts at a
/// multiple of four rows: a row of 64 bytes needs four of them to reach the binding alignment.
const QUAD_ROWS: u64 = Caps::ALIGN / 4;

/// The kernel that computes `dx[., k] = dy[., n] w[n, k]` on this device.
pub fn nn_kernel(n: usize, k: usize, caps: &Caps) -> &'static Kernel {
    // With few rows and a long shared dimension the tiles of the result are too few to fill a GPU.
    if !caps.software && n >= 2 * SLICE && n >= 4 * k {
        NN_SPLIT
    } else if n.is_multiple_of(4) {
        NN
    } else {
        NN_ANY
    }
}

/// Slices, and rows at a time, whose partial sums a hardware device holds for `dx[m, k] = dy[m, n] w[n, k]`; one slice: none.
pub(crate) fn split_part(m: usize, n: usize, k: usize, max_binding: u64) -> (usize, usize) {
    if n < 2 * SLICE || n < 4 * k {
        return (1, 0);
    }
    let slices = n.div_ceil(SLICE);
    let fit = (max_binding / (4 * k * slices).max(1) as u64) as usize;
    (slices, m.min(fit.max(1)))
}

/// The kernel that computes `dw[n, k] += dy[., n]^T x[., k]`.
pub fn tn_kernel(n: usize) -> &'static Kernel {
    if n.is_multiple_of(4) { TN } else { TN_ANY }
}

/// Rows and columns of the result per workgroup of a variant.
fn tile(variant: &Variant) -> (usize, usize) {
    match variant.name.rsplit('.').next() {
        Some("sg32x4") => (32, 32),
        Some("sg8x4") => (8, 32),
        Some("row1") => (1, 128),
        Some("reg8x8") => (8, 64),
        Some("skinny16") => (16, 16),
        Some("narrow4") => (16, 4),
        Some("tile128x64" | "coop16") => (128, 64),
        Some("coop8") => (64, 32),
        _ => (64, 64),
    }
}

fn grid(variant: &Variant, rows: usize, cols: usize, slices: usize) -> [u32; 3] {
    let (tile_rows, tile_cols) = tile(variant);
    [cols.div_ceil(tile_cols) as u32, rows.div_ceil(tile_rows) as u32, slices as u32]
}

/// `y[M,N] = x[M,K] w[N,K]^T (+ bias[1,N])`.
pub fn matmul_nt(gpu: &Gpu, x: &GpuTensor, w: &GpuTensor, bias: Option<&GpuTensor>) -> Result<GpuTensor> {
    nt_by(gpu, gpu.select_for(NT, x.rows(), w.rows()), x, w, bias)
}

/// [`matmul_nt`] by a given variant of [`NT`].
pub fn nt_by(
    gpu: &Gpu,
    variant: &'static Variant,
    x: &GpuTensor,
    w: &GpuTensor,
    bias: Option<&GpuTensor>,
) -> Result<GpuTensor> {
    const OP: &str = "matmul_nt";
    let (m, k, n) = (x.rows(), x.cols(), w.rows());
    if w.cols() != k || bias.is_some_and(|b| b.rows() * b.cols() != n) {
        let bias = bias.map_or(String::new(), |b| format!(" + [{}, {}]", b.rows(), b.cols()));
        return Err(shape(OP, format!("[{m}, {k}] [{n}, {}]^T{bias}", w.cols())));
    }
    check(OP, k, &[Some(x), bias])?;
    let y = gpu.alloc_f32(m, n)?;
    // Matrix units compute in f16.
    let coop = matches!(variant.needs, Needs::Cooperative(_));
    let scale = if coop { Some(row_scale(gpu, x)?) } else { None };
    let consts: &[_] = &[("WG", 4 * gpu.caps().subgroup_max)];
    let most = gpu.rows_per_dispatch(2 * (n * k) as u64, 4 * (n + k) as u64);
    for rows in gpu.row_windows(OP, m, &[x.row_bytes(), y.row_bytes()], most)? {
        // Where even the fewest rows are too many, as with the head's.
        let most = gpu.rows_per_dispatch(2 * (rows.len() * k) as u64, 4 * (rows.len() + k) as u64);
        for cols in gpu.row_windows(OP, n, &[w.row_bytes(), QUAD_ROWS], most)? {
            let x = x.bind_rows(rows.clone());
            let flops = 2 * (rows.len() * cols.len() * k) as u64;
            let mut binds = vec![w.bind_rows(cols.clone()), x, bias.map_or(x, GpuTensor::bind)];
            binds.extend(scale.as_ref().map(GpuTensor::bind));
            binds.push(y.bind_rows(rows.clone()));
            let params = words([rows.len(), cols.len(), k / 4, n, cols.start, bias.is_some() as usize, rows.start]);
            gpu.dispatch(&Dispatch {
                weight: Some(w.dtype()),
                consts: if coop { consts } else { &[] },
                binds: &binds,
                params: if coop { &params } else { &params[..6] },
                groups: grid(variant, rows.len(), cols.len(), 1),
                flops,
                bytes: w.dtype().bytes(cols.len(), k) + 4 * (rows.len() * (k + cols.len())) as u64,
                ..Dispatch::new(variant)
            })?;
        }
    }
    Ok(y)
}

/// `[M,1]`: powers of two that bring the rows of `x` into the range of f16.
pub fn row_scale(gpu: &Gpu, x: &GpuTensor) -> Result<GpuTensor> {
    let scale = gpu.alloc_f32(x.rows(), 1)?;
    let pick = by_row(gpu, ROW_SCALE, x.cols());
    for r in gpu.row_windows("matmul_nt", x.rows(), &[x.row_bytes()], usize::MAX)? {
        gpu.dispatch(&Dispatch {
            binds: &[x.bind_rows(r.clone()), scale.bind()],
            params: &words([r.len(), pick.units, r.start]),
            groups: linear_grid(r.len().div_ceil(pick.rows)),
            flops: (r.len() * x.cols()) as u64,
            bytes: 4 * (r.len() * x.cols()) as u64,
            ..Dispatch::new(pick.variant)
        })?;
    }
    Ok(scale)
}

/// `dx[M,K] = dy[M,N] w[N,K]`, added to `acc` when given.
pub fn matmul_nn(gpu: &Gpu, dy: &GpuTensor, w: &GpuTensor, acc: Option<GpuTensor>) -> Result<GpuTensor> {
    let kernel = nn_kernel(w.rows(), w.cols(), gpu.caps());
    nn_by(gpu, gpu.select_for(kernel, dy.rows(), w.cols()), dy, w, acc)
}

/// [`matmul_nn`] by a given variant of [`NN`], [`NN_ANY`] or [`NN_SPLIT`].
pub fn nn_by(
    gpu: &Gpu,
    variant: &'static Variant,
    dy: &GpuTensor,
    w: &GpuTensor,
    acc: Option<GpuTensor>,
) -> Result<GpuTensor> {
    const OP: &str = "matmul_nn";
    let (m, n, k) = (dy.rows(), w.rows(), w.cols());
    if dy.cols() != n || acc.as_ref().is_some_and(|a| (a.rows(), a.cols()) != (m, k)) {
        let acc = acc.map_or(String::new(), |a| format!("[{}, {}] + ", a.rows(), a.cols()));
        return Err(shape(OP, format!("{acc}[{m}, {}] [{n}, {k}]", dy.cols())));
    }
    check(OP, k, &[Some(dy), acc.as_ref()])?;
    if n == 0 {
        return Err(shape(OP, "the weights have no rows".into()));
    }
    let mut add = acc.is_some();
    let dx = acc.map_or_else(|| gpu.alloc_f32(m, k), Ok)?;
    let split = NN_SPLIT.variants.iter().any(|v| v.name == variant.name);
    let slices = |depth: usize| if split { depth.div_ceil(SLICE) } else { 1 };
    let most = gpu.rows_per_dispatch(2 * (n * k) as u64, 4 * (n + k) as u64);
    for window in gpu.row_windows(OP, n, &[w.row_bytes(), QUAD_ROWS], usize::MAX)? {
        let depth = window.len();
        let part_bytes = dx.row_bytes() * slices(depth) as u64;
        for rows in gpu.row_windows(OP, m, &[dy.row_bytes(), part_bytes], most)? {
            let part = if split { Some(gpu.alloc_f32(slices(depth) * rows.len(), k)?) } else { None };
            let last = if split { SLICE / 4 } else { add as usize };
            let out = part.as_ref().map_or_else(|| dx.bind_rows(rows.clone()), GpuTensor::bind);
            gpu.dispatch(&Dispatch {
                weight: Some(w.dtype()),
                binds: &[w.bind_rows(window.clone()), dy.bind_rows(rows.clone()), out],
                params: &words([rows.len(), k / 4, depth, n, window.start, last]),
                groups: grid(variant, rows.len(), k, slices(depth)),
                flops: 2 * (rows.len() * depth * k) as u64,
                bytes: w.dtype().bytes(depth, k) + 4 * (rows.len() * (k * slices(depth) + depth)) as u64,
                ..Dispatch::new(variant)
            })?;
            if let Some(part) = part {
                sum_slices(gpu, &part, &dx, rows, slices(depth), add)?;
            }
        }
        add = true;
    }
    Ok(dx)
}

/// `dst[rows] (+)= Σ_s part[s]`, `part` `[slices * rows, K]`, slices in order.
fn sum_slices(
    gpu: &Gpu,
    part: &GpuTensor,
    dst: &GpuTensor,
    rows: std::ops::Range<usize>,
    slices: usize,
    add: bool,
) -> Result<()> {
    let count4 = rows.len() * dst.cols() / 4;
    gpu.dispatch(&Dispatch {
        binds: &[part.bind(), dst.bind_rows(rows)],
        params: &words([count4, slices, add as usize]),
        groups: linear_grid(count4.div_ceil(256)),
        flops: 4 * (count4 * slices) as u64,
        bytes: 16 * (count4 * (slices + 2)) as u64,
        ..Dispatch::new(gpu.select(SUM_SLICES, 1))
    })
}

/// `dw[N,K] += dy[M,N]^T x[M,K]`.
pub fn matmul_tn(gpu: &Gpu, dw: &mut GpuTensor, dy: &GpuTensor, x: &GpuTensor) -> Result<()> {
    tn_by(gpu, gpu.select_for(tn_kernel(dy.cols()), dw.rows(), dw.cols()), dw, dy, x)
}

/// [`matmul_tn`] by a given variant of [`TN`] or [`TN_ANY`].
pub fn tn_by(gpu: &Gpu, variant: &'static Variant, dw: &mut GpuTensor, dy: &GpuTensor, x: &GpuTensor) -> Result<()> {
    const OP: &str = "matmul_tn";
    let (m, n, k) = (dy.rows(), dy.cols(), x.cols());
    if x.rows() != m || (dw.rows(), dw.cols()) != (n, k) {
        return Err(shape(OP, format!("[{}, {}] += [{m}, {n}]^T [{}, {k}]", dw.rows(), dw.cols(), x.rows())));
    }
    check(OP, k, &[Some(dw), Some(dy), Some(x)])?;
    let most = gpu.rows_per_dispatch(2 * (m * k) as u64, 4 * (m + 2 * k) as u64);
    for rows in gpu.row_windows(OP, n, &[dw.row_bytes(), QUAD_ROWS], most)? {
        for window in gpu.row_windows(OP, m, &[dy.row_bytes(), x.row_bytes(), QUAD_ROWS], usize::MAX)? {
            let depth = window.len();
            gpu.dispatch(&Dispatch {
                binds: &[dy.bind_rows(window.clone()), x.bind_rows(window.clone()), dw.bind_rows(rows.clone())],
                params: &words([rows.len(), k / 4, depth, n, rows.start]),
                groups: grid(variant, rows.len(), k, 1),
                flops: 2 * (rows.len() * depth * k) as u64,
                bytes: 4 * (depth * (rows.len() + k) + 2 * rows.len() * k) as u64,
                ..Dispatch::new(variant)
            })?;
        }
    }
    Ok(())
}

fn words<const N: usize>(values: [usize; N]) -> [u32; N] {
    values.map(|v| v as u32)
}

fn shape(op: &'static str, detail: String) -> OpError {
    OpError::Shape { op, detail }
}

/// `k` must be a positive multiple of 4 and the activations f32.
fn check(op: &'static str, k: usize, f32s: &[Option<&GpuTensor>]) -> Result<()> {
    if k == 0 || !k.is_multiple_of(4) {
        return Err(shape(op, format!("the row length of the weights, {k}, is not a positive multiple of 4")));
    }
    if f32s.iter().flatten().any(|t| t.dtype() != Dtype::F32) {
        return Err(shape(op, "only the weights may be packed".into()));
    }
    Ok(())
}
