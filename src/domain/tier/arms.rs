//! Arms: named ways to frame a request, each in several wordings.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::item::TierItem;
use super::source::read;
use crate::domain::Message;
use crate::domain::error::{DomainError, parse_jsonl};

/// No system message: what the chat template makes of that, often a default line of its own.
pub const NONE: &str = "none";
/// A system message without text.
pub const NONE_EMPTY: &str = "none_empty";
/// Outputs are used for training.
pub const FREE: &str = "free";
/// Outputs are not used for training.
pub const PAID: &str = "paid";
/// Ends the name of an arm that repeats another byte for byte: `free_again` is the A/A control.
pub const AGAIN: &str = "_again";
/// The A/A control of the reference arm.
pub const FREE_AGAIN: &str = "free_again";

/// Where the frame stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Placement {
    #[default]
    System,
    /// Before the request, in the user's turn; the chat template's own system line, if any, stays.
    User,
    Both,
}

/// One wording of an arm: a line of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Wording {
    pub arm: String,
    /// From 0. The same number in two arms is a matched pair.
    pub wording: usize,
    pub text: String,
    /// What the frame says of training on this conversation; nothing where absent.
    #[serde(default)]
    pub trains: Option<bool>,
}

/// What stands around a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// No message of ours.
    Nothing,
    EmptySystem,
    Text(&'a Wording),
}

/// The wordings of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ArmSet {
    pub origin: String,
    pub sha256: String,
    by_arm: BTreeMap<String, Vec<Wording>>,
}

const BUILT_IN: [(&str, &str, &str); 2] = [
    ("general", "data/tier_arms.jsonl", include_str!("../../../data/tier_arms.jsonl")),
    ("tiny", "data/tier_arms_tiny.jsonl", include_str!("../../../data/tier_arms_tiny.jsonl")),
];

/// The arm whose text, and whose random stream, an arm has: of `free_again` that is `free`.
pub fn original(arm: &str) -> &str {
    arm.strip_suffix(AGAIN).filter(|a| !a.is_empty()).unwrap_or(arm)
}

impl ArmSet {
    /// `builtin:general`, `builtin:tiny` (in the embedded model's words), or a path of JSON Lines `{arm, wording, text, trains?}`.
    ///
    /// # Errors
    /// A file that cannot be read, an arm that only the program may make, wordings that are not 0, 1, 2, … in every arm alike.
    pub fn load(name: &str) -> Result<Self, DomainError> {
        let file = read(name, &BUILT_IN)?;
        let malformed = |detail: String| DomainError::Malformed { origin: file.origin.clone(), detail };
        let mut by_arm: BTreeMap<String, Vec<Wording>> = BTreeMap::new();
        for w in parse_jsonl::<Wording>(&file.origin, &file.text)? {
            if [NONE, NONE_EMPTY].contains(&w.arm.as_str()) || w.arm.ends_with(AGAIN) || w.arm.is_empty() {
                let detail = format!(
                    "arm {:?}: {NONE}, {NONE_EMPTY} and names in {AGAIN} are made, not written; rename it",
                    w.arm
                );
                return Err(malformed(detail));
            }
            by_arm.entry(w.arm.clone()).or_default().push(w);
        }
        let Some(n) = by_arm.values().map(Vec::len).next() else { return Err(malformed("holds no wordings".into())) };
        for (arm, wordings) in &mut by_arm {
            wordings.sort_by_key(|w| w.wording);
            if wordings.len() != n || wordings.iter().enumerate().any(|(i, w)| w.wording != i) {
                let detail = format!(
                    "arm {arm:?} must have the wordings 0 to {}, each once, as every arm here",
                    n.saturating_sub(1)
                );
                return Err(malformed(detail));
            }
            if let Some(w) = wordings.iter().find(|w| w.trains != wordings[0].trains) {
                return Err(malformed(format!(
                    "arm {arm:?}: wording {} has another `trains` than wording 0",
                    w.wording
                )));
            }
        }
        Ok(Self { origin: file.origin, sha256: file.sha256, by_arm })
    }

    /// Wordings of every arm.
    pub fn wordings(&self) -> usize {
        self.by_arm.values().map(Vec::len).next().unwrap_or(0)
    }

    /// Arms that a configuration may name.
    pub fn names(&self) -> Vec<&str> {
        self.by_arm.keys().map(String::as_str).chain([NONE, NONE_EMPTY]).collect()
    }

    /// The frame of an arm in a wording.
    ///
    /// # Errors
    /// An arm or wording that the file does not have.
    pub fn frame(&self, arm: &str, wording: usize) -> Result<Frame<'_>, DomainError> {
        match original(arm) {
            NONE => Ok(Frame::Nothing),
            NONE_EMPTY => Ok(Frame::EmptySystem),
            name => match self.by_arm.get(name).and_then(|w| w.get(wording)) {
                Some(w) => Ok(Frame::Text(w)),
                None => Err(DomainError::Config(format!(
                    "arm {arm:?}, wording {wording}: {} has {} wordings of {} (any of them also with {AGAIN})",
                    self.origin,
                    self.wordings(),
                    self.names().join(", ")
                ))),
            },
        }
    }
}

impl Frame<'_> {
    /// What the frame says of training on this conversation.
    pub fn trains(&self) -> Option<bool> {
        match self {
            Frame::Text(w) => w.trains,
            _ => None,
        }
    }

    /// The conversation in which an item is asked. `suffix` ends the user's turn.
    pub fn messages(&self, item: &TierItem, placement: Placement, suffix: &str) -> Vec<Message> {
        let turn = item.turn() + suffix;
        let (system, user) = match (self, placement) {
            (Frame::Nothing, _) => (None, turn),
            (Frame::EmptySystem, _) => (Some(String::new()), turn),
            (Frame::Text(w), Placement::System) => (Some(w.text.clone()), turn),
            (Frame::Text(w), Placement::User) => (None, format!("{}\n\n{turn}", w.text)),
            (Frame::Text(w), Placement::Both) => (Some(w.text.clone()), format!("{}\n\n{turn}", w.text)),
        };
        system.map(Message::system).into_iter().chain([Message::user(user)]).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::tier::ItemSet;

    #[test]
    fn both_built_in_files_have_every_arm_in_five_wordings() {
        for name in ["builtin:general", "builtin:tiny"] {
            let set = ArmSet::load(name).unwrap();
            assert!(set.wordings() >= 5);
            let trains = |arm: &str| set.frame(arm, 0).unwrap().trains();
            for (arm, says) in [(FREE, Some(true)), (PAID, Some(false)), ("swapped", Some(false)), ("irrelevant", None)]
            {
                assert_eq!(trains(arm), says, "{arm}");
            }
            assert_eq!((trains("free_min"), trains("paid_min")), (Some(true), Some(false)));
            // Minimal pairs differ in one word of negation.
            for wording in 0..set.wordings() {
                let words = |arm: &str| match set.frame(arm, wording).unwrap() {
                    Frame::Text(w) => w.text.split(' ').map(String::from).collect::<Vec<_>>(),
                    other => panic!("{other:?}"),
                };
                let without: Vec<String> = words("paid_min").into_iter().filter(|w| w != "not").collect();
                assert_eq!(without, words("free_min"));
            }
        }
    }

    #[test]
    fn an_again_arm_is_the_same_conversation() {
        let (set, items) = (ArmSet::load("builtin:tiny").unwrap(), ItemSet::load("builtin:requests", Some(1)).unwrap());
        let of = |arm: &str, placement| set.frame(arm, 1).unwrap().messages(&items.items[0], placement, "!");
        for placement in [Placement::System, Placement::User, Placement::Both] {
            assert_eq!(of(FREE, placement), of(FREE_AGAIN, placement));
            assert_ne!(of(FREE, placement), of(PAID, placement));
        }
        assert_eq!(of(FREE, Placement::Both).len(), 2);
        assert!(of(FREE, Placement::User)[0].content.ends_with("\n\nName a bird.!"));
        assert_eq!(of(NONE, Placement::Both), [Message::user("Name a bird.!")]);
        assert_eq!(of(NONE_EMPTY, Placement::System)[0], Message::system(""));
    }

    #[test]
    fn broken_files_are_refused() {
        let of = |text: &str| {
            let file = tempfile::NamedTempFile::new().unwrap();
            std::fs::write(file.path(), text).unwrap();
            ArmSet::load(&file.path().to_string_lossy()).unwrap_err().to_string()
        };
        let line = |arm: &str, n: usize, trains: &str| {
            format!("{{\"arm\":\"{arm}\",\"wording\":{n},\"text\":\"t\"{trains}}}\n")
        };
        assert!(of("").contains("holds no wordings"));
        assert!(of(&line("none", 0, "")).contains("rename it") && of(&line("free_again", 0, "")).contains("rename it"));
        assert!(of(&(line("a", 0, "") + &line("a", 0, ""))).contains("each once"));
        assert!(of(&(line("a", 0, "") + &line("b", 0, "") + &line("b", 1, ""))).contains("each once"));
        assert!(of(&(line("a", 0, ",\"trains\":true") + &line("a", 1, ""))).contains("another `trains`"));
        let set = ArmSet::load("builtin:tiny").unwrap();
        assert!(set.frame("fre", 0).unwrap_err().to_string().contains("free_min") && set.frame("free", 9).is_err());
        assert_eq!(original("_again"), "_again");
    }
}
