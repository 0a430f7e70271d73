//! The rule table, `configs/rules.toml`: compiled into the program, copied into every run.

use serde::{Deserialize, Serialize};
use std::path::Path;

use super::config::Subject;
use super::error::Result;
use crate::config;

/// Frugality's table.
pub const TEXT: &str = include_str!("../../configs/rules.toml");

/// Honesty's: other measures and another break, the same numbers.
const HONESTY: &str = include_str!("../../configs/rules-honesty.toml");

/// The table of a domain.
pub fn text(domain: Subject) -> &'static str {
    match domain {
        Subject::Frugality => TEXT,
        Subject::Honesty => HONESTY,
    }
}

/// Numbers that verdicts use.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Numbers {
    pub persistent_checks: usize,
    pub break_ratio: f64,
    pub dead_gradient: f64,
    pub least_moved: f64,
    pub keeps_accuracy: f64,
    pub fewest_seeds: usize,
    pub random_directions: usize,
    pub checked_items: usize,
}

/// What one test claims, and when.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub number: u32,
    pub primary: String,
    pub supports: String,
    pub refutes: String,
    pub not_tested: String,
}

/// The whole table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rules {
    pub numbers: Numbers,
    pub test: Vec<Rule>,
}

impl Rules {
    /// The table that is compiled in.
    pub fn built_in() -> Result<Self> {
        Ok(config::parse(TEXT, Path::new("configs/rules.toml"))?)
    }

    pub fn of(&self, test: u32) -> Option<&Rule> {
        self.test.iter().find(|r| r.number == test)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_test_has_a_rule() {
        let rules = Rules::built_in().unwrap();
        assert_eq!(rules.test.iter().map(|r| r.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(rules.of(3).unwrap().number, 3);
        assert!(rules.numbers.persistent_checks >= 2, "a single check is no break");
        let honesty: Rules = toml::from_str(HONESTY).unwrap();
        assert_eq!((honesty.numbers, honesty.test.len()), (rules.numbers, 8));
    }
}
