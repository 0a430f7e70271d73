//! AdamW (Loshchilov & Hutter 2019), as `torch.optim.AdamW` computes it.

use super::real::Real;
use crate::ops::AdamW;

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
