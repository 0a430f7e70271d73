//! What every cell works with: the device, the configuration, models of arms, rows.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::config::{Arm, Attractors, BatteryConfig, EvaluateConfig, Subject};
use super::environment::{Asking, Speech};
use super::error::{BatteryError, Result};
use super::evaluate::{self, Job};
use super::folder::{Folder, key_of, make_dir};
use super::given;
use super::record::Row;
use super::rows;
use super::run::Reporter;
use crate::domain::frugality::Frugality;
use crate::domain::honesty::Honesty;
use crate::domain::{Condition, Domain, Item, Split};
use crate::generate::source::Source;
use crate::model::hooks::HookSet;
use crate::model::qwen2::Qwen2;
use crate::ops::Ops;
use crate::text::Tokenizer;

/// A battery at work.
pub struct Lab<'a, O: Ops> {
    pub o: &'a O,
    pub config: &'a BatteryConfig,
    pub source: Source,
    pub chat: Tokenizer,
    pub domain: Box<dyn Domain>,
    /// Longest sequence that any cell will see.
    pub positions: usize,
    pub folder: Folder,
    /// Checkpoints that stand for trainings.
    pub given: given::Hashes,
    /// Blocks of [`Lab::probe_layer`] that are known.
    pub layers: BTreeMap<Arm, usize>,
    pub reporter: RefCell<&'a mut dyn Reporter>,
}

/// The domain of a configuration.
pub fn domain_of(config: &BatteryConfig) -> Result<Box<dyn Domain>> {
    match config.domain {
        Subject::Frugality => {
            let limit = config.evaluate.max_new_tokens.max(config.grpo.max_completion_length) as u32;
            Ok(Box::new(Frugality::new(config.frugality.clone(), limit)?))
        }
        Subject::Honesty => Ok(Box::new(Honesty::new(config.honesty_config().into_owned())?)),
    }
}

/// Longest sequence that any cell will see.
pub fn longest(domain: &dyn Domain, chat: &Tokenizer, config: &BatteryConfig) -> Result<usize> {
    let speech = Speech { chat };
    let mut widest: Option<(u32, String)> = None;
    for text in domain.cues().all().iter().map(|c| c.text.as_str()) {
        // The prompted arm adds its instruction to every system prompt.
        let text = Asking::Instructed.system(domain, Some(text)).unwrap_or_default();
        widest = widest.max(Some((speech.count(&text)?, text)));
    }
    let mut longest = 0;
    for item in Split::ALL.iter().flat_map(|&s| domain.items(s)) {
        longest = longest.max(speech.prompt(widest.as_ref().map(|w| w.1.as_str()), item)?.1.len());
    }
    let limit = config.evaluate.max_new_tokens.max(config.grpo.max_completion_length);
    if let Some(honesty) = domain.honesty() {
        // Its answers stand in the dialogue too.
        let turns = honesty.longest_dialogue();
        let replies = turns.iter().filter(|m| m.role == "assistant").count();
        let system = widest.as_ref().map(|w| w.1.as_str());
        longest = longest.max(speech.dialogue(system, &turns)?.1.len() + replies * limit);
    }
    Ok(longest + limit)
}

impl<'a, O: Ops> Lab<'a, O> {
    pub fn dir(&self) -> &Path {
        &self.folder.dir
    }

    /// What every key holds: the same words of another program, model or data set are another cell.
    pub fn ground(&self) -> Vec<&String> {
        // A given checkpoint is part of its own arm's key.
        let apart = |k: &str| k == "config" || k.starts_with(given::HASH);
        self.folder.manifest.hashes.iter().filter(|(k, _)| !apart(k)).map(|(_, v)| v).collect()
    }

    pub fn domain_items(&self, split: Split) -> Vec<Item> {
        self.domain.items(split).to_vec()
    }

    pub fn base(&self) -> Result<Qwen2<O>> {
        Ok(self.source.load(self.o, self.positions, self.config.optim.precision.storage())?)
    }

    /// Where an arm's training lives.
    pub fn arm_dir(&self, arm: Arm, seed: u64) -> PathBuf {
        self.dir().join("train").join(arm.name()).join(format!("seed-{seed}"))
    }

    /// The finished model of an arm; `prompted` and `base` are the base model.
    pub fn model(&self, arm: Arm, seed: u64) -> Result<Qwen2<O>> {
        if !arm.trained() {
            return self.base();
        }
        match self.given_model(arm, seed) {
            Some(folder) => {
                Ok(Source::open(folder)?.load(self.o, self.positions, self.config.optim.precision.storage())?)
            }
            None => self.trained_here(&self.arm_dir(arm, seed)),
        }
    }

    /// The model that a training of this run left under `dir`.
    pub fn trained_here(&self, dir: &Path) -> Result<Qwen2<O>> {
        let storage = self.config.optim.precision.storage();
        Ok(self.source.load_trained(self.o, &dir.join("final"), self.positions, storage)?)
    }

    /// A model to train that starts as an arm is: under LoRA on the weights of `start`, which must be that arm; else loaded again.
    pub fn to_train(&self, start: Option<&Qwen2<O>>, arm: Arm, seed: u64) -> Result<Qwen2<O>> {
        let model = match start {
            Some(start) if self.config.lora.is_some() => start.with_own_adapters(self.o)?,
            _ => self.model(arm, seed)?,
        };
        match (&self.config.lora, &model.adapters) {
            (Some(lora), None) => Ok(model.with_fresh_adapters(self.o, lora, seed)?),
            _ => Ok(model),
        }
    }

    /// Whether an arm's own training has left a model.
    pub fn finished(&self, dir: &Path) -> bool {
        let weights = if self.config.lora.is_some() { "adapter_model.safetensors" } else { "model.safetensors" };
        dir.join("final").join(weights).exists() && dir.join("ended.json").exists()
    }

    /// Key of an arm's weights.
    pub fn arm_key(&self, arm: Arm, seed: u64) -> Result<String> {
        if !arm.trained() {
            return key_of(&(self.ground(), "base", self.config.optim.precision));
        }
        if let Some(hash) = self.given.get(&(arm, seed)) {
            return key_of(&(self.ground(), arm.name(), seed, "given", hash, self.config.optim.precision));
        }
        let c = self.config;
        let training = (&c.run, &c.grpo, &c.optim, &c.anchor, &c.sft, c.paid(), &c.lora);
        self.allowed_apart(key_of(&(self.ground(), arm.name(), seed, training))?)
    }

    /// The key of a cell under `attractors = "allow"` is another: what was allowed once is judged again where it no longer is.
    pub fn allowed_apart(&self, key: String) -> Result<String> {
        match self.config.attractors {
            Attractors::Refuse => Ok(key),
            Attractors::Allow => key_of(&(key, "attractors allowed")),
        }
    }

    /// Base and the configured arms, in the order of the report.
    pub fn arms(&self) -> Vec<Arm> {
        std::iter::once(Arm::Base).chain(self.config.arms.iter().copied()).collect()
    }

    /// Reports progress of a cell; an error if it is to stop before it is done.
    pub fn went_on(&self, label: &str, done: usize, total: usize) -> Result<()> {
        self.reporter.borrow_mut().progress(label, done, total);
        if done < total { self.unless_stopped(label) } else { Ok(()) }
    }

    /// An error if someone asked to stop.
    pub fn unless_stopped(&self, label: &str) -> Result<()> {
        if self.reporter.borrow().stop() { Err(BatteryError::Interrupted(label.into())) } else { Ok(()) }
    }

    /// Rows of a model on `items`.
    #[allow(clippy::too_many_arguments)]
    pub fn evaluate(
        &self,
        model: &Qwen2<O>,
        label: &str,
        arm: Arm,
        seed: u64,
        test: u32,
        items: &[Item],
        conditions: &[Condition],
        wordings: evaluate::Wordings,
        config: &EvaluateConfig,
    ) -> Result<Vec<Row>> {
        let job = Job {
            domain: &*self.domain,
            chat: &self.chat,
            items,
            conditions,
            wordings,
            asking: arm.asking(),
            arm: arm.name(),
            seed,
            test,
            config,
            micro: self.micro(),
        };
        evaluate::rows(self.o, model, &job, &HookSet::default(), |d, t| self.went_on(label, d, t))
    }

    /// Rows of tests 1 and 2: a cell for every arm and seed. Done cells are read back from `items.jsonl`.
    pub fn rows_of(&mut self, test: u32, id: &str, conditions: &[Condition]) -> Result<Vec<Row>> {
        let dir = self.dir().join("tests").join(id);
        make_dir(&dir.join("cells"))?;
        let merged = dir.join("items.jsonl");
        let kept = if merged.exists() { rows::read(&merged)? } else { Vec::new() };
        let items = self.domain_items(Split::Test);
        let mut all = Vec::new();
        let mut changed = !merged.exists();
        for seed in self.config.seeds.clone() {
            for arm in self.arms() {
                let name = format!("tests/{id}/{}/seed-{seed}", arm.name());
                let path = dir.join("cells").join(format!("{}-seed-{seed}.jsonl", arm.name()));
                let key = key_of(&(self.arm_key(arm, seed)?, conditions, &self.config.evaluate, arm.asking().name()))?;
                let own: Vec<Row> = kept.iter().filter(|r| r.arm == arm.name() && r.seed == seed).cloned().collect();
                if let Some(cell) = self.folder.begin(&name, &key, path.exists() || !own.is_empty())? {
                    let (label, config) = (format!("test {test}, {} seed {seed}", arm.name()), self.config);
                    let model = self.model(arm, seed)?;
                    let wordings = evaluate::Wordings::All;
                    let made =
                        self.evaluate(&model, &label, arm, seed, test, &items, conditions, wordings, &config.evaluate)?;
                    rows::write(&path, &made)?;
                    self.folder.finish(cell)?;
                }
                if path.exists() {
                    all.extend(rows::read(&path)?);
                    changed = true;
                } else {
                    all.extend(own);
                }
            }
        }
        if changed || all.len() != kept.len() {
            rows::write(&merged, &all)?;
        }
        std::fs::remove_dir_all(dir.join("cells")).map_err(BatteryError::io(&dir))?;
        Ok(all)
    }
}
