//! Choosing the next token. A draw depends on its key and its row of logits alone.

use std::cmp::Ordering;

use super::Kernels;
use super::real::Real;
use crate::ops::Sampling;

/// Philox4x32-10 (Salmon et al. 2011): four random words of a counter and a key.
pub fn philox(mut counter: [u32; 4], mut key: [u32; 2]) -> [u32; 4] {
    let product = |a: u32, b: u32| {
        let p = u64::from(a) * u64::from(b);
        ((p >> 32) as u32, p as u32)
    };
    for _ in 0..10 {
        let (hi0, lo0) = product(0xD251_1F53, counter[0]);
        let (hi1, lo1) = product(0xCD9E_8D57, counter[2]);
        counter = [hi1 ^ counter[1] ^ key[0], lo1, hi0 ^ counter[3] ^ key[1], lo0];
        key = [key[0].wrapping_add(0x9E37_79B9), key[1].wrapping_add(0xBB67_AE85)];
    }
    counter
}

/// Uniform in `[0, 1)` with 24 bits; `key` = sequence, position, seed_lo, seed_hi.
pub fn uniform(key: [u32; 4]) -> f32 {
    (philox([key[0], key[1], 0, 0], [key[2], key[3]])[0] >> 8) as f32 * (1.0 / (1 << 24) as f32)
}

/// Contiguous pieces of the vocabulary whose masses are added in order.
const CHUNKS: usize = 64;

/// First largest.
pub fn argmax<F: Real>(z: &[F]) -> usize {
    let mut best = 0;
    for (i, &x) in z.iter().enumerate() {
        if x > z[best] {
            best = i;
        }
    }
    best
}

/// The k-th largest value of `z` (k ≥ 1), and minus infinity when there are not more than k.
fn kth_largest<F: Real>(z: &[F], k: usize, scratch: &mut Vec<F>) -> F {
    if k >= z.len() {
        return F::NEG_INFINITY;
    }
    scratch.clear();
    scratch.extend_from_slice(z);
    *scratch.select_nth_unstable_by(k - 1, descending).1
}

/// Smallest logit that top-p keeps: a token stays iff the mass of tokens with a strictly larger logit is less than
/// `top_p` (below 1) of the whole. `e` holds the masses `mass(z)`, 0 for tokens that are out already.
fn top_p_floor<F: Real>(z: &[F], e: &[F], mass: impl Fn(F) -> F, top_p: F, sorted: &mut Vec<F>) -> F {
    let total: F = e.iter().copied().sum();
    // Tokens this light make up less than 1 - top_p together, so none of them stays; the factor covers rounding.
    let light = F::of(0.99) * (F::ONE - top_p) * total / F::of(z.len() as f64);
    sorted.clear();
    sorted.extend(z.iter().zip(e).filter(|&(_, &e)| e > light).map(|(&z, _)| z));
    sorted.sort_unstable_by(descending);
    let (mut above, mut at, mut keep) = (F::ZERO, 0, F::NEG_INFINITY);
    while at < sorted.len() && (at == 0 || above < top_p * total) {
        keep = sorted[at];
        while at < sorted.len() && sorted[at] == keep {
            above += mass(keep);
            at += 1;
        }
    }
    keep
}

fn descending<F: Real>(a: &F, b: &F) -> Ordering {
    b.partial_cmp(a).unwrap_or(Ordering::Equal)
}

/// Chooses a token of each row of `z [m,V]`, V ≥ 1: temperature, then top-k, then top-p of what top-k left, then the
/// inverse of the cumulative mass in vocabulary order at the row's uniform. Writes the ids and their log-probabilities
/// under `softmax(z / T)` over the whole vocabulary (T = 1 when greedy). `keys` has four words per row.
pub fn sample<F: Real, K: Kernels<F> + ?Sized>(
    kernels: &K,
    ids: &mut [u32],
    logp: &mut [F],
    z: &[F],
    s: &Sampling,
    keys: &[u32],
) {
    let greedy = s.temperature == 0.0;
    let t = if greedy { F::ONE } else { F::of_f32(s.temperature) };
    let vocab = z.len() / ids.len().max(1);
    let (mut scratch, mut entropy) = ([Vec::new(), Vec::new()], vec![F::ZERO; ids.len()]);
    kernels.log_softmax(logp, &mut entropy, z, t);
    for (i, (id, logp)) in ids.iter_mut().zip(logp).enumerate() {
        let (z, key) = (&z[i * vocab..][..vocab], [0, 1, 2, 3].map(|n| keys[4 * i + n]));
        let chosen = if greedy { argmax(z) } else { draw(kernels, z, s, t, F::of_f32(uniform(key)), &mut scratch) };
        *logp = z[chosen] / t - *logp;
        *id = chosen as u32;
    }
}

fn draw<F: Real, K: Kernels<F> + ?Sized>(
    kernels: &K,
    z: &[F],
    s: &Sampling,
    t: F,
    u: F,
    [e, sorted]: &mut [Vec<F>; 2],
) -> usize {
    let top = argmax(z);
    let max = z[top];
    e.resize(z.len(), F::ZERO);
    kernels.masses(e, z, max, t);
    let drop_below = |e: &mut [F], floor: F| {
        for (e, &z) in e.iter_mut().zip(z) {
            if z < floor {
                *e = F::ZERO;
            }
        }
    };
    if s.top_k != 0 {
        drop_below(e, kth_largest(z, s.top_k as usize, sorted));
    }
    if s.top_p < 1.0 {
        let floor = top_p_floor(z, e, |z| ((z - max) / t).exp(), F::of_f32(s.top_p), sorted);
        drop_below(e, floor);
    }
    inverse_cdf(e, u).unwrap_or(top)
}

/// First index whose cumulative sum exceeds `u` times the total: sums of [`CHUNKS`] contiguous pieces in order, then a
/// scan of the first piece that goes past. Rounding can leave the threshold a hair above every prefix: then the last
/// index with any mass. `None` when there is no mass.
fn inverse_cdf<F: Real>(e: &[F], u: F) -> Option<usize> {
    let size = e.len().div_ceil(CHUNKS);
    let sums: Vec<F> = e.chunks(size).map(|c| c.iter().copied().sum()).collect();
    let threshold = u * sums.iter().fold(F::ZERO, |a, &b| a + b);
    let (mut before, mut chosen) = (F::ZERO, None);
    for (c, &sum) in sums.iter().enumerate() {
        if sum > F::ZERO {
            chosen = Some((c * size, before));
        }
        if before + sum > threshold {
            break;
        }
        before += sum;
    }
    let (start, mut cumulative) = chosen?;
    let mut last = None;
    for (i, &e) in e[start..].iter().take(size).enumerate() {
        cumulative += e;
        if e > F::ZERO {
            last = Some(start + i);
            if cumulative > threshold {
                break;
            }
        }
    }
    last
}

/// `z > 0 ? z / penalty : z * penalty` for the ids seen in a row (Keskar et al. 2019).
pub fn repetition_penalty<F: Real>(z: &mut [F], seen: &[u32], penalty: F) {
    for &id in seen {
        let z = &mut z[id as usize];
        *z = if *z > F::ZERO { *z / penalty } else { *z * penalty };
    }
}
