//! Tests of means on normal values: levels are met exactly, up to the noise of the simulation.

use super::*;

const ROUNDS: usize = 4000;

#[test]
pub(super) fn one_sample() {
    let mut g = Draw::new(11);
    let mut t: [Tally; 6] = Default::default();
    for _ in 0..ROUNDS {
        let x = g.normals(5);
        let r = t_interval(&x, 0.95).unwrap();
        t[0].rejects(&r);
        t[1].covers(&r, 0.0);
        let s = describe(&x).unwrap();
        t[2].covers(&t_interval_from_summary(Summary { mean: s.mean + 0.5, ..s }, 0.95).unwrap(), 0.5);
        let y: Vec<f64> = x.iter().map(|v| 3.0 + 0.2 * v + g.normal()).collect();
        let shifted: Vec<f64> = x.iter().map(|v| v + 3.0).collect();
        let r = paired_t(&shifted, &y, 0.95).unwrap();
        t[3].rejects(&r);
        t[4].covers(&r, 0.0);
        t[5].add(t_interval(&x[..3], 0.9).unwrap().ci.unwrap().contains(0.0));
    }
    for (tally, figure, what) in [
        (t[0], 0.05, "t size, n 5"),
        (t[1], 0.95, "t interval, n 5"),
        (t[2], 0.95, "from a summary"),
        (t[3], 0.05, "paired size"),
        (t[4], 0.95, "paired interval"),
        (t[5], 0.9, "three values at level 0.9"),
    ] {
        tally.is(figure, what);
    }
}

/// Pooled and Welch. With unequal variances in unequal groups the pooled test loses its level, Welch's does not.
#[test]
pub(super) fn two_samples() {
    let mut g = Draw::new(12);
    let mut t: [Tally; 8] = Default::default();
    for _ in 0..ROUNDS {
        let (x, y) = (g.normals(4), g.normals(6));
        let (sx, sy) = (describe(&x).unwrap(), describe(&y).unwrap());
        let r = student_t(&x, &y, 0.95).unwrap();
        t[0].rejects(&r);
        t[1].covers(&student_t_from_summary(sx, Summary { mean: sy.mean + 1.0, ..sy }, 0.95).unwrap(), -1.0);
        let wide: Vec<f64> = g.normals(8).iter().map(|v| 4.0 * v).collect();
        let narrow = g.normals(24);
        t[2].rejects(&student_t(&wide, &narrow, 0.95).unwrap());
        let r = welch_t(&wide, &narrow, 0.95).unwrap();
        t[3].rejects(&r);
        t[4].covers(&r, 0.0);
        t[5].rejects(&welch_t(&x, &y, 0.95).unwrap());
        t[6].covers(&welch_t_from_summary(sx, sy, 0.95).unwrap(), 0.0);
        t[7].covers(&student_t(&x, &y, 0.95).unwrap(), 0.0);
    }
    for (tally, figure, what) in [
        (t[0], 0.05, "student size"),
        (t[1], 0.95, "student interval from summaries"),
        (t[2], 0.241, "student size, sd 4 in 8 against sd 1 in 24"),
        (t[3], 0.05, "welch size, the same"),
        (t[4], 0.95, "welch interval, the same"),
        (t[5], 0.05, "welch size, 4 against 6"),
        (t[6], 0.95, "welch interval from summaries, 4 against 6"),
        (t[7], 0.95, "student interval"),
    ] {
        tally.is(figure, what);
    }
}

/// Rows in clusters: a common part and a part of each row. Sizes 1, 2, 3, 4 by turns where `unequal`, else 2.
pub(super) fn clustered(g: &mut Draw, clusters: usize, unequal: bool) -> (Vec<f64>, Vec<usize>) {
    let (mut values, mut codes) = (vec![], vec![]);
    for c in 0..clusters {
        let common = g.normal();
        for _ in 0..if unequal { 1 + c % 4 } else { 2 } {
            values.push(common + g.normal());
            codes.push(c);
        }
    }
    (values, codes)
}

/// Clusters of one size meet the level; few of unequal size do not, and a note says so.
#[test]
pub(super) fn clusters() {
    let mut g = Draw::new(13);
    for (n, unequal, size) in
        [(5, false, 0.05), (5, true, 0.0754), (10, true, 0.0646), (20, true, 0.0593), (40, true, 0.0552)]
    {
        let (mut rejected, mut covered) = (Tally::default(), Tally::default());
        for _ in 0..ROUNDS {
            let (values, codes) = clustered(&mut g, n, unequal);
            let r = cluster_t(&values, &codes, 0.95).unwrap();
            rejected.rejects(&r);
            covered.covers(&r, 0.0);
            assert_eq!(r.notes.len(), usize::from(unequal && n < 20), "{:?}", r.notes);
        }
        rejected.is(size, &format!("cluster t size, {n} clusters, unequal {unequal}"));
        covered.is(1.0 - size, &format!("cluster t interval, {n} clusters, unequal {unequal}"));
    }
}

/// At the margin the size is alpha where the other margin is out of reach, and below it where both bind.
#[test]
pub(super) fn equivalence() {
    let mut g = Draw::new(14);
    let mut t: [Tally; 5] = Default::default();
    for _ in 0..ROUNDS {
        let x = g.normals(8);
        let at = |m: f64| x.iter().map(|v| v + m).collect::<Vec<f64>>();
        t[0].rejects(&tost_one_sample(&at(4.0), -4.0, 4.0, 0.05).unwrap());
        let y = g.normals(8);
        t[1].rejects(&tost_paired(&at(-6.0), &y, -6.0, 6.0, 0.05).unwrap());
        // ln x - ln y of mean ln 1.5 and sd 0.1 √2.
        let times = |v: &[f64], m: f64| v.iter().map(|v| m * (0.1 * v).exp()).collect::<Vec<f64>>();
        let r = tost_log_ratio(&times(&x, 15.0), &times(&y, 10.0), 0.5, 0.05).unwrap();
        t[2].rejects(&r);
        t[3].add(r.ci.unwrap().contains(1.5f64.ln()));
        t[4].rejects(&tost_one_sample(&at(0.7), -0.7, 0.7, 0.05).unwrap());
    }
    for (tally, figure, what) in [
        (t[0], 0.05, "one sample, at the margin"),
        (t[1], 0.05, "paired, at the margin"),
        (t[2], 0.05, "log-ratio, at the margin"),
        (t[3], 0.9, "log-ratio interval, level 1 - 2 alpha"),
        (t[4], 0.0425, "one sample, margin of two standard errors"),
    ] {
        tally.is(figure, what);
    }
}

#[test]
pub(super) fn equivalence_over_clusters() {
    let mut g = Draw::new(15);
    for (n, unequal, size, level) in [(5, false, 0.05, 0.9), (10, true, 0.0585, 0.88), (40, true, 0.0527, 0.8945)] {
        let (mut rejected, mut covered) = (Tally::default(), Tally::default());
        for _ in 0..ROUNDS {
            let (mut values, codes) = clustered(&mut g, n, unequal);
            values.iter_mut().for_each(|v| *v += 4.0);
            let r = tost_cluster_mean(&values, &codes, -4.0, 4.0, 0.05).unwrap();
            rejected.rejects(&r);
            covered.covers(&r, 4.0);
            assert_eq!(r.notes.len(), usize::from(unequal && n < 20), "{:?}", r.notes);
        }
        rejected.is(size, &format!("at the margin, {n} clusters, unequal {unequal}"));
        covered.is(level, &format!("interval, {n} clusters, unequal {unequal}"));
    }
}
