//! The strict generators: every family is the full list of its distinct problems, from which splits and items are drawn.
//!
//! Listing first makes three promises checkable: the number of distinct prompts, disjoint splits, and one truth per prompt.

use std::collections::{BTreeMap, BTreeSet};

use super::config::{Family, FrugalityConfig, Ranges};
use super::dataset::Task;
use super::{logic, sequence};
use crate::domain::mt19937::Mt19937;
use crate::domain::split::{Partition, Split, hex_id};
use crate::domain::{DomainError, Item};

/// One distinct problem.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    pub family: Family,
    /// Operator, kind of sequence, or template and truth: items are drawn evenly over these.
    pub stratum: u32,
    /// The task without its wording: `12 + 5`, `2, 4, 6, 8, ___`.
    pub canonical: String,
    /// The question, without the sentence that asks for a form of answer.
    pub question: String,
    pub answer: String,
    /// A short derivation that ends before the answer is stated: `12 + 5 = 17`.
    pub worked: String,
}

impl Problem {
    pub fn id(&self) -> String {
        format!("{}_{}", self.family.prefix(), hex_id(&self.canonical, 10))
    }

    /// The user turn under a configuration.
    pub fn prompt(&self, config: &FrugalityConfig) -> String {
        let (join, ask) = match self.family {
            Family::Logic => (" ", &config.ask_verdict),
            _ => ("\n", &config.ask_number),
        };
        if ask.is_empty() { self.question.clone() } else { format!("{}{join}{ask}", self.question) }
    }

    pub fn item(&self, config: &FrugalityConfig) -> Item {
        Item {
            id: self.id(),
            family: self.family.name().into(),
            canonical: self.canonical.clone(),
            before: Vec::new(),
            said: None,
            claimed: None,
            prompt: self.prompt(config),
            truth: self.answer.clone(),
        }
    }

    fn task(&self, config: &FrugalityConfig) -> Task {
        let max_tokens = match self.family {
            Family::Arith => 80,
            Family::Chain => 120,
            Family::Pattern => 100,
            Family::Logic => 150,
            Family::Trivial => 40,
        };
        Task {
            task_id: self.id(),
            task_type: self.family.task_type().into(),
            prompt: self.prompt(config),
            answer: self.answer.clone(),
            min_tokens: 3,
            max_tokens,
            family: Some(self.family.name().into()),
            canonical: Some(self.canonical.clone()),
        }
    }
}

/// All distinct problems of a family, in a fixed order. A prompt that two rules continue differently is left out.
pub fn space(family: Family, ranges: &Ranges) -> Vec<Problem> {
    let problems = match family {
        Family::Arith => arith(ranges),
        Family::Chain => chain(ranges),
        Family::Pattern => sequence::problems(ranges),
        Family::Logic => logic::problems(ranges),
        Family::Trivial => Vec::new(),
    };
    let mut answers: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for p in &problems {
        answers.entry(p.canonical.clone()).or_default().insert(p.answer.clone());
    }
    let mut seen = BTreeSet::new();
    let unique =
        |p: &Problem| answers.get(&p.canonical).is_some_and(|a| a.len() == 1) && seen.insert(p.canonical.clone());
    problems.into_iter().filter(unique).collect()
}

fn arith(ranges: &Ranges) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (stratum, op) in ['+', '-', '*'].into_iter().enumerate() {
        let range = ranges.operands(op);
        for a in range.lo..=range.hi {
            for b in range.lo..=range.hi {
                if op == '-' && a < b && !ranges.sub_negative {
                    continue;
                }
                let answer = match op {
                    '+' => a + b,
                    '-' => a - b,
                    _ => a * b,
                };
                let canonical = format!("{a} {op} {b}");
                problems.push(Problem {
                    family: Family::Arith,
                    stratum: stratum as u32,
                    question: format!("Calculate: {canonical}"),
                    worked: format!("{canonical} = {answer}"),
                    canonical,
                    answer: answer.to_string(),
                });
            }
        }
    }
    problems
}

fn chain(ranges: &Ranges) -> Vec<Problem> {
    let (sum, factor) = (ranges.chain_sum, ranges.chain_factor);
    let mut problems = Vec::new();
    for a in sum.lo..=sum.hi {
        for b in sum.lo..=sum.hi {
            for c in factor.lo..=factor.hi {
                let canonical = format!("({a} + {b}) × {c}");
                problems.push(Problem {
                    family: Family::Chain,
                    stratum: u32::try_from(c - factor.lo).unwrap_or(0),
                    question: format!("What is {canonical}?"),
                    worked: format!("{a} + {b} = {s} and {s} × {c} = {r}", s = a + b, r = (a + b) * c),
                    canonical,
                    answer: ((a + b) * c).to_string(),
                });
            }
        }
    }
    problems
}

/// The split rule of a configuration; a corpus uses it to leave out val and test prompts.
pub fn partition(config: &FrugalityConfig) -> Partition {
    Partition { seed: config.seed, train: config.train_share, val: config.val_share }
}

/// Distinct prompts of one family, and how many fall in train, val and test.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FamilyCount {
    pub family: Family,
    pub distinct: usize,
    pub by_split: [usize; 3],
}

/// Draw train, val and test. Train holds the trained families only, val and test all four; every item is a distinct prompt.
pub fn dataset(config: &FrugalityConfig) -> Result<([Vec<Task>; 3], Vec<FamilyCount>), DomainError> {
    let rule = partition(config);
    let mut rng = Mt19937::new(config.seed);
    let (mut splits, mut counts) = ([Vec::new(), Vec::new(), Vec::new()], Vec::new());
    let wanted = [config.train, config.val, config.test];
    for family in Family::STRICT {
        let mut pools: [Vec<Problem>; 3] = [Vec::new(), Vec::new(), Vec::new()];
        for p in space(family, &config.ranges) {
            pools[rule.split_of(&p.canonical) as usize].push(p);
        }
        let by_split = pools.each_ref().map(Vec::len);
        let distinct = by_split.iter().sum();
        if distinct < config.min_distinct {
            return Err(DomainError::TooFew {
                family: family.name().into(),
                split: "all".into(),
                wanted: config.min_distinct,
                available: distinct,
            });
        }
        counts.push(FamilyCount { family, distinct, by_split });
        for ((split, pool), (out, total)) in Split::ALL.into_iter().zip(pools).zip(splits.iter_mut().zip(wanted)) {
            let families = if split == Split::Train { config.trained() } else { Family::STRICT.to_vec() };
            let Some(position) = families.iter().position(|f| *f == family) else { continue };
            let share = total / families.len() + usize::from(position < total % families.len());
            let available = pool.len();
            let drawn = draw(&mut rng, pool, share);
            if drawn.len() < share {
                let split = split.name().into();
                return Err(DomainError::TooFew { family: family.name().into(), split, wanted: share, available });
            }
            out.extend(drawn.iter().map(|p| p.task(config)));
        }
    }
    for split in &mut splits {
        rng.shuffle(split);
    }
    super::dataset::check_disjoint(&splits)?;
    Ok((splits, counts))
}

/// `n` problems without repetition, evenly over strata: strata are shuffled and dealt in turn until they run out.
fn draw(rng: &mut Mt19937, pool: Vec<Problem>, n: usize) -> Vec<Problem> {
    let mut strata: BTreeMap<u32, Vec<Problem>> = BTreeMap::new();
    for p in pool {
        strata.entry(p.stratum).or_default().push(p);
    }
    let mut strata: Vec<Vec<Problem>> = strata.into_values().collect();
    strata.iter_mut().for_each(|s| rng.shuffle(s));
    let mut drawn = Vec::with_capacity(n);
    while drawn.len() < n && strata.iter().any(|s| !s.is_empty()) {
        for stratum in &mut strata {
            if drawn.len() < n {
                drawn.extend(stratum.pop());
            }
        }
    }
    drawn
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_family_has_a_thousand_distinct_prompts_with_one_truth() {
        let ranges = Ranges::default();
        for family in Family::STRICT {
            let problems = space(family, &ranges);
            let distinct: BTreeSet<_> = problems.iter().map(|p| &p.canonical).collect();
            assert!(problems.len() >= 1000 && distinct.len() == problems.len(), "{family:?}: {}", problems.len());
        }
    }

    #[test]
    fn splits_are_disjoint_and_hold_out_families() {
        let config = FrugalityConfig::strict();
        let (splits, counts) = dataset(&config).unwrap();
        assert_eq!(splits.each_ref().map(Vec::len), [1000, 200, 400]);
        let families =
            |s: usize| splits[s].iter().map(Task::family).collect::<BTreeSet<_>>().into_iter().collect::<Vec<_>>();
        assert_eq!(families(0), ["arith", "chain"]);
        assert_eq!(families(2), ["arith", "chain", "logic", "pattern"]);
        // Membership is a property of the prompt, so another draw from the same seed's partition cannot leak.
        let rule = partition(&config);
        for (split, tasks) in Split::ALL.into_iter().zip(&splits) {
            assert!(tasks.iter().all(|t| rule.split_of(&t.canonical()) == split));
        }
        let yes = splits[2].iter().filter(|t| t.answer == "yes").count();
        assert_eq!(yes, 50, "half of the 100 logic items");
        assert!(counts.iter().all(|c| c.by_split.iter().sum::<usize>() == c.distinct));
        assert_eq!(dataset(&config).unwrap().0, splits);
        let rotated = FrugalityConfig { held_out: vec![Family::Arith], ..config };
        assert!(dataset(&rotated).unwrap().0[0].iter().all(|t| t.family() != "arith"));
    }

    #[test]
    fn differences_can_be_kept_at_zero_or_above() {
        let ranges = Ranges { sub_negative: false, ..Ranges::default() };
        let problems = space(Family::Arith, &ranges);
        assert!(problems.iter().all(|p| !p.answer.starts_with('-')));
        assert_eq!(problems.iter().filter(|p| p.stratum == 1).count(), 49 * 50 / 2);
    }

    #[test]
    fn too_small_ranges_are_refused_with_the_numbers() {
        let mut config = FrugalityConfig::strict();
        config.ranges.chain_factor.hi = 3;
        let message = dataset(&config).unwrap_err().to_string();
        assert!(message.contains("chain") && message.contains("722"), "{message}");
        config.min_distinct = 100;
        config.train = 2000;
        let message = dataset(&config).unwrap_err().to_string();
        assert!(message.contains("1000 train items wanted"), "{message}");
    }
}
