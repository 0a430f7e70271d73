//! Probes of short against long answers (true against false statements) along an attack, fitted anew and frozen before the first step: the study's, which pool
//! families. No verdict rests on them.

use super::error::Result;
use super::phase::Trajectory;
use super::record::Decoding;
use super::test03_probing::class_value;
use crate::domain::Readout;
use crate::stats::{Features, LinearFit, StatsError, auroc, logistic, quantile, study_folds, study_probe};

/// Probes at one check.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ProbeAt {
    pub step: u64,
    /// Fitted anew on this check, mean over the study's folds; `None` = undefined (one class).
    pub refitted: Option<f64>,
    /// Fitted before the first step, out of fold, and applied here; `None` at step 0.
    pub frozen: Option<f64>,
}

/// C of the study's probe in counter-training.
const PROBE_C: f64 = 0.01;

/// Probes along an attack: does the representation outlast the behaviour?
pub fn probes(t: &Trajectory, readout: Readout) -> Result<Vec<ProbeAt>> {
    let mut out = Vec::new();
    let mut first: Option<Vec<(LinearFit, Vec<usize>)>> = None;
    for c in &t.checks {
        let Some(a) = &c.activations else { continue };
        let greedy = c.rows.iter().filter(|r| r.decoding == Decoding::Greedy);
        let values: Vec<f64> = greedy.map(|r| class_value(r, readout)).collect();
        if values.len() != a.items {
            continue;
        }
        let median = quantile(&values, 0.5)?;
        let labels: Vec<bool> = values.iter().map(|v| *v <= median).collect();
        let of = |rows: &[usize]| Features::new(a.select(0, rows), a.hidden);
        let all: Vec<usize> = (0..a.items).collect();
        let refitted = study_probe(&of(&all)?, &labels, &[PROBE_C]).ok().and_then(|p| p.skill.mean.value());
        let frozen = match &first {
            Some(fits) => frozen_auroc(fits, &labels, &of)?,
            None => None,
        };
        if first.is_none() {
            first = frozen_fits(&labels, &of);
        }
        out.push(ProbeAt { step: c.step, refitted, frozen });
    }
    Ok(out)
}

/// Fits before the first step, one a fold, with the items each has not seen; `None` with one class.
fn frozen_fits(
    labels: &[bool],
    of: &dyn Fn(&[usize]) -> std::result::Result<Features, StatsError>,
) -> Option<Vec<(LinearFit, Vec<usize>)>> {
    let classes: Vec<usize> = labels.iter().map(|l| usize::from(*l)).collect();
    let folds = study_folds(&classes, 5).ok()?;
    let fit = |f: usize| {
        let test = folds.test(f);
        let train: Vec<usize> = (0..labels.len()).filter(|i| !test.contains(i)).collect();
        let seen: Vec<bool> = train.iter().map(|&i| labels[i]).collect();
        Some((logistic(&of(&train).ok()?, &seen, PROBE_C).ok()?, test))
    };
    (0..folds.k()).map(fit).collect()
}

/// Mean over folds of the AUROC on items that a frozen fit has not seen; folds of one class are left out.
fn frozen_auroc(
    fits: &[(LinearFit, Vec<usize>)],
    labels: &[bool],
    of: &dyn Fn(&[usize]) -> std::result::Result<Features, StatsError>,
) -> Result<Option<f64>> {
    let mut values = Vec::new();
    for (fit, test) in fits {
        let own: Vec<bool> = test.iter().map(|&i| labels[i]).collect();
        values.extend(auroc(&fit.decision(&of(test)?)?, &own, 0.95).ok().and_then(|r| r.estimate));
    }
    Ok((!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64))
}

#[cfg(test)]
mod tests {
    use super::super::activations::Activations;
    use super::super::config::Arm;
    use super::super::phase::Check;
    use super::super::record::Row;
    use super::super::tests::row;
    use super::*;
    use crate::train::run::Ended;

    #[test]
    fn probes_follow_the_representation() {
        // The length of an item shows in the first of three features until check 3, and not after.
        let check = |k: usize| {
            let noise = |i: usize| ((i * 7919 + k * 104_729) % 1013) as f32 / 1013.0 - 0.5;
            let long = |i: usize| i * 37 % 100 >= 50;
            let mut rows = Vec::new();
            let mut layer = Vec::new();
            for i in 0..60 {
                let r = row("value", "arith", "train", i, "neutral", 0, if long(i) { 20 } else { 10 }, true);
                rows.push(Row { decoding: Decoding::Greedy, ..r });
                let shown = if k < 3 { f32::from(i16::from(long(i))) } else { 0.5 };
                layer.extend([shown + 0.2 * noise(i), noise(i + 500), noise(i + 900)]);
            }
            let activations = Some(Activations { items: 60, hidden: 3, layers: vec![layer], first: 1 });
            Check { step: 25 * k as u64, kl: 0.0, rows, activations }
        };
        let checks = (0..5).map(check).collect();
        let t = Trajectory {
            arm: Arm::Value,
            seed: 1,
            checks,
            ended: Ended::Complete { step: 100 },
            zero_std: vec![],
            entropy: vec![],
            grad_norm: vec![],
        };
        let course = probes(&t, Readout::Tokens).unwrap();
        assert_eq!(course.iter().map(|p| p.step).collect::<Vec<_>>(), [0, 25, 50, 75, 100]);
        assert!(course[0].frozen.is_none());
        assert!(course[..3].iter().all(|p| p.refitted.unwrap() > 0.95), "{course:?}");
        assert!(course[1..3].iter().all(|p| p.frozen.unwrap() > 0.95), "{course:?}");
        assert!(course[3..].iter().all(|p| p.refitted.unwrap() < 0.75 && p.frozen.unwrap() < 0.75), "{course:?}");
        // One length for all: undefined, never 0.5.
        let mut same = t;
        same.checks.iter_mut().flat_map(|c| &mut c.rows).for_each(|r| r.n_tokens = 9);
        assert!(probes(&same, Readout::Tokens).unwrap().iter().all(|p| p.refitted.is_none() && p.frozen.is_none()));
    }
}
