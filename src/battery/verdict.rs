//! From paired differences to effects, and the arithmetic that the tests' verdicts share.

use super::error::Result;
use super::record::{Cell, Effect, Table};
use super::rows::Paired;
use crate::stats::{
    BootstrapInterval, PromptDraw, Resampling, StatResult, cluster_bootstrap_mean, describe, hierarchical_bootstrap,
    power_paired_t, sign_flip, tost_cluster_mean,
};

/// Settings of the statistics, copied into the run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatisticsConfig {
    pub resamples: usize,
    pub seed: u64,
    pub level: f64,
    pub alpha: f64,
    /// Equivalence margin on token ratios: 0.05 = ±5 %.
    pub ratio_margin: f64,
    /// Non-inferiority and equivalence margin on accuracy, in proportion.
    pub accuracy_margin: f64,
}

impl Default for StatisticsConfig {
    fn default() -> Self {
        Self { resamples: 10_000, seed: 0, level: 0.95, alpha: 0.05, ratio_margin: 0.05, accuracy_margin: 0.05 }
    }
}

impl StatisticsConfig {
    pub fn resampling(&self) -> Resampling {
        Resampling { resamples: self.resamples, seed: self.seed, level: self.level }
    }

    /// The margin on the log scale.
    pub fn log_margin(&self) -> f64 {
        self.ratio_margin.ln_1p()
    }
}

/// Mean paired difference with a bootstrap interval over canonical prompts (and seeds, when there are several).
pub fn effect(name: &str, d: &Paired, c: &StatisticsConfig, margin: Option<f64>) -> Result<Effect> {
    let opts = c.resampling();
    // Identical answers in every pair: the estimate is exact and no resampling scheme has anything to draw from.
    if d.values.iter().all(|v| *v == d.values[0]) && !d.values.is_empty() {
        let v = d.values[0];
        let method = "all paired differences are equal".to_string();
        return Ok(Effect { name: name.into(), estimate: v, low: v, high: v, level: c.level, method, margin });
    }
    let r: StatResult = if d.n_seeds > 1 {
        hierarchical_bootstrap(&d.values, &d.seeds, &d.clusters, PromptDraw::Crossed, true, &opts)?
    } else {
        cluster_bootstrap_mean(&d.values, &d.clusters, BootstrapInterval::Bca, &opts)?
    };
    let estimate = r.estimate.unwrap_or(f64::NAN);
    let ci = r.ci;
    Ok(Effect {
        name: name.into(),
        estimate,
        low: ci.map_or(f64::NAN, |c| c.low),
        high: ci.map_or(f64::NAN, |c| c.high),
        level: c.level,
        method: r.method,
        margin,
    })
}

/// Two-sided sign-flip permutation p over canonical prompts, and the smallest p the design can give. The design is the number of
/// prompts: pairs that happen to be equal do not make it smaller.
pub fn permutation_p(d: &Paired, c: &StatisticsConfig) -> Result<(f64, f64)> {
    let r = sign_flip(&d.values, &d.clusters, &c.resampling())?;
    let patterns = 0.5f64.powi(d.n_prompts.saturating_sub(1).try_into().unwrap_or(i32::MAX));
    Ok((r.p.unwrap_or(1.0), patterns.max(1.0 / (c.resamples as f64 + 1.0))))
}

/// p of the two one-sided tests that the mean difference lies within ± `margin`; 0 when nothing varies and it does.
pub fn equivalence_p(d: &Paired, margin: f64, c: &StatisticsConfig) -> Result<f64> {
    if let Some(first) = d.values.first()
        && d.values.iter().all(|v| v == first)
    {
        return Ok(if first.abs() < margin { 0.0 } else { 1.0 });
    }
    Ok(tost_cluster_mean(&d.values, &d.clusters, -margin, margin, c.alpha)?.p.unwrap_or(1.0))
}

/// What contrasts could have shown: the smallest mean difference that a paired t test on this many prompts finds with 80 % power,
/// given the spread between prompts that was seen.
pub fn power_table(contrasts: &[(&str, &Paired)], c: &StatisticsConfig) -> Option<Table> {
    let mut table = Table {
        title: "Smallest effect found with 80 % power".into(),
        columns: ["contrast", "n prompts", "sd over prompts", "smallest effect"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for (name, d) in contrasts {
        let mut sums = vec![(0.0, 0.0); d.n_prompts];
        for (v, &k) in d.values.iter().zip(&d.clusters) {
            sums[k].0 += v;
            sums[k].1 += 1.0;
        }
        let means: Vec<f64> = sums.iter().filter(|s| s.1 > 0.0).map(|s| s.0 / s.1).collect();
        let Ok(s) = describe(&means) else { continue };
        // Power grows with the effect: bisection on the standardised one.
        let (mut low, mut high) = (0.0, 10.0);
        for _ in 0..40 {
            let dz = 0.5 * (low + high);
            match power_paired_t(means.len() as u64, dz, c.alpha) {
                Ok(p) if p < 0.8 => low = dz,
                Ok(_) => high = dz,
                Err(_) => return None,
            }
        }
        table.rows.push(vec![
            Cell::Text((*name).into()),
            Cell::Number(means.len() as f64),
            Cell::Number(s.sd),
            Cell::Number(high * s.sd),
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}
