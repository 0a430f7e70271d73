//! Many tests: Holm's adjustment, and the smallest p a design can give at all.

use serde::{Deserialize, Serialize};

use super::dist::choose;
use super::{Result, StatsError, check_finite, check_open_unit};

/// Holm's step-down procedure over one family; every vector is in input order.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Holm {
    pub alpha: f64,
    /// Adjusted p values: compare with `alpha`.
    pub adjusted: Vec<f64>,
    /// Threshold alpha / (m - rank) that each raw p meets at its place in the order.
    pub thresholds: Vec<f64>,
    /// True where the hypothesis is rejected with family-wise error `alpha`.
    pub reject: Vec<bool>,
}

/// Holm's adjustment (Holm 1979) of the p values of one family.
///
/// # Errors
/// No p value, one outside [0, 1] or not finite, alpha outside (0, 1).
pub fn holm(p: &[f64], alpha: f64) -> Result<Holm> {
    super::check_values("p values", p, 1)?;
    check_open_unit("alpha", alpha)?;
    if let Some(&value) = p.iter().find(|v| !(0.0..=1.0).contains(*v)) {
        return Err(StatsError::OutOfRange { what: "p value", value, allowed: "0 to 1" });
    }
    let m = p.len();
    let mut order: Vec<usize> = (0..m).collect();
    order.sort_by(|&i, &j| p[i].total_cmp(&p[j]));
    let mut out = Holm { alpha, adjusted: vec![0.0; m], thresholds: vec![0.0; m], reject: vec![false; m] };
    let mut running = 0.0f64;
    for (rank, &i) in order.iter().enumerate() {
        let left = (m - rank) as f64;
        running = running.max((p[i] * left).min(1.0));
        out.adjusted[i] = running;
        out.thresholds[i] = alpha / left;
        out.reject[i] = running <= alpha;
    }
    Ok(out)
}

/// A design whose p values come in steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Design {
    /// Sign test, exact McNemar (n discordant pairs) or exact Wilcoxon of n untied differences, two-sided.
    Sign { n: u64 },
    /// Mid-p McNemar of n discordant pairs.
    MidP { n: u64 },
    /// Sign-flip permutation over clusters; beyond 20 clusters by that many random patterns.
    SignFlip { clusters: u64, resamples: u64 },
    /// Two groups relabelled exhaustively, two-sided by doubling.
    Permutation { n1: u64, n2: u64 },
    /// Any test by that many random permutations.
    MonteCarlo { resamples: u64 },
}

/// Smallest two-sided p that `design` can give; above a test's Holm threshold the test is "not tested".
pub fn smallest_p(design: Design) -> f64 {
    let sign = |n: u64| if n == 0 { 1.0 } else { 0.5f64.powf(n as f64 - 1.0) };
    match design {
        Design::Sign { n } => sign(n),
        Design::MidP { n } => sign(n.saturating_add(u64::from(n > 0))),
        Design::SignFlip { clusters, .. } if clusters <= 20 => sign(clusters),
        Design::SignFlip { resamples, .. } | Design::MonteCarlo { resamples } => 1.0 / (resamples as f64 + 1.0),
        Design::Permutation { n1, n2 } => (2.0 / choose(n1.saturating_add(n2), n1)).min(1.0),
    }
}

/// Fewest pairs, seeds or clusters with which a sign or sign-flip test can reach `alpha`, two-sided.
///
/// # Errors
/// Alpha outside (0, 1).
pub fn groups_needed(alpha: f64) -> Result<u64> {
    check_finite("alpha", &[alpha])?;
    check_open_unit("alpha", alpha)?;
    let mut n = 1;
    while smallest_p(Design::Sign { n }) > alpha {
        n += 1;
    }
    Ok(n)
}
