//! The table: one function per method of `Ops`. What the numbers of a shape are is said by the first line of each.

use std::collections::BTreeSet;

use super::{Case, Outputs, Result, random, weights};
use crate::ops::{AdamW, AttnShape, Dtype, HeadOut, Ops, Sampling, Span};

/// `cases! { op: [[sizes], ...], bound; ... }`: the names, and the table for a backend; `op` is also the function.
macro_rules! cases {
    ($($op:ident: [$($shape:expr),+], $bound:expr;)*) => {
        pub(super) const OPS: &[&str] = &[$(stringify!($op)),*];
        pub(super) fn all<O: Ops>() -> Vec<Case<O>> {
            vec![$(Case { op: stringify!($op), shapes: &[$(&$shape),+], bound: $bound, run: $op::<O> }),*]
        }
    };
}

// One row, few rows, tails of every tile, sizes that are no multiple of 4 wherever the operation allows them. The bounds
// leave room for what WGSL allows `exp`, `log` and division to be off by.
cases! {
    copy: [[1, 1], [3, 7], [64, 33], [5, 1031]], 0.0;
    fill: [[1, 1], [3, 7], [64, 33], [5, 1031]], 0.0;
    add: [[1, 1], [3, 7], [64, 33], [5, 1031]], 1e-7;
    scale: [[1, 1], [3, 7], [64, 33], [5, 1031]], 1e-7;
    add_row: [[1, 1], [3, 7], [65, 33], [17, 896]], 1e-6;
    ablate_row: [[1, 1], [3, 7], [65, 33], [17, 896]], 3e-6;
    gather_rows: [[5, 7, 3], [33, 8, 129], [70, 130, 258]], 0.0;
    scatter_rows: [[2, 7, 3], [33, 8, 129], [70, 130, 258]], 0.0;
    scatter_add_rows: [[2, 7, 3], [33, 8, 129], [70, 130, 258]], 1e-7;
    matmul_nt: [[1, 4, 4], [5, 7, 12], [33, 97, 128], [70, 130, 100], [3, 1030, 896]], 1e-5;
    matmul_nn: [[1, 4, 4], [5, 7, 12], [33, 97, 128], [70, 132, 100], [5, 8195, 12]], 1e-5;
    matmul_tn: [[1, 4, 4], [5, 7, 12], [33, 97, 128], [70, 132, 100]], 1e-5;
    bias_bwd: [[1, 1], [3, 7], [65, 33], [517, 257]], 3e-6;
    embed: [[9, 5, 3], [17, 7, 8], [33, 129, 36], [65, 1000, 132]], 0.0;
    embed_bwd: [[9, 5, 3], [17, 7, 8], [33, 129, 36], [65, 1000, 130]], 1e-6;
    rmsnorm: [[1, 1], [7, 8], [31, 33], [65, 896], [3, 4097]], 1e-5;
    add_rmsnorm: [[1, 1], [7, 8], [31, 33], [65, 896], [3, 4097]], 1e-5;
    rmsnorm_bwd: [[2, 3], [7, 8], [31, 33], [65, 896], [3, 4097]], 1e-5;
    rope: [[1, 1, 2], [7, 3, 6], [33, 2, 8], [65, 14, 64]], 3e-6;
    qkv_append: [[1, 1, 1, 4], [7, 3, 1, 6], [33, 4, 2, 8], [65, 14, 2, 64]], 1e-5;
    gated: [[1, 1, 4], [7, 33, 12], [33, 97, 128], [70, 130, 100], [3, 1030, 896]], 2e-5;
    swiglu: [[1, 1], [3, 5], [33, 17], [65, 1001]], 1e-5;
    swiglu_bwd: [[1, 1], [3, 5], [33, 17], [65, 1001]], 1e-5;
    attention: [[1, 1, 4, 1], [4, 2, 8, 1, 7, 33, 2, 129], [14, 2, 64, 3, 65, 31], [3, 1, 36, 17, 8]], 5e-5;
    attention_bwd: [[1, 1, 4, 3], [4, 2, 8, 1, 7, 33, 2, 129], [14, 2, 64, 3, 65, 31], [3, 1, 36, 17, 8]], 5e-5;
    head_logp: [[7, 33, 8], [33, 258, 16], [5, 4100, 8], [3, 16_387, 36]], 5e-5;
    head_logp_bwd: [[7, 33, 8], [33, 258, 16], [5, 4100, 8], [3, 16_387, 36]], 5e-5;
    sample: [[1, 1], [65, 7], [33, 258], [17, 4099]], 1e-5;
    repetition_penalty: [[1, 3], [5, 33], [33, 258]], 1e-6;
    global_norm: [[1, 1], [3, 7], [17, 128], [257, 1031]], 3e-6;
    adamw: [[1, 1], [3, 7], [17, 128], [257, 1031]], 1e-5;
    adamw_bf16: [[1, 4], [3, 12], [17, 128], [516, 1031]], 8e-3;
}

/// Storages of weights besides f32, in the order of the names of their outputs.
const PACKED: [Dtype; 4] = {
    let [_, packed @ ..] = Dtype::WEIGHTS;
    packed
};

/// The first `N` sizes.
fn dims<const N: usize>(shape: &[usize]) -> [usize; N] {
    std::array::from_fn(|i| shape.get(i).copied().unwrap_or(1))
}

fn given<O: Ops>(o: &O, seed: u64, rows: usize, cols: usize) -> Result<O::T> {
    o.upload(rows, cols, &random(seed, rows * cols))
}

/// `m` distinct numbers below `n`, out of order; `n` no multiple of the prime 7919.
fn distinct(m: usize, n: usize) -> Vec<u32> {
    (0..m.min(n)).map(|i| ((i * 7919 + 5) % n) as u32).collect()
}

/// `m` numbers below `n`, with repetitions.
fn ids(m: usize, n: usize) -> Vec<u32> {
    (0..m).map(|i| ((i * i * 31 + i) % n) as u32).collect()
}

fn copy<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n] = dims(shape);
    let (x, half) = (given(o, 1, m, n)?, weights(o, 2, m, n, Dtype::Bf16)?);
    Ok(vec![("y", o.read(&o.copy(&x)?)?), ("y bf16", o.read(&o.copy(&half)?)?)])
}

fn fill<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n] = dims(shape);
    let mut x = given(o, 1, m, n)?;
    o.fill(&mut x, -2.5)?;
    Ok(vec![("x", o.read(&x)?), ("zeros", o.read(&o.zeros(m, n)?)?)])
}

fn add<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n] = dims(shape);
    let mut a = given(o, 1, m, n)?;
    o.add(&mut a, &given(o, 2, m, n)?)?;
    Ok(vec![("a", o.read(&a)?)])
}

fn scale<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n] = dims(shape);
    let mut a = given(o, 1, m, n)?;
    o.scale(&mut a, 0.3)?;
    Ok(vec![("a", o.read(&a)?)])
}

fn add_row<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n] = dims(shape);
    let mut x = given(o, 1, m, n)?;
    o.add_row(&mut x, &given(o, 2, 1, n)?, -1.75)?;
    Ok(vec![("x", o.read(&x)?)])
}

fn ablate_row<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n] = dims(shape);
    let mut d = random(2, n);
    let norm = d.iter().map(|v| v * v).sum::<f32>().sqrt();
    d.iter_mut().for_each(|v| *v /= norm);
    // A single column would go entirely and leave nothing to compare with.
    if n == 1 {
        d.fill(0.5);
    }
    let mut x = given(o, 1, m, n)?;
    o.ablate_row(&mut x, &o.upload(1, n, &d)?)?;
    Ok(vec![("x", o.read(&x)?)])
}

fn gather_rows<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n, table] = dims(shape);
    let rows = o.upload_index(&ids(m, table))?;
    Ok(vec![("y", o.read(&o.gather_rows(&given(o, 1, table, n)?, &rows)?)?)])
}

fn scatter_rows<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n, table] = dims(shape);
    let mut dst = given(o, 1, table, n)?;
    o.scatter_rows(&mut dst, &given(o, 2, m, n)?, &o.upload_index(&distinct(m, table))?)?;
    Ok(vec![("dst", o.read(&dst)?)])
}

fn scatter_add_rows<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n, table] = dims(shape);
    let mut dst = given(o, 1, table, n)?;
    o.scatter_add_rows(&mut dst, &given(o, 2, m, n)?, &o.upload_index(&distinct(m, table))?)?;
    Ok(vec![("dst", o.read(&dst)?)])
}

fn matmul_nt<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n, k] = dims(shape);
    let (x, bias) = (given(o, 1, m, k)?, given(o, 2, 1, n)?);
    let w = weights(o, 3, n, k, Dtype::F32)?;
    let mut out =
        vec![("y", o.read(&o.matmul_nt(&x, &w, None)?)?), ("y with bias", o.read(&o.matmul_nt(&x, &w, Some(&bias))?)?)];
    for (dtype, name) in PACKED.into_iter().zip(["y bf16", "y int8", "y int4", "y nf4"]) {
        out.push((name, o.read(&o.matmul_nt(&x, &weights(o, 3, n, k, dtype)?, Some(&bias))?)?));
    }
    Ok(out)
}

fn matmul_nn<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n, k] = dims(shape);
    let dy = given(o, 1, m, n)?;
    let w = weights(o, 3, n, k, Dtype::F32)?;
    let mut out = vec![
        ("dx", o.read(&o.matmul_nn(&dy, &w, None)?)?),
        ("dx added", o.read(&o.matmul_nn(&dy, &w, Some(given(o, 2, m, k)?))?)?),
    ];
    for (dtype, name) in PACKED.into_iter().zip(["dx bf16", "dx int8", "dx int4", "dx nf4"]) {
        out.push((name, o.read(&o.matmul_nn(&dy, &weights(o, 3, n, k, dtype)?, None)?)?));
    }
    Ok(out)
}

fn matmul_tn<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n, k] = dims(shape);
    let mut dw = given(o, 3, n, k)?;
    o.matmul_tn(&mut dw, &given(o, 1, m, n)?, &given(o, 2, m, k)?)?;
    Ok(vec![("dw", o.read(&dw)?)])
}

fn bias_bwd<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n] = dims(shape);
    let mut db = given(o, 2, 1, n)?;
    o.bias_bwd(&mut db, &given(o, 1, m, n)?)?;
    Ok(vec![("db", o.read(&db)?)])
}

fn embed<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, vocab, h] = dims(shape);
    let ids = o.upload_index(&ids(m, vocab))?;
    let mut outputs = vec![("y", o.read(&o.embed(&weights(o, 1, vocab, h, Dtype::F32)?, &ids)?)?)];
    // Rows of a packed table are whole vectors on a GPU.
    for (dtype, name) in PACKED.into_iter().zip(["y bf16", "y int8", "y int4", "y nf4"]) {
        if h.is_multiple_of(4) {
            outputs.push((name, o.read(&o.embed(&weights(o, 1, vocab, h, dtype)?, &ids)?)?));
        }
    }
    Ok(outputs)
}

fn embed_bwd<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, vocab, h] = dims(shape);
    let mut dw = given(o, 2, vocab, h)?;
    o.embed_bwd(&mut dw, &given(o, 1, m, h)?, &o.scatter_plan(&ids(m, vocab))?)?;
    Ok(vec![("dw", o.read(&dw)?)])
}

/// Rows of magnitude 1, 1e4 and 1e-3, and one of zeros.
fn rows_of_all_sizes<O: Ops>(o: &O, m: usize, h: usize) -> Result<O::T> {
    let mut x = random(1, m * h);
    for (i, row) in x.chunks_exact_mut(h.max(1)).enumerate() {
        let size = [1.0, 1e4, 1e-3, 0.0][i % 4];
        row.iter_mut().for_each(|v| *v *= size);
    }
    o.upload(m, h, &x)
}

fn rmsnorm<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, h] = dims(shape);
    let (y, rstd) = o.rmsnorm(&rows_of_all_sizes(o, m, h)?, &given(o, 2, 1, h)?, 1e-6)?;
    Ok(vec![("y", o.read(&y)?), ("rstd", o.read(&rstd)?)])
}

fn add_rmsnorm<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, h] = dims(shape);
    let x = rows_of_all_sizes(o, m, h)?;
    let (s, y, rstd) = o.add_rmsnorm(&x, &given(o, 3, m, h)?, &given(o, 2, 1, h)?, 1e-6)?;
    Ok(vec![("s", o.read(&s)?), ("y", o.read(&y)?), ("rstd", o.read(&rstd)?)])
}

fn rmsnorm_bwd<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, h] = dims(shape);
    let (dy, x, w) = (given(o, 1, m, h)?, given(o, 2, m, h)?, given(o, 3, 1, h)?);
    let (_, rstd) = o.rmsnorm(&x, &w, 0.1)?;
    let mut dw = given(o, 4, 1, h)?;
    let dx = o.rmsnorm_bwd(&dy, &x, &w, &rstd, None, None)?;
    let added = o.rmsnorm_bwd(&dy, &x, &w, &rstd, Some(&mut dw), Some(given(o, 5, m, h)?))?;
    Ok(vec![("dx", o.read(&dx)?), ("dx added", o.read(&added)?), ("dw", o.read(&dw)?)])
}

fn rope<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, heads, d] = dims(shape);
    let pos: Vec<u32> = (0..m as u32).map(|i| (i * 37 + 3) % 129).collect();
    let (pos, table) = (o.upload_index(&pos)?, o.rope_table(129, d, 1e6)?);
    let (mut x, mut back) = (given(o, 1, m, heads * d)?, given(o, 1, m, heads * d)?);
    o.rope(&mut x, &pos, &table, d, false)?;
    o.rope(&mut back, &pos, &table, d, true)?;
    Ok(vec![("x", o.read(&x)?), ("x inverse", o.read(&back)?)])
}

/// Rows, heads, key/value heads, head width; the input has four times the queries' width, all weights in f32, then packed.
fn qkv_append<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, heads, kv_heads, d] = dims(shape);
    let (wide, narrow) = (heads * d, kv_heads * d);
    let pos: Vec<u32> = (0..m as u32).map(|i| (i * 37 + 3) % 129).collect();
    let slots: Vec<u32> = (0..m as u32).map(|i| 2 * (m as u32 - 1 - i) + 1).collect();
    let (pos, table, slots) = (o.upload_index(&pos)?, o.rope_table(129, d, 1e6)?, o.upload_index(&slots)?);
    let (x, bias) = (given(o, 1, m, 4 * wide)?, (given(o, 2, 1, wide)?, given(o, 3, 1, narrow)?));
    let mut out = Vec::new();
    let names = [
        ["q", "keys", "values"],
        ["q bf16", "keys bf16", "values bf16"],
        ["q int8", "keys int8", "values int8"],
        ["q int4", "keys int4", "values int4"],
        ["q nf4", "keys nf4", "values nf4"],
    ];
    for (dtype, names) in Dtype::WEIGHTS.into_iter().zip(names) {
        let w = |seed, n| weights(o, seed, n, 4 * wide, dtype);
        let (q, k, v) = (w(4, wide)?, w(5, narrow)?, w(6, narrow)?);
        let (mut keys, mut values) = (given(o, 7, 2 * m + 1, narrow)?, given(o, 8, 2 * m + 1, narrow)?);
        let parts = [(&q, Some(&bias.0)), (&k, Some(&bias.1)), (&v, None)];
        let q = o.qkv_append(&x, parts, &pos, &table, d, (&mut keys, &mut values), &slots)?;
        out.extend(names.into_iter().zip([o.read(&q)?, o.read(&keys)?, o.read(&values)?]));
    }
    Ok(out)
}

fn gated<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n, k] = dims(shape);
    let x = given(o, 1, m, k)?;
    let mut out = Vec::new();
    for (dtype, name) in Dtype::WEIGHTS.into_iter().zip(["y", "y bf16", "y int8", "y int4", "y nf4"]) {
        let y = o.gated(&x, &weights(o, 2, n, k, dtype)?, &weights(o, 3, n, k, dtype)?)?;
        out.push((name, o.read(&y)?));
    }
    Ok(out)
}

/// Gates far from zero, where `exp` overflows or vanishes.
const FAR: [f32; 8] = [-1e4, -104.0, -88.5, -20.0, 0.0, 20.0, 89.0, 1e4];

/// `g` of ordinary size.
fn gates<O: Ops>(o: &O, m: usize, n: usize) -> Result<O::T> {
    let g: Vec<f32> = random(1, m * n).iter().map(|v| v * 8.0).collect();
    o.upload(m, n, &g)
}

fn swiglu<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n] = dims(shape);
    let y = o.swiglu(&gates(o, m, n)?, &given(o, 2, m, n)?)?;
    // In an output of their own: they would hide the errors of the near ones.
    let far = o.swiglu(&o.upload(1, 8, &FAR)?, &given(o, 3, 1, 8)?)?;
    Ok(vec![("y", o.read(&y)?), ("y far", o.read(&far)?)])
}

fn swiglu_bwd<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n] = dims(shape);
    let (dg, du) = o.swiglu_bwd(&given(o, 3, m, n)?, &gates(o, m, n)?, &given(o, 2, m, n)?)?;
    let (dg_far, du_far) = o.swiglu_bwd(&given(o, 4, 1, 8)?, &o.upload(1, 8, &FAR)?, &given(o, 3, 1, 8)?)?;
    Ok(vec![("dg", o.read(&dg)?), ("du", o.read(&du)?), ("dg far", o.read(&dg_far)?), ("du far", o.read(&du_far)?)])
}

/// Heads, and the lengths that follow them.
fn heads(shape: &[usize]) -> (AttnShape, &[usize]) {
    let [heads, kv_heads, head_dim] = dims(shape);
    let s = AttnShape { heads, kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() };
    (s, shape.get(3..).unwrap_or_default())
}

fn attention<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let (s, lens) = heads(shape);
    let (wide, narrow) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    let m = lens.iter().sum();
    let plan = o.attn_plan(Span::packed(lens))?;
    let (out, lse) =
        o.attention(&given(o, 1, m, wide)?, &given(o, 2, m, narrow)?, &given(o, 3, m, narrow)?, &plan, &s)?;
    // The last one or two rows of each sequence against its slot of a cache.
    let slot = lens.iter().max().map_or(0, |l| l + 3);
    let mut rows = 0;
    let mut spans = Vec::new();
    for (i, &len) in lens.iter().enumerate() {
        let n = len.min(1 + i % 2);
        spans.push(Span { q0: rows, n, k0: i * slot + 1, past: len - n });
        rows += n;
    }
    let plan = o.attn_plan(spans)?;
    let cache = lens.len() * slot;
    let (k, v) = (given(o, 5, cache, narrow)?, given(o, 6, cache, narrow)?);
    let (decoded, decoded_lse) = o.attention(&given(o, 4, rows, wide)?, &k, &v, &plan, &s)?;
    Ok(vec![
        ("out", o.read(&out)?),
        ("lse", o.read(&lse)?),
        ("out decoded", o.read(&decoded)?),
        ("lse decoded", o.read(&decoded_lse)?),
    ])
}

fn attention_bwd<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let (s, lens) = heads(shape);
    let (wide, narrow) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    let m = lens.iter().sum();
    let plan = o.attn_plan(Span::packed(lens))?;
    let (q, k, v) = (given(o, 1, m, wide)?, given(o, 2, m, narrow)?, given(o, 3, m, narrow)?);
    let (out, lse) = o.attention(&q, &k, &v, &plan, &s)?;
    let (dq, dk, dv) = o.attention_bwd(&given(o, 4, m, wide)?, &q, &k, &v, &out, &lse, &plan, &s)?;
    let mut outputs = vec![("dq", o.read(&dq)?), ("dk", o.read(&dk)?), ("dv", o.read(&dv)?)];
    // The same queries after keys of a shared prefix.
    let spans = Span::laid(lens.iter().enumerate().map(|(i, &n)| ([3, 40, 0][i % 3], n)));
    let keys = spans.iter().map(|s| s.past + s.n).sum();
    let plan = o.attn_plan(spans)?;
    let (k, v) = (given(o, 5, keys, narrow)?, given(o, 6, keys, narrow)?);
    let (out, lse) = o.attention(&q, &k, &v, &plan, &s)?;
    let (dq, dk, dv) = o.attention_bwd(&given(o, 4, m, wide)?, &q, &k, &v, &out, &lse, &plan, &s)?;
    outputs.extend([("dq shared", o.read(&dq)?), ("dk shared", o.read(&dk)?), ("dv shared", o.read(&dv)?)]);
    Ok(outputs)
}

fn head_logp<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, vocab, h] = dims(shape);
    let (x, targets) = (given(o, 1, m, h)?, o.upload_index(&ids(m, vocab))?);
    let full = o.head_logp(&x, &weights(o, 2, vocab, h, Dtype::F32)?, &targets, 0.7)?;
    let mut out = vec![("logp", o.read(&full.logp)?), ("lse", o.read(&full.lse)?), ("entropy", o.read(&full.entropy)?)];
    let names = [
        ["logp bf16", "entropy bf16"],
        ["logp int8", "entropy int8"],
        ["logp int4", "entropy int4"],
        ["logp nf4", "entropy nf4"],
    ];
    for (dtype, names) in PACKED.into_iter().zip(names) {
        let packed = o.head_logp(&x, &weights(o, 2, vocab, h, dtype)?, &targets, 0.7)?;
        out.extend(names.into_iter().zip([o.read(&packed.logp)?, o.read(&packed.entropy)?]));
    }
    Ok(out)
}

fn head_logp_bwd<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, vocab, h] = dims(shape);
    let (x, targets, dlogp) = (given(o, 1, m, h)?, o.upload_index(&ids(m, vocab))?, given(o, 3, m, 1)?);
    let w = weights(o, 2, vocab, h, Dtype::F32)?;
    let (mut dw, mut dw_again) = (given(o, 4, vocab, h)?, given(o, 4, vocab, h)?);
    let out = o.head_logp(&x, &w, &targets, 0.7)?;
    let dh = o.head_logp_bwd(&dlogp, &x, &w, &targets, 0.7, &out, Some(&mut dw))?;
    let mut frozen = Vec::new();
    for (dtype, name) in PACKED.into_iter().zip(["dh bf16", "dh int8", "dh int4", "dh nf4"]) {
        let w = weights(o, 2, vocab, h, dtype)?;
        let out = o.head_logp(&x, &w, &targets, 0.7)?;
        frozen.push((name, o.read(&o.head_logp_bwd(&dlogp, &x, &w, &targets, 0.7, &out, None)?)?));
    }
    let out = HeadOut { logits: None, ..out };
    let dh_again = o.head_logp_bwd(&dlogp, &x, &w, &targets, 0.7, &out, Some(&mut dw_again))?;
    frozen.extend([
        ("dh", o.read(&dh)?),
        ("dw", o.read(&dw)?),
        ("dh, logits again", o.read(&dh_again)?),
        ("dw, logits again", o.read(&dw_again)?),
    ]);
    Ok(frozen)
}

/// Settings of [`sample`] and the names of its outputs.
pub(super) const SAMPLINGS: [(&str, &str, Sampling); 5] = [
    ("ids greedy", "logp greedy", Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 }),
    ("ids T=1", "logp T=1", Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 }),
    ("ids top-k", "logp top-k", Sampling { temperature: 0.7, top_k: 5, top_p: 1.0 }),
    ("ids top-p", "logp top-p", Sampling { temperature: 1.3, top_k: 0, top_p: 0.8 }),
    ("ids top-k top-p", "logp top-k top-p", Sampling { temperature: 0.9, top_k: 20, top_p: 0.5 }),
];

fn sample<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    sample_at(o, shape, 1.0)
}

/// Temperatures are multiplied by `factor`: the draws must not be so close to an edge that rounding decides them.
pub(super) fn sample_at<O: Ops>(o: &O, shape: &[usize], factor: f32) -> Result<Outputs> {
    let [m, vocab] = dims(shape);
    // Quantised, so that equal logits occur.
    let z: Vec<f32> = random(1, m * vocab).iter().map(|x| (x * 40.0).round() / 8.0).collect();
    let keys: Vec<u32> = (0..m as u32).flat_map(|i| [i / 3, i % 3 * 7, 0x9abc_def0, 42]).collect();
    let (z, keys) = (o.upload(m, vocab, &z)?, o.upload_index(&keys)?);
    let mut outputs = Vec::new();
    for (ids, logp, s) in SAMPLINGS {
        let (chosen, logps) = o.sample(&z, &Sampling { temperature: s.temperature * factor, ..s }, &keys)?;
        // Exact in f32, and one off is more than any bound.
        outputs.push((ids, o.read_index(&chosen)?.iter().map(|&id| id as f32).collect()));
        outputs.push((logp, o.read(&logps)?));
    }
    Ok(outputs)
}

fn repetition_penalty<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, vocab] = dims(shape);
    let (mut seen, mut offsets) = (Vec::new(), vec![0]);
    for i in 0..m {
        // None, then more and more.
        seen.extend((0..i % 7).map(|j| ((i + j * j * 5) % vocab) as u32).collect::<BTreeSet<u32>>());
        offsets.push(seen.len() as u32);
    }
    let mut z = given(o, 1, m, vocab)?;
    o.repetition_penalty(&mut z, &o.upload_index(&seen)?, &o.upload_index(&offsets)?, 1.3)?;
    Ok(vec![("logits", o.read(&z)?)])
}

fn global_norm<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [m, n] = dims(shape);
    let (a, b) = (given(o, 1, m, n)?, given(o, 2, 3, 7)?);
    let mut bad = random(3, 45);
    for (at, value) in [(0, f32::NAN), (7, f32::INFINITY), (44, f32::NEG_INFINITY)] {
        bad[at] = value;
    }
    let broken = o.read(&o.global_norm(&[&a, &o.upload(5, 9, &bad)?])?)?;
    // Of a norm with NaN in it only the count says something.
    Ok(vec![
        ("norm", o.read(&o.global_norm(&[&a])?)?),
        ("norm of two", o.read(&o.global_norm(&[&a, &b])?)?),
        ("count of broken", broken.get(1..).unwrap_or_default().to_vec()),
    ])
}

fn adamw<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [rows, cols] = dims(shape);
    let mut hyper = AdamW {
        lr: 0.01,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        bias_correction1: 0.271,
        bias_correction2: 0.029_701,
        max_norm: f32::INFINITY,
    };
    let squares: Vec<f32> = random(4, rows * cols).iter().map(|v| v * v + 1e-3).collect();
    let (mut w, g, mut m) = (given(o, 1, rows, cols)?, given(o, 2, rows, cols)?, given(o, 3, rows, cols)?);
    let mut v = o.upload(rows, cols, &squares)?;
    let norm = o.global_norm(&[&g])?;
    let free = o.adamw(&mut w, &g, &mut m, &mut v, &hyper, &norm)?;
    hyper.max_norm = 0.25;
    let clipped = o.adamw(&mut w, &g, &mut m, &mut v, &hyper, &norm)?;
    Ok(vec![
        ("w", o.read(&w)?),
        ("m", o.read(&m)?),
        ("v", o.read(&v)?),
        ("change", o.read(&free)?),
        ("change clipped", o.read(&clipped)?),
    ])
}

/// Weights and moments in bf16. Values that differ in their last f32 bits may be rounded to different neighbours: the bound is a unit
/// in the last place of bf16.
fn adamw_bf16<O: Ops>(o: &O, shape: &[usize]) -> Result<Outputs> {
    let [rows, cols] = dims(shape);
    let hyper = AdamW {
        lr: 0.01,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        bias_correction1: 0.271,
        bias_correction2: 0.029_701,
        max_norm: 0.25,
    };
    let half = |seed| weights(o, seed, rows, cols, Dtype::Bf16);
    let (mut w, g, mut m, mut v) = (half(1)?, given(o, 2, rows, cols)?, half(3)?, o.zeros_bf16(rows, cols)?);
    let norm = o.global_norm(&[&g])?;
    let mut report = o.zeros(3, 2)?;
    for (row, key) in [(0, [7, 11]), (2, [8, 12])] {
        o.adamw_bf16(&mut w, &g, &mut m, &mut v, &hyper, &norm, key, &mut report, row)?;
    }
    Ok(vec![("w", o.read(&w)?), ("m", o.read(&m)?), ("v", o.read(&v)?), ("report", o.read(&report)?)])
}
