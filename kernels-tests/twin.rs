//! One body of `Ops` calls, run on a device and on the f64 oracle.

use crate::adapters::compare;
use probity::ops::{Ops, Result};

/// `twin!(gpu, "what", bound, |o| { ...; Ok(vec![o.read(&y)?]) })`: evaluates the body on `gpu` and on `Cpu<f64>` and
/// compares every output, relative to its largest magnitude. Gives the outputs of the device.
macro_rules! twin {
    ($gpu:expr, $what:expr, $bound:expr, |$o:ident| $body:block) => {{
        let what = $what.to_string();
        let got = (|| -> probity::ops::Result<Vec<Vec<f32>>> {
            let $o = $gpu;
            $body
        })()
        .unwrap_or_else(|e| panic!("{what}: {e}"));
        let oracle = probity::cpu::Cpu::<f64>::new();
        let want = (|| -> probity::ops::Result<Vec<Vec<f32>>> {
            let $o = &oracle;
            $body
        })()
        .unwrap_or_else(|e| panic!("{what} on the oracle: {e}"));
        $crate::twin::compare_all(&what, &got, &want, $bound);
        got
    }};
}
pub(crate) use twin;

pub fn compare_all(what: &str, got: &[Vec<f32>], want: &[Vec<f32>], bound: f64) {
    assert_eq!(got.len(), want.len(), "{what}: outputs");
    for (i, (got, want)) in got.iter().zip(want).enumerate() {
        let want: Vec<f64> = want.iter().map(|&v| v as f64).collect();
        compare(&format!("{what}, output {i}"), got, &want, bound);
    }
}

/// Row `row` of `[rows, cols]` data.
pub fn row(data: &[f32], cols: usize, row: usize) -> &[f32] {
    &data[row * cols..(row + 1) * cols]
}

/// Bits of a row, so that equality means equality.
pub fn bits(data: &[f32]) -> Vec<u32> {
    data.iter().map(|v| v.to_bits()).collect()
}

/// `op` on the `[m, cols]` batch `x` gives every tested row the bits it has when computed alone.
pub fn rows_stand_alone<O: Ops>(
    o: &O,
    what: &str,
    x: &[f32],
    cols: usize,
    op: impl Fn(&O, &O::T) -> Result<Vec<(usize, Vec<f32>)>>,
) {
    let m = x.len() / cols;
    let run = |rows: usize, data: &[f32]| op(o, &o.upload(rows, cols, data).unwrap()).unwrap();
    let whole = run(m, x);
    for i in [0, m / 2, m - 1] {
        for ((width, batch), (_, alone)) in whole.iter().zip(run(1, row(x, cols, i))) {
            assert_eq!(bits(row(batch, *width, i)), bits(&alone), "{what}: row {i} of {m} depends on its neighbours");
        }
    }
}

/// `<a, b>` in f64.
pub fn dot(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum()
}

/// For a linear map A and its adjoint: `<A x, y> = <x, A* y>`, relative to the size of the terms.
pub fn assert_adjoint(what: &str, ax: &[f32], y: &[f32], x: &[f32], aty: &[f32]) {
    let (left, right) = (dot(ax, y), dot(x, aty));
    let size = (dot(ax, ax) * dot(y, y)).sqrt();
    assert!((left - right).abs() <= 1e-6 * size, "{what}: <Ax, y> = {left}, <x, A*y> = {right}");
}
