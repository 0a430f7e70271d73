//! Comma-separated values by RFC 4180: quoted fields may hold commas, line ends and doubled quotes.

use crate::domain::DomainError;

/// One record and the line (from 1) on which it begins.
pub struct Record {
    pub line: usize,
    pub fields: Vec<String>,
}

/// All records, the header first; lines without a character are skipped.
///
/// # Errors
/// A quote that is never closed, and text between a closing quote and the next comma, each with its line.
pub fn records(origin: &str, text: &str) -> Result<Vec<Record>, DomainError> {
    let bad = |line: usize, detail: &str| DomainError::Malformed {
        origin: format!("{origin}, line {line}"),
        detail: detail.into(),
    };
    let (mut out, mut fields, mut field) = (Vec::new(), Vec::new(), String::new());
    let (mut line, mut begun) = (1, 1);
    let mut chars = text.chars().peekable();
    // Whether the field was quoted, which tells an empty field from an empty line.
    let mut quoted = false;
    loop {
        match chars.next() {
            Some('"') if field.is_empty() && !quoted => {
                quoted = true;
                let opened = line;
                loop {
                    match chars.next() {
                        Some('"') if chars.peek() == Some(&'"') => {
                            chars.next();
                            field.push('"');
                        }
                        Some('"') => break,
                        Some(c) => {
                            line += usize::from(c == '\n');
                            field.push(c);
                        }
                        None => {
                            return Err(bad(
                                opened,
                                "a quoted field is never closed; close it, or double a quote inside",
                            ));
                        }
                    }
                }
                if !matches!(chars.peek(), None | Some(',' | '\n' | '\r')) {
                    return Err(bad(line, "text follows a closing quote; double the quotes inside a quoted field"));
                }
            }
            Some(',') => {
                fields.push(std::mem::take(&mut field));
                quoted = false;
            }
            Some('\r') if chars.peek() == Some(&'\n') => {}
            end @ (Some('\n') | None) => {
                if quoted || !field.is_empty() || !fields.is_empty() {
                    fields.push(std::mem::take(&mut field));
                    out.push(Record { line: begun, fields: std::mem::take(&mut fields) });
                }
                quoted = false;
                if end.is_none() {
                    return Ok(out);
                }
                line += 1;
                begun = line;
            }
            Some(c) => field.push(c),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Vec<Vec<String>>, DomainError> {
        Ok(records("f.csv", text)?.into_iter().map(|r| r.fields).collect())
    }

    #[test]
    fn quotes_hold_commas_line_ends_and_doubled_quotes() {
        let text = "a,b\r\n\"x, \"\"y\"\"\nz\",\r\n\n1,\"\"\n2,3";
        assert_eq!(read(text).unwrap(), [["a", "b"], ["x, \"y\"\nz", ""], ["1", ""], ["2", "3"]]);
        assert_eq!(records("f", text).unwrap().iter().map(|r| r.line).collect::<Vec<_>>(), [1, 2, 5, 6]);
        // A quote inside an unquoted field is a character.
        assert_eq!(read("5\" nail,b").unwrap(), [["5\" nail", "b"]]);
        assert!(read("").unwrap().is_empty() && read("\n\r\n").unwrap().is_empty());
    }

    #[test]
    fn broken_quotes_are_named_with_their_line() {
        let of = |text: &str| read(text).unwrap_err().to_string();
        assert!(of("a\nb,\"c\nd").starts_with("f.csv, line 2: a quoted field is never closed"));
        assert!(of("a\n\"b\"c").starts_with("f.csv, line 2: text follows a closing quote"));
    }
}
