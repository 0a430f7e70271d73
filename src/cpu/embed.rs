//! Token embedding.

use super::real::Real;
use super::rows::add;
use super::tensor::Values;

/// `y[i, :] = w[ids[i], :]`.
pub fn embed<F: Real>(y: &mut [F], w: Values<F>, ids: &[u32], cols: usize) {
    for (y, &id) in y.chunks_exact_mut(cols.max(1)).zip(ids) {
        let at = id as usize * cols;
        match w {
            Values::F(w) => y.copy_from_slice(&w[at..at + cols]),
            Values::Bf16(w) => {
                for (y, &b) in y.iter_mut().zip(&w[at..at + cols]) {
                    *y = F::of_bf16(b);
                }
            }
            Values::Quant(w) => {
                let mut part = [0.0; 64];
                for (c, y) in y.chunks_mut(64).enumerate() {
                    w.expand(at + 64 * c, &mut part[..y.len()]);
                    y.iter_mut().zip(part).for_each(|(y, v)| *y = F::of_f32(v));
                }
            }
        }
    }
}

/// `dw[targets[t], :] += Σ dy[rows[r], :]` over `r` in `offsets[t]..offsets[t+1]`, in that order.
pub fn embed_bwd<F: Real>(dw: &mut [F], dy: &[F], targets: &[u32], offsets: &[u32], rows: &[u32], cols: usize) {
    for (&target, span) in targets.iter().zip(offsets.windows(2)) {
        let dst = &mut dw[target as usize * cols..][..cols];
        for &r in &rows[span[0] as usize..span[1] as usize] {
            add(dst, &dy[r as usize * cols..][..cols]);
        }
    }
}
