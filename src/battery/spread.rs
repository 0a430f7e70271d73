//! How answers spread over items along an attack: a mean that doubles may be a few answers that run away, or all of them.

use std::collections::BTreeMap;

use super::config::Arm;
use super::phase::{Check, Phase, Trajectory};
use super::record::{Decoding, Figure, LinePanel, Series};
use super::rows::shown;
use crate::domain::Measured;
use crate::stats::quantile;

/// Mean behaviour of every item's samples at a check, in the units of tables.
fn per_item(c: &Check, m: &Measured) -> Vec<f64> {
    let mut items: BTreeMap<&str, (f64, f64)> = BTreeMap::new();
    for r in c.rows.iter().filter(|r| r.decoding == Decoding::Sample) {
        let sum = items.entry(r.item.as_str()).or_default();
        *sum = (sum.0 + shown(r, m), sum.1 + 1.0);
    }
    items.into_values().map(|(sum, n)| sum / n).collect()
}

/// Median and 10 to 90 % of the items at every check of one phase, the seeds of an arm together; `None` without rows.
pub fn figure(
    id: &str,
    title: &str,
    attacks: &[(Phase, Trajectory)],
    phase: Phase,
    arms: &[Arm],
    m: &Measured,
) -> Option<Figure> {
    let panel = |arm: &Arm| {
        let mut steps: BTreeMap<u64, Vec<f64>> = BTreeMap::new();
        for (_, t) in attacks.iter().filter(|(p, t)| *p == phase && t.arm == *arm) {
            t.checks.iter().for_each(|c| steps.entry(c.step).or_default().extend(per_item(c, m)));
        }
        let at = |(step, tokens): (&u64, &Vec<f64>)| {
            let q = |level| quantile(tokens, level).ok();
            Some(((*step as f64, q(0.5)?), (q(0.1)?, q(0.9)?)))
        };
        let (points, band): (Vec<_>, Vec<_>) = steps.iter().filter_map(at).unzip();
        let panel = LinePanel {
            title: m.arm(arm.name()).into(),
            x_axis: "step".into(),
            y_axis: m.words.item.into(),
            series: vec![Series { name: m.arm(arm.name()).into(), points, band }],
            ..LinePanel::default()
        };
        (!panel.series[0].points.is_empty()).then_some(panel)
    };
    let panels: Vec<LinePanel> = arms.iter().filter_map(panel).collect();
    (!panels.is_empty()).then(|| Figure::Lines { id: id.into(), title: title.into(), panels })
}

#[cfg(test)]
mod tests {
    use super::super::config::Anchor;
    use super::super::tests::{context, row};
    use super::*;
    use crate::train::run::Ended;

    #[test]
    fn a_few_runaway_answers_widen_the_band_and_leave_the_median() {
        let phase = Phase::Attack(Anchor::Start);
        let check = |step: u64, long: usize| {
            let tokens = |i: usize| if i < long { 100 } else { 10 };
            let rows = (0..10).flat_map(|i| {
                (0..2).map(move |s| row("value", "arith", "train", i, "neutral", s, tokens(i) + s, true))
            });
            Check { step, kl: 0.0, rows: rows.collect(), activations: None }
        };
        let t = Trajectory {
            arm: Arm::Value,
            seed: 42,
            checks: vec![check(0, 0), check(25, 2)],
            ended: Ended::Complete { step: 25 },
            zero_std: vec![],
            entropy: vec![],
            grad_norm: vec![],
        };
        let (attacks, m) = ([(phase, t)], context(1).measure);
        let arms = [Arm::Control, Arm::Value];
        let Some(Figure::Lines { panels, .. }) = figure("a", "t", &attacks, phase, &arms, &m) else {
            panic!("no lines")
        };
        assert_eq!(panels.len(), 1);
        let s = &panels[0].series[0];
        assert_eq!(s.points, [(0.0, 10.5), (25.0, 10.5)]);
        assert_eq!(s.band[0], (10.5, 10.5));
        assert!(s.band[1].0 == 10.5 && s.band[1].1 > 90.0, "{:?}", s.band);
        assert!(figure("a", "t", &attacks, Phase::SupervisedAttack, &arms, &m).is_none());
    }
}
