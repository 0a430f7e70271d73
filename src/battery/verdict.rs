//! From paired differences to effects, and the arithmetic that the tests' verdicts share.

use super::error::Result;
use super::record::{Cell, Effect, Table};
use super::rows::Paired;
use crate::stats::{
    BootstrapInterval, Design, PromptDraw, Resampling, StatResult, cluster_bootstrap_mean, describe, detectable_effect,
    detectable_hazard_ratio, hierarchical_bootstrap, power_paired_t, sign_flip, smallest_p, tost_cluster_mean,
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

/// Power that effects are said to be found with.
const POWER: f64 = 0.8;

/// What contrasts could have shown: the smallest mean difference that a paired t test on this many prompts finds with 80 % power,
/// given the spread between prompts that was seen.
pub fn power_table(contrasts: &[(&str, &Paired)], c: &StatisticsConfig) -> Option<Table> {
    let mut samples = Vec::new();
    for (name, d) in contrasts {
        let mut sums = vec![(0.0, 0.0); d.n_prompts];
        for (v, &k) in d.values.iter().zip(&d.clusters) {
            sums[k].0 += v;
            sums[k].1 += 1.0;
        }
        samples.push((*name, sums.iter().filter(|s| s.1 > 0.0).map(|s| s.0 / s.1).collect()));
    }
    power_of_means(&samples, "prompts", c)
}

/// The same from one value a unit (`prompts`, `seeds`).
pub fn power_of_means(samples: &[(&str, Vec<f64>)], unit: &str, c: &StatisticsConfig) -> Option<Table> {
    let mut table = Table {
        title: "Smallest effect found with 80 % power".into(),
        columns: vec!["contrast".into(), format!("n {unit}"), format!("sd over {unit}"), "smallest effect".into()],
        rows: Vec::new(),
    };
    for (name, means) in samples {
        let Ok(s) = describe(means) else { continue };
        // Power grows with the effect: bisection on the standardised one.
        let (mut low, mut high) = (0.0, 10.0);
        for _ in 0..40 {
            let dz = 0.5 * (low + high);
            match power_paired_t(means.len() as u64, dz, c.alpha) {
                Ok(p) if p < POWER => low = dz,
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

/// The same for effects of which only an interval is known, by the normal approximation with the standard error read off the
/// interval. `n` is the number of distinct prompts.
pub fn power_of_intervals(effects: &[Effect], n: usize, c: &StatisticsConfig) -> Option<Table> {
    let mut table = Table {
        title: "Smallest effect found with 80 % power, from the width of the interval".into(),
        columns: ["contrast", "n prompts", "standard error", "smallest effect"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for e in effects {
        // An interval of level L is as wide as 2 z((1 + L) / 2) standard errors.
        let Ok(z) = detectable_effect(1.0, 1.0 - e.level, 0.5) else { continue };
        let se = (e.high - e.low) / (2.0 * z);
        let Ok(least) = detectable_effect(se, c.alpha, POWER) else { continue };
        let row = [n as f64, se, least];
        table.rows.push(std::iter::once(Cell::Text(e.name.clone())).chain(row.map(Cell::Number)).collect());
    }
    (!table.rows.is_empty()).then_some(table)
}

/// The same for a log-rank test of two arms with as many runs each: (contrast, seeds, events). Beside the hazard ratio stands the
/// smallest p that permuting so few runs can give.
pub fn power_of_survival(contrasts: &[(String, usize, usize)], c: &StatisticsConfig) -> Option<Table> {
    let columns = ["contrast", "n seeds", "events", "smallest hazard ratio", "smallest attainable p"];
    let mut table = Table {
        title: "Smallest hazard ratio found with 80 % power".into(),
        columns: columns.map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for (name, seeds, events) in contrasts {
        let least = smallest_p(Design::Permutation { n1: *seeds as u64, n2: *seeds as u64 });
        // What no permutation can make significant is not found at any size.
        let ratio = match detectable_hazard_ratio(*events as u64, c.alpha, POWER) {
            _ if least > c.alpha => Cell::Text("none: too few seeds".into()),
            Ok(ratio) => Cell::Number(ratio),
            Err(_) => Cell::Text("none: no event".into()),
        };
        let count = |n: usize| Cell::Number(n as f64);
        table.rows.push(vec![Cell::Text(name.clone()), count(*seeds), count(*events), ratio, Cell::Number(least)]);
    }
    (!table.rows.is_empty()).then_some(table)
}
