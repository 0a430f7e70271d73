//! Permutation of labels within strata and by group; the maximum over layers; Spearman's rank correlation.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::SeedableRng;
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

use super::crossval::{groups_in_strata, shuffle, stratified_spearman};
use super::resample::below;
use super::{Resampling, Result, StatResult, StatsError, check_parallel};

/// Groups that may change places, each its rows.
type Pool = Vec<Vec<usize>>;

/// What may be exchanged under the null: whole groups of one stratum and one size, their rows in order.
///
/// A group is what was sampled as one unit (the samples of a canonical prompt); a stratum is a family.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exchange {
    pools: Vec<Pool>,
    rows: usize,
    groups: usize,
}

impl Exchange {
    /// # Errors
    /// Lengths that differ, a group in two strata, no two groups that may change places.
    pub fn new(strata: &[usize], groups: &[usize]) -> Result<Self> {
        let all = groups_in_strata(groups, strata)?;
        let mut pools: Vec<((usize, usize), Pool)> = Vec::new();
        let groups = all.len();
        for (stratum, rows) in all {
            let key = (stratum, rows.len());
            match pools.iter_mut().find(|p| p.0 == key) {
                Some(p) => p.1.push(rows),
                None => pools.push((key, vec![rows])),
            }
        }
        let pools: Vec<Pool> = pools.into_iter().map(|p| p.1).filter(|p| p.len() > 1).collect();
        if pools.is_empty() {
            return Err(StatsError::TooFew { what: "exchangeable groups in a stratum", n: groups.min(1), need: 2 });
        }
        Ok(Self { pools, rows: strata.len(), groups })
    }

    /// Every row its own group.
    ///
    /// # Errors
    /// No stratum with two rows.
    pub fn rows(strata: &[usize]) -> Result<Self> {
        Self::new(strata, &(0..strata.len()).collect::<Vec<_>>())
    }

    /// Number of groups.
    pub fn groups(&self) -> usize {
        self.groups
    }

    /// Groups that no other can change places with.
    pub fn fixed(&self) -> usize {
        self.groups - self.pools.iter().map(Vec::len).sum::<usize>()
    }

    /// ln of the number of permutations.
    fn ln_count(&self) -> f64 {
        self.pools.iter().map(|p| (2..=p.len()).map(|n| (n as f64).ln()).sum::<f64>()).sum()
    }

    /// Permutation number `index` of `seed`: row i takes the label of row `out[i]`.
    fn draw(&self, seed: u64, index: u64) -> Vec<usize> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(index.wrapping_add(1));
        let mut out: Vec<usize> = (0..self.rows).collect();
        for pool in &self.pools {
            let mut order: Vec<usize> = (0..pool.len()).collect();
            shuffle(&mut order, |n| below(&mut rng, n));
            for (to, &from) in pool.iter().zip(&order) {
                to.iter().zip(&pool[from]).for_each(|(&a, &b)| out[a] = b);
            }
        }
        out
    }

    /// Permutation number `index` applied to `labels`, one a row.
    ///
    /// # Errors
    /// Another number of labels than rows.
    pub fn permuted<T: Copy>(&self, labels: &[T], seed: u64, index: u64) -> Result<Vec<T>> {
        check_parallel("labels", labels.len(), "rows of the exchange", self.rows)?;
        Ok(self.draw(seed, index).into_iter().map(|i| labels[i]).collect())
    }
}

/// One layer of [`MaxStatistic`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct LayerSkill {
    pub skill: f64,
    /// One-sided p of this layer alone.
    pub p: f64,
    /// p adjusted for all layers: share of permutations whose best layer reaches this skill (Westfall and Young's maxT).
    pub p_family: f64,
}

/// Skill of every layer against permuted labels, with control of the family-wise error over layers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MaxStatistic {
    pub layers: Vec<LayerSkill>,
    /// Layer of the greatest skill, the first of equals.
    pub best: usize,
    /// Family-wise p of the greatest skill.
    pub p: f64,
    /// Greatest skill of a permutation, mean and 95th percentile: what the best of the layers reaches by chance.
    pub chance_mean: f64,
    pub chance_95: f64,
    pub permutations: usize,
    /// Permutations in which some skill was undefined; they count as reaching every layer's skill.
    pub undefined: usize,
    /// Least p this design can give.
    pub smallest_p: f64,
}

/// Permutation test of the greatest skill over layers, one-sided (greater).
///
/// `skill` maps labels to one skill a layer, on one scale for all layers, NaN where undefined; everything that looks at labels (the
/// choice of a penalty, the choice of a layer) belongs inside it. It runs on many threads; permutation r depends on the seed
/// and r alone. With [`super::RidgeProbe`] a call costs a few matrix-vector products a layer:
///
/// `max_statistic(&y, &exchange, &opts, |y| probes.iter().map(|p| skill_of(p.predict(y))).collect())`
///
/// # Errors
/// Lengths that differ, no layer, an observed skill that is not finite, another number of layers under permutation, bad options.
pub fn max_statistic<T: Copy + Sync + Send>(
    labels: &[T],
    exchange: &Exchange,
    opts: &Resampling,
    skill: impl Fn(&[T]) -> Vec<f64> + Sync,
) -> Result<MaxStatistic> {
    opts.check()?;
    check_parallel("labels", labels.len(), "rows of the exchange", exchange.rows)?;
    let observed = skill(labels);
    super::check_values("skill of a layer", &observed, 1)?;
    let permuted: Vec<Vec<f64>> = (0..opts.resamples as u64)
        .into_par_iter()
        .map(|r| {
            let y: Vec<T> = exchange.draw(opts.seed, r).into_iter().map(|i| labels[i]).collect();
            skill(&y)
        })
        .collect();
    if let Some(other) = permuted.iter().find(|s| s.len() != observed.len()) {
        check_parallel("layers", observed.len(), "layers under permutation", other.len())?;
    }
    // Undefined counts as extreme, so that missing information never makes p smaller.
    let filled = |v: f64| if v.is_finite() { v } else { f64::INFINITY };
    let tops: Vec<f64> =
        permuted.iter().map(|s| s.iter().map(|v| filled(*v)).fold(f64::NEG_INFINITY, f64::max)).collect();
    let share = |reached: usize| (reached + 1) as f64 / (opts.resamples + 1) as f64;
    let layers: Vec<LayerSkill> = observed
        .iter()
        .enumerate()
        .map(|(l, &s)| {
            let bar = s - 1e-10 * s.abs().max(1.0);
            LayerSkill {
                skill: s,
                p: share(permuted.iter().filter(|x| filled(x[l]) >= bar).count()),
                p_family: share(tops.iter().filter(|t| **t >= bar).count()),
            }
        })
        .collect();
    let best = (1..observed.len()).fold(0, |b, l| if observed[l] > observed[b] { l } else { b });
    let mut finite: Vec<f64> = tops.iter().copied().filter(|t| t.is_finite()).collect();
    finite.sort_by(f64::total_cmp);
    if finite.is_empty() {
        return Err(StatsError::Resampling { failed: opts.resamples, resamples: opts.resamples });
    }
    Ok(MaxStatistic {
        p: layers[best].p_family,
        layers,
        best,
        chance_mean: super::dist::mean(&finite),
        chance_95: super::dist::sorted_quantile(&finite, 0.95),
        permutations: opts.resamples,
        undefined: tops.len() - finite.len(),
        smallest_p: smallest(exchange, opts),
    })
}

/// 1 / permutations drawn or possible, whichever are fewer.
fn smallest(exchange: &Exchange, opts: &Resampling) -> f64 {
    (1.0 / (opts.resamples as f64 + 1.0)).max((-exchange.ln_count()).exp())
}

/// Spearman's rank correlation within strata ([`stratified_spearman`]) with a two-sided permutation p; `y` is permuted among the
/// groups of a stratum. No interval.
///
/// # Errors
/// Lengths that differ, values that are not finite, a group in two strata, nothing to exchange, no stratum in which both sides vary.
pub fn spearman(x: &[f64], y: &[f64], strata: &[usize], groups: &[usize], opts: &Resampling) -> Result<StatResult> {
    check_parallel("x", x.len(), "y", y.len())?;
    check_parallel("x", x.len(), "strata", strata.len())?;
    opts.check()?;
    let Some(rho) = stratified_spearman(x, y, strata)?.value() else {
        return Err(StatsError::NoVariation {
            what: "x or y in every stratum",
            value: y.first().copied().unwrap_or(f64::NAN),
        });
    };
    let exchange = Exchange::new(strata, groups)?;
    let bar = rho.abs() - 1e-10;
    let extreme = (0..opts.resamples as u64)
        .into_par_iter()
        .map(|r| {
            let y: Vec<f64> = exchange.draw(opts.seed, r).into_iter().map(|i| y[i]).collect();
            stratified_spearman(x, &y, strata).map(|s| usize::from(s.or_nan().abs() >= bar))
        })
        .collect::<Result<Vec<usize>>>()?;
    let extreme: usize = extreme.into_iter().sum();
    let count = super::cluster_codes(strata).iter().max().map_or(0, |m| m + 1);
    let mut result = StatResult::new(
        "spearman",
        "Spearman's rank correlation within strata (mean weighted by size - 1), p by permutation of groups, two-sided",
        "positive = x and y rise together",
        exchange.groups() as u64,
    )
    .estimate(rho)
    .p((extreme + 1) as f64 / (opts.resamples + 1) as f64)
    .detail("rows", x.len() as f64)
    .detail("strata", count as f64)
    .detail("smallest_p", smallest(&exchange, opts))
    .detail("resamples", opts.resamples as f64)
    .detail("seed", opts.seed as f64);
    if exchange.fixed() > 0 {
        result = result.note(format!("{} group(s) of a size that no other has stayed in place", exchange.fixed()));
    }
    Ok(result)
}
