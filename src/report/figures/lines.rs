//! Lines over steps, layers or doses, in one panel or many small ones.

use crate::battery::record::{LinePanel, Series};

use super::super::csv::{self, Csv};
use super::super::palette::{self, Style};
use super::super::svg::Svg;
use super::frame::{self, Frame};
use super::{Drawing, Key, legend};

/// Points of a line above which it is drawn faint, with its running mean on top.
const SMOOTH_ABOVE: usize = 60;
/// Points of a line up to which each has a marker.
const MARK_ALL: usize = 30;
/// Points that a line keeps when drawn; the CSV has all.
const MAX_POINTS: usize = 300;

pub fn draw(id: &str, title: &str, panels: &[LinePanel]) -> Drawing {
    let mut data = Csv::new(&["panel", "kind", "name", "x", "y", "low", "high"]);
    let mut longest = 0;
    let mut bands = false;
    for p in panels {
        let name = csv::field(heading(p));
        let mut row = |kind: &str, of: &str, [x, y, low, high]: [f64; 4]| {
            let numbers = [x, y, low, high].map(csv::value);
            data.row([name.clone(), kind.to_string(), csv::field(of)].into_iter().chain(numbers));
        };
        for s in &p.series {
            longest = longest.max(s.points.len());
            bands |= !s.band.is_empty();
            for (i, (x, y)) in s.points.iter().enumerate() {
                let (low, high) = s.band.get(i).copied().unwrap_or((f64::NAN, f64::NAN));
                row("line", &s.name, [*x, *y, low, high]);
            }
        }
        for (x, low, high) in p.null.iter().flat_map(|n| &n.points) {
            row("null", &p.null.as_ref().map(|n| n.name.clone()).unwrap_or_default(), [*x, f64::NAN, *low, *high]);
        }
        for r in &p.references {
            row("reference", &r.name, [f64::NAN, r.y, f64::NAN, f64::NAN]);
        }
        for e in &p.events {
            let (low, high) = e.interval.unwrap_or((f64::NAN, f64::NAN));
            row("event", &e.name, [e.x, f64::NAN, low, high]);
        }
    }
    let mut note = if longest > SMOOTH_ABOVE {
        format!("Strong lines: running mean of {} points; faint lines: every logged point.", window(longest))
    } else {
        String::new()
    };
    if bands {
        note.push_str("Bands: intervals of the values, as in the CSV.");
    }
    if panels.iter().flat_map(|p| &p.events).any(|e| e.interval.is_some()) {
        note.push_str(if note.is_empty() { "" } else { " " });
        note.push_str("Shaded upright: the interval of the marked place.");
    }
    Drawing::new(id, title, &note, data.finish(), |width| render(width, panels))
}

fn heading(p: &LinePanel) -> &str {
    if p.title.is_empty() { &p.y_axis } else { &p.title }
}

fn window(points: usize) -> usize {
    (points / 20).clamp(3, 51) | 1
}

/// How the series of one name is drawn.
struct Look {
    name: String,
    /// What the legend says: seeds of one arm share a key.
    key: String,
    style: Style,
    /// 0 for the first line of an arm, 1, 2, … for others of the same colour (`value, frozen probe`).
    variant: usize,
}

fn looks(panels: &[LinePanel]) -> Vec<Look> {
    let mut looks: Vec<Look> = Vec::new();
    for s in panels.iter().flat_map(|p| &p.series) {
        if looks.iter().any(|l| l.name == s.name) {
            continue;
        }
        let key = palette::without_seed(&s.name).to_string();
        let known = looks.iter().find(|l| l.key == key).map(|l| (l.style, l.variant));
        let (style, variant) = known.unwrap_or_else(|| {
            let style = palette::style(&s.name, looks.len());
            let taken = looks.iter().filter(|l| l.style.slot == style.slot).map(|l| l.variant + 1).max();
            (style, taken.unwrap_or(0))
        });
        looks.push(Look { name: s.name.clone(), key, style, variant });
    }
    looks
}

fn render(width: f64, panels: &[LinePanel]) -> (Svg, f64) {
    let mut s = Svg::new(width);
    let looks = looks(panels);
    let mut keys: Vec<(String, Style, Key)> = Vec::new();
    for l in &looks {
        if !keys.iter().any(|(k, ..)| *k == l.key) {
            keys.push((l.key.clone(), l.style, Key::Line(l.variant)));
        }
    }
    for n in panels.iter().filter_map(|p| p.null.as_ref()) {
        if !keys.iter().any(|(k, ..)| *k == n.name) {
            keys.push((n.name.clone(), palette::style("", 0), Key::Null));
        }
    }
    let mut y = legend(&mut s, 0.0, 0.0, &keys) + 4.0;
    let per_row = if width > 600.0 { panels.len().clamp(1, 3) } else { 1 };
    let gap = 26.0;
    let column = (width - gap * (per_row as f64 - 1.0)) / per_row as f64;
    let height = match per_row {
        1 if width > 600.0 => 250.0,
        2 => 210.0,
        1 if panels.len() <= 2 => 200.0,
        _ if panels.len() <= 3 => 180.0,
        _ => 108.0,
    };
    for row in panels.chunks(per_row) {
        // drawn twice: plot areas of one row stand level, whatever labels lie above them
        let draw = |s: &mut Svg, lanes: usize| {
            row.iter().enumerate().fold((y, 0), |(bottom, most), (i, p)| {
                let left = i as f64 * (column + gap);
                let f = panel(s, p, panels, &looks, (left, left + column), (y, height), lanes);
                (bottom.max(f.below), most.max(f.lanes))
            })
        };
        let (_, lanes) = draw(&mut Svg::new(width), 0);
        y = draw(&mut s, lanes).0 + 12.0;
    }
    (s, y - 4.0)
}

/// What the y axis of `p` has to reach.
fn y_values(p: &LinePanel) -> impl Iterator<Item = f64> + '_ {
    let series =
        p.series.iter().flat_map(|s| s.points.iter().map(|q| q.1).chain(s.band.iter().flat_map(|b| [b.0, b.1])));
    let null = p.null.iter().flat_map(|n| n.points.iter().flat_map(|q| [q.1, q.2]));
    let range = p.y_range.iter().flat_map(|r| [r.0, r.1]);
    series.chain(null).chain(range).chain(p.references.iter().map(|r| r.y))
}

/// Draws a panel between two x from `y.0` with a plot area `y.1` high.
fn panel(
    s: &mut Svg,
    p: &LinePanel,
    all: &[LinePanel],
    looks: &[Look],
    x: (f64, f64),
    y: (f64, f64),
    lanes: usize,
) -> Frame {
    // panels with a title of their own and the same measure are there to be compared: one scale
    let alike = |o: &&LinePanel| !p.title.is_empty() && o.y_axis == p.y_axis && o.log_y == p.log_y;
    let mut ys: Vec<f64> = all.iter().filter(alike).flat_map(y_values).collect();
    ys.extend(y_values(p));
    let points = p.series.iter().flat_map(|s| s.points.iter().map(|q| q.0));
    let events = p.events.iter().flat_map(|e| [e.x].into_iter().chain(e.interval.into_iter().flat_map(|i| [i.0, i.1])));
    let xs = points.chain(p.null.iter().flat_map(|n| n.points.iter().map(|q| q.0))).chain(events).collect();
    let f = frame::draw(
        s,
        &frame::Spec {
            title: &p.title,
            x_title: &p.x_axis,
            y_title: &p.y_axis,
            x,
            top: y.0,
            height: y.1,
            xs,
            ys,
            log_x: false,
            log_y: p.log_y,
            round: true,
            events: &p.events,
            lanes,
        },
    );
    let at = |q: &(f64, f64)| (f.x.at(q.0), f.y.at(q.1));
    let bounds = |q: (f64, f64, f64)| (f.x.at(q.0), f.y.at(q.1), f.y.at(q.2));
    if let Some(null) = &p.null {
        s.titled(&null.name, |s| s.area(&null.points.iter().map(|q| bounds(*q)).collect::<Vec<_>>(), "nu"));
    }
    for series in &p.series {
        let Some(look) = looks.iter().find(|l| l.name == series.name) else { continue };
        let band: Vec<_> = series.points.iter().zip(&series.band).map(|(q, b)| bounds((q.0, b.0, b.1))).collect();
        s.area(&band, &format!("bn f{}", look.style.slot));
    }
    frame::references(s, &f, &p.references, |s| {
        for series in &p.series {
            let Some(look) = looks.iter().find(|l| l.name == series.name) else { continue };
            s.titled(&series.name, |s| line(s, series, look, at));
        }
    });
    f
}

fn line(s: &mut Svg, series: &Series, look: &Look, at: impl Fn(&(f64, f64)) -> (f64, f64)) {
    let place = |points: &[(f64, f64)]| -> Vec<(f64, f64)> { points.iter().map(&at).collect() };
    let smooth = series.points.len() > SMOOTH_ABOVE && series.band.is_empty();
    if smooth {
        s.polyline(&place(&thin(&series.points)), &format!("l raw k{}", look.style.slot));
    }
    let points = place(&thin(&if smooth { running_mean(&series.points) } else { series.points.clone() }));
    s.polyline(&points, &format!("l {}", palette::stroke(look.style, look.variant)));
    let marker = palette::fill(look.style, look.variant);
    if points.len() <= MARK_ALL {
        for q in &points {
            s.marker(look.style.marker, *q, 2.8, &marker);
        }
    } else {
        // a few markers tell lines apart without colour
        for k in 0..5 {
            if let Some(q) = points.get(k * (points.len() - 1) / 4) {
                s.marker(look.style.marker, *q, 2.8, &marker);
            }
        }
    }
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

    #[test]
    fn lines_of_one_arm_differ_unless_they_are_its_seeds() {
        let series = ["value, seed 7", "value, seed 42", "control", "value, frozen probe", "other", "another"];
        let panel =
            LinePanel { series: series.map(|n| Series::new(n, vec![(0.0, 1.0)])).to_vec(), ..Default::default() };
        let looks = looks(&[panel]);
        let of = |at: usize| (looks[at].key.as_str(), looks[at].style.slot, looks[at].variant);
        assert_eq!((of(0), of(1)), (("value", 2, 0), ("value", 2, 0)));
        assert_eq!((of(2), of(3)), (("control", 1, 0), ("value, frozen probe", 2, 1)));
        let mut seen: Vec<(usize, usize)> = [0, 2, 3, 4, 5].iter().map(|i| (of(*i).1, of(*i).2)).collect();
        seen.sort_unstable();
        seen.dedup();
        assert_eq!(seen.len(), 5, "no two keys look alike");
    }
}
