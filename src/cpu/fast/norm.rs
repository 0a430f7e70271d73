//! RMSNorm, a row at a time.

use super::vector::{dot, vectorized};

vectorized! {
    /// As the plain one.
    pub fn rmsnorm(s: S, y: &'a mut [f32], rstd: &'a mut [f32], x: &'a [f32], w: &'a [f32], eps: f32) {
        let h = w.len().max(1);
        let (w, w_tail) = S::as_simd_f32s(w);
        for ((y, r), x) in y.chunks_exact_mut(h).zip(rstd).zip(x.chunks_exact(h)) {
            *r = 1.0 / (dot(s, x, x) / h as f32 + eps).sqrt();
            let rv = s.splat_f32s(*r);
            let ((y, y_tail), (x, x_tail)) = (S::as_mut_simd_f32s(y), S::as_simd_f32s(x));
            for (y, (&x, &w)) in y.iter_mut().zip(x.iter().zip(w)) {
                *y = s.mul_f32s(s.mul_f32s(x, rv), w);
            }
            let last = s.mul_f32s(s.mul_f32s(s.partial_load_f32s(x_tail), rv), s.partial_load_f32s(w_tail));
            s.partial_store_f32s(y_tail, last);
        }
    }
}

vectorized! {
    /// As the plain one; `scratch` holds a row.
    pub fn rmsnorm_bwd(
        s: S,
        dx: &'a mut [f32],
        dw: Option<&'a mut [f32]>,
        dy: &'a [f32],
        x: &'a [f32],
        w: &'a [f32],
        rstd: &'a [f32],
        scratch: &'a mut [f32],
    ) {
        let h = w.len().max(1);
        let mut dw = dw;
        for ((dx, &r), (dy, x)) in dx.chunks_exact_mut(h).zip(rstd).zip(dy.chunks_exact(h).zip(x.chunks_exact(h))) {
            for (t, (dy, w)) in scratch.iter_mut().zip(dy.iter().zip(w)) {
                *t = dy * w;
            }
            let mean = dot(s, scratch, x) * r / h as f32;
            for ((dx, t), x) in dx.iter_mut().zip(&*scratch).zip(x) {
                *dx += r * (t - x * r * mean);
            }
            if let Some(dw) = dw.as_deref_mut() {
                for ((dw, dy), x) in dw.iter_mut().zip(dy).zip(x) {
                    *dw += dy * x * r;
                }
            }
        }
    }
}
