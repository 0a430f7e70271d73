//! The three products of a linear layer, row-major, weights `[out, in]` as in the checkpoint.

use super::real::Real;
use super::tensor::Values;

/// `m` rows, `n` outputs, `k` inputs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Dims {
    pub m: usize,
    pub n: usize,
    pub k: usize,
}

/// `y[m,n] = x[m,k] w[n,k]^T (+ bias[n])`.
pub fn nt<F: Real>(y: &mut [F], x: &[F], w: Values<F>, bias: Option<&[F]>, d: Dims) {
    // Codes are read once, not once for each row.
    if let Values::Quant(_) = w {
        return nt(y, x, Values::F(&w.to_vec()), bias, d);
    }
    for i in 0..d.m {
        for j in 0..d.n {
            let mut sum = F::ZERO;
            for l in 0..d.k {
                sum += x[i * d.k + l] * w.get(j * d.k + l);
            }
            y[i * d.n + j] = match bias {
                Some(b) => sum + b[j],
                None => sum,
            };
        }
    }
}

/// `dx[m,k] += dy[m,n] w[n,k]`.
pub fn nn<F: Real>(dx: &mut [F], dy: &[F], w: Values<F>, d: Dims) {
    if let Values::Quant(_) = w {
        return nn(dx, dy, Values::F(&w.to_vec()), d);
    }
    for i in 0..d.m {
        for j in 0..d.n {
            for l in 0..d.k {
                dx[i * d.k + l] += dy[i * d.n + j] * w.get(j * d.k + l);
            }
        }
    }
}

/// `dw[n,k] += dy[m,n]^T x[m,k]`.
pub fn tn<F: Real>(dw: &mut [F], dy: &[F], x: &[F], d: Dims) {
    for i in 0..d.m {
        for j in 0..d.n {
            for l in 0..d.k {
                dw[j * d.k + l] += dy[i * d.n + j] * x[i * d.k + l];
            }
        }
    }
}

/// `db[n] += Σ_i dy[i,n]`, rows in order.
pub fn bias_bwd<F: Real>(db: &mut [F], dy: &[F]) {
    if db.is_empty() {
        return;
    }
    for row in dy.chunks_exact(db.len()) {
        for (b, &g) in db.iter_mut().zip(row) {
            *b += g;
        }
    }
}
