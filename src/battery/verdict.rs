//! From paired differences to effects, and the arithmetic that the tests' verdicts share.

use super::error::Result;
use super::record::Effect;
use super::rows::Paired;
use crate::stats::{
    BootstrapInterval, PromptDraw, Resampling, StatResult, cluster_bootstrap_mean, hierarchical_bootstrap,
    over_seeds_and_prompts, sign_flip, tost_cluster_mean, tost_one_sample,
};

/// Settings of the statistics, copied into the run.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StatisticsConfig {
    pub resamples: usize,
    pub seed: u64,
    pub level: f64,
    pub alpha: f64,
    /// Equivalence margin on token ratios: 0.05 = ±5 %. Of log-odds, what so many points are at even odds: ±0.2 nats.
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
}

/// Seeds from which on a bootstrap over seeds covers what it says; with fewer, t over the per-seed effects stands beside it.
const SEEDS_TO_RESAMPLE: usize = 10;

impl Paired {
    /// Mean difference of every seed: training runs are what varies when prompts are many.
    pub fn seed_means(&self) -> Vec<f64> {
        let mut sums = vec![(0.0, 0.0); self.n_seeds];
        for (v, &s) in self.values.iter().zip(&self.seeds) {
            sums[s].0 += v;
            sums[s].1 += 1.0;
        }
        sums.into_iter().filter(|s| s.1 > 0.0).map(|s| s.0 / s.1).collect()
    }
}

/// Mean paired difference with a bootstrap interval over canonical prompts (and seeds, when there are several: with fewer than ten
/// the wider of that and of t over seeds and prompts, since a bootstrap over 3 seeds covers 75 to 83 %).
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
        // Studentised covers what it says with fewer prompts than BCa; where prompts hardly vary it is undefined.
        cluster_bootstrap_mean(&d.values, &d.clusters, BootstrapInterval::Studentised, &opts)
            .or_else(|_| cluster_bootstrap_mean(&d.values, &d.clusters, BootstrapInterval::Bca, &opts))?
    };
    let estimate = r.estimate.unwrap_or(f64::NAN);
    let ci = r.ci;
    let (mut low, mut high) = (ci.map_or(f64::NAN, |c| c.low), ci.map_or(f64::NAN, |c| c.high));
    let mut method = r.method;
    if d.n_seeds > 1
        && d.n_seeds < SEEDS_TO_RESAMPLE
        && let Some(t) = over_seeds_and_prompts(&d.values, &d.seeds, &d.clusters, &opts).ok().and_then(|t| t.ci)
    {
        (low, high) = (low.min(t.low), high.max(t.high));
        method = format!("{method}, or t over {} seeds and the prompts where that is wider", d.n_seeds);
    } else if !r.notes.is_empty() {
        method = format!("{method} ({})", r.notes.join("; "));
    }
    Ok(Effect { name: name.into(), estimate, low, high, level: c.level, method, margin })
}

/// Two-sided sign-flip permutation p over canonical prompts, and the smallest p the design can give. The design is the number of
/// prompts: pairs that happen to be equal do not make it smaller. With several seeds the p over seeds and prompts together: a seed
/// moves all prompts alike, which flips of prompts cannot see.
pub fn permutation_p(d: &Paired, c: &StatisticsConfig) -> Result<(f64, f64)> {
    let r = sign_flip(&d.values, &d.clusters, &c.resampling())?;
    let patterns = 0.5f64.powi(d.n_prompts.saturating_sub(1).try_into().unwrap_or(i32::MAX));
    let mut p = r.p.unwrap_or(1.0);
    // Per-seed effects that are all equal carry no variation to test against.
    if d.n_seeds > 1
        && let Some(both) =
            over_seeds_and_prompts(&d.values, &d.seeds, &d.clusters, &c.resampling()).ok().and_then(|t| t.p)
    {
        p = p.max(both);
    }
    Ok((p, patterns.max(least_p(c))))
}

/// Smallest p that resampling can give.
fn least_p(c: &StatisticsConfig) -> f64 {
    1.0 / (c.resamples as f64 + 1.0)
}

/// p of the two one-sided tests that the mean difference lies within ± `margin`, over canonical prompts, and with several seeds over
/// the per-seed effects too (the larger). Where nothing varies and the difference is within: the smallest p of resampling, not 0.
pub fn equivalence_p(d: &Paired, margin: f64, c: &StatisticsConfig) -> Result<f64> {
    if let Some(first) = d.values.first()
        && d.values.iter().all(|v| v == first)
    {
        return Ok(if first.abs() < margin { least_p(c) } else { 1.0 });
    }
    let mut p = tost_cluster_mean(&d.values, &d.clusters, -margin, margin, c.alpha)?.p.unwrap_or(1.0);
    if d.n_seeds > 1
        && let Some(over_seeds) = tost_one_sample(&d.seed_means(), -margin, margin, c.alpha).ok().and_then(|t| t.p)
    {
        p = p.max(over_seeds);
    }
    Ok(p)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every prompt moved by its seed alone, around `mean`.
    fn shifted(mean: f64, shifts: &[f64]) -> Paired {
        let mut d = Paired { n_prompts: 40, n_seeds: shifts.len(), ..Paired::default() };
        for (s, shift) in shifts.iter().enumerate() {
            for k in 0..40 {
                d.values.push(mean + shift + 0.01 * ((k * 7 + s * 3) % 11) as f64 - 0.05);
                d.clusters.push(k);
                d.seeds.push(s);
            }
        }
        d
    }

    #[test]
    fn a_shift_of_whole_seeds_is_no_effect() {
        let c = StatisticsConfig { resamples: 999, ..StatisticsConfig::default() };
        // Prompts all agree, seeds do not: 40 prompts would call it certain.
        let d = shifted(0.1, &[-0.2, 0.0, 0.2]);
        assert!(sign_flip(&d.values, &d.clusters, &c.resampling()).unwrap().p.unwrap() < 0.01);
        assert!(permutation_p(&d, &c).unwrap().0 > 0.3);
        let e = effect("x", &d, &c, None).unwrap();
        assert!(e.low < 0.0 && e.high > 0.0 && e.method.contains("3 seeds"), "{e:?}");
        // Seeds that agree leave the p of the prompts.
        assert!(permutation_p(&shifted(0.1, &[-0.001, 0.0, 0.001]), &c).unwrap().0 < 0.01);
        // Equivalence over prompts is not equivalence over seeds.
        let d = shifted(0.0, &[-0.04, 0.0, 0.04]);
        assert!(tost_cluster_mean(&d.values, &d.clusters, -0.05, 0.05, 0.05).unwrap().p.unwrap() < 0.05);
        assert!(equivalence_p(&d, 0.05, &c).unwrap() > 0.05);
        // Nothing varies: as sure as resampling can be, never certain.
        let same =
            Paired { values: vec![0.0; 9], clusters: (0..9).collect(), seeds: vec![0; 9], n_prompts: 9, n_seeds: 1 };
        assert_eq!(equivalence_p(&same, 0.05, &c).unwrap(), 0.001);
    }
}
