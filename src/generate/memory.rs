//! What generating with a model holds on a GPU, by running it on a device that only counts ([`Meter`]).

use serde::{Deserialize, Serialize};

use super::source::{EMBEDDING, HEAD, Storage};
use super::{GenerateConfig, Request, generate};
use crate::gpu::meter::Meter;
use crate::model::config::ModelConfig;
use crate::model::hooks::HookSet;
use crate::model::params::{Params, specs};
use crate::model::qwen2::Qwen2;
use crate::ops::{Ops, Result, Sampling};

/// Largest binding and buffer that every desktop driver offers, in bytes: what plans assume.
pub const MAX_BINDING: u64 = 128 << 20;
pub const MAX_BUFFER: u64 = (2 << 30) - 1;

/// Host data travels through staging buffers of this size, one each way.
pub const STAGING: u64 = 64 << 20;

/// Bytes by kind.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InferencePlan {
    /// Embedding and head, then everything else, the table of rotations included.
    pub vocabulary: u64,
    pub blocks: u64,
    /// Keys and values of every sequence at its full length, f32.
    pub cache: u64,
    /// Activations and logits, at the widest moment.
    pub work: u64,
    pub staging: u64,
}

impl InferencePlan {
    /// Bytes of tensors at the widest moment: what [`Gpu::peak_bytes`](crate::gpu::Gpu::peak_bytes) will say.
    pub fn peak(&self) -> u64 {
        self.vocabulary + self.blocks + self.cache + self.work
    }

    /// With staging buffers.
    pub fn total(&self) -> u64 {
        self.peak() + self.staging
    }

    /// Rows of a table: kind, bytes.
    pub fn rows(&self) -> [(&'static str, u64); 5] {
        [
            ("embedding and head", self.vocabulary),
            ("blocks, norms, rotations", self.blocks),
            ("key/value cache, f32", self.cache),
            ("activations, logits", self.work),
            ("staging and readback", self.staging),
        ]
    }
}

/// Decoding of `batch` sequences together, each a prompt of its own of `prompt` tokens and `completion` more, on a device with these limits.
pub fn plan(
    config: &ModelConfig,
    storage: Storage,
    [batch, prompt, completion]: [usize; 3],
    max_binding: u64,
    max_buffer: u64,
) -> Result<InferencePlan> {
    let o = Meter::new(max_binding, max_buffer);
    let mut vocabulary = 0;
    let params = Params::build(config, |s| {
        let before = o.held().now;
        // Checkpoints of the sizes that planning is for are in bf16.
        let made = o.tensor(s.rows, s.cols, storage.dtype(&s, true))?;
        if [EMBEDDING, HEAD].contains(&s.name.as_str()) {
            vocabulary += o.held().now - before;
        }
        Ok::<_, crate::ops::OpError>(made)
    })?;
    let model = Qwen2::new(&o, config.clone(), params, prompt + completion)?;
    let blocks = o.held().now - vocabulary;
    let cache = cache_bytes(&o, config, batch, prompt + completion)?;
    let sampling = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 };
    let whole = decoding(&o, &model, sampling, [batch, 1, batch], prompt, prompt + completion)?;
    Ok(InferencePlan { vocabulary, blocks, cache, work: whole.saturating_sub(cache), staging: STAGING })
}

/// Bytes that decoding adds: `prompts` of `prompt` tokens with `each` sequences, `batch` at a time, of up to `positions` tokens.
pub fn decoding(
    o: &Meter,
    model: &Qwen2<Meter>,
    sampling: Sampling,
    [prompts, each, batch]: [usize; 3],
    prompt: usize,
    positions: usize,
) -> Result<u64> {
    let ids = vec![0u32; prompt.max(1)];
    let requests: Vec<Request> = (0..prompts)
        .map(|i| Request { prompt: ids.clone(), sequences: (0..each).map(|g| (i * each + g) as u32).collect() })
        .collect();
    let settings = GenerateConfig {
        sampling,
        repetition_penalty: 1.0,
        // The cache is made at once and later tokens are alike: two show the widest moment.
        max_new_tokens: 2.min(positions - prompt.min(positions)).max(1),
        stop_ids: Vec::new(),
        seed: 0,
        max_batch: batch,
    };
    let held = o.held().now;
    o.reset_peak();
    generate(o, model, &requests, &settings, &HookSet::default())?;
    let short = o.held().peak - held;
    // The cache as it will be: with room for whole completions.
    let sequences = (prompts * each).min(batch.max(each));
    let cache = |positions: usize| cache_bytes(o, &model.config, sequences, positions);
    Ok(short + cache(positions)? - cache(prompt + settings.max_new_tokens)?)
}

/// Keys and values of all layers.
fn cache_bytes(o: &Meter, config: &ModelConfig, sequences: usize, positions: usize) -> Result<u64> {
    let one = o.zeros(sequences * positions, config.num_key_value_heads * config.head_dim)?;
    Ok(2 * config.num_hidden_layers as u64 * one.held_bytes())
}

/// Bytes of the weights in host memory, as the CPU backend keeps them.
pub fn host_bytes(config: &ModelConfig, storage: Storage) -> u64 {
    specs(config).iter().map(|s| storage.dtype(s, true).bytes(s.rows, s.cols)).sum()
}
