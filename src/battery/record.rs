//! What a battery writes: rows and results. Every aggregate in a report can be computed again from the rows.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use sha2::{Digest, Sha256};

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
    /// Training on top of the arm that this row was measured in, e.g. `attack-start`, and the step.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub step: Option<u64>,
    /// Mean log-probability of the generated tokens.
    #[serde(deserialize_with = "number")]
    pub mean_logp: f64,
    /// Log-odds of the untruth against the truth where this answer begins, where the domain measures them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log_odds: Option<f64>,
}

impl Row {
    /// The scalar behaviour, lower for more of the trained value: the log-odds where there are any, else the logarithm of the tokens.
    pub fn behaviour(&self) -> f64 {
        self.log_odds.unwrap_or_else(|| f64::from(self.n_tokens.max(1)).ln())
    }
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
    #[serde(deserialize_with = "number")]
    pub estimate: f64,
    /// Confidence interval; its level is in `level`.
    #[serde(deserialize_with = "number")]
    pub low: f64,
    #[serde(deserialize_with = "number")]
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
    Number(#[serde(deserialize_with = "number")] f64),
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
    /// It fails because the training did what it is paid for: shown and counted apart. Never a fatal one.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub by_design: bool,
}

/// Data of a figure; `report` draws it, and writes it as CSV beside the SVG.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Figure {
    /// Two panels of grouped bars with intervals (lengths and accuracy by family and arm).
    GroupedBars { id: String, title: String, panels: Vec<BarPanel> },
    /// Estimates with intervals on one axis, with an optional equivalence band (± margin).
    Forest { id: String, title: String, axis: String, margin: Option<f64>, effects: Vec<Effect> },
    /// Lines over steps, layers or doses: panels side by side, one legend.
    Lines { id: String, title: String, panels: Vec<LinePanel> },
    /// One point per item.
    Scatter {
        id: String,
        title: String,
        x_axis: String,
        y_axis: String,
        series: Vec<Series>,
        /// Both axes logarithmic; points that are not positive are left out and counted.
        #[serde(default)]
        log: bool,
    },
    /// A measure by dose: the real direction before a cloud of random ones, and accuracy under it.
    DoseResponse {
        id: String,
        title: String,
        /// e.g. `dose, residual RMS`.
        x_axis: String,
        /// e.g. `mean log tokens`.
        y_axis: String,
        panels: Vec<DosePanel>,
    },
    /// Share that has not broken yet: step functions with ticks where something was censored.
    Survival { id: String, title: String, x_axis: String, y_axis: String, curves: Vec<SurvivalCurve> },
}

/// (value, low, high) by group and bar.
pub type Triples = Vec<Vec<(f64, f64, f64)>>;

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct BarPanel {
    pub axis: String,
    /// Families.
    pub groups: Vec<String>,
    /// Arms.
    pub bars: Vec<String>,
    /// `values[group][bar]` = (value, low, high).
    #[serde(deserialize_with = "triples")]
    pub values: Triples,
}

/// A line or a set of points. Names that begin with an arm (`value`, `value, seed 7`) get that arm's colour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Series {
    pub name: String,
    #[serde(deserialize_with = "points")]
    pub points: Vec<(f64, f64)>,
    /// (low, high) of each point; empty = no band.
    #[serde(default, deserialize_with = "points")]
    pub band: Vec<(f64, f64)>,
}

impl Series {
    /// A series without a band.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, band: Vec::new() }
    }
}

/// One panel of [`Figure::Lines`]; use `..Default::default()`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinePanel {
    /// Empty = `y_axis` stands above the panel.
    #[serde(default)]
    pub title: String,
    pub x_axis: String,
    pub y_axis: String,
    pub series: Vec<Series>,
    /// Horizontal lines: thresholds, chance.
    #[serde(default)]
    pub references: Vec<Reference>,
    /// Vertical lines: break, onset, first crossing.
    #[serde(default)]
    pub events: Vec<Event>,
    /// What chance alone gives, e.g. the 95 % band of permuted labels.
    #[serde(default)]
    pub null: Option<NullBand>,
    /// Values that the y axis must reach, e.g. `[0, 1]` of a share.
    #[serde(default, deserialize_with = "pair")]
    pub y_range: Option<(f64, f64)>,
    /// Logarithmic y axis; a point that is not positive interrupts its line.
    #[serde(default)]
    pub log_y: bool,
}

/// A labelled horizontal line, e.g. `2× step 0`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reference {
    pub name: String,
    #[serde(deserialize_with = "number")]
    pub y: f64,
}

/// A labelled vertical line, e.g. `value: break`; a name that begins with an arm gets its colour.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub name: String,
    #[serde(deserialize_with = "number")]
    pub x: f64,
    /// Interval of `x`, e.g. of a change point.
    #[serde(default, deserialize_with = "pair")]
    pub interval: Option<(f64, f64)>,
}

/// A band over x.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct NullBand {
    /// e.g. `95 % of permuted labels`.
    pub name: String,
    /// (x, low, high).
    #[serde(deserialize_with = "band")]
    pub points: Vec<(f64, f64, f64)>,
}

/// One column of [`Figure::DoseResponse`], e.g. one arm.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DosePanel {
    pub title: String,
    /// The direction under test, with its band.
    pub real: Series,
    /// The same measure for each random direction: (dose, value).
    #[serde(default, deserialize_with = "lines")]
    pub random: Vec<Vec<(f64, f64)>>,
    /// Accuracy (a share) under the direction; without points there is no lower panel.
    #[serde(default)]
    pub accuracy: Series,
    #[serde(default, deserialize_with = "lines")]
    pub random_accuracy: Vec<Vec<(f64, f64)>>,
    /// Doses between which accuracy is kept.
    #[serde(default, deserialize_with = "pair")]
    pub preserving: Option<(f64, f64)>,
    /// e.g. `95 % of the undosed accuracy`.
    #[serde(default)]
    pub accuracy_floor: Option<Reference>,
}

/// A Kaplan–Meier curve, computed by the test.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct SurvivalCurve {
    /// The arm.
    pub name: String,
    /// (time, share left from this time on), in order; begins with `(0, 1)` whether or not it is given.
    #[serde(deserialize_with = "points")]
    pub steps: Vec<(f64, f64)>,
    /// (low, high) of each step; empty = no band.
    #[serde(default, deserialize_with = "points")]
    pub band: Vec<(f64, f64)>,
    /// Times at which a run ended without a break.
    #[serde(default, deserialize_with = "numbers")]
    pub censored: Vec<f64>,
    /// (time, runs still observed just before it), for the table under the curves.
    #[serde(default)]
    pub at_risk: Vec<(f64, usize)>,
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
    /// Folder of the test whose `items.jsonl` this result was computed from, where it has no rows of its own.
    #[serde(default)]
    pub rows_of: Option<String>,
    /// What this run could have detected: the smallest effect at 80 % power with its n, by contrast.
    #[serde(default)]
    pub power: Option<Table>,
    /// [`Manifest::key`] of the run that the rows belong to.
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
    /// Commit on the hub, of a model from the Hugging Face cache.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_commit: Option<String>,
    /// System message of training and of the neutral condition. `null` is no message, which leaves the chat template to its default; an
    /// empty text is an empty message. Those of the other conditions are data.
    #[serde(default)]
    pub neutral_system: Option<String>,
    pub device: String,
    /// Adapter, driver, features, kernel variants: whatever the device reports.
    pub device_details: BTreeMap<String, String>,
    /// SHA-256 (hex) of model, data, configuration, by name; `config` is that of the bytes of `config.toml`.
    pub hashes: BTreeMap<String, String>,
    pub seeds: Vec<u64>,
    pub arms: Vec<String>,
    /// Folder names of the tests that this run is to have, e.g. `01-generalisation`.
    #[serde(default)]
    pub tests: Vec<String>,
    /// Attractor table printed before training.
    pub attractors: Vec<Table>,
    /// Notes the reader must see (shortened schedules, operand ranges, …).
    pub notes: Vec<String>,
    pub started_unix: u64,
    /// Wall seconds by cell.
    pub seconds: BTreeMap<String, f64>,
}

impl Manifest {
    /// What every `result.json` of this run carries: SHA-256 (hex) over program, version and all of `hashes`.
    pub fn key(&self) -> String {
        let mut text = format!("{}\n{}\n", self.program, self.version);
        for (name, hash) in &self.hashes {
            text.push_str(&format!("{name}={hash}\n"));
        }
        sha256_hex(text.as_bytes())
    }
}

/// SHA-256 in lower-case hex.
pub fn sha256_hex(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

/// JSON has no NaN and no infinity: both are written as `null`, which reads back as NaN.
#[derive(Deserialize)]
struct Nullable(Option<f64>);

impl Nullable {
    fn get(&self) -> f64 {
        self.0.unwrap_or(f64::NAN)
    }
}

fn number<'de, D: Deserializer<'de>>(d: D) -> Result<f64, D::Error> {
    Ok(Nullable::deserialize(d)?.get())
}

fn points<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(f64, f64)>, D::Error> {
    let pairs = Vec::<(Nullable, Nullable)>::deserialize(d)?;
    Ok(pairs.iter().map(|(x, y)| (x.get(), y.get())).collect())
}

fn numbers<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<f64>, D::Error> {
    Ok(Vec::<Nullable>::deserialize(d)?.iter().map(Nullable::get).collect())
}

fn pair<'de, D: Deserializer<'de>>(d: D) -> Result<Option<(f64, f64)>, D::Error> {
    Ok(Option::<(Nullable, Nullable)>::deserialize(d)?.map(|(a, b)| (a.get(), b.get())))
}

fn lines<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Vec<(f64, f64)>>, D::Error> {
    let lines = Vec::<Vec<(Nullable, Nullable)>>::deserialize(d)?;
    Ok(lines.iter().map(|l| l.iter().map(|(x, y)| (x.get(), y.get())).collect()).collect())
}

fn band<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<(f64, f64, f64)>, D::Error> {
    let points = Vec::<(Nullable, Nullable, Nullable)>::deserialize(d)?;
    Ok(points.iter().map(|(x, low, high)| (x.get(), low.get(), high.get())).collect())
}

fn triples<'de, D: Deserializer<'de>>(d: D) -> Result<Triples, D::Error> {
    let groups = Vec::<Vec<(Nullable, Nullable, Nullable)>>::deserialize(d)?;
    Ok(groups.iter().map(|g| g.iter().map(|(v, low, high)| (v.get(), low.get(), high.get())).collect()).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn undefined_numbers_survive_json() {
        let effect = Effect {
            name: "x".into(),
            estimate: 0.5,
            low: f64::NEG_INFINITY,
            high: f64::NAN,
            level: 0.95,
            method: String::new(),
            margin: None,
        };
        let figure = Figure::GroupedBars {
            id: "a".into(),
            title: String::new(),
            panels: vec![BarPanel {
                axis: String::new(),
                groups: vec!["g".into()],
                bars: vec!["b".into()],
                values: vec![vec![(1.0, f64::NAN, 2.0)]],
            }],
        };
        let text =
            serde_json::to_string(&(&effect, &figure, vec![Cell::Number(f64::NAN), Cell::Text("t".into())])).unwrap();
        let (effect, figure, cells): (Effect, Figure, Vec<Cell>) = serde_json::from_str(&text).unwrap();
        assert!(effect.low.is_nan() && effect.high.is_nan() && effect.estimate == 0.5);
        assert!(matches!(&cells[..], [Cell::Number(x), Cell::Text(_)] if x.is_nan()));
        let Figure::GroupedBars { panels, .. } = figure else { panic!("another kind") };
        assert!(panels[0].values[0][0].1.is_nan() && panels[0].values[0][0].2 == 2.0);
    }

    #[test]
    fn figures_need_only_what_they_show() {
        let text = r#"{"kind":"lines","id":"a","title":"t","panels":[{"x_axis":"step","y_axis":"tokens","series":[
            {"name":"value","points":[[0,1],[25,null]]}],"events":[{"name":"break","x":25}]}]}"#;
        let Figure::Lines { panels, .. } = serde_json::from_str(text).unwrap() else { panic!("another kind") };
        assert!(panels[0].series[0].points[1].1.is_nan() && panels[0].series[0].band.is_empty());
        assert!(panels[0].null.is_none() && panels[0].events[0].interval.is_none() && !panels[0].log_y);

        let dose = Figure::DoseResponse {
            id: "d".into(),
            title: String::new(),
            x_axis: String::new(),
            y_axis: String::new(),
            panels: vec![DosePanel {
                random: vec![vec![(0.0, f64::NAN), (1.0, 2.0)]],
                preserving: Some((f64::NEG_INFINITY, 1.0)),
                accuracy_floor: Some(Reference { name: "floor".into(), y: f64::NAN }),
                ..Default::default()
            }],
        };
        let back = serde_json::from_str(&serde_json::to_string(&dose).unwrap()).unwrap();
        let Figure::DoseResponse { panels, .. } = back else { panic!("another kind") };
        assert!(panels[0].random[0][0].1.is_nan() && panels[0].random[0][1] == (1.0, 2.0));
        assert!(panels[0].preserving.is_some_and(|r| r.0.is_nan() && r.1 == 1.0));
        assert!(panels[0].accuracy_floor.as_ref().is_some_and(|r| r.y.is_nan()));
    }
}
