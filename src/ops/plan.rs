//! Host-side descriptions of ragged work, shared by every backend.

use super::{IndexMeta, OpError, Result};

/// Consecutive query rows of one sequence and the keys they see: row `q0 + i` (`i < n`) attends to the key rows
/// `k0 .. k0 + past + i + 1`. Training: `k0 = q0`, `past = 0`, or `past` = rows of a shared prefix whose keys stand before
/// the span's own. Decoding one token: `n = 1`, `k0` = start of the cache slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    pub q0: usize,
    pub n: usize,
    pub k0: usize,
    pub past: usize,
}

/// Heads of an attention layer.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AttnShape {
    pub heads: usize,
    pub kv_heads: usize,
    pub head_dim: usize,
    /// Usually `1/sqrt(head_dim)`.
    pub scale: f32,
}

/// Which keys each query row sees.
pub struct AttnPlan<I> {
    /// Host copy; spans cover the query rows 0..M in order without gaps.
    pub spans: Vec<Span>,
    /// `[M]` first key row of query row i.
    pub kstart: I,
    /// `[M]` number of key rows of query row i.
    pub klen: I,
    /// `[2R]` for plans with a backward pass: the first query row that sees key row j, and one past the last.
    pub qrange: I,
    /// `R`, when the spans' keys cover the key rows 0..R in order without gaps, so that every key row belongs to one span
    /// (training). Only such plans have a backward pass.
    pub key_rows: Option<usize>,
}

impl<I: IndexMeta> AttnPlan<I> {
    pub fn new(spans: Vec<Span>, upload: impl Fn(&[u32]) -> Result<I>) -> Result<Self> {
        let rows = spans.last().map_or(0, |s| s.q0 + s.n);
        let (mut kstart, mut klen, mut qrange) = (Vec::with_capacity(rows), Vec::with_capacity(rows), Vec::new());
        let mut key_rows = Some(0);
        for s in &spans {
            if s.q0 != kstart.len() {
                return Err(OpError::Shape {
                    op: "attn_plan",
                    detail: format!("span starts at query row {} but {} rows are covered so far", s.q0, kstart.len()),
                });
            }
            for i in 0..s.n {
                kstart.push(s.k0 as u32);
                klen.push((s.past + i + 1) as u32);
            }
            key_rows = key_rows.filter(|&covered| s.k0 == covered).map(|covered| covered + s.past + s.n);
            if key_rows.is_some() {
                let range = |j: usize| [(s.q0 + j.saturating_sub(s.past)) as u32, (s.q0 + s.n) as u32];
                qrange.extend((0..s.past + s.n).flat_map(range));
            }
        }
        if key_rows.is_none() {
            qrange = vec![0, 0];
        }
        Ok(Self { kstart: upload(&kstart)?, klen: upload(&klen)?, qrange: upload(&qrange)?, spans, key_rows })
    }

    /// Query rows.
    pub fn rows(&self) -> usize {
        self.spans.last().map_or(0, |s| s.q0 + s.n)
    }
}

impl Span {
    /// Self-attention spans of sequences laid end to end.
    pub fn packed(lens: &[usize]) -> Vec<Span> {
        Self::laid(lens.iter().map(|&n| (0, n)))
    }

    /// Spans of `(past, n)` whose queries and keys, each span's past before its own, are laid end to end.
    pub fn laid(parts: impl IntoIterator<Item = (usize, usize)>) -> Vec<Span> {
        let (mut q0, mut k0) = (0, 0);
        let span = |(past, n)| {
            let s = Span { q0, n, k0, past };
            (q0, k0) = (q0 + n, k0 + past + n);
            s
        };
        parts.into_iter().map(span).collect()
    }
}

/// Rows grouped by target index, for an ordered scatter-add without atomics.
pub struct ScatterPlan<I> {
    /// `[U]` distinct targets, ascending.
    pub targets: I,
    /// `[U+1]` offsets into `rows`.
    pub offsets: I,
    /// `[M]` source rows, ascending within a target.
    pub rows: I,
    /// Host copies of the three.
    pub host: (Vec<u32>, Vec<u32>, Vec<u32>),
}

impl<I: IndexMeta> ScatterPlan<I> {
    pub fn new(ids: &[u32], upload: impl Fn(&[u32]) -> Result<I>) -> Result<Self> {
        let mut rows: Vec<u32> = (0..ids.len() as u32).collect();
        rows.sort_by_key(|&r| (ids[r as usize], r));
        let (mut targets, mut offsets) = (Vec::new(), Vec::new());
        for (at, &r) in rows.iter().enumerate() {
            if targets.last() != Some(&ids[r as usize]) {
                targets.push(ids[r as usize]);
                offsets.push(at as u32);
            }
        }
        offsets.push(rows.len() as u32);
        Ok(Self {
            targets: upload(&targets)?,
            offsets: upload(&offsets)?,
            rows: upload(&rows)?,
            host: (targets, offsets, rows),
        })
    }
}

/// Rotary frequencies of a model.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rope {
    pub theta: f64,
    /// Slows down low frequencies, for contexts longer than those of pre-training.
    pub scaling: Option<Llama3Scaling>,
}

/// `rope_type: "llama3"` (Llama 3.1): with the wavelength `λ = 2π/f` and the context `C` of pre-training, a frequency is kept where
/// `λ < C / high_freq_factor`, divided by `factor` where `λ > C / low_freq_factor`, and `(1 - s) f / factor + s f` between them,
/// `s = (C/λ - low_freq_factor) / (high_freq_factor - low_freq_factor)`. As `_compute_llama3_parameters` of transformers.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Llama3Scaling {
    pub factor: f64,
    pub low_freq_factor: f64,
    /// Above `low_freq_factor`.
    pub high_freq_factor: f64,
    /// `C`, in tokens.
    pub original_max_position_embeddings: f64,
}

impl From<f64> for Rope {
    /// The frequencies of Su et al. (2021), as they are.
    fn from(theta: f64) -> Self {
        Self { theta, scaling: None }
    }
}

impl Rope {
    /// `f_i`, `i < head_dim / 2`, in radians a position: `theta^(-2i/head_dim)`, scaled.
    pub fn frequencies(&self, head_dim: usize) -> Vec<f64> {
        let plain = |i: usize| self.theta.powf(-2.0 * i as f64 / head_dim as f64);
        (0..head_dim / 2).map(|i| self.scaling.map_or(plain(i), |s| s.scaled(plain(i)))).collect()
    }
}

impl Llama3Scaling {
    fn scaled(&self, f: f64) -> f64 {
        let turns = self.original_max_position_embeddings * f / (2.0 * std::f64::consts::PI);
        if turns > self.high_freq_factor {
            f
        } else if turns < self.low_freq_factor {
            f / self.factor
        } else {
            let s = (turns - self.low_freq_factor) / (self.high_freq_factor - self.low_freq_factor);
            (1.0 - s) * f / self.factor + s * f
        }
    }
}

/// `[positions, head_dim]`: `cos(p f_i)` for `i < d/2`, then `sin(p f_i)`, with [`Rope::frequencies`], in f64, rounded once.
pub fn rope_table(positions: usize, head_dim: usize, rope: Rope) -> Vec<f32> {
    let (half, frequencies) = (head_dim / 2, rope.frequencies(head_dim));
    let mut out = vec![0.0; positions * head_dim];
    for (p, row) in out.chunks_exact_mut(head_dim).enumerate() {
        for (i, f) in frequencies.iter().enumerate() {
            // transformers computes inv_freq in f32; p * f is then an f32 product. We keep f64 to the end.
            let a = p as f64 * f;
            row[i] = a.cos() as f32;
            row[half + i] = a.sin() as f32;
        }
    }
    out
}

/// Bit patterns of values that are exactly bf16; anything else is refused.
pub fn bf16_bits(op: &'static str, values: &[f32]) -> Result<Vec<u16>> {
    let bits = |x: &f32| (x.to_bits() & 0xffff == 0).then_some((x.to_bits() >> 16) as u16);
    values.iter().map(bits).collect::<Option<_>>().ok_or_else(|| OpError::Shape {
        op,
        detail: "the tensor is stored in bf16, and the values are not bf16 values".into(),
    })
}

/// A bijection of 32 bits that leaves no visible trace of a counter (Wellons 2018, "lowbias32").
pub fn mix(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

/// Random bits of element `i` for its weight and its two moments; the low 16 of each count. See [`Ops::adamw_bf16`](super::Ops::adamw_bf16).
pub fn rounding_bits(key: [u32; 2], i: u32) -> [u32; 3] {
    let r = mix(mix(i.wrapping_add(key[0])) ^ key[1]);
    [r, r >> 16, mix(r.wrapping_add(0x9e37_79b9))]
}

/// The bf16 neighbour of `x` that 16 random bits choose: they are added to what will be cut off, so the expectation is `x`. NaN and
/// infinities are cut.
pub fn round_bf16(x: f32, bits: u32) -> u16 {
    let u = x.to_bits();
    let special = u & 0x7f80_0000 == 0x7f80_0000;
    ((if special { u } else { u.wrapping_add(bits & 0xffff) }) >> 16) as u16
}
