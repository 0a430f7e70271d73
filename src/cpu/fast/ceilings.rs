//! What the processors do at best, measured: the figures that kernels are held against.

use std::time::Instant;

use rayon::prelude::*;

use super::vector::vectorized;
use crate::ops::Ceiling;

/// Independent chains: two units of four cycles' latency are kept busy by eight.
const CHAINS: usize = 8;

vectorized! {
    /// Runs `rounds` multiply-adds in each chain and returns floating-point operations made, and a value that keeps the work alive.
    fn chains(simd: S, rounds: u64) -> (u64, f32) {
        let (m, b) = (simd.splat_f32s(0.999), simd.splat_f32s(1e-9));
        let mut a = [b; CHAINS];
        for _ in 0..rounds {
            for x in &mut a {
                *x = simd.mul_add_f32s(*x, m, b);
            }
        }
        let mut sum = a[0];
        for x in &a[1..] {
            sum = simd.add_f32s(sum, *x);
        }
        (2 * rounds * (CHAINS * S::F32_LANES) as u64, simd.reduce_sum_f32s(sum))
    }
}

/// Best of a few runs of `work`, which returns an amount, per second.
fn best(mut work: impl FnMut() -> f64) -> f64 {
    (0..4)
        .map(|_| {
            let clock = Instant::now();
            let amount = work();
            amount / clock.elapsed().as_secs_f64().max(1e-9)
        })
        .fold(0.0, f64::max)
}

/// Arithmetic of all threads, and memory.
pub fn measure() -> Vec<Ceiling> {
    const ROUNDS: u64 = 2_000_000;
    let arch = pulp::Arch::new();
    let flops = best(|| {
        let made: Vec<(u64, f32)> = (0..rayon::current_num_threads())
            .into_par_iter()
            .map(|_| chains(arch, std::hint::black_box(ROUNDS)))
            .collect();
        std::hint::black_box(made.iter().map(|m| m.1).sum::<f32>());
        made.iter().map(|m| m.0 as f64).sum()
    });
    // Larger than any cache.
    const FLOATS: usize = 64 << 20;
    let (from, mut to) = (vec![1f32; FLOATS], vec![0f32; FLOATS]);
    let bytes = best(|| {
        to.par_chunks_mut(1 << 20).zip(from.par_chunks(1 << 20)).for_each(|(to, from)| to.copy_from_slice(from));
        std::hint::black_box(&to);
        (8 * FLOATS) as f64
    });
    vec![
        Ceiling { name: "multiply-add, f32", value: flops / 1e9, unit: "GFLOP/s" },
        Ceiling { name: "copy", value: bytes / 1e9, unit: "GB/s" },
    ]
}
