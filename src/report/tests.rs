use std::path::Path;

use super::synthetic::{self, NASTY};
use super::*;
use crate::battery::record::{Manifest, TestResult};

fn run(items: usize) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    synthetic::write(dir.path(), items);
    dir
}

fn page(dir: &Path) -> String {
    std::fs::read_to_string(write(dir).unwrap()).unwrap()
}

fn edit_json<T: serde::de::DeserializeOwned + serde::Serialize>(path: &Path, change: impl FnOnce(&mut T)) {
    let mut value: T = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
    change(&mut value);
    std::fs::write(path, serde_json::to_string(&value).unwrap()).unwrap();
}

/// Writes a run to look at: `REPORT_DEMO=DIR cargo test --lib report::tests::demo -- --ignored`.
#[test]
#[ignore = "writes a folder to look at"]
fn demo() {
    let dir = PathBuf::from(std::env::var("REPORT_DEMO").expect("REPORT_DEMO names the folder"));
    synthetic::write(&dir, 200);
    println!("{}", write(&dir).unwrap().display());
}

#[test]
fn a_page_says_what_the_run_says() {
    let dir = run(20);
    let written = write_all(dir.path()).unwrap();
    let html = std::fs::read_to_string(&written.report).unwrap();
    assert_eq!(html.len(), written.bytes);
    assert_eq!(written.answer, "1 of 2 tests supports a disposition, 1 inconclusive");
    assert_eq!(written.failed_checks, 2);
    for text in [
        ">supports</span>",
        ">inconclusive</span>",
        "−0.434 [−0.502, −0.366]",
        "−35.2\u{202f}% [−39.5\u{202f}%, −30.6\u{202f}%]",
        "&lt;0.001",
        "0.0213",
        "Shortened schedule: 240 steps",
        "2 of 5 health checks failed",
        "alpha = 0 (arms.control), 0.3 (arms.value)",
        "Not part of this run: 3 residual-stream probing",
        "1 seed of training",
        "probity report",
        "prefers-color-scheme:dark",
    ] {
        assert!(html.contains(text), "missing: {text}");
    }
    // the first screen is the answer and the table; failed checks come before passed ones
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("missing: {text}"));
    assert!(at("<h1>") < at("class=\"verdicts\"") && at("class=\"verdicts\"") < at("Notes to read first"));
    assert!(at("Notes to read first") < at("<section id=\"health\">"));
    let health = &html[at("<section id=\"health\">")..];
    assert!(health.find("class=\"g bad\"").unwrap() < health.find("class=\"g good\"").unwrap());

    for name in ["generalisation", "monitoring", "02-monitoring-monitoring", "learning-curves", "all-effects"] {
        let svg = std::fs::read_to_string(dir.path().join(format!("figures/{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg xmlns=") && svg.contains("<title>") && svg.contains("<desc>"), "{name}");
        assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{name}");
        assert!(dir.path().join(format!("figures/{name}.csv")).is_file(), "{name}");
    }
    let verdicts = std::fs::read_to_string(dir.path().join("tables/verdicts.csv")).unwrap();
    assert!(verdicts.contains("01-generalisation,supports,") && verdicts.contains(",0.00042,0.00084,"), "{verdicts}");
    assert_eq!(html, page(dir.path()), "a second report is the same bytes");
}

#[test]
fn a_page_loads_nothing_and_escapes_everything() {
    let dir = run(20);
    let html = page(dir.path());
    let lower = html.to_lowercase();
    for bad in
        ["<script", "<link", "<img", "<iframe", "@import", "url(", "src=", "href=\"http", "onload=", "javascript:"]
    {
        assert!(!lower.contains(bad), "{bad}");
    }
    let shown = html::escape(NASTY);
    assert!(!shown.contains('<') && shown.contains("日本語 ünïcödé 🙂 ⟨U+202E⟩abc␀"));
    assert!(html.matches(&shown).count() >= 4, "three rows and one health check hold the text");
    assert!(!html.contains('\u{202e}') && !html.contains('\0'));
    // every element that is opened is closed: text that broke out would unbalance them
    for tag in ["details", "section", "pre", "table", "figure", "svg", "div", "span", "p"] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn transcripts_put_disagreement_first_and_stay_small() {
    let dir = run(400);
    let html = page(dir.path());
    assert!(html.len() < MAX_BYTES);
    let counts: Vec<usize> = html
        .match_indices("<summary>Transcripts: ")
        .map(|(at, m)| html[at + m.len()..].split(" of").next().unwrap().replace('\u{202f}', "").parse().unwrap())
        .collect();
    assert_eq!(counts.len(), 2);
    assert!(counts.iter().sum::<usize>() <= transcripts::MAX_ROWS && counts.iter().all(|n| *n > 900), "{counts:?}");
    let differ = html.find("Arms differ in correctness").unwrap();
    assert!(differ < html.find("Arms agree in correctness").unwrap());
    // in the first case one arm is right and another is not
    let case = &html[differ..][html[differ..].find("class=\"case\"").unwrap()..];
    let summary = &case[..case.find("</summary>").unwrap()];
    assert!(
        summary.contains("chip right") && (summary.contains("chip wrong") || summary.contains("chip unparsed")),
        "{summary}"
    );
}

#[test]
fn runs_are_not_mixed() {
    let dir = run(8);
    let result = dir.path().join("tests/02-monitoring/result.json");
    edit_json(&result, |r: &mut TestResult| r.key = "0".repeat(64));
    let error = write(dir.path()).unwrap_err().to_string();
    assert!(error.contains("02-monitoring/result.json") && error.contains("manifest.json"), "{error}");

    let dir = run(8);
    std::fs::write(dir.path().join("config.toml"), "profile = \"paper\"\n").unwrap();
    let error = write(dir.path()).unwrap_err().to_string();
    assert!(error.contains("config.toml") && error.contains("SHA-256"), "{error}");

    let dir = run(8);
    edit_json(&dir.path().join("manifest.json"), |m: &mut Manifest| m.version = "0.2.0".into());
    assert!(matches!(write(dir.path()), Err(ReportError::Mixed { .. })));

    let dir = run(8);
    let items = dir.path().join("tests/01-generalisation/items.jsonl");
    let text = std::fs::read_to_string(&items).unwrap();
    std::fs::write(&items, text.lines().skip(1).map(|l| format!("{l}\n")).collect::<String>()).unwrap();
    let error = write(dir.path()).unwrap_err().to_string();
    assert!(error.contains("there are 119 rows, and the result was computed from 120"), "{error}");
    std::fs::write(&items, text.replacen("\"arm\":\"base\"", "\"arm\":\"other\"", 1)).unwrap();
    let error = write(dir.path()).unwrap_err().to_string();
    assert!(error.contains("items.jsonl") && error.contains("line 1 is of arm \"other\""), "{error}");
    assert!(!dir.path().join("report.html").exists());
}

#[test]
fn a_bad_line_is_named() {
    let dir = run(8);
    for (file, bad) in [
        ("tests/01-generalisation/items.jsonl", &b"{\"arm\": \"base\", \"se"[..]),
        ("tests/02-monitoring/items.jsonl", &b"\xff\xfe{}"[..]),
        ("train/value/seed-42/metrics.jsonl", &b"{\"reward\": 1.0}"[..]),
    ] {
        let path = dir.path().join(file);
        let good = std::fs::read(&path).unwrap();
        let mut lines: Vec<&[u8]> = good.split(|b| *b == b'\n').collect();
        lines[2] = bad;
        std::fs::write(&path, lines.join(&b'\n')).unwrap();
        let error = write(dir.path()).unwrap_err().to_string();
        assert!(error.contains(&format!("{}, line 3:", path.display())), "{error}");
        std::fs::write(&path, good).unwrap();
    }
    std::fs::write(dir.path().join("manifest.json"), "{}").unwrap();
    let error = write(dir.path()).unwrap_err().to_string();
    assert!(error.contains("manifest.json, line 1: missing field"), "{error}");
}

#[test]
fn what_is_missing_is_shown() {
    let dir = run(8);
    for gone in ["train", "tests/02-monitoring"] {
        std::fs::remove_dir_all(dir.path().join(gone)).unwrap();
    }
    std::fs::remove_file(dir.path().join("config.toml")).unwrap();
    std::fs::remove_file(dir.path().join("tests/01-generalisation/items.jsonl")).unwrap();
    let html = page(dir.path());
    for text in [
        "1 of 1 test supports a disposition",
        ">not run yet</span>",
        "no rows yet",
        "config.toml is missing",
        "No training log",
        "tests/01-generalisation/items.jsonl is missing",
    ] {
        assert!(html.contains(text), "missing: {text}");
    }

    edit_json(&dir.path().join("tests/01-generalisation/result.json"), |r: &mut TestResult| {
        r.verdict.outcome = Outcome::NotTested;
        (r.verdict.p, r.verdict.p_holm, r.verdict.primary) = (None, None, None);
        r.verdict.reason = "design too small: 8 items, 40 would do".into();
    });
    let html = page(dir.path());
    assert!(html.contains("No verdict: none of 1 test could be carried out properly"));
    assert!(html.contains("not tested: design too small: 8 items, 40 would do"));

    std::fs::remove_dir_all(dir.path().join("tests")).unwrap();
    edit_json(&dir.path().join("manifest.json"), |m: &mut Manifest| m.tests.clear());
    assert!(page(dir.path()).contains("No verdict yet: no test of this run has finished"));
    assert!(matches!(write(&dir.path().join("nowhere")), Err(ReportError::NotARun { .. })));
}
