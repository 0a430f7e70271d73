//! AdamW over every parameter, learning-rate schedules, gradient clipping.

use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::error::{Result, TrainError, frozen};
use crate::generate::source::Storage;
use crate::model::lora::Trained;
use crate::model::params::ParamSpec;
use crate::model::qwen2::Qwen2;
use crate::ops::plan::mix;
use crate::ops::{AdamW, Dtype, Ops, TensorMeta};

/// Learning-rate schedule, by transformers' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// Warm-up, then linear to 0 at the last step.
    Linear,
    /// Warm-up, then constant.
    Constant,
    /// Warm-up, then half a cosine to 0.
    Cosine,
}

/// How weights and moments are stored while they are trained. Gradients and arithmetic are f32 in any case. Under LoRA it is how the
/// frozen weights are stored; adapters and their moments are f32.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 16 bytes a parameter: weight, gradient, two moments.
    #[default]
    F32,
    /// 10 bytes a parameter: matrices and their moments in bf16, each new value rounded to one of its two neighbours at random so that
    /// the expectation is exact ([`Ops::adamw_bf16`]); rounding to nearest would leave most weights as they are at the learning
    /// rates of fine-tuning. Norms and biases stay in f32.
    Bf16,
    /// About 8.5 bits a weight of the base: under LoRA alone, since codes cannot take small steps ([`Storage::Int8`]).
    Int8,
    /// About 4.5 bits a weight, likewise ([`Storage::Int4`]).
    Int4,
    /// About 4.3 bits a weight, likewise: QLoRA (Dettmers et al. 2023; [`Storage::Nf4`]).
    Nf4,
}

impl Precision {
    /// Whether these weights are frozen.
    pub fn quantised(self) -> bool {
        matches!(self, Precision::Int8 | Precision::Int4 | Precision::Nf4)
    }

    /// How a model is loaded that is to be trained so.
    pub fn storage(self) -> Storage {
        match self {
            Precision::F32 => Storage::F32,
            Precision::Bf16 => Storage::Bf16,
            Precision::Int8 => Storage::Int8,
            Precision::Int4 => Storage::Int4,
            Precision::Nf4 => Storage::Nf4,
        }
    }
}

impl FromStr for Precision {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let all = [Precision::F32, Precision::Bf16, Precision::Int8, Precision::Int4, Precision::Nf4];
        let found = all.into_iter().find(|p| p.storage().name() == text);
        found.ok_or_else(|| format!("expected {}", all.map(|p| p.storage().name()).join(", ")))
    }
}

/// Optimizer settings, with the names of transformers' `TrainingArguments`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OptimConfig {
    pub learning_rate: f64,
    pub adam_beta1: f64,
    pub adam_beta2: f64,
    pub adam_epsilon: f64,
    /// Applied to matrices; to norms and biases only with `decay_all`.
    pub weight_decay: f64,
    pub decay_all: bool,
    /// 0 = no clipping.
    pub max_grad_norm: f64,
    pub lr_scheduler_type: Schedule,
    pub warmup_steps: u64,
    pub precision: Precision,
    /// Of the stochastic rounding; in a battery the seed of the training.
    pub seed: u64,
}

impl Default for OptimConfig {
    fn default() -> Self {
        Self {
            learning_rate: 1e-5,
            adam_beta1: 0.9,
            adam_beta2: 0.999,
            adam_epsilon: 1e-8,
            weight_decay: 0.0,
            decay_all: false,
            max_grad_norm: 1.0,
            lr_scheduler_type: Schedule::Linear,
            warmup_steps: 0,
            precision: Precision::F32,
            seed: 0,
        }
    }
}

impl OptimConfig {
    /// Learning rate of the update after `step` completed ones, of `total`.
    pub fn lr(&self, step: u64, total: u64) -> f64 {
        let factor = if step < self.warmup_steps {
            step as f64 / self.warmup_steps as f64
        } else {
            let span = total.saturating_sub(self.warmup_steps).max(1) as f64;
            let t = ((step - self.warmup_steps) as f64 / span).min(1.0);
            match self.lr_scheduler_type {
                Schedule::Linear => 1.0 - t,
                Schedule::Constant => 1.0,
                Schedule::Cosine => 0.5 * (1.0 + (std::f64::consts::PI * t).cos()),
            }
        };
        self.learning_rate * factor
    }
}

/// First and second moments, stored as their weights are, and the number of updates made.
pub struct Optimizer<T> {
    pub config: OptimConfig,
    pub m: Trained<T>,
    pub v: Trained<T>,
    pub step: u64,
    specs: Vec<ParamSpec>,
}

/// What one update did.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Update {
    /// Gradient norm before clipping.
    pub grad_norm: f64,
    /// L2 norm of the change of the weights.
    pub update_norm: f64,
    pub learning_rate: f64,
    /// Share of the bf16 weights that changed; `None` where there are none.
    pub weights_changed: Option<f64>,
    /// Elements of the gradient that were NaN or infinite; when not 0 the weights were left alone.
    pub nonfinite: u64,
}

impl<T: TensorMeta> Optimizer<T> {
    /// Fails where what is to be trained is, or was asked to be, in codes.
    pub fn new<O: Ops<T = T>>(o: &O, model: &Qwen2<O>, config: OptimConfig) -> Result<Self> {
        if config.precision.quantised() && model.adapters.is_none() {
            return Err(TrainError::Config(format!(
                "precision = {:?} in [optim]: quantised weights are frozen, so only adapters ([lora]) can be trained on them",
                config.precision.storage().name()
            )));
        }
        let moments = || {
            model.like(|s, weight| match weight.dtype() {
                Dtype::Bf16 => Ok(o.zeros_bf16(s.rows, s.cols)?),
                Dtype::F32 => Ok(o.zeros(s.rows, s.cols)?),
                Dtype::Quant(q) => Err(frozen(&s.name, q)),
            })
        };
        Ok(Self { config, m: moments()?, v: moments()?, step: 0, specs: model.trained_specs() })
    }

    /// Key of the random bits of tensor `index` at this step: a function of seed, step and tensor alone.
    fn rounding_key(&self, index: usize) -> [u32; 2] {
        let word = |x: u64, salt: u32| mix(x as u32 ^ salt) ^ mix((x >> 32) as u32 ^ salt.rotate_left(16));
        [word(self.config.seed, 0x5bd1_e995) ^ mix(self.step as u32), word(self.step, 0x2545_f491) ^ mix(index as u32)]
    }

    /// Clips and applies `grads` to what the model trains.
    pub fn update<O: Ops<T = T>>(
        &mut self,
        o: &O,
        model: &mut Qwen2<O>,
        grads: &Trained<T>,
        total_steps: u64,
    ) -> Result<Update> {
        let c = &self.config;
        let all: Vec<&T> = grads.iter().collect();
        let norm = o.global_norm(&all)?;
        let read = o.read(&norm)?;
        let learning_rate = c.lr(self.step, total_steps);
        let mut update = Update {
            grad_norm: f64::from(read[0]),
            update_norm: 0.0,
            learning_rate,
            weights_changed: None,
            nonfinite: read[1] as u64,
        };
        if update.nonfinite > 0 {
            return Ok(update);
        }
        self.step += 1;
        let hyper = AdamW {
            lr: learning_rate as f32,
            beta1: c.adam_beta1 as f32,
            beta2: c.adam_beta2 as f32,
            eps: c.adam_epsilon as f32,
            weight_decay: 0.0,
            bias_correction1: (1.0 - c.adam_beta1.powf(self.step as f64)) as f32,
            bias_correction2: (1.0 - c.adam_beta2.powf(self.step as f64)) as f32,
            max_norm: if c.max_grad_norm > 0.0 { c.max_grad_norm as f32 } else { f32::INFINITY },
        };
        let keys: Vec<[u32; 2]> = (0..self.specs.len()).map(|i| self.rounding_key(i)).collect();
        let mut changes = Vec::with_capacity(self.specs.len());
        let mut report = o.zeros(self.specs.len(), 2)?;
        let mut packed = 0;
        let weights = model.trained_mut()?.zip(all).zip(self.m.iter_mut().zip(self.v.iter_mut()));
        for (i, (spec, ((w, g), (m, v)))) in self.specs.iter().zip(weights).enumerate() {
            let decays = c.decay_all || !spec.vector;
            let h = AdamW { weight_decay: if decays { c.weight_decay as f32 } else { 0.0 }, ..hyper };
            if w.dtype() == Dtype::Bf16 {
                o.adamw_bf16(w, g, m, v, &h, &norm, keys[i], &mut report, i)?;
                packed += w.len();
            } else {
                changes.push(o.adamw(w, g, m, v, &h, &norm)?);
            }
        }
        // The norm of the tensors' norms is the norm of the whole change: one readback.
        let changes: Vec<&T> = changes.iter().collect();
        let mut square = f64::from(o.read(&o.global_norm(&changes)?)?[0]).powi(2);
        if packed > 0 {
            let rows = o.read(&report)?;
            square += rows.chunks_exact(2).map(|r| f64::from(r[0]).powi(2)).sum::<f64>();
            let changed: f64 = rows.chunks_exact(2).map(|r| f64::from(r[1])).sum();
            update.weights_changed = Some(changed / packed as f64);
        }
        update.update_norm = square.sqrt();
        Ok(update)
    }
}
