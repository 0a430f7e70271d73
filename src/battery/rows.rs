//! Reading and writing item rows, and the per-item means that every test starts from.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::{BatteryError, Result};
use super::record::{Decoding, Row};
use crate::domain::measure::{CERTAIN, Measured, Readout};
use crate::durable::AtomicFile;
use crate::stats::{StatsError, cluster_codes};

/// Reads a JSONL file of rows.
pub fn read(path: &Path) -> Result<Vec<Row>> {
    read_lines(path)
}

/// The same of anything with one object a line.
pub fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(path).map_err(BatteryError::io(path))?;
    text.lines()
        .enumerate()
        .map(|(i, line)| {
            serde_json::from_str(line)
                .map_err(|e| BatteryError::File { path: path.to_path_buf(), detail: format!("line {}: {e}", i + 1) })
        })
        .collect()
}

/// Writes rows as JSONL: a file that exists is complete.
pub fn write<T: Serialize>(path: &Path, rows: &[T]) -> Result<()> {
    let mut out = AtomicFile::create(path)?;
    for row in rows {
        let mut line = serde_json::to_string(row)
            .map_err(|e| BatteryError::File { path: path.to_path_buf(), detail: e.to_string() })?;
        line.push('\n');
        out.write(line.as_bytes())?;
    }
    Ok(out.commit()?)
}

/// Means over the samples of one item under one arm, seed and condition.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ItemMean {
    pub behaviour: f64,
    pub tokens: f64,
    pub correct: f64,
    pub samples: usize,
}

/// What identifies a mean.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key {
    pub arm: String,
    pub seed: u64,
    pub condition: String,
    pub item: String,
}

/// Per-item means of the sampled rows (greedy rows are shown, not averaged in).
pub fn item_means(rows: &[Row]) -> BTreeMap<Key, ItemMean> {
    let mut out: BTreeMap<Key, ItemMean> = BTreeMap::new();
    for r in rows.iter().filter(|r| r.decoding == Decoding::Sample) {
        let key = Key { arm: r.arm.clone(), seed: r.seed, condition: r.condition.clone(), item: r.item.clone() };
        let m = out.entry(key).or_default();
        m.behaviour += r.behaviour();
        m.tokens += f64::from(r.n_tokens.max(1));
        m.correct += r.correct;
        m.samples += 1;
    }
    for m in out.values_mut() {
        let n = m.samples as f64;
        m.behaviour /= n;
        m.tokens /= n;
        m.correct /= n;
    }
    out
}

/// Which quantity of an item is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Measure {
    /// See [`Row::behaviour`].
    Behaviour,
    Correct,
}

/// Behaviour of one row in the units of tables: tokens, or nats.
pub fn shown(r: &Row, m: &Measured) -> f64 {
    match m.readout {
        Readout::Tokens => f64::from(r.n_tokens),
        Readout::LogOdds => r.behaviour(),
    }
}

impl ItemMean {
    /// Behaviour in the units of tables.
    pub fn shown(&self, readout: Readout) -> f64 {
        match readout {
            Readout::Tokens => self.tokens,
            Readout::LogOdds => self.behaviour,
        }
    }

    pub fn get(&self, m: Measure) -> f64 {
        match m {
            Measure::Behaviour => self.behaviour,
            Measure::Correct => self.correct,
        }
    }
}

/// Differences paired by item and seed, with the labels that resampling needs.
#[derive(Clone, Debug, Default)]
pub struct Paired {
    pub values: Vec<f64>,
    /// Canonical prompts as 0, 1, …
    pub clusters: Vec<usize>,
    pub seeds: Vec<usize>,
    pub n_prompts: usize,
    pub n_seeds: usize,
}

/// One side of a contrast.
#[derive(Clone, Copy, Debug)]
pub struct Side<'a> {
    pub arm: &'a str,
    pub condition: &'a str,
}

/// `left − right` for every item and seed that has both, for families that pass.
pub fn paired(rows: &[Row], measure: Measure, left: Side, right: Side, family: impl Fn(&Row) -> bool) -> Paired {
    let means = item_means(rows);
    let mut seen = BTreeSet::new();
    let (mut values, mut prompts, mut seeds) = (Vec::new(), Vec::new(), Vec::new());
    for r in rows.iter().filter(|r| r.arm == left.arm && r.condition == left.condition && family(r)) {
        if !seen.insert((r.seed, r.item.as_str())) {
            continue;
        }
        let key =
            |s: Side| Key { arm: s.arm.into(), seed: r.seed, condition: s.condition.into(), item: r.item.clone() };
        if let (Some(a), Some(b)) = (means.get(&key(left)), means.get(&key(right))) {
            values.push(a.get(measure) - b.get(measure));
            prompts.push(r.canonical.clone());
            seeds.push(r.seed);
        }
    }
    let (clusters, seeds) = (cluster_codes(&prompts), cluster_codes(&seeds));
    let count = |v: &[usize]| v.iter().max().map_or(0, |m| m + 1);
    Paired { n_prompts: count(&clusters), n_seeds: count(&seeds), values, clusters, seeds }
}

/// Mean over items of how far the behaviour of one side could still fall, at least 0 in each sample. A side without room cannot show
/// that a gain carried over.
pub fn room(rows: &[Row], readout: Readout, side: Side, family: impl Fn(&Row) -> bool) -> f64 {
    let mut items: BTreeMap<(u64, &str), (f64, f64)> = BTreeMap::new();
    let of = |r: &&Row| r.arm == side.arm && r.condition == side.condition && r.decoding == Decoding::Sample;
    for r in rows.iter().filter(of).filter(|r| family(r)) {
        let bare = (f64::from(r.n_tokens) - r.excess_tokens as f64).max(1.0);
        let sum = items.entry((r.seed, r.item.as_str())).or_default();
        sum.0 += match readout {
            Readout::Tokens => (f64::from(r.n_tokens.max(1)) / bare).ln().max(0.0),
            Readout::LogOdds => (r.behaviour() + CERTAIN).max(0.0),
        };
        sum.1 += 1.0;
    }
    let n = items.len().max(1) as f64;
    items.values().map(|(sum, samples)| sum / samples).sum::<f64>() / n
}

/// Differences of two contrasts over the same items (`a − b`), e.g. a cue's effect beyond a placebo's.
pub fn difference(a: &Paired, b: &Paired) -> std::result::Result<Paired, StatsError> {
    if a.values.len() != b.values.len() || a.clusters != b.clusters || a.seeds != b.seeds {
        return Err(StatsError::Length {
            left: "first contrast",
            n_left: a.values.len(),
            right: "second contrast",
            n_right: b.values.len(),
        });
    }
    let mut d = a.clone();
    d.values.iter_mut().zip(&b.values).for_each(|(x, y)| *x -= y);
    Ok(d)
}
