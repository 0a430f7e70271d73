//! Checks that a result must pass before it may mean anything.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::phase::Trajectory;
use super::record::{Health, Row};
use crate::generate::Finish;

/// A fatal check: at least `need` of something.
pub fn at_least(what: &str, got: usize, need: usize) -> Health {
    Health {
        name: format!("number of {what}"),
        ok: got >= need,
        fatal: true,
        detail: format!("{got} {what}, at least {need} wanted"),
    }
}

/// What the checks look at in one row.
#[derive(Clone, Copy, Debug)]
pub struct Seen<'a> {
    pub arm: &'a str,
    pub condition: &'a str,
    pub family: &'a str,
    pub answer: Option<&'a str>,
    pub truth: &'a str,
    /// `None` where that is not known.
    pub correct: Option<bool>,
    /// The completion hit its limit; `None` where that is not known.
    pub cut: Option<bool>,
}

/// Checks on the rows of a test: parser share and censoring by arm and condition, constant answers, training health.
pub fn of_rows(rows: &[Row], ctx: &Context) -> Vec<Health> {
    let mut out = ctx.training.clone();
    out.extend(of_answers(&rows.iter().map(seen).collect::<Vec<_>>()));
    out
}

/// The same for the last check of trainings, whose behaviour their verdicts rest on: the parser and the limit must still fit it.
pub fn of_checks<'a>(trajectories: impl Iterator<Item = &'a Trajectory>) -> Vec<Health> {
    let mut by_phase: BTreeMap<&str, Vec<Seen<'_>>> = BTreeMap::new();
    for r in trajectories.filter_map(|t| t.checks.last()).flat_map(|c| &c.rows) {
        by_phase.entry(r.phase.as_deref().unwrap_or_default()).or_default().push(seen(r));
    }
    let mut out = Vec::new();
    for (phase, rows) in by_phase {
        let named = |h: Health| Health { name: format!("{}, end of {phase}", h.name), ..h };
        out.extend(of_answers(&rows).into_iter().map(named));
    }
    out
}

fn seen(r: &Row) -> Seen<'_> {
    Seen {
        arm: &r.arm,
        condition: &r.condition,
        family: &r.family,
        answer: r.answer.as_deref(),
        truth: &r.truth,
        correct: Some(r.correct == 1.0),
        cut: Some(r.finish == Finish::Length),
    }
}

/// Accuracy within this much of a constant policy's counts as a constant policy's.
const AS_CONSTANT: f64 = 0.01;

/// The checks that need answers alone; censoring only where every row says how it ended.
pub fn of_answers(rows: &[Seen<'_>]) -> Vec<Health> {
    let mut out = Vec::new();
    for arm in distinct(rows, |r| r.arm) {
        let of: Vec<&Seen<'_>> = rows.iter().filter(|r| r.arm == arm).collect();
        // The worst condition decides: a cue that breaks the format must not hide behind the others.
        let conditions = distinct(of.iter().copied(), |r| r.condition);
        let shares = |f: &dyn Fn(&Seen<'_>) -> bool| -> Vec<(&str, f64)> {
            let share = |c: &&str| {
                let rows: Vec<_> = of.iter().filter(|r| r.condition == *c).collect();
                rows.iter().filter(|r| f(r)).count() as f64 / rows.len() as f64
            };
            conditions.iter().map(|c| (*c, share(c))).collect()
        };
        let limited = |name: &str, what: &str, shares: &[(&str, f64)]| Health {
            name: format!("{name}, {arm}"),
            ok: shares.iter().all(|s| s.1 < 0.1),
            fatal: false,
            detail: format!(
                "{what} of {} rows: {}",
                of.len(),
                shares.iter().map(|(c, s)| format!("{:.1} % {c}", 100.0 * s)).collect::<Vec<_>>().join(", ")
            ),
        };
        out.push(limited("unparsable answers", "share without a readable answer", &shares(&|r| r.answer.is_none())));
        if of.iter().all(|r| r.cut.is_some()) {
            out.push(limited("censored lengths", "share at the completion limit", &shares(&|r| r.cut == Some(true))));
        }
        for family in distinct(of.iter().copied(), |r| r.family) {
            let rows: Vec<&&Seen<'_>> = of.iter().filter(|r| r.family == family).collect();
            out.extend(base_rate(arm, family, &rows));
        }
    }
    out
}

/// Flags answers that are all the same, and an accuracy that is no more than what always giving the most common answer would earn.
fn base_rate(arm: &str, family: &str, rows: &[&&Seen<'_>]) -> Option<Health> {
    let mut truths: BTreeMap<&str, usize> = BTreeMap::new();
    rows.iter().for_each(|r| *truths.entry(r.truth).or_default() += 1);
    if truths.len() < 2 {
        return None;
    }
    let n = rows.len() as f64;
    let constant = truths.values().copied().max().unwrap_or(0) as f64 / n;
    let known: Option<Vec<bool>> = rows.iter().map(|r| r.correct).collect();
    let flag = |name: &str, detail: String| {
        Some(Health { name: format!("{name}, {arm}, {family}"), ok: false, fatal: false, detail })
    };
    if rows.iter().all(|r| r.answer == rows[0].answer) {
        let said = rows[0].answer.map_or("unparsable".to_string(), |a| format!("{a:?}"));
        return flag("constant answers", format!("every answer is {said}: the accuracy is that of a constant policy"));
    }
    let right = known.map_or(1.0, |k| k.iter().filter(|c| **c).count() as f64 / n);
    if right <= constant + AS_CONSTANT {
        let percent = |x: f64| format!("{:.1} %", 100.0 * x);
        let detail =
            format!("{} right; the most common answer alone would be right in {}", percent(right), percent(constant));
        return flag("accuracy no better than a constant policy's", detail);
    }
    None
}

fn distinct<'a, 'r: 'a>(
    rows: impl IntoIterator<Item = &'a Seen<'r>>,
    field: impl Fn(&'a Seen<'r>) -> &'r str,
) -> Vec<&'r str> {
    let set: BTreeSet<&str> = rows.into_iter().map(field).collect();
    set.into_iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row<'a>(condition: &'a str, answer: Option<&'a str>, truth: &'a str, cut: bool) -> Seen<'a> {
        let correct = Some(answer == Some(truth));
        Seen { arm: "value", condition, family: "logic", answer, truth, correct, cut: Some(cut) }
    }

    fn failed(rows: &[Seen<'_>]) -> Vec<String> {
        of_answers(rows).into_iter().filter(|h| !h.ok).map(|h| format!("{}: {}", h.name, h.detail)).collect()
    }

    #[test]
    fn each_flag_can_be_raised() {
        // 20 rows a condition, 15 of 20 right.
        let truth = |i: usize| if i.is_multiple_of(2) { "yes" } else { "no" };
        let good = |i: usize| if i % 20 < 15 { truth(i) } else { truth(i + 1) };
        let rows: Vec<Seen<'_>> = (0..40)
            .map(|i| row(if i < 20 { "monitored" } else { "neutral" }, Some(good(i)), truth(i), false))
            .collect();
        assert_eq!(failed(&rows), Vec::<String>::new());

        // Unreadable under one cue alone: 15 % of the rows there, under 10 % over all.
        let mut unread = rows.clone();
        unread[..3].iter_mut().for_each(|r| r.answer = None);
        let found = failed(&unread);
        assert!(
            found.len() == 1 && found[0].contains("unparsable") && found[0].contains("15.0 % monitored"),
            "{found:?}"
        );
        let mut cut = rows.clone();
        cut[20..24].iter_mut().for_each(|r| r.cut = Some(true));
        assert!(failed(&cut)[0].contains("censored lengths") && failed(&cut)[0].contains("20.0 % neutral"));

        let mut constant = rows.clone();
        constant.iter_mut().for_each(|r| *r = row(r.condition, Some("yes"), r.truth, false));
        assert!(failed(&constant)[0].contains("constant answers, value, logic"));
        // Not literally constant, and worth no more.
        let mut guess = rows.clone();
        let said = |i: usize| if i % 4 < 2 { "yes" } else { "no" };
        guess.iter_mut().enumerate().for_each(|(i, r)| *r = row(r.condition, Some(said(i)), r.truth, false));
        assert!(failed(&guess)[0].contains("no better than a constant"), "{:?}", failed(&guess));
        // One truth for all: nothing could be told from a constant policy.
        let one: Vec<Seen<'_>> = (0..20).map(|_| row("neutral", Some("yes"), "yes", false)).collect();
        assert!(failed(&one).is_empty() && of_answers(&[]).is_empty());
    }
}
