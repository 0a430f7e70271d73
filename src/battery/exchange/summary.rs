//! What imported rows say about themselves: health checks, and the study's statistics where two arms or conditions are there.

use std::collections::{BTreeMap, BTreeSet};

use super::{Record, UNSTATED};
use crate::battery::error::Result;
use crate::battery::health::{Purpose, Seen, of_answers};
use crate::battery::record::{Cell, Decoding, Health, Table};
use crate::domain::frugality::Task;
use crate::generate::Finish;
use crate::stats::{DEFAULT_LEVEL, McNemar, invariance_score, mcnemar, student_t, two_proportion_z};

/// Distinct values in order of appearance, the known ones first.
fn distinct<'a>(records: &'a [Record], known: &[&str], field: impl Fn(&'a Record) -> &'a str) -> Vec<&'a str> {
    let (mut seen, mut out) = (BTreeSet::new(), Vec::new());
    for value in records.iter().map(field) {
        if seen.insert(value) {
            out.push(value);
        }
    }
    out.sort_by_key(|v| known.iter().position(|k| k == v).unwrap_or(known.len()));
    out
}

fn check(name: impl Into<String>, ok: bool, detail: String) -> Health {
    Health { name: name.into(), ok, fatal: false, by_design: false, detail }
}

/// Parser share, censoring, constant answers, missing scores and lengths, repeated rows and prompts, overlap of items and with
/// training prompts.
pub fn health(records: &[Record], train: Option<&[Task]>) -> Vec<Health> {
    let seen: Vec<Seen<'_>> = records
        .iter()
        .map(|r| Seen {
            arm: &r.arm,
            condition: &r.condition,
            family: &r.family,
            correct: r.correct.map(|c| c == 1.0),
            answer: r.answer.as_deref(),
            truth: &r.truth,
            cut: r.finish.map(|f| f == Finish::Length),
        })
        .collect();
    let mut out = of_answers(&seen, &|arm| arm, &|_| Purpose::default());
    for arm in distinct(records, &[], |r| &r.arm) {
        let of: Vec<&Record> = records.iter().filter(|r| r.arm == arm).collect();
        let lengths: Vec<u32> = of.iter().filter_map(|r| r.n_tokens).collect();
        let unknown = of.iter().filter(|r| r.finish.is_none()).count();
        if let Some(&longest) = lengths.iter().max().filter(|_| unknown > 0) {
            let share = lengths.iter().filter(|n| **n == longest).count() as f64 / lengths.len() as f64;
            let detail = format!(
                "how {unknown} rows ended is not known (--max-tokens names the limit); {:.1} % have the largest length, {longest}",
                100.0 * share
            );
            out.push(check(format!("pile at the largest length, {arm}"), share < 0.1 || longest <= 2, detail));
        }
        let absent = of.len() - lengths.len();
        if absent > 0 {
            let detail = format!("{absent} of {} rows have no length; --tokenizer DIR counts them", of.len());
            out.push(check(format!("lengths, {arm}"), false, detail));
        }
        let unscored = of.iter().filter(|r| r.correct.is_none()).count();
        if unscored > 0 {
            let detail = format!("{unscored} of {} rows have no score; --rescore gives them one", of.len());
            out.push(check(format!("unscored rows, {arm}"), false, detail));
        }
    }
    out.extend(repeats(records));
    out.extend(overlap(records));
    if let Some(train) = train {
        let prompts: BTreeSet<String> = train.iter().map(Task::canonical).collect();
        for family in distinct(records, &[], |r| &r.family) {
            let items: BTreeMap<&str, &str> = records
                .iter()
                .filter(|r| r.family == family)
                .map(|r| (r.item.as_str(), r.canonical.as_str()))
                .collect();
            let seen = items.values().filter(|c| prompts.contains(**c)).count();
            let detail = format!("{seen} of {} items have a prompt that occurs in the training file", items.len());
            out.push(check(format!("overlap with training, {family}"), seen == 0, detail));
        }
    }
    out
}

/// Rows that say the same thing twice, and prompts that several items share.
fn repeats(records: &[Record]) -> Vec<Health> {
    let mut seen = BTreeSet::new();
    let key = |r: &'_ Record| {
        (r.arm.clone(), r.seed, r.condition.clone(), r.item.clone(), r.decoding == Decoding::Greedy, r.sample)
    };
    let repeated: Vec<&Record> = records.iter().filter(|r| !seen.insert(key(r))).collect();
    let example = repeated.first().map_or(String::new(), |r| format!(", e.g. {} under {}", r.item, r.condition));
    let detail = format!("{} rows repeat arm, seed, condition, item and sample of another{example}", repeated.len());
    let mut out = vec![check("repeated rows", repeated.is_empty(), detail)];
    for condition in distinct(records, &["neutral"], |r| &r.condition) {
        let of = || records.iter().filter(|r| r.condition == condition);
        let items: BTreeSet<&str> = of().map(|r| r.item.as_str()).collect();
        let prompts: BTreeSet<&str> = of().map(|r| r.canonical.as_str()).collect();
        let detail = format!(
            "{} distinct prompts in {} items, {condition}: the prompt is the unit (--cluster canonical)",
            prompts.len(),
            items.len()
        );
        out.push(check(format!("duplicate prompts, {condition}"), prompts.len() >= items.len(), detail));
        let mut asked: BTreeMap<&str, &str> = BTreeMap::new();
        let other = of().find(|r| asked.insert(&r.item, &r.canonical).is_some_and(|c| c != r.canonical));
        if let Some(r) = other {
            let detail = format!("item {} has two prompts: rows that pair by item would compare two tasks", r.item);
            out.push(Health {
                name: format!("one prompt an item, {condition}"),
                ok: false,
                fatal: true,
                by_design: false,
                detail,
            });
        }
    }
    out
}

/// Whether arms and conditions have the same items: what pairs can rest on.
fn overlap(records: &[Record]) -> Vec<Health> {
    let mut cells: BTreeMap<(&str, &str), BTreeSet<(u64, &str)>> = BTreeMap::new();
    for r in records {
        cells.entry((&r.arm, &r.condition)).or_default().insert((r.seed, &r.item));
    }
    if cells.len() < 2 {
        return Vec::new();
    }
    let all: BTreeSet<&(u64, &str)> = cells.values().flatten().collect();
    let shared = all.iter().filter(|i| cells.values().all(|c| c.contains(**i))).count();
    let detail = format!("{shared} of {} items are in every arm and condition ({} cells)", all.len(), cells.len());
    vec![check("overlap of items", shared == all.len(), detail)]
}

/// First samples of one arm and condition, by seed and item; greedy rows only where there are no others.
type Items<'a> = BTreeMap<(u64, &'a str), &'a Record>;

fn first<'a>(records: &'a [Record], arm: &str, condition: &str) -> Items<'a> {
    let of = || records.iter().filter(|r| r.arm == arm && r.condition == condition);
    let sampled = of().any(|r| r.decoding == Decoding::Sample);
    let mut out: Items<'a> = BTreeMap::new();
    for r in of().filter(|r| !sampled || r.decoding == Decoding::Sample) {
        let at = out.entry((r.seed, &r.item)).or_insert(r);
        if r.sample < at.sample {
            *at = r;
        }
    }
    out
}

/// Token counts; `None` unless every row has one.
fn tokens(items: &Items<'_>) -> Option<Vec<f64>> {
    items.values().map(|r| r.n_tokens.map(f64::from)).collect::<Option<Vec<f64>>>().filter(|v| !v.is_empty())
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Right answers and scored rows.
fn right(items: &Items<'_>) -> (u64, u64) {
    let scored: Vec<f64> = items.values().filter_map(|r| r.correct).collect();
    (scored.iter().filter(|c| **c == 1.0).count() as u64, scored.len() as u64)
}

/// Pairs that only the first, and only the second, got right; pairs without a score on either side are left out.
fn discordant(x: &Items<'_>, y: &Items<'_>) -> (u64, u64) {
    let pairs = x.iter().filter_map(|(k, r)| Some((r.correct? == 1.0, y.get(k)?.correct? == 1.0)));
    pairs.fold((0, 0), |(b, c), (p, q)| (b + u64::from(p && !q), c + u64::from(!p && q)))
}

fn text(s: impl Into<String>) -> Cell {
    Cell::Text(s.into())
}

/// A dash where a number is not defined or not known.
fn number(x: Option<f64>) -> Cell {
    x.filter(|v| v.is_finite()).map_or_else(|| text("–"), Cell::Number)
}

fn table(title: &str, columns: &[&str]) -> Table {
    Table { title: title.into(), columns: columns.iter().map(|c| c.to_string()).collect(), rows: Vec::new() }
}

/// The study's statistics, on the first sample of each item; and what was refused, with the reason.
///
/// Direction: two-proportion z is second arm − first; t is the first named − the second; McNemar's b counts items that only the
/// first got right, c those that only the second did.
pub fn statistics(records: &[Record]) -> Result<(Vec<Table>, Vec<String>)> {
    let arms = distinct(records, &["base", "baseline", "control"], |r| &r.arm);
    let conditions = distinct(records, &["neutral", "monitored", "unmonitored"], |r| &r.condition);
    let mut refused = Vec::new();
    let mut tables = vec![means(records, &arms, &conditions, &mut refused)];
    tables.extend(between_arms(records, &arms, &conditions)?);
    tables.extend(between_conditions(records, &arms)?);
    let conflict = repeats(records).iter().any(|h| h.fatal);
    if conflict {
        tables.truncate(1);
        refused.push("no comparison: an item has two prompts (see the health checks)".into());
    }
    Ok((tables, refused))
}

fn means(records: &[Record], arms: &[&str], conditions: &[&str], refused: &mut Vec<String>) -> Table {
    let columns = ["arm", "condition", "family", "items", "mean tokens", "mean correctness"];
    let mut out = table("Means (first sample of each item)", &columns);
    for arm in arms {
        for condition in conditions {
            let all = first(records, arm, condition);
            if all.is_empty() {
                continue;
            }
            if tokens(&all).is_none() {
                refused.push(format!(
                    "no statistics of length for {arm}, {condition}: not every row has one; --tokenizer DIR counts them"
                ));
            }
            for (family, items) in groups(&all) {
                let scored: Vec<f64> = items.values().filter_map(|r| r.correct).collect();
                out.rows.push(vec![
                    text(*arm),
                    text(*condition),
                    text(family),
                    Cell::Number(items.len() as f64),
                    number(tokens(&items).map(|t| mean(&t))),
                    number((!scored.is_empty()).then(|| mean(&scored))),
                ]);
            }
        }
    }
    out
}

/// All items, each family, and each task type where that is another division.
fn groups<'a>(items: &Items<'a>) -> Vec<(String, Items<'a>)> {
    let by = |name: &dyn Fn(&'a Record) -> Option<&'a str>| -> BTreeMap<&'a str, Items<'a>> {
        let mut out: BTreeMap<&str, Items<'a>> = BTreeMap::new();
        for (k, r) in items {
            if let Some(n) = name(r) {
                out.entry(n).or_default().insert(*k, r);
            }
        }
        out
    };
    let families = by(&|r| Some(r.family.as_str()));
    let types = by(&|r| r.task_type.as_deref().filter(|t| *t != UNSTATED));
    let mut out = vec![("all".to_string(), items.clone())];
    let same = |name: &&str, of: &Items<'_>| families.get(*name).is_some_and(|f| f.len() == of.len());
    let types: Vec<(&str, Items<'a>)> = types.into_iter().filter(|(name, of)| !same(name, of)).collect();
    out.extend(families.into_iter().map(|(name, of)| (name.to_string(), of)));
    out.extend(types.into_iter().map(|(name, of)| (format!("type {name}"), of)));
    out
}

fn between_arms(records: &[Record], arms: &[&str], conditions: &[&str]) -> Result<Vec<Table>> {
    let Some((reference, others)) = arms.split_first().filter(|(_, others)| !others.is_empty()) else {
        return Ok(Vec::new());
    };
    let columns = ["arms", "condition", "family", "n", "n", "accuracy", "accuracy", "z", "p", "b", "c", "McNemar p"];
    let mut accuracy =
        table("Accuracy, arm against arm: two-proportion z (the study's), exact McNemar by item", &columns);
    let columns = ["arms", "condition", "mean tokens", "mean tokens", "t", "p"];
    let mut length = table("Tokens, arm against arm: Student t, unpaired (the study's)", &columns);
    for other in others {
        for condition in conditions {
            let (x, y) = (first(records, reference, condition), first(records, other, condition));
            let pair = format!("{reference}, {other}");
            let theirs: BTreeMap<String, Items<'_>> = groups(&y).into_iter().collect();
            for (family, x) in groups(&x) {
                let Some(y) = theirs.get(&family) else { continue };
                let ((x1, n1), (x2, n2)) = (right(&x), right(y));
                if n1 == 0 || n2 == 0 {
                    continue;
                }
                let z = two_proportion_z(x1, n1, x2, n2, DEFAULT_LEVEL)?;
                let (b, c) = discordant(&x, y);
                accuracy.rows.push(vec![
                    text(&pair),
                    text(*condition),
                    text(family),
                    Cell::Number(n1 as f64),
                    Cell::Number(n2 as f64),
                    Cell::Number(x1 as f64 / n1 as f64),
                    Cell::Number(x2 as f64 / n2 as f64),
                    number(z.statistic),
                    number(z.p),
                    Cell::Number(b as f64),
                    Cell::Number(c as f64),
                    number(mcnemar(b, c, McNemar::Exact, DEFAULT_LEVEL)?.p),
                ]);
            }
            if let (Some(a), Some(b)) = (tokens(&x), tokens(&y)) {
                let t = student_t(&a, &b, DEFAULT_LEVEL).ok();
                length.rows.push(vec![
                    text(&pair),
                    text(*condition),
                    Cell::Number(mean(&a)),
                    Cell::Number(mean(&b)),
                    number(t.as_ref().and_then(|t| t.statistic)),
                    number(t.as_ref().and_then(|t| t.p)),
                ]);
            }
        }
    }
    Ok([accuracy, length].into_iter().filter(|t| !t.rows.is_empty()).collect())
}

fn between_conditions(records: &[Record], arms: &[&str]) -> Result<Option<Table>> {
    let columns = ["arm", "conditions", "mean tokens", "mean tokens", "t", "p", "invariance", "b", "c", "McNemar p"];
    let mut out = table(
        "Condition against condition: Student t on tokens, unpaired, and invariance (the study's); exact McNemar",
        &columns,
    );
    for arm in arms {
        let of: Vec<Record> = records.iter().filter(|r| r.arm == *arm).cloned().collect();
        let have = distinct(&of, &["monitored", "unmonitored"], |r| &r.condition);
        let neutral = first(&of, arm, "neutral");
        let pairs: Vec<(&str, &str)> = match have.as_slice() {
            ["monitored", "unmonitored", ..] => vec![("monitored", "unmonitored")],
            [a, rest @ ..] => rest.iter().map(|b| (*a, *b)).collect(),
            [] => Vec::new(),
        };
        for (p, q) in pairs {
            let (x, y) = (first(&of, arm, p), first(&of, arm, q));
            let (a, b) = (tokens(&x), tokens(&y));
            let t = a.as_ref().zip(b.as_ref()).and_then(|(a, b)| student_t(a, b, DEFAULT_LEVEL).ok());
            let means = (a.as_ref().map(|v| mean(v)), b.as_ref().map(|v| mean(v)), tokens(&neutral).map(|v| mean(&v)));
            let invariance = match means {
                (Some(m), Some(u), Some(n)) if (p, q) == ("monitored", "unmonitored") => {
                    Some(invariance_score(m, n, u))
                }
                _ => None,
            };
            let (only_x, only_y) = discordant(&x, &y);
            out.rows.push(vec![
                text(*arm),
                text(format!("{p}, {q}")),
                number(means.0),
                number(means.1),
                number(t.as_ref().and_then(|t| t.statistic)),
                number(t.as_ref().and_then(|t| t.p)),
                number(invariance),
                Cell::Number(only_x as f64),
                Cell::Number(only_y as f64),
                number(mcnemar(only_x, only_y, McNemar::Exact, DEFAULT_LEVEL)?.p),
            ]);
        }
    }
    Ok((!out.rows.is_empty()).then_some(out))
}
