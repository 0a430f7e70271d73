//! Decoding with keys and values kept: prefill and single steps through the same blocks as training.

use super::hooks::{Hook, HookSet};
use super::params::Module;
use super::qwen2::Qwen2;
use crate::ops::{OpError, Ops, Result, Span, apart};

const QKV: [Module; 3] = [Module::QProj, Module::KProj, Module::VProj];

/// Keys and values of `slots` sequences, each with room for `cap` tokens: per layer `[slots * cap, kv_heads * d]`.
pub struct KvCache<T> {
    layers: Vec<(T, T)>,
    cap: usize,
    lens: Vec<usize>,
}

/// New tokens of one sequence: the next `n` rows of the batch go to `slot`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Work {
    pub slot: usize,
    pub n: usize,
}

impl<T> KvCache<T> {
    pub fn new<O: Ops<T = T>>(o: &O, model: &Qwen2<O>, slots: usize, cap: usize) -> Result<Self> {
        let width = model.attn.kv_heads * model.attn.head_dim;
        let layers = (0..model.config.num_hidden_layers)
            .map(|_| Ok((o.zeros(slots * cap, width)?, o.zeros(slots * cap, width)?)))
            .collect::<Result<_>>()?;
        Ok(Self { layers, cap, lens: vec![0; slots] })
    }

    /// Tokens held by a slot.
    pub fn len(&self, slot: usize) -> usize {
        self.lens[slot]
    }

    pub fn is_empty(&self) -> bool {
        self.lens.iter().all(|&n| n == 0)
    }

    /// Room of each slot, in tokens.
    pub fn capacity(&self) -> usize {
        self.cap
    }

    /// Forgets a slot's tokens.
    pub fn clear(&mut self, slot: usize) {
        self.lens[slot] = 0;
    }

    /// Copies the tokens of `from` into every slot of `to`: one prefill serves a whole group.
    pub fn share<O: Ops<T = T>>(&mut self, o: &O, from: usize, to: &[usize]) -> Result<()> {
        let n = self.lens[from];
        let to: Vec<usize> = to.iter().copied().filter(|&t| t != from).collect();
        if to.is_empty() || n == 0 {
            to.iter().for_each(|&t| self.lens[t] = n);
            return Ok(());
        }
        let cap = self.cap;
        let rows = |slot: usize| (slot * cap) as u32..(slot * cap + n) as u32;
        let source = o.upload_index(&to.iter().flat_map(|_| rows(from)).collect::<Vec<_>>())?;
        let target = o.upload_index(&to.iter().flat_map(|&t| rows(t)).collect::<Vec<_>>())?;
        for (k, v) in &mut self.layers {
            for cache in [k, v] {
                let block = o.gather_rows(cache, &source)?;
                o.scatter_rows(cache, &block, &target)?;
            }
        }
        to.iter().for_each(|&t| self.lens[t] = n);
        Ok(())
    }
}

impl<O: Ops> Qwen2<O> {
    /// Runs new tokens `ids` `[Σ n]` (laid end to end in the order of `work`) against the cache and appends them.
    /// Returns the residual stream after the last block, `[Σ n, H]`. Bits equal those of a full forward.
    pub fn forward_cached(
        &self,
        o: &O,
        ids: &O::I,
        work: &[Work],
        cache: &mut KvCache<O::T>,
        hooks: &HookSet<O>,
    ) -> Result<O::T> {
        hooks.check(self.config.num_hidden_layers)?;
        let (mut spans, mut pos, mut rows, mut q0) = (Vec::new(), Vec::new(), Vec::new(), 0);
        for w in work {
            let past = cache.lens[w.slot];
            if past + w.n > cache.cap.min(self.max_positions()) {
                return Err(OpError::Shape {
                    op: "forward_cached",
                    detail: format!(
                        "slot {} holds {past} tokens and was given {} more, but has room for {}",
                        w.slot,
                        w.n,
                        cache.cap.min(self.max_positions())
                    ),
                });
            }
            spans.push(Span { q0, n: w.n, k0: w.slot * cache.cap, past });
            for i in past..past + w.n {
                pos.push(i as u32);
                rows.push((w.slot * cache.cap + i) as u32);
            }
            q0 += w.n;
        }
        let (plan, pos, rows) = (o.attn_plan(spans)?, o.upload_index(&pos)?, o.upload_index(&rows)?);

        let mut x = o.embed(&self.params.embed_tokens, ids)?;
        hooks.apply(o, Hook::Embed, &mut x)?;
        // The two halves of a block's output, where the next block's norm can add them.
        let mut halves: Option<(O::T, O::T)> = None;
        for (l, (kc, vc)) in cache.layers.iter_mut().enumerate() {
            let weight = &self.params.layers[l].input_layernorm;
            let n1 = match halves.take() {
                Some((mid, delta)) => {
                    let (sum, n1, _) = o.add_rmsnorm(&mid, &delta, weight, self.eps())?;
                    x = sum;
                    n1
                }
                None => {
                    hooks.apply(o, Hook::ResidPre(l), &mut x)?;
                    o.rmsnorm(&x, weight, self.eps())?.0
                }
            };
            let q = self.queries(o, l, &n1, &pos, (kc, vc), &rows)?;
            let (attn, _) = o.attention(&q, kc, vc, &plan, &self.attn)?;
            let (mid, n2, _) = self.middle(o, l, &x, &attn, hooks)?;
            let delta = self.mlp_out(o, l, &self.activated(o, l, &n2)?, hooks)?;
            let watched = hooks.at(Hook::ResidPost(l)) || hooks.at(Hook::ResidPre(l + 1));
            if watched || l + 1 == self.config.num_hidden_layers {
                x = self.summed(o, l, &mid, delta, hooks)?;
            } else {
                halves = Some((mid, delta));
            }
        }
        for w in work {
            cache.lens[w.slot] += w.n;
        }
        Ok(x)
    }

    /// Queries of a block's new tokens, whose keys and values go to the cache.
    fn queries(
        &self,
        o: &O,
        l: usize,
        n1: &O::T,
        pos: &O::I,
        caches: (&mut O::T, &mut O::T),
        rows: &O::I,
    ) -> Result<O::T> {
        let (p, d) = (&self.params.layers[l], self.config.head_dim);
        if self.adapted(l, &QKV) {
            return apart::append(o, self.qkv(o, l, n1)?, pos, &self.rope, d, caches, rows);
        }
        o.qkv_append(n1, QKV.map(|m| (p.weight(m), p.bias(m))), pos, &self.rope, d, caches, rows)
    }

    /// What the last projection of a block's MLP reads.
    fn activated(&self, o: &O, l: usize, n2: &O::T) -> Result<O::T> {
        if self.adapted(l, &[Module::GateProj, Module::UpProj]) {
            return Ok(self.mlp_inner(o, l, n2)?.2);
        }
        let p = &self.params.layers[l];
        o.gated(n2, p.weight(Module::GateProj), p.weight(Module::UpProj))
    }
}
