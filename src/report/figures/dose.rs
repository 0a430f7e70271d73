//! A measure by dose: random directions as a cloud behind, the direction under test in front, accuracy below.

use crate::battery::record::{DosePanel, Reference, Series};

use super::super::csv::{self, Csv};
use super::super::number;
use super::super::palette::{self, Style};
use super::super::svg::Svg;
use super::{Drawing, Key, frame, legend};

/// Random directions drawn of each panel; the CSV has all.
const MAX_CLOUD: usize = 250;

/// `axes` are the titles of x and y.
pub fn draw(id: &str, title: &str, axes: [&str; 2], panels: &[DosePanel]) -> Drawing {
    let mut data = Csv::new(&["panel", "measure", "direction", "dose", "value", "low", "high"]);
    for p in panels {
        let mut rows = |measure: &str, direction: &str, points: &[(f64, f64)], band: &[(f64, f64)]| {
            for (i, (x, y)) in points.iter().enumerate() {
                let (low, high) = band.get(i).copied().unwrap_or((f64::NAN, f64::NAN));
                let names = [&p.title, measure, direction].map(csv::field);
                data.row(names.into_iter().chain([*x, *y, low, high].map(csv::value)));
            }
        };
        for (measure, real, cloud) in [(axes[1], &p.real, &p.random), ("accuracy", &p.accuracy, &p.random_accuracy)] {
            rows(measure, &real.name, &real.points, &real.band);
            for (i, line) in cloud.iter().enumerate() {
                rows(measure, &format!("random {}", i + 1), line, &[]);
            }
        }
        if let Some((low, high)) = p.preserving {
            rows("range in which accuracy is kept", "", &[(low, f64::NAN), (high, f64::NAN)], &[]);
        }
        if let Some(floor) = &p.accuracy_floor {
            rows("accuracy", &floor.name, &[(f64::NAN, floor.y)], &[]);
        }
    }
    let most = panels.iter().map(|p| p.random.len()).max().unwrap_or(0);
    let mut note = match most {
        0 => "Strong line: the direction under test.".to_string(),
        n => format!(
            "Strong line: the direction under test; thin lines: {} of the same norm.",
            number::plural(n, "random direction", "random directions")
        ),
    };
    if most > MAX_CLOUD {
        note.push_str(&format!(" {MAX_CLOUD} of them are drawn; the CSV has all."));
    }
    if panels.iter().any(|p| !p.real.band.is_empty()) {
        note.push_str(" Band: its interval.");
    }
    if panels.iter().any(|p| p.preserving.is_some()) {
        note.push_str(" Shaded: the doses that keep accuracy, the only ones that count.");
    }
    Drawing::new(id, title, &note, data.finish(), |width| render(width, axes, panels))
}

fn style(p: &DosePanel, position: usize) -> Style {
    palette::arm(&p.real.name).or_else(|| palette::arm(&p.title)).unwrap_or_else(|| palette::style("", position))
}

fn render(width: f64, axes: [&str; 2], panels: &[DosePanel]) -> (Svg, f64) {
    let mut s = Svg::new(width);
    let mut keys: Vec<(String, Style, Key)> = Vec::new();
    for (i, p) in panels.iter().enumerate() {
        if !keys.iter().any(|(name, ..)| *name == p.real.name) {
            keys.push((p.real.name.clone(), style(p, i), Key::Line(0)));
        }
    }
    let plain = palette::style("", 0);
    if panels.iter().any(|p| !p.random.is_empty()) {
        keys.push(("random directions".to_string(), plain, Key::Cloud));
    }
    if panels.iter().any(|p| p.preserving.is_some()) {
        keys.push(("accuracy kept".to_string(), plain, Key::Good));
    }
    for floor in panels.iter().filter_map(|p| p.accuracy_floor.as_ref()) {
        if !keys.iter().any(|(name, ..)| *name == floor.name) {
            keys.push((floor.name.clone(), plain, Key::Reference));
        }
    }
    let mut y = legend(&mut s, 0.0, 0.0, &keys) + 4.0;
    let per_row = if width > 600.0 { panels.len().clamp(1, 3) } else { 1 };
    let gap = 26.0;
    let column = (width - gap * (per_row as f64 - 1.0)) / per_row as f64;
    let behaviour: Vec<f64> = panels.iter().flat_map(|p| values(&p.real, &p.random)).collect();
    let mut accuracy: Vec<f64> = panels.iter().flat_map(|p| values(&p.accuracy, &p.random_accuracy)).collect();
    accuracy.extend([0.0, 1.0]);
    for (r, row) in panels.chunks(per_row).enumerate() {
        // both measures of a column on a phone belong together; on a screen they stand in rows
        let mut bottom = y;
        for (i, p) in row.iter().enumerate() {
            let x = (i as f64 * (column + gap), i as f64 * (column + gap) + column);
            let look = style(p, r * per_row + i);
            let lower = !p.accuracy.points.is_empty();
            let x_title = if lower { "" } else { axes[0] };
            let top = Plot {
                title: &p.title,
                axes: [x_title, axes[1]],
                x,
                height: if width > 600.0 { 190.0 } else { 170.0 },
            };
            let mut end = plot(&mut s, &top, y, p, Measure { real: &p.real, cloud: &p.random, ys: &behaviour }, look);
            if lower {
                let under = Plot { title: "", axes: [axes[0], "accuracy"], x, height: 84.0 };
                end = plot(
                    &mut s,
                    &under,
                    end + 8.0,
                    p,
                    Measure { real: &p.accuracy, cloud: &p.random_accuracy, ys: &accuracy },
                    look,
                );
            }
            bottom = bottom.max(end);
        }
        y = bottom + 14.0;
    }
    (s, y - 6.0)
}

fn values<'a>(real: &'a Series, cloud: &'a [Vec<(f64, f64)>]) -> impl Iterator<Item = f64> + 'a {
    let lines = real.points.iter().chain(cloud.iter().flatten()).map(|q| q.1);
    lines.chain(real.band.iter().flat_map(|b| [b.0, b.1]))
}

/// A measure under the direction and under random ones, and all values that its axis has to reach.
struct Measure<'a> {
    real: &'a Series,
    cloud: &'a [Vec<(f64, f64)>],
    ys: &'a [f64],
}

struct Plot<'a> {
    title: &'a str,
    axes: [&'a str; 2],
    x: (f64, f64),
    height: f64,
}

/// One measure; returns the y below it.
fn plot(s: &mut Svg, at: &Plot, y: f64, p: &DosePanel, Measure { real, cloud, ys }: Measure, look: Style) -> f64 {
    let doses = p.real.points.iter().chain(p.random.iter().flatten()).chain(&p.accuracy.points).map(|q| q.0);
    let f = frame::draw(
        s,
        &frame::Spec {
            title: at.title,
            x_title: at.axes[0],
            y_title: at.axes[1],
            x: at.x,
            top: y,
            height: at.height,
            xs: doses.collect(),
            ys: ys.to_vec(),
            log_x: false,
            log_y: false,
            round: true,
            events: &[],
            lanes: 0,
        },
    );
    if let Some((low, high)) = p.preserving.filter(|r| r.0 <= r.1) {
        s.rect((f.x.clamped(low).0, f.top), (f.x.clamped(high).0, f.bottom), "ok");
    }
    let place = |q: &(f64, f64)| (f.x.at(q.0), f.y.at(q.1));
    for line in cloud.iter().step_by(cloud.len().div_ceil(MAX_CLOUD).max(1)) {
        s.polyline(&line.iter().map(place).collect::<Vec<_>>(), "rd");
    }
    if f.x.low < 0.0 && f.x.high > 0.0 {
        s.line((f.x.at(0.0), f.top), (f.x.at(0.0), f.bottom), "ax");
    }
    let bounds: Vec<(f64, f64, f64)> =
        real.points.iter().zip(&real.band).map(|(q, b)| (f.x.at(q.0), f.y.at(b.0), f.y.at(b.1))).collect();
    s.area(&bounds, &format!("bn f{}", look.slot));
    let points: Vec<(f64, f64)> = real.points.iter().map(place).collect();
    // its name is in the legend: there is no room for it among the lines
    let floor = p.accuracy_floor.iter().filter(|_| at.axes[1] == "accuracy");
    let floor: Vec<Reference> = floor.map(|r| Reference { name: String::new(), y: r.y }).collect();
    frame::references(s, &f, &floor, |s| {
        s.titled(&real.name, |s| {
            s.polyline(&points, &format!("l {}", palette::stroke(look, 0)));
            for q in &points {
                s.marker(look.marker, *q, 3.2, &palette::fill(look, 0));
            }
        });
    });
    f.below
}
