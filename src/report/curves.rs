//! Learning curves of the arms: small multiples of the metrics that say whether training worked, and a table of both ends.

use crate::battery::record::{Cell, LinePanel, Series, Table};

use super::figures::Drawing;
use super::figures::lines;
use super::read::{Curve, Run};

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

/// `None` where nothing was logged.
pub fn drawing(run: &Run) -> Option<Drawing> {
    let several = run.curves.iter().any(|c| run.curves.iter().any(|d| d.arm == c.arm && d.seed != c.seed));
    let panels: Vec<LinePanel> = PANELS
        .iter()
        .filter_map(|(name, title, _, share)| {
            let series: Vec<Series> = run
                .curves
                .iter()
                .filter_map(|c| {
                    let points: Vec<(f64, f64)> =
                        c.points.iter().filter_map(|p| Some((p.step, p.get(name)?))).collect();
                    let name = if several { format!("{}, seed {}", c.arm, c.seed) } else { c.arm.clone() };
                    (!points.is_empty()).then(|| Series::new(name, points))
                })
                .collect();
            let panel = LinePanel {
                x_axis: "step".to_string(),
                y_axis: title.to_string(),
                series,
                y_range: share.then_some((0.0, 1.0)),
                ..Default::default()
            };
            (!panel.series.is_empty()).then_some(panel)
        })
        .collect();
    let title = if several { "Learning curves, one line a seed" } else { "Learning curves" };
    (!panels.is_empty()).then(|| lines::draw("learning-curves", title, &panels))
}

/// First and last tenth of every log, averaged.
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
            let last = c.points.iter().map(|p| p.step).fold(0.0, f64::max);
            let mut row = vec![Cell::Text(c.arm.clone()), Cell::Text(c.seed.clone()), Cell::Number(last)];
            row.extend(shown.iter().flat_map(|(name, _)| ends(c, name)).map(Cell::Number));
            row
        })
        .collect();
    Table { title: "Training, mean of the first and of the last tenth of the logged steps".to_string(), columns, rows }
}

fn ends(curve: &Curve, name: &str) -> [f64; 2] {
    let values: Vec<f64> = curve.points.iter().filter_map(|p| p.get(name)).filter(|v| v.is_finite()).collect();
    let tenth = values.len().div_ceil(10);
    let mean = |part: &[f64]| part.iter().sum::<f64>() / part.len() as f64;
    [mean(&values[..tenth]), mean(&values[values.len() - tenth..])]
}
