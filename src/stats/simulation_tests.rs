//! Coverage of the intervals and size of the tests that have no golden value, by seeded simulation. Bands are wide: they
//! catch a wrong formula, not a rounding.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

struct Draw(ChaCha8Rng);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn uniform(&mut self) -> f64 {
        ((self.0.next_u64() >> 11) as f64 + 0.5) / (1u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        dist::normal_quantile(self.uniform())
    }

    fn normals(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.normal()).collect()
    }
}

fn options(resamples: usize, seed: u64) -> Resampling {
    Resampling { resamples, seed, level: 0.95 }
}

#[track_caller]
fn within(hits: usize, rounds: usize, low: f64, high: f64, what: &str) {
    let share = hits as f64 / rounds as f64;
    assert!((low..=high).contains(&share), "{what}: {share:.3} of {rounds}, expected {low} to {high}");
}

/// Whole probe path under the null: the family-wise p over layers is uniform or larger, also with grouped rows and labels
/// that depend on the stratum.
#[test]
fn size_of_the_maximum_over_layers() {
    let mut g = Draw::new(1);
    let (rounds, n) = (120, 32);
    let groups: Vec<usize> = (0..n).map(|i| i / 2).collect();
    let strata: Vec<usize> = groups.iter().map(|q| q % 2).collect();
    let exchange = Exchange::new(&strata, &groups).unwrap();
    let (mut family, mut single) = (0, 0);
    for round in 0..rounds {
        let folds = grouped_folds(&strata, &groups, 4, round).unwrap();
        let probes: Vec<RidgeProbe> = (0..3)
            .map(|_| {
                // Both rows of a group have the same features, as samples of one prompt have; a stratum shifts them.
                let per_group: Vec<Vec<f64>> = (0..n / 2).map(|_| g.normals(40)).collect();
                let x = groups.iter().zip(&strata).flat_map(|(&q, &s)| per_group[q].iter().map(move |v| v + s as f64));
                RidgeProbe::new(&Features::new(x.collect(), 40).unwrap(), &folds, &[4.0, 400.0]).unwrap()
            })
            .collect();
        let shared = g.normals(n / 2);
        let y: Vec<f64> = (0..n).map(|i| 2.0 * strata[i] as f64 + shared[groups[i]] + 0.5 * g.normal()).collect();
        let r = max_statistic(&y, &exchange, &options(99, round), |y| {
            probes
                .iter()
                .map(|p| stratified_spearman(&p.predict(y).unwrap().centred, y, &strata).unwrap().or_nan())
                .collect()
        })
        .unwrap();
        family += usize::from(r.p <= 0.1);
        single += usize::from(r.layers.iter().any(|l| l.p <= 0.1));
    }
    within(family, rounds as usize, 0.03, 0.19, "family-wise size at 0.1");
    assert!(single > family, "the layers' own p values are not protected: {single} {family}");
}

#[test]
fn size_of_spearman_within_strata() {
    let mut g = Draw::new(2);
    let strata: Vec<usize> = (0..24).map(|i| i % 3).collect();
    let rows: Vec<usize> = (0..24).collect();
    let mut hits = 0;
    for round in 0..300 {
        // A strong stratum effect on both sides: a plain correlation would reject always.
        let shifted = |g: &mut Draw| strata.iter().map(|s| 3.0 * *s as f64 + g.normal()).collect::<Vec<_>>();
        let (x, y) = (shifted(&mut g), shifted(&mut g));
        hits += usize::from(spearman(&x, &y, &strata, &rows, &options(99, round)).unwrap().p.unwrap() <= 0.1);
    }
    within(hits, 300, 0.05, 0.16, "size at 0.1");
}

/// Exponential break times, some censored before the horizon.
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
fn survival_size_and_coverage() {
    let mut g = Draw::new(3);
    let (rounds, tau) = (500, 55.0);
    let truth = |mean: f64| mean * (1.0 - (-tau / mean).exp());
    let (mut size, mut one, mut two, mut defined) = (0, 0, 0, 0);
    let first: Vec<bool> = (0..20).map(|i| i < 10).collect();
    for round in 0..rounds {
        let (mut t, mut b) = runs(&mut g, 10, 50.0);
        if let Some(ci) = restricted_mean(&t, &b, tau, 0.95).unwrap().ci {
            one += usize::from(ci.contains(truth(50.0)));
            defined += 1;
        }
        let (t2, b2) = runs(&mut g, 10, 50.0);
        let (t3, b3) = runs(&mut g, 10, 90.0);
        let join = |x: &[f64], y: &[f64]| [x, y].concat();
        let opts = options(99, round);
        let r = log_rank(&join(&t, &t2), &[b.clone(), b2].concat(), &first, &opts).unwrap();
        size += usize::from(r.p.unwrap() <= 0.1);
        t.extend(t3);
        b.extend(b3);
        let ci = restricted_mean_difference(&t, &b, &first, tau, 0.95).unwrap().ci.unwrap();
        two += usize::from(ci.contains(truth(50.0) - truth(90.0)));
    }
    within(size, rounds as usize, 0.06, 0.14, "log-rank size at 0.1");
    within(one, defined, 0.90, 0.985, "restricted mean");
    within(two, rounds as usize, 0.91, 0.985, "difference of restricted means");
}

#[test]
fn exact_log_rank_never_exceeds_its_level() {
    let mut g = Draw::new(4);
    let first: Vec<bool> = (0..8).map(|i| i < 4).collect();
    let hits = (0..600).filter(|_| {
        let (t, b) = runs(&mut g, 8, 120.0);
        log_rank(&t, &b, &first, &options(99, 0)).unwrap().p.unwrap() <= 0.1
    });
    within(hits.count(), 600, 0.03, 0.125, "exact size at 0.1");
}

#[test]
fn onset_size_and_coverage() {
    let mut g = Draw::new(5);
    let (mut false_alarms, mut found, mut covered, mut right) = (0, 0, 0, 0);
    for round in 0..200 {
        let quiet = g.normals(13);
        let opts = options(199, round);
        false_alarms += usize::from(change_point(&quiet, 2, 0.1, &opts).unwrap().onset.is_some());
        let step: Vec<f64> = quiet.iter().enumerate().map(|(i, v)| v + if i >= 6 { 3.0 } else { 0.0 }).collect();
        let r = change_point(&step, 2, 0.1, &opts).unwrap();
        if let Some(ci) = r.interval {
            found += 1;
            covered += usize::from((ci.low..=ci.high).contains(&6));
            right += usize::from(r.onset == Some(6));
        }
    }
    within(false_alarms, 200, 0.04, 0.17, "size at 0.1");
    within(found, 200, 0.9, 1.0, "power at three sd");
    within(covered, found, 0.90, 1.0, "interval of the onset");
    assert!(right < covered, "the interval adds to the estimate");
}

#[test]
fn slope_coverage_and_cloud_size() {
    let mut g = Draw::new(6);
    let (mut covered, mut rank, mut t) = (0, 0, 0);
    let rounds = 250;
    for round in 0..rounds {
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
        let kind = BootstrapInterval::Studentised;
        let r = dose_response(&dose, &y, &items, &clusters, kind, &options(199, round)).unwrap();
        covered += usize::from(r.ci.unwrap().contains(0.2));
        let cloud = g.normals(50);
        let r = against_random(g.normal(), &cloud, 0.95).unwrap();
        rank += usize::from(r.details["p_rank"] <= 0.1);
        t += usize::from(r.details["p_t"] <= 0.1);
    }
    within(covered, rounds as usize, 0.90, 0.985, "mean slope");
    within(rank, rounds as usize, 0.05, 0.16, "rank size at 0.1");
    within(t, rounds as usize, 0.05, 0.16, "t size at 0.1");
}

#[test]
fn seed_interval_coverage() {
    let mut g = Draw::new(7);
    let hits = (0..1000).filter(|_| {
        let effects: Vec<f64> = (0..3).map(|_| 1.0 + g.normal()).collect();
        seed_effects(&effects, 0.95).unwrap().ci.unwrap().contains(1.0)
    });
    within(hits.count(), 1000, 0.93, 0.97, "three seeds");
}

/// Scores pooled over folds: with the folds' intercepts pure noise looks worse than chance, centred scores do not.
#[test]
fn centred_scores_are_at_chance() {
    let mut g = Draw::new(8);
    let (mut plain, mut centred) = (0.0, 0.0);
    let rows: Vec<usize> = (0..40).collect();
    for round in 0..60 {
        let x = Features::new(g.normals(40 * 5), 5).unwrap();
        let y: Vec<bool> = (0..40).map(|_| g.uniform() < 0.5).collect();
        let folds = grouped_folds(&[0; 40], &rows, 10, round).unwrap();
        let out = RidgeProbe::new(&x, &folds, &[500.0]).unwrap().classify(&y).unwrap();
        plain += stratified_auroc(&out.scores, &y, &[0; 40]).unwrap().value().unwrap() / 60.0;
        centred += stratified_auroc(&out.centred, &y, &[0; 40]).unwrap().value().unwrap() / 60.0;
    }
    assert!(plain < 0.42, "{plain}");
    assert!((centred - 0.5).abs() < 0.06, "{centred}");
}
