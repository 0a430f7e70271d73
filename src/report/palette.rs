//! Colours of figures: Okabe and Ito's palette, lighter or darker where a background asks for it, told apart with the common
//! colour-vision deficiencies, and a marker and a dash for each colour so that nothing depends on colour alone.

use super::svg::Marker;

/// How a series looks: classes `f{n}` (fill), `k{n}` (stroke) and `d{n}` (dash).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub slot: usize,
    pub marker: Marker,
}

/// (light page, dark page, marker, dash) of each slot.
const SLOTS: [(&str, &str, Marker, &str); 7] = [
    ("#55595f", "#d5d8dc", Marker::Circle, "1 4"),
    ("#d55e00", "#e8772a", Marker::Triangle, "7 4"),
    ("#0072b2", "#4aa3e0", Marker::Square, "none"),
    ("#009e73", "#1fbf92", Marker::Diamond, "8 4 1 4"),
    ("#cc79a7", "#c45f96", Marker::Down, "3 4"),
    ("#e69f00", "#f2c230", Marker::Cross, "14 4"),
    ("#7a5cc0", "#b39cf0", Marker::Plus, "10 4 1 4 1 4"),
];

/// Dashes of further lines of one arm, whose markers are hollow.
const VARIANTS: [&str; 3] = ["2 4", "10 3 2 3", "5 5"];

/// Arms that have a colour of their own, everywhere in a report.
const ARMS: [(&str, usize); 9] = [
    ("base", 0),
    ("control", 1),
    ("value", 2),
    ("value-sft", 3),
    ("prompted", 4),
    ("opposite", 5),
    // As the honesty domain calls them.
    ("honest", 2),
    ("honest-sft", 3),
    ("deceptive", 5),
];

/// The look of the arm that `name` is of (`value`, `value, seed 42`), if it is of one; a contrast of arms is of none.
pub fn arm(name: &str) -> Option<Style> {
    let (_, slot) = ARMS.iter().find(|(arm, _)| {
        name.strip_prefix(arm)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with([',', ':', '(', '/']) || rest.starts_with(" seed"))
    })?;
    Some(Style { slot: *slot, marker: SLOTS[*slot].2 })
}

/// The look of a series: that of its arm, else by `position`.
pub fn style(name: &str, position: usize) -> Style {
    arm(name).unwrap_or_else(|| {
        let slot = [2, 1, 3, 4, 5, 6, 0][position % 7];
        Style { slot, marker: SLOTS[slot].2 }
    })
}

/// A series' name without its seed: seeds of one arm look alike.
pub fn without_seed(name: &str) -> &str {
    let cut = name.find(", seed ").or_else(|| name.find(" seed "));
    if arm(name).is_some() { cut.map_or(name, |at| &name[..at]) } else { name }
}

/// Classes of a line: colour and dash; `variant` > 0 is a further line of the same colour.
pub fn stroke(style: Style, variant: usize) -> String {
    match variant {
        0 => format!("k{0} d{0}", style.slot),
        v => format!("k{} v{}", style.slot, (v - 1) % VARIANTS.len()),
    }
}

/// Classes of a marker: filled, or hollow for a further line of the same colour.
pub fn fill(style: Style, variant: usize) -> String {
    if variant == 0 { format!("f{}", style.slot) } else { format!("ho k{}", style.slot) }
}

/// Rules of every figure, for a page and for a file of its own. No custom properties: many SVG readers do not know them.
pub fn css() -> String {
    let mut light = String::from(
        ".fig{font:12px system-ui,-apple-system,'Segoe UI',Roboto,Helvetica,Arial,sans-serif;font-variant-numeric:tabular-nums}\
         .fig text{fill:#1d2024}.fig text.mu{fill:#5a6068}.fig text.b{font-weight:600}\
         .fig line,.fig path.l{fill:none;stroke-width:1}.fig .bg{fill:#fff}\
         .fig .ax{stroke:#8d939a}.fig .gr{stroke:#e6e7e8}.fig .ze{stroke:#1d2024;stroke-width:1.2}\
         .fig .bd{fill:#0072b2;fill-opacity:.1}.fig .be{stroke:#0072b2;stroke-opacity:.55;stroke-dasharray:3 3}\
         .fig .bar{fill-opacity:.22}.fig .ho{fill:#fff;stroke-width:1.6}.fig .pt{fill-opacity:.4}\
         .fig .wh{stroke-width:1.8}.fig path.l{stroke-width:1.8;stroke-linejoin:round;stroke-linecap:round}\
         .fig path.raw{stroke-width:1;stroke-opacity:.3;stroke-dasharray:none}\
         .fig path.rd{fill:none;stroke:#8d939a;stroke-width:.8;stroke-opacity:.3}\
         .fig .nu{fill:#8d939a;fill-opacity:.22}.fig .bn{fill-opacity:.14}.fig .iv{fill-opacity:.1}.fig .ok{fill:#009e73;fill-opacity:.1}\
         .fig .rf{stroke:#5a6068;stroke-dasharray:5 3}.fig .ev{stroke:#1d2024;stroke-dasharray:1.5 2.5}\
         .fig text.ha{paint-order:stroke;stroke:#fff;stroke-width:3.5px;stroke-linejoin:round}",
    );
    let mut dark = String::from(
        ".fig text{fill:#e6e8ea}.fig text.mu{fill:#a4aab2}.fig .bg{fill:#15181c}\
         .fig .ax{stroke:#7b828a}.fig .gr{stroke:#2c3137}.fig .ze{stroke:#e6e8ea}\
         .fig .bd{fill:#56b4e9;fill-opacity:.14}.fig .be{stroke:#56b4e9}.fig .ho{fill:#15181c}\
         .fig path.rd{stroke:#7b828a}.fig .nu{fill:#7b828a;fill-opacity:.3}.fig .bn{fill-opacity:.2}.fig .ok{fill:#1fbf92;fill-opacity:.14}\
         .fig .rf{stroke:#a4aab2}.fig .ev{stroke:#e6e8ea}.fig text.ha{stroke:#15181c}",
    );
    for (i, (on_light, on_dark, _, dash)) in SLOTS.iter().enumerate() {
        light.push_str(&format!(
            ".fig .f{i}{{fill:{on_light}}}.fig .k{i}{{stroke:{on_light}}}.fig .d{i}{{stroke-dasharray:{dash}}}"
        ));
        dark.push_str(&format!(".fig .f{i}{{fill:{on_dark}}}.fig .k{i}{{stroke:{on_dark}}}"));
    }
    for (i, dash) in VARIANTS.iter().enumerate() {
        light.push_str(&format!(".fig .v{i}{{stroke-dasharray:{dash}}}"));
    }
    format!("{light}@media (prefers-color-scheme:dark){{{dark}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arms_keep_their_colour() {
        assert_eq!(style("value", 5), style("value, seed 42", 0));
        assert_eq!(style("value-sft seed 7", 0).slot, 3);
        assert_eq!((arm("valued"), arm("value − control"), arm("control − base, trained")), (None, None, None));
        assert_eq!(style("other", 0).slot, 2);
        assert_eq!(without_seed("value, frozen probe, seed 7"), "value, frozen probe");
        assert_eq!((without_seed("value seed 7"), without_seed("lucky seed 7")), ("value", "lucky seed 7"));
    }

    #[test]
    fn arms_differ_without_colour() {
        for (i, a) in SLOTS.iter().enumerate() {
            assert!(SLOTS[..i].iter().all(|b| a.2 != b.2 && a.3 != b.3), "marker or dash of slot {i}");
        }
    }

    /// Machado, Oliveira & Fernandes (2009), severity 1, on linear RGB; distances in CIELAB.
    #[test]
    fn arms_differ_for_colour_blind_readers() {
        const DEUTERANOPIA: [[f64; 3]; 3] =
            [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]];
        const PROTANOPIA: [[f64; 3]; 3] =
            [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]];
        let linear = |hex: &str| -> [f64; 3] {
            [1, 3, 5].map(|at| {
                let v = f64::from(u8::from_str_radix(&hex[at..at + 2], 16).unwrap()) / 255.0;
                if v <= 0.04045 { v / 12.92 } else { ((v + 0.055) / 1.055).powf(2.4) }
            })
        };
        let times =
            |m: &[[f64; 3]; 3], v: [f64; 3]| m.map(|r| (r[0] * v[0] + r[1] * v[1] + r[2] * v[2]).clamp(0.0, 1.0));
        let lab = |v: [f64; 3]| {
            let xyz = [
                (0.4124 * v[0] + 0.3576 * v[1] + 0.1805 * v[2]) / 0.9505,
                0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2],
                (0.0193 * v[0] + 0.1192 * v[1] + 0.9505 * v[2]) / 1.089,
            ];
            let [x, y, z] = xyz.map(|t: f64| if t > 0.008856 { t.cbrt() } else { 7.787 * t + 16.0 / 116.0 });
            [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
        };
        for matrix in [DEUTERANOPIA, PROTANOPIA] {
            for on_dark in [false, true] {
                let seen: Vec<[f64; 3]> =
                    SLOTS[..6].iter().map(|s| lab(times(&matrix, linear(if on_dark { s.1 } else { s.0 })))).collect();
                for (i, a) in seen.iter().enumerate() {
                    for (j, b) in seen[..i].iter().enumerate() {
                        let d = (0..3).map(|k| (a[k] - b[k]).powi(2)).sum::<f64>().sqrt();
                        assert!(d > 12.0, "slots {i} and {j}, dark {on_dark}: {d:.1}");
                    }
                }
            }
        }
    }
}
