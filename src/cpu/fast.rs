//! Fast f32 kernels: `gemm` for the products. A row has the same bits whatever the number of rows: `gemm` takes another path below
//! five rows, so fewer rows are padded.

use gemm::{Parallelism, gemm};

use super::Kernels;
use super::matmul::Dims;
use super::tensor::Values;

/// Rows below which `gemm` takes another path.
fn min_rows(n: usize) -> usize {
    (256 / n.max(1) + 1).max(4)
}

pub struct Fast;

/// `y[m,n] (+)= a b`, strides in elements, rows then columns.
#[allow(clippy::too_many_arguments)]
fn product(
    (m, n, k): (usize, usize, usize),
    y: &mut [f32],
    add: bool,
    a: &[f32],
    (ar, ac): (usize, usize),
    b: &[f32],
    (br, bc): (usize, usize),
) {
    if m == 0 || n == 0 || k == 0 {
        if !add {
            y.fill(0.0);
        }
        return;
    }
    assert!(y.len() >= m * n && a.len() > (m - 1) * ar + (k - 1) * ac && b.len() > (k - 1) * br + (n - 1) * bc);
    let parallel = if m * n * k < 1 << 22 { Parallelism::None } else { Parallelism::Rayon(0) };
    // SAFETY: the assertion above keeps every access inside the slices.
    unsafe {
        gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            n as isize,
            add,
            a.as_ptr(),
            ac as isize,
            ar as isize,
            b.as_ptr(),
            bc as isize,
            br as isize,
            1.0f32,
            1.0f32,
            false,
            false,
            false,
            parallel,
        );
    }
}

fn f32s<'a>(w: Values<'a, f32>, buffer: &'a mut Vec<f32>) -> &'a [f32] {
    match w {
        Values::F(v) => v,
        Values::Bf16(v) => {
            buffer.extend(v.iter().map(|&b| f32::from_bits(u32::from(b) << 16)));
            buffer
        }
    }
}

impl Kernels<f32> for Fast {
    fn name(&self) -> String {
        "cpu".into()
    }

    fn nt(&self, y: &mut [f32], x: &[f32], w: Values<f32>, bias: Option<&[f32]>, d: Dims) {
        let mut buffer = Vec::new();
        let w = f32s(w, &mut buffer);
        let rows = min_rows(d.n);
        if d.m < rows {
            let mut px = vec![0.0; rows * d.k];
            px[..x.len()].copy_from_slice(x);
            let mut py = vec![0.0; rows * d.n];
            product((rows, d.n, d.k), &mut py, false, &px, (d.k, 1), w, (1, d.k));
            y.copy_from_slice(&py[..d.m * d.n]);
        } else {
            product((d.m, d.n, d.k), y, false, x, (d.k, 1), w, (1, d.k));
        }
        if let Some(b) = bias {
            for row in y.chunks_exact_mut(d.n) {
                row.iter_mut().zip(b).for_each(|(y, b)| *y += b);
            }
        }
    }

    fn nn(&self, dx: &mut [f32], dy: &[f32], w: Values<f32>, d: Dims) {
        let mut buffer = Vec::new();
        product((d.m, d.k, d.n), dx, true, dy, (d.n, 1), f32s(w, &mut buffer), (d.k, 1));
    }

    fn tn(&self, dw: &mut [f32], dy: &[f32], x: &[f32], d: Dims) {
        product((d.n, d.k, d.m), dw, true, dy, (1, d.n), x, (d.k, 1));
    }
}
