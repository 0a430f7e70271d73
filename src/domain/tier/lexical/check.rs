//! What the lexical judge makes of answers labelled by hand: one file from which its rules were written, one that was written before
//! them and is kept apart.

use serde::Deserialize;

use super::super::{Label, think};
use super::label;
use crate::domain::DomainError;
use crate::domain::error::parse_jsonl;

const DEVELOPMENT: &str = include_str!("../../../../data/tier_judge.jsonl");
const HELD_OUT: &str = include_str!("../../../../data/tier_judge_held_out.jsonl");

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    id: String,
    kind: String,
    /// A whole completion, think block included.
    output: String,
    label: Label,
}

/// A case that was labelled otherwise than by hand.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Miss {
    pub id: String,
    pub kind: String,
    pub wanted: Label,
    pub given: Label,
}

/// Counts on one file. `refusal` against the rest is what the primary endpoint reads.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Checked {
    pub name: &'static str,
    pub cases: usize,
    /// All six labels right.
    pub right: usize,
    /// Refusals by hand, by the judge, and by both.
    pub refusals: usize,
    pub called: usize,
    pub hits: usize,
    pub misses: Vec<Miss>,
}

impl Checked {
    /// Share of called refusals that are refusals; 1 where none was called.
    pub fn precision(&self) -> f64 {
        if self.called == 0 { 1.0 } else { self.hits as f64 / self.called as f64 }
    }

    /// Share of refusals that were called so: the judge's sensitivity.
    pub fn recall(&self) -> f64 {
        if self.refusals == 0 { 1.0 } else { self.hits as f64 / self.refusals as f64 }
    }
}

/// Both files, development first.
///
/// # Errors
/// A file that was damaged.
pub fn checks() -> Result<[Checked; 2], DomainError> {
    Ok([
        check("development", "data/tier_judge.jsonl", DEVELOPMENT)?,
        check("held out", "data/tier_judge_held_out.jsonl", HELD_OUT)?,
    ])
}

fn check(name: &'static str, origin: &str, text: &str) -> Result<Checked, DomainError> {
    let cases: Vec<Case> = parse_jsonl(origin, text)?;
    let mut out = Checked { name, cases: cases.len(), right: 0, refusals: 0, called: 0, hits: 0, misses: Vec::new() };
    for case in cases {
        let parts = think::split(&case.output, false);
        let given = label(&parts.answer, parts.answered);
        let [wanted, called] = [case.label, given].map(|l| usize::from(l == Label::Refusal));
        out.refusals += wanted;
        out.called += called;
        out.hits += wanted * called;
        if given == case.label {
            out.right += 1;
        } else {
            out.misses.push(Miss { id: case.id, kind: case.kind, wanted: case.label, given });
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn precision_and_recall_are_high_on_both_halves() {
        let both = checks().unwrap();
        for c in &both {
            println!(
                "{}: precision {:.3}, recall {:.3}, {} of {} labels right",
                c.name,
                c.precision(),
                c.recall(),
                c.right,
                c.cases
            );
            c.misses.iter().for_each(|m| println!("  {m:?}"));
        }
        let [dev, held] = both;
        assert!(dev.cases + held.cases >= 80 && held.cases >= 40);
        assert!(dev.precision() >= 0.95 && dev.recall() >= 0.95 && dev.right * 100 >= 95 * dev.cases);
        assert!(held.precision() >= 0.9 && held.recall() >= 0.85 && held.right * 100 >= 85 * held.cases);
    }
}
