//! The page: title with the answer, verdict table, notes and health flags, then the sections.

use std::collections::HashSet;

use crate::battery::record::{Cell, Health, Outcome, Table};

use super::figures::Drawing;
use super::html::{self, escape, slug};
use super::read::Run;
use super::transcripts::{self, Budget};
use super::verdicts::{self, test_title};
use super::{csv, number, palette, published, sections};

/// A finished page and the files that go with it.
pub struct Page {
    pub html: String,
    pub answer: String,
    pub failed_checks: usize,
    pub by_design_checks: usize,
    pub figures: Vec<Drawing>,
    /// (name, content) in `tables/`.
    pub tables: Vec<(String, String)>,
}

/// Files collected while the page is written.
#[derive(Default)]
pub struct Files {
    figures: Vec<Drawing>,
    tables: Vec<(String, String)>,
    names: HashSet<String>,
}

impl Files {
    /// Adds a figure and returns its HTML; a taken id gets `prefix` before it.
    pub fn figure(&mut self, prefix: &str, mut drawing: Drawing) -> String {
        drawing.id = self.free(&drawing.id, &format!("{}-{}", slug(prefix), drawing.id));
        let html = drawing.html();
        self.figures.push(drawing);
        html
    }

    /// Adds a table as CSV and returns its HTML.
    pub fn table(&mut self, prefix: &str, table: &Table) -> String {
        let stem = format!("{}-{}", slug(prefix), slug(&table.title));
        let name = format!("{}.csv", self.free(&stem, &stem));
        let out = html::table(table, Some(&format!("tables/{name}")));
        self.tables.push((name, csv::table(table)));
        out
    }

    /// A table that the page shows in its own way.
    pub fn data(&mut self, name: &str, table: &Table) {
        self.names.insert(name.to_string());
        self.tables.push((format!("{name}.csv"), csv::table(table)));
    }

    pub fn figures(&self) -> &[Drawing] {
        &self.figures
    }

    /// (name, content) in `tables/`.
    pub fn tables(&self) -> &[(String, String)] {
        &self.tables
    }

    fn free(&mut self, first: &str, second: &str) -> String {
        let mut name = first.to_string();
        let mut n = 1;
        while !self.names.insert(name.clone()) {
            name = if n == 1 { second.to_string() } else { format!("{second}-{n}") };
            n += 1;
        }
        name
    }
}

pub fn build(run: &Run, budget: Budget) -> Page {
    let m = &run.manifest;
    let mut files = Files::default();
    let answer = answer(run);
    let checks = checks(run);
    let count = |f: &dyn Fn(&Health) -> bool| checks.iter().filter(|(_, h)| f(h)).count();
    let (failed, by_design) = (count(&|h| !h.ok && !h.by_design), count(&|h| !h.ok && h.by_design));
    let notes = notes(run);

    let mut body = format!(
        "<header><p class=\"eyebrow\">Probity report · {} · {} profile · model {} · {}</p><h1>{}</h1>",
        escape(&domain(&m.domain)),
        escape(&m.profile),
        escape(&m.model),
        number::utc(m.started_unix),
        escape(&answer)
    );
    body.push_str("<p class=\"status\">");
    body.push_str(&health_link(checks.len() - by_design, failed, by_design, "#health"));
    if !notes.is_empty() {
        body.push_str(&format!(
            "<a href=\"#notes\">{} to read first</a>.",
            number::plural(notes.len(), "note", "notes")
        ));
    }
    body.push_str("</p></header>");
    body.push_str(&verdicts::html(run, &mut files));
    body.push_str(&published::first_screen(run, &mut files));
    if !notes.is_empty() {
        body.push_str("<section id=\"notes\" class=\"box\"><h3>Notes to read first</h3><ul>");
        for n in &notes {
            body.push_str(&format!("<li>{}</li>", escape(n)));
        }
        body.push_str("</ul></section>");
    }
    body.push_str(&navigation(run));
    body.push_str(&health(&checks, &mut files));
    body.push_str(&sections::power(run, &mut files));
    for test in &run.tests {
        body.push_str(&sections::test(run, test, &mut files));
    }
    body.push_str(&sections::dose(run, &mut files));
    body.push_str(&sections::training(run, &mut files));
    body.push_str(&sections::all_effects(run, &mut files));
    body.push_str(&transcripts::html(run, budget));
    body.push_str(&sections::methods(run));
    body.push_str(&sections::provenance(run, &mut files));
    body.push_str(&sections::recompute(run));

    let html = shell(&answer, &body, Some(transcripts::SCRIPT));
    Page {
        html,
        answer,
        failed_checks: failed,
        by_design_checks: by_design,
        figures: files.figures,
        tables: files.tables,
    }
}

/// The document around a body: style, content security policy, and at most the page's own script.
pub fn shell(title: &str, body: &str, script: Option<&str>) -> String {
    let allowed = if script.is_some() { transcripts::script_hash() } else { "none".to_string() };
    format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; script-src '{allowed}'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{} · Probity</title>\n<style>{}{}</style>\n</head>\n\
         <body>\n<main>\n{body}\n</main>\n{}</body>\n</html>\n",
        escape(title),
        include_str!("style.css"),
        palette::css(),
        script.map(|s| format!("<script>{s}</script>\n")).unwrap_or_default()
    )
}

/// How many of `n` checks failed, those that fail by design counted apart.
pub fn health_link(n: usize, failed: usize, by_design: usize, to: &str) -> String {
    let apart = match by_design {
        0 => String::new(),
        k => format!("; {k} more {} by design", if k == 1 { "fails" } else { "fail" }),
    };
    match (n + by_design, failed) {
        (0, _) => "No health checks recorded. ".to_string(),
        (_, 0) => format!("<a href=\"{to}\">All {n} health checks passed</a>{apart}. "),
        (_, f) => format!("<a href=\"{to}\">{f} of {n} health checks failed</a>{apart}. "),
    }
}

pub fn domain(name: &str) -> String {
    if name == "frugality" { "compute frugality".to_string() } else { name.replace('_', " ") }
}

/// The results in one line.
pub fn answer(run: &Run) -> String {
    let outcomes: Vec<Outcome> = run.tests.iter().filter_map(|t| Some(t.result.as_ref()?.verdict.outcome)).collect();
    let n = outcomes.len();
    if let (true, Some(s)) = (run.tests.is_empty(), &run.sweep) {
        return s.heading();
    }
    let count = |o: Outcome| outcomes.iter().filter(|x| **x == o).count();
    let (s, r) = (count(Outcome::Supports), count(Outcome::Refutes));
    let (i, x) = (count(Outcome::Inconclusive), count(Outcome::NotTested));
    let tests = number::plural(n, "test", "tests");
    let verb = |k: usize, one: &str, many: &str| if k == 1 { one.to_string() } else { many.to_string() };
    let mut text = match (n, s, r) {
        (0, ..) => return "No verdict yet: no test of this run has finished".to_string(),
        (_, 0, 0) if i == 0 => format!("No verdict: none of {tests} could be carried out properly"),
        (_, 0, 0) => format!("No verdict either way: {i} of {tests} inconclusive"),
        (_, s, 0) => format!("{s} of {tests} {} a disposition", verb(s, "supports", "support")),
        (_, 0, r) => format!("{r} of {tests} {} a disposition", verb(r, "refutes", "refute")),
        (_, s, r) => format!(
            "Mixed: {s} of {tests} {} a disposition, {r} {} it",
            verb(s, "supports", "support"),
            verb(r, "refutes", "refute")
        ),
    };
    if i > 0 && s + r > 0 {
        text.push_str(&format!(", {i} inconclusive"));
    }
    if x > 0 && (s + r + i) > 0 {
        text.push_str(&format!(", {x} not tested"));
    }
    text
}

/// What qualifies the table: the run's own notes, what is missing, and too few seeds.
pub fn notes(run: &Run) -> Vec<String> {
    let mut notes = run.manifest.notes.clone();
    let seeds = run.tests.iter().filter_map(|t| t.result.as_ref()).map(|r| r.n_seeds).min();
    if let Some(n) = seeds.filter(|n| *n < 5) {
        notes.push(format!(
            "{} of training: {}.",
            number::plural(n, "seed", "seeds"),
            if n <= 1 {
                "intervals carry the uncertainty over prompts and samples, and none over training runs"
            } else {
                "too few for a claim about training runs in general (test 8 asks for at least 5)"
            }
        ));
    }
    notes.extend(run.remarks.iter().cloned());
    notes
}

/// Health checks of all tests with the title of their test, failed ones first, the fatal before the others, those by design last of them.
pub fn checks(run: &Run) -> Vec<(String, Health)> {
    let mut out: Vec<(String, Health)> = Vec::new();
    for t in &run.tests {
        let Some(r) = &t.result else { continue };
        out.extend(r.health.iter().map(|h| (test_title(t), h.clone())));
        let elsewhere = r.rows_of.as_ref().and_then(|id| run.tests.iter().find(|t| &t.id == id));
        if t.rows.is_none() && elsewhere.is_none_or(|t| t.rows.is_none()) {
            let detail = format!("tests/{}/items.jsonl is missing: nobody can recompute this result", t.id);
            out.push((
                test_title(t),
                Health { name: "rows kept".to_string(), ok: false, fatal: false, by_design: false, detail },
            ));
        }
    }
    out.sort_by_key(|(_, h)| (h.ok, h.by_design, !h.fatal));
    out
}

fn state(h: &Health) -> &'static str {
    match (h.ok, h.by_design) {
        (true, _) => "passed",
        (false, true) => "by design",
        (false, false) => "failed",
    }
}

fn health(checks: &[(String, Health)], files: &mut Files) -> String {
    let text = |s: &str| Cell::Text(s.to_string());
    let rows = checks
        .iter()
        .map(|(test, h)| vec![text(test), text(&h.name), text(state(h)), text(&h.fatal.to_string()), text(&h.detail)]);
    let columns = ["test", "check", "state", "fatal", "detail"].map(str::to_string).to_vec();
    files.data("health", &Table { title: "Health".to_string(), columns, rows: rows.collect() });

    let item = |(test, h): &(String, Health)| {
        let (class, glyph) = match state(h) {
            "passed" => ("good", "✓"),
            "failed" => ("bad", "✗"),
            _ => ("unknown", "○"),
        };
        let state = if h.fatal && !h.ok { "failed: makes its test “not tested”" } else { state(h) };
        format!(
            "<li><span class=\"g {class}\" aria-hidden=\"true\">{glyph}</span><b>{}</b> <span class=\"{class}\">{state}</span> \
             <span class=\"mu\">· {}</span><br>{}</li>",
            escape(&h.name),
            escape(test),
            escape(&h.detail)
        )
    };
    let (passed, failed): (Vec<_>, Vec<_>) = checks.iter().partition(|(_, h)| h.ok);
    let (by_design, failed): (Vec<_>, Vec<_>) = failed.into_iter().partition(|(_, h)| h.by_design);
    let mut out = String::from("<section id=\"health\"><h2>Health checks</h2>");
    if checks.is_empty() {
        out.push_str("<p>None recorded yet.</p>");
    }
    if !failed.is_empty() {
        out.push_str(&format!("<ul class=\"checks\">{}</ul>", failed.into_iter().map(item).collect::<String>()));
    }
    if !by_design.is_empty() {
        out.push_str(&format!(
            "<details class=\"more\"><summary>{} by design: a training did what it is paid for, which the check would take for a fault \
             anywhere else</summary><ul class=\"checks\">{}</ul></details>",
            number::plural(by_design.len(), "check fails", "checks fail"),
            by_design.into_iter().map(item).collect::<String>()
        ));
    }
    if !passed.is_empty() {
        out.push_str(&format!(
            "<details class=\"more\"><summary>{} passed</summary><ul class=\"checks\">{}</ul></details>",
            number::plural(passed.len(), "check", "checks"),
            passed.into_iter().map(item).collect::<String>()
        ));
    }
    out.push_str("</section>");
    out
}

fn navigation(run: &Run) -> String {
    let mut out = String::from(
        "<nav aria-label=\"Sections\"><a href=\"#health\">Health checks</a>\
         <a href=\"#power\">What this run can detect</a>",
    );
    for t in &run.tests {
        out.push_str(&format!("<a href=\"#test-{}\">{}</a>", slug(&t.id), escape(&test_title(t))));
    }
    if run.sweep.is_some() {
        out.push_str("<a href=\"#dose\">Dose of the value term</a>");
    }
    for (id, name) in [
        ("training", "Training"),
        ("effects", "All effects"),
        ("transcripts", "Transcripts"),
        ("methods", "Methods"),
        ("provenance", "Provenance"),
        ("recompute", "How to recompute"),
    ] {
        out.push_str(&format!("<a href=\"#{id}\">{name}</a>"));
    }
    out.push_str("</nav>");
    out
}
