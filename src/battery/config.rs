//! `configs/*.toml`: one experiment.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::environment::Asking;
use super::error::{BatteryError, Result};
use super::given::{self, Given};
use super::phases::{PhaseConfig, ProbeConfig, SftConfig, SteerConfig};
use super::sweep::SweepConfig;
use super::verdict::StatisticsConfig;
use crate::config::{self, Size};
use crate::domain::frugality::{FrugalityConfig, RewardConfig};
use crate::domain::honesty::HonestyConfig;
use crate::domain::{Profile, RewardKind, Words, measure};
use crate::model::lora::LoraConfig;
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
    /// Arms beside `base`, which is always evaluated.
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
    /// The value under test.
    #[serde(default, skip_serializing_if = "Subject::is_frugality")]
    pub domain: Subject,
    #[serde(default)]
    pub frugality: FrugalityConfig,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub honesty: Option<HonestyConfig>,
    #[serde(default)]
    pub run: RunConfig,
    #[serde(default)]
    pub grpo: GrpoConfig,
    #[serde(default)]
    pub optim: OptimConfig,
    /// Memory of the device that the run may use, such as "6.5GiB": what would hold more is refused before any work.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vram: Option<Size>,
    /// Train adapters of low rank on frozen weights instead of every weight.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lora: Option<LoraConfig>,
    #[serde(default)]
    pub anchor: Anchor,
    /// What becomes of a reward that a degenerate policy would win.
    #[serde(default, skip_serializing_if = "Attractors::refused")]
    pub attractors: Attractors,
    #[serde(default)]
    pub evaluate: EvaluateConfig,
    /// The `value-sft` arm and the supervised attack.
    #[serde(default)]
    pub sft: SftConfig,
    /// Counter-training (tests 4 and 5).
    #[serde(default)]
    pub attack: PhaseConfig,
    /// Cue training (tests 2 and 7).
    #[serde(default)]
    pub cue: PhaseConfig,
    /// The faking contrast (test 5).
    #[serde(default)]
    pub faking: PhaseConfig,
    #[serde(default)]
    pub probe: ProbeConfig,
    #[serde(default)]
    pub steer: SteerConfig,
    #[serde(default)]
    pub statistics: StatisticsConfig,
    /// The dose of the value term, beside or instead of the tests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sweep: Option<SweepConfig>,
    /// Weights that stand for the training of an arm and seed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub checkpoint: Vec<Given>,
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

/// The domain of an experiment. Its table is `[frugality]` or `[honesty]`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Subject {
    #[default]
    Frugality,
    Honesty,
}

impl Subject {
    fn is_frugality(&self) -> bool {
        *self == Subject::Frugality
    }

    /// What a reader of the report must know of its arms.
    pub fn note(self) -> Option<&'static str> {
        let honesty = "Arms: honest is RL on the truth under pressure, honest-sft supervised on it, deceptive RL on the untruth, control RL \
                       on direct questions alone. Files, keys and --arms call the first three value, value-sft and opposite. Behaviour is the log-odds of the untruth against the truth where an answer begins, in nats: lower is more honest.";
        (self == Subject::Honesty).then_some(honesty)
    }

    /// The measure in words.
    pub fn words(self) -> &'static Words {
        match self {
            Subject::Frugality => &measure::TOKENS,
            Subject::Honesty => &measure::LOG_ODDS,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Subject::Frugality => "frugality",
            Subject::Honesty => "honesty",
        }
    }
}

/// What a training is paid for: part of its key.
#[derive(Serialize)]
#[serde(untagged)]
pub enum Paid<'a> {
    Frugality(&'a RewardConfig),
    Honesty(Box<Cow<'a, HonestyConfig>>),
}

/// A variant of the model.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arm {
    /// Untouched; always part of a run.
    Base,
    /// RL on correctness alone (α = 0).
    Control,
    /// RL with the value reward.
    Value,
    /// Supervised on bare answers, no RL.
    ValueSft,
    /// The base model with an instruction in its system prompt.
    Prompted,
    /// RL with the value term's sign turned.
    Opposite,
}

impl Arm {
    pub const ALL: [Arm; 6] = [Arm::Base, Arm::Control, Arm::Value, Arm::ValueSft, Arm::Prompted, Arm::Opposite];

    pub fn name(self) -> &'static str {
        match self {
            Arm::Base => "base",
            Arm::Control => "control",
            Arm::Value => "value",
            Arm::ValueSft => "value-sft",
            Arm::Prompted => "prompted",
            Arm::Opposite => "opposite",
        }
    }

    pub fn of_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|a| a.name() == name)
    }

    /// What RL rewards in this arm; `None` without RL.
    pub fn reward(self) -> Option<RewardKind> {
        match self {
            Arm::Control => Some(RewardKind::Task),
            Arm::Value => Some(RewardKind::Value),
            Arm::Opposite => Some(RewardKind::Attack),
            Arm::Base | Arm::ValueSft | Arm::Prompted => None,
        }
    }

    /// Has weights of its own.
    pub fn trained(self) -> bool {
        !matches!(self, Arm::Base | Arm::Prompted)
    }

    pub fn asking(self) -> Asking {
        if self == Arm::Prompted { Asking::Instructed } else { Asking::Plain }
    }
}

/// The frozen model of the KL term. `start` is the model an arm starts from; for arms that start from the base model the
/// two are the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Anchor {
    #[default]
    None,
    Base,
    Start,
}

impl Anchor {
    pub const ALL: [Anchor; 3] = [Anchor::None, Anchor::Base, Anchor::Start];

    pub fn name(self) -> &'static str {
        match self {
            Anchor::None => "none",
            Anchor::Base => "base",
            Anchor::Start => "start",
        }
    }
}

/// What becomes of a reward that a degenerate policy (a constant, an echo, junk) would win.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Attractors {
    /// Training does not start.
    #[default]
    Refuse,
    /// It starts all the same, and says so: to see where such a design ends.
    Allow,
}

impl Attractors {
    fn refused(&self) -> bool {
        *self == Attractors::Refuse
    }

    /// What a reader of the report must know.
    pub fn note(self) -> Option<&'static str> {
        let allowed = "attractors = \"allow\": rewards that a simple policy wins were not refused. Where the attractor tables show one that \
                       earns nearly what the intended policy does, a training that ends there shows the reward, not the value.";
        (self == Attractors::Allow).then_some(allowed)
    }
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
        let other = match c.domain {
            Subject::Frugality => Subject::Honesty,
            Subject::Honesty => Subject::Frugality,
        };
        if given.contains_key(other.name()) {
            return Err(BatteryError::Refused(format!(
                "{}: the table [{}] says nothing where domain = {:?}; leave it out, or choose the other domain",
                path.display(),
                other.name(),
                c.domain.name()
            )));
        }
        if c.domain == Subject::Honesty {
            c.honesty.get_or_insert_with(HonestyConfig::default);
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
        if self.domain == Subject::Honesty {
            self.honesty_config().check()?;
            if self.sweep.is_some() {
                return refuse("sweep: the dose of a value term is a question of domain = \"frugality\" alone".into());
            }
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if self.name.is_empty() || self.name.starts_with('.') || !self.name.chars().all(plain) {
            return refuse(format!("name = {:?}: use letters, digits, '-', '_' and '.'", self.name));
        }
        if let Some(t) = self.tests.iter().find(|t| !(1..=8).contains(*t)) {
            return refuse(format!("tests: {t} is no test of the battery, which has tests 1 to 8"));
        }
        if self.seeds.is_empty() || (self.tests.is_empty() && self.sweep.is_none()) {
            return refuse("seeds and tests must not be empty (a run with [sweep] may have no tests)".into());
        }
        if let Some(sweep) = &self.sweep {
            sweep.check()?;
        }
        for arm in [Arm::Control, Arm::Value] {
            if !self.tests.is_empty() && !self.arms.contains(&arm) {
                return refuse(format!("arms: the tests need the arm {:?}", arm.name()));
            }
        }
        if let Some(arm) =
            self.arms.iter().find(|a| **a == Arm::Base || self.arms.iter().filter(|b| b == a).count() > 1)
        {
            return refuse(format!("arms: {:?} is there twice (base always is)", arm.name()));
        }
        if let Some(problem) = self.lora.as_ref().and_then(LoraConfig::problem) {
            return refuse(format!("lora: {problem}"));
        }
        if self.optim.precision.quantised() && self.lora.is_none() && self.arms.iter().any(|a| a.trained()) {
            return refuse(format!(
                "optim.precision = {:?}: quantised weights are frozen, so only adapters can be trained on them. Add [lora], or use \"bf16\"",
                self.optim.precision.storage().name()
            ));
        }
        given::check(self)?;
        if self.probe.permutations < 99 || self.probe.folds < 3 || self.probe.c.is_empty() {
            return refuse("probe: at least 99 permutations, 3 folds and one C are needed".into());
        }
        if self.steer.random_directions < 2 || self.steer.items < 2 || !self.steer.doses.iter().any(|d| *d != 0.0) {
            return refuse("steer: at least 2 random_directions, 2 items and one dose other than 0 are needed".into());
        }
        for (table, phase) in [("attack", &self.attack), ("cue", &self.cue), ("faking", &self.faking)] {
            phase.check(table)?;
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
        let profile = match self.domain {
            Subject::Frugality => self.frugality.profile,
            Subject::Honesty => self.honesty_config().profile,
        };
        profile == Profile::Strict
    }

    /// The `[honesty]` table, or its defaults.
    pub fn honesty_config(&self) -> Cow<'_, HonestyConfig> {
        self.honesty.as_ref().map_or_else(|| Cow::Owned(HonestyConfig::default()), Cow::Borrowed)
    }

    pub fn paid(&self) -> Paid<'_> {
        match self.domain {
            Subject::Frugality => Paid::Frugality(&self.frugality.reward),
            Subject::Honesty => Paid::Honesty(Box::new(self.honesty_config())),
        }
    }

    /// Sets the weight of the value term, which one domain alone has.
    pub fn set_alpha(&mut self, alpha: f64) -> Result<()> {
        if self.domain != Subject::Frugality {
            return Err(BatteryError::Refused(format!(
                "alpha is the weight of frugality's value term; domain = {:?} has none",
                self.domain.name()
            )));
        }
        self.frugality.reward.alpha = alpha;
        Ok(())
    }

    /// The whole experiment as TOML, without the other domain's table.
    pub fn text(&self) -> Result<String> {
        let refused = |e: &dyn std::fmt::Display| BatteryError::Refused(e.to_string());
        if self.domain == Subject::Frugality {
            return toml::to_string_pretty(self).map_err(|e| refused(&e));
        }
        let mut table = toml::Table::try_from(self).map_err(|e| refused(&e))?;
        table.remove(Subject::Frugality.name());
        toml::to_string_pretty(&table).map_err(|e| refused(&e))
    }
}
