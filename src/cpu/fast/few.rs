//! Products of a few rows with rows of weights, as decoding has them: bound by reading the weights, once for eight rows of `x`.
//!
//! A register holds one term of the reduction for as many rows of weights as it has lanes, so squares of the weights are turned round in
//! registers. Every sum is added in the order of `gemm.rs`, to the same bits.

use std::ops::Range;

use rayon::prelude::*;

use super::gemm::KC;
use crate::cpu::tensor::Values;

/// Rows of `x` that share a reading of the weights.
const TOGETHER: usize = 8;
/// More rows than this are a matter for `gemm.rs`.
pub const MOST: usize = 64;
/// Weights below which `gemm.rs` is as quick.
const LEAST: usize = 1 << 15;

/// `y[M,N] = x[M,K] w[N,K]^T (+ bias)`.
#[derive(Clone, Copy)]
pub struct Few<'a> {
    pub x: &'a [f32],
    pub w: Values<'a, f32>,
    pub bias: Option<&'a [f32]>,
    pub rows: usize,
    pub cols: usize,
    pub depth: usize,
}

/// Instructions that there are.
#[derive(Clone, Copy)]
enum Level {
    #[cfg(target_arch = "x86_64")]
    V4,
    #[cfg(target_arch = "x86_64")]
    V3,
}

fn level() -> Option<Level> {
    #[cfg(target_arch = "x86_64")]
    {
        if pulp::x86::V4::try_new().is_some() {
            return Some(Level::V4);
        }
        if pulp::x86::V3::try_new().is_some() {
            return Some(Level::V3);
        }
    }
    None
}

/// `y`, written by several threads at places that are apart.
#[derive(Clone, Copy)]
struct Out(*mut f32);
// SAFETY: tasks write different columns, and none outlives the borrow it was made from.
unsafe impl Send for Out {}
unsafe impl Sync for Out {}

impl Few<'_> {
    /// Computes into `y` where this is the quick way and the machine has the instructions; else false.
    pub fn run(self, y: &mut [f32]) -> bool {
        let len = self.w.len();
        if self.rows == 0 || self.rows > MOST || self.depth == 0 || self.cols * self.depth < LEAST {
            return false;
        }
        let Some(level) = level() else { return false };
        assert!(y.len() == self.rows * self.cols && self.x.len() == self.rows * self.depth);
        assert!(len >= self.cols * self.depth && self.bias.is_none_or(|b| b.len() == self.cols));
        let out = Out(y.as_mut_ptr());
        let tasks = if rayon::current_num_threads() == 1 { 1 } else { 4 * rayon::current_num_threads() };
        let step = self.cols.div_ceil(tasks).next_multiple_of(16);
        let task = |t: usize| {
            let cols = t * step..self.cols.min((t + 1) * step);
            let first = self.eights(level, out, cols.clone());
            for first in (first..self.rows).step_by(TOGETHER) {
                let rows = first..self.rows.min(first + TOGETHER);
                match rows.len() {
                    1 => self.piece::<1>(level, out, rows, cols.clone()),
                    2 => self.piece::<2>(level, out, rows, cols.clone()),
                    3 => self.piece::<3>(level, out, rows, cols.clone()),
                    4 => self.piece::<4>(level, out, rows, cols.clone()),
                    5 => self.piece::<5>(level, out, rows, cols.clone()),
                    6 => self.piece::<6>(level, out, rows, cols.clone()),
                    7 => self.piece::<7>(level, out, rows, cols.clone()),
                    _ => self.piece::<8>(level, out, rows, cols.clone()),
                }
            }
        };
        let tasks = self.cols.div_ceil(step);
        // Less than this is done before another thread is awake; one row reads as many weights as eight.
        if tasks == 1 || 2 * self.rows.max(TOGETHER) * self.cols * self.depth < 1 << 21 {
            (0..tasks).for_each(task);
        } else {
            (0..tasks).into_par_iter().with_max_len(1).for_each(task);
        }
        true
    }

    /// Rows by the eights where they can share weights that have been turned round; returns how many.
    fn eights(self, level: Level, out: Out, cols: Range<usize>) -> usize {
        let eights = self.rows / TOGETHER;
        // SAFETY: as of `piece`.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            match (level, eights) {
                (Level::V3, _) | (_, 0 | 1) => return 0,
                (_, 2) => x86::wide::<8, 2>(self, out.0, 0, cols),
                (_, 3) => x86::wide::<8, 3>(self, out.0, 0, cols),
                (_, 4) => x86::wide::<8, 4>(self, out.0, 0, cols),
                (_, 5) => x86::wide::<8, 5>(self, out.0, 0, cols),
                (_, 6) => x86::wide::<8, 6>(self, out.0, 0, cols),
                (_, 7) => x86::wide::<8, 7>(self, out.0, 0, cols),
                _ => x86::wide::<8, 8>(self, out.0, 0, cols),
            }
            eights * TOGETHER
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = (out, cols, eights);
            match level {}
        }
    }

    /// `B` rows of `y` at some columns.
    fn piece<const B: usize>(self, level: Level, out: Out, rows: Range<usize>, cols: Range<usize>) {
        // SAFETY: `level` says that the instructions are there; `run` checked the sizes.
        #[cfg(target_arch = "x86_64")]
        unsafe {
            match level {
                Level::V4 => x86::wide::<B, 1>(self, out.0, rows.start, cols),
                Level::V3 => x86::half::<B>(self, out.0, rows, cols),
            }
        }
        #[cfg(not(target_arch = "x86_64"))]
        {
            let _ = (out, rows, cols, KC);
            match level {}
        }
    }
}

#[cfg(target_arch = "x86_64")]
mod x86 {
    use std::arch::x86_64::*;

    use super::{Few, KC, Range, Values};
    use crate::ops::quant::{Codes, INT4, NF4, Quant, scale_of};

    /// Asks for a kibibyte of the next sixteen rows, in the order of memory: sixteen rows read side by side are more streams than a
    /// processor follows by itself.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn ask_for(next: *const i8) {
        for line in 0..16 {
            _mm_prefetch::<_MM_HINT_T1>(next.wrapping_add(64 * line));
        }
    }

    /// Elements `from ..` of a row of codes; `from` a multiple of the length of every group.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    fn codes16(w: Codes, row: usize, from: usize, to: &mut [f32]) {
        let (codes, scales) = w.row(row);
        let whole = to.len() / 16;
        let group = w.format.group();
        // SAFETY: sixteen floats of the tables and of each piece of `to`; two or four words of codes that exist.
        unsafe {
            let levels = match w.format {
                Quant::Int4 => _mm512_loadu_ps(INT4.as_ptr()),
                _ => _mm512_loadu_ps(NF4.as_ptr()),
            };
            let shifts = _mm512_set_epi32(28, 24, 20, 16, 12, 8, 4, 0, 28, 24, 20, 16, 12, 8, 4, 0);
            for (i, to) in to.chunks_exact_mut(16).enumerate() {
                let at = from + 16 * i;
                let scale = _mm512_set1_ps(scale_of(scales, at / group));
                let level = match w.format {
                    Quant::Int8 => {
                        let four = _mm_loadu_si128(codes[at / 4..][..4].as_ptr().cast());
                        _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(four))
                    }
                    _ => {
                        let [a, b] = [codes[at / 8] as i32, codes[at / 8 + 1] as i32];
                        let words = _mm512_mask_set1_epi32(_mm512_set1_epi32(a), 0xff00, b);
                        // Of an index only the low four bits count.
                        _mm512_permutexvar_ps(_mm512_srlv_epi32(words, shifts), levels)
                    }
                };
                _mm512_storeu_ps(to.as_mut_ptr(), _mm512_mul_ps(level, scale));
            }
        }
        let rest = &mut to[16 * whole..];
        if !rest.is_empty() {
            w.expand(row * w.cols + from + 16 * whole, rest);
        }
    }

    /// Sixteen rows of weights at a time.
    ///
    /// # Safety
    /// AVX-512F, AVX-512BW; the sizes that [`Few::run`] checks.
    #[target_feature(enable = "avx512f,avx512bw")]
    pub unsafe fn wide<const B: usize, const C: usize>(p: Few, y: *mut f32, first: usize, cols: Range<usize>) {
        let (k, x) = (p.depth, p.x.as_ptr());
        // Codes of a block of sixteen rows, expanded.
        let mut block_of = [0.0f32; 16 * KC];
        for n in cols.clone().step_by(16) {
            let count = 16.min(cols.end - n);
            let mut total = [[_mm512_setzero_ps(); B]; C];
            for block in (0..k).step_by(KC) {
                let end = k.min(block + KC);
                let mut acc = [[_mm512_setzero_ps(); B]; C];
                // SAFETY: `n` and `l` are in range.
                unsafe {
                    let x = x.add(first * k);
                    match p.w {
                        Values::F(w) => {
                            for l in (block..end).step_by(16) {
                                let (w, x, terms) = (w.as_ptr().add(n * k + l), x.add(l), 16.min(end - l));
                                if count == 16 && terms == 16 {
                                    ask_for(w.wrapping_add(16 * k + 15 * l).cast());
                                    square::<B, C, true>((w, k), (x, k), 16, 16, &mut acc);
                                } else {
                                    square::<B, C, false>((w, k), (x, k), count, terms, &mut acc);
                                }
                            }
                        }
                        Values::Bf16(w) => {
                            for l in (block..end).step_by(32) {
                                let (w, x, terms) = (w.as_ptr().add(n * k + l), x.add(l), 32.min(end - l));
                                if count == 16 && terms == 32 {
                                    ask_for(w.wrapping_add(16 * k + 15 * l).cast());
                                    square_bf16::<B, C, true>(w, x, k, 16, 32, &mut acc);
                                } else {
                                    square_bf16::<B, C, false>(w, x, k, count, terms, &mut acc);
                                }
                            }
                        }
                        Values::Quant(w) => {
                            for (i, row) in block_of.chunks_exact_mut(KC).take(count).enumerate() {
                                codes16(w, n + i, block, &mut row[..end - block]);
                            }
                            for l in (block..end).step_by(16) {
                                let (w, x, terms) = (block_of.as_ptr().add(l - block), x.add(l), 16.min(end - l));
                                if count == 16 && terms == 16 {
                                    square::<B, C, true>((w, KC), (x, k), 16, 16, &mut acc);
                                } else {
                                    square::<B, C, false>((w, KC), (x, k), count, terms, &mut acc);
                                }
                            }
                        }
                    }
                }
                for (total, acc) in total.as_flattened_mut().iter_mut().zip(acc.as_flattened()) {
                    *total = if block == 0 { *acc } else { _mm512_add_ps(*total, *acc) };
                }
            }
            let mask = ((1u32 << count) - 1) as __mmask16;
            for (b, total) in total.as_flattened().iter().enumerate() {
                let mut total = *total;
                // SAFETY: the mask leaves out what is beyond the columns.
                unsafe {
                    if let Some(bias) = p.bias {
                        total = _mm512_add_ps(total, _mm512_maskz_loadu_ps(mask, bias.as_ptr().add(n)));
                    }
                    _mm512_mask_storeu_ps(y.add((first + b) * p.cols + n), mask, total);
                }
            }
        }
    }

    /// `terms` more terms of the sums of `count` rows; at most sixteen of both, exactly so when `WHOLE`.
    ///
    /// # Safety
    /// `w` has `count` rows of `terms` elements, as far apart as the number beside it says, `x` has `B C`.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn square<const B: usize, const C: usize, const WHOLE: bool>(
        (w, step): (*const f32, usize),
        (x, k): (*const f32, usize),
        count: usize,
        terms: usize,
        sums: &mut [[__m512; B]; C],
    ) {
        // SAFETY: the caller's; masks leave out the rest.
        unsafe {
            let mask = ((1u32 << terms) - 1) as __mmask16;
            let t = std::array::from_fn(|i| match WHOLE || i < count {
                true if WHOLE => _mm512_loadu_epi32(w.add(i * step).cast()),
                true => _mm512_maskz_loadu_epi32(mask, w.add(i * step).cast()),
                false => _mm512_setzero_si512(),
            });
            let t = turned16(t);
            for (c, sums) in sums.iter_mut().enumerate() {
                let (x, mut acc) = (x.add(c * B * k), *sums);
                for (j, t) in t.into_iter().enumerate() {
                    if WHOLE || j < terms {
                        for (b, acc) in acc.iter_mut().enumerate() {
                            *acc = _mm512_fmadd_ps(_mm512_castsi512_ps(t), _mm512_set1_ps(*x.add(b * k + j)), *acc);
                        }
                    }
                }
                *sums = acc;
            }
        }
    }

    /// The same of bf16, and up to 32 terms.
    ///
    /// # Safety
    /// As of [`square`].
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw")]
    unsafe fn square_bf16<const B: usize, const C: usize, const WHOLE: bool>(
        w: *const u16,
        x: *const f32,
        k: usize,
        count: usize,
        terms: usize,
        sums: &mut [[__m512; B]; C],
    ) {
        // SAFETY: the caller's; masks leave out the rest.
        unsafe {
            let mask = ((1u64 << terms) - 1) as __mmask32;
            let t = std::array::from_fn(|i| match WHOLE || i < count {
                true if WHOLE => _mm512_loadu_epi16(w.add(i * k).cast()),
                true => _mm512_maskz_loadu_epi16(mask, w.add(i * k).cast()),
                false => _mm512_setzero_si512(),
            });
            let t = turned16(t);
            let upper = _mm512_set1_epi32(0xffff_0000u32 as i32);
            for (c, sums) in sums.iter_mut().enumerate() {
                let (x, mut acc) = (x.add(c * B * k), *sums);
                for (j, t) in t.into_iter().enumerate() {
                    if WHOLE || 2 * j < terms {
                        let even = _mm512_castsi512_ps(_mm512_slli_epi32::<16>(t));
                        for (b, acc) in acc.iter_mut().enumerate() {
                            *acc = _mm512_fmadd_ps(even, _mm512_set1_ps(*x.add(b * k + 2 * j)), *acc);
                        }
                    }
                    if WHOLE || 2 * j + 1 < terms {
                        let odd = _mm512_castsi512_ps(_mm512_and_si512(t, upper));
                        for (b, acc) in acc.iter_mut().enumerate() {
                            *acc = _mm512_fmadd_ps(odd, _mm512_set1_ps(*x.add(b * k + 2 * j + 1)), *acc);
                        }
                    }
                }
                *sums = acc;
            }
        }
    }

    /// Eight rows of weights at a time.
    ///
    /// # Safety
    /// AVX2, FMA; the sizes that [`Few::run`] checks.
    #[target_feature(enable = "avx2,fma")]
    pub unsafe fn half<const B: usize>(p: Few, y: *mut f32, rows: Range<usize>, cols: Range<usize>) {
        let (k, x) = (p.depth, p.x.as_ptr());
        // Codes of a block of eight rows, expanded.
        let mut block_of = [0.0f32; 8 * KC];
        for n in cols.clone().step_by(8) {
            let count = 8.min(cols.end - n);
            let mut total = [_mm256_setzero_ps(); B];
            for block in (0..k).step_by(KC) {
                let end = k.min(block + KC);
                let mut acc = [_mm256_setzero_ps(); B];
                if let Values::Quant(w) = p.w {
                    for (i, row) in block_of.chunks_exact_mut(KC).take(count).enumerate() {
                        w.expand((n + i) * k + block, &mut row[..end - block]);
                    }
                }
                for l in (block..end).step_by(8) {
                    let terms = 8.min(end - l);
                    let mut t = [_mm256_setzero_ps(); 8];
                    // SAFETY: every pointer is to elements that exist.
                    unsafe {
                        for (i, t) in t.iter_mut().enumerate().take(count) {
                            let at = (n + i) * k + l;
                            *t = match p.w {
                                Values::F(w) if terms == 8 => _mm256_loadu_ps(w.as_ptr().add(at)),
                                Values::Bf16(w) if terms == 8 => {
                                    let half = _mm_loadu_si128(w.as_ptr().add(at).cast());
                                    _mm256_castsi256_ps(_mm256_slli_epi32::<16>(_mm256_cvtepu16_epi32(half)))
                                }
                                Values::Quant(_) if terms == 8 => {
                                    _mm256_loadu_ps(block_of.as_ptr().add(i * KC + l - block))
                                }
                                w => {
                                    let mut part = [0.0f32; 8];
                                    for (j, part) in part.iter_mut().enumerate().take(terms) {
                                        *part = match w {
                                            Values::F(w) => w[at + j],
                                            Values::Bf16(w) => f32::from_bits(u32::from(w[at + j]) << 16),
                                            Values::Quant(_) => block_of[i * KC + l - block + j],
                                        };
                                    }
                                    _mm256_loadu_ps(part.as_ptr())
                                }
                            };
                        }
                        let t = turned8(t);
                        for (j, t) in t.iter().enumerate().take(terms) {
                            for (b, acc) in acc.iter_mut().enumerate() {
                                let x = _mm256_set1_ps(*x.add((rows.start + b) * k + l + j));
                                *acc = _mm256_fmadd_ps(*t, x, *acc);
                            }
                        }
                    }
                }
                for (total, acc) in total.iter_mut().zip(acc) {
                    *total = if block == 0 { acc } else { _mm256_add_ps(*total, acc) };
                }
            }
            for (b, total) in total.into_iter().enumerate() {
                let mut sums = [0.0f32; 8];
                // SAFETY: eight floats; then columns that exist.
                unsafe {
                    _mm256_storeu_ps(sums.as_mut_ptr(), total);
                    for (i, sum) in sums.iter().enumerate().take(count) {
                        let bias = p.bias.map(|bias| bias[n + i]);
                        *y.add((rows.start + b) * p.cols + n + i) = bias.map_or(*sum, |bias| sum + bias);
                    }
                }
            }
        }
    }

    /// Vector `j` of the result holds element `j` of every vector.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn turned16(r: [__m512i; 16]) -> [__m512i; 16] {
        // Four by four within each quarter,
        let mut q = r;
        for i in 0..4 {
            let [a, b, c, d] = [r[4 * i], r[4 * i + 1], r[4 * i + 2], r[4 * i + 3]];
            let (ab, ba) = (_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
            let (cd, dc) = (_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
            q[4 * i] = _mm512_unpacklo_epi64(ab, cd);
            q[4 * i + 1] = _mm512_unpackhi_epi64(ab, cd);
            q[4 * i + 2] = _mm512_unpacklo_epi64(ba, dc);
            q[4 * i + 3] = _mm512_unpackhi_epi64(ba, dc);
        }
        // then the quarters.
        let mut out = q;
        for i in 0..4 {
            let [a, b, c, d] = [q[i], q[4 + i], q[8 + i], q[12 + i]];
            let (even, odd) = (_mm512_shuffle_i32x4::<0x88>(a, b), _mm512_shuffle_i32x4::<0xdd>(a, b));
            let (even2, odd2) = (_mm512_shuffle_i32x4::<0x88>(c, d), _mm512_shuffle_i32x4::<0xdd>(c, d));
            out[i] = _mm512_shuffle_i32x4::<0x88>(even, even2);
            out[8 + i] = _mm512_shuffle_i32x4::<0xdd>(even, even2);
            out[4 + i] = _mm512_shuffle_i32x4::<0x88>(odd, odd2);
            out[12 + i] = _mm512_shuffle_i32x4::<0xdd>(odd, odd2);
        }
        out
    }

    #[inline]
    #[target_feature(enable = "avx2")]
    fn turned8(r: [__m256; 8]) -> [__m256; 8] {
        let four = |a, b, c, d| {
            let (ab, ba) = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
            let (cd, dc) = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
            [
                _mm256_shuffle_ps::<0x44>(ab, cd),
                _mm256_shuffle_ps::<0xee>(ab, cd),
                _mm256_shuffle_ps::<0x44>(ba, dc),
                _mm256_shuffle_ps::<0xee>(ba, dc),
            ]
        };
        let (top, low) = (four(r[0], r[1], r[2], r[3]), four(r[4], r[5], r[6], r[7]));
        let mut out = r;
        for i in 0..4 {
            out[i] = _mm256_permute2f128_ps::<0x20>(top[i], low[i]);
            out[4 + i] = _mm256_permute2f128_ps::<0x31>(top[i], low[i]);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::fast::gemm::{Product, Side, Store};
    use crate::cpu::uniform;
    use crate::ops::{Quant, QuantMatrix};

    /// Every number of rows, tails of every kind, every storage, every instruction set: the bits of `gemm.rs`.
    #[test]
    fn few_rows_have_the_bits_of_many() {
        let random = |seed: u32, n: usize| (0..n as u32).map(move |i| uniform([i, seed, 1, 2]) * 2.0 - 1.0);
        for (cols, depth) in [(300, 128), (37, 1031), (16, 2100), (129, 257), (4099, 9)] {
            let w: Vec<f32> = random(1, cols * depth).collect();
            let half: Vec<u16> = w.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
            let packed = Quant::ALL.map(|q| QuantMatrix::new(q, cols, depth, &w).unwrap());
            let b: Vec<f32> = random(2, cols).collect();
            for rows in [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 33, 47, 64] {
                let x: Vec<f32> = random(3, rows * depth).collect();
                let quant = |i: usize| (Values::Quant(packed[i].codes()), Some(&b[..]));
                let plain = [(Values::F(&w), None), (Values::Bf16(&half), Some(&b[..])), (Values::F(&w), Some(&b))];
                for (w, bias) in plain.into_iter().chain((0..3).map(quant)) {
                    let (mut few, mut many) = (vec![f32::NAN; rows * cols], vec![f32::NAN; rows * cols]);
                    let p = Few { x: &x, w, bias, rows, cols, depth };
                    if !p.run(&mut few) {
                        assert!(level().is_none(), "[{rows}, {cols}, {depth}] was not computed");
                        return;
                    }
                    let (left, right) = (Side::f32(&x, depth, 1), Side { data: w, outer: depth, inner: 1 });
                    let store = bias.map_or(Store::Set, Store::Bias);
                    Product { rows, cols, depth, left, right, store }.run(pulp::Arch::new(), &mut many);
                    let bits = |y: &[f32]| y.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
                    assert_eq!(bits(&few), bits(&many), "[{rows}, {cols}, {depth}]");
                    #[cfg(target_arch = "x86_64")]
                    if matches!(level(), Some(Level::V4)) && rows == 3 {
                        let mut narrow = vec![f32::NAN; rows * cols];
                        p.piece::<3>(Level::V3, Out(narrow.as_mut_ptr()), 0..3, 0..cols);
                        assert_eq!(bits(&narrow), bits(&many), "AVX2, [{rows}, {cols}, {depth}]");
                    }
                }
            }
        }
    }
}
