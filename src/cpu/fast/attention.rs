//! Attention by tiles of the matrix product.
//!
//! A score adds `q k` over the head's dimensions, a row's sum of exponentials adds registers of keys in order, and an
//! output adds keys in order, in blocks counted from the sequence's first key: the same whether the row is decoded
//! alone from a cache or stands among others, because keys that a row does not see add exact zeros.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::gemm::{Bias, KC, MR, Out, Place, Scratch, Tile, tile_height, tile_of, transpose};
use super::vector::{dot, exp};
use crate::cpu::attention::Qkv;
use crate::ops::Span;

/// Query rows per task of the forward pass, and per block of the backward pass.
const QUERIES: usize = 64;

/// Key or value rows of one head, from the span's first key: columns `at..at+d` of rows `stride` apart.
#[derive(Clone, Copy)]
struct Rows<'a> {
    data: &'a [f32],
    stride: usize,
    d: usize,
}

/// A right operand in panels: `panel[l * step + j]`, panels `next` apart.
#[derive(Clone, Copy)]
struct Panels {
    at: *const f32,
    step: usize,
    next: usize,
}

impl Rows<'_> {
    /// As a right operand whose columns are the dimensions: in place when they fill registers, else copied.
    #[inline(always)]
    fn by_dimension<S: Simd>(self, count: usize, scratch: &mut [f32]) -> Panels {
        let width = 2 * S::F32_LANES;
        if self.d.is_multiple_of(S::F32_LANES) {
            return Panels { at: self.data.as_ptr(), step: self.stride, next: width };
        }
        for (p, panel) in scratch.chunks_exact_mut(count * width).take(self.d.div_ceil(width)).enumerate() {
            let cols = width.min(self.d - p * width);
            for (l, to) in panel.chunks_exact_mut(width).enumerate() {
                to[..cols].copy_from_slice(&self.data[l * self.stride + p * width..][..cols]);
                to[cols..].fill(0.0);
            }
        }
        Panels { at: scratch.as_ptr(), step: width, next: count * width }
    }

    /// As a right operand whose columns are the rows.
    #[inline(always)]
    fn by_row<S: Simd>(self, count: usize, scratch: &mut [f32]) -> Panels {
        let width = 2 * S::F32_LANES;
        for (p, panel) in scratch.chunks_exact_mut(self.d * width).take(count.div_ceil(width)).enumerate() {
            let rows = width.min(count - p * width);
            if rows < width {
                panel.fill(0.0);
            }
            transpose(panel, width, &self.data[p * width * self.stride..], self.stride, rows, self.d);
        }
        Panels { at: scratch.as_ptr(), step: width, next: self.d * width }
    }

    /// Floats either form takes.
    fn room(d: usize, count: usize, width: usize) -> usize {
        (count.next_multiple_of(width) * d).max(count * d.next_multiple_of(width))
    }
}

/// `rows` (at most [`MR`]) by `cols` of a product over `depth`, in blocks of [`KC`]; set, or added to what is there.
///
/// # Safety
/// `a`, `b` and `to` are valid for these sizes.
#[inline(always)]
#[allow(clippy::too_many_arguments)]
unsafe fn product<S: Simd>(
    simd: S,
    (rows, cols, depth): (usize, usize, usize),
    a: *const f32,
    (row, step): (usize, usize),
    b: Panels,
    to: *mut f32,
    to_row: usize,
    add: bool,
    edge: &mut [f32],
) {
    let width = 2 * S::F32_LANES;
    for (p, j) in (0..cols).step_by(width).enumerate() {
        for l in (0..depth).step_by(KC) {
            // SAFETY: inside the operands.
            unsafe {
                let tile = Tile {
                    a: a.add(l * step),
                    row,
                    step,
                    b: b.at.add(p * b.next + l * b.step),
                    b_step: b.step,
                    depth: KC.min(depth - l),
                };
                let place = Place {
                    at: to.add(j),
                    row: to_row,
                    col: 1,
                    cols: width.min(cols - j),
                    add: add || l > 0,
                    bias: Bias::None,
                };
                tile_of(simd, rows, tile, place, edge);
            }
        }
    }
}

/// Query rows of a span.
#[derive(Clone, Copy)]
struct Task {
    span: Span,
    kv_head: usize,
    first: usize,
    count: usize,
}

fn tasks(x: &Qkv<f32>, queries: usize) -> Vec<Task> {
    let mut tasks = Vec::new();
    for &span in x.spans {
        for kv_head in 0..x.shape.kv_heads {
            for first in (0..span.n).step_by(queries) {
                tasks.push(Task { span, kv_head, first, count: queries.min(span.n - first) });
            }
        }
    }
    tasks
}

/// Runs tasks whose whole arithmetic is about `work` operations, on threads when that pays.
fn each(tasks: Vec<Task>, work: usize, f: impl Fn(Task) + Sync + Send) {
    if work < 1 << 20 || tasks.len() < 2 || rayon::current_num_threads() == 1 {
        tasks.into_iter().for_each(f);
    } else {
        tasks.into_par_iter().with_max_len(1).for_each(f);
    }
}

fn pairs(x: &Qkv<f32>) -> usize {
    x.spans.iter().map(|s| s.n * (s.past + s.n)).sum::<usize>() * x.shape.heads
}

fn out(x: &mut [f32], row: usize) -> Out {
    Out { at: x.as_mut_ptr(), row, col: 1 }
}

/// As the plain one.
pub fn attention(arch: Arch, to: &mut [f32], lse: &mut [f32], x: Qkv<f32>) {
    let (to, lse) = (out(to, x.widths().0), out(lse, x.shape.heads));
    each(tasks(&x, QUERIES), 4 * pairs(&x) * x.shape.head_dim, |task| arch.dispatch(Forward { task, x, to, lse }));
}

struct Forward<'a> {
    task: Task,
    x: Qkv<'a, f32>,
    to: Out,
    lse: Out,
}

impl WithSimd for Forward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { task: Task { span, kv_head, first, count }, x, to, lse } = self;
        let (d, (width, kv_width)) = (x.shape.head_dim, x.widths());
        let (group, panel) = (x.shape.heads / x.shape.kv_heads, 2 * S::F32_LANES);
        let keys = span.past + first + count;
        let ld = keys.next_multiple_of(panel);
        let room = Rows::room(d, keys, panel);
        let size = 2 * room + MR * (ld + panel);
        let mut scratch = Scratch::take(size);
        let scratch = scratch.floats(size);
        let (k_room, scratch) = scratch.split_at_mut(room);
        let (v_room, scratch) = scratch.split_at_mut(room);
        let (scores, edge) = scratch.split_at_mut(MR * ld);
        let at = span.k0 * kv_width + kv_head * d;
        let k = Rows { data: &x.k[at..], stride: kv_width, d }.by_row::<S>(keys, k_room);
        let v = Rows { data: &x.v[at..], stride: kv_width, d }.by_dimension::<S>(keys, v_room);
        for head in kv_head * group..(kv_head + 1) * group {
            for i in (first..first + count).step_by(tile_height::<S>()) {
                let rows = tile_height::<S>().min(first + count - i);
                let seen = span.past + i + rows;
                let at = (span.q0 + i) * width + head * d;
                let q = x.q[at..].as_ptr();
                // SAFETY: `q` holds `rows` rows, the panels `keys` keys of `d`, `scores` `rows` rows of `ld`.
                unsafe { product(simd, (rows, seen, d), q, (width, 1), k, scores.as_mut_ptr(), ld, false, edge) };
                let mut inverse = [0.0; MR];
                for (r, row) in scores.chunks_exact_mut(ld).take(rows).enumerate() {
                    let own = span.past + i + r + 1;
                    let (max, sum) = softmax(simd, row, own, x.shape.scale);
                    row[own..seen].fill(0.0);
                    inverse[r] = 1.0 / sum;
                    // SAFETY: inside the output, which has an entry per row and head; this one is this task's.
                    unsafe { *lse.at.add((span.q0 + i + r) * lse.row + head) = max + sum.ln() };
                }
                // SAFETY: as above; columns `head * d..` of these rows of the output are this task's.
                unsafe {
                    let to = to.at.add(at);
                    product(simd, (rows, d, seen), scores.as_ptr(), (ld, 1), v, to, width, false, edge);
                    for (r, inverse) in inverse.iter().take(rows).enumerate() {
                        for o in std::slice::from_raw_parts_mut(to.add(r * width), d) {
                            // Adding 0 makes a negative zero, which underflow can leave, positive.
                            *o = *o * inverse + 0.0;
                        }
                    }
                }
            }
        }
    }
}

/// Replaces the first `own` scores by `exp(scale s - max)` and those up to a whole register by 0. Returns the largest
/// `scale s` and the sum.
#[inline(always)]
fn softmax<S: Simd>(s: S, row: &mut [f32], own: usize, scale: f32) -> (f32, f32) {
    let padded = own.next_multiple_of(S::F32_LANES);
    let factor = s.splat_f32s(scale);
    for x in S::as_mut_simd_f32s(&mut row[..padded]).0 {
        *x = s.mul_f32s(*x, factor);
    }
    row[own..padded].fill(f32::NEG_INFINITY);
    let (registers, _) = S::as_mut_simd_f32s(&mut row[..padded]);
    let mut max = s.splat_f32s(f32::NEG_INFINITY);
    for &x in &*registers {
        max = s.max_f32s(x, max);
    }
    let max = s.reduce_max_f32s(max);
    let (maxv, mut sum) = (s.splat_f32s(max), s.splat_f32s(0.0));
    for x in registers {
        *x = exp(s, s.sub_f32s(*x, maxv));
        sum = s.add_f32s(sum, *x);
    }
    (max, s.reduce_sum_f32s(sum))
}

/// As the plain one, for spans that share no keys; `dq`, `dk`, `dv` hold zeros.
pub fn attention_bwd(
    arch: Arch,
    (dq, dk, dv): (&mut [f32], &mut [f32], &mut [f32]),
    dout: &[f32],
    o: &[f32],
    lse: &[f32],
    x: Qkv<f32>,
) {
    let (width, kv_width) = x.widths();
    let grads = [out(dq, width), out(dk, kv_width), out(dv, kv_width)];
    let work = 10 * pairs(&x) * x.shape.head_dim;
    each(tasks(&x, usize::MAX), work, |task| arch.dispatch(Backward { task, x, dout, o, lse, grads }));
}

struct Backward<'a> {
    task: Task,
    x: Qkv<'a, f32>,
    dout: &'a [f32],
    o: &'a [f32],
    lse: &'a [f32],
    grads: [Out; 3],
}

impl WithSimd for Backward<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { task: Task { span, kv_head, .. }, x, dout, o, lse, grads: [dq, dk, dv] } = self;
        let (d, (width, kv_width)) = (x.shape.head_dim, x.widths());
        let (group, panel, height) = (x.shape.heads / x.shape.kv_heads, 2 * S::F32_LANES, tile_height::<S>());
        let (past, keys) = (span.past, span.past + span.n);
        let ld = keys.next_multiple_of(panel);
        let (room, block_room) = (Rows::room(d, keys, panel), Rows::room(d, QUERIES, panel));
        let size = 3 * room + 2 * block_room + 2 * QUERIES * ld + MR * panel;
        let mut scratch = Scratch::take(size);
        let scratch = scratch.floats(size);
        let (k_room, scratch) = scratch.split_at_mut(room);
        let (v_room, scratch) = scratch.split_at_mut(room);
        let (kd_room, scratch) = scratch.split_at_mut(room);
        let (q_room, scratch) = scratch.split_at_mut(block_room);
        let (do_room, scratch) = scratch.split_at_mut(block_room);
        let (p, scratch) = scratch.split_at_mut(QUERIES * ld);
        let (ds, edge) = scratch.split_at_mut(QUERIES * ld);
        let at = span.k0 * kv_width + kv_head * d;
        let k_rows = Rows { data: &x.k[at..], stride: kv_width, d };
        let k = k_rows.by_row::<S>(keys, k_room);
        let v = Rows { data: &x.v[at..], stride: kv_width, d }.by_row::<S>(keys, v_room);
        let kd = k_rows.by_dimension::<S>(keys, kd_room);
        for head in kv_head * group..(kv_head + 1) * group {
            for first in (0..span.n).step_by(QUERIES) {
                let end = span.n.min(first + QUERIES);
                let at = |i: usize| (span.q0 + i) * width + head * d;
                for i in (first..end).step_by(height) {
                    let rows = height.min(end - i);
                    let (p, ds) = (&mut p[(i - first) * ld..], &mut ds[(i - first) * ld..]);
                    let (q, g) = (x.q[at(i)..].as_ptr(), dout[at(i)..].as_ptr());
                    // SAFETY: `rows` rows of the span, panels of its keys, buffers of `ld` per row.
                    unsafe {
                        let size = (rows, past + i + rows, d);
                        product(simd, size, q, (width, 1), k, p.as_mut_ptr(), ld, false, edge);
                        product(simd, size, g, (width, 1), v, ds.as_mut_ptr(), ld, false, edge);
                    }
                    for (r, (p, ds)) in p.chunks_exact_mut(ld).zip(ds.chunks_exact_mut(ld)).take(rows).enumerate() {
                        let delta = dot(simd, &dout[at(i + r)..][..d], &o[at(i + r)..][..d]);
                        let lse = lse[(span.q0 + i + r) * x.shape.heads + head];
                        let own = past + i + r + 1;
                        scores_bwd(simd, p, ds, own, x.shape.scale, lse, delta);
                        p[own..past + end].fill(0.0);
                        ds[own..past + end].fill(0.0);
                    }
                    // SAFETY: as above; columns `head * d..` of these rows of dq are this task's.
                    unsafe {
                        let size = (rows, d, past + i + rows);
                        product(simd, size, ds.as_ptr(), (ld, 1), kd, dq.at.add(at(i)), width, false, edge);
                    }
                }
                let of = |data| Rows { data, stride: width, d };
                let q = of(&x.q[at(first)..]).by_dimension::<S>(end - first, q_room);
                let g = of(&dout[at(first)..]).by_dimension::<S>(end - first, do_room);
                for j in (0..past + end).step_by(height) {
                    // Queries before the key do not see it.
                    let skip = j.saturating_sub(past + first);
                    let size = (height.min(past + end - j), d, end - first - skip);
                    let to = (span.k0 + j) * kv_width + kv_head * d;
                    // SAFETY: as above; columns `kv_head * d..` of these rows of dk, dv are this task's.
                    unsafe {
                        let (a, b) = (ds[skip * ld + j..].as_ptr(), q.skip(skip));
                        product(simd, size, a, (1, ld), b, dk.at.add(to), kv_width, true, edge);
                        let (a, b) = (p[skip * ld + j..].as_ptr(), g.skip(skip));
                        product(simd, size, a, (1, ld), b, dv.at.add(to), kv_width, true, edge);
                    }
                }
            }
        }
    }
}

impl Panels {
    /// From the l-th term on.
    #[inline(always)]
    fn skip(self, l: usize) -> Self {
        Self { at: self.at.wrapping_add(l * self.step), ..self }
    }
}

/// Scores and `dP` of the first `own` keys become `P = exp(scale s - lse)` and `scale dS = scale P (dP - delta)`.
#[inline(always)]
fn scores_bwd<S: Simd>(s: S, p: &mut [f32], ds: &mut [f32], own: usize, scale: f32, lse: f32, delta: f32) {
    let padded = own.next_multiple_of(S::F32_LANES);
    let (scale, lse, delta) = (s.splat_f32s(scale), s.splat_f32s(-lse), s.splat_f32s(delta));
    let (p, ds) = (S::as_mut_simd_f32s(&mut p[..padded]).0, S::as_mut_simd_f32s(&mut ds[..padded]).0);
    for (p, ds) in p.iter_mut().zip(ds) {
        *p = exp(s, s.mul_add_e_f32s(*p, scale, lse));
        *ds = s.mul_f32s(s.mul_f32s(*p, s.sub_f32s(*ds, delta)), scale);
    }
}
