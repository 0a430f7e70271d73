use std::path::Path;

use super::synthetic::{self, NASTY};
use super::*;
use crate::battery::record::{Figure, Manifest, Row, TestResult};

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
    if std::env::var("REPORT_PROFILE").is_ok_and(|p| p == "paper") {
        edit_json(&dir.join("manifest.json"), |m: &mut Manifest| m.profile = "paper".into());
    }
    println!("{}", write(&dir).unwrap().display());
}

#[test]
fn a_page_says_what_the_run_says() {
    let dir = run(20);
    let written = write_all(dir.path()).unwrap();
    let html = std::fs::read_to_string(&written.report).unwrap();
    assert_eq!(html.len(), written.bytes);
    assert_eq!(written.answer, "Mixed: 3 of 8 tests support a disposition, 1 refutes it, 3 inconclusive, 1 not tested");
    assert_eq!(written.failed_checks, 3);
    for text in [
        ">supports</span>",
        ">inconclusive</span>",
        "−0.434 [−0.502, −0.366]",
        "−35.2\u{202f}% [−39.5\u{202f}%, −30.6\u{202f}%]",
        "&lt;0.001",
        "0.0213",
        "Shortened schedule: 240 steps",
        "3 of 11 health checks failed",
        ">refutes</span>",
        ">not tested</span>",
        "not tested: dead gradient: 96 %",
        "What this run can detect",
        "smallest effect at 80 % power, two-sided 5 %",
        "Not recorded for: 5 KL ablation",
        "alpha = 0 (arms.control), 0.3 (arms.value)",
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

    for name in [
        "generalisation",
        "monitoring",
        "02-monitoring-monitoring",
        "probe",
        "attack",
        "survival",
        "anchors",
        "steering",
        "cue",
        "seeds",
        "learning-curves",
        "learning-curves-attack-start",
        "learning-curves-attack-supervised",
        "all-effects",
    ] {
        let svg = std::fs::read_to_string(dir.path().join(format!("figures/{name}.svg"))).unwrap();
        assert!(svg.starts_with("<svg xmlns=") && svg.contains("<title>") && svg.contains("<desc>"), "{name}");
        assert!(!svg.contains("NaN") && !svg.contains("inf\""), "{name}");
        assert!(dir.path().join(format!("figures/{name}.csv")).is_file(), "{name}");
    }
    let verdicts = std::fs::read_to_string(dir.path().join("tables/verdicts.csv")).unwrap();
    assert!(verdicts.contains("01-generalisation,supports,") && verdicts.contains(",0.00042,0.00084,"), "{verdicts}");
    let mut tables = std::fs::read_dir(dir.path().join("tables")).unwrap().map(|e| e.unwrap().path());
    let material = tables.find(|p| p.to_string_lossy().contains("what-every-training")).unwrap();
    let material = std::fs::read_to_string(material).unwrap();
    assert!(material.contains("arm,control,42,240,480,40,12,"), "{material}");
    assert!(material.contains("attack-start,value,42,60,120,6,20,"), "{material}");
    assert!(material.contains("attack-supervised,value,42,60,,,,"), "{material}");
    assert_eq!(html, page(dir.path()), "a second report is the same bytes");
}

#[test]
fn a_page_loads_nothing_and_escapes_everything() {
    let dir = run(20);
    let html = page(dir.path());
    // one script, ours, and the page's policy lets no other run
    assert!(html.contains(&format!("<script>{}</script>", transcripts::SCRIPT)));
    assert!(html.contains(&format!("script-src '{}'", transcripts::script_hash())));
    let lower = html.replacen(&format!("<script>{}</script>", transcripts::SCRIPT), "", 1).to_lowercase();
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
    for tag in ["details", "section", "pre", "table", "figure", "svg", "div", "span", "p", "form", "select", "option"] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn nasty_text_is_escaped_wherever_it_stands() {
    let dir = run(8);
    let items = dir.path().join("tests/01-generalisation/items.jsonl");
    let text = std::fs::read_to_string(&items).unwrap();
    let rows: Vec<String> = text
        .lines()
        .map(|line| {
            let mut r: Row = serde_json::from_str(line).unwrap();
            let bad = format!("\" onload=\"alert(1) {NASTY}");
            for field in [&mut r.item, &mut r.family, &mut r.condition, &mut r.split, &mut r.prompt, &mut r.truth] {
                field.push_str(&bad);
            }
            r.answer = Some(bad);
            serde_json::to_string(&r).unwrap()
        })
        .collect();
    std::fs::write(&items, rows.join("\n")).unwrap();
    edit_json(&dir.path().join("tests/03-probing/result.json"), |r: &mut TestResult| {
        for text in [&mut r.title, &mut r.verdict.would_change, &mut r.headline.summary] {
            text.push_str(NASTY);
        }
        let Figure::Lines { panels, .. } = &mut r.figures[0] else { panic!("another kind") };
        for p in panels {
            for text in [&mut p.title, &mut p.x_axis, &mut p.series[0].name, &mut p.references[0].name] {
                text.push_str(NASTY);
            }
        }
        r.power.as_mut().unwrap().columns[0].push_str(NASTY);
    });
    let html = page(dir.path());
    let html = html.replacen(&format!("<script>{}</script>", transcripts::SCRIPT), "", 1);
    assert!(!html.contains("<script") && !html.contains("\" onload"), "text broke out");
    assert!(!html.contains('\u{202e}') && !html.contains('\0'));
    for tag in ["details", "section", "pre", "table", "svg", "div", "option", "text"] {
        let opened = html.matches(&format!("<{tag}>")).count() + html.matches(&format!("<{tag} ")).count();
        assert_eq!(opened, html.matches(&format!("</{tag}>")).count(), "{tag}");
    }
}

#[test]
fn transcripts_put_disagreement_first_and_stay_small() {
    let dir = run(400);
    let html = page(dir.path());
    assert!(html.len() < MAX_BYTES);
    let section = &html[html.find("<section id=\"transcripts\">").unwrap()..];
    let section = &section[..section.find("</section>").unwrap()];
    let shown = section.matches("class=\"row\"").count();
    assert!(shown <= transcripts::MAX_ROWS && shown > transcripts::MAX_ROWS - 100, "{shown}");
    let tests: Vec<&str> = section.split("<details class=\"test\"").skip(1).collect();
    assert_eq!(tests.len(), 8);
    for test in tests.iter().filter(|t| t.contains("class=\"row\"")) {
        let at = |text: &str| test.find(text).unwrap_or_else(|| panic!("missing: {text}"));
        assert!(at("disagree on correctness") < at("lengths differ most"));
        assert!(at("lengths differ most") < at("A sample of the rest"));
        // in the first case one row is right and another is not
        let case = &test[at("class=\"case\"")..];
        let summary = &case[..case.find("</summary>").unwrap()];
        assert!(
            summary.contains("chip right") && (summary.contains("chip wrong") || summary.contains("chip unparsed")),
            "{summary}"
        );
        let sample = &test[at("A sample of the rest")..];
        for outcome in ["right", "wrong"] {
            assert!(sample.contains(&format!("data-outcome=\"{outcome}\"")), "no {outcome} row in the sample");
        }
    }
    for filter in ["test", "arm", "family", "condition", "outcome"] {
        assert!(section.contains(&format!("<select name=\"{filter}\">")), "{filter}");
    }
    assert!(section.contains("<form id=\"filter\" hidden"), "shown by the script only");
}

#[test]
fn published_figures_stand_in_the_first_screen_of_the_paper_profile_alone() {
    let dir = run(8);
    assert!(!page(dir.path()).contains("<section id=\"published\">"));
    edit_json(&dir.path().join("manifest.json"), |m: &mut Manifest| m.profile = "paper".into());
    let html = page(dir.path());
    let at = |text: &str| html.find(text).unwrap_or_else(|| panic!("missing: {text}"));
    assert!(at("class=\"verdicts\"") < at("<section id=\"published\">"));
    assert!(at("<section id=\"published\">") < at("<section id=\"health\">"));
    let section = &html[at("<section id=\"published\">")..at("Notes to read first")];
    for text in ["Best layer 5, AUROC 0.74 (value)", "cannot be recomputed:", "artefact:", "checked:", "paper §4.3"] {
        assert!(section.contains(text), "missing: {text}");
    }
    assert_eq!(section.matches("<tr>").count(), 9, "a row a test");
    assert!(std::fs::read_to_string(dir.path().join("tables/published.csv")).unwrap().contains("paper §4.4"));
    edit_json(&dir.path().join("manifest.json"), |m: &mut Manifest| m.domain = "honesty".into());
    // Another domain has its own figures, where it has any; the study ran no cue training on honesty.
    let html = page(dir.path());
    let section = &html[html.find("<section id=\"published\">").unwrap()..html.find("Notes to read first").unwrap()];
    assert!(section.contains("curriculum 65.8 / 0 %") && !section.contains("frugal"), "{section}");
    assert_eq!(section.matches("<tr>").count(), 8);
    edit_json(&dir.path().join("manifest.json"), |m: &mut Manifest| m.domain = "tier_compliance".into());
    assert!(!page(dir.path()).contains("<section id=\"published\">"), "figures of another domain");
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
    let rules = dir.path().join("rules.toml");
    let milder = std::fs::read_to_string(&rules).unwrap().replacen("within ±5 %", "within ±20 %", 1);
    std::fs::write(&rules, milder).unwrap();
    let error = write(dir.path()).unwrap_err().to_string();
    assert!(error.contains("rules.toml") && error.contains("SHA-256"), "{error}");

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
        ("phases/attack-start/value/seed-42/completions.jsonl", &b"{\"step\": 1}"[..]),
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
fn every_test_of_the_first_screen_has_the_rule_of_its_own_run() {
    let dir = run(8);
    let own = "[[test]]\nnumber = 4\nprimary = \"weeks of <i>this</i> run\"\nlater = true\n";
    let screen = |dir: &Path| {
        let html = page(dir);
        html[html.find("class=\"verdicts\"").unwrap()..html.find("</table>").unwrap()].to_string()
    };
    let html = screen(dir.path());
    assert_eq!(html.matches("<tr class=\"rule\">").count(), 8);
    let built_in = crate::battery::rules::Rules::built_in().unwrap();
    for rule in &built_in.test {
        for text in [&rule.primary, &rule.supports, &rule.refutes, &rule.not_tested] {
            assert!(html.contains(&html::escape(text)), "missing: {text}");
        }
    }
    std::fs::write(dir.path().join("rules.toml"), own).unwrap();
    // The key of the results covers the hash of the rules: this run was made without it.
    let mut key = String::new();
    edit_json(&dir.path().join("manifest.json"), |m: &mut Manifest| {
        m.hashes.remove("rules");
        key = m.key();
    });
    for entry in std::fs::read_dir(dir.path().join("tests")).unwrap() {
        edit_json(&entry.unwrap().path().join("result.json"), |r: &mut TestResult| r.key = key.clone());
    }
    let html = screen(dir.path());
    assert_eq!(html.matches("<tr class=\"rule\">").count(), 1);
    assert!(html.contains("weeks of &lt;i&gt;this&lt;/i&gt; run") && !html.contains("Refutes if"));
    std::fs::write(dir.path().join("rules.toml"), "[[test]]\nnumber = \"four\"\n").unwrap();
    let error = write(dir.path()).unwrap_err().to_string();
    assert!(error.contains("rules.toml, line 2:"), "{error}");
    std::fs::remove_file(dir.path().join("rules.toml")).unwrap();
    assert!(page(dir.path()).contains("rules.toml is missing"));
}

fn only_two_tests(dir: &Path) {
    for entry in std::fs::read_dir(dir.join("tests")).unwrap() {
        let path = entry.unwrap().path();
        if !path.ends_with("01-generalisation") && !path.ends_with("02-monitoring") {
            std::fs::remove_dir_all(path).unwrap();
        }
    }
    edit_json(&dir.join("manifest.json"), |m: &mut Manifest| m.tests.truncate(2));
}

#[test]
fn what_is_missing_is_shown() {
    let dir = run(8);
    only_two_tests(dir.path());
    for gone in ["train", "tests/02-monitoring"] {
        std::fs::remove_dir_all(dir.path().join(gone)).unwrap();
    }
    std::fs::remove_file(dir.path().join("config.toml")).unwrap();
    std::fs::remove_file(dir.path().join("tests/01-generalisation/items.jsonl")).unwrap();
    let html = page(dir.path());
    for text in [
        "1 of 1 test supports a disposition",
        "Not part of this run: 3 residual-stream probing",
        ">not run yet</span>",
        "no rows yet",
        "config.toml is missing",
        "No training log",
        "tests/01-generalisation/items.jsonl is missing",
    ] {
        assert!(html.contains(text), "missing: {text}");
    }

    // results of versions before the field
    edit_json(&dir.path().join("tests/01-generalisation/result.json"), |r: &mut serde_json::Value| {
        assert!(r.as_object_mut().unwrap().remove("power").is_some());
    });
    assert!(page(dir.path()).contains("Not recorded for: 1 Generalisation."));

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
