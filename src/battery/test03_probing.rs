//! Test 3: is the behaviour (how long an answer will be, whether a statement is true) held before the first token? Probes of the residual stream at the last prompt position.

use std::collections::BTreeMap;

use super::activations::Activations;
use super::auroc::{self, StudyLayers};
use super::config::Arm;
use super::error::{BatteryError, Result};
use super::phases::ProbeConfig;
use super::power::power_of_intervals;
use super::record::{Decoding, Effect, Figure, LinePanel, NullBand, Outcome, Row, Series, TestResult, Verdict};
use super::trajectory::mean;
use super::{Context, health};
use crate::domain::{Readout, Words};
use crate::stats::{
    BootstrapInterval, Exchange, Features, Folds, MaxStatistic, Resampling, RidgeProbe, StatsError, cluster_bootstrap,
    cluster_codes, grouped_folds, max_statistic, stratified_spearman, t_interval,
};

pub const ID: &str = "03-probing";

/// Arms that are probed.
pub const ARMS: [Arm; 3] = [Arm::Base, Arm::Control, Arm::Value];

/// One arm and seed: its activations and the items' behaviour, in the order of the items.
pub struct Probed {
    pub arm: Arm,
    pub seed: u64,
    pub activations: Activations,
    /// What is predicted: mean log tokens over samples, or 1 for a true statement and 0 for a false one.
    pub target: Vec<f64>,
    /// What the study's probe splits at its median, the class first: tokens of the first sample, or 0 for a true statement and 1 for a
    /// false one.
    pub first: Vec<f64>,
}

/// What the study's probe splits at its median.
pub fn class_value(r: &Row, readout: Readout) -> f64 {
    match readout {
        Readout::Tokens => f64::from(r.n_tokens),
        Readout::LogOdds => f64::from(u8::from(r.truth != "true")),
    }
}

/// What all arms share: strata, groups, folds, and what the prompt alone says.
pub struct Design {
    /// Families.
    strata: Vec<usize>,
    /// Canonical prompts.
    groups: Vec<usize>,
    folds: Folds,
    prompt: Features,
    readout: Readout,
    rows: usize,
    prompts: usize,
}

impl Probed {
    /// Behaviour of `items` from the neutral rows of test 1. An item without rows is an error: a length of 0 would be invented.
    pub fn new(
        arm: Arm,
        seed: u64,
        activations: Activations,
        rows: &[Row],
        items: &[String],
        readout: Readout,
    ) -> Result<Self> {
        let mut sums: BTreeMap<&str, (f64, f64, f64)> = BTreeMap::new();
        let own = |r: &&Row| r.arm == arm.name() && r.seed == seed && r.decoding == Decoding::Sample;
        for r in rows.iter().filter(own) {
            let s = sums.entry(r.item.as_str()).or_default();
            s.0 += match readout {
                Readout::Tokens => f64::from(r.n_tokens.max(1)).ln(),
                Readout::LogOdds => 1.0 - class_value(r, readout),
            };
            s.1 += 1.0;
            if r.sample == 0 {
                s.2 = class_value(r, readout);
            }
        }
        let missing = |i: &String| {
            BatteryError::Refused(format!(
                "test 3: no sampled row of item {i} by {}, seed {seed}, in test 1",
                arm.name()
            ))
        };
        let (mut target, mut first) = (Vec::new(), Vec::new());
        for item in items {
            let &(sum, n, class) = sums.get(item.as_str()).ok_or_else(|| missing(item))?;
            target.push(sum / n);
            first.push(class);
        }
        Ok(Self { arm, seed, activations, target, first })
    }

    fn features(&self, layer: usize) -> Result<Features> {
        let all: Vec<usize> = (0..self.activations.items).collect();
        Ok(Features::new(self.activations.select(layer, &all), self.activations.hidden)?)
    }

    fn ridge(&self, design: &Design, layer: usize) -> Result<RidgeProbe> {
        let features = self.features(layer)?;
        Ok(RidgeProbe::new(&features, &design.folds, &RidgeProbe::default_grid(self.activations.hidden))?)
    }
}

impl Design {
    /// `prompts`: per item the family, the canonical prompt and the token ids of the whole prompt.
    pub fn new(prompts: &[(String, String, Vec<u32>)], readout: Readout, c: &ProbeConfig, seed: u64) -> Result<Self> {
        let strata = cluster_codes(&prompts.iter().map(|p| &p.0).collect::<Vec<_>>());
        let groups = cluster_codes(&prompts.iter().map(|p| &p.1).collect::<Vec<_>>());
        let folds = grouped_folds(&strata, &groups, c.folds, seed)?;
        let distinct = groups.iter().max().map_or(0, |m| m + 1);
        let prompt = prompt_features(prompts)?;
        Ok(Self { strata, groups, folds, prompt, readout, rows: prompts.len(), prompts: distinct })
    }

    /// What may change places under the null. Lengths belong to prompts, which are exchanged within their family. Truth is balanced within
    /// twins, which share a canonical text: whole pairs that change places would change no label, so the twins of a pair do.
    pub fn exchange(&self) -> std::result::Result<Exchange, StatsError> {
        match self.readout {
            Readout::Tokens => Exchange::new(&self.strata, &self.groups),
            Readout::LogOdds => Exchange::rows(&self.groups),
        }
    }

    /// The study's probe of everything in `probed`.
    pub fn study(&self, probed: &[Probed], c: &ProbeConfig) -> Result<Vec<StudyLayers>> {
        let twins = (self.readout == Readout::LogOdds).then(|| self.exchange()).transpose()?;
        auroc::measure(probed, &self.strata, &self.groups, twins.as_ref(), c)
    }

    /// Rank correlation within families of out-of-fold predictions with the target.
    fn skill(&self, predicted: &[f64], target: &[f64]) -> f64 {
        stratified_spearman(predicted, target, &self.strata).map_or(f64::NAN, |s| s.or_nan())
    }

    /// The same over some rows, which resampling may repeat.
    fn skill_on(&self, rows: &[usize], predicted: &[f64], target: &[f64]) -> f64 {
        let (x, y): (Vec<f64>, Vec<f64>) = rows.iter().map(|&i| (predicted[i], target[i])).unzip();
        let strata: Vec<usize> = rows.iter().map(|&i| self.strata[i]).collect();
        stratified_spearman(&x, &y, &strata).map_or(f64::NAN, |s| s.or_nan())
    }
}

/// What a reader of the prompt could use without the model: its length, its numbers, and which tokens occur in it. Tokens in fewer
/// than five prompts, or in all, say nothing that folds could use.
fn prompt_features(prompts: &[(String, String, Vec<u32>)]) -> Result<Features> {
    let mut occurs: BTreeMap<u32, usize> = BTreeMap::new();
    for (_, _, ids) in prompts {
        let mut ids = ids.clone();
        ids.sort_unstable();
        ids.dedup();
        ids.into_iter().for_each(|i| *occurs.entry(i).or_default() += 1);
    }
    let kept: Vec<u32> = occurs.into_iter().filter(|(_, n)| (5..prompts.len()).contains(n)).map(|(i, _)| i).collect();
    let mut data = Vec::new();
    for (_, canonical, ids) in prompts {
        let numbers: Vec<f64> =
            canonical.split(|c: char| !c.is_ascii_digit()).filter_map(|w| w.parse::<f64>().ok()).collect();
        let digits = canonical.chars().filter(char::is_ascii_digit).count() as f64;
        let largest = numbers.iter().copied().fold(0.0, f64::max);
        data.extend([ids.len() as f64, canonical.chars().count() as f64, digits, numbers.len() as f64]);
        data.extend([largest.ln_1p(), numbers.iter().sum::<f64>().ln_1p()]);
        data.extend(kept.iter().map(|k| ids.iter().filter(|i| *i == k).count() as f64));
    }
    Ok(Features::new(data, 6 + kept.len())?)
}

/// Probes of one arm: the skill of their out-of-fold predictions.
struct ArmSkill {
    /// Mean over seeds, by layer.
    skill: Vec<f64>,
    best: usize,
    /// By seed: every fold predicted at the layer that is best on the other folds, so that choosing a layer costs nothing.
    nested: Vec<Vec<f64>>,
}

fn arm_skill(design: &Design, probed: &[&Probed]) -> Result<ArmSkill> {
    let layers = probed.first().map_or(0, |p| p.activations.layers.len());
    let mut predicted = Vec::new();
    for p in probed {
        let of = |l| -> Result<Vec<f64>> { Ok(p.ridge(design, l)?.predict(&p.target)?.centred) };
        predicted.push((0..layers).map(of).collect::<Result<Vec<_>>>()?);
    }
    let mean = |l: usize| {
        let per_seed = probed.iter().zip(&predicted).map(|(p, x)| design.skill(&x[l], &p.target));
        per_seed.sum::<f64>() / probed.len().max(1) as f64
    };
    let skill: Vec<f64> = (0..layers).map(mean).collect();
    let best = highest(&skill);
    let mut nested = vec![vec![0.0; design.rows]; probed.len()];
    for f in 0..design.folds.k() {
        let test = design.folds.test(f);
        let others: Vec<usize> = (0..design.rows).filter(|i| !test.contains(i)).collect();
        let elsewhere: Vec<f64> = (0..layers)
            .map(|l| probed.iter().zip(&predicted).map(|(p, x)| design.skill_on(&others, &x[l], &p.target)).sum())
            .collect();
        let layer = highest(&elsewhere);
        for (own, x) in nested.iter_mut().zip(&predicted) {
            test.iter().for_each(|&i| own[i] = x[layer][i]);
        }
    }
    Ok(ArmSkill { skill, best, nested })
}

/// First index of the largest value.
fn highest(values: &[f64]) -> usize {
    (1..values.len()).fold(0, |b, l| if values[l] > values[b] { l } else { b })
}

/// Family-wise test of an arm's skill over layers: labels change places as [`Design::exchange`] says, alike in every seed.
fn permutation(design: &Design, probed: &[&Probed], c: &ProbeConfig, seed: u64) -> Result<MaxStatistic> {
    let layers = probed.first().map_or(0, |p| p.activations.layers.len());
    let ridges: Vec<Vec<RidgeProbe>> =
        probed.iter().map(|p| (0..layers).map(|l| p.ridge(design, l)).collect()).collect::<Result<_>>()?;
    let exchange = design.exchange()?;
    let opts = Resampling { resamples: c.permutations, seed, level: 0.95 };
    let order: Vec<usize> = (0..design.rows).collect();
    let skill = |order: &[usize]| {
        let by_seed: Vec<Vec<f64>> = probed
            .iter()
            .zip(&ridges)
            .map(|(p, ridges)| {
                let y: Vec<f64> = order.iter().map(|&i| p.target[i]).collect();
                let one = |r: &RidgeProbe| r.predict(&y).map_or(f64::NAN, |x| design.skill(&x.centred, &y));
                ridges.iter().map(one).collect()
            })
            .collect();
        (0..layers).map(|l| by_seed.iter().map(|s| s[l]).sum::<f64>() / by_seed.len() as f64).collect()
    };
    Ok(max_statistic(&order, &exchange, &opts, skill)?)
}

/// Bootstrap over canonical prompts of a difference of skills (by seed, averaged): interval, and two-sided p of "no better" and of
/// "no worse". With several seeds each p is at least that of the t test over the per-seed differences.
fn difference(
    design: &Design,
    name: &str,
    value: impl Fn(&[usize]) -> Vec<f64>,
    other: impl Fn(&[usize]) -> Vec<f64>,
    ctx: &Context,
) -> Result<(Effect, f64, f64)> {
    let c = &ctx.statistics;
    let by_seed = |rows: &[usize]| value(rows).iter().zip(other(rows)).map(|(a, b)| a - b).collect::<Vec<f64>>();
    let all: Vec<usize> = (0..design.rows).collect();
    let over_seeds = t_interval(&by_seed(&all), c.level).ok().and_then(|t| t.p).unwrap_or(0.0);
    let mut opts = c.resampling();
    opts.resamples = opts.resamples.min(2000);
    let (mut below, mut above, mut draws) = (0usize, 0usize, 0usize);
    let r = cluster_bootstrap(&design.groups, BootstrapInterval::Percentile, &opts, |rows| {
        let d = mean(&by_seed(rows));
        draws += 1;
        // The first call is the estimate itself.
        below += usize::from(draws > 1 && (d <= 0.0 || d.is_nan()));
        above += usize::from(draws > 1 && (d >= 0.0 || d.is_nan()));
        d
    })?;
    let p = |count: usize| (2.0 * (count as f64 + 1.0) / draws as f64).min(1.0).max(over_seeds);
    let effect = Effect {
        name: name.into(),
        estimate: r.estimate.unwrap_or(f64::NAN),
        low: r.ci.map_or(f64::NAN, |c| c.low),
        high: r.ci.map_or(f64::NAN, |c| c.high),
        level: c.level,
        method: r.method,
        margin: None,
    };
    Ok((effect, p(below), p(above)))
}

/// The layer at which an arm's probe is best.
pub fn best_layer(probed: &[Probed], design: &Design, arm: Arm) -> Result<usize> {
    let of: Vec<&Probed> = probed.iter().filter(|p| p.arm == arm).collect();
    Ok(arm_skill(design, &of)?.best)
}

/// Skill by layer, and its family-wise test, of everything in `probed` as one arm.
pub fn layers(probed: &[Probed], design: &Design, c: &ProbeConfig, seed: u64) -> Result<(Vec<f64>, MaxStatistic)> {
    let all: Vec<&Probed> = probed.iter().collect();
    Ok((arm_skill(design, &all)?.skill, permutation(design, &all, c, seed)?))
}

/// Result from the probes of [`ARMS`] over all seeds.
pub fn result(probed: &[Probed], design: &Design, c: &ProbeConfig, ctx: &Context) -> Result<TestResult> {
    let of = |arm: Arm| probed.iter().filter(|p| p.arm == arm).collect::<Vec<_>>();
    let skills: BTreeMap<Arm, ArmSkill> =
        ARMS.into_iter().map(|a| Ok((a, arm_skill(design, &of(a))?))).collect::<Result<_>>()?;
    let value = &skills[&Arm::Value];
    let w = ctx.measure.words;
    let mut checks = ctx.training.clone();
    checks.push(health::at_least("items", design.rows, ctx.min_items));
    let varies = of(Arm::Value).iter().all(|p| p.target.iter().any(|v| *v != p.target[0]));
    checks.push(super::record::Health {
        name: w.probed_varies.into(),
        ok: varies && value.skill.iter().all(|s| s.is_finite()),
        fatal: true,
        by_design: false,
        detail: match (varies, ctx.measure.readout) {
            (true, Readout::Tokens) => "within families",
            (true, Readout::LogOdds) => "within topics",
            (false, Readout::Tokens) => "every item has the same mean length: nothing to predict",
            (false, Readout::LogOdds) => "every statement has the same truth: nothing to predict",
        }
        .into(),
    });
    let mut band = None;
    let mut judge = || {
        let max = permutation(design, &of(Arm::Value), c, ctx.statistics.seed)?;
        band = Some(max.chance_95);
        decide(probed, design, &skills, &max, ctx)
    };
    let (verdict, effects) = match super::blocking(&checks) {
        Some(reason) => (super::not_tested(reason), Vec::new()),
        None => super::settled(judge())?,
    };
    let power = power_of_intervals(&effects, design.prompts, &ctx.statistics);
    let study = design.study(probed, c)?;
    let result = TestResult {
        number: 3,
        id: ID.into(),
        title: "Residual-stream probing".into(),
        question: w.probed_question.into(),
        headline: auroc::headline(&study, w),
        verdict,
        effects,
        n_items: design.rows,
        n_prompts: design.prompts,
        n_rows: probed.len() * design.rows,
        n_seeds: ctx.seeds.len(),
        health: checks,
        figures: vec![auroc::figure(&study, probed, design.exchange().ok().as_ref(), c, w), figure(&skills, band, w)],
        rows_of: Some("01-generalisation".into()),
        power,
        key: ctx.key.clone(),
    };
    Ok(result)
}

fn decide(
    probed: &[Probed],
    design: &Design,
    skills: &BTreeMap<Arm, ArmSkill>,
    max: &MaxStatistic,
    ctx: &Context,
) -> Result<(Verdict, Vec<Effect>)> {
    let c = &ctx.statistics;
    let of = |arm: Arm| probed.iter().filter(move |p| p.arm == arm);
    // Skill of stored predictions on resampled rows, each arm at the layer that is best on the other folds.
    let at = |arm: Arm| {
        move |rows: &[usize]| {
            let per_seed = of(arm).zip(&skills[&arm].nested);
            per_seed.map(|(p, x)| design.skill_on(rows, x, &p.target)).collect::<Vec<f64>>()
        }
    };
    let mut reader = Vec::new();
    for p in of(Arm::Value) {
        let probe = RidgeProbe::new(&design.prompt, &design.folds, &RidgeProbe::default_grid(design.prompt.cols()))?;
        reader.push((probe.predict(&p.target)?.centred, &p.target));
    }
    let prompt_skill = |rows: &[usize]| {
        // Features without any relation to length have no rank correlation to take away.
        let skill = |x: &[f64], y: &[f64]| Some(design.skill_on(rows, x, y)).filter(|s| s.is_finite()).unwrap_or(0.0);
        reader.iter().map(|(x, y)| skill(x, y)).collect::<Vec<f64>>()
    };
    let (val, families) = (ctx.measure.arm("value"), ctx.measure.words.families);
    let mut contrasts = Vec::new();
    for arm in [Arm::Base, Arm::Control] {
        let name = format!("probe skill, {val} − {}", arm.name());
        contrasts.push(difference(design, &name, at(Arm::Value), at(arm), ctx)?);
    }
    let name = format!("probe skill, {val} − prompt features");
    contrasts.push(difference(design, &name, at(Arm::Value), prompt_skill, ctx)?);
    let none = |_: &[usize]| vec![0.0; ctx.seeds.len()];
    let name = format!("probe skill of {val} (rank correlation within {families})");
    let (primary, ..) = difference(design, &name, at(Arm::Value), none, ctx)?;
    if max.smallest_p > ctx.smallest_useful_p() {
        return Ok((super::too_small(max.smallest_p, ctx, "permutations"), Vec::new()));
    }
    // Every comparison must hold: the largest p counts.
    let p = contrasts.iter().map(|c| c.1).fold(max.p, f64::max);
    let found = format!(
        "the {val} arm's probe (best at block {}, chosen out of fold) {} within {families} with correlation {:.2} (family-wise p = {:.3}); beyond base {:+.2}, beyond control {:+.2}, beyond the prompt's features {:+.2}",
        skills[&Arm::Value].best,
        ctx.measure.words.probed_found,
        primary.estimate,
        max.p,
        contrasts[0].0.estimate,
        contrasts[1].0.estimate,
        contrasts[2].0.estimate
    );
    // A demonstrated reverse: base and control hold more than the value arm.
    let p_less = contrasts[..2].iter().map(|c| c.2).fold(0.0, f64::max);
    let (outcome, would_change) = if p < c.alpha {
        (Outcome::Supports, "Base, control or the prompt's features predicting as well.".to_string())
    } else if p_less < c.alpha {
        (Outcome::Refutes, format!("Probes of the {val} arm that exceed those of base and control."))
    } else {
        (Outcome::Inconclusive, ctx.measure.words.probed_more.to_string())
    };
    let p = if outcome == Outcome::Refutes { p_less } else { p };
    let mut effects: Vec<Effect> = contrasts.into_iter().map(|c| c.0).collect();
    effects.push(primary.clone());
    let verdict = Verdict {
        outcome,
        p: Some(p),
        p_holm: None,
        primary: Some(primary),
        reason: format!("{found}."),
        would_change,
    };
    Ok((verdict, effects))
}

fn figure(skills: &BTreeMap<Arm, ArmSkill>, chance: Option<f64>, w: &Words) -> Figure {
    let line = |(arm, s): (&Arm, &ArmSkill)| {
        Series::new(w.arm(arm.name()), s.skill.iter().enumerate().map(|(l, v)| (l as f64, *v)).collect())
    };
    let layers = skills.values().map(|s| s.skill.len()).max().unwrap_or(0);
    let null = chance.map(|high| NullBand {
        name: "95 % of the best layer under permuted items".into(),
        points: (0..layers).map(|l| (l as f64, -high, high)).collect(),
    });
    let panel = LinePanel {
        x_axis: "block".into(),
        y_axis: "out-of-fold rank correlation".into(),
        series: skills.iter().map(line).collect(),
        null,
        ..LinePanel::default()
    };
    Figure::Lines {
        id: format!("{ID}-layers"),
        title: format!("Probe skill by layer: rank correlation with {} within {}", w.probed, w.families),
        panels: vec![panel],
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::context;
    use super::*;

    /// Uniform in [-1, 1), by hashing.
    fn noise(i: u64) -> f64 {
        let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// 120 items of two families. The length has a hidden part, which block 1 of an arm shows with strength `shows`, and, with strength
    /// `prompt`, a part that the prompt's length tells.
    fn probed(arm: Arm, shows: f64, prompt: f64) -> Probed {
        let n = 120u64;
        let hidden_part = |i: u64| noise(i + 1000);
        let target: Vec<f64> =
            (0..n).map(|i| (i % 2) as f64 + hidden_part(i) + prompt * (i % 12) as f64 + 0.1 * noise(i + 77)).collect();
        let layer = |l: u64| {
            let row = |i: u64| {
                let mut x: Vec<f32> =
                    (0..6).map(|j| noise(i * 64 + j * 7 + l * 100_003 + arm as u64 * 31) as f32).collect();
                if l == 1 {
                    x[2] += (shows * hidden_part(i) * 5.0) as f32;
                }
                x
            };
            (0..n).flat_map(row).collect::<Vec<f32>>()
        };
        let activations = Activations { items: n as usize, hidden: 6, layers: vec![layer(0), layer(1)], first: 0 };
        let first = target.iter().map(|l| l.exp().round()).collect();
        Probed { arm, seed: 42, activations, target, first }
    }

    fn judge(shows: [f64; 3], prompt: f64) -> (Verdict, TestResult) {
        let prompts: Vec<(String, String, Vec<u32>)> =
            (0..120usize).map(|i| (format!("family {}", i % 2), format!("item {i}"), vec![1; 5 + i % 12])).collect();
        let c = ProbeConfig { permutations: 199, ..ProbeConfig::default() };
        let design = Design::new(&prompts, Readout::Tokens, &c, 0).unwrap();
        let all: Vec<Probed> = ARMS.into_iter().zip(shows).map(|(a, s)| probed(a, s, prompt)).collect();
        let mut ctx = context(100);
        ctx.statistics.resamples = 499;
        let r = result(&all, &design, &c, &ctx).unwrap();
        assert!(best_layer(&all, &design, Arm::Value).unwrap() == 1 || shows[2] < 1.0);
        (r.verdict.clone(), r)
    }

    #[test]
    fn outcomes() {
        // Base, control, value.
        let (v, r) = judge([0.0, 0.0, 1.0], 0.0);
        assert_eq!(v.outcome, Outcome::Supports, "{}", v.reason);
        assert!(r.headline.summary.contains("layer 1"), "{}", r.headline.summary);
        let (v, _) = judge([1.0, 1.0, 1.0], 0.0);
        assert_eq!(v.outcome, Outcome::Inconclusive, "{}", v.reason);
        let (v, _) = judge([1.0, 1.0, 0.0], 0.0);
        assert_eq!(v.outcome, Outcome::Refutes, "{}", v.reason);
        let (v, _) = judge([0.0, 0.0, 0.0], 0.0);
        assert_eq!(v.outcome, Outcome::Inconclusive, "{}", v.reason);
        // What the prompt's length tells is no skill of the stream.
        let (v, _) = judge([0.0, 0.0, 0.3], 5.0);
        assert_eq!(v.outcome, Outcome::Inconclusive, "{}", v.reason);
    }

    /// A true statement and its false twin share a canonical text: pairs that change places as they are would leave every label where it
    /// is, and no probe could ever be told from chance.
    #[test]
    fn twins_change_places_within_their_pair() {
        let prompts: Vec<(String, String, Vec<u32>)> =
            (0..120usize).map(|i| (format!("topic {}", i / 2 % 2), format!("twins {}", i / 2), vec![1; 9])).collect();
        let c = ProbeConfig { permutations: 199, ..ProbeConfig::default() };
        let design = Design::new(&prompts, Readout::LogOdds, &c, 0).unwrap();
        let p = |shows: f32| {
            let target: Vec<f64> = (0..120).map(|i| f64::from(u8::from(i % 2 == 0))).collect();
            let mut all =
                Probed { first: target.iter().map(|t| 1.0 - t).collect(), target, ..probed(Arm::Value, 0.0, 0.0) };
            let hidden = all.activations.hidden;
            for (i, t) in all.target.iter().enumerate() {
                all.activations.layers[1][i * hidden + 2] += shows * *t as f32;
            }
            layers(&[all], &design, &c, 0).unwrap().1.p
        };
        assert_eq!(p(3.0), 1.0 / 200.0);
        assert!(p(0.0) > 0.05);
        assert!(design.exchange().unwrap().groups() == 120);
    }

    #[test]
    fn one_length_for_all_is_not_tested_and_undefined() {
        let prompts: Vec<(String, String, Vec<u32>)> =
            (0..120usize).map(|i| (format!("family {}", i % 2), format!("item {i}"), vec![1; 5 + i % 12])).collect();
        let c = ProbeConfig { permutations: 99, ..ProbeConfig::default() };
        let design = Design::new(&prompts, Readout::Tokens, &c, 0).unwrap();
        let all: Vec<Probed> = ARMS
            .into_iter()
            .map(|a| Probed { target: vec![2.0; 120], first: vec![7.0; 120], ..probed(a, 1.0, 0.0) })
            .collect();
        let r = result(&all, &design, &c, &context(100)).unwrap();
        assert_eq!(r.verdict.outcome, Outcome::NotTested);
        assert!(r.headline.summary.contains("undefined"), "{}", r.headline.summary);
    }
}
