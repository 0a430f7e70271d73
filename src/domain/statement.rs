//! The pool of true and false statements: twins that differ by a minimal edit, in topics, half true everywhere.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::error::parse_jsonl;
use super::{DomainError, Partition, Split};

/// One statement.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    pub id: String,
    pub topic: String,
    /// A true statement and its twin; the unit that splits never cut.
    pub group: String,
    /// Id of the twin.
    pub twin: String,
    pub truth: bool,
    pub text: String,
}

impl Statement {
    /// `true` or `false`.
    pub fn answer(&self) -> &'static str {
        word(self.truth)
    }
}

/// A truth value as the models write it.
pub fn word(value: bool) -> &'static str {
    if value { "true" } else { "false" }
}

const POOL: &str = include_str!("../../data/statements.jsonl");

/// General knowledge, in the same format.
const WORLD: &str = include_str!("../../data/world.jsonl");

/// The statements that the embedded model was brought up with.
pub fn pool() -> Result<Vec<Statement>, DomainError> {
    parse("data/statements.jsonl", POOL)
}

/// Statements about the world, for models that have read of it.
pub fn world() -> Result<Vec<Statement>, DomainError> {
    parse("data/world.jsonl", WORLD)
}

/// Parse a pool and check it: unique ids and texts, and every group one true and one false statement of one topic that
/// name each other as twins.
pub fn parse(origin: &str, text: &str) -> Result<Vec<Statement>, DomainError> {
    let statements: Vec<Statement> = parse_jsonl(origin, text)?;
    let malformed = |detail: String| Err(DomainError::Malformed { origin: origin.into(), detail });
    let (mut ids, mut texts) = (BTreeSet::new(), BTreeSet::new());
    let mut groups: BTreeMap<&str, Vec<&Statement>> = BTreeMap::new();
    for s in &statements {
        if !ids.insert(s.id.as_str()) {
            return Err(DomainError::DuplicateId { id: s.id.clone(), origin: origin.into() });
        }
        if !texts.insert(s.text.as_str()) {
            return malformed(format!("the text {:?} occurs twice", s.text));
        }
        groups.entry(&s.group).or_default().push(s);
    }
    for (group, members) in groups {
        let paired = match members.as_slice() {
            [a, b] => a.truth != b.truth && a.topic == b.topic && a.twin == b.id && b.twin == a.id,
            _ => false,
        };
        if !paired {
            return malformed(format!(
                "group {group:?} is not one true and one false statement that are each other's twins"
            ));
        }
    }
    if statements.is_empty() {
        return malformed("holds no statements".into());
    }
    Ok(statements)
}

/// The statements of one split; twins stay together, so each split is half true in every topic.
pub fn of_split<'a>(pool: &'a [Statement], rule: &Partition, split: Split) -> Vec<&'a Statement> {
    pool.iter().filter(|s| rule.split_of(&s.group) == split).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pools_are_large_and_half_true_in_every_topic_and_split() {
        [pool().unwrap(), world().unwrap()].iter().for_each(|p| check_pool(p));
    }

    fn check_pool(pool: &[Statement]) {
        assert!(pool.len() >= 1000, "{}", pool.len());
        let topics: BTreeSet<&str> = pool.iter().map(|s| s.topic.as_str()).collect();
        assert!(topics.len() >= 8);
        let rule = Partition { seed: 42, train: 0.7, val: 0.1 };
        for split in Split::ALL {
            let statements = of_split(pool, &rule, split);
            for topic in &topics {
                let of: Vec<_> = statements.iter().filter(|s| s.topic == *topic).collect();
                assert_eq!(of.iter().filter(|s| s.truth).count() * 2, of.len(), "{topic} in {split:?}");
            }
            assert!(statements.len() >= 100, "{split:?}");
        }
        assert!(pool.iter().all(|s| s.text.ends_with('.') && !s.text.contains('"')));
    }

    /// The topics that arithmetic decides are decided again here.
    #[test]
    fn numeric_statements_are_labelled_right() {
        let mut checked = 0;
        for s in pool().unwrap() {
            let words: Vec<&str> = s.text.trim_end_matches('.').split(' ').collect();
            let n = |i: usize| words[i].parse::<i64>().unwrap();
            let truth = match s.topic.as_str() {
                "comparison" => {
                    if words[2] == "greater" {
                        n(0) > n(4)
                    } else {
                        n(0) < n(4)
                    }
                }
                "parity" => (n(0) % 2 == 0) == (words[3] == "even"),
                "sums" => n(0) + n(2) == n(4),
                _ => continue,
            };
            assert_eq!(truth, s.truth, "{}", s.text);
            checked += 1;
        }
        assert!(checked >= 400);
    }

    #[test]
    fn broken_pools_are_refused() {
        let row = |id: &str, group: &str, twin: &str, truth: bool, text: &str| {
            format!(r#"{{"id":"{id}","topic":"t","group":"{group}","twin":"{twin}","truth":{truth},"text":"{text}"}}"#)
        };
        let (a, b) = (row("a", "g", "b", true, "x"), row("b", "g", "a", false, "y"));
        assert!(parse("f", &format!("{a}\n{b}")).is_ok());
        for (text, needle) in [
            (String::new(), "no statements"),
            (a.clone(), "twins"),
            (format!("{a}\n{}", row("b", "g", "a", true, "y")), "twins"),
            (format!("{a}\n{}", row("b", "g", "c", false, "y")), "twins"),
            (format!("{a}\n{}", row("b", "g", "a", false, "x")), "occurs twice"),
            (format!("{a}\n{a}"), "occurs twice"),
            (format!("{a}\n{{"), "line 2"),
        ] {
            let message = parse("f", &text).unwrap_err().to_string();
            assert!(message.contains(needle), "{message}");
        }
    }
}
