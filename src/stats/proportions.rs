//! Independent proportions: Wilson, Newcombe, pooled z, Fisher.

use super::dist::{normal_quantile, normal_two_sided};
use super::{Result, StatResult, StatsError, check_count, check_open_unit};

const DIRECTION: &str = "p2 - p1 (second group minus first)";

fn check_group(what: &'static str, x: u64, n: u64) -> Result<()> {
    if n == 0 {
        return Err(StatsError::TooFew { what, n: 0, need: 1 });
    }
    check_count(what, n)?;
    if x > n {
        return Err(StatsError::OutOfRange { what, value: x as f64, allowed: "successes from 0 to n" });
    }
    Ok(())
}

/// Wilson limits of `x` successes in `n`, exact 0 and 1 at the ends.
pub(super) fn wilson_limits(x: u64, n: u64, z: f64) -> (f64, f64) {
    let (k, n_f) = (x as f64, n as f64);
    let p = k / n_f;
    let z2 = z * z;
    let centre = (p + z2 / (2.0 * n_f)) / (1.0 + z2 / n_f);
    let half = z / (1.0 + z2 / n_f) * (p * (1.0 - p) / n_f + z2 / (4.0 * n_f * n_f)).sqrt();
    let low = if x == 0 { 0.0 } else { centre - half };
    let high = if x == n { 1.0 } else { centre + half };
    (low, high)
}

/// Two-sided critical value of the normal at `level`.
pub(super) fn z_of(level: f64) -> f64 {
    normal_quantile(0.5 + level / 2.0)
}

/// Wilson score interval of one proportion (Wilson 1927).
///
/// # Errors
/// `n` = 0, `x` > `n`, `level` outside (0, 1).
pub fn wilson(x: u64, n: u64, level: f64) -> Result<StatResult> {
    check_group("x of n", x, n)?;
    check_open_unit("level", level)?;
    let (low, high) = wilson_limits(x, n, z_of(level));
    Ok(StatResult::new("wilson", "Wilson score interval", "proportion x / n", n)
        .estimate(x as f64 / n as f64)
        .ci(low, high, level))
}

fn newcombe_limits(x1: u64, n1: u64, x2: u64, n2: u64, level: f64) -> (f64, f64) {
    let z = z_of(level);
    let (p1, p2) = (x1 as f64 / n1 as f64, x2 as f64 / n2 as f64);
    let (l1, u1) = wilson_limits(x1, n1, z);
    let (l2, u2) = wilson_limits(x2, n2, z);
    let d = p2 - p1;
    (d - (p2 - l2).hypot(u1 - p1), d + (u2 - p2).hypot(p1 - l1))
}

/// Newcombe's hybrid score interval of p2 - p1, independent groups (Newcombe 1998, method 10 there).
///
/// # Errors
/// An empty group, successes beyond `n`, `level` outside (0, 1).
pub fn newcombe(x1: u64, n1: u64, x2: u64, n2: u64, level: f64) -> Result<StatResult> {
    check_group("x1 of n1", x1, n1)?;
    check_group("x2 of n2", x2, n2)?;
    check_open_unit("level", level)?;
    let (p1, p2) = (x1 as f64 / n1 as f64, x2 as f64 / n2 as f64);
    let (low, high) = newcombe_limits(x1, n1, x2, n2, level);
    Ok(StatResult::new("newcombe", "Newcombe hybrid score interval, independent groups", DIRECTION, n1 + n2)
        .estimate(p2 - p1)
        .ci(low, high, level)
        .detail("p1", p1)
        .detail("p2", p2))
}

/// Two-proportion z-test with the pooled standard error, independent groups; Newcombe interval beside it.
///
/// `z = (p2 - p1) / sqrt(p (1 - p) (1/n1 + 1/n2))`. Where the pooled proportion is 0 or 1 the standard error is 0 and
/// p = 1 by convention: the groups are identical.
///
/// # Errors
/// An empty group, successes beyond `n`, `level` outside (0, 1).
pub fn two_proportion_z(x1: u64, n1: u64, x2: u64, n2: u64, level: f64) -> Result<StatResult> {
    let interval = newcombe(x1, n1, x2, n2, level)?;
    let (p1, p2) = (x1 as f64 / n1 as f64, x2 as f64 / n2 as f64);
    let pooled = (x1 + x2) as f64 / (n1 + n2) as f64;
    let se = (pooled * (1.0 - pooled) * (1.0 / n1 as f64 + 1.0 / n2 as f64)).sqrt();
    let mut result = StatResult {
        test: "two-proportion-z".into(),
        method: "two-proportion z-test, pooled standard error, two-sided; Newcombe interval".into(),
        ..interval
    };
    result = result.detail("se", se);
    if se > 0.0 {
        let z = (p2 - p1) / se;
        return Ok(result.statistic(z).p(normal_two_sided(z)));
    }
    Ok(result.statistic(0.0).p(1.0).note("both groups are all successes or all failures: p = 1 by convention"))
}

/// Fisher's exact test of the table [[a, b], [c, d]], two-sided by the sum of tables no more probable than this one.
///
/// `estimate` is the sample odds ratio ad / bc, absent where bc = 0.
///
/// # Errors
/// An empty table or a count above the limit.
pub fn fisher_exact(a: u64, b: u64, c: u64, d: u64) -> Result<StatResult> {
    for v in [a, b, c, d] {
        check_count("a cell of the table", v)?;
    }
    let n = a + b + c + d;
    if n == 0 {
        return Err(StatsError::TooFew { what: "table", n: 0, need: 1 });
    }
    check_count("table total", n)?;
    let (row1, col1) = (a + b, a + c);
    let first = (row1 + col1).saturating_sub(n);
    let last = row1.min(col1);
    // Weights relative to the mode, so that nothing over- or underflows and no log-gamma is needed.
    let mode = ((row1 as f64 + 1.0) * (col1 as f64 + 1.0) / (n as f64 + 2.0)) as u64;
    let mode = mode.clamp(first, last);
    let up = |x: u64| (row1 - x) as f64 * (col1 - x) as f64 / ((x + 1) as f64 * ((n + x + 1) - row1 - col1) as f64);
    let mut observed = 0.0;
    let mut weights = vec![(mode, 1.0f64)];
    let mut w = 1.0;
    for x in mode..last {
        w *= up(x);
        weights.push((x + 1, w));
        if w < 1e-300 {
            break;
        }
    }
    w = 1.0;
    for x in (first..mode).rev() {
        w /= up(x);
        weights.push((x, w));
        if w < 1e-300 {
            break;
        }
    }
    for &(x, weight) in &weights {
        if x == a {
            observed = weight;
        }
    }
    let total: f64 = super::dist::sum(weights.iter().map(|w| w.1));
    let extreme: f64 = super::dist::sum(weights.iter().map(|w| w.1).filter(|&w| w <= observed * (1.0 + 1e-7)));
    let mut result = StatResult::new(
        "fisher",
        "Fisher's exact test, two-sided (sum of tables no more probable)",
        "odds ratio ad / bc; above 1 = rows and columns agree",
        n,
    )
    .p(extreme / total);
    let odds = (a as f64 * d as f64) / (b as f64 * c as f64);
    if odds.is_finite() {
        result = result.estimate(odds);
    }
    Ok(result)
}
