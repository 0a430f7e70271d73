//! Results made elsewhere: readers of three formats and writers of two, one file a format, forward beside backward.
//!
//! | Format | Files | Arm | Item |
//! |---|---|---|---|
//! | `study` | the study's result JSON: an array of flat objects | `model_name` | `task_id` |
//! | `lm-eval` | `samples_<task>_<time>.jsonl` | `model_name` of the results file beside it | `<task>/<doc_id>` |
//! | `inspect` | JSON logs | `eval.model` | sample id |
//!
//! A [`Record`] has the keys of a [`Row`]; what the source does not say is `null`, never a guess. Where nothing is missing the
//! file reads as rows.

pub mod export;
pub mod fields;
pub mod inspect;
pub mod lm_eval;
pub mod rescore;
pub mod study;
pub mod summary;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use self::fields::{Fields, fault};
pub use self::rescore::Rescore;
use super::error::{BatteryError, Result};
use super::record::{Decoding, Health, Row, Table, sha256_hex};
use super::rows;
use crate::domain::frugality::Task;
use crate::generate::Finish;
use crate::text::Tokenizer;

/// Where neither the source nor the command line says it.
pub const UNSTATED: &str = "unstated";

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Format {
    /// The study's result JSON
    Study,
    /// lm-evaluation-harness: samples_*.jsonl
    LmEval,
    /// Inspect: JSON logs
    Inspect,
}

/// A [`Row`] of which some values may be unknown: the same keys, `null` for those.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Record {
    pub arm: String,
    pub seed: u64,
    pub item: String,
    pub family: String,
    pub split: String,
    pub canonical: String,
    pub condition: String,
    pub cue: String,
    pub decoding: Decoding,
    pub sample: u32,
    pub prompt: String,
    pub text: String,
    pub token_ids: Vec<u32>,
    pub n_tokens: Option<u32>,
    pub excess_tokens: Option<i64>,
    pub finish: Option<Finish>,
    pub truth: String,
    pub answer: Option<String>,
    /// `None` where the source gave no score.
    pub correct: Option<f64>,
    pub reward: Option<f64>,
    pub mean_logp: Option<f64>,
    /// The study's `task_type`, coarser than the family.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_type: Option<String>,
}

impl From<Row> for Record {
    fn from(r: Row) -> Self {
        Self {
            n_tokens: Some(r.n_tokens),
            excess_tokens: Some(r.excess_tokens),
            finish: Some(r.finish),
            answer: r.answer,
            correct: Some(r.correct),
            reward: Some(r.reward),
            mean_logp: Some(r.mean_logp).filter(|x| x.is_finite()),
            task_type: None,
            arm: r.arm,
            seed: r.seed,
            item: r.item,
            family: r.family,
            split: r.split,
            canonical: r.canonical,
            condition: r.condition,
            cue: r.cue,
            decoding: r.decoding,
            sample: r.sample,
            prompt: r.prompt,
            text: r.text,
            token_ids: r.token_ids,
            truth: r.truth,
        }
    }
}

/// What a reader makes of one row.
#[derive(Clone, Debug)]
pub struct Draft {
    pub record: Record,
    /// Completion limit that the source states, in tokens.
    pub limit: Option<u32>,
    /// The answer was chosen among given texts: it has no length.
    pub choice: bool,
}

/// How to read; lists hold one value for all files or one a file.
#[derive(Clone, Debug, Default)]
pub struct Options {
    pub format: Option<Format>,
    pub arms: Vec<String>,
    pub seeds: Vec<u64>,
    pub conditions: Vec<String>,
    /// Metric (lm-eval) or scorer (Inspect) that says right or wrong.
    pub score: Option<String>,
    /// lm-eval: whose `filtered_resps` to take.
    pub filter: Option<String>,
    pub rescore: Rescore,
    /// Completion limit, in tokens: longer rows count as cut.
    pub max_tokens: Option<u32>,
}

/// One file to read, and what the command line says about it.
pub struct Input<'a> {
    pub path: &'a Path,
    pub text: &'a str,
    pub arm: Option<&'a str>,
    pub seed: Option<u64>,
    pub condition: Option<&'a str>,
    pub score: Option<&'a str>,
    pub filter: Option<&'a str>,
}

/// What a reader noticed.
#[derive(Clone, Debug, Default)]
pub struct Noticed {
    pub notes: Vec<String>,
    /// Rows left out, by reason.
    pub skipped: BTreeMap<String, usize>,
    /// Keys that were not used, with the number of rows that have them.
    pub unused: BTreeMap<String, usize>,
}

impl Noticed {
    pub fn skip(&mut self, why: &str) {
        *self.skipped.entry(why.into()).or_default() += 1;
    }

    pub fn unused(&mut self, f: &Fields<'_>, known: &[&str]) {
        for key in f.map.keys().filter(|k| !known.contains(&k.as_str())) {
            *self.unused.entry(key.clone()).or_default() += 1;
        }
    }
}

/// One imported file, as `import.json` lists it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Source {
    pub path: PathBuf,
    pub sha256: String,
    pub format: Format,
    pub rows: usize,
    pub skipped: BTreeMap<String, usize>,
    pub notes: Vec<String>,
    pub unused_keys: BTreeMap<String, usize>,
}

/// `import.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct About {
    pub program: String,
    pub version: String,
    pub imported_unix: u64,
    pub sources: Vec<Source>,
    pub rescore: Rescore,
    pub rows: usize,
    /// Rows whose value is unknown, by key.
    pub missing: BTreeMap<String, usize>,
    pub notes: Vec<String>,
    pub health: Vec<Health>,
    /// The study's statistics on these rows.
    pub statistics: Vec<Table>,
}

/// One of a list that has one value for all files or one a file.
fn of_file<T>(list: &[T], file: usize) -> Option<&T> {
    if list.len() == 1 { list.first() } else { list.get(file) }
}

fn check_list<T>(what: &str, list: &[T], files: usize) -> Result<()> {
    if list.len() <= 1 || list.len() == files {
        return Ok(());
    }
    let n = list.len();
    Err(BatteryError::Refused(format!("{what}: {n} values for {files} files; give one for all, or one a file")))
}

/// What a file holds, by its content.
pub fn detect(path: &Path, text: &str) -> Result<Format> {
    let start = text.trim_start();
    if start.starts_with('[') {
        return Ok(Format::Study);
    }
    let keys = |text: &str| -> Option<Vec<String>> {
        let mut stream =
            serde_json::Deserializer::from_str(text).into_iter::<BTreeMap<String, serde::de::IgnoredAny>>();
        stream.next()?.ok().map(|m| m.into_keys().collect())
    };
    // A log that is cut off is still a log.
    let head: String = start.chars().take(4000).collect();
    let mentions = |key: &str| head.contains(&format!("\"{key}\""));
    let has = |keys: &[String], wanted: &[&str]| wanted.iter().all(|w| keys.iter().any(|k| k == w));
    match keys(start) {
        Some(k) if has(&k, &["doc_id", "resps"]) => Ok(Format::LmEval),
        Some(k) if has(&k, &["eval"]) && (has(&k, &["samples"]) || has(&k, &["status"])) => Ok(Format::Inspect),
        Some(k) if has(&k, &["results", "configs"]) => Err(fault(
            path,
            "holds lm-eval's aggregated results; the per-item rows are in samples_*.jsonl beside it (run lm-eval with --log_samples)",
        )),
        Some(k) if has(&k, &["arm", "item", "condition", "text"]) => {
            Err(fault(path, "holds rows of Probity already; use them as they are: probity stats TEST --jsonl FILE"))
        }
        None if start.starts_with('{') && mentions("doc_id") => Ok(Format::LmEval),
        None if start.starts_with('{') && mentions("eval") && mentions("status") => Ok(Format::Inspect),
        _ => Err(fault(
            path,
            "is none of the known formats (the study's result JSON, lm-eval samples_*.jsonl, an Inspect JSON log); \
             name it with --format to see what is amiss",
        )),
    }
}

/// Reads files into records. `tokenizer` counts lengths that the sources do not give; `train` is searched for the items' prompts.
pub fn import(
    files: &[PathBuf],
    o: &Options,
    tokenizer: Option<&Tokenizer>,
    train: Option<&[Task]>,
) -> Result<(Vec<Record>, About)> {
    check_list("--arm", &o.arms, files.len())?;
    check_list("--seed", &o.seeds, files.len())?;
    check_list("--condition", &o.conditions, files.len())?;
    let (mut records, mut sources, mut notes) = (Vec::new(), Vec::new(), Vec::new());
    for (i, path) in files.iter().enumerate() {
        let bytes = std::fs::read(path).map_err(BatteryError::io(path))?;
        let (text, nan) = fields::without_nan(fields::text(path, &bytes)?);
        let format = o.format.map_or_else(|| detect(path, &text), Ok)?;
        let input = Input {
            path,
            text: &text,
            arm: of_file(&o.arms, i).map(String::as_str),
            seed: of_file(&o.seeds, i).copied(),
            condition: of_file(&o.conditions, i).map(String::as_str),
            score: o.score.as_deref(),
            filter: o.filter.as_deref(),
        };
        let mut noticed = Noticed::default();
        if nan > 0 {
            noticed.notes.push(format!("{nan} value(s) NaN or Infinity, which are not JSON, read as missing"));
        }
        let drafts = match format {
            Format::Study => study::read(&input, &mut noticed)?,
            Format::LmEval => lm_eval::read(&input, &mut noticed)?,
            Format::Inspect => inspect::read(&input, &mut noticed)?,
        };
        if drafts.is_empty() {
            let why: Vec<String> = noticed.skipped.iter().map(|(why, n)| format!("{n} × {why}")).collect();
            let why = if why.is_empty() { String::new() } else { format!(" (left out: {})", why.join(", ")) };
            return Err(fault(path, format!("holds no row with an answer{why}")));
        }
        let rows = drafts.len();
        records.extend(rescore::finish(drafts, o, tokenizer, path, &mut noticed)?);
        let Noticed { notes, skipped, unused } = noticed;
        let sha256 = sha256_hex(&bytes);
        sources.push(Source { path: path.clone(), sha256, format, rows, skipped, notes, unused_keys: unused });
    }
    if o.seeds.is_empty() {
        notes.push("the column `seed` is 0 where a source does not say it: --seed names it".into());
    }
    let (statistics, refused) = summary::statistics(&records)?;
    notes.extend(refused);
    let about = About {
        program: "probity".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        imported_unix: SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()),
        sources,
        rescore: o.rescore,
        rows: records.len(),
        missing: missing(&records),
        notes,
        health: summary::health(&records, train),
        statistics,
    };
    Ok((records, about))
}

fn missing(records: &[Record]) -> BTreeMap<String, usize> {
    let count = |f: &dyn Fn(&Record) -> bool| records.iter().filter(|r| f(r)).count();
    [
        ("n_tokens", count(&|r| r.n_tokens.is_none())),
        ("excess_tokens", count(&|r| r.excess_tokens.is_none())),
        ("finish", count(&|r| r.finish.is_none())),
        ("answer", count(&|r| r.answer.is_none())),
        ("correct", count(&|r| r.correct.is_none())),
        ("reward", count(&|r| r.reward.is_none())),
        ("mean_logp", count(&|r| r.mean_logp.is_none())),
        ("token_ids", count(&|r| r.token_ids.is_empty())),
        ("prompt", count(&|r| r.prompt.is_empty())),
    ]
    .into_iter()
    .filter(|(_, n)| *n > 0)
    .map(|(name, n)| (name.to_string(), n))
    .collect()
}

/// Writes `items.jsonl` and `import.json`; a run folder is refused.
pub fn save(dir: &Path, records: &[Record], about: &About) -> Result<()> {
    if dir.join("manifest.json").exists() {
        let text = format!("{} is the folder of a run; give another --out", dir.display());
        return Err(BatteryError::Refused(text));
    }
    std::fs::create_dir_all(dir).map_err(BatteryError::io(dir))?;
    let path = dir.join("items.jsonl");
    rows::write(&path, records)?;
    export::write_json(&dir.join("import.json"), about)
}
