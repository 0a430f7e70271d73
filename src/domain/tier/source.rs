//! Where stimuli come from: a file of the user, or one that comes with the program.

use std::path::Path;

use sha2::{Digest, Sha256};

use crate::domain::error::{DomainError, read_utf8};

/// A text, where it came from, and its SHA-256 (hex).
pub struct Text {
    pub origin: String,
    pub text: String,
    pub sha256: String,
}

/// Marks a name as one of the program's own.
const BUILT_IN: &str = "builtin:";

/// Reads `builtin:NAME` or a path. `known` holds name, path in the source tree and text of what comes with the program.
pub fn read(name: &str, known: &[(&str, &str, &str)]) -> Result<Text, DomainError> {
    let (origin, text) = match name.strip_prefix(BUILT_IN) {
        None => (name.to_string(), read_utf8(Path::new(name))?),
        Some(wanted) => match known.iter().find(|(n, _, _)| *n == wanted) {
            Some((_, path, text)) => ((*path).to_string(), (*text).to_string()),
            None => {
                let names: Vec<String> = known.iter().map(|(n, _, _)| format!("{BUILT_IN}{n}")).collect();
                return Err(DomainError::Config(format!("{name}: there is {}; or give a path", names.join(", "))));
            }
        },
    };
    let sha256 = Sha256::digest(text.as_bytes()).iter().map(|b| format!("{b:02x}")).collect();
    // Spreadsheets put a byte order mark in front.
    let text = text.strip_prefix('\u{feff}').map(String::from).unwrap_or(text);
    Ok(Text { origin, text, sha256 })
}
