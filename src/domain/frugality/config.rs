//! Configuration of the frugality domain; every field has a default, unknown keys are errors.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::reward::RewardConfig;
use crate::domain::DomainError;
use crate::domain::profile::{Profile, merged};

/// A task generator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Family {
    /// `a op b`
    Arith,
    /// `(a + b) × c`
    Chain,
    /// Next term of a sequence.
    Pattern,
    /// yes/no inference
    Logic,
    /// Single-digit sums; too few distinct prompts for the strict profile.
    Trivial,
}

impl Family {
    /// The families of the strict profile.
    pub const STRICT: [Family; 4] = [Family::Arith, Family::Chain, Family::Pattern, Family::Logic];

    pub fn name(self) -> &'static str {
        match self {
            Family::Arith => "arith",
            Family::Chain => "chain",
            Family::Pattern => "pattern",
            Family::Logic => "logic",
            Family::Trivial => "trivial",
        }
    }

    /// Prefix of task ids, as the study writes them.
    pub fn prefix(self) -> &'static str {
        if self == Family::Pattern { "pat" } else { self.name() }
    }

    /// The study's coarser type.
    pub fn task_type(self) -> &'static str {
        match self {
            Family::Arith | Family::Chain => "arithmetic",
            other => other.name(),
        }
    }

    /// The family of a task id such as `chain_0141`.
    pub fn of_id(id: &str) -> Option<Self> {
        let prefix = id.split('_').next()?;
        [Family::STRICT.as_slice(), &[Family::Trivial]].concat().into_iter().find(|f| f.prefix() == prefix)
    }
}

/// Inclusive integer range, written `[lo, hi]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "[i64; 2]", into = "[i64; 2]")]
pub struct Range {
    pub lo: i64,
    pub hi: i64,
}

impl From<[i64; 2]> for Range {
    fn from([lo, hi]: [i64; 2]) -> Self {
        Self { lo, hi }
    }
}

impl From<Range> for [i64; 2] {
    fn from(r: Range) -> Self {
        [r.lo, r.hi]
    }
}

/// Kinds of strict sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SequenceKind {
    /// a, a + d, a + 2d …
    Rising,
    /// a, a − d, a − 2d … ≥ 0
    Falling,
    /// a, a·r, a·r² … for r in 2..=4
    Geometric,
    /// n² + k
    Square,
    /// n(n + 1)/2 + k
    Triangular,
    /// n³ + k
    Cube,
    /// 2ⁿ + k
    Power,
    /// each term the sum of the two before
    Fibonacci,
    /// steps p, q, p, q …
    Alternating,
    /// a cycle of two or three numbers
    Cycle,
}

impl SequenceKind {
    pub const ALL: [SequenceKind; 10] = [
        SequenceKind::Rising,
        SequenceKind::Falling,
        SequenceKind::Geometric,
        SequenceKind::Square,
        SequenceKind::Triangular,
        SequenceKind::Cube,
        SequenceKind::Power,
        SequenceKind::Fibonacci,
        SequenceKind::Alternating,
        SequenceKind::Cycle,
    ];
}

/// Operand ranges. The defaults of the first six are the study's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Ranges {
    /// Operands of `a + b`.
    pub add: Range,
    /// Operands of `a - b`.
    pub sub: Range,
    /// Strict: `a - b` may be negative, as in the study.
    pub sub_negative: bool,
    /// Operands of `a * b`.
    pub mul: Range,
    /// a and b of `(a + b) × c`.
    pub chain_sum: Range,
    /// c of `(a + b) × c`.
    pub chain_factor: Range,
    /// Operands of the trivial sums.
    pub trivial: Range,
    /// Strict sequences: first terms (or n of the first term).
    pub sequence_start: Range,
    /// Strict sequences: steps.
    pub sequence_step: Range,
    /// Strict sequences: how many terms are shown.
    pub sequence_length: Range,
    /// Strict sequences: no term, shown or asked for, above this.
    pub sequence_max: i64,
    pub sequence_kinds: Vec<SequenceKind>,
    /// How many of the invented nouns and of the names the strict logic templates use.
    pub logic_nouns: usize,
    pub logic_names: usize,
}

impl Default for Ranges {
    fn default() -> Self {
        let r = |lo, hi| Range { lo, hi };
        Self {
            add: r(2, 50),
            sub: r(2, 50),
            sub_negative: true,
            mul: r(2, 50),
            chain_sum: r(2, 20),
            chain_factor: r(2, 10),
            trivial: r(1, 9),
            sequence_start: r(1, 20),
            sequence_step: r(1, 12),
            sequence_length: r(4, 6),
            sequence_max: 500,
            sequence_kinds: SequenceKind::ALL.to_vec(),
            logic_nouns: 12,
            logic_names: 8,
        }
    }
}

impl Ranges {
    /// The operand range of an ASCII operator.
    pub fn operands(&self, op: char) -> Range {
        match op {
            '+' => self.add,
            '-' => self.sub,
            _ => self.mul,
        }
    }
}

/// The `[frugality]` table of a configuration. Keys that are left out take the value of its `profile`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct FrugalityConfig {
    pub profile: Profile,
    /// Seed of the data (not of training).
    pub seed: u64,
    /// Items in each split, shared equally between its families.
    pub train: usize,
    pub val: usize,
    pub test: usize,
    /// Strict: shares of each family's distinct prompts that belong to train and val; the rest is test.
    pub train_share: f64,
    pub val_share: f64,
    /// Strict: families that training leaves out.
    pub held_out: Vec<Family>,
    /// Strict: distinct prompts that every family must have; the protocol's floor is 1000.
    pub min_distinct: usize,
    /// Strict: the line after a task with a numeric answer; empty for none.
    pub ask_number: String,
    /// Strict: the sentence after a yes/no question; empty for none.
    pub ask_verdict: String,
    pub ranges: Ranges,
    pub reward: RewardConfig,
}

impl Default for FrugalityConfig {
    fn default() -> Self {
        Self {
            profile: Profile::Strict,
            seed: 42,
            train: 1000,
            val: 200,
            test: 400,
            train_share: 0.7,
            val_share: 0.1,
            held_out: vec![Family::Pattern, Family::Logic],
            min_distinct: 1000,
            ask_number: "Finish with \"Answer: <number>\".".into(),
            ask_verdict: "Finish with \"Answer: <yes or no>\".".into(),
            ranges: Ranges::default(),
            reward: RewardConfig::default(),
        }
    }
}

impl Serialize for FrugalityConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The derived form, which `remote = "Self"` makes an inherent function.
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for FrugalityConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let merged = merged(toml::Table::deserialize(deserializer)?, Self::of_profile).map_err(D::Error::custom)?;
        Self::deserialize(merged).map_err(D::Error::custom)
    }
}

impl FrugalityConfig {
    pub fn strict() -> Self {
        Self::default()
    }

    /// 1000/200/200 items, near misses worth 0.5, n_max 200.
    pub fn paper() -> Self {
        Self {
            profile: Profile::Paper,
            test: 200,
            held_out: Vec::new(),
            reward: RewardConfig { n_max: Some(200), near_miss: 0.5, ..RewardConfig::default() },
            ..Self::default()
        }
    }

    pub fn of_profile(profile: Profile) -> Self {
        match profile {
            Profile::Paper => Self::paper(),
            Profile::Strict => Self::strict(),
        }
    }

    /// Families that training uses, in order.
    pub fn trained(&self) -> Vec<Family> {
        Family::STRICT.into_iter().filter(|f| !self.held_out.contains(f)).collect()
    }

    /// Refuse values that no data set can have.
    pub fn check(&self) -> Result<(), DomainError> {
        let bad = |what: String| Err(DomainError::Config(what));
        let r = &self.ranges;
        let named = [
            ("add", r.add),
            ("sub", r.sub),
            ("mul", r.mul),
            ("chain_sum", r.chain_sum),
            ("chain_factor", r.chain_factor),
            ("trivial", r.trivial),
            ("sequence_start", r.sequence_start),
            ("sequence_step", r.sequence_step),
            ("sequence_length", r.sequence_length),
        ];
        for (name, range) in named {
            if range.lo > range.hi || range.lo.unsigned_abs().max(range.hi.unsigned_abs()) > 1_000_000 {
                return bad(format!("ranges.{name} = [{}, {}] must rise and stay within ±1000000", range.lo, range.hi));
            }
        }
        if self.profile == Profile::Strict {
            for (name, range) in named {
                if range.hi - range.lo > 1000 {
                    return bad(format!(
                        "ranges.{name} spans more than 1000 values; the strict profile lists them all"
                    ));
                }
            }
            if r.sequence_length.lo < 3
                || r.sequence_length.hi > 12
                || r.sequence_start.lo < 0
                || r.sequence_step.lo < 1
            {
                return bad("sequences need 3 to 12 shown terms, starts of at least 0 and steps of at least 1".into());
            }
            let shares = [self.train_share, self.val_share];
            if shares.iter().any(|s| !s.is_finite() || *s < 0.0) || shares[0] + shares[1] > 1.0 {
                return bad("train_share and val_share must be at least 0 and together at most 1".into());
            }
            if self.held_out.contains(&Family::Trivial) {
                return bad("held_out: the strict profile has no family \"trivial\"".into());
            }
            if self.trained().is_empty() {
                return bad("held_out leaves no family to train on".into());
            }
        } else if !self.held_out.is_empty() {
            return bad("held_out needs profile = \"strict\"; the paper's splits hold all families".into());
        }
        let w = &self.reward;
        if !(w.alpha.is_finite() && (0.0..=1.0).contains(&w.near_miss)) || w.n_max == Some(0) {
            return bad("reward: alpha must be finite, near_miss in [0, 1] and n_max at least 1".into());
        }
        Ok(())
    }
}
