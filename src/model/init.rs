//! Fresh weights, a function of the seed: normal with standard deviation 0.02, as transformers initialises Qwen2 and Llama; biases
//! zero, norms one.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::config::ModelConfig;
use super::params::Params;
use crate::ops::{Ops, Result};

/// `initializer_range` of transformers' Qwen2Config and LlamaConfig.
const STD: f64 = 0.02;

/// Random parameters on a device.
pub fn random<O: Ops>(o: &O, config: &ModelConfig, seed: u64) -> Result<Params<O::T>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    Params::build(config, |s| {
        let values: Vec<f32> = if s.name.ends_with("norm.weight") {
            vec![1.0; s.len()]
        } else if s.vector {
            vec![0.0; s.len()]
        } else {
            (0..s.len()).map(|_| (STD * normal(&mut rng)) as f32).collect()
        };
        o.upload(s.rows, s.cols, &values)
    })
}

/// Standard normal by Box and Muller, one of the pair.
fn normal(rng: &mut ChaCha8Rng) -> f64 {
    let unit = |rng: &mut ChaCha8Rng| (rng.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64);
    let (u, v) = (1.0 - unit(rng), unit(rng));
    (-2.0 * u.ln()).sqrt() * (2.0 * std::f64::consts::PI * v).cos()
}
