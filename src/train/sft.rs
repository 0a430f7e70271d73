//! Supervised training and pre-training: mean cross entropy of target tokens, with the same step as GRPO.

use super::accumulate::{Example, MicroBatch, accumulate, zero};
use super::error::{Result, TrainError};
use super::run::{Metrics, Objective, State, StepRecord};
use crate::ops::Ops;

/// Examples of one step; must depend on the step number alone.
pub trait ExampleSource {
    fn batch(&self, step: u64) -> Vec<Example>;
}

/// Cross entropy over an example source.
pub struct Sft<'a, S: ExampleSource> {
    pub source: &'a S,
    pub micro: MicroBatch,
}

impl<O: Ops, S: ExampleSource> Objective<O> for Sft<'_, S> {
    fn step(&mut self, o: &O, state: &mut State<O>, step: u64, total: u64) -> Result<StepRecord> {
        let examples = self.source.batch(step);
        let targets: usize = examples.iter().map(|e| e.targets.len()).sum();
        if targets == 0 {
            return Err(TrainError::Config(format!("step {step}: the batch has no target tokens")));
        }
        zero(o, &mut state.grads)?;
        let weight = 1.0 / targets as f64;
        let mut loss = 0.0;
        let scores = accumulate(o, &state.model, &examples, 1.0, self.micro, &mut state.grads, |_, s, dlogp| {
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
        let entropy: f64 = scores.iter().flat_map(|s| &s.entropy).map(|&e| f64::from(e)).sum();
        metrics.set("entropy", entropy * weight);
        Ok(StepRecord { metrics, tokens: examples.iter().map(|e| e.tokens.len() as u64).sum(), rows: Vec::new() })
    }
}
