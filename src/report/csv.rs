//! CSV (RFC 4180) of tables and figures, numbers in full precision.

use crate::battery::record::{Cell, Table};

/// Rows of text and numbers on their way to a file.
pub struct Csv(String);

impl Csv {
    pub fn new(header: &[&str]) -> Self {
        let mut csv = Self(String::new());
        csv.row(header.iter().map(|h| field(h)));
        csv
    }

    /// One line; every value must have gone through [`field`] or [`value`].
    pub fn row(&mut self, values: impl IntoIterator<Item = String>) {
        self.0.push_str(&values.into_iter().collect::<Vec<_>>().join(","));
        self.0.push_str("\r\n");
    }

    pub fn finish(self) -> String {
        self.0
    }
}

/// A text field, quoted where it must be.
pub fn field(text: &str) -> String {
    if text.contains([',', '"', '\n', '\r']) { format!("\"{}\"", text.replace('"', "\"\"")) } else { text.to_string() }
}

/// The shortest decimal that reads back as the same number; empty for NaN.
pub fn value(x: f64) -> String {
    if x.is_nan() { String::new() } else { x.to_string() }
}

pub fn table(table: &Table) -> String {
    let header: Vec<&str> = table.columns.iter().map(String::as_str).collect();
    let mut csv = Csv::new(&header);
    for row in &table.rows {
        csv.row(row.iter().map(|cell| match cell {
            Cell::Text(t) => field(t),
            Cell::Number(x) => value(*x),
        }));
    }
    csv.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quoting() {
        let t = Table {
            title: String::new(),
            columns: vec!["a,b".into(), "x".into()],
            rows: vec![vec![Cell::Text("say \"hi\"\n".into()), Cell::Number(0.1)], vec![Cell::Number(f64::NAN)]],
        };
        assert_eq!(table(&t), "\"a,b\",x\r\n\"say \"\"hi\"\"\n\",0.1\r\n\r\n");
    }
}
