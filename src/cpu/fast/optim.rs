//! AdamW and the gradient norm, a piece of [`PIECE`] elements at a time.

use super::vector::vectorized;
use crate::cpu::optim;
use crate::ops::AdamW;

/// Elements per task: sums over tasks are added in order, so this fixes their bits.
pub const PIECE: usize = 1 << 14;

vectorized! {
    /// As the plain one, on at most [`PIECE`] elements.
    pub fn adamw(
        s: S,
        w: &'a mut [f32],
        g: &'a [f32],
        m: &'a mut [f32],
        v: &'a mut [f32],
        hyper: &'a AdamW,
        clip: f32,
    ) -> f64 {
        let [keep, b1, c1, b2, c2, factor] = [
            1.0 - hyper.lr * hyper.weight_decay,
            hyper.beta1,
            1.0 - hyper.beta1,
            hyper.beta2,
            1.0 - hyper.beta2,
            clip,
        ]
        .map(|x| s.splat_f32s(x));
        let [lr, bc1, bc2, eps] =
            [hyper.lr, hyper.bias_correction1, hyper.bias_correction2, hyper.eps].map(|x| s.splat_f32s(x));
        let ((w, w_tail), (g, g_tail)) = (S::as_mut_simd_f32s(w), S::as_simd_f32s(g));
        let ((m, m_tail), (v, v_tail)) = (S::as_mut_simd_f32s(m), S::as_mut_simd_f32s(v));
        let mut total = optim::adamw(w_tail, g_tail, m_tail, v_tail, hyper, clip);
        // Few terms go into an f32 sum.
        let state = m.chunks_mut(64).zip(v.chunks_mut(64));
        for ((w, g), (m, v)) in w.chunks_mut(64).zip(g.chunks(64)).zip(state) {
            let mut change = s.splat_f32s(0.0);
            for (((w, &g), m), v) in w.iter_mut().zip(g).zip(m).zip(v) {
                let g = s.mul_f32s(g, factor);
                *m = s.mul_add_e_f32s(b1, *m, s.mul_f32s(c1, g));
                *v = s.mul_add_e_f32s(b2, *v, s.mul_f32s(s.mul_f32s(c2, g), g));
                let root = s.add_f32s(s.sqrt_f32s(s.div_f32s(*v, bc2)), eps);
                let step = s.div_f32s(s.mul_f32s(lr, s.div_f32s(*m, bc1)), root);
                let new = s.sub_f32s(s.mul_f32s(*w, keep), step);
                let moved = s.sub_f32s(new, *w);
                change = s.mul_add_e_f32s(moved, moved, change);
                *w = new;
            }
            total += f64::from(s.reduce_sum_f32s(change));
        }
        total
    }
}

/// The square of a finite number, or 0 and a count of one.
#[inline(always)]
fn square(x: f32) -> (f64, u32) {
    let broken = x.to_bits() & 0x7f80_0000 == 0x7f80_0000;
    let wide = f64::from(if broken { 0.0 } else { x });
    (wide * wide, u32::from(broken))
}

vectorized! {
    /// As the plain one, in eight accumulators.
    pub fn sum_squares(_s: S, x: &'a [f32]) -> (f64, u64) {
        let (mut sums, mut bad) = ([0.0f64; 8], [0u32; 8]);
        let (eights, tail) = x.as_chunks::<8>();
        for x in eights {
            for i in 0..8 {
                let (square, broken) = square(x[i]);
                sums[i] += square;
                bad[i] += broken;
            }
        }
        for (i, x) in tail.iter().enumerate() {
            let (square, broken) = square(*x);
            sums[i] += square;
            bad[i] += broken;
        }
        (sums.iter().sum(), bad.iter().map(|&b| u64::from(b)).sum())
    }
}
