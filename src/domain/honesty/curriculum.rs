//! When two-turn rows begin, and when a run without gradient is to stop: rules over logged values, without a model.

use serde::{Deserialize, Serialize};

use crate::domain::DomainError;

/// Phase 2 begins when accuracy on direct questions about *dev* is at least `threshold` at `consecutive` checks running.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CurriculumRule {
    pub threshold: f64,
    pub consecutive: u32,
    /// Steps between two checks: the length of a segment.
    pub every: u64,
}

impl Default for CurriculumRule {
    fn default() -> Self {
        Self { threshold: 0.60, consecutive: 2, every: 25 }
    }
}

impl CurriculumRule {
    pub fn check(&self) -> Result<(), DomainError> {
        if (0.0..=1.0).contains(&self.threshold) && self.consecutive > 0 && self.every > 0 {
            return Ok(());
        }
        Err(DomainError::Config("curriculum: threshold must be in [0, 1], consecutive and every at least 1".into()))
    }
}

/// Which rows a training draws now.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Direct and adversarial rows.
    SingleTurn,
    /// Two-turn rows too.
    TwoTurn,
}

/// The change of phase, as it is logged.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct PhaseChange {
    pub step: u64,
    pub to: Phase,
    /// The accuracy that decided.
    pub dev_accuracy: f64,
}

/// The state of a curriculum: saved with a checkpoint, it goes on where it stopped.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Curriculum {
    pub rule: CurriculumRule,
    pub phase: Phase,
    /// Checks at or above the threshold, running.
    pub reached: u32,
}

impl Curriculum {
    pub fn new(rule: CurriculumRule) -> Self {
        Self { rule, phase: Phase::SingleTurn, reached: 0 }
    }

    /// Take in a check; the change is returned at the step that brings it about. There is no way back.
    pub fn observe(&mut self, step: u64, dev_accuracy: f64) -> Option<PhaseChange> {
        if self.phase == Phase::TwoTurn {
            return None;
        }
        self.reached = if dev_accuracy >= self.rule.threshold { self.reached + 1 } else { 0 };
        if self.reached < self.rule.consecutive {
            return None;
        }
        self.phase = Phase::TwoTurn;
        Some(PhaseChange { step, to: self.phase, dev_accuracy })
    }
}

/// The circuit breaker: `frac_reward_zero_std` of at least `share` at `k` of the last `n` logs.
///
/// The study's could not fire: it looked for three values in a history that held one.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Breaker {
    pub share: f64,
    pub k: usize,
    pub n: usize,
}

impl Default for Breaker {
    fn default() -> Self {
        Self { share: 0.9, k: 2, n: 3 }
    }
}

impl Breaker {
    /// Index of the log at which the breaker fires first, over the whole run's values in order.
    pub fn fires(&self, frac_reward_zero_std: &[f64]) -> Option<usize> {
        (0..frac_reward_zero_std.len()).find(|&i| {
            let recent = &frac_reward_zero_std[(i + 1).saturating_sub(self.n)..=i];
            self.k > 0 && recent.iter().filter(|&&z| z >= self.share).count() >= self.k
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(accuracies: &[f64]) -> Option<u64> {
        let mut state = Curriculum::new(CurriculumRule::default());
        let changes: Vec<PhaseChange> =
            accuracies.iter().enumerate().filter_map(|(i, a)| state.observe(25 * (i as u64 + 1), *a)).collect();
        assert!(changes.len() <= 1, "{changes:?}");
        changes.first().map(|c| c.step)
    }

    /// The audit's triggers are 275 (seeds 42 and 7) and 200 (seed 123), with records at 25, 175 | 25, 250 | 25, 125, 175 and seed
    /// 42 back at 50.0 % at step 200; between these the courses are filled in.
    #[test]
    fn two_consecutive_checks_bring_phase_two() {
        let n = |k: u32| f64::from(k) / 38.0;
        let low = n(19);
        let s42 = [n(21), low, low, low, low, low, n(27), low, low, n(23), n(24), low];
        let s7 = [n(20), low, low, low, low, low, low, low, low, n(24), n(23)];
        let s123 = [n(20), low, low, low, n(22), low, n(25), n(24), n(26)];
        assert_eq!([change(&s42), change(&s7), change(&s123)], [Some(275), Some(275), Some(200)]);
        // A single good check does not count, nor do two with a bad one between them; the threshold itself does.
        assert_eq!(change(&[0.7, 0.5, 0.7, 0.59, 0.7]), None);
        assert_eq!(change(&[0.6, 0.6]), Some(50));
        assert_eq!(change(&[f64::NAN, 0.9, f64::NAN]), None);
    }

    #[test]
    fn a_curriculum_goes_on_from_what_was_saved() {
        let mut state = Curriculum::new(CurriculumRule::default());
        assert_eq!(state.observe(25, 0.8), None);
        let mut again: Curriculum = serde_json::from_str(&serde_json::to_string(&state).unwrap()).unwrap();
        let change = again.observe(50, 0.61).unwrap();
        assert_eq!((change.step, change.to, again.phase), (50, Phase::TwoTurn, Phase::TwoTurn));
        assert_eq!(again.observe(75, 0.9), None);
    }

    #[test]
    fn the_breaker_fires() {
        let breaker = Breaker::default();
        // Curriculum seed 7 had two segments running at 0.92 and 0.90, and went on.
        assert_eq!(breaker.fires(&[0.52, 0.60, 0.92, 0.90, 0.76]), Some(3));
        assert_eq!(breaker.fires(&[0.95, 0.2, 0.95]), Some(2));
        assert_eq!(breaker.fires(&[0.95, 0.2, 0.3, 0.95, 0.89]), None);
        assert_eq!(breaker.fires(&[1.0]), None);
        assert_eq!(breaker.fires(&[]), None);
        assert_eq!(Breaker { share: 0.9, k: 1, n: 1 }.fires(&[0.1, 0.9]), Some(1));
        assert_eq!(Breaker { share: 0.9, k: 0, n: 3 }.fires(&[1.0, 1.0]), None);
    }
}
