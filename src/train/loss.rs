//! THE loss: GRPO and its relatives as formulas over per-token log-probabilities; no model, no device.
//!
//! Per token, with `A` the advantage of its sequence, `l` the policy's log-prob, `l_old` the log-prob under the weights
//! that sampled, `l_ref` the anchor's: `ratio = exp(l - l_old)`,
//! `token_loss = -min(ratio A, clip(ratio, 1-ε, 1+ε_high) A) + β k3`, `k3 = exp(l_ref - l) - (l_ref - l) - 1`.
//! Aggregation as TRL's `loss_type` (trl/trainer/grpo_trainer.py, 1.16): see [`LossType`].

use serde::{Deserialize, Serialize};

/// How token losses are averaged. `B` sequences of `len_i` completion tokens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossType {
    /// Mean over sequences of the mean over tokens. Length-biased: prefers short completions when `A > 0`.
    Grpo,
    /// Sum over tokens / (B × `max_completion_length`): no length bias.
    DrGrpo,
    /// Sum over tokens / tokens of the optimizer step.
    Dapo,
    /// As `dapo` over the local batch; the same here, where the local batch is the optimizer step.
    Bnpo,
}

impl LossType {
    /// TRL's name.
    pub fn name(self) -> &'static str {
        match self {
            LossType::Grpo => "grpo",
            LossType::DrGrpo => "dr_grpo",
            LossType::Dapo => "dapo",
            LossType::Bnpo => "bnpo",
        }
    }

    /// Weight of one token of a sequence of `len` tokens in a step of `sequences` sequences and `tokens` tokens.
    pub fn token_weight(self, len: usize, sequences: usize, tokens: usize, max_completion_length: usize) -> f64 {
        let n = match self {
            LossType::Grpo => sequences * len.max(1),
            LossType::DrGrpo => sequences * max_completion_length,
            LossType::Dapo | LossType::Bnpo => tokens,
        };
        1.0 / n.max(1) as f64
    }
}

/// Division of advantages by a standard deviation (ddof 1) plus 1e-4.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ScaleRewards {
    Group,
    Batch,
    None,
}

impl ScaleRewards {
    /// TRL's name.
    pub fn name(self) -> &'static str {
        match self {
            ScaleRewards::Group => "group",
            ScaleRewards::Batch => "batch",
            ScaleRewards::None => "none",
        }
    }
}

/// Coefficients of the token loss.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LossConfig {
    pub loss_type: LossType,
    pub beta: f64,
    /// Clip range below 1.
    pub epsilon: f64,
    /// Clip range above 1.
    pub epsilon_high: f64,
    pub max_completion_length: usize,
}

/// Log-probabilities of one sequence's completion tokens.
#[derive(Clone, Copy, Debug)]
pub struct Sequence<'a> {
    pub logp: &'a [f32],
    /// Under the sampling weights; `None` = on-policy, the ratio is exactly 1.
    pub old_logp: Option<&'a [f32]>,
    /// Required when `beta != 0`; with `beta == 0` it is only measured.
    pub ref_logp: Option<&'a [f32]>,
    pub advantage: f64,
    /// From [`LossType::token_weight`].
    pub weight: f64,
}

/// Sums over the tokens of one or more sequences; add them up, then divide.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct LossSums {
    /// Already weighted: the loss itself.
    pub loss: f64,
    pub tokens: usize,
    /// Σ k3.
    pub kl: f64,
    /// Tokens whose clipped term was the active one, `A < 0` and ratio below range.
    pub clip_low: usize,
    /// `A > 0` and ratio above range.
    pub clip_high: usize,
    /// Tokens whose log-ratio to the anchor exceeded [`LOG_RATIO_BOUND`] and was clamped.
    pub kl_clamped: usize,
}

impl LossSums {
    pub fn add(&mut self, o: &LossSums) {
        self.loss += o.loss;
        self.tokens += o.tokens;
        self.kl += o.kl;
        self.clip_low += o.clip_low;
        self.clip_high += o.clip_high;
        self.kl_clamped += o.kl_clamped;
    }
}

/// k3 overflows when the policy assigns almost nothing to a token the anchor likes; beyond this the log-ratio is clamped
/// (value and gradient) and counted.
pub const LOG_RATIO_BOUND: f64 = 20.0;

/// Loss of one sequence and its gradient with respect to `logp`, written to `dlogp`.
pub fn sequence_loss(c: &LossConfig, s: &Sequence<'_>, dlogp: &mut [f32]) -> LossSums {
    let mut sums = LossSums { tokens: s.logp.len(), ..Default::default() };
    for (t, &logp) in s.logp.iter().enumerate() {
        let logp = f64::from(logp);
        let ratio = s.old_logp.map_or(1.0, |old| (logp - f64::from(old[t])).exp());
        let clipped = ratio.clamp(1.0 - c.epsilon, 1.0 + c.epsilon_high);
        let (plain, bounded) = (ratio * s.advantage, clipped * s.advantage);
        let mut loss = -plain.min(bounded);
        // d ratio / d logp = ratio; the clamped branch is constant. On a tie both are the same expression.
        let mut grad = if plain <= bounded { -plain } else { 0.0 };
        sums.clip_low += usize::from(ratio < 1.0 - c.epsilon && s.advantage < 0.0);
        sums.clip_high += usize::from(ratio > 1.0 + c.epsilon_high && s.advantage > 0.0);
        if let Some(reference) = s.ref_logp {
            let raw = f64::from(reference[t]) - logp;
            let d = raw.clamp(-LOG_RATIO_BOUND, LOG_RATIO_BOUND);
            sums.kl_clamped += usize::from(d != raw);
            let k3 = d.exp() - d - 1.0;
            sums.kl += k3;
            loss += c.beta * k3;
            grad += c.beta * (1.0 - d.exp());
        }
        sums.loss += s.weight * loss;
        dlogp[t] = (s.weight * grad) as f32;
    }
    sums
}

/// Advantages of groups of `group` rewards, laid end to end.
#[derive(Clone, Debug, PartialEq)]
pub struct Advantages {
    pub values: Vec<f64>,
    /// Share of groups whose rewards are all equal (std 0 up to 1e-8): no gradient but KL's.
    pub frac_reward_zero_std: f64,
}

/// `A = r - mean_group`, divided by `std + 1e-4` of the group or of the batch.
pub fn advantages(rewards: &[f64], group: usize, scale: ScaleRewards) -> Advantages {
    let group = group.max(1);
    let batch_std = std_ddof1(rewards);
    let mut values = Vec::with_capacity(rewards.len());
    let (mut zero, mut groups) = (0usize, 0usize);
    for g in rewards.chunks(group) {
        let mean = g.iter().sum::<f64>() / g.len() as f64;
        let std = std_ddof1(g);
        groups += 1;
        zero += usize::from(std <= 1e-8);
        let divisor = match scale {
            ScaleRewards::Group => std + 1e-4,
            ScaleRewards::Batch => batch_std + 1e-4,
            ScaleRewards::None => 1.0,
        };
        values.extend(g.iter().map(|r| (r - mean) / divisor));
    }
    Advantages { values, frac_reward_zero_std: if groups == 0 { 0.0 } else { zero as f64 / groups as f64 } }
}

/// Sample standard deviation; 0 for fewer than two values.
pub fn std_ddof1(x: &[f64]) -> f64 {
    if x.len() < 2 {
        return 0.0;
    }
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    (x.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / (x.len() - 1) as f64).sqrt()
}
