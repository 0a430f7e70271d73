//! Causal softmax attention with grouped key/value heads over ragged rows.

use super::real::Real;
use crate::ops::{AttnShape, Span};

/// What both passes read. `q` is `[m, heads*d]`; `k`, `v` are `[r, kv_heads*d]`.
#[derive(Clone, Copy)]
pub struct Qkv<'a, F> {
    pub q: &'a [F],
    pub k: &'a [F],
    pub v: &'a [F],
    pub spans: &'a [Span],
    pub shape: &'a AttnShape,
}

impl<F: Real> Qkv<'_, F> {
    /// Elements of a query row and of a key row.
    pub fn widths(&self) -> (usize, usize) {
        (self.shape.heads * self.shape.head_dim, self.shape.kv_heads * self.shape.head_dim)
    }
    /// Key/value head of a query head.
    pub fn kv_head(&self, head: usize) -> usize {
        head / (self.shape.heads / self.shape.kv_heads)
    }
}

fn dot<F: Real>(a: &[F], b: &[F]) -> F {
    a.iter().zip(b).map(|(&a, &b)| a * b).sum()
}

/// `out = softmax(scale q k^T) v` per head and `lse = log Σ exp(scale q k^T)` `[m, heads]`.
pub fn attention<F: Real>(out: &mut [F], lse: &mut [F], x: Qkv<F>) {
    let (heads, d, scale) = (x.shape.heads, x.shape.head_dim, F::of_f32(x.shape.scale));
    let (width, kv_width) = x.widths();
    let mut p = Vec::new();
    for s in x.spans {
        for i in 0..s.n {
            for h in 0..heads {
                let at = (s.q0 + i) * width + h * d;
                let (q, out) = (&x.q[at..][..d], &mut out[at..][..d]);
                let key = |j: usize| (s.k0 + j) * kv_width + x.kv_head(h) * d;
                p.clear();
                p.extend((0..=s.past + i).map(|j| scale * dot(q, &x.k[key(j)..][..d])));
                let max = p.iter().fold(F::NEG_INFINITY, |m, &s| m.max_of(s));
                p.iter_mut().for_each(|p| *p = (*p - max).exp());
                let sum: F = p.iter().copied().sum();
                out.fill(F::ZERO);
                for (j, &p) in p.iter().enumerate() {
                    for (o, &v) in out.iter_mut().zip(&x.v[key(j)..][..d]) {
                        *o += p * v;
                    }
                }
                out.iter_mut().for_each(|o| *o = *o / sum);
                lse[(s.q0 + i) * heads + h] = max + sum.ln();
            }
        }
    }
}

/// Adds to `dq`, `dk`, `dv` (Dao et al. 2022, appendix B): `P = exp(scale q k^T - lse)`, `dv += P^T dout`,
/// `dP = dout v^T`, `dS = P (dP - Σ_d dout out)`, `dq += scale dS k`, `dk += scale dS^T q`.
pub fn attention_bwd<F: Real>(
    (dq, dk, dv): (&mut [F], &mut [F], &mut [F]),
    dout: &[F],
    out: &[F],
    lse: &[F],
    x: Qkv<F>,
) {
    let (heads, d, scale) = (x.shape.heads, x.shape.head_dim, F::of_f32(x.shape.scale));
    let (width, kv_width) = x.widths();
    for s in x.spans {
        for i in 0..s.n {
            for h in 0..heads {
                let at = (s.q0 + i) * width + h * d;
                let (q, dout) = (&x.q[at..][..d], &dout[at..][..d]);
                let delta = dot(dout, &out[at..][..d]);
                for j in 0..=s.past + i {
                    let key = (s.k0 + j) * kv_width + x.kv_head(h) * d;
                    let (k, v) = (&x.k[key..][..d], &x.v[key..][..d]);
                    let p = (scale * dot(q, k) - lse[(s.q0 + i) * heads + h]).exp();
                    let ds = p * (dot(dout, v) - delta);
                    for c in 0..d {
                        dq[at + c] += scale * ds * k[c];
                        dk[key + c] += scale * ds * q[c];
                        dv[key + c] += p * dout[c];
                    }
                }
            }
        }
    }
}
