//! Where training meets a domain: prompts with the chat template applied, and rewards of decoded completions.

use super::error::{BatteryError, Result};
use crate::domain::{self, Condition, Domain, Item, Readout, RewardKind};
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
    /// Text and token ids of an item's conversation under a system prompt, ready for the model's answer.
    pub fn prompt(&self, system: Option<&str>, item: &Item) -> Result<(String, Vec<u32>)> {
        let mut turns = item.before.clone();
        turns.push(Message::user(&item.prompt));
        self.dialogue(system, &turns)
    }

    /// The same of any conversation that ends with the user's turn.
    pub fn dialogue(&self, system: Option<&str>, turns: &[Message]) -> Result<(String, Vec<u32>)> {
        let mut messages = Vec::new();
        messages.extend(system.map(Message::system));
        messages.extend_from_slice(turns);
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
pub struct Entry {
    pub item: Item,
    /// System prompt.
    pub system: Option<String>,
    pub reward: RewardKind,
}

/// GRPO environment over entries of a domain.
pub struct TaskEnvironment<'a> {
    domain: &'a dyn Domain,
    speech: Speech<'a>,
    entries: Vec<Entry>,
    prompts: Vec<Vec<u32>>,
    stop: Vec<u32>,
    /// Position of the stream at which the entries begin, one after the other and then again; `None` = shuffled.
    in_order: Option<u64>,
}

impl<'a> TaskEnvironment<'a> {
    /// Training items under the domain's first neutral system prompt, one reward for all.
    pub fn new(domain: &'a dyn Domain, chat: &'a Tokenizer, reward: RewardKind) -> Result<Self> {
        let system = neutral(domain).map(String::from);
        let entry = |item: &Item| Entry { item: item.clone(), system: system.clone(), reward };
        let entries = training_items(domain).into_iter().map(entry).collect();
        Self::over(domain, chat, entries)
    }

    pub fn over(domain: &'a dyn Domain, chat: &'a Tokenizer, entries: Vec<Entry>) -> Result<Self> {
        let speech = Speech { chat };
        let prompt = |e: &Entry| Ok(speech.prompt(e.system.as_deref(), &e.item)?.1);
        let prompts = entries.iter().map(prompt).collect::<Result<_>>()?;
        Ok(Self { domain, entries, prompts, stop: chat.eos_ids().to_vec(), speech, in_order: None })
    }

    /// The entries in their own order, the first of them at this position of the stream.
    pub fn in_order(self, first: u64) -> Self {
        Self { in_order: Some(first), ..self }
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
            let prompt = speech.prompt(system, item)?.1;
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
    fn at(&self, seed: u64, position: u64) -> usize {
        match self.in_order {
            Some(first) => (position.saturating_sub(first) % self.entries.len().max(1) as u64) as usize,
            None => prompt_at(seed, self.entries.len(), position),
        }
    }
    fn prompt(&self, index: usize) -> &[u32] {
        &self.prompts[index]
    }
    fn stop_ids(&self) -> &[u32] {
        &self.stop
    }
    fn reward_names(&self) -> Vec<String> {
        match self.domain.readout() {
            Readout::Tokens => vec!["task".into(), "compute".into()],
            Readout::LogOdds => vec!["task".into()],
        }
    }
    fn rewards(&self, index: usize, group: &[Completion]) -> std::result::Result<Vec<Reward>, TrainError> {
        let group: Vec<domain::Completion> =
            group.iter().map(|c| self.speech.graded(c)).collect::<Result<_>>().map_err(unread)?;
        let graded = self.domain.grade(self.entries[index].reward, &self.entries[index].item, &group);
        let parts = |g: &domain::Graded| match self.domain.readout() {
            Readout::Tokens => vec![g.score.task, g.reward - g.score.task],
            Readout::LogOdds => vec![g.score.task],
        };
        Ok(graded.iter().map(|g| Reward { total: g.reward, parts: parts(g) }).collect())
    }
    fn describe(&self, index: usize, c: &Completion) -> std::result::Result<(String, String), TrainError> {
        Ok((self.entries[index].item.id.clone(), self.speech.text(c).map_err(unread)?))
    }
}

/// A completion that the tokenizer cannot read stops training: no reward may rest on a guess.
fn unread(e: BatteryError) -> TrainError {
    TrainError::Data(e.into())
}
