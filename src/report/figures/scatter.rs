//! One point per item.

use crate::battery::record::Series;

use super::super::csv::{self, Csv};
use super::super::number;
use super::super::palette;
use super::super::svg::Svg;
use super::{Drawing, frame};

/// Points drawn of each series; the CSV has all.
const MAX_POINTS: usize = 1000;

/// `axes` are the titles of x and y.
pub fn draw(id: &str, title: &str, axes: [&str; 2], series: &[Series], log: bool) -> Drawing {
    let mut data = Csv::new(&["series", axes[0], axes[1]]);
    for s in series {
        for (x, y) in &s.points {
            data.row([csv::field(&s.name), csv::value(*x), csv::value(*y)]);
        }
    }
    let mut note = String::from("One point per item.");
    if let Some(most) = series.iter().map(|s| s.points.len()).max().filter(|n| *n > MAX_POINTS) {
        note.push_str(&format!(" Evenly thinned for drawing from {} points; the CSV has all.", number::count(most)));
    }
    let same = same_quantity(axes[0], axes[1]);
    if same {
        note.push_str(" Dashed: both equal.");
    }
    if log {
        note.push_str(" Both axes are logarithmic.");
        let lost = series.iter().flat_map(|s| &s.points).filter(|p| p.0 <= 0.0 || p.1 <= 0.0).count();
        if lost > 0 {
            note.push_str(&format!(" Not shown: {} at or below 0.", number::plural(lost, "point", "points")));
        }
    }
    Drawing::new(id, title, &note, data.finish(), |width| render(width, axes, series, same, log))
}

/// Do both axes measure the same thing (their titles agree up to a comma or bracket)?
fn same_quantity(x: &str, y: &str) -> bool {
    let head = |t: &str| t.split([',', '(']).next().unwrap_or_default().trim().to_lowercase();
    x != y && head(x) == head(y)
}

fn render(width: f64, axes: [&str; 2], series: &[Series], same: bool, log: bool) -> (Svg, f64) {
    let mut s = Svg::new(width);
    let points = || series.iter().flat_map(|s| &s.points);
    let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = points().copied().unzip();
    if same {
        xs.extend_from_slice(&ys);
        ys.clone_from(&xs);
    }
    // one panel a series, all with the same axes: nothing is hidden behind another
    let per_row = if width > 600.0 { series.len().clamp(2, 3) } else { 1 };
    let gap = 22.0;
    let column = (width - gap * (per_row as f64 - 1.0)) / per_row as f64;
    let mut y = 0.0;
    for (r, row) in series.chunks(per_row).enumerate() {
        let mut below = y;
        for (i, sr) in row.iter().enumerate() {
            let style = palette::style(&sr.name, r * per_row + i);
            let x = i as f64 * (column + gap);
            let f = frame::draw(
                &mut s,
                &frame::Spec {
                    title: &sr.name,
                    x_title: axes[0],
                    y_title: axes[1],
                    x: (x, x + column),
                    top: y,
                    height: (0.8 * column).min(260.0),
                    xs: xs.clone(),
                    ys: ys.clone(),
                    log_x: log,
                    log_y: log,
                    round: false,
                    events: &[],
                    lanes: 0,
                },
            );
            if same {
                let (low, high) = (f.x.low.max(f.y.low), f.x.high.min(f.y.high));
                let end = |v: f64| (f.x.at(v), f.y.at(v));
                s.line(end(low), end(high), "rf");
            }
            let step = sr.points.len().div_ceil(MAX_POINTS).max(1);
            for (px, py) in sr.points.iter().step_by(step) {
                s.marker(style.marker, (f.x.at(*px), f.y.at(*py)), 3.2, &format!("pt f{}", style.slot));
            }
            below = below.max(f.below);
        }
        y = below + 14.0;
    }
    (s, y - 6.0)
}
