//! Where training meets a domain: prompts with the chat template applied, and rewards of decoded completions.

use super::error::{BatteryError, Result};
use crate::domain::{self, Condition, Domain, Item, RewardKind};
use crate::generate::Completion;
use crate::text::{Message, TextError, Tokenizer};
use crate::train::accumulate::Example;
use crate::train::error::TrainError;
use crate::train::grpo::{Environment, Reward, prompt_at};
use crate::train::sft::ExampleSource;

/// Decodes completions and counts tokens as the domain needs them.
pub struct Speech<'a> {
    pub chat: &'a Tokenizer,
}

impl Speech<'_> {
    /// Token ids of a system prompt and a user turn, ready for the model's answer.
    pub fn prompt(&self, system: Option<&str>, user: &str) -> Result<(String, Vec<u32>)> {
        let mut messages = Vec::new();
        messages.extend(system.map(Message::system));
        messages.push(Message::user(user));
        let text = self.chat.render(&messages, true)?;
        let ids = self.chat.encode(&text)?;
        Ok((text, ids))
    }

    /// Text of a completion without end tokens.
    pub fn text(&self, c: &Completion) -> Result<String> {
        Ok(self.chat.decode(&c.tokens, true)?)
    }

    /// Tokens of a bare text and its end token.
    pub fn count(&self, text: &str) -> Result<u32> {
        Ok(self.chat.response_tokens(text)?)
    }

    pub fn graded(&self, c: &Completion) -> Result<domain::Completion> {
        Ok(domain::Completion { text: self.text(c)?, tokens: c.tokens.len() as u32 })
    }
}

/// How an arm is asked: `prompted` is the base model with an instruction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asking {
    Plain,
    /// The domain's instruction follows every system prompt.
    Instructed,
}

impl Asking {
    pub fn name(self) -> &'static str {
        match self {
            Asking::Plain => "plain",
            Asking::Instructed => "instructed",
        }
    }

    /// The system prompt of a cue under this way of asking.
    pub fn system(self, domain: &dyn Domain, cue: Option<&str>) -> Option<String> {
        match self {
            Asking::Plain => cue.map(String::from),
            Asking::Instructed => Some([cue.unwrap_or_default(), domain.instruction()].join(" ").trim().to_string()),
        }
    }
}

/// One prompt that training draws, and what its completions are rewarded for.
pub struct Entry<'a> {
    pub item: &'a Item,
    /// System prompt.
    pub system: Option<&'a str>,
    pub reward: RewardKind,
}

/// GRPO environment over entries of a domain.
pub struct TaskEnvironment<'a> {
    domain: &'a dyn Domain,
    speech: Speech<'a>,
    entries: Vec<Entry<'a>>,
    prompts: Vec<Vec<u32>>,
    stop: Vec<u32>,
}

impl<'a> TaskEnvironment<'a> {
    /// Training items under the domain's first neutral system prompt, one reward for all.
    pub fn new(domain: &'a dyn Domain, chat: &'a Tokenizer, reward: RewardKind) -> Result<Self> {
        let system = neutral(domain);
        let entries = training_items(domain).into_iter().map(|item| Entry { item, system, reward }).collect();
        Self::over(domain, chat, entries)
    }

    pub fn over(domain: &'a dyn Domain, chat: &'a Tokenizer, entries: Vec<Entry<'a>>) -> Result<Self> {
        let speech = Speech { chat };
        let prompts = entries.iter().map(|e| Ok(speech.prompt(e.system, &e.item.prompt)?.1)).collect::<Result<_>>()?;
        Ok(Self { domain, entries, prompts, stop: chat.eos_ids().to_vec(), speech })
    }
}

/// The system prompt of training: the first neutral wording.
pub fn neutral(domain: &dyn Domain) -> Option<&str> {
    domain.cues().of(Condition::Neutral).next().map(|c| c.text.as_str())
}

/// The training split without held-out families.
pub fn training_items(domain: &dyn Domain) -> Vec<&Item> {
    let held_out: Vec<String> = domain.families().into_iter().filter(|(_, h)| *h).map(|(f, _)| f).collect();
    domain.items(domain::Split::Train).iter().filter(|i| !held_out.contains(&i.family)).collect()
}

/// Demonstrations of the training items, for supervised training: shuffled anew in every pass, a function of seed and step.
pub struct Demonstrations {
    examples: Vec<Example>,
    per_step: usize,
    seed: u64,
}

impl Demonstrations {
    /// Bare answers, or worked ones.
    pub fn new(domain: &dyn Domain, chat: &Tokenizer, worked: bool, per_step: usize, seed: u64) -> Result<Self> {
        let (speech, system) = (Speech { chat }, neutral(domain));
        let missing = || TextError::Coding { detail: "the tokenizer has no end token".into() };
        let end = *chat.eos_ids().first().ok_or_else(missing)?;
        let mut examples = Vec::new();
        for item in training_items(domain) {
            let prompt = speech.prompt(system, &item.prompt)?.1;
            let text = if worked { domain.worked_answer(item) } else { domain.bare_answer(item).to_string() };
            let mut answer = chat.encode(&text)?;
            answer.push(end);
            examples.push(Example::completion(&prompt, &answer));
        }
        Ok(Self { examples, per_step, seed })
    }
}

impl ExampleSource for Demonstrations {
    fn batch(&self, step: u64) -> std::result::Result<Vec<Example>, TrainError> {
        let n = self.examples.len();
        let first = step * self.per_step as u64;
        Ok((first..first + self.per_step as u64).map(|i| self.examples[prompt_at(self.seed, n, i)].clone()).collect())
    }
}

impl Environment for TaskEnvironment<'_> {
    fn len(&self) -> usize {
        self.entries.len()
    }
    fn prompt(&self, index: usize) -> &[u32] {
        &self.prompts[index]
    }
    fn stop_ids(&self) -> &[u32] {
        &self.stop
    }
    fn reward_names(&self) -> Vec<String> {
        vec!["task".into(), "compute".into()]
    }
    fn rewards(&self, index: usize, group: &[Completion]) -> std::result::Result<Vec<Reward>, TrainError> {
        let group: Vec<domain::Completion> =
            group.iter().map(|c| self.speech.graded(c)).collect::<Result<_>>().map_err(unread)?;
        let graded = self.domain.grade(self.entries[index].reward, self.entries[index].item, &group);
        Ok(graded
            .into_iter()
            .map(|g| Reward { total: g.reward, parts: vec![g.score.task, g.reward - g.score.task] })
            .collect())
    }
    fn describe(&self, index: usize, c: &Completion) -> std::result::Result<(String, String), TrainError> {
        Ok((self.entries[index].item.id.clone(), self.speech.text(c).map_err(unread)?))
    }
}

/// A completion that the tokenizer cannot read stops training: no reward may rest on a guess.
fn unread(e: BatteryError) -> TrainError {
    TrainError::Data(e.into())
}
