//! Matrix product on vector registers.
//!
//! Every element of a product is defined without reference to its place: the terms of the reduction are added in order
//! with fused multiply-add into one accumulator that starts at zero, [`KC`] at a time, and the sums of the blocks are
//! added in order. So the bits of a row depend on nothing but its own operands: not on the number of rows, the tile it
//! falls into, the number of threads or the vector width (of machines that have FMA). Tests hold it to that.

use std::cell::Cell;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::cpu::tensor::Values;

/// Terms added into one accumulator.
pub const KC: usize = 256;

/// Rows of a register tile on machines with 32 vector registers, and on the others.
pub const MR: usize = 8;
const MR_FEW: usize = 6;

/// Rows of a register tile.
pub const fn tile_height<S: Simd>() -> usize {
    if S::REGISTER_COUNT >= 32 { MR } else { MR_FEW }
}

/// An operand seen as `(i, l)`: `i` runs over rows (left) or columns (right) of the product, `l` over the reduction. The
/// element is `data[i * outer + l * inner]`, and one of the strides is 1.
#[derive(Clone, Copy)]
pub struct Side<'a> {
    pub data: Values<'a, f32>,
    pub outer: usize,
    pub inner: usize,
}

impl<'a> Side<'a> {
    pub fn f32(data: &'a [f32], outer: usize, inner: usize) -> Self {
        Self { data: Values::F(data), outer, inner }
    }

    fn covers(&self, count: usize, depth: usize) -> bool {
        let len = self.data.len();
        count == 0 || depth == 0 || (count - 1) * self.outer + (depth - 1) * self.inner < len
    }
}

/// What happens to what the output held.
#[derive(Clone, Copy)]
pub enum Store<'a> {
    Set,
    Add,
    /// Set, then add `bias[j]` (an index of the right side).
    Bias(&'a [f32]),
}

/// `c[i, j] = Σ_l left(i, l) right(j, l)`; see the module's description for the order.
#[derive(Clone, Copy)]
pub struct Product<'a> {
    pub rows: usize,
    pub cols: usize,
    pub depth: usize,
    pub left: Side<'a>,
    pub right: Side<'a>,
    pub store: Store<'a>,
}

/// The output: element `(i, j)` at `i * row + j * col`, one of which is 1. Tiles of it are written by different threads.
#[derive(Clone, Copy)]
pub struct Out {
    pub at: *mut f32,
    pub row: usize,
    pub col: usize,
}

// SAFETY: tasks write disjoint elements, and `Out` does not outlive the borrow it was made from.
unsafe impl Send for Out {}
unsafe impl Sync for Out {}

thread_local! {
    static SCRATCH: Cell<Vec<f32>> = const { Cell::new(Vec::new()) };
}

/// Work memory of the thread, kept from task to task. A guard and not a function that takes a closure, whose body would
/// be compiled without the vector instructions.
pub struct Scratch(Vec<f32>);

impl Scratch {
    pub fn take(len: usize) -> Self {
        let mut buffer = SCRATCH.take();
        if buffer.len() < len + 16 {
            buffer.resize(len + 16, 0.0);
        }
        Self(buffer)
    }

    /// `len` floats (no more than were asked for) at a 64-byte boundary, whatever they hold.
    #[inline(always)]
    pub fn floats(&mut self, len: usize) -> &mut [f32] {
        let start = self.0.as_ptr().align_offset(64).min(16);
        &mut self.0[start..start + len]
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        SCRATCH.set(std::mem::take(&mut self.0));
    }
}

/// Floating-point operations below which another thread does not pay.
const SERIAL: usize = 1 << 21;

impl Product<'_> {
    /// Computes into `out`, row-major `[rows, cols]`.
    ///
    /// # Panics
    /// When an operand or the output is shorter than the sizes say (a bug in the caller: shapes are checked before).
    pub fn run(self, arch: Arch, out: &mut [f32]) {
        assert!(out.len() == self.rows * self.cols);
        let out = Out { at: out.as_mut_ptr(), row: self.cols, col: 1 };
        // The right side is copied into panels, the left is read where it lies: with few rows, turned round.
        if self.rows <= 64 && self.rows < self.cols && self.left.inner == 1 && self.right.inner == 1 {
            let turned = Self { rows: self.cols, cols: self.rows, left: self.right, right: self.left, ..self };
            turned.split(arch, Out { at: out.at, row: out.col, col: out.row }, true);
        } else {
            self.split(arch, out, false);
        }
    }

    fn split(self, arch: Arch, out: Out, turned: bool) {
        assert!(self.left.covers(self.rows, self.depth) && self.right.covers(self.cols, self.depth));
        let threads = rayon::current_num_threads();
        let work = 2 * self.rows * self.cols * self.depth.max(1);
        let tasks = if threads == 1 { 1 } else { (work / SERIAL).clamp(1, 4 * threads) };
        // Panels as wide as two AVX-512 registers; how work is cut does not change bits.
        let panels = self.cols.div_ceil(32);
        let blocks_of = |groups: usize| {
            tasks.div_ceil(groups.max(1)).min(self.rows.div_ceil(48)).max(self.rows.div_ceil(512)).max(1)
        };
        let group = if self.left.inner == 1 {
            (panels / tasks).clamp(1, 8)
        } else {
            // The left side is packed once for every group of panels, the right one for every block of rows.
            let packed = |g: &usize| {
                let groups = panels.div_ceil(*g);
                groups * self.rows + blocks_of(groups) * self.cols
            };
            // Never fewer tasks than narrow groups would give.
            let made = |g: usize| panels.div_ceil(g) * blocks_of(panels.div_ceil(g));
            let enough = |g: &usize| made(*g) >= tasks.min(made(1));
            (1..=panels.clamp(1, 8)).filter(enough).min_by_key(packed).unwrap_or(1)
        };
        let groups = panels.div_ceil(group);
        let blocks = blocks_of(groups);
        let height = self.rows.div_ceil(blocks).next_multiple_of(24);
        let blocks = self.rows.div_ceil(height);
        let task = |t: usize| {
            let (rows, cols) = ((t % blocks) * height, (t / blocks) * group * 32);
            arch.dispatch(Block {
                p: self,
                out,
                turned,
                rows: rows..self.rows.min(rows + height),
                cols: cols..self.cols.min(cols + group * 32),
            });
        };
        if tasks == 1 {
            (0..groups * blocks).for_each(task);
        } else {
            (0..groups * blocks).into_par_iter().with_max_len(1).for_each(task);
        }
    }
}

/// One task: rows × columns of the output.
struct Block<'a> {
    p: Product<'a>,
    out: Out,
    turned: bool,
    rows: std::ops::Range<usize>,
    cols: std::ops::Range<usize>,
}

impl WithSimd for Block<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { p, out, turned, rows, cols } = self;
        let width = 2 * S::F32_LANES;
        let height = tile_height::<S>();
        let panels = cols.len().div_ceil(width);
        let tiles = if p.left.inner == 1 { 1 } else { rows.len().div_ceil(height) };
        let size = (panels * width + tiles * MR) * KC + MR * width;
        let mut scratch = Scratch::take(size);
        let scratch = scratch.floats(size);
        let (right, scratch) = scratch.split_at_mut(panels * width * KC);
        let (left, edge) = scratch.split_at_mut(tiles * MR * KC);
        let mut l0 = 0;
        loop {
            let depth = KC.min(p.depth - l0);
            for (n, panel) in right.chunks_exact_mut(width * KC).enumerate() {
                let j = cols.start + n * width;
                pack(panel, width, p.right, j..cols.end.min(j + width), l0, depth, left);
            }
            if p.left.inner != 1 {
                pack_left(left, p.left, rows.clone(), height, l0, depth);
            }
            let last = l0 + depth == p.depth;
            for (n, i) in rows.clone().step_by(height).enumerate() {
                let count = height.min(rows.end - i);
                let (a, row, step) = if p.left.inner == 1 {
                    let (a, row) = left_tile(p.left, i, count, l0, depth, left);
                    (a, row, 1)
                } else {
                    (left[n * MR * KC..].as_ptr(), 1, MR)
                };
                for (n, panel) in right.chunks_exact(width * KC).enumerate() {
                    let j = cols.start + n * width;
                    let tile = Tile { a, row, step, b: panel.as_ptr(), b_step: width, depth };
                    let to = Place {
                        // SAFETY: (i, j) is inside the output, which `Product::run` checked.
                        at: unsafe { out.at.add(i * out.row + j * out.col) },
                        row: out.row,
                        col: out.col,
                        cols: width.min(cols.end - j),
                        add: l0 > 0 || matches!(p.store, Store::Add),
                        bias: match p.store {
                            Store::Bias(b) if last && turned => Bias::Rows(&b[i..i + count]),
                            Store::Bias(b) if last => Bias::Cols(&b[j..cols.end.min(j + width)]),
                            _ => Bias::None,
                        },
                    };
                    // SAFETY: `left_tile` and `pack` made operands of these sizes; the tile is this task's.
                    unsafe { tile_of(simd, count, tile, to, edge) };
                }
            }
            l0 += depth;
            if last {
                break;
            }
        }
    }
}

/// Copies `right(j, l)` for the columns `cols` and `l0..l0+depth` to `panel[l * width + j]`, zeros beyond the columns.
#[inline(always)]
fn pack(
    panel: &mut [f32],
    width: usize,
    right: Side,
    cols: std::ops::Range<usize>,
    l0: usize,
    depth: usize,
    scratch: &mut [f32],
) {
    let count = cols.len();
    if count < width {
        panel[..depth * width].fill(0.0);
    }
    if right.outer == 1 {
        for l in 0..depth {
            let at = (l0 + l) * right.inner + cols.start;
            let row = &mut panel[l * width..][..count];
            expand_from(right.data, at, row);
        }
        return;
    }
    match right.data {
        Values::F(v) => transpose(panel, width, &v[cols.start * right.outer + l0..], right.outer, count, depth),
        data => {
            for (n, j) in cols.step_by(8).enumerate() {
                let rows = 8.min(count - 8 * n);
                for r in 0..rows {
                    expand_from(data, (j + r) * right.outer + l0, &mut scratch[r * KC..][..depth]);
                }
                transpose(&mut panel[8 * n..], width, scratch, KC, rows, depth);
            }
        }
    }
}

/// Elements `at ..` of packed weights, all of one row.
#[inline(always)]
fn expand_from(data: Values<f32>, at: usize, to: &mut [f32]) {
    match data {
        Values::F(v) => to.copy_from_slice(&v[at..at + to.len()]),
        Values::Bf16(v) => expand(to, &v[at..at + to.len()]),
        Values::Quant(v) => v.expand(at, to),
    }
}

#[inline(always)]
fn expand(to: &mut [f32], from: &[u16]) {
    for (to, &b) in to.iter_mut().zip(from) {
        *to = f32::from_bits(u32::from(b) << 16);
    }
}

/// Copies `left(i, l)` for `rows` and `l0..l0+depth`, of a left side whose rows are its unit stride, to tiles of
/// `height` rows: `to[tile][l][MR]`. Going through the source in its own order keeps to few pages.
#[inline(always)]
fn pack_left(to: &mut [f32], left: Side, rows: std::ops::Range<usize>, height: usize, l0: usize, depth: usize) {
    let Values::F(v) = left.data else { return };
    for l in 0..depth {
        let from = &v[(l0 + l) * left.inner..][rows.clone()];
        let whole = from.len() / height;
        for (t, from) in from.chunks_exact(height).enumerate() {
            let to = &mut to[(t * KC + l) * MR..][..MR];
            if let (Ok(from), MR) = (<&[f32; MR]>::try_from(from), height) {
                to.copy_from_slice(from);
            } else {
                to[..height].copy_from_slice(from);
            }
        }
        let rest = &from[whole * height..];
        if !rest.is_empty() {
            to[(whole * KC + l) * MR..][..rest.len()].copy_from_slice(rest);
        }
    }
}

/// Rows `i..i+count` of a left side that lies along the reduction, over `l0..l0+depth`: a pointer and the stride of
/// rows. Packed weights are expanded into `scratch`.
#[inline(always)]
fn left_tile(left: Side, i: usize, count: usize, l0: usize, depth: usize, scratch: &mut [f32]) -> (*const f32, usize) {
    match left.data {
        Values::F(v) => (v[i * left.outer + l0..].as_ptr(), left.outer),
        data => {
            for (r, to) in scratch.chunks_exact_mut(KC).take(count).enumerate() {
                expand_from(data, (i + r) * left.outer + l0, &mut to[..depth]);
            }
            (scratch.as_ptr(), KC)
        }
    }
}

/// Operands of a register tile: `a(i, l)` at `a[i * row + l * step]`; `b(l, j)` at `b[l * b_step + j]`, a whole number
/// of registers wide.
#[derive(Clone, Copy)]
pub struct Tile {
    pub a: *const f32,
    pub row: usize,
    pub step: usize,
    pub b: *const f32,
    pub b_step: usize,
    pub depth: usize,
}

/// Where a tile goes.
#[derive(Clone, Copy)]
pub struct Place<'a> {
    pub at: *mut f32,
    pub row: usize,
    pub col: usize,
    /// Columns that exist; at most two registers.
    pub cols: usize,
    pub add: bool,
    pub bias: Bias<'a>,
}

#[derive(Clone, Copy)]
pub enum Bias<'a> {
    None,
    Cols(&'a [f32]),
    Rows(&'a [f32]),
}

/// A tile of `count` (1 to [`MR`]) rows. `edge` holds a tile on its way out when it is not a whole one.
///
/// # Safety
/// The pointers of `tile` and `to` are valid for `count` rows, `tile.depth` terms, and (b) the registers that hold
/// `to.cols` columns.
#[inline(always)]
pub unsafe fn tile_of<S: Simd>(simd: S, count: usize, tile: Tile, to: Place, edge: &mut [f32]) {
    let narrow = to.cols <= S::F32_LANES;
    // SAFETY: passed on.
    unsafe {
        match (count, narrow) {
            (1, true) => tile_sized::<S, 1, 1>(simd, tile, to, edge),
            (2, true) => tile_sized::<S, 2, 1>(simd, tile, to, edge),
            (3, true) => tile_sized::<S, 3, 1>(simd, tile, to, edge),
            (4, true) => tile_sized::<S, 4, 1>(simd, tile, to, edge),
            (5, true) => tile_sized::<S, 5, 1>(simd, tile, to, edge),
            (6, true) => tile_sized::<S, 6, 1>(simd, tile, to, edge),
            (7, true) => tile_sized::<S, 7, 1>(simd, tile, to, edge),
            (_, true) => tile_sized::<S, 8, 1>(simd, tile, to, edge),
            (1, false) => tile_sized::<S, 1, 2>(simd, tile, to, edge),
            (2, false) => tile_sized::<S, 2, 2>(simd, tile, to, edge),
            (3, false) => tile_sized::<S, 3, 2>(simd, tile, to, edge),
            (4, false) => tile_sized::<S, 4, 2>(simd, tile, to, edge),
            (5, false) => tile_sized::<S, 5, 2>(simd, tile, to, edge),
            (6, false) => tile_sized::<S, 6, 2>(simd, tile, to, edge),
            (7, false) => tile_sized::<S, 7, 2>(simd, tile, to, edge),
            (_, false) => tile_sized::<S, 8, 2>(simd, tile, to, edge),
        }
    }
}

struct Call<'a, const R: usize, const V: usize> {
    tile: Tile,
    to: Place<'a>,
    edge: &'a mut [f32],
}

/// Its own function with the vector instructions enabled, not inlined sixteen times.
#[inline(always)]
unsafe fn tile_sized<S: Simd, const R: usize, const V: usize>(simd: S, tile: Tile, to: Place, edge: &mut [f32]) {
    simd.vectorize(Call::<R, V> { tile, to, edge });
}

impl<const R: usize, const V: usize> WithSimd for Call<'_, R, V> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Self { tile: t, to, edge } = self;
        let lanes = S::F32_LANES;
        let mut acc = [[simd.splat_f32s(0.0); V]; R];
        // SAFETY: `tile_of`'s caller vouches for the operands; vector types have the alignment of their elements.
        unsafe {
            for l in 0..t.depth {
                let b = t.b.add(l * t.b_step).cast::<S::f32s>();
                let b: [S::f32s; V] = std::array::from_fn(|j| *b.add(j));
                for (i, acc) in acc.iter_mut().enumerate() {
                    let a = simd.splat_f32s(*t.a.add(i * t.row + l * t.step));
                    for (acc, &b) in acc.iter_mut().zip(&b) {
                        *acc = simd.mul_add_e_f32s(a, b, *acc);
                    }
                }
            }
            if to.col == 1 && to.cols == V * lanes && !matches!(to.bias, Bias::Rows(_)) {
                for (i, acc) in acc.iter().enumerate() {
                    for (j, &acc) in acc.iter().enumerate() {
                        let to_at = to.at.add(i * to.row + j * lanes).cast::<S::f32s>();
                        let sum = if to.add { simd.add_f32s(*to_at, acc) } else { acc };
                        *to_at = match to.bias {
                            Bias::Cols(b) => simd.add_f32s(sum, *b.as_ptr().add(j * lanes).cast::<S::f32s>()),
                            _ => sum,
                        };
                    }
                }
                return;
            }
            for (i, acc) in acc.iter().enumerate() {
                for (j, &acc) in acc.iter().enumerate() {
                    *edge[(i * V + j) * lanes..][..lanes].as_mut_ptr().cast::<S::f32s>() = acc;
                }
            }
            for j in 0..to.cols {
                for i in 0..R {
                    let to_at = to.at.add(i * to.row + j * to.col);
                    let acc = edge[i * V * lanes + j];
                    let sum = if to.add { *to_at + acc } else { acc };
                    *to_at = match to.bias {
                        Bias::None => sum,
                        Bias::Cols(b) => sum + b[j],
                        Bias::Rows(b) => sum + b[i],
                    };
                }
            }
        }
    }
}

/// `to[c * to_step + r] = from[r * from_step + c]` for `rows` × `cols` of `from`.
#[inline(always)]
pub fn transpose(to: &mut [f32], to_step: usize, from: &[f32], from_step: usize, rows: usize, cols: usize) {
    #[cfg(target_arch = "x86_64")]
    if let Some(avx) = pulp::x86::V3::try_new() {
        for r in (0..rows).step_by(8) {
            for c in (0..cols).step_by(8) {
                let (to, from) = (&mut to[c * to_step + r..], &from[r * from_step + c..]);
                if rows - r >= 8 && cols - c >= 8 {
                    transpose8(avx, to, to_step, from, from_step);
                } else {
                    transpose_plain(to, to_step, from, from_step, 8.min(rows - r), 8.min(cols - c));
                }
            }
        }
        return;
    }
    transpose_plain(to, to_step, from, from_step, rows, cols);
}

#[inline(always)]
fn transpose_plain(to: &mut [f32], to_step: usize, from: &[f32], from_step: usize, rows: usize, cols: usize) {
    for r in 0..rows {
        for c in 0..cols {
            to[c * to_step + r] = from[r * from_step + c];
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transpose8(v: pulp::x86::V3, to: &mut [f32], to_step: usize, from: &[f32], from_step: usize) {
    use pulp::f32x8;
    let mut rows = [f32x8(0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0); 8];
    for (r, row) in rows.iter_mut().enumerate() {
        let mut x = [0.0; 8];
        x.copy_from_slice(&from[r * from_step..][..8]);
        *row = pulp::cast(x);
    }
    let [a, b, c, d, e, f, g, h] = rows;
    let (top, low) = (transpose4(v, a, b, c, d), transpose4(v, e, f, g, h));
    for i in 0..4 {
        let (top, low) = (pulp::cast(top[i]), pulp::cast(low[i]));
        let left: [f32; 8] = pulp::cast(v.avx._mm256_permute2f128_ps::<0x20>(top, low));
        let right: [f32; 8] = pulp::cast(v.avx._mm256_permute2f128_ps::<0x31>(top, low));
        to[i * to_step..][..8].copy_from_slice(&left);
        to[(i + 4) * to_step..][..8].copy_from_slice(&right);
    }
}

/// Columns of four rows, in each half apart.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn transpose4(v: pulp::x86::V3, a: pulp::f32x8, b: pulp::f32x8, c: pulp::f32x8, d: pulp::f32x8) -> [pulp::f32x8; 4] {
    let (avx, a, b, c, d) = (v.avx, pulp::cast(a), pulp::cast(b), pulp::cast(c), pulp::cast(d));
    let (ab, cd) = (avx._mm256_unpacklo_ps(a, b), avx._mm256_unpacklo_ps(c, d));
    let (ab_high, cd_high) = (avx._mm256_unpackhi_ps(a, b), avx._mm256_unpackhi_ps(c, d));
    [
        pulp::cast(avx._mm256_shuffle_ps::<0x44>(ab, cd)),
        pulp::cast(avx._mm256_shuffle_ps::<0xee>(ab, cd)),
        pulp::cast(avx._mm256_shuffle_ps::<0x44>(ab_high, cd_high)),
        pulp::cast(avx._mm256_shuffle_ps::<0xee>(ab_high, cd_high)),
    ]
}
