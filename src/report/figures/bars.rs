//! Horizontal grouped bars with intervals: labels stay level whatever their number and length.

use crate::battery::record::BarPanel;

use super::super::axis::Axis;
use super::super::csv::{self, Csv};
use super::super::number;
use super::super::palette::{self, Style};
use super::super::svg::{self, Anchor, FONT, Svg};
use super::{Drawing, Key, LINE, legend, x_axis};

const BAR: f64 = 15.0;

pub fn draw(id: &str, title: &str, panels: &[BarPanel]) -> Drawing {
    let mut data = Csv::new(&["panel", "group", "bar", "value", "low", "high"]);
    for p in panels {
        for (group, values) in p.groups.iter().zip(&p.values) {
            for (bar, (v, low, high)) in p.bars.iter().zip(values) {
                data.row([
                    csv::field(&p.axis),
                    csv::field(group),
                    csv::field(bar),
                    csv::value(*v),
                    csv::value(*low),
                    csv::value(*high),
                ]);
            }
        }
    }
    Drawing::new(id, title, "Whiskers: intervals of the values, as in the CSV.", data.finish(), |width| {
        render(width, panels)
    })
}

fn render(width: f64, panels: &[BarPanel]) -> (Svg, f64) {
    let mut s = Svg::new(width);
    let mut bars: Vec<(String, Style)> = Vec::new();
    for p in panels {
        for b in &p.bars {
            if !bars.iter().any(|(name, _)| name == b) {
                bars.push((b.clone(), palette::style(b, bars.len())));
            }
        }
    }
    let keys: Vec<(String, Style, Key)> = bars.iter().map(|(name, style)| (name.clone(), *style, Key::Point)).collect();
    let mut y = legend(&mut s, 0.0, 0.0, &keys) + 6.0;
    let wide = width > 600.0;
    let per_row = if wide && panels.len() > 1 { 2 } else { 1 };
    for row in panels.chunks(per_row) {
        let shared = row.windows(2).all(|w| w[0].groups == w[1].groups);
        let widest = row.iter().flat_map(|p| &p.groups).map(|g| svg::text_width(g, FONT)).fold(40.0, f64::max);
        let label = if wide { widest.min(0.2 * width) } else { 0.0 };
        let gap = 28.0;
        let columns = row.len() as f64;
        let label_columns = if shared { 1.0 } else { columns };
        let plot = (width - 16.0 - label_columns * (label + 10.0) - (columns - 1.0) * gap) / columns;
        let mut x = 0.0;
        let mut bottom: f64 = y;
        for (i, p) in row.iter().enumerate() {
            let labelled = wide && (i == 0 || !shared);
            let left = if labelled { x + label + 10.0 } else { x + if wide { 0.0 } else { 8.0 } };
            let right = left + plot - if wide { 0.0 } else { 8.0 };
            bottom = bottom.max(panel(&mut s, p, &bars, (left, right), y, labelled.then_some((x, label))));
            x = right + gap;
        }
        y = bottom + 14.0;
    }
    (s, y - 6.0)
}

/// One panel between two x; group labels in the column given as (x, width), else above each group. Returns the y below it.
fn panel(
    s: &mut Svg,
    p: &BarPanel,
    styles: &[(String, Style)],
    (left, right): (f64, f64),
    top: f64,
    labels: Option<(f64, f64)>,
) -> f64 {
    let above = right - left > 0.85 * s.width;
    let room = labels.map_or(right - left, |l| l.1);
    let names: Vec<Vec<String>> = p.groups.iter().map(|g| svg::wrap(g, room, FONT, 2)).collect();
    let finite: Vec<f64> = p.values.iter().flatten().flat_map(|v| [v.0, v.1, v.2]).filter(|v| v.is_finite()).collect();
    let share = finite.iter().all(|v| (0.0..=1.0).contains(v)) && finite.iter().any(|v| *v > 0.3);
    let mut range = finite;
    range.extend([0.0, if share { 1.0 } else { 0.0 }]);
    let axis = Axis::horizontal(&range, left, right, true);
    let group_height = |at: usize| {
        let lines = names.get(at).map_or(1, Vec::len) as f64 * LINE;
        let bars = p.bars.len() as f64 * BAR;
        14.0 + if above { bars + lines } else { bars.max(lines) }
    };
    let body = top + 20.0;
    let bottom = body + (0..p.groups.len()).map(group_height).sum::<f64>();
    s.text((left, top + 12.0), Anchor::Start, "b", &svg::wrap(&p.axis, right - left, FONT, 1).join(""));
    let end = x_axis(s, &axis, body, bottom, "", (left + right) / 2.0, right - left);

    let zero = axis.at(0.0);
    let mut y = body;
    for (at, (group, values)) in p.groups.iter().zip(&p.values).enumerate() {
        let height = group_height(at);
        let lines = names.get(at).map(Vec::as_slice).unwrap_or_default();
        let bars_height = p.bars.len() as f64 * BAR;
        let mut bar_y = y + (height - bars_height) / 2.0;
        if above {
            for (i, line) in lines.iter().enumerate() {
                s.text((left + 5.0, y + 15.0 + i as f64 * LINE), Anchor::Start, "", line);
            }
            bar_y = y + 8.0 + lines.len() as f64 * LINE;
        } else if let Some((x, width)) = labels {
            let first = y + height / 2.0 + 4.0 - (lines.len() as f64 - 1.0) * LINE / 2.0;
            for (i, line) in lines.iter().enumerate() {
                s.text((x + width, first + i as f64 * LINE), Anchor::End, "", line);
            }
        }
        for (name, &(v, low, high)) in p.bars.iter().zip(values) {
            let Some((_, style)) = styles.iter().find(|(n, _)| n == name) else { continue };
            let (n, middle) = (style.slot, bar_y + BAR / 2.0);
            if v.is_nan() {
                s.text((zero + 4.0, middle + 4.0), Anchor::Start, "mu", "no data");
            } else {
                let decimals = number::decimals_for([v, low, high].iter().fold(0.0, |m: f64, x| m.max(x.abs())));
                let title = format!(
                    "{name}, {group}: {} [{}, {}]",
                    number::fixed(v, decimals),
                    number::fixed(low, decimals),
                    number::fixed(high, decimals)
                );
                let x = axis.clamped(v).0;
                s.titled(&title, |s| {
                    s.rect((zero, bar_y + 1.5), (x, bar_y + BAR - 1.5), &format!("bar f{n}"));
                    if !low.is_nan() && !high.is_nan() {
                        let (a, b) = (axis.clamped(low).0, axis.clamped(high).0);
                        s.line((a, middle), (b, middle), &format!("wh k{n}"));
                        s.line((a, middle - 3.5), (a, middle + 3.5), &format!("wh k{n}"));
                        s.line((b, middle - 3.5), (b, middle + 3.5), &format!("wh k{n}"));
                    }
                    s.marker(style.marker, (x, middle), 4.0, &format!("f{n}"));
                });
            }
            bar_y += BAR;
        }
        y += height;
        if at + 1 < p.groups.len() {
            s.line((left, y), (right, y), "gr");
        }
    }
    s.line((zero, body), (zero, bottom), "ax");
    end
}
