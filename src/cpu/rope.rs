//! Rotary position embedding (Su et al. 2021), half-split pairs as in Hugging Face's Qwen2 and Llama.

use super::real::Real;

/// Rotates the pair `(i, i + d/2)` of every head of row `r` by the angle of position `pos[r]`; `table` holds, for each
/// position, `d/2` cosines and `d/2` sines. `inverse` turns the other way.
pub fn rope<F: Real>(x: &mut [F], pos: &[u32], table: &[F], d: usize, cols: usize, inverse: bool) {
    let half = d / 2;
    for (row, &p) in x.chunks_exact_mut(cols.max(1)).zip(pos) {
        let (cos, sin) = table[p as usize * d..][..d].split_at(half);
        for head in row.chunks_exact_mut(d) {
            let (a, b) = head.split_at_mut(half);
            for i in 0..half {
                let s = if inverse { -sin[i] } else { sin[i] };
                (a[i], b[i]) = (a[i] * cos[i] - b[i] * s, b[i] * cos[i] + a[i] * s);
            }
        }
    }
}
