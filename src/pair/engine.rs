//! A model on a device that answers requests, and what is read of it beside the answer.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use super::config::PairConfig;
use super::error::{PairError, Result};
use super::plan::{FrameLength, Stimuli, frame_lengths};
use super::precision::storage;
use super::row::StopReason;
use super::run::{Asked, Facts, Reply, Respondent, Wanted};
use crate::battery::record::sha256_hex;
use crate::domain::tier::openings::Panel;
use crate::domain::tier::think::{self, CLOSE, OPEN};
use crate::domain::tier::{Frame, Placement};
use crate::generate::source::Source;
use crate::generate::{Completion, Finish, GenerateConfig, Request, generate};
use crate::kernels::compose::{compose, compositions};
use crate::kernels::registry;
use crate::model::cache::{KvCache, Work};
use crate::model::hooks::HookSet;
use crate::model::qwen2::Qwen2;
use crate::ops::{Ops, Sampling};
use crate::text::{Message, Tokenizer};

/// Answers of the manipulation check.
const YES: [&str; 3] = ["Yes", "yes", "YES"];
const NO: [&str; 3] = ["No", "no", "NO"];

pub struct Engine<'a, O: Ops> {
    o: &'a O,
    config: &'a PairConfig,
    source: Source,
    chat: Tokenizer,
    openings: Panel,
    yes_no: Panel,
    positions: usize,
    max_tokens: usize,
    reasons: bool,
    no_frame: BTreeMap<String, String>,
    frame_lengths: Vec<FrameLength>,
    /// Weights of one precision at a time.
    model: Option<(String, Qwen2<O>)>,
}

impl<'a, O: Ops> Engine<'a, O> {
    /// Opens the model of a configuration and sees how long its prompts are; weights are loaded with the first request.
    ///
    /// # Errors
    /// A model that is not there or has no chat template, a precision that cannot be kept, an opening that begins with no token.
    pub fn open(o: &'a O, config: &'a PairConfig, stimuli: &Stimuli) -> Result<Self> {
        for p in &config.design.precisions {
            storage(p)?;
        }
        let source = Source::open(&config.model)?;
        let chat = source.tokenizer()?;
        let first = |texts: &[String]| -> Result<Vec<u32>> {
            let ids = texts.iter().map(|t| chat.encode(t)).collect::<std::result::Result<Vec<_>, _>>()?;
            Ok(ids.iter().filter_map(|i| i.first().copied()).collect())
        };
        let s = &stimuli.openings;
        let openings = Panel::new(&s.origin, &first(&s.refusal)?, &first(&s.compliance)?)?;
        let words = |of: [&str; 3]| first(&of.map(String::from));
        let yes_no = Panel::new("the words yes and no", &words(YES)?, &words(NO)?)?;
        let (longest, reasons) = longest(config, stimuli, &chat)?;
        let max_tokens = config.decoding.limit(reasons);
        let question = chat.encode_chat(&[Message::user(&config.readings.question)], true)?.len();
        // A leak puts another request and its answer in front.
        let fold = if config.leak.is_some() { 2 } else { 1 };
        let positions = fold * (longest + max_tokens) + question;
        let mut no_frame = BTreeMap::new();
        for (name, frame) in [("none", Frame::Nothing), ("none_empty", Frame::EmptySystem)] {
            if let (true, Some(item)) = (config.arms.names.iter().any(|a| a == name), stimuli.items.items.first()) {
                let text = chat.render(&frame.messages(item, Placement::System, ""), true)?;
                no_frame.insert(name.into(), text.split_once(&item.turn()).map_or(text.clone(), |t| t.0.to_string()));
            }
        }
        let frame_lengths = frame_lengths(config, stimuli, &chat)?;
        Ok(Self {
            o,
            config,
            source,
            chat,
            openings,
            yes_no,
            positions,
            max_tokens,
            reasons,
            no_frame,
            frame_lengths,
            model: None,
        })
    }

    /// The weights in a precision; of another they are dropped first.
    fn weights(&mut self, precision: &str) -> Result<()> {
        if self.model.as_ref().is_none_or(|(p, _)| p != precision) {
            self.model = None;
            let model = self.source.load(self.o, self.positions, storage(precision)?)?;
            self.model = Some((precision.into(), model));
        }
        Ok(())
    }

    fn loaded(&self) -> Result<&Qwen2<O>> {
        self.model.as_ref().map(|(_, m)| m).ok_or_else(|| PairError::Refused("no weights are loaded".into()))
    }

    /// Text of generated ids without end tokens; think tags stay, also where the tokenizer has them as special tokens.
    fn text(&self, ids: &[u32]) -> Result<String> {
        let tags = [OPEN, CLOSE].map(|t| (t, self.chat.token_id(t)));
        let mut out = String::new();
        for part in ids.chunk_by(|a, b| tags.iter().all(|(_, id)| *id != Some(*a) && *id != Some(*b))) {
            match tags.iter().find(|(_, id)| part.len() == 1 && *id == part.first().copied()) {
                Some((tag, _)) => out.push_str(tag),
                None => out.push_str(&self.chat.decode(part, true)?),
            }
        }
        Ok(out)
    }

    /// Generated ids before the first token of the answer: none, or all up to the closing tag and the space after it. `None` where
    /// that cannot be told from the ids.
    fn before_answer<'c>(&self, output: &'c [u32], parts: &think::Parts) -> Option<&'c [u32]> {
        if !parts.answered {
            return None;
        }
        if parts.reasoning.is_none() {
            return output.get(..0);
        }
        let close = self.chat.token_id(CLOSE)?;
        let mut end = output.iter().position(|&t| t == close)? + 1;
        let space =
            |id: u32| self.chat.token_text(id).is_some_and(|t| !t.is_empty() && t.chars().all(char::is_whitespace));
        while output.get(end).is_some_and(|&t| space(t)) {
            end += 1;
        }
        output.get(..end)
    }

    /// Log-probabilities of the next token after each sequence, `[sequences][vocabulary]`, in nats at temperature 1.
    fn next_logps(&self, sequences: &[Vec<u32>]) -> Result<Vec<Vec<f64>>> {
        let model = self.loaded()?;
        let longest = sequences.iter().map(Vec::len).max().unwrap_or(0);
        if longest == 0 {
            return Ok(Vec::new());
        }
        let mut cache = KvCache::new(self.o, model, sequences.len(), longest)?;
        let work: Vec<Work> = sequences.iter().enumerate().map(|(slot, s)| Work { slot, n: s.len() }).collect();
        let ends = sequences.iter().scan(0u32, |at, s| {
            *at += s.len() as u32;
            Some(at.saturating_sub(1))
        });
        let ends = self.o.upload_index(&ends.collect::<Vec<_>>())?;
        let (o, hooks) = (self.o, HookSet::default());
        let x = model.forward_cached(o, &o.upload_index(&sequences.concat())?, &work, &mut cache, &hooks)?;
        let logits = o.read(&model.logits(o, &x, Some(&ends), &hooks)?)?;
        let rows = logits.chunks(logits.len() / sequences.len());
        Ok(rows.map(log_softmax).collect())
    }

    /// The conversation in which the manipulation check is asked, up to the model's word: after the answer, without reasoning.
    fn check(&self, asked: &Asked<'_>, answer: &str) -> Result<Vec<u32>> {
        let c = self.config;
        let mut messages = asked.frame.messages(asked.item, c.arms.placement, &c.arms.suffix);
        messages.push(Message::assistant(answer));
        messages.push(Message::user(&c.readings.question));
        let mut text = self.chat.render(&messages, true)?;
        if think::opened_by(&text) {
            text.push_str(&format!("{CLOSE}\n\n"));
        }
        Ok(self.chat.encode(&text)?)
    }

    fn readings(&self, batch: &[Asked<'_>], replies: &mut [Reply]) -> Result<()> {
        let c = &self.config.readings;
        if c.gap {
            let (mut at, mut sequences) = (Vec::new(), Vec::new());
            for (i, r) in replies.iter().enumerate() {
                if let Some(before) = self.before_answer(&r.output, &r.parts) {
                    at.push(i);
                    sequences.push([r.input.as_slice(), before].concat());
                }
            }
            for (i, logp) in at.into_iter().zip(self.next_logps(&sequences)?) {
                replies[i].gaps = Some(self.openings.gaps(|t| of(&logp, t)));
            }
        }
        if c.check {
            let (mut at, mut sequences) = (Vec::new(), Vec::new());
            for (i, (a, r)) in batch.iter().zip(replies.iter()).enumerate() {
                let ids = self.check(a, &r.parts.answer)?;
                // An answer that is no language can take more tokens when it is read than when it was written.
                if ids.len() <= self.positions {
                    at.push(i);
                    sequences.push(ids);
                }
            }
            for (i, logp) in at.into_iter().zip(self.next_logps(&sequences)?) {
                replies[i].frame_log_odds = Some(self.yes_no.gaps(|t| of(&logp, t)).0).filter(|x| x.is_finite());
            }
        }
        Ok(())
    }
}

/// Tokens that no prompt exceeds, and whether the chat template opens a think block: the longest frame's prompt and the longest item's
/// laid end to end, so that nobody has to count every pair.
fn longest(config: &PairConfig, stimuli: &Stimuli, chat: &Tokenizer) -> Result<(usize, bool)> {
    let (mut frames, mut items, mut reasons) = (0, 0, false);
    let mut count = |frame: Frame<'_>, item| -> Result<usize> {
        let text = chat.render(&frame.messages(item, config.arms.placement, &config.arms.suffix), true)?;
        reasons |= think::opened_by(&text);
        Ok(chat.encode(&text)?.len())
    };
    for item in &stimuli.items.items {
        items = items.max(count(Frame::Nothing, item)?);
    }
    for arm in &config.arms.names {
        for wording in 0..stimuli.wordings(config) {
            if let Some(item) = stimuli.items.items.iter().min_by_key(|i| i.text.len()) {
                frames = frames.max(count(stimuli.arms.frame(arm, wording)?, item)?);
            }
        }
    }
    Ok((frames + items, reasons))
}

/// Of an id that the model has no row for, nothing.
fn of(logp: &[f64], token: u32) -> f64 {
    logp.get(token as usize).copied().unwrap_or(f64::NEG_INFINITY)
}

/// `z_i - log Σ exp z` in f64.
fn log_softmax(z: &[f32]) -> Vec<f64> {
    let most = z.iter().fold(f64::NEG_INFINITY, |m, &x| m.max(f64::from(x)));
    let lse = most + z.iter().map(|&x| (f64::from(x) - most).exp()).sum::<f64>().ln();
    z.iter().map(|&x| f64::from(x) - lse).collect()
}

/// Program version and a hash of the program's own file: rows of two builds are never taken for one another's.
fn engine_build() -> Result<String> {
    let own = std::env::current_exe().map_err(|source| PairError::Io { path: "the running program".into(), source })?;
    let bytes = std::fs::read(&own).map_err(|source| PairError::Io { path: own, source })?;
    let hash: String = sha256_hex(&bytes).chars().take(12).collect();
    Ok(format!("{}+{hash}", env!("CARGO_PKG_VERSION")))
}

/// Hash of every shader of this build in every composition.
fn kernel_set() -> String {
    let mut hasher = Sha256::new();
    for variant in registry::all().flat_map(|k| k.variants) {
        for (weight, consts) in compositions(variant) {
            hasher.update(compose(variant, weight, consts).as_bytes());
        }
    }
    let hash: String = hasher.finalize().iter().take(6).map(|b| format!("{b:02x}")).collect();
    format!("wgsl-{hash}")
}

impl<O: Ops> Respondent for Engine<'_, O> {
    fn facts(&self) -> Result<Facts> {
        let model = self.source.sha256()?;
        let template = self.chat.chat().map_or("", |c| c.source());
        let hashes = [
            ("model", model.clone()),
            ("tokenizer", self.source.tokenizer_sha256()),
            ("template", sha256_hex(template.as_bytes())),
        ];
        Ok(Facts {
            device: self.o.device_name(),
            kernel_set: kernel_set(),
            engine_build: engine_build()?,
            model_revision: self.source.commit.clone().unwrap_or(model),
            hashes: hashes.map(|(k, v)| (k.to_string(), v)).into(),
            max_tokens: self.max_tokens,
            reasons: self.reasons,
            no_frame: self.no_frame.clone(),
            frame_lengths: self.frame_lengths.clone(),
            notes: self.source.generation_defaults().into_iter().collect(),
        })
    }

    fn answer(&mut self, precision: &str, batch: &[Asked<'_>], wanted: Wanted) -> Result<Vec<Reply>> {
        self.weights(precision)?;
        let (c, d) = (self.config, &self.config.decoding);
        let (mut prompts, mut requests) = (Vec::new(), Vec::new());
        for a in batch {
            let prompt = self.chat.render(&a.frame.messages(a.item, c.arms.placement, &c.arms.suffix), true)?;
            let input = [a.before, &self.chat.encode(&prompt)?].concat();
            requests.push(Request { prompt: input, sequences: vec![a.stream] });
            prompts.push(prompt);
        }
        let settings = GenerateConfig {
            sampling: Sampling { temperature: d.temperature as f32, top_k: d.top_k, top_p: d.top_p as f32 },
            repetition_penalty: d.repetition_penalty as f32,
            max_new_tokens: self.max_tokens,
            stop_ids: self.chat.eos_ids().to_vec(),
            seed: c.seed,
            max_batch: batch.len(),
        };
        let done = generate(self.o, self.loaded()?, &requests, &settings, &HookSet::default())?;
        let mut replies = Vec::with_capacity(batch.len());
        for ((prompt, request), completion) in prompts.into_iter().zip(requests).zip(done.into_iter().flatten()) {
            let Completion { tokens, finish, .. } = completion;
            let parts = think::split(&self.text(&tokens)?, think::opened_by(&prompt));
            let stop_reason = match finish {
                Finish::Stop => StopReason::Stop,
                Finish::Length => StopReason::Length,
            };
            let input = request.prompt;
            replies.push(Reply { prompt, input, output: tokens, stop_reason, parts, gaps: None, frame_log_odds: None });
        }
        if wanted == Wanted::AnswersAndReadings {
            self.readings(batch, &mut replies)?;
        }
        Ok(replies)
    }
}
