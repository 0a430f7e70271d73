//! One point per item.

use crate::battery::record::Series;

use super::super::csv::{self, Csv};
use super::super::number;
use super::super::palette;
use super::super::svg::{self, Anchor, Axis, FONT, Svg};
use super::{Drawing, x_axis};

/// Points drawn of each series; the CSV has all.
const MAX_POINTS: usize = 1000;

pub fn draw(id: &str, title: &str, x_title: &str, y_title: &str, series: &[Series]) -> Drawing {
    let mut data = Csv::new(&["series", x_title, y_title]);
    for s in series {
        for (x, y) in &s.points {
            data.row([csv::field(&s.name), csv::value(*x), csv::value(*y)]);
        }
    }
    let mut note = String::from("One point per item.");
    if let Some(most) = series.iter().map(|s| s.points.len()).max().filter(|n| *n > MAX_POINTS) {
        note.push_str(&format!(" Evenly thinned for drawing from {} points; the CSV has all.", number::count(most)));
    }
    let same = same_quantity(x_title, y_title);
    if same {
        note.push_str(" Dashed: both equal.");
    }
    Drawing::new(id, title, &note, data.finish(), |width| render(width, x_title, y_title, series, same))
}

/// Do both axes measure the same thing (their titles agree up to a comma or bracket)?
fn same_quantity(x: &str, y: &str) -> bool {
    let head = |t: &str| t.split([',', '(']).next().unwrap_or_default().trim().to_lowercase();
    x != y && head(x) == head(y)
}

fn render(width: f64, x_title: &str, y_title: &str, series: &[Series], same: bool) -> (Svg, f64) {
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
        let (top, bottom) = (y + 42.0, y + 42.0 + (0.8 * column).min(250.0));
        for (i, sr) in row.iter().enumerate() {
            let style = palette::style(&sr.name, r * per_row + i);
            let x = i as f64 * (column + gap);
            let vertical = Axis::new(ys.iter().copied(), bottom, top, 5, false);
            let labels = vertical.ticks.iter().map(|t| svg::text_width(&vertical.label(*t), FONT)).fold(0.0, f64::max);
            let (left, right) = (x + labels + 10.0, x + column);
            let horizontal = Axis::horizontal(&xs, left, right, false);
            s.marker(style.marker, (x + 5.0, y + 8.0), 4.5, &format!("f{}", style.slot));
            s.text((x + 15.0, y + 12.0), Anchor::Start, "b", &svg::wrap(&sr.name, column - 15.0, FONT, 1).join(""));
            s.text((x, y + 30.0), Anchor::Start, "mu", &svg::wrap(&format!("↑ {y_title}"), column, FONT, 1).join(""));
            for &t in &vertical.ticks {
                s.line((left, vertical.at(t)), (right, vertical.at(t)), "gr");
                s.text((left - 6.0, vertical.at(t) + 4.0), Anchor::End, "mu", &vertical.label(t));
            }
            let below = x_axis(&mut s, &horizontal, top, bottom, x_title, (left + right) / 2.0, right - left);
            y = if i + 1 == row.len() { below + 14.0 } else { y };
            s.line((left, top), (left, bottom), "ax");
            if same {
                let (low, high) = (horizontal.low.max(vertical.low), horizontal.high.min(vertical.high));
                let end = |v: f64| (horizontal.at(v), vertical.at(v));
                s.line(end(low), end(high), "ax d1");
            }
            let step = sr.points.len().div_ceil(MAX_POINTS).max(1);
            for (px, py) in sr.points.iter().step_by(step) {
                s.marker(style.marker, (horizontal.at(*px), vertical.at(*py)), 3.2, &format!("pt f{}", style.slot));
            }
        }
    }
    (s, y - 6.0)
}
