//! Every operation of a device against a reference, on small awkward shapes: `probity verify --kernels`.
//!
//! A case calls one method of [`Ops`] on seeded inputs and reads its outputs. It runs on the device and on the
//! reference (`Cpu<f64>` for a real check), and every element must agree to a bound, relative to the largest magnitude
//! of the reference's output.

mod cases;

use serde::Serialize;

use super::{Dtype, Ops, QuantMatrix, Result};

/// Named outputs of a case.
type Outputs = Vec<(&'static str, Vec<f32>)>;

/// One operation on its shapes.
struct Case<O> {
    op: &'static str,
    /// Sizes as the case reads them, see [`cases`].
    shapes: &'static [&'static [usize]],
    bound: f64,
    run: fn(&O, &[usize]) -> Result<Outputs>,
}

/// Methods of [`Ops`] that the table checks, in its order.
pub fn ops() -> &'static [&'static str] {
    cases::OPS
}

/// One operation on one shape: the output that is worst against its bound.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub op: &'static str,
    pub shape: &'static [usize],
    /// Which output, and for which storage of the weights where there are two.
    pub output: &'static str,
    /// Largest absolute difference; infinite where only one side is finite.
    pub max_abs: f64,
    /// The same as a share of the reference's largest magnitude.
    pub max_rel: f64,
    /// Flat index of that element, and the two values.
    pub worst_index: usize,
    pub got: f32,
    pub want: f32,
    pub bound: f64,
    pub ok: bool,
    /// Why there is nothing to compare.
    pub error: Option<String>,
}

/// The whole table. An operation that fails is a row that is not ok, and the table goes on.
pub fn run<O: Ops, R: Ops>(device: &O, reference: &R) -> Vec<Row> {
    let mut rows = Vec::new();
    for (case, twin) in cases::all::<O>().into_iter().zip(cases::all::<R>()) {
        for &shape in case.shapes {
            let row = Row {
                op: case.op,
                shape,
                output: "",
                max_abs: 0.0,
                max_rel: 0.0,
                worst_index: 0,
                got: 0.0,
                want: 0.0,
                bound: case.bound,
                ok: false,
                error: None,
            };
            rows.push(match (case.run)(device, shape).and_then(|got| Ok((got, (twin.run)(reference, shape)?))) {
                Ok((got, want)) => compare(row, &got, &want),
                Err(e) => Row { error: Some(e.to_string()), ..row },
            });
        }
    }
    rows
}

/// Fills `row` with the worst element of all outputs.
fn compare(mut row: Row, got: &Outputs, want: &Outputs) -> Row {
    row.max_rel = -1.0;
    for (&(output, ref got), (_, want)) in got.iter().zip(want) {
        if got.len() != want.len() {
            row.error = Some(format!("{output} has {} elements, expected {}", got.len(), want.len()));
            return row;
        }
        let largest = want.iter().fold(0f32, |m, v| m.max(v.abs()));
        // Where all should be zero (log-probabilities over one class) the terms are about one.
        let largest = if largest > 0.0 { largest } else { 1.0 };
        for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
            let off = if g == w { 0.0 } else { (f64::from(g) - f64::from(w)).abs() };
            let off = if off.is_finite() { off } else { f64::INFINITY };
            let share = off / f64::from(largest);
            if share > row.max_rel {
                (row.output, row.max_abs, row.max_rel) = (output, off, share);
                (row.worst_index, row.got, row.want) = (i, g, w);
            }
        }
    }
    row.ok = row.max_rel <= row.bound;
    // A table without elements would agree with anything.
    if row.max_rel < 0.0 {
        row.max_rel = 0.0;
        row.ok = false;
        row.error = Some("no outputs".into());
    }
    row
}

/// `n` seeded values in [-1, 1), exact in f32 (SplitMix64).
pub fn random(seed: u64, n: usize) -> Vec<f32> {
    let mut state = seed;
    (0..n)
        .map(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            ((z ^ (z >> 31)) >> 40) as f32 / (1u64 << 23) as f32 - 1.0
        })
        .collect()
}

/// A seeded `[rows, cols]` tensor: of values that bf16 holds too, so that f32 and bf16 give the same result, or what codes make of them.
pub(crate) fn weights<O: Ops>(o: &O, seed: u64, rows: usize, cols: usize, dtype: Dtype) -> Result<O::T> {
    let bits: Vec<u16> = random(seed, rows * cols).iter().map(|v| (v.to_bits() >> 16) as u16).collect();
    match dtype {
        Dtype::Bf16 => o.upload_bf16(rows, cols, &bits),
        Dtype::F32 => {
            let cut: Vec<f32> = bits.iter().map(|&b| f32::from_bits(u32::from(b) << 16)).collect();
            o.upload(rows, cols, &cut)
        }
        Dtype::Quant(q) => o.upload_quant(&QuantMatrix::new(q, rows, cols, &random(seed, rows * cols))?),
    }
}

#[cfg(test)]
mod tests;
