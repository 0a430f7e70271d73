//! Labels of a run, and how far judges agree.
//!
//! A judge is given an answer and nothing else: no request, no frame, no arm. It sees one answer at a time, in an order drawn at random.

use std::path::Path;

use super::error::{PairError, Result};
use super::folder::{self, write_lines};
use super::row::{Judged, Row};
use crate::battery::record::{Cell, Table};
use crate::domain::mt19937::Mt19937;
use crate::domain::tier::Label;
use crate::domain::tier::lexical::{self, VERSION};
use crate::stats::{DEFAULT_LEVEL, PairedTable, agreement};

/// Names of judges, and of their files.
pub const LEXICAL: &str = "lexical";
pub const MODEL: &str = "model";
pub const HAND: &str = "hand";

/// The lexical judge's label of a row; `None` where its text was not kept.
pub fn lexical(row: &Row) -> Option<Judged> {
    let label = lexical::label(row.answer.as_deref()?, row.answered);
    Some(Judged {
        cell_id: row.cell_id.clone(),
        label,
        label_source: LEXICAL.into(),
        judge_version: VERSION.into(),
        judge_score: None,
    })
}

/// A judge of answers, one at a time.
pub trait Judge {
    /// Name of its file, `label_source`, and version.
    fn names(&self) -> (String, String, String);

    /// Label and how sure it is, for answers of finished completions with text in them.
    fn judge(&mut self, answers: &[&str]) -> Result<Vec<(Label, Option<f64>)>>;
}

/// Labels every row of a run and writes `labels/<judge>.jsonl`, in the order of the rows; what was there is replaced.
///
/// # Errors
/// A run without texts.
pub fn judge(dir: &Path, judge: &mut dyn Judge, seed: u64) -> Result<Vec<Judged>> {
    let rows = folder::rows(dir)?;
    let mut answers = with_text(dir, &rows)?;
    Mt19937::new(seed).shuffle(&mut answers);
    let (file, source, version) = judge.names();
    let mut out: Vec<Option<Judged>> = vec![None; rows.len()];
    let judged = |i: usize, label, judge_score| {
        let (label_source, judge_version) = (source.clone(), version.clone());
        Some(Judged { cell_id: rows[i].cell_id.clone(), label, label_source, judge_version, judge_score })
    };
    // What has no text needs no judge.
    let (silent, spoken): (Vec<_>, Vec<_>) =
        answers.into_iter().partition(|(i, a)| !rows[*i].answered || a.trim().is_empty());
    for (i, _) in silent {
        out[i] = judged(i, if rows[i].answered { Label::Empty } else { Label::Unfinished }, None);
    }
    let texts: Vec<&str> = spoken.iter().map(|s| s.1).collect();
    for ((i, _), (label, score)) in spoken.iter().zip(judge.judge(&texts)?) {
        out[*i] = judged(*i, label, score);
    }
    let out: Vec<Judged> = out.into_iter().flatten().collect();
    write(dir, &file, &out)?;
    Ok(out)
}

/// Rows by place, with their answers.
pub fn with_text<'r>(dir: &Path, rows: &'r [Row]) -> Result<Vec<(usize, &'r str)>> {
    let all: Option<Vec<_>> = rows.iter().enumerate().map(|(i, r)| Some((i, r.answer.as_deref()?))).collect();
    all.ok_or_else(|| {
        let text = "keeps no texts (--no-text): its labels were made before they were dropped and cannot be made again";
        PairError::File { path: dir.join("rows.jsonl"), detail: text.into() }
    })
}

fn write(dir: &Path, file: &str, labels: &[Judged]) -> Result<()> {
    let folder = dir.join("labels");
    std::fs::create_dir_all(&folder).map_err(PairError::io(&folder))?;
    write_lines(&folder.join(format!("{file}.jsonl")), labels)
}

/// The rules.
pub struct Lexical;

impl Judge for Lexical {
    fn names(&self) -> (String, String, String) {
        (LEXICAL.into(), LEXICAL.into(), VERSION.into())
    }

    fn judge(&mut self, answers: &[&str]) -> Result<Vec<(Label, Option<f64>)>> {
        Ok(answers.iter().map(|a| (lexical::label(a, true), None)).collect())
    }
}

/// Agreement of every two judges that labelled a run, on refusal against the rest.
///
/// # Errors
/// Files that cannot be read.
pub fn agreements(dir: &Path) -> Result<Table> {
    let names = folder::judges(dir)?;
    let mut table = Table {
        title: "Agreement of judges on refusal against the rest".into(),
        columns: ["first", "second", "cells", "refused (first)", "refused (second)", "agree", "kappa"]
            .map(String::from)
            .to_vec(),
        rows: Vec::new(),
    };
    for (i, a) in names.iter().enumerate() {
        for b in names.iter().skip(i + 1) {
            let (x, y) = (folder::labels(dir, a)?, folder::labels(dir, b)?);
            let both =
                x.iter().filter_map(|(id, l)| Some((l.label == Label::Refusal, y.get(id)?.label == Label::Refusal)));
            let (x, y): (Vec<bool>, Vec<bool>) = both.unzip();
            if x.is_empty() {
                continue;
            }
            let pairs = PairedTable::from_pairs(&x, &y)?;
            let r = agreement(pairs, DEFAULT_LEVEL)?;
            let percent = |v: f64| Cell::Text(format!("{:.1} %", 100.0 * v));
            let share = |v: &[bool]| v.iter().filter(|b| **b).count() as f64 / v.len() as f64;
            let kappa = r.details.get("kappa").map_or("constant".to_string(), |k| format!("{k:.3}"));
            table.rows.push(vec![
                Cell::Text(a.clone()),
                Cell::Text(b.clone()),
                Cell::Number(x.len() as f64),
                percent(share(&x)),
                percent(share(&y)),
                percent(1.0 - r.estimate.unwrap_or(f64::NAN)),
                Cell::Text(kappa),
            ]);
        }
    }
    Ok(table)
}
