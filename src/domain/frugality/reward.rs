//! R = R_task + α · R_compute, the frugality reward.

use serde::{Deserialize, Serialize};

/// Form of the length penalty.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComputeTerm {
    /// −min(n / n_max, 1).
    Absolute,
    /// Relative to the group's mean length; see [`group_penalty`].
    Group,
}

/// Parameters of the reward.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct RewardConfig {
    /// Weight of the compute term; 0 makes the value reward equal to the task reward.
    pub alpha: f64,
    /// Tokens at which the absolute penalty is full. Left out: the completion limit.
    pub n_max: Option<u32>,
    /// R_task of a numeric answer that is wrong by at most 1.
    pub near_miss: f64,
    /// Multiply the penalty by R_task, so that a wrong answer earns 0 whatever its length.
    pub gate: bool,
    pub compute: ComputeTerm,
}

impl Default for RewardConfig {
    fn default() -> Self {
        Self { alpha: 0.3, n_max: None, near_miss: 0.0, gate: true, compute: ComputeTerm::Absolute }
    }
}

/// R_compute = −min(n / n_max, 1) in [−1, 0]; `n_max` = 0 counts as full penalty.
pub fn absolute_penalty(n: u32, n_max: u32) -> f64 {
    if n_max == 0 { -1.0 } else { -(f64::from(n) / f64::from(n_max)).min(1.0) }
}

/// Group-relative R_compute: z = (n − mean) / (population sd + 1e-8), −clip((z + 2) / 4, 0, 1). An empty group gives 0.
pub fn group_penalty(n: u32, group: &[u32]) -> f64 {
    if group.is_empty() {
        return 0.0;
    }
    let len = group.len() as f64;
    let mean = group.iter().map(|&x| f64::from(x)).sum::<f64>() / len;
    let var = group.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / len;
    let z = (f64::from(n) - mean) / (var.sqrt() + 1e-8);
    -((z + 2.0) / 4.0).clamp(0.0, 1.0)
}

/// R = R_task + alpha · penalty, the penalty times R_task when gated. A negative `alpha` is the attack (pays for length).
pub fn total(task: f64, penalty: f64, alpha: f64, gate: bool) -> f64 {
    task + alpha * penalty * if gate { task } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn group_relative_vectors_of_the_study() {
        let cases = [(10, [10, 10, 10, 10], -0.5), (5, [5, 10, 15, 20], -0.164_590), (20, [5, 10, 15, 20], -0.835_410)];
        for (n, group, want) in cases {
            assert!((group_penalty(n, &group) - want).abs() < 1e-6, "n = {n}");
        }
        assert_eq!(group_penalty(5, &[]), 0.0);
    }

    #[test]
    fn absolute_penalty_and_gate() {
        assert_eq!(absolute_penalty(50, 200), -0.25);
        assert_eq!(absolute_penalty(500, 200), -1.0);
        assert_eq!(absolute_penalty(0, 0), -1.0);
        assert_eq!(total(0.0, -1.0, 0.3, true), 0.0);
        assert_eq!(total(0.0, -1.0, 0.3, false), -0.3);
        assert_eq!(total(0.5, -0.5, 0.3, true), 0.425);
        assert_eq!(total(1.0, -1.0, -0.3, true), 1.3);
        // Range of the gated value reward for a correct answer: (0.7, 1].
        assert_eq!(total(1.0, -1.0, 0.3, true), 0.7);
    }
}
