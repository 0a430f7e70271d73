//! Figures: one file per kind, each drawn twice (a wide and a narrow rendition) and written as SVG and CSV.

pub mod bars;
pub mod dose;
pub mod forest;
mod frame;
pub mod lines;
pub mod scatter;
pub mod survival;

use crate::battery::record::Figure;

use super::axis::Axis;
use super::html::{escape, slug};
use super::palette::{self, Style};
use super::svg::{self, Anchor, FONT, Svg};

/// Width of the rendition for screens and paper, and of the one for phones, in user units.
pub const WIDE: f64 = 920.0;
pub const NARROW: f64 = 380.0;

/// Line height of labels.
pub(super) const LINE: f64 = 15.0;

/// A finished figure.
pub struct Drawing {
    /// Safe for file names and HTML ids.
    pub id: String,
    pub title: String,
    /// What the marks mean.
    pub note: String,
    pub wide: (Svg, f64),
    pub narrow: (Svg, f64),
    pub csv: String,
}

impl Drawing {
    /// `draw(width)` returns the drawing and its height.
    pub fn new(id: &str, title: &str, note: &str, csv: String, draw: impl Fn(f64) -> (Svg, f64)) -> Self {
        Self {
            id: slug(id),
            title: title.to_string(),
            note: note.to_string(),
            wide: draw(WIDE),
            narrow: draw(NARROW),
            csv,
        }
    }

    /// The file `figures/<id>.svg`.
    pub fn file(&self) -> String {
        self.wide.0.standalone(self.wide.1, &palette::css(), &self.title, &self.note)
    }

    /// Both renditions (the page's style shows one) with a caption.
    pub fn html(&self) -> String {
        let (id, title) = (&self.id, &self.title);
        format!(
            "<figure id=\"fig-{id}\">{}{}<figcaption><b>{}</b> {} <a class=\"file\" href=\"figures/{id}.svg\">SVG</a> \
             <a class=\"file\" href=\"figures/{id}.csv\">CSV</a></figcaption></figure>",
            self.wide.0.inline(self.wide.1, &format!("{id}-w"), "wide", title, &self.note),
            self.narrow.0.inline(self.narrow.1, &format!("{id}-n"), "narrow", title, &self.note),
            escape(&format!("{}.", title.trim_end_matches('.'))),
            escape(&self.note)
        )
    }
}

/// Draws the data of a test's figure.
pub fn draw(figure: &Figure) -> Drawing {
    match figure {
        Figure::GroupedBars { id, title, panels } => bars::draw(id, title, panels),
        Figure::Forest { id, title, axis, margin, effects } => {
            let rows: Vec<forest::Row> = effects.iter().map(forest::Row::plain).collect();
            let facet = forest::Facet { group: String::new(), axis: axis.clone(), margin: *margin, rows };
            forest::draw(id, title, &[facet])
        }
        Figure::Lines { id, title, panels } => lines::draw(id, title, panels),
        Figure::Scatter { id, title, x_axis, y_axis, series, log } => {
            scatter::draw(id, title, [x_axis, y_axis], series, *log)
        }
        Figure::DoseResponse { id, title, x_axis, y_axis, panels } => dose::draw(id, title, [x_axis, y_axis], panels),
        Figure::Survival { id, title, x_axis, y_axis, curves } => survival::draw(id, title, [x_axis, y_axis], curves),
    }
}

/// How a key of the legend is drawn.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Key {
    Point,
    /// With the variant of the line (see `palette::stroke`).
    Line(usize),
    /// A band of chance.
    Null,
    /// A range in which all is well.
    Good,
    /// A line of the cloud behind.
    Cloud,
    /// A threshold.
    Reference,
}

/// A legend across the top from `x`, as many lines as it needs; returns the y below it.
pub(super) fn legend(s: &mut Svg, x: f64, y: f64, entries: &[(String, Style, Key)]) -> f64 {
    let (mut at, mut base) = (x, y + 12.0);
    for (name, style, key) in entries {
        let key_width = if *key == Key::Point { 14.0 } else { 28.0 };
        let name = svg::wrap(name, s.width - x - key_width - 10.0, FONT, 1).join("");
        let width = key_width + svg::text_width(&name, FONT) + 20.0;
        if at > x && at + width - 20.0 > s.width {
            (at, base) = (x, base + 18.0);
        }
        let line = [(at, base - 4.0), (at + 22.0, base - 4.0)];
        match key {
            Key::Point => s.marker(style.marker, (at + 5.0, base - 4.0), 4.5, &palette::fill(*style, 0)),
            Key::Line(variant) => {
                s.polyline(&line, &format!("l {}", palette::stroke(*style, *variant)));
                s.marker(style.marker, (at + 11.0, base - 4.0), 3.2, &palette::fill(*style, *variant));
            }
            Key::Null | Key::Good => {
                s.rect((at, base - 9.0), (at + 22.0, base + 1.0), if *key == Key::Null { "nu" } else { "ok" });
            }
            Key::Cloud => {
                for rise in [-6.0, -2.0, 2.0] {
                    s.polyline(&[(at, base - 4.0), (at + 22.0, base - 4.0 + rise)], "rd");
                    s.polyline(&[(at, base - 4.0 - rise), (at + 22.0, base - 4.0)], "rd");
                }
            }
            Key::Reference => s.line(line[0], line[1], "rf"),
        }
        s.text((at + key_width + 2.0, base), Anchor::Start, "", &name);
        at += width;
    }
    base + 10.0
}

/// Ticks and labels of a horizontal axis at height `y`, grid lines up to `top`; returns the y below the labels.
pub(super) fn x_axis(s: &mut Svg, axis: &Axis, top: f64, y: f64, title: &str, middle: f64, room: f64) -> f64 {
    for &t in &axis.ticks {
        let x = axis.at(t);
        s.line((x, top), (x, y), "gr");
        s.text((x, y + 15.0), Anchor::Middle, "mu", &axis.label(t));
    }
    s.line((axis.at(axis.low), y), (axis.at(axis.high), y), "ax");
    let mut below = y + 19.0;
    for line in svg::wrap(title, room, FONT, 3) {
        if !line.is_empty() {
            below += LINE;
            s.text((middle, below - 2.0), Anchor::Middle, "", &line);
        }
    }
    below
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::battery::record::*;

    /// Every kind with missing, infinite and empty data, and bands that are too short.
    #[test]
    fn awkward_data_is_drawn_without_it() {
        let odd = vec![(f64::NAN, 1.0), (0.0, f64::INFINITY), (1.0, -1.0), (2.0, f64::NAN), (3.0, 1e300)];
        let series = Series { name: "value".into(), points: odd.clone(), band: vec![(f64::NAN, 1.0)] };
        let event = |x| Event { name: "break".into(), x, interval: Some((f64::NEG_INFINITY, f64::NAN)) };
        let panel = |log_y| LinePanel {
            series: vec![series.clone(), Series::default()],
            references: vec![Reference { name: "r".into(), y: f64::NAN }, Reference { name: "s".into(), y: -1.0 }],
            events: vec![event(f64::NAN), event(f64::INFINITY), event(1.0)],
            null: Some(NullBand { name: "null".into(), points: vec![(0.0, f64::NAN, 1.0), (1.0, 0.0, 1.0)] }),
            y_range: Some((f64::NAN, 2.0)),
            log_y,
            ..Default::default()
        };
        let dosed = DosePanel {
            real: series.clone(),
            random: vec![odd.clone(), Vec::new()],
            accuracy: series.clone(),
            preserving: Some((f64::NEG_INFINITY, f64::INFINITY)),
            accuracy_floor: Some(Reference { name: "floor".into(), y: f64::INFINITY }),
            ..Default::default()
        };
        let curve = SurvivalCurve {
            steps: odd.clone(),
            band: vec![(0.0, f64::NAN)],
            censored: vec![f64::NAN, f64::INFINITY, 5.0],
            at_risk: vec![(f64::NAN, 3), (2.0, 1)],
            ..Default::default()
        };
        let (id, title, x_axis, y_axis) = (String::from("a"), String::new(), String::new(), String::new());
        let scatter = |series, log| Figure::Scatter {
            id: id.clone(),
            title: title.clone(),
            x_axis: x_axis.clone(),
            y_axis: y_axis.clone(),
            series,
            log,
        };
        let dose = |panels| Figure::DoseResponse {
            id: id.clone(),
            title: title.clone(),
            x_axis: x_axis.clone(),
            y_axis: y_axis.clone(),
            panels,
        };
        let survival = |curves| Figure::Survival {
            id: id.clone(),
            title: title.clone(),
            x_axis: x_axis.clone(),
            y_axis: y_axis.clone(),
            curves,
        };
        let lines = |panels| Figure::Lines { id: id.clone(), title: title.clone(), panels };
        for figure in [
            lines(vec![panel(false), panel(true), LinePanel::default()]),
            lines(Vec::new()),
            scatter(vec![series.clone()], true),
            scatter(vec![series.clone(), Series::default()], false),
            scatter(Vec::new(), true),
            dose(vec![dosed, DosePanel::default()]),
            dose(Vec::new()),
            survival(vec![curve, SurvivalCurve::default()]),
            survival(Vec::new()),
        ] {
            let drawing = draw(&figure);
            for text in [drawing.html(), drawing.file()] {
                assert!(
                    !text.contains("NaN") && !text.contains("inf\"") && !text.contains("inf "),
                    "{figure:?}: {text}"
                );
            }
        }
    }
}
