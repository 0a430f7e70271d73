//! Test 6: does a direction of the residual stream steer length, more than random directions do, and more in the value arm?

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::activations::Activations;
use super::config::Arm;
use super::error::Result;
use super::power::power_of_intervals;
use super::record::{
    Cell, DosePanel, Effect, Figure, Headline, Outcome, Reference, Series, Table, TestResult, Verdict,
};
use super::rows::Paired;
use super::verdict::effect;
use super::{Context, health};
use crate::domain::{Measured, Readout};
use crate::stats::{BootstrapInterval, against_random, cluster_codes, dose_response};

pub const ID: &str = "06-steering";

/// Arms that are steered.
pub const ARMS: [Arm; 2] = [Arm::Control, Arm::Value];

/// Greedy answers under one dose.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Dosed {
    /// In units of the layer's residual RMS.
    pub dose: f64,
    /// Per item.
    pub tokens: Vec<f64>,
    pub correct: Vec<f64>,
    /// Per item, where the domain measures log-odds: those of answering true. The direction runs from false to true statements, and the
    /// untruth is the one answer to half of the items and the other to the rest.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub log_odds: Vec<f64>,
}

impl Dosed {
    /// What the dose is to change, of every item: log tokens, or log-odds of answering true.
    fn values(&self) -> Vec<f64> {
        if self.log_odds.is_empty() {
            self.tokens.iter().map(|t| t.max(1.0).ln()).collect()
        } else {
            self.log_odds.clone()
        }
    }

    /// The same in the units of tables, averaged.
    pub fn shown(&self) -> f64 {
        let v = if self.log_odds.is_empty() { &self.tokens } else { &self.log_odds };
        v.iter().sum::<f64>() / v.len().max(1) as f64
    }
}

/// `steer/<arm>-seed-<s>.json`: one arm steered along its own direction and along random ones.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Steered {
    pub arm: Arm,
    pub seed: u64,
    pub layer: usize,
    /// Residual RMS at the layer.
    pub rms: f64,
    /// Items measured on, and their canonical prompts.
    pub items: Vec<String>,
    pub canonical: Vec<String>,
    /// Own direction, every dose, 0 included, ascending. Empty where no family has both short and long answers: then there is no
    /// direction between them.
    pub doses: Vec<Dosed>,
    /// The unit vector itself.
    #[serde(default)]
    pub direction: Vec<f32>,
    /// Random directions at the ends of the accuracy-preserving range: slope each.
    pub random: Vec<f64>,
}

/// Unit vector from short to long (from false to true): per family the difference of the mean activations of items above and below the
/// family's median, weighted by family size. `None` where no family has both.
pub fn direction(a: &Activations, layer: usize, target: &[f64], families: &[usize]) -> Option<Vec<f32>> {
    let mut sum = vec![0.0f64; a.hidden];
    let mut found = false;
    for family in 0..families.iter().max().map_or(0, |m| m + 1) {
        let of: Vec<usize> = (0..a.items).filter(|&i| families[i] == family).collect();
        let mut lengths: Vec<f64> = of.iter().map(|&i| target[i]).collect();
        lengths.sort_by(f64::total_cmp);
        let (Some(&lower), Some(&upper)) =
            (lengths.get(lengths.len().saturating_sub(1) / 2), lengths.get(lengths.len() / 2))
        else {
            continue;
        };
        let median = (lower + upper) / 2.0;
        // Short is at most the median, unless that is everything.
        let all_short = lengths.last() == Some(&median);
        let is_long = |&&i: &&usize| if all_short { target[i] >= median } else { target[i] > median };
        let (long, short): (Vec<usize>, Vec<usize>) = of.iter().partition(is_long);
        if long.is_empty() || short.is_empty() {
            continue;
        }
        found = true;
        let weight = of.len() as f64;
        for (rows, sign) in [(&long, weight), (&short, -weight)] {
            for (j, x) in a.select(layer, rows).into_iter().enumerate() {
                sum[j % a.hidden] += sign * x / rows.len() as f64;
            }
        }
    }
    let norm = sum.iter().map(|x| x * x).sum::<f64>().sqrt();
    (found && norm > 0.0).then(|| sum.iter().map(|x| (x / norm) as f32).collect())
}

/// A unit vector of uniformly random direction: a function of seed and index.
pub fn random_direction(hidden: usize, seed: u64, index: u64) -> Vec<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ (index + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let mut uniform = || (f64::from(rng.next_u32()) + 0.5) / 4_294_967_296.0;
    // Box and Muller (1958).
    let x: Vec<f64> =
        (0..hidden).map(|_| (-2.0 * uniform().ln()).sqrt() * (std::f64::consts::TAU * uniform()).cos()).collect();
    let norm = x.iter().map(|v| v * v).sum::<f64>().sqrt();
    x.iter().map(|v| (v / norm) as f32).collect()
}

impl Steered {
    /// Answers at a dose.
    pub fn at(&self, dose: f64) -> Option<&Dosed> {
        self.doses.iter().find(|d| d.dose == dose)
    }

    /// Doses around 0 that keep the share `keeps` of the unsteered accuracy, without a gap.
    pub fn preserving(&self, keeps: f64) -> Vec<f64> {
        let accuracy = |d: &Dosed| d.correct.iter().sum::<f64>() / d.correct.len().max(1) as f64;
        let Some(zero) = self.doses.iter().position(|d| d.dose == 0.0) else { return Vec::new() };
        let kept = |d: &Dosed| accuracy(d) >= keeps * accuracy(&self.doses[zero]);
        let up = self.doses[zero..].iter().take_while(|d| kept(d)).count();
        let down = self.doses[..zero].iter().rev().take_while(|d| kept(d)).count();
        self.doses[zero - down..zero + up].iter().map(|d| d.dose).collect()
    }

    /// Slope on dose, item by item.
    fn slopes(&self, doses: &[f64]) -> Vec<f64> {
        let x = doses.iter().sum::<f64>() / doses.len().max(1) as f64;
        let square: f64 = doses.iter().map(|d| (d - x).powi(2)).sum();
        let measured: Vec<Vec<f64>> = doses.iter().map(|d| self.at(*d).map_or(Vec::new(), Dosed::values)).collect();
        let slope = |i: usize| {
            let of = |(d, values): (&f64, &Vec<f64>)| values.get(i).map_or(0.0, |v| (d - x) * v);
            doses.iter().zip(&measured).map(of).sum::<f64>() / square
        };
        (0..self.items.len()).map(slope).collect()
    }
}

/// Mean slope between two doses.
pub fn slope_between(low: &Dosed, high: &Dosed) -> f64 {
    let log = |d: &Dosed| d.values().iter().sum::<f64>() / d.tokens.len().max(1) as f64;
    (log(high) - log(low)) / (high.dose - low.dose)
}

/// Result from every seed's [`Steered`] of [`ARMS`].
pub fn result(steered: &[Steered], ctx: &Context) -> Result<TestResult> {
    let mut checks = ctx.training.clone();
    let of = |arm: Arm| steered.iter().filter(|s| s.arm == arm).collect::<Vec<_>>();
    let items = steered.first().map_or(0, |s| s.items.len());
    checks.push(health::at_least("items to steer", items, ctx.min_checked));
    for s in steered {
        let kept = s.preserving(ctx.rules.keeps_accuracy);
        checks.push(super::record::Health {
            name: format!("doses that keep the accuracy, {}, seed {}", ctx.measure.arm(s.arm.name()), s.seed),
            ok: kept.len() >= 2,
            fatal: true,
            by_design: false,
            detail: format!(
                "{} of {} doses keep {:.0} % of the unsteered accuracy",
                kept.len(),
                s.doses.len(),
                100.0 * ctx.rules.keeps_accuracy
            ),
        });
    }
    let random = steered.iter().filter(|s| s.arm == Arm::Value).map(|s| s.random.len()).min().unwrap_or(0);
    checks.push(health::at_least("random directions", random, ctx.rules.random_directions));
    let (verdict, effects) = match super::blocking(&checks) {
        Some(reason) => (super::not_tested(reason), Vec::new()),
        None => super::settled(decide(&of(Arm::Value), &of(Arm::Control), ctx))?,
    };
    let n_prompts = steered.first().map_or(0, |s| cluster_codes(&s.canonical).iter().max().map_or(0, |m| m + 1));
    let power = power_of_intervals(&effects, n_prompts, &ctx.statistics);
    Ok(TestResult {
        number: 6,
        id: ID.into(),
        title: "Activation steering".into(),
        question: "Does a direction inside the model carry the behaviour, more than any direction of its size would?"
            .into(),
        headline: headline(steered, &ctx.measure),
        verdict,
        effects,
        n_items: items,
        n_prompts,
        n_rows: steered.iter().map(|s| s.doses.len() * s.items.len()).sum(),
        n_seeds: ctx.seeds.len(),
        health: checks,
        figures: figures(steered, ctx),
        rows_of: None,
        power,
        key: ctx.key.clone(),
    })
}

fn decide(value: &[&Steered], control: &[&Steered], ctx: &Context) -> Result<(Verdict, Vec<Effect>)> {
    let (c, w) = (&ctx.statistics, ctx.measure.words);
    let val = w.arm("value");
    let (mut p_random, mut smallest, mut effects) = (0.0f64, 0.0f64, Vec::new());
    let mut difference = Paired::default();
    let mut slopes = [0.0f64; 2];
    for (n, (v, k)) in value.iter().zip(control).enumerate() {
        // The random cloud was measured at the ends of the range, so its competitor is too.
        let range = v.preserving(ctx.rules.keeps_accuracy);
        let (Some(low), Some(high)) = (range.first().and_then(|d| v.at(*d)), range.last().and_then(|d| v.at(*d)))
        else {
            continue;
        };
        let against = against_random(slope_between(low, high), &v.random, c.level)?;
        p_random = p_random.max(against.p.unwrap_or(1.0));
        if v.random.len() >= 199 {
            smallest = smallest.max(against.details.get("smallest_p_rank").copied().unwrap_or(0.0));
        }
        for (s, slot) in [(v, 0), (k, 1)] {
            let doses = s.preserving(ctx.rules.keeps_accuracy);
            let (mut dose, mut log, mut item, mut cluster) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
            let codes = cluster_codes(&s.canonical);
            for d in &doses {
                let Some(row) = s.at(*d) else { continue };
                for (i, v) in row.values().into_iter().enumerate() {
                    dose.push(*d);
                    log.push(v);
                    item.push(i);
                    cluster.push(codes[i]);
                }
            }
            let r = dose_response(&dose, &log, &item, &cluster, BootstrapInterval::Percentile, &c.resampling())?;
            slopes[slot] += r.estimate.unwrap_or(0.0) / value.len() as f64;
            effects.push(Effect {
                name: format!("{}, {}, seed {}", w.slope, w.arm(s.arm.name()), s.seed),
                estimate: r.estimate.unwrap_or(f64::NAN),
                low: r.ci.map_or(f64::NAN, |c| c.low),
                high: r.ci.map_or(f64::NAN, |c| c.high),
                level: c.level,
                method: r.method,
                margin: None,
            });
        }
        let (a, b) =
            (v.slopes(&v.preserving(ctx.rules.keeps_accuracy)), k.slopes(&k.preserving(ctx.rules.keeps_accuracy)));
        difference.values.extend(a.iter().zip(&b).map(|(a, b)| a - b));
        difference.clusters.extend(cluster_codes(&v.canonical));
        difference.seeds.extend(a.iter().map(|_| n));
        difference.n_seeds = n + 1;
        difference.n_prompts = difference.clusters.iter().max().map_or(0, |m| m + 1);
    }
    if smallest > ctx.smallest_useful_p() {
        return Ok((super::too_small(smallest, ctx, "random directions"), effects));
    }
    let (p_more, _) = super::verdict::permutation_p(&difference, c)?;
    let more = effect(&format!("{}, {val} − control", w.slope), &difference, c, None)?;
    let p = p_random.max(p_more);
    let found = format!(
        "one RMS along the {val} arm's direction changes {} by {:+.2} (control {:+.2}); against random directions p = {p_random:.3}, {val} − control {:+.2} ({:+.2} to {:+.2})",
        w.steered, slopes[0], slopes[1], more.estimate, more.low, more.high
    );
    let (outcome, p, would_change) = if p < c.alpha && slopes[0] > 0.0 && more.estimate > 0.0 {
        (Outcome::Supports, p, "Random directions, or control's, that steer as much.".to_string())
    } else if p_more < c.alpha && more.high < 0.0 {
        (Outcome::Refutes, p_more, format!("A steeper slope in the {val} arm than in control."))
    } else {
        (Outcome::Inconclusive, p, "More items, or a direction fitted on more items.".to_string())
    };
    effects.push(more.clone());
    let verdict =
        Verdict { outcome, p: Some(p), p_holm: None, primary: Some(more), reason: format!("{found}."), would_change };
    Ok((verdict, effects))
}

fn headline(steered: &[Steered], m: &Measured) -> Headline {
    let mut table = Table {
        title: "Greedy answers by dose, at the layer where the arm's own probe is best".into(),
        columns: ["arm", "seed", "layer", "dose (RMS)", m.words.steered_mean, "accuracy"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    let mut summary = Vec::new();
    for s in steered {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
        for d in &s.doses {
            table.rows.push(vec![
                Cell::Text(m.arm(s.arm.name()).into()),
                Cell::Text(s.seed.to_string()),
                Cell::Number(s.layer as f64),
                Cell::Number(d.dose),
                Cell::Number(d.shown()),
                Cell::Number(mean(&d.correct)),
            ]);
        }
        let zero = s.at(0.0).map_or(f64::NAN, Dosed::shown);
        let far = |d: &&Dosed| match m.readout {
            Readout::Tokens => d.shown() >= 2.0 * zero,
            Readout::LogOdds => zero <= 0.0 && d.shown() > 0.0,
        };
        let doubled = s.doses.iter().filter(|d| d.dose > 0.0).find(far).map(|d| d.dose);
        let [never, at] = m.words.steered_most;
        let doubled = doubled.map_or(never.to_string(), |d| format!("{at} {d}"));
        summary.push(format!("{} seed {}: {doubled}", m.arm(s.arm.name()), s.seed));
    }
    Headline { summary: summary.join("; "), tables: vec![table] }
}

fn figures(steered: &[Steered], ctx: &Context) -> Vec<Figure> {
    let panel = |s: &Steered| {
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len().max(1) as f64;
        let log = |d: &Dosed| mean(&d.values());
        let range = s.preserving(ctx.rules.keeps_accuracy);
        let ends = range.first().copied().zip(range.last().copied());
        let zero = s.at(0.0);
        let centre = zero.map_or(f64::NAN, log);
        let name = format!("{}, seed {}", ctx.measure.arm(s.arm.name()), s.seed);
        DosePanel {
            title: format!("{name}, block {}", s.layer),
            real: Series::new(name, s.doses.iter().map(|d| (d.dose, log(d))).collect()),
            // Random directions were measured at the ends of the range: their slopes, drawn through the undosed mean.
            random: ends.map_or(Vec::new(), |(low, high)| {
                s.random.iter().map(|k| [low, high].map(|d| (d, centre + k * d)).to_vec()).collect()
            }),
            accuracy: Series::new("accuracy", s.doses.iter().map(|d| (d.dose, mean(&d.correct))).collect()),
            random_accuracy: Vec::new(),
            preserving: ends,
            accuracy_floor: zero.map(|d| Reference {
                name: format!("{:.0} % of the undosed accuracy", 100.0 * ctx.rules.keeps_accuracy),
                y: ctx.rules.keeps_accuracy * mean(&d.correct),
            }),
        }
    };
    vec![Figure::DoseResponse {
        id: format!("{ID}-dose"),
        title: ctx.measure.words.steered_title.into(),
        x_axis: "dose, units of the layer's residual RMS".into(),
        y_axis: ctx.measure.words.steered_axis.into(),
        panels: steered.iter().map(panel).collect(),
    }]
}

#[cfg(test)]
mod tests {
    use super::super::tests::context;
    use super::*;

    /// 60 items whose log length grows by `slope` a dose; accuracy falls beyond half a dose.
    fn steered(arm: Arm, slope: f64) -> Steered {
        let dosed = |dose: f64| Dosed {
            dose,
            tokens: (0..60)
                .map(|i| (2.5 + slope * dose * (1.0 + 0.1 * (i % 7) as f64) + 0.05 * (i % 3) as f64).exp())
                .collect(),
            log_odds: Vec::new(),
            correct: (0..60).map(|i| f64::from(u8::from(dose.abs() <= 0.5 || i % 2 == 0))).collect(),
        };
        Steered {
            arm,
            seed: 42,
            layer: 1,
            rms: 1.0,
            items: (0..60).map(|i| format!("i{i}")).collect(),
            canonical: (0..60).map(|i| format!("c{i}")).collect(),
            direction: Vec::new(),
            doses: [-1.0, -0.5, 0.0, 0.5, 1.0].map(dosed).into(),
            random: (0..199).map(|i| 0.1 * (f64::from(i) * 0.7).sin()).collect(),
        }
    }

    #[test]
    fn outcomes() {
        let judge = |value, control| {
            let all = [steered(Arm::Control, control), steered(Arm::Value, value)];
            result(&all, &context(50)).unwrap().verdict
        };
        assert_eq!(judge(0.6, 0.1).outcome, Outcome::Supports);
        assert_eq!(judge(0.1, 0.6).outcome, Outcome::Refutes);
        // Steers, but no more than in control; and no more than a random direction.
        assert_eq!(judge(0.6, 0.6).outcome, Outcome::Inconclusive);
        assert_eq!(judge(0.05, 0.0).outcome, Outcome::Inconclusive);
        let nothing =
            [Arm::Control, Arm::Value].map(|a| Steered { doses: Vec::new(), random: Vec::new(), ..steered(a, 0.0) });
        assert_eq!(result(&nothing, &context(50)).unwrap().verdict.outcome, Outcome::NotTested);
    }

    #[test]
    fn doses_that_cost_accuracy_are_left_out() {
        assert_eq!(steered(Arm::Value, 0.1).preserving(0.95), [-0.5, 0.0, 0.5]);
    }

    #[test]
    fn a_direction_points_from_short_to_long_within_families() {
        // Families differ along the first axis, lengths along the second.
        let (mut data, mut lengths, mut families) = (Vec::new(), Vec::new(), Vec::new());
        for i in 0..40 {
            let (family, long) = (i % 2, i / 2 % 2);
            data.extend([5.0 * family as f32, long as f32, 0.3]);
            lengths.push(2.0 * family as f64 + long as f64);
            families.push(family);
        }
        let a = Activations { items: 40, hidden: 3, layers: vec![data], first: 0 };
        let d = direction(&a, 0, &lengths, &families).unwrap();
        assert!((d[1] - 1.0).abs() < 1e-6 && d[0].abs() < 1e-6 && d[2].abs() < 1e-6, "{d:?}");
        assert_eq!(direction(&a, 0, &[1.0; 40], &families), None);
        let v = random_direction(300, 7, 3);
        assert!((v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>() - 1.0).abs() < 1e-5);
        assert_ne!(v, random_direction(300, 7, 4));
        assert_eq!(v, random_direction(300, 7, 3));
    }
}
