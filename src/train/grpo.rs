//! Group relative policy optimization (Shao et al. 2024) with TRL's settings and metric names: sample groups, score them,
//! turn rewards into advantages, take one or more clipped policy-gradient steps.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::accumulate::{Example, MicroBatch, Scores, accumulate, score, zero};
use super::error::{Result, TrainError};
use super::loss::{LossConfig, LossSums, LossType, ScaleRewards, Sequence, advantages, sequence_loss, std_ddof1};
use super::run::{Metrics, Objective, State, StepRecord};
use crate::generate::{Completion, Finish, GenerateConfig, Request, generate};
use crate::model::hooks::HookSet;
use crate::model::qwen2::{Qwen2, Recompute};
use crate::ops::{Ops, Sampling};

/// GRPO settings. Names are TRL's; TRL's batch size counts completions: `per_device_train_batch_size ×
/// gradient_accumulation_steps = prompts_per_step × num_generations`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrpoConfig {
    pub prompts_per_step: usize,
    pub num_generations: usize,
    /// TRL's spelling of the batch, counted in completions; see [`GrpoConfig::resolve`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub per_device_train_batch_size: Option<usize>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gradient_accumulation_steps: Option<usize>,
    pub max_completion_length: usize,
    pub temperature: f64,
    pub top_p: f64,
    pub top_k: u32,
    /// Rollouts must be on-policy: only 1 is accepted.
    pub repetition_penalty: f64,
    pub beta: f64,
    pub epsilon: f64,
    /// Defaults to `epsilon`.
    pub epsilon_high: Option<f64>,
    pub loss_type: LossType,
    pub scale_rewards: ScaleRewards,
    /// Updates per batch of rollouts.
    pub num_iterations: usize,
    pub seed: u64,
    /// Sequences decoded together.
    pub rollout_batch: usize,
    /// Input tokens per forward/backward.
    pub micro_batch_tokens: usize,
    pub recompute: Recompute,
}

impl Default for GrpoConfig {
    fn default() -> Self {
        Self {
            prompts_per_step: 4,
            num_generations: 8,
            per_device_train_batch_size: None,
            gradient_accumulation_steps: None,
            max_completion_length: 64,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
            beta: 0.0,
            epsilon: 0.2,
            epsilon_high: None,
            loss_type: LossType::DrGrpo,
            scale_rewards: ScaleRewards::None,
            num_iterations: 1,
            seed: 42,
            rollout_batch: 64,
            micro_batch_tokens: 8192,
            recompute: Recompute::None,
        }
    }
}

impl GrpoConfig {
    /// Translates TRL's batch (`per_device_train_batch_size × gradient_accumulation_steps` completions) into
    /// `prompts_per_step`. Returns a sentence about the translation, if there was one.
    pub fn resolve(&mut self) -> Result<Option<String>> {
        let (size, steps) = (self.per_device_train_batch_size.take(), self.gradient_accumulation_steps.take());
        if size.is_none() && steps.is_none() {
            return Ok(None);
        }
        let completions = size.unwrap_or(8) * steps.unwrap_or(1);
        if self.num_generations == 0 || completions == 0 || !completions.is_multiple_of(self.num_generations) {
            return Err(TrainError::Config(format!(
                "per_device_train_batch_size x gradient_accumulation_steps = {completions} completions is not a multiple of num_generations = {}",
                self.num_generations
            )));
        }
        self.prompts_per_step = completions / self.num_generations;
        Ok(Some(format!(
            "{completions} completions a step = prompts_per_step {} x num_generations {}",
            self.prompts_per_step, self.num_generations
        )))
    }

    /// Refuses settings that cannot mean what they say.
    pub fn check(&self) -> Result<()> {
        let bad = |m: String| Err(TrainError::Config(m));
        if self.repetition_penalty != 1.0 {
            return bad(format!(
                "repetition_penalty = {}: rollouts must sample from the policy itself, set it to 1",
                self.repetition_penalty
            ));
        }
        if self.num_generations < 2 {
            return bad(format!("num_generations = {}: a group needs at least 2 completions", self.num_generations));
        }
        if self.temperature.is_nan() || self.temperature <= 0.0 {
            return bad(format!("temperature = {}: rollouts need a temperature above 0", self.temperature));
        }
        for (name, v) in [
            ("prompts_per_step", self.prompts_per_step),
            ("max_completion_length", self.max_completion_length),
            ("num_iterations", self.num_iterations),
            ("rollout_batch", self.rollout_batch),
            ("micro_batch_tokens", self.micro_batch_tokens),
        ] {
            if v == 0 {
                return bad(format!("{name} = 0: must be at least 1"));
            }
        }
        Ok(())
    }

    fn loss(&self) -> LossConfig {
        LossConfig {
            loss_type: self.loss_type,
            beta: self.beta,
            epsilon: self.epsilon,
            epsilon_high: self.epsilon_high.unwrap_or(self.epsilon),
            max_completion_length: self.max_completion_length,
        }
    }
}

/// Reward of one completion and its named parts.
#[derive(Clone, Debug, PartialEq)]
pub struct Reward {
    pub total: f64,
    /// In the order of [`Environment::reward_names`].
    pub parts: Vec<f64>,
}

/// Where prompts come from and what completions are worth: the one trait through which training meets a domain.
pub trait Environment {
    /// Number of prompts.
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// The prompt that a training draws at a position of its stream: shuffled anew in every pass, unless the environment has its own order.
    fn at(&self, seed: u64, position: u64) -> usize {
        prompt_at(seed, self.len(), position)
    }
    /// Token ids of a prompt, chat template applied.
    fn prompt(&self, index: usize) -> &[u32];
    fn stop_ids(&self) -> &[u32];
    fn reward_names(&self) -> Vec<String>;
    /// Rewards of one group of completions of one prompt.
    fn rewards(&self, index: usize, group: &[Completion]) -> Result<Vec<Reward>>;
    /// Identity and text of a completion, for the log.
    fn describe(&self, index: usize, completion: &Completion) -> Result<(String, String)>;
}

/// GRPO over an environment.
pub struct Grpo<'a, O: Ops, E: Environment> {
    pub config: GrpoConfig,
    pub env: &'a E,
    /// Frozen model of the KL term; required when `beta != 0`, measured only when `beta == 0`.
    pub anchor: Option<&'a Qwen2<O>>,
}

/// Prompt order: one permutation of the prompts per epoch, a function of seed and epoch alone, so a resumed run needs no state.
pub fn prompt_at(seed: u64, prompts: usize, position: u64) -> usize {
    let epoch = position / prompts as u64;
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ epoch.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut order: Vec<usize> = (0..prompts).collect();
    for i in (1..prompts).rev() {
        // Multiply-shift keeps the bias below 2^-32 without a rejection loop.
        let j = ((u64::from(rng.next_u32()) * (i as u64 + 1)) >> 32) as usize;
        order.swap(i, j);
    }
    order[(position % prompts as u64) as usize]
}

/// Seed of one step's rollouts.
fn rollout_seed(seed: u64, step: u64) -> u64 {
    let mut z = seed.wrapping_add((step + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

fn mean(x: impl ExactSizeIterator<Item = f64>) -> f64 {
    let n = x.len();
    if n == 0 { 0.0 } else { x.sum::<f64>() / n as f64 }
}

impl<O: Ops, E: Environment> Grpo<'_, O, E> {
    /// Samples `num_generations` completions of this step's prompts. Returns prompt indices and groups.
    fn rollout(&self, o: &O, model: &Qwen2<O>, step: u64) -> Result<(Vec<usize>, Vec<Vec<Completion>>)> {
        let c = &self.config;
        let first = step * c.prompts_per_step as u64;
        let indices: Vec<usize> = (0..c.prompts_per_step as u64).map(|i| self.env.at(c.seed, first + i)).collect();
        let requests: Vec<Request> = indices
            .iter()
            .enumerate()
            .map(|(i, &index)| Request {
                prompt: self.env.prompt(index).to_vec(),
                sequences: (0..c.num_generations).map(|g| (i * c.num_generations + g) as u32).collect(),
            })
            .collect();
        let settings = GenerateConfig {
            sampling: Sampling { temperature: c.temperature as f32, top_k: c.top_k, top_p: c.top_p as f32 },
            repetition_penalty: 1.0,
            max_new_tokens: c.max_completion_length,
            stop_ids: self.env.stop_ids().to_vec(),
            seed: rollout_seed(c.seed, step),
            max_batch: c.rollout_batch,
        };
        let groups = generate(o, model, &requests, &settings, &HookSet::default())?;
        Ok((indices, groups))
    }
}

impl<O: Ops, E: Environment> Objective<O> for Grpo<'_, O, E> {
    fn step(&mut self, o: &O, state: &mut State<O>, step: u64, total: u64) -> Result<StepRecord> {
        let c = self.config.clone();
        let (indices, groups) = self.rollout(o, &state.model, step)?;
        let rewards: Vec<Vec<Reward>> =
            indices.iter().zip(&groups).map(|(&i, g)| self.env.rewards(i, g)).collect::<Result<_>>()?;
        let totals: Vec<f64> = rewards.iter().flatten().map(|r| r.total).collect();
        let adv = advantages(&totals, c.num_generations, c.scale_rewards);

        let completions: Vec<&Completion> = groups.iter().flatten().collect();
        let examples: Vec<Example> = indices
            .iter()
            .zip(&groups)
            .flat_map(|(&i, g)| g.iter().map(move |k| (i, k)))
            .map(|(i, k)| Example::completion(self.env.prompt(i), &k.tokens))
            .collect();
        let tokens: usize = completions.iter().map(|k| k.tokens.len()).sum();
        let micro = MicroBatch { max_tokens: c.micro_batch_tokens, recompute: c.recompute };
        let temperature = c.temperature as f32;
        let reference = match self.anchor {
            Some(anchor) => Some(score(o, anchor, &examples, temperature, micro)?),
            None if c.beta != 0.0 => {
                return Err(TrainError::Config(format!("beta = {} needs an anchor model", c.beta)));
            }
            None => None,
        };

        let loss = c.loss();
        let weights: Vec<f64> = completions
            .iter()
            .map(|k| loss.loss_type.token_weight(k.tokens.len(), completions.len(), tokens, c.max_completion_length))
            .collect();
        let mut old: Option<Vec<Scores>> = None;
        let mut sums = LossSums::default();
        let mut metrics = Metrics::default();
        let (mut entropy, mut update_norm) = (0.0, 0.0);
        let mut gap = (0.0f64, 0.0f64);
        for iteration in 0..c.num_iterations {
            zero(o, &mut state.grads)?;
            let mut now = LossSums::default();
            let scores =
                accumulate(o, &state.model, &examples, temperature, micro, &mut state.grads, |i, s, dlogp| {
                    let sequence = Sequence {
                        logp: &s.logp,
                        old_logp: old.as_ref().map(|x| x[i].logp.as_slice()),
                        ref_logp: reference.as_ref().map(|x| x[i].logp.as_slice()),
                        advantage: adv.values[i],
                        weight: weights[i],
                    };
                    now.add(&sequence_loss(&loss, &sequence, dlogp));
                })?;
            sums.add(&now);
            let update = state.optimizer.update(o, &mut state.model, &state.grads, total * c.num_iterations as u64)?;
            if update.nonfinite > 0 {
                return Err(TrainError::NonFinite { step, count: update.nonfinite });
            }
            update_norm += update.update_norm;
            if iteration == 0 {
                entropy =
                    scores.iter().flat_map(|s| &s.entropy).map(|&e| f64::from(e)).sum::<f64>() / tokens.max(1) as f64;
                for (s, k) in scores.iter().zip(&completions) {
                    for (a, b) in s.logp.iter().zip(&k.logps) {
                        let d = f64::from((a - b).abs());
                        gap = (gap.0.max(d), gap.1 + d);
                    }
                }
                old = Some(scores);
            }
            metrics.set("grad_norm", update.grad_norm);
            if let Some(share) = update.weights_changed {
                metrics.set("weights_changed", share);
            }
            metrics.set("learning_rate", update.learning_rate);
        }

        let iterations = c.num_iterations as f64;
        metrics.set("loss", sums.loss / iterations);
        metrics.set("update_norm", update_norm / iterations);
        metrics.set("epoch", (step + 1) as f64 * c.prompts_per_step as f64 / self.env.len() as f64);
        metrics.set("reward", mean(totals.iter().copied()));
        metrics.set("reward_std", std_ddof1(&totals));
        metrics.set("frac_reward_zero_std", adv.frac_reward_zero_std);
        for (p, name) in self.env.reward_names().iter().enumerate() {
            let part: Vec<f64> = rewards.iter().flatten().map(|r| r.parts[p]).collect();
            metrics.set(&format!("rewards/{name}/mean"), mean(part.iter().copied()));
            metrics.set(&format!("rewards/{name}/std"), std_ddof1(&part));
        }
        let lengths: Vec<f64> = completions.iter().map(|k| k.tokens.len() as f64).collect();
        let ended: Vec<f64> =
            completions.iter().filter(|k| k.finish == Finish::Stop).map(|k| k.tokens.len() as f64).collect();
        length_metrics(&mut metrics, "length", &lengths);
        length_metrics(&mut metrics, "terminated_length", &ended);
        metrics.set("completions/clipped_ratio", 1.0 - ended.len() as f64 / lengths.len().max(1) as f64);
        metrics.set("entropy", entropy);
        let seen = sums.tokens.max(1) as f64;
        if reference.is_some() {
            metrics.set("kl", sums.kl / seen);
            metrics.set("kl_clamped", sums.kl_clamped as f64);
        }
        if c.num_iterations > 1 {
            metrics.set("clip_ratio/low_mean", sums.clip_low as f64 / seen);
            metrics.set("clip_ratio/high_mean", sums.clip_high as f64 / seen);
            metrics.set("clip_ratio/region_mean", (sums.clip_low + sums.clip_high) as f64 / seen);
        }
        metrics.set("sampling/sampling_logp_difference/max", gap.0);
        metrics.set("sampling/sampling_logp_difference/mean", gap.1 / tokens.max(1) as f64);

        let rows = indices
            .iter()
            .zip(groups.iter().zip(&rewards))
            .enumerate()
            .flat_map(|(g, (&index, (group, rewards)))| {
                let (env, adv, n) = (self.env, &adv, c.num_generations);
                group.iter().zip(rewards).enumerate().map(move |(k, (completion, reward))| {
                    let (item, text) = env.describe(index, completion)?;
                    Ok(serde_json::json!({
                        "step": step, "item": item, "sample": k, "completion": text,
                        "n_tokens": completion.tokens.len(), "finish": completion.finish,
                        "reward": reward.total, "parts": reward.parts, "advantage": adv.values[g * n + k],
                    }))
                })
            })
            .collect::<Result<_>>()?;
        Ok(StepRecord { metrics, tokens: examples.iter().map(|e| e.tokens.len() as u64).sum(), rows })
    }
}

fn length_metrics(m: &mut Metrics, name: &str, x: &[f64]) {
    m.set(&format!("completions/mean_{name}"), mean(x.iter().copied()));
    m.set(
        &format!("completions/min_{name}"),
        if x.is_empty() { 0.0 } else { x.iter().copied().fold(f64::INFINITY, f64::min) },
    );
    m.set(&format!("completions/max_{name}"), x.iter().copied().fold(0.0, f64::max));
}
