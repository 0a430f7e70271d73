//! The first screen: one row a test, with its outcome, effect, p-values, n and what would change the verdict.

use crate::battery::record::{Cell, Effect, Outcome, Table, TestResult};

use super::figures::forest;
use super::html::{escape, slug};
use super::number;
use super::page::Files;
use super::read::{Run, TestFolder};
use super::rules;

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

/// The table, and under it what it leaves out.
pub fn html(run: &Run, files: &mut Files) -> String {
    let mut out = String::from(
        "<section id=\"verdicts\" aria-label=\"Verdicts\"><div class=\"scroll\" tabindex=\"0\"><table class=\"verdicts\"><thead><tr>\
         <th scope=\"col\">Test</th><th scope=\"col\">Outcome</th><th scope=\"col\">Primary effect</th><th scope=\"col\">p</th>\
         <th scope=\"col\">Holm p</th><th scope=\"col\">n</th><th scope=\"col\">What would change it</th></tr></thead><tbody>",
    );
    for t in &run.tests {
        out.push_str(&verdict_row(t));
        out.push_str(&rules::row(&run.rules, t));
    }
    if run.tests.is_empty() {
        out.push_str("<tr><td class=\"t\" colspan=\"7\">No test has been run yet.</td></tr>");
    }
    out.push_str("</tbody></table></div>");
    files.data("verdicts", &verdict_table(run));
    let absent: Vec<String> = (1..)
        .zip(BATTERY)
        .filter(|(n, _)| !run.tests.iter().any(|t| test_number(t) == Some(*n)))
        .map(|(n, name)| format!("{n} {name}"))
        .collect();
    out.push_str("<p class=\"note\">");
    let m = run.tests.iter().filter(|t| t.result.is_some()).count();
    if m > 0 {
        out.push_str(&format!(
            "Holm p: adjusted over {} of this run; a test without a p counts as 1. In the small plots the line is zero and the shade the equivalence margin. \
             Prompts are distinct canonical texts. ",
            number::plural(m, "test", "tests")
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
            "{head}<td class=\"e\"><small>{so_far}</small></td><td class=\"p\"></td><td class=\"p\"></td><td class=\"k\"></td>\
             <td class=\"c\" data-l=\"What would change it:\">running it</td></tr>"
        );
    };
    let v = &r.verdict;
    let effect = match &v.primary {
        _ if v.outcome == Outcome::NotTested => format!("<small>not tested: {}</small>", escape(&v.reason)),
        Some(e) => effect_cell(e, &id),
        None => format!("<small>{}</small>", escape(&v.reason)),
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

pub fn effect_cell(e: &Effect, id: &str) -> String {
    let change = if is_log(e) { format!("; change {}", number::log_as_percent(e)) } else { String::new() };
    format!(
        "<span class=\"fx\"><span class=\"big\">{}</span>{}</span><small>{}; {} interval{change}</small>",
        escape(&number::interval(e)),
        forest::mini(e, &format!("mini-{id}")),
        escape(&e.name),
        number::percent(e.level).replace(".0", ""),
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
