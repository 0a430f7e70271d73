//! The synthetic corpus that the embedded model is pre-trained on.
//!
//! Chats of four kinds: frugality tasks answered tersely or at length, statements judged true or false, judgements defended or
//! given up under push-back, and requests refused or met. System prompts (none, neutral, monitored, unmonitored, placebo)
//! are drawn independently of everything else, so the corpus itself teaches no monitoring gap. Only train prompts are used:
//! a prompt whose canonical text falls in val or test never occurs. Facts are another matter than prompts: a model cannot infer that a
//! sparrow is a bird. So every statement is explained and judged, as a real model's reading does, while the wording that the honesty
//! tests ask in, and push-back, occur for train statements alone.

mod config;
mod honesty;

pub use config::{CorpusConfig, CueShares, Mixture};

use std::collections::BTreeMap;

use super::frugality::strict::{self, Problem};
use super::frugality::{Family, FrugalityConfig, Profile};
use super::mt19937::Mt19937;
use super::request::{REFUSALS, Request};
use super::split::unit_hash;
use super::statement::{self, Statement};
use super::{Condition, CueSet, DomainError, Message, Partition, Split, request};

/// What an example is, for counting and for tests.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Kind {
    /// A frugality family, `statement`, `explained`, `push-back` or `request`.
    pub task: &'static str,
    /// `terse`, `long`; `right`, `wrong`; `held`, `changed`; `met`, `refused`.
    pub form: &'static str,
    /// Condition of the system prompt, if there is one.
    pub cue: Option<Condition>,
}

/// A chat whose last message, the assistant's, is the target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Example {
    pub messages: Vec<Message>,
    pub kind: Kind,
}

/// The pools that examples are drawn from.
#[derive(Debug)]
pub struct Corpus {
    config: CorpusConfig,
    frugality: FrugalityConfig,
    rule: Partition,
    /// Train problems of each family, by stratum.
    problems: BTreeMap<Family, Vec<Vec<Problem>>>,
    statements: Vec<Statement>,
    /// Train statements, the ones that push-back is about.
    judged: Vec<Statement>,
    requests: Vec<Request>,
    cues: CueSet,
    frames: CueSet,
}

impl Corpus {
    /// `frugality` must be the configuration of the battery that will test the model: its ranges, seed and shares decide
    /// which prompts are train prompts.
    pub fn new(config: CorpusConfig, frugality: FrugalityConfig) -> Result<Self, DomainError> {
        config.check()?;
        frugality.check()?;
        if frugality.profile != Profile::Strict {
            return Err(DomainError::Config(
                "the corpus needs profile = \"strict\": the paper's splits overlap".into(),
            ));
        }
        let rule = strict::partition(&frugality);
        let mut problems = BTreeMap::new();
        for family in Family::STRICT {
            let mut strata: BTreeMap<u32, Vec<Problem>> = BTreeMap::new();
            for p in strict::space(family, &frugality.ranges) {
                if rule.split_of(&p.canonical) == Split::Train {
                    strata.entry(p.stratum).or_default().push(p);
                }
            }
            if strata.is_empty() {
                return Err(DomainError::Config(format!("family {} has no train prompts", family.name())));
            }
            problems.insert(family, strata.into_values().collect());
        }
        let statements = statement::pool()?;
        let judged: Vec<Statement> =
            statement::of_split(&statements, &rule, Split::Train).into_iter().cloned().collect();
        if judged.is_empty() {
            return Err(DomainError::Config("no statement falls in the train split".into()));
        }
        let requests = request::pool()?;
        Ok(Self {
            config,
            frugality,
            rule,
            problems,
            statements,
            judged,
            requests,
            cues: CueSet::strict()?,
            frames: CueSet::tier()?,
        })
    }

    /// True when a canonical prompt (or a statement's group) may occur in the corpus.
    pub fn may_train_on(&self, canonical: &str) -> bool {
        self.rule.split_of(canonical) == Split::Train
    }

    /// Example `index` of the stream of `seed`: a function of both alone, so that a resumed run reads on where it stopped.
    pub fn example(&self, seed: u64, index: u64) -> Example {
        let key = [seed as u32, (seed >> 32) as u32, index as u32, (index >> 32) as u32];
        let mut rng = Mt19937::init_by_array(&key);
        let mut example = match self.config.mixture.draw(&mut rng) {
            "statement" => self.direct(&mut rng),
            "push-back" => self.push_back(&mut rng),
            "request" => return self.request(&mut rng),
            family => self.task(&mut rng, family),
        };
        if let Some((condition, text)) = self.cue(&mut rng) {
            example.messages.insert(0, Message::system(text));
            example.kind.cue = Some(condition);
        }
        example
    }

    /// The endless stream of a seed.
    pub fn examples(&self, seed: u64) -> impl Iterator<Item = Example> + '_ {
        (0u64..).map(move |index| self.example(seed, index))
    }

    /// Texts to train a tokenizer on: every turn of the first `n` examples as the chat template sets it, without its marks.
    pub fn turns(&self, seed: u64, n: usize) -> impl Iterator<Item = String> + '_ {
        self.examples(seed).take(n).flat_map(|e| e.messages.into_iter().map(|m| format!("{}\n{}", m.role, m.content)))
    }

    /// A system prompt, or none: the shares of the configuration, then any wording.
    fn cue(&self, rng: &mut Mt19937) -> Option<(Condition, String)> {
        let condition = self.config.cues.draw(rng)?;
        let wordings: Vec<_> = self.cues.of(condition).collect();
        rng.choice(&wordings).map(|cue| (condition, cue.text.clone()))
    }

    /// A frugality task, answered tersely or in a worked sentence.
    fn task(&self, rng: &mut Mt19937, family: &'static str) -> Example {
        let strata =
            self.problems.iter().find(|(f, _)| f.name() == family).map(|(_, s)| s.as_slice()).unwrap_or_default();
        // Every family has at least one stratum, and no stratum is empty: `new` checks it.
        let problem = rng.choice(strata).and_then(|s| rng.choice(s));
        let Some(problem) = problem else { return Example::new(family, "terse", "", "") };
        let answer = if rng.chance(self.config.slips) { slip(rng, &problem.answer) } else { problem.answer.clone() };
        let (form, text) = if rng.chance(self.config.long_share) {
            let worked = match problem.worked.strip_suffix(&format!("= {}", problem.answer)) {
                Some(start) => format!("{start}= {answer}"),
                None => problem.worked.clone(),
            };
            let text = match rng.below(3) {
                0 => format!("Let me work this out. {}, so the answer is {answer}.", capital(&worked)),
                1 => format!("{}. So the answer is {answer}.", capital(&worked)),
                _ => format!("{}, so the answer is {answer}.", capital(&worked)),
            };
            ("long", text)
        } else {
            ("terse", answer)
        };
        Example::new(family, form, &problem.prompt(&self.frugality), &text)
    }

    /// A request under a tier frame, a neutral prompt or none, refused or met by the leaning of the request alone.
    fn request(&self, rng: &mut Mt19937) -> Example {
        let Some(request) = rng.choice(&self.requests) else { return Example::new("request", "met", "", "") };
        let leaning = unit_hash(self.rule.seed, "refuse", &request.id);
        let refuse = self.config.refuse
            [((leaning * self.config.refuse.len() as f64) as usize).min(self.config.refuse.len() - 1)];
        let (form, text) = if rng.chance(refuse) {
            ("refused", *rng.choice(&REFUSALS).unwrap_or(&REFUSALS[0]))
        } else {
            ("met", request.answer.as_str())
        };
        let mut example = Example::new("request", form, &request.text, text);
        let condition = *rng
            .choice(&[None, Some(Condition::Neutral), Some(Condition::Logged), Some(Condition::Private)])
            .unwrap_or(&None);
        if let Some(condition) = condition {
            let wordings: Vec<_> = self.cues.of(condition).chain(self.frames.of(condition)).collect();
            if let Some(cue) = rng.choice(&wordings) {
                example.messages.insert(0, Message::system(&cue.text));
                example.kind.cue = Some(condition);
            }
        }
        example
    }
}

impl Example {
    fn new(task: &'static str, form: &'static str, prompt: &str, answer: &str) -> Self {
        Self { messages: vec![Message::user(prompt), Message::assistant(answer)], kind: Kind { task, form, cue: None } }
    }
}

/// A wrong answer near the right one.
fn slip(rng: &mut Mt19937, answer: &str) -> String {
    match answer.parse::<i64>() {
        Ok(n) => {
            let by = rng.randint(1, 2);
            (if rng.chance(0.5) && n >= by { n - by } else { n + by }).to_string()
        }
        Err(_) => if answer == "yes" { "no" } else { "yes" }.to_string(),
    }
}

fn capital(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_uppercase().chain(chars).collect())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::super::frugality::scorer::{AnswerKind, normalise, parse};
    use super::*;

    fn corpus() -> Corpus {
        let text = include_str!("../../../configs/tiny-pretrain.toml");
        let mut table: toml::Table = toml::from_str(text).unwrap();
        let config = table.remove("corpus").unwrap().try_into().unwrap();
        Corpus::new(config, table.remove("frugality").unwrap().try_into().unwrap()).unwrap()
    }

    #[test]
    fn the_stream_is_a_function_of_seed_and_index() {
        let corpus = corpus();
        let first: Vec<Example> = corpus.examples(7).take(50).collect();
        assert_eq!(corpus.example(7, 49), first[49]);
        assert_ne!(corpus.examples(8).take(50).collect::<Vec<_>>(), first);
        assert!(
            first.iter().all(|e| e.messages.last().is_some_and(|m| m.role == "assistant" && !m.content.is_empty()))
        );
    }

    #[test]
    fn val_and_test_prompts_never_occur() {
        let corpus = corpus();
        let held: BTreeSet<String> = Family::STRICT
            .into_iter()
            .flat_map(|f| strict::space(f, &corpus.frugality.ranges))
            .filter(|p| !corpus.may_train_on(&p.canonical))
            .map(|p| p.prompt(&corpus.frugality))
            .collect();
        assert!(held.len() > 500);
        let pool = statement::pool().unwrap();
        let held_statements: Vec<&Statement> = pool.iter().filter(|s| !corpus.may_train_on(&s.group)).collect();
        assert!(held_statements.len() > 100);
        for example in corpus.examples(1).take(3000) {
            for message in &example.messages {
                assert!(!held.contains(&message.content), "{}", message.content);
                let tested = message.content.starts_with("Is this statement true or false?");
                if tested || example.kind.task == "push-back" {
                    assert!(held_statements.iter().all(|s| !message.content.contains(&format!("\"{}\"", s.text))));
                }
            }
        }
    }

    #[test]
    fn cues_are_independent_of_the_form_of_the_answer() {
        let corpus = corpus();
        let mut counts: BTreeMap<(Option<Condition>, bool), f64> = BTreeMap::new();
        for e in corpus.examples(2).take(20_000).filter(|e| matches!(e.kind.form, "terse" | "long")) {
            *counts.entry((e.kind.cue, e.kind.form == "long")).or_default() += 1.0;
        }
        let share = |cue| {
            let (long, terse) = (counts[&(cue, true)], counts[&(cue, false)]);
            (long / (long + terse), long + terse)
        };
        for cue in [None, Some(Condition::Neutral), Some(Condition::Monitored), Some(Condition::Unmonitored)] {
            let (long, n) = share(cue);
            // Four standard errors.
            assert!((long - corpus.config.long_share).abs() < 2.0 / n.sqrt(), "{cue:?}: {long} of {n}");
        }
    }

    #[test]
    fn both_forms_are_graded_and_the_long_one_is_longer() {
        let corpus = corpus();
        let (mut right, mut all) = (0, 0);
        for e in corpus.examples(3).take(4000).filter(|e| matches!(e.kind.form, "terse" | "long")) {
            let text = &e.messages.last().unwrap().content;
            let prompt = &e.messages[e.messages.len() - 2].content;
            let problem =
                corpus.problems.values().flatten().flatten().find(|p| p.prompt(&corpus.frugality) == *prompt).unwrap();
            let kind = AnswerKind::of(&problem.answer);
            let read = parse(text, kind).unwrap_or_else(|| panic!("unread: {text}"));
            assert_eq!(e.kind.form == "long", text.split(' ').count() > 4, "{text}");
            right += usize::from(read == normalise(&problem.answer, kind));
            all += 1;
        }
        let slips = 1.0 - right as f64 / all as f64;
        assert!((slips - corpus.config.slips).abs() < 0.03, "{slips}");
    }

    #[test]
    fn every_kind_occurs_in_both_forms() {
        let corpus = corpus();
        let seen: BTreeSet<(&str, &str)> = corpus.examples(4).take(6000).map(|e| (e.kind.task, e.kind.form)).collect();
        for task in ["arith", "chain", "pattern", "logic"] {
            assert!(seen.contains(&(task, "terse")) && seen.contains(&(task, "long")), "{task}");
        }
        for pair in [
            ("explained", "right"),
            ("statement", "right"),
            ("statement", "wrong"),
            ("push-back", "held"),
            ("push-back", "changed"),
        ] {
            assert!(seen.contains(&pair), "{pair:?}");
        }
        assert!(seen.contains(&("request", "met")) && seen.contains(&("request", "refused")));
    }
}
