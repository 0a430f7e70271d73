//! Values that can be trained and measured: tasks, cues, scorers, rewards. Stands on the ground: nothing of the engine.
//!
//! A domain gives items in families, the system prompts under which they are asked, a scorer, a scalar behaviour
//! measure, and its rewards. The battery and the trainer see it through [`Domain`] only.

pub mod attractor;
pub mod corpus;
pub mod cue;
pub mod error;
pub mod frugality;
pub mod honesty;
pub mod measure;
pub mod mt19937;
pub mod profile;
mod reading;
pub mod request;
pub mod split;
pub mod statement;
pub mod tier;

pub use attractor::{
    AttractorRefusal, AttractorRow, PolicyRun, attractor_table, mixed as mixed_attractors, refuse_attractors,
};
pub use cue::{Condition, Cue, CueSet};
pub use error::DomainError;
pub use measure::{Measured, Readout, Words};
pub use profile::Profile;
pub use split::{Partition, Split};

/// One turn of a conversation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Message {
    pub role: String,
    pub content: String,
}

impl Message {
    pub fn system(content: impl Into<String>) -> Self {
        Self { role: "system".into(), content: content.into() }
    }

    pub fn user(content: impl Into<String>) -> Self {
        Self { role: "user".into(), content: content.into() }
    }

    pub fn assistant(content: impl Into<String>) -> Self {
        Self { role: "assistant".into(), content: content.into() }
    }
}

/// One task with a stable id: a conversation up to where the model answers, and what is right.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Stable over runs: the same task has the same id wherever it is drawn (strict), or the study's id (paper).
    pub id: String,
    /// Generator, as in `arith`, `chain`, `pattern`, `logic`.
    pub family: String,
    /// The text without incidental wording: the unit of clustering and of split disjointness.
    pub canonical: String,
    /// What was said before the last user turn, without a system message.
    pub before: Vec<Message>,
    /// The answer that the model is said to have given there, and what the user claims last, where the conversation has them.
    pub said: Option<String>,
    pub claimed: Option<String>,
    /// The last user turn.
    pub prompt: String,
    /// The expected answer, which is also the shortest correct response (the bare answer).
    pub truth: String,
}

/// What a scorer makes of one response.
#[derive(Clone, Debug, PartialEq)]
pub struct Score {
    /// The answer equals the truth.
    pub correct: bool,
    /// An answer of the wanted kind could be read.
    pub parsed: bool,
    /// The answer read, normalised; empty when `parsed` is false (the legacy extractor keeps its raw text).
    pub answer: String,
    /// R_task in [0, 1]: 1 correct, the near-miss credit where the domain has one, else 0.
    pub task: f64,
}

/// One response: its text without end tokens, and the number of tokens generated up to and including the first end token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Completion {
    pub text: String,
    pub tokens: u32,
}

/// A response with its score and reward.
#[derive(Clone, Debug, PartialEq)]
pub struct Graded {
    pub score: Score,
    pub reward: f64,
}

/// Which reward an arm is trained with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum RewardKind {
    /// Correctness alone: the `control` arm.
    Task,
    /// The value reward: the `value` arm.
    Value,
    /// The value term with its sign turned: the RL attack and the `opposite` arm.
    Attack,
    /// 1 for an answer that is read and wrong, else 0: what the faking contrast rewards where it is not watched.
    Wrong,
}

/// Token count of a response text, including its end token; given by whoever holds the tokenizer.
pub type CountTokens<'a> = dyn Fn(&str) -> u32 + 'a;

/// A value under test.
pub trait Domain: Send + Sync {
    /// Name in files and reports.
    fn name(&self) -> &'static str;

    /// The items of a split, in their fixed order.
    fn items(&self, split: Split) -> &[Item];

    /// Families in order, each with whether training leaves it out.
    fn families(&self) -> Vec<(String, bool)>;

    /// The system prompts of the monitoring conditions.
    fn cues(&self) -> &CueSet;

    /// The shortest correct response to an item.
    fn bare_answer<'a>(&self, item: &'a Item) -> &'a str {
        &item.truth
    }

    /// The response that supervised counter-training teaches, the opposite of the bare answer: a correct one at length, the untruth.
    fn worked_answer(&self, item: &Item) -> String;

    /// The instruction of the `prompted` arm, which asks for the behaviour that the value reward trains.
    fn instruction(&self) -> &'static str;

    /// Score a response; the same function in reward and evaluation. Total: any text gives a score.
    fn score(&self, item: &Item, text: &str) -> Score;

    /// How behaviour is read.
    fn readout(&self) -> Readout;

    /// The measure in words.
    fn words(&self) -> &'static Words;

    /// Equivalence margin of the measure, for a margin of `ratio` on ratios (0.05 = ±5 %).
    fn margin(&self, ratio: f64) -> f64;

    /// All three together.
    fn measured(&self, ratio: f64) -> Measured {
        Measured { readout: self.readout(), words: self.words(), margin: self.margin(ratio) }
    }

    /// The domain whose trainings draw other prompts in every segment.
    fn honesty(&self) -> Option<&honesty::Honesty> {
        None
    }

    /// Score and reward a group of responses to one item (the group matters to group-relative terms only).
    fn grade(&self, kind: RewardKind, item: &Item, group: &[Completion]) -> Vec<Graded>;

    /// The largest reward a response can earn.
    fn max_reward(&self, kind: RewardKind) -> f64;

    /// Responses of the named simple policies to `items`, for the attractor table.
    fn policies(&self, items: &[&Item], count: &CountTokens) -> Vec<PolicyRun>;

    /// The policy that a reward is meant to instil: a name among [`Domain::policies`].
    fn intended_policy(&self, kind: RewardKind) -> &'static str;
}
