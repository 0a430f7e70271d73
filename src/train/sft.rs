//! Supervised training and pre-training: cross entropy of target tokens, with the same step as GRPO.

use serde::{Deserialize, Serialize};

use super::accumulate::{Example, MicroBatch, accumulate, zero};
use super::error::{Result, TrainError};
use super::run::{Metrics, Objective, State, StepRecord};
use crate::ops::Ops;

/// Examples of one step; must depend on the step number alone.
pub trait ExampleSource {
    fn batch(&self, step: u64) -> Result<Vec<Example>>;
}

/// What every target token weighs in the loss.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Weighting {
    /// The same: the mean over tokens, as transformers computes it.
    #[default]
    Token,
    /// The same per example: a one-word answer counts as much as a paragraph.
    Example,
}

impl Weighting {
    fn weight(self, targets: usize, examples: usize, total: usize) -> f64 {
        match self {
            Weighting::Token => 1.0 / total as f64,
            Weighting::Example => 1.0 / (examples * targets.max(1)) as f64,
        }
    }
}

/// Cross entropy over an example source.
pub struct Sft<'a, S: ExampleSource> {
    pub source: &'a S,
    pub micro: MicroBatch,
    pub weighting: Weighting,
}

impl<O: Ops, S: ExampleSource> Objective<O> for Sft<'_, S> {
    fn step(&mut self, o: &O, state: &mut State<O>, step: u64, total: u64) -> Result<StepRecord> {
        let examples = self.source.batch(step)?;
        let targets: usize = examples.iter().map(|e| e.targets.len()).sum();
        if targets == 0 {
            return Err(TrainError::Config(format!("step {step}: the batch has no target tokens")));
        }
        zero(o, &mut state.grads)?;
        let (weighting, n) = (self.weighting, examples.len());
        let mut loss = 0.0;
        let scores = accumulate(o, &state.model, &examples, 1.0, self.micro, &mut state.grads, |_, s, dlogp| {
            let weight = weighting.weight(s.logp.len(), n, targets);
            loss -= weight * s.logp.iter().map(|&l| f64::from(l)).sum::<f64>();
            dlogp.fill(-weight as f32);
        })?;
        let update = state.optimizer.update(o, &mut state.model, &state.grads, total)?;
        if update.nonfinite > 0 {
            return Err(TrainError::NonFinite { step, count: update.nonfinite });
        }
        let mut metrics = Metrics::default();
        metrics.set("loss", loss);
        metrics.set("grad_norm", update.grad_norm);
        metrics.set("learning_rate", update.learning_rate);
        metrics.set("update_norm", update.update_norm);
        if let Some(share) = update.weights_changed {
            metrics.set("weights_changed", share);
        }
        let entropy: f64 = scores.iter().flat_map(|s| &s.entropy).map(|&e| f64::from(e)).sum();
        metrics.set("entropy", entropy / targets as f64);
        Ok(StepRecord { metrics, tokens: examples.iter().map(|e| e.tokens.len() as u64).sum(), rows: Vec::new() })
    }
}
