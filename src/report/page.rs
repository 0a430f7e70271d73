//! The page: title with the answer, verdict table, notes and health flags, then the sections.

use std::collections::HashSet;

use crate::battery::record::{Cell, Effect, Health, Outcome, Table, TestResult};

use super::figures::{Drawing, forest};
use super::html::{self, escape, slug};
use super::read::{Run, TestFolder};
use super::transcripts::Budget;
use super::{csv, number, palette, sections};

/// The battery, so that a report can say what a run leaves out.
const BATTERY: [&str; 8] = [
    "generalisation",
    "monitoring invariance",
    "residual-stream probing",
    "counter-training resistance",
    "KL ablation and alignment-faking contrast",
    "activation steering",
    "monitoring-cue training",
    "seed replication",
];

/// A finished page and the files that go with it.
pub struct Page {
    pub html: String,
    pub answer: String,
    pub failed_checks: usize,
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
    fn data(&mut self, name: &str, table: &Table) {
        self.names.insert(name.to_string());
        self.tables.push((format!("{name}.csv"), csv::table(table)));
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

pub fn build(run: &Run, mut budget: Budget) -> Page {
    let m = &run.manifest;
    let mut files = Files::default();
    let answer = answer(run);
    let checks = checks(run);
    let failed = checks.iter().filter(|(_, h)| !h.ok).count();
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
    body.push_str(&match (checks.len(), failed) {
        (0, _) => "No health checks recorded. ".to_string(),
        (n, 0) => format!("<a href=\"#health\">All {n} health checks passed</a>. "),
        (n, f) => format!("<a href=\"#health\">{f} of {n} health checks failed</a>. "),
    });
    if !notes.is_empty() {
        body.push_str(&format!(
            "<a href=\"#notes\">{} to read first</a>.",
            number::plural(notes.len(), "note", "notes")
        ));
    }
    body.push_str("</p></header>");
    body.push_str(&verdicts(run, &mut files));
    if !notes.is_empty() {
        body.push_str("<section id=\"notes\" class=\"box\"><h3>Notes to read first</h3><ul>");
        for n in &notes {
            body.push_str(&format!("<li>{}</li>", escape(n)));
        }
        body.push_str("</ul></section>");
    }
    body.push_str(&navigation(run));
    body.push_str(&health(&checks, &mut files));
    for test in &run.tests {
        body.push_str(&sections::test(run, test, &mut files, &mut budget));
    }
    body.push_str(&sections::training(run, &mut files));
    body.push_str(&sections::all_effects(run, &mut files));
    body.push_str(&sections::methods(run));
    body.push_str(&sections::provenance(run, &mut files));
    body.push_str(&sections::recompute(run));

    let html = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width,initial-scale=1\">\n\
         <meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'\">\n\
         <meta name=\"color-scheme\" content=\"light dark\">\n<title>{} · Probity</title>\n<style>{}{}</style>\n</head>\n\
         <body>\n<main>\n{body}\n</main>\n</body>\n</html>\n",
        escape(&answer),
        include_str!("style.css"),
        palette::css()
    );
    Page { html, answer, failed_checks: failed, figures: files.figures, tables: files.tables }
}

fn domain(name: &str) -> String {
    if name == "frugality" { "compute frugality".to_string() } else { name.replace('_', " ") }
}

/// Word, CSS class and glyph of an outcome; `None` = not run yet. Shape and word carry it without colour.
pub fn outcome(o: Option<Outcome>) -> (&'static str, &'static str, &'static str) {
    const HALF: &str = "<circle cx=\"8\" cy=\"8\" r=\"6.2\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\"/>\
                        <path d=\"M8 1.8a6.2 6.2 0 0 0 0 12.4z\" fill=\"currentColor\"/>";
    match o {
        Some(Outcome::Supports) => ("supports", "yes", "<circle cx=\"8\" cy=\"8\" r=\"7.2\" fill=\"currentColor\"/>"),
        Some(Outcome::Refutes) => (
            "refutes",
            "no",
            "<path d=\"M3 3l10 10M13 3L3 13\" stroke=\"currentColor\" stroke-width=\"3\" fill=\"none\"/>",
        ),
        Some(Outcome::Inconclusive) => ("inconclusive", "mid", HALF),
        Some(Outcome::NotTested) => (
            "not tested",
            "off",
            "<circle cx=\"8\" cy=\"8\" r=\"6.2\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\"/>",
        ),
        None => (
            "not run yet",
            "off",
            "<circle cx=\"8\" cy=\"8\" r=\"6.2\" fill=\"none\" stroke=\"currentColor\" stroke-width=\"2\" stroke-dasharray=\"2.5 2.4\"/>",
        ),
    }
}

pub fn badge(o: Option<Outcome>) -> String {
    let (word, class, glyph) = outcome(o);
    format!("<span class=\"badge {class}\"><svg viewBox=\"0 0 16 16\" aria-hidden=\"true\">{glyph}</svg>{word}</span>")
}

/// The results in one line.
fn answer(run: &Run) -> String {
    let outcomes: Vec<Outcome> = run.tests.iter().filter_map(|t| Some(t.result.as_ref()?.verdict.outcome)).collect();
    let n = outcomes.len();
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
fn notes(run: &Run) -> Vec<String> {
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

fn verdicts(run: &Run, files: &mut Files) -> String {
    let mut out = String::from(
        "<section id=\"verdicts\" aria-label=\"Verdicts\"><div class=\"scroll\" tabindex=\"0\"><table class=\"verdicts\"><thead><tr>\
         <th scope=\"col\">Test</th><th scope=\"col\">Outcome</th><th scope=\"col\">Primary effect</th><th scope=\"col\">p</th>\
         <th scope=\"col\">Holm p</th><th scope=\"col\">n</th><th scope=\"col\">What would change it</th></tr></thead><tbody>",
    );
    for t in &run.tests {
        out.push_str(&verdict_row(t));
    }
    if run.tests.is_empty() {
        out.push_str("<tr><td class=\"t\">No test has been run yet.</td><td></td><td></td><td></td><td></td><td></td><td></td></tr>");
    }
    out.push_str("</tbody></table></div>");
    files.data("verdicts", &verdict_table(run));
    let absent: Vec<String> = (1..)
        .zip(BATTERY)
        .filter(|(n, _)| !run.tests.iter().any(|t| test_number(t) == Some(*n)))
        .map(|(n, name)| format!("{n} {name}"))
        .collect();
    out.push_str("<p class=\"note\">");
    let m = run.tests.iter().filter_map(|t| t.result.as_ref()?.verdict.p).count();
    if m > 0 {
        out.push_str(&format!(
            "Holm p: adjusted over {} of this run. In the small plots the line is zero and the shade the equivalence margin. ",
            number::plural(m, "primary p-value", "primary p-values")
        ));
    }
    if !absent.is_empty() {
        out.push_str(&format!("Not part of this run: {}. ", escape(&absent.join(", "))));
    }
    out.push_str("<a class=\"file\" href=\"tables/verdicts.csv\">tables/verdicts.csv</a></p></section>");
    out
}

/// Number of a test: its result's, or the digits its folder name starts with.
pub fn test_number(t: &TestFolder) -> Option<u32> {
    match &t.result {
        Some(r) => Some(r.number),
        None => t.id.split('-').next().and_then(|n| n.parse().ok()),
    }
}

/// Title of a test, with its number.
pub fn test_title(t: &TestFolder) -> String {
    match &t.result {
        Some(r) => format!("{} {}", r.number, r.title),
        None => t.id.clone(),
    }
}

fn verdict_row(t: &TestFolder) -> String {
    let id = slug(&t.id);
    let head = format!(
        "<tr><td class=\"t\"><a href=\"#test-{id}\">{}</a></td><td class=\"o\">{}</td>",
        escape(&test_title(t)),
        badge(t.result.as_ref().map(|r| r.verdict.outcome))
    );
    let Some(r) = &t.result else {
        let rows = t.rows.as_ref().map_or(0, Vec::len);
        let so_far = if rows == 0 {
            "no rows yet".to_string()
        } else {
            format!("{} written so far", number::plural(rows, "row", "rows"))
        };
        return format!(
            "{head}<td class=\"e\"><small>{so_far}</small></td><td></td><td></td><td></td><td class=\"c\">running it</td></tr>"
        );
    };
    let v = &r.verdict;
    let effect = match &v.primary {
        Some(e) => effect_cell(e, &id),
        None => format!("<small>{}</small>", escape(&v.reason)),
    };
    let effect = if v.outcome == Outcome::NotTested {
        format!("<small>not tested: {}</small>", escape(&v.reason))
    } else {
        effect
    };
    let p = |p: Option<f64>| p.map_or("—".to_string(), number::p_value);
    format!(
        "{head}<td class=\"e\">{effect}</td><td class=\"p\" data-l=\"p\">{}</td><td class=\"p\" data-l=\"Holm p\">{}</td>\
         <td class=\"k\"><small>{}</small><small>{}</small><small>{}</small></td><td class=\"c\" data-l=\"What would change it:\">{}</td></tr>",
        escape(&p(v.p)),
        escape(&p(v.p_holm)),
        number::plural(r.n_items, "item", "items"),
        number::plural(r.n_prompts, "prompt", "prompts"),
        number::plural(r.n_seeds, "seed", "seeds"),
        escape(&v.would_change)
    )
}

fn effect_cell(e: &Effect, id: &str) -> String {
    format!(
        "<span class=\"big\">{}</span>{}<small>{}; {} interval{}</small>",
        escape(&number::interval(e)),
        forest::mini(e, &format!("mini-{id}")),
        escape(&e.name),
        number::percent(e.level).replace(".0", ""),
        if is_log(e) { format!("; a change of {}", number::log_as_percent(e)) } else { String::new() }
    )
}

/// Is the effect a difference of logarithms (`log tokens, …`)?
pub fn is_log(e: &Effect) -> bool {
    forest::unit(e).starts_with("log ") && !forest::unit(e).contains("odds")
}

fn verdict_table(run: &Run) -> Table {
    let columns = [
        "test",
        "outcome",
        "effect",
        "estimate",
        "low",
        "high",
        "level",
        "margin",
        "p",
        "p_holm",
        "n_items",
        "n_prompts",
        "n_rows",
        "n_seeds",
        "reason",
        "would_change",
    ];
    let number = |x: Option<f64>| Cell::Number(x.unwrap_or(f64::NAN));
    let rows = run
        .tests
        .iter()
        .map(|t| {
            let word = Cell::Text(outcome(t.result.as_ref().map(|r| r.verdict.outcome)).0.to_string());
            let mut row = vec![Cell::Text(t.id.clone()), word];
            if let Some(TestResult { verdict: v, n_items, n_prompts, n_rows, n_seeds, .. }) = &t.result {
                let e = v.primary.as_ref();
                row.push(Cell::Text(e.map(|e| e.name.clone()).unwrap_or_default()));
                row.extend(
                    [e.map(|e| e.estimate), e.map(|e| e.low), e.map(|e| e.high), e.map(|e| e.level)].map(number),
                );
                row.extend([e.and_then(|e| e.margin), v.p, v.p_holm].map(number));
                row.extend([n_items, n_prompts, n_rows, n_seeds].map(|n| Cell::Number(*n as f64)));
                row.extend([Cell::Text(v.reason.clone()), Cell::Text(v.would_change.clone())]);
            }
            row.resize(columns.len(), Cell::Text(String::new()));
            row
        })
        .collect();
    Table { title: "Verdicts".to_string(), columns: columns.iter().map(|c| c.to_string()).collect(), rows }
}

/// Health checks of all tests with the title of their test, failed ones first, the fatal before the others.
fn checks(run: &Run) -> Vec<(String, Health)> {
    let mut out: Vec<(String, Health)> = Vec::new();
    for t in &run.tests {
        let Some(r) = &t.result else { continue };
        out.extend(r.health.iter().map(|h| (test_title(t), h.clone())));
        if t.rows.is_none() {
            let detail = format!("tests/{}/items.jsonl is missing: nobody can recompute this result", t.id);
            out.push((test_title(t), Health { name: "rows kept".to_string(), ok: false, fatal: false, detail }));
        }
    }
    out.sort_by_key(|(_, h)| (h.ok, !h.fatal));
    out
}

fn health(checks: &[(String, Health)], files: &mut Files) -> String {
    let text = |s: &str| Cell::Text(s.to_string());
    let rows = checks.iter().map(|(test, h)| {
        vec![
            text(test),
            text(&h.name),
            text(if h.ok { "passed" } else { "failed" }),
            text(&h.fatal.to_string()),
            text(&h.detail),
        ]
    });
    let columns = ["test", "check", "state", "fatal", "detail"].map(str::to_string).to_vec();
    files.data("health", &Table { title: "Health".to_string(), columns, rows: rows.collect() });

    let item = |(test, h): &(String, Health)| {
        let (class, glyph) = if h.ok { ("good", "✓") } else { ("bad", "✗") };
        let state = match (h.ok, h.fatal) {
            (true, _) => "passed",
            (false, true) => "failed: makes its test “not tested”",
            (false, false) => "failed",
        };
        format!(
            "<li><span class=\"g {class}\" aria-hidden=\"true\">{glyph}</span><b>{}</b> <span class=\"{class}\">{state}</span> \
             <span class=\"mu\">· {}</span><br>{}</li>",
            escape(&h.name),
            escape(test),
            escape(&h.detail)
        )
    };
    let (passed, failed): (Vec<_>, Vec<_>) = checks.iter().partition(|(_, h)| h.ok);
    let mut out = String::from("<section id=\"health\"><h2>Health checks</h2>");
    if checks.is_empty() {
        out.push_str("<p>None recorded yet.</p>");
    }
    if !failed.is_empty() {
        out.push_str(&format!("<ul class=\"checks\">{}</ul>", failed.into_iter().map(item).collect::<String>()));
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
    let mut out = String::from("<nav aria-label=\"Sections\"><a href=\"#health\">Health checks</a>");
    for t in &run.tests {
        out.push_str(&format!("<a href=\"#test-{}\">{}</a>", slug(&t.id), escape(&test_title(t))));
    }
    for (id, name) in [
        ("training", "Training"),
        ("effects", "All effects"),
        ("methods", "Methods"),
        ("provenance", "Provenance"),
        ("recompute", "How to recompute"),
    ] {
        out.push_str(&format!("<a href=\"#{id}\">{name}</a>"));
    }
    out.push_str("</nav>");
    out
}
