//! Sign flips and bootstraps. A bootstrap over few clusters or seeds covers less than it says; the figures say how much.

use super::means::clustered;
use super::*;

/// All sign patterns of given magnitudes: the size is the greatest attainable p at or below 0.05, never above.
#[test]
pub(super) fn sign_flip_patterns() {
    // Magnitudes (clusters of unequal size have unequal sums) and exact size.
    for (n, size) in [(4, 0.0), (5, 0.0), (6, 0.0312), (8, 0.0469), (10, 0.0469)] {
        let magnitudes: Vec<f64> = (0..n).map(|i| 1.0 + 0.37 * (i * i) as f64).collect();
        let rows: Vec<usize> = (0..n).flat_map(|c| vec![c; 1 + c % 3]).collect();
        let mut t = Tally::default();
        for pattern in 0..1u32 << n {
            let sign = |c: usize| if pattern >> c & 1 == 1 { 1.0 } else { -1.0 };
            let values: Vec<f64> = rows.iter().map(|&c| sign(c) * magnitudes[c] / (1 + c % 3) as f64).collect();
            let r = sign_flip(&values, &rows, &options(99, 0)).unwrap();
            t.rejects(&r);
            assert_eq!(r.notes.is_empty(), n > 5, "below six clusters the note says that 0.05 is out of reach");
        }
        exactly(t.share(), size, &format!("{n} clusters"));
    }
}

/// Random patterns, 30 clusters of unequal size. Symmetric cluster sums meet the level; strongly skewed ones nearly so.
#[test]
pub(super) fn sign_flip_draws() {
    let mut g = Draw::new(31);
    let (mut symmetric, mut skewed, mut rows_alone) = (Tally::default(), Tally::default(), Tally::default());
    for round in 0..4000 {
        let (values, codes) = clustered(&mut g, 30, true);
        symmetric.rejects(&sign_flip(&values, &codes, &options(199, round)).unwrap());
        let rows: Vec<usize> = (0..values.len()).collect();
        rows_alone.rejects(&sign_flip(&values, &rows, &options(199, round)).unwrap());
        let values: Vec<f64> = codes.iter().map(|_| g.skewed()).collect();
        skewed.rejects(&sign_flip(&values, &codes, &options(199, round)).unwrap());
    }
    symmetric.is(0.05, "symmetric clusters");
    skewed.is(0.0606, "skewed rows");
    rows_alone.between(0.1, 0.3, "clusters ignored: anti-conservative");
}

const KINDS: [BootstrapInterval; 3] =
    [BootstrapInterval::Percentile, BootstrapInterval::Bca, BootstrapInterval::Studentised];

#[test]
pub(super) fn bootstrap_of_a_mean() {
    // Clusters of unequal size, normal: coverage of percentile, BCa and studentised interval; size of the p of the first two (it is one
    // p, by tail inversion) and of the third.
    for (n, rounds, figures, sizes) in [
        (5, 2000, [0.826, 0.816, 0.926], [0.170, 0.0426]),
        (10, 2000, [0.890, 0.879, 0.937], [0.105, 0.0442]),
        (20, 2000, [0.917, 0.909, 0.936], [0.078, 0.0497]),
        (40, 1500, [0.931, 0.927, 0.943], [0.065, 0.0500]),
    ] {
        let mut g = Draw::new(32 + n as u64);
        let mut covered: [Tally; 3] = Default::default();
        let mut rejected: [Tally; 3] = Default::default();
        for round in 0..rounds {
            let (values, codes) = clustered(&mut g, n, true);
            for (k, kind) in KINDS.into_iter().enumerate() {
                let r = cluster_bootstrap_mean(&values, &codes, kind, &options(399, round)).unwrap();
                covered[k].covers(&r, 0.0);
                rejected[k].rejects(&r);
                let noted = r.notes.iter().any(|n| n.starts_with("only"));
                assert_eq!(noted, n < if k < 2 { 20 } else { 10 }, "{:?}", r.notes);
            }
        }
        for (k, kind) in KINDS.into_iter().enumerate() {
            covered[k].is(figures[k], &format!("{kind:?}, {n} clusters"));
        }
        rejected[0].is(sizes[0], &format!("percentile p, {n} clusters"));
        assert_eq!(rejected[1].hits, rejected[0].hits, "BCa p, {n} clusters");
        rejected[2].is(sizes[1], &format!("studentised p, {n} clusters"));
    }
}

#[test]
pub(super) fn bootstrap_of_skewed_clusters() {
    let mut g = Draw::new(33);
    let codes: Vec<usize> = (0..25).collect();
    let mut covered: [Tally; 3] = Default::default();
    for round in 0..1500 {
        let values: Vec<f64> = codes.iter().map(|_| g.skewed()).collect();
        for (k, kind) in KINDS.into_iter().enumerate() {
            covered[k].covers(&cluster_bootstrap_mean(&values, &codes, kind, &options(399, round)).unwrap(), 0.0);
        }
    }
    for (k, figure) in [0.907, 0.914, 0.942].into_iter().enumerate() {
        covered[k].is(figure, &format!("{:?}, 25 exponential clusters", KINDS[k]));
    }
}

/// Ratio of two sums, as token ratios are.
#[test]
pub(super) fn bootstrap_of_a_ratio() {
    let mut g = Draw::new(34);
    let codes: Vec<usize> = (0..60).map(|i| i / 2).collect();
    let mut covered: [Tally; 2] = Default::default();
    for round in 0..800 {
        let (mut x, mut y) = (vec![], vec![]);
        for c in 0..30 {
            let common = g.normal();
            for _ in 0..2 {
                x.push((0.5 * common + 0.3 * g.normal() + f64::from(c % 2)).exp());
                y.push(x[x.len() - 1] * 0.8 * (0.3 * g.normal() - 0.045).exp());
            }
        }
        for (k, kind) in [BootstrapInterval::Percentile, BootstrapInterval::Bca].into_iter().enumerate() {
            let r = cluster_bootstrap(&codes, kind, &options(199, round), |rows| {
                rows.iter().map(|&i| y[i]).sum::<f64>() / rows.iter().map(|&i| x[i]).sum::<f64>()
            });
            covered[k].covers(&r.unwrap(), 0.8);
        }
    }
    covered[0].is(0.912, "percentile");
    covered[1].is(0.890, "BCa");
}

/// 120 items with both arms, 0.55 and 0.3 refused, a judge of sensitivity 0.7 and specificity 0.9 that is alike in both arms, half of
/// the answers labelled by hand. What the judge alone shows is 0.6 of the truth.
#[test]
pub(super) fn correction_of_a_judge() {
    let mut g = Draw::new(36);
    let (mut by_arm, mut alike, mut naive) = (Tally::default(), Tally::default(), 0.0);
    let rounds = 500;
    for round in 0..rounds {
        let mut cells = Vec::new();
        for cluster in 0..120 {
            for (second, rate) in [(false, 0.55), (true, 0.3)] {
                let truth = g.uniform() < rate;
                let judged = g.uniform() < if truth { 0.7 } else { 0.1 };
                cells.push(JudgedCell {
                    second,
                    cluster,
                    judged,
                    stratum: 0,
                    hand: (g.uniform() < 0.5).then_some(truth),
                });
            }
        }
        let r = judge_corrected(&cells, &options(199, round)).unwrap();
        by_arm.covers(&r.by_arm, -0.25);
        alike.covers(&r.alike.unwrap(), -0.25);
        naive += r.by_arm.details["judged"] / rounds as f64;
    }
    assert!((naive + 0.15).abs() < 0.02, "{naive}");
    by_arm.between(0.91, 0.98, "errors by arm");
    alike.between(0.91, 0.98, "errors alike");
}

/// Seeds, prompts and noise with standard deviations `sd`, every prompt under every seed.
pub(super) fn crossed(
    g: &mut Draw,
    seeds: usize,
    prompts: usize,
    sd: [f64; 3],
) -> (Vec<f64>, Vec<usize>, Vec<usize>, Vec<f64>) {
    let of_seed: Vec<f64> = (0..seeds).map(|_| sd[0] * g.normal()).collect();
    let of_prompt: Vec<f64> = (0..prompts).map(|_| sd[1] * g.normal()).collect();
    let (mut values, mut s_codes, mut p_codes) = (vec![], vec![], vec![]);
    for (s, a) in of_seed.iter().enumerate() {
        for (p, b) in of_prompt.iter().enumerate() {
            values.push(a + b + sd[2] * g.normal());
            s_codes.push(s);
            p_codes.push(p);
        }
    }
    (values, s_codes, p_codes, of_seed)
}

/// Where seeds are all that varies, a bootstrap over three seeds covers 1 - 2 / 2³ (a little less with 199 resamples): it cannot leave
/// their range. Prompts and noise widen it. Below its level everywhere; a note gives the worse figure.
#[test]
pub(super) fn bootstrap_over_seeds() {
    for (seeds, rounds, alone, crossed_covers, nested_covers) in
        [(3, 1500, 0.727, 0.841, 0.792), (5, 1200, 0.827, 0.895, 0.850), (10, 800, 0.890, 0.929, 0.887)]
    {
        let mut g = Draw::new(35 + seeds as u64);
        let (mut c, mut n, mut a) = (Tally::default(), Tally::default(), Tally::default());
        for round in 0..rounds {
            let (values, s, p, _) = crossed(&mut g, seeds, 20, [0.3, 0.2, 0.4]);
            let opts = options(199, round);
            let r = hierarchical_bootstrap(&values, &s, &p, PromptDraw::Crossed, true, &opts).unwrap();
            c.covers(&r, 0.0);
            let about = r.details["covers_about"];
            assert!((about - alone).abs() < 0.03, "{about}");
            let said = format!("only {seeds} seeds: this 95 % interval covers about {:.0} %", 100.0 * about);
            assert!(r.notes[0].starts_with(&said), "{:?}", r.notes);
            let r = hierarchical_bootstrap(&values, &s, &p, PromptDraw::Nested, true, &opts).unwrap();
            n.covers(&r, 0.0);
            let (values, s, p, _) = crossed(&mut g, seeds, 4, [0.3, 0.0, 0.001]);
            let r = hierarchical_bootstrap(&values, &s, &p, PromptDraw::Crossed, true, &opts).unwrap();
            a.covers(&r, 0.0);
        }
        a.is(alone, &format!("{seeds} seeds alone"));
        c.is(crossed_covers, &format!("{seeds} seeds, crossed"));
        n.is(nested_covers, &format!("{seeds} seeds, nested"));
    }
}

/// Fixed seeds: about these seeds and further prompts.
#[test]
pub(super) fn bootstrap_of_fixed_seeds() {
    let mut g = Draw::new(36);
    let mut t = Tally::default();
    for round in 0..1500 {
        let (values, s, p, of_seed) = crossed(&mut g, 3, 40, [0.3, 0.2, 0.2]);
        let r = hierarchical_bootstrap(&values, &s, &p, PromptDraw::Crossed, false, &options(199, round)).unwrap();
        t.covers(&r, of_seed.iter().sum::<f64>() / 3.0);
        assert!(r.notes.is_empty(), "40 prompts are enough, the seeds are not drawn: {:?}", r.notes);
    }
    t.is(0.930, "three fixed seeds, 40 prompts");
}
