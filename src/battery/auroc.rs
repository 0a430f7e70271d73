//! The study's probe, layer by layer: AUROC of short against long answers, and what it would reach if nothing but the family of the
//! task told lengths apart.

use rayon::prelude::*;

use super::config::Arm;
use super::control_task;
use super::error::Result;
use super::phases::ProbeConfig;
use super::record::{Cell, Figure, Headline, LinePanel, NullBand, Reference, Series, Table};
use super::test03_probing::{ID, Probed};
use crate::domain::Words;
use crate::stats::{Exchange, Features, RidgeProbe, StatsError, fold_auroc, quantile, study_folds, study_probe};

/// Permutations of the band: it is drawn, and no verdict rests on it.
const PERMUTATIONS: u64 = 99;

/// The study's probe of one arm and seed.
pub struct StudyLayers {
    pub arm: Arm,
    pub seed: u64,
    /// Short = at most the median length of the first samples.
    pub short: Vec<bool>,
    pub layers: Vec<StudyLayer>,
}

/// NaN where undefined: one class only is never 0.5.
pub struct StudyLayer {
    pub auroc: f64,
    /// Over folds.
    pub sd: f64,
    /// The C with the best mean, chosen on the very folds that are reported.
    pub c: f64,
    /// AUROC of the control task.
    pub control: f64,
}

/// Fits the probe to every arm, seed and layer. `strata` are families, `groups` canonical prompts, `twins` what changes places in a group.
pub fn measure(
    probed: &[Probed],
    strata: &[usize],
    groups: &[usize],
    twins: Option<&Exchange>,
    c: &ProbeConfig,
) -> Result<Vec<StudyLayers>> {
    let undefined = || StudyLayer { auroc: f64::NAN, sd: f64::NAN, c: f64::NAN, control: f64::NAN };
    let mut out = Vec::new();
    for p in probed {
        let median = quantile(&p.first, 0.5)?;
        let short: Vec<bool> = p.first.iter().map(|t| *t <= median).collect();
        let layer = |l: usize| -> Result<StudyLayer> {
            if short.iter().all(|s| *s == short[0]) {
                return Ok(undefined());
            }
            let features = features(p, l)?;
            // Too few of one class for five folds is undefined as well.
            Ok(study_probe(&features, &short, &c.c).map_or_else(
                |_| undefined(),
                |found| StudyLayer {
                    auroc: found.skill.mean.or_nan(),
                    sd: found.skill.sd.unwrap_or(f64::NAN),
                    c: found.c,
                    control: control_task::auroc(&features, &short, strata, groups, twins, found.c),
                },
            ))
        };
        let layers = (0..p.activations.layers.len()).into_par_iter().map(layer).collect::<Result<_>>()?;
        out.push(StudyLayers { arm: p.arm, seed: p.seed, short, layers });
    }
    Ok(out)
}

/// The study's probe: short = at most the median length, AUROC by layer, mean over 5 folds, best C kept; and its control task.
pub fn headline(study: &[StudyLayers], w: &Words) -> Headline {
    let share = format!("share {}", w.class);
    let columns = ["arm", "seed", "layer", "AUROC", "sd over folds", "C", &share];
    let mut table = Table {
        title: format!("AUROC of {} ({})", w.classes, w.label),
        columns: columns.map(String::from).to_vec(),
        rows: Vec::new(),
    };
    let mut summary = Vec::new();
    for s in study {
        let short = s.short.iter().filter(|l| **l).count();
        let mut best: Option<(usize, f64)> = None;
        for (layer, found) in s.layers.iter().enumerate() {
            let number = |x: f64| if x.is_finite() { Cell::Number(x) } else { Cell::Text("undefined".into()) };
            if found.auroc.is_finite() && best.is_none_or(|(_, a)| found.auroc > a) {
                best = Some((layer, found.auroc));
            }
            table.rows.push(vec![
                Cell::Text(w.arm(s.arm.name()).into()),
                Cell::Text(s.seed.to_string()),
                Cell::Number(layer as f64),
                number(found.auroc),
                number(found.sd),
                number(found.c),
                Cell::Number(short as f64 / s.short.len().max(1) as f64),
            ]);
        }
        summary.push(match best {
            Some((layer, auroc)) => format!("{} seed {}: {auroc:.3} at layer {layer}", w.arm(s.arm.name()), s.seed),
            None => format!("{} seed {}: undefined (one class)", w.arm(s.arm.name()), s.seed),
        });
    }
    let tables = vec![table, control_task::table(study, w)];
    Headline { summary: format!("Best AUROC — {}", summary.join("; ")), tables }
}

fn features(p: &Probed, layer: usize) -> Result<Features> {
    let all: Vec<usize> = (0..p.activations.items).collect();
    Ok(Features::new(p.activations.select(layer, &all), p.activations.hidden)?)
}

/// What labels that change places as `exchange` allows give: 5 % quantile of the worst layer, 95 % of the best.
///
/// On the study's own folds, the best penalty taken as the study takes the best C. Ridge stands in for the logistic probe, at the
/// penalty that is the same to second order (α = 4/C): refitting that one a hundred times a layer would take minutes.
fn chance(
    p: &Probed,
    short: &[bool],
    exchange: &Exchange,
    c: &ProbeConfig,
) -> std::result::Result<Vec<(f64, f64)>, StatsError> {
    let classes: Vec<usize> = short.iter().map(|l| usize::from(*l)).collect();
    let folds = study_folds(&classes, 5)?;
    let all: Vec<usize> = (0..p.activations.items).collect();
    let layers: Vec<Vec<RidgeProbe>> = (0..p.activations.layers.len())
        .into_par_iter()
        .map(|l| {
            let features = Features::new(p.activations.select(l, &all), p.activations.hidden)?;
            c.c.iter().map(|c| RidgeProbe::new(&features, &folds, &[4.0 / c])).collect()
        })
        .collect::<std::result::Result<_, _>>()?;
    let ends = |r: u64| {
        let labels = exchange.permuted(short, p.seed, r)?;
        let mut ends = (f64::INFINITY, f64::NEG_INFINITY);
        for probes in &layers {
            let mut best = f64::NEG_INFINITY;
            for probe in probes {
                let skill = fold_auroc(&probe.classify(&labels)?.scores, &labels, &folds)?;
                best = skill.mean.value().map_or(best, |v| best.max(v));
            }
            ends = (best.min(ends.0), best.max(ends.1));
        }
        Ok(ends)
    };
    (0..PERMUTATIONS).into_par_iter().map(ends).collect()
}

/// AUROC by layer, one panel an arm, one line a seed, before its band of chance (over the seeds of the arm).
pub fn figure(
    study: &[StudyLayers],
    probed: &[Probed],
    exchange: Option<&Exchange>,
    c: &ProbeConfig,
    w: &Words,
) -> Figure {
    let mut arms: Vec<Arm> = study.iter().map(|s| s.arm).collect();
    arms.sort_unstable();
    arms.dedup();
    let panel = |arm: Arm| {
        let of = || study.iter().zip(probed).filter(move |(s, _)| s.arm == arm);
        // What is undefined is left out.
        let line = |s: &StudyLayers| {
            let points = s.layers.iter().enumerate().map(|(l, f)| (l as f64, f.auroc));
            points.filter(|p| p.1.is_finite()).collect()
        };
        // Where it is undefined (one class, nothing to exchange) there is no band.
        let drawn: Vec<(f64, f64)> = exchange
            .into_iter()
            .flat_map(|e| of().filter_map(move |(s, p)| chance(p, &s.short, e, c).ok()))
            .flatten()
            .filter(|(low, high)| low.is_finite() && high.is_finite())
            .collect();
        let (low, high): (Vec<f64>, Vec<f64>) = drawn.into_iter().unzip();
        let band = quantile(&low, 0.05).ok().zip(quantile(&high, 0.95).ok());
        let layers = of().map(|(s, _)| s.layers.len()).max().unwrap_or(0);
        LinePanel {
            title: w.arm(arm.name()).into(),
            x_axis: "block".into(),
            y_axis: format!("AUROC, {}", w.classes_axis),
            series: of()
                .map(|(s, _)| Series::new(format!("{}, seed {}", w.arm(arm.name()), s.seed), line(s)))
                .collect(),
            references: vec![Reference { name: "chance".into(), y: 0.5 }],
            null: band.map(|(low, high)| NullBand {
                name: format!("labels permuted within {}: 5 % of the worst block to 95 % of the best", w.permuted),
                points: (0..layers).map(|l| (l as f64, low, high)).collect(),
            }),
            ..LinePanel::default()
        }
    };
    Figure::Lines {
        id: format!("{ID}-auroc"),
        title: format!("AUROC by layer (the study's probe), with what {} alone would give", w.permuted),
        panels: arms.into_iter().map(panel).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::activations::Activations;
    use super::*;
    use crate::domain::measure::TOKENS;

    fn noise(i: u64) -> f64 {
        let mut z = i.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 52) as f64 - 1.0
    }

    /// Items of four families whose lengths differ; block 1 shows the length of the single answer with strength `shows`.
    fn probed(arm: Arm, items: usize, hidden: usize, layers: usize, shows: f64) -> Probed {
        let own = |i: usize| noise(i as u64 + 5_000_000);
        let tokens: Vec<f64> = (0..items).map(|i| (1.0 + 0.8 * (i % 4) as f64 + own(i)).exp().round()).collect();
        let value = |l: usize, i: usize, j: usize| {
            let family = if j == 0 { (i % 4) as f64 } else { 0.0 };
            let told = if l == 1 && j == 1 { 3.0 * shows * own(i) } else { 0.0 };
            (family + told + noise((l * 1_000 + j) as u64 * 100_003 + i as u64 + 31 * arm as u64)) as f32
        };
        let layer = |l: usize| (0..items).flat_map(|i| (0..hidden).map(move |j| value(l, i, j))).collect();
        let activations = Activations { items, hidden, layers: (0..layers).map(layer).collect(), first: 0 };
        let target = tokens.iter().map(|t| t.ln()).collect();
        Probed { arm, seed: 42, activations, target, first: tokens }
    }

    fn drawn(probed: &[Probed]) -> Vec<LinePanel> {
        let items = probed[0].first.len();
        let strata: Vec<usize> = (0..items).map(|i| i % 4).collect();
        let groups: Vec<usize> = (0..items).collect();
        let c = ProbeConfig::default();
        let study = measure(probed, &strata, &groups, None, &c).unwrap();
        let Figure::Lines { panels, .. } =
            figure(&study, probed, Exchange::new(&strata, &groups).ok().as_ref(), &c, &TOKENS)
        else {
            panic!("another kind")
        };
        panels
    }

    #[test]
    fn the_band_holds_what_families_tell_and_not_what_answers_tell() {
        let panels = drawn(&[probed(Arm::Base, 160, 6, 2, 0.0), probed(Arm::Value, 160, 6, 2, 1.0)]);
        let of = |p: &LinePanel| {
            let n = p.null.as_ref().unwrap();
            let ends = (n.points[0].1, n.points[0].2);
            (p.series[0].points.iter().map(|q| q.1).collect::<Vec<f64>>(), ends)
        };
        let (base, (low, high)) = of(&panels[0]);
        assert!(low > 0.6 && high < 0.95, "families alone tell much: {low} {high}");
        assert!(base.iter().all(|a| *a > low - 0.02 && *a < high + 0.02), "{base:?} in {low} to {high}");
        let (value, (_, high)) = of(&panels[1]);
        assert!(value[1] > high + 0.02, "{value:?} above {high}");
        assert_eq!(panels[0].references[0].y, 0.5);
    }

    #[test]
    fn one_length_has_no_auroc_and_no_band() {
        let same = Probed { first: vec![7.0; 40], ..probed(Arm::Value, 40, 3, 2, 1.0) };
        let panels = drawn(&[same]);
        assert!(panels[0].null.is_none() && panels[0].series[0].points.is_empty());
    }

    /// `cargo test --release --lib auroc::tests::cost -- --ignored --nocapture`
    #[test]
    #[ignore = "a measurement"]
    fn cost() {
        let all: Vec<Probed> =
            [Arm::Base, Arm::Control, Arm::Value].into_iter().map(|a| probed(a, 400, 128, 4, 1.0)).collect();
        let strata: Vec<usize> = (0..400).map(|i| i % 4).collect();
        let groups: Vec<usize> = (0..400).collect();
        let c = ProbeConfig::default();
        let clock = std::time::Instant::now();
        let study = measure(&all, &strata, &groups, None, &c).unwrap();
        println!("probes and control tasks: {:.1} s", clock.elapsed().as_secs_f64());
        let clock = std::time::Instant::now();
        figure(&study, &all, Exchange::new(&strata, &groups).ok().as_ref(), &c, &TOKENS);
        println!("bands: {:.1} s", clock.elapsed().as_secs_f64());
    }
}
