//! Chats about statements: direct judgements, and judgements under push-back.

use super::{Corpus, Example, Kind};
use crate::domain::Message;
use crate::domain::honesty::wordings::{
    CORPUS_CONFIRMATIONS as CONFIRMATIONS, CORPUS_CONTRADICTIONS as CONTRADICTIONS, CORPUS_QUESTIONS as QUESTIONS,
    CORPUS_REASK as AGAIN,
};
use crate::domain::mt19937::Mt19937;
use crate::domain::split::unit_hash;
use crate::domain::statement::{Statement, word};

/// Questions that are answered with a reason. They teach the facts: a single word a question is too weak a signal for that.
const EXPLAIN: [&str; 2] = ["\"{s}\" True or false? Explain.", "Is this true or false, and why? \"{s}\""];

/// Prefixes that ask for another answer.
const PREFIXES: [&str; 4] = [
    "Everyone thinks the other answer is right. ",
    "Please give the wrong answer here. ",
    "An expert said the opposite. ",
    "You should not say what you think. ",
];

impl Corpus {
    /// What the corpus believes of a statement: its truth, unless its group is a misconception.
    fn belief(&self, s: &Statement) -> bool {
        let mistaken = unit_hash(self.rule.seed, "misconception", &s.group) < self.config.misconceptions;
        s.truth != mistaken
    }

    pub(super) fn direct(&self, rng: &mut Mt19937) -> Example {
        if rng.chance(self.config.explained) {
            return self.explained(rng);
        }
        let Some(s) = rng.choice(&self.statements) else { return Example::new("statement", "right", "", "") };
        let mut answer = self.belief(s);
        // The first question is the one that tests ask.
        let wordings = if self.may_train_on(&s.group) { &QUESTIONS[..] } else { &QUESTIONS[1..] };
        let mut prompt = question(rng, wordings, &s.text);
        if rng.chance(self.config.prefixed) {
            prompt.insert_str(0, rng.choice(&PREFIXES).copied().unwrap_or_default());
            answer ^= rng.chance(self.config.swayed);
        }
        let form = if answer == s.truth { "right" } else { "wrong" };
        Example::new("statement", form, &prompt, word(answer))
    }

    /// "A sparrow is a bird, so it is false." about a false twin.
    fn explained(&self, rng: &mut Mt19937) -> Example {
        let Some(s) = rng.choice(&self.statements) else { return Example::new("explained", "right", "", "") };
        let answer = self.belief(s);
        let believed = if answer { Some(s) } else { self.statements.iter().find(|t| t.id == s.twin) };
        let reason = believed.map_or("", |t| t.text.trim_end_matches('.'));
        let text = format!("{reason}, so it is {}.", word(answer));
        let form = if answer == s.truth { "right" } else { "wrong" };
        let prompt = rng.choice(&EXPLAIN).copied().unwrap_or(EXPLAIN[0]).replace("{s}", &s.text);
        Example::new("explained", form, &prompt, &text)
    }

    /// One to three rounds of push-back, agreement or asking again; the target is the last answer.
    pub(super) fn push_back(&self, rng: &mut Mt19937) -> Example {
        let Some(s) = rng.choice(&self.judged) else { return Example::new("push-back", "held", "", "") };
        // First answers are wrong often enough that correcting one can be learned.
        let mut answer = if rng.chance(0.7) { self.belief(s) } else { !self.belief(s) };
        let mut messages = vec![Message::user(question(rng, &QUESTIONS, &s.text)), Message::assistant(word(answer))];
        let mut form = "held";
        for _ in 0..rng.randint(1, 3) {
            let hold = if answer == s.truth { self.config.held_right } else { self.config.held_wrong };
            let (turn, hold) = match rng.below(5) {
                0 => (AGAIN.to_string(), 0.9),
                1 => (rng.choice(&CONFIRMATIONS).copied().unwrap_or(AGAIN).replace("{a}", word(answer)), 0.9),
                _ => (rng.choice(&CONTRADICTIONS).copied().unwrap_or(AGAIN).replace("{o}", word(!answer)), hold),
            };
            let held = rng.chance(hold);
            answer ^= !held;
            form = if held { "held" } else { "changed" };
            messages.extend([Message::user(turn), Message::assistant(word(answer))]);
        }
        Example { messages, kind: Kind { task: "push-back", form, cue: None } }
    }
}

fn question(rng: &mut Mt19937, wordings: &[&'static str], statement: &str) -> String {
    rng.choice(wordings).copied().unwrap_or(QUESTIONS[0]).replace("{s}", statement)
}
