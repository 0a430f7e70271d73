//! Whole-row and elementwise operations.

use super::real::Real;

/// `a += b`.
pub fn add<F: Real>(a: &mut [F], b: &[F]) {
    for (a, &b) in a.iter_mut().zip(b) {
        *a += b;
    }
}

/// `a *= s`.
pub fn scale<F: Real>(a: &mut [F], s: F) {
    for a in a {
        *a *= s;
    }
}

/// `x[i, :] += s * v`.
pub fn add_row<F: Real>(x: &mut [F], v: &[F], s: F) {
    for row in x.chunks_exact_mut(v.len().max(1)) {
        for (x, &v) in row.iter_mut().zip(v) {
            *x += s * v;
        }
    }
}

/// `x[i, :] -= (x[i, :]·d) d`.
pub fn ablate_row<F: Real>(x: &mut [F], d: &[F]) {
    for row in x.chunks_exact_mut(d.len().max(1)) {
        let along: F = row.iter().zip(d).map(|(&x, &d)| x * d).sum();
        for (x, &d) in row.iter_mut().zip(d) {
            *x -= along * d;
        }
    }
}

/// `y[i, :] = x[rows[i], :]`.
pub fn gather<F: Real>(y: &mut [F], x: &[F], rows: &[u32], cols: usize) {
    for (y, &r) in y.chunks_exact_mut(cols.max(1)).zip(rows) {
        y.copy_from_slice(&x[r as usize * cols..][..cols]);
    }
}

/// `dst[rows[i], :] = src[i, :]`.
pub fn scatter<F: Real>(dst: &mut [F], src: &[F], rows: &[u32], cols: usize) {
    for (src, &r) in src.chunks_exact(cols.max(1)).zip(rows) {
        dst[r as usize * cols..][..cols].copy_from_slice(src);
    }
}

/// `dst[rows[i], :] += src[i, :]`.
pub fn scatter_add<F: Real>(dst: &mut [F], src: &[F], rows: &[u32], cols: usize) {
    for (src, &r) in src.chunks_exact(cols.max(1)).zip(rows) {
        add(&mut dst[r as usize * cols..][..cols], src);
    }
}
