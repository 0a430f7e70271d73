//! Learning curves: small multiples of the metrics that say whether a training worked, a table of both ends, and what every training
//! drew and moved.

use crate::battery::record::{Cell, LinePanel, Series, Table};

use super::figures::Drawing;
use super::figures::lines;
use super::read::{Curve, Phase, Run};

/// (TRL name, title, name in the table if it is there, is a share) of the panels, in this order.
const PANELS: [(&str, &str, Option<&str>, bool); 9] = [
    ("reward", "reward", Some("reward"), false),
    ("completions/mean_length", "mean length, tokens", Some("length"), false),
    ("frac_reward_zero_std", "share of zero-variance groups", Some("zero-variance"), true),
    ("reward_std", "reward spread (sd)", None, false),
    ("completions/clipped_ratio", "share cut at the limit", None, true),
    ("entropy", "entropy, nats per token", Some("entropy"), false),
    ("kl", "KL to the anchor, nats per token", Some("KL"), false),
    ("grad_norm", "gradient norm", None, false),
    ("update_norm", "update norm", None, false),
];

/// Points in the figure of a phase, all lines and panels together: a run has a dozen such figures, and a page has a size.
const PHASE_POINTS: usize = 4000;

/// Of the arms; `None` where nothing was logged.
pub fn drawing(run: &Run) -> Option<Drawing> {
    let title = if several(&run.curves) { "Learning curves, one line a seed" } else { "Learning curves" };
    let panels = panels(&run.curves, 1);
    (!panels.is_empty()).then(|| lines::draw("learning-curves", title, &panels))
}

/// Of one training on top of the arms, its steps averaged in blocks where there are too many to draw.
pub fn of_phase(phase: &Phase) -> Option<Drawing> {
    let all: usize = panels(&phase.curves, 1).iter().flat_map(|p| &p.series).map(|s| s.points.len()).sum();
    let block = all.div_ceil(PHASE_POINTS).max(1);
    let panels = panels(&phase.curves, block);
    let mut title = format!("Learning curves of {}", phase.name);
    if block > 1 {
        title.push_str(&format!(", means of {block} steps"));
    }
    (!panels.is_empty()).then(|| lines::draw(&format!("learning-curves-{}", phase.name), &title, &panels))
}

/// Has some arm more than one seed?
fn several(curves: &[Curve]) -> bool {
    curves.iter().any(|c| curves.iter().any(|d| d.arm == c.arm && d.seed != c.seed))
}

/// One panel a metric that was logged, every point the mean of `block` logged steps.
fn panels(curves: &[Curve], block: usize) -> Vec<LinePanel> {
    let several = several(curves);
    let panel = |(name, title, _, share): &(&str, &str, Option<&str>, bool)| {
        let of = |c: &Curve| {
            let points: Vec<(f64, f64)> = c.points.iter().filter_map(|p| Some((p.step, p.get(name)?))).collect();
            let name = if several { format!("{}, seed {}", c.arm, c.seed) } else { c.arm.clone() };
            (!points.is_empty()).then(|| Series::new(name, points.chunks(block).map(centre).collect()))
        };
        LinePanel {
            x_axis: "step".to_string(),
            y_axis: title.to_string(),
            series: curves.iter().filter_map(of).collect(),
            y_range: share.then_some((0.0, 1.0)),
            ..Default::default()
        }
    };
    PANELS.iter().map(panel).filter(|p| !p.series.is_empty()).collect()
}

/// Mean of the points whose value is finite; a block without any interrupts its line.
fn centre(block: &[(f64, f64)]) -> (f64, f64) {
    let x = block.iter().map(|p| p.0).sum::<f64>() / block.len().max(1) as f64;
    (x, mean(block.iter().map(|p| p.1)))
}

/// Mean of what is finite, NaN for nothing.
fn mean(values: impl Iterator<Item = f64>) -> f64 {
    let (n, sum) = values.filter(|v| v.is_finite()).fold((0.0, 0.0), |(n, sum), v| (n + 1.0, sum + v));
    sum / n
}

/// First and last tenth of every log of an arm, averaged.
pub fn table(run: &Run) -> Table {
    let logged = |name: &str| run.curves.iter().any(|c| c.points.iter().any(|p| p.get(name).is_some()));
    let shown: Vec<(&str, &str)> =
        PANELS.iter().filter(|p| logged(p.0)).filter_map(|(name, _, short, _)| Some((*name, (*short)?))).collect();
    let mut columns: Vec<String> = ["arm", "seed", "last step"].iter().map(|c| c.to_string()).collect();
    columns.extend(shown.iter().flat_map(|(_, short)| [format!("{short}, start"), format!("{short}, end")]));
    let rows = run
        .curves
        .iter()
        .map(|c| {
            let mut row = vec![Cell::Text(c.arm.clone()), Cell::Text(c.seed.clone()), Cell::Number(last(c))];
            row.extend(shown.iter().flat_map(|(name, _)| ends(c, name)).map(Cell::Number));
            row
        })
        .collect();
    Table { title: "Training, mean of the first and of the last tenth of the logged steps".to_string(), columns, rows }
}

/// What every training saw and how far it was moved: few prompts drawn often, groups without variance or small updates say that a
/// training had little to learn from, whatever its curve looks like.
pub fn material(run: &Run) -> Table {
    let columns = [
        "training",
        "arm",
        "seed",
        "steps",
        "completions",
        "distinct prompts",
        "completions a prompt",
        "zero-variance groups, %",
        "entropy, nats a token",
        "update norm a step",
    ];
    let arms = run.curves.iter().map(|c| ("arm", c));
    let phases = run.phases.iter().flat_map(|p| p.curves.iter().map(|c| (p.name.as_str(), c)));
    let row = |(training, c): (&str, &Curve)| {
        let of = |name: &str, scale: f64| Cell::Number(scale * mean(c.points.iter().filter_map(|p| p.get(name))));
        let drawn = |f: &dyn Fn(super::read::Drawn) -> f64| Cell::Number(c.drawn.map_or(f64::NAN, f));
        vec![
            Cell::Text(training.to_string()),
            Cell::Text(c.arm.clone()),
            Cell::Text(c.seed.clone()),
            Cell::Number(last(c)),
            drawn(&|d| d.completions as f64),
            drawn(&|d| d.prompts as f64),
            drawn(&|d| d.completions as f64 / d.prompts as f64),
            of("frac_reward_zero_std", 100.0),
            of("entropy", 1.0),
            of("update_norm", 1.0),
        ]
    };
    Table {
        title: "What every training drew and moved (means over its steps)".to_string(),
        columns: columns.map(str::to_string).to_vec(),
        rows: arms.chain(phases).map(row).collect(),
    }
}

fn last(curve: &Curve) -> f64 {
    curve.points.iter().map(|p| p.step).fold(0.0, f64::max)
}

fn ends(curve: &Curve, name: &str) -> [f64; 2] {
    let values: Vec<f64> = curve.points.iter().filter_map(|p| p.get(name)).filter(|v| v.is_finite()).collect();
    let tenth = values.len().div_ceil(10);
    [mean(values[..tenth].iter().copied()), mean(values[values.len() - tenth..].iter().copied())]
}

#[cfg(test)]
mod tests {
    use super::super::read::{Drawn, Point};
    use super::*;

    #[test]
    fn a_long_phase_is_drawn_in_blocks_and_keeps_its_means() {
        let curve = |arm: &str, seed: u64| Curve {
            arm: arm.to_string(),
            seed: seed.to_string(),
            points: (1..=300)
                .map(|s| Point { step: s as f64, metrics: vec![("reward".into(), s as f64), ("kl".into(), f64::NAN)] })
                .collect(),
            drawn: Some(Drawn { completions: 300, prompts: 10 }),
        };
        let phase = |n: u64| Phase { name: "attack-none".into(), curves: (0..n).map(|s| curve("value", s)).collect() };
        let short = of_phase(&phase(1)).unwrap();
        assert_eq!((short.title.as_str(), short.csv.lines().count()), ("Learning curves of attack-none", 601));
        let long = of_phase(&phase(20)).unwrap();
        assert!(long.title.ends_with(", means of 3 steps") && long.csv.lines().count() == 4001, "{}", long.title);
        assert!(long.csv.contains("line,\"value, seed 0\",2,2,"), "{}", &long.csv[..300]);
        assert!(of_phase(&Phase { name: "x".into(), curves: Vec::new() }).is_none());
    }
}
