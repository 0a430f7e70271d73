//! What a battery writes: rows and results. Every aggregate in a report can be computed again from the rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::generate::Finish;

/// One line of `tests/<nn-name>/items.jsonl`: one item, condition and sample of one arm and seed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// `base`, `control`, `value`, …
    pub arm: String,
    /// Training seed of the arm; `base` carries the seed of its decoding.
    pub seed: u64,
    pub item: String,
    pub family: String,
    /// `train` when the family was trained on, else `held_out`.
    pub split: String,
    /// Task text without incidental wording: the unit of clustering.
    pub canonical: String,
    /// `neutral`, `monitored`, `unmonitored`, `placebo`.
    pub condition: String,
    /// Paraphrase of the condition, e.g. `monitored/3`; empty where there is none.
    pub cue: String,
    pub decoding: Decoding,
    /// 0, 1, … for samples; 0 for the greedy row.
    pub sample: u32,
    /// The whole rendered prompt.
    pub prompt: String,
    pub text: String,
    pub token_ids: Vec<u32>,
    /// Generated tokens, end token included.
    pub n_tokens: u32,
    /// `n_tokens` minus the tokens of the bare answer and its end token.
    pub excess_tokens: i64,
    pub finish: Finish,
    pub truth: String,
    /// What the scorer read; `None` when nothing could be parsed.
    pub answer: Option<String>,
    /// 1 right, 0 wrong or unparsable (0.5 = near miss where the profile allows it).
    pub correct: f64,
    /// Total reward of this completion under the value reward.
    pub reward: f64,
    /// Mean log-probability of the generated tokens.
    pub mean_logp: f64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Decoding {
    Sample,
    Greedy,
}

/// The four outcomes of `protocol.md`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    Supports,
    Refutes,
    Inconclusive,
    NotTested,
}

/// An estimate with its interval.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// e.g. `log tokens, value − control, held-out families`.
    pub name: String,
    pub estimate: f64,
    /// Confidence interval; its level is in `level`.
    pub low: f64,
    pub high: f64,
    pub level: f64,
    /// How estimate and interval were computed.
    pub method: String,
    /// Equivalence margin (symmetric), where equivalence is the question.
    pub margin: Option<f64>,
}

/// The strict verdict of one test.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Verdict {
    pub outcome: Outcome,
    /// The primary p of the rule table, unadjusted; `None` when not tested.
    pub p: Option<f64>,
    /// Adjusted by Holm over the battery.
    pub p_holm: Option<f64>,
    pub primary: Option<Effect>,
    /// One or two sentences: what was found.
    pub reason: String,
    /// What would change this verdict.
    pub would_change: String,
}

/// The study's own statistic, computed from the same rows.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Headline {
    /// e.g. `two-proportion z, pattern: z = 0.59, p = 0.56`.
    pub summary: String,
    pub tables: Vec<Table>,
}

/// A table ready to print; also written as CSV.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Table {
    pub title: String,
    pub columns: Vec<String>,
    pub rows: Vec<Vec<Cell>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    Number(f64),
    Text(String),
}

/// A health check and what it saw.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Health {
    pub name: String,
    pub ok: bool,
    /// A failed check that makes the test "not tested".
    pub fatal: bool,
    pub detail: String,
}

/// Data of a figure; `report` draws it, and writes it as CSV beside the SVG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Figure {
    /// Two panels of grouped bars with intervals (lengths and accuracy by family and arm).
    GroupedBars { id: String, title: String, panels: Vec<BarPanel> },
    /// Estimates with intervals on one axis, with an optional equivalence band (± margin).
    Forest { id: String, title: String, axis: String, margin: Option<f64>, effects: Vec<Effect> },
    /// Lines over steps (learning curves).
    Lines { id: String, title: String, x_axis: String, y_axis: String, series: Vec<Series> },
    /// One point per item.
    Scatter { id: String, title: String, x_axis: String, y_axis: String, series: Vec<Series> },
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BarPanel {
    pub axis: String,
    /// Families.
    pub groups: Vec<String>,
    /// Arms.
    pub bars: Vec<String>,
    /// `values[group][bar]` = (value, low, high).
    pub values: Vec<Vec<(f64, f64, f64)>>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    pub points: Vec<(f64, f64)>,
}

/// `tests/<nn-name>/result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TestResult {
    /// `1` … `8`.
    pub number: u32,
    /// Folder name, e.g. `01-generalisation`.
    pub id: String,
    pub title: String,
    /// The question in one sentence.
    pub question: String,
    pub headline: Headline,
    pub verdict: Verdict,
    /// Further effects, for the forest plot.
    pub effects: Vec<Effect>,
    pub n_items: usize,
    pub n_prompts: usize,
    pub n_rows: usize,
    pub n_seeds: usize,
    pub health: Vec<Health>,
    pub figures: Vec<Figure>,
    /// Hash over configuration, model, data and program version that the rows belong to.
    pub key: String,
}

/// `manifest.json` of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub program: String,
    pub version: String,
    pub profile: String,
    pub domain: String,
    pub model: String,
    pub device: String,
    /// Adapter, driver, features, kernel variants: whatever the device reports.
    pub device_details: BTreeMap<String, String>,
    /// SHA-256 of model, data, configuration, by name.
    pub hashes: BTreeMap<String, String>,
    pub seeds: Vec<u64>,
    pub arms: Vec<String>,
    /// Attractor table printed before training.
    pub attractors: Vec<Table>,
    /// Notes the reader must see (shortened schedules, operand ranges, …).
    pub notes: Vec<String>,
    pub started_unix: u64,
    /// Wall seconds by cell.
    pub seconds: BTreeMap<String, f64>,
}
