//! One point per item.

use crate::battery::record::Series;

use super::super::csv::{self, Csv};
use super::super::number;
use super::super::palette::{self, Style};
use super::super::svg::{self, Anchor, Axis, FONT, Svg};
use super::{Drawing, Key, legend, x_axis};

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
    let entries: Vec<(String, Style)> =
        series.iter().enumerate().map(|(i, s)| (s.name.clone(), palette::style(&s.name, i))).collect();
    let top = legend(&mut s, 0.0, 0.0, &entries, Key::Point) + 26.0;
    let size = width.min(420.0);
    let bottom = top + size * 0.75;
    let points = || series.iter().flat_map(|s| &s.points);
    let (mut xs, mut ys): (Vec<f64>, Vec<f64>) = points().copied().unzip();
    if same {
        xs.extend_from_slice(&ys);
        ys.clone_from(&xs);
    }
    let vertical = Axis::new(ys.iter().copied(), bottom, top, 6, false);
    let labels = vertical.ticks.iter().map(|t| svg::text_width(&vertical.label(*t), FONT)).fold(0.0, f64::max);
    let left = labels + 10.0;
    let right = if width > 600.0 { (left + 1.3 * size).min(width - 8.0) } else { width - 8.0 };
    let horizontal = Axis::horizontal(&xs, left, right, false);
    s.text((0.0, top - 10.0), Anchor::Start, "b", &svg::wrap(y_title, width, FONT, 1).join(""));
    for &t in &vertical.ticks {
        s.line((left, vertical.at(t)), (right, vertical.at(t)), "gr");
        s.text((left - 6.0, vertical.at(t) + 4.0), Anchor::End, "mu", &vertical.label(t));
    }
    let end = x_axis(&mut s, &horizontal, top, bottom, x_title, (left + right) / 2.0, right - left);
    s.line((left, top), (left, bottom), "ax");
    if same {
        let (low, high) = (horizontal.low.max(vertical.low), horizontal.high.min(vertical.high));
        s.line((horizontal.at(low), vertical.at(low)), (horizontal.at(high), vertical.at(high)), "ax d1");
    }
    for (sr, (_, style)) in series.iter().zip(&entries) {
        let step = sr.points.len().div_ceil(MAX_POINTS).max(1);
        s.titled(&sr.name, |s| {
            for (x, y) in sr.points.iter().step_by(step) {
                s.marker(style.marker, (horizontal.at(*x), vertical.at(*y)), 3.0, &format!("pt f{}", style.slot));
            }
        });
    }
    (s, end + 4.0)
}
