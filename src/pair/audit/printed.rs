//! What was printed of a table: counts, and numbers that were rounded.

use super::TESTS;
use crate::domain::tier::csv;
use crate::pair::error::{PairError, Result};

/// Columns of a file, and what stands in them. Only `name` and `n` must be there; an empty field is not known.
pub const COLUMNS: [(&str, &str); 13] = [
    ("name", "of the row"),
    ("n", "pairs of items"),
    ("refuse_free", "refusals under the first arm"),
    ("percent_free", "the same in percent, as printed (18.0)"),
    ("refuse_paid", "refusals under the second arm"),
    ("percent_paid", "the same in percent"),
    ("b", "pairs refused only under the first arm"),
    ("c", "pairs refused only under the second arm"),
    ("flip_rate", "pairs that differ, in percent; ~2 = about, 13-15 = a range"),
    ("delta_pp", "second arm minus first, in percentage points, with its sign"),
    ("chi2", "the statistic, where one is printed"),
    ("p", "the p value"),
    ("test", "exact, mid-p, corrected or uncorrected; empty = any of them"),
];

/// A number as printed, and the range that it may have been rounded from.
#[derive(Clone, Debug, PartialEq)]
pub struct Printed {
    pub text: String,
    low: f64,
    high: f64,
}

/// Room for numbers that lie on the edge of a rounding.
const EDGE: f64 = 1e-9;

impl Printed {
    pub fn holds(&self, v: f64) -> bool {
        self.low - EDGE <= v && v <= self.high + EDGE
    }

    /// Least and largest whole count whose percentage of `n` rounds to it; the first is larger where there is none.
    pub fn counts(&self, n: f64) -> (i64, i64) {
        let at = |percent: f64| percent * n / 100.0;
        ((at(self.low) - 1e-6).ceil() as i64, (at(self.high) + 1e-6).floor() as i64)
    }

    /// `0.72`, `−6.5`, `18 %`, `~2` (one unit of the last digit off), `13-15`.
    fn parse(text: &str) -> Option<Self> {
        let plain = text.replace(['\u{2212}', '\u{2013}'], "-").replace(['%', ' '], "");
        let (about, body) = plain.strip_prefix('~').map_or((false, plain.as_str()), |rest| (true, rest));
        let one = |part: &str| -> Option<(f64, f64)> {
            let number = part.strip_prefix('+').unwrap_or(part);
            if !number.chars().all(|c| c.is_ascii_digit() || c == '.' || c == '-') {
                return None;
            }
            let value: f64 = number.parse().ok()?;
            let decimals = number.split_once('.').map_or(0, |(_, d)| d.len() as i32);
            Some((value, 10f64.powi(-decimals) * if about { 1.0 } else { 0.5 }))
        };
        let (low, high) = match body.char_indices().skip(1).find(|(_, c)| *c == '-') {
            Some((at, _)) => (one(&body[..at])?, one(&body[at + 1..])?),
            None => (one(body)?, one(body)?),
        };
        (low.0 <= high.0).then(|| Self { text: text.to_string(), low: low.0 - low.1, high: high.0 + high.1 })
    }
}

/// One row of the file.
#[derive(Clone, Debug, PartialEq)]
pub struct Claim {
    pub name: String,
    pub line: usize,
    pub n: u64,
    /// Of the first and of the second arm.
    pub refused: [Option<u64>; 2],
    pub percent: [Option<Printed>; 2],
    pub b: Option<u64>,
    pub c: Option<u64>,
    pub flip_rate: Option<Printed>,
    pub delta: Option<Printed>,
    pub chi2: Option<Printed>,
    pub p: Option<Printed>,
    pub test: Option<&'static str>,
}

/// Reads the rows.
///
/// # Errors
/// A file that is no CSV, a header that lacks or has a column too much, a value that is no number.
pub fn claims(origin: &str, text: &str) -> Result<Vec<Claim>> {
    let header_error = |detail: String| PairError::Refused(format!("{origin}: {detail}"));
    let mut records = csv::records(origin, text.strip_prefix('\u{feff}').unwrap_or(text))?.into_iter();
    let header: Vec<String> =
        records.next().map(|r| r.fields.iter().map(|f| f.trim().to_string()).collect()).unwrap_or_default();
    let known: Vec<&str> = COLUMNS.iter().map(|c| c.0).collect();
    for (i, name) in header.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            return Err(header_error(format!("column {name:?} is not known; known are {}", known.join(", "))));
        }
        if header[..i].contains(name) {
            return Err(header_error(format!("column {name:?} stands there twice")));
        }
    }
    if let Some(name) = ["name", "n"].into_iter().find(|name| !header.iter().any(|h| h == name)) {
        return Err(header_error(format!(
            "no column {name}; the first line must name the columns: {}",
            known.join(", ")
        )));
    }
    records
        .map(|record| {
            if record.fields.len() != header.len() {
                let detail =
                    format!("line {} has {} fields, the header {}", record.line, record.fields.len(), header.len());
                return Err(header_error(detail));
            }
            Fields { origin, line: record.line, header: &header, values: &record.fields }.claim()
        })
        .collect()
}

/// One record by column.
struct Fields<'a> {
    origin: &'a str,
    line: usize,
    header: &'a [String],
    values: &'a [String],
}

impl Fields<'_> {
    fn claim(&self) -> Result<Claim> {
        let n = self.count("n")?.filter(|n| (1..=100_000).contains(n));
        let n = n.ok_or_else(|| self.bad("n", "a number of items from 1 to 100,000"))?;
        let p = self.printed("p", "a p value from 0 to 1")?;
        if p.as_ref().is_some_and(|p| p.high < 0.0 || p.low > 1.0) {
            return Err(self.bad("p", "a p value from 0 to 1"));
        }
        let test = match self.text("test") {
            None => None,
            Some(name) => Some(
                TESTS
                    .iter()
                    .map(|t| t.0)
                    .find(|t| *t == name)
                    .ok_or_else(|| self.bad("test", "exact, mid-p, corrected or uncorrected"))?,
            ),
        };
        Ok(Claim {
            name: self.text("name").unwrap_or_default().to_string(),
            line: self.line,
            n,
            refused: [self.count("refuse_free")?, self.count("refuse_paid")?],
            percent: [self.printed("percent_free", "a percentage")?, self.printed("percent_paid", "a percentage")?],
            b: self.count("b")?,
            c: self.count("c")?,
            flip_rate: self.printed("flip_rate", "a percentage")?,
            delta: self.printed("delta_pp", "a number of percentage points")?,
            chi2: self.printed("chi2", "a number")?,
            p,
            test,
        })
    }

    fn text(&self, column: &str) -> Option<&str> {
        let at = self.header.iter().position(|h| h == column)?;
        self.values.get(at).map(|v| v.trim()).filter(|v| !v.is_empty())
    }

    fn bad(&self, column: &'static str, wanted: &'static str) -> PairError {
        let value = self.text(column).unwrap_or_default();
        PairError::Refused(format!("{}, line {}, column {column:?}: {value:?} is not {wanted}", self.origin, self.line))
    }

    fn count(&self, column: &'static str) -> Result<Option<u64>> {
        let read = |v: &str| v.parse().map_err(|_| self.bad(column, "a whole number"));
        self.text(column).map(read).transpose()
    }

    fn printed(&self, column: &'static str, wanted: &'static str) -> Result<Option<Printed>> {
        self.text(column).map(|v| Printed::parse(v).ok_or_else(|| self.bad(column, wanted))).transpose()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding() {
        let of = |text: &str| Printed::parse(text).map(|p| (p.low, p.high));
        assert_eq!(of("0.5"), Some((0.45, 0.55)));
        assert_eq!(of("54"), Some((53.5, 54.5)));
        assert_eq!(of("\u{2212}6 %"), Some((-6.5, -5.5)));
        assert_eq!(of("~2"), Some((1.0, 3.0)));
        assert_eq!(of("13\u{2013}15"), Some((12.5, 15.5)));
        assert_eq!(of("-2--1"), Some((-2.5, -0.5)));
        for bad in ["", "x", "1e3", "nan", "15-13", "1.2.3", "~", "-"] {
            assert_eq!(of(bad), None, "{bad:?}");
        }
        assert_eq!(Printed::parse("18.0").unwrap().counts(200.0), (36, 36));
        assert!(Printed::parse("18.3").is_some_and(|p| p.counts(200.0).0 > p.counts(200.0).1));
    }
}
