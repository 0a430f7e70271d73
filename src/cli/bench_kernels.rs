//! `probity bench --what kernels`: every operation alone, at the sizes it has in a model.

use std::error::Error;

use super::bench::{Row, Sheet, time};
use crate::model::config::ModelConfig;
use crate::ops::selftest::{random, weights};
use crate::ops::{AdamW, AttnShape, Dtype, HeadOut, Ops, Quant, Result, Sampling, Span};

/// Sizes of the operands.
pub(super) struct Sizes {
    /// Token rows of a training batch: sequences of equal length.
    sequences: usize,
    length: usize,
    /// Rows of the head and of sampling.
    head_rows: usize,
    hidden: usize,
    ffn: usize,
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    vocab: usize,
}

impl Sizes {
    /// 4 sequences of 128 tokens through the given model; 32 rows at the head.
    pub fn of(c: &ModelConfig) -> Self {
        Self {
            sequences: 4,
            length: 128,
            head_rows: 32,
            hidden: c.hidden_size,
            ffn: c.intermediate_size,
            heads: c.num_attention_heads,
            kv_heads: c.num_key_value_heads,
            head_dim: c.head_dim,
            vocab: c.vocab_size,
        }
    }

    fn rows(&self) -> usize {
        self.sequences * self.length
    }

    fn attention(&self) -> AttnShape {
        let Self { heads, kv_heads, head_dim, .. } = *self;
        AttnShape { heads, kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
    }
}

/// An operation with its operands in place; it can run any number of times.
struct Work<'o> {
    shape: String,
    /// Floating-point operations by the formula, 0 where data only moves.
    flop: usize,
    /// Bytes of all operands read and written once.
    bytes: usize,
    run: Box<dyn FnMut() -> Result<()> + 'o>,
}

struct Case<O> {
    op: &'static str,
    /// Appended to the name: which storage or use.
    what: &'static str,
    make: for<'o> fn(&'o O, &Sizes) -> Result<Work<'o>>,
}

macro_rules! cases {
    ($($op:literal $what:literal => $make:ident;)*) => {
        /// Methods of `Ops` that have a row, in order, some twice.
        #[cfg(test)]
        const OPS: &[&str] = &[$($op),*];
        fn cases<O: Ops>() -> Vec<Case<O>> {
            vec![$(Case { op: $op, what: $what, make: $make::<O> }),*]
        }
    };
}

cases! {
    "copy" "" => copy;
    "fill" "" => fill;
    "add" "" => add;
    "scale" "" => scale;
    "add_row" "" => add_row;
    "ablate_row" "" => ablate_row;
    "gather_rows" "" => gather_rows;
    "scatter_rows" "" => scatter_rows;
    "scatter_add_rows" "" => scatter_add_rows;
    "matmul_nt" "" => matmul_nt;
    "matmul_nt" " bf16" => matmul_nt_bf16;
    "matmul_nt" " int8" => matmul_nt_int8;
    "matmul_nt" " int4" => matmul_nt_int4;
    "matmul_nt" " nf4" => matmul_nt_nf4;
    "matmul_nt" " one row" => matmul_nt_row;
    "matmul_nt" " one row bf16" => matmul_nt_row_bf16;
    "matmul_nt" " one row int8" => matmul_nt_row_int8;
    "matmul_nt" " one row int4" => matmul_nt_row_int4;
    "matmul_nt" " one row nf4" => matmul_nt_row_nf4;
    "matmul_nn" "" => matmul_nn;
    "matmul_tn" "" => matmul_tn;
    "bias_bwd" "" => bias_bwd;
    "embed" "" => embed;
    "embed_bwd" "" => embed_bwd;
    "rmsnorm" "" => rmsnorm;
    "add_rmsnorm" "" => add_rmsnorm;
    "rmsnorm_bwd" "" => rmsnorm_bwd;
    "rope" "" => rope;
    "qkv_append" "" => qkv_append;
    "gated" "" => gated;
    "swiglu" "" => swiglu;
    "swiglu_bwd" "" => swiglu_bwd;
    "attention" "" => attention;
    "attention" " decoding" => attention_decoding;
    "attention_bwd" "" => attention_bwd;
    "head_logp" "" => head_logp;
    "head_logp_bwd" "" => head_logp_bwd;
    "sample" "" => sample;
    "repetition_penalty" "" => repetition_penalty;
    "global_norm" "" => global_norm;
    "adamw" "" => adamw;
    "adamw_bf16" "" => adamw_bf16;
}

/// A row per operation; `name` is the model's.
pub(super) fn rows<O: Ops>(
    o: &O,
    name: &str,
    s: &Sizes,
    repeat: usize,
    sheet: &mut Sheet,
) -> std::result::Result<(), Box<dyn Error>> {
    /// Shorter than this, the wait for the device would be most of the time.
    const LEAST: f64 = 2e-3;
    for case in cases::<O>() {
        let mut work = (case.make)(o, s)?;
        let mut calls = 1;
        let mut many = |calls: usize, repeat: usize| {
            time(repeat, || {
                for _ in 0..calls {
                    (work.run)()?;
                }
                Ok(o.sync()?)
            })
        };
        let once = many(1, 1)?[0];
        if once < LEAST {
            calls = ((LEAST / once.max(1e-6)).ceil() as usize).min(256);
        }
        let seconds = many(calls, repeat)?.map(|t| t / calls as f64);
        let giga = |n: usize| n as f64 / seconds[0] / 1e9;
        let (rate, unit) = if work.flop > 0 { (giga(work.flop), "GFLOP/s") } else { (giga(work.bytes), "GB/s") };
        sheet.put(Row {
            device: String::new(),
            what: format!("{}{}", case.op, case.what),
            shape: format!("{name} {}", work.shape),
            seconds,
            rate,
            unit,
            gb_per_s: Some(giga(work.bytes)),
            of_ceiling: None,
            peak_bytes: None,
        });
    }
    Ok(())
}

fn given<O: Ops>(o: &O, seed: u64, rows: usize, cols: usize) -> Result<O::T> {
    o.upload(rows, cols, &random(seed, rows * cols))
}

/// `n` numbers below `bound`, scattered; distinct when `bound` is at least `n` and no multiple of 7919.
fn scattered(n: usize, bound: usize) -> Vec<u32> {
    (0..n).map(|i| (i * 7919 % bound.max(1)) as u32).collect()
}

fn work<'o>(sizes: &[usize], flop: usize, floats: usize, run: impl FnMut() -> Result<()> + 'o) -> Result<Work<'o>> {
    let shape = sizes.iter().map(usize::to_string).collect::<Vec<_>>().join("x");
    Ok(Work { shape, flop, bytes: 4 * floats, run: Box::new(run) })
}

fn copy<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.hidden);
    let x = given(o, 1, m, n)?;
    work(&[m, n], 0, 2 * m * n, move || o.copy(&x).map(drop))
}

fn fill<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.hidden);
    let mut x = o.zeros(m, n)?;
    work(&[m, n], 0, m * n, move || o.fill(&mut x, 1.5))
}

fn add<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.hidden);
    let (mut a, b) = (given(o, 1, m, n)?, given(o, 2, m, n)?);
    work(&[m, n], m * n, 3 * m * n, move || o.add(&mut a, &b))
}

fn scale<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.hidden);
    let mut a = given(o, 1, m, n)?;
    // By one: values that vanish or overflow would take another time.
    work(&[m, n], m * n, 2 * m * n, move || o.scale(&mut a, 1.0))
}

fn add_row<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.hidden);
    let (mut x, v) = (given(o, 1, m, n)?, given(o, 2, 1, n)?);
    work(&[m, n], 2 * m * n, 2 * m * n + n, move || o.add_row(&mut x, &v, 0.01))
}

fn ablate_row<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.hidden);
    let mut x = given(o, 1, m, n)?;
    let d = o.upload(1, n, &vec![1.0 / (n as f32).sqrt(); n])?;
    work(&[m, n], 4 * m * n, 2 * m * n + n, move || o.ablate_row(&mut x, &d))
}

fn gather_rows<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.hidden);
    let (x, rows) = (given(o, 1, m, n)?, o.upload_index(&scattered(m, m))?);
    work(&[m, n], 0, 2 * m * n + m, move || o.gather_rows(&x, &rows).map(drop))
}

fn scatter_rows<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.hidden);
    let (mut dst, src, rows) = (o.zeros(m, n)?, given(o, 1, m, n)?, o.upload_index(&scattered(m, m))?);
    work(&[m, n], 0, 2 * m * n + m, move || o.scatter_rows(&mut dst, &src, &rows))
}

fn scatter_add_rows<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.hidden);
    let (mut dst, src, rows) = (o.zeros(m, n)?, given(o, 1, m, n)?, o.upload_index(&scattered(m, m))?);
    work(&[m, n], m * n, 3 * m * n + m, move || o.scatter_add_rows(&mut dst, &src, &rows))
}

/// `[m, ffn]` from `[m, hidden]`, the MLP's first product.
fn nt<'o, O: Ops>(o: &'o O, s: &Sizes, m: usize, dtype: Dtype) -> Result<Work<'o>> {
    let (n, k) = (s.ffn, s.hidden);
    let (x, w) = (given(o, 1, m, k)?, weights(o, 2, n, k, dtype)?);
    let w_floats = dtype.bytes(n, k) as usize / 4;
    work(&[m, n, k], 2 * m * n * k, m * k + w_floats + m * n, move || o.matmul_nt(&x, &w, None).map(drop))
}

/// Rows of the bench: name, one row of `x` or all, storage of the weights.
macro_rules! nt_rows {
    ($($name:ident: $one:literal, $dtype:expr;)*) => {
        $(fn $name<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
            nt(o, s, if $one { 1 } else { s.rows() }, $dtype)
        })*
    };
}

nt_rows! {
    matmul_nt: false, Dtype::F32;
    matmul_nt_bf16: false, Dtype::Bf16;
    matmul_nt_int8: false, Dtype::Quant(Quant::Int8);
    matmul_nt_int4: false, Dtype::Quant(Quant::Int4);
    matmul_nt_nf4: false, Dtype::Quant(Quant::Nf4);
    matmul_nt_row: true, Dtype::F32;
    matmul_nt_row_bf16: true, Dtype::Bf16;
    matmul_nt_row_int8: true, Dtype::Quant(Quant::Int8);
    matmul_nt_row_int4: true, Dtype::Quant(Quant::Int4);
    matmul_nt_row_nf4: true, Dtype::Quant(Quant::Nf4);
}

fn matmul_nn<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n, k) = (s.rows(), s.ffn, s.hidden);
    let (dy, w) = (given(o, 1, m, n)?, given(o, 2, n, k)?);
    work(&[m, n, k], 2 * m * n * k, m * n + n * k + m * k, move || o.matmul_nn(&dy, &w, None).map(drop))
}

fn matmul_tn<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n, k) = (s.rows(), s.ffn, s.hidden);
    let (mut dw, dy, x) = (o.zeros(n, k)?, given(o, 1, m, n)?, given(o, 2, m, k)?);
    work(&[m, n, k], 2 * m * n * k, m * n + m * k + 2 * n * k, move || o.matmul_tn(&mut dw, &dy, &x))
}

fn bias_bwd<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.hidden);
    let (mut db, dy) = (o.zeros(1, n)?, given(o, 1, m, n)?);
    work(&[m, n], m * n, m * n + 2 * n, move || o.bias_bwd(&mut db, &dy))
}

fn embed<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, h, vocab) = (s.rows(), s.hidden, s.vocab);
    let (w, ids) = (given(o, 1, vocab, h)?, o.upload_index(&scattered(m, vocab))?);
    work(&[m, h, vocab], 0, 2 * m * h + m, move || o.embed(&w, &ids).map(drop))
}

fn embed_bwd<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, h, vocab) = (s.rows(), s.hidden, s.vocab);
    let (mut dw, dy, plan) = (o.zeros(vocab, h)?, given(o, 1, m, h)?, o.scatter_plan(&scattered(m, vocab))?);
    work(&[m, h, vocab], m * h, 3 * m * h + m, move || o.embed_bwd(&mut dw, &dy, &plan))
}

fn rmsnorm<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, h) = (s.rows(), s.hidden);
    let (x, w) = (given(o, 1, m, h)?, given(o, 2, 1, h)?);
    work(&[m, h], 4 * m * h, 2 * m * h + h + m, move || o.rmsnorm(&x, &w, 1e-6).map(drop))
}

fn add_rmsnorm<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, h) = (s.rows(), s.hidden);
    let (x, delta, w) = (given(o, 1, m, h)?, given(o, 2, m, h)?, given(o, 3, 1, h)?);
    work(&[m, h], 5 * m * h, 4 * m * h + h + m, move || o.add_rmsnorm(&x, &delta, &w, 1e-6).map(drop))
}

fn rmsnorm_bwd<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, h) = (s.rows(), s.hidden);
    let (dy, x, w) = (given(o, 1, m, h)?, given(o, 2, m, h)?, given(o, 3, 1, h)?);
    let (_, rstd) = o.rmsnorm(&x, &w, 1e-6)?;
    let mut dw = o.zeros(1, h)?;
    work(&[m, h], 10 * m * h, 3 * m * h + 3 * h + m, move || {
        o.rmsnorm_bwd(&dy, &x, &w, &rstd, Some(&mut dw), None).map(drop)
    })
}

fn rope<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n, d) = (s.rows(), s.heads * s.head_dim, s.head_dim);
    let pos: Vec<u32> = (0..m).map(|i| (i % s.length) as u32).collect();
    let (mut x, pos, table) = (given(o, 1, m, n)?, o.upload_index(&pos)?, o.rope_table(s.length, d, 1e6)?);
    work(&[m, s.heads, d], 3 * m * n, 2 * m * n + s.length * d + m, move || o.rope(&mut x, &pos, &table, d, false))
}

/// One more token for each of 32 sequences.
fn qkv_append<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, d, k) = (s.head_rows, s.head_dim, s.hidden);
    let (wide, narrow) = (s.heads * d, s.kv_heads * d);
    let (x, w) = (given(o, 1, m, k)?, [wide, narrow, narrow].map(|n| (given(o, 2, n, k), given(o, 3, 1, n))));
    let [q, kw, v] = w.map(|(w, b)| Ok::<_, crate::ops::OpError>((w?, b?)));
    let (q, kw, v) = (q?, kw?, v?);
    let (mut keys, mut values) = (o.zeros(m * s.length, narrow)?, o.zeros(m * s.length, narrow)?);
    let at: Vec<u32> = (0..m as u32).collect();
    let slots: Vec<u32> = at.iter().map(|i| i * s.length as u32).collect();
    let (pos, slots, table) = (o.upload_index(&at)?, o.upload_index(&slots)?, o.rope_table(m, d, 1e6)?);
    let n = wide + 2 * narrow;
    work(&[m, s.heads, d], 2 * m * n * k, n * k + m * (k + 2 * n), move || {
        let parts = [(&q.0, Some(&q.1)), (&kw.0, Some(&kw.1)), (&v.0, Some(&v.1))];
        o.qkv_append(&x, parts, &pos, &table, d, (&mut keys, &mut values), &slots).map(drop)
    })
}

fn gated<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n, k) = (s.head_rows, s.ffn, s.hidden);
    let (x, gate, up) = (given(o, 1, m, k)?, given(o, 2, n, k)?, given(o, 3, n, k)?);
    work(&[m, n, k], 4 * m * n * k, 2 * n * k + m * (k + n), move || o.gated(&x, &gate, &up).map(drop))
}

fn swiglu<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.ffn);
    let (g, u) = (given(o, 1, m, n)?, given(o, 2, m, n)?);
    work(&[m, n], 5 * m * n, 3 * m * n, move || o.swiglu(&g, &u).map(drop))
}

fn swiglu_bwd<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.rows(), s.ffn);
    let (dy, g, u) = (given(o, 1, m, n)?, given(o, 2, m, n)?, given(o, 3, m, n)?);
    work(&[m, n], 10 * m * n, 5 * m * n, move || o.swiglu_bwd(&dy, &g, &u).map(drop))
}

/// Query-key pairs of a head in a batch of causal sequences.
fn pairs(s: &Sizes) -> usize {
    s.sequences * s.length * (s.length + 1) / 2
}

fn attention<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, shape) = (s.rows(), s.attention());
    let (wide, narrow) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    let (q, k, v) = (given(o, 1, m, wide)?, given(o, 2, m, narrow)?, given(o, 3, m, narrow)?);
    let plan = o.attn_plan(Span::packed(&vec![s.length; s.sequences]))?;
    let floats = 2 * m * (wide + narrow) + m * s.heads;
    work(&[s.sequences, s.length, s.heads, s.head_dim], 4 * pairs(s) * wide, floats, move || {
        o.attention(&q, &k, &v, &plan, &shape).map(drop)
    })
}

/// One more token for each of 32 sequences.
fn attention_decoding<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (batch, shape) = (s.head_rows, s.attention());
    let (wide, narrow) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    let keys = batch * s.length;
    let (q, k, v) = (given(o, 1, batch, wide)?, given(o, 2, keys, narrow)?, given(o, 3, keys, narrow)?);
    let spans = (0..batch).map(|i| Span { q0: i, n: 1, k0: i * s.length, past: s.length - 1 }).collect();
    let plan = o.attn_plan(spans)?;
    let floats = 2 * batch * wide + 2 * keys * narrow + batch * s.heads;
    work(&[batch, s.length, s.heads, s.head_dim], 4 * keys * wide, floats, move || {
        o.attention(&q, &k, &v, &plan, &shape).map(drop)
    })
}

fn attention_bwd<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, shape) = (s.rows(), s.attention());
    let (wide, narrow) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    let (q, k, v) = (given(o, 1, m, wide)?, given(o, 2, m, narrow)?, given(o, 3, m, narrow)?);
    let plan = o.attn_plan(Span::packed(&vec![s.length; s.sequences]))?;
    let (out, lse) = o.attention(&q, &k, &v, &plan, &shape)?;
    let dout = given(o, 4, m, wide)?;
    let floats = 4 * m * (wide + narrow) + m * s.heads;
    work(&[s.sequences, s.length, s.heads, s.head_dim], 10 * pairs(s) * wide, floats, move || {
        o.attention_bwd(&dout, &q, &k, &v, &out, &lse, &plan, &shape).map(drop)
    })
}

fn head_logp<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, vocab, h) = (s.head_rows, s.vocab, s.hidden);
    let (x, w, y) = (given(o, 1, m, h)?, given(o, 2, vocab, h)?, o.upload_index(&scattered(m, vocab))?);
    work(&[m, vocab, h], 2 * m * vocab * h, m * h + vocab * h + 4 * m, move || o.head_logp(&x, &w, &y, 1.0).map(drop))
}

/// With the logits computed again, as for a large vocabulary.
fn head_logp_bwd<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, vocab, h) = (s.head_rows, s.vocab, s.hidden);
    let (x, w, y) = (given(o, 1, m, h)?, given(o, 2, vocab, h)?, o.upload_index(&scattered(m, vocab))?);
    let (dlogp, mut dw) = (given(o, 3, m, 1)?, o.zeros(vocab, h)?);
    let out = HeadOut { logits: None, ..o.head_logp(&x, &w, &y, 1.0)? };
    work(&[m, vocab, h], 6 * m * vocab * h, 2 * m * h + 3 * vocab * h + 3 * m, move || {
        o.head_logp_bwd(&dlogp, &x, &w, &y, 1.0, &out, Some(&mut dw)).map(drop)
    })
}

fn sample<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, vocab) = (s.head_rows, s.vocab);
    let keys: Vec<u32> = (0..m as u32).flat_map(|i| [i, 0, 42, 0]).collect();
    let (z, keys) = (given(o, 1, m, vocab)?, o.upload_index(&keys)?);
    let how = Sampling { temperature: 1.0, top_k: 0, top_p: 0.9 };
    work(&[m, vocab], 0, m * vocab + 6 * m, move || o.sample(&z, &how, &keys).map(drop))
}

fn repetition_penalty<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, vocab) = (s.head_rows, s.vocab);
    let each = s.length.min(vocab);
    let seen: Vec<u32> = (0..m).flat_map(|_| scattered(each, vocab)).collect();
    let offsets: Vec<u32> = (0..=m).map(|i| (i * each) as u32).collect();
    let (mut z, seen, offsets) = (given(o, 1, m, vocab)?, o.upload_index(&seen)?, o.upload_index(&offsets)?);
    // Penalty one: values that vanish would take another time.
    work(&[m, each], m * each, 3 * m * each + m, move || o.repetition_penalty(&mut z, &seen, &offsets, 1.0))
}

fn global_norm<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (m, n) = (s.ffn, s.hidden);
    let g = given(o, 1, m, n)?;
    work(&[m, n], 2 * m * n, m * n, move || o.global_norm(&[&g]).map(drop))
}

fn adamw<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (rows, cols) = (s.ffn, s.hidden);
    let hyper = AdamW {
        lr: 1e-4,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
        bias_correction1: 0.1,
        bias_correction2: 0.001,
        max_norm: 1.0,
    };
    let (mut w, g) = (given(o, 1, rows, cols)?, given(o, 2, rows, cols)?);
    let (mut m, mut v) = (o.zeros(rows, cols)?, o.zeros(rows, cols)?);
    let norm = o.global_norm(&[&g])?;
    let n = rows * cols;
    work(&[rows, cols], 16 * n, 7 * n, move || o.adamw(&mut w, &g, &mut m, &mut v, &hyper, &norm).map(drop))
}

fn adamw_bf16<'o, O: Ops>(o: &'o O, s: &Sizes) -> Result<Work<'o>> {
    let (rows, cols) = (s.ffn, s.hidden);
    let hyper = AdamW {
        lr: 1e-4,
        beta1: 0.9,
        beta2: 0.999,
        eps: 1e-8,
        weight_decay: 0.01,
        bias_correction1: 0.1,
        bias_correction2: 0.001,
        max_norm: 1.0,
    };
    let (mut w, g) = (o.zeros_bf16(rows, cols)?, given(o, 2, rows, cols)?);
    let (mut m, mut v) = (o.zeros_bf16(rows, cols)?, o.zeros_bf16(rows, cols)?);
    let norm = o.global_norm(&[&g])?;
    let mut report = o.zeros(1, 2)?;
    let n = rows * cols;
    work(&[rows, cols], 32 * n, 4 * n, move || {
        o.adamw_bf16(&mut w, &g, &mut m, &mut v, &hyper, &norm, [1, 2], &mut report, 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cpu;
    use crate::kernels::registry;
    use crate::ops::selftest;
    use std::collections::BTreeSet;

    /// A kernel of the registry without a row in the self-test or in the bench is a gap.
    #[test]
    fn tables_agree_with_the_registry() {
        let tested: BTreeSet<&str> = selftest::ops().iter().copied().collect();
        let timed: BTreeSet<&str> = OPS.iter().copied().collect();
        assert_eq!(tested, timed, "the self-test (left) and the bench (right)");
        for k in registry::all() {
            assert!(
                tested.contains(k.twin),
                "kernel {}: no case for {} in the self-test and the bench",
                k.name,
                k.twin
            );
        }
    }

    #[test]
    fn every_case_runs() {
        let sizes = Sizes {
            sequences: 2,
            length: 5,
            head_rows: 3,
            hidden: 12,
            ffn: 20,
            heads: 2,
            kv_heads: 1,
            head_dim: 4,
            vocab: 33,
        };
        let mut sheet = Sheet::quiet("test");
        rows(&Cpu::<f32>::new(), "small", &sizes, 1, &mut sheet).unwrap();
        assert_eq!(sheet.rows().len(), OPS.len());
        for r in sheet.rows() {
            assert!(r.rate.is_finite() && r.rate > 0.0 && r.seconds[0] > 0.0, "{}", r.what);
        }
    }
}
