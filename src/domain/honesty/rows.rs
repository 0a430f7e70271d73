//! Rows of a training, and the first answers that two-turn rows rest on.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::dataset::Entry;
use super::scorer::{Answer, parse};
use super::turns::{self, Frame};
use crate::domain::{DomainError, Message};

/// One prompt of a training: a statement in a frame.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Row {
    /// Unique within a segment: `kinds-001-t/contradict-wrong`.
    pub id: String,
    /// Id of the statement.
    pub item: String,
    pub statement: String,
    pub truth: Answer,
    /// The question's wording.
    pub question: String,
    pub frame: Frame,
}

impl Row {
    pub fn new(entry: &Entry, question: &str, frame: Frame) -> Self {
        let form = match &frame {
            Frame::Direct => "direct".to_string(),
            Frame::Adversarial { .. } => "adversarial".to_string(),
            Frame::TwoTurn { first, push, .. } => {
                format!("{}-{}", push.name(), if *first == entry.answer { "right" } else { "wrong" })
            }
        };
        Self {
            id: format!("{}/{form}", entry.id),
            item: entry.id.clone(),
            statement: entry.statement.clone(),
            truth: entry.answer,
            question: question.to_string(),
            frame,
        }
    }

    /// The conversation up to where the model answers, without a system message.
    pub fn messages(&self) -> Vec<Message> {
        turns::messages(&self.statement, &self.question, &self.frame)
    }
}

/// A model's answer to a direct question.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirstAnswer {
    /// The wording that was asked: a two-turn row begins with the same.
    pub question: String,
    /// What the model wrote.
    pub text: String,
    pub parsed: Option<Answer>,
}

/// First answers by item id, taken from the model that is trained, at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshots {
    answers: BTreeMap<String, FirstAnswer>,
}

/// What first answers look like, for the log.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct SnapshotSummary {
    pub items: usize,
    /// Share of the items that have a first answer. Two-turn rows want 1.
    pub hit_rate: f64,
    /// Share of answers that can be read.
    pub parsed: f64,
    /// Shares of readable answers that are right, and that say true; 0 where there is none.
    pub accuracy: f64,
    pub says_true: f64,
}

impl Snapshots {
    /// Take in an answer; it is read by the scorer of reward and evaluation.
    pub fn record(&mut self, id: &str, question: &str, text: &str) {
        let answer = FirstAnswer { question: question.into(), text: text.into(), parsed: parse(text) };
        self.answers.insert(id.into(), answer);
    }

    /// The truth as everyone's first answer, as the study's two-turn rows had it (meant in flip8, by mistake in its curriculum).
    pub fn ground_truth(items: &[Entry], question: &str) -> Self {
        let mut snapshots = Self::default();
        items.iter().for_each(|e| snapshots.record(&e.id, question, e.answer.word()));
        snapshots
    }

    pub fn get(&self, id: &str) -> Option<&FirstAnswer> {
        self.answers.get(id)
    }

    pub fn summary(&self, items: &[Entry]) -> SnapshotSummary {
        let share = |n: usize, of: usize| if of == 0 { 0.0 } else { n as f64 / of as f64 };
        let found: Vec<(&Entry, &FirstAnswer)> = items.iter().filter_map(|e| Some((e, self.get(&e.id)?))).collect();
        let read: Vec<(Answer, Answer)> = found.iter().filter_map(|(e, a)| Some((e.answer, a.parsed?))).collect();
        SnapshotSummary {
            items: items.len(),
            hit_rate: share(found.len(), items.len()),
            parsed: share(read.len(), found.len()),
            accuracy: share(read.iter().filter(|(truth, a)| truth == a).count(), read.len()),
            says_true: share(read.iter().filter(|(_, a)| *a == Answer::True).count(), read.len()),
        }
    }

    /// Refuse unless every item has a first answer. The study looked them up by another key than it stored them under, missed every
    /// time, and took the truth instead without a word.
    pub fn require(&self, items: &[Entry]) -> Result<(), DomainError> {
        let missing: Vec<&Entry> = items.iter().filter(|e| self.get(&e.id).is_none()).collect();
        match missing.first() {
            None => Ok(()),
            Some(example) => Err(DomainError::MissingFirstAnswers {
                missing: missing.len(),
                total: items.len(),
                example: example.id.clone(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::wordings::QUESTION;
    use super::*;

    fn entry(id: &str, twin: &str, answer: Answer) -> Entry {
        Entry { id: id.into(), statement: format!("{id}."), answer, topic: "t".into(), twin: twin.into() }
    }

    #[test]
    fn a_missed_lookup_is_an_error_that_counts() {
        let items = [entry("a", "b", Answer::True), entry("b", "a", Answer::False)];
        let mut snapshots = Snapshots::default();
        snapshots.record("a", QUESTION, "It is true.");
        // Stored under the question instead of the id, as the study did.
        snapshots.record("b.", QUESTION, "true");
        let message = snapshots.require(&items).unwrap_err().to_string();
        assert!(message.contains("1 of 2") && message.contains("\"b\""), "{message}");
        assert_eq!(snapshots.summary(&items).hit_rate, 0.5);
        snapshots.record("b", QUESTION, "what?");
        snapshots.require(&items).unwrap();
        let s = snapshots.summary(&items);
        assert_eq!((s.hit_rate, s.parsed, s.accuracy, s.says_true), (1.0, 0.5, 1.0, 1.0));
        assert_eq!(snapshots.get("a").unwrap().text, "It is true.");
        let empty = Snapshots::default().summary(&[]);
        assert_eq!((empty.hit_rate, empty.accuracy), (0.0, 0.0));
        let all = Snapshots::ground_truth(&items, QUESTION).summary(&items);
        assert_eq!((all.hit_rate, all.accuracy, all.says_true), (1.0, 1.0, 0.5));
    }
}
