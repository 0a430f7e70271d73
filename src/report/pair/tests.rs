use std::path::{Path, PathBuf};

use super::*;
use crate::pair::analyse::synthetic::{Recipe, setting as level, write};
use crate::pair::analyse::{Options, run};
use crate::pair::row::{Blocking, Protocol};

fn page_of(dir: &Path, recipe: &Recipe) -> String {
    write(dir, recipe);
    run(dir, &Options { resamples: 199, ..Options::default() }).unwrap();
    let written = write_pair(dir).unwrap();
    let html = std::fs::read_to_string(&written.report).unwrap();
    assert_eq!(html.len(), written.bytes);
    assert!(written.figures.iter().chain(&written.tables).all(|f| f.exists()));
    html
}

fn factorial() -> Vec<crate::pair::row::Factors> {
    let mut out = Vec::new();
    for precision in ["f32", "nf4"] {
        for protocol in [Protocol::Fixed, Protocol::Random] {
            out.push(level(protocol, Blocking::Interleaved, 1, precision));
        }
    }
    out
}

/// Writes runs to look at: `REPORT_DEMO=DIR cargo test --lib report::pair::tests::demo -- --ignored`.
#[test]
#[ignore = "writes folders to look at"]
fn demo() {
    let dir = PathBuf::from(std::env::var("REPORT_DEMO").expect("REPORT_DEMO names the folder"));
    let sound = Recipe { hand: 0.2, wordings: 5, settings: factorial(), items: 80, ..Recipe::default() };
    page_of(&dir.join("sound"), &sound);
    page_of(&dir.join("leaky"), &Recipe { leaky: true, ..Recipe::default() });
}

#[test]
fn a_page_says_what_the_analysis_says() {
    let dir = tempfile::tempdir().unwrap();
    let html = page_of(dir.path(), &Recipe { hand: 0.3, settings: factorial(), items: 60, ..Recipe::default() });
    let analysis = analyse::load(dir.path()).unwrap();
    for part in [
        escape(&analysis.headline).as_str(),
        "refuses less</span>",
        "compliance(free) - compliance(paid) is the same number",
        "weights in nf4",
        "Mainland-Gart test of the order effect",
        "could differ; kappa",
        "What this does not say",
        "exactly 0",
        "Errors of the judge by arm",
        "pairs where both knew",
        "I can&#39;t help with that &lt;b&gt;request&lt;/b&gt;.",
        "<details class=\"case\">",
        "script-src 'none'",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert!(!html.contains("class=\"banner\"") && !html.contains("<script") && !html.contains("<b>request"));
    assert!(!html.contains("NaN") && !html.contains("<details open"), "transcripts are closed");
}

#[test]
fn a_leaky_run_is_red() {
    let dir = tempfile::tempdir().unwrap();
    let html = page_of(dir.path(), &Recipe { leaky: true, items: 80, ..Recipe::default() });
    let banner = html.find("<section class=\"banner\" role=\"alert\"").expect("a banner");
    assert!(banner < html.find("id=\"verdicts\"").unwrap(), "before any number");
    assert!(html.contains("The A/A control failed") && html.contains(">void</span>") && html.contains(">FAILED</td>"));
    assert!(!html.contains("refuses less</span>") && !html.contains("refuses more</span>"));
}

#[test]
fn a_page_without_texts_or_an_analysis_that_is_old() {
    let dir = tempfile::tempdir().unwrap();
    let html = page_of(dir.path(), &Recipe { texts: false, items: 30, ..Recipe::default() });
    assert!(html.contains("Texts were not kept") && !html.contains("plan: start"));
    assert!(html.contains("Nobody labelled a sample by hand"));
    let rows = std::fs::read_to_string(dir.path().join("rows.jsonl")).unwrap();
    let fewer: String = rows.lines().skip(1).map(|l| format!("{l}\n")).collect();
    std::fs::write(dir.path().join("rows.jsonl"), fewer).unwrap();
    let e = write_pair(dir.path()).unwrap_err().to_string();
    assert!(e.contains("run `probity pair analyse` again"), "{e}");
    std::fs::remove_file(dir.path().join(analyse::FILE)).unwrap();
    assert!(write_pair(dir.path()).unwrap_err().to_string().contains("no analysis there"));
}
