//! Distribution functions, quantiles and moments shared by the tests.

use statrs::function::{beta, erf, gamma};

use super::{Result, StatsError};

/// Upper tail of the standard normal, P(Z >= z).
pub(super) fn normal_sf(z: f64) -> f64 {
    let half = 0.5 * normal_two_sided(z);
    if z >= 0.0 { half } else { 1.0 - half }
}

/// P(|Z| >= |z|).
pub(super) fn normal_two_sided(z: f64) -> f64 {
    chi2_1_sf(z * z)
}

/// Density of the standard normal.
pub(super) fn normal_pdf(z: f64) -> f64 {
    (-0.5 * z * z).exp() / (2.0 * std::f64::consts::PI).sqrt()
}

/// Quantile of the standard normal for `p` in (0, 1): the library's inverse polished by Newton steps.
pub(super) fn normal_quantile(p: f64) -> f64 {
    if p > 0.5 {
        return -normal_quantile(1.0 - p);
    }
    let mut z = -std::f64::consts::SQRT_2 * erf::erfc_inv(2.0 * p);
    for _ in 0..2 {
        let slope = normal_pdf(z);
        if slope > 0.0 && z.is_finite() {
            z -= (normal_sf(-z) - p) / slope;
        }
    }
    z
}

/// Upper tail of chi-squared with one degree of freedom: Q(1/2, x / 2). The library's `erfc` would be shorter but is good
/// to ten digits only.
pub(super) fn chi2_1_sf(x: f64) -> f64 {
    if x <= 0.0 {
        1.0
    } else if x > 1500.0 {
        0.0
    } else {
        gamma::checked_gamma_ur(0.5, x / 2.0).unwrap_or(f64::NAN)
    }
}

/// P(|T| >= |t|) for Student's t with `df` > 0 (not necessarily whole) degrees of freedom.
pub(super) fn t_two_sided(t: f64, df: f64) -> f64 {
    let t2 = t * t;
    if !t2.is_finite() {
        return 0.0;
    }
    // Two equal forms of one incomplete beta; near t = 0 the first would subtract nearly equal numbers.
    if t2 < 3.0 {
        1.0 - beta::beta_reg(0.5, df / 2.0, t2 / (df + t2))
    } else {
        beta::beta_reg(df / 2.0, 0.5, df / (df + t2))
    }
}

/// P(T >= t).
pub(super) fn t_sf(t: f64, df: f64) -> f64 {
    let half = 0.5 * t_two_sided(t, df);
    if t >= 0.0 { half } else { 1.0 - half }
}

/// Quantile of Student's t for `p` in (0, 1).
pub(super) fn t_quantile(p: f64, df: f64) -> f64 {
    if p < 0.5 {
        return -t_quantile(1.0 - p, df);
    }
    let tail = 1.0 - p;
    let mut high = 2.0;
    while t_sf(high, df) > tail && high < 1e300 {
        high *= 2.0;
    }
    bisect(0.0, high, |t| tail - t_sf(t, df))
}

/// Root of `f`, which is negative left of it and positive right of it, to the last bit that bisection can settle.
pub(super) fn bisect(mut low: f64, mut high: f64, mut f: impl FnMut(f64) -> f64) -> f64 {
    loop {
        let mid = 0.5 * (low + high);
        if mid <= low || mid >= high {
            return mid;
        }
        if f(mid) < 0.0 {
            low = mid;
        } else {
            high = mid;
        }
    }
}

/// ln C(n, k).
pub(super) fn ln_choose(n: u64, k: u64) -> f64 {
    gamma::ln_gamma(n as f64 + 1.0) - gamma::ln_gamma(k as f64 + 1.0) - gamma::ln_gamma((n - k) as f64 + 1.0)
}

/// C(n, k), exact while it is below 2^53, infinite where it overflows.
pub(super) fn choose(n: u64, k: u64) -> f64 {
    let mut value = 1.0f64;
    for i in 0..k.min(n - k) {
        value = value * (n - i) as f64 / (i + 1) as f64;
        if !value.is_finite() {
            break;
        }
    }
    value
}

/// P(X = k) for X ~ Binomial(n, p), `k` <= `n`.
pub(super) fn binomial_pmf(k: u64, n: u64, p: f64) -> f64 {
    if p <= 0.0 {
        return f64::from(u8::from(k == 0));
    }
    if p >= 1.0 {
        return f64::from(u8::from(k == n));
    }
    if p == 0.5 && n <= 1000 {
        // Exact: the coefficient fits an f64 and the power of two is not subnormal.
        return choose(n, k) * 0.5f64.powi(n as i32);
    }
    (ln_choose(n, k) + k as f64 * p.ln() + (n - k) as f64 * (-p).ln_1p()).exp()
}

/// P(X <= k) for X ~ Binomial(n, p). The smaller tail is summed outwards from `k`.
pub(super) fn binomial_cdf(k: u64, n: u64, p: f64) -> f64 {
    if k >= n {
        return 1.0;
    }
    if p <= 0.0 {
        return 1.0;
    }
    if p >= 1.0 {
        return 0.0;
    }
    if (k as f64) > n as f64 * p {
        return 1.0 - binomial_cdf(n - k - 1, n, 1.0 - p);
    }
    let odds = (1.0 - p) / p;
    let mut term = binomial_pmf(k, n, p);
    let mut sum = term;
    let mut i = k;
    while i > 0 && term > sum * 1e-18 {
        term *= i as f64 / (n - i + 1) as f64 * odds;
        sum += term;
        i -= 1;
    }
    sum.min(1.0)
}

/// P(X >= k) for X ~ Binomial(n, p).
pub(super) fn binomial_sf(k: u64, n: u64, p: f64) -> f64 {
    if k == 0 { 1.0 } else { binomial_cdf(n - k, n, 1.0 - p) }
}

/// Compensated sum (Neumaier).
pub(super) fn sum(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut total, mut rest) = (0.0f64, 0.0f64);
    for v in values {
        let next = total + v;
        rest += if total.abs() >= v.abs() { (total - next) + v } else { (v - next) + total };
        total = next;
    }
    total + rest
}

/// Arithmetic mean; 0 of nothing.
pub(super) fn mean(values: &[f64]) -> f64 {
    if values.is_empty() { 0.0 } else { sum(values.iter().copied()) / values.len() as f64 }
}

/// True where the values differ by no more than rounding.
pub(super) fn is_constant(values: &[f64]) -> bool {
    let (mut low, mut high) = (f64::INFINITY, f64::NEG_INFINITY);
    for &v in values {
        low = low.min(v);
        high = high.max(v);
    }
    high <= low || high - low <= 4.0 * f64::EPSILON * low.abs().max(high.abs())
}

/// Unbiased variance (ddof 1) about `mean`; exactly 0 where the values are constant.
pub(super) fn variance(values: &[f64], mean: f64) -> f64 {
    if values.len() < 2 || is_constant(values) {
        return 0.0;
    }
    sum(values.iter().map(|v| (v - mean) * (v - mean))) / (values.len() - 1) as f64
}

/// Quantile by linear interpolation between order statistics (NumPy's default), `q` in [0, 1].
///
/// # Errors
/// Empty or non-finite input, `q` outside [0, 1].
pub fn quantile(values: &[f64], q: f64) -> Result<f64> {
    super::check_values("values", values, 1)?;
    if !(0.0..=1.0).contains(&q) {
        return Err(StatsError::OutOfRange { what: "q", value: q, allowed: "0 to 1" });
    }
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    Ok(sorted_quantile(&sorted, q))
}

/// [`quantile`] of values already in ascending order, at least one.
pub(super) fn sorted_quantile(sorted: &[f64], q: f64) -> f64 {
    let position = q.clamp(0.0, 1.0) * (sorted.len() - 1) as f64;
    let low = position.floor() as usize;
    let high = (low + 1).min(sorted.len() - 1);
    let (a, b, t) = (sorted[low], sorted[high], position - low as f64);
    // Interpolate from the nearer end, so that both ends are hit exactly.
    if t < 0.5 { a + (b - a) * t } else { b - (b - a) * (1.0 - t) }
}
