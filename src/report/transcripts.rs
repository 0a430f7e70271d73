//! What the arms really wrote: the cases in which they differ first, and counts of outcomes computed from the rows.

use std::collections::BTreeMap;

use crate::battery::record::{Cell, Decoding, Row, Table};
use crate::generate::Finish;

use super::html::escape;
use super::number;

/// Rows and bytes that all transcripts of a report may take.
pub const MAX_ROWS: usize = 2000;
pub const MAX_BYTES: usize = 6_000_000;
/// Characters of one text that are shown.
const MAX_TEXT: usize = 4000;
/// Part of the rows kept for cases in which arms differ in correctness, the rest going to the largest differences in length.
const DIFFERING_SHARE: f64 = 0.6;

/// What is left of the allowance.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub rows: usize,
    pub bytes: usize,
}

/// The same item under the same condition, cue, decoding and sample number, in all arms.
struct Case<'a> {
    rows: Vec<&'a Row>,
    /// Largest difference of correctness between arms.
    differs: f64,
    /// Largest log-ratio of lengths between arms.
    stretch: f64,
}

pub fn decoding(d: Decoding) -> &'static str {
    match d {
        Decoding::Sample => "sampled",
        Decoding::Greedy => "greedy",
    }
}

fn cases<'a>(rows: &'a [Row], arms: &[String]) -> Vec<Case<'a>> {
    let mut by_key: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for r in rows {
        let greedy = r.decoding == Decoding::Greedy;
        by_key.entry((&r.item, &r.condition, &r.cue, !greedy, r.sample)).or_default().push(r);
    }
    let range = |values: &mut dyn Iterator<Item = f64>| {
        let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        if high > low { high - low } else { 0.0 }
    };
    let mut cases: Vec<Case> = by_key
        .into_values()
        .map(|mut rows| {
            rows.sort_by_key(|r| (arms.iter().position(|a| *a == r.arm), r.seed));
            let several = rows.iter().any(|r| r.arm != rows[0].arm);
            let differs = if several { range(&mut rows.iter().map(|r| r.correct)) } else { 0.0 };
            let stretch =
                if several { range(&mut rows.iter().map(|r| f64::from(r.n_tokens.max(1)).ln())) } else { 0.0 };
            Case { rows, differs, stretch }
        })
        .collect();
    // stable: equal cases stay in the order of their keys
    cases.sort_by(|a, b| b.differs.total_cmp(&a.differs).then(b.stretch.total_cmp(&a.stretch)));
    cases
}

/// The transcripts of one test, closed; takes what it uses from `budget`.
pub fn html(id: &str, rows: &[Row], arms: &[String], budget: &mut Budget) -> String {
    let cases = cases(rows, arms);
    let (differ, agree): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|c| c.differs > 0.0);
    let allowed = budget.rows;
    let mut used = 0;
    let mut bytes = 0;
    let mut take = |from: &[&Case], limit: usize| -> Vec<String> {
        let mut out = Vec::new();
        for case in from {
            if used + case.rows.len() > limit || bytes >= budget.bytes {
                break;
            }
            let html = case_html(case);
            if bytes + html.len() > budget.bytes {
                break;
            }
            (used, bytes) = (used + case.rows.len(), bytes + html.len());
            out.push(html);
        }
        out
    };
    let mut first = take(&differ, (allowed as f64 * DIFFERING_SHARE) as usize);
    let second = take(&agree, allowed);
    first.extend(take(&differ[first.len()..], allowed));
    budget.rows -= used;
    budget.bytes = budget.bytes.saturating_sub(bytes);

    let mut out = format!(
        "<details class=\"transcripts\"><summary>Transcripts: {} of {} rows</summary>",
        number::count(used),
        number::count(rows.len())
    );
    if used < rows.len() {
        out.push_str(&format!(
            "<p class=\"note\">The others are in <code>tests/{}/items.jsonl</code>.</p>",
            escape(id)
        ));
    }
    for (title, shown, of) in [
        ("Arms differ in correctness", first, differ.len()),
        ("Arms agree in correctness, largest difference in length first", second, agree.len()),
    ] {
        let (n, all) = (number::count(shown.len()), number::plural(of, "case", "cases"));
        out.push_str(&format!(
            "<details class=\"group\"><summary>{title}: {n} of {all}</summary>{}</details>",
            shown.concat()
        ));
    }
    out.push_str("</details>");
    out
}

/// What became of a row: class, glyph, word.
fn fate(r: &Row) -> (&'static str, char, &'static str) {
    if r.answer.is_none() {
        ("unparsed", '?', "unparsable")
    } else if r.correct >= 1.0 {
        ("right", '✓', "right")
    } else if r.correct > 0.0 {
        ("near", '≈', "near miss")
    } else {
        ("wrong", '✗', "wrong")
    }
}

fn case_html(case: &Case) -> String {
    let first = case.rows[0];
    let place = match (first.cue.is_empty(), first.condition.is_empty()) {
        (false, _) => format!(" · {}", first.cue),
        (true, false) => format!(" · {}", first.condition),
        (true, true) => String::new(),
    };
    let sample = if first.decoding == Decoding::Sample { format!(" {}", first.sample) } else { String::new() };
    let mut out = format!(
        "<details class=\"case\"><summary><code>{}</code> <span class=\"mu\">{}{} · {}{sample}</span>",
        escape(&first.item),
        escape(&first.family),
        escape(&place),
        decoding(first.decoding)
    );
    for r in &case.rows {
        let (class, glyph, word) = fate(r);
        out.push_str(&format!(
            " <span class=\"chip {class}\">{} <span title=\"{word}\">{glyph}</span> {}</span>",
            escape(&r.arm),
            number::plural(r.n_tokens as usize, "token", "tokens")
        ));
    }
    out.push_str("</summary>");
    let mut prompts: Vec<&str> = Vec::new();
    for r in &case.rows {
        if !prompts.contains(&r.prompt.as_str()) {
            prompts.push(&r.prompt);
        }
    }
    for p in prompts {
        out.push_str(&format!("<p class=\"label\">prompt</p><pre>{}</pre>", text(p)));
    }
    out.push_str(&format!("<p class=\"label\">truth</p><pre>{}</pre>", text(&first.truth)));
    for r in &case.rows {
        let (class, glyph, word) = fate(r);
        let read = r.answer.as_deref().map_or("nothing".to_string(), |a| format!("“{a}”"));
        let limit = if r.finish == Finish::Length { ", cut at the limit" } else { "" };
        out.push_str(&format!(
            "<p class=\"label\"><b>{}</b> seed {} · <span class=\"{class}\">{glyph} {word}</span> · read {} · {} ({} excess){limit} · reward {} · mean log p {}</p><pre>{}</pre>",
            escape(&r.arm),
            r.seed,
            escape(&read),
            number::plural(r.n_tokens as usize, "token", "tokens"),
            number::fixed(r.excess_tokens as f64, 0),
            number::num(r.reward),
            number::num(r.mean_logp),
            text(&r.text)
        ));
    }
    out.push_str("</details>");
    out
}

/// Escaped, and cut where it is very long.
fn text(full: &str) -> String {
    match full.char_indices().nth(MAX_TEXT) {
        None => escape(full),
        Some((at, _)) => {
            let left = full[at..].chars().count();
            format!("{}<i>… {} more characters</i>", escape(&full[..at]), number::count(left))
        }
    }
}

/// Outcomes by arm, condition and decoding, counted from the rows.
pub fn outcomes(rows: &[Row], arms: &[String]) -> Table {
    let mut groups: BTreeMap<_, Vec<&Row>> = BTreeMap::new();
    for r in rows {
        let arm = arms.iter().position(|a| *a == r.arm);
        let sampled = r.decoding == Decoding::Sample;
        groups.entry((arm, &r.arm, r.split != "train", &r.split, &r.condition, sampled)).or_default().push(r);
    }
    let columns = [
        "arm",
        "split",
        "condition",
        "decoding",
        "rows",
        "right %",
        "wrong %",
        "unparsable %",
        "at limit %",
        "mean tokens",
        "median tokens",
    ];
    let rows = groups
        .into_iter()
        .map(|((_, arm, _, split, condition, _), rows)| {
            let n = rows.len() as f64;
            let share =
                |is: &dyn Fn(&Row) -> bool| Cell::Number(100.0 * rows.iter().filter(|r| is(r)).count() as f64 / n);
            let mut tokens: Vec<f64> = rows.iter().map(|r| f64::from(r.n_tokens)).collect();
            tokens.sort_by(f64::total_cmp);
            let middle = (tokens[(tokens.len() - 1) / 2] + tokens[tokens.len() / 2]) / 2.0;
            vec![
                Cell::Text(arm.clone()),
                Cell::Text(split.clone()),
                Cell::Text(condition.clone()),
                Cell::Text(decoding(rows[0].decoding).to_string()),
                Cell::Number(n),
                Cell::Number(100.0 * rows.iter().map(|r| r.correct).sum::<f64>() / n),
                share(&|r| r.answer.is_some() && r.correct <= 0.0),
                share(&|r| r.answer.is_none()),
                share(&|r| r.finish == Finish::Length),
                Cell::Number(tokens.iter().sum::<f64>() / n),
                Cell::Number(middle),
            ]
        })
        .collect();
    Table {
        title: "What became of every row".to_string(),
        columns: columns.iter().map(|c| c.to_string()).collect(),
        rows,
    }
}
