//! Training of the arms, and how it ended.

use std::path::Path;

use super::config::{Anchor, Arm};
use super::environment::{Demonstrations, TaskEnvironment};
use super::error::Result;
use super::folder::{read_json, write_json};
use super::lab::Lab;
use super::record::Health;
use super::segments::{Drawing, Draws, Wanted, told};
use crate::domain::{Condition, Domain, RewardKind};
use crate::model::qwen2::Qwen2;
use crate::ops::Ops;
use crate::train::accumulate::MicroBatch;
use crate::train::grpo::GrpoConfig;
use crate::train::optim::{OptimConfig, Optimizer};
use crate::train::run::{Ended, Objective, RunConfig, State, run as train};
use crate::train::sft::{Sft, Weighting};

/// A model with a fresh optimizer.
pub fn state<O: Ops>(o: &O, model: Qwen2<O>, optim: OptimConfig) -> Result<State<O>> {
    let optimizer = Optimizer::new(o, &model, optim)?;
    let grads = model.zeros_like(o)?;
    Ok(State { model, optimizer, grads })
}

impl<O: Ops> Lab<'_, O> {
    /// Trains an arm unless it is done.
    pub fn train_arm(&mut self, arm: Arm, seed: u64) -> Result<()> {
        if !arm.trained() {
            return Ok(());
        }
        if self.given_model(arm, seed).is_some() {
            return self.accept_given(arm, seed);
        }
        let (dir, label) = (self.arm_dir(arm, seed), format!("{} seed {seed}", arm.name()));
        let present = self.finished(&dir);
        let Some(cell) = self.folder.begin(&format!("train {label}"), &self.arm_key(arm, seed)?, present)? else {
            self.reporter.borrow_mut().say(&format!("train {label}: done already"));
            return Ok(());
        };
        let c = self.config;
        let (ended, model) = match arm.reward() {
            Some(kind) => self.reinforce(&label, &*self.domain, kind, GrpoConfig { seed, ..c.grpo.clone() }, &dir)?,
            None => {
                let source = Demonstrations::new(&*self.domain, &self.chat, false, c.sft.examples, seed)?;
                let optim = OptimConfig { learning_rate: c.sft.learning_rate, seed, ..c.optim.clone() };
                let run = RunConfig { max_steps: c.sft.max_steps, zero_std_limit: 1.0, ..c.run.clone() };
                let model = self.to_train(None, Arm::Base, seed)?;
                self.train(&label, &mut supervised(&source, self.micro()), model, optim, &run, None, &dir)?
            }
        };
        self.source.save(self.o, &model, &dir.join("final"))?;
        write_json(&dir.join("ended.json"), &ended)?;
        self.folder.finish(cell)?;
        self.reporter.borrow_mut().say(&format!("train {label}: {}", describe(&ended)));
        Ok(())
    }

    /// GRPO from the base model on one reward of `domain`.
    pub fn reinforce(
        &self,
        label: &str,
        domain: &dyn Domain,
        kind: RewardKind,
        config: GrpoConfig,
        dir: &Path,
    ) -> Result<(Ended, Qwen2<O>)> {
        let c = self.config;
        let paid = [(Condition::Neutral, kind)];
        let draws = match self.segments(Wanted::of_arm(kind), &paid, &config, label, dir) {
            Some(draws) => draws,
            None => Draws::Fixed(TaskEnvironment::new(domain, &self.chat, kind)?),
        };
        // It starts from the base model: both anchors are the base.
        let anchor = match c.anchor {
            Anchor::None => None,
            Anchor::Base | Anchor::Start => Some(self.base()?),
        };
        let optim = OptimConfig { seed: config.seed, ..c.optim.clone() };
        let model = self.to_train(anchor.as_ref(), Arm::Base, config.seed)?;
        let mut objective = Drawing { draws, config, anchor: anchor.as_ref() };
        self.train(label, &mut objective, model, optim, &c.run, Some(domain.max_reward(kind)), dir)
    }

    pub fn micro(&self) -> MicroBatch {
        MicroBatch { max_tokens: self.config.grpo.micro_batch_tokens, recompute: self.config.grpo.recompute }
    }

    #[allow(clippy::too_many_arguments)]
    fn train(
        &self,
        label: &str,
        objective: &mut impl Objective<O>,
        model: Qwen2<O>,
        optim: OptimConfig,
        run: &RunConfig,
        max_reward: Option<f64>,
        dir: &Path,
    ) -> Result<(Ended, Qwen2<O>)> {
        let mut state = state(self.o, model, optim)?;
        let mut observer = self.reporter.borrow_mut().training(label);
        let ended = train(self.o, &mut state, objective, run, dir, max_reward, &mut *observer)?;
        Ok((ended, state.model))
    }

    /// How every arm's training ended, as health of the tests that rest on it.
    pub fn training_health(&self) -> Result<Vec<Health>> {
        let mut out = Vec::new();
        for &seed in &self.config.seeds {
            for &arm in self.config.arms.iter().filter(|a| a.trained()) {
                if let Some(known) = self.given_health(arm, seed) {
                    out.push(known);
                    continue;
                }
                let dir = self.arm_dir(arm, seed);
                let ended: Ended = read_json(&dir.join("ended.json"))?;
                let every = self.domain.honesty().map(|h| h.config().curriculum.every);
                let told = every.map_or(Ok(None), |every| told(&dir, every, self.config.run.max_steps))?;
                out.push(Health {
                    name: format!("training of {}, seed {seed}", self.domain.words().arm(arm.name())),
                    ok: !matches!(ended, Ended::DeadGradient { .. }),
                    fatal: arm == Arm::Value,
                    by_design: false,
                    detail: std::iter::once(describe(&ended)).chain(told).collect::<Vec<_>>().join("; "),
                });
            }
        }
        Ok(out)
    }
}

/// Supervised training on demonstrations.
pub fn supervised(source: &Demonstrations, micro: MicroBatch) -> Sft<'_, Demonstrations> {
    Sft { source, micro, weighting: Weighting::Token }
}

/// One sentence on the end of a training.
pub fn describe(e: &Ended) -> String {
    match e {
        Ended::Complete { step } => format!("complete after {step} steps"),
        Ended::Converged { step, reward } => format!("converged at step {step} (reward {reward:.3})"),
        Ended::DeadGradient { step, reward, frac_reward_zero_std } => format!(
            "dead gradient at step {step}: {:.0} % of the groups have equal rewards (reward {reward:.3})",
            100.0 * frac_reward_zero_std
        ),
    }
}
