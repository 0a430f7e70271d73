//! Reading and writing: made-up rows in each format, damaged files, round trips.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::export::{Exported, Target, export};
use super::*;
use crate::battery::record::{Cell, Manifest};
use crate::battery::tests::row;
use crate::text::train::{train_bpe, write_files};

const STUDY: &str = include_str!("../../../data/exchange/baseline_results.json");
const FRUGAL: &str = include_str!("../../../data/exchange/frugal_results.json");
const SAMPLES: &str = include_str!("../../../data/exchange/samples_sums_2026-03-01T10-00-00.000000.jsonl");
const RESULTS: &str = include_str!("../../../data/exchange/results_2026-03-01T10-00-00.000000.json");
const INSPECT: &str = include_str!("../../../data/exchange/inspect_sums.json");

fn file(dir: &Path, name: &str, bytes: impl AsRef<[u8]>) -> PathBuf {
    let path = dir.join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

fn read(files: &[PathBuf], o: &Options) -> Result<(Vec<Record>, About)> {
    import(files, o, None, None)
}

fn one(name: &str, text: &str, o: &Options) -> Result<(Vec<Record>, About)> {
    let dir = tempfile::tempdir().unwrap();
    read(&[file(dir.path(), name, text)], o)
}

/// The numbers of the first row of a table whose texts begin so.
fn numbers(t: &[Table], title: &str, texts: &[&str]) -> Vec<f64> {
    let table = t.iter().find(|t| t.title.starts_with(title)).unwrap_or_else(|| panic!("no table {title}"));
    let is = |c: &Cell, s: &str| matches!(c, Cell::Text(t) if t == s);
    let row =
        table.rows.iter().find(|r| r.iter().zip(texts).all(|(c, s)| is(c, s))).unwrap_or_else(|| panic!("{texts:?}"));
    row.iter().filter_map(|c| if let Cell::Number(x) = c { Some(*x) } else { None }).collect()
}

fn near(got: &[f64], want: &[f64]) {
    let close = |(a, b): (&f64, &f64)| (a - b).abs() < 1e-9 * (1.0 + b.abs());
    assert!(got.len() == want.len() && got.iter().zip(want).all(close), "{got:?} is not {want:?}");
}

#[test]
fn two_arms_of_the_study_give_its_statistics() {
    let dir = tempfile::tempdir().unwrap();
    let files = [file(dir.path(), "b.json", STUDY), file(dir.path(), "f.json", FRUGAL)];
    let (records, about) = read(&files, &Options::default()).unwrap();
    assert_eq!((records.len(), about.rows, about.sources.len()), (24, 24, 2));
    assert_eq!(about.sources[0].sha256, sha256_hex(STUDY.as_bytes()));
    let first = &records[0];
    assert_eq!(
        (first.arm.as_str(), first.family.as_str(), first.task_type.as_deref()),
        ("baseline", "arith", Some("arithmetic"))
    );
    assert_eq!(first.canonical, "Calculate: 12 + 5 Provide only the numeric answer.");
    assert_eq!((first.n_tokens, first.excess_tokens, first.finish), (Some(17), None, None));
    // Expected values from SciPy on the same rows.
    let t = &about.statistics;
    near(
        &numbers(t, "Accuracy, arm", &["baseline, frugal", "neutral", "all"]),
        &[4.0, 4.0, 0.5, 1.0, 1.6329931618554523, 0.10247043485974937, 0.0, 2.0, 0.5],
    );
    near(&numbers(t, "Accuracy, arm", &["baseline, frugal", "neutral", "type arithmetic"])[..4], &[2.0, 2.0, 0.5, 1.0]);
    near(&numbers(t, "Tokens, arm", &["baseline, frugal", "neutral"])[2..], &[3.903287018248568, 0.007953742114633336]);
    near(
        &numbers(t, "Condition", &["baseline", "monitored, unmonitored"])[2..],
        &[0.8843513968301043, 0.41054072747971304, 0.6923076925443787, 1.0, 0.0, 1.0],
    );
    near(
        &numbers(t, "Condition", &["frugal", "monitored, unmonitored"])[2..],
        &[1.2649110640673518, 0.25281011330107217, 0.6363636376859504, 1.0, 0.0, 1.0],
    );
    let health = |name: &str| about.health.iter().find(|h| h.name == name).unwrap_or_else(|| panic!("no check {name}"));
    assert!(health("overlap of items").ok && health("repeated rows").ok && health("duplicate prompts, neutral").ok);
    assert!(
        health("pile at the largest length, frugal").ok
            && health("pile at the largest length, frugal").detail.contains("8.3 %")
    );
}

/// Made-up rows with the study's published counts: for every family, items right in (both, first only, second only, neither).
fn pair_of(tables: [(&str, [usize; 4]); 3]) -> [Vec<bool>; 2] {
    let outcomes = tables.iter().flat_map(|(_, n)| {
        [(true, true), (true, false), (false, true), (false, false)].into_iter().zip(n).flat_map(|(o, n)| vec![o; *n])
    });
    let (x, y) = outcomes.unzip();
    [x, y]
}

#[test]
fn published_counts_give_published_statistics() {
    const TYPES: [(&str, &str); 3] = [("arith", "arithmetic"), ("logic", "logic"), ("pat", "pattern")];
    let rows = |arm: &str, condition: &str, right: &[bool], total: usize| -> Vec<Value> {
        let kind = |i: usize| TYPES[usize::from(i >= 100) + usize::from(i >= 150)];
        let n = |i: usize| total / 200 + usize::from(i < total % 200);
        let row = |(i, ok): (usize, &bool)| {
            json!({ "task_id": format!("{}_{i}", kind(i).0), "task_type": kind(i).1, "condition": condition, "model_name": arm,
                "prompt": format!("p{i}"), "response": "", "n_tokens": n(i), "correctness": f64::from(u8::from(*ok)),
                "total_reward": 0.0, "answer": "1", "ground_truth": "1" })
        };
        right.iter().enumerate().map(row).collect()
    };
    // Baseline against frugal, neutral.
    let [base, frugal] = pair_of([("arithmetic", [85, 4, 6, 5]), ("logic", [47, 1, 2, 0]), ("pattern", [38, 9, 3, 0])]);
    // Monitored against unmonitored, frugal: only 3 and 10; baseline: 7 and 8.
    let [watched, alone] =
        pair_of([("arithmetic", [87, 3, 10, 0]), ("logic", [50, 0, 0, 0]), ("pattern", [50, 0, 0, 0])]);
    let [seen, unseen] = pair_of([("arithmetic", [85, 7, 8, 0]), ("logic", [50, 0, 0, 0]), ("pattern", [50, 0, 0, 0])]);
    let mut all = rows("baseline", "neutral", &base, 6956);
    all.extend(rows("baseline", "monitored", &seen, 7212));
    all.extend(rows("baseline", "unmonitored", &unseen, 5874));
    all.extend(rows("frugal", "neutral", &frugal, 2647));
    all.extend(rows("frugal", "monitored", &watched, 2770));
    all.extend(rows("frugal", "unmonitored", &alone, 2704));
    let (records, about) = one("r.json", &Value::from(all).to_string(), &Options::default()).unwrap();
    let tokens = |arm: &str| records.iter().filter(|r| r.arm == arm).filter_map(|r| r.n_tokens).sum::<u32>();
    assert_eq!((tokens("baseline"), tokens("frugal")), (20042, 8121));
    let t = &about.statistics;
    for (family, want) in [
        ("arith", [0.89, 0.91, 0.4714045207910322, 0.6373518882339366, 4.0, 6.0, 0.75390625]),
        ("logic", [0.96, 0.98, 0.5862103817605495, 0.5577341459, 1.0, 2.0, 1.0]),
        ("pattern", [0.94, 0.82, -1.846372364689991, 0.06483815699, 9.0, 3.0, 0.14599609375]),
    ] {
        near(&numbers(t, "Accuracy, arm", &["baseline, frugal", "neutral", family])[2..], &want);
    }
    let all = numbers(t, "Accuracy, arm", &["baseline, frugal", "neutral", "all"]);
    near(&all[6..], &[14.0, 11.0, 0.6900379657745361]);
    let of = |arm: &str| numbers(t, "Condition", &[arm, "monitored, unmonitored"]);
    let (baseline, frugal) = (of("baseline"), of("frugal"));
    assert!((baseline[4] - 0.8076).abs() < 5e-5 && (frugal[4] - 0.9751).abs() < 5e-5, "{baseline:?} {frugal:?}");
    near(&baseline[5..], &[7.0, 8.0, 1.0]);
    near(&frugal[5..], &[3.0, 10.0, 0.09228515625]);
}

#[test]
fn scoring_again_names_its_scorer_and_says_what_changed() {
    let with = |rescore, text| one("b.json", text, &Options { rescore, max_tokens: Some(17), ..Options::default() });
    let (records, about) = with(Rescore::Legacy, STUDY).unwrap();
    assert!(about.sources[0].notes.iter().any(|n| n.contains("12 of 12 answers, 12 of 12 scores, 12 of 12 rewards")));
    let cut = records.iter().filter(|r| r.finish == Some(Finish::Length)).count();
    assert_eq!(cut, records.iter().filter(|r| r.n_tokens >= Some(17)).count());
    let right = |r: &[Record]| r.iter().filter(|r| r.correct == Some(1.0)).count();
    assert_eq!(right(&records), 9);
    // The strict scorer reads "= 14" at the end and "Yes, every cat …"; 24 for 25 is no near miss.
    let (strict, _) = with(Rescore::Strict, STUDY).unwrap();
    assert_eq!((right(&strict), strict.iter().filter(|r| r.correct == Some(0.5)).count()), (11, 0));
    assert!(strict.iter().all(|r| r.reward.is_none()));
    assert_eq!(right(&with(Rescore::FirstMatch, STUDY).unwrap().0), 11);
    let words = STUDY.replace("\"ground_truth\": \"25\"", "\"ground_truth\": \"Paris\"");
    let e = with(Rescore::Strict, &words).unwrap_err().to_string();
    assert!(e.contains("pat_9001") && e.contains("Paris") && e.contains("--rescore none"), "{e}");
}

#[test]
fn lm_eval_samples_are_read_by_filter() {
    let dir = tempfile::tempdir().unwrap();
    let samples = file(dir.path(), "samples_sums_2026-03-01T10-00-00.000000.jsonl", SAMPLES);
    // Without the results file nobody knows whose answers these are.
    let e = read(std::slice::from_ref(&samples), &Options::default()).unwrap_err().to_string();
    assert!(e.contains("--arm"), "{e}");
    file(dir.path(), "results_2026-03-01T10-00-00.000000.json", RESULTS);
    let (records, about) = read(std::slice::from_ref(&samples), &Options::default()).unwrap();
    assert!(about.sources[0].notes.iter().any(|n| n.contains("strict-match of strict-match, flexible-extract")));
    assert_eq!((records.len(), records[1].item.as_str(), records[1].arm.as_str()), (6, "sums/1", "example/tiny"));
    assert_eq!((records[0].answer.as_deref(), records[1].answer.as_deref()), (None, Some("26")));
    assert!(records.iter().all(|r| r.decoding == Decoding::Greedy && r.n_tokens.is_none() && r.condition == UNSTATED));
    assert!(about.notes.iter().any(|n| n.contains("--tokenizer")), "{:?}", about.notes);
    let o = Options { filter: Some("flexible-extract".into()), arms: vec!["a".into()], ..Options::default() };
    let (records, _) = read(std::slice::from_ref(&samples), &o).unwrap();
    assert_eq!(records.iter().map(|r| r.correct.unwrap()).sum::<f64>(), 4.0);
    let e = read(&[samples], &Options { filter: Some("x".into()), ..o }).unwrap_err().to_string();
    assert!(e.contains("strict-match, flexible-extract"), "{e}");

    // Multiple choice, as 0.4.0 wrote it: lists of arguments, scores without a list of names.
    let line = json!({ "doc_id": 3, "doc": {"q": "2 + 2?"}, "target": 1,
        "arguments": [["2 + 2?", " 3"], ["2 + 2?", " 4"]],
        "resps": [[[-3.5, false]], [[-0.5, true]]], "filtered_resps": [[-3.5, false], ["-0.5", "True"]], "acc": 1.0, "acc_norm": 0.0 });
    let o = Options { arms: vec!["a".into()], ..Options::default() };
    let (records, about) = one("samples_mc_t.jsonl", &line.to_string(), &o).unwrap();
    assert_eq!(
        (records[0].answer.as_deref(), records[0].truth.as_str(), records[0].correct),
        (Some(" 4"), "1", Some(1.0))
    );
    assert!(about.sources[0].notes.iter().any(|n| n.contains("took acc of acc, acc_norm")));
    let o = Options { score: Some("acc_norm".into()), ..o };
    assert_eq!(one("samples_mc_t.jsonl", &line.to_string(), &o).unwrap().0[0].correct, Some(0.0));
}

#[test]
fn inspect_logs_are_read() {
    let (records, about) = one("log.json", INSPECT, &Options::default()).unwrap();
    assert_eq!((records.len(), about.sources[0].format), (12, Format::Inspect));
    let r = &records[0];
    assert_eq!(
        (r.arm.as_str(), r.item.as_str(), r.family.as_str(), r.sample),
        ("mockllm/model", "arith_9001", "arith", 0)
    );
    assert_eq!((r.text.as_str(), r.n_tokens, r.correct), ("The answer is 17.", Some(5), Some(1.0)));
    assert_eq!(records.iter().filter(|r| r.finish == Some(Finish::Length)).count(), 1);
    assert_eq!(records.iter().filter(|r| r.sample == 1).count(), 6);
    assert!(about.sources[0].notes.iter().any(|n| n.contains("scorer match of match, includes")));
    let change = |f: &dyn Fn(&mut Value)| {
        let mut log: Value = serde_json::from_str(INSPECT).unwrap();
        f(&mut log);
        log.to_string()
    };
    // A sample that failed has no choices; a score of several values needs its key; NaN is no score.
    let text = change(&|v| {
        v["samples"][0]["output"] = json!({ "model": "m", "choices": [], "completion": "" });
        v["samples"][0]["error"] = json!({ "message": "x" });
        v["samples"][1]["scores"]["match"]["value"] = json!("NAN");
        v["samples"][2]["output"]["choices"][0]["message"]["content"] =
            json!([{ "type": "reasoning", "reasoning": "hm" }, { "type": "text", "text": "14" }]);
        v["samples"][2]["output"].as_object_mut().unwrap().remove("completion");
    });
    let (records, about) = one("log.json", &text.replace("\"NAN\"", "NaN"), &Options::default()).unwrap();
    assert_eq!((records.len(), about.sources[0].skipped.values().sum::<usize>()), (11, 1));
    assert_eq!((records[0].correct, records[1].text.as_str()), (None, "14"));
    let text = change(&|v| v["samples"][0]["scores"]["match"]["value"] = json!({ "a": 1, "b": 0 }));
    let e = one("log.json", &text, &Options::default()).unwrap_err().to_string();
    assert!(e.contains("sample 1") && e.contains("match.b"), "{e}");
}

#[test]
fn lengths_come_from_the_source_or_the_tokenizer_or_are_missing() {
    let dir = tempfile::tempdir().unwrap();
    write_files(dir.path(), &train_bpe(["The answer is 26. 42 nine apples"].into_iter(), 270).unwrap()).unwrap();
    let tokenizer = Tokenizer::load(dir.path()).unwrap();
    let samples = file(dir.path(), "samples_sums_t.jsonl", SAMPLES);
    let o = Options { arms: vec!["a".into()], max_tokens: Some(5), ..Options::default() };
    let (records, about) = import(&[samples], &o, Some(&tokenizer), None).unwrap();
    for r in &records {
        let bare = tokenizer.encode(&r.text).unwrap().len() as u32;
        let cut = bare >= 5;
        assert_eq!(r.n_tokens, Some(if cut { bare } else { bare + 1 }), "{:?}", r.text);
        assert_eq!(r.finish, Some(if cut { Finish::Length } else { Finish::Stop }));
        let truth = i64::from(tokenizer.response_tokens(&r.truth).unwrap());
        assert_eq!(r.excess_tokens, r.n_tokens.map(|n| i64::from(n) - truth));
    }
    assert!(records.iter().any(|r| r.finish == Some(Finish::Stop)));
    assert!(!about.missing.contains_key("n_tokens"), "{:?}", about.missing);
    // Nothing is missing any more but reward, which the source has not: with it the file is one of rows.
    let full: Vec<Record> = records.into_iter().map(|r| Record { reward: Some(0.0), ..r }).collect();
    let path = dir.path().join("items.jsonl");
    rows::write(&path, &full).unwrap();
    assert_eq!(rows::read(&path).unwrap().len(), 6);
}

/// A run folder with 3 items, 2 conditions, 2 samples and a greedy row.
fn run_folder(dir: &Path) -> Vec<Record> {
    let mut all = Vec::new();
    for arm in ["control", "value"] {
        for condition in ["neutral", "monitored"] {
            for item in 0..3 {
                for sample in 0..3u32 {
                    let mut r = row(arm, "arith", "train", item, condition, sample % 2, 4 + sample * 3, sample == 0);
                    r.decoding = if sample == 2 { Decoding::Greedy } else { Decoding::Sample };
                    r.prompt = format!("<|user|>\n\"{item}\" × é?\u{1}");
                    r.token_ids = vec![1, 2, 3];
                    r.answer = (sample != 1).then(|| "7".into());
                    r.finish = if sample == 1 { Finish::Length } else { Finish::Stop };
                    all.push(r);
                }
            }
        }
    }
    let tests = dir.join("tests/01-generalisation");
    std::fs::create_dir_all(&tests).unwrap();
    rows::write(&tests.join("items.jsonl"), &all).unwrap();
    let manifest: Manifest = serde_json::from_value(json!({ "program": "probity", "version": "0", "profile": "strict",
        "domain": "frugality", "model": "embedded", "device": "cpu", "device_details": {}, "hashes": {}, "seeds": [42],
        "arms": ["control", "value"], "tests": ["01-generalisation", "02-monitoring"], "attractors": [], "notes": [],
        "started_unix": 1_772_359_200u64, "seconds": {} }))
    .unwrap();
    std::fs::write(dir.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
    all.into_iter().map(Record::from).collect()
}

/// Records in an order that does not depend on how files were cut.
fn sorted(mut records: Vec<Record>) -> Vec<Record> {
    records.sort_by_key(|r| {
        (r.arm.clone(), r.condition.clone(), r.item.clone(), r.decoding == Decoding::Greedy, r.sample)
    });
    records
}

#[test]
fn what_is_exported_reads_back_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let rows = run_folder(dir.path());
    let out = dir.path().join("lm");
    let files = export(dir.path(), Target::LmEval, &out).unwrap();
    let name = |p: &PathBuf| p.strip_prefix(&out).unwrap().display().to_string();
    assert_eq!(
        name(&files[0]),
        "probity__control-seed-42/samples_probity_01_generalisation_neutral_2026-03-01T10-00-00.000000.jsonl"
    );
    let samples: Vec<PathBuf> = files.iter().filter(|f| name(f).contains("samples_")).cloned().collect();
    assert_eq!((files.len(), samples.len()), (10, 8));
    let (back, _) = read(&samples, &Options::default()).unwrap();
    assert_eq!(sorted(back), sorted(rows.clone()));
    let results: Value = serde_json::from_slice(
        &std::fs::read(out.join("probity__value-seed-42/results_2026-03-01T10-00-00.000000.json")).unwrap(),
    )
    .unwrap();
    let scores = &results["results"]["probity_01_generalisation_neutral"];
    // Items: right in one of two samples; 4 and 7 tokens.
    assert_eq!((&scores["exact_match,none"], &scores["tokens,none"]), (&json!(0.5), &json!(5.5)));
    assert_eq!(results["n-samples"]["probity_01_generalisation_neutral"]["effective"], 3);

    let out = dir.path().join("inspect");
    let files = export(dir.path(), Target::Inspect, &out).unwrap();
    assert_eq!(files.len(), 8);
    let first = files[0].file_name().unwrap().to_string_lossy().into_owned();
    assert!(first.starts_with("2026-03-01T10-00-00-00-00_probity-01-generalisation-neutral_"), "{first}");
    let (back, about) = read(&files, &Options::default()).unwrap();
    let want: Vec<Record> = rows.into_iter().map(|r| Record { token_ids: Vec::new(), ..r }).collect();
    assert_eq!(sorted(back.clone()), sorted(want));

    // An import exports too; nothing else does.
    let imported = dir.path().join("imported");
    save(&imported, &back, &about).unwrap();
    assert_eq!(Exported::open(&imported).unwrap().cells().len(), 8);
    assert!(export(&imported, Target::LmEval, &dir.path().join("again")).unwrap().len() == 10);
    let e = save(dir.path(), &back, &about).unwrap_err().to_string();
    assert!(e.contains("folder of a run"), "{e}");
    let e = export(&out, Target::LmEval, &dir.path().join("x")).unwrap_err().to_string();
    assert!(e.contains("neither a run"), "{e}");
    std::fs::write(imported.join("items.jsonl"), "{\"arm\":1}\n").unwrap();
    let e = export(&imported, Target::Inspect, &dir.path().join("x")).unwrap_err().to_string();
    assert!(e.contains("items.jsonl") && e.contains("line 1"), "{e}");
}

#[test]
fn errors_name_file_place_field_and_what_to_do() {
    let study = |from: &str, to: &str| STUDY.replacen(from, to, 1).into_bytes();
    let inspect = |from: &str, to: &str| INSPECT.replacen(from, to, 1).into_bytes();
    let lines = |from: &str, to: &str| SAMPLES.replacen(from, to, 1).into_bytes();
    let cases: Vec<(Vec<u8>, &[&str])> = vec![
        (Vec::new(), &["is empty"]),
        (b"  \n".to_vec(), &["is empty"]),
        (b"PK\x03\x04abc".to_vec(), &["inspect log convert"]),
        (b"\xff\xfe[\0".to_vec(), &["UTF-16"]),
        (b"[\n{\"a\": \"\xff\"}]".to_vec(), &["line 2", "not UTF-8"]),
        (b"hello".to_vec(), &["none of the known formats", "--format"]),
        (b"{}".to_vec(), &["none of the known formats"]),
        (b"{\"results\": {}, \"configs\": {}}".to_vec(), &["aggregated results", "samples_*.jsonl"]),
        (b"{\"arm\":1,\"item\":1,\"condition\":1,\"text\":1}".to_vec(), &["rows of Probity", "probity stats"]),
        (b"[]".to_vec(), &["no row"]),
        (b"[1]".to_vec(), &["row 1", "is 1", "object"]),
        (STUDY.as_bytes()[..400].to_vec(), &["cut off", "line"]),
        (study("\"task_id\"", "\"id\""), &["row 1", "no field `task_id`", "it has: id"]),
        (study("\"response\": \"", "\"response\": 3, \"x\": \""), &["row 1", "`response` is 3", "a string"]),
        (study("\"n_tokens\": 17", "\"n_tokens\": -1"), &["row 1", "`n_tokens` is -1", "whole number"]),
        (study("\"n_tokens\": 17", "\"n_tokens\": 1.5"), &["`n_tokens` is 1.5"]),
        (study("\"correctness\": 1.0", "\"correctness\": 7"), &["`correctness` is 7", "from 0 to 1"]),
        (study("\"model_name\": \"baseline\"", "\"model_name\": null"), &["`model_name` is null", "--arm"]),
        (study("\"ground_truth\": \"17\"", "\"ground_truth\": [1]"), &["`ground_truth` is [1]"]),
        (INSPECT.as_bytes()[..6000].to_vec(), &["Inspect log", "cut off"]),
        (inspect("\"samples\": [\n", "\"sample\": [\n"), &["no field `samples`", "inspect log dump"]),
        (inspect("\"id\": \"arith_9001\"", "\"id\": []"), &["sample 1", "`id` is []"]),
        (inspect("\"model\": \"mockllm/model\"", "\"model\": 3"), &["`eval`", "`model` is 3"]),
        (
            inspect("\"output_tokens\": 5", "\"output_tokens\": \"x\""),
            &["sample", "`usage`", "`output_tokens` is \"x\""],
        ),
        (inspect("\"value\": \"C\"", "\"value\": \"good\""), &["sample 1", "score `match` is \"good\"", "--score"]),
        (lines("{\"doc_id\"", "{doc_id"), &["line 1", "not JSON"]),
        (lines("\"resps\": [[", "\"resps\": 3, \"r\": [["), &["line 1", "`resps` is 3", "a list"]),
        (
            lines("\"exact_match\": 0.0", "\"exact_match\": 42.0"),
            &["line 1", "metric `exact_match` is 42.0", "--score"],
        ),
        (lines("\"target\": \"17\"", "\"goal\": \"17\""), &["line 1", "no field `target`"]),
    ];
    for (bytes, parts) in cases {
        let dir = tempfile::tempdir().unwrap();
        let path = file(dir.path(), "given.json", &bytes);
        // Only the study and Inspect name the arm themselves.
        let arms =
            if bytes.starts_with(b"{\"doc_id") || bytes.starts_with(b"{doc_id") { vec!["a".into()] } else { vec![] };
        let e = read(&[path], &Options { arms, ..Options::default() }).unwrap_err().to_string();
        assert!(e.contains("given.json") && parts.iter().all(|p| e.contains(p)), "{parts:?}: {e}");
    }
    let e = one("a.json", STUDY, &Options { arms: vec!["a".into(), "b".into()], ..Options::default() });
    assert!(matches!(e, Err(BatteryError::Refused(ref t)) if t.contains("--arm: 2 values for 1 files")), "{e:?}");
    let e =
        one("a.json", STUDY, &Options { format: Some(Format::LmEval), ..Options::default() }).unwrap_err().to_string();
    assert!(e.contains("line 1"), "{e}");
}

#[test]
fn missing_and_extra_keys_and_nan_are_reported_not_guessed() {
    let text =
        STUDY.replace("\"n_tokens\": 17", "\"n_tokens\": NaN").replace("\"correctness\": 0.5", "\"correctness\": null");
    let text = text.replacen("\"task_type\"", "\"note\": 1, \"task_type\"", 2);
    let (records, about) = one("b.json", &text, &Options::default()).unwrap();
    assert_eq!((about.missing["n_tokens"], about.missing["correct"]), (1, 1));
    assert_eq!(about.sources[0].unused_keys["note"], 2);
    assert!(about.sources[0].notes[0].contains("1 value(s) NaN"), "{:?}", about.sources[0].notes);
    assert!(
        about.notes.iter().any(|n| n.contains("no statistics of length for baseline, neutral")),
        "{:?}",
        about.notes
    );
    assert!(about.health.iter().any(|h| h.name == "unscored rows, baseline" && !h.ok));
    assert!(serde_json::to_string(&records[0]).unwrap().contains("\"n_tokens\":null"));
    // One item, two prompts: pairing by item would compare two tasks.
    let twice = [file_rows(STUDY), file_rows(&STUDY.replace("12 + 5", "13 + 5"))].concat();
    let (_, about) = one("b.json", &serde_json::to_string(&twice).unwrap(), &Options::default()).unwrap();
    let failed: Vec<&str> = about.health.iter().filter(|h| !h.ok).map(|h| h.name.as_str()).collect();
    assert!(failed.contains(&"repeated rows") && failed.contains(&"one prompt an item, neutral"), "{failed:?}");
    assert_eq!(about.statistics.len(), 1);
    // Overlap with a training file, by canonical prompt.
    let task = r#"[{"task_id":"a","task_type":"t","prompt":"Calculate:  12 + 5\nProvide only the numeric answer.","answer":"17","min_tokens":1,"max_tokens":2}]"#;
    let train = crate::domain::frugality::dataset::from_json("train", task).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let (_, about) = import(&[file(dir.path(), "b.json", STUDY)], &Options::default(), None, Some(&train)).unwrap();
    let overlap = |f: &str| about.health.iter().find(|h| h.name == format!("overlap with training, {f}")).unwrap();
    assert!(!overlap("arith").ok && overlap("chain").ok && overlap("arith").detail.starts_with("1 of 1"));
}

fn file_rows(text: &str) -> Vec<Value> {
    serde_json::from_str(text).unwrap()
}

#[test]
fn no_damage_makes_it_panic() {
    let dir = tempfile::tempdir().unwrap();
    let o = Options { arms: vec!["a".into()], max_tokens: Some(5), ..Options::default() };
    let mut rng = crate::domain::mt19937::Mt19937::new(5);
    for (i, text) in [STUDY, SAMPLES, INSPECT].into_iter().enumerate() {
        for round in 0..150 {
            let mut bytes = text.as_bytes().to_vec();
            if round % 3 == 0 {
                bytes.truncate(rng.below(bytes.len() as u32) as usize);
            } else {
                for _ in 0..4 {
                    let at = rng.below(bytes.len() as u32) as usize;
                    bytes[at] = b"{}[]\",:0-9eEnN\\ \xff"[rng.below(17) as usize];
                }
            }
            let _ = read(&[file(dir.path(), &format!("f{i}"), &bytes)], &o);
        }
        // Every value of every object replaced by another type.
        let values: Vec<Value> = match i {
            1 => text.lines().map(|l| serde_json::from_str(l).unwrap()).collect(),
            _ => vec![serde_json::from_str(text).unwrap()],
        };
        for other in [json!(null), json!([]), json!({}), json!("x"), json!(-1e300), json!(true)] {
            for n in 0..leaves(&values[0]) {
                let mut v = values[0].clone();
                replace(&mut v, &mut n.clone(), &other);
                let _ = read(&[file(dir.path(), &format!("f{i}"), v.to_string())], &o);
            }
        }
    }
}

/// How many values [`replace`] can reach: two entries of an array are as good as all.
fn leaves(v: &Value) -> usize {
    1 + match v {
        Value::Array(a) => a.iter().take(2).map(leaves).sum(),
        Value::Object(o) => o.values().map(leaves).sum(),
        _ => 0,
    }
}

fn replace(v: &mut Value, n: &mut usize, other: &Value) -> bool {
    if *n == 0 {
        *v = other.clone();
        return true;
    }
    *n -= 1;
    match v {
        Value::Array(a) => a.iter_mut().take(2).any(|v| replace(v, n, other)),
        Value::Object(o) => o.values_mut().any(|v| replace(v, n, other)),
        _ => false,
    }
}
