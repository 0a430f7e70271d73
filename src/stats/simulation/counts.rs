//! Tests and intervals on counts: exact sums over every outcome.

use super::super::dist::binomial_pmf;
use super::*;

/// Shares 0.01, 0.02, ..., 0.99.
fn grid() -> impl Iterator<Item = f64> {
    (1..100).map(|i| f64::from(i) / 100.0)
}

/// Interval holds `truth`, with room for rounding where an end is the truth itself.
fn holds(ci: Interval, truth: f64) -> f64 {
    f64::from(u8::from(ci.low - 1e-12 <= truth && truth <= ci.high + 1e-12))
}

fn weighted(n: u64, p: f64, f: impl Fn(u64) -> f64) -> f64 {
    (0..=n).map(|k| binomial_pmf(k, n, p) * f(k)).sum()
}

#[test]
pub(super) fn wilson_coverage() {
    // Coverage at p = 0.02, 0.1, 0.3, 0.5; mean and least over p = 0.01 to 0.99.
    for (n, at, mean, least) in [
        (10, [0.9838, 0.9298, 0.9244, 0.9785], 0.9553, 0.9044),
        (30, [0.9783, 0.9742, 0.9298, 0.9572], 0.9524, 0.9298),
        (100, [0.9492, 0.9364, 0.9372, 0.9431], 0.9492, 0.9206),
        (200, [0.9331, 0.9561, 0.9466, 0.9440], 0.9500, 0.9331),
    ] {
        let ci: Vec<Interval> = (0..=n).map(|x| wilson(x, n, 0.95).unwrap().ci.unwrap()).collect();
        let coverage = |p: f64| weighted(n, p, |x| holds(ci[x as usize], p));
        for (p, want) in [0.02, 0.1, 0.3, 0.5].into_iter().zip(at) {
            exactly(coverage(p), want, &format!("wilson n {n} p {p}"));
        }
        exactly(grid().map(coverage).sum::<f64>() / 99.0, mean, &format!("wilson n {n}, mean"));
        exactly(grid().map(coverage).fold(1.0, f64::min), least, &format!("wilson n {n}, least"));
    }
}

/// Two independent groups: coverage of Newcombe's interval, rejections by the z test (its size where p1 = p2).
#[test]
pub(super) fn two_groups() {
    for (n1, n2, p1, p2, coverage, rejected) in [
        (15, 15, 0.5, 0.5, 0.9544, 0.0456),
        (15, 15, 0.1, 0.1, 0.9754, 0.0246),
        (15, 15, 0.9, 0.95, 0.9863, 0.0277),
        (15, 15, 0.3, 0.6, 0.9460, 0.3704),
        (20, 40, 0.5, 0.5, 0.9454, 0.0547),
        (20, 40, 0.3, 0.6, 0.9464, 0.6214),
        (50, 50, 0.1, 0.1, 0.9635, 0.0506),
        (50, 50, 0.5, 0.5, 0.9431, 0.0569),
        (50, 50, 0.9, 0.95, 0.9692, 0.1447),
    ] {
        let over = |f: &dyn Fn(u64, u64) -> f64| weighted(n1, p1, |a| weighted(n2, p2, |b| f(a, b)));
        let what = format!("{n1} at {p1}, {n2} at {p2}");
        let held = over(&|a, b| holds(newcombe(a, n1, b, n2, 0.95).unwrap().ci.unwrap(), p2 - p1));
        exactly(held, coverage, &format!("newcombe {what}"));
        let z = |a, b| two_proportion_z(a, n1, b, n2, 0.95).unwrap();
        exactly(over(&|a, b| f64::from(u8::from(z(a, b).p.unwrap() <= 0.05))), rejected, &format!("z {what}"));
        exactly(over(&|a, b| holds(z(a, b).ci.unwrap(), p2 - p1)), coverage, &format!("z interval {what}"));
    }
}

/// Never above the level; far below it in small groups.
#[test]
pub(super) fn fisher_size() {
    for (n, at) in [(10, [0.0011, 0.0119, 0.0128]), (20, [0.0118, 0.0248, 0.0204])] {
        let p: Vec<Vec<f64>> =
            (0..=n).map(|a| (0..=n).map(|b| fisher_exact(a, n - a, b, n - b).unwrap().p.unwrap()).collect()).collect();
        let size =
            |q: f64| weighted(n, q, |a| weighted(n, q, |b| f64::from(u8::from(p[a as usize][b as usize] <= 0.05))));
        for (q, want) in [0.1, 0.3, 0.5].into_iter().zip(at) {
            exactly(size(q), want, &format!("fisher n {n} p {q}"));
        }
        assert!(grid().all(|q| size(q) <= 0.05), "fisher n {n}");
    }
}

const VARIANTS: [McNemar; 4] = [McNemar::Exact, McNemar::MidP, McNemar::ChiSquaredCorrected, McNemar::ChiSquared];

/// `n` pairs, each discordant with probability `q`, either way alike. Exact and corrected are conservative, mid-p stays below the level
/// here, the plain chi-squared goes above it.
#[test]
pub(super) fn mcnemar_size() {
    for (n, q, sizes) in [
        (30, 0.2, [0.0128, 0.0314, 0.0128, 0.0479]),
        (50, 0.3, [0.0275, 0.0462, 0.0239, 0.0474]),
        (200, 0.1, [0.0294, 0.0457, 0.0266, 0.0521]),
        (200, 0.04, [0.0183, 0.0377, 0.0182, 0.0447]),
    ] {
        for (variant, want) in VARIANTS.into_iter().zip(sizes) {
            let rejected = |b, c| f64::from(u8::from(mcnemar(b, c, variant, 0.95).unwrap().p.unwrap() <= 0.05));
            let size = (0..=n)
                .filter(|&m| binomial_pmf(m, n, q) > 1e-12)
                .map(|m| binomial_pmf(m, n, q) * weighted(m, 0.5, |b| rejected(b, m - b)))
                .sum();
            exactly(size, want, &format!("mcnemar {variant:?} n {n} q {q}"));
        }
    }
}

/// Interval of P(only condition 2 | discordant): Clopper-Pearson never below its level, mid-p near it on average.
#[test]
pub(super) fn mcnemar_coverage() {
    // Discordant pairs; mean and least coverage over 0.01 to 0.99 of the exact and of the mid-p interval.
    for (m, figures) in [
        (6, [0.9886, 0.9657, 0.9755, 0.9124]),
        (15, [0.9796, 0.9517, 0.9631, 0.9334]),
        (40, [0.9706, 0.9519, 0.9577, 0.9392]),
    ] {
        let coverage = |variant| {
            let ci: Vec<Interval> = (0..=m).map(|c| mcnemar(m - c, c, variant, 0.95).unwrap().ci.unwrap()).collect();
            grid().map(|p| weighted(m, p, |c| holds(ci[c as usize], p))).collect::<Vec<f64>>()
        };
        let (exact, mid) = (coverage(McNemar::Exact), coverage(McNemar::MidP));
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let least = |v: &[f64]| v.iter().copied().fold(1.0, f64::min);
        let got = [mean(&exact), least(&exact), mean(&mid), least(&mid)];
        for (got, want) in got.into_iter().zip(figures) {
            exactly(got, want, &format!("limits of {m} discordant pairs"));
        }
        assert!(least(&exact) >= 0.95, "{m}");
        assert_eq!(coverage(McNemar::ChiSquared), exact, "{m}: the variants share the exact interval");
    }
}

/// Each test is exact given the discordant pairs of its groups, and deaf to the other effect.
#[test]
pub(super) fn order_effects() {
    let group = |only_1, only_2| OrderGroup { only_1, only_2 };
    let (m1, m2) = (12, 15);
    for later in [0.5, 0.3, 0.8] {
        // P(only the earlier condition | discordant) is the same in both groups: order without condition.
        let by_order = |pick: fn((StatResult, StatResult)) -> StatResult| {
            weighted(m1, later, |a| {
                weighted(m2, later, |b| {
                    let r = pick(mainland_gart(group(a, m1 - a), group(m2 - b, b)).unwrap());
                    f64::from(u8::from(r.p.unwrap() <= 0.05))
                })
            })
        };
        let by_condition = |pick: fn((StatResult, StatResult)) -> StatResult| {
            weighted(m1, later, |a| {
                weighted(m2, later, |b| {
                    let r = pick(mainland_gart(group(a, m1 - a), group(b, m2 - b)).unwrap());
                    f64::from(u8::from(r.p.unwrap() <= 0.05))
                })
            })
        };
        let sizes = [by_order(|r| r.0), by_condition(|r| r.1)];
        println!("mainland-gart {later}: {sizes:.4?}");
        assert!(sizes.iter().all(|s| (0.005..=0.05).contains(s)), "{sizes:?}");
        if later != 0.5 {
            assert!(by_order(|r| r.1) > 0.2 && by_condition(|r| r.0) > 0.2, "power at {later}");
        }
    }
}

/// Single pairs: χ² is McNemar's times (K − 1)/K. Clusters whose items lean alike: the plain test rejects too often, this one does not.
#[test]
pub(super) fn clustered_pairs() {
    for (k, q, want) in SINGLE_PAIRS {
        let size = weighted(k, q, |m| {
            weighted(m, 0.5, |b| {
                let tables = [(m - b, false, true), (b, true, false), (k - m, false, false)];
                let pairs: Vec<(bool, bool)> =
                    tables.iter().flat_map(|&(n, x, y)| std::iter::repeat_n((x, y), n as usize)).collect();
                let (x, y): (Vec<bool>, Vec<bool>) = pairs.into_iter().unzip();
                let clusters: Vec<usize> = (0..x.len()).collect();
                f64::from(u8::from(mcnemar_clustered(&x, &y, &clusters).unwrap().p.unwrap() <= 0.05))
            })
        });
        exactly(size, want, &format!("clusters of one pair, {k} at {q}"));
    }
    let mut g = Draw::new(31);
    let (mut robust, mut plain) = (Tally::default(), Tally::default());
    for _ in 0..2000 {
        let (mut x, mut y, mut clusters) = (Vec::new(), Vec::new(), Vec::new());
        for cluster in 0..40 {
            // A cluster is discordant as a whole with probability 0.3, one way or the other alike.
            let (discordant, way) = (g.uniform() < 0.3, g.uniform() < 0.5);
            for _ in 0..5 {
                x.push(discordant && way);
                y.push(discordant && !way);
                clusters.push(cluster);
            }
        }
        robust.rejects(&mcnemar_clustered(&x, &y, &clusters).unwrap());
        let t = PairedTable::from_pairs(&x, &y).unwrap();
        plain.rejects(&mcnemar(t.b, t.c, McNemar::MidP, 0.95).unwrap());
    }
    // That of McNemar's χ² of 40 clusters times 39/40, exactly.
    robust.is(SINGLE_PAIRS[1].2, "clusters of five, robust");
    plain.between(0.25, 0.6, "clusters of five, plain mid-p");
}

/// Clusters, share discordant, rejections by (K − 1)/K (b − c)²/(b + c) above the 95 % point.
const SINGLE_PAIRS: [(u64, f64, f64); 2] = [(20, 0.5, 0.0413), (40, 0.3, 0.0435)];

/// Coverage of the odds c / b: that of the mid-p interval of the share, where both counts are at least 1.
#[test]
pub(super) fn odds_of_discordant_pairs() {
    for (m, odds, want) in [(15, 1.0, 0.9649), (40, 2.0, 0.9575)] {
        let p: f64 = odds / (1.0 + odds);
        let covers = weighted(m, p, |c| {
            let r = paired_odds_ratio(m - c, c, 0.95).unwrap();
            let ci = r.ci.unwrap_or(Interval { low: 0.0, high: f64::INFINITY, level: 0.95 });
            holds(ci, odds)
        });
        exactly(covers, want, &format!("odds {odds} of {m} discordant pairs"));
    }
}

/// Wald tests of condition and order, undefined tables counted as not rejected; each deaf to the other effect.
#[test]
pub(super) fn order_model() {
    let group = |only_2: u64, m: u64| OrderGroup { only_1: m - only_2, only_2 };
    let (m1, m2) = (12, 15);
    for (p, q, condition, order) in ORDER_MODEL {
        let mut rejected = [0.0; 2];
        for a in 0..=m1 {
            for b in 0..=m2 {
                let Ok((x, y)) = discordant_logit(group(a, m1), group(b, m2), 0.95) else { continue };
                let w = binomial_pmf(a, m1, p) * binomial_pmf(b, m2, q);
                for (sum, r) in rejected.iter_mut().zip([x, y]) {
                    *sum += w * f64::from(u8::from(r.p.unwrap() <= 0.05));
                }
            }
        }
        exactly(rejected[0], condition, &format!("condition at {p} and {q}"));
        exactly(rejected[1], order, &format!("order at {p} and {q}"));
    }
}

/// P(only condition 2 | discordant) in both groups, rejections of no condition effect, of no order effect.
const ORDER_MODEL: [(f64, f64, f64, f64); 3] =
    [(0.5, 0.5, 0.0517, 0.0517), (0.3, 0.7, 0.0306, 0.5582), (0.3, 0.3, 0.5582, 0.0306)];

/// Σ over tables of `n` pairs with cell probabilities (both, only 1, only 2, neither).
fn over_tables(n: u64, p: [f64; 4], mut f: impl FnMut(PairedTable) -> f64) -> f64 {
    // A cell that cannot occur has weight only where it is empty.
    let ln = |k: u64, p: f64| if k == 0 { 0.0 } else { k as f64 * p.ln() };
    let ln_fact: Vec<f64> = (0..=n)
        .scan(0.0, |s, k| {
            *s += if k > 1 { (k as f64).ln() } else { 0.0 };
            Some(*s)
        })
        .collect();
    let fact = |k: u64| ln_fact[k as usize];
    let mut total = 0.0;
    for b in 0..=n {
        for c in 0..=n - b {
            for a in 0..=n - b - c {
                let d = n - a - b - c;
                let ln_p = fact(n) - fact(a) - fact(b) - fact(c) - fact(d)
                    + ln(a, p[0])
                    + ln(b, p[1])
                    + ln(c, p[2])
                    + ln(d, p[3]);
                if ln_p > -30.0 {
                    total += ln_p.exp() * f(PairedTable { a, b, c, d });
                }
            }
        }
    }
    total
}

#[test]
pub(super) fn paired_difference() {
    // n, cells (both, only 1, only 2, neither), coverage of Tango and of Newcombe, rejections of "no difference" by Tango's score test
    // (its size where the two discordant cells are alike).
    for (n, p, tango_covers, newcombe_covers, rejected) in [
        (20, [0.5, 0.1, 0.1, 0.3], 0.9556, 0.9732, 0.0444),
        (20, [0.3, 0.25, 0.25, 0.2], 0.9579, 0.9504, 0.0421),
        (20, [0.4, 0.1, 0.3, 0.2], 0.9475, 0.9571, 0.2703),
        (40, [0.8, 0.05, 0.05, 0.1], 0.9573, 0.9830, 0.0427),
        (40, [0.4, 0.05, 0.15, 0.4], 0.9563, 0.9522, 0.2718),
    ] {
        let truth = p[2] - p[1];
        let newcombe = over_tables(n, p, |table| holds(newcombe_paired(table, 0.95).unwrap().ci.unwrap(), truth));
        // Tango's interval needs the discordant counts only.
        let discordant = [p[0] + p[3], p[1], p[2], 0.0];
        let rejects = |r: StatResult| f64::from(u8::from(r.p.unwrap() <= 0.05));
        let covered = over_tables(n, discordant, |table| holds(tango(table, 0.95).unwrap().ci.unwrap(), truth));
        let no_difference = over_tables(n, discordant, |table| rejects(tango(table, 0.95).unwrap()));
        let at_truth = over_tables(n, discordant, |table| rejects(tango_test(table, truth, 0.95).unwrap()));
        let what = format!("n {n} cells {p:?}");
        exactly(covered, tango_covers, &format!("tango {what}"));
        exactly(newcombe, newcombe_covers, &format!("newcombe, paired, {what}"));
        exactly(no_difference, rejected, &format!("score test of 0, {what}"));
        exactly(at_truth, 1.0 - tango_covers, &format!("score test of the truth, {what}"));
    }
}

/// Flip rate through [`agreement`], and its bound where nothing flipped: wrong with probability 1 - level at most.
#[test]
pub(super) fn flip_rate() {
    let n = 30;
    let of = |flips: u64| {
        let table = PairedTable { a: 0, b: flips / 2, c: flips - flips / 2, d: n - flips };
        agreement(table, 0.95).unwrap()
    };
    let ci: Vec<Interval> = (0..=n).map(|k| of(k).ci.unwrap()).collect();
    for (q, want) in [(0.02, 0.9783), (0.1, 0.9742), (0.3, 0.9298), (0.5, 0.9572)] {
        exactly(weighted(n, q, |k| holds(ci[k as usize], q)), want, &format!("flips at {q}"));
    }
    let bound = of(0).details["upper_if_none"];
    exactly(binomial_pmf(0, n, bound), 0.05, "no flip at the bound");
}

#[test]
pub(super) fn equivalence_of_proportions() {
    // n, discordant cells with a difference of exactly the margin 0.1, rejections.
    for (n, b, c, size) in [
        (50, 0.02, 0.12, 0.0390),
        (100, 0.02, 0.12, 0.0482),
        (100, 0.12, 0.02, 0.0482),
        (100, 0.1, 0.2, 0.0291),
        (200, 0.0, 0.1, 0.0566),
        (200, 0.05, 0.15, 0.0487),
    ] {
        let mut got = 0.0;
        for m in 0..=n {
            let w = binomial_pmf(m, n, b + c);
            if w > 1e-12 {
                got += w * weighted(m, c / (b + c), |only_2| {
                    let table = PairedTable { a: 0, b: m - only_2, c: only_2, d: n - m };
                    f64::from(u8::from(tost_paired_proportions(table, 0.1, 0.05).unwrap().p.unwrap() <= 0.05))
                });
            }
        }
        exactly(got, size, &format!("tost n {n} b {b} c {c}"));
    }
}
