//! Times to a break with right censoring: Kaplan-Meier, restricted mean, log-rank with an exact permutation p for few seeds.
//!
//! A time is on any axis that only grows (steps, KL moved). A run that never broke is censored where it ended.

use serde::{Deserialize, Serialize};

use super::dist::{choose, normal_two_sided, sum};
use super::resample::below;
use super::ttest::finish_t;
use super::{Resampling, Result, StatResult, StatsError, check_open_unit, check_parallel, check_values};

/// The Kaplan-Meier curve just after one distinct break time.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct SurvivalStep {
    pub time: f64,
    /// Runs neither broken nor censored before `time`.
    pub at_risk: u64,
    pub breaks: u64,
    /// P(no break up to and including `time`).
    pub survival: f64,
    /// Greenwood's standard error; 0 where the curve has reached 0.
    pub se: f64,
}

fn check_times(times: &[f64], broken: &[bool]) -> Result<()> {
    check_values("times", times, 1)?;
    check_parallel("times", times.len(), "broken", broken.len())?;
    match times.iter().find(|t| **t < 0.0) {
        Some(&value) => Err(StatsError::OutOfRange { what: "time", value, allowed: "0 or more" }),
        None => Ok(()),
    }
}

/// Distinct break times in order, with the number at risk and the number of breaks. Censoring at a break time comes after it.
fn risk_table(times: &[f64], broken: &[bool]) -> Vec<(f64, usize, usize)> {
    let mut events: Vec<f64> = times.iter().zip(broken).filter(|(_, b)| **b).map(|(t, _)| *t).collect();
    events.sort_by(f64::total_cmp);
    events.dedup();
    let at = |e: f64| {
        let risk = times.iter().filter(|t| **t >= e).count();
        let breaks = times.iter().zip(broken).filter(|(t, b)| **b && **t == e).count();
        (e, risk, breaks)
    };
    events.into_iter().map(at).collect()
}

/// Kaplan-Meier estimate at every break time; empty where nothing broke (the curve stays at 1).
///
/// # Errors
/// No run, lengths that differ, a time below 0 or not finite.
pub fn kaplan_meier(times: &[f64], broken: &[bool]) -> Result<Vec<SurvivalStep>> {
    check_times(times, broken)?;
    let (mut survival, mut greenwood) = (1.0, 0.0);
    let step = |(time, at_risk, breaks): (f64, usize, usize)| {
        let (y, d) = (at_risk as f64, breaks as f64);
        survival *= (y - d) / y;
        if at_risk > breaks {
            greenwood += d / (y * (y - d));
        }
        let se = if survival > 0.0 { survival * f64::sqrt(greenwood) } else { 0.0 };
        SurvivalStep { time, at_risk: at_risk as u64, breaks: breaks as u64, survival, se }
    };
    Ok(risk_table(times, broken).into_iter().map(step).collect())
}

/// Restricted mean, its standard error and the number of runs whose min(time, tau) is known.
fn restricted(times: &[f64], broken: &[bool], tau: f64) -> Result<(f64, f64, usize)> {
    check_times(times, broken)?;
    let longest = times.iter().copied().fold(0.0, f64::max);
    let ends_censored = times.iter().zip(broken).any(|(t, b)| *t == longest && !b);
    if !(tau.is_finite() && tau > 0.0) || (tau > longest && ends_censored) {
        return Err(StatsError::OutOfRange {
            what: "tau",
            value: tau,
            allowed: "above 0 and not beyond the longest time where that run is censored",
        });
    }
    let steps: Vec<SurvivalStep> = kaplan_meier(times, broken)?.into_iter().filter(|s| s.time < tau).collect();
    // Area under the curve from each break time to tau.
    let mut areas = vec![0.0; steps.len()];
    let (mut area, mut right) = (0.0, tau);
    for (step, from) in steps.iter().zip(&mut areas).rev() {
        area += step.survival * (right - step.time);
        right = step.time;
        *from = area;
    }
    let mean = area + right;
    let variance = sum(steps.iter().zip(&areas).map(|(s, a)| {
        let (y, d) = (s.at_risk as f64, s.breaks as f64);
        if y > d { a * a * d / (y * (y - d)) } else { 0.0 }
    }));
    let known = times.iter().zip(broken).filter(|(t, b)| **b || **t >= tau).count();
    // n / (n - 1), so that without censoring the interval is Student's of min(time, tau).
    let correction = if known > 1 { known as f64 / (known as f64 - 1.0) } else { 1.0 };
    Ok((mean, (variance * correction).sqrt(), known))
}

/// Mean time to a break up to `tau`: the area under the Kaplan-Meier curve, with Greenwood's variance times m / (m - 1) and a t interval
/// on m - 1 degrees of freedom, m the runs that broke or reached `tau`. Without censoring before `tau` it is the t interval of min(time,
/// tau). No p.
///
/// # Errors
/// As [`kaplan_meier`]; `tau` not above 0, or beyond the last time where that run is censored (the mean is not identified).
pub fn restricted_mean(times: &[f64], broken: &[bool], tau: f64, level: f64) -> Result<StatResult> {
    check_open_unit("level", level)?;
    let (mean, se, known) = restricted(times, broken, tau)?;
    let breaks = broken.iter().filter(|b| **b).count();
    let median = kaplan_meier(times, broken)?.into_iter().find(|s| s.survival <= 0.5 + 1e-12);
    let mut result = StatResult::new(
        "restricted-mean",
        "restricted mean survival time (Kaplan-Meier area to tau), t interval",
        "mean time without a break, up to tau",
        times.len() as u64,
    )
    .detail("tau", tau)
    .detail("breaks", breaks as f64)
    .detail("se", se)
    .detail("median", median.map_or(f64::NAN, |s| s.time))
    .estimate(mean);
    if known < 2 || se <= 0.0 {
        return Ok(result.note("too few different break times for an interval"));
    }
    let filled = finish_t(result.clone(), "times", mean, se, known as f64 - 1.0, level)?;
    result.ci = filled.ci;
    result.df = filled.df;
    Ok(result)
}

/// Difference of two restricted means, first - second, with Welch's degrees of freedom.
///
/// # Errors
/// As [`restricted_mean`] for either group; no variation in both.
pub fn restricted_mean_difference(
    times: &[f64],
    broken: &[bool],
    first: &[bool],
    tau: f64,
    level: f64,
) -> Result<StatResult> {
    check_times(times, broken)?;
    check_parallel("times", times.len(), "groups", first.len())?;
    let side = |want: bool| {
        let rows = || (0..times.len()).filter(|&i| first[i] == want);
        let (t, b): (Vec<f64>, Vec<bool>) = rows().map(|i| (times[i], broken[i])).unzip();
        restricted(&t, &b, tau)
    };
    let ((m1, se1, n1), (m2, se2, n2)) = (side(true)?, side(false)?);
    let smallest = n1.min(n2);
    if smallest < 2 {
        return Err(StatsError::TooFew { what: "runs of a group that broke or reached tau", n: smallest, need: 2 });
    }
    let (v1, v2) = (se1 * se1, se2 * se2);
    let df = (v1 + v2).powi(2) / (v1 * v1 / (n1 as f64 - 1.0) + v2 * v2 / (n2 as f64 - 1.0));
    let result = StatResult::new(
        "restricted-mean-difference",
        "difference of restricted mean survival times, Welch t",
        "restricted mean of the first group - of the second; positive = first lasts longer",
        times.len() as u64,
    )
    .detail("tau", tau)
    .detail("mean_first", m1)
    .detail("mean_second", m2);
    finish_t(result, "times of both groups", m1 - m2, (v1 + v2).sqrt(), df, level)
}

/// Assignments up to this many are enumerated.
const ENUMERATED: f64 = 200_000.0;

/// Log-rank test of two groups, two-sided.
///
/// `estimate` is observed - expected breaks of the first group, Σ (δ - Λ) with Λ the pooled Nelson-Aalen hazard at each run's end; `p` is its
/// permutation p over all assignments of runs to groups (exact up to 200,000, else `opts.resamples` random ones). `statistic` is the
/// signed root of the log-rank chi-squared, `details.p_chi2` its asymptotic p. The permutation is exact where censoring does
/// not depend on the group: same horizon on the axis that is tested. Where one group is censored early it stayed at or below its
/// level in the designs simulated.
///
/// # Errors
/// Lengths that differ, a time below 0 or not finite, an empty group, bad options.
pub fn log_rank(times: &[f64], broken: &[bool], first: &[bool], opts: &Resampling) -> Result<StatResult> {
    check_times(times, broken)?;
    check_parallel("times", times.len(), "groups", first.len())?;
    opts.check()?;
    let (n, n1) = (times.len(), first.iter().filter(|f| **f).count());
    if n1 == 0 || n1 == n {
        return Err(StatsError::TooFew { what: "runs of the smaller group", n: 0, need: 1 });
    }
    let table = risk_table(times, broken);
    let mut variance = 0.0;
    for &(time, y, d) in &table {
        let y1 = times.iter().zip(first).filter(|(t, f)| **f && **t >= time).count() as f64;
        let (y, d) = (y as f64, d as f64);
        if y > 1.0 {
            variance += d * (y1 / y) * (1.0 - y1 / y) * (y - d) / (y - 1.0);
        }
    }
    let hazard = |t: f64| sum(table.iter().filter(|r| r.0 <= t).map(|r| r.2 as f64 / r.1 as f64));
    let scores: Vec<f64> = times.iter().zip(broken).map(|(&t, &b)| f64::from(u8::from(b)) - hazard(t)).collect();
    let difference = sum(scores.iter().zip(first).filter(|(_, f)| **f).map(|(s, _)| *s));
    let bar = difference.abs() - 1e-10 * (1.0 + sum(scores.iter().map(|s| s.abs())));
    let assignments = choose(n as u64, n1 as u64);
    let exact = assignments <= ENUMERATED;
    let p = if exact { enumerate(&scores, n1, bar) } else { sample(&scores, n1, bar, opts) };
    let z = if variance > 0.0 { difference / variance.sqrt() } else { f64::NAN };
    let name = if exact { "all assignments" } else { "random assignments" };
    let smallest = if exact { 1.0 / assignments } else { 1.0 / (opts.resamples as f64 + 1.0) };
    let mut result = StatResult::new(
        "log-rank",
        format!("log-rank test, permutation p over {name}, two-sided"),
        "observed - expected breaks of the first group; negative = first lasts longer",
        n as u64,
    )
    .estimate(difference)
    .statistic(z)
    .p(p)
    .detail("n_first", n1 as f64)
    .detail("n_second", (n - n1) as f64)
    .detail("breaks", broken.iter().filter(|b| **b).count() as f64)
    .detail("chi2", z * z)
    .detail("p_chi2", normal_two_sided(z))
    .detail("smallest_p", if 2 * n1 == n { (2.0 * smallest).min(1.0) } else { smallest });
    if !exact {
        result = result.detail("resamples", opts.resamples as f64).detail("seed", opts.seed as f64);
    }
    if table.is_empty() {
        result = result.note("nothing broke in either group");
    }
    Ok(result)
}

/// Share of subsets of `n1` scores whose sum is at least `bar` in size. The scores sum to 0, so the null mean is 0.
fn enumerate(scores: &[f64], n1: usize, bar: f64) -> f64 {
    let n = scores.len();
    let mut at: Vec<usize> = (0..n1).collect();
    let (mut extreme, mut all) = (0u64, 0u64);
    loop {
        let total = sum(at.iter().map(|&i| scores[i]));
        extreme += u64::from(total.abs() >= bar);
        all += 1;
        // Next combination in lexicographic order.
        let Some(i) = (0..n1).rev().find(|&i| at[i] < n - n1 + i) else { break };
        at[i] += 1;
        (i + 1..n1).for_each(|j| at[j] = at[j - 1] + 1);
    }
    extreme as f64 / all as f64
}

fn sample(scores: &[f64], n1: usize, bar: f64, opts: &Resampling) -> f64 {
    let mut rng = opts.rng();
    let mut drawn = scores.to_vec();
    let mut extreme = 0usize;
    for _ in 0..opts.resamples {
        for i in 0..n1 {
            let j = i + below(&mut rng, drawn.len() - i);
            drawn.swap(i, j);
        }
        extreme += usize::from(sum(drawn[..n1].iter().copied()).abs() >= bar);
    }
    (extreme + 1) as f64 / (opts.resamples + 1) as f64
}
