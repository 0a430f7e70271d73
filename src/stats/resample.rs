//! Resampling: cluster and hierarchical bootstrap, cluster sign-flip permutation. Seeded, the same on every machine.

use std::collections::HashMap;
use std::hash::Hash;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::dist::{mean, normal_quantile, normal_sf, sorted_quantile, sum, t_two_sided};
use super::{Result, StatResult, StatsError, check_finite, check_open_unit, check_parallel};

/// How many resamples, from which seed, at which confidence level.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resampling {
    pub resamples: usize,
    pub seed: u64,
    pub level: f64,
}

impl Default for Resampling {
    fn default() -> Self {
        Self { resamples: 10_000, seed: 0, level: super::DEFAULT_LEVEL }
    }
}

impl Resampling {
    pub(super) fn check(&self) -> Result<()> {
        check_open_unit("level", self.level)?;
        if (99..=10_000_000).contains(&self.resamples) {
            return Ok(());
        }
        Err(StatsError::OutOfRange { what: "resamples", value: self.resamples as f64, allowed: "99 to 10,000,000" })
    }

    pub(super) fn rng(&self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.seed)
    }
}

/// Interval made from the bootstrap distribution.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BootstrapInterval {
    /// Quantiles of the resampled statistic.
    Percentile,
    /// Bias-corrected and accelerated, jackknife over clusters (Efron 1987).
    Bca,
    /// Quantiles of the resampled t, with the cluster-robust standard error (mean only).
    Studentised,
}

/// How prompts are drawn in [`hierarchical_bootstrap`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PromptDraw {
    /// One draw of prompts, common to all seeds: for the same prompts under every seed (crossed design).
    Crossed,
    /// A separate draw within each seed: for prompts that belong to one seed (nested design).
    Nested,
}

/// Sum and size of one cluster.
#[derive(Debug, Clone, Copy)]
pub(super) struct Cluster {
    pub(super) sum: f64,
    pub(super) count: f64,
}

/// Numbers labels 0, 1, ... in order of first appearance.
pub fn cluster_codes<T: Eq + Hash>(labels: &[T]) -> Vec<usize> {
    let mut seen = HashMap::new();
    labels
        .iter()
        .map(|label| {
            let next = seen.len();
            *seen.entry(label).or_insert(next)
        })
        .collect()
}

/// Cluster sums in order of first appearance.
pub(super) fn group(values: &[f64], clusters: &[usize]) -> Vec<Cluster> {
    let mut groups: Vec<Cluster> = Vec::new();
    for (&v, code) in values.iter().zip(cluster_codes(clusters)) {
        if code == groups.len() {
            groups.push(Cluster { sum: 0.0, count: 0.0 });
        }
        groups[code].sum += v;
        groups[code].count += 1.0;
    }
    groups
}

/// Uniform index below `n` by widening multiplication; its bias is below n / 2^64.
pub(super) fn below(rng: &mut ChaCha8Rng, n: usize) -> usize {
    ((u128::from(rng.next_u64()) * n as u128) >> 64) as usize
}

/// Two-sided p of "the parameter is 0" from the tails of the resampled statistic.
fn tail_p(draws: &[f64]) -> f64 {
    let low = draws.iter().filter(|v| **v <= 0.0).count();
    let high = draws.iter().filter(|v| **v >= 0.0).count();
    (2.0 * (low.min(high) + 1) as f64 / (draws.len() + 1) as f64).min(1.0)
}

/// Percentile limits of sorted draws.
pub(super) fn percentile_limits(sorted: &[f64], level: f64) -> (f64, f64) {
    let tail = (1.0 - level) / 2.0;
    (sorted_quantile(sorted, tail), sorted_quantile(sorted, 1.0 - tail))
}

/// BCa limits, or `None` where the correction is not finite (no spread, or all draws on one side).
fn bca_limits(sorted: &[f64], estimate: f64, jackknife: &[f64], level: f64) -> Option<(f64, f64)> {
    let below = sorted.iter().filter(|v| **v < estimate).count() as f64;
    let equal = sorted.iter().filter(|v| **v == estimate).count() as f64;
    let share = (below + 0.5 * equal) / sorted.len() as f64;
    if share <= 0.0 || share >= 1.0 || !jackknife.iter().all(|v| v.is_finite()) {
        return None;
    }
    let z0 = normal_quantile(share);
    let centre = mean(jackknife);
    let squares = sum(jackknife.iter().map(|v| (centre - v).powi(2)));
    if squares <= 0.0 {
        return None;
    }
    let accel = sum(jackknife.iter().map(|v| (centre - v).powi(3))) / (6.0 * squares.powf(1.5));
    let at = |p: f64| {
        let z = z0 + normal_quantile(p);
        1.0 - normal_sf(z0 + z / (1.0 - accel * z))
    };
    let tail = (1.0 - level) / 2.0;
    let (low, high) = (at(tail), at(1.0 - tail));
    (low.is_finite() && high.is_finite()).then(|| (sorted_quantile(sorted, low), sorted_quantile(sorted, high)))
}

/// Interval, p and notes from draws; `jackknife` only for BCa.
fn finish(
    result: StatResult,
    estimate: f64,
    mut draws: Vec<f64>,
    jackknife: Option<&[f64]>,
    opts: &Resampling,
) -> Result<StatResult> {
    let failed = opts.resamples - draws.len();
    if failed * 10 > opts.resamples || !estimate.is_finite() {
        return Err(StatsError::Resampling { failed, resamples: opts.resamples });
    }
    draws.sort_by(f64::total_cmp);
    let mut result = result.estimate(estimate).p(tail_p(&draws)).detail("resamples", draws.len() as f64);
    let corrected = jackknife.and_then(|j| bca_limits(&draws, estimate, j, opts.level));
    if jackknife.is_some() && corrected.is_none() {
        result = result.note("BCa correction undefined here; percentile interval given");
    }
    let (low, high) = corrected.unwrap_or_else(|| percentile_limits(&draws, opts.level));
    if low == high {
        result = result.note("every resample gave the same value: the interval has no width");
    }
    if failed > 0 {
        result = result.note(format!("{failed} of {} resamples were undefined and left out", opts.resamples));
    }
    Ok(result.ci(low, high, opts.level))
}

/// Units drawn from which on a percentile or BCa interval is within two or three points of its level.
const ENOUGH_UNITS: u64 = 20;

/// Says what an interval of resampled units covers where they are few: it is nearly mean ± z sd √((n - 1) / n) / √n, and t with n - 1
/// degrees of freedom tells how often that holds the mean of normal values.
fn few_units(result: StatResult, n: u64, unit: &str, level: f64, instead: &str) -> StatResult {
    if !(2..ENOUGH_UNITS).contains(&n) {
        return result;
    }
    let n_f = n as f64;
    let z = normal_quantile(0.5 + level / 2.0) * ((n_f - 1.0) / n_f).sqrt();
    let covers = 100.0 * (1.0 - t_two_sided(z, n_f - 1.0));
    let nominal = 100.0 * level;
    result
        .detail("covers_about", covers / 100.0)
        .note(format!("only {n} {unit}: this {nominal} % interval covers about {covers:.0} %; prefer {instead}"))
}

/// Bootstrap of a mean over clusters: clusters are drawn with replacement, the mean is that of all rows drawn.
///
/// p is for "the mean is 0": tail inversion, or for `Studentised` the share of |t*| at least |t|. `n` counts clusters.
///
/// # Errors
/// Slices of different length, non-finite values, fewer than two clusters, bad options; `Studentised` without variation.
pub fn cluster_bootstrap_mean(
    values: &[f64],
    clusters: &[usize],
    interval: BootstrapInterval,
    opts: &Resampling,
) -> Result<StatResult> {
    check_parallel("values", values.len(), "clusters", clusters.len())?;
    check_finite("values", values)?;
    opts.check()?;
    let groups = group(values, clusters);
    let g = groups.len();
    if g < 2 {
        return Err(StatsError::TooFew { what: "clusters", n: g, need: 2 });
    }
    let estimate = mean(values);
    let name = match interval {
        BootstrapInterval::Percentile => "cluster bootstrap of the mean, percentile interval",
        BootstrapInterval::Bca => "cluster bootstrap of the mean, BCa interval",
        BootstrapInterval::Studentised => "cluster bootstrap of the mean, studentised interval",
    };
    let result = StatResult::new("cluster-bootstrap", name, "mean", g as u64)
        .detail("rows", values.len() as f64)
        .detail("seed", opts.seed as f64);
    if interval == BootstrapInterval::Studentised {
        return studentised(result, values, clusters, &groups, opts);
    }
    let mut rng = opts.rng();
    let draws = (0..opts.resamples)
        .map(|_| {
            let (mut s, mut n) = (0.0, 0.0);
            for _ in 0..g {
                let c = groups[below(&mut rng, g)];
                s += c.sum;
                n += c.count;
            }
            s / n
        })
        .collect();
    let (total, rows) = (sum(values.iter().copied()), values.len() as f64);
    let jackknife: Vec<f64> = groups.iter().map(|c| (total - c.sum) / (rows - c.count)).collect();
    let result = finish(result, estimate, draws, (interval == BootstrapInterval::Bca).then_some(&jackknife), opts)?;
    Ok(few_units(result, g as u64, "clusters", opts.level, "the studentised interval or the cluster t"))
}

fn studentised(
    result: StatResult,
    values: &[f64],
    clusters: &[usize],
    groups: &[Cluster],
    opts: &Resampling,
) -> Result<StatResult> {
    let (estimate, se, g) = super::ttest::cluster_mean_se(values, clusters)?;
    if se <= 0.0 {
        return Err(StatsError::NoVariation { what: "values", value: estimate });
    }
    let mut rng = opts.rng();
    let mut ts = Vec::with_capacity(opts.resamples);
    let mut drawn = Vec::with_capacity(g);
    for _ in 0..opts.resamples {
        drawn.clear();
        drawn.extend((0..g).map(|_| groups[below(&mut rng, g)]));
        let (s, n) = drawn.iter().fold((0.0, 0.0), |(s, n), c| (s + c.sum, n + c.count));
        let m = s / n;
        let squares: f64 = drawn.iter().map(|c| (c.sum - c.count * m).powi(2)).sum();
        let se_star = (g as f64 / (g as f64 - 1.0) * squares).sqrt() / n;
        if se_star > 1e-9 * se {
            ts.push((m - estimate) / se_star);
        }
    }
    let failed = opts.resamples - ts.len();
    if failed * 10 > opts.resamples {
        return Err(StatsError::Resampling { failed, resamples: opts.resamples });
    }
    let t = estimate / se;
    let extreme = ts.iter().filter(|v| v.abs() >= t.abs()).count();
    ts.sort_by(f64::total_cmp);
    let (low, high) = percentile_limits(&ts, opts.level);
    let mut result = result
        .statistic(t)
        .estimate(estimate)
        .p((extreme + 1) as f64 / (ts.len() + 1) as f64)
        .ci(estimate - high * se, estimate - low * se, opts.level)
        .detail("se", se)
        .detail("resamples", ts.len() as f64);
    if failed > 0 {
        result = result.note(format!("{failed} of {} resamples had no variation and were left out", opts.resamples));
    }
    if g < 10 {
        result = result.note(format!("only {g} clusters: a studentised interval covers a little less than it says"));
    }
    Ok(result)
}

/// Bootstrap over clusters of any statistic of rows: `statistic` gets row indices (with repeats) and returns a number,
/// not finite where it is undefined. More than a tenth of undefined resamples is an error.
///
/// # Errors
/// Fewer than two clusters, bad options, `Studentised`, a statistic undefined on the data or too often.
pub fn cluster_bootstrap(
    clusters: &[usize],
    interval: BootstrapInterval,
    opts: &Resampling,
    mut statistic: impl FnMut(&[usize]) -> f64,
) -> Result<StatResult> {
    opts.check()?;
    if interval == BootstrapInterval::Studentised {
        return Err(StatsError::OutOfRange {
            what: "studentised interval of a statistic without a standard error",
            value: f64::NAN,
            allowed: "percentile or BCa",
        });
    }
    let mut members: Vec<Vec<usize>> = Vec::new();
    for (row, code) in cluster_codes(clusters).into_iter().enumerate() {
        if code == members.len() {
            members.push(Vec::new());
        }
        members[code].push(row);
    }
    let g = members.len();
    if g < 2 {
        return Err(StatsError::TooFew { what: "clusters", n: g, need: 2 });
    }
    let all: Vec<usize> = (0..clusters.len()).collect();
    let estimate = statistic(&all);
    let mut rng = opts.rng();
    let mut rows = Vec::with_capacity(all.len());
    let mut draws = Vec::with_capacity(opts.resamples);
    for _ in 0..opts.resamples {
        rows.clear();
        for _ in 0..g {
            rows.extend_from_slice(&members[below(&mut rng, g)]);
        }
        let value = statistic(&rows);
        if value.is_finite() {
            draws.push(value);
        }
    }
    let bca = interval == BootstrapInterval::Bca;
    let mut jackknife = Vec::new();
    if bca {
        for left_out in 0..g {
            rows.clear();
            rows.extend(members.iter().enumerate().filter(|(i, _)| *i != left_out).flat_map(|(_, m)| m));
            jackknife.push(statistic(&rows));
        }
    }
    let name = if bca { "cluster bootstrap, BCa interval" } else { "cluster bootstrap, percentile interval" };
    let result = StatResult::new("cluster-bootstrap", name, "statistic", g as u64)
        .detail("rows", clusters.len() as f64)
        .detail("seed", opts.seed as f64);
    let result = finish(result, estimate, draws, bca.then_some(&jackknife), opts)?;
    Ok(few_units(result, g as u64, "clusters", opts.level, "a statistic with a standard error"))
}

/// Hierarchical bootstrap over seeds and prompts of the mean of the per-seed means; percentile interval.
///
/// `seeds[i]` and `clusters[i]` label `values[i]`. With `resample_seeds` the seeds are drawn too; without, the interval
/// is about these seeds only. `n` counts seeds. Below twenty seeds prefer [`super::over_seeds_t`]: a bootstrap over three seeds
/// covers 75 per cent where seeds are all that varies (it cannot leave their range), and a note says so.
///
/// # Errors
/// Slices of different length, non-finite values, fewer than two seeds (when drawn) or clusters, bad options.
pub fn hierarchical_bootstrap(
    values: &[f64],
    seeds: &[usize],
    clusters: &[usize],
    draw: PromptDraw,
    resample_seeds: bool,
    opts: &Resampling,
) -> Result<StatResult> {
    check_parallel("values", values.len(), "seeds", seeds.len())?;
    check_parallel("values", values.len(), "clusters", clusters.len())?;
    check_finite("values", values)?;
    opts.check()?;
    let (seed_codes, prompt_codes) = (cluster_codes(seeds), cluster_codes(clusters));
    let count = |codes: &[usize]| codes.iter().max().map_or(0, |m| m + 1);
    let (s_n, g_n) = (count(&seed_codes), count(&prompt_codes));
    let need = if resample_seeds { 2 } else { 1 };
    if s_n < need {
        return Err(StatsError::TooFew { what: "seeds", n: s_n, need });
    }
    if g_n < 2 {
        return Err(StatsError::TooFew { what: "clusters", n: g_n, need: 2 });
    }
    // table[seed][prompt]; a prompt absent under a seed has count 0.
    let mut table = vec![vec![Cluster { sum: 0.0, count: 0.0 }; g_n]; s_n];
    for ((&v, &s), &g) in values.iter().zip(&seed_codes).zip(&prompt_codes) {
        table[s][g].sum += v;
        table[s][g].count += 1.0;
    }
    let present: Vec<Vec<usize>> = table.iter().map(|row| (0..g_n).filter(|&g| row[g].count > 0.0).collect()).collect();
    let ratio = |row: &[Cluster], prompts: &[usize]| {
        let (s, n) = prompts.iter().fold((0.0, 0.0), |(s, n), &g| (s + row[g].sum, n + row[g].count));
        s / n
    };
    let per_seed: Vec<f64> = table.iter().zip(&present).map(|(row, all)| ratio(row, all)).collect();
    let mut rng = opts.rng();
    let mut prompts = Vec::with_capacity(g_n);
    let mut draws = Vec::with_capacity(opts.resamples);
    for _ in 0..opts.resamples {
        if draw == PromptDraw::Crossed {
            prompts.clear();
            prompts.extend((0..g_n).map(|_| below(&mut rng, g_n)));
        }
        let mut total = 0.0;
        for k in 0..s_n {
            let s = if resample_seeds { below(&mut rng, s_n) } else { k };
            if draw == PromptDraw::Nested {
                prompts.clear();
                prompts.extend((0..present[s].len()).map(|_| present[s][below(&mut rng, present[s].len())]));
            }
            total += ratio(&table[s], &prompts);
        }
        let value = total / s_n as f64;
        if value.is_finite() {
            draws.push(value);
        }
    }
    let name = format!(
        "hierarchical bootstrap, {} seeds, prompts {}, percentile interval",
        if resample_seeds { "resampled" } else { "fixed" },
        match draw {
            PromptDraw::Crossed => "crossed with seeds",
            PromptDraw::Nested => "nested in seeds",
        }
    );
    let result = StatResult::new("hierarchical-bootstrap", name, "mean of the per-seed means", s_n as u64)
        .detail("clusters", g_n as f64)
        .detail("rows", values.len() as f64)
        .detail("seed", opts.seed as f64);
    let result = finish(result, mean(&per_seed), draws, None, opts)?;
    Ok(if resample_seeds {
        few_units(result, s_n as u64, "seeds", opts.level, "the t interval over seeds")
    } else {
        few_units(result, g_n as u64, "clusters", opts.level, "the cluster t")
    })
}

/// Clusters up to this many are enumerated, all 2^(n-1) sign patterns up to a global flip.
const ENUMERATED: usize = 20;

/// Sign-flip permutation test of "values are symmetric about 0", clusters flipped as a whole, two-sided.
///
/// The statistic is the sum of the values. Up to 20 clusters with a non-zero sum every pattern is enumerated; beyond,
/// p = (1 + patterns at least as extreme) / (1 + resamples). `n` counts clusters; `details.smallest_p` is the least p
/// this design can give.
///
/// # Errors
/// Slices of different length, no cluster, non-finite values, bad options.
pub fn sign_flip(values: &[f64], clusters: &[usize], opts: &Resampling) -> Result<StatResult> {
    check_parallel("values", values.len(), "clusters", clusters.len())?;
    super::check_values("values", values, 1)?;
    opts.check()?;
    let groups = group(values, clusters);
    let sums: Vec<f64> = groups.iter().map(|c| c.sum).filter(|s| *s != 0.0).collect();
    let observed = sum(sums.iter().copied());
    let threshold = observed.abs() - 1e-10 * sum(sums.iter().map(|s| s.abs()));
    let exact = sums.len() <= ENUMERATED;
    let (p, smallest) = if sums.is_empty() {
        (1.0, 1.0)
    } else if exact {
        let patterns = 1u64 << (sums.len() - 1);
        let mut signs = vec![1.0f64; sums.len()];
        let mut extreme = 0u64;
        let mut total = observed;
        for step in 0..patterns {
            if step > 0 {
                // Gray code: one sign changes between neighbours; the first sign stays fixed.
                let k = step.trailing_zeros() as usize + 1;
                total -= 2.0 * signs[k] * sums[k];
                signs[k] = -signs[k];
            }
            extreme += u64::from(total.abs() >= threshold);
        }
        (extreme as f64 / patterns as f64, 1.0 / patterns as f64)
    } else {
        let mut rng = opts.rng();
        let mut extreme = 0usize;
        for _ in 0..opts.resamples {
            let mut total = 0.0;
            for chunk in sums.chunks(64) {
                let mut bits = rng.next_u64();
                for s in chunk {
                    total += if bits & 1 == 1 { *s } else { -*s };
                    bits >>= 1;
                }
            }
            extreme += usize::from(total.abs() >= threshold);
        }
        let draws = (opts.resamples + 1) as f64;
        ((extreme + 1) as f64 / draws, 1.0 / draws)
    };
    let name = if exact {
        "cluster sign-flip permutation test, all patterns, two-sided"
    } else {
        "cluster sign-flip permutation test, random patterns, two-sided"
    };
    let mut result = StatResult::new("sign-flip", name, "mean", groups.len() as u64)
        .statistic(observed)
        .p(p)
        .estimate(mean(values))
        .detail("smallest_p", smallest)
        .detail("rows", values.len() as f64)
        .detail("zero_clusters", (groups.len() - sums.len()) as f64);
    if !exact {
        result = result.detail("resamples", opts.resamples as f64).detail("seed", opts.seed as f64);
    }
    if smallest > 0.05 {
        result = result.note(format!("{} informative cluster(s): p cannot fall below {smallest:.4}", sums.len()));
    }
    Ok(result)
}
