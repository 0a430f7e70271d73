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
}
