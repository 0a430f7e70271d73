//! Kernels of the f32 backend on vector registers and threads.
//!
//! How work is cut into tasks never changes a bit of a result: an element's arithmetic is fixed by its place in its own
//! row, or by a partition that depends on sizes alone.

mod attention;
pub mod ceilings;
mod few;
mod gemm;
mod head;
mod norm;
mod optim;
mod swiglu;
#[cfg(test)]
mod tests;
mod vector;

use pulp::Arch;
use rayon::prelude::*;

use super::attention::Qkv;
use super::matmul::Dims;
use super::optim::Bf16State;
use super::tensor::Values;
use super::{Kernels, matmul, rope, rows, sample};
use crate::ops::{AdamW, Sampling};
use few::Few;
use gemm::{Product, Side, Store};
use optim::PIECE;

pub(super) struct Fast {
    arch: Arch,
}

impl Fast {
    /// With the widest vector instructions of this machine.
    pub fn new() -> Self {
        Self::on(Arch::new())
    }

    fn on(arch: Arch) -> Self {
        Self { arch }
    }
}

/// Elements below which an elementwise operation stays on one thread.
const SERIAL: usize = 1 << 15;

/// Rows of a task of a row-wise operation. Partial sums over rows are per task, so this fixes their bits.
const ROWS: usize = 32;

/// Calls `f` for every item, on threads when the `work` elements are worth it.
fn each<T: Send>(work: usize, items: impl IndexedParallelIterator<Item = T>, f: impl Fn(T) + Sync + Send) {
    if work < SERIAL || rayon::current_num_threads() == 1 {
        // One piece: the calling thread does it.
        items.with_min_len(usize::MAX).for_each(f);
    } else {
        items.for_each(f);
    }
}

impl Kernels<f32> for Fast {
    fn name(&self) -> String {
        format!("cpu ({} threads)", rayon::current_num_threads())
    }

    fn nt(&self, y: &mut [f32], x: &[f32], w: Values<f32>, bias: Option<&[f32]>, d: Dims) {
        if (Few { x, w, bias, rows: d.m, cols: d.n, depth: d.k }).run(y) {
            return;
        }
        let left = Side::f32(x, d.k, 1);
        let right = Side { data: w, outer: d.k, inner: 1 };
        let store = bias.map_or(Store::Set, Store::Bias);
        Product { rows: d.m, cols: d.n, depth: d.k, left, right, store }.run(self.arch, y);
    }
    fn nn(&self, dx: &mut [f32], dy: &[f32], w: Values<f32>, d: Dims) {
        let left = Side::f32(dy, d.n, 1);
        let right = Side { data: w, outer: 1, inner: d.k };
        Product { rows: d.m, cols: d.k, depth: d.n, left, right, store: Store::Add }.run(self.arch, dx);
    }
    fn tn(&self, dw: &mut [f32], dy: &[f32], x: &[f32], d: Dims) {
        let left = Side::f32(dy, 1, d.n);
        let right = Side::f32(x, 1, d.k);
        Product { rows: d.n, cols: d.k, depth: d.m, left, right, store: Store::Add }.run(self.arch, dw);
    }

    fn add(&self, a: &mut [f32], b: &[f32]) {
        let pieces = a.par_chunks_mut(SERIAL).zip(b.par_chunks(SERIAL));
        each(b.len(), pieces, |(a, b)| self.arch.dispatch(|| rows::add(a, b)));
    }
    fn add_row(&self, x: &mut [f32], v: &[f32], s: f32) {
        let size = ROWS * v.len().max(1);
        each(x.len(), x.par_chunks_mut(size), |x| self.arch.dispatch(|| rows::add_row(x, v, s)));
    }
    fn bias_bwd(&self, db: &mut [f32], dy: &[f32]) {
        self.arch.dispatch(|| matmul::bias_bwd(db, dy));
    }

    fn rmsnorm(&self, y: &mut [f32], rstd: &mut [f32], x: &[f32], w: &[f32], eps: f32) {
        let size = ROWS * w.len().max(1);
        let pieces = y.par_chunks_mut(size).zip(rstd.par_chunks_mut(ROWS)).zip(x.par_chunks(size));
        each(x.len(), pieces, |((y, rstd), x)| norm::rmsnorm(self.arch, y, rstd, x, w, eps));
    }
    fn rmsnorm_bwd(&self, dx: &mut [f32], dw: Option<&mut [f32]>, dy: &[f32], x: &[f32], w: &[f32], rstd: &[f32]) {
        let h = w.len().max(1);
        // A row of scratch and, when asked for, a row of partial sums of dw per task.
        let mut partial = vec![0.0; rstd.len().div_ceil(ROWS) * 2 * h];
        let wanted = dw.is_some();
        let inputs = dy.par_chunks(ROWS * h).zip(x.par_chunks(ROWS * h)).zip(rstd.par_chunks(ROWS));
        let pieces = dx.par_chunks_mut(ROWS * h).zip(partial.par_chunks_mut(2 * h)).zip(inputs);
        each(x.len(), pieces, |((dx, partial), ((dy, x), rstd))| {
            let (dw, scratch) = partial.split_at_mut(h);
            norm::rmsnorm_bwd(self.arch, dx, wanted.then_some(dw), dy, x, w, rstd, scratch);
        });
        if let Some(dw) = dw {
            partial.chunks_exact(2 * h).for_each(|p| rows::add(dw, &p[..h]));
        }
    }
    fn rope(&self, x: &mut [f32], pos: &[u32], table: &[f32], d: usize, cols: usize, inverse: bool) {
        let pieces = x.par_chunks_mut(ROWS * cols.max(1)).zip(pos.par_chunks(ROWS));
        each(pos.len() * cols, pieces, |(x, pos)| {
            self.arch.dispatch(|| rope::rope(x, pos, table, d, cols, inverse));
        });
    }
    fn swiglu(&self, y: &mut [f32], g: &[f32], u: &[f32]) {
        let pieces = y.par_chunks_mut(PIECE).zip(g.par_chunks(PIECE)).zip(u.par_chunks(PIECE));
        each(g.len(), pieces, |((y, g), u)| swiglu::swiglu(self.arch, y, g, u));
    }
    fn swiglu_bwd(&self, dg: &mut [f32], du: &mut [f32], dy: &[f32], g: &[f32], u: &[f32]) {
        let inputs = dy.par_chunks(PIECE).zip(g.par_chunks(PIECE)).zip(u.par_chunks(PIECE));
        let pieces = dg.par_chunks_mut(PIECE).zip(du.par_chunks_mut(PIECE)).zip(inputs);
        each(g.len(), pieces, |((dg, du), ((dy, g), u))| swiglu::swiglu_bwd(self.arch, dg, du, dy, g, u));
    }

    fn attention(&self, out: &mut [f32], lse: &mut [f32], x: Qkv<f32>) {
        attention::attention(self.arch, out, lse, x);
    }
    fn attention_bwd(
        &self,
        grads: (&mut [f32], &mut [f32], &mut [f32]),
        dout: &[f32],
        out: &[f32],
        lse: &[f32],
        x: Qkv<f32>,
    ) {
        attention::attention_bwd(self.arch, grads, dout, out, lse, x);
    }

    fn log_softmax(&self, lse: &mut [f32], entropy: &mut [f32], z: &[f32], t: f32) {
        let vocab = (z.len() / lse.len().max(1)).max(1);
        let pieces = lse.par_iter_mut().zip(entropy.par_iter_mut()).zip(z.par_chunks(vocab));
        each(z.len(), pieces, |((lse, entropy), z)| (*lse, *entropy) = head::log_softmax(self.arch, z, t));
    }
    fn log_softmax_bwd(&self, dz: &mut [f32], z: &[f32], targets: &[u32], dlogp: &[f32], t: f32, lse: &[f32]) {
        let vocab = (z.len() / lse.len().max(1)).max(1);
        let scalars = targets.par_iter().zip(dlogp).zip(lse);
        let pieces = dz.par_chunks_mut(vocab).zip(z.par_chunks(vocab)).zip(scalars);
        each(z.len(), pieces, |((dz, z), ((&target, &dlogp), &lse))| {
            head::log_softmax_bwd(self.arch, dz, z, target as usize, dlogp, t, lse);
        });
    }
    fn masses(&self, e: &mut [f32], z: &[f32], max: f32, t: f32) {
        head::masses(self.arch, e, z, max, t);
    }
    fn sample(&self, ids: &mut [u32], logp: &mut [f32], z: &[f32], s: &Sampling, keys: &[u32]) {
        let vocab = (z.len() / ids.len().max(1)).max(1);
        let inputs = z.par_chunks(vocab).zip(keys.par_chunks(4));
        let pieces = ids.par_chunks_mut(1).zip(logp.par_chunks_mut(1)).zip(inputs);
        each(z.len(), pieces, |((id, logp), (z, key))| sample::sample(self, id, logp, z, s, key));
    }

    fn sum_squares(&self, x: &[f32]) -> (f64, u64) {
        let mut sums = vec![(0.0, 0); x.len().div_ceil(PIECE)];
        let pieces = x.par_chunks(PIECE).zip(&mut sums);
        each(x.len(), pieces, |(x, sum)| *sum = optim::sum_squares(self.arch, x));
        sums.into_iter().fold((0.0, 0), |(sum, bad), (s, b)| (sum + s, bad + b))
    }
    fn adamw(&self, w: &mut [f32], g: &[f32], m: &mut [f32], v: &mut [f32], hyper: &AdamW, clip: f32) -> f64 {
        let mut changes = vec![0.0; g.len().div_ceil(PIECE)];
        let state = m.par_chunks_mut(PIECE).zip(v.par_chunks_mut(PIECE)).zip(&mut changes);
        let pieces = w.par_chunks_mut(PIECE).zip(g.par_chunks(PIECE)).zip(state);
        each(g.len(), pieces, |((w, g), ((m, v), change))| {
            *change = optim::adamw(self.arch, w, g, m, v, hyper, clip);
        });
        changes.into_iter().sum()
    }
    fn adamw_bf16(&self, state: Bf16State<'_>, g: &[f32], hyper: &AdamW, clip: f32) -> (f64, u64) {
        let Bf16State { w, m, v, origin, key } = state;
        let mut changes = vec![(0.0, 0); g.len().div_ceil(PIECE)];
        let state = m.par_chunks_mut(PIECE).zip(v.par_chunks_mut(PIECE)).zip(changes.par_iter_mut().enumerate());
        let pieces = w.par_chunks_mut(PIECE).zip(g.par_chunks(PIECE)).zip(state);
        each(g.len(), pieces, |((w, g), ((m, v), (i, change)))| {
            let state = Bf16State { w, m, v, origin: origin + i * PIECE, key };
            *change = crate::cpu::optim::adamw_bf16(state, g, hyper, clip);
        });
        changes.into_iter().fold((0.0, 0), |(sum, n), (s, c)| (sum + s, n + c))
    }
}
