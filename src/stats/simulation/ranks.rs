//! Rank tests: every sign pattern or assignment where there are few, simulation of AUROC intervals.

use super::*;

#[test]
pub(super) fn signed_ranks() {
    // Magnitudes 1 to n with every pattern of signs: exact size and that of the normal approximation.
    for (n, exact, normal) in [(6, 0.0312, 0.0625), (8, 0.0391, 0.0547), (10, 0.0488, 0.0488), (12, 0.0425, 0.0522)] {
        let zeros = vec![0.0; n];
        let (mut e, mut z) = (Tally::default(), Tally::default());
        for pattern in 0..1u32 << n {
            let d: Vec<f64> = (0..n).map(|i| (i + 1) as f64 * if pattern >> i & 1 == 1 { 1.0 } else { -1.0 }).collect();
            e.rejects(&wilcoxon(&d, &zeros, WilcoxonMethod::Exact).unwrap());
            z.rejects(&wilcoxon(&d, &zeros, WilcoxonMethod::Normal).unwrap());
        }
        exactly(e.share(), exact, &format!("exact, n {n}"));
        exactly(z.share(), normal, &format!("normal, n {n}"));
    }
    // Tied magnitudes and zeros, the normal approximation.
    let mut g = Draw::new(21);
    let mut t = Tally::default();
    for _ in 0..4000 {
        let d: Vec<f64> = (0..40).map(|_| (2.0 * g.normal()).round()).collect();
        t.rejects(&wilcoxon(&d, &vec![0.0; 40], WilcoxonMethod::Auto).unwrap());
    }
    t.is(0.05, "tied, n 40");
}

/// Every assignment of ranks to two groups.
#[test]
pub(super) fn rank_sum() {
    for (n1, n2, size) in [(4, 4, 0.0286), (6, 6, 0.0411), (5, 8, 0.0451), (3, 10, 0.0280)] {
        let mut t = Tally::default();
        for pattern in (0..1u32 << (n1 + n2)).filter(|p| p.count_ones() == n1) {
            let (x, y): (Vec<u32>, Vec<u32>) = (0..n1 + n2).partition(|i| pattern >> i & 1 == 1);
            let values = |v: Vec<u32>| v.into_iter().map(f64::from).collect::<Vec<f64>>();
            t.rejects(&mann_whitney(&values(x), &values(y)).unwrap());
        }
        exactly(t.share(), size, &format!("{n1} against {n2}"));
    }
}

/// Normal scores `shift` apart: AUROC is Φ(shift / √2).
fn true_area(shift: f64) -> f64 {
    1.0 - dist::normal_sf(shift / std::f64::consts::SQRT_2)
}

/// DeLong's interval is a Wald interval: near 1 and in small samples it covers less than it says.
#[test]
pub(super) fn area() {
    let mut g = Draw::new(22);
    for (n, shift, coverage) in [
        (10, 0.0, 0.928),
        (10, 1.0, 0.901),
        (10, 2.0, 0.790),
        (40, 0.0, 0.944),
        (40, 1.0, 0.938),
        (40, 2.0, 0.912),
        (40, 3.0, 0.828),
    ] {
        let labels: Vec<bool> = (0..2 * n).map(|i| i < n).collect();
        let (mut covered, mut rejected, mut noted) = (Tally::default(), Tally::default(), Tally::default());
        for _ in 0..3000 {
            let scores: Vec<f64> = labels.iter().map(|&l| g.normal() + if l { shift } else { 0.0 }).collect();
            let r = auroc(&scores, &labels, 0.95).unwrap();
            covered.covers(&r, true_area(shift));
            rejected.rejects(&r);
            noted.add(!r.notes.is_empty());
        }
        let what = format!("{n} each, AUROC {:.3}", true_area(shift));
        covered.is(coverage, &what);
        // Wherever the interval misses its level by more than three points, most results say so.
        noted.between(if coverage < 0.92 { 0.8 } else { 0.0 }, 1.0, &format!("noted, {what}"));
        if shift == 0.0 {
            rejected.is(if n == 10 { 0.0433 } else { 0.049 }, &format!("size, {what}"));
        }
    }
}

#[test]
pub(super) fn two_areas() {
    let mut g = Draw::new(23);
    let labels: Vec<bool> = (0..60).map(|i| i < 30).collect();
    for (first, second, what) in [(1.0, 1.0, "equal areas"), (1.5, 0.5, "unequal areas")] {
        let (mut rejected, mut covered) = (Tally::default(), Tally::default());
        for _ in 0..3000 {
            let (mut a, mut b) = (vec![], vec![]);
            for &l in &labels {
                let (common, shift) = (g.normal(), f64::from(u8::from(l)));
                a.push(0.7 * common + 0.714 * g.normal() + first * shift);
                b.push(0.7 * common + 0.714 * g.normal() + second * shift);
            }
            let r = delong_compare(&a, &b, &labels, 0.95).unwrap();
            rejected.rejects(&r);
            covered.covers(&r, true_area(first) - true_area(second));
        }
        covered.is(0.95, what);
        if first == second {
            rejected.is(0.05, what);
        }
    }
}

/// Permutation within strata and by group: exact. A strong effect of the stratum, or rows that come in pairs, change nothing.
#[test]
pub(super) fn rank_correlation() {
    let mut g = Draw::new(24);
    let rows: Vec<usize> = (0..24).collect();
    let (strata, groups): (Vec<usize>, Vec<usize>) = rows.iter().map(|i| (i / 2 % 3, i / 2)).unzip();
    let (mut single, mut paired, mut naive) = (Tally::default(), Tally::default(), Tally::default());
    for round in 0..1200 {
        let opts = options(99, round);
        let shifted = |g: &mut Draw| strata.iter().map(|s| 3.0 * *s as f64 + g.normal()).collect::<Vec<_>>();
        let (x, y) = (shifted(&mut g), shifted(&mut g));
        single.rejects(&spearman(&x, &y, &strata, &rows, &opts).unwrap());
        let pairs = |g: &mut Draw| {
            let common = g.normals(12);
            groups.iter().map(|&q| common[q] + 0.2 * g.normal()).collect::<Vec<_>>()
        };
        let (x, y) = (pairs(&mut g), pairs(&mut g));
        paired.rejects(&spearman(&x, &y, &strata, &groups, &opts).unwrap());
        naive.rejects(&spearman(&x, &y, &strata, &rows, &opts).unwrap());
    }
    single.is(0.05, "rows within strata");
    paired.is(0.05, "groups of two");
    naive.between(0.1, 0.4, "groups of two permuted as rows: anti-conservative");
}
