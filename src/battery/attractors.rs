//! Attractor tables: what simple policies would earn under every reward of the run, on the prompts that will be drawn. Made before
//! anything is trained; a reward that a degenerate policy would win is refused.

use std::cell::RefCell;
use std::collections::BTreeSet;

use super::config::{Arm, Attractors, EvaluateConfig};
use super::environment::{Speech, training_items};
use super::error::{BatteryError, Result};
use super::evaluate::Wordings;
use super::folder::{key_of, make_dir, read_json, write_json};
use super::lab::{Lab, domain_of};
use super::phase::{Phase, TRAIN_WORDINGS};
use super::record::{Cell, Row, Table};
use super::segments::Wanted;
use super::{test04_counter, test05_anchors, test07_cue};
use crate::domain::honesty::Honesty;
use crate::domain::honesty::schedule::Draw;
use crate::domain::{
    AttractorRefusal, AttractorRow, Completion, Condition, Domain, Item, RewardKind, attractor_table, mixed_attractors,
    refuse_attractors,
};
use crate::ops::Ops;
use crate::train::grpo::prompt_at;

/// One reward of the run: what is paid under which cue, in equal parts.
struct Drawn {
    /// `value`, `attack`, `cue-watched-short`, …
    name: String,
    /// Weight of the value term, where it is not the configuration's.
    alpha: Option<f64>,
    /// Rows of a domain that draws them by segment.
    wanted: Wanted,
    paid: Vec<(Condition, RewardKind)>,
    /// Prompts that a training draws, and in each step.
    draws: u64,
    per_step: usize,
}

impl<O: Ops> Lab<'_, O> {
    /// Every reward that this run trains with: the arms', those of the trainings on top of them, the sweep's.
    fn drawn(&self) -> Vec<Drawn> {
        let mut all: Vec<Drawn> = Vec::new();
        let c = self.config;
        let per_step = c.grpo.prompts_per_step;
        let draws = c.run.max_steps * per_step as u64;
        for arm in &c.arms {
            let Some(kind) = arm.reward().filter(|_| !self.wholly_given(*arm)) else { continue };
            let (wanted, paid) = (Wanted::of_arm(kind), vec![(Condition::Neutral, kind)]);
            all.push(Drawn { name: arm.name().into(), alpha: None, wanted, paid, draws, per_step });
        }
        let mut phases: Vec<Phase> = Vec::new();
        let asked = |n: u32| self.config.tests.contains(&n);
        if asked(4) {
            phases.extend(test04_counter::PHASES.into_iter().filter(|p| *p != Phase::SupervisedAttack));
        }
        if asked(5) {
            phases.extend(super::config::Anchor::ALL.into_iter().flat_map(test05_anchors::phases));
        }
        if asked(7) {
            phases.extend(test07_cue::MAPPINGS.map(test07_cue::phase));
        }
        for phase in phases {
            // The anchor is no part of the reward.
            let name = self.domain.words().phase(phase.reward_name());
            if !all.iter().any(|d| d.name == name) {
                let p = self.phase_config(phase);
                let draws = p.max_steps * p.prompts_per_step as u64;
                let wanted = Wanted::of_phase(phase);
                all.push(Drawn { name, alpha: None, wanted, paid: phase.paid(), draws, per_step: p.prompts_per_step });
            }
        }
        for &alpha in self.config.sweep.iter().flat_map(|s| &s.alpha) {
            let paid = vec![(Condition::Neutral, RewardKind::Value)];
            let name = format!("sweep-alpha-{alpha}");
            all.push(Drawn { name, alpha: Some(alpha), wanted: Wanted::Design, paid, draws, per_step });
        }
        all
    }

    /// Prints the attractor table of every reward and refuses one that a degenerate policy would win.
    pub fn attractors(&mut self) -> Result<()> {
        let mut tables = Vec::new();
        for drawn in self.drawn() {
            let path = self.dir().join("attractors").join(format!("{}.json", drawn.name));
            let mut config = self.config.clone();
            config.frugality.reward.alpha = drawn.alpha.unwrap_or(config.frugality.reward.alpha);
            let key = self.allowed_apart(key_of(&(self.ground(), &drawn.name, config.paid(), &config.grpo))?)?;
            if let Some(cell) = self.folder.begin(&format!("attractors/{}", drawn.name), &key, path.exists())? {
                let domain = domain_of(&config)?;
                let items = self.drawn_items(&*domain, &drawn)?;
                let start = self.start_reward(&*domain, &drawn, &items)?;
                let items: Vec<&Item> = items.iter().collect();
                let speech = Speech { chat: &self.chat };
                let failed = RefCell::new(None);
                let count = |t: &str| speech.count(t).map_err(|e| failed.replace(Some(e))).unwrap_or_default();
                let by_cue: Vec<Vec<AttractorRow>> =
                    drawn.paid.iter().map(|(_, kind)| attractor_table(&*domain, *kind, &items, &count)).collect();
                if let Some(e) = failed.take() {
                    return Err(e);
                }
                let rows = mixed_attractors(&by_cue);
                let shown = shown(self.domain.words().arm(&drawn.name), "base", start, items.len(), &rows);
                self.reporter.borrow_mut().table(&shown);
                if let Some(warning) = self.judge(&drawn.name, &rows, start)? {
                    self.reporter.borrow_mut().say(&warning);
                }
                make_dir(&self.dir().join("attractors"))?;
                write_json(&path, &shown)?;
                self.folder.finish(cell)?;
            }
            tables.push(read_json(&path)?);
        }
        self.folder.manifest.attractors = tables;
        self.folder.save()
    }

    /// Refuses a reward that a degenerate policy would win; where the configuration allows attractors, says so instead.
    pub fn judge(&self, name: &str, rows: &[AttractorRow], start: f64) -> Result<Option<String>> {
        match (refuse_attractors(rows, start), self.config.attractors) {
            (Ok(()), _) => Ok(None),
            (Err(source @ AttractorRefusal::TooClose { .. }), Attractors::Allow) => {
                Ok(Some(format!("{name}: allowed all the same: {source}")))
            }
            (Err(source), _) => Err(BatteryError::Attractor { arm: name.into(), source }),
        }
    }

    /// The training items that any seed of the run draws: each once, since a pass draws all before it repeats one.
    fn drawn_items(&self, domain: &dyn Domain, drawn: &Drawn) -> Result<Vec<Item>> {
        if let Some(honesty) = domain.honesty() {
            return self.known_items(honesty, drawn);
        }
        let items = training_items(domain);
        // An entry for every item and cue, in turn.
        let cues = drawn.paid.len().max(1);
        let entries = items.len() * cues;
        let mut seen = vec![false; items.len()];
        for &seed in &self.config.seeds {
            for i in 0..drawn.draws.min(entries as u64) {
                seen[prompt_at(seed, entries, i) / cues] = true;
            }
        }
        Ok(items.into_iter().zip(seen).filter(|(_, s)| *s).map(|(i, _)| i.clone()).collect())
    }

    /// Rows of all segments of any seed as far as they do not rest on answers that nobody has given yet; segments check those.
    fn known_items(&self, honesty: &Honesty, drawn: &Drawn) -> Result<Vec<Item>> {
        let every = honesty.config().curriculum.every;
        let (cues, per_step) = (drawn.paid.len().max(1) as u64, drawn.per_step as u64);
        let (mut seen, mut rows) = (BTreeSet::new(), Vec::new());
        for &seed in &self.config.seeds {
            for segment in (0..drawn.draws / per_step.max(1)).step_by(every as usize) {
                let all = drawn.wanted.known_rows(honesty, Draw { seed, segment })?;
                let count = (every * per_step).div_ceil(cues) as usize;
                rows.extend(all.first(count).iter().filter(|r| seen.insert(r.id.clone())).cloned());
            }
        }
        Ok(honesty.items_of(&rows))
    }

    /// Expected reward of the base model on the first of these items: under each cue what that cue pays.
    fn start_reward(&self, domain: &dyn Domain, drawn: &Drawn, items: &[Item]) -> Result<f64> {
        let items: Vec<Item> = items.iter().take(200).cloned().collect();
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
        let conditions: Vec<Condition> = drawn.paid.iter().map(|(c, _)| *c).collect();
        let wordings = Wordings::First(TRAIN_WORDINGS);
        let rows = self.evaluate(&self.base()?, label, Arm::Base, seed, 0, &items, &conditions, wordings, &config)?;
        let reward = |r: &Row| {
            let kind = drawn.paid.iter().find(|(c, _)| c.name() == r.condition).map(|(_, k)| *k);
            let item = items.iter().find(|i| i.id == r.item);
            let c = Completion { text: r.text.clone(), tokens: r.n_tokens };
            let graded = kind.zip(item).and_then(|(k, i)| domain.grade(k, i, &[c]).first().map(|g| g.reward));
            graded.unwrap_or(0.0)
        };
        Ok(rows.iter().map(reward).sum::<f64>() / rows.len().max(1) as f64)
    }
}

/// The table as it is printed; `whose` model earns `start` now.
pub fn shown(name: &str, whose: &str, start: f64, items: usize, rows: &[AttractorRow]) -> Table {
    let columns = ["policy", "reward", "accuracy", "parsed", "tokens", "role"];
    let mut table = Table {
        title: format!("Attractor table, {name} ({items} training items drawn; the {whose} model earns {start:.3})"),
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
