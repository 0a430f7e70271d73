//! Reads a run folder, and refuses one whose pieces do not belong together.

use std::collections::HashSet;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

use crate::battery::budget::{self, Memory};
use crate::battery::given;
use crate::battery::record::{Manifest, Row, TestResult, sha256_hex};
use crate::battery::sweep::{self, SweepResult};
use crate::domain::Words;

use super::ReportError;
use super::rules::{self, Rule};

/// Everything that a report shows.
pub struct Run {
    pub dir: PathBuf,
    /// Its arms, like those of rows and curves, have the names that readers of the domain know.
    pub manifest: Manifest,
    /// Text of `config.toml`, and the same parsed; `None` where the file is missing.
    pub config: Option<(String, toml::Table)>,
    /// Of `rules.toml`, by test; empty where the file is missing.
    pub rules: Vec<Rule>,
    /// In order of their folder names; tests that the manifest plans and that have no folder are here too.
    pub tests: Vec<TestFolder>,
    pub curves: Vec<Curve>,
    /// Trainings on top of finished arms, in the order of their names.
    pub phases: Vec<Phase>,
    /// `sweep/result.json`, where the run has one.
    pub sweep: Option<SweepResult>,
    /// Device memory, where the device has its own.
    pub memory: Option<Memory>,
    /// Pieces that are not there, or not used, in words.
    pub remarks: Vec<String>,
}

/// `tests/<nn-name>/`.
pub struct TestFolder {
    pub id: String,
    /// `None` while the test has not been run to its end.
    pub result: Option<TestResult>,
    /// Without token ids. `None` = no `items.jsonl`.
    pub rows: Option<Vec<Row>>,
}

/// `metrics.jsonl` of one training, and what its `completions.jsonl` counts.
pub struct Curve {
    pub arm: String,
    pub seed: String,
    pub points: Vec<Point>,
    /// `None` where no completions were drawn (supervised training) or kept.
    pub drawn: Option<Drawn>,
}

/// What a training drew.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Drawn {
    pub completions: usize,
    /// Distinct items among them.
    pub prompts: usize,
}

/// `phases/<phase>/`.
pub struct Phase {
    pub name: String,
    pub curves: Vec<Curve>,
}

/// One logged step: the numeric metrics; what is `null` is NaN.
pub struct Point {
    pub step: f64,
    pub metrics: Vec<(String, f64)>,
}

impl Point {
    pub fn get(&self, name: &str) -> Option<f64> {
        self.metrics.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }
}

/// Reads the run in `dir`.
///
/// Errors: no `manifest.json`; a file that cannot be read or parsed (named, with the line); pieces of different runs
/// (see [`ReportError::Mixed`]). Tests and training logs that are not there yet are no error.
pub fn read(dir: &Path) -> Result<Run, ReportError> {
    let manifest_path = dir.join("manifest.json");
    if !manifest_path.is_file() {
        return Err(ReportError::NotARun { path: dir.to_path_buf() });
    }
    let mut manifest: Manifest = json(&manifest_path)?;
    let mut remarks = Vec::new();
    let config = config(dir, &manifest, &mut remarks)?;
    let rules = rules::read(dir, &manifest, &mut remarks)?;

    let mut ids = folders(&dir.join("tests"))?;
    ids.extend(manifest.tests.iter().filter(|t| !ids.contains(t)).cloned().collect::<Vec<_>>());
    ids.sort();
    let mut tests = Vec::new();
    for id in ids {
        tests.push(test(dir, id, &manifest)?);
    }

    let mut curves = trainings(dir, "train", &manifest, &mut remarks)?;
    let mut phases = Vec::new();
    for name in folders(&dir.join("phases"))? {
        let curves = trainings(dir, &format!("phases/{name}"), &manifest, &mut remarks)?;
        if !curves.is_empty() {
            phases.push(Phase { name, curves });
        }
    }
    // Arms that were given have no log.
    let given = manifest.hashes.keys().any(|k| k.starts_with(given::HASH));
    if curves.is_empty() && !tests.is_empty() && !given {
        remarks
            .push("No training log (train/<arm>/seed-<s>/metrics.jsonl): learning curves are not shown.".to_string());
    }
    // From here on arms have the names that readers of the domain know.
    let words = Words::of_domain(&manifest.domain);
    let rename = |arm: &mut String| *arm = words.arm(arm).to_string();
    manifest.arms.iter_mut().for_each(rename);
    tests.iter_mut().flat_map(|t| t.rows.iter_mut().flatten()).for_each(|r| rename(&mut r.arm));
    curves.iter_mut().chain(phases.iter_mut().flat_map(|p| &mut p.curves)).for_each(|c| rename(&mut c.arm));

    let path = dir.join(sweep::ID).join("result.json");
    let sweep: Option<SweepResult> = if path.is_file() { Some(json(&path)?) } else { None };
    if let Some(s) = sweep.as_ref().filter(|s| s.key != manifest.key()) {
        let detail = format!("the sweep has the key {}, the manifest gives {}", s.key, manifest.key());
        return Err(ReportError::Mixed { a: path, b: manifest_path, detail });
    }
    let path = dir.join(budget::FILE);
    let memory: Option<Memory> = if path.is_file() { Some(json(&path)?) } else { None };
    Ok(Run { dir: dir.to_path_buf(), manifest, config, rules, tests, curves, phases, sweep, memory, remarks })
}

/// Line of a place in a text, from 1.
pub fn line_of(text: &str, place: Option<std::ops::Range<usize>>) -> usize {
    place.map_or(1, |s| text.get(..s.start).unwrap_or_default().matches('\n').count() + 1)
}

fn config(
    dir: &Path,
    manifest: &Manifest,
    remarks: &mut Vec<String>,
) -> Result<Option<(String, toml::Table)>, ReportError> {
    let path = dir.join("config.toml");
    if !path.is_file() {
        remarks.push("config.toml is missing: the methods paragraph is written from the manifest alone.".to_string());
        return Ok(None);
    }
    let text = std::fs::read_to_string(&path).map_err(ReportError::io(&path))?;
    let found = sha256_hex(text.as_bytes());
    if let Some(expected) = manifest.hashes.get("config").filter(|h| **h != found) {
        return Err(ReportError::Mixed {
            a: path,
            b: dir.join("manifest.json"),
            detail: format!("the configuration has SHA-256 {found}, the manifest says {expected}"),
        });
    }
    let table = text.parse::<toml::Table>().map_err(|e| {
        let line = line_of(&text, e.span());
        ReportError::Parse { path: path.clone(), line, detail: e.message().to_string() }
    })?;
    Ok(Some((text, table)))
}

fn test(dir: &Path, id: String, manifest: &Manifest) -> Result<TestFolder, ReportError> {
    let folder = dir.join("tests").join(&id);
    let result_path = folder.join("result.json");
    let items_path = folder.join("items.jsonl");
    let mixed =
        |a: &Path, detail: String| ReportError::Mixed { a: a.to_path_buf(), b: dir.join("manifest.json"), detail };

    let result: Option<TestResult> = if result_path.is_file() { Some(json(&result_path)?) } else { None };
    if let Some(r) = &result {
        let key = manifest.key();
        if r.key != key {
            return Err(mixed(&result_path, format!("the result has the key {}, the manifest gives {key}", r.key)));
        }
        if r.id != id {
            return Err(mixed(&result_path, format!("the result is of test {:?} and lies in folder {id:?}", r.id)));
        }
    }
    let rows = if items_path.is_file() {
        let mut rows: Vec<Row> = Vec::new();
        lines(&items_path, |line, mut row: Row| {
            if !manifest.arms.contains(&row.arm) {
                return Err(mixed(
                    &items_path,
                    format!("line {line} is of arm {:?}, which the manifest lacks", row.arm),
                ));
            }
            row.token_ids = Vec::new();
            rows.push(row);
            Ok(())
        })?;
        Some(rows)
    } else {
        None
    };
    if let (Some(r), Some(rows)) = (&result, &rows)
        && r.n_rows != rows.len()
    {
        return Err(ReportError::Mixed {
            a: items_path,
            b: result_path,
            detail: format!("there are {} rows, and the result was computed from {}", rows.len(), r.n_rows),
        });
    }
    Ok(TestFolder { id, result, rows })
}

/// Logs in `<folder>/<arm>/seed-<s>/`, in the order of the arms.
fn trainings(
    dir: &Path,
    folder: &str,
    manifest: &Manifest,
    remarks: &mut Vec<String>,
) -> Result<Vec<Curve>, ReportError> {
    let mut curves = Vec::new();
    let place = dir.join(folder);
    for arm in folders(&place)? {
        if !manifest.arms.contains(&arm) {
            remarks.push(format!("{folder}/{arm} is not an arm of the manifest; its log is not shown."));
            continue;
        }
        for seed in folders(&place.join(&arm))? {
            let here = place.join(&arm).join(&seed);
            let path = here.join("metrics.jsonl");
            if path.is_file() {
                let drawn = drawn(&here.join("completions.jsonl"))?;
                let seed = seed.strip_prefix("seed-").unwrap_or(&seed).to_string();
                curves.push(Curve { arm: arm.clone(), seed, points: metrics(&path)?, drawn });
            } else {
                remarks.push(format!("{folder}/{arm}/{seed} has no metrics.jsonl yet."));
            }
        }
    }
    let order = |arm: &str| manifest.arms.iter().position(|a| a == arm);
    curves.sort_by_key(|c| (order(&c.arm), c.seed.parse::<u64>().unwrap_or(u64::MAX)));
    Ok(curves)
}

/// Counts completions and their items; `None` where there are none.
fn drawn(path: &Path) -> Result<Option<Drawn>, ReportError> {
    #[derive(serde::Deserialize)]
    struct Completion {
        item: String,
    }
    if !path.is_file() {
        return Ok(None);
    }
    let (mut completions, mut items) = (0, HashSet::new());
    lines(path, |_, c: Completion| {
        completions += 1;
        items.insert(c.item);
        Ok(())
    })?;
    Ok((completions > 0).then_some(Drawn { completions, prompts: items.len() }))
}

fn metrics(path: &Path) -> Result<Vec<Point>, ReportError> {
    let mut points = Vec::new();
    lines(path, |line, row: serde_json::Map<String, serde_json::Value>| {
        let Some(step) = row.get("step").and_then(|s| s.as_f64()) else {
            return Err(ReportError::Parse { path: path.to_path_buf(), line, detail: "no number `step`".to_string() });
        };
        let value = |v: &serde_json::Value| if v.is_null() { Some(f64::NAN) } else { v.as_f64() };
        let metrics =
            row.iter().filter(|(k, _)| *k != "step").filter_map(|(k, v)| Some((k.clone(), value(v)?))).collect();
        points.push(Point { step, metrics });
        Ok(())
    })?;
    Ok(points)
}

/// Calls `each` with the number and the content of every line that is not blank.
fn lines<T: DeserializeOwned>(
    path: &Path,
    mut each: impl FnMut(usize, T) -> Result<(), ReportError>,
) -> Result<(), ReportError> {
    let mut reader = BufReader::new(File::open(path).map_err(ReportError::io(path))?);
    let mut bytes = Vec::new();
    for line in 1.. {
        bytes.clear();
        if reader.read_until(b'\n', &mut bytes).map_err(ReportError::io(path))? == 0 {
            break;
        }
        if bytes.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        let value = serde_json::from_slice(&bytes).map_err(|e| ReportError::Parse {
            path: path.to_path_buf(),
            line,
            detail: without_place(&e),
        })?;
        each(line, value)?;
    }
    Ok(())
}

fn json<T: DeserializeOwned>(path: &Path) -> Result<T, ReportError> {
    let bytes = std::fs::read(path).map_err(ReportError::io(path))?;
    serde_json::from_slice(&bytes).map_err(|e| ReportError::Parse {
        path: path.to_path_buf(),
        line: e.line(),
        detail: without_place(&e),
    })
}

/// serde_json's message, its place given as a column (its "line 1" would be read as the file's).
fn without_place(e: &serde_json::Error) -> String {
    let text = e.to_string();
    let message = text.split(" at line ").next().unwrap_or(&text);
    format!("{message} (column {})", e.column())
}

/// Names of the folders in `dir`, sorted; none where `dir` is not there.
fn folders(dir: &Path) -> Result<Vec<String>, ReportError> {
    let mut names = Vec::new();
    if dir.is_dir() {
        for entry in std::fs::read_dir(dir).map_err(ReportError::io(dir))? {
            let entry = entry.map_err(ReportError::io(dir))?;
            if entry.path().is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
    }
    names.sort();
    Ok(names)
}
