//! Checks that a result must pass before it may mean anything.

use super::Context;
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
    pub family: &'a str,
    pub answer: Option<&'a str>,
    pub truth: &'a str,
    /// The completion hit its limit; `None` where that is not known.
    pub cut: Option<bool>,
}

/// Checks on the rows of a test: parser share and censoring by arm and condition, constant answers, training health.
pub fn of_rows(rows: &[Row], ctx: &Context) -> Vec<Health> {
    let seen: Vec<Seen<'_>> = rows
        .iter()
        .map(|r| Seen {
            arm: &r.arm,
            family: &r.family,
            answer: r.answer.as_deref(),
            truth: &r.truth,
            cut: Some(r.finish == Finish::Length),
        })
        .collect();
    let mut out = ctx.training.clone();
    out.extend(of_answers(&seen));
    out
}

/// The checks that need answers alone; censoring only where every row says how it ended.
pub fn of_answers(rows: &[Seen<'_>]) -> Vec<Health> {
    let mut out = Vec::new();
    let mut arms: Vec<&str> = rows.iter().map(|r| r.arm).collect();
    arms.sort_unstable();
    arms.dedup();
    for arm in arms {
        let of: Vec<&Seen<'_>> = rows.iter().filter(|r| r.arm == arm).collect();
        let n = of.len() as f64;
        let share = |f: &dyn Fn(&Seen<'_>) -> bool| of.iter().filter(|r| f(r)).count() as f64 / n;
        let unparsed = share(&|r| r.answer.is_none());
        out.push(Health {
            name: format!("unparsable answers, {arm}"),
            ok: unparsed < 0.1,
            fatal: false,
            detail: format!("{:.1} % of {} rows", 100.0 * unparsed, of.len()),
        });
        if of.iter().all(|r| r.cut.is_some()) {
            let censored = share(&|r| r.cut == Some(true));
            out.push(Health {
                name: format!("censored lengths, {arm}"),
                ok: censored < 0.1,
                fatal: false,
                detail: format!("{:.1} % of {} rows hit the completion limit", 100.0 * censored, of.len()),
            });
        }
        let mut families: Vec<&str> = of.iter().map(|r| r.family).collect();
        families.sort_unstable();
        families.dedup();
        for family in families {
            let rows: Vec<&&Seen<'_>> = of.iter().filter(|r| r.family == family).collect();
            let mut answers: Vec<Option<&str>> = rows.iter().map(|r| r.answer).collect();
            answers.sort_unstable();
            answers.dedup();
            let mut truths: Vec<&str> = rows.iter().map(|r| r.truth).collect();
            truths.sort_unstable();
            truths.dedup();
            if answers.len() == 1 && truths.len() > 1 {
                out.push(Health {
                    name: format!("constant answers, {arm}, {family}"),
                    ok: false,
                    fatal: false,
                    detail: format!("every answer is {:?}: the accuracy is that of a constant policy", answers[0]),
                });
            }
        }
    }
    out
}
