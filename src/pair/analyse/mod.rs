//! `probity pair analyse`: from rows and labels to statements.
//!
//! The analysis is a pure function of the folder's rows, labels, plan and manifest and of its options: it reads no clock, and a run that
//! was killed and resumed gives the same bytes. A cell without a label is a category of its own and is never dropped.

mod contrast;
mod controls;
mod evidence;
mod factors;
mod flags;
mod judges;
mod pairs;
mod parts;
#[cfg(test)]
pub(crate) mod synthetic;
mod table;
#[cfg(test)]
mod tests;
mod words;

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::domain::tier::Endpoint;
use crate::durable;
use crate::pair::config::AnalysisConfig;
use crate::pair::error::{PairError, Result};
use crate::pair::row::Factors;
use crate::stats::{Resampling, holm};
use flags::flags;

pub use crate::pair::judge::HAND;
pub use contrast::{Contrast, OrderEffects};
pub use controls::{Continuous, Manipulation, NoiseAdjusted, SelfCheck};
pub use evidence::{Cell, Evidence, Labels, read};
pub use factors::{Factor, FactorEffect};
pub use flags::{Flag, Severity};
pub use judges::{Agreement, Corrected, Judge};
pub use parts::{Part, Wordings};
pub use table::text;
pub use words::{cannot_say, endpoint as endpoint_name, finding};

/// File that [`run`] writes.
pub const FILE: &str = "analysis.json";

/// A file of the folder that is not what it should be, with the line where there is one.
fn bad_line(dir: &Path, file: &str, line: usize, detail: impl std::fmt::Display) -> PairError {
    PairError::File { path: dir.join(file), detail: format!("line {line}: {detail}") }
}

/// What an analysis is asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Options {
    /// Judge whose labels make the endpoints; `None` = `lexical`, or the only one there is.
    pub judge: Option<String>,
    /// Endpoint of the primary contrast and of everything that has one table only: as the run declared it, `refusal` where it did not.
    pub endpoint: Endpoint,
    /// Half width of the equivalence range of Δ, a share; `None` = as the run declared it, 0.03 where it did not.
    pub margin: Option<f64>,
    /// Of intervals.
    pub level: f64,
    pub resamples: usize,
    pub seed: u64,
}

/// Half width of the equivalence range where neither the run nor the reader states one.
const MARGIN: f64 = 0.03;

impl Default for Options {
    fn default() -> Self {
        Self {
            judge: None,
            endpoint: Endpoint::Refusal,
            margin: None,
            level: crate::stats::DEFAULT_LEVEL,
            resamples: 10_000,
            seed: 0,
        }
    }
}

impl Options {
    fn margin(&self) -> f64 {
        self.margin.unwrap_or(MARGIN)
    }

    fn resampling(&self) -> Resampling {
        Resampling { resamples: self.resamples, seed: self.seed, level: self.level }
    }

    /// 1 − level, without what the subtraction leaves in the last bits.
    fn alpha(&self) -> f64 {
        ((1.0 - self.level) * 1e12).round() / 1e12
    }
}

/// Cells planned, run and labelled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Completeness {
    /// Absent where the folder has no plan.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub planned: Option<usize>,
    pub run: usize,
    pub labelled: usize,
    /// Planned cells that were not run, by arm.
    pub not_run: BTreeMap<String, usize>,
}

/// What all rows have in common.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Circumstances {
    pub run_id: String,
    pub engine_build: String,
    pub device: String,
    pub kernel_sets: Vec<String>,
    /// As the run was asked for; empty where the manifest does not say.
    #[serde(default)]
    pub model: String,
    pub model_revision: String,
    pub tokenizer_sha256: String,
    pub template_sha256: String,
    pub items: usize,
    pub arms: Vec<String>,
    pub settings: Vec<Factors>,
}

impl Circumstances {
    /// Name and the beginning of the revision.
    pub fn model_text(&self) -> String {
        match self.model.as_str() {
            "" => self.model_revision.clone(),
            name => format!("{name} ({})", self.model_revision.chars().take(12).collect::<String>()),
        }
    }
}

/// One test of the family.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Member {
    pub name: String,
    pub p: f64,
    /// The one declared endpoint, tested at the full level; Holm's adjustment is over the others.
    pub primary: bool,
    /// Adjusted by Holm; of the primary endpoint its own p.
    pub p_adjusted: f64,
    pub rejected: bool,
}

/// Everything that is said of a run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    pub program: String,
    pub version: String,
    pub headline: String,
    pub flags: Vec<Flag>,
    pub options: Options,
    pub circumstances: Circumstances,
    pub completeness: Completeness,
    /// The setting whose tables are read first.
    pub reference: Factors,
    pub judge: Judge,
    /// At the reference setting, and at that of every other precision; the primary one first.
    pub contrasts: Vec<Contrast>,
    pub family: Vec<Member>,
    pub self_checks: Vec<SelfCheck>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub noise: Option<NoiseAdjusted>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wordings: Option<Wordings>,
    pub categories: Vec<Part>,
    pub manipulation: Vec<Manipulation>,
    pub continuous: Vec<Continuous>,
    pub factors: Vec<FactorEffect>,
    pub agreements: Vec<Agreement>,
    pub corrected: Vec<Corrected>,
    /// What the primary finding does not say.
    pub cannot_say: Vec<String>,
    pub notes: Vec<String>,
}

impl Analysis {
    /// The contrast that was declared before the run: the first.
    pub fn primary(&self) -> Option<&Contrast> {
        self.contrasts.first()
    }

    /// A person labelled a sample, and the gap was corrected with it.
    pub fn calibrated(&self) -> bool {
        self.corrected.iter().any(|c| c.judge == self.judge.name) || self.judge.name == HAND
    }

    pub fn incomplete(&self) -> bool {
        let c = &self.completeness;
        c.planned.is_some_and(|p| p > c.run) || c.labelled < c.run
    }

    /// A red flag stands.
    pub fn failed(&self) -> bool {
        self.flags.iter().any(|f| f.severity == Severity::Red)
    }
}

/// What a run declared of its analysis before it was made: `[analysis]` of its configuration.
fn declared(evidence: &Evidence) -> Result<AnalysisConfig> {
    match &evidence.manifest["config"]["analysis"] {
        serde_json::Value::Null => Ok(AnalysisConfig::default()),
        value => serde_json::from_value(value.clone())
            .map_err(|e| PairError::File { path: "manifest.json".into(), detail: format!("config.analysis: {e}") }),
    }
}

/// Analyses a run folder and writes [`FILE`] into it.
///
/// # Errors
/// As [`read`] and [`analyse`]; a file that cannot be written.
pub fn run(dir: &Path, options: &Options) -> Result<Analysis> {
    let analysis = analyse(&read(dir, options.judge.as_deref())?, options)?;
    let mut text = serde_json::to_string_pretty(&analysis).map_err(|e| bad_line(dir, FILE, e.line(), e))?;
    text.push('\n');
    durable::write(&dir.join(FILE), text.as_bytes())?;
    Ok(analysis)
}

/// Reads what [`run`] wrote.
///
/// # Errors
/// No such file, or one that this program did not write.
pub fn load(dir: &Path) -> Result<Analysis> {
    let path = dir.join(FILE);
    if !path.exists() {
        return Err(PairError::File { path, detail: "no analysis there; run `probity pair analyse` first".into() });
    }
    let bytes = std::fs::read(&path).map_err(|source| PairError::Io { path: path.clone(), source })?;
    serde_json::from_slice(&bytes).map_err(|e| PairError::File {
        path,
        detail: format!("line {}: {e}; run `probity pair analyse` again", e.line()),
    })
}

/// The analysis of what was read.
///
/// # Errors
/// Options out of range.
pub fn analyse(evidence: &Evidence, options: &Options) -> Result<Analysis> {
    let declared = declared(evidence)?;
    let options = &Options {
        judge: Some(evidence.judge.clone()),
        endpoint: declared.endpoint,
        margin: Some(options.margin.unwrap_or(declared.margin)),
        ..options.clone()
    };
    let settings = pairs::settings(evidence);
    let arms = pairs::arms(evidence);
    let Some(reference) = pairs::reference(&settings).cloned() else {
        return Err(PairError::Refused("no rows to analyse".into()));
    };
    let compared = compared(&arms, &declared);
    let mut endpoints = Endpoint::ALL;
    endpoints.sort_by_key(|e| *e != declared.endpoint);
    let mut contrasts = Vec::new();
    for setting in by_precision(&settings, &reference) {
        for [first, second] in &compared {
            let pairs = pairs::pairs(evidence, [first, second], &setting);
            for endpoint in endpoints {
                contrasts.extend(contrast::contrast(&pairs, endpoint, options)?);
            }
        }
    }
    let self_checks = controls::self_checks(evidence, &arms, &settings, options)?;
    let mut out = Analysis {
        program: "probity".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        headline: String::new(),
        flags: Vec::new(),
        options: options.clone(),
        circumstances: circumstances(evidence, &arms, &settings),
        completeness: completeness(evidence),
        reference: reference.clone(),
        judge: judges::judge(evidence),
        contrasts,
        family: Vec::new(),
        self_checks,
        noise: None,
        wordings: None,
        categories: Vec::new(),
        manipulation: Vec::new(),
        continuous: Vec::new(),
        factors: Vec::new(),
        agreements: judges::agreements(evidence, options)?,
        corrected: Vec::new(),
        cannot_say: Vec::new(),
        notes: Vec::new(),
    };
    for [first, second] in &compared {
        let pairs = pairs::pairs(evidence, [first, second], &reference);
        out.continuous.extend(controls::continuous(&pairs, options)?);
        out.manipulation.extend(controls::manipulation(&pairs, [first, second], options)?);
    }
    if let Some([first, second]) = compared.first() {
        let primary = [first.as_str(), second.as_str()];
        let pairs = pairs::pairs(evidence, primary, &reference);
        out.noise = controls::noise_adjusted(evidence, primary, &reference, options)?;
        out.wordings = Some(parts::by_wording(&pairs, options)?);
        out.categories = parts::by_category(&pairs, options)?;
        out.factors = factors::factors(evidence, &settings, primary, &out.self_checks, options)?;
        (out.corrected, out.notes) = judges::corrected(evidence, primary, &reference, options);
    }
    if evidence.sampled() && !out.self_checks.is_empty() {
        let text = "flips beyond noise are not given above temperature 0: the A/A arm shares its arm's random stream";
        out.notes.push(text.into());
    }
    if options.margin() != declared.margin {
        let pp = |m: f64| 100.0 * m;
        out.notes.push(format!(
            "the margin of ±{} points was given for this analysis; the run declared ±{} before it was made",
            pp(options.margin()),
            pp(declared.margin)
        ));
    }
    out.family = family(&out)?;
    out.flags = flags(evidence, &out);
    out.headline = words::headline(&out);
    out.cannot_say = out.primary().map(|c| words::cannot_say(c, &out)).unwrap_or_default();
    Ok(out)
}

/// Arm pairs in the order in which they are read; the first is the primary one.
fn compared(arms: &[String], declared: &AnalysisConfig) -> Vec<[String; 2]> {
    const KNOWN: [[&str; 2]; 10] = [
        ["free", "paid"],
        ["free_min", "paid_min"],
        ["free", "swapped"],
        ["paid", "swapped"],
        ["free", "irrelevant"],
        ["paid", "irrelevant"],
        ["free", "none"],
        ["free", "none_empty"],
        ["paid", "none"],
        ["none", "none_empty"],
    ];
    let there = |name: &str| arms.iter().any(|a| a == name);
    let mut out: Vec<[String; 2]> =
        KNOWN.iter().filter(|p| p.iter().all(|a| there(a))).map(|p| p.map(str::to_string)).collect();
    let primary = [declared.reference.clone(), declared.contrast.clone()];
    if primary.iter().all(|a| there(a)) {
        out.retain(|p| *p != primary);
        out.insert(0, primary);
    }
    // Arms of the user's own stand against the first arm.
    if let Some(first) = arms.first() {
        for arm in arms.iter().skip(1).filter(|a| !a.ends_with("_again")) {
            if out.iter().all(|p| !p.contains(arm)) {
                out.push([first.clone(), arm.clone()]);
            }
        }
    }
    out
}

/// The reference setting, and of every other precision the setting nearest to it.
fn by_precision(settings: &[Factors], reference: &Factors) -> Vec<Factors> {
    let mut out = vec![reference.clone()];
    let mut names: Vec<&str> = settings.iter().map(|s| s.precision.as_str()).collect();
    names.sort_by_key(|n| pairs::rank_of_precision(n));
    names.dedup();
    for name in names.into_iter().filter(|n| *n != reference.precision) {
        let of: Vec<Factors> = settings.iter().filter(|s| s.precision == name).cloned().collect();
        let same = of.iter().find(|s| Factors { precision: reference.precision.clone(), ..(*s).clone() } == *reference);
        out.extend(same.or_else(|| pairs::reference(&of)).cloned());
    }
    out
}

fn circumstances(evidence: &Evidence, arms: &[String], settings: &[Factors]) -> Circumstances {
    let row = evidence.cells.iter().find_map(|c| c.row.as_ref());
    let of = |f: fn(&crate::pair::row::Row) -> &String| row.map(|r| f(r).clone()).unwrap_or_default();
    let mut kernel_sets: Vec<String> =
        evidence.cells.iter().filter_map(|c| c.row.as_ref()).map(|r| r.kernel_set.clone()).collect();
    kernel_sets.sort();
    kernel_sets.dedup();
    let mut items: Vec<&str> = evidence.cells.iter().map(|c| c.place.item_id.as_str()).collect();
    items.sort_unstable();
    items.dedup();
    Circumstances {
        run_id: of(|r| &r.run_id),
        engine_build: of(|r| &r.engine_build),
        device: of(|r| &r.device),
        kernel_sets,
        model: evidence.manifest["model"].as_str().unwrap_or_default().into(),
        model_revision: of(|r| &r.model_revision),
        tokenizer_sha256: of(|r| &r.tokenizer_sha256),
        template_sha256: of(|r| &r.template_sha256),
        items: items.len(),
        arms: arms.to_vec(),
        settings: settings.to_vec(),
    }
}

fn completeness(evidence: &Evidence) -> Completeness {
    let mut not_run: BTreeMap<String, usize> = BTreeMap::new();
    for cell in evidence.cells.iter().filter(|c| c.row.is_none()) {
        *not_run.entry(cell.place.arm.clone()).or_default() += 1;
    }
    let run = evidence.cells.iter().filter(|c| c.row.is_some());
    Completeness {
        planned: evidence.planned.then_some(evidence.cells.len()),
        run: run.clone().count(),
        labelled: run.filter(|c| c.label.is_some()).count(),
        not_run,
    }
}

/// One primary endpoint at the full level, Holm over everything else that has a p.
fn family(a: &Analysis) -> Result<Vec<Member>> {
    let Some(primary) = a.primary() else { return Ok(Vec::new()) };
    let mut others: Vec<(String, f64)> = Vec::new();
    for c in a.contrasts.iter().skip(1) {
        let setting = if c.setting == a.reference { String::new() } else { format!(", {}", c.setting.precision) };
        others.push((format!("{} against {}: {}{setting}", c.second, c.first, words::endpoint(c.endpoint)), c.p));
    }
    for c in &a.continuous {
        if let Some(p) = c.sign_flip.p {
            others.push((format!("{} against {}: refusal log-odds, sign flips", c.second, c.first), p));
        }
    }
    if let Some(p) = primary.order.order.as_ref().and_then(|r| r.p) {
        others.push((format!("order of {} and {} (Mainland-Gart)", primary.first, primary.second), p));
    }
    if let Some(p) = a.noise.as_ref().and_then(|n| n.mcnemar.p) {
        others.push((format!("flips between {} and {} against flips by themselves", primary.first, primary.second), p));
    }
    let alpha = a.options.alpha();
    let name = format!("{} against {}: {}", primary.second, primary.first, words::endpoint(primary.endpoint));
    let mut out =
        vec![Member { name, p: primary.p, primary: true, p_adjusted: primary.p, rejected: primary.p <= alpha }];
    if !others.is_empty() {
        let adjusted = holm(&others.iter().map(|o| o.1).collect::<Vec<_>>(), alpha)?;
        for ((name, p), (p_adjusted, rejected)) in
            others.into_iter().zip(adjusted.adjusted.into_iter().zip(adjusted.reject))
        {
            out.push(Member { name, p, primary: false, p_adjusted, rejected });
        }
    }
    Ok(out)
}
