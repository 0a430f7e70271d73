//! RMSNorm (Zhang & Sennrich 2019): `y = x rstd w`, `rstd = 1/sqrt(mean(x²) + eps)`.

use super::real::Real;

/// Rows of `x [m,h]`; writes `y [m,h]` and `rstd [m]`.
pub fn rmsnorm<F: Real>(y: &mut [F], rstd: &mut [F], x: &[F], w: &[F], eps: F) {
    let h = w.len();
    for (i, r) in rstd.iter_mut().enumerate() {
        let x = &x[i * h..][..h];
        let mean_square = x.iter().map(|&x| x * x).sum::<F>() / F::of(h as f64);
        *r = F::ONE / (mean_square + eps).sqrt();
        for (y, (&x, &w)) in y[i * h..][..h].iter_mut().zip(x.iter().zip(w)) {
            *y = x * *r * w;
        }
    }
}

/// `dx += rstd (dy w - x̂ mean(dy w x̂))` with `x̂ = x rstd`, and `dw += Σ_rows dy x̂`.
pub fn rmsnorm_bwd<F: Real>(dx: &mut [F], mut dw: Option<&mut [F]>, dy: &[F], x: &[F], w: &[F], rstd: &[F]) {
    let h = w.len();
    for (i, &r) in rstd.iter().enumerate() {
        let (x, dy) = (&x[i * h..][..h], &dy[i * h..][..h]);
        let mean = (0..h).map(|c| dy[c] * w[c] * x[c] * r).sum::<F>() / F::of(h as f64);
        for c in 0..h {
            dx[i * h + c] += r * (dy[c] * w[c] - x[c] * r * mean);
        }
        if let Some(dw) = dw.as_deref_mut() {
            for c in 0..h {
                dw[c] += dy[c] * x[c] * r;
            }
        }
    }
}
