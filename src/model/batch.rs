//! Sequences laid end to end: no padding exists, so none can enter a result.

use crate::ops::{AttnPlan, IndexMeta, OpError, Ops, Result, ScatterPlan, Span};

/// Sequences that begin with the same tokens, as the completions of one prompt do. The prefix is computed once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// May be empty.
    pub prefix: Vec<u32>,
    /// What each sequence has of its own; none is empty.
    pub own: Vec<Vec<u32>>,
}

/// A ragged batch on a device, ready for training or scoring. Its rows are, group by group, the prefix and then each
/// sequence's own tokens.
pub struct Batch<I> {
    /// `[M]` token ids.
    pub ids: I,
    /// `[M]` positions within the sequence.
    pub pos: I,
    pub plan: AttnPlan<I>,
    /// For the embedding's gradient.
    pub scatter: ScatterPlan<I>,
    /// Present when sequences share a prefix.
    pub copies: Option<KeyCopies<I>>,
    /// Tokens of the longest sequence.
    longest: usize,
}

/// Keys and values of a shared prefix, copied before the own ones of every sequence: attention reads each sequence's keys in one
/// piece, in the order in which a cache holds them, so a row has the same bits as without sharing.
pub struct KeyCopies<I> {
    /// `[R]` row of the batch that key row j is a copy of.
    pub rows: I,
    /// Adds the gradients of the copies up, in order.
    pub back: ScatterPlan<I>,
}

impl<I> Batch<I> {
    /// Sequences that share nothing.
    pub fn new<O: Ops<I = I>>(o: &O, seqs: &[Vec<u32>]) -> Result<Self> {
        Self::shared(o, &[Group { prefix: Vec::new(), own: seqs.to_vec() }])
    }

    /// Groups of sequences, each with its prefix.
    pub fn shared<O: Ops<I = I>>(o: &O, groups: &[Group]) -> Result<Self> {
        let (mut ids, mut pos, mut parts, mut copied) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        let mut longest = 0;
        for group in groups {
            let past = group.prefix.len();
            let prefix = ids.len() as u32..(ids.len() + past) as u32;
            let heads = (past > 0).then_some((0, &group.prefix));
            for (past, tokens) in heads.into_iter().chain(group.own.iter().map(|own| (past, own))) {
                if tokens.is_empty() {
                    return Err(OpError::Shape { op: "forward", detail: "an empty sequence in the batch".into() });
                }
                let (q0, n) = (ids.len(), tokens.len());
                parts.push((past, n));
                copied.extend(prefix.clone().take(past));
                copied.extend(q0 as u32..(q0 + n) as u32);
                ids.extend_from_slice(tokens);
                pos.extend((past..past + n).map(|p| p as u32));
                longest = longest.max(past + n);
            }
        }
        let copies = if copied.len() > ids.len() {
            Some(KeyCopies { rows: o.upload_index(&copied)?, back: o.scatter_plan(&copied)? })
        } else {
            None
        };
        Ok(Self {
            plan: o.attn_plan(Span::laid(parts))?,
            scatter: o.scatter_plan(&ids)?,
            ids: o.upload_index(&ids)?,
            pos: o.upload_index(&pos)?,
            copies,
            longest,
        })
    }

    /// Tokens of the longest sequence.
    pub fn longest(&self) -> usize {
        self.longest
    }
}

impl<I: IndexMeta> Batch<I> {
    /// Rows of the batch.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }
}
