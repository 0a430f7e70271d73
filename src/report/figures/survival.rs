//! Survival curves: step functions, ticks where a run ended without a break, numbers at risk below.

use crate::battery::record::SurvivalCurve;

use super::super::csv::{self, Csv};
use super::super::number;
use super::super::palette::{self, Style};
use super::super::svg::{self, Anchor, FONT, Svg};
use super::{Drawing, Key, LINE, frame, legend};

/// `axes` are the titles of x and y.
pub fn draw(id: &str, title: &str, axes: [&str; 2], curves: &[SurvivalCurve]) -> Drawing {
    let mut data = Csv::new(&["curve", "kind", axes[0], "value", "low", "high"]);
    for c in curves {
        let mut row = |kind: &str, numbers: [f64; 4]| {
            data.row([csv::field(&c.name), kind.to_string()].into_iter().chain(numbers.map(csv::value)));
        };
        for (i, (t, share)) in c.steps.iter().enumerate() {
            let (low, high) = c.band.get(i).copied().unwrap_or((f64::NAN, f64::NAN));
            row("step", [*t, *share, low, high]);
        }
        for t in &c.censored {
            row("censored", [*t, f64::NAN, f64::NAN, f64::NAN]);
        }
        for (t, n) in &c.at_risk {
            row("at risk", [*t, *n as f64, f64::NAN, f64::NAN]);
        }
    }
    let mut note = String::from("Steps: a run broke.");
    if curves.iter().any(|c| !c.censored.is_empty()) {
        note.push_str(" Upright ticks: a run ended unbroken (censored).");
    }
    if curves.iter().any(|c| !c.band.is_empty()) {
        note.push_str(" Bands: intervals, as in the CSV.");
    }
    Drawing::new(id, title, &note, data.finish(), |width| render(width, axes, curves))
}

/// Times at which the curve is known, in order, with share and band; ends where the last run was seen.
fn corners(c: &SurvivalCurve) -> Vec<(f64, f64, (f64, f64))> {
    let mut out = vec![(0.0, 1.0, (1.0, 1.0))];
    for (i, (t, share)) in c.steps.iter().enumerate() {
        let band = c.band.get(i).copied().unwrap_or((f64::NAN, f64::NAN));
        if t.is_finite() && (i > 0 || *t > 0.0 || *share < 1.0) {
            out.push((*t, *share, band));
        }
    }
    let end = c.censored.iter().copied().chain(c.at_risk.iter().map(|r| r.0)).filter(|t| t.is_finite());
    let end = end.fold(out.last().map_or(0.0, |q| q.0), f64::max);
    if let Some(&(_, share, band)) = out.last() {
        out.push((end, share, band));
    }
    out
}

/// The share at time `t`.
fn share_at(corners: &[(f64, f64, (f64, f64))], t: f64) -> f64 {
    corners.iter().rev().find(|q| q.0 <= t).map_or(1.0, |q| q.1)
}

fn render(width: f64, axes: [&str; 2], curves: &[SurvivalCurve]) -> (Svg, f64) {
    let mut s = Svg::new(width);
    let styles: Vec<Style> = curves.iter().enumerate().map(|(i, c)| palette::style(&c.name, i)).collect();
    let keys: Vec<(String, Style, Key)> =
        curves.iter().zip(&styles).map(|(c, style)| (c.name.clone(), *style, Key::Line(0))).collect();
    let y = legend(&mut s, 0.0, 0.0, &keys) + 4.0;
    let wide = width > 600.0;
    let table = curves.iter().any(|c| !c.at_risk.is_empty());
    let names = curves.iter().map(|c| svg::text_width(&c.name, FONT) + 18.0).fold(0.0, f64::max).min(0.2 * width);
    let left = if wide && table { (names - 16.0).max(0.0) } else { 0.0 };
    let shapes: Vec<_> = curves.iter().map(corners).collect();
    let f = frame::draw(
        &mut s,
        &frame::Spec {
            title: "",
            x_title: axes[0],
            y_title: axes[1],
            x: (left, width),
            top: y,
            height: if wide { 220.0 } else { 190.0 },
            xs: shapes.iter().flatten().map(|q| q.0).collect(),
            ys: vec![0.0, 1.0],
            log_x: false,
            log_y: false,
            round: true,
            events: &[],
            lanes: 0,
        },
    );
    for ((c, shape), style) in curves.iter().zip(&shapes).zip(&styles) {
        if c.band.is_empty() {
            continue;
        }
        let mut area = Vec::new();
        for pair in shape.windows(2) {
            let ((from, _, (low, high)), to) = (pair[0], pair[1].0);
            area.extend([from, to].map(|t| (f.x.at(t), f.y.at(low), f.y.at(high))));
        }
        s.titled(&c.name, |s| s.area(&area, &format!("bn f{}", style.slot)));
    }
    // curves that lie on each other stay visible: each is drawn a little lower than the one before
    for (i, ((c, shape), style)) in curves.iter().zip(&shapes).zip(&styles).enumerate() {
        let shift = 2.4 * i as f64 - 1.2 * (curves.len() as f64 - 1.0);
        let place = |t: f64, share: f64| (f.x.at(t), f.y.at(share) + shift);
        let mut line = Vec::new();
        for pair in shape.windows(2) {
            line.extend([place(pair[0].0, pair[0].1), place(pair[1].0, pair[0].1)]);
        }
        s.titled(&c.name, |s| {
            s.polyline(&line, &format!("l {}", palette::stroke(*style, 0)));
            for q in shape.iter().skip(1).take(shape.len().saturating_sub(2)) {
                s.marker(style.marker, place(q.0, q.1), 3.4, &palette::fill(*style, 0));
            }
            for t in c.censored.iter().filter(|t| t.is_finite()) {
                let (x, y) = place(*t, share_at(shape, *t));
                s.line((x, y - 5.0), (x, y + 5.0), &format!("wh k{}", style.slot));
            }
        });
    }
    let end = if table { at_risk(&mut s, &f, curves, &styles, f.below, wide) } else { f.below + 4.0 };
    (s, end)
}

/// Runs still observed, by curve and time; returns the y below.
fn at_risk(s: &mut Svg, f: &frame::Frame, curves: &[SurvivalCurve], styles: &[Style], top: f64, wide: bool) -> f64 {
    let mut y = top + 8.0 + LINE;
    s.text((0.0, y), Anchor::Start, "mu", "runs still observed");
    for (c, style) in curves.iter().zip(styles).filter(|(c, _)| !c.at_risk.is_empty()) {
        y += LINE + 2.0;
        s.marker(style.marker, (5.0, y - 4.0), 3.8, &palette::fill(*style, 0));
        if wide {
            s.text((14.0, y), Anchor::Start, "", &svg::wrap(&c.name, f.x.at(f.x.low) - 14.0, FONT, 1).join(""));
        }
        let mut last = f64::NEG_INFINITY;
        for (t, n) in &c.at_risk {
            let (x, text) = (f.x.clamped(*t).0, number::count(*n));
            let half = svg::text_width(&text, FONT) / 2.0;
            if x.is_finite() && x - half > last + 6.0 {
                s.text((x, y), Anchor::Middle, "", &text);
                last = x + half;
            }
        }
    }
    y + 8.0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_curve_begins_at_one_and_ends_with_the_last_run() {
        let curve = SurvivalCurve {
            name: "value".into(),
            steps: vec![(100.0, 0.8), (175.0, 0.4)],
            censored: vec![300.0],
            ..Default::default()
        };
        let at: Vec<(f64, f64)> = corners(&curve).iter().map(|q| (q.0, q.1)).collect();
        assert_eq!(at, [(0.0, 1.0), (100.0, 0.8), (175.0, 0.4), (300.0, 0.4)]);
        let shares = [0.0, 99.0, 100.0, 300.0].map(|t| share_at(&corners(&curve), t));
        assert_eq!(shares, [1.0, 1.0, 0.8, 0.4]);
        let given = SurvivalCurve { steps: vec![(0.0, 1.0), (5.0, 0.0)], ..Default::default() };
        assert_eq!(corners(&given).len(), 3, "a first point (0, 1) is not doubled");
    }
}
