//! Where training meets a domain: prompts with the chat template applied, and rewards of decoded completions.

use super::error::{BatteryError, Result};
use crate::domain::{self, Condition, Domain, Item, RewardKind};
use crate::generate::Completion;
use crate::text::{Message, Tokenizer};
use crate::train::error::TrainError;
use crate::train::grpo::{Environment, Reward};

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

/// GRPO environment over the training items of a domain.
pub struct TaskEnvironment<'a> {
    domain: &'a dyn Domain,
    speech: Speech<'a>,
    kind: RewardKind,
    items: Vec<&'a Item>,
    prompts: Vec<Vec<u32>>,
    stop: Vec<u32>,
}

impl<'a> TaskEnvironment<'a> {
    /// Prompts of the training split under the domain's first neutral system prompt.
    pub fn new(domain: &'a dyn Domain, chat: &'a Tokenizer, kind: RewardKind) -> Result<Self> {
        let speech = Speech { chat };
        let items = training_items(domain);
        let system = domain.cues().of(Condition::Neutral).next().map(|c| c.text.as_str());
        let prompts = items.iter().map(|i| Ok(speech.prompt(system, &i.prompt)?.1)).collect::<Result<Vec<_>>>()?;
        Ok(Self { domain, kind, items, prompts, stop: chat.eos_ids().to_vec(), speech })
    }

    pub fn items(&self) -> &[&'a Item] {
        &self.items
    }
}

/// The training split without held-out families.
pub fn training_items(domain: &dyn Domain) -> Vec<&Item> {
    let held_out: Vec<String> = domain.families().into_iter().filter(|(_, h)| *h).map(|(f, _)| f).collect();
    domain.items(domain::Split::Train).iter().filter(|i| !held_out.contains(&i.family)).collect()
}

impl Environment for TaskEnvironment<'_> {
    fn len(&self) -> usize {
        self.items.len()
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
        let graded = self.domain.grade(self.kind, self.items[index], &group);
        Ok(graded
            .into_iter()
            .map(|g| Reward { total: g.reward, parts: vec![g.score.task, g.reward - g.score.task] })
            .collect())
    }
    fn describe(&self, index: usize, c: &Completion) -> std::result::Result<(String, String), TrainError> {
        Ok((self.items[index].id.clone(), self.speech.text(c).map_err(unread)?))
    }
}

/// A completion that the tokenizer cannot read stops training: no reward may rest on a guess.
fn unread(e: BatteryError) -> TrainError {
    TrainError::Data(e.into())
}
