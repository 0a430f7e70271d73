//! Qwen2 and Llama, forward and backward, written once for every backend: the same block, with or without biases of queries, keys and
//! values.
//!
//! `x` is the residual stream `[M, H]`. A block is
//! `mid = x + o_proj(attention(rope(q_proj(n1)), rope(k_proj(n1)), v_proj(n1)))`, `n1 = rmsnorm(x)`;
//! `out = mid + down_proj(silu(gate_proj(n2)) * up_proj(n2))`, `n2 = rmsnorm(mid)`.

use std::sync::Arc;

use super::batch::Batch;
use super::config::ModelConfig;
use super::hooks::{Hook, HookSet};
use super::lora::{self, Adapters, LoraConfig, Trained};
use super::params::{Module, ParamSpec, Params, specs};
use crate::ops::{AttnShape, HeadOut, OpError, Ops, Result, TensorMeta};

/// What the forward keeps for the backward; the rest is computed again with the same kernels, hence the same bits.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Recompute {
    /// Keep everything.
    #[default]
    None,
    /// Recompute gate, up and their product.
    Mlp,
    /// Keep each block's input only.
    Layer,
}

/// A model on a device.
pub struct Qwen2<O: Ops> {
    pub config: ModelConfig,
    /// Shared by models that differ in their adapters alone.
    pub params: Arc<Params<O::T>>,
    /// Trained corrections of the projections; with them `params` are frozen.
    pub adapters: Option<Adapters<O::T>>,
    pub(super) rope: Arc<O::T>,
    pub(super) attn: AttnShape,
}

/// Intermediate values of one block.
struct LayerSaved<T> {
    x: T,
    inner: Option<Inner<T>>,
}

struct Inner<T> {
    n1: T,
    rstd1: T,
    q: T,
    /// Keys and values as attention reads them: with copies of shared prefixes.
    k: T,
    v: T,
    attn: T,
    lse: T,
    mid: T,
    n2: T,
    rstd2: T,
    mlp: Option<Mlp<T>>,
}

struct Mlp<T> {
    gate: T,
    up: T,
    act: T,
}

/// The tape of one forward over a batch.
pub struct Saved<T> {
    layers: Vec<LayerSaved<T>>,
    /// Residual stream after the last block, before the final norm, `[M, H]`.
    pub out: T,
}

/// Final norm and head on selected rows.
pub struct Tail<T> {
    x: T,
    normed: T,
    rstd: T,
    pub head: HeadOut<T>,
}

impl<O: Ops> Qwen2<O> {
    /// `positions` bounds the longest sequence (prompt + completion) this instance will see.
    pub fn new(o: &O, config: ModelConfig, params: Params<O::T>, positions: usize) -> Result<Self> {
        let rope = o.rope_table(positions.max(1), config.head_dim, config.rope())?;
        let attn = AttnShape {
            heads: config.num_attention_heads,
            kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
            scale: (1.0 / (config.head_dim as f64).sqrt()) as f32,
        };
        Ok(Self { config, params: Arc::new(params), adapters: None, rope: Arc::new(rope), attn })
    }

    /// The same weights in the same memory with other adapters, or none.
    pub fn sharing(&self, adapters: Option<Adapters<O::T>>) -> Self {
        let (params, rope) = (self.params.clone(), self.rope.clone());
        Self { config: self.config.clone(), params, adapters, rope, attn: self.attn }
    }

    /// The same weights in the same memory, with copies of the adapters.
    pub fn with_own_adapters(&self, o: &O) -> Result<Self> {
        let copies = self.adapters.as_ref().map(|a| {
            let mut tensors = a.iter();
            let copy = |s: ParamSpec| tensors.next().map_or_else(|| o.zeros(s.rows, s.cols), |t| o.copy(t));
            Adapters::build(&self.config, &a.config, copy)
        });
        Ok(self.sharing(copies.transpose()?))
    }

    /// The same weights with fresh adapters, which change nothing yet.
    pub fn with_fresh_adapters(&self, o: &O, config: &LoraConfig, seed: u64) -> Result<Self> {
        Ok(self.sharing(Some(lora::init(o, &self.config, config, seed)?)))
    }

    /// Names and shapes of what a training changes, in the order of [`Qwen2::trained`].
    pub fn trained_specs(&self) -> Vec<ParamSpec> {
        match &self.adapters {
            Some(a) => lora::specs(&self.config, &a.config),
            None => specs(&self.config),
        }
    }

    /// What a training changes: the adapters where there are any, else every parameter.
    pub fn trained(&self) -> Box<dyn Iterator<Item = &O::T> + '_> {
        match &self.adapters {
            Some(a) => Box::new(a.iter()),
            None => Box::new(self.params.iter()),
        }
    }

    /// The same to be changed; an error where another model uses the same parameters.
    pub fn trained_mut(&mut self) -> Result<Box<dyn Iterator<Item = &mut O::T> + '_>> {
        if let Some(a) = &mut self.adapters {
            return Ok(Box::new(a.iter_mut()));
        }
        match Arc::get_mut(&mut self.params) {
            Some(p) => Ok(Box::new(p.iter_mut())),
            None => Err(OpError::Shape {
                op: "update",
                detail: "another model shares the parameters of this one: train adapters or load it again".into(),
            }),
        }
    }

    /// A tensor for each that a training changes.
    pub fn like<E: From<OpError>>(
        &self,
        mut make: impl FnMut(&ParamSpec, &O::T) -> std::result::Result<O::T, E>,
    ) -> std::result::Result<Trained<O::T>, E> {
        let mut own = self.trained();
        let missing = |s: &ParamSpec| OpError::Shape { op: "like", detail: format!("{} is missing", s.name) };
        let make = |s: ParamSpec| make(&s, own.next().ok_or_else(|| missing(&s))?);
        Ok(match &self.adapters {
            Some(a) => Trained::Lora(Adapters::build(&self.config, &a.config, make)?),
            None => Trained::Full(Params::build(&self.config, make)?),
        })
    }

    /// Zeros in f32 in the shape of what is trained, for gradients.
    pub fn zeros_like(&self, o: &O) -> Result<Trained<O::T>> {
        self.like(|s, _| o.zeros(s.rows, s.cols))
    }

    /// `y = x W^T (+ bias)` of a projection, corrected by its adapter.
    fn project(&self, o: &O, l: usize, m: Module, x: &O::T) -> Result<O::T> {
        let p = &self.params.layers[l];
        let mut y = o.matmul_nt(x, p.weight(m), p.bias(m))?;
        if let Some((a, pair)) = self.adapters.as_ref().and_then(|a| Some((a, a.pair(l, m)?))) {
            lora::forward(o, a.config.scale(), pair, x, &mut y)?;
        }
        Ok(y)
    }

    /// Backward of [`Qwen2::project`]: adds to `grads`, returns the gradient of `x`, added to `acc` when given.
    #[allow(clippy::too_many_arguments)]
    fn project_bwd(
        &self,
        o: &O,
        l: usize,
        m: Module,
        dy: &O::T,
        x: &O::T,
        acc: Option<O::T>,
        grads: &mut Trained<O::T>,
    ) -> Result<O::T> {
        let w = self.params.layers[l].weight(m);
        let pair = self.adapters.as_ref().and_then(|a| Some((a, a.pair(l, m)?)));
        match (grads, pair) {
            (Trained::Full(g), _) => {
                o.matmul_tn(g.layers[l].weight_mut(m), dy, x)?;
                if let Some(bias) = g.layers[l].bias_mut(m) {
                    o.bias_bwd(bias, dy)?;
                }
                o.matmul_nn(dy, w, acc)
            }
            (Trained::Lora(g), Some((a, pair))) => {
                let dx = o.matmul_nn(dy, w, acc)?;
                match g.pair_mut(l, m) {
                    Some(g) => lora::backward(o, a.config.scale(), pair, g, dy, x, dx),
                    None => Ok(dx),
                }
            }
            (Trained::Lora(_), None) => o.matmul_nn(dy, w, acc),
        }
    }

    pub(super) fn eps(&self) -> f32 {
        self.config.rms_norm_eps as f32
    }

    /// Longest position the rotary table covers.
    pub fn max_positions(&self) -> usize {
        self.rope.rows()
    }

    fn check_batch(&self, longest: usize) -> Result<()> {
        if longest > self.max_positions() {
            return Err(OpError::Shape {
                op: "forward",
                detail: format!(
                    "a sequence of {longest} tokens, but this model was set up for {}",
                    self.max_positions()
                ),
            });
        }
        Ok(())
    }

    /// Whether an adapter corrects one of these projections of a block.
    pub(super) fn adapted(&self, l: usize, modules: &[Module]) -> bool {
        self.adapters.as_ref().is_some_and(|a| modules.iter().any(|m| a.pair(l, *m).is_some()))
    }

    /// Queries, keys and values before rotary positions are applied.
    pub(super) fn qkv(&self, o: &O, l: usize, n1: &O::T) -> Result<(O::T, O::T, O::T)> {
        let of = |m| self.project(o, l, m, n1);
        Ok((of(Module::QProj)?, of(Module::KProj)?, of(Module::VProj)?))
    }

    /// From the block's input `x` and attention's output to the middle of the block. Returns `(mid, n2, rstd2)`.
    pub(super) fn middle(
        &self,
        o: &O,
        l: usize,
        x: &O::T,
        attn: &O::T,
        hooks: &HookSet<O>,
    ) -> Result<(O::T, O::T, O::T)> {
        let p = &self.params.layers[l];
        let mut delta = self.project(o, l, Module::OProj, attn)?;
        hooks.apply(o, Hook::AttnOut(l), &mut delta)?;
        if hooks.at(Hook::ResidMid(l)) {
            o.add(&mut delta, x)?;
            hooks.apply(o, Hook::ResidMid(l), &mut delta)?;
            let (n2, rstd2) = o.rmsnorm(&delta, &p.post_attention_layernorm, self.eps())?;
            Ok((delta, n2, rstd2))
        } else {
            o.add_rmsnorm(x, &delta, &p.post_attention_layernorm, self.eps())
        }
    }

    /// What the MLP adds to the middle of the block.
    pub(super) fn mlp_out(&self, o: &O, l: usize, act: &O::T, hooks: &HookSet<O>) -> Result<O::T> {
        let mut delta = self.project(o, l, Module::DownProj, act)?;
        hooks.apply(o, Hook::MlpOut(l), &mut delta)?;
        Ok(delta)
    }

    /// Output of a block: the stream in its middle plus what its MLP adds.
    pub(super) fn summed(&self, o: &O, l: usize, mid: &O::T, mut delta: O::T, hooks: &HookSet<O>) -> Result<O::T> {
        o.add(&mut delta, mid)?;
        hooks.apply(o, Hook::ResidPost(l), &mut delta)?;
        Ok(delta)
    }

    pub(super) fn mlp_inner(&self, o: &O, l: usize, n2: &O::T) -> Result<(O::T, O::T, O::T)> {
        let gate = self.project(o, l, Module::GateProj, n2)?;
        let up = self.project(o, l, Module::UpProj, n2)?;
        let act = o.swiglu(&gate, &up)?;
        Ok((gate, up, act))
    }

    /// One block. Returns what the backward needs and the block's output.
    fn block(
        &self,
        o: &O,
        l: usize,
        x: &O::T,
        batch: &Batch<O::I>,
        hooks: &HookSet<O>,
        keep_mlp: bool,
    ) -> Result<(Inner<O::T>, O::T)> {
        let p = &self.params.layers[l];
        let (n1, rstd1) = o.rmsnorm(x, &p.input_layernorm, self.eps())?;
        let (mut q, mut k, mut v) = self.qkv(o, l, &n1)?;
        o.rope(&mut q, &batch.pos, &self.rope, self.config.head_dim, false)?;
        o.rope(&mut k, &batch.pos, &self.rope, self.config.head_dim, false)?;
        if let Some(copies) = &batch.copies {
            (k, v) = (o.gather_rows(&k, &copies.rows)?, o.gather_rows(&v, &copies.rows)?);
        }
        let (attn, lse) = o.attention(&q, &k, &v, &batch.plan, &self.attn)?;
        let (mid, n2, rstd2) = self.middle(o, l, x, &attn, hooks)?;
        let (gate, up, act) = self.mlp_inner(o, l, &n2)?;
        let delta = self.mlp_out(o, l, &act, hooks)?;
        let out = self.summed(o, l, &mid, delta, hooks)?;
        let mlp = keep_mlp.then_some(Mlp { gate, up, act });
        Ok((Inner { n1, rstd1, q, k, v, attn, lse, mid, n2, rstd2, mlp }, out))
    }

    /// Embeds and runs every block, keeping the tape.
    pub fn forward_saved(
        &self,
        o: &O,
        batch: &Batch<O::I>,
        hooks: &HookSet<O>,
        recompute: Recompute,
    ) -> Result<Saved<O::T>> {
        self.check_batch(batch.longest())?;
        hooks.check(self.config.num_hidden_layers)?;
        let mut x = o.embed(&self.params.embed_tokens, &batch.ids)?;
        hooks.apply(o, Hook::Embed, &mut x)?;
        let mut layers = Vec::with_capacity(self.config.num_hidden_layers);
        for l in 0..self.config.num_hidden_layers {
            hooks.apply(o, Hook::ResidPre(l), &mut x)?;
            let (inner, out) = self.block(o, l, &x, batch, hooks, recompute == Recompute::None)?;
            let inner = (recompute != Recompute::Layer).then_some(inner);
            layers.push(LayerSaved { x, inner });
            x = out;
        }
        Ok(Saved { layers, out: x })
    }

    /// Forward without a tape: the residual stream after the last block.
    pub fn forward(&self, o: &O, batch: &Batch<O::I>, hooks: &HookSet<O>) -> Result<O::T> {
        self.check_batch(batch.longest())?;
        hooks.check(self.config.num_hidden_layers)?;
        let mut x = o.embed(&self.params.embed_tokens, &batch.ids)?;
        hooks.apply(o, Hook::Embed, &mut x)?;
        for l in 0..self.config.num_hidden_layers {
            hooks.apply(o, Hook::ResidPre(l), &mut x)?;
            x = self.block(o, l, &x, batch, hooks, false)?.1;
        }
        Ok(x)
    }

    /// Final norm of given rows (all when `None`): `[rows, H]`.
    pub fn final_norm(&self, o: &O, x: &O::T, rows: Option<&O::I>, hooks: &HookSet<O>) -> Result<O::T> {
        let picked = rows.map(|r| o.gather_rows(x, r)).transpose()?;
        let (mut n, _) = o.rmsnorm(picked.as_ref().unwrap_or(x), &self.params.norm, self.eps())?;
        hooks.apply(o, Hook::FinalNorm, &mut n)?;
        Ok(n)
    }

    /// Raw logits `[rows, V]` of given rows.
    pub fn logits(&self, o: &O, x: &O::T, rows: Option<&O::I>, hooks: &HookSet<O>) -> Result<O::T> {
        o.matmul_nt(&self.final_norm(o, x, rows, hooks)?, self.params.head(), None)
    }

    /// Final norm and head for the rows whose next token is a target. `rows` and `targets` have one entry per target.
    pub fn tail(
        &self,
        o: &O,
        out: &O::T,
        rows: &O::I,
        targets: &O::I,
        temperature: f32,
        hooks: &HookSet<O>,
    ) -> Result<Tail<O::T>> {
        let x = o.gather_rows(out, rows)?;
        let (mut normed, rstd) = o.rmsnorm(&x, &self.params.norm, self.eps())?;
        hooks.apply(o, Hook::FinalNorm, &mut normed)?;
        let head = o.head_logp(&normed, self.params.head(), targets, temperature)?;
        Ok(Tail { x, normed, rstd, head })
    }

    /// Backward of [`Qwen2::tail`]: `dlogp` `[rows, 1]` to the gradient of the stream after the last block, `[M, H]`.
    #[allow(clippy::too_many_arguments)]
    pub fn tail_bwd(
        &self,
        o: &O,
        tail: Tail<O::T>,
        dlogp: &O::T,
        rows: &O::I,
        targets: &O::I,
        temperature: f32,
        tokens: usize,
        hooks: &HookSet<O>,
        grads: &mut Trained<O::T>,
    ) -> Result<O::T> {
        let head = self.params.head();
        let dhead = grads.full().map(Params::head_mut);
        let mut dn = o.head_logp_bwd(dlogp, &tail.normed, head, targets, temperature, &tail.head, dhead)?;
        hooks.apply_bwd(o, Hook::FinalNorm, &mut dn)?;
        let dnorm = grads.full().map(|g| &mut g.norm);
        let dx = o.rmsnorm_bwd(&dn, &tail.x, &self.params.norm, &tail.rstd, dnorm, None)?;
        let mut dout = o.zeros(tokens, self.config.hidden_size)?;
        o.scatter_add_rows(&mut dout, &dx, rows)?;
        Ok(dout)
    }

    /// Backward through the blocks and the embedding; adds to `grads`. `dout` is the gradient of [`Saved::out`].
    pub fn backward(
        &self,
        o: &O,
        saved: Saved<O::T>,
        mut dout: O::T,
        batch: &Batch<O::I>,
        hooks: &HookSet<O>,
        grads: &mut Trained<O::T>,
    ) -> Result<()> {
        drop(saved.out);
        for (l, layer) in saved.layers.into_iter().enumerate().rev() {
            let inner = match layer.inner {
                Some(inner) => inner,
                None => hooks.without_capture(|h| Ok(self.block(o, l, &layer.x, batch, h, true)?.0))?,
            };
            hooks.apply_bwd(o, Hook::ResidPost(l), &mut dout)?;
            dout = self.block_bwd(o, l, layer.x, inner, dout, batch, hooks, grads)?;
            hooks.apply_bwd(o, Hook::ResidPre(l), &mut dout)?;
        }
        hooks.apply_bwd(o, Hook::Embed, &mut dout)?;
        match grads.full() {
            Some(g) => o.embed_bwd(&mut g.embed_tokens, &dout, &batch.scatter),
            None => Ok(()),
        }
    }

    /// Backward of one block: gradient of its output to gradient of its input.
    #[allow(clippy::too_many_arguments)]
    fn block_bwd(
        &self,
        o: &O,
        l: usize,
        x: O::T,
        s: Inner<O::T>,
        dout: O::T,
        batch: &Batch<O::I>,
        hooks: &HookSet<O>,
        grads: &mut Trained<O::T>,
    ) -> Result<O::T> {
        let p = &self.params.layers[l];
        // MLP: out = mid + mlp(n2(mid))
        let mlp = match s.mlp {
            Some(m) => m,
            None => {
                let (gate, up, act) = self.mlp_inner(o, l, &s.n2)?;
                Mlp { gate, up, act }
            }
        };
        let edited = if hooks.at(Hook::MlpOut(l)) {
            let mut d = o.copy(&dout)?;
            hooks.apply_bwd(o, Hook::MlpOut(l), &mut d)?;
            Some(d)
        } else {
            None
        };
        let dmlp = edited.as_ref().unwrap_or(&dout);
        let dact = self.project_bwd(o, l, Module::DownProj, dmlp, &mlp.act, None, grads)?;
        let (dgate, dup) = o.swiglu_bwd(&dact, &mlp.gate, &mlp.up)?;
        let dn2 = self.project_bwd(o, l, Module::GateProj, &dgate, &s.n2, None, grads)?;
        let dn2 = self.project_bwd(o, l, Module::UpProj, &dup, &s.n2, Some(dn2), grads)?;
        let norm = grads.full().map(|g| &mut g.layers[l].post_attention_layernorm);
        let mut dmid = o.rmsnorm_bwd(&dn2, &s.mid, &p.post_attention_layernorm, &s.rstd2, norm, Some(dout))?;
        hooks.apply_bwd(o, Hook::ResidMid(l), &mut dmid)?;

        // Attention: mid = x + o_proj(attn)
        let edited = if hooks.at(Hook::AttnOut(l)) {
            let mut d = o.copy(&dmid)?;
            hooks.apply_bwd(o, Hook::AttnOut(l), &mut d)?;
            Some(d)
        } else {
            None
        };
        let ddelta = edited.as_ref().unwrap_or(&dmid);
        let dattn = self.project_bwd(o, l, Module::OProj, ddelta, &s.attn, None, grads)?;
        let (mut dq, mut dk, mut dv) =
            o.attention_bwd(&dattn, &s.q, &s.k, &s.v, &s.attn, &s.lse, &batch.plan, &self.attn)?;
        if let Some(copies) = &batch.copies {
            for d in [&mut dk, &mut dv] {
                let mut sum = o.zeros(batch.rows(), d.cols())?;
                o.embed_bwd(&mut sum, d, &copies.back)?;
                *d = sum;
            }
        }
        o.rope(&mut dq, &batch.pos, &self.rope, self.config.head_dim, true)?;
        o.rope(&mut dk, &batch.pos, &self.rope, self.config.head_dim, true)?;
        let dn1 = self.project_bwd(o, l, Module::QProj, &dq, &s.n1, None, grads)?;
        let dn1 = self.project_bwd(o, l, Module::KProj, &dk, &s.n1, Some(dn1), grads)?;
        let dn1 = self.project_bwd(o, l, Module::VProj, &dv, &s.n1, Some(dn1), grads)?;
        let norm = grads.full().map(|g| &mut g.layers[l].input_layernorm);
        o.rmsnorm_bwd(&dn1, &x, &p.input_layernorm, &s.rstd1, norm, Some(dmid))
    }
}
