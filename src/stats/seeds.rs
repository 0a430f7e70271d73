//! Effects over training seeds: t interval and agreement in sign. Prompts and seeds together: [`super::hierarchical_bootstrap`].

use super::dist::{mean, sum, variance};
use super::{Design, Result, StatResult, StatsError, check_open_unit, check_values, smallest_p, t_interval};

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

/// Exact two-sided sign test.
fn sign_p(up: usize, down: usize) -> f64 {
    let (n, least) = ((up + down) as u64, up.min(down) as u64);
    (2.0 * sum((0..=least).map(|k| super::dist::binomial_pmf(k, n, 0.5)))).min(1.0)
}
