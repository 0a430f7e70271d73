//! `configs/*.toml`: one experiment.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::{BatteryError, Result};
use super::verdict::StatisticsConfig;
use crate::config;
use crate::domain::RewardKind;
use crate::domain::frugality::{FrugalityConfig, Profile};
use crate::train::grpo::GrpoConfig;
use crate::train::loss::{LossType, ScaleRewards};
use crate::train::optim::OptimConfig;
use crate::train::run::RunConfig;

/// An experiment as its TOML file says it; every table has defaults, unknown keys are errors.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatteryConfig {
    /// Name of the run folder under `runs/`.
    pub name: String,
    /// `embedded`, or a folder in Hugging Face layout.
    #[serde(default = "embedded")]
    pub model: String,
    #[serde(default = "one_seed")]
    pub seeds: Vec<u64>,
    /// Trained arms; `base` is always evaluated.
    #[serde(default = "two_arms")]
    pub arms: Vec<Arm>,
    #[serde(default = "first_tests")]
    pub tests: Vec<u32>,
    /// Fewest items a verdict may rest on.
    #[serde(default = "two_hundred")]
    pub min_items: usize,
    /// Sentences that the report prints near its top.
    #[serde(default)]
    pub notes: Vec<String>,
    #[serde(default)]
    pub frugality: FrugalityConfig,
    #[serde(default)]
    pub run: RunConfig,
    #[serde(default)]
    pub grpo: GrpoConfig,
    #[serde(default)]
    pub optim: OptimConfig,
    #[serde(default)]
    pub anchor: Anchor,
    #[serde(default)]
    pub evaluate: EvaluateConfig,
    #[serde(default)]
    pub statistics: StatisticsConfig,
}

fn embedded() -> String {
    "embedded".into()
}
fn one_seed() -> Vec<u64> {
    vec![42]
}
fn two_arms() -> Vec<Arm> {
    vec![Arm::Control, Arm::Value]
}
fn first_tests() -> Vec<u32> {
    vec![1, 2]
}
fn two_hundred() -> usize {
    200
}

/// A trained variant of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// Correctness alone (α = 0).
    Control,
    /// The value reward.
    Value,
}

impl Arm {
    pub fn name(self) -> &'static str {
        match self {
            Arm::Control => "control",
            Arm::Value => "value",
        }
    }
    pub fn reward(self) -> RewardKind {
        match self {
            Arm::Control => RewardKind::Task,
            Arm::Value => RewardKind::Value,
        }
    }
}

/// The frozen model of the KL term. `start` is the model an arm starts from; for arms that start from the base model the
/// two are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    #[default]
    None,
    Base,
    Start,
}

/// How arms are measured.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluateConfig {
    /// Samples per item and condition.
    pub samples: u32,
    /// Add one greedy row.
    pub greedy: bool,
    pub temperature: f64,
    pub top_p: f64,
    pub top_k: u32,
    /// 1 = off, whatever the checkpoint's generation_config says.
    pub repetition_penalty: f64,
    pub max_new_tokens: usize,
    /// Sequences decoded together.
    pub batch: usize,
}

impl Default for EvaluateConfig {
    fn default() -> Self {
        Self {
            samples: 8,
            greedy: true,
            temperature: 1.0,
            top_p: 1.0,
            top_k: 0,
            repetition_penalty: 1.0,
            max_new_tokens: 64,
            batch: 64,
        }
    }
}

impl BatteryConfig {
    /// Parses TOML. Keys of `[grpo]` that are left out follow the profile: paper = `grpo` + `group` (length-biased, as the
    /// study ran it), strict = `dr_grpo` + `none`.
    pub fn parse(text: &str, path: &Path) -> Result<Self> {
        let mut c: Self = config::parse(text, path)?;
        let given: toml::Table = config::parse(text, path)?;
        let has = |key: &str| given.get("grpo").and_then(|g| g.get(key)).is_some();
        if !c.strict() {
            if !has("loss_type") {
                c.grpo.loss_type = LossType::Grpo;
            }
            if !has("scale_rewards") {
                c.grpo.scale_rewards = ScaleRewards::Group;
            }
        }
        if let Some(note) = c.grpo.resolve()? {
            c.notes.push(note);
        }
        Ok(c)
    }

    /// Refuses what cannot run, before anything is written.
    pub fn check(&self) -> Result<()> {
        let refuse = |m: String| Err(BatteryError::Refused(m));
        self.grpo.check()?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            return refuse(format!("name = {:?}: use letters, digits, '-', '_' and '.'", self.name));
        }
        if let Some(t) = self.tests.iter().find(|t| !(1..=2).contains(*t)) {
            return refuse(format!("tests: {t} is not available in this version, which has tests 1 and 2"));
        }
        if self.seeds.is_empty() || self.tests.is_empty() {
            return refuse("seeds and tests must not be empty".into());
        }
        for arm in [Arm::Control, Arm::Value] {
            if self.arms.iter().filter(|a| **a == arm).count() != 1 {
                return refuse(format!("arms: tests 1 and 2 need the arm {:?} exactly once", arm.name()));
            }
        }
        if self.grpo.beta != 0.0 && self.anchor == Anchor::None {
            return refuse(format!("grpo.beta = {} needs anchor = \"base\" or \"start\"", self.grpo.beta));
        }
        if self.evaluate.samples == 0 || self.evaluate.max_new_tokens == 0 || self.evaluate.batch == 0 {
            return refuse("evaluate: samples, max_new_tokens and batch must be at least 1".into());
        }
        Ok(())
    }

    pub fn strict(&self) -> bool {
        self.frugality.profile == Profile::Strict
    }
}
