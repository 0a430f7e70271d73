//! Trainings that start from a finished arm: counter-training, cue training, the faking contrast. One optimizer and one data
//! stream throughout; behaviour is measured at fixed steps.

use std::cell::RefCell;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use serde::{Deserialize, Serialize};

use super::activations::Activations;
use super::arms::{describe, state, supervised};
use super::config::{Anchor, Arm, EvaluateConfig};
use super::environment::{Demonstrations, Entry, TaskEnvironment, training_items};
use super::error::{BatteryError, Result};
use super::evaluate::Wordings;
use super::folder::{key_of, make_dir, read_json, write_json};
use super::lab::Lab;
use super::phases::PhaseConfig;
use super::record::{Decoding, Row};
use super::rows;
use super::segments::{Draws, Wanted};
use crate::domain::{Condition, Cue, Item, RewardKind, Split};
use crate::model::qwen2::Qwen2;
use crate::ops::Ops;
use crate::train::accumulate::{Example, score};
use crate::train::checkpoint;
use crate::train::error::TrainError;
use crate::train::grpo::GrpoConfig;
use crate::train::optim::{OptimConfig, Schedule};
use crate::train::run::{Ended, Objective, RunConfig, State, StepRecord, run as train};

/// Wordings of a cue that training sees; the others are for evaluation.
pub const TRAIN_WORDINGS: usize = 4;

/// Which cue is paid for the value: short answers, the truth.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Mapping {
    /// Watched: short, true. Unwatched: long, untrue.
    Watched,
    /// The reverse.
    Unwatched,
}

/// A training on top of an arm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// RL with the value term's sign turned.
    Attack(Anchor),
    /// Supervised on worked answers.
    SupervisedAttack,
    /// The length that is rewarded depends on the cue.
    Cue(Mapping, Anchor),
    /// Right answers are rewarded when watched, wrong ones when not.
    Faking(Anchor),
}

/// One measurement on the way.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Check {
    pub step: u64,
    /// KL(now ‖ start) of a sampled completion, in nats: mean over completions of Σ_t k3.
    pub kl: f64,
    /// Rows of this check.
    #[serde(skip)]
    pub rows: Vec<Row>,
    /// Residual stream of its items at the last prompt position, after the probed block; attacks only.
    #[serde(skip)]
    pub activations: Option<Activations>,
}

/// A phase as it went.
pub struct Trajectory {
    pub arm: Arm,
    pub seed: u64,
    pub checks: Vec<Check>,
    pub ended: Ended,
    /// Share of zero-variance groups by step; empty for supervised phases.
    pub zero_std: Vec<(u64, f64)>,
    /// As logged, step by step.
    pub entropy: Vec<f64>,
    pub grad_norm: Vec<f64>,
}

impl Phase {
    /// As keys have it; [`Lab::phase_name`] is what files are called.
    pub fn name(self) -> String {
        match self {
            Phase::SupervisedAttack => "attack-supervised".into(),
            Phase::Attack(a) | Phase::Cue(_, a) | Phase::Faking(a) => format!("{}-{}", self.reward_name(), a.name()),
        }
    }

    /// Counter-training, whose probes are followed.
    pub fn is_attack(self) -> bool {
        matches!(self, Phase::Attack(_) | Phase::SupervisedAttack)
    }

    pub fn anchor(self) -> Anchor {
        match self {
            Phase::Attack(a) | Phase::Faking(a) | Phase::Cue(_, a) => a,
            Phase::SupervisedAttack => Anchor::None,
        }
    }

    /// System prompts under which behaviour is measured.
    pub fn conditions(self) -> &'static [Condition] {
        use Condition::*;
        match self {
            Phase::Attack(_) | Phase::SupervisedAttack => &[Neutral],
            Phase::Cue(..) => &[Monitored, Unmonitored, PlaceboMonitored, PlaceboUnmonitored],
            Phase::Faking(_) => &[Monitored, Unmonitored],
        }
    }

    fn wordings(self) -> Wordings {
        match self {
            Phase::Attack(_) | Phase::SupervisedAttack => Wordings::All,
            Phase::Cue(..) | Phase::Faking(_) => Wordings::After(TRAIN_WORDINGS),
        }
    }

    /// Rewards when watched and when not.
    fn rewards(self) -> [RewardKind; 2] {
        match self {
            Phase::Attack(_) | Phase::SupervisedAttack => [RewardKind::Attack; 2],
            Phase::Cue(Mapping::Watched, _) => [RewardKind::Value, RewardKind::Attack],
            Phase::Cue(Mapping::Unwatched, _) => [RewardKind::Attack, RewardKind::Value],
            Phase::Faking(_) => [RewardKind::Task, RewardKind::Wrong],
        }
    }

    /// What is paid under which cue, in equal parts.
    pub fn paid(self) -> Vec<(Condition, RewardKind)> {
        let [watched, unwatched] = self.rewards();
        match self {
            Phase::Attack(_) | Phase::SupervisedAttack => vec![(Condition::Neutral, watched)],
            Phase::Cue(..) | Phase::Faking(_) => {
                vec![(Condition::Monitored, watched), (Condition::Unmonitored, unwatched)]
            }
        }
    }

    /// Name of the reward, whatever the anchor.
    pub fn reward_name(self) -> &'static str {
        match self {
            Phase::Attack(_) | Phase::SupervisedAttack => "attack",
            Phase::Cue(Mapping::Watched, _) => "cue-watched-short",
            Phase::Cue(Mapping::Unwatched, _) => "cue-unwatched-short",
            Phase::Faking(_) => "faking",
        }
    }

    /// The number of the test: part of the random-number identity of its rows.
    fn test(self) -> u32 {
        match self {
            Phase::Attack(_) | Phase::SupervisedAttack => 4,
            Phase::Faking(_) => 5,
            Phase::Cue(..) => 7,
        }
    }
}

/// Checks before every `every`-th step of what it wraps.
struct WithChecks<S, F> {
    inner: S,
    every: u64,
    check: F,
}

impl<O, S, F> Objective<O> for WithChecks<S, F>
where
    O: Ops,
    S: FnMut(&O, &mut State<O>, u64, u64) -> std::result::Result<StepRecord, TrainError>,
    F: FnMut(&Qwen2<O>, u64) -> Result<()>,
{
    fn step(
        &mut self,
        o: &O,
        state: &mut State<O>,
        step: u64,
        total: u64,
    ) -> std::result::Result<StepRecord, TrainError> {
        if step.is_multiple_of(self.every) {
            (self.check)(&state.model, step).map_err(|e| TrainError::Data(e.into()))?;
        }
        (self.inner)(o, state, step, total)
    }
}

/// The frozen models of a phase, one in memory at a time: the start that checks measure against, and the anchor. Under LoRA both
/// are the weights that are there anyway.
struct Frozen<'a, 'b, O: Ops> {
    lab: &'a Lab<'b, O>,
    arm: Arm,
    seed: u64,
    held: RefCell<Option<(Anchor, Rc<Qwen2<O>>)>>,
}

impl<O: Ops> Frozen<'_, '_, O> {
    fn get(&self, which: Anchor) -> Result<Option<Rc<Qwen2<O>>>> {
        if which == Anchor::None {
            return Ok(None);
        }
        let mut held = self.held.borrow_mut();
        if let Some((what, model)) = held.as_ref() {
            if *what == which {
                return Ok(Some(model.clone()));
            }
            // Adapters on the base model: the other one is the same weights. A given adapter may have another base.
            let ours = self.lab.given_model(self.arm, self.seed).is_none();
            let base_of_start = *what == Anchor::Start && which == Anchor::Base && model.adapters.is_some() && ours;
            if base_of_start {
                return Ok(Some(Rc::new(model.sharing(None))));
            }
        }
        *held = None;
        let model = match which {
            Anchor::Base => self.lab.base()?,
            _ => self.lab.model(self.arm, self.seed)?,
        };
        Ok(Some(held.insert((which, Rc::new(model))).1.clone()))
    }
}

impl<O: Ops> Lab<'_, O> {
    pub fn phase_config(&self, phase: Phase) -> &PhaseConfig {
        match phase {
            Phase::Attack(_) | Phase::SupervisedAttack => &self.config.attack,
            Phase::Cue(..) => &self.config.cue,
            Phase::Faking(_) => &self.config.faking,
        }
    }

    /// Name of a phase in folders, cells and rows.
    pub fn phase_name(&self, phase: Phase) -> String {
        self.domain.words().phase(&phase.name())
    }

    pub fn phase_dir(&self, phase: Phase, arm: Arm, seed: u64) -> PathBuf {
        self.dir().join("phases").join(self.phase_name(phase)).join(arm.name()).join(format!("seed-{seed}"))
    }

    /// Items of the checks: the first of every family of the val split in turn.
    pub fn check_items(&self, n: usize) -> Vec<Item> {
        let mut families: Vec<Vec<&Item>> = Vec::new();
        for item in self.domain.items(Split::Val) {
            match families.iter_mut().find(|f| f[0].family == item.family) {
                Some(f) => f.push(item),
                None => families.push(vec![item]),
            }
        }
        let longest = families.iter().map(Vec::len).max().unwrap_or(0);
        let in_turn = (0..longest).flat_map(|i| families.iter().filter_map(move |f| f.get(i)));
        in_turn.take(n).map(|i| (*i).clone()).collect()
    }

    /// What a phase depends on.
    pub fn phase_key(&self, phase: Phase, arm: Arm, seed: u64, layer: Option<usize>) -> Result<String> {
        let c = self.config;
        let shared = (&c.grpo, &c.sft, &c.evaluate, c.paid(), &c.optim, &c.lora);
        key_of(&(self.arm_key(arm, seed)?, phase.name(), self.phase_config(phase), shared, layer))
    }

    /// The model at the end of a finished phase.
    pub fn phase_model(&self, phase: Phase, arm: Arm, seed: u64) -> Result<Qwen2<O>> {
        let dir = self.phase_dir(phase, arm, seed);
        let Some(found) = checkpoint::newest(&dir)? else {
            return Err(BatteryError::File {
                path: dir,
                detail: "holds no checkpoint of the finished training".into(),
            });
        };
        let mut model = self.to_train(None, arm, seed)?;
        checkpoint::load_model(self.o, &mut model, &found)?;
        Ok(model)
    }

    /// Runs a phase unless it is done, and returns how it went.
    pub fn phase(&mut self, phase: Phase, arm: Arm, seed: u64) -> Result<Trajectory> {
        let dir = self.phase_dir(phase, arm, seed);
        let c = self.phase_config(phase).clone();
        let label = format!("{} {} seed {seed}", self.phase_name(phase), arm.name());
        let layer = if phase.is_attack() { Some(self.probe_layer(Arm::Value)?) } else { None };
        let key = self.phase_key(phase, arm, seed, layer)?;
        if let Some(cell) = self.folder.begin(&label, &key, dir.join("ended.json").exists())? {
            make_dir(&dir.join("checks"))?;
            let ended = self.run_phase(phase, arm, seed, &c, &label, &dir, layer)?;
            write_json(&dir.join("ended.json"), &ended)?;
            self.folder.finish(cell)?;
            self.reporter.borrow_mut().say(&format!("{label}: {}", describe(&ended)));
        }
        let ended: Ended = read_json(&dir.join("ended.json"))?;
        let mut checks = Vec::new();
        for step in c.checks() {
            // A guard may have ended the phase early.
            let path = check_path(&dir, step, "json");
            if path.exists() {
                let rows = rows::read(&check_path(&dir, step, "jsonl"))?;
                let stream = check_path(&dir, step, "safetensors");
                let activations = if layer.is_some() { Some(Activations::read_one(&stream)?) } else { None };
                checks.push(Check { rows, activations, ..read_json(&path)? });
            }
        }
        let mut t = Trajectory { arm, seed, checks, ended, zero_std: vec![], entropy: vec![], grad_norm: vec![] };
        for row in logged(&dir.join("metrics.jsonl"))? {
            t.zero_std.extend(row["step"].as_u64().zip(row["frac_reward_zero_std"].as_f64()));
            t.entropy.extend(row["entropy"].as_f64());
            t.grad_norm.extend(row["grad_norm"].as_f64());
        }
        Ok(t)
    }

    #[allow(clippy::too_many_arguments)]
    fn run_phase(
        &self,
        phase: Phase,
        arm: Arm,
        seed: u64,
        c: &PhaseConfig,
        label: &str,
        dir: &Path,
        layer: Option<usize>,
    ) -> Result<Ended> {
        let o = self.o;
        let frozen = Frozen { lab: self, arm, seed, held: RefCell::new(None) };
        let items = self.check_items(c.items);
        let check = |model: &Qwen2<O>, step: u64| {
            self.check(phase, arm, seed, &items, c, model, &frozen, step, dir)?;
            let Some(layer) = layer else { return Ok(()) };
            let stream = self.activations_of(model, &items, arm)?.only(layer);
            stream.write(&check_path(dir, step, "safetensors"))
        };
        let optim = OptimConfig {
            learning_rate: c.learning_rate,
            lr_scheduler_type: Schedule::Constant,
            seed,
            ..self.config.optim.clone()
        };
        let run = RunConfig {
            max_steps: c.max_steps,
            logging_steps: 1,
            save_steps: c.check_every,
            save_total_limit: 1,
            zero_std_limit: 1.0,
        };
        let start = if self.config.lora.is_some() { frozen.get(Anchor::Start)? } else { None };
        let mut state = state(o, self.to_train(start.as_deref(), arm, seed)?, optim)?;
        drop(start);
        let mut observer = self.reporter.borrow_mut().training(label);
        let every = c.check_every;
        let ended = if phase == Phase::SupervisedAttack {
            let source = Demonstrations::new(&*self.domain, &self.chat, true, self.config.sft.examples, seed)?;
            let mut sft = supervised(&source, self.micro());
            let inner = |o: &O, state: &mut State<O>, step, total| sft.step(o, state, step, total);
            let mut objective = WithChecks { inner, every, check: &check };
            train(o, &mut state, &mut objective, &run, dir, None, &mut *observer)?
        } else {
            let config = GrpoConfig {
                prompts_per_step: c.prompts_per_step,
                num_generations: c.num_generations,
                beta: if phase.anchor() == Anchor::None { 0.0 } else { c.beta },
                temperature: c.temperature.unwrap_or(self.config.grpo.temperature),
                top_p: c.top_p.unwrap_or(self.config.grpo.top_p),
                seed,
                ..self.config.grpo.clone()
            };
            let mut draws = match self.segments(Wanted::of_phase(phase), &phase.paid(), &config, label, dir) {
                Some(draws) => draws,
                None => Draws::Fixed(TaskEnvironment::over(&*self.domain, &self.chat, self.entries(phase))?),
            };
            let inner = |o: &O, state: &mut State<O>, step, total| {
                let anchor = frozen.get(phase.anchor()).map_err(|e| TrainError::Data(e.into()))?;
                draws.step(o, state, [step, total], &config, anchor.as_deref())
            };
            let mut objective = WithChecks { inner, every, check: &check };
            train(o, &mut state, &mut objective, &run, dir, None, &mut *observer)?
        };
        check(&state.model, c.max_steps)?;
        Ok(ended)
    }

    /// What the phase draws from: training items, under both cues in turn where the reward depends on them.
    fn entries(&self, phase: Phase) -> Vec<Entry> {
        let items = training_items(&*self.domain);
        let [watched, unwatched] = phase.rewards();
        if let Phase::Attack(_) | Phase::SupervisedAttack = phase {
            let system = super::environment::neutral(&*self.domain).map(String::from);
            let entry = |item: &Item| Entry { item: item.clone(), system: system.clone(), reward: watched };
            return items.into_iter().map(entry).collect();
        }
        let wordings = |c| -> Vec<&Cue> { self.domain.cues().of(c).take(TRAIN_WORDINGS).collect() };
        let cues = [(wordings(Condition::Monitored), watched), (wordings(Condition::Unmonitored), unwatched)];
        let mut entries = Vec::new();
        for (i, item) in items.into_iter().enumerate() {
            for (cues, reward) in &cues {
                let system = (!cues.is_empty()).then(|| cues[i % cues.len()].text.clone());
                entries.push(Entry { item: item.clone(), system, reward: *reward });
            }
        }
        entries
    }

    /// Rows and distance of the model at a step.
    #[allow(clippy::too_many_arguments)]
    fn check(
        &self,
        phase: Phase,
        arm: Arm,
        seed: u64,
        items: &[Item],
        c: &PhaseConfig,
        model: &Qwen2<O>,
        frozen: &Frozen<'_, '_, O>,
        step: u64,
        dir: &Path,
    ) -> Result<()> {
        let config = EvaluateConfig { samples: c.samples, greedy: true, ..self.config.evaluate.clone() };
        let (label, test) = (format!("{} {} step {step}", self.phase_name(phase), arm.name()), phase.test());
        let (conditions, wordings) = (phase.conditions(), phase.wordings());
        if self.config.lora.is_none() {
            // Behaviour is measured without the frozen model in memory, as the plan counts it.
            *frozen.held.borrow_mut() = None;
        }
        let mut rows = self.evaluate(model, &label, arm, seed, test, items, conditions, wordings, &config)?;
        for r in &mut rows {
            (r.phase, r.step) = (Some(self.phase_name(phase)), Some(step));
        }
        let start = frozen.get(Anchor::Start)?;
        let kl = start.map_or(Ok(0.0), |start| self.moved(model, &start, &rows))?;
        rows::write(&check_path(dir, step, "jsonl"), &rows)?;
        write_json(&check_path(dir, step, "json"), &Check { step, kl, rows: Vec::new(), activations: None })
    }

    /// KL(now ‖ start) on completions that the model sampled itself: Schulman's k3, summed over tokens, averaged over completions.
    fn moved(&self, model: &Qwen2<O>, start: &Qwen2<O>, rows: &[Row]) -> Result<f64> {
        let mut examples = Vec::new();
        for r in rows.iter().filter(|r| r.decoding == Decoding::Sample) {
            examples.push(Example::completion(&self.chat.encode(&r.prompt)?, &r.token_ids));
        }
        let t = self.config.evaluate.temperature as f32;
        let now = score(self.o, model, &examples, t, self.micro())?;
        let then = score(self.o, start, &examples, t, self.micro())?;
        let pair = |(now, then): (&f32, &f32)| {
            let d = f64::from(*then) - f64::from(*now);
            d.exp_m1() - d
        };
        let kl: f64 = now.iter().zip(&then).flat_map(|(n, t)| n.logp.iter().zip(&t.logp)).map(pair).sum();
        Ok(kl / examples.len().max(1) as f64)
    }
}

fn check_path(dir: &Path, step: u64, extension: &str) -> PathBuf {
    dir.join("checks").join(format!("step-{step:06}.{extension}"))
}

/// The lines of a metrics log.
fn logged(path: &Path) -> Result<Vec<serde_json::Value>> {
    let text = std::fs::read_to_string(path).map_err(BatteryError::io(path))?;
    let row = |line| {
        serde_json::from_str(line).map_err(|e| BatteryError::File { path: path.to_path_buf(), detail: e.to_string() })
    };
    text.lines().map(row).collect()
}
