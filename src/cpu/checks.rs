//! What a call must satisfy before its kernel runs.

use super::attention::Qkv;
use super::matmul::Dims;
use super::real::Real;
use super::tensor::{CpuIndex, CpuTensor};
use crate::ops::{AttnPlan, AttnShape, OpError, Result, TensorMeta};

pub fn refuse<T>(op: &'static str, detail: String) -> Result<T> {
    Err(OpError::Shape { op, detail })
}

pub fn shaped(op: &'static str, what: &str, x: &impl TensorMeta, rows: usize, cols: usize) -> Result<()> {
    if (x.rows(), x.cols()) == (rows, cols) {
        return Ok(());
    }
    refuse(op, format!("{what} is [{}, {}], expected [{rows}, {cols}]", x.rows(), x.cols()))
}

pub fn counted(op: &'static str, what: &str, got: usize, want: usize) -> Result<()> {
    if got == want { Ok(()) } else { refuse(op, format!("{what} has {got} entries, expected {want}")) }
}

/// Every index below `bound`.
pub fn below(op: &'static str, what: &str, index: &[u32], bound: usize) -> Result<()> {
    match index.iter().position(|&i| i as usize >= bound) {
        Some(at) => refuse(op, format!("{what}[{at}] is {}, there are {bound} rows", index[at])),
        None => Ok(()),
    }
}

pub fn full<'a, F: Real>(op: &'static str, what: &str, x: &'a CpuTensor<F>) -> Result<&'a [F]> {
    let stored = x.dtype().name();
    x.slice().map_or_else(|| refuse(op, format!("{what} is stored as {stored}, which is for weights only")), Ok)
}

pub fn full_mut<'a, F: Real>(op: &'static str, what: &str, x: &'a mut CpuTensor<F>) -> Result<&'a mut [F]> {
    let stored = x.dtype().name();
    x.slice_mut().map_or_else(|| refuse(op, format!("{what} is stored as {stored}, which is read-only")), Ok)
}

pub fn bits_mut<'a, F: Real>(op: &'static str, what: &str, x: &'a mut CpuTensor<F>) -> Result<&'a mut [u16]> {
    x.bits_mut().map_or_else(|| refuse(op, format!("{what} is not stored as bf16")), Ok)
}

/// Checks an attention call; `keys` are `k` and `v`.
pub fn qkv<'a, F: Real>(
    op: &'static str,
    q: &'a CpuTensor<F>,
    k: &'a CpuTensor<F>,
    v: &'a CpuTensor<F>,
    plan: &'a AttnPlan<CpuIndex>,
    shape: &'a AttnShape,
) -> Result<Qkv<'a, F>> {
    let AttnShape { heads, kv_heads, head_dim, .. } = *shape;
    if heads == 0 || kv_heads == 0 || head_dim == 0 || !heads.is_multiple_of(kv_heads) {
        return refuse(op, format!("{heads} heads of {head_dim} over {kv_heads} key/value heads"));
    }
    shaped(op, "q", q, plan.rows(), heads * head_dim)?;
    shaped(op, "k", k, k.rows(), kv_heads * head_dim)?;
    shaped(op, "v", v, k.rows(), kv_heads * head_dim)?;
    let mut rows = 0;
    for s in &plan.spans {
        let keys = s.k0.checked_add(s.past).and_then(|n| n.checked_add(s.n));
        if s.q0 != rows || keys.is_none_or(|n| n > k.rows()) {
            return refuse(op, format!("{s:?} with {} key rows and {rows} query rows before it", k.rows()));
        }
        rows += s.n;
    }
    Ok(Qkv { q: full(op, "q", q)?, k: full(op, "k", k)?, v: full(op, "v", v)?, spans: &plan.spans, shape })
}

/// Shapes of the head's inputs; `(M, V, H)`.
pub fn head_dims<F: Real>(
    op: &'static str,
    h: &CpuTensor<F>,
    w: &CpuTensor<F>,
    targets: &CpuIndex,
    temperature: f32,
) -> Result<Dims> {
    let d = Dims { m: h.rows(), n: w.rows(), k: w.cols() };
    shaped(op, "h", h, d.m, d.k)?;
    counted(op, "targets", targets.0.len(), d.m)?;
    below(op, "targets", &targets.0, d.n)?;
    if !(temperature > 0.0 && temperature.is_finite()) {
        return refuse(op, format!("temperature is {temperature}, expected a positive number"));
    }
    Ok(d)
}
