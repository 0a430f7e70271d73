//! Reading TOML configuration: unknown keys are errors with a suggestion, and every message says where.

use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}:{line}:{column}: {message}")]
    Toml { path: PathBuf, line: usize, column: usize, message: String },
}

/// Reads a TOML file.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<T, ConfigError> {
    parse(&read(path)?, path)
}

/// The text of a configuration file.
pub fn read(path: &Path) -> Result<String, ConfigError> {
    let bytes = std::fs::read(path).map_err(|source| ConfigError::Io { path: path.into(), source })?;
    match String::from_utf8(bytes) {
        Ok(text) => Ok(text),
        Err(e) => {
            let at = e.utf8_error().valid_up_to();
            let line = 1 + e.as_bytes()[..at].iter().filter(|&&b| b == b'\n').count();
            Err(ConfigError::Toml { path: path.into(), line, column: 1, message: "the file is not UTF-8 text".into() })
        }
    }
}

/// Parses TOML text; `path` only names it in errors.
pub fn parse<T: DeserializeOwned>(text: &str, path: &Path) -> Result<T, ConfigError> {
    toml::from_str(text).map_err(|e| {
        let at = e.span().map_or(0, |s| s.start).min(text.len());
        let before = &text.as_bytes()[..at];
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        let column = 1 + before.iter().rev().take_while(|&&b| b != b'\n').count();
        ConfigError::Toml { path: path.into(), line, column, message: suggest(e.message()) }
    })
}

/// Adds the nearest known key to serde's "unknown field `x`, expected one of `a`, `b`".
fn suggest(message: &str) -> String {
    let message = message.trim();
    let Some((_, rest)) = message.split_once("unknown field `") else { return message.to_string() };
    let Some((unknown, expected)) = rest.split_once('`') else { return message.to_string() };
    let nearest = expected
        .split('`')
        .skip(1)
        .step_by(2)
        .map(|k| (strsim::damerau_levenshtein(unknown, k), k))
        .min()
        .filter(|(d, k)| *d <= 1 + k.len() / 3);
    match nearest {
        Some((_, key)) => format!("unknown key `{unknown}`: did you mean `{key}`? ({message})"),
        None => format!("unknown key `{unknown}` ({message})"),
    }
}

/// A number of bytes, written `8GiB`, `6.5 GiB`, `8GB`, `7000MB` or as a bare number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Size(pub u64);

impl std::str::FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let text = text.trim();
        let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
        let (number, unit) = (&text[..split], text[split..].trim().to_lowercase());
        let factor = match unit.as_str() {
            "" | "b" => 1.0,
            "kb" => 1e3,
            "mb" => 1e6,
            "gb" => 1e9,
            "kib" => 1024.0,
            "mib" => 1024.0f64.powi(2),
            "gib" => 1024.0f64.powi(3),
            _ => return Err(format!("{text}: the unit is one of B, kB, MB, GB, KiB, MiB, GiB")),
        };
        match number.parse::<f64>() {
            Ok(n) if n > 0.0 && n * factor < 1e15 => Ok(Size((n * factor) as u64)),
            _ => Err(format!("{text}: expected a size such as 8GiB")),
        }
    }
}

impl TryFrom<String> for Size {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Size> for String {
    fn from(s: Size) -> String {
        s.0.to_string()
    }
}

/// In GiB, for people.
pub fn gib(bytes: u64) -> f64 {
    bytes as f64 / (1u64 << 30) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    #[allow(dead_code)]
    struct C {
        learning_rate: f64,
    }

    #[test]
    fn unknown_key_is_named_with_its_place_and_a_suggestion() {
        let e = parse::<C>("\nlerning_rate = 1.0\n", Path::new("c.toml")).unwrap_err().to_string();
        assert!(e.starts_with("c.toml:2:1:"), "{e}");
        assert!(e.contains("did you mean `learning_rate`?"), "{e}");
    }

    #[test]
    fn malformed_and_mistyped_files_are_errors() {
        for text in ["learning_rate = ", "learning_rate = \"x\"", "[", "learning_rate"] {
            assert!(matches!(parse::<C>(text, Path::new("c.toml")), Err(ConfigError::Toml { .. })), "{text}");
        }
    }

    #[test]
    fn text_that_is_not_utf8_is_an_error() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"learning_rate = 1\n\xff\xfe").unwrap();
        let e = load::<C>(file.path()).unwrap_err().to_string();
        assert!(e.contains(":2:") && e.contains("not UTF-8"), "{e}");
    }

    #[test]
    fn sizes_are_read_with_their_units() {
        let bytes = |text: &str| text.parse::<Size>().map(|s| s.0);
        assert_eq!(bytes("8GiB"), Ok(8 << 30));
        assert_eq!(bytes("6.5 gib"), Ok((6.5 * (1u64 << 30) as f64) as u64));
        assert_eq!(bytes("8GB"), Ok(8_000_000_000));
        assert_eq!(bytes("1000"), Ok(1000));
        for bad in ["", "GiB", "8TiB", "-1GiB", "0GiB", "1e3GiB", "8.8.8MB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
