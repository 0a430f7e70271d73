//! Batched decoding: many sequences at once, each independent of what else is in the batch.
//!
//! A draw depends on `(seed, sequence, position)` and the logits alone, and the kernels give a row the same bits in any
//! batch, so tokens and log-probs do not change with `max_batch`, order or company.

pub mod fidelity;
pub mod memory;
pub mod source;

use std::collections::VecDeque;

use crate::model::cache::{KvCache, Work};
use crate::model::hooks::HookSet;
use crate::model::qwen2::Qwen2;
use crate::ops::{OpError, Ops, Result, Sampling};

/// Decoding settings.
#[derive(Clone, Debug, PartialEq)]
pub struct GenerateConfig {
    pub sampling: Sampling,
    /// 1 = off. Applies to every id of prompt and completion so far, as transformers does.
    pub repetition_penalty: f32,
    pub max_new_tokens: usize,
    /// Decoding of a sequence ends after one of these (which is kept in the tokens).
    pub stop_ids: Vec<u32>,
    pub seed: u64,
    /// Sequences decoded together.
    pub max_batch: usize,
}

/// One prompt and how many completions of it are wanted.
#[derive(Clone, Debug)]
pub struct Request {
    pub prompt: Vec<u32>,
    /// Random-number identity of each completion.
    pub sequences: Vec<u32>,
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Finish {
    /// An end token was generated.
    Stop,
    /// `max_new_tokens` reached.
    Length,
}

/// One completion.
#[derive(Clone, Debug, PartialEq)]
pub struct Completion {
    /// Generated ids, the end token included.
    pub tokens: Vec<u32>,
    /// Log-probability of each, of logits / T over the full vocabulary (T = 1 when greedy).
    pub logps: Vec<f32>,
    pub finish: Finish,
}

struct Active {
    request: usize,
    sample: usize,
    slot: usize,
    /// Token to feed next.
    last: u32,
    out: Completion,
    /// Distinct ids of prompt and completion; only kept when a repetition penalty needs them.
    seen: Vec<u32>,
}

impl Active {
    fn ended(&self, c: &GenerateConfig) -> bool {
        self.out.finish == Finish::Stop || self.out.tokens.len() == c.max_new_tokens
    }
}

/// Decodes every request. Returns completions in the order of requests and their sequences.
pub fn generate<O: Ops>(
    o: &O,
    model: &Qwen2<O>,
    requests: &[Request],
    c: &GenerateConfig,
    hooks: &HookSet<O>,
) -> Result<Vec<Vec<Completion>>> {
    let total: usize = requests.iter().map(|r| r.sequences.len()).sum();
    let largest = 2 * c.max_batch.min(total) * model.config.hidden_size * model.config.intermediate_size;
    let strands = if hooks.is_empty() { o.strands(largest).min(requests.len()) } else { 1 };
    if strands < 2 {
        return decode(o, model, requests, c, hooks);
    }
    // Bits do not depend on company, so a batch may be decoded in parts.
    let part = GenerateConfig { max_batch: c.max_batch.div_ceil(strands), ..c.clone() };
    let parts = o.each_strand(shares(requests, total, strands), |r| decode(o, model, r, &part, &HookSet::default()));
    Ok(parts.into_iter().collect::<Result<Vec<_>>>()?.concat())
}

/// Consecutive requests in up to `parts` parts of about as many sequences.
fn shares(requests: &[Request], total: usize, parts: usize) -> Vec<&[Request]> {
    let mut out = Vec::with_capacity(parts);
    let (mut start, mut sequences) = (0, 0);
    for (i, r) in requests.iter().enumerate() {
        sequences += r.sequences.len();
        if sequences * parts >= total * (out.len() + 1) {
            out.push(&requests[start..=i]);
            start = i + 1;
        }
    }
    if start < requests.len() {
        out.push(&requests[start..]);
    }
    out
}

/// Decodes requests in one batch after the other.
fn decode<O: Ops>(
    o: &O,
    model: &Qwen2<O>,
    requests: &[Request],
    c: &GenerateConfig,
    hooks: &HookSet<O>,
) -> Result<Vec<Vec<Completion>>> {
    let widest = requests.iter().map(|r| r.sequences.len()).max().unwrap_or(0);
    let longest = requests.iter().map(|r| r.prompt.len()).max().unwrap_or(0);
    if requests.iter().any(|r| r.prompt.is_empty()) {
        return Err(OpError::Shape { op: "generate", detail: "an empty prompt".into() });
    }
    let total: usize = requests.iter().map(|r| r.sequences.len()).sum();
    let slots = c.max_batch.max(widest).min(total.max(1));
    let mut cache = KvCache::new(o, model, slots, longest + c.max_new_tokens)?;
    let mut free: Vec<usize> = (0..slots).rev().collect();
    let mut waiting: VecDeque<usize> = (0..requests.len()).filter(|&r| !requests[r].sequences.is_empty()).collect();
    let mut active: Vec<Active> = Vec::new();
    let mut done: Vec<Vec<Option<Completion>>> = requests.iter().map(|r| vec![None; r.sequences.len()]).collect();

    let mut pace = Pace::new(o.steps_ahead(), c.repetition_penalty != 1.0);
    while (!active.is_empty() || !waiting.is_empty()) && c.max_new_tokens > 0 {
        // One batch: the next token of every running sequence, and whole prompts of newly admitted requests.
        let (mut ids, mut work, mut rows) = (Vec::new(), Vec::new(), Vec::new());
        for a in &active {
            rows.push(ids.len() as u32);
            ids.push(a.last);
            work.push(Work { slot: a.slot, n: 1 });
        }
        let mut share = Vec::new();
        while let Some(&r) = waiting.front() {
            let request = &requests[r];
            let n = request.sequences.len();
            if free.len() < n {
                break;
            }
            waiting.pop_front();
            let taken = free.split_off(free.len() - n);
            taken.iter().for_each(|&s| cache.clear(s));
            ids.extend_from_slice(&request.prompt);
            work.push(Work { slot: taken[0], n: request.prompt.len() });
            for (sample, &slot) in taken.iter().enumerate() {
                rows.push(ids.len() as u32 - 1);
                active.push(Active {
                    request: r,
                    sample,
                    slot,
                    last: 0,
                    out: Completion { tokens: Vec::new(), logps: Vec::new(), finish: Finish::Length },
                    seen: if c.repetition_penalty == 1.0 { Vec::new() } else { distinct(&request.prompt) },
                });
            }
            share.push((taken[0], taken));
        }
        let x = model.forward_cached(o, &o.upload_index(&ids)?, &work, &mut cache, hooks)?;
        for (from, to) in &share {
            cache.share(o, *from, to)?;
        }
        let mut logits = model.logits(o, &x, Some(&o.upload_index(&rows)?), hooks)?;
        drop(x);
        if c.repetition_penalty != 1.0 {
            penalise(o, &mut logits, &active, c.repetition_penalty)?;
        }
        let left = active.iter().map(|a| c.max_new_tokens - a.out.tokens.len()).min().unwrap_or(1);
        let mut steps = vec![o.sample(&logits, &c.sampling, &keys(o, requests, &active, 0, c.seed)?)?];
        drop(logits);
        // The device goes on with the tokens that it chose; what a sequence gets after its end is dropped.
        let work: Vec<Work> = active.iter().map(|a| Work { slot: a.slot, n: 1 }).collect();
        while steps.len() < pace.steps().min(left) {
            let x = model.forward_cached(o, &steps[steps.len() - 1].0, &work, &mut cache, hooks)?;
            let logits = model.logits(o, &x, None, hooks)?;
            steps.push(o.sample(&logits, &c.sampling, &keys(o, requests, &active, steps.len(), c.seed)?)?);
        }

        let before = active.len();
        for (chosen, logp) in o.read_steps(&steps)? {
            for ((a, token), logp) in active.iter_mut().zip(chosen).zip(logp) {
                if a.ended(c) {
                    continue;
                }
                a.out.tokens.push(token);
                a.out.logps.push(logp);
                a.last = token;
                if c.repetition_penalty != 1.0 && !a.seen.contains(&token) {
                    a.seen.push(token);
                }
                if c.stop_ids.contains(&token) {
                    a.out.finish = Finish::Stop;
                }
            }
        }
        let mut still = Vec::with_capacity(active.len());
        for a in active {
            if a.ended(c) {
                free.push(a.slot);
                done[a.request][a.sample] = Some(a.out);
            } else {
                still.push(a);
            }
        }
        active = still;
        pace.ended(before - active.len());
    }
    let empty = || Completion { tokens: Vec::new(), logps: Vec::new(), finish: Finish::Length };
    Ok(done.into_iter().map(|g| g.into_iter().map(|c| c.unwrap_or_else(empty)).collect()).collect())
}

/// How many steps are recorded before the host looks at their tokens.
struct Pace {
    most: usize,
    steps: usize,
}

impl Pace {
    fn new(ahead: usize, looks_at_tokens: bool) -> Self {
        let most = if looks_at_tokens { 1 } else { ahead.max(1) };
        Self { most, steps: 1 }
    }

    fn steps(&self) -> usize {
        self.steps
    }

    /// Longer while nothing ends, shorter where steps are wasted on what has ended.
    fn ended(&mut self, sequences: usize) {
        self.steps = if sequences == 0 { (self.steps * 2).min(self.most) } else { (self.steps / 2).max(1) };
    }
}

/// Identity of the draws of every running sequence, `ahead` tokens after those it has.
fn keys<O: Ops>(o: &O, requests: &[Request], active: &[Active], ahead: usize, seed: u64) -> Result<O::I> {
    let of = |a: &Active| {
        let sequence = requests[a.request].sequences[a.sample];
        [sequence, (a.out.tokens.len() + ahead) as u32, seed as u32, (seed >> 32) as u32]
    };
    o.upload_index(&active.iter().flat_map(of).collect::<Vec<u32>>())
}

fn penalise<O: Ops>(o: &O, logits: &mut O::T, active: &[Active], penalty: f32) -> Result<()> {
    let mut offsets = vec![0u32];
    let mut seen = Vec::new();
    for a in active {
        seen.extend_from_slice(&a.seen);
        offsets.push(seen.len() as u32);
    }
    o.repetition_penalty(logits, &o.upload_index(&seen)?, &o.upload_index(&offsets)?, penalty)
}

fn distinct(ids: &[u32]) -> Vec<u32> {
    let mut v = ids.to_vec();
    v.sort_unstable();
    v.dedup();
    v
}
