//! The door between the model and the arithmetic.
//!
//! [`Ops`] has one method per kernel family. [`Gpu`](crate::gpu::Gpu), [`Cpu`](crate::cpu::Cpu) and
//! [`Checked`](checked::Checked) stand behind it; model, training and hooks are written once, generic over `O: Ops`.
//!
//! Every tensor is a row-major matrix `[rows, cols]`; a vector is `[1, n]`. Token rows of a ragged batch are
//! concatenated without padding, so `M` below is the number of tokens in the batch.

pub mod apart;
pub mod checked;
pub mod plan;
pub mod quant;
pub mod selftest;

pub use plan::{AttnPlan, AttnShape, Rope, ScatterPlan, Span};
pub use quant::{Quant, QuantMatrix};

use thiserror::Error;

/// How the elements of a tensor are stored. Arithmetic is always f32 (f64 in the CPU oracle).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    F32,
    /// bfloat16, two to a u32, the even element in the low half: weights, and with [`Ops::adamw_bf16`] moments.
    Bf16,
    /// Codes and scales of groups of weights along a row: frozen matrices, see [`quant`].
    Quant(Quant),
}

impl Dtype {
    /// Every storage of a weight matrix.
    pub const WEIGHTS: [Dtype; 5] =
        [Dtype::F32, Dtype::Bf16, Dtype::Quant(Quant::Int8), Dtype::Quant(Quant::Int4), Dtype::Quant(Quant::Nf4)];

    pub const fn name(self) -> &'static str {
        match self {
            Dtype::F32 => "f32",
            Dtype::Bf16 => "bf16",
            Dtype::Quant(q) => q.name(),
        }
    }

    /// Bytes of a matrix; bf16 comes in pairs.
    pub const fn bytes(self, rows: usize, cols: usize) -> u64 {
        match self {
            Dtype::F32 => (rows * cols) as u64 * 4,
            Dtype::Bf16 => (rows * cols).div_ceil(2) as u64 * 4,
            Dtype::Quant(q) => (rows * q.row_words(cols)) as u64 * 4,
        }
    }
}

/// What goes wrong below the door.
#[derive(Debug, Error)]
pub enum OpError {
    #[error("{op}: {detail}")]
    Shape { op: &'static str, detail: String },
    #[error(
        "kernel {kernel} on {adapter}: the device ran out of memory ({detail}). Use a smaller batch, or --device cpu"
    )]
    OutOfMemory { kernel: String, adapter: String, detail: String },
    #[error(
        "kernel {kernel} on {adapter}: the device was lost ({detail}). Another program or the driver's watchdog may have reset it; run the command again, it goes on where it stopped"
    )]
    Lost { kernel: String, adapter: String, detail: String },
    #[error(
        "kernel {kernel} on {adapter}: {detail}. This is a bug in Probity or in the driver: please report it with the output of `probity devices`"
    )]
    Validation { kernel: String, adapter: String, detail: String },
    #[error(
        "{op} disagrees in {what}: element {index} is {got:e} on {left} and {want:e} on {right} (largest error {error:.2e} of the reference's largest magnitude, bound {bound:.0e}); it is call number {call} of this run"
    )]
    Disagree {
        op: &'static str,
        what: &'static str,
        index: usize,
        got: f32,
        want: f32,
        left: String,
        right: String,
        error: f32,
        bound: f32,
        call: usize,
    },
    #[error("{0}")]
    Unsupported(String),
}

pub type Result<T> = std::result::Result<T, OpError>;

/// Shape and storage of a tensor handle.
pub trait TensorMeta {
    fn rows(&self) -> usize;
    fn cols(&self) -> usize;
    fn dtype(&self) -> Dtype;
    /// Number of elements.
    fn len(&self) -> usize {
        self.rows() * self.cols()
    }
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Length of an index (u32) buffer.
pub trait IndexMeta {
    fn len(&self) -> usize;
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// One decoupled AdamW step (Loshchilov & Hutter 2019), as `torch.optim.AdamW` computes it:
/// `w *= 1 - lr*weight_decay; m = b1 m + (1-b1) g; v = b2 v + (1-b2) g²;
/// w -= lr * (m / bias_correction1) / (sqrt(v / bias_correction2) + eps)`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    pub lr: f32,
    pub beta1: f32,
    pub beta2: f32,
    pub eps: f32,
    pub weight_decay: f32,
    /// `1 - beta1^step`, computed by the caller in f64.
    pub bias_correction1: f32,
    /// `1 - beta2^step`.
    pub bias_correction2: f32,
    /// Gradients are multiplied by `min(1, max_norm / (norm + 1e-6))`, PyTorch's rule; `f32::INFINITY` = no clipping.
    pub max_norm: f32,
}

/// How the next token is chosen. `temperature` 0 = greedy (first largest logit).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sampling {
    pub temperature: f32,
    /// Keep the k largest logits (ties with the k-th kept); 0 = all.
    pub top_k: u32,
    /// Keep the smallest set of largest tokens whose probability reaches `top_p`; 1 = all.
    pub top_p: f32,
}

/// Per-row output of the LM head for target `y`, logits `z`, temperature `T`:
/// `lse = log Σ exp(z/T)`, `logp = z_y/T - lse`, `entropy = -Σ p log p`, each `[M, 1]`.
pub struct HeadOut<T> {
    pub logp: T,
    pub lse: T,
    pub entropy: T,
    /// Raw logits `[M, V]` (before `/T`), kept only when small enough; the backward recomputes them otherwise.
    pub logits: Option<T>,
}

/// Something a device does at best, as measured.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Ceiling {
    pub name: &'static str,
    pub value: f64,
    pub unit: &'static str,
}

/// Time of a device in one kernel.
#[derive(Clone, Debug, PartialEq)]
pub struct Spent {
    pub kernel: &'static str,
    pub calls: u64,
    pub seconds: f64,
}

/// Memory of a device, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeviceMemory {
    /// Largest binding and largest buffer: they decide how work is cut.
    pub max_binding: u64,
    pub max_buffer: u64,
    /// Most that tensors held at once since the device was opened, or since [`Ops::new_peak`].
    pub peak: u64,
}

/// Arithmetic of one device. Methods record work; errors that a device reports late surface at [`Ops::read`],
/// [`Ops::read_index`] or [`Ops::sync`] and name the kernel. Shape mistakes are reported at once.
pub trait Ops: Sync {
    type T: TensorMeta + Send + Sync;
    type I: IndexMeta + Send + Sync;

    /// Human name of the device, for manifests and errors.
    fn device_name(&self) -> String;

    /// What the device can say of its memory; `None` where it has none of its own.
    fn memory(&self) -> Option<DeviceMemory> {
        None
    }

    /// Starts a new peak of [`Ops::memory`] at what is held now.
    fn new_peak(&self) {}

    /// What the device does at best, measured now; empty where that has no meaning.
    fn ceilings(&self) -> Result<Vec<Ceiling>> {
        Ok(Vec::new())
    }

    /// Runs `work` and returns the device's own time by kernel, longest first; `None` where it cannot say.
    fn profile(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Option<Vec<Spent>>> {
        work().map(|()| None)
    }

    /// Independent strands of work that pay on this device when its operations are of about `flops` floating-point operations
    /// each: 1, except where small operations leave processors idle.
    fn strands(&self, _flops: usize) -> usize {
        1
    }
    /// Results of `work` on every item, in order; at once on a device with [`Ops::strands`].
    fn each_strand<X: Send, R: Send>(&self, items: Vec<X>, work: impl Fn(X) -> R + Send + Sync) -> Vec<R> {
        items.into_iter().map(work).collect()
    }

    /// Decoding steps that pay to be recorded before their tokens are read: 1, except where a device works while the host records.
    fn steps_ahead(&self) -> usize {
        1
    }

    // ---- memory ---------------------------------------------------------------------------------------------

    fn upload(&self, rows: usize, cols: usize, data: &[f32]) -> Result<Self::T>;
    /// bf16 bit patterns, kept packed.
    fn upload_bf16(&self, rows: usize, cols: usize, data: &[u16]) -> Result<Self::T>;
    /// A quantised matrix: to be read by [`Ops::matmul_nt`], [`Ops::matmul_nn`], [`Ops::embed`] and what is made of them, never changed.
    fn upload_quant(&self, w: &QuantMatrix) -> Result<Self::T>;
    fn upload_index(&self, data: &[u32]) -> Result<Self::I>;
    fn zeros(&self, rows: usize, cols: usize) -> Result<Self::T>;
    /// Zeros stored in bf16.
    fn zeros_bf16(&self, rows: usize, cols: usize) -> Result<Self::T>;
    /// Values in f32 (bf16 and codes expanded, f64 rounded).
    fn read(&self, x: &Self::T) -> Result<Vec<f32>>;
    fn read_index(&self, x: &Self::I) -> Result<Vec<u32>>;
    /// Ids and values of several steps, read together.
    #[allow(clippy::type_complexity)]
    fn read_steps(&self, steps: &[(Self::I, Self::T)]) -> Result<Vec<(Vec<u32>, Vec<f32>)>> {
        steps.iter().map(|(ids, x)| Ok((self.read_index(ids)?, self.read(x)?))).collect()
    }
    /// Overwrites a tensor; one in bf16 takes bf16 values only.
    fn write(&self, x: &mut Self::T, data: &[f32]) -> Result<()>;
    fn copy(&self, x: &Self::T) -> Result<Self::T>;
    fn fill(&self, x: &mut Self::T, value: f32) -> Result<()>;
    /// Waits for all recorded work.
    fn sync(&self) -> Result<()>;

    // ---- elementwise, rows ------------------------------------------------------------------------------------

    /// `a += b`, same shape.
    fn add(&self, a: &mut Self::T, b: &Self::T) -> Result<()>;
    /// `a *= s`.
    fn scale(&self, a: &mut Self::T, s: f32) -> Result<()>;
    /// `x[i, :] += s * v` for every row; `v` is `[1, cols]`.
    fn add_row(&self, x: &mut Self::T, v: &Self::T, s: f32) -> Result<()>;
    /// `x[i, :] -= (x[i, :]·d) d` for every row; `d` is `[1, cols]`, unit length by contract.
    fn ablate_row(&self, x: &mut Self::T, d: &Self::T) -> Result<()>;
    /// `y[i, :] = x[rows[i], :]`.
    fn gather_rows(&self, x: &Self::T, rows: &Self::I) -> Result<Self::T>;
    /// `dst[rows[i], :] = src[i, :]`; `rows` are distinct by contract.
    fn scatter_rows(&self, dst: &mut Self::T, src: &Self::T, rows: &Self::I) -> Result<()>;
    /// `dst[rows[i], :] += src[i, :]`; `rows` are distinct by contract. Backward of [`Ops::gather_rows`].
    fn scatter_add_rows(&self, dst: &mut Self::T, src: &Self::T, rows: &Self::I) -> Result<()>;

    // ---- matmul -------------------------------------------------------------------------------------------------

    /// `y[M,N] = x[M,K] w[N,K]^T (+ bias[1,N])`; `w` in any storage. Row `i` of `y` has the same bits whatever `M` is.
    fn matmul_nt(&self, x: &Self::T, w: &Self::T, bias: Option<&Self::T>) -> Result<Self::T>;
    /// `dx[M,K] = dy[M,N] w[N,K]`, added to `acc` when given.
    fn matmul_nn(&self, dy: &Self::T, w: &Self::T, acc: Option<Self::T>) -> Result<Self::T>;
    /// `dw[N,K] += dy[M,N]^T x[M,K]`.
    fn matmul_tn(&self, dw: &mut Self::T, dy: &Self::T, x: &Self::T) -> Result<()>;
    /// `db[1,N] += Σ_rows dy[M,N]`, rows in order.
    fn bias_bwd(&self, db: &mut Self::T, dy: &Self::T) -> Result<()>;

    // ---- blocks -------------------------------------------------------------------------------------------------

    /// `y[M,H] = w[ids[i], :]`; `w` is `[V,H]` in any storage.
    fn embed(&self, w: &Self::T, ids: &Self::I) -> Result<Self::T>;
    /// `dw[ids[i], :] += dy[i, :]`, occurrences of one id added in row order.
    fn embed_bwd(&self, dw: &mut Self::T, dy: &Self::T, plan: &ScatterPlan<Self::I>) -> Result<()>;

    /// `rstd = 1/sqrt(mean(x²) + eps)` `[M,1]`, `y = x * rstd * w`; `w` `[1,H]` f32. Returns `(y, rstd)`.
    fn rmsnorm(&self, x: &Self::T, w: &Self::T, eps: f32) -> Result<(Self::T, Self::T)>;
    /// `s = x + delta`, then RMSNorm of `s`. Returns `(s, y, rstd)`.
    fn add_rmsnorm(&self, x: &Self::T, delta: &Self::T, w: &Self::T, eps: f32) -> Result<(Self::T, Self::T, Self::T)>;
    /// `dx = rstd (dy w - x̂ mean(dy w x̂))` with `x̂ = x rstd`, plus `dres` when given; `dw += Σ_rows dy x̂`.
    fn rmsnorm_bwd(
        &self,
        dy: &Self::T,
        x: &Self::T,
        w: &Self::T,
        rstd: &Self::T,
        dw: Option<&mut Self::T>,
        dres: Option<Self::T>,
    ) -> Result<Self::T>;

    /// Rotary embedding in place, half-split pairs `(i, i + head_dim/2)` of every head. `table` is
    /// `[positions, head_dim]`: cosines then sines, made in f64 by [`plan::rope_table`]. `inverse` negates the sines: the backward pass.
    fn rope(&self, x: &mut Self::T, pos: &Self::I, table: &Self::T, head_dim: usize, inverse: bool) -> Result<()>;

    /// What a decoding step does between norm and attention: the projections of `x` by `(w, bias)` of queries, keys and values,
    /// [`Ops::rope`] on queries and keys, then `keys[slots[i], :] = k[i, :]` and `values[slots[i], :] = v[i, :]` in the caches. Returns
    /// the queries. The same bits as the seven operations.
    #[allow(clippy::too_many_arguments)]
    fn qkv_append(
        &self,
        x: &Self::T,
        parts: [(&Self::T, Option<&Self::T>); 3],
        pos: &Self::I,
        table: &Self::T,
        head_dim: usize,
        caches: (&mut Self::T, &mut Self::T),
        slots: &Self::I,
    ) -> Result<Self::T> {
        apart::qkv_append(self, x, parts, pos, table, head_dim, caches, slots)
    }

    /// `y = silu(x gate^T) * (x up^T)`: what a decoding step does in an MLP before its last projection. The same bits as the three operations.
    fn gated(&self, x: &Self::T, gate: &Self::T, up: &Self::T) -> Result<Self::T> {
        apart::gated(self, x, gate, up)
    }

    /// `y = silu(g) * u`, `silu(g) = g / (1 + exp(-g))`.
    fn swiglu(&self, g: &Self::T, u: &Self::T) -> Result<Self::T>;
    /// Returns `(dg, du)`.
    fn swiglu_bwd(&self, dy: &Self::T, g: &Self::T, u: &Self::T) -> Result<(Self::T, Self::T)>;

    /// Softmax attention with grouped heads: query head `h` reads key/value head `h / (heads/kv_heads)`; query row `i`
    /// sees the keys its [`Span`] gives it. `q` `[M, heads*d]`, `k`, `v` `[R, kv_heads*d]` (a cache or the batch itself).
    /// Returns `(out [M, heads*d], lse [M, heads])`.
    fn attention(
        &self,
        q: &Self::T,
        k: &Self::T,
        v: &Self::T,
        plan: &AttnPlan<Self::I>,
        shape: &AttnShape,
    ) -> Result<(Self::T, Self::T)>;
    /// Returns `(dq, dk, dv)`; every key row must belong to one span ([`AttnPlan::key_rows`]).
    #[allow(clippy::too_many_arguments)]
    fn attention_bwd(
        &self,
        dout: &Self::T,
        q: &Self::T,
        k: &Self::T,
        v: &Self::T,
        out: &Self::T,
        lse: &Self::T,
        plan: &AttnPlan<Self::I>,
        shape: &AttnShape,
    ) -> Result<(Self::T, Self::T, Self::T)>;

    // ---- head, loss, optimizer ------------------------------------------------------------------------------------

    /// LM head and log-softmax for given targets, in chunks of rows: `[M, V]` never exists for a large vocabulary.
    fn head_logp(&self, h: &Self::T, w: &Self::T, targets: &Self::I, temperature: f32) -> Result<HeadOut<Self::T>>;
    /// Given `dlogp[M,1]`: `dz = dlogp/T (1[v=y] - p)`, `dh = dz w`, `dw += dz^T h`.
    #[allow(clippy::too_many_arguments)]
    fn head_logp_bwd(
        &self,
        dlogp: &Self::T,
        h: &Self::T,
        w: &Self::T,
        targets: &Self::I,
        temperature: f32,
        out: &HeadOut<Self::T>,
        dw: Option<&mut Self::T>,
    ) -> Result<Self::T>;

    /// Chooses one token per row of `logits [M,V]`. `keys` holds four words per row: the Philox4x32-10 counter
    /// `(sequence, position, seed_lo, seed_hi)` (key = the two seed words, counter = sequence, position, 0, 0), so a draw depends on nothing else in the batch.
    /// Returns the ids and `[M,1]` log-probabilities of logits / T over the full vocabulary (T = 1 when greedy).
    fn sample(&self, logits: &Self::T, s: &Sampling, keys: &Self::I) -> Result<(Self::I, Self::T)>;
    /// Repetition penalty (Keskar et al. 2019, as transformers): for ids `seen[offsets[i]..offsets[i+1]]` (distinct) of row `i`,
    /// `z > 0 ? z/penalty : z*penalty`.
    fn repetition_penalty(&self, logits: &mut Self::T, seen: &Self::I, offsets: &Self::I, penalty: f32) -> Result<()>;

    /// `[1,2]`: the L2 norm of the finite elements of all tensors, and the number of elements that are NaN or infinite (found by their bits).
    fn global_norm(&self, grads: &[&Self::T]) -> Result<Self::T>;
    /// One step on one tensor; `norm` from [`Ops::global_norm`]. Returns `[1,1]`: the L2 norm of the change of `w`.
    fn adamw(
        &self,
        w: &mut Self::T,
        g: &Self::T,
        m: &mut Self::T,
        v: &mut Self::T,
        hyper: &AdamW,
        norm: &Self::T,
    ) -> Result<Self::T>;

    /// As [`Ops::adamw`] on weights and moments stored in bf16, the number of elements a multiple of four: everything is computed in f32
    /// and each new value rounded to one of its two bf16 neighbours, at random so that the expectation is exact. The random bits are a
    /// function of `key` and the element's number: `r = mix(mix(i + key[0]) ^ key[1])`, its low half for `w`, its high half for `m`, the
    /// low half of `mix(r + 0x9e3779b9)` for `v` ([`plan::mix`]). Row `row` of `report` `[n,2]` becomes the L2 norm of the change of `w` and the number
    /// of elements that changed.
    #[allow(clippy::too_many_arguments)]
    fn adamw_bf16(
        &self,
        w: &mut Self::T,
        g: &Self::T,
        m: &mut Self::T,
        v: &mut Self::T,
        hyper: &AdamW,
        norm: &Self::T,
        key: [u32; 2],
        report: &mut Self::T,
        row: usize,
    ) -> Result<()>;

    // ---- plans (host work shared by every backend) --------------------------------------------------------------------

    fn attn_plan(&self, spans: Vec<Span>) -> Result<AttnPlan<Self::I>> {
        AttnPlan::new(spans, |d| self.upload_index(d))
    }
    fn scatter_plan(&self, ids: &[u32]) -> Result<ScatterPlan<Self::I>> {
        ScatterPlan::new(ids, |d| self.upload_index(d))
    }
    /// See [`plan::rope_table`]; a number is `theta` without scaling.
    fn rope_table(&self, positions: usize, head_dim: usize, rope: impl Into<Rope>) -> Result<Self::T> {
        self.upload(positions, head_dim, &plan::rope_table(positions, head_dim, rope.into()))
    }
}
