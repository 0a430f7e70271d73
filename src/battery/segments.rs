//! What a training draws: one list of prompts throughout, or in a domain whose prompts rest on the model's own answers the rows of a
//! segment after the other. Optimizer and schedule go on; each segment is kept in the arm's folder, so a run that stopped in the
//! middle of one goes on with the same rows.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::attractors::shown;
use super::environment::{Entry, Speech, TaskEnvironment, neutral};
use super::error::{BatteryError, Result};
use super::folder::{make_dir, read_json, write_json};
use super::lab::Lab;
use super::phase::{Phase as Training, TRAIN_WORDINGS};
use super::record::Table;
use crate::domain::honesty::curriculum::{Curriculum, Phase, PhaseChange};
use crate::domain::honesty::schedule::{self, Balance, Draw, Drawn, first_questions};
use crate::domain::honesty::{Design, Honesty, Row, RowSet, Snapshots, scorer, turns};
use crate::domain::{Condition, Domain, DomainError, Item, Message, Profile, RewardKind, attractor_table};
use crate::generate::{GenerateConfig, Request, generate};
use crate::model::hooks::HookSet;
use crate::model::qwen2::Qwen2;
use crate::ops::{Ops, Sampling};
use crate::train::error::TrainError;
use crate::train::grpo::{Grpo, GrpoConfig};
use crate::train::run::{Objective, State, StepRecord};

/// Which rows a training of the honesty domain draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// As the configured design says: the value arm.
    Design,
    /// Direct questions: control, its opposite, cue training, the faking contrast.
    Direct,
    /// Everything, two-turn rows on the attacked model's own answers; the study's counter-training in its profile.
    Attack,
}

impl Wanted {
    /// Of an arm's training on one reward.
    pub fn of_arm(kind: RewardKind) -> Self {
        if kind == RewardKind::Value { Wanted::Design } else { Wanted::Direct }
    }

    /// Of a training on top of an arm.
    pub fn of_phase(phase: Training) -> Self {
        if phase.is_attack() { Wanted::Attack } else { Wanted::Direct }
    }

    fn rows(self, honesty: &Honesty, phase: Phase) -> RowSet {
        let c = honesty.config();
        match (self, c.profile) {
            (Wanted::Design, _) => c.design.rows(phase),
            (Wanted::Direct, _) => RowSet::Direct,
            (Wanted::Attack, Profile::Paper) => RowSet::Counter,
            (Wanted::Attack, Profile::Strict) => RowSet::TwoTurn,
        }
    }

    /// Whether rows, or when they change, depend on the model as it is.
    fn adapts(self, honesty: &Honesty) -> bool {
        self == Wanted::Design || self.rows(honesty, Phase::TwoTurn).needs_first_answers()
    }

    /// Conversations that a training of so many steps holds with its own model between segments, at most: direct questions about dev, and
    /// first answers about every training statement, those sampled anew included, as early as the rule allows.
    pub fn questions(self, honesty: &Honesty, steps: u64) -> usize {
        if !self.adapts(honesty) {
            return 0;
        }
        let (c, data) = (honesty.config(), honesty.data());
        let segments = steps.div_ceil(c.curriculum.every) as usize;
        let waits = self == Wanted::Design && c.design == Design::Curriculum;
        let before = if waits { c.curriculum.consecutive as usize } else { 0 };
        let snapshots = match (self.rows(honesty, Phase::TwoTurn).needs_first_answers(), c.profile) {
            (false, _) => 0,
            (true, Profile::Paper) => 1,
            (true, Profile::Strict) => 1 + RESAMPLED,
        };
        segments * data.dev.len() + segments.saturating_sub(before) * snapshots * data.train.len()
    }

    /// Rows that can be drawn before there is a model to answer: what a table made before the training can show.
    pub fn known_rows(self, honesty: &Honesty, draw: Draw) -> Result<Drawn> {
        let set = self.rows(honesty, Phase::SingleTurn);
        let set = if set.needs_first_answers() { RowSet::SingleTurn } else { set };
        Ok(schedule::rows(honesty.config(), set, &honesty.data().train, &[], draw)?)
    }
}

/// First answers beyond the greedy ones that a segment may sample, once for every statement each.
const RESAMPLED: usize = 2;

/// Accuracy on direct questions about dev, greedy.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dev {
    pub items: usize,
    pub accuracy: f64,
    pub parsed: f64,
}

impl Dev {
    /// What a model that answers like this is paid on a balanced row.
    fn reward(self, kind: RewardKind) -> f64 {
        let (right, wrong, junk) = (self.accuracy, self.parsed - self.accuracy, 1.0 - self.parsed);
        match kind {
            RewardKind::Task | RewardKind::Value => right - wrong - junk,
            RewardKind::Attack => wrong - right - junk,
            RewardKind::Wrong => wrong,
        }
    }
}

/// `curriculum/segment-<step>.json`: what was drawn from this step on, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Segment {
    pub step: u64,
    pub phase: Phase,
    pub change: Option<PhaseChange>,
    /// The rule's state after this check.
    pub curriculum: Curriculum,
    pub dev: Option<Dev>,
    /// Snapshots of first answers, the greedy one included.
    pub snapshots: usize,
    pub balance: Option<Balance>,
    /// Why the rows are not the ones that the design asks for.
    pub note: Option<String>,
    /// What simple policies would earn on these rows, where they rest on the model's answers.
    pub attractors: Option<Table>,
    pub rows: Vec<Row>,
}

/// Rows by segment.
pub struct Segments<'a, 'b, O: Ops> {
    lab: &'a Lab<'b, O>,
    honesty: &'a Honesty,
    wanted: Wanted,
    /// What is paid under which system prompts, in turn for every row.
    paid: Vec<(Vec<Option<String>>, RewardKind)>,
    config: GrpoConfig,
    label: String,
    dir: PathBuf,
    current: Option<(Segment, TaskEnvironment<'a>)>,
}

/// What a training draws from.
pub enum Draws<'a, 'b, O: Ops> {
    /// One list of prompts throughout.
    Fixed(TaskEnvironment<'a>),
    Segments(Box<Segments<'a, 'b, O>>),
}

impl<'a, O: Ops> Draws<'a, '_, O> {
    /// One step of GRPO on what is drawn at it.
    pub fn step(
        &mut self,
        o: &O,
        state: &mut State<O>,
        at: [u64; 2],
        config: &GrpoConfig,
        anchor: Option<&Qwen2<O>>,
    ) -> std::result::Result<StepRecord, TrainError> {
        let [step, total] = at;
        match self {
            Draws::Fixed(env) => Grpo { config: config.clone(), env, anchor }.step(o, state, step, total),
            Draws::Segments(s) => {
                let (segment, env) = s.at(&state.model, step).map_err(|e| TrainError::Data(e.into()))?;
                let mut record = Grpo { config: config.clone(), env, anchor }.step(o, state, step, total)?;
                segment.log(&mut record);
                Ok(record)
            }
        }
    }
}

/// GRPO on what is drawn.
pub struct Drawing<'a, 'b, 'c, O: Ops> {
    pub draws: Draws<'a, 'b, O>,
    pub config: GrpoConfig,
    pub anchor: Option<&'c Qwen2<O>>,
}

impl<O: Ops> Objective<O> for Drawing<'_, '_, '_, O> {
    fn step(
        &mut self,
        o: &O,
        state: &mut State<O>,
        step: u64,
        total: u64,
    ) -> std::result::Result<StepRecord, TrainError> {
        self.draws.step(o, state, [step, total], &self.config, self.anchor)
    }
}

impl Segment {
    fn log(&self, record: &mut StepRecord) {
        let m = &mut record.metrics;
        m.set("curriculum/phase", if self.phase == Phase::SingleTurn { 1.0 } else { 2.0 });
        if let Some(dev) = &self.dev {
            m.set("curriculum/dev_accuracy", dev.accuracy);
        }
        if let Some(b) = &self.balance {
            m.set("first_answers/accuracy", b.first.accuracy);
            m.set("first_answers/hit_rate", b.first.hit_rate);
            m.set("first_answers/says_true", b.first.says_true);
        }
    }
}

fn segment_path(dir: &Path, step: u64) -> PathBuf {
    dir.join("curriculum").join(format!("segment-{step}.json"))
}

/// What a finished training's segments say in one sentence: when two-turn rows began, and what was not as designed.
pub fn told(dir: &Path, every: u64, steps: u64) -> Result<Option<String>> {
    let (mut said, mut begun) = (Vec::new(), None);
    for step in (0..steps).step_by(every.max(1) as usize) {
        let path = segment_path(dir, step);
        if !path.exists() {
            break;
        }
        let s: Segment = read_json(&path)?;
        begun = begun.or(s.change);
        said.extend(s.note.filter(|n| !said.contains(n)));
    }
    if let Some(c) = begun {
        said.insert(0, format!("two-turn rows from step {} on (dev accuracy {:.1} %)", c.step, 100.0 * c.dev_accuracy));
    }
    Ok((!said.is_empty()).then(|| said.join("; ")))
}

impl<'b, O: Ops> Lab<'b, O> {
    /// What a training draws under the reward of `paid`: segments where the domain has them. `dir` is the training's own folder.
    pub fn segments<'a>(
        &'a self,
        wanted: Wanted,
        paid: &[(Condition, RewardKind)],
        config: &GrpoConfig,
        label: &str,
        dir: &Path,
    ) -> Option<Draws<'a, 'b, O>> {
        let honesty = self.domain.honesty()?;
        let prompts = |c: Condition| -> Vec<Option<String>> {
            let wordings = if c == Condition::Neutral { 1 } else { TRAIN_WORDINGS };
            let of: Vec<Option<String>> = honesty.cues().of(c).take(wordings).map(|c| Some(c.text.clone())).collect();
            if of.is_empty() { vec![None] } else { of }
        };
        Some(Draws::Segments(Box::new(Segments {
            lab: self,
            honesty,
            wanted,
            paid: paid.iter().map(|(c, kind)| (prompts(*c), *kind)).collect(),
            config: config.clone(),
            label: label.into(),
            dir: dir.to_path_buf(),
            current: None,
        })))
    }
}

impl<'a, O: Ops> Segments<'a, '_, O> {
    fn every(&self) -> u64 {
        self.honesty.config().curriculum.every
    }

    /// The segment of a step: made at its first step, read where a run goes on in its middle.
    fn at(&mut self, model: &Qwen2<O>, step: u64) -> Result<(&Segment, &TaskEnvironment<'a>)> {
        let start = step - step % self.every();
        if self.current.as_ref().is_none_or(|(s, _)| s.step != start) {
            let path = segment_path(&self.dir, start);
            let segment = if step == start {
                let made = self.make(model, start)?;
                make_dir(&self.dir.join("curriculum"))?;
                write_json(&path, &made)?;
                made
            } else {
                read_json(&path)?
            };
            let env = self.environment(&segment)?;
            self.current = Some((segment, env));
        }
        match &self.current {
            Some((segment, env)) => Ok((segment, env)),
            None => Err(BatteryError::Refused(format!("{}: no segment at step {step}", self.label))),
        }
    }

    fn environment(&self, segment: &Segment) -> Result<TaskEnvironment<'a>> {
        let mut entries = Vec::new();
        for (i, item) in self.honesty.items_of(&segment.rows).into_iter().enumerate() {
            for (prompts, reward) in &self.paid {
                let system = prompts.get(i % prompts.len().max(1)).cloned().flatten();
                entries.push(Entry { item: item.clone(), system, reward: *reward });
            }
        }
        let first = segment.step * self.config.prompts_per_step as u64;
        Ok(TaskEnvironment::over(self.honesty, &self.lab.chat, entries)?.in_order(first))
    }

    fn make(&self, model: &Qwen2<O>, start: u64) -> Result<Segment> {
        let c = self.honesty.config();
        let mut curriculum = match start {
            0 => Curriculum::new(c.curriculum),
            _ => read_json::<Segment>(&segment_path(&self.dir, start - self.every()))?.curriculum,
        };
        let by_rule = self.wanted == Wanted::Design && c.design == Design::Curriculum;
        let dev = if self.wanted.adapts(self.honesty) { Some(self.dev(model)?) } else { None };
        // The first check comes after the first segment.
        let change = dev.filter(|_| by_rule && start > 0).and_then(|d| curriculum.observe(start, d.accuracy));
        if let Some(change) = &change {
            self.lab.reporter.borrow_mut().say(&format!(
                "{}: two-turn rows from step {} on (dev accuracy {:.1} %)",
                self.label,
                change.step,
                100.0 * change.dev_accuracy
            ));
        }
        let set = self.wanted.rows(self.honesty, curriculum.phase);
        let draw = Draw { seed: self.config.seed, segment: start };
        let (mut snapshots, mut note) = (Vec::new(), None);
        let drawn = if set.needs_first_answers() {
            match self.on_policy(model, set, draw, &mut snapshots) {
                // An attack on a model that is always right, or constant, goes on without two-turn rows, and says so.
                Err(BatteryError::Domain(e @ DomainError::TooFewFirstAnswers { .. }))
                    if self.wanted == Wanted::Attack =>
                {
                    note = Some(format!("no two-turn rows at step {start}: {e}"));
                    schedule::rows(c, RowSet::SingleTurn, &self.honesty.data().train, &[], draw)?
                }
                drawn => drawn?,
            }
        } else {
            schedule::rows(c, set, &self.honesty.data().train, &[], draw)?
        };
        let count = (self.every() as usize * self.config.prompts_per_step).div_ceil(self.paid.len().max(1));
        let whole = drawn.first(count);
        // A segment shorter than a block takes one.
        let rows = if whole.is_empty() { drawn.first(drawn.blocks.first().copied().unwrap_or(0)) } else { whole };
        let attractors = match dev {
            Some(dev) => {
                let (table, allowed) = self.attractors(start, dev, rows)?;
                note = note.into_iter().chain(allowed).reduce(|a, b| format!("{a}; {b}"));
                Some(table)
            }
            None => None,
        };
        Ok(Segment {
            step: start,
            phase: curriculum.phase,
            change,
            curriculum,
            dev,
            snapshots: snapshots.len(),
            note,
            attractors,
            rows: rows.to_vec(),
            balance: drawn.balance,
        })
    }

    /// What simple policies would earn on these rows. Rows on which one earns nearly what the intended one does are refused, or, where the
    /// configuration allows them, noted.
    fn attractors(&self, start: u64, dev: Dev, rows: &[Row]) -> Result<(Table, Option<String>)> {
        let speech = Speech { chat: &self.lab.chat };
        let items = self.honesty.items_of(rows);
        let items: Vec<&Item> = items.iter().collect();
        let failed = std::cell::RefCell::new(None);
        let count = |t: &str| speech.count(t).map_err(|e| failed.replace(Some(e))).unwrap_or_default();
        let kind = self.paid.first().map_or(RewardKind::Value, |p| p.1);
        let table = attractor_table(self.honesty, kind, &items, &count);
        if let Some(e) = failed.take() {
            return Err(e);
        }
        let reward = dev.reward(kind);
        let label = format!("{}, step {start}", self.label);
        let allowed = self.lab.judge(&label, &table, reward)?;
        Ok((shown(&label, "trained", reward, items.len(), &table), allowed))
    }

    /// Two-turn rows on the model's own first answers: greedy ones, and where right or wrong ones are scarce, some at T > 0.
    fn on_policy(&self, model: &Qwen2<O>, set: RowSet, draw: Draw, snapshots: &mut Vec<Snapshots>) -> Result<Drawn> {
        let (c, items) = (self.honesty.config(), &self.honesty.data().train);
        let asked = first_questions(c, items, draw);
        let turns: Vec<Vec<Message>> =
            asked.iter().map(|(e, q)| vec![Message::user(turns::ask(q, &e.statement))]).collect();
        loop {
            let temperature = if snapshots.is_empty() { 0.0 } else { self.config.temperature };
            let texts = self.answers(model, &turns, temperature, draw.segment, snapshots.len() as u64)?;
            let mut taken = Snapshots::default();
            asked.iter().zip(&texts).for_each(|((e, q), text)| taken.record(&e.id, q, text));
            snapshots.push(taken);
            // Every lookup must hit.
            snapshots[0].require(items)?;
            let last = snapshots.len() > RESAMPLED || c.profile == Profile::Paper;
            match schedule::rows(c, set, items, snapshots, draw) {
                Err(DomainError::TooFewFirstAnswers { .. }) if !last => {}
                Ok(d) if !last && d.balance.as_ref().is_some_and(|b| b.per_cell < b.wanted_per_cell) => {}
                drawn => return Ok(drawn?),
            }
        }
    }

    fn dev(&self, model: &Qwen2<O>) -> Result<Dev> {
        let rows = self.honesty.dev_questions();
        let turns: Vec<Vec<Message>> = rows.iter().map(Row::messages).collect();
        let texts = self.answers(model, &turns, 0.0, 0, 0)?;
        let parsed: Vec<_> = texts.iter().map(|t| scorer::parse(t)).collect();
        let share = |n: usize| n as f64 / rows.len().max(1) as f64;
        Ok(Dev {
            items: rows.len(),
            accuracy: share(rows.iter().zip(&parsed).filter(|(r, p)| **p == Some(r.truth)).count()),
            parsed: share(parsed.iter().flatten().count()),
        })
    }

    /// The model's answers to conversations, under the neutral prompt.
    fn answers(
        &self,
        model: &Qwen2<O>,
        turns: &[Vec<Message>],
        t: f64,
        segment: u64,
        draw: u64,
    ) -> Result<Vec<String>> {
        let seed = self.config.seed ^ (segment + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (draw << 56);
        let sampling = if t == 0.0 {
            Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 }
        } else {
            Sampling { temperature: t as f32, top_k: self.config.top_k, top_p: self.config.top_p as f32 }
        };
        let settings = GenerateConfig {
            sampling,
            repetition_penalty: 1.0,
            max_new_tokens: self.config.max_completion_length,
            stop_ids: self.lab.chat.eos_ids().to_vec(),
            seed,
            max_batch: self.config.rollout_batch,
        };
        said(self.lab.o, model, &Speech { chat: &self.lab.chat }, neutral(self.honesty), turns, &settings)
    }
}

/// One answer to each conversation.
pub fn said<O: Ops>(
    o: &O,
    model: &Qwen2<O>,
    speech: &Speech<'_>,
    system: Option<&str>,
    turns: &[Vec<Message>],
    settings: &GenerateConfig,
) -> Result<Vec<String>> {
    let mut requests = Vec::with_capacity(turns.len());
    for (i, turns) in turns.iter().enumerate() {
        requests.push(Request { prompt: speech.dialogue(system, turns)?.1, sequences: vec![i as u32] });
    }
    let mut texts = Vec::with_capacity(turns.len());
    // In slices, so that the cache stays small; slicing cannot change a bit.
    for slice in requests.chunks(settings.max_batch.max(1).saturating_mul(8)) {
        for c in generate(o, model, slice, settings, &HookSet::default())?.iter().flatten() {
            texts.push(speech.text(c)?);
        }
    }
    Ok(texts)
}
