//! The export side: what a run or import folder holds, cut as other tools cut it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use super::fields::fault;
use super::{About, Record, inspect, lm_eval};
use crate::battery::error::{BatteryError, Result};
use crate::battery::record::{Decoding, Manifest};
use crate::text::strftime::strftime;

/// A format to write.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Target {
    /// Inspect: a JSON log a cell, for inspect view and read_eval_log
    Inspect,
    /// lm-evaluation-harness: results_*.json and samples_*.jsonl, a folder a model
    LmEval,
}

/// Rows of one test, arm, seed, condition and way of decoding: what other tools call a task.
pub struct Cell<'a> {
    /// `probity_01_generalisation_neutral`, with `_greedy` where it is: word characters only.
    pub task: String,
    /// `value-seed-42`.
    pub model: String,
    pub rows: Vec<&'a Record>,
}

/// Records of a run or import folder and what exporters say about them.
pub struct Exported {
    /// Name of the test folder (`imported` for an import), and its rows.
    pub tests: Vec<(String, Vec<Record>)>,
    /// Unix time of the run or import.
    pub made: u64,
    /// Hashes, versions, device: whatever the folder says about its origin.
    pub origin: Value,
    pub version: String,
    /// What the records' score is called.
    pub scorer: &'static str,
}

/// Name of the score of a battery's rows.
const CORRECT: &str = "correct";

impl Exported {
    /// Reads `tests/*/items.jsonl` of a run, or `items.jsonl` of an import.
    pub fn open(dir: &Path) -> Result<Self> {
        let (manifest, about) = (dir.join("manifest.json"), dir.join("import.json"));
        if manifest.exists() {
            let m: Manifest = read_json(&manifest)?;
            let mut tests = Vec::new();
            for id in &m.tests {
                let path = dir.join("tests").join(id).join("items.jsonl");
                if path.exists() {
                    tests.push((id.clone(), read_lines(&path)?));
                }
            }
            if tests.is_empty() {
                return Err(fault(dir, "no test has rows yet (tests/*/items.jsonl); let `probity battery` finish one"));
            }
            let origin = serde_json::json!({ "run_key": m.key(), "profile": m.profile, "domain": m.domain,
                "base_model": m.model, "device": m.device, "hashes": m.hashes });
            return Ok(Self { tests, made: m.started_unix, origin, version: m.version, scorer: CORRECT });
        }
        if about.exists() {
            let a: About = read_json(&about)?;
            let records = read_lines(&dir.join("items.jsonl"))?;
            let origin = serde_json::json!({ "imported_from": a.sources, "rescore": a.rescore });
            return Ok(Self {
                tests: vec![("imported".into(), records)],
                made: a.imported_unix,
                origin,
                version: a.version,
                scorer: CORRECT,
            });
        }
        Err(fault(
            dir,
            "is neither a run (manifest.json) nor an import (import.json); give the folder that one of them wrote",
        ))
    }

    /// Cells in order of appearance.
    pub fn cells(&self) -> Vec<Cell<'_>> {
        let mut cells: Vec<Cell<'_>> = Vec::new();
        let mut at: BTreeMap<(String, String), usize> = BTreeMap::new();
        for (test, records) in &self.tests {
            for r in records {
                let greedy = if r.decoding == Decoding::Greedy { "_greedy" } else { "" };
                let key =
                    (word(&format!("probity_{test}_{}{greedy}", r.condition)), format!("{}-seed-{}", r.arm, r.seed));
                let i = *at.entry(key.clone()).or_insert(cells.len());
                if i == cells.len() {
                    cells.push(Cell { task: key.0, model: key.1, rows: Vec::new() });
                }
                if let Some(cell) = cells.get_mut(i) {
                    cell.rows.push(r);
                }
            }
        }
        cells
    }
}

impl Cell<'_> {
    /// Rows by item, in order of appearance, samples in order.
    pub fn items(&self) -> Vec<Vec<&Record>> {
        let mut out: Vec<Vec<&Record>> = Vec::new();
        let mut at: BTreeMap<&str, usize> = BTreeMap::new();
        for r in &self.rows {
            let i = *at.entry(&r.item).or_insert(out.len());
            if i == out.len() {
                out.push(Vec::new());
            }
            if let Some(of) = out.get_mut(i) {
                of.push(r);
            }
        }
        out.iter_mut().for_each(|of| of.sort_by_key(|r| r.sample));
        out
    }
}

/// Mean over items of each item's mean, and its standard error (items are the independent units); `None` without values.
pub fn mean_of_items(items: &[Vec<&Record>], value: impl Fn(&Record) -> Option<f64>) -> Option<(f64, Option<f64>)> {
    let means: Vec<f64> = items
        .iter()
        .filter_map(|of| {
            let values: Vec<f64> = of.iter().filter_map(|r| value(r)).collect();
            (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
        })
        .collect();
    let d = crate::stats::describe(&means);
    match d {
        Ok(d) => Some((d.mean, Some(d.sd / (d.n as f64).sqrt()))),
        Err(_) => means.first().map(|m| (*m, None)),
    }
}

fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = std::fs::read(path).map_err(BatteryError::io(path))?;
    serde_json::from_slice(&bytes).map_err(|e| fault(path, format!("{e}; restore the file")))
}

fn read_lines(path: &Path) -> Result<Vec<Record>> {
    let text = std::fs::read_to_string(path).map_err(BatteryError::io(path))?;
    let read = |(i, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| fault(path, format!("line {}: {e}; restore the file", i + 1)))
    };
    text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()).map(read).collect()
}

/// Writes a folder's rows in a format and returns the files.
pub fn export(run: &Path, target: Target, out: &Path) -> Result<Vec<PathBuf>> {
    let e = Exported::open(run)?;
    std::fs::create_dir_all(out).map_err(BatteryError::io(out))?;
    match target {
        Target::Inspect => inspect::write(&e, out),
        Target::LmEval => lm_eval::write(&e, out),
    }
}

/// A name of letters, digits and underscores.
fn word(name: &str) -> String {
    name.chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect()
}

/// A Unix time in UTC, by `strftime` codes.
pub fn stamp(unix: u64, format: &str) -> Result<String> {
    strftime(format, i64::try_from(unix).unwrap_or(0)).map_err(BatteryError::Refused)
}

/// Pretty JSON with an end of line.
pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|e| fault(path, e.to_string()))?;
    Ok(crate::durable::write(path, (text + "\n").as_bytes())?)
}
