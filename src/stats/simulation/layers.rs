//! Families of tests: layers of a probe, tests of the battery.

use super::*;

/// Whole probe path under the null: the family-wise p over layers is uniform or larger, also with grouped rows and labels
/// that depend on the stratum.
#[test]
pub(super) fn maximum_over_layers() {
    let mut g = Draw::new(1);
    let n = 32;
    let groups: Vec<usize> = (0..n).map(|i| i / 2).collect();
    let strata: Vec<usize> = groups.iter().map(|q| q % 2).collect();
    let exchange = Exchange::new(&strata, &groups).unwrap();
    let (mut family, mut single) = (Tally::default(), Tally::default());
    for round in 0..500 {
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
        family.add(r.p <= 0.1);
        single.add(r.layers.iter().any(|l| l.p <= 0.1));
    }
    family.is(0.1, "family-wise size at 0.1");
    single.between(0.15, 0.35, "the layers' own p values are not protected");
}

/// Scores pooled over folds: with the folds' intercepts pure noise looks worse than chance, centred scores do not.
#[test]
fn centred_scores() {
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

/// Any true null rejected, eight tests: with independent p values 1 - (1 - alpha / m)^m where m nulls are left; below it with
/// dependent ones. Unadjusted p values reject one in three.
#[test]
pub(super) fn holm_family() {
    let mut g = Draw::new(51);
    let rounds = 6000;
    let mut t: [Tally; 4] = Default::default();
    for _ in 0..rounds {
        let mut p: Vec<f64> = (0..8).map(|_| g.uniform()).collect();
        t[0].add(holm(&p, 0.05).unwrap().reject.contains(&true));
        t[1].add(p.iter().any(|p| *p <= 0.05));
        // Five effects that cannot be missed leave three nulls, tested at alpha / 3 at first.
        p[3..].fill(1e-12);
        t[2].add(holm(&p, 0.05).unwrap().reject[..3].contains(&true));
        let common = g.normal();
        let p: Vec<f64> = (0..8).map(|_| dist::normal_two_sided(0.9 * common + 0.19f64.sqrt() * g.normal())).collect();
        t[3].add(holm(&p, 0.05).unwrap().reject.contains(&true));
    }
    let independent = |m: f64| 1.0 - (1.0 - 0.05 / m).powf(m);
    t[0].is(independent(8.0), "eight nulls");
    t[1].is(1.0 - 0.95f64.powi(8), "unadjusted");
    t[2].is(independent(3.0), "three nulls beside five effects");
    t[3].between(0.005, 0.05, "eight dependent nulls");
}
