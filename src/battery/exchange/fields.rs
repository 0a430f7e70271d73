//! Reading other people's JSON: text, then fields, with errors that say file, place, field and what to do.

use std::borrow::Cow;
use std::path::Path;

use serde_json::{Map, Value};

use crate::battery::error::{BatteryError, Result};

/// An error about one file.
pub fn fault(path: &Path, detail: impl Into<String>) -> BatteryError {
    BatteryError::File { path: path.into(), detail: detail.into() }
}

/// The text of a file; what is not UTF-8 is named by what it probably is.
pub fn text<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str> {
    if bytes.starts_with(b"PK\x03\x04") {
        return Err(fault(
            path,
            "is a zip file; if it is an Inspect .eval log, turn it into JSON first: \
             inspect log convert FILE --to json --output-dir DIR",
        ));
    }
    if bytes.starts_with(&[0xff, 0xfe]) || bytes.starts_with(&[0xfe, 0xff]) {
        return Err(fault(path, "is UTF-16; save it as UTF-8 (iconv -f UTF-16 -t UTF-8)"));
    }
    let text = std::str::from_utf8(bytes).map_err(|e| {
        let at = e.valid_up_to();
        let line = 1 + bytes.iter().take(at).filter(|b| **b == b'\n').count();
        fault(path, format!("line {line}: not UTF-8 (first bad byte at offset {at}); save it as UTF-8"))
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim().is_empty() {
        return Err(fault(path, "is empty; give the file that holds the per-item rows"));
    }
    Ok(text)
}

/// `text` with bare `NaN`, `Infinity` and `-Infinity`, which Python writes and JSON does not know, as `null`, and how many there were.
pub fn without_nan(text: &str) -> (Cow<'_, str>, usize) {
    if !["NaN", "Infinity"].iter().any(|w| text.contains(w)) {
        return (Cow::Borrowed(text), 0);
    }
    let (mut out, mut count, mut quoted, mut rest) = (String::with_capacity(text.len()), 0, false, text);
    while let Some(c) = rest.chars().next() {
        let word = ["NaN", "-Infinity", "Infinity"].iter().find(|w| !quoted && rest.starts_with(**w));
        let taken = match word {
            Some(w) => {
                out.push_str("null");
                count += 1;
                w.len()
            }
            None => {
                quoted ^= c == '"';
                // In a string a backslash takes the next character with it.
                let escaped = if quoted && c == '\\' { rest.chars().nth(1) } else { None };
                out.push(c);
                out.extend(escaped);
                c.len_utf8() + escaped.map_or(0, char::len_utf8)
            }
        };
        rest = rest.get(taken..).unwrap_or_default();
    }
    (Cow::Owned(out), count)
}

/// A value for an error message, shortened.
pub fn short(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() > 60 { text.chars().take(60).chain("…".chars()).collect() } else { text }
}

/// An object somewhere in a file.
#[derive(Clone, Debug)]
pub struct Fields<'a> {
    pub path: &'a Path,
    /// `row 3`, `line 3`, `sample 3`, and the way down from there.
    pub place: String,
    pub map: &'a Map<String, Value>,
}

impl<'a> Fields<'a> {
    pub fn new(path: &'a Path, place: String, value: &'a Value) -> Result<Self> {
        match value.as_object() {
            Some(map) => Ok(Self { path, place, map }),
            None => Err(fault(path, format!("{place} is {}, expected an object", short(value)))),
        }
    }

    /// The value, where there is one; `null` counts as none.
    pub fn get(&self, field: &str) -> Option<&'a Value> {
        self.map.get(field).filter(|v| !v.is_null())
    }

    /// The field does not hold what it must.
    pub fn wrong(&self, field: &str, expected: &str) -> BatteryError {
        let found = match self.map.get(field) {
            Some(value) => format!("field `{field}` is {}", short(value)),
            None => {
                let keys: Vec<&str> = self.map.keys().map(String::as_str).take(30).collect();
                format!("no field `{field}` (it has: {})", keys.join(", "))
            }
        };
        fault(self.path, format!("{}: {found}; expected {expected}", self.place))
    }

    /// A string that must be there.
    pub fn text(&self, field: &str) -> Result<&'a str> {
        self.map.get(field).and_then(Value::as_str).ok_or_else(|| self.wrong(field, "a string"))
    }

    /// A string, if there is one.
    pub fn maybe_text(&self, field: &str) -> Result<Option<&'a str>> {
        self.get(field).map(|v| v.as_str().ok_or_else(|| self.wrong(field, "a string or null"))).transpose()
    }

    /// A string, number or truth value as text.
    pub fn maybe_label(&self, field: &str) -> Result<Option<String>> {
        let read = |v: &Value| label(v).ok_or_else(|| self.wrong(field, "a string, a number or null"));
        self.get(field).map(read).transpose()
    }

    /// As [`Fields::maybe_label`], required.
    pub fn label(&self, field: &str) -> Result<String> {
        self.maybe_label(field)?.ok_or_else(|| self.wrong(field, "a string or a number"))
    }

    pub fn number(&self, field: &str) -> Result<Option<f64>> {
        self.get(field).map(|v| v.as_f64().ok_or_else(|| self.wrong(field, "a number or null"))).transpose()
    }

    /// A whole number from 0; `12.0` counts, as other programs write it so.
    pub fn count(&self, field: &str) -> Result<Option<u32>> {
        let whole = |x: f64| (x.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(&x)).then_some(x as u32);
        let read = |v: &Value| v.as_f64().and_then(whole).ok_or_else(|| self.wrong(field, "a whole number from 0"));
        self.get(field).map(read).transpose()
    }

    pub fn object(&self, field: &str) -> Result<Option<Fields<'a>>> {
        self.get(field).map(|v| Fields::new(self.path, format!("{}, `{field}`", self.place), v)).transpose()
    }
}

/// A string, number or truth value as text.
pub fn label(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nan_becomes_null_outside_strings_only() {
        let text = r#"{"a": NaN, "b\"NaN": "NaN \\", "c": [-Infinity, Infinity, "é NaN"]}"#;
        let want = r#"{"a": null, "b\"NaN": "NaN \\", "c": [null, null, "é NaN"]}"#;
        assert_eq!(without_nan(text), (Cow::Borrowed(want), 3));
        assert_eq!(without_nan("[1]"), (Cow::Borrowed("[1]"), 0));
        for cut in 0..text.len() {
            if let Some(part) = text.get(..cut) {
                without_nan(part);
            }
        }
    }
}
