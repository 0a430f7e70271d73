//! Equivalence: two one-sided tests (TOST). p <= alpha means "inside the margins"; the interval has level 1 - 2 alpha.

use super::dist::{normal_sf, t_quantile, t_sf};
use super::paired::{PairedTable, tango_limits, tango_score};
use super::ttest::{cluster_mean_se, describe, differences, few_unequal};
use super::{Result, StatResult, StatsError, check_open_unit, check_parallel, check_values};

/// Margins below and above, `low` < `high`, and alpha below one half.
fn check_margins(low: f64, high: f64, alpha: f64) -> Result<()> {
    check_open_unit("alpha", alpha)?;
    if alpha >= 0.5 {
        return Err(StatsError::OutOfRange { what: "alpha", value: alpha, allowed: "below 0.5" });
    }
    super::check_finite("margins", &[low, high])?;
    if low >= high {
        return Err(StatsError::OutOfRange { what: "upper margin", value: high, allowed: "above the lower margin" });
    }
    Ok(())
}

fn check_margin(margin: f64) -> Result<()> {
    if margin > 0.0 && margin.is_finite() {
        Ok(())
    } else {
        Err(StatsError::OutOfRange { what: "margin", value: margin, allowed: "above 0" })
    }
}

struct Fit {
    estimate: f64,
    se: f64,
    df: f64,
}

fn finish(result: StatResult, what: &'static str, fit: Fit, low: f64, high: f64, alpha: f64) -> Result<StatResult> {
    if fit.se.is_nan() || fit.se <= 0.0 {
        return Err(StatsError::NoVariation { what, value: fit.estimate });
    }
    let (t_low, t_high) = ((fit.estimate - low) / fit.se, (fit.estimate - high) / fit.se);
    let (p_low, p_high) = (t_sf(t_low, fit.df), t_sf(-t_high, fit.df));
    let half = t_quantile(1.0 - alpha, fit.df) * fit.se;
    let statistic = if p_low >= p_high { t_low } else { t_high };
    Ok(result
        .statistic(statistic)
        .df(fit.df)
        .p(p_low.max(p_high))
        .estimate(fit.estimate)
        .ci(fit.estimate - half, fit.estimate + half, 1.0 - 2.0 * alpha)
        .detail("se", fit.se)
        .detail("margin_low", low)
        .detail("margin_high", high)
        .detail("alpha", alpha)
        .detail("p_above_low", p_low)
        .detail("p_below_high", p_high))
}

/// TOST of a mean against the margins (`low`, `high`).
///
/// # Errors
/// Fewer than two values, non-finite or constant values, margins out of order, alpha outside (0, 0.5).
pub fn tost_one_sample(values: &[f64], low: f64, high: f64, alpha: f64) -> Result<StatResult> {
    check_margins(low, high, alpha)?;
    let s = describe(values)?;
    let result = StatResult::new("tost-one-sample", "TOST of a mean, one-sample t", "mean", s.n);
    finish(result, "values", Fit { estimate: s.mean, se: s.se(), df: s.n as f64 - 1.0 }, low, high, alpha)
}

/// TOST of the mean of x - y against (`low`, `high`).
///
/// # Errors
/// As [`tost_one_sample`]; also slices of different length.
pub fn tost_paired(x: &[f64], y: &[f64], low: f64, high: f64, alpha: f64) -> Result<StatResult> {
    let mut result = tost_one_sample(&differences(x, y, 2)?, low, high, alpha)?;
    result.test = "tost-paired".into();
    result.method = "TOST of paired means (t)".into();
    result.direction = "mean of x - y".into();
    Ok(result)
}

/// TOST of the mean log-ratio ln(x / y) against ±ln(1 + `margin`): "within 5 per cent" is `margin` 0.05.
///
/// `estimate` and interval are log-ratios; `details` carries `ratio`, `ratio_low`, `ratio_high`.
///
/// # Errors
/// As [`tost_paired`]; also values that are not above 0 and a margin that is not.
pub fn tost_log_ratio(x: &[f64], y: &[f64], margin: f64, alpha: f64) -> Result<StatResult> {
    check_margin(margin)?;
    check_parallel("x", x.len(), "y", y.len())?;
    check_values("x", x, 2)?;
    check_values("y", y, 2)?;
    if let Some(&value) = x.iter().chain(y).find(|v| **v <= 0.0) {
        return Err(StatsError::OutOfRange { what: "a value under the logarithm", value, allowed: "above 0" });
    }
    let ln = |v: &[f64]| v.iter().map(|u| u.ln()).collect::<Vec<f64>>();
    let bound = margin.ln_1p();
    let mut result = tost_one_sample(&differences(&ln(x), &ln(y), 2)?, -bound, bound, alpha)?;
    result.test = "tost-log-ratio".into();
    result.method = format!("TOST of the mean log-ratio, margin factor {}", 1.0 + margin);
    result.direction = "mean of ln(x / y)".into();
    let (ratio, ci) = (result.estimate.map(f64::exp), result.ci);
    if let (Some(ratio), Some(ci)) = (ratio, ci) {
        result = result.detail("ratio", ratio).detail("ratio_low", ci.low.exp()).detail("ratio_high", ci.high.exp());
    }
    Ok(result)
}

/// TOST of a mean with a cluster-robust standard error, G - 1 degrees of freedom; `n` counts clusters.
///
/// # Errors
/// As [`super::cluster_t`]; margins out of order, alpha outside (0, 0.5).
pub fn tost_cluster_mean(values: &[f64], clusters: &[usize], low: f64, high: f64, alpha: f64) -> Result<StatResult> {
    check_margins(low, high, alpha)?;
    let (estimate, se, g) = cluster_mean_se(values, clusters)?;
    let result = StatResult::new("tost-cluster", "TOST of a mean, cluster-robust t", "mean", g as u64);
    let result = finish(result, "values", Fit { estimate, se, df: g as f64 - 1.0 }, low, high, alpha)?;
    Ok(few_unequal(result, values, clusters))
}

/// TOST of the paired difference p2 - p1 against ±`margin` by Tango's score tests; the interval is Tango's.
///
/// # Errors
/// An empty table, a margin outside (0, 1), alpha outside (0, 0.5).
pub fn tost_paired_proportions(table: PairedTable, margin: f64, alpha: f64) -> Result<StatResult> {
    check_margin(margin)?;
    check_margins(-margin, margin, alpha)?;
    check_open_unit("margin", margin)?;
    let level = 1.0 - 2.0 * alpha;
    let base = super::paired::tango(table, level)?;
    let (low, high) = tango_limits(&table, level);
    let (z_low, z_high) = (tango_score(&table, -margin), tango_score(&table, margin));
    let (p_low, p_high) = (normal_sf(z_low), normal_sf(-z_high));
    let mut result = StatResult::new(
        "tost-paired-proportions",
        "TOST of a paired difference of proportions, Tango score tests",
        &base.direction,
        table.n(),
    )
    .statistic(if p_low >= p_high { z_low } else { z_high })
    .p(p_low.max(p_high));
    result.estimate = base.estimate;
    Ok(result
        .ci(low, high, level)
        .detail("margin_low", -margin)
        .detail("margin_high", margin)
        .detail("alpha", alpha)
        .detail("p_above_low", p_low)
        .detail("p_below_high", p_high))
}
