//! Probes, folds, permutation, survival, change points, slopes and seeds against scikit-learn, SciPy, statsmodels and lifelines
//! (`probe_golden.json`, made by `scripts/make_probe_golden.py`), and the laws that no library states.

use serde_json::Value;

use super::*;

fn golden(key: &str) -> Vec<Value> {
    let all: Value = serde_json::from_str(include_str!("probe_golden.json")).unwrap();
    match &all[key] {
        Value::Array(cases) => cases.clone(),
        one => vec![one.clone()],
    }
}

fn f(v: &Value) -> f64 {
    v.as_f64().unwrap_or_else(|| panic!("not a number: {v}"))
}

fn u(v: &Value) -> usize {
    v.as_u64().unwrap_or_else(|| panic!("not a count: {v}")) as usize
}

fn list(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(f).collect()
}

fn counts(v: &Value) -> Vec<usize> {
    v.as_array().unwrap().iter().map(u).collect()
}

fn truths(v: &Value) -> Vec<bool> {
    v.as_array().unwrap().iter().map(|b| b.as_bool().unwrap()).collect()
}

#[track_caller]
fn close(got: f64, want: f64, tol: f64, what: &str) {
    assert!((got - want).abs() <= tol * (want.abs() + 1e-3), "{what}: got {got:.15e}, want {want:.15e}");
}

#[track_caller]
fn all_close(got: &[f64], want: &[f64], tol: f64, what: &str) {
    assert!(got.len() >= want.len(), "{what}");
    let size = want.iter().fold(0.0f64, |m, v| m.max(v.abs()));
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert!((g - w).abs() <= tol * size, "{what} {i}: got {g:.15e}, want {w:.15e}");
    }
}

/// The head and the norm of a vector.
#[track_caller]
fn same_vector(got: &[f64], want: &Value, what: &str) {
    all_close(got, &list(&want["head"]), 1e-6, what);
    close(got.iter().map(|v| v * v).sum::<f64>().sqrt(), f(&want["norm"]), 1e-6, what);
}

/// The design matrix, labels and targets of the golden script.
fn design(seed: usize, n: usize, p: usize) -> (Features, Vec<bool>, Vec<f64>) {
    let mut state = seed as u64;
    let mut next = || {
        state = (state * 1_103_515_245 + 12_345) % (1 << 31);
        state as f64 / f64::from(1u32 << 30) - 1.0
    };
    let mut x: Vec<f64> = (0..n * p).map(|_| next()).collect();
    let noise: Vec<f64> = (0..n).map(|_| next()).collect();
    let (mut labels, mut targets) = (vec![], vec![]);
    for (row, e) in x.chunks_mut(p).zip(noise) {
        labels.push(row[0] + 0.5 * row[1 % p] + e > 0.1);
        targets.push(3.0 + row[0] - 0.7 * row[1 % p] + 2.0 * e);
        for (j, v) in row.iter_mut().enumerate() {
            *v = *v * [0.1, 1.0, 10.0][j % 3] + (j % 4) as f64;
        }
        if p > 3 {
            row[3] = 0.3;
        }
    }
    (Features::new(x, p).unwrap(), labels, targets)
}

fn of_case(c: &Value) -> (Features, Vec<bool>, Vec<f64>) {
    design(u(&c["seed"]), u(&c["n"]), u(&c["p"]))
}

#[test]
fn logistic_is_that_of_scikit_learn() {
    for c in golden("logistic") {
        let (x, y, _) = of_case(&c);
        let fit = logistic(&x, &y, f(&c["c"])).unwrap();
        let what = format!("n {} p {} C {}", c["n"], c["p"], c["c"]);
        same_vector(&fit.weights, &c["coef"], &what);
        close(fit.intercept, f(&c["intercept"]), 1e-6, &what);
        same_vector(&fit.decision(&x).unwrap(), &c["decision"], &what);
        assert!(fit.steps < 30, "{what}: {} steps", fit.steps);
        // Optimality, stated without any library: w = C Σ (y - σ(f)) z and Σ (y - σ(f)) = 0.
        let r: Vec<f64> = fit
            .decision(&x)
            .unwrap()
            .iter()
            .zip(&y)
            .map(|(f, y)| f64::from(u8::from(*y)) - 1.0 / (1.0 + (-f).exp()))
            .collect();
        assert!(f(&c["c"]) * r.iter().sum::<f64>().abs() < 1e-7, "{what}");
    }
}

#[test]
fn ridge_is_that_of_scikit_learn() {
    for c in golden("ridge") {
        let (x, _, t) = of_case(&c);
        let fit = ridge(&x, &t, f(&c["alpha"])).unwrap();
        same_vector(&fit.weights, &c["coef"], "coef");
        close(fit.intercept, f(&c["intercept"]), 1e-9, "intercept");
        same_vector(&fit.decision(&x).unwrap(), &c["decision"], "prediction");
    }
}

#[test]
fn study_folds_and_probe() {
    for c in golden("study_folds") {
        assert_eq!(study_folds(&counts(&c["classes"]), 5).unwrap().of(), counts(&c["folds"]));
    }
    let c = &golden("study_probe")[0];
    let (x, y, _) = of_case(c);
    let probe = study_probe(&x, &y, &[0.01, 0.1, 1.0, 10.0]).unwrap();
    close(probe.skill.mean.value().unwrap(), f(&c["mean"]), 1e-12, "mean");
    close(probe.skill.sd.unwrap(), f(&c["sd"]), 1e-12, "sd");
    assert_eq!(probe.c, f(&c["c"]));
    let folds: Vec<f64> = probe.skill.folds.iter().map(|s| s.value().unwrap()).collect();
    all_close(&folds, &list(&c["folds"]), 1e-12, "folds");
}

#[test]
fn nested_choice() {
    for c in golden("nested") {
        let (x, y, t) = of_case(&c);
        let n = y.len();
        let folds = Folds::new((0..n).map(|i| i * 7 % 5).collect(), 5).unwrap();
        let out = logistic_out_of_fold(&x, &y, &folds, &list(&c["c_grid"])).unwrap();
        assert_eq!(out.chosen, list(&c["chosen"]));
        all_close(&out.scores, &list(&c["scores"]), 1e-6, "scores");
        all_close(&out.centred, &list(&c["centred"]), 1e-6, "centred");
        let one = vec![0; n];
        close(stratified_auroc(&out.centred, &y, &one).unwrap().value().unwrap(), f(&c["pooled"]), 1e-12, "pooled");
        let fast = RidgeProbe::new(&x, &folds, &list(&c["a_grid"])).unwrap().predict(&t).unwrap();
        assert_eq!(fast.chosen, list(&c["ridge_chosen"]));
        all_close(&fast.scores, &list(&c["ridge"]), 1e-9, "ridge");
        let rho = stratified_spearman(&fast.scores, &t, &one).unwrap().value().unwrap();
        close(rho, f(&c["spearman"]), 1e-12, "spearman");
    }
}

#[test]
fn ridge_probe_refits_nothing_and_loses_nothing() {
    let (x, y, _) = design(11, 50, 70);
    let folds = grouped_folds(&[0; 50], &(0..50).map(|i| i / 2).collect::<Vec<_>>(), 4, 3).unwrap();
    let out = RidgeProbe::new(&x, &folds, &[30.0]).unwrap().classify(&y).unwrap();
    let t: Vec<f64> = y.iter().map(|l| if *l { 1.0 } else { -1.0 }).collect();
    for k in 0..4 {
        let train: Vec<usize> = (0..50).filter(|&i| folds.of()[i] != k).collect();
        let pick = |rows: &[usize]| Features::new(rows.iter().flat_map(|&i| x.row(i)).copied().collect(), 70).unwrap();
        let fit = ridge(&pick(&train), &train.iter().map(|&i| t[i]).collect::<Vec<_>>(), 30.0).unwrap();
        let test = folds.test(k);
        let got: Vec<f64> = test.iter().map(|&i| out.scores[i]).collect();
        all_close(&fit.decision(&pick(&test)).unwrap(), &got, 1e-10, "refit");
    }
}

#[test]
fn folds_keep_groups_and_balance_classes() {
    let groups: Vec<usize> = (0..240).map(|i| i * i % 97).collect();
    let classes: Vec<usize> = groups.iter().map(|g| g % 4).collect();
    let folds = grouped_folds(&classes, &groups, 5, 42).unwrap();
    assert_eq!(folds, grouped_folds(&classes, &groups, 5, 42).unwrap());
    assert_ne!(folds, grouped_folds(&classes, &groups, 5, 43).unwrap());
    for (i, g) in groups.iter().enumerate() {
        let first = groups.iter().position(|h| h == g).unwrap();
        assert_eq!(folds.of()[i], folds.of()[first], "group {g} straddles");
    }
    for c in 0..4 {
        let all = classes.iter().filter(|k| **k == c).count() as f64;
        for k in 0..5 {
            let here = folds.test(k).iter().filter(|&&i| classes[i] == c).count() as f64;
            assert!((here - all / 5.0).abs() <= 6.0, "class {c} fold {k}: {here} of {all}");
        }
    }
    // Groups of one row: as even as whole numbers allow.
    let classes: Vec<usize> = (0..103).map(|i| usize::from(i % 3 == 0)).collect();
    let folds = grouped_folds(&classes, &(0..103).collect::<Vec<_>>(), 5, 1).unwrap();
    for c in 0..2 {
        let here = |k: usize| folds.test(k).iter().filter(|&&i| classes[i] == c).count();
        let (low, high) = ((0..5).map(here).min().unwrap(), (0..5).map(here).max().unwrap());
        assert!(high - low <= 1, "class {c}: {low} to {high}");
    }
    let huge: Vec<usize> = (0..50).map(|i| if i < 46 { 0 } else { i }).collect();
    assert_eq!(grouped_folds(&[0; 50], &huge, 5, 1).unwrap().k(), 5, "no fold is empty");
}

#[test]
fn one_class_is_undefined() {
    let folds = Folds::new(vec![0, 0, 1, 1], 2).unwrap();
    let scores = [0.1, 0.2, 0.3, 0.4];
    let r = fold_auroc(&scores, &[true; 4], &folds).unwrap();
    assert!(matches!(r.mean, Skill::Undefined { .. }) && r.undefined == 2 && r.sd.is_none());
    let r = fold_auroc(&scores, &[true, false, true, true], &folds).unwrap();
    assert_eq!((r.mean.value(), r.undefined), (Some(0.0), 1));
    let s = stratified_auroc(&scores, &[true, true, false, false], &[0, 0, 1, 1]).unwrap();
    assert!(s.value().is_none() && s.or_nan().is_nan(), "classes differ by stratum only");
    assert!(serde_json::to_string(&s).unwrap().contains("\"undefined\""));
    assert!(stratified_spearman(&scores, &[1.0; 4], &[0; 4]).unwrap().value().is_none());
    let x = Features::new(scores.to_vec(), 1).unwrap();
    assert!(matches!(logistic(&x, &[false; 4], 1.0), Err(StatsError::OneClass { positive: 0, negative: 4 })));
    assert!(matches!(
        RidgeProbe::new(&x, &folds, &[1.0]).unwrap().classify(&[true; 4]),
        Err(StatsError::OneClass { .. })
    ));
}

#[test]
fn ranks_within_strata() {
    let opts = Resampling { resamples: 20_000, ..Resampling::default() };
    for c in golden("strata") {
        let (x, y, strata) = (list(&c["x"]), list(&c["y"]), counts(&c["strata"]));
        let rows: Vec<usize> = (0..x.len()).collect();
        close(stratified_spearman(&x, &y, &strata).unwrap().value().unwrap(), f(&c["rho"]), 1e-12, "rho");
        let a = stratified_auroc(&x, &truths(&c["label"]), &strata).unwrap();
        close(a.value().unwrap(), f(&c["auroc"]), 1e-12, "auroc");
        if let Some(want) = c["p"].as_f64() {
            let p = spearman(&x, &y, &strata, &rows, &opts).unwrap().p.unwrap();
            assert!((p - want).abs() < 4.0 * (want / 20_000.0).sqrt() + 1e-4, "{p} {want}");
        }
    }
}

#[test]
fn exchange_keeps_strata_and_blocks() {
    // Groups of rows (0 1) (2 3) (4 5) in stratum 0, (6) (7) (8) in stratum 1.
    let (strata, groups) = ([0, 0, 0, 0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2, 3, 4, 5]);
    let exchange = Exchange::new(&strata, &groups).unwrap();
    let labels = [10, 11, 20, 21, 30, 31, 4, 5, 6];
    let mut seen = std::collections::HashSet::new();
    for r in 0..400 {
        let y = exchange.permuted(&labels, 7, r).unwrap();
        for pair in y[..6].chunks(2) {
            assert_eq!(pair[0] + 1, pair[1], "rows of a group stay together, in order");
        }
        assert!(y[6..].iter().all(|v| *v < 10));
        seen.insert(y);
    }
    assert_eq!(seen.len(), 36, "every permutation, 3! 3!");
    assert!(matches!(Exchange::new(&[0, 1], &[0, 0]), Err(StatsError::Straddles { index: 1, .. })));
    assert!(matches!(Exchange::new(&[0, 1], &[0, 1]), Err(StatsError::TooFew { .. })));
}

#[test]
fn maximum_over_layers() {
    let (x, y, t) = design(12, 60, 30);
    let t: Vec<f64> = t.iter().enumerate().map(|(i, v)| v + 30.0 * x.row(i)[0]).collect();
    let (strata, opts) = ([0; 60], Resampling { resamples: 199, ..Resampling::default() });
    let exchange = Exchange::rows(&strata).unwrap();
    let folds = grouped_folds(&strata, &(0..60).collect::<Vec<_>>(), 5, 1).unwrap();
    let noise = design(13, 60, 30).0;
    let probes = [noise, x].map(|x| RidgeProbe::new(&x, &folds, &[30.0]).unwrap());
    let skill = |y: &[f64]| {
        let one = |p: &RidgeProbe| stratified_spearman(&p.predict(y).unwrap().centred, y, &strata).unwrap().or_nan();
        probes.iter().map(one).collect()
    };
    let r = max_statistic(&t, &exchange, &opts, skill).unwrap();
    assert_eq!(r.best, 1);
    assert!(r.p <= 0.02 && r.layers[0].p > 0.05, "{r:?}");
    assert!(r.layers.iter().all(|l| l.p_family >= l.p) && r.p == r.layers[1].p_family);
    assert_eq!(r, max_statistic(&t, &exchange, &opts, skill).unwrap(), "same seed, same bytes");
    let nan = max_statistic(&y, &exchange, &opts, |_| vec![f64::NAN]);
    assert!(matches!(nan, Err(StatsError::NotFinite { .. })));
}

#[test]
fn survival_curves_and_tests() {
    for c in golden("survival") {
        let (times, broken, first) = (list(&c["times"]), truths(&c["broken"]), truths(&c["first"]));
        let km = kaplan_meier(&times, &broken).unwrap();
        let at = |get: fn(&SurvivalStep) -> f64| km.iter().map(get).collect::<Vec<_>>();
        assert_eq!(at(|s| s.time), list(&c["km_time"]));
        all_close(&at(|s| s.survival), &list(&c["km"]), 1e-12, "survival");
        all_close(&at(|s| s.se), &list(&c["km_se"]), 1e-12, "Greenwood");
        let r = log_rank(&times, &broken, &first, &Resampling::default()).unwrap();
        close(r.details["chi2"], f(&c["chi2"]), 1e-10, "chi2");
        close(r.details["p_chi2"], f(&c["p_chi2"]), 1e-10, "p");
        close(r.estimate.unwrap(), f(&c["oe"]), 1e-10, "O - E");
        if let Some(want) = c["exact"].as_f64() {
            close(r.p.unwrap(), want, 1e-12, "exact p");
        } else {
            assert!((r.p.unwrap() - f(&c["p_chi2"])).abs() < 0.05, "random assignments near chi-squared: {r:?}");
        }
        let m = restricted_mean(&times, &broken, f(&c["tau"]), 0.95).unwrap();
        close(m.estimate.unwrap(), f(&c["rmst"]), 1e-10, "restricted mean");
    }
    // Nothing censored before tau: Student's interval of min(time, tau), Welch's of the difference.
    let (times, tau) = ([3.0, 8.0, 9.0, 14.0, 20.0, 5.0, 6.0, 20.0], 15.0);
    let broken = [true, true, true, true, false, true, true, false];
    let cut = times.map(|t: f64| t.min(tau));
    let (r, want) = (restricted_mean(&times, &broken, tau, 0.9).unwrap(), t_interval(&cut, 0.9).unwrap());
    close(r.ci.unwrap().low, want.ci.unwrap().low, 1e-10, "low");
    let first: Vec<bool> = (0..8).map(|i| i < 5).collect();
    let r = restricted_mean_difference(&times, &broken, &first, tau, 0.9).unwrap();
    let want = welch_t(&cut[..5], &cut[5..], 0.9).unwrap();
    close(r.estimate.unwrap(), want.estimate.unwrap(), 1e-10, "difference");
    close(r.p.unwrap(), want.p.unwrap(), 1e-9, "Welch");
    assert!(matches!(restricted_mean(&times, &broken, 30.0, 0.9), Err(StatsError::OutOfRange { .. })));
    let none =
        log_rank(&[5.0; 6], &[false; 6], &[true, true, true, false, false, false], &Resampling::default()).unwrap();
    assert_eq!((none.p, none.statistic), (Some(1.0), None));
    let apart = [1.0, 2.0, 3.0, 9.0, 9.0, 9.0];
    let r = log_rank(
        &apart,
        &[true, true, true, false, false, false],
        &[false, false, false, true, true, true],
        &Resampling::default(),
    );
    let r = r.unwrap();
    assert_eq!(r.p, Some(0.1), "three seeds against three cannot do better");
    assert!(r.estimate.unwrap() < 0.0, "the first group lasts longer");
}

#[test]
fn onsets() {
    let opts = Resampling { resamples: 4_999, ..Resampling::default() };
    for c in golden("change_point") {
        let r = change_point(&list(&c["values"]), u(&c["least"]), 0.05, &opts).unwrap();
        assert_eq!(r.split, u(&c["split"]));
        close(r.explained, f(&c["explained"]), 1e-10, "explained");
        close(r.before, f(&c["before"]), 1e-10, "before");
        close(r.after, f(&c["after"]), 1e-10, "after");
        assert_eq!(r.onset.is_some(), r.p <= 0.05);
        assert_eq!(r.onset.is_some(), r.interval.is_some());
        if let Some(want) = c["p"].as_f64() {
            assert!((r.p - want).abs() < 4.0 * (want / 5_000.0).sqrt() + 2e-4, "{} {want}", r.p);
        }
    }
    let step: Vec<f64> = (0..14).map(|i| if i < 6 { 1.0 } else { 4.0 }).collect();
    let r = change_point(&step, 2, 0.05, &opts).unwrap();
    assert_eq!((r.onset, r.interval.map(|i| (i.low, i.high))), (Some(6), Some((6, 6))));
    let flat = change_point(&[2.0; 9], 2, 0.05, &opts).unwrap();
    assert_eq!((flat.onset, flat.p), (None, 1.0));
    assert!(matches!(change_point(&step[..3], 2, 0.05, &opts), Err(StatsError::TooFew { need: 4, .. })));
    assert!(change_point(&step, 0, 0.05, &opts).is_err() && change_point(&step, usize::MAX, 0.05, &opts).is_err());
    assert!(matches!(change_point(&[-1e300, 1e300, 0.0, 1e300], 2, 0.05, &opts), Err(StatsError::NotFinite { .. })));
    let above = |v: f64| v > 2.0;
    assert_eq!(persistent_crossing(&[1.0, 3.0, 1.0, 3.0, 4.0, 1.0], 2, above), Some(3));
    assert_eq!(persistent_crossing(&[3.0, f64::NAN, 3.0], 2, above), None);
    assert_eq!(persistent_crossing(&[1.0, 3.0], 1, above), Some(1));
    assert_eq!(persistent_crossing(&[3.0], 0, above), None);
}

#[test]
fn slopes_and_their_cloud() {
    let c = &golden("dose")[0];
    let (dose, y, items) = (list(&c["dose"]), list(&c["y"]), counts(&c["items"]));
    let run = |kind| dose_response(&dose, &y, &items, &items, kind, &Resampling::default()).unwrap();
    let r = run(BootstrapInterval::Studentised);
    close(r.estimate.unwrap(), f(&c["slope"]), 1e-10, "slope");
    close(r.statistic.unwrap(), f(&c["t"]), 1e-10, "t over items");
    assert!(run(BootstrapInterval::Percentile).ci.unwrap().contains(f(&c["slope"])));
    let once = dose_response(
        &[1.0, 1.0],
        &[0.0, 1.0],
        &[0, 1],
        &[0, 1],
        BootstrapInterval::Percentile,
        &Resampling::default(),
    );
    assert!(matches!(once, Err(StatsError::TooFew { .. })));
    let c = &golden("cloud")[0];
    let r = against_random(f(&c["slope"]), &list(&c["random"]), 0.95).unwrap();
    close(r.details["p_rank"], f(&c["p_rank"]), 1e-12, "rank");
    close(r.p.unwrap(), f(&c["p_t"]), 1e-10, "below 199 directions the t p is primary");
    close(r.details["prediction_low"], f(&c["low"]), 1e-10, "low");
    close(r.details["prediction_high"], f(&c["high"]), 1e-10, "high");
    let many: Vec<f64> = (0..199).map(|i| (f64::from(i) - 99.0) / 100.0).collect();
    assert_eq!(against_random(-2.0, &many, 0.95).unwrap().p, Some(0.005));
    assert!(matches!(against_random(1.0, &[0.2; 60], 0.95), Err(StatsError::NoVariation { .. })));
}

#[test]
fn effects_over_seeds() {
    for c in golden("seeds") {
        let r = seed_effects(&list(&c["effects"]), 0.95).unwrap();
        close(r.p.unwrap(), f(&c["p"]), 1e-10, "p");
        all_close(&[r.ci.unwrap().low, r.ci.unwrap().high], &list(&c["ci"]), 1e-10, "interval");
        close(r.details["p_sign"], f(&c["p_sign"]), 1e-12, "sign test");
        assert_eq!(r.details["same_sign"], f(&c["same"]));
        close(r.details["sd"], f(&c["sd"]), 1e-12, "sd");
        close(r.details["sd_population"], f(&c["sd_population"]), 1e-12, "population sd");
    }
    let r = seed_effects(&[0.5; 6], 0.95).unwrap();
    assert_eq!((r.ci, r.details["all_agree"]), (None, 1.0));
    assert!(matches!(seed_effects(&[1.0], 0.95), Err(StatsError::TooFew { .. })));
}
