//! Lines over steps, in one panel or many small ones.

use crate::battery::record::Series;

use super::super::csv::{self, Csv};
use super::super::palette::{self, Style};
use super::super::svg::{self, Anchor, Axis, FONT, Svg};
use super::{Drawing, Key, legend, x_axis};

/// Points of a line above which it is drawn faint, with its running mean on top.
const SMOOTH_ABOVE: usize = 60;
/// Points that a line keeps when drawn; the CSV has all.
const MAX_POINTS: usize = 300;

pub struct Panel {
    pub title: String,
    pub x_axis: String,
    pub series: Vec<Series>,
    /// A share: the axis runs from 0 to 1.
    pub share: bool,
}

pub fn draw(id: &str, title: &str, panels: &[Panel]) -> Drawing {
    let mut data = Csv::new(&["panel", "series", "x", "y"]);
    let mut longest = 0;
    for p in panels {
        for s in &p.series {
            longest = longest.max(s.points.len());
            for (x, y) in &s.points {
                data.row([csv::field(&p.title), csv::field(&s.name), csv::value(*x), csv::value(*y)]);
            }
        }
    }
    let note = if longest > SMOOTH_ABOVE {
        format!("Strong lines: running mean of {} points; faint lines: every logged point.", window(longest))
    } else {
        "Every logged point.".to_string()
    };
    Drawing::new(id, title, &note, data.finish(), |width| render(width, panels))
}

fn window(points: usize) -> usize {
    (points / 20).clamp(3, 51) | 1
}

fn render(width: f64, panels: &[Panel]) -> (Svg, f64) {
    let mut s = Svg::new(width);
    let mut entries: Vec<(String, Style)> = Vec::new();
    for series in panels.iter().flat_map(|p| &p.series) {
        if !entries.iter().any(|(name, _)| *name == series.name) {
            entries.push((series.name.clone(), palette::style(&series.name, entries.len())));
        }
    }
    // seeds of one arm look alike and have one key
    let mut keys: Vec<(String, Style)> = Vec::new();
    for (name, style) in &entries {
        let key = if palette::arm(name).is_some() { name.split(',').next().unwrap_or(name) } else { name };
        if !keys.iter().any(|(k, _)| k == key) {
            keys.push((key.to_string(), *style));
        }
    }
    let mut y = legend(&mut s, 0.0, 0.0, &keys, Key::Line) + 4.0;
    let per_row = if width > 600.0 { panels.len().clamp(1, 3) } else { 1 };
    let gap = 26.0;
    let column = (width - gap * (per_row as f64 - 1.0)) / per_row as f64;
    let height = if per_row == 1 && width > 600.0 { 260.0 } else { 130.0 };
    for row in panels.chunks(per_row) {
        let mut bottom = y;
        for (i, p) in row.iter().enumerate() {
            let left = i as f64 * (column + gap);
            bottom = f64::max(bottom, panel(&mut s, p, &entries, (left, left + column), (y, y + height)));
        }
        y = bottom + 12.0;
    }
    (s, y - 4.0)
}

/// Draws a panel in the box `x` × `y` (axis labels lie below it); returns the y below it.
fn panel(s: &mut Svg, p: &Panel, entries: &[(String, Style)], x: (f64, f64), y: (f64, f64)) -> f64 {
    let (top, bottom) = (y.0 + 22.0, y.1);
    let ys = p
        .series
        .iter()
        .flat_map(|s| s.points.iter().map(|q| q.1))
        .chain(p.share.then_some([0.0, 1.0]).into_iter().flatten());
    let want = ((bottom - top) / 34.0) as usize;
    let vertical = Axis::new(ys, bottom, top, want, true);
    let labels = vertical.ticks.iter().map(|t| svg::text_width(&vertical.label(*t), FONT)).fold(0.0, f64::max);
    let left = x.0 + labels + 8.0;
    let xs: Vec<f64> = p.series.iter().flat_map(|s| s.points.iter().map(|q| q.0)).collect();
    let horizontal = Axis::horizontal(&xs, left, x.1 - 6.0, false);
    s.text((x.0, y.0 + 12.0), Anchor::Start, "b", &svg::wrap(&p.title, x.1 - x.0, FONT, 1).join(""));
    for &t in &vertical.ticks {
        s.line((left, vertical.at(t)), (x.1, vertical.at(t)), "gr");
        s.text((left - 6.0, vertical.at(t) + 4.0), Anchor::End, "mu", &vertical.label(t));
    }
    let end = x_axis(s, &horizontal, bottom, bottom, &p.x_axis, (left + x.1) / 2.0, x.1 - left);
    for series in &p.series {
        let Some((_, style)) = entries.iter().find(|(n, _)| *n == series.name) else { continue };
        let n = style.slot;
        let at = |points: &[(f64, f64)]| -> Vec<(f64, f64)> {
            points.iter().map(|q| (horizontal.at(q.0), vertical.at(q.1))).collect()
        };
        s.titled(&series.name, |s| {
            let smooth = series.points.len() > SMOOTH_ABOVE;
            if smooth {
                s.polyline(&at(&thin(&series.points)), &format!("l raw k{n}"));
            }
            let line = at(&if smooth { thin(&running_mean(&series.points)) } else { series.points.clone() });
            s.polyline(&line, &format!("l k{n} d{n}"));
            // a few markers tell lines apart without colour
            for k in 0..5 {
                if let Some(q) = line.get(k * line.len().saturating_sub(1) / 4) {
                    s.marker(style.marker, *q, 2.8, &format!("f{n}"));
                }
            }
        });
    }
    end
}

/// Centred mean over `window` points (fewer at the ends), skipping what is not finite.
fn running_mean(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let half = window(points.len()) / 2;
    (0..points.len())
        .map(|i| {
            let near = || {
                points[i.saturating_sub(half)..(i + half + 1).min(points.len())]
                    .iter()
                    .map(|p| p.1)
                    .filter(|y| y.is_finite())
            };
            (points[i].0, near().sum::<f64>() / near().count() as f64)
        })
        .collect()
}

/// At most `MAX_POINTS` points: every k-th and the last.
fn thin(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    let step = points.len().div_ceil(MAX_POINTS).max(1);
    let last = points.len().saturating_sub(1);
    points.iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last).map(|(_, p)| *p).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn smoothing_keeps_a_straight_line() {
        let line: Vec<(f64, f64)> = (0..100).map(|i| (i as f64, 2.0 * i as f64)).collect();
        let half = window(line.len()) / 2;
        for (a, b) in running_mean(&line).iter().zip(&line).skip(half).take(line.len() - 2 * half) {
            assert!((a.1 - b.1).abs() < 1e-9);
        }
        let long: Vec<(f64, f64)> = (0..1001).map(|i| (i as f64, 0.0)).collect();
        let thinned = thin(&long);
        assert!(thinned.len() <= MAX_POINTS + 1 && thinned.last() == long.last());
    }
}
