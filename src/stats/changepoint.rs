//! Onset of a change in a short series: one step in the mean, and the first lasting crossing of a bound.

use serde::{Deserialize, Serialize};

use super::crossval::shuffle;
use super::dist::{is_constant, mean, sum};
use super::resample::below;
use super::{Resampling, Result, StatsError, check_finite, check_open_unit, check_values};

/// Where the mean of a series steps, if it does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Onset {
    /// First index of the new level; absent where p exceeds alpha: no onset.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub onset: Option<usize>,
    /// Best split by least squares, whether or not it counts as an onset: first index of the second part.
    pub split: usize,
    /// Means before and from the split.
    pub before: f64,
    pub after: f64,
    /// Share of the variation that the step explains.
    pub explained: f64,
    /// p of "the order means nothing", by permutation of the series.
    pub p: f64,
    pub alpha: f64,
    /// Interval of the onset, indices, both ends included; absent without an onset.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub interval: Option<OnsetInterval>,
    pub n: usize,
}

/// Range of indices that holds the onset.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct OnsetInterval {
    pub low: usize,
    pub high: usize,
    /// Nominal coverage.
    pub level: f64,
}

/// Split with the greatest sum of squares between its two parts, each at least `least` long, and that sum. The first of equals.
fn best_split(values: &[f64], centre: f64, least: usize) -> (usize, f64) {
    let n = values.len();
    let (mut best, mut at, mut run) = (-1.0, least, 0.0);
    for i in 1..=n - least {
        run += values[i - 1] - centre;
        if i >= least {
            let between = run * run * n as f64 / (i as f64 * (n - i) as f64);
            if between > best * (1.0 + 1e-12) {
                (best, at) = (between, i);
            }
        }
    }
    (at, best.max(0.0))
}

/// One step in the mean of `values`, least squares, at least `least` values on either side.
///
/// p: share of random orders whose best split explains at least as much, (1 + count) / (1 + resamples); it assumes that without an onset
/// the checks are exchangeable, so a slow drift is an onset too. The interval of the onset: percentiles of the split of series
/// made from the fitted step and resampled residuals, these scaled by √(n / (n - 2)).
///
/// # Errors
/// Fewer than 2 · `least` values, `least` 0, values that are not finite, bad options, `alpha` outside (0, 1).
pub fn change_point(values: &[f64], least: usize, alpha: f64, opts: &Resampling) -> Result<Onset> {
    if least == 0 {
        return Err(StatsError::OutOfRange { what: "values on either side", value: 0.0, allowed: "1 or more" });
    }
    check_values("series", values, least.saturating_mul(2).max(3))?;
    check_open_unit("alpha", alpha)?;
    opts.check()?;
    let n = values.len();
    let centre = mean(values);
    let (split, between) = best_split(values, centre, least);
    let (before, after) = (mean(&values[..split]), mean(&values[split..]));
    let total = sum(values.iter().map(|v| (v - centre).powi(2)));
    check_finite("sum of squares of the series", &[total])?;
    let mut out = Onset { onset: None, split, before, after, explained: 0.0, p: 1.0, alpha, interval: None, n };
    if is_constant(values) || total <= 0.0 {
        return Ok(out);
    }
    out.explained = (between / total).min(1.0);
    let mut rng = opts.rng();
    let mut drawn = values.to_vec();
    let mut reached = 0usize;
    for _ in 0..opts.resamples {
        shuffle(&mut drawn, |m| below(&mut rng, m));
        reached += usize::from(best_split(&drawn, centre, least).1 >= between * (1.0 - 1e-10));
    }
    out.p = (reached + 1) as f64 / (opts.resamples + 1) as f64;
    if out.p > alpha {
        return Ok(out);
    }
    out.onset = Some(split);
    let level = |i: usize| if i < split { before } else { after };
    let inflate = (n as f64 / (n as f64 - 2.0)).sqrt();
    let residuals: Vec<f64> = values.iter().enumerate().map(|(i, v)| (v - level(i)) * inflate).collect();
    let mut splits = Vec::with_capacity(opts.resamples);
    for _ in 0..opts.resamples {
        drawn.iter_mut().enumerate().for_each(|(i, v)| *v = level(i) + residuals[below(&mut rng, n)]);
        splits.push(best_split(&drawn, mean(&drawn), least).0);
    }
    splits.sort_unstable();
    // Order statistics rounded outwards: the ends are indices.
    let tail = (1.0 - opts.level) / 2.0 * (splits.len() - 1) as f64;
    let (low, high) = (splits[tail.floor() as usize], splits[splits.len() - 1 - tail.floor() as usize]);
    out.interval = Some(OnsetInterval { low: low.min(split), high: high.max(split), level: opts.level });
    Ok(out)
}

/// First index from which `holds` is true at `run` consecutive checks; `None` where it never is, or `run` is 0.
///
/// A break counts where the bound is crossed at two checks in a row (`run` 2): a single excursion is noise.
pub fn persistent_crossing(values: &[f64], run: usize, holds: impl Fn(f64) -> bool) -> Option<usize> {
    let mut length = 0;
    for (i, &v) in values.iter().enumerate() {
        length = if holds(v) { length + 1 } else { 0 };
        if length == run && run > 0 {
            return Some(i + 1 - run);
        }
    }
    None
}
