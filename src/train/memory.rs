//! What a GRPO training holds on a GPU at its widest moment, by running it on a device that only counts ([`Meter`]).

use serde::{Deserialize, Serialize};

use super::accumulate::{Example, MicroBatch, accumulate, score};
use super::error::Result;
use super::grpo::GrpoConfig;
use super::optim::{OptimConfig, Optimizer, Precision};
use crate::generate::{GenerateConfig, Request, generate};
use crate::gpu::meter::Meter;
use crate::model::config::ModelConfig;
use crate::model::hooks::HookSet;
use crate::model::lora::LoraConfig;
use crate::model::params::Params;
use crate::model::qwen2::Qwen2;
use crate::ops::{Ops, Sampling};

/// Largest binding and buffer that every desktop driver offers, in bytes: what plans assume.
pub const MAX_BINDING: u64 = 128 << 20;
pub const MAX_BUFFER: u64 = (2 << 30) - 1;

/// Host data travels through staging buffers of this size, one each way.
const STAGING: u64 = 64 << 20;

/// What is trained and how.
#[derive(Clone, Debug)]
pub struct Training<'a> {
    pub model: &'a ModelConfig,
    pub grpo: &'a GrpoConfig,
    pub optim: &'a OptimConfig,
    /// Adapters instead of every weight.
    pub lora: Option<&'a LoraConfig>,
    /// Tokens of the longest prompt.
    pub prompt: usize,
    /// Prompts of a step and completions of each, of the training that has most.
    pub rollout: [usize; 2],
    /// Beside the trained model: the anchor, or the start model that a phase is measured against, never both at once.
    pub frozen: Frozen,
    /// Sequences decoded together, and tokens of each, when behaviour is measured.
    pub evaluate: Option<(usize, usize)>,
    /// Behaviour is measured between the steps of a training, not only after it.
    pub checked: bool,
}

/// A frozen model beside the trained one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frozen {
    None,
    /// The weights that are there anyway, without adapters.
    Shared,
    /// With weights of its own.
    Own,
}

/// Bytes by kind. What only one stage holds is listed for that stage; the total counts the wider one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct MemoryPlan {
    pub weights: u64,
    pub gradients: u64,
    pub moments: u64,
    pub frozen: u64,
    /// Rollout: key/value cache, activations, logits.
    pub rollout: u64,
    /// Scoring under the frozen model.
    pub scoring: u64,
    /// Training: what the forward keeps, gradients of activations, a chunk of logits.
    pub training: u64,
    /// Measuring behaviour, and what is held beside it: the training without its frozen model, or the weights alone.
    pub checks: u64,
    pub beside_checks: u64,
    pub staging: u64,
}

impl MemoryPlan {
    /// Bytes of tensors at the widest moment: what [`Gpu::peak_bytes`](crate::gpu::Gpu::peak_bytes) will say.
    pub fn peak(&self) -> u64 {
        (self.beside_checks + self.checks).max(self.throughout() + self.rollout.max(self.scoring).max(self.training))
    }

    /// With staging buffers, were behaviour never measured.
    pub fn without_checks(&self) -> u64 {
        self.throughout() + self.rollout.max(self.scoring).max(self.training) + self.staging
    }

    /// Held from the first step to the last.
    pub fn throughout(&self) -> u64 {
        self.weights + self.gradients + self.moments + self.frozen
    }

    /// With staging buffers.
    pub fn total(&self) -> u64 {
        self.peak() + self.staging
    }

    /// Rows of a table: kind, bytes.
    pub fn rows(&self) -> [(&'static str, u64); 9] {
        [
            ("weights", self.weights),
            ("gradients, f32", self.gradients),
            ("optimizer moments", self.moments),
            ("frozen model (anchor or start)", self.frozen),
            ("rollout: key/value cache, activations, logits", self.rollout),
            ("scoring under the anchor", self.scoring),
            ("training: activations, head chunk", self.training),
            ("measuring behaviour, without the frozen model", self.checks),
            ("staging and readback", self.staging),
        ]
    }
}

fn model(o: &Meter, t: &Training<'_>, positions: usize) -> Result<Qwen2<Meter>> {
    let params = Params::build(t.model, |s| match t.optim.precision {
        Precision::Bf16 if !s.vector => o.zeros_bf16(s.rows, s.cols),
        _ => o.zeros(s.rows, s.cols),
    })?;
    Ok(Qwen2::new(o, t.model.clone(), params, positions)?)
}

/// The plan of a training whose prompts are all as long as the longest and whose completions all reach the limit.
pub fn plan(t: &Training<'_>, max_binding: u64, max_buffer: u64) -> Result<MemoryPlan> {
    let o = Meter::new(max_binding, max_buffer);
    let (c, positions) = (t.grpo, t.prompt + t.grpo.max_completion_length);
    let grown = |before: u64| o.held().now - before;
    let base = model(&o, t, positions)?;
    let mut state = match t.lora {
        Some(lora) => base.with_fresh_adapters(&o, lora, 0)?,
        None => base,
    };
    let weights = grown(0);
    let before = o.held().now;
    let mut grads = state.zeros_like(&o)?;
    let gradients = grown(before);
    let before = o.held().now;
    let mut optimizer = Optimizer::new(&o, &state, t.optim.clone())?;
    let moments = grown(before);
    let before = o.held().now;
    let anchor = match t.frozen {
        Frozen::None => None,
        Frozen::Shared => Some(state.sharing(None)),
        Frozen::Own => Some(model(&o, t, positions)?),
    };
    let frozen = grown(before);

    let held = o.held().now;
    // Peak of a stage above what is held throughout.
    let stage = |run: &mut dyn FnMut() -> Result<()>| -> Result<u64> {
        o.reset_peak();
        run()?;
        Ok(o.held().peak - held)
    };
    let prompt = vec![0u32; t.prompt.max(1)];
    let [prompts, group] = t.rollout;
    let rollout = decoding(&o, t, &state, prompts, group, c.rollout_batch, positions)?;
    let checks = match t.evaluate {
        Some((batch, tokens)) => decoding(&o, t, &state, batch, 1, batch, t.prompt + tokens)?,
        None => 0,
    };

    let completion = vec![0u32; c.max_completion_length.max(1)];
    let examples: Vec<Example> = (0..prompts * group).map(|_| Example::completion(&prompt, &completion)).collect();
    let micro = MicroBatch { max_tokens: c.micro_batch_tokens, recompute: c.recompute };
    let temperature = c.temperature as f32;
    let scoring = match &anchor {
        Some(anchor) => stage(&mut || score(&o, anchor, &examples, temperature, micro).map(drop).map_err(Into::into))?,
        None => 0,
    };
    let training = stage(&mut || {
        accumulate(&o, &state, &examples, temperature, micro, &mut grads, |_, _, _| {})?;
        optimizer.update(&o, &mut state, &grads, 1)?;
        Ok(())
    })?;
    let beside_checks = if t.checked { weights + gradients + moments } else { weights };
    Ok(MemoryPlan {
        weights,
        gradients,
        moments,
        frozen,
        rollout,
        scoring,
        training,
        checks,
        beside_checks,
        staging: STAGING,
    })
}

/// Bytes that decoding adds: `prompts` with `each` sequences, `batch` at a time, of up to `positions` tokens.
fn decoding(
    o: &Meter,
    t: &Training<'_>,
    model: &Qwen2<Meter>,
    prompts: usize,
    each: usize,
    batch: usize,
    positions: usize,
) -> Result<u64> {
    let prompt = vec![0u32; t.prompt.max(1)];
    let requests: Vec<Request> = (0..prompts)
        .map(|i| Request { prompt: prompt.clone(), sequences: (0..each).map(|g| (i * each + g) as u32).collect() })
        .collect();
    let settings = GenerateConfig {
        sampling: Sampling { temperature: t.grpo.temperature as f32, top_k: t.grpo.top_k, top_p: t.grpo.top_p as f32 },
        repetition_penalty: 1.0,
        // The cache is made at once and later tokens are alike: two show the widest moment.
        max_new_tokens: 2.min(positions - t.prompt.min(positions)).max(1),
        stop_ids: Vec::new(),
        seed: 0,
        max_batch: batch,
    };
    let held = o.held().now;
    o.reset_peak();
    generate(o, model, &requests, &settings, &HookSet::default())?;
    let short = o.held().peak - held;
    // The cache as it will be: with room for whole completions.
    let width = t.model.num_key_value_heads * t.model.head_dim;
    let sequences = (prompts * each).min(batch.max(each));
    let cache = |positions: usize| -> Result<u64> {
        let one = o.zeros(sequences * positions, width)?;
        Ok(2 * t.model.num_hidden_layers as u64 * one.held_bytes())
    };
    Ok(short + cache(positions)? - cache(t.prompt + settings.max_new_tokens)?)
}
