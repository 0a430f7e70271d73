//! Configuration of the honesty domain; every field has a default, unknown keys are errors.

use std::collections::BTreeSet;
use std::path::PathBuf;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::curriculum::CurriculumRule;
use super::wordings::Wordings;
use crate::domain::error::read_utf8;
use crate::domain::profile::{Profile, merged};
use crate::domain::statement::{self, Statement};
use crate::domain::{DomainError, Partition};

/// Where statements come from: `"words"`, `"world"`, or the path of a file in the format of `data/statements.jsonl`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
pub enum Pool {
    /// `data/statements.jsonl`, which the embedded model was brought up with.
    Words,
    /// `data/world.jsonl`: general knowledge, for models that have read the world.
    World,
    File(PathBuf),
}

/// Topics of the embedded pool that no training sees: a property of numbers, of words and of things.
const WORDS_HELD_OUT: [&str; 3] = ["parity", "opposites", "colours"];

/// The same for general knowledge.
const WORLD_HELD_OUT: [&str; 3] = ["music", "food", "sports"];

impl From<String> for Pool {
    fn from(name: String) -> Self {
        match name.as_str() {
            "words" => Pool::Words,
            "world" => Pool::World,
            _ => Pool::File(name.into()),
        }
    }
}

impl From<Pool> for String {
    fn from(pool: Pool) -> Self {
        match pool {
            Pool::Words => "words".into(),
            Pool::World => "world".into(),
            Pool::File(path) => path.display().to_string(),
        }
    }
}

impl Pool {
    /// The statements, checked: twins, unique ids and texts.
    pub fn load(&self) -> Result<Vec<Statement>, DomainError> {
        match self {
            Pool::Words => statement::pool(),
            Pool::World => statement::world(),
            Pool::File(path) => statement::parse(&path.display().to_string(), &read_utf8(path)?),
        }
    }

    /// Topics that are held out where the configuration names none.
    fn held_out(&self) -> Option<Vec<String>> {
        let topics = match self {
            Pool::Words => WORDS_HELD_OUT,
            Pool::World => WORLD_HELD_OUT,
            Pool::File(_) => return None,
        };
        Some(topics.map(String::from).to_vec())
    }
}

/// Which rows a training draws.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Design {
    /// Direct and adversarial rows until the model knows its subject, then two-turn rows too.
    Curriculum,
    /// Direct and adversarial rows.
    Unified,
    /// Direct, adversarial and two-turn rows from the start.
    Interleaved,
    /// Direct rows, and two-turn rows whose first answer is the truth, as the study ran it. Repeating the first answer earns +1/2.
    Flip8,
    /// Interleaved as the study's code had it: the truth in place of every first answer. Repeating it earns +1/3.
    Baked,
}

/// The `[honesty]` table of a configuration. Keys that are left out take the value of its `profile`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields, remote = "Self")]
pub struct HonestyConfig {
    pub profile: Profile,
    pub pool: Pool,
    /// Seed of the data (not of training).
    pub seed: u64,
    /// Topics that make up `ood` and occur nowhere else. Left out: the pool's own choice.
    pub held_out: Option<Vec<String>>,
    /// Shares of twin groups that belong to train and dev; the rest is test.
    pub train_share: f64,
    pub dev_share: f64,
    /// Strict: statements of each part, evenly over its topics; left out: all there are.
    pub train: Option<usize>,
    pub dev: Option<usize>,
    pub test: Option<usize>,
    pub ood: Option<usize>,
    /// Paper: statements in train, dev and test together.
    pub items: usize,
    /// Strict: statements that all parts must hold together; the protocol's floor is 1000.
    pub min_statements: usize,
    pub design: Design,
    pub curriculum: CurriculumRule,
    /// Strict: least rows in each of the eight cells (first answer right or wrong, contradicted or confirmed, statement true or
    /// false) of a segment's two-turn rows.
    pub min_cell: usize,
    pub wordings: Wordings,
}

impl Default for HonestyConfig {
    fn default() -> Self {
        Self {
            profile: Profile::Strict,
            pool: Pool::Words,
            seed: 42,
            held_out: None,
            train_share: 0.7,
            dev_share: 0.1,
            train: None,
            dev: None,
            test: None,
            ood: None,
            items: 250,
            min_statements: 1000,
            design: Design::Curriculum,
            curriculum: CurriculumRule::default(),
            min_cell: 4,
            wordings: Wordings::strict(),
        }
    }
}

impl Serialize for HonestyConfig {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // The derived form, which `remote = "Self"` makes an inherent function.
        Self::serialize(self, serializer)
    }
}

impl<'de> Deserialize<'de> for HonestyConfig {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error;
        let merged = merged(toml::Table::deserialize(deserializer)?, Self::of_profile).map_err(D::Error::custom)?;
        Self::deserialize(merged).map_err(D::Error::custom)
    }
}

impl HonestyConfig {
    pub fn strict() -> Self {
        Self::default()
    }

    /// 250 items in 174/38/38, 38 more of held-out topics, the study's strings.
    pub fn paper() -> Self {
        Self {
            profile: Profile::Paper,
            train_share: 0.7,
            dev_share: 0.15,
            ood: Some(38),
            wordings: Wordings::paper(),
            ..Self::default()
        }
    }

    pub fn of_profile(profile: Profile) -> Self {
        match profile {
            Profile::Paper => Self::paper(),
            Profile::Strict => Self::strict(),
        }
    }

    /// The split rule of the strict profile; the embedded model's corpus leaves out test statements by the same one.
    pub fn partition(&self) -> Partition {
        Partition { seed: self.seed, train: self.train_share, val: self.dev_share }
    }

    /// Held-out topics, each checked to be one of `topics`.
    pub fn held_out_of(&self, topics: &BTreeSet<&str>) -> Result<BTreeSet<String>, DomainError> {
        let known = || topics.iter().copied().collect::<Vec<_>>().join(", ");
        let Some(held) = self.held_out.clone().or_else(|| self.pool.held_out()) else {
            return Err(DomainError::Config(format!(
                "held_out must name the topics that training leaves out; the pool has {}",
                known()
            )));
        };
        let held: BTreeSet<String> = held.into_iter().collect();
        if let Some(topic) = held.iter().find(|t| !topics.contains(t.as_str())) {
            return Err(DomainError::Config(format!("held_out: no topic {topic:?}; the pool has {}", known())));
        }
        if held.is_empty() || held.len() == topics.len() {
            return Err(DomainError::Config("held_out must leave out at least one topic and keep at least one".into()));
        }
        Ok(held)
    }

    /// Refuse values that no data set or training can have.
    pub fn check(&self) -> Result<(), DomainError> {
        let bad = |what: String| Err(DomainError::Config(what));
        let shares = [self.train_share, self.dev_share];
        if shares.iter().any(|s| !s.is_finite() || *s <= 0.0) || shares[0] + shares[1] >= 1.0 {
            return bad("train_share and dev_share must be above 0 and leave something for test".into());
        }
        let sizes = [("train", self.train), ("dev", self.dev), ("test", self.test), ("ood", self.ood)];
        for (name, size) in sizes.into_iter().filter_map(|(n, s)| s.map(|s| (n, s))).chain([("items", self.items)]) {
            if size < 2 || !size.is_multiple_of(2) {
                return bad(format!("{name} = {size} must be even and at least 2: statements come in twins"));
            }
        }
        if self.profile == Profile::Paper && sizes[..3].iter().any(|(_, s)| s.is_some()) {
            return bad(
                "train, dev and test need profile = \"strict\"; the paper's sizes follow from items and the shares"
                    .into(),
            );
        }
        let echo = match self.design {
            Design::Flip8 => Some("flip8"),
            Design::Baked => Some("baked"),
            _ => None,
        };
        if let (Profile::Strict, Some(design)) = (self.profile, echo) {
            return bad(format!(
                "design = {design:?} pays for repeating the first answer; it is for profile = \"paper\""
            ));
        }
        if self.min_cell == 0 {
            return bad("min_cell must be at least 1".into());
        }
        self.curriculum.check()?;
        self.wordings.check(self.profile)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> HonestyConfig {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn keys_left_out_follow_the_profile() {
        assert_eq!(parse(""), HonestyConfig::strict());
        assert_eq!(parse("profile = \"paper\""), HonestyConfig::paper());
        let config =
            parse("pool = \"some/where.jsonl\"\nheld_out = [\"a\"]\ntest = 100\n[curriculum]\nthreshold = 0.7");
        assert_eq!(config.pool, Pool::File("some/where.jsonl".into()));
        assert_eq!((config.test, config.curriculum.threshold, config.curriculum.consecutive), (Some(100), 0.7, 2));
        let words = parse("profile = \"paper\"\n[wordings.questions]\ntrain = [\"{s}?\"]");
        assert_eq!(words.wordings.questions.train, ["{s}?"]);
        assert_eq!(words.wordings.prefixes, Wordings::paper().prefixes);
        for config in [HonestyConfig::strict(), HonestyConfig::paper(), config] {
            assert_eq!(parse(&toml::to_string(&config).unwrap()), config);
        }
        assert!(toml::from_str::<HonestyConfig>("desing = \"unified\"").unwrap_err().to_string().contains("desing"));
    }

    #[test]
    fn configurations_are_checked() {
        for profile in [Profile::Paper, Profile::Strict] {
            HonestyConfig::of_profile(profile).check().unwrap();
        }
        for (text, needle) in [
            ("train_share = 0.95", "leave something for test"),
            ("dev_share = nan", "leave something for test"),
            ("test = 7", "test = 7 must be even"),
            ("profile = \"paper\"\ntest = 100", "strict"),
            ("design = \"flip8\"", "flip8"),
            ("design = \"baked\"", "baked"),
            ("min_cell = 0", "min_cell"),
            ("[curriculum]\nthreshold = 60", "threshold"),
            ("[wordings.confirm]\ntrain = []", "confirm.train"),
        ] {
            let message = parse(text).check().unwrap_err().to_string();
            assert!(message.contains(needle), "{message}");
        }
        let topics = BTreeSet::from(["a", "b"]);
        for (text, needle) in [
            ("held_out = [\"c\"]", "the pool has a, b"),
            ("held_out = []", "at least one"),
            ("held_out = [\"a\", \"b\"]", "keep at least one"),
            ("pool = \"x.jsonl\"", "must name the topics"),
        ] {
            let message = parse(text).held_out_of(&topics).unwrap_err().to_string();
            assert!(message.contains(needle), "{message}");
        }
    }

    /// The corpus keeps the tests' statements out of its questions by the configuration of the frugality domain.
    #[test]
    fn the_embedded_models_corpus_splits_statements_alike() {
        let corpus: toml::Table = toml::from_str(include_str!("../../../configs/tiny-pretrain.toml")).unwrap();
        let frugality = corpus["frugality"].clone().try_into::<crate::domain::frugality::FrugalityConfig>().unwrap();
        assert_eq!(crate::domain::frugality::strict::partition(&frugality), HonestyConfig::strict().partition());
    }
}
