//! Dose and response: least-squares slope per item, and its place in a cloud of slopes of random directions.

use super::crossval::groups_in_strata;
use super::dist::{mean, sum, t_quantile, t_two_sided, variance};
use super::{
    BootstrapInterval, Resampling, Result, StatResult, StatsError, check_finite, check_open_unit, check_parallel,
    check_values, cluster_bootstrap_mean,
};

/// Random directions from which on the rank p is the primary one.
const RANK_FROM: usize = 199;

/// Least-squares slope of `y` on `x`; `None` where `x` does not vary.
fn slope(x: &[f64], y: &[f64]) -> Option<f64> {
    let (mx, my) = (mean(x), mean(y));
    let xx = sum(x.iter().map(|v| (v - mx).powi(2)));
    let size = x.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    if xx <= (4.0 * f64::EPSILON * size).powi(2) * x.len() as f64 {
        return None;
    }
    Some(sum(x.iter().zip(y).map(|(a, b)| (a - mx) * (b - my))) / xx)
}

/// Mean over items of the slope of `response` (log length) on `dose`, bootstrapped over clusters (canonical prompts).
///
/// `items[i]` and `clusters[i]` label row `i`; an item lies in one cluster. Items measured at one dose only are left out, with a note. p
/// is for "the mean slope is 0". `n` counts clusters.
///
/// # Errors
/// Lengths that differ, values that are not finite, an item in two clusters, fewer than two items with two doses, and as
/// [`cluster_bootstrap_mean`].
pub fn dose_response(
    dose: &[f64],
    response: &[f64],
    items: &[usize],
    clusters: &[usize],
    interval: BootstrapInterval,
    opts: &Resampling,
) -> Result<StatResult> {
    check_parallel("dose", dose.len(), "response", response.len())?;
    check_parallel("dose", dose.len(), "items", items.len())?;
    check_finite("dose", dose)?;
    check_finite("response", response)?;
    let grouped = groups_in_strata(items, clusters)?;
    let all = grouped.len();
    let (mut slopes, mut codes) = (Vec::new(), Vec::new());
    for (cluster, rows) in grouped {
        let (x, y): (Vec<f64>, Vec<f64>) = rows.iter().map(|&i| (dose[i], response[i])).unzip();
        if let Some(s) = slope(&x, &y) {
            slopes.push(s);
            codes.push(cluster);
        }
    }
    if slopes.len() < 2 {
        return Err(StatsError::TooFew { what: "items measured at two doses or more", n: slopes.len(), need: 2 });
    }
    let mut result = cluster_bootstrap_mean(&slopes, &codes, interval, opts)?;
    result.test = "dose-response".into();
    result.method = format!("mean over items of the least-squares slope on dose; {}", result.method);
    result.direction = "change of the response per unit of dose".into();
    result.details.remove("rows");
    let result = result.detail("items", slopes.len() as f64).detail("rows", dose.len() as f64);
    let out = all - slopes.len();
    Ok(if out > 0 { result.note(format!("{out} item(s) at one dose only were left out")) } else { result })
}

/// A slope against the slopes of `random` directions.
///
/// `details.p_rank` = (1 + #{|s_r| ≥ |s|}) / (1 + R); `details.p_t` is for "the slope is one more draw from the cloud": t = (s - mean) /
/// (sd √(1 + 1/R)) on R - 1 degrees of freedom, `prediction_low` to `prediction_high` its prediction interval. `p` is the rank p
/// from 199 directions on and the t p below, where a rank cannot get small.
///
/// # Errors
/// Fewer than two random slopes, values that are not finite, a cloud without spread, `level` outside (0, 1).
pub fn against_random(slope: f64, random: &[f64], level: f64) -> Result<StatResult> {
    check_finite("slope", &[slope])?;
    check_values("random slopes", random, 2)?;
    check_open_unit("level", level)?;
    let r = random.len() as f64;
    let centre = mean(random);
    let sd = variance(random, centre).sqrt();
    if sd.is_nan() || sd <= 0.0 {
        return Err(StatsError::NoVariation { what: "slopes of the random directions", value: centre });
    }
    let reached = random.iter().filter(|s| s.abs() >= slope.abs() * (1.0 - 1e-12)).count();
    let p_rank = (reached + 1) as f64 / (r + 1.0);
    let se = sd * (1.0 + 1.0 / r).sqrt();
    let t = (slope - centre) / se;
    let p_t = t_two_sided(t, r - 1.0);
    let half = t_quantile(0.5 + level / 2.0, r - 1.0) * se;
    let ranked = random.len() >= RANK_FROM;
    let method = if ranked { "rank among random directions, two-sided" } else { "t prediction from random directions" };
    Ok(StatResult::new(
        "against-random",
        method,
        "slope of the direction; compare with the prediction interval of a random one",
        random.len() as u64,
    )
    .estimate(slope)
    .statistic(t)
    .df(r - 1.0)
    .p(if ranked { p_rank } else { p_t })
    .detail("p_rank", p_rank)
    .detail("p_t", p_t)
    .detail("smallest_p_rank", 1.0 / (r + 1.0))
    .detail("random_mean", centre)
    .detail("random_sd", sd)
    .detail("prediction_low", centre - half)
    .detail("prediction_high", centre + half)
    .detail("level", level))
}
