//! Wilcoxon's signed-rank test.

use super::dist::normal_two_sided;
use super::ranks::midranks;
use super::ttest::differences;
use super::{Result, StatResult, StatsError};

/// How the p value of [`wilcoxon`] is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WilcoxonMethod {
    /// Exact up to 50 non-zero differences without ties, normal otherwise.
    Auto,
    /// Exact null distribution; refused where absolute differences are tied or there are more than 1,000.
    Exact,
    /// Normal approximation with the tie correction, without continuity correction (the study's convention).
    Normal,
}

/// Largest number of differences with an exact null distribution: its counts, up to 2^n, must fit an f64.
const EXACT_LIMIT: usize = 1000;

/// Wilcoxon signed-rank test of x - y: zero differences dropped, mid-ranks for ties, W the smaller rank sum.
///
/// `estimate` is the matched-pairs rank-biserial correlation (W+ - W-) / (W+ + W-). `n` counts non-zero differences.
///
/// # Errors
/// Slices of different length, non-finite values, no non-zero difference, ties or too many pairs under `Exact`.
pub fn wilcoxon(x: &[f64], y: &[f64], method: WilcoxonMethod) -> Result<StatResult> {
    let all = differences(x, y, 1)?;
    let d: Vec<f64> = all.iter().copied().filter(|&v| v != 0.0).collect();
    let n = d.len();
    if n == 0 {
        return Err(StatsError::NoVariation { what: "x - y", value: 0.0 });
    }
    let magnitudes: Vec<f64> = d.iter().map(|v| v.abs()).collect();
    let (ranks, ties) = midranks(&magnitudes);
    let plus: f64 = d.iter().zip(&ranks).filter(|(v, _)| **v > 0.0).map(|(_, r)| r).sum();
    let n_f = n as f64;
    let total = n_f * (n_f + 1.0) / 2.0;
    let w = plus.min(total - plus);
    let tied = ties > 0.0;
    let exact = match method {
        WilcoxonMethod::Exact if tied => {
            return Err(StatsError::OutOfRange {
                what: "number of tied absolute differences",
                value: n_f,
                allowed: "none for the exact method; use the normal approximation",
            });
        }
        WilcoxonMethod::Exact if n > EXACT_LIMIT => {
            return Err(StatsError::OutOfRange { what: "non-zero differences", value: n_f, allowed: "at most 1,000" });
        }
        WilcoxonMethod::Exact => true,
        WilcoxonMethod::Auto => n <= 50 && !tied,
        WilcoxonMethod::Normal => false,
    };
    let (p, name, z) = if exact {
        (exact_p(w, n), "Wilcoxon signed-rank, exact, two-sided", None)
    } else {
        let var = n_f * (n_f + 1.0) * (2.0 * n_f + 1.0) / 24.0 - ties / 48.0;
        let z = (plus - total / 2.0) / var.sqrt();
        (normal_two_sided(z), "Wilcoxon signed-rank, normal approximation with tie correction, two-sided", Some(z))
    };
    let mut result = StatResult::new("wilcoxon", name, "rank-biserial correlation of x - y", n as u64)
        .statistic(w)
        .p(p)
        .estimate((2.0 * plus - total) / total)
        .detail("w_plus", plus)
        .detail("w_minus", total - plus)
        .detail("zeros_dropped", (all.len() - n) as f64);
    if let Some(z) = z {
        result = result.detail("z", z);
    }
    if !exact && n < 10 {
        result = result.note(format!("normal approximation with only {n} non-zero difference(s)"));
    }
    Ok(result)
}

/// 2 P(W <= w) under the null of `n` untied ranks, by counting subsets of {1..n} with each sum.
fn exact_p(w: f64, n: usize) -> f64 {
    let limit = w.floor().max(0.0) as usize;
    // Probabilities, not counts: each rank enters with probability 1/2, so nothing overflows.
    let mut mass = vec![0.0f64; limit + 1];
    mass[0] = 1.0;
    for rank in 1..=n {
        for s in (0..=limit).rev() {
            let with = if s >= rank { mass[s - rank] } else { 0.0 };
            mass[s] = 0.5 * (mass[s] + with);
        }
    }
    (2.0 * super::dist::sum(mass)).min(1.0)
}
