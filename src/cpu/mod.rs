//! The CPU backend. `Cpu<f64>` is plain loops that read like the formulas: the oracle. `Cpu<f32>` is what a machine
//! without a GPU runs; its fast paths are variants of the plain ones and are tested against them.
//!
//! A family of operations is one file of functions over slices; [`Kernels`] collects them, and `door` puts shape checks
//! and memory around them.

mod attention;
mod checks;
mod door;
mod embed;
mod fast;
mod head;
mod matmul;
mod norm;
mod optim;
mod real;
mod reduce;
mod rope;
mod rows;
mod sample;
mod swiglu;
mod tensor;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::ops::{AdamW, Sampling};
use attention::Qkv;
pub use matmul::Dims;
pub use real::Real;
pub use sample::{philox, uniform};
use tensor::Pool;
pub use tensor::{CpuIndex, CpuTensor, Values};

/// CPU device. Cheap to make; tensors made by one device may be used by another of the same `F`.
pub struct Cpu<F: Real> {
    kernels: Box<dyn Kernels<F>>,
    pool: Arc<Pool<F>>,
}

impl Cpu<f64> {
    /// The oracle: plain loops in f64.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::with(Plain)
    }
}

impl Cpu<f32> {
    /// The default device of a machine without a GPU.
    #[allow(clippy::new_without_default)]
    pub fn new() -> Self {
        Self::with(fast::Fast::new())
    }
    /// Plain loops in f32.
    pub fn plain() -> Self {
        Self::with(Plain)
    }
}

impl<F: Real> Cpu<F> {
    pub(crate) fn with(kernels: impl Kernels<F> + 'static) -> Self {
        Self { kernels: Box::new(kernels), pool: Pool::new() }
    }
}

/// The arithmetic, over slices whose lengths the caller has checked; what the arguments are is said where the plain
/// version is. A fast set of kernels overrides what it does better. Outputs named in `=` formulas are overwritten
/// whatever they held.
pub(crate) trait Kernels<F: Real>: Send + Sync {
    fn name(&self) -> String;

    fn add(&self, a: &mut [F], b: &[F]) {
        rows::add(a, b);
    }
    fn scale(&self, a: &mut [F], s: F) {
        rows::scale(a, s);
    }
    fn add_row(&self, x: &mut [F], v: &[F], s: F) {
        rows::add_row(x, v, s);
    }
    fn ablate_row(&self, x: &mut [F], d: &[F]) {
        rows::ablate_row(x, d);
    }

    fn nt(&self, y: &mut [F], x: &[F], w: Values<F>, bias: Option<&[F]>, d: Dims) {
        matmul::nt(y, x, w, bias, d);
    }
    fn nn(&self, dx: &mut [F], dy: &[F], w: Values<F>, d: Dims) {
        matmul::nn(dx, dy, w, d);
    }
    fn tn(&self, dw: &mut [F], dy: &[F], x: &[F], d: Dims) {
        matmul::tn(dw, dy, x, d);
    }
    fn bias_bwd(&self, db: &mut [F], dy: &[F]) {
        matmul::bias_bwd(db, dy);
    }

    fn rmsnorm(&self, y: &mut [F], rstd: &mut [F], x: &[F], w: &[F], eps: F) {
        norm::rmsnorm(y, rstd, x, w, eps);
    }
    fn rmsnorm_bwd(&self, dx: &mut [F], dw: Option<&mut [F]>, dy: &[F], x: &[F], w: &[F], rstd: &[F]) {
        norm::rmsnorm_bwd(dx, dw, dy, x, w, rstd);
    }
    fn rope(&self, x: &mut [F], pos: &[u32], table: &[F], d: usize, cols: usize, inverse: bool) {
        rope::rope(x, pos, table, d, cols, inverse);
    }
    fn swiglu(&self, y: &mut [F], g: &[F], u: &[F]) {
        swiglu::swiglu(y, g, u);
    }
    fn swiglu_bwd(&self, dg: &mut [F], du: &mut [F], dy: &[F], g: &[F], u: &[F]) {
        swiglu::swiglu_bwd(dg, du, dy, g, u);
    }

    fn attention(&self, out: &mut [F], lse: &mut [F], x: Qkv<F>) {
        attention::attention(out, lse, x);
    }
    fn attention_bwd(&self, grads: (&mut [F], &mut [F], &mut [F]), dout: &[F], out: &[F], lse: &[F], x: Qkv<F>) {
        attention::attention_bwd(grads, dout, out, lse, x);
    }

    fn log_softmax(&self, lse: &mut [F], entropy: &mut [F], z: &[F], t: F) {
        head::log_softmax(lse, entropy, z, t);
    }
    fn log_softmax_bwd(&self, dz: &mut [F], z: &[F], targets: &[u32], dlogp: &[F], t: F, lse: &[F]) {
        head::log_softmax_bwd(dz, z, targets, dlogp, t, lse);
    }
    fn masses(&self, e: &mut [F], z: &[F], max: F, t: F) {
        head::masses(e, z, max, t);
    }
    fn sample(&self, ids: &mut [u32], logp: &mut [F], z: &[F], s: &Sampling, keys: &[u32]) {
        sample::sample(self, ids, logp, z, s, keys);
    }

    fn sum_squares(&self, x: &[F]) -> (f64, u64) {
        reduce::sum_squares(x)
    }
    fn adamw(&self, w: &mut [F], g: &[F], m: &mut [F], v: &mut [F], hyper: &AdamW, clip: F) -> f64 {
        optim::adamw(w, g, m, v, hyper, clip)
    }
    fn adamw_bf16(&self, state: optim::Bf16State<'_>, g: &[F], hyper: &AdamW, clip: F) -> (f64, u64) {
        optim::adamw_bf16(state, g, hyper, clip)
    }
}

/// The formulas themselves.
pub(crate) struct Plain;

impl<F: Real> Kernels<F> for Plain {
    fn name(&self) -> String {
        format!("cpu (plain {})", F::NAME)
    }
}
