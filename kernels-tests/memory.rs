//! What a training is said to hold, against what the device counts.

use std::path::Path;

use probity::generate::memory;
use probity::generate::source::Storage;
use probity::generate::{Completion, GenerateConfig, Request, generate};
use probity::gpu::{Gpu, GpuOptions, list_adapters};
use probity::model::config::{Family, ModelConfig, Sizes};
use probity::model::hooks::HookSet;
use probity::model::lora::LoraConfig;
use probity::model::params::Params;
use probity::model::qwen2::{Qwen2, Recompute};
use probity::ops::{Dtype, Ops, QuantMatrix, Sampling};
use probity::train::error::Result;
use probity::train::grpo::{Environment, Grpo, GrpoConfig, Reward};
use probity::train::memory::{Frozen, MAX_BINDING, MAX_BUFFER, Training, plan};
use probity::train::optim::{OptimConfig, Optimizer, Precision};
use probity::train::run::{Objective, State};

/// Sequences of an evaluation.
const MEASURED: usize = 400;

/// Prompts of one length; nothing ends a completion.
struct Flat(Vec<u32>);

impl Environment for Flat {
    fn len(&self) -> usize {
        2
    }
    fn prompt(&self, _: usize) -> &[u32] {
        &self.0
    }
    fn stop_ids(&self) -> &[u32] {
        &[]
    }
    fn reward_names(&self) -> Vec<String> {
        Vec::new()
    }
    fn rewards(&self, _: usize, group: &[Completion]) -> Result<Vec<Reward>> {
        Ok((0..group.len()).map(|i| Reward { total: i as f64, parts: Vec::new() }).collect())
    }
    fn describe(&self, _: usize, _: &Completion) -> Result<(String, String)> {
        Ok(Default::default())
    }
}

/// A large vocabulary, so that the head is cut in chunks, and blocks that are no multiple of anything.
fn sizes() -> ModelConfig {
    let sizes = Sizes {
        hidden_size: 36,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        num_key_value_heads: 1,
        intermediate_size: 100,
        vocab_size: 70_001,
        rope_theta: 1e4,
        max_position_embeddings: 256,
    };
    sizes.config(Path::new("test")).unwrap()
}

/// Weights that say nothing, stored as asked.
fn params_of(o: &Gpu, config: &ModelConfig, storage: Storage) -> Params<<Gpu as Ops>::T> {
    let made = Params::build(config, |s| match storage.dtype(&s, false) {
        Dtype::F32 => Ops::zeros(o, s.rows, s.cols),
        Dtype::Bf16 => o.zeros_bf16(s.rows, s.cols),
        Dtype::Quant(q) => o.upload_quant(&QuantMatrix::new(q, s.rows, s.cols, &vec![0.5; s.len()])?),
    });
    made.unwrap()
}

/// Weights of every format, the cache, prompts and steps.
#[test]
fn plans_of_generating_are_what_the_device_counts() {
    let config = sizes();
    let [batch, prompt, completion] = [5, 41, 9];
    for adapter in list_adapters() {
        for storage in [Storage::Bf16, Storage::Int8, Storage::Int4, Storage::Nf4] {
            let options = GpuOptions { max_binding: None, checked_shaders: false, ..GpuOptions::poor() };
            let o = Gpu::open(&adapter, &options).unwrap();
            let params = params_of(&o, &config, storage);
            let model = Qwen2::new(&o, config.clone(), params, prompt + completion).unwrap();
            let requests: Vec<Request> =
                (0..batch as u32).map(|i| Request { prompt: vec![7; prompt], sequences: vec![i] }).collect();
            let settings = GenerateConfig {
                sampling: Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 },
                repetition_penalty: 1.0,
                max_new_tokens: completion,
                stop_ids: Vec::new(),
                seed: 0,
                max_batch: batch,
            };
            generate(&o, &model, &requests, &settings, &HookSet::default()).unwrap();
            let said = memory::plan(&config, storage, [batch, prompt, completion], MAX_BINDING, MAX_BUFFER).unwrap();
            let (want, got) = (o.peak_bytes() as f64, said.peak() as f64);
            assert!((got / want - 1.0).abs() < 0.05, "{storage:?}: {got} planned, {want} held: {said:?}");
        }
    }
}

#[test]
fn plans_are_what_the_device_counts() {
    let config = sizes();
    // Without biases.
    let mut llama = config.clone();
    llama.family = Family::Llama;
    for adapter in list_adapters() {
        let lora = LoraConfig { r: 6, ..LoraConfig::default() };
        for (config, precision, recompute, micro_batch_tokens, lora) in [
            (&config, Precision::F32, Recompute::Mlp, 100, None),
            (&config, Precision::Bf16, Recompute::None, 4096, None),
            (&config, Precision::Bf16, Recompute::Layer, 4096, None),
            (&config, Precision::Bf16, Recompute::Layer, 4096, Some(&lora)),
            (&config, Precision::Nf4, Recompute::Layer, 4096, Some(&lora)),
            (&llama, Precision::Bf16, Recompute::None, 4096, None),
            (&llama, Precision::Bf16, Recompute::Layer, 4096, Some(&lora)),
        ] {
            // Hardware's variants and WebGPU's limits: what plans assume.
            let options = GpuOptions { max_binding: None, checked_shaders: false, ..GpuOptions::poor() };
            let o = Gpu::open(&adapter, &options).unwrap();
            let grpo = GrpoConfig {
                prompts_per_step: 2,
                num_generations: 8,
                max_completion_length: 16,
                beta: 0.1,
                micro_batch_tokens,
                recompute,
                ..GrpoConfig::default()
            };
            let optim = OptimConfig { precision, ..OptimConfig::default() };
            let prompt = 37;
            let model = || {
                let params = params_of(&o, config, precision.storage());
                Qwen2::new(&o, config.clone(), params, prompt + 16).unwrap()
            };
            let (trained, anchor) = match lora {
                None => (model(), model()),
                Some(lora) => {
                    let base = model();
                    (base.with_fresh_adapters(&o, lora, 1).unwrap(), base)
                }
            };
            let grads = trained.zeros_like(&o).unwrap();
            let optimizer = Optimizer::new(&o, &trained, optim.clone()).unwrap();
            let mut state = State { model: trained, optimizer, grads };
            let env = Flat(vec![7; prompt]);
            Grpo { config: grpo.clone(), env: &env, anchor: Some(&anchor) }.step(&o, &mut state, 0, 4).unwrap();
            let frozen = if lora.is_some() { Frozen::Shared } else { Frozen::Own };
            let (rollout, evaluate) = ([2, 8], lora.map(|_| (MEASURED, 4)));
            let t = Training {
                model: config,
                grpo: &grpo,
                optim: &optim,
                lora,
                prompt,
                rollout,
                frozen,
                evaluate,
                checked: true,
            };
            let said = plan(&t, MAX_BINDING, MAX_BUFFER).unwrap();
            if let Some((batch, tokens)) = evaluate {
                // Behaviour of so many at once is the widest moment here, without the frozen model.
                drop(anchor);
                let before = o.peak_bytes();
                let requests: Vec<Request> =
                    (0..batch as u32).map(|i| Request { prompt: vec![7; prompt], sequences: vec![i] }).collect();
                let settings = GenerateConfig {
                    sampling: Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 },
                    repetition_penalty: 1.0,
                    max_new_tokens: tokens,
                    stop_ids: Vec::new(),
                    seed: 0,
                    max_batch: batch,
                };
                generate(&o, &state.model, &requests, &settings, &HookSet::default()).unwrap();
                assert!(o.peak_bytes() > before, "measuring was meant to be the widest moment");
            }
            let (want, got) = (o.peak_bytes() as f64, said.peak() as f64);
            assert!(
                (got / want - 1.0).abs() < 0.05,
                "{precision:?} {recompute:?} {micro_batch_tokens} {lora:?}: {got} planned, {want} held: {said:?}"
            );
        }
    }
}
