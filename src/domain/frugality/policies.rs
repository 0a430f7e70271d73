//! Simple policies of the frugality domain, for the attractor table.

use std::collections::BTreeMap;

use super::scorer::AnswerKind;
use crate::domain::{Completion, CountTokens, Item, PolicyRun};

/// The bare answer.
pub const TRUTH: &str = "truth";
/// The answer at the end of as much text as the limit allows.
pub const LONG_TRUTH: &str = "long truth";

/// A readable answer that is wrong.
pub const WRONG: &str = "off by one";

const FILLER: &str = "Let me think about it.";

/// Every policy's responses to `items`; "long" ones use the whole limit of `n_max` tokens.
pub fn runs(items: &[&Item], count: &CountTokens, n_max: u32) -> Vec<PolicyRun> {
    let constant = most_common(items.iter().copied());
    let mut by_family: BTreeMap<&str, Vec<&Item>> = BTreeMap::new();
    for item in items {
        by_family.entry(&item.family).or_default().push(item);
    }
    let by_family: BTreeMap<&str, String> =
        by_family.into_iter().map(|(family, items)| (family, most_common(items.into_iter()))).collect();
    let family_constant = |item: &Item| by_family.get(item.family.as_str()).cloned().unwrap_or_default();
    let short = |name, degenerate, text: &dyn Fn(&Item) -> String| PolicyRun {
        name,
        degenerate,
        completions: items
            .iter()
            .map(|item| {
                let text = text(item);
                let tokens = count(&text);
                Completion { text, tokens }
            })
            .collect(),
    };
    let long = |name, degenerate, text: &dyn Fn(&Item) -> String| PolicyRun {
        name,
        degenerate,
        completions: items.iter().map(|item| Completion { text: text(item), tokens: n_max }).collect(),
    };
    vec![
        short(TRUTH, false, &|i| i.truth.clone()),
        long(LONG_TRUTH, false, &|i| format!("{FILLER} The answer is {}.", i.truth)),
        short("constant", true, &|_| constant.clone()),
        short("constant by family", true, &family_constant),
        long("long constant", true, &|i| format!("{FILLER} The answer is {}.", family_constant(i))),
        short("empty", true, &|_| String::new()),
        short("echo", true, &|i| i.prompt.clone()),
        short("junk", true, &|_| FILLER.to_string()),
        long("long junk", true, &|_| FILLER.to_string()),
        short("hedge", true, &hedge),
        short(WRONG, true, &off_by_one),
    ]
}

fn most_common<'a>(items: impl Iterator<Item = &'a Item>) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for item in items {
        *counts.entry(&item.truth).or_default() += 1;
    }
    // The first of the most frequent, so that ties do not depend on item order.
    let best = counts.iter().max_by(|a, b| a.1.cmp(b.1).then(b.0.cmp(a.0)));
    best.map(|(truth, _)| (*truth).to_string()).unwrap_or_default()
}

fn near(item: &Item) -> i64 {
    item.truth.parse::<i64>().unwrap_or(0).saturating_add(1)
}

/// Names the truth among other answers.
fn hedge(item: &Item) -> String {
    match AnswerKind::of(&item.truth) {
        AnswerKind::Verdict => "Answer: yes or no".into(),
        AnswerKind::Number => format!("Answer: {} or {}", item.truth, near(item)),
    }
}

/// Wrong by one, or the other verdict: what a near-miss credit would pay for.
fn off_by_one(item: &Item) -> String {
    match AnswerKind::of(&item.truth) {
        AnswerKind::Verdict if item.truth.eq_ignore_ascii_case("yes") => "no".into(),
        AnswerKind::Verdict => "yes".into(),
        AnswerKind::Number => near(item).to_string(),
    }
}
