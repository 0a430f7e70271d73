//! What the arms really wrote: cases in which arms or conditions disagree first, then a sample; and counts from the rows.

mod select;

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};

use crate::battery::record::{Cell, Decoding, Row, Table};
use crate::domain::Words;
use crate::generate::Finish;

use super::html::{escape, slug};
use super::number;
use super::read::Run;
use super::verdicts::test_title;
use select::{Case, Fate, select};

/// Rows and bytes that all transcripts of a report may take.
pub const MAX_ROWS: usize = 2000;
pub const MAX_BYTES: usize = 6_000_000;
/// Characters of one text that are shown.
const MAX_TEXT: usize = 4000;
/// Groups of cases with their own heading; rarer patterns share one.
const MAX_PATTERNS: usize = 8;

/// The page's only script: it shows the filter and hides what does not fit. Without it everything can be read.
pub const SCRIPT: &str = include_str!("filter.js");

/// What is left of the allowance.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub rows: usize,
    pub bytes: usize,
}

/// `sha256-…` of [`SCRIPT`] for the page's content security policy: no other script runs.
pub fn script_hash() -> String {
    format!("sha256-{}", base64(&Sha256::digest(SCRIPT.as_bytes())))
}

/// RFC 4648, with padding.
fn base64(bytes: &[u8]) -> String {
    const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in bytes.chunks(3) {
        let word = three.iter().enumerate().fold(0u32, |w, (i, b)| w | u32::from(*b) << (16 - 8 * i));
        for k in 0..4 {
            let letter = LETTERS[(word >> (18 - 6 * k)) as usize & 63] as char;
            out.push(if k <= three.len() { letter } else { '=' });
        }
    }
    out
}

pub fn decoding(d: Decoding) -> &'static str {
    match d {
        Decoding::Sample => "sampled",
        Decoding::Greedy => "greedy",
    }
}

/// The transcripts of all tests, closed, with a filter that only a script shows.
pub fn html(run: &Run, mut budget: Budget) -> String {
    let arms = &run.manifest.arms;
    let mut out = String::from("<section id=\"transcripts\"><h2>Transcripts</h2>");
    let with_rows: Vec<_> = run.tests.iter().filter_map(|t| Some((t, t.rows.as_ref()?))).collect();
    if with_rows.iter().all(|(_, rows)| rows.is_empty()) {
        out.push_str("<p>No rows yet.</p></section>");
        return out;
    }
    out.push_str(&format!(
        "<p>What the arms wrote, at most {} rows of the whole run: first the cases in which arms or conditions disagree on \
         correctness, then those in which lengths differ most, then a seeded sample of the rest from every test, arm and outcome.</p>",
        number::count(MAX_ROWS)
    ));
    out.push_str(&filter(run));
    for (at, (t, rows)) in with_rows.iter().enumerate() {
        let left = with_rows.len() - at;
        let share = Budget { rows: budget.rows / left, bytes: budget.bytes / left };
        let (text, used) = test(&slug(&t.id), &test_title(t), rows, arms, share);
        budget.rows = budget.rows.saturating_sub(used);
        budget.bytes = budget.bytes.saturating_sub(text.len());
        out.push_str(&text);
    }
    out.push_str("</section>");
    out
}

/// The form; it stays hidden where scripts do not run.
fn filter(run: &Run) -> String {
    let rows = || run.tests.iter().flat_map(|t| t.rows.iter().flatten());
    let option = |value: &str, text: &str| format!("<option value=\"{}\">{}</option>", escape(value), escape(text));
    let choice_of = |name: &str, shown: &str, options: String| {
        format!("<label>{shown} <select name=\"{name}\"><option value=\"\">all</option>{options}</select></label>")
    };
    let choice = |name: &str, options: String| choice_of(name, name, options);
    let words = |field: fn(&Row) -> &str| -> String {
        rows().map(field).filter(|v| !v.is_empty()).collect::<BTreeSet<_>>().into_iter().map(|v| option(v, v)).collect()
    };
    let tests = run.tests.iter().filter(|t| t.rows.as_ref().is_some_and(|r| !r.is_empty()));
    [
        "<form id=\"filter\" hidden aria-label=\"Filter of the transcripts\">".to_string(),
        choice("test", tests.map(|t| option(&format!("transcripts-{}", slug(&t.id)), &test_title(t))).collect()),
        choice("arm", run.manifest.arms.iter().map(|a| option(a, a)).collect()),
        choice_of("family", Words::of_domain(&run.manifest.domain).family, words(|r| &r.family)),
        choice("condition", words(|r| &r.condition)),
        choice("outcome", Fate::ALL.iter().map(|f| option(f.show().2, f.show().2)).collect()),
        "<label class=\"find\">text <input name=\"text\" type=\"search\" autocomplete=\"off\" spellcheck=\"false\"></label>".to_string(),
        "<button type=\"reset\">all rows</button> <output id=\"shown\" aria-live=\"polite\"></output></form>".to_string(),
    ]
    .concat()
}

/// One test within its budget: HTML and the rows that it shows.
fn test(id: &str, title: &str, rows: &[Row], arms: &[String], budget: Budget) -> (String, usize) {
    let chosen = select(rows, arms, budget.rows);
    let (mut used, mut bytes) = (0, 0);
    // cut off where the bytes end
    let mut write = |case: &Case| -> Option<String> {
        let html = case_html(rows, case);
        if bytes + html.len() > budget.bytes {
            bytes = budget.bytes;
            return None;
        }
        (used, bytes) = (used + case.rows.len(), bytes + html.len());
        Some(html)
    };
    let mut body = String::new();
    let mut section = |heading: String, groups: Vec<(String, Vec<Case>)>| {
        let groups: Vec<(String, Vec<String>)> = groups
            .into_iter()
            .map(|(label, cases)| (label, cases.iter().filter_map(&mut write).collect::<Vec<_>>()))
            .filter(|(_, cases)| !cases.is_empty())
            .collect();
        if groups.is_empty() {
            return;
        }
        body.push_str(&format!("<details class=\"group\"><summary>{heading}</summary>"));
        for (label, cases) in groups {
            body.push_str(&format!(
                "<details class=\"group\"><summary>{}: {}</summary>{}</details>",
                escape(&label),
                number::count(cases.len()),
                cases.concat()
            ));
        }
        body.push_str("</details>");
    };
    let n = chosen.differ.len();
    section(
        format!(
            "Arms or conditions disagree on correctness: {} of {} cases",
            number::count(n),
            number::count(chosen.differing)
        ),
        by_pattern(rows, chosen.differ),
    );
    section("They agree, and lengths differ most".to_string(), by_pattern(rows, chosen.lengths));
    let single = |i: usize| Case { rows: vec![i], differs: 0.0, stretch: 0.0, conditions: false };
    let of = |fate: Fate| chosen.sample.iter().filter(|i| Fate::of(&rows[**i]) == fate).map(|i| single(*i)).collect();
    section(
        "A sample of the rest".to_string(),
        Fate::ALL.iter().map(|f| (format!("{} {}", f.show().1, f.show().2), of(*f))).collect(),
    );
    let mut out = format!(
        "<details class=\"test\" id=\"transcripts-{id}\"><summary>{}: {} of {} rows</summary>",
        escape(title),
        number::count(used),
        number::count(rows.len())
    );
    if used < rows.len() {
        out.push_str(&format!(
            "<p class=\"note\">The others are in <code>tests/{}/items.jsonl</code>.</p>",
            escape(id)
        ));
    }
    out.push_str(&body);
    out.push_str("</details>");
    (out, used)
}

/// Cases by who was right, the most frequent pattern first.
fn by_pattern(rows: &[Row], cases: Vec<Case>) -> Vec<(String, Vec<Case>)> {
    let mut groups: Vec<(String, Vec<Case>)> = Vec::new();
    for case in cases {
        let label = pattern(rows, &case);
        match groups.iter_mut().find(|g| g.0 == label) {
            Some(g) => g.1.push(case),
            None => groups.push((label, vec![case])),
        }
    }
    groups.sort_by_key(|g| std::cmp::Reverse(g.1.len()));
    if groups.len() > MAX_PATTERNS {
        let rest = groups.split_off(MAX_PATTERNS - 1);
        groups.push(("other patterns".to_string(), rest.into_iter().flat_map(|g| g.1).collect()));
    }
    groups
}

/// `base ✓ control ✓ value ✗`, or `value: neutral ✓ monitored ✗`; `±` where rows of one arm differ.
fn pattern(rows: &[Row], case: &Case) -> String {
    let mut marks: Vec<(&str, char)> = Vec::new();
    for r in case.rows.iter().map(|i| &rows[*i]) {
        let (name, glyph) = (if case.conditions { &r.condition } else { &r.arm }, Fate::of(r).show().1);
        match marks.iter_mut().find(|m| m.0 == name) {
            Some(m) if m.1 != glyph => m.1 = '±',
            Some(_) => {}
            None => marks.push((name, glyph)),
        }
    }
    let arm = case.rows.first().filter(|_| case.conditions).map(|i| format!("{}: ", rows[*i].arm)).unwrap_or_default();
    arm + &marks.iter().map(|(name, glyph)| format!("{name} {glyph}")).collect::<Vec<_>>().join(" ")
}

fn case_html(all: &[Row], case: &Case) -> String {
    let rows: Vec<&Row> = case.rows.iter().map(|i| &all[*i]).collect();
    let Some(first) = rows.first() else { return String::new() };
    let place = |r: &Row| if r.cue.is_empty() { r.condition.clone() } else { r.cue.clone() };
    let shared = if case.conditions { format!("{}, seed {}", first.arm, first.seed) } else { place(first) };
    let sample = if first.decoding == Decoding::Sample { format!(" {}", first.sample) } else { String::new() };
    let mut out = format!(
        "<details class=\"case\" data-item=\"{0}\"><summary><code>{0}</code> <span class=\"mu\">{1}{2} · {3}{sample}</span>",
        escape(&first.item),
        escape(&first.family),
        escape(&if shared.is_empty() { String::new() } else { format!(" · {shared}") }),
        decoding(first.decoding)
    );
    for r in &rows {
        let (class, glyph, word) = Fate::of(r).show();
        out.push_str(&format!(
            " <span class=\"chip {class}\">{} <span title=\"{word}\">{glyph}</span> {}</span>",
            escape(&if case.conditions { place(r) } else { r.arm.clone() }),
            number::plural(r.n_tokens as usize, "token", "tokens")
        ));
    }
    out.push_str("</summary>");
    let same = rows.iter().all(|r| r.prompt == first.prompt);
    if same {
        out.push_str(&format!("<p class=\"label\">prompt</p><pre class=\"shared\">{}</pre>", text(&first.prompt)));
    }
    out.push_str(&format!("<p class=\"label\">truth</p><pre class=\"shared\">{}</pre>", text(&first.truth)));
    for r in rows {
        let prompt =
            if same { String::new() } else { format!("<p class=\"label\">prompt</p><pre>{}</pre>", text(&r.prompt)) };
        out.push_str(&row_html(r, &place(r), &prompt));
    }
    out.push_str("</details>");
    out
}

fn row_html(r: &Row, place: &str, prompt: &str) -> String {
    let (class, glyph, word) = Fate::of(r).show();
    let read = r.answer.as_deref().map_or("nothing".to_string(), |a| format!("“{a}”"));
    let limit = if r.finish == Finish::Length { ", cut at the limit" } else { "" };
    format!(
        "<div class=\"row\" data-arm=\"{arm}\" data-family=\"{}\" data-condition=\"{}\" data-outcome=\"{word}\">{prompt}\
         <p class=\"label\"><b>{arm}</b> seed {}{} · <span class=\"{class}\">{glyph} {word}</span> · read {} · {} ({} excess){limit} · \
         reward {} · mean log p {}</p><pre>{}</pre></div>",
        escape(&r.family),
        escape(&r.condition),
        r.seed,
        escape(&if place.is_empty() { String::new() } else { format!(" · {place}") }),
        escape(&read),
        number::plural(r.n_tokens as usize, "token", "tokens"),
        number::fixed(r.excess_tokens as f64, 0),
        number::num(r.reward),
        number::num(r.mean_logp),
        text(&r.text),
        arm = escape(&r.arm),
    )
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn base64_of_the_rfc() {
        for (plain, coded) in
            [("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("foobar", "Zm9vYmFy")]
        {
            assert_eq!(base64(plain.as_bytes()), coded);
        }
        assert!(!SCRIPT.to_lowercase().contains("</script") && !SCRIPT.contains("<!--"));
    }
}
