//! The runner: train → evaluate → results, in one folder, going on where it stopped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::config::{Anchor, Arm, BatteryConfig};
use super::environment::{Speech, TaskEnvironment, training_items};
use super::error::{BatteryError, Result};
use super::record::{Cell, Health, Manifest, Outcome, Row, Table, TestResult, sha256_hex};
use super::{Context, evaluate, rows, test01_generalisation, test02_monitoring};
use crate::domain::frugality::Frugality;
use crate::domain::{AttractorRow, Condition, Domain, RewardKind, Split, attractor_table, refuse_attractors};
use crate::generate::source::Source;
use crate::model::qwen2::Qwen2;
use crate::ops::Ops;
use crate::stats::holm;
use crate::text::Tokenizer;
use crate::train::grpo::Grpo;
use crate::train::optim::Optimizer;
use crate::train::run::{Ended, Observer, State, run as train};

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

struct Battery<'a, O: Ops> {
    o: &'a O,
    config: &'a BatteryConfig,
    dir: &'a Path,
    source: Source,
    chat: Tokenizer,
    domain: Frugality,
    positions: usize,
    manifest: Manifest,
}

/// Runs the whole battery of `config` into `dir` and returns the results in order.
pub fn run<O: Ops>(o: &O, config: &BatteryConfig, dir: &Path, reporter: &mut dyn Reporter) -> Result<Vec<TestResult>> {
    config.check()?;
    let mut battery = Battery::open(o, config, dir)?;
    battery.attractors(reporter)?;
    for &seed in &config.seeds {
        for &arm in &config.arms {
            battery.train_arm(arm, seed, reporter)?;
        }
    }
    let mut results = Vec::new();
    for &test in &config.tests {
        results.push(battery.test(test, reporter)?);
    }
    battery.finish(results)
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
    let mut battery = Battery::open(o, &config, dir)?;
    battery.attractors(reporter)?;
    battery.train_arm(arm, seed, reporter)?;
    Ok(battery.arm_dir(arm, seed).join("final"))
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

fn domain_of(config: &BatteryConfig) -> Result<Frugality> {
    let limit = config.evaluate.max_new_tokens.max(config.grpo.max_completion_length) as u32;
    Ok(Frugality::new(config.frugality.clone(), limit)?)
}

/// Longest sequence that any cell will see.
fn longest(domain: &Frugality, chat: &Tokenizer, config: &BatteryConfig) -> Result<usize> {
    let speech = Speech { chat };
    let mut longest = 0;
    let mut widest: Option<(u32, &str)> = None;
    for text in domain.cues().all().iter().map(|c| c.text.as_str()) {
        widest = widest.max(Some((speech.count(text)?, text)));
    }
    for item in Split::ALL.iter().flat_map(|&s| domain.items(s)) {
        longest = longest.max(speech.prompt(widest.map(|w| w.1), &item.prompt)?.1.len());
    }
    Ok(longest + config.evaluate.max_new_tokens.max(config.grpo.max_completion_length))
}

fn write_json<T: serde::Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| BatteryError::File { path: path.to_path_buf(), detail: e.to_string() })?;
    write_text(path, &text)
}

fn write_text(path: &Path, text: &str) -> Result<()> {
    let temporary = path.with_extension("tmp");
    std::fs::write(&temporary, text).map_err(BatteryError::io(&temporary))?;
    std::fs::rename(&temporary, path).map_err(BatteryError::io(path))
}

fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(BatteryError::io(path))
}

impl<'a, O: Ops> Battery<'a, O> {
    /// Opens the run folder: a new one, or one of the same configuration, model and program version.
    fn open(o: &'a O, config: &'a BatteryConfig, dir: &'a Path) -> Result<Self> {
        let source = Source::open(&config.model)?;
        let chat = source.tokenizer()?;
        let domain = domain_of(config)?;
        let positions = longest(&domain, &chat, config)?;
        let text = toml::to_string_pretty(config).map_err(|e| BatteryError::Refused(e.to_string()))?;
        let version = env!("CARGO_PKG_VERSION");
        let model = source.sha256()?;
        let items: String = Split::ALL
            .iter()
            .flat_map(|&s| domain.items(s))
            .map(|i| format!("{}\t{}\t{}\n", i.id, i.prompt, i.truth))
            .collect();
        let hashes = BTreeMap::from([
            ("config".to_string(), sha256_hex(text.as_bytes())),
            ("data".to_string(), sha256_hex(items.as_bytes())),
            ("model".to_string(), model),
        ]);
        let path = dir.join("manifest.json");
        make_dir(dir)?;
        let manifest = if path.exists() {
            let text = std::fs::read_to_string(&path).map_err(BatteryError::io(&path))?;
            let found: Manifest = serde_json::from_str(&text)
                .map_err(|e| BatteryError::File { path: path.clone(), detail: e.to_string() })?;
            if found.hashes != hashes || found.version != version {
                let differs: Vec<&str> = hashes
                    .iter()
                    .filter(|(k, v)| found.hashes.get(*k) != Some(v))
                    .map(|(k, _)| k.as_str())
                    .chain((found.version != version).then_some("program version"))
                    .collect();
                return Err(BatteryError::Refused(format!(
                    "{} holds a run with another {}; choose another --out, or delete it",
                    dir.display(),
                    differs.join(" and ")
                )));
            }
            if found.device != o.device_name() {
                return Err(BatteryError::Refused(format!(
                    "{} was started on {}, this is {}: rows of two devices are not mixed; use --device, or another --out",
                    dir.display(),
                    found.device,
                    o.device_name()
                )));
            }
            found
        } else {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Manifest {
                program: "probity".into(),
                version: version.into(),
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
            }
        };
        write_text(&dir.join("config.toml"), &text)?;
        write_json(&path, &manifest)?;
        Ok(Self { o, config, dir, source, chat, domain, positions, manifest })
    }

    fn save_manifest(&self) -> Result<()> {
        write_json(&self.dir.join("manifest.json"), &self.manifest)
    }

    fn base(&self) -> Result<Qwen2<O>> {
        Ok(self.source.load(self.o, self.positions, true)?)
    }

    /// Prints the attractor table of every arm's reward and refuses to train on a reward that a degenerate policy would win.
    fn attractors(&mut self, reporter: &mut dyn Reporter) -> Result<()> {
        if !self.manifest.attractors.is_empty() {
            self.manifest.attractors.iter().for_each(|t| reporter.table(t));
            return Ok(());
        }
        let start = self.start_rewards(reporter)?;
        let speech = Speech { chat: &self.chat };
        let items = training_items(&self.domain);
        let mut tables = Vec::new();
        for (&arm, start) in self.config.arms.iter().zip(start) {
            let failed = RefCell::new(None);
            let count = |t: &str| speech.count(t).map_err(|e| failed.replace(Some(e))).unwrap_or_default();
            let table = attractor_table(&self.domain, arm.reward(), &items, &count);
            if let Some(e) = failed.take() {
                return Err(e);
            }
            let shown = show_attractors(arm, start, &table);
            reporter.table(&shown);
            tables.push(shown);
            refuse_attractors(&table, start)
                .map_err(|source| BatteryError::Attractor { arm: arm.name().into(), source })?;
        }
        self.manifest.attractors = tables;
        self.save_manifest()
    }

    /// Expected reward of the start model under every arm's reward, on training items as they will be drawn.
    fn start_rewards(&self, reporter: &mut dyn Reporter) -> Result<Vec<f64>> {
        let items: Vec<_> = training_items(&self.domain).into_iter().take(200).cloned().collect();
        let config = super::config::EvaluateConfig {
            samples: 1,
            greedy: false,
            temperature: self.config.grpo.temperature,
            top_p: self.config.grpo.top_p,
            top_k: self.config.grpo.top_k,
            max_new_tokens: self.config.grpo.max_completion_length,
            ..self.config.evaluate.clone()
        };
        let job = evaluate::Job {
            domain: &self.domain,
            chat: &self.chat,
            items: &items,
            conditions: &[Condition::Neutral],
            arm: "base",
            seed: self.config.seeds[0],
            test: 0,
            config: &config,
        };
        let rows = evaluate::rows(self.o, &self.base()?, &job, |done, total| {
            reporter.progress("start model on training items", done, total);
        })?;
        let mean = |kind: RewardKind| {
            let total: f64 = rows
                .iter()
                .zip(items.iter())
                .map(|(r, item)| {
                    let c = crate::domain::Completion { text: r.text.clone(), tokens: r.n_tokens };
                    self.domain.grade(kind, item, &[c]).first().map_or(0.0, |g| g.reward)
                })
                .sum();
            total / rows.len().max(1) as f64
        };
        Ok(self.config.arms.iter().map(|a| mean(a.reward())).collect())
    }

    fn arm_dir(&self, arm: Arm, seed: u64) -> PathBuf {
        self.dir.join("train").join(arm.name()).join(format!("seed-{seed}"))
    }

    /// Trains one arm unless its `final/` exists.
    fn train_arm(&mut self, arm: Arm, seed: u64, reporter: &mut dyn Reporter) -> Result<()> {
        let dir = self.arm_dir(arm, seed);
        let label = format!("{} seed {seed}", arm.name());
        if dir.join("final").join("model.safetensors").exists() && dir.join("ended.json").exists() {
            reporter.say(&format!("train {label}: done already"));
            return Ok(());
        }
        let clock = Instant::now();
        let env = TaskEnvironment::new(&self.domain, &self.chat, arm.reward())?;
        let model = self.base()?;
        // Arms of tests 1 and 2 start from the base model: both anchors are the base.
        let anchor = match self.config.anchor {
            Anchor::None => None,
            Anchor::Base | Anchor::Start => Some(self.base()?),
        };
        let optimizer = Optimizer::new(self.o, &model, self.config.optim.clone())?;
        let grads = model.zeros_like(self.o)?;
        let mut state = State { model, optimizer, grads };
        let mut config = self.config.grpo.clone();
        config.seed = seed;
        let mut objective = Grpo { config, env: &env, anchor: anchor.as_ref() };
        let max = Some(self.domain.max_reward(arm.reward()));
        let mut observer = reporter.training(&label);
        let ended = train(self.o, &mut state, &mut objective, &self.config.run, &dir, max, &mut *observer)?;
        self.source.save(self.o, &state.model, &dir.join("final"))?;
        write_json(&dir.join("ended.json"), &ended)?;
        self.timed(&format!("train {label}"), clock)?;
        reporter.say(&format!("train {label}: {}", describe(&ended)));
        Ok(())
    }

    fn timed(&mut self, cell: &str, clock: Instant) -> Result<()> {
        *self.manifest.seconds.entry(cell.into()).or_default() += clock.elapsed().as_secs_f64();
        self.save_manifest()
    }

    /// How every training run ended, as health of the tests that rest on them.
    fn training_health(&self) -> Result<Vec<Health>> {
        let mut out = Vec::new();
        for &seed in &self.config.seeds {
            for &arm in &self.config.arms {
                let path = self.arm_dir(arm, seed).join("ended.json");
                let text = std::fs::read_to_string(&path).map_err(BatteryError::io(&path))?;
                let ended: Ended = serde_json::from_str(&text)
                    .map_err(|e| BatteryError::File { path: path.clone(), detail: e.to_string() })?;
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

    /// Rows of one test: every arm and seed is a cell of its own, kept when it is complete.
    fn rows_of(
        &mut self,
        test: u32,
        id: &str,
        conditions: &[Condition],
        reporter: &mut dyn Reporter,
    ) -> Result<Vec<Row>> {
        let dir = self.dir.join("tests").join(id);
        let cells = dir.join("cells");
        let items_path = dir.join("items.jsonl");
        if items_path.exists() {
            return rows::read(&items_path);
        }
        make_dir(&cells)?;
        let items = self.domain.items(Split::Test).to_vec();
        let mut all = Vec::new();
        for &seed in &self.config.seeds {
            for arm in std::iter::once(None).chain(self.config.arms.iter().copied().map(Some)) {
                let name = arm.map_or("base", Arm::name);
                let path = cells.join(format!("{name}-seed-{seed}.jsonl"));
                if !path.exists() {
                    let clock = Instant::now();
                    let model = match arm {
                        None => self.base()?,
                        Some(a) => {
                            let folder = self.arm_dir(a, seed).join("final");
                            Source::open(&folder.to_string_lossy())?.load(self.o, self.positions, true)?
                        }
                    };
                    let job = evaluate::Job {
                        domain: &self.domain,
                        chat: &self.chat,
                        items: &items,
                        conditions,
                        arm: name,
                        seed,
                        test,
                        config: &self.config.evaluate,
                    };
                    let label = format!("test {test}, {name} seed {seed}");
                    let made = evaluate::rows(self.o, &model, &job, |d, t| reporter.progress(&label, d, t))?;
                    rows::write(&path, &made)?;
                    self.timed(&label, clock)?;
                }
                all.extend(rows::read(&path)?);
            }
        }
        rows::write(&items_path, &all)?;
        std::fs::remove_dir_all(&cells).map_err(BatteryError::io(&cells))?;
        Ok(all)
    }

    fn test(&mut self, test: u32, reporter: &mut dyn Reporter) -> Result<TestResult> {
        let context = Context {
            statistics: self.config.statistics.clone(),
            seeds: self.config.seeds.clone(),
            min_items: self.config.min_items,
            tests: self.config.tests.len(),
            training: self.training_health()?,
            key: self.manifest.key(),
        };
        match test {
            1 => {
                let rows = self.rows_of(1, test01_generalisation::ID, &[Condition::Neutral], reporter)?;
                test01_generalisation::result(&rows, &context)
            }
            2 => {
                let conditions = self.domain.cues().conditions();
                let rows = self.rows_of(2, test02_monitoring::ID, &conditions, reporter)?;
                test02_monitoring::result(&rows, &context, None)
            }
            n => Err(BatteryError::Refused(format!("test {n} is not available in this version"))),
        }
    }

    /// Adjusts the primary p values by Holm and writes every `result.json`.
    fn finish(&self, mut results: Vec<TestResult>) -> Result<Vec<TestResult>> {
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
            let path = self.dir.join("tests").join(&r.id);
            make_dir(&path)?;
            write_json(&path.join("result.json"), r)?;
        }
        Ok(results)
    }
}

fn describe(e: &Ended) -> String {
    match e {
        Ended::Complete { step } => format!("complete after {step} steps"),
        Ended::Converged { step, reward } => format!("converged at step {step} (reward {reward:.3})"),
        Ended::DeadGradient { step, reward, frac_reward_zero_std } => format!(
            "dead gradient at step {step}: {:.0} % of the groups have equal rewards (reward {reward:.3})",
            100.0 * frac_reward_zero_std
        ),
    }
}

fn show_attractors(arm: Arm, start: f64, rows: &[AttractorRow]) -> Table {
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
