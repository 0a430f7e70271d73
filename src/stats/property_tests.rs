//! Laws that hold for every input: intervals contain the estimate, exchanging labels mirrors the result, p lies in
//! [0, 1], bad input is an error. Inputs come from a seeded generator.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::*;

struct Draw(ChaCha8Rng);

impl Draw {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn below(&mut self, n: u64) -> u64 {
        self.0.next_u64() % n
    }

    /// Values with ties, or without, or tiny, or huge.
    fn values(&mut self, n: usize) -> Vec<f64> {
        let scale = [1.0, 0.37, 1e-6, 1e9][self.below(4) as usize];
        let grid = [5, 1000, 1 << 40][self.below(3) as usize];
        (0..n).map(|_| (self.below(grid) as f64 / grid as f64 - 0.4) * scale).collect()
    }
}

#[track_caller]
fn sound(r: &StatResult) {
    if let Some(p) = r.p {
        assert!((0.0..=1.0).contains(&p), "{r:?}");
    }
    if let (Some(ci), Some(e)) = (r.ci, r.estimate) {
        assert!(ci.low.is_finite() && ci.high.is_finite() && ci.contains(e), "{r:?}");
    }
    let back: StatResult = serde_json::from_str(&serde_json::to_string(r).unwrap()).unwrap();
    assert_eq!(&back, r, "survives JSON");
}

#[track_caller]
fn mirrored(r: &StatResult, s: &StatResult) {
    let near = |a: f64, b: f64| (a - b).abs() <= 1e-9 * (1.0 + a.abs().max(b.abs()));
    sound(r);
    sound(s);
    assert!(near(r.estimate.unwrap(), -s.estimate.unwrap()), "{r:?}\n{s:?}");
    if let (Some(p), Some(q)) = (r.p, s.p) {
        assert!(near(p, q), "{r:?}\n{s:?}");
    }
    if let (Some(a), Some(b)) = (r.ci, s.ci) {
        assert!(near(a.low, -b.high) && near(a.high, -b.low), "{r:?}\n{s:?}");
    }
}

#[test]
fn counts() {
    let mut g = Draw::new(1);
    for _ in 0..400 {
        let top = [4, 40, 3000][g.below(3) as usize];
        let table = PairedTable { a: g.below(top), b: g.below(top), c: g.below(top), d: g.below(top) + 1 };
        let level = [0.5, 0.9, 0.95, 0.999][g.below(4) as usize];
        let swapped = table.swapped();
        mirrored(&tango(table, level).unwrap(), &tango(swapped, level).unwrap());
        mirrored(&newcombe_paired(table, level).unwrap(), &newcombe_paired(swapped, level).unwrap());
        mirrored(
            &tost_paired_proportions(table, 0.05, 0.05).unwrap(),
            &tost_paired_proportions(swapped, 0.05, 0.05).unwrap(),
        );
        let [n1, n2] = [table.a + table.b + 1, table.c + table.d];
        mirrored(
            &two_proportion_z(table.a, n1, table.c, n2, level).unwrap(),
            &two_proportion_z(table.c, n2, table.a, n1, level).unwrap(),
        );
        sound(&agreement(table, level).unwrap());
        sound(&wilson(table.a, n1, level).unwrap());
        let f = fisher_exact(table.a, table.b, table.c, table.d).unwrap();
        sound(&f);
        let turned = fisher_exact(table.c, table.d, table.a, table.b).unwrap();
        assert!((f.p.unwrap() - turned.p.unwrap()).abs() < 1e-9, "{f:?} {turned:?}");
        let m = |b, c, v| mcnemar(b, c, v, level).unwrap();
        for v in [McNemar::Exact, McNemar::MidP, McNemar::ChiSquaredCorrected, McNemar::ChiSquared] {
            sound(&m(table.b, table.c, v));
            assert_eq!(m(table.b, table.c, v).p, m(table.c, table.b, v).p);
        }
        assert!(m(table.b, table.c, McNemar::MidP).p <= m(table.b, table.c, McNemar::Exact).p);
    }
}

#[test]
fn extreme_tables_have_intervals() {
    for t in [[0, 9, 0, 0], [0, 0, 9, 0], [5, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0], [0, 500_000_000, 499_999_000, 7]] {
        let table = PairedTable { a: t[0], b: t[1], c: t[2], d: t[3] };
        sound(&tango(table, 0.95).unwrap());
        sound(&newcombe_paired(table, 0.95).unwrap());
        sound(&agreement(table, 0.95).unwrap());
        sound(&mcnemar(t[1], t[2], McNemar::MidP, 0.95).unwrap());
        sound(&fisher_exact(t[0], t[1], t[2], t[3]).unwrap());
    }
}

#[test]
fn samples() {
    let mut g = Draw::new(2);
    let opts = Resampling { resamples: 300, ..Resampling::default() };
    for round in 0..150 {
        let n = 4 + g.below(40) as usize;
        let (x, y) = (g.values(n), g.values(n));
        let clusters: Vec<usize> = (0..n).map(|_| g.below(1 + n as u64 / 2) as usize * 17).collect();
        let d: Vec<f64> = x.iter().zip(&y).map(|(a, b)| a - b).collect();
        let minus: Vec<f64> = d.iter().map(|v| -v).collect();
        let both = |r: Result<StatResult>, s: Result<StatResult>| match (r, s) {
            (Ok(r), Ok(s)) => mirrored(&r, &s),
            (Err(_), Err(_)) => {}
            (r, s) => panic!("round {round}: {r:?} {s:?}"),
        };
        both(paired_t(&x, &y, 0.9), paired_t(&y, &x, 0.9));
        both(student_t(&x, &y, 0.9), student_t(&y, &x, 0.9));
        both(welch_t(&x, &y, 0.9), welch_t(&y, &x, 0.9));
        both(cluster_t(&d, &clusters, 0.9), cluster_t(&minus, &clusters, 0.9));
        both(tost_paired(&x, &y, -0.1, 0.1, 0.05), tost_paired(&y, &x, -0.1, 0.1, 0.05));
        both(wilcoxon(&x, &y, WilcoxonMethod::Auto), wilcoxon(&y, &x, WilcoxonMethod::Auto));
        both(sign_flip(&d, &clusters, &opts), sign_flip(&minus, &clusters, &opts));
        let u = mann_whitney(&x, &y).unwrap();
        let v = mann_whitney(&y, &x).unwrap();
        sound(&u);
        assert!((u.estimate.unwrap() + v.estimate.unwrap() - 1.0).abs() < 1e-12);
        assert!((u.p.unwrap() - v.p.unwrap()).abs() < 1e-12);
        for kind in [BootstrapInterval::Percentile, BootstrapInterval::Bca, BootstrapInterval::Studentised] {
            match cluster_bootstrap_mean(&d, &clusters, kind, &opts) {
                Ok(r) => {
                    sound(&r);
                    assert_eq!(r, cluster_bootstrap_mean(&d, &clusters, kind, &opts).unwrap(), "same seed, same bytes");
                }
                Err(e) => assert!(matches!(e, StatsError::Resampling { .. } | StatsError::TooFew { .. }), "{e}"),
            }
        }
        let seeds: Vec<usize> = (0..n).map(|i| i % 3).collect();
        for draw in [PromptDraw::Crossed, PromptDraw::Nested] {
            if let Ok(r) = hierarchical_bootstrap(&d, &seeds, &clusters, draw, true, &opts) {
                sound(&r);
            }
        }
    }
}

#[test]
fn areas() {
    let mut g = Draw::new(3);
    for _ in 0..200 {
        let n = 4 + g.below(60) as usize;
        let scores = g.values(n);
        let mut labels: Vec<bool> = (0..n).map(|_| g.below(3) == 0).collect();
        (labels[0], labels[1]) = (true, false);
        let r = auroc(&scores, &labels, 0.95).unwrap();
        sound(&r);
        let inverse: Vec<bool> = labels.iter().map(|l| !l).collect();
        let s = auroc(&scores, &inverse, 0.95).unwrap();
        assert!((r.estimate.unwrap() + s.estimate.unwrap() - 1.0).abs() < 1e-12);
        let pairs: Vec<(f64, bool)> = scores.iter().copied().zip(labels.iter().copied()).collect();
        let (mut wins, mut all) = (0.0, 0.0);
        for (a, _) in pairs.iter().filter(|p| p.1) {
            for (b, _) in pairs.iter().filter(|p| !p.1) {
                wins += if a > b {
                    1.0
                } else if a == b {
                    0.5
                } else {
                    0.0
                };
                all += 1.0;
            }
        }
        assert!((r.estimate.unwrap() - wins / all).abs() < 1e-12, "pair counting");
    }
}

#[test]
fn generic_bootstrap_of_the_mean_is_the_mean_bootstrap() {
    let values = Draw::new(4).values(30);
    let clusters: Vec<usize> = (0..30).map(|i| i / 3).collect();
    let opts = Resampling { resamples: 500, seed: 9, level: 0.9 };
    for kind in [BootstrapInterval::Percentile, BootstrapInterval::Bca] {
        let fast = cluster_bootstrap_mean(&values, &clusters, kind, &opts).unwrap();
        let slow = cluster_bootstrap(&clusters, kind, &opts, |rows| {
            rows.iter().map(|&i| values[i]).sum::<f64>() / rows.len() as f64
        })
        .unwrap();
        let (a, b) = (fast.ci.unwrap(), slow.ci.unwrap());
        assert!((a.low - b.low).abs() < 1e-12 && (a.high - b.high).abs() < 1e-12, "{a:?} {b:?}");
        assert_eq!(fast.p, slow.p);
    }
}

#[test]
fn hierarchical_bootstrap_sees_seed_and_prompt_variation() {
    // Seed effects -1, 0, 1 and a prompt effect common to all seeds, 8 prompts.
    let (mut values, mut seeds, mut prompts) = (vec![], vec![], vec![]);
    for s in 0..3usize {
        for q in 0..8usize {
            values.push(s as f64 - 1.0 + (q as f64 - 3.5));
            seeds.push(s);
            prompts.push(q);
        }
    }
    let opts = Resampling { resamples: 4000, ..Resampling::default() };
    let width = |draw, resample| {
        let ci = hierarchical_bootstrap(&values, &seeds, &prompts, draw, resample, &opts).unwrap().ci.unwrap();
        ci.high - ci.low
    };
    // Var of a mean of 8 draws of the prompt effect is 5.25 / 8; crossed draws share it, nested ones divide it by 3.
    let z = 2.0 * 1.96;
    let crossed = width(PromptDraw::Crossed, false);
    let nested = width(PromptDraw::Nested, false);
    assert!((crossed / (z * (5.25f64 / 8.0).sqrt()) - 1.0).abs() < 0.1, "{crossed}");
    assert!((nested / (z * (5.25f64 / 24.0).sqrt()) - 1.0).abs() < 0.1, "{nested}");
    let both = width(PromptDraw::Crossed, true);
    assert!((both / (z * (5.25f64 / 8.0 + 2.0 / 9.0).sqrt()) - 1.0).abs() < 0.1, "{both}");
}

#[test]
fn random_sign_flips_agree_with_all_sign_flips() {
    // 20 clusters are enumerated; the same data with tiny extra clusters goes through random patterns.
    let mut values: Vec<f64> = (0..20).map(|i| f64::from(i) - 6.0 + 0.1).collect();
    let mut clusters: Vec<usize> = (0..20).collect();
    let opts = Resampling { resamples: 20_000, ..Resampling::default() };
    let exact = sign_flip(&values, &clusters, &opts).unwrap();
    values.push(1e-9);
    clusters.push(99);
    let random = sign_flip(&values, &clusters, &opts).unwrap();
    assert!(exact.method.contains("all") && random.method.contains("random"));
    let (p, q) = (exact.p.unwrap(), random.p.unwrap());
    assert!(p > 0.005 && (p - q).abs() < 4.0 * (p / 20_000.0).sqrt(), "{p} {q}");
}

#[test]
fn designs_too_small() {
    assert_eq!(smallest_p(Design::Sign { n: 5 }), 0.0625);
    assert_eq!(smallest_p(Design::MidP { n: 5 }), 0.03125);
    assert_eq!(smallest_p(Design::SignFlip { clusters: 3, resamples: 9999 }), 0.25);
    assert_eq!(smallest_p(Design::SignFlip { clusters: 200, resamples: 9999 }), 1e-4);
    assert_eq!(smallest_p(Design::Permutation { n1: 3, n2: 3 }), 0.1);
    assert_eq!(smallest_p(Design::Sign { n: 0 }), 1.0);
    assert_eq!(groups_needed(0.05).unwrap(), 6);
    assert_eq!(groups_needed(0.05 / 8.0).unwrap(), 9);
    let r = sign_flip(&[1.0, 2.0, 3.0], &[0, 1, 2], &Resampling::default()).unwrap();
    assert_eq!(r.p, Some(0.25));
    assert_eq!(r.details["smallest_p"], 0.25);
}

#[test]
fn bad_input_is_a_typed_error() {
    let (nan, one, opts) = ([1.0, f64::NAN, 2.0], [1.0; 5], Resampling::default());
    let id = [0, 1, 2, 3, 4];
    let none: [f64; 0] = [];
    assert!(matches!(paired_t(&none, &none, 0.95), Err(StatsError::TooFew { .. })));
    assert!(matches!(paired_t(&nan, &[1.0, 2.0, 3.0], 0.95), Err(StatsError::NotFinite { index: 1, .. })));
    assert!(matches!(paired_t(&one, &none, 0.95), Err(StatsError::Length { .. })));
    assert!(matches!(paired_t(&[0.3, 0.4, 0.7], &[0.1, 0.2, 0.5], 0.95), Err(StatsError::NoVariation { .. })));
    assert!(matches!(student_t(&one, &one, 0.95), Err(StatsError::NoVariation { .. })));
    assert!(matches!(welch_t(&one, &one, 0.95), Err(StatsError::NoVariation { .. })));
    assert!(matches!(t_interval(&one, 0.95), Err(StatsError::NoVariation { value: 1.0, .. })));
    assert!(matches!(t_interval(&[1.0, 2.0], 1.0), Err(StatsError::OutOfRange { .. })));
    assert!(matches!(t_interval(&[1.0, f64::MAX, f64::MAX], 0.9), Err(StatsError::NotFinite { .. })));
    assert!(matches!(cluster_t(&one, &id, 0.95), Err(StatsError::NoVariation { .. })));
    assert!(matches!(tost_one_sample(&one, -1.0, 1.0, 0.05), Err(StatsError::NoVariation { .. })));
    assert!(matches!(tost_one_sample(&[1.0, 2.0], 1.0, -1.0, 0.05), Err(StatsError::OutOfRange { .. })));
    assert!(matches!(tost_log_ratio(&[1.0, 0.0], &[1.0, 2.0], 0.05, 0.05), Err(StatsError::OutOfRange { .. })));
    assert!(matches!(wilcoxon(&one, &one, WilcoxonMethod::Auto), Err(StatsError::NoVariation { .. })));
    assert!(matches!(wilcoxon(&[1.0, -1.0], &[0.0; 2], WilcoxonMethod::Exact), Err(StatsError::OutOfRange { .. })));
    assert!(matches!(auroc(&one, &[true; 5], 0.95), Err(StatsError::OneClass { positive: 5, negative: 0 })));
    assert_eq!(auroc(&one, &[true, true, false, false, true], 0.95).unwrap().p, Some(1.0));
    assert!(matches!(mann_whitney(&none, &one), Err(StatsError::TooFew { .. })));
    assert!(matches!(wilson(3, 2, 0.95), Err(StatsError::OutOfRange { .. })));
    assert!(matches!(wilson(0, 0, 0.95), Err(StatsError::TooFew { .. })));
    assert!(matches!(tango(PairedTable::default(), 0.95), Err(StatsError::TooFew { .. })));
    assert!(matches!(mcnemar(u64::MAX, 1, McNemar::Exact, 0.95), Err(StatsError::OutOfRange { .. })));
    assert!(matches!(fisher_exact(u64::MAX, 1, 1, 1), Err(StatsError::OutOfRange { .. })));
    assert_eq!(mcnemar(0, 0, McNemar::MidP, 0.95).unwrap().p, Some(1.0));
    assert!(matches!(holm(&[], 0.05), Err(StatsError::TooFew { .. })));
    assert!(matches!(holm(&[0.1, 1.2], 0.05), Err(StatsError::OutOfRange { .. })));
    let percentile = BootstrapInterval::Percentile;
    assert!(matches!(cluster_bootstrap_mean(&none, &[], percentile, &opts), Err(StatsError::TooFew { .. })));
    assert!(matches!(cluster_bootstrap_mean(&one, &[0; 5], percentile, &opts), Err(StatsError::TooFew { .. })));
    let flat = cluster_bootstrap_mean(&one, &id, BootstrapInterval::Bca, &opts).unwrap();
    assert_eq!(flat.ci.map(|c| (c.low, c.high)), Some((1.0, 1.0)));
    let studentised = BootstrapInterval::Studentised;
    assert!(matches!(cluster_bootstrap_mean(&one, &id, studentised, &opts), Err(StatsError::NoVariation { .. })));
    assert!(matches!(
        cluster_bootstrap(&id, percentile, &opts, |_| f64::NAN),
        Err(StatsError::Resampling { failed: 10_000, .. })
    ));
    assert!(matches!(
        hierarchical_bootstrap(&one, &[0; 5], &id, PromptDraw::Crossed, true, &opts),
        Err(StatsError::TooFew { what: "seeds", .. })
    ));
    assert_eq!(sign_flip(&[0.0; 3], &[0, 1, 2], &opts).unwrap().p, Some(1.0));
    assert!(matches!(power_paired_t(1, 0.5, 0.05), Err(StatsError::TooFew { .. })));
    assert!(matches!(power_mcnemar(50, 0.8, 0.3, McNemar::MidP, 0.05), Err(StatsError::OutOfRange { .. })));
    assert!(matches!(groups_needed(0.0), Err(StatsError::OutOfRange { .. })));
    assert!(matches!(quantile(&none, 0.5), Err(StatsError::TooFew { .. })));
}
