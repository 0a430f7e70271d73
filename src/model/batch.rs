//! Sequences laid end to end: no padding exists, so none can enter a result.

use crate::ops::{AttnPlan, Ops, Result, ScatterPlan, Span};

/// A ragged batch on a device, ready for training or scoring.
pub struct Batch<I> {
    /// Tokens of each sequence.
    pub lens: Vec<usize>,
    /// `[M]` token ids.
    pub ids: I,
    /// `[M]` positions within the sequence.
    pub pos: I,
    pub plan: AttnPlan<I>,
    /// For the embedding's gradient.
    pub scatter: ScatterPlan<I>,
}

impl<I> Batch<I> {
    pub fn new<O: Ops<I = I>>(o: &O, seqs: &[Vec<u32>]) -> Result<Self> {
        let lens: Vec<usize> = seqs.iter().map(Vec::len).collect();
        let ids: Vec<u32> = seqs.concat();
        let pos: Vec<u32> = lens.iter().flat_map(|&n| 0..n as u32).collect();
        Ok(Self {
            plan: o.attn_plan(Span::packed(&lens))?,
            scatter: o.scatter_plan(&ids)?,
            ids: o.upload_index(&ids)?,
            pos: o.upload_index(&pos)?,
            lens,
        })
    }

    /// Tokens in the batch.
    pub fn tokens(&self) -> usize {
        self.lens.iter().sum()
    }

    /// First row of each sequence.
    pub fn starts(&self) -> Vec<usize> {
        let mut at = 0;
        self.lens
            .iter()
            .map(|&n| {
                at += n;
                at - n
            })
            .collect()
    }
}
