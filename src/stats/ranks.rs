//! Ranks: Mann-Whitney, AUROC with ties, DeLong's variance and comparison.

use super::dist::{mean, normal_sf, normal_two_sided, sum};
use super::proportions::z_of;
use super::{Result, StatResult, StatsError, check_finite, check_open_unit, check_parallel};

/// Mid-ranks (1-based) and the tie term Σ (t³ - t) over groups of equal values.
pub(super) fn midranks(values: &[f64]) -> (Vec<f64>, f64) {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&i, &j| values[i].total_cmp(&values[j]));
    let mut ranks = vec![0.0; values.len()];
    let mut ties = 0.0;
    let mut start = 0;
    while start < order.len() {
        let mut end = start + 1;
        while end < order.len() && values[order[end]] == values[order[start]] {
            end += 1;
        }
        let rank = (start + 1 + end) as f64 / 2.0;
        for &i in &order[start..end] {
            ranks[i] = rank;
        }
        let t = (end - start) as f64;
        ties += t * t * t - t;
        start = end;
    }
    (ranks, ties)
}

/// Scores split by label, both classes present, all finite.
fn split(scores: &[f64], labels: &[bool]) -> Result<(Vec<f64>, Vec<f64>)> {
    check_parallel("scores", scores.len(), "labels", labels.len())?;
    check_finite("scores", scores)?;
    let pick = |want: bool| scores.iter().zip(labels).filter(|(_, l)| **l == want).map(|(s, _)| *s).collect::<Vec<_>>();
    let (positive, negative) = (pick(true), pick(false));
    if positive.is_empty() || negative.is_empty() {
        return Err(StatsError::OneClass { positive: positive.len(), negative: negative.len() });
    }
    Ok((positive, negative))
}

/// U of the first sample against the second, and its two-sided p: normal, tie-corrected, with continuity correction.
fn mann_whitney_core(x: &[f64], y: &[f64]) -> (f64, f64, f64) {
    let (nx, ny) = (x.len() as f64, y.len() as f64);
    let joint: Vec<f64> = x.iter().chain(y).copied().collect();
    let (ranks, ties) = midranks(&joint);
    let u = sum(ranks[..x.len()].iter().copied()) - nx * (nx + 1.0) / 2.0;
    let n = nx + ny;
    let var = nx * ny / 12.0 * ((n + 1.0) - ties / (n * (n - 1.0)));
    let centre = nx * ny / 2.0;
    if var <= 0.0 {
        return (u, 0.0, 1.0);
    }
    let z = (u.max(nx * ny - u) - centre - 0.5) / var.sqrt();
    (u, z, (2.0 * normal_sf(z)).min(1.0))
}

/// Mann-Whitney test of two independent samples.
///
/// `statistic` is U of `x`; `estimate` is P(x > y) + P(x = y) / 2. Where every value is equal, p = 1.
///
/// # Errors
/// An empty sample, a non-finite value.
pub fn mann_whitney(x: &[f64], y: &[f64]) -> Result<StatResult> {
    super::check_values("x", x, 1)?;
    super::check_values("y", y, 1)?;
    let (u, z, p) = mann_whitney_core(x, y);
    Ok(StatResult::new(
        "mann-whitney",
        "Mann-Whitney U, normal approximation, tie-corrected, continuity-corrected, two-sided",
        "P(x > y) + P(x = y) / 2; 0.5 = no difference",
        (x.len() + y.len()) as u64,
    )
    .statistic(u)
    .p(p)
    .estimate(u / (x.len() as f64 * y.len() as f64))
    .detail("z", z))
}

/// DeLong's placement values: for each positive the share of negatives below it, for each negative the share of
/// positives above it, ties counting half.
fn placements(positive: &[f64], negative: &[f64]) -> (Vec<f64>, Vec<f64>) {
    let joint: Vec<f64> = positive.iter().chain(negative).copied().collect();
    let (all, _) = midranks(&joint);
    let (own_pos, _) = midranks(positive);
    let (own_neg, _) = midranks(negative);
    let (m, n) = (positive.len() as f64, negative.len() as f64);
    let v10 = all.iter().zip(&own_pos).map(|(a, o)| (a - o) / n).collect();
    let v01 = all[positive.len()..].iter().zip(&own_neg).map(|(a, o)| 1.0 - (a - o) / m).collect();
    (v10, v01)
}

/// Covariance with ddof 1; 0 for fewer than two entries.
fn covariance(x: &[f64], y: &[f64]) -> f64 {
    if x.len() < 2 {
        return 0.0;
    }
    let (mx, my) = (mean(x), mean(y));
    sum(x.iter().zip(y).map(|(a, b)| (a - mx) * (b - my))) / (x.len() - 1) as f64
}

/// Area under the ROC curve of `scores` for `labels` (higher score = positive), ties counting half, with DeLong's
/// standard error and interval and the Mann-Whitney p.
///
/// `statistic` is U of the positives. The interval is Wald on DeLong's variance, cut to [0, 1]: near 0 or 1 and in small classes it
/// covers less than it says, and a note says so.
///
/// # Errors
/// One class only (undefined, never 0.5), slices of different length, non-finite scores, `level` outside (0, 1).
pub fn auroc(scores: &[f64], labels: &[bool], level: f64) -> Result<StatResult> {
    let (positive, negative) = split(scores, labels)?;
    check_open_unit("level", level)?;
    let (u, z, p) = mann_whitney_core(&positive, &negative);
    let (m, n) = (positive.len() as f64, negative.len() as f64);
    let area = u / (m * n);
    let (v10, v01) = placements(&positive, &negative);
    let se = (covariance(&v10, &v10) / m + covariance(&v01, &v01) / n).sqrt();
    let half = z_of(level) * se;
    let mut result = StatResult::new(
        "auroc",
        "AUROC with half credit for ties, DeLong interval, Mann-Whitney p (tie- and continuity-corrected)",
        "P(score of a positive > score of a negative); 0.5 = no skill",
        scores.len() as u64,
    )
    .statistic(u)
    .p(p)
    .estimate(area)
    .detail("z", z)
    .detail("positives", m)
    .detail("negatives", n);
    if positive.len() < 2 || negative.len() < 2 {
        return Ok(result.note("fewer than two of one class: no interval"));
    }
    if se <= 0.0 {
        result = result.note("DeLong's variance is 0 (complete separation or all tied): the interval has no width");
    } else if m.min(n) * area.min(1.0 - area) < 5.0 {
        result = result.note(
            "fewer than five of the rarer class lie across the ranking: DeLong's interval covers less than it says (95 % is about 80 % \
             for an area of 0.92 from 10 and 10, 91 % from 40 and 40)",
        );
    }
    Ok(result.ci((area - half).max(0.0), (area + half).min(1.0), level).detail("se_delong", se))
}

/// DeLong's test of two AUROCs on the same items: `first` - `second`.
///
/// # Errors
/// As [`auroc`]; also fewer than two of a class, and score sets whose difference has no variance.
pub fn delong_compare(first: &[f64], second: &[f64], labels: &[bool], level: f64) -> Result<StatResult> {
    check_parallel("first", first.len(), "second", second.len())?;
    check_open_unit("level", level)?;
    let (p1, n1) = split(first, labels)?;
    let (p2, n2) = split(second, labels)?;
    let least = p1.len().min(n1.len());
    if least < 2 {
        return Err(StatsError::TooFew { what: "items of the rarer class", n: least, need: 2 });
    }
    let (a10, a01) = placements(&p1, &n1);
    let (b10, b01) = placements(&p2, &n2);
    let minus = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let (d10, d01) = (minus(&a10, &b10), minus(&a01, &b01));
    let difference = mean(&a10) - mean(&b10);
    let se = (covariance(&d10, &d10) / p1.len() as f64 + covariance(&d01, &d01) / n1.len() as f64).sqrt();
    if se <= 1e-15 {
        return Err(StatsError::NoVariation { what: "difference of the two AUROCs", value: difference });
    }
    let half = z_of(level) * se;
    let z = difference / se;
    Ok(StatResult::new(
        "delong",
        "DeLong's test of two correlated AUROCs, two-sided",
        "AUROC(first) - AUROC(second)",
        labels.len() as u64,
    )
    .statistic(z)
    .p(normal_two_sided(z))
    .estimate(difference)
    .ci(difference - half, difference + half, level)
    .detail("auroc_first", mean(&a10))
    .detail("auroc_second", mean(&b10))
    .detail("se_delong", se))
}
