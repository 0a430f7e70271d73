//! What a phase did: behaviour and distance at every check, and where it broke.

use std::collections::BTreeMap;

use super::phase::{Check, Trajectory};
use super::record::{Decoding, Health, Row};
use super::rules::Numbers;
use crate::stats::{cluster_codes, persistent_crossing};

/// Behaviour at one check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Point {
    pub step: u64,
    /// Nats per completion from the start of the phase; see [`Check::kl`].
    pub kl: f64,
    /// Means over items of the sampled rows.
    pub tokens: f64,
    pub accuracy: f64,
    pub parsed: f64,
    /// Mean tokens of the greedy rows.
    pub greedy_tokens: f64,
}

/// Behaviour at every check, over the rows that pass.
pub fn points(t: &Trajectory, pass: impl Fn(&Row) -> bool) -> Vec<Point> {
    let at = |c: &Check| {
        let of = |decoding| c.rows.iter().filter(move |r| r.decoding == decoding);
        let mean = |rows: Vec<&Row>, f: &dyn Fn(&Row) -> f64| {
            rows.iter().map(|r| f(r)).sum::<f64>() / rows.len().max(1) as f64
        };
        let sampled = || of(Decoding::Sample).filter(|r| pass(r)).collect::<Vec<_>>();
        let greedy = of(Decoding::Greedy).filter(|r| pass(r)).collect::<Vec<_>>();
        Point {
            step: c.step,
            kl: c.kl,
            tokens: mean(sampled(), &|r| f64::from(r.n_tokens)),
            accuracy: mean(sampled(), &|r| r.correct),
            parsed: mean(sampled(), &|r| f64::from(u8::from(r.answer.is_some()))),
            greedy_tokens: mean(greedy, &|r| f64::from(r.n_tokens)),
        }
    };
    t.checks.iter().map(at).collect()
}

/// Where mean sampled tokens stay beyond a multiple of their value before the first step.
pub fn break_index(points: &[Point], rules: &Numbers) -> Option<usize> {
    let limit = rules.break_ratio * points.first()?.tokens;
    let tokens: Vec<f64> = points.iter().map(|p| p.tokens).collect();
    persistent_crossing(&tokens, rules.persistent_checks, |t| t > limit)
}

/// Distance covered up to a check: the largest so far, since a dose is not taken back.
pub fn dose(points: &[Point], index: usize) -> f64 {
    points.iter().take(index + 1).fold(0.0, |m, p| m.max(p.kl))
}

/// Break or end of a phase on the dose axis: `(dose, broke)`; an unbroken phase is censored at its end.
pub fn survival(points: &[Point], rules: &Numbers) -> (f64, bool) {
    match break_index(points, rules) {
        Some(i) => (dose(points, i), true),
        None => (dose(points, points.len().saturating_sub(1)), false),
    }
}

/// Was there anything to learn from, and did the weights move?
pub fn alive(t: &Trajectory, points: &[Point], what: &str, fatal: bool, rules: &Numbers) -> Health {
    let moved = points.last().map_or(0.0, |p| p.kl);
    let dead = t.zero_std.is_some_and(|z| z > rules.dead_gradient);
    let share = t.zero_std.map_or("supervised".to_string(), |z| format!("{:.0} % zero-variance groups", 100.0 * z));
    Health {
        name: format!("gradient of {what}, {}, seed {}", t.arm.name(), t.seed),
        ok: !dead && moved > rules.least_moved,
        fatal,
        detail: format!(
            "{share}; moved {moved:.3} nats per completion in {} steps",
            t.checks.last().map_or(0, |c| c.step)
        ),
    }
}

/// Checks in a row with exactly the same accuracy that are no longer a coincidence.
const FROZEN: usize = 5;

/// An accuracy that does not move at all, while the model does, is a scorer or a policy that ignores the items.
pub fn frozen_accuracy(t: &Trajectory, points: &[Point], what: &str) -> Option<Health> {
    let run = points.windows(FROZEN).find(|w| w.iter().all(|p| p.accuracy == w[0].accuracy))?;
    Some(Health {
        name: format!("accuracy under {what}, {}, seed {}", t.arm.name(), t.seed),
        ok: false,
        fatal: false,
        detail: format!("exactly {:.3} at {FROZEN} checks in a row, from step {}", run[0].accuracy, run[0].step),
    })
}

/// Per-item log ratio of tokens under two conditions at one check, with the clusters of the items: the contingency.
pub fn contingency(c: &Check, left: &str, right: &str) -> (Vec<f64>, Vec<usize>) {
    per_item(c, left, right, |r| f64::from(r.n_tokens.max(1)).ln())
}

/// Per-item difference of a quantity's means under two conditions at one check.
pub fn per_item(c: &Check, left: &str, right: &str, value: impl Fn(&Row) -> f64) -> (Vec<f64>, Vec<usize>) {
    /// Sum and number of a side's values.
    type Side = (f64, f64);
    let mut items: BTreeMap<&str, (&str, [Side; 2])> = BTreeMap::new();
    for r in c.rows.iter().filter(|r| r.decoding == Decoding::Sample) {
        let side = match r.condition.as_str() {
            s if s == left => 0,
            s if s == right => 1,
            _ => continue,
        };
        let entry = items.entry(r.item.as_str()).or_insert((r.canonical.as_str(), [(0.0, 0.0); 2]));
        entry.1[side].0 += value(r);
        entry.1[side].1 += 1.0;
    }
    let both: Vec<(&str, f64)> = items
        .values()
        .filter(|(_, [a, b])| a.1 > 0.0 && b.1 > 0.0)
        .map(|(prompt, [a, b])| (*prompt, a.0 / a.1 - b.0 / b.1))
        .collect();
    let prompts: Vec<&str> = both.iter().map(|b| b.0).collect();
    (both.iter().map(|b| b.1).collect(), cluster_codes(&prompts))
}

/// Mean of values, 0 for none.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::super::rules::Rules;
    use super::*;

    fn point(step: u64, kl: f64, tokens: f64) -> Point {
        Point { step, kl, tokens, accuracy: 1.0, parsed: 1.0, greedy_tokens: tokens }
    }

    #[test]
    fn a_frozen_accuracy_is_flagged() {
        let t = |n: u64| Trajectory {
            arm: crate::battery::config::Arm::Value,
            seed: 1,
            checks: Vec::new(),
            ended: crate::train::run::Ended::Complete { step: n },
            zero_std: None,
        };
        let mut p: Vec<Point> = (0..6).map(|i| point(i, 0.1, 10.0)).collect();
        assert!(frozen_accuracy(&t(6), &p, "x").is_some_and(|h| !h.ok && h.detail.contains("1.000")));
        p[2].accuracy = 0.9;
        assert!(frozen_accuracy(&t(6), &p, "x").is_none());
    }

    #[test]
    fn a_break_must_last_and_a_dose_is_not_taken_back() {
        let tokens = [10.0, 21.0, 19.0, 22.0, 25.0, 12.0];
        let kl = [0.0, 0.5, 0.3, 0.4, 0.9, 1.0];
        let p: Vec<Point> = (0..6).map(|i| point(i as u64, kl[i], tokens[i])).collect();
        let rules = Rules::built_in().unwrap().numbers;
        assert_eq!(break_index(&p, &rules), Some(3));
        assert_eq!(survival(&p, &rules), (0.5, true));
        assert_eq!(survival(&p[..3], &rules), (0.5, false));
        assert_eq!(survival(&[], &rules), (0.0, false));
    }
}
