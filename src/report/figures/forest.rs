//! Estimates with intervals on a common axis, with an equivalence band.

use crate::battery::record::Effect;

use super::super::axis::Axis;
use super::super::csv::{self, Csv};
use super::super::number;
use super::super::palette::{self, Style};
use super::super::svg::{self, Anchor, FONT, Marker, Svg};
use super::{Drawing, LINE, x_axis};

/// Look of an effect that is not of one arm.
const PLAIN: Style = Style { slot: 2, marker: Marker::Square };

/// Row of a forest plot.
pub struct Row {
    pub label: String,
    pub effect: Effect,
    /// The primary effect of a test: filled, others hollow.
    pub primary: bool,
}

impl Row {
    pub fn plain(effect: &Effect) -> Self {
        Self { label: effect.name.clone(), effect: effect.clone(), primary: true }
    }
}

/// Effects of one unit: only these may share an axis.
pub struct Facet {
    /// Heading of this facet and of those after it with the same one; empty = none.
    pub group: String,
    pub axis: String,
    /// Band of all rows; rows may have their own besides.
    pub margin: Option<f64>,
    pub rows: Vec<Row>,
}

/// What an effect is measured in: its name up to the first comma.
pub fn unit(effect: &Effect) -> &str {
    effect.name.split(',').next().unwrap_or_default().trim()
}

pub fn draw(id: &str, title: &str, facets: &[Facet]) -> Drawing {
    let mut data =
        Csv::new(&["group", "axis", "effect", "estimate", "low", "high", "level", "margin", "primary", "method"]);
    let mut levels: Vec<String> = Vec::new();
    let (mut band, mut hollow) = (false, false);
    for f in facets {
        for r in &f.rows {
            let e = &r.effect;
            let margin = e.margin.or(f.margin);
            (band, hollow) = (band || margin.is_some(), hollow || !r.primary);
            let level = number::percent(e.level).replace(".0", "");
            if !levels.contains(&level) {
                levels.push(level);
            }
            data.row([
                csv::field(&f.group),
                csv::field(&f.axis),
                csv::field(&r.label),
                csv::value(e.estimate),
                csv::value(e.low),
                csv::value(e.high),
                csv::value(e.level),
                margin.map(csv::value).unwrap_or_default(),
                r.primary.to_string(),
                csv::field(&e.method),
            ]);
        }
    }
    let mut note = format!("Whiskers: {} intervals.", levels.join(" and "));
    if band {
        note.push_str(" Shaded: the equivalence margin; an interval inside it is practically no effect.");
    }
    if hollow {
        note.push_str(" Filled: the primary effect of its test; hollow: further effects.");
    }
    Drawing::new(id, title, &note, data.finish(), |width| render(width, facets))
}

fn render(width: f64, facets: &[Facet]) -> (Svg, f64) {
    let mut s = Svg::new(width);
    let mut y = 4.0;
    let mut group = "";
    for f in facets {
        if f.group != group {
            group = &f.group;
            if y > 4.0 {
                y += 10.0;
                s.line((0.0, y - 8.0), (width, y - 8.0), "ax");
            }
            for line in svg::wrap(group, width, FONT, 2) {
                s.text((0.0, y + 13.0), Anchor::Start, "b", &line);
                y += LINE + 3.0;
            }
        }
        y = facet(&mut s, y, f) + 14.0;
    }
    (s, y - 8.0)
}

fn facet(s: &mut Svg, top: f64, f: &Facet) -> f64 {
    let wide = s.width > 600.0;
    let label_width = if wide { 300.0 } else { s.width - 8.0 };
    let (left, right) = if wide { (label_width + 20.0, s.width - 216.0) } else { (14.0, s.width - 14.0) };
    let margin = |r: &Row| r.effect.margin.or(f.margin);
    let values: Vec<f64> = f
        .rows
        .iter()
        .flat_map(|r| {
            let m = margin(r).unwrap_or(0.0);
            [r.effect.estimate, r.effect.low, r.effect.high, m, -m, 0.0]
        })
        .collect();
    let axis = Axis::horizontal(&values, left, right, false);
    let decimals = number::decimals_for(values.iter().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(v.abs())));

    // (label lines, top, bottom, top of the strip that holds the mark); a phone has the label above the strip
    let mut y = top;
    let mut rows: Vec<(Vec<String>, f64, f64, f64)> = Vec::new();
    for r in &f.rows {
        let lines = svg::wrap(&r.label, label_width, FONT, 4);
        let text = lines.len() as f64 * LINE;
        let height = if wide { (text + 10.0).max(28.0) } else { text + LINE + 38.0 };
        rows.push((lines, y, y + height, if wide { y } else { y + height - 24.0 }));
        y += height;
    }
    let bottom = y + if wide { 4.0 } else { 0.0 };

    // the background lies behind the strips only, in one piece where neighbours have the same margin
    let mut strips: Vec<(f64, f64, Option<f64>)> = Vec::new();
    for ((_, _, to, strip), r) in rows.iter().zip(&f.rows) {
        match strips.last_mut() {
            Some(last) if last.1 == *strip && last.2 == margin(r) => last.1 = *to,
            _ => strips.push((*strip, *to, margin(r))),
        }
    }
    if let Some(last) = strips.last_mut() {
        last.1 = bottom;
    }
    for &(from, to, margin) in &strips {
        for &t in &axis.ticks {
            s.line((axis.at(t), from), (axis.at(t), to), "gr");
        }
        if let Some(m) = margin {
            band(s, &axis, (from, to), m);
        }
        s.line((axis.at(0.0), from), (axis.at(0.0), to), "ze");
    }
    let end = x_axis(s, &axis, bottom, bottom, &f.axis, (left + right) / 2.0, (right - left).max(240.0));

    let mixed = f.rows.iter().any(|r| !r.primary);
    for (r, (lines, from, to, strip)) in f.rows.iter().zip(&rows) {
        let e = &r.effect;
        let text = number::interval_with(e, decimals);
        let class = if r.primary && mixed { "b" } else { "" };
        let mark = (strip + to) / 2.0;
        let first = if wide { mark + 4.0 - (lines.len() as f64 - 1.0) * LINE / 2.0 } else { from + 20.0 };
        for (i, line) in lines.iter().enumerate() {
            s.text((0.0, first + i as f64 * LINE), Anchor::Start, class, line);
        }
        if wide {
            s.text((s.width, mark + 4.0), Anchor::End, class, &text);
        } else {
            s.text((0.0, first + lines.len() as f64 * LINE), Anchor::Start, "mu", &text);
        }
        let style = palette::arm(&r.label).unwrap_or(PLAIN);
        s.titled(&format!("{}: {text}", r.label), |s| whisker(s, &axis, e, mark, style, r.primary));
    }
    end
}

fn band(s: &mut Svg, axis: &Axis, (top, bottom): (f64, f64), margin: f64) {
    let (a, b) = (axis.clamped(-margin.abs()).0, axis.clamped(margin.abs()).0);
    s.rect((a, top), (b, bottom), "bd");
    s.line((a, top), (a, bottom), "be");
    s.line((b, top), (b, bottom), "be");
}

/// Interval with end caps (an arrow where it leaves the axis) and the estimate.
fn whisker(s: &mut Svg, axis: &Axis, e: &Effect, y: f64, style: Style, primary: bool) {
    let n = style.slot;
    if e.estimate.is_nan() {
        return;
    }
    let (low, cut_low) = if e.low.is_nan() { (axis.at(e.estimate), true) } else { axis.clamped(e.low) };
    let (high, cut_high) = if e.high.is_nan() { (axis.at(e.estimate), true) } else { axis.clamped(e.high) };
    s.line((low, y), (high, y), &format!("wh k{n}"));
    for (x, cut, side, known) in [(low, cut_low, 1.0, !e.low.is_nan()), (high, cut_high, -1.0, !e.high.is_nan())] {
        if cut && known {
            s.polyline(&[(x + side * 6.0, y - 4.0), (x, y), (x + side * 6.0, y + 4.0)], &format!("l k{n}"));
        } else if known {
            s.line((x, y - 4.5), (x, y + 4.5), &format!("wh k{n}"));
        }
    }
    let at = (axis.clamped(e.estimate).0, y);
    s.marker(style.marker, at, 4.8, &if primary { format!("f{n} k{n}") } else { format!("ho k{n}") });
}

/// A very small version for the verdict table: interval, zero, margin; no text.
pub fn mini(e: &Effect, id: &str) -> String {
    let mut s = Svg::new(150.0);
    let m = e.margin.unwrap_or(0.0).abs();
    let axis = Axis::new([e.estimate, e.low, e.high, 0.0, m, -m].into_iter(), 8.0, 142.0, 3, false);
    if e.margin.is_some() {
        band(&mut s, &axis, (1.0, 21.0), m);
    }
    s.line((axis.at(0.0), 1.0), (axis.at(0.0), 21.0), "ze");
    whisker(&mut s, &axis, e, 11.0, PLAIN, true);
    let margin = if e.margin.is_some() { format!(", equivalence margin ±{}", number::num(m)) } else { String::new() };
    s.inline(
        22.0,
        id,
        "mini",
        "Effect and interval against zero",
        &format!("{}: {}{margin}", e.name, number::interval(e)),
    )
}
