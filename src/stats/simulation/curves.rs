//! Survival, onsets, slopes and clouds of random directions.

use super::*;

/// Exponential break times of mean `mean`; a share 0.3 of runs is censored between 60 and 200, the rest at 200.
fn runs(g: &mut Draw, n: usize, mean: f64) -> (Vec<f64>, Vec<bool>) {
    (0..n)
        .map(|_| {
            let (t, end) =
                (-mean * g.uniform().ln(), if g.uniform() < 0.3 { 60.0 + 140.0 * g.uniform() } else { 200.0 });
            (t.min(end), t <= end)
        })
        .unzip()
}

#[test]
pub(super) fn survival() {
    let mut g = Draw::new(3);
    let tau = 55.0;
    let truth = |mean: f64| mean * (1.0 - (-tau / mean).exp());
    let first: Vec<bool> = (0..20).map(|i| i < 10).collect();
    let mut t: [Tally; 3] = Default::default();
    for _ in 0..2000 {
        let (t1, b1) = runs(&mut g, 10, 50.0);
        if let Some(ci) = restricted_mean(&t1, &b1, tau, 0.95).unwrap().ci {
            t[0].add(ci.contains(truth(50.0)));
        }
        let mut against = |mean: f64| {
            let (t2, b2) = runs(&mut g, 10, mean);
            restricted_mean_difference(&[&t1[..], &t2].concat(), &[&b1[..], &b2].concat(), &first, tau, 0.95).unwrap()
        };
        t[1].covers(&against(90.0), truth(50.0) - truth(90.0));
        t[2].rejects(&against(50.0));
    }
    t[0].is(0.944, "restricted mean");
    t[1].is(0.953, "difference of restricted means");
    t[2].is(0.05, "size of the difference");
}

/// Four against four exactly (attainable levels only), twelve against twelve by random assignments.
#[test]
pub(super) fn log_rank_size() {
    let mut g = Draw::new(4);
    for (n, rounds, low, high) in [(8, 3000, 0.02, 0.05), (24, 1500, 0.035, 0.065)] {
        let first: Vec<bool> = (0..n).map(|i| i < n / 2).collect();
        let mut t = Tally::default();
        for round in 0..rounds {
            let (times, broken) = runs(&mut g, n, 120.0);
            t.rejects(&log_rank(&times, &broken, &first, &options(199, round)).unwrap());
        }
        t.between(low, high, &format!("{n} runs"));
    }
}

/// Censoring that depends on the group breaks exchangeability: the first group ends at 40, the second at 200. The permutation p is
/// conservative then, the chi-squared p near its level.
#[test]
pub(super) fn log_rank_under_unequal_censoring() {
    let mut g = Draw::new(9);
    for (n1, n2, figure, asymptotic) in [
        (4, 4, 0.0102, 0.0565),
        (12, 12, 0.0177, 0.049),
        (8, 20, 0.0093, 0.0577),
        (20, 8, 0.0306, 0.0533),
        (27, 3, 0.0472, 0.0551),
    ] {
        let first: Vec<bool> = (0..n1 + n2).map(|i| i < n1).collect();
        let (mut t, mut chi2) = (Tally::default(), Tally::default());
        for round in 0..1500 {
            let (times, broken): (Vec<f64>, Vec<bool>) = first
                .iter()
                .map(|f| {
                    let (t, end) = (-80.0 * g.uniform().ln(), if *f { 40.0 } else { 200.0 });
                    (t.min(end), t <= end)
                })
                .unzip();
            let r = log_rank(&times, &broken, &first, &options(199, round)).unwrap();
            t.rejects(&r);
            chi2.add(r.details.get("p_chi2").is_some_and(|p| *p <= 0.05));
        }
        t.is(figure, &format!("{n1} censored early against {n2}"));
        chi2.is(asymptotic, &format!("{n1} against {n2}, chi-squared"));
    }
}

#[test]
pub(super) fn onset() {
    let mut g = Draw::new(5);
    let mut t: [Tally; 4] = Default::default();
    for round in 0..800 {
        let quiet = g.normals(13);
        let opts = options(199, round);
        t[0].add(change_point(&quiet, 2, 0.1, &opts).unwrap().p <= 0.1);
        let step: Vec<f64> = quiet.iter().enumerate().map(|(i, v)| v + if i >= 6 { 3.0 } else { 0.0 }).collect();
        let r = change_point(&step, 2, 0.1, &opts).unwrap();
        t[1].add(r.onset.is_some());
        if let Some(ci) = r.interval {
            t[2].add((ci.low..=ci.high).contains(&6));
            t[3].add(r.onset == Some(6));
        }
    }
    t[0].is(0.1, "size at 0.1");
    t[1].between(0.9, 1.0, "power at three sd");
    t[2].between(0.93, 0.99, "interval of the onset");
    assert!(t[3].hits < t[2].hits, "the interval adds to the estimate");
}

/// As documented: the null is that order means nothing, so a drift is an onset too.
#[test]
pub(super) fn drift_is_an_onset() {
    let mut g = Draw::new(10);
    let mut t = Tally::default();
    for round in 0..100 {
        let drift: Vec<f64> = (0..13).map(|i| 0.5 * f64::from(i) + g.normal()).collect();
        t.add(change_point(&drift, 2, 0.1, &options(199, round)).unwrap().onset.is_some());
    }
    t.between(0.9, 1.0, "drift");
}

#[test]
pub(super) fn mean_slope() {
    let mut g = Draw::new(6);
    let kinds = [BootstrapInterval::Percentile, BootstrapInterval::Studentised];
    let (mut covered, mut rejected): ([Tally; 2], [Tally; 2]) = Default::default();
    for round in 0..1200 {
        // 40 items in 20 clusters, slopes vary by cluster and item.
        let (mut dose, mut y, mut items, mut clusters) = (vec![], vec![], vec![], vec![]);
        for c in 0..20 {
            let of_cluster = g.normal() * 0.1;
            for i in 0..2 {
                let slope = 0.2 + of_cluster + 0.05 * g.normal();
                for d in -2..=2 {
                    dose.push(f64::from(d));
                    y.push(3.0 + slope * f64::from(d) + 0.2 * g.normal());
                    items.push(2 * c + i);
                    clusters.push(c);
                }
            }
        }
        let flat: Vec<f64> = y.iter().zip(&dose).map(|(y, d)| y - 0.2 * d).collect();
        for (k, kind) in kinds.into_iter().enumerate() {
            let opts = options(199, round);
            covered[k].covers(&dose_response(&dose, &y, &items, &clusters, kind, &opts).unwrap(), 0.2);
            rejected[k].rejects(&dose_response(&dose, &flat, &items, &clusters, kind, &opts).unwrap());
        }
    }
    covered[0].is(0.918, "percentile, 20 clusters");
    covered[1].is(0.940, "studentised, 20 clusters");
    rejected[0].is(0.072, "percentile p");
    rejected[1].is(0.05, "studentised p");
}

/// A direction drawn like the random ones. Below 199 directions p is the t prediction, from there on the rank.
#[test]
pub(super) fn random_directions() {
    let mut g = Draw::new(7);
    let mut t: [Tally; 4] = Default::default();
    for _ in 0..4000 {
        let own = g.normal();
        let r = against_random(own, &g.normals(5), 0.95).unwrap();
        t[0].rejects(&r);
        t[1].add((r.details["prediction_low"]..=r.details["prediction_high"]).contains(&own));
        let r = against_random(own, &g.normals(59), 0.95).unwrap();
        t[2].add(r.details["p_rank"] <= 0.05);
        t[3].rejects(&against_random(own, &g.normals(199), 0.95).unwrap());
    }
    t[0].is(0.05, "t size, five directions");
    t[1].is(0.95, "prediction interval, five directions");
    t[2].is(0.05, "rank size, 59 directions");
    t[3].is(0.05, "rank size, 199 directions");
}
