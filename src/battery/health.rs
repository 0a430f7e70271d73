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

/// Checks on the rows of a test: parser share and censoring by arm and condition, constant answers, training health.
pub fn of_rows(rows: &[Row], ctx: &Context) -> Vec<Health> {
    let mut out = ctx.training.clone();
    let mut arms: Vec<&str> = rows.iter().map(|r| r.arm.as_str()).collect();
    arms.sort_unstable();
    arms.dedup();
    for arm in arms {
        let of: Vec<&Row> = rows.iter().filter(|r| r.arm == arm).collect();
        let n = of.len() as f64;
        let share = |f: &dyn Fn(&Row) -> bool| of.iter().filter(|r| f(r)).count() as f64 / n;
        let unparsed = share(&|r| r.answer.is_none());
        out.push(Health {
            name: format!("unparsable answers, {arm}"),
            ok: unparsed < 0.1,
            fatal: false,
            detail: format!("{:.1} % of {} rows", 100.0 * unparsed, of.len()),
        });
        let censored = share(&|r| r.finish == Finish::Length);
        out.push(Health {
            name: format!("censored lengths, {arm}"),
            ok: censored < 0.1,
            fatal: false,
            detail: format!("{:.1} % of {} rows hit the completion limit", 100.0 * censored, of.len()),
        });
        let mut families: Vec<&str> = of.iter().map(|r| r.family.as_str()).collect();
        families.sort_unstable();
        families.dedup();
        for family in families {
            let rows: Vec<&&Row> = of.iter().filter(|r| r.family == family).collect();
            let mut answers: Vec<Option<&str>> = rows.iter().map(|r| r.answer.as_deref()).collect();
            answers.sort_unstable();
            answers.dedup();
            let mut truths: Vec<&str> = rows.iter().map(|r| r.truth.as_str()).collect();
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
