//! The plot area that lines, dose-responses, survival curves and scatter plots share: headings, axes, labelled lines.

use crate::battery::record::{Event, Reference};

use super::super::axis::Axis;
use super::super::palette;
use super::super::svg::{self, Anchor, FONT, Svg};
use super::{LINE, x_axis};

/// What a frame shows and where.
pub struct Spec<'a> {
    /// Bold, above; where it is empty the y title stands there.
    pub title: &'a str,
    pub x_title: &'a str,
    pub y_title: &'a str,
    /// Left and right end, labels of the y axis included.
    pub x: (f64, f64),
    pub top: f64,
    /// Height of the plot area.
    pub height: f64,
    pub xs: Vec<f64>,
    pub ys: Vec<f64>,
    pub log_x: bool,
    pub log_y: bool,
    /// The ends of the y axis are ticks.
    pub round: bool,
    pub events: &'a [Event],
    /// Rows for labels of events that a neighbour needs.
    pub lanes: usize,
}

/// A plot area with its axes drawn.
pub struct Frame {
    pub x: Axis,
    pub y: Axis,
    pub top: f64,
    pub bottom: f64,
    /// Below the labels of the x axis.
    pub below: f64,
    /// Rows that the labels of events take.
    pub lanes: usize,
}

/// Draws headings, grid, axes and events; what is plotted comes on top of them.
pub fn draw(s: &mut Svg, f: &Spec) -> Frame {
    let width = f.x.1 - f.x.0;
    let one = |text: &str| svg::wrap(text, width, FONT, 1).join("");
    let mut y = f.top;
    let (bold, light) = match (f.title.is_empty(), f.y_title.is_empty()) {
        (false, false) => (f.title, format!("↑ {}", f.y_title)),
        (false, true) => (f.title, String::new()),
        (true, _) => (f.y_title, String::new()),
    };
    for (text, class) in [(bold, "b"), (light.as_str(), "mu")] {
        if !text.is_empty() {
            s.text((f.x.0, y + 12.0), Anchor::Start, class, &one(text));
            y += 18.0;
        }
    }
    let trial = vertical(f, 0.0, f.height);
    let labels = trial.ticks.iter().map(|t| svg::text_width(&trial.label(*t), FONT)).fold(0.0, f64::max);
    let (left, right) = (f.x.0 + labels + 9.0, f.x.1 - 6.0);
    let x =
        if f.log_x { Axis::log_horizontal(&f.xs, left, right) } else { Axis::horizontal(&f.xs, left, right, false) };
    let events: Vec<&Event> = f.events.iter().filter(|e| !e.x.is_nan()).collect();
    let placed = lanes(&events, &x, (f.x.0, f.x.1));
    let lanes = placed.iter().map(|p| p.lane + 1).max().unwrap_or(0);
    let top = y + 4.0 + lanes.max(f.lanes) as f64 * LINE;
    let bottom = top + f.height;
    let axis = vertical(f, bottom, top);
    for &t in &axis.ticks {
        s.line((left, axis.at(t)), (f.x.1, axis.at(t)), "gr");
        s.text((left - 6.0, axis.at(t) + 4.0), Anchor::End, "mu", &axis.label(t));
    }
    let below = x_axis(s, &x, bottom, bottom, f.x_title, (left + f.x.1) / 2.0, f.x.1 - left);
    for (event, place) in events.iter().zip(&placed) {
        let slot = palette::arm(&event.name).map(|style| style.slot);
        let (stroke, fill) =
            slot.map_or(("ev".to_string(), "nu".to_string()), |n| (format!("ev k{n}"), format!("f{n}")));
        let base = y + 1.0 + (place.lane + 1) as f64 * LINE;
        if let Some((low, high)) = event.interval
            && low.is_finite()
            && high.is_finite()
        {
            s.rect((x.clamped(low).0, top), (x.clamped(high).0, bottom), &format!("{fill} iv"));
        }
        s.line((place.x, base - 10.0), (place.x, bottom), &stroke);
    }
    for place in &placed {
        s.text((place.text, y + 1.0 + (place.lane + 1) as f64 * LINE), place.anchor, "mu ha", &place.label);
    }
    Frame { x, y: axis, top, bottom, below, lanes }
}

fn vertical(f: &Spec, from: f64, to: f64) -> Axis {
    let want = (f.height / 34.0) as usize;
    if f.log_y {
        Axis::log(f.ys.iter().copied(), from, to, want)
    } else {
        Axis::new(f.ys.iter().copied(), from, to, want, f.round)
    }
}

/// Where an event's line and label go.
struct Place {
    x: f64,
    text: f64,
    anchor: Anchor,
    label: String,
    lane: usize,
}

/// Labels of events in as many rows as they need.
fn lanes(events: &[&Event], axis: &Axis, ends: (f64, f64)) -> Vec<Place> {
    // (start, end) of what each row holds
    let mut rows: Vec<Vec<(f64, f64)>> = Vec::new();
    events
        .iter()
        .map(|e| {
            let x = axis.clamped(e.x).0;
            let label = svg::wrap(&e.name, (ends.1 - ends.0) * 0.6, FONT, 1).join("");
            let width = svg::text_width(&label, FONT) + 4.0;
            let right = x + width <= ends.1;
            let span = if right { (x, x + width) } else { (x - width, x) };
            let lane = (0..rows.len())
                .find(|r| rows[*r].iter().all(|o| span.1 + 4.0 <= o.0 || o.1 + 4.0 <= span.0))
                .unwrap_or_else(|| {
                    rows.push(Vec::new());
                    rows.len() - 1
                });
            rows[lane].push(span);
            let (text, anchor) = if right { (x + 4.0, Anchor::Start) } else { (x - 4.0, Anchor::End) };
            Place { x, text, anchor, label, lane }
        })
        .collect()
}

/// Labelled horizontal lines around what `draw` plots; labels stand on top at the right end, moved apart where they would touch.
pub fn references(s: &mut Svg, f: &Frame, lines: &[Reference], draw: impl FnOnce(&mut Svg)) {
    let mut shown: Vec<(f64, &Reference)> = lines
        .iter()
        .filter(|r| r.y.is_finite() && (f.y.low..=f.y.high).contains(&r.y))
        .map(|r| (f.y.at(r.y), r))
        .filter(|(y, _)| y.is_finite())
        .collect();
    shown.sort_by(|a, b| b.0.total_cmp(&a.0));
    let (left, right) = (f.x.at(f.x.low), f.x.at(f.x.high));
    for (y, r) in &shown {
        let slot = palette::arm(&r.name).map(|style| format!(" k{}", style.slot)).unwrap_or_default();
        s.line((left, *y), (right, *y), &format!("rf{slot}"));
    }
    draw(s);
    let mut last = f64::INFINITY;
    for (y, r) in shown {
        // from the bottom up; the topmost may stand in the margin above the plot
        let text = (y - 4.0).min(last - 13.0);
        last = text;
        s.text((right, text), Anchor::End, "mu ha", &svg::wrap(&r.name, right - left, FONT, 1).join(""));
    }
}
