//! Effects over training seeds: t interval and agreement in sign, seeds and prompts together.

use super::dist::{mean, sum, t_quantile, t_two_sided, variance};
use super::resample::group;
use super::ttest::cluster_mean_se;
use super::{
    Design, Resampling, Result, StatResult, StatsError, check_finite, check_open_unit, check_parallel, check_values,
    sign_flip, smallest_p, t_interval,
};

/// Seeds from which on the same sign in every one of them supports an effect.
pub const SEEDS_FOR_SIGN: usize = 5;

/// Effects of one arm contrast, one a training seed: mean with Student's t interval and p, and how many seeds share the sign of the
/// mean.
///
/// details: `same_sign` (seeds with the sign of the mean), `all_agree` (1 where every seed has it), `p_sign` (exact two-sided sign test,
/// zeros left out), `sd` (ddof 1), `sd_population` (ddof 0). Seeds with equal effects have no interval.
///
/// # Errors
/// Fewer than two seeds, a value that is not finite, `level` outside (0, 1).
pub fn seed_effects(effects: &[f64], level: f64) -> Result<StatResult> {
    check_values("per-seed effects", effects, 2)?;
    check_open_unit("level", level)?;
    let n = effects.len();
    let m = mean(effects);
    let (up, down) = (effects.iter().filter(|e| **e > 0.0).count(), effects.iter().filter(|e| **e < 0.0).count());
    let same = if m > 0.0 {
        up
    } else if m < 0.0 {
        down
    } else {
        0
    };
    let mut result = match t_interval(effects, level) {
        Ok(r) => r,
        Err(StatsError::NoVariation { .. }) => StatResult::new("seed-effects", "", "", n as u64)
            .estimate(m)
            .note("every seed gave the same effect: no interval"),
        Err(e) => return Err(e),
    };
    result.test = "seed-effects".into();
    result.method = "mean of per-seed effects, Student t; agreement in sign".into();
    result.direction = "mean per-seed effect".into();
    let v = variance(effects, m);
    let result = result
        .detail("same_sign", same as f64)
        .detail("all_agree", f64::from(u8::from(same == n)))
        .detail("p_sign", sign_p(up, down))
        .detail("smallest_p_sign", smallest_p(Design::Sign { n: n as u64 }))
        .detail("sd", v.sqrt())
        .detail("sd_population", (v * (n as f64 - 1.0) / n as f64).sqrt());
    Ok(if n < SEEDS_FOR_SIGN {
        result.note(format!("{n} seeds: agreement in sign is too weak below {SEEDS_FOR_SIGN}"))
    } else {
        result
    })
}

/// t test and t interval over per-seed means: `values[i]` (a paired difference) belongs to seed `seeds[i]`. df = seeds - 1, `n`
/// counts seeds.
///
/// It speaks about further seeds on the same prompts. `details.rows` counts values.
///
/// # Errors
/// Slices of different length, values that are not finite, fewer than two seeds, seeds that do not vary, `level` outside (0, 1).
pub fn over_seeds_t(values: &[f64], seeds: &[usize], level: f64) -> Result<StatResult> {
    check_parallel("values", values.len(), "seeds", seeds.len())?;
    check_finite("values", values)?;
    let means: Vec<f64> = group(values, seeds).iter().map(|c| c.sum / c.count).collect();
    if means.len() < 2 {
        return Err(StatsError::TooFew { what: "seeds", n: means.len(), need: 2 });
    }
    let mut result = t_interval(&means, level)?;
    result.test = "over-seeds-t".into();
    result.method = "t test over per-seed means, two-sided".into();
    result.direction = "mean of the per-seed means".into();
    Ok(result.detail("rows", values.len() as f64))
}

/// Test of "the mean is 0" over seeds and prompts at once: the largest of three p values, and the widest of their intervals.
///
/// `details`: `p_prompts` ([`sign_flip`] over `clusters`: further prompts, these seeds), `p_seeds` ([`over_seeds_t`]: further seeds, these
/// prompts), `p_crossed` (both: t with the two variances of the mean added, Satterthwaite's degrees of freedom; each variance holds
/// the residual, so this errs on the safe side). The larger of the first two alone does not keep its level where seeds and
/// prompts contribute alike: each sees half the variance. `n` counts seeds.
///
/// # Errors
/// As [`over_seeds_t`] and [`sign_flip`]; fewer than two clusters.
pub fn over_seeds_and_prompts(
    values: &[f64],
    seeds: &[usize],
    clusters: &[usize],
    opts: &Resampling,
) -> Result<StatResult> {
    opts.check()?;
    let by_seed = over_seeds_t(values, seeds, opts.level)?;
    let by_prompt = sign_flip(values, clusters, opts)?;
    let (_, se_prompts, prompts) = cluster_mean_se(values, clusters)?;
    let n = by_seed.n;
    let (estimate, se_seeds) = (by_seed.estimate.unwrap_or(f64::NAN), by_seed.details["se"]);
    let (vs, vp) = (se_seeds * se_seeds, se_prompts * se_prompts);
    let (df_s, df_p) = (n as f64 - 1.0, prompts as f64 - 1.0);
    let df = (vs + vp) * (vs + vp) / (vs * vs / df_s + vp * vp / df_p);
    let se = (vs + vp).sqrt();
    let p_crossed = t_two_sided(estimate / se, df);
    let (p_seeds, p_prompts) = (by_seed.p.unwrap_or(1.0), by_prompt.p.unwrap_or(1.0));
    let upper = 0.5 + opts.level / 2.0;
    let half = (t_quantile(upper, df_s) * se_seeds).max(t_quantile(upper, df) * se);
    Ok(StatResult::new(
        "over-seeds-and-prompts",
        "largest p of: sign flips over prompts, t over seeds, t over both; widest t interval",
        "mean of the per-seed means",
        n,
    )
    .estimate(estimate)
    .p(p_seeds.max(p_prompts).max(p_crossed))
    .ci(estimate - half, estimate + half, opts.level)
    .detail("p_prompts", p_prompts)
    .detail("p_seeds", p_seeds)
    .detail("p_crossed", p_crossed)
    .detail("df_crossed", df)
    .detail("se_seeds", se_seeds)
    .detail("se_prompts", se_prompts)
    .detail("clusters", prompts as f64)
    .detail("rows", values.len() as f64))
}

/// Exact two-sided sign test.
fn sign_p(up: usize, down: usize) -> f64 {
    let (n, least) = ((up + down) as u64, up.min(down) as u64);
    (2.0 * sum((0..=least).map(|k| super::dist::binomial_pmf(k, n, 0.5)))).min(1.0)
}
