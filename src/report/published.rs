//! What the original study printed, with what an audit of its files found (`data/published.toml`).

use serde::Deserialize;

use crate::battery::record::{Cell, Table};

use super::html::escape;
use super::page::Files;
use super::read::Run;
use super::verdicts::{test_number, test_title};

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Published {
    figure: Vec<PublishedFigure>,
}

/// One printed figure.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PublishedFigure {
    domain: String,
    test: u32,
    /// The one that the first screen shows.
    #[serde(default)]
    headline: bool,
    claim: String,
    printed: String,
    status: Status,
    audit: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Status {
    /// Recomputed from the study's files.
    Checked,
    /// The study's files do not hold the data.
    CannotBeRecomputed,
    /// The number, or what it is said to show, comes from a defect of the measurement.
    Artefact,
}

impl Status {
    /// Word, CSS class and glyph.
    fn show(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Checked => ("checked", "good", "✓"),
            Self::CannotBeRecomputed => ("cannot be recomputed", "unknown", "?"),
            Self::Artefact => ("artefact", "bad", "✗"),
        }
    }
}

fn parse() -> Result<Published, toml::de::Error> {
    toml::from_str(include_str!("../../data/published.toml"))
}

/// Figures of a domain, in the order of the file. The file is compiled in and parsed in a test.
fn figures(domain: &str) -> Vec<PublishedFigure> {
    let all = parse().map(|p| p.figure).unwrap_or_default();
    all.into_iter().filter(|f| f.domain == domain).collect()
}

fn audit(f: &PublishedFigure) -> String {
    let (word, class, glyph) = f.status.show();
    format!("<span class=\"au {class}\"><span aria-hidden=\"true\">{glyph}</span> {word}:</span> {}", escape(&f.audit))
}

/// The study's headline figures beside this run's, for a run of the paper profile; nothing for others.
pub fn first_screen(run: &Run, files: &mut Files) -> String {
    let all = figures(&run.manifest.domain);
    let rows: Vec<_> = run
        .tests
        .iter()
        .filter_map(|t| Some((t, all.iter().find(|f| f.headline && Some(f.test) == test_number(t))?)))
        .collect();
    if run.manifest.profile != "paper" || rows.is_empty() {
        return String::new();
    }
    let own = |t: &super::read::TestFolder| {
        t.result.as_ref().map_or_else(|| "not run yet".to_string(), |r| r.headline.summary.clone())
    };
    let cell = |text: &str| Cell::Text(text.to_string());
    let columns = ["test", "this_run", "published", "printed", "status", "audit"].map(str::to_string).to_vec();
    let table = Table {
        title: "Published figures".to_string(),
        columns,
        rows: rows
            .iter()
            .map(|(t, f)| {
                let own = own(t);
                [t.id.as_str(), &own, &f.claim, &f.printed, f.status.show().0, &f.audit].map(cell).to_vec()
            })
            .collect(),
    };
    files.data("published", &table);
    let mut out = String::from(
        "<section id=\"published\"><h3>The study's statistic, here and as published</h3>\
         <table class=\"published\"><thead><tr><th scope=\"col\">Test</th><th scope=\"col\">This run</th>\
         <th scope=\"col\">Published figures</th><th scope=\"col\">Audit of the published figure</th></tr></thead><tbody>",
    );
    for (t, f) in rows {
        out.push_str(&format!(
            "<tr><td class=\"t\">{}</td><td data-l=\"This run:\">{}</td><td data-l=\"Published:\">{} <span class=\"mu\">({})</span></td>\
             <td data-l=\"Audit:\">{}</td></tr>",
            escape(&test_title(t)),
            escape(&own(t)),
            escape(&f.claim),
            escape(&f.printed),
            audit(f)
        ));
    }
    out.push_str(&format!(
        "</tbody></table><p class=\"note\">{} \
         <a class=\"file\" href=\"tables/published.csv\">tables/published.csv</a></p></section>",
        arms_there(&run.manifest.domain)
    ));
    out
}

/// What the study calls the arms.
fn arms_there(domain: &str) -> &'static str {
    if domain == "honesty" {
        "The study's honest model is called by its design (curriculum, flip8); its “baseline” is trained on other data than control here."
    } else {
        "The study calls control “baseline” and value “frugal”."
    }
}

/// Everything that was printed for one test, closed.
pub fn of_test(run: &Run, test: u32) -> String {
    let of: Vec<_> = figures(&run.manifest.domain).into_iter().filter(|f| f.test == test).collect();
    if of.is_empty() {
        return String::new();
    }
    let mut out = String::from("<details class=\"more\"><summary>What the study printed, and its audit</summary><ul>");
    for f in &of {
        out.push_str(&format!(
            "<li>{} <span class=\"mu\">({})</span><br>{}</li>",
            escape(&f.claim),
            escape(&f.printed),
            audit(f)
        ));
    }
    out.push_str("</ul></details>");
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_has_one_audited_headline() {
        let all = parse().expect("data/published.toml is read at run time").figure;
        for (domain, absent) in [("frugality", None), ("honesty", Some(7))] {
            for test in (1..=8).filter(|t| Some(*t) != absent) {
                let of: Vec<_> = all.iter().filter(|f| f.domain == domain && f.test == test).collect();
                assert_eq!(of.iter().filter(|f| f.headline).count(), 1, "{domain}, test {test}");
            }
            assert!(all.iter().all(|f| f.domain != domain || Some(f.test) != absent));
        }
        assert_eq!(all.len(), figures("frugality").len() + figures("honesty").len());
        for f in &all {
            assert!((1..=8).contains(&f.test), "{}", f.claim);
            assert!(!f.claim.is_empty() && !f.printed.is_empty() && !f.audit.is_empty(), "{}", f.claim);
            assert!(f.claim.bytes().any(|b| b.is_ascii_digit()) || f.status != Status::Checked, "{}", f.claim);
        }
        let status =
            |test, start: &str| all.iter().find(|f| f.test == test && f.claim.starts_with(start)).unwrap().status;
        assert_eq!(status(1, "Accuracy"), Status::Checked);
        assert_eq!(status(4, "The control model's probe"), Status::Artefact);
        assert_eq!(status(8, "Three seeds"), Status::CannotBeRecomputed);
        assert_eq!(status(1, "Flips fall from 100 over 18.4 to 0 %"), Status::Checked);
    }
}
