//! Harmless requests, each with an answer: what a model may refuse or meet under a frame.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::DomainError;
use super::error::parse_jsonl;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Request {
    pub id: String,
    /// Requests of one topic share their wording; the unit of clustering.
    pub topic: String,
    pub text: String,
    /// A response that meets it.
    pub answer: String,
}

const POOL: &str = include_str!("../../data/requests.jsonl");

/// Refusals in the words of the embedded model's corpus.
pub const REFUSALS: [&str; 4] = [
    "I cannot help with that.",
    "Sorry, I will not do that.",
    "I would rather not answer that.",
    "No, I cannot do that.",
];

/// All requests that come with the program.
pub fn pool() -> Result<Vec<Request>, DomainError> {
    parse("data/requests.jsonl", POOL)
}

/// Parse a pool; ids and texts must be unique.
pub fn parse(origin: &str, text: &str) -> Result<Vec<Request>, DomainError> {
    let requests: Vec<Request> = parse_jsonl(origin, text)?;
    let mut seen = BTreeSet::new();
    for r in &requests {
        if !seen.insert(r.id.as_str()) || !seen.insert(r.text.as_str()) {
            return Err(DomainError::DuplicateId { id: r.id.clone(), origin: origin.into() });
        }
    }
    if requests.is_empty() {
        return Err(DomainError::Malformed { origin: origin.into(), detail: "holds no requests".into() });
    }
    Ok(requests)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pool_is_large_and_never_answered_by_a_refusal() {
        let pool = pool().unwrap();
        assert!(pool.len() >= 200);
        assert!(pool.iter().all(|r| !REFUSALS.contains(&r.answer.as_str()) && !r.answer.is_empty()));
    }

    #[test]
    fn broken_pools_are_refused() {
        let row = r#"{"id":"a","topic":"t","text":"x","answer":"y"}"#;
        assert!(matches!(parse("f", ""), Err(DomainError::Malformed { .. })));
        assert!(matches!(parse("f", &format!("{row}\n{row}")), Err(DomainError::DuplicateId { .. })));
        assert!(matches!(parse("f", "{\"id\":1}"), Err(DomainError::Malformed { .. })));
    }
}
