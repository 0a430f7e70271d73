//! What seeds add to prompts.

use super::resampled::crossed;
use super::*;

#[test]
pub(super) fn t_over_effects() {
    let mut g = Draw::new(41);
    let (mut covered, mut rejected, mut sign) = (Tally::default(), Tally::default(), Tally::default());
    for _ in 0..4000 {
        let effects = g.normals(3);
        let r = seed_effects(&effects, 0.95).unwrap();
        rejected.rejects(&r);
        let shifted: Vec<f64> = effects.iter().map(|e| e + 1.0).collect();
        covered.covers(&seed_effects(&shifted, 0.95).unwrap(), 1.0);
        let p = seed_effects(&g.normals(6), 0.95).unwrap().details["p_sign"];
        sign.add(p <= 0.05);
    }
    rejected.is(0.05, "t size, three seeds");
    covered.is(0.95, "t interval, three seeds");
    sign.is(2.0 / 64.0, "sign test, six seeds");
}

/// Seeds shift all prompts alike (sd 0.05) beside prompts of sd 0.1, as training runs do: flipping prompts finds an "effect" in most
/// runs without one. The t over seeds holds its level while prompts matter less than seeds; the combination does.
#[test]
pub(super) fn prompts_alone_are_not_enough() {
    for (seeds, rounds, by_prompts, by_seeds) in [(3, 1500, 0.65, 0.0525), (10, 600, 0.42, 0.07)] {
        let mut g = Draw::new(42 + seeds as u64);
        let mut t: [Tally; 5] = Default::default();
        for round in 0..rounds {
            let (values, s, p, _) = crossed(&mut g, seeds, 200, [0.05, 0.1, 0.0]);
            let opts = options(199, round);
            t[0].rejects(&sign_flip(&values, &p, &opts).unwrap());
            let r = over_seeds_t(&values, &s, 0.95).unwrap();
            t[1].rejects(&r);
            t[2].covers(&r, 0.0);
            let r = over_seeds_and_prompts(&values, &s, &p, &opts).unwrap();
            t[3].rejects(&r);
            t[4].covers(&r, 0.0);
        }
        t[0].is(by_prompts, &format!("sign flips of prompts, {seeds} seeds"));
        t[1].is(by_seeds, &format!("t over {seeds} seeds"));
        t[2].is(1.0 - by_seeds, &format!("interval over {seeds} seeds"));
        t[3].is(0.05, &format!("combination, {seeds} seeds"));
        t[4].is(0.95, &format!("interval of the combination, {seeds} seeds"));
    }
}

/// Seeds and prompts contribute alike to the variance of the mean: each p alone sees half, so the larger of the two still rejects too
/// often. The crossed p sees both.
#[test]
pub(super) fn seeds_and_prompts_alike() {
    // Seeds, ratio of the two parts, size of the larger of two and of the largest of three.
    for (seeds, ratio, by_larger, by_all) in
        [(3, 1.0, 0.049, 0.0425), (5, 1.0, 0.0862, 0.0555), (10, 1.0, 0.1045, 0.0510), (5, 0.0, 0.05, 0.05)]
    {
        let mut g = Draw::new(43 + seeds as u64);
        let (mut larger, mut all, mut covered) = (Tally::default(), Tally::default(), Tally::default());
        let sd = 0.1 * (ratio * seeds as f64 / 60.0).sqrt();
        for round in 0..1500 {
            let (values, s, p, _) = crossed(&mut g, seeds, 60, [sd, 0.1, 0.01]);
            let r = over_seeds_and_prompts(&values, &s, &p, &options(199, round)).unwrap();
            larger.add(r.details["p_seeds"].max(r.details["p_prompts"]) <= 0.05);
            all.rejects(&r);
            covered.covers(&r, 0.0);
        }
        larger.is(by_larger, &format!("larger of two, {seeds} seeds, ratio {ratio}"));
        all.is(by_all, &format!("largest of three, {seeds} seeds, ratio {ratio}"));
        covered.between(0.93, 0.98, "its interval");
    }
}
