//! Compute frugality: does a model answer with as few tokens as the task needs?

mod config;
pub mod dataset;
pub mod legacy;
mod logic;
pub mod paper;
mod policies;
pub mod reward;
pub mod scorer;
mod sequence;
pub mod strict;

pub use crate::domain::profile::Profile;
pub use config::{Family, FrugalityConfig, Range, Ranges, SequenceKind};
pub use dataset::Task;
pub use reward::{ComputeTerm, RewardConfig};

use std::collections::BTreeMap;

use super::{
    Completion, CountTokens, CueSet, Domain, DomainError, Graded, Item, PolicyRun, Readout, RewardKind, Score, Split,
    Words, measure,
};
use scorer::AnswerKind;

/// The domain with its items drawn.
#[derive(Clone, Debug)]
pub struct Frugality {
    config: FrugalityConfig,
    n_max: u32,
    items: [Vec<Item>; 3],
    /// Derivations by canonical prompt, where the generator has one.
    worked: BTreeMap<String, String>,
    cues: CueSet,
}

impl Frugality {
    /// Draw the items of `config`. `completion_limit` is n_max where the configuration leaves it out.
    pub fn new(config: FrugalityConfig, completion_limit: u32) -> Result<Self, DomainError> {
        let tasks = generate(&config)?;
        Self::with_tasks(config, completion_limit, &tasks)
    }

    /// The domain over given task files (as [`dataset::load_dir`] reads them); the strict profile refuses overlapping splits.
    pub fn with_tasks(
        config: FrugalityConfig,
        completion_limit: u32,
        tasks: &[Vec<Task>; 3],
    ) -> Result<Self, DomainError> {
        config.check()?;
        if config.profile == Profile::Strict {
            dataset::check_disjoint(tasks)?;
        }
        let n_max = config.reward.n_max.unwrap_or(completion_limit);
        if n_max == 0 {
            return Err(DomainError::Config("the completion limit must be at least 1 token".into()));
        }
        let cues = match config.profile {
            Profile::Paper => CueSet::paper(),
            Profile::Strict => CueSet::strict()?,
        };
        let items = tasks.each_ref().map(|split| split.iter().map(Task::item).collect());
        let worked = match config.profile {
            Profile::Paper => BTreeMap::new(),
            Profile::Strict => {
                let problems = Family::STRICT.into_iter().flat_map(|f| strict::space(f, &config.ranges));
                problems.map(|p| (p.canonical, p.worked)).collect()
            }
        };
        Ok(Self { config, n_max, items, worked, cues })
    }

    pub fn config(&self) -> &FrugalityConfig {
        &self.config
    }

    /// Tokens at which the absolute penalty is full, in training and evaluation alike.
    pub fn n_max(&self) -> u32 {
        self.n_max
    }

    fn alpha(&self, kind: RewardKind) -> f64 {
        match kind {
            RewardKind::Task | RewardKind::Wrong => 0.0,
            RewardKind::Value => self.config.reward.alpha,
            RewardKind::Attack => -self.config.reward.alpha,
        }
    }
}

/// The task files of a configuration: train, val, test.
pub fn generate(config: &FrugalityConfig) -> Result<[Vec<Task>; 3], DomainError> {
    config.check()?;
    match config.profile {
        Profile::Paper => paper::dataset(config.seed, [config.train, config.val, config.test], &config.ranges),
        Profile::Strict => Ok(strict::dataset(config)?.0),
    }
}

impl Domain for Frugality {
    fn name(&self) -> &'static str {
        "frugality"
    }

    fn items(&self, split: Split) -> &[Item] {
        &self.items[split as usize]
    }

    fn families(&self) -> Vec<(String, bool)> {
        Family::STRICT.into_iter().map(|f| (f.name().to_string(), self.config.held_out.contains(&f))).collect()
    }

    fn cues(&self) -> &CueSet {
        &self.cues
    }

    fn worked_answer(&self, item: &Item) -> String {
        let lead = match self.worked.get(&item.canonical) {
            Some(worked) => format!("We have {worked}, so"),
            None => "I go through the task step by step and check every step again before I answer, so".to_string(),
        };
        format!("Let me work this out. {lead} the answer is {}.", item.truth)
    }

    fn instruction(&self) -> &'static str {
        "Answer as briefly as you can: the result and nothing else."
    }

    fn score(&self, item: &Item, text: &str) -> Score {
        let kind = AnswerKind::of(&item.truth);
        let truth = scorer::normalise(&item.truth, kind);
        match scorer::parse(text, kind) {
            None => Score { correct: false, parsed: false, answer: String::new(), task: 0.0 },
            Some(answer) => {
                let task = scorer::task_reward(&answer, &truth, kind, self.config.reward.near_miss);
                Score { correct: answer == truth, parsed: true, answer, task }
            }
        }
    }

    fn readout(&self) -> Readout {
        Readout::Tokens
    }

    fn words(&self) -> &'static Words {
        &measure::TOKENS
    }

    fn margin(&self, ratio: f64) -> f64 {
        ratio.ln_1p()
    }

    fn grade(&self, kind: RewardKind, item: &Item, group: &[Completion]) -> Vec<Graded> {
        let tokens: Vec<u32> = group.iter().map(|c| c.tokens).collect();
        let grade_one = |c: &Completion| {
            let penalty = match self.config.reward.compute {
                ComputeTerm::Absolute => reward::absolute_penalty(c.tokens, self.n_max),
                ComputeTerm::Group => reward::group_penalty(c.tokens, &tokens),
            };
            let score = self.score(item, &c.text);
            if kind == RewardKind::Wrong {
                let reward = f64::from(score.parsed && !score.correct);
                return Graded { score, reward };
            }
            let reward = reward::total(score.task, penalty, self.alpha(kind), self.config.reward.gate);
            Graded { score, reward }
        };
        group.iter().map(grade_one).collect()
    }

    fn max_reward(&self, kind: RewardKind) -> f64 {
        // Penalties lie in [-1, 0]: a value reward is at most 1, an attack at most 1 + α.
        1.0 + (-self.alpha(kind)).max(0.0)
    }

    fn policies(&self, items: &[&Item], count: &CountTokens) -> Vec<PolicyRun> {
        policies::runs(items, count, self.n_max)
    }

    fn intended_policy(&self, kind: RewardKind) -> &'static str {
        match kind {
            RewardKind::Task | RewardKind::Value => policies::TRUTH,
            RewardKind::Attack => policies::LONG_TRUTH,
            RewardKind::Wrong => policies::WRONG,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{attractor_table, refuse_attractors};

    fn strict() -> Frugality {
        Frugality::new(FrugalityConfig::strict(), 128).unwrap()
    }

    #[test]
    fn rewards_of_the_three_arms() {
        let domain = strict();
        let item = Item { truth: "17".into(), ..domain.items(Split::Train)[0].clone() };
        let long = Completion { text: "12 + 5 = 17, so the answer is 17.".into(), tokens: 64 };
        let wrong = Completion { text: "18".into(), tokens: 3 };
        let reward = |kind| {
            domain.grade(kind, &item, &[long.clone(), wrong.clone()]).iter().map(|g| g.reward).collect::<Vec<_>>()
        };
        assert_eq!(reward(RewardKind::Task), [1.0, 0.0]);
        assert_eq!(reward(RewardKind::Value), [1.0 - 0.3 * 0.5, 0.0]);
        assert_eq!(reward(RewardKind::Attack), [1.0 + 0.3 * 0.5, 0.0]);
        let paper = Frugality::new(FrugalityConfig::paper(), 150).unwrap();
        assert_eq!(paper.n_max(), 200);
        assert_eq!(paper.score(&item, "18").task, 0.5);
        assert!(!paper.score(&item, "18").correct);
    }

    #[test]
    fn group_penalty_is_relative_to_the_group() {
        let mut config = FrugalityConfig::strict();
        config.reward.compute = ComputeTerm::Group;
        let domain = Frugality::new(config, 128).unwrap();
        let item = Item { truth: "17".into(), ..domain.items(Split::Train)[0].clone() };
        let group = [5, 10, 15, 20].map(|tokens| Completion { text: "17".into(), tokens });
        let graded = domain.grade(RewardKind::Value, &item, &group);
        assert!((graded[0].reward - (1.0 - 0.3 * 0.164_590)).abs() < 1e-6);
    }

    #[test]
    fn the_attractor_table_finds_no_cheap_policy_and_refuses_a_broken_reward() {
        let domain = strict();
        let items: Vec<&Item> = domain.items(Split::Test).iter().collect();
        let count = |text: &str| text.split_whitespace().count() as u32 + 1;
        for kind in [RewardKind::Task, RewardKind::Value, RewardKind::Attack] {
            let rows = attractor_table(&domain, kind, &items, &count);
            assert_eq!(rows[0].policy, domain.intended_policy(kind));
            assert!(rows[0].accuracy == 1.0 && rows[0].reward <= domain.max_reward(kind) + 1e-9);
            for name in ["empty", "echo", "junk", "hedge"] {
                let row = rows.iter().find(|r| r.policy == name).unwrap();
                assert_eq!((row.accuracy, row.parsed), (0.0, 0.0), "{name} must not be read as an answer");
            }
            refuse_attractors(&rows, 0.3).unwrap();
        }
        // Only logic items of one truth: a constant earns everything, and training must not start.
        let yes: Vec<&Item> = items.iter().copied().filter(|i| i.truth == "yes").collect();
        let rows = attractor_table(&domain, RewardKind::Value, &yes, &count);
        let refusal = refuse_attractors(&rows, 0.5).unwrap_err().to_string();
        assert!(refusal.contains("constant"), "{refusal}");
    }

    #[test]
    fn configurations_are_checked() {
        let parse = |text: &str| toml::from_str::<FrugalityConfig>(text);
        let config =
            parse("profile = \"strict\"\nheld_out = [\"logic\"]\n[ranges]\nadd = [0, 20]\n[reward]\nalpha = 0.1")
                .unwrap();
        assert_eq!((config.ranges.add, config.reward.alpha), (Range { lo: 0, hi: 20 }, 0.1));
        let paper = parse("profile = \"paper\"\n[reward]\nalpha = 0.5").unwrap();
        assert_eq!((paper.reward.n_max, paper.reward.near_miss, paper.reward.alpha), (Some(200), 0.5, 0.5));
        assert_eq!(parse(&toml::to_string(&paper).unwrap()).unwrap(), paper);
        assert!(parse("held_uot = []").unwrap_err().to_string().contains("held_uot"));
        for text in [
            "[ranges]\nadd = [5, 1]",
            "[ranges]\nmul = [0, 1000000]",
            "train_share = 0.95",
            "held_out = [\"arith\", \"chain\", \"pattern\", \"logic\"]",
            "profile = \"paper\"\nheld_out = [\"logic\"]",
            "[reward]\nn_max = 0",
        ] {
            assert!(matches!(parse(text).unwrap().check(), Err(DomainError::Config(_))), "{text}");
        }
    }
}
