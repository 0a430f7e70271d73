//! A small deterministic SVG writer: shapes, and text that knows its width.
//!
//! Colours are classes (see `palette`), so one drawing serves light and dark pages.

use super::html::escape;

/// Font size of every figure, in user units.
pub const FONT: f64 = 12.0;

/// A drawing in progress, `width` user units wide; the height is known when it is finished.
pub struct Svg {
    pub width: f64,
    body: String,
}

/// Where the given x of a text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Anchor {
    Start,
    Middle,
    End,
}

/// Shapes that tell series apart without colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marker {
    Circle,
    Square,
    Triangle,
    Diamond,
    Down,
    /// × and +.
    Cross,
    Plus,
}

/// Outline of +, turned by an eighth for ×.
const PLUS: [(f64, f64); 12] = [
    (-0.42, -1.25),
    (0.42, -1.25),
    (0.42, -0.42),
    (1.25, -0.42),
    (1.25, 0.42),
    (0.42, 0.42),
    (0.42, 1.25),
    (-0.42, 1.25),
    (-0.42, 0.42),
    (-1.25, 0.42),
    (-1.25, -0.42),
    (-0.42, -0.42),
];

/// One decimal, without a trailing zero: keeps files small and equal on every machine.
fn c(x: f64) -> String {
    let rounded = (x * 10.0).round() / 10.0;
    let text = format!("{:.1}", if rounded == 0.0 { 0.0 } else { rounded });
    text.strip_suffix(".0").map(str::to_string).unwrap_or(text)
}

impl Svg {
    pub fn new(width: f64) -> Self {
        Self { width, body: String::new() }
    }

    pub fn line(&mut self, from: (f64, f64), to: (f64, f64), class: &str) {
        self.body.push_str(&format!(
            "<line class=\"{class}\" x1=\"{}\" y1=\"{}\" x2=\"{}\" y2=\"{}\"/>",
            c(from.0),
            c(from.1),
            c(to.0),
            c(to.1)
        ));
    }

    /// A rectangle given by two opposite corners.
    pub fn rect(&mut self, a: (f64, f64), b: (f64, f64), class: &str) {
        self.body.push_str(&format!(
            "<rect class=\"{class}\" x=\"{}\" y=\"{}\" width=\"{}\" height=\"{}\"/>",
            c(a.0.min(b.0)),
            c(a.1.min(b.1)),
            c((b.0 - a.0).abs()),
            c((b.1 - a.1).abs())
        ));
    }

    /// A line through `points`, interrupted where a coordinate is not finite; a lone point becomes a dot.
    pub fn polyline(&mut self, points: &[(f64, f64)], class: &str) {
        let mut d = String::new();
        for run in points.split(|p| !p.0.is_finite() || !p.1.is_finite()) {
            for (i, p) in run.iter().enumerate() {
                d.push_str(&format!("{}{} {}", if i == 0 { 'M' } else { 'L' }, c(p.0), c(p.1)));
            }
            if run.len() == 1 {
                d.push_str("h0");
            }
        }
        if !d.is_empty() {
            self.body.push_str(&format!("<path class=\"{class}\" d=\"{d}\"/>"));
        }
    }

    /// The area between two lines over the same x, in pieces where a coordinate is not finite.
    pub fn area(&mut self, points: &[(f64, f64, f64)], class: &str) {
        let mut d = String::new();
        for run in points.split(|p| !(p.0.is_finite() && p.1.is_finite() && p.2.is_finite())) {
            if run.len() < 2 {
                continue;
            }
            let there = run.iter().map(|p| (p.0, p.1));
            for (i, p) in there.chain(run.iter().rev().map(|p| (p.0, p.2))).enumerate() {
                d.push_str(&format!("{}{} {}", if i == 0 { 'M' } else { 'L' }, c(p.0), c(p.1)));
            }
            d.push('Z');
        }
        if !d.is_empty() {
            self.body.push_str(&format!("<path class=\"{class}\" d=\"{d}\"/>"));
        }
    }

    pub fn text(&mut self, at: (f64, f64), anchor: Anchor, class: &str, text: &str) {
        let anchor = match anchor {
            Anchor::Start => "",
            Anchor::Middle => " text-anchor=\"middle\"",
            Anchor::End => " text-anchor=\"end\"",
        };
        let class = if class.is_empty() { String::new() } else { format!(" class=\"{class}\"") };
        self.body.push_str(&format!(
            "<text{class} x=\"{}\" y=\"{}\"{anchor}>{}</text>",
            c(at.0),
            c(at.1),
            escape(text)
        ));
    }

    /// A marker of half-width `r` centred on `at`.
    pub fn marker(&mut self, shape: Marker, at: (f64, f64), r: f64, class: &str) {
        let (x, y) = at;
        if !x.is_finite() || !y.is_finite() {
            return;
        }
        let points: &[(f64, f64)] = match shape {
            Marker::Circle => {
                self.body.push_str(&format!(
                    "<circle class=\"{class}\" cx=\"{}\" cy=\"{}\" r=\"{}\"/>",
                    c(x),
                    c(y),
                    c(r)
                ));
                return;
            }
            Marker::Square => return self.rect((x - 0.9 * r, y - 0.9 * r), (x + 0.9 * r, y + 0.9 * r), class),
            Marker::Triangle => &[(0.0, -1.1), (1.1, 0.9), (-1.1, 0.9)],
            Marker::Down => &[(0.0, 1.1), (1.1, -0.9), (-1.1, -0.9)],
            Marker::Diamond => &[(0.0, -1.3), (1.3, 0.0), (0.0, 1.3), (-1.3, 0.0)],
            Marker::Plus => &PLUS,
            Marker::Cross => &PLUS.map(|p| ((p.0 - p.1) * 0.75, (p.0 + p.1) * 0.75)),
        };
        let d: String = points
            .iter()
            .enumerate()
            .map(|(i, p)| format!("{}{} {}", if i == 0 { 'M' } else { 'L' }, c(x + p.0 * r), c(y + p.1 * r)))
            .collect();
        self.body.push_str(&format!("<path class=\"{class}\" d=\"{d}Z\"/>"));
    }

    /// Everything drawn inside `draw` shows `title` when pointed at.
    pub fn titled(&mut self, title: &str, draw: impl FnOnce(&mut Self)) {
        self.body.push_str(&format!("<g><title>{}</title>", escape(title)));
        draw(self);
        self.body.push_str("</g>");
    }

    /// The element for a page: no namespace, no style; `id` must be unique on the page.
    pub fn inline(&self, height: f64, id: &str, class: &str, title: &str, desc: &str) -> String {
        format!(
            "<svg class=\"fig {class}\" viewBox=\"0 0 {w} {h}\" role=\"img\" aria-labelledby=\"{id}-t {id}-d\">\
             <title id=\"{id}-t\">{}</title><desc id=\"{id}-d\">{}</desc>{}</svg>",
            escape(title),
            escape(desc),
            self.body,
            w = c(self.width),
            h = c(height)
        )
    }

    /// A file of its own, with `style` inside and a margin around.
    pub fn standalone(&self, height: f64, style: &str, title: &str, desc: &str) -> String {
        const MARGIN: f64 = 12.0;
        let place = format!("width=\"{}\" height=\"{}\"", c(self.width + 2.0 * MARGIN), c(height + 2.0 * MARGIN));
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" class=\"fig\" {place} viewBox=\"-{m} -{m} {w} {h}\" role=\"img\">\n\
             <title>{}</title>\n<desc>{}</desc>\n<style>{style}</style>\n\
             <rect class=\"bg\" x=\"-{m}\" y=\"-{m}\" {place}/>\n{}\n</svg>\n",
            escape(title),
            escape(desc),
            self.body,
            m = c(MARGIN),
            w = c(self.width + 2.0 * MARGIN),
            h = c(height + 2.0 * MARGIN)
        )
    }
}

/// Width of `text` at `size`, from rounded-up advances of common sans-serif fonts: labels may get too much room, never
/// too little.
pub fn text_width(text: &str, size: f64) -> f64 {
    let em = |ch: char| match ch {
        'i' | 'l' | 'j' | '.' | ',' | ':' | ';' | '\'' | '|' | '!' => 0.32,
        'f' | 't' | 'r' | '(' | ')' | '[' | ']' | '-' | ' ' | '/' => 0.41,
        'm' | 'w' | 'M' | 'W' | '@' | '%' => 0.98,
        'A'..='Z' => 0.72,
        '0'..='9' => 0.64,
        '\u{2e80}'.. => 1.05,
        _ => 0.63,
    };
    text.chars().map(em).sum::<f64>() * size
}

/// Breaks `text` at spaces (and inside words that are too long) into at most `max_lines` lines of `width`; the last line
/// ends in `…` when something had to go.
pub fn wrap(text: &str, width: f64, size: f64, max_lines: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    let mut line = String::new();
    for word in text.split_whitespace() {
        let joined = if line.is_empty() { word.to_string() } else { format!("{line} {word}") };
        if text_width(&joined, size) <= width {
            line = joined;
            continue;
        }
        if !line.is_empty() {
            lines.push(std::mem::take(&mut line));
        }
        for ch in word.chars() {
            line.push(ch);
            if text_width(&line, size) > width && line.chars().count() > 1 {
                line.pop();
                lines.push(std::mem::take(&mut line));
                line.push(ch);
            }
        }
    }
    lines.push(line);
    if lines.len() > max_lines.max(1) {
        lines.truncate(max_lines.max(1));
        if let Some(last) = lines.last_mut() {
            while !last.is_empty() && text_width(last, size) + size > width {
                last.pop();
            }
            last.push('…');
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wrapping() {
        let lines = wrap("log tokens, value − control, held-out families", 120.0, FONT, 9);
        assert!(lines.len() > 1 && lines.iter().all(|l| text_width(l, FONT) <= 120.0), "{lines:?}");
        assert_eq!(lines.join(" "), "log tokens, value − control, held-out families");
        let cut = wrap(&"x".repeat(500), 100.0, FONT, 2);
        assert_eq!(cut.len(), 2);
        assert!(cut[1].ends_with('…'));
    }

    #[test]
    fn gaps_break_a_line() {
        let mut svg = Svg::new(10.0);
        svg.polyline(&[(0.0, 1.0), (1.0, 2.0), (f64::NAN, 0.0), (3.0, 4.04)], "l");
        assert!(svg.inline(10.0, "a", "", "t", "d").contains("d=\"M0 1L1 2M3 4h0\""));
    }
}
