//! Paired proportions: McNemar, Tango, Newcombe's paired interval, agreement, order effects.

use serde::{Deserialize, Serialize};

use super::dist::{binomial_cdf, binomial_pmf, binomial_sf, bisect, chi2_1_sf, normal_two_sided};
use super::proportions::{fisher_exact, wilson_limits, z_of};
use super::{Result, StatResult, StatsError, check_count, check_open_unit, check_parallel};

const DIRECTION: &str = "p2 - p1 = (c - b) / n (second condition minus first)";

/// Pairs of a binary outcome under two conditions; condition 1 is the reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct PairedTable {
    /// Outcome under both conditions.
    pub a: u64,
    /// Only under condition 1.
    pub b: u64,
    /// Only under condition 2.
    pub c: u64,
    /// Under neither.
    pub d: u64,
}

impl PairedTable {
    /// Counts pairs of outcomes, `first[i]` with `second[i]`.
    ///
    /// # Errors
    /// Slices of different length.
    pub fn from_pairs(first: &[bool], second: &[bool]) -> Result<Self> {
        check_parallel("first", first.len(), "second", second.len())?;
        let mut table = Self::default();
        for pair in first.iter().zip(second) {
            match pair {
                (true, true) => table.a += 1,
                (true, false) => table.b += 1,
                (false, true) => table.c += 1,
                (false, false) => table.d += 1,
            }
        }
        Ok(table)
    }

    /// Number of pairs.
    pub fn n(&self) -> u64 {
        self.a.saturating_add(self.b).saturating_add(self.c).saturating_add(self.d)
    }

    /// p2 - p1, for a table that is not empty.
    fn delta(&self) -> f64 {
        (self.c as f64 - self.b as f64) / self.n() as f64
    }

    /// The same pairs with the conditions exchanged.
    pub fn swapped(&self) -> Self {
        Self { b: self.c, c: self.b, ..*self }
    }

    fn check(&self) -> Result<()> {
        for v in [self.a, self.b, self.c, self.d] {
            check_count("a cell of the table", v)?;
        }
        if self.n() == 0 {
            return Err(StatsError::TooFew { what: "pairs", n: 0, need: 1 });
        }
        Ok(())
    }
}

/// Which p value [`mcnemar`] reports; all of them are in `details`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum McNemar {
    /// Exact conditional binomial test; conservative.
    Exact,
    /// Exact minus the point probability (Fagerland, Lydersen, Laake 2013).
    MidP,
    /// Chi-squared with Edwards' correction, (max(0, |b - c| - 1))² / (b + c).
    ChiSquaredCorrected,
    /// Chi-squared without correction, (b - c)² / (b + c).
    ChiSquared,
}

/// Every variant's statistic or p value for one pair of discordant counts.
pub(super) struct McNemarP {
    exact: f64,
    mid: f64,
    corrected: f64,
    plain: f64,
}

impl McNemarP {
    pub(super) fn new(b: u64, c: u64) -> Self {
        let m = b + c;
        if m == 0 {
            return Self { exact: 1.0, mid: 1.0, corrected: 0.0, plain: 0.0 };
        }
        let k = b.min(c);
        let point = binomial_pmf(k, m, 0.5);
        let exact = (2.0 * binomial_cdf(k, m, 0.5)).min(1.0);
        let mid = if b == c { 1.0 - 0.5 * point } else { exact - point };
        let gap = b.abs_diff(c) as f64;
        let corrected = (gap - 1.0).max(0.0).powi(2) / m as f64;
        Self { exact, mid: mid.clamp(0.0, 1.0), corrected, plain: gap * gap / m as f64 }
    }

    pub(super) fn p(&self, variant: McNemar) -> f64 {
        match variant {
            McNemar::Exact => self.exact,
            McNemar::MidP => self.mid,
            McNemar::ChiSquaredCorrected => chi2_1_sf(self.corrected),
            McNemar::ChiSquared => chi2_1_sf(self.plain),
        }
    }
}

/// McNemar's test on the discordant counts: `b` only under condition 1, `c` only under condition 2.
///
/// `estimate` is P(only condition 2 | discordant) = c / (b + c), 1/2 under the null, with the Clopper-Pearson interval
/// (`Exact`, and the chi-squared variants) or the mid-p interval (`MidP`). No discordant pair gives p = 1 and no
/// estimate.
///
/// # Errors
/// A count above the limit, `level` outside (0, 1).
pub fn mcnemar(b: u64, c: u64, variant: McNemar, level: f64) -> Result<StatResult> {
    check_count("b", b)?;
    check_count("c", c)?;
    check_open_unit("level", level)?;
    let m = b + c;
    let all = McNemarP::new(b, c);
    let k = b.min(c) as f64;
    let (statistic, name) = match variant {
        McNemar::Exact => (k, "McNemar, exact conditional binomial, two-sided"),
        McNemar::MidP => (k, "McNemar, mid-p, two-sided"),
        McNemar::ChiSquaredCorrected => (all.corrected, "McNemar, chi-squared with continuity correction"),
        McNemar::ChiSquared => (all.plain, "McNemar, chi-squared without correction"),
    };
    let mut result = StatResult::new("mcnemar", name, "P(only condition 2 | discordant); 0.5 = no difference", m)
        .statistic(statistic)
        .p(all.p(variant))
        .detail("b", b as f64)
        .detail("c", c as f64)
        .detail("p_exact", all.exact)
        .detail("p_mid", all.mid)
        .detail("chi2_corrected", all.corrected)
        .detail("p_chi2_corrected", all.p(McNemar::ChiSquaredCorrected))
        .detail("chi2", all.plain)
        .detail("p_chi2", all.p(McNemar::ChiSquared))
        .detail("odds_ratio", c as f64 / b as f64);
    if !matches!(variant, McNemar::Exact | McNemar::MidP) {
        result = result.df(1.0);
    }
    if m == 0 {
        return Ok(result.note("no discordant pair: p = 1 whatever the number of pairs"));
    }
    let (low, high) = binomial_limits(c, m, level, variant == McNemar::MidP);
    result = result.estimate(c as f64 / m as f64).ci(low, high, level);
    let smallest = 0.5f64.powf(m as f64 - 1.0);
    if smallest > 0.05 {
        result = result.note(format!("{m} discordant pair(s): the exact p cannot fall below {smallest:.4}"));
    }
    Ok(result)
}

/// Clopper-Pearson limits, or their mid-p counterparts, of `x` in `n` > 0.
fn binomial_limits(x: u64, n: u64, level: f64, mid: bool) -> (f64, f64) {
    let tail = (1.0 - level) / 2.0;
    let half = |p: f64| if mid { 0.5 * binomial_pmf(x, n, p) } else { 0.0 };
    let low = if x == 0 { 0.0 } else { bisect(0.0, 1.0, |p| binomial_sf(x, n, p) - half(p) - tail) };
    let high = if x == n { 1.0 } else { bisect(0.0, 1.0, |p| tail - binomial_cdf(x, n, p) + half(p)) };
    (low, high)
}

/// Tango's score statistic for H0: p2 - p1 = `delta`; decreasing in `delta`.
fn tango_z(b: u64, c: u64, n: u64, delta: f64) -> f64 {
    let (b, c, n) = (b as f64, c as f64, n as f64);
    let numerator = c - b - n * delta;
    // Restricted estimate q of P(only condition 1): the larger root, in the form without cancellation.
    let qa = 2.0 * n;
    let qb = -c - b + (2.0 * n - c + b) * delta;
    let qc = -b * delta * (1.0 - delta);
    let root = (qb * qb - 4.0 * qa * qc).max(0.0).sqrt();
    let q = if qb <= 0.0 { (root - qb) / (2.0 * qa) } else { -2.0 * qc / (qb + root) };
    let var = n * (2.0 * q + delta * (1.0 - delta));
    if var > 0.0 {
        numerator / var.sqrt()
    } else if numerator == 0.0 {
        0.0
    } else {
        f64::INFINITY.copysign(numerator)
    }
}

/// Lower Tango limit at the normal quantile `z`.
fn tango_low(b: u64, c: u64, n: u64, z: f64) -> f64 {
    let delta = (c as f64 - b as f64) / n as f64;
    if delta <= -1.0 { -1.0 } else { bisect(-1.0, delta, |d| z - tango_z(b, c, n, d)) }
}

/// Tango's limits; the upper one is the mirrored lower one, so that exchanging conditions mirrors the interval exactly.
pub(super) fn tango_limits(table: &PairedTable, level: f64) -> (f64, f64) {
    let z = z_of(level);
    let n = table.n();
    (tango_low(table.b, table.c, n, z), -tango_low(table.c, table.b, n, z))
}

/// Signed score statistic of a table at `delta`, for one-sided use.
pub(super) fn tango_score(table: &PairedTable, delta: f64) -> f64 {
    tango_z(table.b, table.c, table.n(), delta)
}

/// Tango's score interval of the paired difference p2 - p1 (Tango 1998), with the score test of no difference.
///
/// # Errors
/// An empty table, a count above the limit, `level` outside (0, 1).
pub fn tango(table: PairedTable, level: f64) -> Result<StatResult> {
    tango_test(table, 0.0, level)
}

/// [`tango`] with the score test of H0: p2 - p1 = `null`.
///
/// # Errors
/// As [`tango`]; `null` must lie in [-1, 1].
pub fn tango_test(table: PairedTable, null: f64, level: f64) -> Result<StatResult> {
    table.check()?;
    check_open_unit("level", level)?;
    if !(-1.0..=1.0).contains(&null) {
        return Err(StatsError::OutOfRange { what: "null difference", value: null, allowed: "-1 to 1" });
    }
    let (low, high) = tango_limits(&table, level);
    let z = tango_score(&table, null);
    let n = table.n() as f64;
    Ok(StatResult::new(
        "tango",
        format!("Tango score interval; score test of a paired difference of {null}, two-sided"),
        DIRECTION,
        table.n(),
    )
    .statistic(z)
    .p(normal_two_sided(z))
    .estimate(table.delta())
    .ci(low, high, level)
    .detail("p1", (table.a + table.b) as f64 / n)
    .detail("p2", (table.a + table.c) as f64 / n))
}

/// Newcombe's interval of the paired difference p2 - p1: Wilson limits combined by square-and-add with the correlation
/// phi, its numerator continuity-adjusted (Newcombe 1998, paired, method 10).
///
/// # Errors
/// As [`tango`].
pub fn newcombe_paired(table: PairedTable, level: f64) -> Result<StatResult> {
    table.check()?;
    check_open_unit("level", level)?;
    let z = z_of(level);
    let n = table.n();
    let [a, b, c, d] = [table.a, table.b, table.c, table.d].map(|v| v as f64);
    let (p1, p2) = ((a + b) / n as f64, (a + c) / n as f64);
    let (l1, u1) = wilson_limits(table.a + table.b, n, z);
    let (l2, u2) = wilson_limits(table.a + table.c, n, z);
    let margins = ((a + b) * (c + d) * (a + c) * (b + d)).sqrt();
    let cross = a * d - b * c;
    let adjusted = if cross > 0.0 { (cross - n as f64 / 2.0).max(0.0) } else { cross };
    let phi = if margins > 0.0 { adjusted / margins } else { 0.0 };
    let add = |x: f64, y: f64| (x * x - 2.0 * phi * x * y + y * y).max(0.0).sqrt();
    let delta = table.delta();
    Ok(StatResult::new("newcombe-paired", "Newcombe interval of a paired difference (method 10)", DIRECTION, n)
        .estimate(delta)
        .ci(delta - add(p2 - l2, u1 - p1), delta + add(u2 - p2, p1 - l1), level)
        .detail("p1", p1)
        .detail("p2", p2)
        .detail("phi", phi))
}

/// Flip rate (b + c) / n with its Wilson interval, and what it must be read with: kappa, Jaccard index, ceiling.
///
/// `details`: `kappa` (absent where both conditions are constant), `jaccard` a / (a + b + c), `ceiling` min(1, p1 + p2),
/// and, where nothing is discordant, `upper_if_none` = 1 - (1 - level)^(1/n), the one-sided bound on the flip rate.
///
/// # Errors
/// As [`tango`].
pub fn agreement(table: PairedTable, level: f64) -> Result<StatResult> {
    table.check()?;
    check_open_unit("level", level)?;
    let n = table.n();
    let n_f = n as f64;
    let flips = table.b + table.c;
    let (low, high) = wilson_limits(flips, n, z_of(level));
    let (p1, p2) = ((table.a + table.b) as f64 / n_f, (table.a + table.c) as f64 / n_f);
    let by_chance = p1 * p2 + (1.0 - p1) * (1.0 - p2);
    let agreed = 1.0 - flips as f64 / n_f;
    let mut result = StatResult::new(
        "agreement",
        "flip rate with Wilson interval; Cohen's kappa, Jaccard index of the positive sets",
        "share of pairs whose outcome differs",
        n,
    )
    .estimate(flips as f64 / n_f)
    .ci(low, high, level)
    .detail("p1", p1)
    .detail("p2", p2)
    .detail("ceiling", (p1 + p2).min(1.0))
    .detail("jaccard", table.a as f64 / (table.a + flips) as f64);
    if by_chance < 1.0 {
        result = result.detail("kappa", (agreed - by_chance) / (1.0 - by_chance));
    } else {
        result = result.note("the outcome is constant under both conditions: kappa is undefined");
    }
    if flips == 0 {
        result = result.detail("upper_if_none", 1.0 - (1.0 - level).powf(1.0 / n_f));
    }
    Ok(result)
}

/// Discordant pairs of one order group: how many had the outcome only under condition 1, only under condition 2.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OrderGroup {
    pub only_1: u64,
    pub only_2: u64,
}

/// Mainland-Gart: condition effect and order effect of a two-period crossover, from discordant pairs.
///
/// `first` holds the pairs that ran condition 1 first, `second` those that ran condition 2 first. Returns (condition
/// effect free of order, order effect free of condition), each a Fisher exact test.
///
/// # Errors
/// No discordant pair, a count above the limit.
pub fn mainland_gart(first: OrderGroup, second: OrderGroup) -> Result<(StatResult, StatResult)> {
    // Columns by position (earlier, later): in the second group condition 2 came earlier.
    let mut condition = fisher_exact(first.only_1, first.only_2, second.only_2, second.only_1)?;
    condition.test = "mainland-gart-condition".into();
    condition.method = "Mainland-Gart test of the condition effect (Fisher, discordant pairs by position)".into();
    let mut order = fisher_exact(first.only_1, first.only_2, second.only_1, second.only_2)?;
    order.test = "mainland-gart-order".into();
    order.method = "Mainland-Gart test of the order effect (Fisher, discordant pairs by condition)".into();
    Ok((condition, order))
}
