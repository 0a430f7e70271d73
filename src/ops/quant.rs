//! Weight-only quantisation: codes of 4 or 8 bits, and a scale for every group of weights along the input dimension.
//!
//! A row of a matrix lies by itself, as u32 words: its codes, low bits first, then its scales, two to a word (bf16, the even group low),
//! then zeros up to a multiple of four words. So whole rows can be bound, as of any other storage, and both streams are aligned. The value
//! of a code is `level(code) * scale`, rounded to f32 once, the same bits on every device.
//!
//! Scales are bf16 and not f16: they have the range of f32, so that no checkpoint overflows them or falls below them, and unpack by a shift.
//! They are rounded away from zero, so no weight of a group is beyond its outermost level for the sake of the rounding.

use std::ops::Range;

use rayon::prelude::*;

use super::{OpError, Result};

/// How groups of weights become codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Quant {
    /// -127 to 127 times `max |w| / 127`, groups of 32.
    Int8,
    /// -8 to 7 times `w / -8` of the weight that is largest in magnitude, groups of 32 (ggml's Q4_0): all sixteen levels are used. At the
    /// same 4.5 bits a weight, a scale and a minimum for groups of 64 lose more of Gaussian weights: 0.0080 of their square against 0.0074.
    Int4,
    /// The sixteen quantiles of a normal distribution of QLoRA (Dettmers et al. 2023) times `max |w|`, groups of 64.
    Nf4,
}

/// Levels of [`Quant::Nf4`], as bitsandbytes has them.
pub const NF4: [f32; 16] = [
    -1.0,
    -0.696_192_8,
    -0.525_073_05,
    -0.394_917_5,
    -0.284_441_38,
    -0.184_773_43,
    -0.091_050_036,
    0.0,
    0.079_580_3,
    0.160_930_2,
    0.246_112_3,
    0.337_915_24,
    0.440_709_83,
    0.562_617,
    0.722_956_84,
    1.0,
];

/// Levels of [`Quant::Int4`].
pub const INT4: [f32; 16] = [-8.0, -7.0, -6.0, -5.0, -4.0, -3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0];

impl Quant {
    pub const ALL: [Quant; 3] = [Quant::Int8, Quant::Int4, Quant::Nf4];

    pub const fn name(self) -> &'static str {
        match self {
            Quant::Int8 => "int8",
            Quant::Int4 => "int4",
            Quant::Nf4 => "nf4",
        }
    }

    /// Bits of a code.
    pub const fn bits(self) -> usize {
        match self {
            Quant::Int8 => 8,
            Quant::Int4 | Quant::Nf4 => 4,
        }
    }

    /// Weights that share a scale; the last group of a row may be shorter.
    pub const fn group(self) -> usize {
        match self {
            Quant::Int8 | Quant::Int4 => 32,
            Quant::Nf4 => 64,
        }
    }

    /// With its share of a scale, without padding.
    pub const fn bytes_per_weight(self) -> f64 {
        self.bits() as f64 / 8.0 + 2.0 / self.group() as f64
    }

    /// Words of a row that hold codes.
    pub const fn code_words(self, cols: usize) -> usize {
        cols.div_ceil(32 / self.bits())
    }

    /// Words of a row, padding included.
    pub const fn row_words(self, cols: usize) -> usize {
        (self.code_words(cols) + cols.div_ceil(2 * self.group())).next_multiple_of(4)
    }

    /// Scale of a group as bf16 bits.
    fn scale(self, group: &[f32]) -> u16 {
        let largest = group.iter().fold(0.0f32, |m, &w| if w.abs() > m.abs() { w } else { m });
        let scale = match self {
            Quant::Int8 => largest.abs() / 127.0,
            Quant::Int4 => largest / -8.0,
            Quant::Nf4 => largest.abs(),
        };
        let bits = scale.to_bits();
        // Away from zero, to a finite number.
        let magnitude = (((bits & 0x7fff_ffff) + 0xffff) >> 16).min(0x7f7f);
        (bits >> 31 << 15) as u16 | magnitude as u16
    }

    /// Code of a weight as a multiple of its group's scale.
    fn code(self, ratio: f32) -> u32 {
        match self {
            Quant::Int8 => ratio.round_ties_even().clamp(-127.0, 127.0) as i32 as u32 & 0xff,
            Quant::Int4 => (ratio.round_ties_even().clamp(-8.0, 7.0) + 8.0) as u32,
            // The nearest level: above as many midpoints as its number says.
            Quant::Nf4 => NF4.windows(2).map(|l| u32::from(ratio > 0.5 * (l[0] + l[1]))).sum(),
        }
    }

    /// Level of a code, in scales.
    #[inline(always)]
    fn level(self, code: u32) -> f32 {
        match self {
            Quant::Int8 => f32::from(code as u8 as i8),
            Quant::Int4 => INT4[(code & 15) as usize],
            Quant::Nf4 => NF4[(code & 15) as usize],
        }
    }

    /// One row of finite weights into its [`Quant::row_words`] words.
    fn quantise_row(self, row: &[f32], words: &mut [u32]) {
        words.fill(0);
        let (codes, scales) = words.split_at_mut(self.code_words(row.len()));
        let per = 32 / self.bits();
        for (g, group) in row.chunks(self.group()).enumerate() {
            let bits = self.scale(group);
            scales[g / 2] |= u32::from(bits) << (16 * (g % 2));
            let scale = f32::from_bits(u32::from(bits) << 16);
            for (i, &w) in group.iter().enumerate() {
                let at = g * self.group() + i;
                let ratio = if scale == 0.0 { 0.0 } else { w / scale };
                codes[at / per] |= self.code(ratio) << (self.bits() * (at % per));
            }
        }
    }
}

/// A quantised matrix `[rows, cols]` where it lies: `rows` times [`Quant::row_words`] words.
#[derive(Clone, Copy, Debug)]
pub struct Codes<'a> {
    pub format: Quant,
    pub cols: usize,
    pub words: &'a [u32],
}

impl<'a> Codes<'a> {
    /// Number of weights.
    pub fn len(&self) -> usize {
        self.words.len() / self.format.row_words(self.cols).max(1) * self.cols
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All values, row-major.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut out = vec![0.0; self.len()];
        let rows = out.par_chunks_mut(self.cols.max(1)).enumerate();
        rows.with_min_len(16).for_each(|(i, row)| self.expand(i * self.cols, row));
        out
    }

    /// A copy.
    pub fn to_matrix(&self) -> QuantMatrix {
        let rows = self.len() / self.cols.max(1);
        QuantMatrix { rows, cols: self.cols, format: self.format, words: self.words.to_vec() }
    }

    /// Codes and scales of a row.
    #[inline(always)]
    pub fn row(&self, row: usize) -> (&'a [u32], &'a [u32]) {
        let size = self.format.row_words(self.cols);
        self.words[row * size..(row + 1) * size].split_at(self.format.code_words(self.cols))
    }

    /// Element `i` of the row-major matrix.
    pub fn get(&self, i: usize) -> f32 {
        let (codes, scales) = self.row(i / self.cols);
        let (at, bits) = (i % self.cols, self.format.bits());
        let per = 32 / bits;
        self.format.level(codes[at / per] >> (bits * (at % per))) * scale_of(scales, at / self.format.group())
    }

    /// Elements `at ..` of the row-major matrix, all of one row.
    #[inline(always)]
    pub fn expand(&self, at: usize, to: &mut [f32]) {
        match self.format {
            Quant::Int8 => self.expand_as(at, to, |code| Quant::Int8.level(code)),
            Quant::Int4 => self.expand_as(at, to, |code| Quant::Int4.level(code)),
            Quant::Nf4 => self.expand_as(at, to, |code| Quant::Nf4.level(code)),
        }
    }

    #[inline(always)]
    fn expand_as(&self, at: usize, to: &mut [f32], level: impl Fn(u32) -> f32) {
        let (codes, scales) = self.row(at / self.cols);
        let (bits, group) = (self.format.bits(), self.format.group());
        let per = 32 / bits;
        let mut from = at % self.cols;
        let mut rest = to;
        while !rest.is_empty() {
            // Up to the end of a word; groups are whole words.
            let (part, after) = rest.split_at_mut(rest.len().min(per - from % per));
            let (word, scale) = (codes[from / per] >> (bits * (from % per)), scale_of(scales, from / group));
            for (i, to) in part.iter_mut().enumerate() {
                *to = level(word >> (bits * i)) * scale;
            }
            from += part.len();
            rest = after;
        }
    }
}

/// Scale of group `g` of a row.
#[inline(always)]
pub fn scale_of(scales: &[u32], g: usize) -> f32 {
    f32::from_bits(scales[g / 2] >> (16 * (g % 2)) << 16)
}

/// Values that are quantised at a time.
const PIECE: usize = 1 << 22;

/// A quantised matrix in host memory.
#[derive(Clone, Debug, PartialEq)]
pub struct QuantMatrix {
    pub rows: usize,
    pub cols: usize,
    pub format: Quant,
    /// `rows` times [`Quant::row_words`].
    pub(crate) words: Vec<u32>,
}

impl QuantMatrix {
    /// Quantises `[rows, cols]` values. NaN and infinities are refused.
    pub fn new(format: Quant, rows: usize, cols: usize, values: &[f32]) -> Result<Self> {
        if rows.checked_mul(cols) != Some(values.len()) {
            let detail = format!("{} values for a matrix of [{rows}, {cols}]", values.len());
            return Err(OpError::Shape { op: "quantise", detail });
        }
        Self::of_rows(format, rows, cols, |r| Ok(values[r.start * cols..r.end * cols].to_vec()))
    }

    /// The same of values that `read` brings, some rows at a time: never more than [`PIECE`] of them (or one row) are held.
    pub fn of_rows<E: From<OpError>>(
        format: Quant,
        rows: usize,
        cols: usize,
        mut read: impl FnMut(Range<usize>) -> std::result::Result<Vec<f32>, E>,
    ) -> std::result::Result<Self, E> {
        let refuse = |detail: String| Err(OpError::Shape { op: "quantise", detail }.into());
        if rows == 0 || cols == 0 {
            return refuse(format!("a matrix of [{rows}, {cols}] has no elements"));
        }
        let (size, step) = (format.row_words(cols), (PIECE / cols).max(1));
        let mut words = vec![0; rows * size];
        for (i, words) in words.chunks_mut(step * size).enumerate() {
            let of = i * step..rows.min((i + 1) * step);
            let values = read(of.clone())?;
            if values.len() != of.len() * cols {
                return refuse(format!("{} values for {} rows of {cols}", values.len(), of.len()));
            }
            if let Some(at) = values.iter().position(|v| !v.is_finite()) {
                return refuse(format!("element [{}, {}] is {}", of.start + at / cols, at % cols, values[at]));
            }
            let pairs = words.par_chunks_mut(size).zip(values.par_chunks(cols));
            pairs.with_min_len(16).for_each(|(words, row)| format.quantise_row(row, words));
        }
        Ok(Self { rows, cols, format, words })
    }

    pub fn codes(&self) -> Codes<'_> {
        Codes { format: self.format, cols: self.cols, words: &self.words }
    }

    /// The values that the codes stand for, row-major.
    pub fn values(&self) -> Vec<f32> {
        self.codes().to_vec()
    }
}

#[cfg(test)]
mod tests;
