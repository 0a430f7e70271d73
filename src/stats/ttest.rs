//! Student, Welch, paired and one-sample t, from values and from summaries; the cluster-robust t of a mean.

use serde::{Deserialize, Serialize};

use super::dist::{mean, sum, t_quantile, t_two_sided, variance};
use super::{Result, StatResult, StatsError, check_finite, check_open_unit, check_parallel, check_values};

/// Size, mean and standard deviation (ddof 1) of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    pub n: u64,
    pub mean: f64,
    pub sd: f64,
}

impl Summary {
    /// Standard error of the mean.
    pub fn se(&self) -> f64 {
        self.sd / (self.n as f64).sqrt()
    }

    fn check(&self, what: &'static str) -> Result<()> {
        if self.n < 2 {
            return Err(StatsError::TooFew { what, n: self.n as usize, need: 2 });
        }
        check_finite(what, &[self.mean, self.sd])?;
        if self.sd < 0.0 {
            return Err(StatsError::OutOfRange { what: "standard deviation", value: self.sd, allowed: "0 or more" });
        }
        Ok(())
    }
}

/// Summary of at least two finite values.
///
/// # Errors
/// Fewer than two values, or one that is not finite.
pub fn describe(values: &[f64]) -> Result<Summary> {
    check_values("values", values, 2)?;
    let m = mean(values);
    Ok(Summary { n: values.len() as u64, mean: m, sd: variance(values, m).sqrt() })
}

/// Fills statistic, df, p, estimate and interval of a t test of `estimate` against 0.
pub(super) fn finish_t(
    result: StatResult,
    what: &'static str,
    estimate: f64,
    se: f64,
    df: f64,
    level: f64,
) -> Result<StatResult> {
    check_open_unit("level", level)?;
    if se.is_nan() || se <= 0.0 {
        return Err(StatsError::NoVariation { what, value: estimate });
    }
    check_finite(what, &[estimate, se])?;
    let t = estimate / se;
    let half = t_quantile(0.5 + level / 2.0, df) * se;
    Ok(result
        .statistic(t)
        .df(df)
        .p(t_two_sided(t, df))
        .estimate(estimate)
        .ci(estimate - half, estimate + half, level)
        .detail("se", se))
}

/// One-sample t interval and test of mean 0 from a summary.
///
/// # Errors
/// Fewer than two values, no variation, `level` outside (0, 1).
pub fn t_interval_from_summary(s: Summary, level: f64) -> Result<StatResult> {
    s.check("values")?;
    let result = StatResult::new("t-interval", "one-sample t interval and test of mean 0", "mean", s.n);
    let result = finish_t(result, "sample", s.mean, s.se(), s.n as f64 - 1.0, level)?;
    Ok(result.detail("sd", s.sd).detail("d", s.mean / s.sd))
}

/// One-sample t interval of the mean, and the test of mean 0: the interval for a handful of per-seed effects.
///
/// `details`: `n_positive`, `n_negative` (how many share each sign), `sd`, `d` = mean / sd.
///
/// # Errors
/// Fewer than two values, a non-finite or only equal values, `level` outside (0, 1).
pub fn t_interval(values: &[f64], level: f64) -> Result<StatResult> {
    let result = t_interval_from_summary(describe(values)?, level)?;
    let count = |keep: fn(&f64) -> bool| values.iter().filter(|v| keep(v)).count() as f64;
    Ok(result.detail("n_positive", count(|v| *v > 0.0)).detail("n_negative", count(|v| *v < 0.0)))
}

/// Differences x - y of two parallel finite slices. Differences that agree up to rounding are made equal, so that they
/// are recognised as constant.
pub(super) fn differences(x: &[f64], y: &[f64], need: usize) -> Result<Vec<f64>> {
    check_parallel("x", x.len(), "y", y.len())?;
    check_values("x", x, need)?;
    check_values("y", y, need)?;
    let mut d: Vec<f64> = x.iter().zip(y).map(|(a, b)| a - b).collect();
    check_finite("x - y", &d)?;
    let scale = x.iter().chain(y).fold(0.0f64, |m, v| m.max(v.abs()));
    let (low, high) = d.iter().fold((f64::INFINITY, f64::NEG_INFINITY), |(l, h), &v| (l.min(v), h.max(v)));
    if high > low && high - low <= 4.0 * f64::EPSILON * scale {
        let first = d[0];
        d.fill(first);
    }
    Ok(d)
}

/// Paired t test of x - y.
///
/// `details`: `dz` = mean / sd of the differences, `sd`, `mean_x`, `mean_y`.
///
/// # Errors
/// Slices of different length, fewer than two pairs, non-finite values, constant differences, `level` outside (0, 1).
pub fn paired_t(x: &[f64], y: &[f64], level: f64) -> Result<StatResult> {
    let s = describe(&differences(x, y, 2)?)?;
    let result = StatResult::new("paired-t", "paired t test, two-sided", "mean of x - y", s.n);
    let result = finish_t(result, "x - y", s.mean, s.se(), s.n as f64 - 1.0, level)?;
    Ok(result.detail("dz", s.mean / s.sd).detail("sd", s.sd).detail("mean_x", mean(x)).detail("mean_y", mean(y)))
}

fn two_sample(name: &str, method: &str, x: Summary, y: Summary, se: f64, df: f64, level: f64) -> Result<StatResult> {
    let result = StatResult::new(name, method, "mean(x) - mean(y)", x.n + y.n);
    let result = finish_t(result, "both samples", x.mean - y.mean, se, df, level)?;
    Ok(result.detail("mean_x", x.mean).detail("mean_y", y.mean).detail("sd_x", x.sd).detail("sd_y", y.sd))
}

/// Student's t (equal variances, pooled) from summaries.
///
/// # Errors
/// A group below two values, zero pooled variance, `level` outside (0, 1).
pub fn student_t_from_summary(x: Summary, y: Summary, level: f64) -> Result<StatResult> {
    x.check("x")?;
    y.check("y")?;
    let (nx, ny) = (x.n as f64, y.n as f64);
    let df = nx + ny - 2.0;
    let pooled = ((nx - 1.0) * x.sd * x.sd + (ny - 1.0) * y.sd * y.sd) / df;
    let se = (pooled * (1.0 / nx + 1.0 / ny)).sqrt();
    let result = two_sample("student-t", "Student's t, pooled variance, two-sided", x, y, se, df, level)?;
    Ok(result.detail("d", (x.mean - y.mean) / pooled.sqrt()))
}

/// Student's t (equal variances, pooled).
///
/// # Errors
/// As [`student_t_from_summary`]; also non-finite values.
pub fn student_t(x: &[f64], y: &[f64], level: f64) -> Result<StatResult> {
    check_values("x", x, 2)?;
    check_values("y", y, 2)?;
    student_t_from_summary(describe(x)?, describe(y)?, level)
}

/// Welch's t with Satterthwaite's degrees of freedom, from summaries.
///
/// # Errors
/// A group below two values, zero variance in both, `level` outside (0, 1).
pub fn welch_t_from_summary(x: Summary, y: Summary, level: f64) -> Result<StatResult> {
    x.check("x")?;
    y.check("y")?;
    let (vx, vy) = (x.se() * x.se(), y.se() * y.se());
    let df = (vx + vy) * (vx + vy) / (vx * vx / (x.n as f64 - 1.0) + vy * vy / (y.n as f64 - 1.0));
    two_sample("welch-t", "Welch's t, unequal variances, two-sided", x, y, (vx + vy).sqrt(), df, level)
}

/// Welch's t with Satterthwaite's degrees of freedom.
///
/// # Errors
/// As [`welch_t_from_summary`]; also non-finite values.
pub fn welch_t(x: &[f64], y: &[f64], level: f64) -> Result<StatResult> {
    check_values("x", x, 2)?;
    check_values("y", y, 2)?;
    welch_t_from_summary(describe(x)?, describe(y)?, level)
}

/// Mean and cluster-robust standard error: with S_g, n_g the sum and size of cluster g and m the overall mean,
/// se² = G / (G - 1) · Σ (S_g - n_g m)² / N². Also the number of clusters G.
pub(super) fn cluster_mean_se(values: &[f64], clusters: &[usize]) -> Result<(f64, f64, usize)> {
    check_parallel("values", values.len(), "clusters", clusters.len())?;
    check_finite("values", values)?;
    let groups = super::resample::group(values, clusters);
    let g = groups.len();
    if g < 2 {
        return Err(StatsError::TooFew { what: "clusters", n: g, need: 2 });
    }
    let m = mean(values);
    let n = values.len() as f64;
    let squares = sum(groups.iter().map(|c| (c.sum - c.count * m).powi(2)));
    let se = (g as f64 / (g as f64 - 1.0) * squares).sqrt() / n;
    let scale = values.iter().fold(0.0f64, |s, v| s.max(v.abs()));
    // Clusters whose means agree up to rounding do not vary.
    Ok((m, if se <= 4.0 * f64::EPSILON * scale { 0.0 } else { se }, g))
}

/// t interval of the mean with a cluster-robust standard error and G - 1 degrees of freedom.
///
/// With one value a cluster it is the one-sample t. `n` is the number of clusters.
///
/// # Errors
/// Slices of different length, non-finite values, fewer than two clusters, no variation, `level` outside (0, 1).
pub fn cluster_t(values: &[f64], clusters: &[usize], level: f64) -> Result<StatResult> {
    let (m, se, g) = cluster_mean_se(values, clusters)?;
    let result =
        StatResult::new("cluster-t", "t interval of the mean, cluster-robust standard error", "mean", g as u64);
    let result = finish_t(result, "values", m, se, g as f64 - 1.0, level)?.detail("rows", values.len() as f64);
    Ok(few_unequal(result, values, clusters))
}

/// Says what the cluster-robust t is worth with few clusters of unequal size.
pub(super) fn few_unequal(result: StatResult, values: &[f64], clusters: &[usize]) -> StatResult {
    let groups = super::resample::group(values, clusters);
    let equal = groups.iter().all(|c| c.count == groups[0].count);
    if equal || groups.len() >= 20 {
        return result;
    }
    let n = groups.len();
    result.note(format!(
        "only {n} clusters, of unequal size: the cluster-robust t rejects a little too often (about 7.5 % at a level of 5 % with 5 \
         clusters of 1 to 4 rows, 6.5 % with 10)"
    ))
}
