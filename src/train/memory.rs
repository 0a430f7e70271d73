//! What a GRPO training holds on a GPU at its widest moment, by running it on a device that only counts ([`Meter`]).

use serde::{Deserialize, Serialize};

use super::accumulate::{Example, MicroBatch, accumulate, score};
use super::error::Result;
use super::grpo::GrpoConfig;
use super::optim::{OptimConfig, Optimizer};
pub use crate::generate::memory::{MAX_BINDING, MAX_BUFFER};
use crate::generate::memory::{STAGING, decoding};
use crate::gpu::meter::Meter;
use crate::model::config::ModelConfig;
use crate::model::lora::LoraConfig;
use crate::model::params::Params;
use crate::model::qwen2::Qwen2;
use crate::ops::Sampling;

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
    let storage = t.optim.precision.storage();
    let params = Params::build(t.model, |s| o.tensor(s.rows, s.cols, storage.dtype(&s, false)))?;
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
    let sampling = Sampling { temperature: c.temperature as f32, top_k: c.top_k, top_p: c.top_p as f32 };
    let decodes = |sizes, positions| decoding(&o, &state, sampling, sizes, t.prompt, positions);
    let rollout = decodes([prompts, group, c.rollout_batch], positions)?;
    let checks = match t.evaluate {
        Some((batch, tokens)) => decodes([batch, 1, batch], t.prompt + tokens)?,
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
