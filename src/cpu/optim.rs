//! AdamW (Loshchilov & Hutter 2019), as `torch.optim.AdamW` computes it.

use super::real::Real;
use crate::ops::AdamW;
use crate::ops::plan::{round_bf16, rounding_bits};

/// Factor of PyTorch's `clip_grad_norm_`: `min(1, max_norm / (norm + 1e-6))`.
pub fn clip_factor<F: Real>(norm: F, max_norm: f32) -> F {
    let c = F::of_f32(max_norm) / (norm + F::of(1e-6));
    if c < F::ONE { c } else { F::ONE }
}

/// One step; the gradient is multiplied by `clip`. Returns the sum of squares of the change of `w`.
pub fn adamw<F: Real>(w: &mut [F], g: &[F], m: &mut [F], v: &mut [F], hyper: &AdamW, clip: F) -> f64 {
    let [lr, b1, b2, eps, wd, bc1, bc2] = [
        hyper.lr,
        hyper.beta1,
        hyper.beta2,
        hyper.eps,
        hyper.weight_decay,
        hyper.bias_correction1,
        hyper.bias_correction2,
    ]
    .map(F::of_f32);
    let mut change = 0.0;
    for i in 0..w.len() {
        let g = g[i] * clip;
        m[i] = b1 * m[i] + (F::ONE - b1) * g;
        v[i] = b2 * v[i] + (F::ONE - b2) * g * g;
        let old = w[i];
        w[i] = old * (F::ONE - lr * wd) - lr * (m[i] / bc1) / ((v[i] / bc2).sqrt() + eps);
        change += (w[i] - old).f64().powi(2);
    }
    change
}

/// Weights and moments of [`adamw_bf16`], bf16 bit patterns, and where they lie in their tensor.
pub struct Bf16State<'a> {
    pub w: &'a mut [u16],
    pub m: &'a mut [u16],
    pub v: &'a mut [u16],
    /// Number of the first element.
    pub origin: usize,
    pub key: [u32; 2],
}

/// As [`adamw`] with every new value rounded stochastically. Returns the sum of squares of the change and how many weights changed.
pub fn adamw_bf16<F: Real>(s: Bf16State<'_>, g: &[F], hyper: &AdamW, clip: F) -> (f64, u64) {
    let [lr, b1, b2, eps, wd, bc1, bc2] = [
        hyper.lr,
        hyper.beta1,
        hyper.beta2,
        hyper.eps,
        hyper.weight_decay,
        hyper.bias_correction1,
        hyper.bias_correction2,
    ]
    .map(F::of_f32);
    let (mut change, mut changed) = (0.0, 0);
    for i in 0..s.w.len() {
        let g = g[i] * clip;
        let m = b1 * F::of_bf16(s.m[i]) + (F::ONE - b1) * g;
        let v = b2 * F::of_bf16(s.v[i]) + (F::ONE - b2) * g * g;
        let old = F::of_bf16(s.w[i]);
        let new = old * (F::ONE - lr * wd) - lr * (m / bc1) / ((v / bc2).sqrt() + eps);
        let bits = rounding_bits(s.key, (s.origin + i) as u32);
        let rounded = round_bf16(new.f32(), bits[0]);
        change += (F::of_bf16(rounded) - old).f64().powi(2);
        changed += u64::from(rounded != s.w[i]);
        s.w[i] = rounded;
        s.m[i] = round_bf16(m.f32(), bits[1]);
        s.v[i] = round_bf16(v.f32(), bits[2]);
    }
    (change, changed)
}
