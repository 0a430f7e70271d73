//! Colours of figures: Okabe and Ito's palette, told apart with the common colour-vision deficiencies, and a marker and a
//! dash for each colour so that nothing depends on colour alone.

use super::svg::Marker;

/// How a series looks: classes `f{n}` (fill), `k{n}` (stroke) and `d{n}` (dash).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style {
    pub slot: usize,
    pub marker: Marker,
}

/// (light page, dark page, marker, dash) of each slot.
const SLOTS: [(&str, &str, Marker, &str); 7] = [
    ("#6b6f76", "#a4aab2", Marker::Circle, "none"),
    ("#d55e00", "#e8772a", Marker::Triangle, "6 3"),
    ("#0072b2", "#56b4e9", Marker::Square, "none"),
    ("#009e73", "#1fbf92", Marker::Diamond, "2 2"),
    ("#cc79a7", "#dd93bb", Marker::Down, "8 3 2 3"),
    ("#e69f00", "#f0b429", Marker::Diamond, "10 4"),
    ("#56b4e9", "#7fb2ff", Marker::Circle, "4 2 1 2"),
];

/// Arms that have a colour of their own, everywhere in a report.
const ARMS: [(&str, usize); 6] =
    [("base", 0), ("control", 1), ("value", 2), ("value-sft", 3), ("prompted", 4), ("opposite", 5)];

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
         .fig path.raw{stroke-width:1;stroke-opacity:.3;stroke-dasharray:none}",
    );
    let mut dark = String::from(
        ".fig text{fill:#e6e8ea}.fig text.mu{fill:#a4aab2}.fig .bg{fill:#15181c}\
         .fig .ax{stroke:#7b828a}.fig .gr{stroke:#2c3137}.fig .ze{stroke:#e6e8ea}\
         .fig .bd{fill:#56b4e9;fill-opacity:.14}.fig .be{stroke:#56b4e9}.fig .ho{fill:#15181c}",
    );
    for (i, (on_light, on_dark, _, dash)) in SLOTS.iter().enumerate() {
        light.push_str(&format!(
            ".fig .f{i}{{fill:{on_light}}}.fig .k{i}{{stroke:{on_light}}}.fig .d{i}{{stroke-dasharray:{dash}}}"
        ));
        dark.push_str(&format!(".fig .f{i}{{fill:{on_dark}}}.fig .k{i}{{stroke:{on_dark}}}"));
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
    }
}
