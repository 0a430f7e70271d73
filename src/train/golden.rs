//! What `probity verify` measures, computed by the same code that trains and decodes.

use super::accumulate::{Example, MicroBatch, accumulate};
use super::loss::{LossConfig, LossSums, LossType, Sequence, sequence_loss};
use crate::generate::{GenerateConfig, Request, generate};
use crate::model::batch::Batch;
use crate::model::error::Result;
use crate::model::golden::{GoldenModel, GrpoBatch, LossAndGrads};
use crate::model::hooks::{Action, Hook, HookSet};
use crate::model::lora::Trained;
use crate::model::qwen2::{Qwen2, Recompute};
use crate::ops::{Ops, Sampling};

/// A model on a device, as the verifier sees it.
pub struct Verified<'a, O: Ops> {
    pub o: &'a O,
    pub model: &'a Qwen2<O>,
}

const MICRO: MicroBatch = MicroBatch { max_tokens: 4096, recompute: Recompute::None };

impl<O: Ops> Verified<'_, O> {
    fn named(&self, grads: &Trained<O::T>) -> Result<std::collections::BTreeMap<String, Vec<f32>>> {
        let names = self.model.trained_specs().into_iter().map(|s| s.name);
        names.zip(grads.iter()).map(|(n, g)| Ok((n, self.o.read(g)?))).collect()
    }
}

impl<O: Ops> GoldenModel for Verified<'_, O> {
    fn logits(&mut self, ids: &[Vec<u32>]) -> Result<Vec<f32>> {
        let hooks = HookSet::default();
        let x = self.model.forward(self.o, &Batch::new(self.o, ids)?, &hooks)?;
        Ok(self.o.read(&self.model.logits(self.o, &x, None, &hooks)?)?)
    }

    fn hidden(&mut self, ids: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        let layers = self.model.config.num_hidden_layers;
        let mut hooks = HookSet::default();
        for l in 0..layers {
            hooks = hooks.with(Hook::ResidPre(l), Action::Capture { rows: None });
        }
        hooks = hooks.with(Hook::ResidPost(layers - 1), Action::Capture { rows: None });
        self.model.forward(self.o, &Batch::new(self.o, ids)?, &hooks)?;
        hooks.take().iter().map(|(_, t)| Ok(self.o.read(t)?)).collect()
    }

    fn ce(&mut self, ids: &[Vec<u32>]) -> Result<LossAndGrads> {
        let examples: Vec<Example> = ids
            .iter()
            .filter(|s| s.len() > 1)
            .map(|s| Example { targets: (1..s.len()).collect(), tokens: s.clone() })
            .collect();
        let n: usize = examples.iter().map(|e| e.targets.len()).sum();
        let weight = 1.0 / n.max(1) as f64;
        let mut grads = self.model.zeros_like(self.o)?;
        let mut loss = 0.0;
        accumulate(self.o, self.model, &examples, 1.0, MICRO, &mut grads, |_, s, d| {
            loss -= weight * s.logp.iter().map(|&l| f64::from(l)).sum::<f64>();
            d.fill(-weight as f32);
        })?;
        Ok(LossAndGrads { loss, grads: self.named(&grads)? })
    }

    fn grpo(&mut self, ids: &[Vec<u32>], batch: &GrpoBatch) -> Result<LossAndGrads> {
        let (mut examples, mut origin) = (Vec::new(), Vec::new());
        for (i, (tokens, mask)) in ids.iter().zip(&batch.completion_mask).enumerate() {
            let targets: Vec<usize> = (1..tokens.len()).filter(|&t| mask[t - 1]).collect();
            if !targets.is_empty() {
                examples.push(Example { targets, tokens: tokens.clone() });
                origin.push(i);
            }
        }
        // Ratio 1 on policy: the clip range cannot matter.
        let c = LossConfig {
            loss_type: LossType::Grpo,
            beta: f64::from(batch.beta),
            epsilon: 0.2,
            epsilon_high: 0.2,
            max_completion_length: 0,
        };
        let tokens = examples.iter().map(|e| e.targets.len()).sum();
        let reference: Vec<Vec<f32>> = examples
            .iter()
            .zip(&origin)
            .map(|(e, &i)| e.targets.iter().map(|&t| batch.ref_logps[i][t - 1]).collect())
            .collect();
        let mut grads = self.model.zeros_like(self.o)?;
        let mut sums = LossSums::default();
        accumulate(self.o, self.model, &examples, 1.0, MICRO, &mut grads, |e, s, d| {
            let sequence = Sequence {
                logp: &s.logp,
                old_logp: None,
                ref_logp: (batch.beta != 0.0).then_some(&reference[e]),
                advantage: f64::from(batch.advantages[origin[e]]),
                weight: c.loss_type.token_weight(s.logp.len(), ids.len(), tokens, 0),
            };
            sums.add(&sequence_loss(&c, &sequence, d));
        })?;
        Ok(LossAndGrads { loss: sums.loss, grads: self.named(&grads)? })
    }

    fn greedy(&mut self, prompt: &[u32], n: usize) -> Result<Vec<u32>> {
        let c = GenerateConfig {
            sampling: Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 },
            repetition_penalty: 1.0,
            max_new_tokens: n,
            stop_ids: Vec::new(),
            seed: 0,
            max_batch: 1,
        };
        let request = Request { prompt: prompt.to_vec(), sequences: vec![0] };
        let mut done = generate(self.o, self.model, &[request], &c, &HookSet::default())?;
        Ok(done.pop().and_then(|mut g| g.pop()).map(|c| c.tokens).unwrap_or_default())
    }
}
