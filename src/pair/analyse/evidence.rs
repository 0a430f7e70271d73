//! What a run folder holds: planned cells, rows, labels of every judge; cells of different circumstances are refused here.

use std::collections::BTreeMap;
use std::path::Path;

use serde::de::DeserializeOwned;

use super::bad_line;
use crate::domain::tier::Label;
use crate::pair::error::{PairError, Result};
use crate::pair::judge::{HAND, LEXICAL};
use crate::pair::plan;
use crate::pair::row::{Factors, Judged, Row};

/// A planned cell, the row it became, and the chosen judge's label.
#[derive(Clone, Debug)]
pub struct Cell {
    /// As planned, or read off the row where there is no plan.
    pub place: plan::Cell,
    pub row: Option<Row>,
    pub label: Option<Label>,
}

impl Evidence {
    /// Whether answers were drawn above temperature 0.
    pub fn sampled(&self) -> bool {
        self.manifest["config"]["decoding"]["temperature"].as_f64().is_some_and(|t| t > 0.0)
    }
}

/// Labels of one judge by cell.
#[derive(Clone, Debug, Default)]
pub struct Labels {
    pub version: String,
    pub by_cell: BTreeMap<String, Label>,
}

/// Everything an analysis reads. Cells are in the order of the design, not of the run: a resumed run reads the same.
#[derive(Clone, Debug)]
pub struct Evidence {
    pub cells: Vec<Cell>,
    /// Whether there was a plan: without one nobody knows what is missing.
    pub planned: bool,
    pub labels: BTreeMap<String, Labels>,
    /// The judge whose labels the endpoints are made of.
    pub judge: String,
    pub manifest: serde_json::Value,
}

/// Reads a run folder; `judge` chooses the labels (`lexical`, else the only other one, where it is `None`).
///
/// # Errors
/// No rows, no labels, a line that is none, a cell twice, a row or label outside the plan, rows of more than one build, device, model,
/// tokenizer or chat template.
pub fn read(dir: &Path, judge: Option<&str>) -> Result<Evidence> {
    let rows: Vec<(usize, Row)> = lines(&dir.join("rows.jsonl"), true)?.unwrap_or_default();
    if rows.is_empty() {
        return Err(PairError::File {
            path: dir.join("rows.jsonl"),
            detail: "no rows there; give the folder that `probity pair run` printed".into(),
        });
    }
    alike(dir, &rows)?;
    let plan: Option<Vec<(usize, plan::Cell)>> = lines(&dir.join("plan.jsonl"), false)?;
    let planned = plan.is_some();
    let mut cells: BTreeMap<String, Cell> = BTreeMap::new();
    for (line, place) in plan.into_iter().flatten() {
        let cell = Cell { place, row: None, label: None };
        if let Some(twice) = cells.insert(cell.place.cell_id.clone(), cell) {
            return Err(bad_line(dir, "plan.jsonl", line, format!("cell {} stands there twice", twice.place.cell_id)));
        }
    }
    for (line, row) in rows {
        let bad = |detail: String| Err(bad_line(dir, "rows.jsonl", line, detail));
        match cells.get_mut(&row.cell_id) {
            Some(cell) if cell.row.is_some() => return bad(format!("cell {} stands there twice", row.cell_id)),
            Some(cell) => {
                if cell.place != plan::Cell::of(&row) {
                    return bad(format!("cell {} is not what plan.jsonl says of it", row.cell_id));
                }
                cell.row = Some(row);
            }
            None if planned => return bad(format!("cell {} is not in plan.jsonl", row.cell_id)),
            None => {
                let cell = Cell { place: plan::Cell::of(&row), row: Some(row), label: None };
                cells.insert(cell.place.cell_id.clone(), cell);
            }
        }
    }
    let labels = labels(dir, &cells)?;
    let judge = choose(dir, judge, &labels)?;
    let mut cells: Vec<Cell> = cells.into_values().collect();
    for cell in &mut cells {
        cell.label = labels.get(&judge).and_then(|l| l.by_cell.get(&cell.place.cell_id)).copied();
    }
    cells.sort_by(|x, y| key(&x.place).cmp(&key(&y.place)));
    if let Some(two) = cells.windows(2).find(|two| key(&two[0].place) == key(&two[1].place)) {
        let p = &two[1].place;
        let detail = format!(
            "item {}, arm {}, wording {}, repeat {} was run twice at one setting (cells {} and {})",
            p.item_id, p.arm, p.paraphrase, p.repeat, two[0].place.cell_id, p.cell_id
        );
        return Err(mixed(dir, detail));
    }
    Ok(Evidence { cells, planned, labels, judge, manifest: manifest(dir)? })
}

/// Order of the design.
fn key(p: &plan::Cell) -> (&Factors, &str, usize, usize, &str) {
    (&p.factors, &p.item_id, p.paraphrase, p.repeat, &p.arm)
}

fn manifest(dir: &Path) -> Result<serde_json::Value> {
    let path = dir.join("manifest.json");
    if !path.exists() {
        return Ok(serde_json::Value::Null);
    }
    let bytes = std::fs::read(&path).map_err(|source| PairError::Io { path: path.clone(), source })?;
    serde_json::from_slice(&bytes).map_err(|e| bad_line(dir, "manifest.json", e.line(), e.to_string()))
}

fn labels(dir: &Path, cells: &BTreeMap<String, Cell>) -> Result<BTreeMap<String, Labels>> {
    let folder = dir.join("labels");
    let mut out = BTreeMap::new();
    if !folder.exists() {
        return Ok(out);
    }
    let io = |source| PairError::Io { path: folder.clone(), source };
    for entry in std::fs::read_dir(&folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        let name = path.file_stem().and_then(|n| n.to_str()).unwrap_or_default().to_string();
        if path.extension().is_none_or(|e| e != "jsonl") || name.starts_with('.') {
            continue;
        }
        let file = format!("labels/{name}.jsonl");
        let mut labels = Labels::default();
        // People label in the terminal: a line that was cut off is labelled again.
        for (line, judged) in lines::<Judged>(&path, true)?.unwrap_or_default() {
            let bad = |detail: String| Err(bad_line(dir, &file, line, detail));
            match cells.get(&judged.cell_id) {
                None => return bad(format!("cell {} is none of this run", judged.cell_id)),
                // Where texts are dropped a label is written before its row: a kill between them leaves one without.
                Some(cell) if cell.row.is_none() => continue,
                Some(_) => {}
            }
            if labels.version.is_empty() {
                labels.version = judged.judge_version.clone();
            }
            if labels.version != judged.judge_version {
                let (a, b) = (&labels.version, &judged.judge_version);
                return bad(format!("labels of two versions of a judge, {a} and {b}; run `probity pair judge` again"));
            }
            // Of a cell that was labelled twice the later label counts.
            labels.by_cell.insert(judged.cell_id.clone(), judged.label);
        }
        out.insert(name, labels);
    }
    Ok(out)
}

fn choose(dir: &Path, asked: Option<&str>, labels: &BTreeMap<String, Labels>) -> Result<String> {
    let names: Vec<&str> = labels.iter().filter(|(_, l)| !l.by_cell.is_empty()).map(|(n, _)| n.as_str()).collect();
    let unknown = |name: &str| {
        let there =
            if names.is_empty() { "no labels are there".into() } else { format!("there are: {}", names.join(", ")) };
        let detail = format!("no such labels ({there}); make them with `probity pair judge`, or choose with --judge");
        PairError::File { path: dir.join("labels").join(format!("{name}.jsonl")), detail }
    };
    if let Some(name) = asked {
        return names.contains(&name).then(|| name.to_string()).ok_or_else(|| unknown(name));
    }
    if names.contains(&LEXICAL) {
        return Ok(LEXICAL.into());
    }
    match names.iter().filter(|n| **n != HAND).collect::<Vec<_>>()[..] {
        [one] => Ok((*one).to_string()),
        _ => Err(unknown(LEXICAL)),
    }
}

fn mixed(dir: &Path, detail: String) -> PairError {
    let detail = format!("{detail}. One analysis never mixes circumstances: analyse them apart");
    PairError::File { path: dir.join("rows.jsonl"), detail }
}

/// What rows must have in common: its name in the plural, and where it stands.
type Fact = (&'static str, fn(&Row) -> String);

/// Every row ran on one build and device, with one model, tokenizer and template; the kernels may differ with the precision alone.
fn alike(dir: &Path, rows: &[(usize, Row)]) -> Result<()> {
    let facts: [Fact; 7] = [
        ("runs", |r| r.run_id.clone()),
        ("engine builds", |r| r.engine_build.clone()),
        ("devices", |r| r.device.clone()),
        ("model revisions", |r| r.model_revision.clone()),
        ("tokenizers", |r| r.tokenizer_sha256.clone()),
        ("chat templates", |r| r.template_sha256.clone()),
        ("kernel sets of one precision", |r| r.kernel_set.clone()),
    ];
    for (what, fact) in facts {
        let mut seen: BTreeMap<&str, String> = BTreeMap::new();
        for (line, row) in rows {
            let group = if what.starts_with("kernel") { row.factors.precision.as_str() } else { "" };
            let first = seen.entry(group).or_insert_with(|| fact(row));
            if *first != fact(row) {
                return Err(mixed(dir, format!("rows of two {what}: {first} and, on line {line}, {}", fact(row))));
            }
        }
    }
    Ok(())
}

/// Lines of a JSON Lines file with their numbers; `None` where there is no file. With `cut`, a last line without its end that is no
/// JSON is what a kill left and counts as not written.
fn lines<T: DeserializeOwned>(path: &Path, cut: bool) -> Result<Option<Vec<(usize, T)>>> {
    if !path.exists() {
        return Ok(None);
    }
    let bytes = std::fs::read(path).map_err(|source| PairError::Io { path: path.into(), source })?;
    let mut out = Vec::new();
    let mut rest = bytes.as_slice();
    let mut number = 0;
    while !rest.is_empty() {
        number += 1;
        let end = rest.iter().position(|b| *b == b'\n');
        let (line, after) = rest.split_at(end.unwrap_or(rest.len()));
        rest = after.get(1..).unwrap_or_default();
        if line.iter().all(u8::is_ascii_whitespace) {
            continue;
        }
        match serde_json::from_slice(line) {
            Ok(value) => out.push((number, value)),
            Err(_) if cut && end.is_none() => {}
            Err(e) => return Err(PairError::File { path: path.into(), detail: format!("line {number}: {e}") }),
        }
    }
    Ok(Some(out))
}
