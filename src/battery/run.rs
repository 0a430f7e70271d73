//! The runner: cells in their order, then a result for every test, in one folder that goes on where it stopped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::config::{Anchor, Arm, BatteryConfig};
use super::environment::{Speech, neutral};
use super::error::{BatteryError, Result};
use super::evaluate::{self, Wordings};
use super::folder::{Folder, key_of, make_dir, write_json, write_text};
use super::given;
use super::lab::{Lab, domain_of, longest};
use super::phase::{Mapping, Trajectory};
use super::plan::{Card, Plan};
use super::provenance::data_sha256;
use super::record::{Manifest, Outcome, Row, Table, TestResult, sha256_hex};
use super::rules::{self, Rules};
use super::{
    Context, flips, rows, test01_generalisation, test02_monitoring, test03_probing, test04_counter, test05_anchors,
    test06_steering, test07_cue, test08_seeds,
};
use crate::domain::{Condition, Split};
use crate::generate::source::{Source, Storage};
use crate::model::hooks::HookSet;
use crate::ops::Ops;
use crate::stats::holm;
use crate::train::accumulate::MicroBatch;
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
    /// Asked between tests and between the slices of a cell: the run ends with [`BatteryError::Interrupted`]. Trainings ask their
    /// observer.
    fn stop(&self) -> bool {
        false
    }
}

/// Runs the whole battery of `config` into `dir` and returns the results in order.
pub fn run<O: Ops>(o: &O, config: &BatteryConfig, dir: &Path, reporter: &mut dyn Reporter) -> Result<Vec<TestResult>> {
    config.check()?;
    whole(config)?;
    let mut lab = open(o, config, dir, reporter)?;
    lab.within_budget(config)?;
    let results = lab.cells();
    // Also of a run that was stopped: the next process holds less, and knows nothing of this one.
    lab.report_memory(config)?;
    lab.conclude(results?)
}

/// What [`run`] would do in `dir`. Nothing is trained; the attractor tables are made and shown, unless the times are for another card.
pub fn plan<O: Ops>(
    o: &O,
    config: &BatteryConfig,
    dir: &Path,
    card: Option<Card>,
    reporter: &mut dyn Reporter,
) -> Result<Plan> {
    config.check()?;
    whole(config)?;
    let mut lab = open(o, config, dir, reporter)?;
    if card.is_none() {
        lab.attractors()?;
    }
    let mut plan = lab.plan(card)?;
    given::settle(&mut plan, &lab.given);
    Ok(plan)
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
    whole(config)?;
    let mut config = config.clone();
    (config.arms, config.seeds, config.checkpoint) = (vec![arm], vec![seed], Vec::new());
    let alone = BatteryConfig { tests: Vec::new(), ..config.clone() };
    let mut lab = open(o, &config, dir, reporter)?;
    lab.within_budget(&alone)?;
    let trained = lab.attractors().and_then(|()| lab.train_arm(arm, seed));
    lab.report_memory(&alone)?;
    trained?;
    Ok(lab.arm_dir(arm, seed).join("final"))
}

/// Rows of any model on the test split of `config`, under the given conditions.
pub fn evaluate_one<O: Ops>(
    o: &O,
    config: &BatteryConfig,
    (model, storage): (&str, Storage),
    conditions: &[Condition],
    seed: u64,
    reporter: &mut dyn Reporter,
) -> Result<Vec<Row>> {
    let source = Source::open(model)?;
    let chat = source.tokenizer()?;
    let domain = domain_of(config)?;
    let longest = longest(&*domain, &chat, config)?;
    let items = domain.items(Split::Test).to_vec();
    let job = evaluate::Job {
        domain: &*domain,
        chat: &chat,
        items: &items,
        conditions,
        wordings: Wordings::All,
        asking: Arm::Base.asking(),
        arm: model,
        seed,
        test: 1,
        config: &config.evaluate,
        micro: MicroBatch { max_tokens: config.grpo.micro_batch_tokens, recompute: config.grpo.recompute },
    };
    let hooks = HookSet::default();
    evaluate::rows(o, &source.load(o, longest, storage)?, &job, &hooks, |d, t| {
        reporter.progress("evaluate", d, t);
        Ok(())
    })
}

/// Trainings start from whole weights. Nothing is written yet.
fn whole(config: &BatteryConfig) -> Result<()> {
    if !Source::open(&config.model)?.is_adapter() {
        return Ok(());
    }
    Err(BatteryError::Refused(format!(
        "model = {:?} is a LoRA adapter: a battery starts from whole weights. Name its base model, and give the adapter as the checkpoint of an arm",
        config.model
    )))
}

/// Folder names of the tests.
const IDS: [&str; 8] = [
    test01_generalisation::ID,
    test02_monitoring::ID,
    test03_probing::ID,
    test04_counter::ID,
    test05_anchors::ID,
    test06_steering::ID,
    test07_cue::ID,
    test08_seeds::ID,
];

/// Folder name of a test (1 to 8; configurations with another number are refused before).
pub fn test_id(number: u32) -> &'static str {
    IDS[(number.clamp(1, 8) - 1) as usize]
}

/// Opens the run folder: a new one, or one of the same program, model, data and device.
pub fn open<'a, O: Ops>(
    o: &'a O,
    config: &'a BatteryConfig,
    dir: &Path,
    reporter: &'a mut dyn Reporter,
) -> Result<Lab<'a, O>> {
    let source = Source::open(&config.model)?;
    let chat = source.tokenizer()?;
    let domain = domain_of(config)?;
    let positions = longest(&*domain, &chat, config)?;
    let text = config.text()?;
    let given = given::open(config, &source, &chat, &*domain)?;
    let mut hashes = BTreeMap::from([
        ("config".to_string(), sha256_hex(text.as_bytes())),
        ("data".to_string(), data_sha256(&*domain)),
        ("model".to_string(), source.sha256()?),
        ("rules".to_string(), sha256_hex(rules::text(config.domain).as_bytes())),
    ]);
    hashes.extend(given::hashes(&given));
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let manifest = Manifest {
        program: "probity".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        profile: if config.strict() { "strict" } else { "paper" }.into(),
        domain: domain.name().into(),
        model: config.model.clone(),
        model_commit: source.commit.clone(),
        neutral_system: neutral(&*domain).map(String::from),
        device: o.device_name(),
        device_details: BTreeMap::new(),
        hashes,
        seeds: config.seeds.clone(),
        arms: std::iter::once("base").chain(config.arms.iter().map(|a| a.name())).map(String::from).collect(),
        tests: config.tests.iter().map(|&t| test_id(t).to_string()).collect(),
        attractors: Vec::new(),
        notes: (config.notes.iter().cloned())
            .chain(config.domain.note().map(String::from))
            .chain(config.attractors.note().map(String::from))
            .chain(source.generation_defaults())
            .chain(given::notes(config, &given))
            .collect(),
        started_unix: now.as_secs(),
        seconds: BTreeMap::new(),
    };
    let folder = Folder::open(dir, manifest, &text)?;
    write_text(&dir.join("rules.toml"), rules::text(config.domain))?;
    Ok(Lab {
        o,
        config,
        source,
        chat,
        domain,
        positions,
        folder,
        given,
        layers: BTreeMap::new(),
        reporter: RefCell::new(reporter),
    })
}

impl<O: Ops> Lab<'_, O> {
    /// Every cell in its order, and the results of the tests.
    fn cells(&mut self) -> Result<Vec<TestResult>> {
        let config = self.config;
        self.attractors()?;
        for &seed in &config.seeds {
            for &arm in &config.arms {
                self.train_arm(arm, seed)?;
            }
        }
        if config.sweep.is_some() {
            self.sweep()?;
        }
        let mut results = Vec::new();
        for &test in &config.tests {
            self.unless_stopped(&format!("test {test}"))?;
            results.push(self.test(test)?);
        }
        Ok(results)
    }

    fn context(&self) -> Result<Context> {
        let rules = Rules::built_in()?.numbers;
        Ok(Context {
            measure: self.domain.measured(self.config.statistics.ratio_margin),
            statistics: self.config.statistics.clone(),
            seeds: self.config.seeds.clone(),
            min_items: self.config.min_items,
            min_checked: self.config.min_items.min(rules.checked_items),
            rules,
            tests: self.config.tests.len(),
            training: self.training_health()?,
            limit: self.config.evaluate.max_new_tokens,
            key: self.folder.manifest.key(),
        })
    }

    fn test(&mut self, test: u32) -> Result<TestResult> {
        let context = self.context()?;
        match test {
            1 => {
                let rows = self.rows_of(1, test01_generalisation::ID, &[Condition::Neutral])?;
                let mut result = test01_generalisation::result(&rows, &context)?;
                let flips = self.flips()?;
                if !flips.is_empty() {
                    // What the study counts comes first.
                    let words = context.measure.words;
                    result.headline.summary =
                        format!("{}. {}", flips::headline(&flips, words), result.headline.summary);
                    result.headline.tables.splice(0..0, flips::tables(&flips, "arm", words));
                }
                Ok(result)
            }
            2 => {
                let conditions = self.domain.cues().conditions();
                let rows = self.rows_of(2, test02_monitoring::ID, &conditions)?;
                let positive = self.cue_trained_detected(&context)?;
                test02_monitoring::result(&rows, &context, positive.as_ref())
            }
            3 => {
                let (probed, design) = self.probed_arms(&test03_probing::ARMS)?;
                test03_probing::result(&probed, &design, &self.config.probe, &context)
            }
            4 => {
                let mut attacks = Vec::new();
                for arm in self.present(&test04_counter::ARMS) {
                    for phase in test04_counter::PHASES {
                        for seed in self.config.seeds.clone() {
                            attacks.push((phase, self.phase(phase, arm, seed)?));
                        }
                    }
                }
                self.merge(test04_counter::ID, attacks.iter().map(|a| &a.1))?;
                test04_counter::result(&attacks, &context)
            }
            5 => {
                let mut runs = Vec::new();
                for anchor in Anchor::ALL {
                    for phase in test05_anchors::phases(anchor) {
                        for arm in self.present(&test05_anchors::ARMS) {
                            for seed in self.config.seeds.clone() {
                                let trajectory = self.phase(phase, arm, seed)?;
                                runs.push(test05_anchors::Run { phase, anchor, trajectory });
                            }
                        }
                    }
                }
                self.merge(test05_anchors::ID, runs.iter().map(|r| &r.trajectory))?;
                test05_anchors::result(&runs, &context)
            }
            6 => {
                let rows = self.rows_of(1, test01_generalisation::ID, &[Condition::Neutral])?;
                let mut steered = Vec::new();
                for seed in self.config.seeds.clone() {
                    for arm in test06_steering::ARMS {
                        // Each arm where its own probe is best: at the other's layer it would be handicapped.
                        let layer = self.probe_layer(arm)?;
                        steered.push(self.steer(arm, seed, layer, &rows, None)?);
                    }
                }
                self.merge_steered(&steered)?;
                test06_steering::result(&steered, &context)
            }
            7 => {
                let runs = self.cue_runs(&test07_cue::ARMS)?;
                self.merge(test07_cue::ID, runs.iter().map(|r| &r.1))?;
                test07_cue::result(&runs, &context)
            }
            8 => {
                let rows = self.rows_of(1, test01_generalisation::ID, &[Condition::Neutral])?;
                test08_seeds::result(&rows, &context)
            }
            n => Err(BatteryError::Refused(format!("tests: {n} is no test of the battery, which has tests 1 to 8"))),
        }
    }

    /// The arms of a test that this run has.
    pub fn present(&self, arms: &[Arm]) -> Vec<Arm> {
        arms.iter().copied().filter(|a| self.arms().contains(a)).collect()
    }

    fn cue_runs(&mut self, arms: &[Arm]) -> Result<Vec<(Mapping, Trajectory)>> {
        let mut runs = Vec::new();
        for mapping in test07_cue::MAPPINGS {
            for &arm in arms {
                for seed in self.config.seeds.clone() {
                    runs.push((mapping, self.phase(test07_cue::phase(mapping), arm, seed)?));
                }
            }
        }
        Ok(runs)
    }

    /// Does the contrast of test 2 detect a control arm that was trained to react to the cue? `None` without test 7.
    fn cue_trained_detected(&mut self, context: &Context) -> Result<Option<test02_monitoring::PositiveControl>> {
        if !self.config.tests.contains(&7) {
            return Ok(None);
        }
        let mut rows = Vec::new();
        for seed in self.config.seeds.clone() {
            rows.extend(self.positive_control(seed)?);
        }
        test02_monitoring::detects(&rows, Arm::Control.name(), context).map(Some)
    }

    /// Rows of test 2's items, cues and samples by control after cue training (watched: short): a cell, kept as
    /// `tests/02-monitoring/positive-control/seed-<s>.jsonl`.
    fn positive_control(&mut self, seed: u64) -> Result<Vec<Row>> {
        let (phase, arm) = (test07_cue::phase(Mapping::Watched), Arm::Control);
        self.phase(phase, arm, seed)?;
        let dir = self.dir().join("tests").join(test02_monitoring::ID).join("positive-control");
        let path = dir.join(format!("seed-{seed}.jsonl"));
        let key = key_of(&(self.phase_key(phase, arm, seed, None)?, &self.config.evaluate))?;
        let name = format!("tests/{}/positive-control/seed-{seed}", test02_monitoring::ID);
        if let Some(cell) = self.folder.begin(&name, &key, path.exists())? {
            make_dir(&dir)?;
            let items = self.domain_items(Split::Test);
            let model = self.phase_model(phase, arm, seed)?;
            let (label, config) = (format!("test 2, cue-trained control, seed {seed}"), self.config);
            let (conditions, all) = (test02_monitoring::CONTRASTED, evaluate::Wordings::All);
            let made = self.evaluate(&model, &label, arm, seed, 2, &items, &conditions, all, &config.evaluate)?;
            rows::write(&path, &made)?;
            self.folder.finish(cell)?;
        }
        rows::read(&path)
    }

    /// The block where an arm's probe of test 3 is best: the arm is steered there, and the probes of counter-training look where the
    /// value arm's is. It is chosen on test items; they measure on val items.
    pub fn probe_layer(&mut self, arm: Arm) -> Result<usize> {
        if let Some(&layer) = self.layers.get(&arm) {
            return Ok(layer);
        }
        let (probed, design) = self.probed_arms(&[arm])?;
        let layer = test03_probing::best_layer(&probed, &design, arm)?;
        self.layers.insert(arm, layer);
        Ok(layer)
    }

    /// Activations and behaviour of arms.
    pub fn probed_arms(&mut self, arms: &[Arm]) -> Result<(Vec<test03_probing::Probed>, test03_probing::Design)> {
        let rows = self.rows_of(1, test01_generalisation::ID, &[Condition::Neutral])?;
        let items = self.domain_items(Split::Test);
        let ids: Vec<String> = items.iter().map(|i| i.id.clone()).collect();
        let mut probed = Vec::new();
        for seed in self.config.seeds.clone() {
            for &arm in arms {
                let activations = self.activations(arm, seed)?;
                probed.push(test03_probing::Probed::new(arm, seed, activations, &rows, &ids, self.domain.readout())?);
            }
        }
        let speech = Speech { chat: &self.chat };
        let mut prompts = Vec::new();
        for item in &items {
            let ids = speech.prompt(neutral(&*self.domain), item)?.1;
            prompts.push((item.family.clone(), item.canonical.clone(), ids));
        }
        let design = test03_probing::Design::new(
            &prompts,
            self.domain.readout(),
            &self.config.probe,
            self.config.statistics.seed,
        )?;
        Ok((probed, design))
    }

    /// Writes the rows of every check as the test's `items.jsonl`.
    fn merge<'t>(&self, id: &str, trajectories: impl Iterator<Item = &'t Trajectory>) -> Result<()> {
        let dir = self.dir().join("tests").join(id);
        make_dir(&dir)?;
        let all: Vec<Row> = trajectories.flat_map(|t| &t.checks).flat_map(|c| c.rows.iter().cloned()).collect();
        rows::write(&dir.join("items.jsonl"), &all)
    }

    /// Adjusts the primary p values by Holm and writes every `result.json`.
    fn conclude(&self, mut results: Vec<TestResult>) -> Result<Vec<TestResult>> {
        // The family is the battery as planned: a test that drops out does not make the others' threshold milder.
        let p: Vec<f64> = results.iter().map(|r| r.verdict.p.unwrap_or(1.0)).collect();
        if !p.is_empty() {
            let alpha = self.config.statistics.alpha;
            for (r, adjusted) in results.iter_mut().zip(holm(&p, alpha)?.adjusted) {
                let v = &mut r.verdict;
                if v.p.is_none() {
                    continue;
                }
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
