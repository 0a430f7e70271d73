//! Log-softmax of rows of logits, and its backward.

use super::real::Real;

/// `lse = log Σ exp(z/t)` and `entropy = -Σ p log p`, `[m]` each, of the rows of `z [m,v]`.
pub fn log_softmax<F: Real>(lse: &mut [F], entropy: &mut [F], z: &[F], t: F) {
    let vocab = z.len() / lse.len().max(1);
    for ((lse, entropy), z) in lse.iter_mut().zip(entropy).zip(z.chunks_exact(vocab.max(1))) {
        let max = z.iter().fold(F::NEG_INFINITY, |m, &z| m.max_of(z / t));
        *lse = max + z.iter().map(|&z| (z / t - max).exp()).sum::<F>().ln();
        *entropy = z.iter().map(|&z| -plogp(z / t - *lse)).sum();
    }
}

/// `p log p` given `log p`, 0 at p = 0.
fn plogp<F: Real>(log_p: F) -> F {
    let p = log_p.exp();
    if p == F::ZERO { F::ZERO } else { p * log_p }
}

/// `dz = dlogp/t (1[v = target] - p)` with `p = exp(z/t - lse)`; `dz`, `z` `[m,v]`, the others `[m]`.
pub fn log_softmax_bwd<F: Real>(dz: &mut [F], z: &[F], targets: &[u32], dlogp: &[F], t: F, lse: &[F]) {
    let vocab = z.len() / lse.len().max(1);
    for (i, (dz, z)) in dz.chunks_exact_mut(vocab.max(1)).zip(z.chunks_exact(vocab.max(1))).enumerate() {
        for (v, (dz, &z)) in dz.iter_mut().zip(z).enumerate() {
            let hit = if v == targets[i] as usize { F::ONE } else { F::ZERO };
            *dz = dlogp[i] / t * (hit - (z / t - lse[i]).exp());
        }
    }
}

/// `e[v] = exp((z[v] - max) / t)`.
pub fn masses<F: Real>(e: &mut [F], z: &[F], max: F, t: F) {
    for (e, &z) in e.iter_mut().zip(z) {
        *e = ((z - max) / t).exp();
    }
}
