//! Power, by exact enumeration (McNemar) or one-dimensional integration (t tests); sample sizes by search.

use statrs::function::gamma::ln_gamma;

use super::dist::{binomial_cdf, binomial_pmf, normal_quantile, normal_sf, t_quantile};
use super::paired::{McNemar, McNemarP};
use super::{Result, StatsError, check_finite, check_open_unit};

/// Largest sample size the searches try.
const MAX_N: u64 = 100_000;

fn check_n(what: &'static str, n: u64) -> Result<()> {
    if n < 2 {
        return Err(StatsError::TooFew { what, n: n as usize, need: 2 });
    }
    if n > MAX_N {
        return Err(StatsError::OutOfRange { what, value: n as f64, allowed: "2 to 100,000" });
    }
    Ok(())
}

/// E[g(s)] where s = sqrt(chi²_df / df), by Simpson's rule over twelve standard deviations.
fn over_sd(df: f64, g: impl Fn(f64) -> f64) -> f64 {
    const STEPS: usize = 4000;
    let spread = 12.0 / (2.0 * df).sqrt();
    let (low, high) = ((1.0 - spread).max(0.0), 1.0 + spread);
    let h = (high - low) / STEPS as f64;
    let log_norm = std::f64::consts::LN_2 + df / 2.0 * (df / 2.0).ln() - ln_gamma(df / 2.0);
    let density = |s: f64| {
        if s > 0.0 {
            (log_norm + (df - 1.0) * s.ln() - df * s * s / 2.0).exp()
        } else if df == 1.0 {
            log_norm.exp()
        } else {
            0.0
        }
    };
    let mut total = 0.0;
    for i in 0..=STEPS {
        let weight = if i == 0 || i == STEPS { 1.0 } else { f64::from(2 + 2 * u8::from(i % 2 == 1)) };
        let s = low + h * i as f64;
        let d = density(s);
        if d > 0.0 {
            total += weight * d * g(s);
        }
    }
    (total * h / 3.0).clamp(0.0, 1.0)
}

/// Power of the two-sided paired (or one-sample) t test at standardised effect `dz` = mean / sd of the differences.
///
/// # Errors
/// `n` outside 2..=100,000, a non-finite effect, alpha outside (0, 1).
pub fn power_paired_t(n: u64, dz: f64, alpha: f64) -> Result<f64> {
    check_n("pairs", n)?;
    check_finite("dz", &[dz])?;
    check_open_unit("alpha", alpha)?;
    let df = n as f64 - 1.0;
    let shift = dz.abs() * (n as f64).sqrt();
    let critical = t_quantile(1.0 - alpha / 2.0, df);
    Ok(over_sd(df, |s| normal_sf(critical * s - shift) + normal_sf(critical * s + shift)))
}

/// Smallest effect that a two-sided z test finds with `power`, given the standard error of its estimate:
/// (z(1 − α/2) + z(power)) · SE.
///
/// # Errors
/// A standard error not above 0; alpha or power outside (0, 1).
pub fn detectable_effect(standard_error: f64, alpha: f64, power: f64) -> Result<f64> {
    check_finite("standard error", &[standard_error])?;
    check_open_unit("alpha", alpha)?;
    check_open_unit("power", power)?;
    if standard_error <= 0.0 {
        return Err(StatsError::OutOfRange { what: "standard error", value: standard_error, allowed: "above 0" });
    }
    Ok((normal_quantile(1.0 - alpha / 2.0) + normal_quantile(power)) * standard_error)
}

/// Smallest hazard ratio that a log-rank test of two groups of one size finds with `power`: Schoenfeld (1981), where the log hazard
/// ratio has the standard error 2 / √events.
///
/// # Errors
/// No event; alpha or power outside (0, 1).
pub fn detectable_hazard_ratio(events: u64, alpha: f64, power: f64) -> Result<f64> {
    if events == 0 {
        return Err(StatsError::TooFew { what: "events", n: 0, need: 1 });
    }
    Ok(detectable_effect(2.0 / (events as f64).sqrt(), alpha, power)?.exp())
}

/// Power of the paired TOST (t) to show |mean| < `margin`, with margin and true effect `dz` in units of the sd of the
/// differences.
///
/// # Errors
/// `n` outside 2..=100,000, a margin not above 0, a non-finite effect, alpha outside (0, 0.5).
pub fn power_tost(n: u64, dz: f64, margin: f64, alpha: f64) -> Result<f64> {
    check_n("pairs", n)?;
    check_finite("dz and margin", &[dz, margin])?;
    check_open_unit("alpha", alpha)?;
    if margin <= 0.0 {
        return Err(StatsError::OutOfRange { what: "margin", value: margin, allowed: "above 0" });
    }
    if alpha >= 0.5 {
        return Err(StatsError::OutOfRange { what: "alpha", value: alpha, allowed: "below 0.5" });
    }
    let df = n as f64 - 1.0;
    let root = (n as f64).sqrt();
    let critical = t_quantile(1.0 - alpha, df);
    Ok(over_sd(df, |s| {
        let low = -margin * root + critical * s - dz * root;
        let high = margin * root - critical * s - dz * root;
        if high > low { normal_sf(low) - normal_sf(high) } else { 0.0 }
    }))
}

/// Power of McNemar's test with `n` pairs, `p_b` = P(only condition 1), `p_c` = P(only condition 2), by enumeration of
/// the number of discordant pairs.
///
/// # Errors
/// `n` outside 2..=100,000, probabilities outside [0, 1] or with a sum above 1, alpha outside (0, 1).
pub fn power_mcnemar(n: u64, p_b: f64, p_c: f64, variant: McNemar, alpha: f64) -> Result<f64> {
    check_n("pairs", n)?;
    check_finite("p_b and p_c", &[p_b, p_c])?;
    check_open_unit("alpha", alpha)?;
    let discordant = p_b + p_c;
    if p_b < 0.0 || p_c < 0.0 || discordant > 1.0 {
        return Err(StatsError::OutOfRange {
            what: "p_b + p_c",
            value: discordant,
            allowed: "each 0 or more, together at most 1",
        });
    }
    if discordant == 0.0 {
        return Ok(0.0);
    }
    let share = p_b / discordant;
    let mut power = 0.0;
    // Rejected tables have min(b, c) < reject; this bound never falls as m grows and rises by at most one a step.
    let mut reject = 0u64;
    for m in 1..=n {
        if 2 * reject < m && McNemarP::new(reject, m - reject).p(variant) <= alpha {
            reject += 1;
        }
        let weight = binomial_pmf(m, n, discordant);
        if weight < 1e-18 || reject == 0 {
            continue;
        }
        power += weight * (binomial_cdf(reject - 1, m, share) + binomial_cdf(reject - 1, m, 1.0 - share));
    }
    Ok(power.clamp(0.0, 1.0))
}

/// Smallest n with `power(n)` at least `target`, by doubling and bisection; `None` above 100,000.
fn search(target: f64, power: impl Fn(u64) -> Result<f64>) -> Result<Option<u64>> {
    check_open_unit("target power", target)?;
    let mut high = 2;
    while power(high)? < target {
        if high == MAX_N {
            return Ok(None);
        }
        high = (high * 2).min(MAX_N);
    }
    let mut low = (high / 2).max(1);
    while high - low > 1 {
        let mid = low + (high - low) / 2;
        if power(mid)? >= target {
            high = mid;
        } else {
            low = mid;
        }
    }
    Ok(Some(high))
}

/// Pairs needed by the paired t test; `None` above 100,000.
///
/// # Errors
/// As [`power_paired_t`]; target outside (0, 1).
pub fn n_for_paired_t(dz: f64, target: f64, alpha: f64) -> Result<Option<u64>> {
    search(target, |n| power_paired_t(n, dz, alpha))
}

/// Pairs needed by the paired TOST; `None` above 100,000.
///
/// # Errors
/// As [`power_tost`]; target outside (0, 1).
pub fn n_for_tost(dz: f64, margin: f64, target: f64, alpha: f64) -> Result<Option<u64>> {
    if dz.abs() >= margin {
        // Never powered: the truth is not inside the margins.
        power_tost(2, dz, margin, alpha)?;
        return Ok(None);
    }
    search(target, |n| power_tost(n, dz, margin, alpha))
}

/// Pairs needed by McNemar's test; `None` above 100,000. Exact power is a saw-tooth in n: a few pairs more may dip below.
///
/// # Errors
/// As [`power_mcnemar`]; target outside (0, 1).
pub fn n_for_mcnemar(p_b: f64, p_c: f64, variant: McNemar, target: f64, alpha: f64) -> Result<Option<u64>> {
    search(target, |n| power_mcnemar(n, p_b, p_c, variant, alpha))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn effects_that_normal_tests_find() {
        // SciPy: norm.ppf(.975) + norm.ppf(.8) = 2.801585218, exp(2 * that / sqrt(100)) = 1.751228.
        assert!((detectable_effect(0.5, 0.05, 0.8).unwrap() - 1.400_792_609).abs() < 1e-8);
        assert!((detectable_hazard_ratio(100, 0.05, 0.8).unwrap() - 1.751_228_4).abs() < 1e-6);
        assert!(detectable_hazard_ratio(0, 0.05, 0.8).is_err() && detectable_effect(0.0, 0.05, 0.8).is_err());
        assert!(detectable_effect(f64::NAN, 0.05, 0.8).is_err() && detectable_effect(1.0, 1.0, 0.8).is_err());
    }
}
