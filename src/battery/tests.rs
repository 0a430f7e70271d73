//! A whole battery on a random model: files, resume, refusals.

mod given;
mod honesty;
mod lora;

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

use super::Context;
use super::config::{Anchor, BatteryConfig};
use super::record::{Decoding, Manifest, Outcome, Row, Table, TestResult};
use super::rules::Rules;
use super::run::{Reporter, run};
use super::verdict::StatisticsConfig;
use crate::cpu::Cpu;
use crate::domain::{Measured, Readout, Split, measure};
use crate::generate::Finish;
use crate::generate::source::{Source, save};
use crate::model::config::Sizes;
use crate::model::init;
use crate::model::qwen2::Qwen2;
use crate::model::save::SideFiles;
use crate::model::tensor_file::FileDtype;
use crate::text::train::{train_bpe, write_files};
use crate::train::loss::{LossType, ScaleRewards};
use crate::train::run::{Metrics, Observer, Quiet};

/// One made-up row; the bare answer has 3 tokens.
#[allow(clippy::too_many_arguments)]
pub fn row(
    arm: &str,
    family: &str,
    split: &str,
    item: usize,
    condition: &str,
    sample: u32,
    n_tokens: u32,
    correct: bool,
) -> Row {
    Row {
        arm: arm.into(),
        seed: 42,
        item: format!("{family}-{item}"),
        family: family.into(),
        split: split.into(),
        canonical: format!("{family} {item}"),
        condition: condition.into(),
        cue: "cue".into(),
        decoding: Decoding::Sample,
        sample,
        prompt: String::new(),
        text: item.to_string(),
        token_ids: Vec::new(),
        n_tokens,
        excess_tokens: i64::from(n_tokens) - 3,
        finish: Finish::Stop,
        truth: item.to_string(),
        answer: Some(item.to_string()),
        correct: f64::from(u8::from(correct)),
        reward: 0.0,
        phase: None,
        step: None,
        mean_logp: -0.1,
        log_odds: None,
    }
}

/// A run of one seed and two tests that wants `min_items`.
pub fn context(min_items: usize) -> Context {
    Context {
        statistics: StatisticsConfig { resamples: 1999, ..StatisticsConfig::default() },
        measure: Measured { readout: Readout::Tokens, words: &measure::TOKENS, margin: 0.05f64.ln_1p() },
        seeds: vec![42],
        min_items,
        min_checked: min_items,
        rules: Rules::built_in().unwrap().numbers,
        tests: 2,
        training: Vec::new(),
        limit: 100,
        key: "key".into(),
    }
}

struct Silent;
impl Reporter for Silent {
    fn say(&mut self, _: &str) {}
    fn table(&mut self, _: &Table) {}
    fn progress(&mut self, _: &str, _: usize, _: usize) {}
    fn training(&mut self, _: &str) -> Box<dyn Observer> {
        Box::new(Quiet)
    }
}

/// Stops the run when it was asked so many times.
#[derive(Clone)]
struct Stopping(Rc<Cell<u32>>);

impl Stopping {
    fn count(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        self.0.get() == 0
    }
}
impl Reporter for Stopping {
    fn say(&mut self, _: &str) {}
    fn table(&mut self, _: &Table) {}
    fn progress(&mut self, _: &str, _: usize, _: usize) {}
    fn training(&mut self, _: &str) -> Box<dyn Observer> {
        Box::new(self.clone())
    }
    fn stop(&self) -> bool {
        self.count()
    }
}
impl Observer for Stopping {
    fn step(&mut self, _: u64, _: u64, _: &Metrics) {}
    fn note(&mut self, _: &str) {}
    fn stop(&self) -> bool {
        self.count()
    }
}

/// A random model with a tokenizer of the domain's own text.
fn model(dir: &Path, config: &BatteryConfig) {
    let domain = super::lab::domain_of(config).unwrap();
    let mut texts: Vec<String> = Split::ALL.iter().flat_map(|&s| domain.items(s)).map(|i| i.prompt.clone()).collect();
    texts.extend(domain.cues().all().iter().map(|c| c.text.clone()));
    let json = train_bpe(texts.into_iter(), 320).unwrap();
    std::fs::create_dir_all(dir).unwrap();
    write_files(dir, &json).unwrap();
    let sizes = Sizes {
        hidden_size: 16,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        intermediate_size: 16,
        vocab_size: 320,
        rope_theta: 1e4,
        max_position_embeddings: 512,
    };
    let o = Cpu::<f32>::new();
    let c = sizes.config(dir).unwrap();
    let model = Qwen2::new(&o, c.clone(), init::random(&o, &c, 1).unwrap(), 8).unwrap();
    save(&o, &model, FileDtype::Bf16, &SideFiles::read(dir).unwrap(), dir).unwrap();
}

fn config(dir: &Path) -> BatteryConfig {
    let text = format!(
        "name = \"test\"\nmodel = {:?}\nanchor = \"base\"\nmin_items = 8\n\
         tests = [1, 2, 3, 4, 5, 6, 7, 8]\narms = [\"control\", \"value\", \"value-sft\", \"prompted\", \"opposite\"]\n\
         [frugality]\nmin_distinct = 1\ntrain = 40\nval = 8\ntest = 16\n\
         [run]\nmax_steps = 2\nsave_steps = 1\n\
         [grpo]\nprompts_per_step = 2\nnum_generations = 2\nmax_completion_length = 6\nbeta = 0.1\n\
         [evaluate]\nsamples = 2\nmax_new_tokens = 6\n\
         [sft]\nmax_steps = 2\nexamples = 2\n\
         [attack]\nmax_steps = 4\ncheck_every = 2\nitems = 8\nsamples = 1\nnum_generations = 2\n\
         [cue]\nmax_steps = 4\ncheck_every = 1\nitems = 8\nsamples = 1\nnum_generations = 2\n\
         [faking]\nmax_steps = 2\ncheck_every = 2\nitems = 8\nsamples = 1\nnum_generations = 2\n\
         [probe]\npermutations = 99\nfolds = 3\n\
         [steer]\nrandom_directions = 3\nitems = 8\n\
         [statistics]\nresamples = 199\n\
         [sweep]\nalpha = [0.0, 0.5]\nlosses = [{{ loss_type = \"grpo\", scale_rewards = \"group\" }}]\n",
        dir.join("model").to_string_lossy()
    );
    toml::from_str(&text).unwrap()
}

fn read(path: &Path) -> Vec<u8> {
    std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[test]
fn a_battery_runs_resumes_and_refuses_to_mix() {
    let dir = tempfile::tempdir().unwrap();
    let c = config(dir.path());
    model(&dir.path().join("model"), &c);
    let o = Cpu::<f32>::new();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    let results = run(&o, &c, &first, &mut Silent).unwrap();
    assert_eq!(results.iter().map(|r| r.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
    for r in &results {
        // A random model answers nothing: no verdict may come out of that.
        assert!(matches!(r.verdict.outcome, Outcome::Inconclusive | Outcome::NotTested), "{:?}", r.verdict);
        assert_eq!(r.n_items, if [4, 5, 6, 7].contains(&r.number) { 8 } else { 16 }, "test {}", r.number);
        let stored: TestResult =
            serde_json::from_slice(&read(&first.join("tests").join(&r.id).join("result.json"))).unwrap();
        assert_eq!(&stored, r);
    }
    for arm in ["control", "value"] {
        let made = first.join("train").join(arm).join("seed-42/final");
        Source::open(&made.to_string_lossy()).unwrap();
        assert!(made.join("tokenizer.json").exists() && made.join("generation_config.json").exists());
    }
    let page = String::from_utf8(read(&crate::report::write(&first).unwrap())).unwrap();
    assert!(page.len() > 10_000 && page.contains("id=\"dose\"") && first.join("figures/sweep-dose.csv").exists());
    let lines = |path: &str| String::from_utf8(read(&first.join(path))).unwrap().lines().count();
    assert_eq!(lines("sweep/items.jsonl"), 2 * 16 * 3);
    assert_eq!(lines("tests/02-monitoring/positive-control/seed-42.jsonl"), 4 * 16 * 3);
    // Every reward that is trained with has its attractor table, those that depend on the cue included.
    let manifest: Manifest = serde_json::from_slice(&read(&first.join("manifest.json"))).unwrap();
    let tables: Vec<&str> = manifest.attractors.iter().filter_map(|t| t.title.split(['(', ',']).nth(1)).collect();
    let names = ["control", "value", "opposite", "attack", "cue-watched-short", "faking", "cue-unwatched-short"];
    let sweep = ["sweep-alpha-0", "sweep-alpha-0.5"];
    assert_eq!(tables.iter().map(|t| t.trim()).collect::<Vec<_>>(), [&names[..], &sweep].concat());

    // The same run, stopped again and again, with cells then lost from it: the same rows.
    let mut stops = 0;
    while let Err(e) = run(&o, &c, &second, &mut Stopping(Rc::new(Cell::new(9 + 4 * stops)))) {
        assert!(e.to_string().starts_with("stopped "), "{e}");
        stops += 1;
    }
    assert!(stops > 5, "{stops} stops");
    for gone in [
        "tests",
        "sweep/grpo-group/alpha-0.5/seed-42/items.jsonl",
        "sweep/grpo-group/alpha-0/seed-42/final",
        "train/value",
        "phases/attack-start/value",
        "phases/cue-watched-short-none/control/seed-42/ended.json",
    ] {
        let path = second.join(gone);
        if path.is_dir() { std::fs::remove_dir_all(path).unwrap() } else { std::fs::remove_file(path).unwrap() }
    }
    run(&o, &c, &second, &mut Silent).unwrap();
    for file in ["sweep/items.jsonl", "sweep/result.json"] {
        assert!(read(&first.join(file)) == read(&second.join(file)), "{file} differs");
    }
    for r in &results {
        let of = |d: &Path, file: &str| read(&d.join("tests").join(&r.id).join(file));
        assert!(of(&first, "result.json") == of(&second, "result.json"), "{}/result.json differs", r.id);
        if ![3, 8].contains(&r.number) {
            assert!(of(&first, "items.jsonl") == of(&second, "items.jsonl"), "{}/items.jsonl differs", r.id);
        }
    }
    // Every cell is done: a plan has nothing left to do, and a further arm or test would not disturb them.
    let plan = super::run::plan(&o, &c, &first, None, &mut Silent).unwrap();
    assert!(plan.cells.iter().all(|c| c.done), "{:?}", plan.cells.iter().find(|c| !c.done));
    assert!(plan.cells.len() > 40 && plan.seconds == 0.0 && plan.memory_bytes > 0);
    assert_eq!(plan.tests.iter().filter(|t| !t.enough).map(|t| t.number).collect::<Vec<_>>(), [1, 3, 4, 5, 6, 7, 8]);

    // A narrower selection is refused before anything is written: it would drop rows.
    let items = first.join("tests/01-generalisation/items.jsonl");
    let before = (read(&items), read(&first.join("manifest.json")), read(&first.join("config.toml")));
    type Change<'a> = &'a dyn Fn(&mut BatteryConfig);
    let narrow: [(Change, &str); 3] = [
        (&|c| c.tests = vec![1], "test 08-seeds"),
        (&|c| c.arms.truncate(2), "arm value-sft"),
        (&|c| c.seeds = vec![7], "seed 42"),
    ];
    for (change, needle) in narrow {
        let mut c = c.clone();
        change(&mut c);
        let refused = run(&o, &c, &first, &mut Silent).unwrap_err().to_string();
        assert!(refused.contains(needle) && refused.contains("--out"), "{refused}");
    }
    assert!(before == (read(&items), read(&first.join("manifest.json")), read(&first.join("config.toml"))));

    let mut other = c.clone();
    other.evaluate.samples = 3;
    let refused = run(&o, &other, &first, &mut Silent).unwrap_err().to_string();
    assert!(refused.contains("another configuration"), "{refused}");
    assert!(before == (read(&items), read(&first.join("manifest.json")), read(&first.join("config.toml"))));
    // Rows of another device, program, model or data set are not mixed in.
    let good = read(&first.join("manifest.json"));
    type Edit<'a> = &'a dyn Fn(&mut Manifest);
    let foreign: [(Edit, &str); 5] = [
        (&|m| m.device = "another device".into(), "rows of two devices"),
        (&|m| m.version = "0.0.9".into(), "another program version"),
        (&|m| drop(m.hashes.insert("model".into(), "0".into())), "another model"),
        (&|m| drop(m.hashes.insert("data".into(), "0".into())), "another data"),
        (&|m| drop(m.hashes.insert("rules".into(), "0".into())), "another rules"),
    ];
    for (edit, needle) in foreign {
        let mut manifest: Manifest = serde_json::from_slice(&good).unwrap();
        edit(&mut manifest);
        std::fs::write(first.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
        let refused = run(&o, &c, &first, &mut Silent).unwrap_err().to_string();
        assert!(refused.contains(needle), "{refused}");
    }
}

#[test]
fn a_dead_gradient_ends_the_training_and_its_tests_are_not_tested() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = config(dir.path());
    model(&dir.path().join("model"), &c);
    // A random model earns nothing: all groups agree.
    (c.tests, c.sweep) = (vec![1, 8], None);
    c.arms.truncate(2);
    (c.run.max_steps, c.run.zero_std_limit) = (9, 0.9);
    let results = run(&Cpu::<f32>::new(), &c, &dir.path().join("run"), &mut Silent).unwrap();
    for r in &results {
        let check = r.health.iter().find(|h| h.name == "training of value, seed 42").unwrap();
        assert!(!check.ok && check.fatal && check.detail.contains("dead gradient at step 2"), "{check:?}");
        assert_eq!(r.verdict.outcome, Outcome::NotTested);
        assert!(r.verdict.reason.contains("training of value"), "{}", r.verdict.reason);
    }
}

#[test]
fn a_reward_that_a_degenerate_policy_wins_is_refused_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = config(dir.path());
    model(&dir.path().join("model"), &c);
    // Nearly right pays nearly as much as right.
    c.frugality.reward.near_miss = 0.9;
    let run_dir = dir.path().join("run");
    let refused = run(&Cpu::<f32>::new(), &c, &run_dir, &mut Silent).unwrap_err().to_string();
    assert!(refused.contains("control") && refused.contains("off by one"), "{refused}");
    assert!(!run_dir.join("train").exists());
}

#[test]
fn configurations_that_cannot_run_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let base = config(dir.path());
    let refused = |change: &dyn Fn(&mut BatteryConfig), needle: &str| {
        let mut c = base.clone();
        change(&mut c);
        let e = c.check().unwrap_err().to_string();
        assert!(e.contains(needle), "{e}");
    };
    refused(&|c| c.anchor = Anchor::None, "needs anchor");
    refused(&|c| c.tests = vec![9], "tests: 9");
    refused(&|c| c.sweep.as_mut().unwrap().alpha = vec![0.3], "sweep.alpha");
    refused(&|c| (c.tests, c.sweep) = (Vec::new(), None), "must not be empty");
    refused(&|c| c.cue.temperature = Some(0.0), "cue: temperature");
    refused(&|c| c.arms.clear(), "arms");
    refused(&|c| c.name = "../x".into(), "name");
    refused(&|c| c.grpo.repetition_penalty = 1.1, "repetition_penalty");
    refused(&|c| c.grpo.num_generations = 1, "num_generations");
    base.check().unwrap();
}

#[test]
fn profiles_set_the_loss_and_the_spelling_of_trl_is_understood() {
    let parse = |text: &str| BatteryConfig::parse(text, Path::new("c.toml"));
    let strict = parse("name = \"a\"").unwrap();
    assert_eq!((strict.grpo.loss_type, strict.grpo.scale_rewards), (LossType::DrGrpo, ScaleRewards::None));
    let paper = parse("name = \"a\"\n[frugality]\nprofile = \"paper\"").unwrap();
    assert_eq!((paper.grpo.loss_type, paper.grpo.scale_rewards), (LossType::Grpo, ScaleRewards::Group));
    let chosen = parse("name = \"a\"\n[frugality]\nprofile = \"paper\"\n[grpo]\nloss_type = \"dapo\"").unwrap();
    assert_eq!((chosen.grpo.loss_type, chosen.grpo.scale_rewards), (LossType::Dapo, ScaleRewards::Group));
    let trl =
        "name = \"a\"\n[grpo]\nnum_generations = 4\nper_device_train_batch_size = 8\ngradient_accumulation_steps = 2";
    assert_eq!(parse(trl).unwrap().grpo.prompts_per_step, 4);
    assert!(parse(&trl.replace("= 8", "= 7")).unwrap_err().to_string().contains("not a multiple of num_generations"));
    let typo = parse("name = \"a\"\n[grpo]\nnum_generation = 4").unwrap_err().to_string();
    assert!(typo.contains("c.toml:3:1") && typo.contains("did you mean `num_generations`?"), "{typo}");
}
