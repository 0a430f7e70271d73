//! Log-softmax of one row of logits, and its backward.

use super::real::Real;

/// `(lse, entropy)` of `z / t`: `lse = log Σ exp(z/t)`, `entropy = -Σ p log p`.
pub fn log_softmax<F: Real>(z: &[F], t: F) -> (F, F) {
    let max = z.iter().fold(F::NEG_INFINITY, |m, &z| m.max_of(z / t));
    let lse = max + z.iter().map(|&z| (z / t - max).exp()).sum::<F>().ln();
    let entropy = z.iter().map(|&z| -plogp(z / t - lse)).sum();
    (lse, entropy)
}

/// `e[v] = exp((z[v] - max) / t)`.
pub fn masses<F: Real>(e: &mut [F], z: &[F], max: F, t: F) {
    for (e, &z) in e.iter_mut().zip(z) {
        *e = ((z - max) / t).exp();
    }
}

/// `p log p` given `log p`, 0 at p = 0.
fn plogp<F: Real>(log_p: F) -> F {
    let p = log_p.exp();
    if p == F::ZERO { F::ZERO } else { p * log_p }
}

/// `dz = dlogp/t (1[v = target] - p)` of one row, `p = exp(z/t - lse)`.
pub fn log_softmax_bwd<F: Real>(dz: &mut [F], z: &[F], target: usize, dlogp: F, t: F, lse: F) {
    for (v, (dz, &z)) in dz.iter_mut().zip(z).enumerate() {
        let hit = if v == target { F::ONE } else { F::ZERO };
        *dz = dlogp / t * (hit - (z / t - lse).exp());
    }
}
