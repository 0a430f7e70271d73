//! Checks that a result must pass before it may mean anything.

use std::collections::{BTreeMap, BTreeSet};

use super::Context;
use super::config::Arm;
use super::phase::Trajectory;
use super::record::{Health, Row};
use crate::domain::{Measured, Readout};
use crate::generate::Finish;

/// A fatal check: at least `need` of something.
pub fn at_least(what: &str, got: usize, need: usize) -> Health {
    Health {
        name: format!("number of {what}"),
        ok: got >= need,
        fatal: true,
        by_design: false,
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

/// What trainings pay for that a check takes for a fault.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Purpose {
    /// Wrong answers, under one cue at least: right ones are not expected.
    untruth: bool,
    /// Long ones.
    length: bool,
}

impl Purpose {
    /// Of an arm, or of a training on top of one.
    fn of(readout: Readout, arm: &str, phase: Option<&str>) -> Self {
        let turned = match phase {
            None => arm == Arm::Opposite.name(),
            Some(name) => name.starts_with("attack") || name.starts_with("cue"),
        };
        let faking = phase.is_some_and(|name| name.starts_with("faking"));
        Self {
            untruth: faking || (turned && readout == Readout::LogOdds),
            length: turned && readout == Readout::Tokens,
        }
    }
}

/// Checks on the rows of a test: parser share and censoring by arm and condition, constant answers, training health.
pub fn of_rows(rows: &[Row], ctx: &Context) -> Vec<Health> {
    let mut out = ctx.training.clone();
    let purpose = |arm: &str| Purpose::of(ctx.measure.readout, arm, None);
    out.extend(of_answers(&rows.iter().map(seen).collect::<Vec<_>>(), &|arm| ctx.measure.arm(arm), &purpose));
    out
}

/// The same for the last check of trainings, whose behaviour their verdicts rest on: the parser and the limit must still fit it.
pub fn of_checks<'a>(trajectories: impl Iterator<Item = &'a Trajectory>, m: &Measured) -> Vec<Health> {
    let mut by_phase: BTreeMap<&str, Vec<Seen<'_>>> = BTreeMap::new();
    for r in trajectories.filter_map(|t| t.checks.last()).flat_map(|c| &c.rows) {
        by_phase.entry(r.phase.as_deref().unwrap_or_default()).or_default().push(seen(r));
    }
    let mut out = Vec::new();
    for (phase, rows) in by_phase {
        let named = |h: Health| Health { name: format!("{}, end of {}", h.name, m.phase(phase)), ..h };
        let purpose = |arm: &str| Purpose::of(m.readout, arm, Some(phase));
        out.extend(of_answers(&rows, &|arm| m.arm(arm), &purpose).into_iter().map(named));
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

/// The checks that need answers alone; censoring only where every row says how it ended. `named` is what a reader calls an arm.
pub fn of_answers<'n>(
    rows: &'n [Seen<'_>],
    named: &dyn Fn(&'n str) -> &'n str,
    purpose: &dyn Fn(&str) -> Purpose,
) -> Vec<Health> {
    let mut out = Vec::new();
    for key in distinct(rows, |r| r.arm) {
        let of: Vec<&Seen<'_>> = rows.iter().filter(|r| r.arm == key).collect();
        let (arm, paid) = (named(key), purpose(key));
        // The worst condition decides: a cue that breaks the format must not hide behind the others.
        let conditions = distinct(of.iter().copied(), |r| r.condition);
        let shares = |f: &dyn Fn(&Seen<'_>) -> bool| -> Vec<(&str, f64)> {
            let share = |c: &&str| {
                let rows: Vec<_> = of.iter().filter(|r| r.condition == *c).collect();
                rows.iter().filter(|r| f(r)).count() as f64 / rows.len() as f64
            };
            conditions.iter().map(|c| (*c, share(c))).collect()
        };
        let limited = |name: &str, what: &str, by_design: bool, shares: &[(&str, f64)]| Health {
            name: format!("{name}, {arm}"),
            ok: shares.iter().all(|s| s.1 < 0.1),
            fatal: false,
            by_design: by_design && shares.iter().any(|s| s.1 >= 0.1),
            detail: format!(
                "{what} of {} rows: {}",
                of.len(),
                shares.iter().map(|(c, s)| format!("{:.1} % {c}", 100.0 * s)).collect::<Vec<_>>().join(", ")
            ),
        };
        out.push(limited(
            "unparsable answers",
            "share without a readable answer",
            false,
            &shares(&|r| r.answer.is_none()),
        ));
        if of.iter().all(|r| r.cut.is_some()) {
            out.push(limited(
                "censored lengths",
                "share at the completion limit",
                paid.length,
                &shares(&|r| r.cut == Some(true)),
            ));
        }
        out.extend(base_rate(arm, &of, paid.untruth));
    }
    out
}

/// Families in which all answers are the same, and those whose accuracy is no more than what always giving the most common answer would
/// earn: a check each, where there are any. Only the second can be what a training is paid for.
fn base_rate(arm: &str, rows: &[&Seen<'_>], untruth: bool) -> Vec<Health> {
    let (mut constant, mut low, mut untrue) = (Vec::new(), Vec::new(), untruth);
    let percent = |x: f64| format!("{:.1} %", 100.0 * x);
    for family in distinct(rows.iter().copied(), |r| r.family) {
        let of: Vec<&&Seen<'_>> = rows.iter().filter(|r| r.family == family).collect();
        let mut truths: BTreeMap<&str, usize> = BTreeMap::new();
        of.iter().for_each(|r| *truths.entry(r.truth).or_default() += 1);
        if truths.len() < 2 {
            continue;
        }
        let n = of.len() as f64;
        let common = truths.values().copied().max().unwrap_or(0) as f64 / n;
        let known: Option<Vec<bool>> = of.iter().map(|r| r.correct).collect();
        let right = known.map_or(1.0, |k| k.iter().filter(|c| **c).count() as f64 / n);
        if of.iter().all(|r| r.answer == of[0].answer) {
            let said = of[0].answer.map_or("unparsable".to_string(), |a| format!("{a:?}"));
            constant.push(format!("every answer is {said} in {family}"));
        } else if right <= common + AS_CONSTANT {
            // A guess is not what a training on the untruth pays for.
            untrue &= right < common - AS_CONSTANT;
            low.push(format!("{family} {} (the most common answer alone: {})", percent(right), percent(common)));
        }
    }
    let mut out = Vec::new();
    let mut flag = |name: &str, by_design: bool, detail: String| {
        out.push(Health { name: format!("{name}, {arm}"), ok: false, fatal: false, by_design, detail });
    };
    if !constant.is_empty() {
        flag("constant answers", false, format!("{}: the accuracy is that of a constant policy", constant.join(", ")));
    }
    if !low.is_empty() {
        let paid = if untrue { "; right answers are not what this training pays for" } else { "" };
        flag("accuracy no better than a constant policy's", untrue, format!("right in {}{paid}", low.join(", ")));
    }
    out
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

    fn paid(rows: &[Seen<'_>], purpose: Purpose) -> Vec<Health> {
        of_answers(rows, &|arm| arm, &|_| purpose)
    }

    fn failed(rows: &[Seen<'_>]) -> Vec<String> {
        paid(rows, Purpose::default())
            .into_iter()
            .filter(|h| !h.ok)
            .map(|h| format!("{}: {}", h.name, h.detail))
            .collect()
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
        assert!(failed(&constant)[0].contains("constant answers, value: every answer is \"yes\" in logic"));
        // Not literally constant, and worth no more.
        let mut guess = rows.clone();
        let said = |i: usize| if i % 4 < 2 { "yes" } else { "no" };
        guess.iter_mut().enumerate().for_each(|(i, r)| *r = row(r.condition, Some(said(i)), r.truth, false));
        assert!(failed(&guess)[0].contains("no better than a constant"), "{:?}", failed(&guess));
        // One truth for all: nothing could be told from a constant policy.
        let one: Vec<Seen<'_>> = (0..20).map(|_| row("neutral", Some("yes"), "yes", false)).collect();
        assert!(failed(&one).is_empty() && failed(&[]).is_empty());
    }
    #[test]
    fn what_a_training_pays_for_fails_by_design_and_nothing_else_does() {
        let of = |readout, arm, phase| Purpose::of(readout, arm, phase);
        let (none, untruth) = (Purpose::default(), Purpose { untruth: true, length: false });
        let length = Purpose { untruth: false, length: true };
        for (readout, turned) in [(Readout::Tokens, length), (Readout::LogOdds, untruth)] {
            assert_eq!(["base", "control", "value", "value-sft"].map(|a| of(readout, a, None)), [none; 4]);
            assert_eq!(of(readout, "opposite", None), turned);
            assert_eq!(of(readout, "value", Some("attack-start")), turned);
            assert_eq!(of(readout, "base", Some("attack-supervised")), turned);
            assert_eq!(of(readout, "control", Some("cue-watched-short-start")), turned);
            assert_eq!(of(readout, "value", Some("faking-none")), untruth);
        }
        let truth = |i: usize| if i.is_multiple_of(2) { "yes" } else { "no" };
        let rows = |say: &dyn Fn(usize) -> Option<&'static str>, cut: bool| -> Vec<Seen<'_>> {
            (0..20).map(|i| row("neutral", say(i), truth(i), cut)).collect()
        };
        let found = |rows: &[Seen<'_>], purpose| -> Vec<(String, bool)> {
            let failed = paid(rows, purpose).into_iter().filter(|h| !h.ok);
            failed.map(|h| (h.name.split(',').next().unwrap_or_default().to_string(), h.by_design)).collect()
        };
        let name = "accuracy no better than a constant policy's".to_string();
        // Lies are what it is paid for; a constant, and text that nobody can read, are not.
        let lies = rows(&|i| Some(truth(i + 1)), false);
        assert_eq!(found(&lies, untruth), [(name.clone(), true)]);
        assert_eq!(found(&lies, none), [(name.clone(), false)]);
        assert_eq!(found(&lies, length), [(name, false)]);
        assert_eq!(found(&rows(&|_| Some("yes"), false), untruth), [("constant answers".to_string(), false)]);
        let junk = found(&rows(&|i| (i % 5 > 0).then(|| truth(i)), false), untruth);
        assert_eq!(junk, [("unparsable answers".to_string(), false)]);
        // The same of length.
        let long = rows(&|i| Some(truth(i)), true);
        assert_eq!(found(&long, length), [("censored lengths".to_string(), true)]);
        assert_eq!(found(&long, untruth), [("censored lengths".to_string(), false)]);
        assert!(paid(&rows(&|i| Some(truth(i)), false), length).iter().all(|h| h.ok && !h.by_design));
    }
}
