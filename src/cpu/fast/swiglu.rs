//! SwiGLU a register at a time.

use super::vector::{sigmoid, vectorized};
use pulp::Simd;

vectorized! {
    pub fn swiglu(s: S, y: &'a mut [f32], g: &'a [f32], u: &'a [f32]) {
        let (y, y_tail) = S::as_mut_simd_f32s(y);
        let ((g, g_tail), (u, u_tail)) = (S::as_simd_f32s(g), S::as_simd_f32s(u));
        for (y, (&g, &u)) in y.iter_mut().zip(g.iter().zip(u)) {
            *y = forward(s, g, u);
        }
        s.partial_store_f32s(y_tail, forward(s, s.partial_load_f32s(g_tail), s.partial_load_f32s(u_tail)));
    }
}

#[inline(always)]
fn forward<S: Simd>(s: S, g: S::f32s, u: S::f32s) -> S::f32s {
    s.mul_f32s(s.mul_f32s(g, sigmoid(s, g)), u)
}

vectorized! {
    pub fn swiglu_bwd(s: S, dg: &'a mut [f32], du: &'a mut [f32], dy: &'a [f32], g: &'a [f32], u: &'a [f32]) {
        let ((dg, dg_tail), (du, du_tail)) = (S::as_mut_simd_f32s(dg), S::as_mut_simd_f32s(du));
        let ((dy, dy_tail), (g, g_tail), (u, u_tail)) = (S::as_simd_f32s(dy), S::as_simd_f32s(g), S::as_simd_f32s(u));
        for ((dg, du), (&dy, (&g, &u))) in dg.iter_mut().zip(du).zip(dy.iter().zip(g.iter().zip(u))) {
            (*dg, *du) = backward(s, dy, g, u);
        }
        let load = (s.partial_load_f32s(dy_tail), s.partial_load_f32s(g_tail), s.partial_load_f32s(u_tail));
        let (dg, du) = backward(s, load.0, load.1, load.2);
        s.partial_store_f32s(dg_tail, dg);
        s.partial_store_f32s(du_tail, du);
    }
}

#[inline(always)]
fn backward<S: Simd>(s: S, dy: S::f32s, g: S::f32s, u: S::f32s) -> (S::f32s, S::f32s) {
    let sig = sigmoid(s, g);
    let silu = s.mul_f32s(g, sig);
    let slope = s.mul_add_e_f32s(silu, s.sub_f32s(s.splat_f32s(1.0), sig), sig);
    (s.mul_f32s(s.mul_f32s(dy, u), slope), s.mul_f32s(dy, silu))
}
