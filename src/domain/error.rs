//! Errors of the domains: what, where, what to do.

use std::path::{Path, PathBuf};

#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    #[error("cannot read {path}: {source}; check that the path is right and readable", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error("cannot write {path}: {source}; check that the folder exists and has room", path = path.display())]
    Write { path: PathBuf, source: std::io::Error },

    #[error("{path} is not UTF-8 (first bad byte at offset {at}); save it as UTF-8", path = path.display())]
    NotUtf8 { path: PathBuf, at: usize },

    #[error("{origin}: {detail}")]
    Malformed { origin: String, detail: String },

    #[error(
        "{count} canonical prompt(s) occur in both {left} and {right}, for example {example:?}; \
         regenerate the splits so that they are disjoint (the paper profile overlaps by design: load it as such)"
    )]
    Overlap { left: String, right: String, count: usize, example: String },

    #[error("task id {id:?} occurs twice ({origin}); ids must be unique")]
    DuplicateId { id: String, origin: String },

    #[error(
        "family {family}: {wanted} {split} items wanted, but its ranges give only {available} distinct prompts there; \
         widen the ranges or ask for fewer items"
    )]
    TooFew { family: String, split: String, wanted: usize, available: usize },

    #[error("{part}: {wanted} statements wanted, but the pool gives only {available}; add statements or ask for fewer")]
    TooFewStatements { part: String, wanted: usize, available: usize },

    #[error("the statement {text:?} occurs in both {left} and {right}; make the files anew (probity data honesty)")]
    SharedStatement { left: String, right: String, text: String },

    #[error(
        "{id:?} in {left} has its twin {twin:?} in {right}; twins must stand in one file (probity data honesty makes such files)"
    )]
    TwinsApart { id: String, twin: String, left: String, right: String },

    #[error("topic {topic:?} occurs in {part} and in ood; held-out topics must occur nowhere else")]
    HeldOutTopic { topic: String, part: String },

    #[error(
        "{missing} of {total} items have no first answer under their id, for example {example:?}; two-turn rows rest on the model's \
         own answers: ask every item of the segment first"
    )]
    MissingFirstAnswers { missing: usize, total: usize, example: String },

    #[error(
        "too few {kind} first answers for balanced two-turn rows: {wanted} each to true and to false statements wanted; found right \
         {right:?} and wrong {wrong:?} (to true, to false statements) in {snapshots} snapshot(s); sample more first answers at T > 0 \
         or lower min_cell"
    )]
    TooFewFirstAnswers { kind: String, wanted: usize, right: [usize; 2], wrong: [usize; 2], snapshots: usize },

    #[error("configuration: {0}")]
    Config(String),
}

/// Read a UTF-8 file, with errors that name it.
pub(crate) fn read_utf8(path: &Path) -> Result<String, DomainError> {
    let bytes = std::fs::read(path).map_err(|source| DomainError::Read { path: path.into(), source })?;
    String::from_utf8(bytes).map_err(|e| DomainError::NotUtf8 { path: path.into(), at: e.utf8_error().valid_up_to() })
}

/// Parse JSON Lines; empty lines are skipped, errors name the line.
pub(crate) fn parse_jsonl<T: serde::de::DeserializeOwned>(origin: &str, text: &str) -> Result<Vec<T>, DomainError> {
    let mut rows = Vec::new();
    for (n, line) in text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let row = serde_json::from_str(line).map_err(|e| DomainError::Malformed {
            origin: format!("{origin}, line {}", n + 1),
            detail: e.to_string(),
        })?;
        rows.push(row);
    }
    Ok(rows)
}
