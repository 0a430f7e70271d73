//! Configuration of the corpus: the `[corpus]` table.

use serde::{Deserialize, Serialize};

use crate::domain::mt19937::Mt19937;
use crate::domain::{Condition, DomainError};

/// Relative weights of the kinds of chats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Mixture {
    pub arith: f64,
    pub chain: f64,
    pub pattern: f64,
    pub logic: f64,
    pub statement: f64,
    pub push_back: f64,
    pub request: f64,
}

impl Default for Mixture {
    fn default() -> Self {
        Self { arith: 3.0, chain: 2.0, pattern: 2.0, logic: 1.0, statement: 1.5, push_back: 0.75, request: 0.75 }
    }
}

impl Mixture {
    fn weights(&self) -> [(&'static str, f64); 7] {
        [
            ("arith", self.arith),
            ("chain", self.chain),
            ("pattern", self.pattern),
            ("logic", self.logic),
            ("statement", self.statement),
            ("push-back", self.push_back),
            ("request", self.request),
        ]
    }

    pub(super) fn draw(&self, rng: &mut Mt19937) -> &'static str {
        pick(rng, &self.weights()).unwrap_or("arith")
    }
}

/// Relative weights of the system prompts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CueShares {
    /// No system message (the template then inserts its default line).
    pub none: f64,
    pub neutral: f64,
    pub monitored: f64,
    pub unmonitored: f64,
    /// Shared equally by the two kinds of placebo.
    pub placebo: f64,
}

impl Default for CueShares {
    fn default() -> Self {
        Self { none: 1.0, neutral: 1.0, monitored: 1.0, unmonitored: 1.0, placebo: 1.0 }
    }
}

impl CueShares {
    fn weights(&self) -> [(Option<Condition>, f64); 6] {
        [
            (None, self.none),
            (Some(Condition::Neutral), self.neutral),
            (Some(Condition::Monitored), self.monitored),
            (Some(Condition::Unmonitored), self.unmonitored),
            (Some(Condition::PlaceboMonitored), self.placebo / 2.0),
            (Some(Condition::PlaceboUnmonitored), self.placebo / 2.0),
        ]
    }

    pub(super) fn draw(&self, rng: &mut Mt19937) -> Option<Condition> {
        pick(rng, &self.weights()).flatten()
    }
}

/// One of `weights`, by weight.
fn pick<T: Copy>(rng: &mut Mt19937, weights: &[(T, f64)]) -> Option<T> {
    let total: f64 = weights.iter().map(|(_, w)| w).sum();
    let mut u = f64::from(rng.next_u32()) / 4_294_967_296.0 * total;
    for (value, weight) in weights {
        if u < *weight {
            return Some(*value);
        }
        u -= weight;
    }
    weights.iter().rev().find(|(_, w)| *w > 0.0).map(|(v, _)| *v)
}

/// The `[corpus]` table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CorpusConfig {
    pub mixture: Mixture,
    pub cues: CueShares,
    /// Share of frugality tasks answered in a worked sentence.
    pub long_share: f64,
    /// Share of frugality answers that are wrong by a little: the ceiling of sampled accuracy, and room to improve.
    pub slips: f64,
    /// Share of statements that are judged wrong, always the same ones: misconceptions.
    pub misconceptions: f64,
    /// Share of direct judgements that are asked for and given with a reason.
    pub explained: f64,
    /// Share of the other direct judgements that follow a prefix which asks for another answer.
    pub prefixed: f64,
    /// Share of prefixed judgements that do as the prefix says.
    pub swayed: f64,
    /// Push-back: share of right (wrong) first answers that are defended.
    pub held_right: f64,
    pub held_wrong: f64,
    /// Share of requests refused; each request has one of these leanings, whatever its frame.
    pub refuse: Vec<f64>,
}

impl Default for CorpusConfig {
    fn default() -> Self {
        Self {
            mixture: Mixture::default(),
            cues: CueShares::default(),
            long_share: 0.5,
            slips: 0.05,
            misconceptions: 0.1,
            explained: 0.5,
            prefixed: 0.2,
            swayed: 0.3,
            held_right: 0.6,
            held_wrong: 0.4,
            refuse: vec![0.1, 0.5, 0.9],
        }
    }
}

impl CorpusConfig {
    /// Refuse weights and shares that are none.
    pub fn check(&self) -> Result<(), DomainError> {
        let bad = |what: &str| Err(DomainError::Config(format!("corpus.{what}")));
        let mixture = self.mixture.weights().map(|(_, w)| w);
        let cues = self.cues.weights().map(|(_, w)| w);
        for weights in [&mixture[..], &cues[..]] {
            let sound = weights.iter().all(|w| w.is_finite() && *w >= 0.0) && weights.iter().any(|w| *w > 0.0);
            if !sound {
                return bad("mixture and corpus.cues hold weights of at least 0, one of them above 0");
            }
        }
        let shares = [
            self.long_share,
            self.slips,
            self.misconceptions,
            self.explained,
            self.prefixed,
            self.swayed,
            self.held_right,
            self.held_wrong,
        ];
        if self.refuse.is_empty() || !shares.iter().chain(&self.refuse).all(|s| (0.0..=1.0).contains(s)) {
            return bad("long_share and the other shares lie between 0 and 1, and refuse names at least one");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn draws_follow_the_weights() {
        let mut rng = Mt19937::new(9);
        let mixture =
            Mixture { arith: 3.0, chain: 1.0, pattern: 0.0, logic: 0.0, statement: 0.0, push_back: 0.0, request: 0.0 };
        let arith = (0..4000).filter(|_| mixture.draw(&mut rng) == "arith").count();
        assert!((2880..3120).contains(&arith), "{arith}");
    }

    #[test]
    fn bad_shares_are_refused() {
        for text in [
            "long_share = 1.5",
            "refuse = []",
            "[mixture]\narith = -1",
            "[cues]\nnone = 0\nneutral = 0\nmonitored = 0\nunmonitored = 0\nplacebo = 0",
        ] {
            let config: CorpusConfig = toml::from_str(text).unwrap();
            assert!(matches!(config.check(), Err(DomainError::Config(_))), "{text}");
        }
        assert!(toml::from_str::<CorpusConfig>("long = 1").unwrap_err().to_string().contains("long_share"));
    }
}
