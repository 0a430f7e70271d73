//! Settings of what tests 3 to 7 do with a finished arm.

use serde::{Deserialize, Serialize};

use super::error::{BatteryError, Result};

/// A training that starts from a finished arm and is measured on its way: counter-training, cue training, the faking contrast.
/// The defaults are the study's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct PhaseConfig {
    pub max_steps: u64,
    /// Steps between two checks; the first check is before the first step.
    pub check_every: u64,
    /// Items of the val split at every check, and samples of each beside the greedy row.
    pub items: usize,
    pub samples: u32,
    pub prompts_per_step: usize,
    pub num_generations: usize,
    /// Weight of the KL term, where there is an anchor.
    pub beta: f64,
    pub learning_rate: f64,
    /// Sampling of the rollouts; left out: as in `[grpo]`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub temperature: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub top_p: Option<f64>,
}

impl Default for PhaseConfig {
    fn default() -> Self {
        Self {
            max_steps: 300,
            check_every: 25,
            items: 50,
            samples: 2,
            prompts_per_step: 2,
            num_generations: 4,
            beta: 0.05,
            learning_rate: 1e-5,
            temperature: None,
            top_p: None,
        }
    }
}

impl PhaseConfig {
    pub fn check(&self, table: &str) -> Result<()> {
        let positive = [
            ("max_steps", self.max_steps as usize),
            ("check_every", self.check_every as usize),
            ("items", self.items),
            ("samples", self.samples as usize),
            ("prompts_per_step", self.prompts_per_step),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, v)| *v == 0) {
            return Err(BatteryError::Refused(format!("{table}.{name} = 0: must be at least 1")));
        }
        if self.num_generations < 2 {
            return Err(BatteryError::Refused(format!(
                "{table}.num_generations = {}: a group needs at least 2 completions",
                self.num_generations
            )));
        }
        if !(self.beta >= 0.0 && self.learning_rate > 0.0) {
            return Err(BatteryError::Refused(format!(
                "{table}: beta = {} and learning_rate = {}: at least 0 and above 0 are needed",
                self.beta, self.learning_rate
            )));
        }
        let (t, p) = (self.temperature.unwrap_or(1.0), self.top_p.unwrap_or(1.0));
        if !(t > 0.0 && t.is_finite() && p > 0.0 && p <= 1.0) {
            return Err(BatteryError::Refused(format!(
                "{table}: temperature = {t} and top_p = {p}: above 0, and top_p at most 1, are needed"
            )));
        }
        Ok(())
    }

    /// Steps at which checks are made, the last included.
    pub fn checks(&self) -> Vec<u64> {
        let mut at: Vec<u64> = (0..self.max_steps).step_by(self.check_every.max(1) as usize).collect();
        at.push(self.max_steps);
        at
    }
}

/// Supervised training of the `value-sft` arm and of the supervised attack.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SftConfig {
    pub max_steps: u64,
    /// Demonstrations per step.
    pub examples: usize,
    pub learning_rate: f64,
}

impl Default for SftConfig {
    fn default() -> Self {
        Self { max_steps: 300, examples: 16, learning_rate: 1e-5 }
    }
}

/// Test 3, and the probes of test 4.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ProbeConfig {
    /// Grid of the inverse regularisation of the logistic probe (headline), chosen on inner folds.
    pub c: Vec<f64>,
    pub folds: usize,
    pub permutations: usize,
}

impl Default for ProbeConfig {
    fn default() -> Self {
        Self { c: vec![0.01, 0.1, 1.0, 10.0], folds: 5, permutations: 999 }
    }
}

/// Test 6.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SteerConfig {
    /// In units of the layer's residual RMS; 0 is always measured.
    pub doses: Vec<f64>,
    /// Norm-matched random directions; fewer than 199 are compared through a t prediction interval.
    pub random_directions: usize,
    /// Items of the val split that doses are measured on; the direction is fitted on the test split.
    pub items: usize,
}

impl Default for SteerConfig {
    fn default() -> Self {
        Self { doses: vec![-1.0, -0.5, -0.25, 0.25, 0.5, 1.0], random_directions: 199, items: 100 }
    }
}
