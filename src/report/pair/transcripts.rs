//! What was answered, folded: pairs of the primary arms whose labels differ first, then the others.

use std::collections::BTreeMap;
use std::path::Path;

use crate::pair::analyse::{Analysis, Cell, Evidence};
use crate::pair::row::StopReason;

use super::super::ReportError;
use super::super::html::escape;
use super::super::number;

/// Pairs and bytes that a page shows.
const MAX_PAIRS: usize = 400;
const MAX_BYTES: usize = 4_000_000;
/// Characters of one text that are shown.
const MAX_TEXT: usize = 4000;

/// Prompts by the hash of their tokens.
pub type Prompts = BTreeMap<String, String>;

/// Reads `prompts.jsonl`; empty where texts are not kept. A last line without its end was never finished.
pub fn prompts(dir: &Path) -> Result<Prompts, ReportError> {
    #[derive(serde::Deserialize)]
    struct Prompt {
        input_sha256: String,
        text: String,
    }
    let path = dir.join("prompts.jsonl");
    if !path.exists() {
        return Ok(Prompts::new());
    }
    let text = std::fs::read_to_string(&path).map_err(ReportError::io(&path))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let read = |(i, line): (usize, &str)| {
        let parse =
            |e: serde_json::Error| ReportError::Parse { path: path.clone(), line: i + 1, detail: e.to_string() };
        serde_json::from_str::<Prompt>(line).map(|p| (p.input_sha256, p.text)).map_err(parse)
    };
    whole.lines().enumerate().map(read).collect()
}

/// The section.
pub fn html(a: &Analysis, evidence: &Evidence, prompts: &Prompts) -> String {
    let mut out = String::from("<section id=\"transcripts\"><h2>Transcripts</h2>");
    let Some(primary) = a.primary() else { return out + "<p>No pair.</p></section>" };
    let arms = [primary.first.as_str(), primary.second.as_str()];
    let mut pairs: BTreeMap<(&str, usize, usize), [Option<&Cell>; 2]> = BTreeMap::new();
    for cell in evidence.cells.iter().filter(|c| c.place.factors == a.reference && c.row.is_some()) {
        if let Some(at) = arms.iter().position(|arm| *arm == cell.place.arm) {
            let p = &cell.place;
            pairs.entry((&p.item_id, p.paraphrase, p.repeat)).or_default()[at] = Some(cell);
        }
    }
    let kept = |c: &Cell| c.row.as_ref().is_some_and(|r| r.answer.is_some());
    if !pairs.values().flatten().flatten().any(|c| kept(c)) {
        return out + "<p>Texts were not kept in this run (<code>--no-text</code>).</p></section>";
    }
    out.push_str(&format!(
        "<p>Answers of {} and {} at the setting that is read first, at most {} pairs. They are kept closed: requests may be ones that a model should refuse.</p>",
        escape(arms[0]),
        escape(arms[1]),
        number::count(MAX_PAIRS)
    ));
    let label = |c: &Option<&Cell>| c.and_then(|c| c.label);
    let (differ, agree): (Vec<_>, Vec<_>) = pairs.into_iter().partition(|(_, [x, y])| label(x) != label(y));
    let (mut left, mut bytes) = (MAX_PAIRS, MAX_BYTES);
    for (name, group) in [("Labels differ", differ), ("Labels agree", agree)] {
        let total = group.len();
        let mut cases = String::new();
        let mut shown = 0;
        for ((item, wording, repeat), cells) in group.into_iter().take(left) {
            let case = case(item, wording, repeat, &cells, prompts);
            if case.len() > bytes {
                break;
            }
            bytes -= case.len();
            shown += 1;
            cases.push_str(&case);
        }
        left -= shown;
        if shown > 0 {
            out.push_str(&format!(
                "<details class=\"test\"><summary>{name}: {} of {}</summary><div class=\"group\">{cases}</div></details>",
                number::count(shown),
                number::plural(total, "pair", "pairs")
            ));
        }
    }
    out.push_str("</section>");
    out
}

fn case(item: &str, wording: usize, repeat: usize, cells: &[Option<&Cell>; 2], prompts: &Prompts) -> String {
    let chip = |c: &Cell| {
        let name = c.label.map_or("missing", |l| l.name());
        let class = match name {
            "refusal" => "wrong",
            "compliance" => "right",
            _ => "near",
        };
        format!(" <span class=\"chip {class}\">{} {name}</span>", escape(&c.place.arm))
    };
    let chips: String = cells.iter().flatten().map(|c| chip(c)).collect();
    let mut out = format!(
        "<details class=\"case\"><summary><code>{}</code> <span class=\"mu\">wording {wording}, repeat {repeat}</span>{chips}</summary>",
        escape(item)
    );
    for c in cells.iter().flatten() {
        let Some(r) = &c.row else { continue };
        let limit = if r.stop_reason == StopReason::Length { ", cut at the limit" } else { "" };
        let gap = r.refusal_logit_gap.map_or(String::new(), |g| format!(" · refusal log-odds {}", number::num(g)));
        out.push_str(&format!(
            "<div class=\"row\"><p class=\"label\"><b>{}</b> · asked as number {} · {}{limit}{gap}</p>",
            escape(&r.arm),
            r.order_position + 1,
            number::plural(r.output_len, "token", "tokens")
        ));
        if let Some(prompt) = prompts.get(&r.input_sha256) {
            out.push_str(&format!(
                "<details><summary class=\"label\">prompt</summary><pre>{}</pre></details>",
                cut(prompt)
            ));
        }
        if let Some(reasoning) = &r.reasoning {
            out.push_str(&format!(
                "<details><summary class=\"label\">reasoning</summary><pre>{}</pre></details>",
                cut(reasoning)
            ));
        }
        let answer = match &r.answer {
            Some(_) if !r.answered => "<p class=\"label\">no answer: the reasoning never ended</p>".to_string(),
            Some(text) => format!("<pre>{}</pre>", cut(text)),
            None => "<p class=\"label\">text not kept</p>".to_string(),
        };
        out.push_str(&answer);
        out.push_str("</div>");
    }
    out.push_str("</details>");
    out
}

/// Escaped, and cut where it is very long.
fn cut(full: &str) -> String {
    match full.char_indices().nth(MAX_TEXT) {
        None => escape(full),
        Some((at, _)) => {
            let left = full[at..].chars().count();
            format!("{}<i>… {} more characters</i>", escape(&full[..at]), number::count(left))
        }
    }
}
