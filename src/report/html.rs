//! Escaping, and tables as HTML.

use crate::battery::record::{Cell, Table};

use super::number;

/// Rows of a table that a page prints; the CSV has them all.
const MAX_TABLE_ROWS: usize = 200;

/// Text for HTML or XML content and double-quoted attributes. Control and direction-changing characters, which could hide or
/// reorder what a model wrote, are made visible.
pub fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    for ch in text.chars() {
        match ch {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(ch),
            '\0'..='\u{1f}' => out.push(char::from_u32(0x2400 + ch as u32).unwrap_or('\u{fffd}')),
            '\u{7f}' => out.push('␡'),
            '\u{80}'..='\u{9f}'
            | '\u{200e}'
            | '\u{200f}'
            | '\u{202a}'..='\u{202e}'
            | '\u{2066}'..='\u{2069}'
            | '\u{fffe}'
            | '\u{ffff}' => out.push_str(&format!("⟨U+{:04X}⟩", ch as u32)),
            _ => out.push(ch),
        }
    }
    out
}

/// A name that is safe as part of a file name and of an HTML id.
pub fn slug(text: &str) -> String {
    let mut out = String::new();
    for ch in text.chars().flat_map(char::to_lowercase) {
        if ch.is_ascii_alphanumeric() || ch == '_' {
            out.push(ch);
        } else if !out.is_empty() && !out.ends_with('-') {
            out.push('-');
        }
        if out.len() >= 60 {
            break;
        }
    }
    let out = out.trim_end_matches('-');
    if out.is_empty() { "x".to_string() } else { out.to_string() }
}

/// Does a column of this name hold p-values?
fn is_p(column: &str) -> bool {
    let name = column.trim();
    name == "p" || ["p ", "p(", "p,", "p_"].iter().any(|start| name.starts_with(start)) || name.ends_with(" p")
}

/// Cells of one column as text: whole numbers in full, others with decimals that suit the largest of them.
fn column_text(table: &Table, at: usize) -> Vec<String> {
    let numbers = || {
        table.rows.iter().filter_map(|r| match r.get(at) {
            Some(Cell::Number(x)) if x.is_finite() => Some(*x),
            _ => None,
        })
    };
    let whole = numbers().all(|x| x.fract() == 0.0);
    let decimals = number::decimals_for(numbers().fold(0.0, |m: f64, x| m.max(x.abs())));
    let p = table.columns.get(at).is_some_and(|c| is_p(c));
    let percent = table.columns.get(at).is_some_and(|c| c.ends_with('%'));
    let decimals = if percent { 1 } else { decimals };
    table
        .rows
        .iter()
        .map(|row| match row.get(at) {
            None => String::new(),
            Some(Cell::Text(t)) => t.clone(),
            Some(Cell::Number(x)) if p && x.is_finite() => number::p_value(*x),
            Some(Cell::Number(x)) if whole && !percent => number::num(*x),
            // a value too small for the column's decimals keeps its own
            Some(Cell::Number(x)) if !percent && *x != 0.0 && x.abs() < 0.5 * 10f64.powi(-(decimals as i32)) => {
                number::num(*x)
            }
            Some(Cell::Number(x)) => number::fixed(*x, decimals),
        })
        .collect()
}

/// Rows from which on a table is folded.
const LONG_TABLE: usize = 24;

/// A table in its own scrolling box; `csv` is its file in the run folder.
pub fn table(table: &Table, csv: Option<&str>) -> String {
    let columns: Vec<Vec<String>> = (0..table.columns.len()).map(|at| column_text(table, at)).collect();
    let numeric: Vec<bool> = (0..table.columns.len())
        .map(|at| {
            let mut cells = table.rows.iter().filter_map(|r| r.get(at)).peekable();
            cells.peek().is_some() && cells.all(|c| matches!(c, Cell::Number(_)))
        })
        .collect();
    let class = |at: usize| if numeric.get(at) == Some(&true) { " class=\"n\"" } else { "" };
    let mut out = format!("<p class=\"cap\">{}", escape(&table.title));
    if let Some(csv) = csv {
        out.push_str(&format!(" <a class=\"file\" href=\"{}\">CSV</a>", escape(csv)));
    }
    out.push_str("</p>");
    let long = table.rows.len() > LONG_TABLE;
    if long {
        let rows = number::plural(table.rows.len(), "row", "rows");
        out.push_str(&format!("<details class=\"more\"><summary>{rows}</summary>"));
    }
    out.push_str(&format!(
        "<div class=\"scroll\" tabindex=\"0\"><table aria-label=\"{}\"><thead><tr>",
        escape(&table.title)
    ));
    for (at, name) in table.columns.iter().enumerate() {
        out.push_str(&format!("<th scope=\"col\"{}>{}</th>", class(at), escape(name)));
    }
    out.push_str("</tr></thead><tbody>");
    for row in 0..table.rows.len().min(MAX_TABLE_ROWS) {
        out.push_str("<tr>");
        for (at, column) in columns.iter().enumerate() {
            let text = column.get(row).map(String::as_str).unwrap_or_default();
            out.push_str(&format!("<td{}>{}</td>", class(at), escape(text)));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div>");
    if long {
        out.push_str("</details>");
    }
    if table.rows.len() > MAX_TABLE_ROWS {
        out.push_str(&format!(
            "<p class=\"note\">The first {MAX_TABLE_ROWS} of {} rows; all of them are in the CSV file.</p>",
            number::count(table.rows.len())
        ));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaping() {
        assert_eq!(escape("<b a=\"x\">&'</b>"), "&lt;b a=&quot;x&quot;&gt;&amp;&#39;&lt;/b&gt;");
        assert_eq!(escape("日本\u{202e}\0\r\n"), "日本⟨U+202E⟩␀␍\n");
        assert_eq!(slug("../../etc/Passwd <x>"), "etc-passwd-x");
        assert_eq!(slug("日本"), "x");
    }

    #[test]
    fn columns() {
        let t = Table {
            title: "t".into(),
            columns: vec!["arm".into(), "n".into(), "mean".into(), "p".into()],
            rows: vec![
                vec![Cell::Text("<a>".into()), Cell::Number(200.0), Cell::Number(3.0), Cell::Number(0.00001)],
                vec![Cell::Text("b".into()), Cell::Number(12345.0), Cell::Number(12.345), Cell::Number(f64::NAN)],
                vec![Cell::Text("short row".into())],
            ],
        };
        let html = table(&t, None);
        assert!(html.contains(
            "<td>&lt;a&gt;</td><td class=\"n\">200</td><td class=\"n\">3.0</td><td class=\"n\">&lt;0.001</td>"
        ));
        assert!(html.contains("<td class=\"n\">12.3</td><td class=\"n\">—</td>"), "{html}");
    }
}
