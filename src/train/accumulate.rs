//! From token sequences to log-probs and gradients, in micro-batches, for any loss over log-probs.

use crate::model::batch::{Batch, Group};
use crate::model::hooks::HookSet;
use crate::model::lora::Trained;
use crate::model::qwen2::{Qwen2, Recompute};
use crate::ops::{Ops, Result, TensorMeta};

/// A sequence and the targets whose log-probs matter: token `t` is a target of the row before it.
#[derive(Clone, Debug)]
pub struct Example {
    pub tokens: Vec<u32>,
    /// Indices into `tokens` (≥ 1, ascending).
    pub targets: Vec<usize>,
}

impl Example {
    /// Everything after the prompt is a target.
    pub fn completion(prompt: &[u32], completion: &[u32]) -> Self {
        let tokens = [prompt, completion].concat();
        Self { targets: (prompt.len().max(1)..tokens.len()).collect(), tokens }
    }

    /// Tokens the forward needs: the last token is only a target.
    fn inputs(&self) -> &[u32] {
        let end = self.targets.last().copied().unwrap_or(0);
        &self.tokens[..end]
    }

    /// Tokens whose rows predict no target.
    fn prefix(&self) -> &[u32] {
        let end = self.targets.first().map_or(0, |t| t - 1);
        &self.tokens[..end]
    }
}

/// A run of examples with the same prefix, which is computed once.
fn shares(a: &Example, b: &Example) -> bool {
    !a.prefix().is_empty() && a.prefix() == b.prefix()
}

/// Per-target values of one example.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Scores {
    pub logp: Vec<f32>,
    pub entropy: Vec<f32>,
}

/// How work is cut up; fixed by configuration, because it decides the order of gradient sums.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MicroBatch {
    /// Input tokens per micro-batch (a longer single sequence still goes through).
    pub max_tokens: usize,
    pub recompute: Recompute,
}

/// Ranges of examples whose input tokens, a shared prefix counted once, fit the budget, in order.
pub fn micro_batches(examples: &[Example], max_tokens: usize) -> Vec<std::ops::Range<usize>> {
    let (mut out, mut start, mut tokens) = (Vec::new(), 0, 0);
    for (i, e) in examples.iter().enumerate() {
        let (whole, own) = (e.inputs().len(), e.inputs().len() - e.prefix().len());
        let joins = i > start && shares(&examples[i - 1], e);
        let n = if joins { own } else { whole };
        if i > start && tokens + n > max_tokens {
            out.push(start..i);
            (start, tokens) = (i, whole);
        } else {
            tokens += n;
        }
    }
    if start < examples.len() {
        out.push(start..examples.len());
    }
    out
}

struct Prepared<I> {
    batch: Batch<I>,
    rows: I,
    targets: I,
    /// Targets of each example.
    counts: Vec<usize>,
}

fn prepare<O: Ops>(o: &O, examples: &[Example]) -> Result<Prepared<O::I>> {
    let (mut groups, mut rows, mut targets, mut at) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for run in examples.chunk_by(shares) {
        // A single example gains nothing from a prefix of its own.
        let prefix = if run.len() > 1 { run[0].prefix().to_vec() } else { Vec::new() };
        at += prefix.len();
        for e in run {
            rows.extend(e.targets.iter().map(|t| (at + t - 1 - prefix.len()) as u32));
            targets.extend(e.targets.iter().map(|&t| e.tokens[t]));
            at += e.inputs().len() - prefix.len();
        }
        groups.push(Group { own: run.iter().map(|e| e.inputs()[prefix.len()..].to_vec()).collect(), prefix });
    }
    Ok(Prepared {
        batch: Batch::shared(o, &groups)?,
        rows: o.upload_index(&rows)?,
        targets: o.upload_index(&targets)?,
        counts: examples.iter().map(|e| e.targets.len()).collect(),
    })
}

fn split(counts: &[usize], logp: &[f32], entropy: &[f32]) -> Vec<Scores> {
    let mut at = 0;
    counts
        .iter()
        .map(|&n| {
            let r = at..at + n;
            at += n;
            Scores { logp: logp[r.clone()].to_vec(), entropy: entropy[r].to_vec() }
        })
        .collect()
}

/// Log-probs and entropies of every target, without gradients.
pub fn score<O: Ops>(
    o: &O,
    model: &Qwen2<O>,
    examples: &[Example],
    temperature: f32,
    micro: MicroBatch,
) -> Result<Vec<Scores>> {
    score_under(o, model, examples, temperature, micro, &HookSet::default())
}

/// The same with hooks at work.
pub fn score_under<O: Ops>(
    o: &O,
    model: &Qwen2<O>,
    examples: &[Example],
    temperature: f32,
    micro: MicroBatch,
    hooks: &HookSet<O>,
) -> Result<Vec<Scores>> {
    let mut out = Vec::with_capacity(examples.len());
    for r in micro_batches(examples, micro.max_tokens) {
        let p = prepare(o, &examples[r])?;
        let x = model.forward(o, &p.batch, hooks)?;
        let tail = model.tail(o, &x, &p.rows, &p.targets, temperature, hooks)?;
        out.extend(split(&p.counts, &o.read(&tail.head.logp)?, &o.read(&tail.head.entropy)?));
    }
    Ok(out)
}

/// Forward and backward of every example. `loss(i, scores, dlogp)` gets example `i`'s log-probs and writes the gradient of
/// the loss with respect to them; gradients are added to `grads`.
pub fn accumulate<O: Ops>(
    o: &O,
    model: &Qwen2<O>,
    examples: &[Example],
    temperature: f32,
    micro: MicroBatch,
    grads: &mut Trained<O::T>,
    mut loss: impl FnMut(usize, &Scores, &mut [f32]),
) -> Result<Vec<Scores>> {
    let hooks = HookSet::default();
    let mut out = Vec::with_capacity(examples.len());
    for r in micro_batches(examples, micro.max_tokens) {
        let p = prepare(o, &examples[r.clone()])?;
        let saved = model.forward_saved(o, &p.batch, &hooks, micro.recompute)?;
        let tail = model.tail(o, &saved.out, &p.rows, &p.targets, temperature, &hooks)?;
        let scores = split(&p.counts, &o.read(&tail.head.logp)?, &o.read(&tail.head.entropy)?);
        let mut dlogp = vec![0.0; p.counts.iter().sum()];
        let mut at = 0;
        for (i, s) in r.zip(&scores) {
            loss(i, s, &mut dlogp[at..at + s.logp.len()]);
            at += s.logp.len();
        }
        let dlogp = o.upload(dlogp.len(), 1, &dlogp)?;
        let tokens = p.batch.rows();
        let dout = model.tail_bwd(o, tail, &dlogp, &p.rows, &p.targets, temperature, tokens, &hooks, grads)?;
        model.backward(o, saved, dout, &p.batch, &hooks, grads)?;
        out.extend(scores);
    }
    Ok(out)
}

/// Sets every gradient to zero.
pub fn zero<O: Ops>(o: &O, grads: &mut Trained<O::T>) -> Result<()> {
    for g in grads.iter_mut() {
        debug_assert!(!g.is_empty());
        o.fill(g, 0.0)?;
    }
    Ok(())
}
