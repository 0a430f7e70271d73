//! The runner: cells in their order, then a result for every test, in one folder that goes on where it stopped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::config::{Arm, BatteryConfig};
use super::error::{BatteryError, Result};
use super::evaluate::{self, Wordings};
use super::folder::{Folder, make_dir, write_json};
use super::lab::{Lab, domain_of, longest};
use super::record::{Manifest, Outcome, Row, Table, TestResult, sha256_hex};
use super::{Context, test01_generalisation, test02_monitoring};
use crate::domain::{Condition, Domain, Split};
use crate::generate::source::Source;
use crate::ops::Ops;
use crate::stats::holm;
use crate::train::run::Observer;

/// Tells a person what is going on.
pub trait Reporter {
    /// A heading or a finished step.
    fn say(&mut self, text: &str);
    /// A table to read before training starts.
    fn table(&mut self, table: &Table);
    /// Progress of a long cell.
    fn progress(&mut self, label: &str, done: usize, total: usize);
    /// Draws one training run.
    fn training(&mut self, label: &str) -> Box<dyn Observer>;
}

/// Runs the whole battery of `config` into `dir` and returns the results in order.
pub fn run<O: Ops>(o: &O, config: &BatteryConfig, dir: &Path, reporter: &mut dyn Reporter) -> Result<Vec<TestResult>> {
    config.check()?;
    let mut lab = open(o, config, dir, reporter)?;
    lab.attractors()?;
    for &seed in &config.seeds {
        for &arm in &config.arms {
            lab.train_arm(arm, seed)?;
        }
    }
    let mut results = Vec::new();
    for &test in &config.tests {
        results.push(lab.test(test)?);
    }
    lab.conclude(results)
}

/// Trains one arm of `config` into `dir` (its `train/` folder) and returns the finished model's folder.
pub fn train_one<O: Ops>(
    o: &O,
    config: &BatteryConfig,
    dir: &Path,
    arm: Arm,
    seed: u64,
    reporter: &mut dyn Reporter,
) -> Result<PathBuf> {
    let mut config = config.clone();
    (config.arms, config.seeds) = (vec![arm], vec![seed]);
    let mut lab = open(o, &config, dir, reporter)?;
    lab.attractors()?;
    lab.train_arm(arm, seed)?;
    Ok(lab.arm_dir(arm, seed).join("final"))
}

/// Rows of any model on the test split of `config`, under the given conditions.
pub fn evaluate_one<O: Ops>(
    o: &O,
    config: &BatteryConfig,
    model: &str,
    conditions: &[Condition],
    seed: u64,
    reporter: &mut dyn Reporter,
) -> Result<Vec<Row>> {
    let source = Source::open(model)?;
    let chat = source.tokenizer()?;
    let domain = domain_of(config)?;
    let longest = longest(&domain, &chat, config)?;
    let items = domain.items(Split::Test).to_vec();
    let job = evaluate::Job {
        domain: &domain,
        chat: &chat,
        items: &items,
        conditions,
        wordings: Wordings::All,
        asking: Arm::Base.asking(),
        arm: model,
        seed,
        test: 1,
        config: &config.evaluate,
    };
    evaluate::rows(o, &source.load(o, longest, false)?, &job, |d, t| reporter.progress("evaluate", d, t))
}

/// Folder name of a test.
fn test_id(number: u32) -> &'static str {
    match number {
        1 => test01_generalisation::ID,
        _ => test02_monitoring::ID,
    }
}

/// Opens the run folder: a new one, or one of the same program, model, data and device.
fn open<'a, O: Ops>(
    o: &'a O,
    config: &'a BatteryConfig,
    dir: &Path,
    reporter: &'a mut dyn Reporter,
) -> Result<Lab<'a, O>> {
    let source = Source::open(&config.model)?;
    let chat = source.tokenizer()?;
    let domain = domain_of(config)?;
    let positions = longest(&domain, &chat, config)?;
    let text = toml::to_string_pretty(config).map_err(|e| BatteryError::Refused(e.to_string()))?;
    let items: String = Split::ALL
        .iter()
        .flat_map(|&s| domain.items(s))
        .map(|i| format!("{}\t{}\t{}\n", i.id, i.prompt, i.truth))
        .collect();
    let hashes = BTreeMap::from([
        ("config".to_string(), sha256_hex(text.as_bytes())),
        ("data".to_string(), sha256_hex(items.as_bytes())),
        ("model".to_string(), source.sha256()?),
    ]);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let manifest = Manifest {
        program: "probity".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        profile: if config.strict() { "strict" } else { "paper" }.into(),
        domain: domain.name().into(),
        model: config.model.clone(),
        device: o.device_name(),
        device_details: BTreeMap::new(),
        hashes,
        seeds: config.seeds.clone(),
        arms: std::iter::once("base").chain(config.arms.iter().map(|a| a.name())).map(String::from).collect(),
        tests: config.tests.iter().map(|&t| test_id(t).to_string()).collect(),
        attractors: Vec::new(),
        notes: config.notes.clone(),
        started_unix: now.as_secs(),
        seconds: BTreeMap::new(),
    };
    let folder = Folder::open(dir, manifest, &text)?;
    Ok(Lab { o, config, source, chat, domain, positions, folder, reporter: RefCell::new(reporter) })
}

impl<O: Ops> Lab<'_, O> {
    fn context(&self) -> Result<Context> {
        Ok(Context {
            statistics: self.config.statistics.clone(),
            seeds: self.config.seeds.clone(),
            min_items: self.config.min_items,
            tests: self.config.tests.len(),
            training: self.training_health()?,
            key: self.folder.manifest.key(),
        })
    }

    fn test(&mut self, test: u32) -> Result<TestResult> {
        let context = self.context()?;
        match test {
            1 => {
                let rows = self.rows_of(1, test01_generalisation::ID, &[Condition::Neutral])?;
                test01_generalisation::result(&rows, &context)
            }
            2 => {
                let conditions = self.domain.cues().conditions();
                let rows = self.rows_of(2, test02_monitoring::ID, &conditions)?;
                test02_monitoring::result(&rows, &context, None)
            }
            n => Err(BatteryError::Refused(format!("test {n} is not available in this version"))),
        }
    }

    /// Adjusts the primary p values by Holm and writes every `result.json`.
    fn conclude(&self, mut results: Vec<TestResult>) -> Result<Vec<TestResult>> {
        let tested: Vec<usize> = (0..results.len()).filter(|&i| results[i].verdict.p.is_some()).collect();
        let p: Vec<f64> = tested.iter().filter_map(|&i| results[i].verdict.p).collect();
        if !p.is_empty() {
            let alpha = self.config.statistics.alpha;
            for (&i, adjusted) in tested.iter().zip(holm(&p, alpha)?.adjusted) {
                let v = &mut results[i].verdict;
                v.p_holm = Some(adjusted);
                let claimed = matches!(v.outcome, Outcome::Supports | Outcome::Refutes);
                if claimed && adjusted >= alpha {
                    v.reason = format!("{} After Holm over the battery p = {adjusted:.3}: not enough.", v.reason);
                    v.outcome = Outcome::Inconclusive;
                }
            }
        }
        for r in &results {
            let path = self.dir().join("tests").join(&r.id);
            make_dir(&path)?;
            write_json(&path.join("result.json"), r)?;
        }
        Ok(results)
    }
}
