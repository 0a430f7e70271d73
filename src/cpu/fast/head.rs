//! Log-softmax over the vocabulary, a row at a time.

use super::vector::{exp, vectorized};

/// Terms summed in f32 before they go into an f64 total.
const BLOCK: usize = 2048;

vectorized! {
    /// `(lse, entropy)` of one row, as the plain one.
    pub fn log_softmax(s: S, z: &'a [f32], t: f32) -> (f32, f32) {
        let inverse = s.splat_f32s(1.0 / t);
        let max = max(s, z);
        let maxv = s.splat_f32s(max);
        // exp is 0 below; keeps 0 * infinity out of the entropy.
        let low = s.splat_f32s(-100.0);
        let (mut sum, mut weighted) = (0.0, 0.0);
        for block in z.chunks(BLOCK) {
            let (mut sums, mut weights) = (s.splat_f32s(0.0), s.splat_f32s(0.0));
            let (block, tail) = S::as_simd_f32s(block);
            for &z in block {
                let x = s.mul_f32s(s.sub_f32s(z, maxv), inverse);
                let e = exp(s, x);
                sums = s.add_f32s(sums, e);
                let x = s.select_f32s(s.less_than_f32s(x, low), low, x);
                weights = s.mul_add_e_f32s(e, x, weights);
            }
            sum += f64::from(s.reduce_sum_f32s(sums));
            weighted += f64::from(s.reduce_sum_f32s(weights));
            for &z in tail {
                let x = (z - max) * (1.0 / t);
                let e = lanes(s, exp(s, s.splat_f32s(x)));
                sum += f64::from(e);
                weighted += f64::from(e * if x < -100.0 { -100.0 } else { x });
            }
        }
        let log = sum.ln();
        ((f64::from(max) / f64::from(t) + log) as f32, (log - weighted / sum) as f32)
    }
}

/// First lane.
#[inline(always)]
fn lanes<S: pulp::Simd>(s: S, x: S::f32s) -> f32 {
    let mut first = [0.0];
    s.partial_store_f32s(&mut first, x);
    first[0]
}

/// Largest element; NaN only if the caller's data is all NaN or the vector instructions say so.
#[inline(always)]
fn max<S: pulp::Simd>(s: S, z: &[f32]) -> f32 {
    let (z, tail) = S::as_simd_f32s(z);
    let mut top = s.splat_f32s(f32::NEG_INFINITY);
    for &z in z {
        top = s.max_f32s(z, top);
    }
    tail.iter().fold(s.reduce_max_f32s(top), |m, &z| if z > m { z } else { m })
}

vectorized! {
    /// `dz = dlogp/t (1[v = target] - p)` of one row, as the plain one.
    pub fn log_softmax_bwd(
        s: S,
        dz: &'a mut [f32],
        z: &'a [f32],
        target: usize,
        dlogp: f32,
        t: f32,
        lse: f32,
    ) {
        let (inverse, lsev, factor) = (s.splat_f32s(1.0 / t), s.splat_f32s(-lse), s.splat_f32s(-dlogp / t));
        let ((to, to_tail), (from, from_tail)) = (S::as_mut_simd_f32s(dz), S::as_simd_f32s(z));
        for (dz, &z) in to.iter_mut().zip(from) {
            *dz = s.mul_f32s(factor, exp(s, s.mul_add_e_f32s(z, inverse, lsev)));
        }
        let last = exp(s, s.mul_add_e_f32s(s.partial_load_f32s(from_tail), inverse, lsev));
        s.partial_store_f32s(to_tail, s.mul_f32s(factor, last));
        let p = lanes(s, exp(s, s.mul_add_e_f32s(s.splat_f32s(z[target]), inverse, lsev)));
        dz[target] = dlogp / t * (1.0 - p);
    }
}

vectorized! {
    /// `e = exp((z - max) / t)`.
    pub fn masses(s: S, e: &'a mut [f32], z: &'a [f32], max: f32, t: f32) {
        let (maxv, inverse) = (s.splat_f32s(max), s.splat_f32s(1.0 / t));
        let ((e, e_tail), (z, z_tail)) = (S::as_mut_simd_f32s(e), S::as_simd_f32s(z));
        for (e, &z) in e.iter_mut().zip(z) {
            *e = exp(s, s.mul_f32s(s.sub_f32s(z, maxv), inverse));
        }
        let last = exp(s, s.mul_f32s(s.sub_f32s(s.partial_load_f32s(z_tail), maxv), inverse));
        s.partial_store_f32s(e_tail, last);
    }
}
