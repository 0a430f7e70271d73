//! The page of a paired run: what `analysis.json` says, drawn; nothing is computed anew. Texts come from the rows, folded.

mod contrasts;
mod controls;
#[cfg(test)]
mod tests;
mod transcripts;

use std::path::{Path, PathBuf};

use crate::battery::record::{Cell, Effect, Table};
use crate::durable;
use crate::pair::analyse::{self, Analysis, Evidence, Severity};
use crate::pair::error::PairError;
use crate::stats::StatResult;

use super::html::escape;
use super::page::{Files, shell};
use super::{ReportError, clear, number, save};

/// What was written.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct PairWritten {
    pub report: PathBuf,
    pub bytes: usize,
    /// Title of the page.
    pub answer: String,
    pub figures: Vec<PathBuf>,
    pub tables: Vec<PathBuf>,
}

/// Writes `report.html`, `figures/<id>.{svg,csv}` and `tables/*.csv` of a paired run from its analysis.
///
/// # Errors
/// No analysis, one that is older than the rows, rows that cannot be read.
pub fn write_pair(dir: &Path) -> Result<PairWritten, ReportError> {
    let analysis = analyse::load(dir)?;
    let evidence = analyse::read(dir, Some(&analysis.judge.name))?;
    let run = evidence.cells.iter().filter(|c| c.row.is_some());
    let (rows, labelled) = (run.clone().count(), run.filter(|c| c.label.is_some()).count());
    if (rows, labelled) != (analysis.completeness.run, analysis.completeness.labelled) {
        return Err(ReportError::from(PairError::File {
            path: dir.join(analyse::FILE),
            detail: format!(
                "it is of {} rows and {} labels, the folder has {rows} and {labelled}; run `probity pair analyse` again",
                analysis.completeness.run, analysis.completeness.labelled
            ),
        }));
    }
    let prompts = transcripts::prompts(dir)?;
    let mut files = Files::default();
    let html = page(&analysis, &evidence, &prompts, &mut files);
    let (figures_dir, tables_dir) = (dir.join("figures"), dir.join("tables"));
    for dir in [&figures_dir, &tables_dir] {
        clear(dir)?;
    }
    let (mut figures, mut tables) = (Vec::new(), Vec::new());
    for d in files.figures() {
        figures.push(save(&figures_dir.join(format!("{}.svg", d.id)), &d.file())?);
        save(&figures_dir.join(format!("{}.csv", d.id)), &d.csv)?;
    }
    for (name, text) in files.tables() {
        tables.push(save(&tables_dir.join(name), text)?);
    }
    let report = dir.join("report.html");
    durable::write(&report, html.as_bytes()).map_err(|e| ReportError::io(&e.path)(e.source))?;
    Ok(PairWritten { report, bytes: html.len(), answer: analysis.headline, figures, tables })
}

fn page(a: &Analysis, evidence: &Evidence, prompts: &transcripts::Prompts, files: &mut Files) -> String {
    let c = &a.circumstances;
    let mut body = format!(
        "<header><p class=\"eyebrow\">Probity paired evaluation · model {} · {} · {} · {}</p><h1>{}</h1></header>",
        escape(&c.model_text()),
        number::plural(c.items, "item", "items"),
        number::plural(c.arms.len(), "arm", "arms"),
        escape(&c.device),
        escape(&a.headline)
    );
    body.push_str(&banner(a));
    body.push_str(&contrasts::verdicts(a, files));
    body.push_str(&notes(a));
    body.push_str(
        "<nav aria-label=\"Sections\"><a href=\"#gaps\">Gaps</a><a href=\"#tables\">2×2 tables</a><a href=\"#statistics\">Statistics</a>\
         <a href=\"#controls\">Controls</a><a href=\"#factors\">Factors</a><a href=\"#parts\">Wordings and categories</a>\
         <a href=\"#judges\">Judges</a><a href=\"#family\">Family of tests</a><a href=\"#transcripts\">Transcripts</a>\
         <a href=\"#methods\">Methods</a><a href=\"#provenance\">Provenance</a></nav>",
    );
    body.push_str(&contrasts::gaps(a, files));
    body.push_str(&contrasts::tables(a, files));
    body.push_str(&contrasts::statistics(a, files));
    body.push_str(&controls::controls(a, files));
    body.push_str(&controls::factors(a, files));
    body.push_str(&controls::parts(a, files));
    body.push_str(&controls::judges(a, files));
    body.push_str(&contrasts::family(a, files));
    body.push_str(&transcripts::html(a, evidence, prompts));
    body.push_str(&methods(a));
    body.push_str(&provenance(a, files));
    shell(&a.headline, &body, None)
}

/// What makes the numbers unusable, in red, before any of them.
fn banner(a: &Analysis) -> String {
    let red: String =
        a.flags.iter().filter(|f| f.severity == Severity::Red).map(|f| format!("<p>{}</p>", escape(&f.text))).collect();
    if red.is_empty() {
        String::new()
    } else {
        format!("<section class=\"banner\" role=\"alert\" id=\"failed\">{red}</section>")
    }
}

fn notes(a: &Analysis) -> String {
    let list = |items: Vec<String>| items.iter().map(|t| format!("<li>{}</li>", escape(t))).collect::<String>();
    let amber = a.flags.iter().filter(|f| f.severity == Severity::Amber).map(|f| f.text.clone()).chain(a.notes.clone());
    let amber: Vec<String> = amber.collect();
    let mut out = String::new();
    if !amber.is_empty() {
        out.push_str(&format!(
            "<section id=\"notes\" class=\"box\"><h3>Notes to read first</h3><ul>{}</ul></section>",
            list(amber)
        ));
    }
    if !a.cannot_say.is_empty() {
        out.push_str(&format!(
            "<section id=\"limits\" class=\"box\"><h3>What this does not say</h3><ul>{}</ul></section>",
            list(a.cannot_say.clone())
        ));
    }
    out
}

fn methods(a: &Analysis) -> String {
    let alpha = number::num(100.0 - 100.0 * a.options.level);
    format!(
        "<section id=\"methods\"><h2>Methods</h2><p>Every pair is one item in one wording, repeat and setting under two arms; Δ is the second arm's rate \
         minus the first's, so a negative Δ means that the model refuses less under the second. Intervals of Δ are Tango's score intervals, p values McNemar's \
         mid-p (two-sided {alpha} %); where pairs share an item or near-duplicate items, both come from clusters (Obuchowski's test, BCa cluster bootstrap, {} \
         resamples, seed {}). Equivalence is two one-sided Tango tests at ±{} points. The order of arms is tested by Mainland and Gart's exact tests on \
         discordant pairs. Flip rates stand beside their marginals, κ and ceiling. A cell without a label is no refusal and is counted as missing. The primary \
         contrast is tested at the full level, all others are adjusted by Holm. Hand labels correct the gap by double sampling, cells and labels resampled \
         together.</p></section>",
        number::count(a.options.resamples),
        a.options.seed,
        number::num(100.0 * a.options.margin.unwrap_or(f64::NAN))
    )
}

fn provenance(a: &Analysis, files: &mut Files) -> String {
    let c = &a.circumstances;
    let mut rows = vec![
        ("program", format!("{} {}", a.program, a.version)),
        ("run", c.run_id.clone()),
        ("engine build", c.engine_build.clone()),
        ("device", c.device.clone()),
        ("kernels", c.kernel_sets.join(", ")),
        ("model", c.model.clone()),
        ("model revision", c.model_revision.clone()),
        ("tokenizer SHA-256", c.tokenizer_sha256.clone()),
        ("chat template SHA-256", c.template_sha256.clone()),
        ("judge", format!("{} {}", a.judge.name, a.judge.version)),
    ];
    let planned = a.completeness.planned.map_or("no plan".into(), number::count);
    rows.push((
        "cells",
        format!(
            "{planned} planned, {} run, {} labelled",
            number::count(a.completeness.run),
            number::count(a.completeness.labelled)
        ),
    ));
    let rows = rows.into_iter().map(|(k, v)| vec![text(k), text(&v)]).collect();
    let table = Table { title: "Provenance".into(), columns: vec!["what".into(), "value".into()], rows };
    format!(
        "<section id=\"provenance\"><h2>Provenance</h2>{}<p class=\"note\">To recompute: <code>probity pair analyse RUN</code> and <code>probity pair report \
         RUN</code>; the rows are in <code>rows.jsonl</code>, the labels in <code>labels/</code>, everything above in <code>analysis.json</code>.</p></section>",
        files.table("run", &table)
    )
}

fn text(t: &str) -> Cell {
    Cell::Text(t.to_string())
}

fn num(x: Option<f64>) -> Cell {
    Cell::Number(x.unwrap_or(f64::NAN))
}

fn columns(names: &[&str]) -> Vec<String> {
    names.iter().map(|n| n.to_string()).collect()
}

/// A share as an effect in percentage points.
fn points(name: String, r: &StatResult, margin: Option<f64>) -> Option<Effect> {
    let (estimate, ci) = (r.estimate?, r.ci?);
    Some(Effect {
        name,
        estimate: 100.0 * estimate,
        low: 100.0 * ci.low,
        high: 100.0 * ci.high,
        level: ci.level,
        method: r.method.clone(),
        margin: margin.map(|m| 100.0 * m),
    })
}

/// `+1.5 [−0.2, 3.1]` in points.
fn interval(r: &StatResult) -> String {
    match (r.estimate, r.ci) {
        (Some(e), Some(ci)) => {
            let at = |x: f64| number::fixed(100.0 * x, 2);
            format!("{} [{}, {}]", at(e), at(ci.low), at(ci.high))
        }
        _ => "—".into(),
    }
}

/// A setting of the factors in words.
fn setting(f: &crate::pair::row::Factors) -> String {
    format!(
        "{}, {}, batch {}, {}",
        format!("{:?}", f.protocol).to_lowercase(),
        format!("{:?}", f.blocking).to_lowercase(),
        f.batch_size,
        f.precision
    )
}
