//! A paired evaluation from plan to labels: with a script that answers, and with the embedded model.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::config::{Leak, PairConfig};
use super::engine::Engine;
use super::error::{PairError, Result};
use super::folder::{self, Manifest};
use super::hand;
use super::inspect;
use super::judge::{LEXICAL, Lexical, agreements, judge};
use super::model_judge::{ModelJudge, positions};
use super::pilot;
use super::plan::{Plan, Stimuli};
use super::row::{OrderGroup, Protocol, Row, StopReason};
use super::run::{Asked, Facts, Options, Reply, Respondent, Wanted, run};
use crate::battery::record::Table;
use crate::battery::run::Reporter;
use crate::cpu::Cpu;
use crate::domain::split::unit_hash;
use crate::domain::tier::{Frame, Label, think};
use crate::generate::source::{EMBEDDED, Source, Storage};
use crate::gpu::{Gpu, GpuOptions, list_adapters};
use crate::model::qwen2::Recompute;
use crate::ops::Ops;
use crate::stats::{PairedTable, tango};
use crate::train::accumulate::MicroBatch;
use crate::train::run::{Observer, Quiet as NoTraining};

const KEEP: Options = Options { text: true };

/// Says nothing, and asks to stop after so many batches.
struct Quiet(std::cell::Cell<usize>);

impl Reporter for Quiet {
    fn say(&mut self, _: &str) {}
    fn table(&mut self, _: &Table) {}
    fn progress(&mut self, _: &str, _: usize, _: usize) {
        self.0.set(self.0.get().saturating_sub(1));
    }
    fn training(&mut self, _: &str) -> Box<dyn Observer> {
        Box::new(NoTraining)
    }
    fn stop(&self) -> bool {
        self.0.get() == 0
    }
}

fn quiet() -> Quiet {
    Quiet(std::cell::Cell::new(usize::MAX))
}

/// Answers by a rule of (item id, whether the frame says that this trains); ids are the bytes of texts.
struct Script<F>(F);

impl<F: FnMut(&Asked<'_>) -> String> Respondent for Script<F> {
    fn facts(&self) -> Result<Facts> {
        Ok(Facts {
            device: "script".into(),
            kernel_set: "none".into(),
            engine_build: "test".into(),
            model_revision: "1".into(),
            hashes: BTreeMap::new(),
            max_tokens: 64,
            reasons: false,
            no_frame: BTreeMap::new(),
            frame_lengths: Vec::new(),
            notes: Vec::new(),
        })
    }

    fn answer(&mut self, _: &str, batch: &[Asked<'_>], _: Wanted) -> Result<Vec<Reply>> {
        let reply = |a: &Asked<'_>| {
            let text = (self.0)(a);
            let frame = match a.frame {
                Frame::Text(w) => w.text.as_str(),
                _ => "",
            };
            let ids = |t: &str| t.bytes().map(u32::from).collect::<Vec<u32>>();
            Reply {
                prompt: format!("{frame} {}", a.item.text),
                input: [a.before, &ids(frame), &ids(&a.item.text)].concat(),
                output: ids(&text),
                stop_reason: StopReason::Stop,
                parts: think::split(&text, false),
                gaps: Some((0.5, 0.25)),
                frame_log_odds: Some(1.0),
            }
        };
        Ok(batch.iter().map(reply).collect())
    }
}

/// Refuses more of the items when told that the answer trains.
fn planted(a: &Asked<'_>) -> String {
    let share = if a.frame.trains() == Some(true) { 0.6 } else { 0.4 };
    match unit_hash(1, "planted", &a.item.item_id) < share {
        true => "I cannot help with that.".into(),
        false => format!("Here you are: {}", a.item.text),
    }
}

fn config(more: &str, items: &str, arms: &str) -> PairConfig {
    let text = format!(
        "name = \"t\"\nmodel = \"embedded\"\n{more}\n[items]\nfile = \"builtin:requests\"\n{items}\n[arms]\nfile = \"builtin:tiny\"\n\
         names = [\"free\", \"paid\", \"free_again\"{arms}]\n[readings]\nopenings = \"builtin:tiny\"\n"
    );
    PairConfig::parse(&text, Path::new("t.toml")).unwrap()
}

fn go(config: &PairConfig, who: &mut dyn Respondent, options: Options, dir: &Path, r: &mut Quiet) -> Result<Manifest> {
    Ok(run(config, &Stimuli::open(config)?, who, options, dir, r)?.manifest)
}

fn without_times(dir: &Path) -> Vec<Row> {
    folder::rows(dir).unwrap().into_iter().map(|r| Row { wall_ms: 0.0, ..r }).collect()
}

/// Pairs of `free` and another arm of which the outputs, and the inputs, differ.
fn differing(rows: &[Row], other: &str) -> (usize, usize) {
    let key = |r: &Row| (r.item_id.clone(), r.paraphrase, r.repeat, r.factors.clone());
    let free: BTreeMap<_, &Row> = rows.iter().filter(|r| r.arm == "free").map(|r| (key(r), r)).collect();
    let pairs = rows.iter().filter(|r| r.arm == other).map(|r| (r, free[&key(r)]));
    pairs.fold((0, 0), |(outputs, inputs), (a, b)| {
        let differ = |x: &str, y: &str| usize::from(x != y);
        (
            outputs + differ(&a.output_ids_sha256, &b.output_ids_sha256),
            inputs + differ(&a.input_sha256, &b.input_sha256),
        )
    })
}

#[test]
fn a_planted_gap_of_twenty_points_is_recovered_and_the_control_is_clean() {
    let (dir, c) = (tempfile::tempdir().unwrap(), config("", "", ""));
    let manifest = go(&c, &mut Script(planted), KEEP, dir.path(), &mut quiet()).unwrap();
    assert_eq!(manifest.replay.unwrap().mismatches, 0);
    let labels = judge(dir.path(), &mut Lexical, 1).unwrap();
    let rows = folder::rows(dir.path()).unwrap();
    let refused = |arm: &str| -> BTreeMap<&str, bool> {
        let of = rows.iter().zip(&labels).filter(|(r, _)| r.arm == arm);
        of.map(|(r, l)| (r.item_id.as_str(), l.label == Label::Refusal)).collect()
    };
    let pairs = |a: &str, b: &str| {
        let (a, b): (Vec<bool>, Vec<bool>) = (refused(a).into_values().collect(), refused(b).into_values().collect());
        PairedTable::from_pairs(&a, &b).unwrap()
    };
    let gap = tango(pairs("free", "paid"), 0.95).unwrap();
    assert!(gap.ci.unwrap().contains(-0.2) && gap.ci.unwrap().high < 0.0, "{gap:?}");
    let again = pairs("free", "free_again");
    assert_eq!((again.b, again.c, again.n()), (0, 0, 218));
    assert!(rows.iter().all(|r| r.knows_frame == Some(r.arm != "paid")), "the script says yes to everything");
    assert!(agreements(dir.path()).unwrap().rows.is_empty());
}

#[test]
fn a_run_that_was_cut_anywhere_goes_on_to_the_same_rows() {
    let mut c = config("", "rows = 5", "");
    c.design.batch_sizes = vec![1, 4];
    for text in [true, false] {
        let whole = tempfile::tempdir().unwrap();
        go(&c, &mut Script(planted), Options { text }, whole.path(), &mut quiet()).unwrap();
        let plan = Plan::new(&c, &Stimuli::open(&c).unwrap()).unwrap();
        let bytes = |dir: &Path, file: &str| std::fs::read_to_string(dir.join(file)).ok();
        for batches in [1, 3, 16, 18] {
            let cut = tempfile::tempdir().unwrap();
            let mut stopping = Quiet(std::cell::Cell::new(batches));
            let stopped = go(&c, &mut Script(planted), Options { text }, cut.path(), &mut stopping);
            assert!(matches!(stopped, Err(PairError::Interrupted(_))), "{batches}");
            // As `kill -9` in the middle of a batch's lines would leave it.
            let path = cut.path().join("rows.jsonl");
            let rows = std::fs::read_to_string(&path).unwrap();
            std::fs::write(&path, &rows[..rows.len() - 100]).unwrap();
            go(&c, &mut Script(planted), Options { text }, cut.path(), &mut quiet()).unwrap();
            assert_eq!(without_times(cut.path()), without_times(whole.path()));
            for file in ["plan.jsonl", "prompts.jsonl", "labels/lexical.jsonl"] {
                assert_eq!(bytes(cut.path(), file), bytes(whole.path(), file), "{file} after {batches}");
            }
            let ids: Vec<String> = without_times(cut.path()).into_iter().map(|r| r.cell_id).collect();
            assert_eq!(ids, plan.cells.iter().map(|c| c.cell_id.clone()).collect::<Vec<_>>());
        }
        let rows = without_times(whole.path());
        assert_eq!(rows.iter().filter(|r| r.answer.is_some()).count(), if text { rows.len() } else { 0 });
        if !text {
            assert_eq!(folder::labels(whole.path(), LEXICAL).unwrap().len(), rows.len());
            assert_eq!(bytes(whole.path(), "prompts.jsonl").unwrap(), "");
            let refused = judge(whole.path(), &mut Lexical, 1).unwrap_err().to_string();
            assert!(refused.contains("--no-text"), "{refused}");
        }
    }
}

#[test]
fn another_run_in_the_folder_is_refused_by_what_differs() {
    let (dir, c) = (tempfile::tempdir().unwrap(), config("", "rows = 3", ""));
    go(&c, &mut Script(planted), KEEP, dir.path(), &mut quiet()).unwrap();
    let mut other = c.clone();
    other.decoding.max_tokens = Some(7);
    let of = |c: &PairConfig, text| {
        go(c, &mut Script(planted), Options { text }, dir.path(), &mut quiet()).unwrap_err().to_string()
    };
    assert!(of(&other, true).contains("another configuration or stimuli"));
    assert!(of(&c, false).contains("another --no-text"));
    std::fs::write(dir.path().join("rows.jsonl"), "{}\n{}\n").unwrap();
    assert!(of(&c, true).contains("line 1"));
}

#[test]
fn orders_positions_and_batches_are_as_the_design_says() {
    let mut c = config("", "rows = 40", ", \"irrelevant\"");
    c.design.protocols = vec![Protocol::Fixed, Protocol::Random, Protocol::Balanced];
    c.design.blocking = vec![super::row::Blocking::Interleaved, super::row::Blocking::Blocked];
    c.design.batch_sizes = vec![3];
    c.arms.wordings = super::config::Wordings::All;
    let plan = Plan::new(&c, &Stimuli::open(&c).unwrap()).unwrap();
    assert_eq!(plan.cells.len(), 40 * 4 * 5 * 6);
    let ids: BTreeSet<&str> = plan.cells.iter().map(|c| c.cell_id.as_str()).collect();
    assert_eq!(ids.len(), plan.cells.len());
    assert!(plan.batches().all(|b| b.len() <= 3 && b.iter().all(|c| c.factors == b[0].factors)));
    for setting in plan.cells.chunk_by(|a, b| a.factors == b.factors) {
        let f = &setting[0].factors;
        let first = setting.iter().filter(|c| c.arm == "free" && c.order_group == OrderGroup::FP).count();
        match f.protocol {
            Protocol::Fixed => assert_eq!(first, 200),
            Protocol::Balanced => assert_eq!(first, 100),
            Protocol::Random => assert!(first > 0 && first < 200),
        }
        let positions: Vec<usize> = setting.iter().map(|c| c.order_position).collect();
        match f.blocking {
            super::row::Blocking::Blocked => assert!(positions.is_sorted()),
            super::row::Blocking::Interleaved => assert!(positions.chunks(4).all(|p| p == [0, 1, 2, 3])),
        }
    }
    // The coin of an item is one coin, whatever the blocking.
    let random = |b| {
        let of = plan.cells.iter().filter(move |c| c.factors.protocol == Protocol::Random && c.factors.blocking == b);
        of.map(|c| (c.item_id.clone(), c.order_group)).collect::<BTreeMap<_, _>>()
    };
    assert_eq!(random(super::row::Blocking::Blocked), random(super::row::Blocking::Interleaved));
}

#[test]
fn a_confirmatory_run_needs_a_pilot_with_room_for_a_difference() {
    let (dir, c) = (tempfile::tempdir().unwrap(), config("", "rows = 40", ""));
    let with = |dir: &Path, confirmatory| PairConfig { pilot: Some(dir.into()), confirmatory, ..c.clone() };
    go(&c, &mut Script(planted), KEEP, dir.path(), &mut quiet()).unwrap();
    assert!(pilot::of(&with(dir.path(), true)).unwrap_err().to_string().contains("pair judge"));
    judge(dir.path(), &mut Lexical, 1).unwrap();
    let found = pilot::of(&with(dir.path(), true)).unwrap().unwrap();
    assert!(found.at_the_edge().is_none() && found.rates[0].1 == 40);
    let rare = tempfile::tempdir().unwrap();
    go(&c, &mut Script(|_: &Asked<'_>| "A robin.".to_string()), KEEP, rare.path(), &mut quiet()).unwrap();
    judge(rare.path(), &mut Lexical, 1).unwrap();
    let refused = pilot::of(&with(rare.path(), true)).unwrap_err().to_string();
    assert!(refused.contains("cannot be called confirmatory") && refused.contains("0.0 % of 40"), "{refused}");
    assert!(pilot::of(&with(rare.path(), false)).unwrap().unwrap().at_the_edge().is_some());
    let other = PairConfig { model: "other".into(), ..with(dir.path(), false) };
    assert!(pilot::of(&other).unwrap_err().to_string().contains("is of the model embedded"));
}

#[test]
fn hand_labels_are_blind_written_at_once_and_gone_on_with() {
    let (dir, c) = (tempfile::tempdir().unwrap(), config("", "rows = 20", ""));
    go(&c, &mut Script(planted), KEEP, dir.path(), &mut quiet()).unwrap();
    let session = |keys: &str| {
        let mut shown = Vec::new();
        let done = hand::label(dir.path(), 10, 1, &mut keys.as_bytes(), &mut shown);
        (done, String::from_utf8(shown).unwrap())
    };
    assert!(session("r\n").0.unwrap_err().to_string().contains("pair judge"));
    judge(dir.path(), &mut Lexical, 1).unwrap();
    let (done, shown) = session("r\nx\nc\ns\nq\nr\n");
    assert_eq!(done.unwrap(), hand::Session { labelled: 2, sample: 10 });
    assert!(shown.contains("[1/10]") && shown.contains("one of the keys"));
    for hidden in ["free", "paid", "naming-0", "logged", "lexical"] {
        assert!(!shown.contains(hidden), "{hidden} in {shown}");
    }
    let path = dir.path().join("labels/hand.jsonl");
    std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "{\"cell_id\":").unwrap();
    let (done, shown) = session(&"p\n".repeat(30));
    assert_eq!(done.unwrap().labelled, 10);
    assert!(shown.contains("[3/10]") && !shown.contains("[1/10]"));
    let labels = folder::labels(dir.path(), "hand").unwrap();
    assert_eq!(labels.values().filter(|l| l.label == Label::Partial).count(), 8);
    let table = agreements(dir.path()).unwrap();
    assert_eq!(table.rows.len(), 1);
    // Every stratum of arm and lexical label is in a sample that is large enough.
    let rows = folder::rows(dir.path()).unwrap();
    let lexical = folder::labels(dir.path(), LEXICAL).unwrap();
    let strata: BTreeSet<(&str, Label)> = rows.iter().map(|r| (r.arm.as_str(), lexical[&r.cell_id].label)).collect();
    let chosen = hand::sample(dir.path(), &rows, 10, 1).unwrap();
    let drawn: BTreeSet<(&str, Label)> =
        chosen.iter().map(|&i| (rows[i].arm.as_str(), lexical[&rows[i].cell_id].label)).collect();
    assert_eq!(drawn, strata);
}

#[test]
fn inspect_logs_hold_every_arm_with_the_score_refusal() {
    let (dir, c) = (tempfile::tempdir().unwrap(), config("", "rows = 4", ""));
    go(&c, &mut Script(planted), KEEP, dir.path(), &mut quiet()).unwrap();
    judge(dir.path(), &mut Lexical, 1).unwrap();
    let files = inspect::write(dir.path()).unwrap();
    assert_eq!(files.len(), 3);
    for file in files {
        let log: serde_json::Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
        assert_eq!((log["version"].as_u64(), log["status"].as_str()), (Some(2), Some("success")));
        assert_eq!(log["samples"].as_array().unwrap().len(), 4);
        assert_eq!(log["results"]["scores"][0]["name"], "refusal");
        assert!(log["samples"][0]["input"].as_str().unwrap().contains("Name a bird."));
    }
}

#[test]
fn a_model_labels_every_answer_from_the_answer_alone() {
    let (dir, mut c) = (tempfile::tempdir().unwrap(), config("", "rows = 3", ""));
    c.arms.names = vec!["free".into(), "paid".into(), "free_again".into()];
    let answers = |a: &Asked<'_>| match a.item.item_id.as_str() {
        "naming-001" => String::new(),
        "naming-002" => "<think> so".into(),
        _ => planted(a),
    };
    go(&c, &mut Script(answers), KEEP, dir.path(), &mut quiet()).unwrap();
    let (o, source) = (Cpu::<f32>::new(), Source::open(EMBEDDED).unwrap());
    let (chat, rows) = (source.tokenizer().unwrap(), folder::rows(dir.path()).unwrap());
    let texts: Vec<&str> = rows.iter().filter_map(|r| r.answer.as_deref()).collect();
    let model = source.load(&o, positions(&chat, &texts).unwrap(), Storage::F32).unwrap();
    let micro = MicroBatch { max_tokens: 1024, recompute: Recompute::None };
    let mut by_model = ModelJudge { o: &o, model: &model, chat: &chat, revision: "0123456789abcdef".into(), micro };
    let labels = judge(dir.path(), &mut by_model, 1).unwrap();
    assert_eq!(
        labels.iter().map(|l| &l.cell_id).collect::<Vec<_>>(),
        rows.iter().map(|r| &r.cell_id).collect::<Vec<_>>()
    );
    for (l, r) in labels.iter().zip(&rows) {
        assert_eq!(l.judge_version, "rubric-1-0123456789ab");
        match r.item_id.as_str() {
            "naming-001" => assert_eq!((l.label, l.judge_score), (Label::Empty, None)),
            "naming-002" => assert_eq!((l.label, l.judge_score), (Label::Unfinished, None)),
            _ => assert!(l.judge_score.is_some()),
        }
    }
    // In another order the same labels, and one answer has one label whatever its arm.
    let again = judge(dir.path(), &mut by_model, 2).unwrap();
    assert_eq!(labels, again);
    let by_answer: BTreeSet<(&Option<String>, Label)> =
        rows.iter().zip(&labels).map(|(r, l)| (&r.answer, l.label)).collect();
    let distinct: BTreeSet<&Option<String>> = rows.iter().filter(|r| r.answered).map(|r| &r.answer).collect();
    // An empty text is empty, or unfinished.
    assert_eq!(by_answer.len(), distinct.len() + 1);
}

/// A small factorial with the embedded model: nothing but precision may change a token.
fn factors_change_nothing<O: Ops>(o: &O) {
    let mut c = config("", "rows = 2", "");
    c.design.protocols = vec![Protocol::Fixed, Protocol::Random];
    c.design.blocking = vec![super::row::Blocking::Interleaved, super::row::Blocking::Blocked];
    c.design.batch_sizes = vec![1, 3, 8];
    c.design.precisions = vec!["f32".into()];
    c.decoding.max_tokens = Some(6);
    let (dir, stimuli) = (tempfile::tempdir().unwrap(), Stimuli::open(&c).unwrap());
    let manifest = go(&c, &mut Engine::open(o, &c, &stimuli).unwrap(), KEEP, dir.path(), &mut quiet()).unwrap();
    let replay = manifest.replay.unwrap();
    assert_eq!((replay.cells, replay.mismatches, replay.batch_size), (24, 0, 5));
    let rows = folder::rows(dir.path()).unwrap();
    assert_eq!((rows.len(), differing(&rows, "free_again")), (2 * 3 * 12, (0, 0)));
    let mut seen: BTreeMap<(String, String), Row> = BTreeMap::new();
    for r in rows {
        let first = seen.entry((r.item_id.clone(), r.arm.clone())).or_insert(r.clone());
        assert_eq!(
            (&first.output_ids_sha256, &first.input_sha256),
            (&r.output_ids_sha256, &r.input_sha256),
            "{:?}",
            r.factors
        );
        assert_eq!(
            first.refusal_logit_gap.unwrap().to_bits(),
            r.refusal_logit_gap.unwrap().to_bits(),
            "{:?}",
            r.factors
        );
        assert_eq!((first.panel_gap, first.frame_log_odds), (r.panel_gap, r.frame_log_odds));
        assert!(r.frame_log_odds.is_some() && r.knows_frame.is_some());
    }
}

#[test]
fn order_blocking_and_batch_change_no_bit_on_the_cpu() {
    factors_change_nothing(&Cpu::<f32>::new());
}

#[test]
fn order_blocking_and_batch_change_no_bit_on_a_gpu() {
    let adapters = list_adapters();
    let adapter = adapters.first().expect("a graphics adapter (apt-get install mesa-vulkan-drivers)");
    factors_change_nothing(&Gpu::open(adapter, &GpuOptions::default()).unwrap());
}

#[test]
fn a_leak_makes_the_self_check_and_the_replay_fail() {
    let o = Cpu::<f32>::new();
    let with = |leak: Option<Leak>, temperature: f64| {
        let mut c = config("", "rows = 6", "");
        (c.leak, c.decoding.temperature, c.decoding.max_tokens) = (leak, temperature, Some(8));
        c.design.batch_sizes = vec![1];
        c.design.precisions = vec!["f32".into()];
        (c.readings.gap, c.readings.check) = (false, false);
        let (dir, stimuli) = (tempfile::tempdir().unwrap(), Stimuli::open(&c).unwrap());
        let manifest = go(&c, &mut Engine::open(&o, &c, &stimuli).unwrap(), KEEP, dir.path(), &mut quiet()).unwrap();
        assert_eq!(manifest.leak, leak);
        assert_eq!(manifest.notes.iter().any(|n| n.starts_with("LEAK")), leak.is_some());
        (differing(&folder::rows(dir.path()).unwrap(), "free_again"), manifest.replay.unwrap().mismatches)
    };
    assert_eq!(with(None, 1.0), ((0, 0), 0), "the same stream draws the same tokens");
    let ((outputs, inputs), mismatches) = with(Some(Leak::SharedStream), 1.0);
    assert!(outputs > 0 && inputs == 0 && mismatches > 0, "{outputs} {inputs} {mismatches}");
    let ((outputs, inputs), mismatches) = with(Some(Leak::KeptPrefix), 0.0);
    assert!(outputs > 0 && inputs == 6 && mismatches > 0, "{outputs} {inputs} {mismatches}");
}

#[test]
fn what_a_model_cannot_be_asked_is_said_before_any_work() {
    let o = Cpu::<f32>::new();
    let mut c = config("", "rows = 1", ", \"none\", \"none_empty\"");
    let stimuli = Stimuli::open(&c).unwrap();
    let facts = Engine::open(&o, &c, &stimuli).unwrap().facts().unwrap();
    assert!(
        facts.no_frame["none"].contains("You are a helpful assistant.")
            && !facts.no_frame["none_empty"].contains("helpful")
    );
    assert!(facts.frame_lengths.iter().all(|l| l.arm != "free" || l.difference == 0) && !facts.reasons);
    c.design.precisions = vec!["f32".into(), "fp4".into()];
    assert!(Engine::open(&o, &c, &stimuli).err().unwrap().to_string().contains("fp4"));
    c.model = "no/such-model".into();
    assert!(Engine::open(&o, &c, &stimuli).is_err());
}
