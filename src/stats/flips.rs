//! What discordant pairs say beyond McNemar: flip rates with what they must be read with, clusters, odds, order.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::dist::{chi2_1_sf, normal_two_sided};
use super::paired::{McNemar, OrderGroup, PairedTable, agreement, mcnemar};
use super::proportions::z_of;
use super::resample::group;
use super::{Interval, Result, StatResult, StatsError, check_count, check_open_unit, check_parallel};

/// Share of pairs whose outcome differs. It is shown with the marginals, kappa, Jaccard index and ceiling or not at all: flips cannot
/// exceed the sum of both arms' outcomes, so a rate near that sum says nothing about stability.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FlipRate {
    table: PairedTable,
    rate: f64,
    ci: Interval,
    p1: f64,
    p2: f64,
    ceiling: f64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    kappa: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    jaccard: Option<f64>,
    /// One-sided bound where no pair differs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    upper_if_none: Option<f64>,
}

impl FlipRate {
    /// # Errors
    /// As [`agreement`].
    pub fn new(table: PairedTable, level: f64) -> Result<Self> {
        let r = agreement(table, level)?;
        let detail = |key: &str| r.details.get(key).copied();
        let share = |x: u64| x as f64 / table.n() as f64;
        let (p1, p2) = (share(table.a + table.b), share(table.a + table.c));
        let rate = share(table.b + table.c);
        Ok(Self {
            table,
            rate,
            ci: r.ci.unwrap_or(Interval { low: rate, high: rate, level }),
            p1,
            p2,
            ceiling: (p1 + p2).min(1.0),
            kappa: detail("kappa"),
            jaccard: detail("jaccard"),
            upper_if_none: detail("upper_if_none"),
        })
    }

    /// The pairs behind it.
    pub fn table(&self) -> PairedTable {
        self.table
    }
}

impl fmt::Display for FlipRate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (n, flips) = (self.table.n(), self.table.b + self.table.c);
        let pct = |x: f64| format!("{:.1}", 100.0 * x);
        let level = format!("{:.4}", 100.0 * self.ci.level);
        let level = level.trim_end_matches('0').trim_end_matches('.');
        write!(f, "{flips} of {n} pairs differ ({} %, {level} % interval ", pct(self.rate))?;
        write!(f, "{} to {} %)", pct(self.ci.low), pct(self.ci.high))?;
        if let Some(bound) = self.upper_if_none {
            write!(f, "; with none in {n} the rate is below {} %", pct(bound))?;
        }
        write!(f, "; refused {} % and {} %, ", pct(self.p1), pct(self.p2))?;
        write!(f, "so at most {} % could differ; kappa ", pct(self.ceiling))?;
        let or_none = |x: Option<f64>| x.map_or("undefined".to_string(), |k| format!("{k:.2}"));
        write!(f, "{}, Jaccard {}", or_none(self.kappa), or_none(self.jaccard))
    }
}

/// McNemar's test for clustered pairs (Obuchowski 1998): with D the sum over a cluster of second minus first outcome,
/// χ² = (K − 1)/K · (Σ D)² / Σ D², one degree of freedom, the variance that of two proportions with the common rate under the null.
///
/// `n` counts clusters. One pair a cluster gives McNemar's uncorrected χ² times (K − 1)/K. `estimate` is p2 − p1 over all pairs.
///
/// # Errors
/// Slices of different length, fewer than two clusters.
pub fn mcnemar_clustered(first: &[bool], second: &[bool], clusters: &[usize]) -> Result<StatResult> {
    check_parallel("first", first.len(), "second", second.len())?;
    check_parallel("pairs", first.len(), "clusters", clusters.len())?;
    let differences: Vec<f64> =
        first.iter().zip(second).map(|(x, y)| f64::from(u8::from(*y)) - f64::from(u8::from(*x))).collect();
    let groups = group(&differences, clusters);
    let k = groups.len();
    if k < 2 {
        return Err(StatsError::TooFew { what: "clusters", n: k, need: 2 });
    }
    // Sums of whole numbers: exact.
    let (sum, squares) = groups.iter().fold((0.0, 0.0), |(s, q), c| (s + c.sum, q + c.sum * c.sum));
    let k_f = k as f64;
    let chi2 = if squares > 0.0 { (k_f - 1.0) / k_f * sum * sum / squares } else { 0.0 };
    let mut result = StatResult::new(
        "mcnemar-clustered",
        "McNemar's test for clustered pairs (Obuchowski), chi-squared, two-sided",
        "p2 - p1 (second condition minus first)",
        k as u64,
    )
    .statistic(chi2)
    .df(1.0)
    .p(chi2_1_sf(chi2))
    .estimate(sum / first.len() as f64)
    .detail("pairs", first.len() as f64)
    .detail("discordant_clusters", groups.iter().filter(|c| c.sum != 0.0).count() as f64);
    if squares == 0.0 {
        result = result.note("no cluster leans either way: p = 1 whatever the number of pairs");
    }
    Ok(result)
}

/// Odds ratio of paired outcomes, c / b, with the interval that the mid-p interval of P(only condition 2 | discordant) implies.
///
/// For pairs this is the conditional estimate; the ratio of the marginal odds is another quantity. Where b or c is 0 the ratio is no
/// number: estimate and interval are absent, and `details` carries the probability with its mid-p interval (`share`, `share_low`,
/// `share_high`), as they are everywhere.
///
/// # Errors
/// A count above the limit, `level` outside (0, 1), no discordant pair.
pub fn paired_odds_ratio(b: u64, c: u64, level: f64) -> Result<StatResult> {
    let share = mcnemar(b, c, McNemar::MidP, level)?;
    let (Some(at), Some(ci)) = (share.estimate, share.ci) else {
        return Err(StatsError::TooFew { what: "discordant pairs", n: 0, need: 1 });
    };
    let mut result = StatResult::new(
        "paired-odds-ratio",
        "odds ratio c / b of discordant pairs, mid-p interval",
        "above 1: more often only under condition 2",
        b + c,
    )
    .detail("share", at)
    .detail("share_low", ci.low)
    .detail("share_high", ci.high);
    result.p = share.p;
    if b == 0 || c == 0 {
        return Ok(result.note("a discordant cell is 0: the ratio is 0 or infinite; read the share with its interval"));
    }
    let odds = |p: f64| p / (1.0 - p);
    Ok(result.estimate(c as f64 / b as f64).ci(odds(ci.low), odds(ci.high), level))
}

/// Logistic model of discordant pairs: logit P(only condition 2) = α + β x with x = +1 where condition 1 was asked first and −1 where
/// condition 2 was. α is the condition effect adjusted for order, β the order term: half the difference of both groups' log odds, so
/// it is also the interaction of condition and order group. Two groups and two parameters: the fit is exact, α and β are the half
/// sum and half difference of ln(c / b), both with standard error ½ √(Σ 1 / count), and the tests are Wald's.
///
/// Returns (α, β), log odds.
///
/// # Errors
/// A discordant count of 0: the likelihood has no maximum ([`super::mainland_gart`] is exact there); `level` outside (0, 1).
pub fn discordant_logit(first: OrderGroup, second: OrderGroup, level: f64) -> Result<(StatResult, StatResult)> {
    check_open_unit("level", level)?;
    let counts = [first.only_1, first.only_2, second.only_1, second.only_2];
    for v in counts {
        check_count("a discordant count", v)?;
    }
    if counts.contains(&0) {
        return Err(StatsError::OutOfRange {
            what: "a discordant count of an order group",
            value: 0.0,
            allowed: "1 or more: with a zero the odds have no estimate, use the Mainland-Gart tests",
        });
    }
    let ln_odds = |g: OrderGroup| (g.only_2 as f64 / g.only_1 as f64).ln();
    let (x, y) = (ln_odds(first), ln_odds(second));
    let se = 0.5 * counts.iter().map(|v| 1.0 / *v as f64).sum::<f64>().sqrt();
    let half = z_of(level) * se;
    let n: u64 = counts.iter().sum();
    let term = |name: &str, method: &str, direction: &str, at: f64| {
        StatResult::new(name, method, direction, n)
            .statistic(at / se)
            .p(normal_two_sided(at / se))
            .estimate(at)
            .ci(at - half, at + half, level)
            .detail("se", se)
    };
    Ok((
        term(
            "discordant-logit-condition",
            "logistic model of discordant pairs with an order term: condition (Wald)",
            "log odds; above 0: more often only under condition 2, order held",
            (x + y) / 2.0,
        ),
        term(
            "discordant-logit-order",
            "logistic model of discordant pairs with an order term: order (Wald)",
            "log odds; above 0: condition 2 gains where condition 1 is asked first",
            (x - y) / 2.0,
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The tables of the original study: 2.25 % flips can be near-perfect agreement or none at all.
    #[test]
    fn a_flip_rate_is_read_with_its_marginals() {
        let of = |a, b, c, d| FlipRate::new(PairedTable { a, b, c, d }, 0.95).unwrap().to_string();
        let none = of(0, 4, 5, 391);
        assert!(
            none.contains("9 of 400 pairs differ (2.2 %") || none.contains("9 of 400 pairs differ (2.3 %"),
            "{none}"
        );
        assert!(none.contains("at most 2.2 % could differ") || none.contains("at most 2.3 % could differ"), "{none}");
        assert!(none.ends_with("kappa -0.01, Jaccard 0.00"), "{none}");
        assert!(of(18, 5, 4, 373).ends_with("kappa 0.79, Jaccard 0.67"));
        assert!(
            of(16, 20, 7, 157)
                .ends_with("refused 18.0 % and 11.5 %, so at most 29.5 % could differ; kappa 0.47, Jaccard 0.37")
        );
        let quiet = of(0, 0, 0, 38);
        assert!(quiet.contains("below 7.6 %") && quiet.contains("kappa undefined"), "{quiet}");
        assert!(of(9, 0, 0, 191).contains("below 1.5 %"));
        assert!(FlipRate::new(PairedTable::default(), 0.95).is_err());
    }

    #[test]
    fn terms_that_are_not_defined_are_refused() {
        let g = |only_1, only_2| OrderGroup { only_1, only_2 };
        assert!(discordant_logit(g(0, 3), g(2, 2), 0.95).unwrap_err().to_string().contains("Mainland-Gart"));
        assert!(paired_odds_ratio(0, 0, 0.95).is_err());
        let edge = paired_odds_ratio(0, 7, 0.95).unwrap();
        assert!(edge.estimate.is_none() && edge.ci.is_none() && edge.details["share_low"] > 0.5, "{edge:?}");
        assert!(mcnemar_clustered(&[true], &[false], &[0]).is_err());
        let flat = mcnemar_clustered(&[true, false], &[false, true], &[0, 0]);
        assert!(flat.is_err(), "one cluster");
        let flat = mcnemar_clustered(&[true, false, true], &[false, true, true], &[0, 0, 1]).unwrap();
        assert_eq!((flat.p, flat.statistic), (Some(1.0), Some(0.0)));
    }
}
