//! The gate of the MLP (Shazeer 2020): `y = silu(g) u`, `silu(g) = g σ(g)`.

use super::real::Real;

/// `1 / (1 + exp(-g))`.
fn sigmoid<F: Real>(g: F) -> F {
    F::ONE / (F::ONE + (-g).exp())
}

pub fn swiglu<F: Real>(y: &mut [F], g: &[F], u: &[F]) {
    for (y, (&g, &u)) in y.iter_mut().zip(g.iter().zip(u)) {
        *y = g * sigmoid(g) * u;
    }
}

/// `dg = dy u (σ + g σ (1 - σ))`, `du = dy silu(g)`.
pub fn swiglu_bwd<F: Real>(dg: &mut [F], du: &mut [F], dy: &[F], g: &[F], u: &[F]) {
    for i in 0..dy.len() {
        let s = sigmoid(g[i]);
        dg[i] = dy[i] * u[i] * (s + g[i] * s * (F::ONE - s));
        du[i] = dy[i] * g[i] * s;
    }
}
