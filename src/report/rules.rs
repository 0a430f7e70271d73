//! The rule table of the run, `rules.toml`: what every test claimed it would take, fixed before its rows existed.

use std::path::Path;

use serde::Deserialize;

use crate::battery::record::{Manifest, sha256_hex};

use super::ReportError;
use super::html::escape;
use super::read::{TestFolder, line_of};
use super::verdicts::test_number;

/// Words of one rule. Read leniently: a report shows the table of its run, whatever else a later version adds to it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Rule {
    pub number: u32,
    pub primary: String,
    pub supports: String,
    pub refutes: String,
    pub not_tested: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Table {
    test: Vec<Rule>,
}

/// Rules in `dir`; none, and a remark, where the file is missing. A file with another hash than the manifest's is refused.
pub fn read(dir: &Path, manifest: &Manifest, remarks: &mut Vec<String>) -> Result<Vec<Rule>, ReportError> {
    let path = dir.join("rules.toml");
    if !path.is_file() {
        remarks.push("rules.toml is missing: the rules that the verdicts follow are not shown.".to_string());
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(&path).map_err(ReportError::io(&path))?;
    let found = sha256_hex(text.as_bytes());
    if let Some(expected) = manifest.hashes.get("rules").filter(|h| **h != found) {
        let detail = format!("the rule table has SHA-256 {found}, the manifest says {expected}");
        return Err(ReportError::Mixed { a: path, b: dir.join("manifest.json"), detail });
    }
    let table: Table = toml::from_str(&text).map_err(|e| ReportError::Parse {
        path: path.clone(),
        line: line_of(&text, e.span()),
        detail: e.message().to_string(),
    })?;
    Ok(table.test)
}

/// The rule of a test as a row under its verdict, folded on a screen and open on paper. The text stands after the `details`, not in
/// it: no browser prints what a closed one holds.
pub fn row(rules: &[Rule], t: &TestFolder) -> String {
    match folded(rules, t) {
        text if text.is_empty() => text,
        text => format!("<tr class=\"rule\"><td colspan=\"7\">{text}</td></tr>"),
    }
}

/// The same without a row around it; nothing where the table lacks the test.
pub fn folded(rules: &[Rule], t: &TestFolder) -> String {
    let Some(rule) = rules.iter().find(|r| Some(r.number) == test_number(t)) else { return String::new() };
    let words = [
        ("Primary", &rule.primary),
        ("Supports if", &rule.supports),
        ("Refutes if", &rule.refutes),
        ("Not tested if", &rule.not_tested),
    ];
    let items: String = words
        .iter()
        .filter(|(_, text)| !text.is_empty())
        .map(|(name, text)| format!("<div><dt>{name}</dt><dd>{}</dd></div>", escape(text)))
        .collect();
    format!("<details><summary>Rule of test {}</summary></details><dl>{items}</dl>", rule.number)
}
