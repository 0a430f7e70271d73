//! Training of the arms, and what must hold before and after it.

use std::cell::RefCell;

use super::config::{Anchor, Arm, EvaluateConfig};
use super::environment::{Demonstrations, Speech, TaskEnvironment, training_items};
use super::error::{BatteryError, Result};
use super::evaluate::Wordings;
use super::folder::{key_of, make_dir, read_json, write_json};
use super::lab::Lab;
use super::record::{Cell, Health, Row, Table};
use crate::domain::{
    AttractorRow, Completion, Condition, Domain, Item, RewardKind, attractor_table, refuse_attractors,
};
use crate::model::qwen2::Qwen2;
use crate::ops::Ops;
use crate::train::accumulate::MicroBatch;
use crate::train::grpo::Grpo;
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
    /// Prints the attractor table of every RL arm and refuses to train on a reward that a degenerate policy would win.
    pub fn attractors(&mut self) -> Result<()> {
        let mut tables = Vec::new();
        for arm in self.config.arms.clone() {
            let Some(kind) = arm.reward() else { continue };
            let path = self.dir().join("attractors").join(format!("{}.json", arm.name()));
            let key = key_of(&(self.ground(), arm.name(), &self.config.frugality.reward, &self.config.grpo))?;
            if let Some(cell) = self.folder.begin(&format!("attractors/{}", arm.name()), &key, path.exists())? {
                let start = self.start_reward(kind)?;
                let speech = Speech { chat: &self.chat };
                let failed = RefCell::new(None);
                let count = |t: &str| speech.count(t).map_err(|e| failed.replace(Some(e))).unwrap_or_default();
                let rows = attractor_table(&self.domain, kind, &training_items(&self.domain), &count);
                if let Some(e) = failed.take() {
                    return Err(e);
                }
                let shown = shown(arm, start, &rows);
                self.reporter.borrow_mut().table(&shown);
                refuse_attractors(&rows, start)
                    .map_err(|source| BatteryError::Attractor { arm: arm.name().into(), source })?;
                make_dir(&self.dir().join("attractors"))?;
                write_json(&path, &shown)?;
                self.folder.finish(cell)?;
            }
            tables.push(read_json(&path)?);
        }
        self.folder.manifest.attractors = tables;
        self.folder.save()
    }

    /// Expected reward of the start model on training items as they will be drawn.
    fn start_reward(&self, kind: RewardKind) -> Result<f64> {
        let items: Vec<_> = training_items(&self.domain).into_iter().take(200).cloned().collect();
        let c = &self.config.grpo;
        let config = EvaluateConfig {
            samples: 1,
            greedy: false,
            temperature: c.temperature,
            top_p: c.top_p,
            top_k: c.top_k,
            max_new_tokens: c.max_completion_length,
            ..self.config.evaluate.clone()
        };
        let (label, seed) = ("start model on training items", self.config.seeds[0]);
        let conditions = [Condition::Neutral];
        let rows =
            self.evaluate(&self.base()?, label, Arm::Base, seed, 0, &items, &conditions, Wordings::All, &config)?;
        let reward = |(r, item): (&Row, &Item)| {
            let c = Completion { text: r.text.clone(), tokens: r.n_tokens };
            self.domain.grade(kind, item, &[c]).first().map_or(0.0, |g| g.reward)
        };
        Ok(rows.iter().zip(&items).map(reward).sum::<f64>() / rows.len().max(1) as f64)
    }

    /// Trains an arm unless it is done.
    pub fn train_arm(&mut self, arm: Arm, seed: u64) -> Result<()> {
        if !arm.trained() {
            return Ok(());
        }
        let (dir, label) = (self.arm_dir(arm, seed), format!("{} seed {seed}", arm.name()));
        let present = dir.join("final").join("model.safetensors").exists() && dir.join("ended.json").exists();
        let Some(cell) = self.folder.begin(&format!("train {label}"), &self.arm_key(arm, seed)?, present)? else {
            self.reporter.borrow_mut().say(&format!("train {label}: done already"));
            return Ok(());
        };
        let c = self.config;
        let (ended, model) = match arm.reward() {
            Some(kind) => {
                let env = TaskEnvironment::new(&self.domain, &self.chat, kind)?;
                // These arms start from the base model: both anchors are the base.
                let anchor = match c.anchor {
                    Anchor::None => None,
                    Anchor::Base | Anchor::Start => Some(self.base()?),
                };
                let mut config = c.grpo.clone();
                config.seed = seed;
                let mut objective = Grpo { config, env: &env, anchor: anchor.as_ref() };
                let max = Some(self.domain.max_reward(kind));
                self.train(&label, &mut objective, c.optim.clone(), &c.run, max, &dir)?
            }
            None => {
                let source = Demonstrations::new(&self.domain, &self.chat, false, c.sft.examples, seed)?;
                let optim = OptimConfig { learning_rate: c.sft.learning_rate, ..c.optim.clone() };
                let run = RunConfig { max_steps: c.sft.max_steps, zero_std_limit: 1.0, ..c.run.clone() };
                self.train(&label, &mut supervised(&source, self.micro()), optim, &run, None, &dir)?
            }
        };
        self.source.save(self.o, &model, &dir.join("final"))?;
        write_json(&dir.join("ended.json"), &ended)?;
        self.folder.finish(cell)?;
        self.reporter.borrow_mut().say(&format!("train {label}: {}", describe(&ended)));
        Ok(())
    }

    pub fn micro(&self) -> MicroBatch {
        MicroBatch { max_tokens: self.config.grpo.micro_batch_tokens, recompute: self.config.grpo.recompute }
    }

    fn train(
        &self,
        label: &str,
        objective: &mut impl Objective<O>,
        optim: OptimConfig,
        run: &RunConfig,
        max_reward: Option<f64>,
        dir: &std::path::Path,
    ) -> Result<(Ended, Qwen2<O>)> {
        let mut state = state(self.o, self.base()?, optim)?;
        let mut observer = self.reporter.borrow_mut().training(label);
        let ended = train(self.o, &mut state, objective, run, dir, max_reward, &mut *observer)?;
        Ok((ended, state.model))
    }

    /// How every arm's training ended, as health of the tests that rest on it.
    pub fn training_health(&self) -> Result<Vec<Health>> {
        let mut out = Vec::new();
        for &seed in &self.config.seeds {
            for &arm in self.config.arms.iter().filter(|a| a.trained()) {
                let ended: Ended = read_json(&self.arm_dir(arm, seed).join("ended.json"))?;
                out.push(Health {
                    name: format!("training of {}, seed {seed}", arm.name()),
                    ok: !matches!(ended, Ended::DeadGradient { .. }),
                    fatal: arm == Arm::Value,
                    detail: describe(&ended),
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

fn shown(arm: Arm, start: f64, rows: &[AttractorRow]) -> Table {
    let columns = ["policy", "reward", "accuracy", "parsed", "tokens", "role"];
    let mut table = Table {
        title: format!("Attractor table, {} arm (start model earns {start:.3})", arm.name()),
        columns: columns.map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for r in rows {
        let role = match (r.intended, r.degenerate) {
            (true, _) => "intended",
            (_, true) => "degenerate",
            _ => "",
        };
        table.rows.push(vec![
            Cell::Text(r.policy.into()),
            Cell::Number(r.reward),
            Cell::Number(r.accuracy),
            Cell::Number(r.parsed),
            Cell::Number(r.tokens),
            Cell::Text(role.into()),
        ]);
    }
    table
}
