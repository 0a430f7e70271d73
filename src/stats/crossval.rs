//! Folds for cross-validation, and what out-of-fold scores are worth: AUROC and rank correlation, within strata.

use std::collections::HashMap;

use serde::{Deserialize, Serialize};

use super::dist::{is_constant, mean, sum};
use super::ranks::midranks;
use super::resample::below;
use super::{Resampling, Result, StatsError, check_finite, check_parallel, cluster_codes};

/// Fold of every row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folds {
    of: Vec<usize>,
    k: usize,
}

impl Folds {
    /// Folds made elsewhere: `of[i]` < `k` is the fold of row `i`.
    ///
    /// # Errors
    /// Fewer than two folds, a fold number too large, a fold without rows.
    pub fn new(of: Vec<usize>, k: usize) -> Result<Self> {
        if k < 2 {
            return Err(StatsError::TooFew { what: "folds", n: k, need: 2 });
        }
        if let Some(&fold) = of.iter().find(|f| **f >= k) {
            return Err(StatsError::OutOfRange { what: "fold", value: fold as f64, allowed: "0 to k - 1" });
        }
        let folds = Self { of, k };
        match (0..k).find(|&f| folds.test(f).is_empty()) {
            Some(_) => Err(StatsError::TooFew { what: "rows of the smallest fold", n: 0, need: 1 }),
            None => Ok(folds),
        }
    }

    /// Fold of every row.
    pub fn of(&self) -> &[usize] {
        &self.of
    }

    /// Number of folds.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows of fold `f`, in order.
    pub fn test(&self, f: usize) -> Vec<usize> {
        (0..self.of.len()).filter(|&i| self.of[i] == f).collect()
    }

    /// Rows outside the folds `out`, in order.
    pub(super) fn outside(&self, out: &[usize]) -> Vec<usize> {
        (0..self.of.len()).filter(|&i| !out.contains(&self.of[i])).collect()
    }
}

fn check_k(k: usize) -> Result<()> {
    if (2..=1000).contains(&k) {
        Ok(())
    } else {
        Err(StatsError::OutOfRange { what: "number of folds", value: k as f64, allowed: "2 to 1,000" })
    }
}

/// Folds in which a group never straddles and every class is spread as evenly as the groups allow.
///
/// `classes` codes what is to be balanced: a label, a family, or both in one code (see [`cluster_codes`]). Groups are taken largest
/// first, in an order that `seed` shuffles among equals, and each goes where it raises Σ over classes of (share of the class in the
/// fold)² least; ties go to the fold with fewest rows, then to the first.
///
/// # Errors
/// Lengths that differ, fewer groups than folds, `k` outside 2 to 1,000.
pub fn grouped_folds(classes: &[usize], groups: &[usize], k: usize, seed: u64) -> Result<Folds> {
    check_parallel("classes", classes.len(), "groups", groups.len())?;
    check_k(k)?;
    let (class, group) = (cluster_codes(classes), cluster_codes(groups));
    let count = |codes: &[usize]| codes.iter().max().map_or(0, |m| m + 1);
    let (c_n, g_n) = (count(&class), count(&group));
    if g_n < k {
        return Err(StatsError::TooFew { what: "groups for the folds", n: g_n, need: k });
    }
    let mut members: Vec<Vec<(usize, f64)>> = vec![Vec::new(); g_n];
    let (mut size, mut total) = (vec![0usize; g_n], vec![0.0f64; c_n]);
    for (&c, &g) in class.iter().zip(&group) {
        match members[g].iter_mut().find(|m| m.0 == c) {
            Some(m) => m.1 += 1.0,
            None => members[g].push((c, 1.0)),
        }
        size[g] += 1;
        total[c] += 1.0;
    }
    let mut rng = Resampling { seed, ..Resampling::default() }.rng();
    let mut order: Vec<usize> = (0..g_n).collect();
    shuffle(&mut order, |n| below(&mut rng, n));
    order.sort_by_key(|&g| std::cmp::Reverse(size[g]));
    let (mut held, mut rows) = (vec![vec![0.0f64; c_n]; k], vec![0usize; k]);
    let mut place = vec![0usize; g_n];
    for (done, &g) in order.iter().enumerate() {
        let rise = |f: usize| {
            sum(members[g].iter().map(|&(c, n)| {
                let before = held[f][c];
                ((before + n).powi(2) - before.powi(2)) / (total[c] * total[c])
            }))
        };
        // The last groups fill folds that are still empty, so that no fold stays without rows.
        let empty = rows.iter().filter(|r| **r == 0).count();
        let forced = g_n - done <= empty;
        let candidates = (0..k).filter(|&f| !forced || rows[f] == 0);
        let best = candidates.min_by(|&a, &b| rise(a).total_cmp(&rise(b)).then(rows[a].cmp(&rows[b])));
        let f = best.unwrap_or(0);
        members[g].iter().for_each(|&(c, n)| held[f][c] += n);
        rows[f] += size[g];
        place[g] = f;
    }
    Folds::new(group.iter().map(|&g| place[g]).collect(), k)
}

/// Fisher-Yates, with `draw(n)` uniform below n.
pub(super) fn shuffle<T>(values: &mut [T], mut draw: impl FnMut(usize) -> usize) {
    for i in (1..values.len()).rev() {
        values.swap(i, draw(i + 1));
    }
}

/// Folds of the original study, those of scikit-learn's `StratifiedKFold` without shuffling.
///
/// Classes are numbered by first appearance and the codes sorted; class c has in fold i as many rows as it has among the
/// sorted positions i, i + k, i + 2k, ...; its rows, in order, fill fold 0's quota, then fold 1's, and so on. Groups straddle.
///
/// # Errors
/// No class with `k` rows, `k` outside 2 to 1,000.
pub fn study_folds(classes: &[usize], k: usize) -> Result<Folds> {
    check_k(k)?;
    let class = cluster_codes(classes);
    let c_n = class.iter().max().map_or(0, |m| m + 1);
    let mut sorted = class.clone();
    sorted.sort_unstable();
    let mut quota = vec![vec![0usize; k]; c_n];
    sorted.iter().enumerate().for_each(|(i, &c)| quota[c][i % k] += 1);
    let largest = quota.iter().map(|q| q.iter().sum::<usize>()).max().unwrap_or(0);
    if largest < k {
        return Err(StatsError::TooFew { what: "rows of the largest class for the folds", n: largest, need: k });
    }
    let mut at = vec![0usize; c_n];
    let of = class
        .iter()
        .map(|&c| {
            while at[c] + 1 < k && quota[c][at[c]] == 0 {
                at[c] += 1;
            }
            let f = at[c];
            quota[c][f] = quota[c][f].saturating_sub(1);
            f
        })
        .collect();
    Folds::new(of, k)
}

/// A measure of skill, or why there is none. One class has no AUROC, and that is not 0.5.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "state")]
pub enum Skill {
    Measured { value: f64 },
    Undefined { why: String },
}

impl Skill {
    /// The value, or `None` where undefined.
    pub fn value(&self) -> Option<f64> {
        match self {
            Self::Measured { value } => Some(*value),
            Self::Undefined { .. } => None,
        }
    }

    /// The value, or NaN where undefined: what [`super::max_statistic`] expects.
    pub fn or_nan(&self) -> f64 {
        self.value().unwrap_or(f64::NAN)
    }

    fn undefined(why: impl Into<String>) -> Self {
        Self::Undefined { why: why.into() }
    }
}

/// AUROC fold by fold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FoldSkill {
    pub folds: Vec<Skill>,
    /// Unweighted mean over the folds that have both classes; undefined where none has.
    pub mean: Skill,
    /// Population standard deviation (ddof 0) over those folds.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub sd: Option<f64>,
    /// Folds with one class only.
    pub undefined: usize,
}

/// AUROC of out-of-fold decision values, fold by fold, with half credit for ties; mean and population sd as the study reports them.
///
/// # Errors
/// Lengths that differ, scores that are not finite.
pub fn fold_auroc(scores: &[f64], labels: &[bool], folds: &Folds) -> Result<FoldSkill> {
    check_scores(scores, "labels", labels.len())?;
    check_parallel("scores", scores.len(), "folds", folds.of.len())?;
    let one = |f: usize| {
        let rows = folds.test(f);
        let (s, l): (Vec<f64>, Vec<bool>) = rows.iter().map(|&i| (scores[i], labels[i])).unzip();
        let (wins, pairs) = wins(&s, &l);
        if pairs > 0.0 {
            Skill::Measured { value: wins / pairs }
        } else {
            Skill::undefined(format!("fold {f}: one class only in {} rows", rows.len()))
        }
    };
    let per_fold: Vec<Skill> = (0..folds.k).map(one).collect();
    let values: Vec<f64> = per_fold.iter().filter_map(Skill::value).collect();
    let undefined = per_fold.len() - values.len();
    if values.is_empty() {
        return Ok(FoldSkill {
            folds: per_fold,
            mean: Skill::undefined("one class only in every fold"),
            sd: None,
            undefined,
        });
    }
    let m = mean(&values);
    let sd = (sum(values.iter().map(|v| (v - m) * (v - m))) / values.len() as f64).sqrt();
    Ok(FoldSkill { folds: per_fold, mean: Skill::Measured { value: m }, sd: Some(sd), undefined })
}

fn check_scores(scores: &[f64], right: &'static str, n_right: usize) -> Result<()> {
    check_parallel("scores", scores.len(), right, n_right)?;
    check_finite("scores", scores)
}

/// Won pairs (positive above negative, ties half) and all pairs.
fn wins(scores: &[f64], labels: &[bool]) -> (f64, f64) {
    let positive = labels.iter().filter(|l| **l).count() as f64;
    let pairs = positive * (labels.len() as f64 - positive);
    if pairs == 0.0 {
        return (0.0, 0.0);
    }
    let (ranks, _) = midranks(scores);
    let own = sum(ranks.iter().zip(labels).filter(|(_, l)| **l).map(|(r, _)| *r));
    (own - positive * (positive + 1.0) / 2.0, pairs)
}

/// Rows of every stratum.
pub(super) fn by_stratum(strata: &[usize]) -> Vec<Vec<usize>> {
    let codes = cluster_codes(strata);
    let mut out: Vec<Vec<usize>> = Vec::new();
    for (i, c) in codes.into_iter().enumerate() {
        if c == out.len() {
            out.push(Vec::new());
        }
        out[c].push(i);
    }
    out
}

/// AUROC over pairs of one stratum: Σ won pairs / Σ pairs, so that differences between strata (families) earn nothing.
/// One stratum for all gives the plain pooled AUROC.
///
/// For out-of-fold scores pooled over folds use scores centred in each fold ([`super::OutOfFold::centred`]): the intercept of a
/// fold is high where its own test rows are low, which pulls the pooled measure below chance.
///
/// # Errors
/// Lengths that differ, scores that are not finite.
pub fn stratified_auroc(scores: &[f64], labels: &[bool], strata: &[usize]) -> Result<Skill> {
    check_scores(scores, "labels", labels.len())?;
    check_parallel("scores", scores.len(), "strata", strata.len())?;
    let (mut won, mut all) = (0.0, 0.0);
    for rows in by_stratum(strata) {
        let (s, l): (Vec<f64>, Vec<bool>) = rows.iter().map(|&i| (scores[i], labels[i])).unzip();
        let (w, p) = wins(&s, &l);
        won += w;
        all += p;
    }
    let positive = labels.iter().filter(|l| **l).count();
    if all == 0.0 {
        let negative = labels.len() - positive;
        return Ok(Skill::undefined(format!(
            "no stratum has both classes ({positive} positive and {negative} negative labels in all)"
        )));
    }
    Ok(Skill::Measured { value: won / all })
}

/// Spearman's rank correlation within strata: the mean of the strata's correlations, weighted by their size less one. Strata in
/// which either side is constant say nothing and are left out. One stratum for all gives the plain rank correlation.
///
/// # Errors
/// Lengths that differ, values that are not finite.
pub fn stratified_spearman(x: &[f64], y: &[f64], strata: &[usize]) -> Result<Skill> {
    check_scores(x, "y", y.len())?;
    check_finite("y", y)?;
    check_parallel("x", x.len(), "strata", strata.len())?;
    let (mut total, mut weight) = (0.0, 0.0);
    for rows in by_stratum(strata) {
        let (a, b): (Vec<f64>, Vec<f64>) = rows.iter().map(|&i| (x[i], y[i])).unzip();
        if let Some(rho) = rank_correlation(&a, &b) {
            let w = rows.len() as f64 - 1.0;
            total += w * rho;
            weight += w;
        }
    }
    if weight == 0.0 {
        return Ok(Skill::undefined("no stratum in which both sides vary"));
    }
    Ok(Skill::Measured { value: total / weight })
}

/// Pearson correlation of mid-ranks; `None` where a side is constant.
fn rank_correlation(x: &[f64], y: &[f64]) -> Option<f64> {
    if x.len() < 2 || is_constant(x) || is_constant(y) {
        return None;
    }
    let ((a, _), (b, _)) = (midranks(x), midranks(y));
    let centre = (x.len() as f64 + 1.0) / 2.0;
    let (mut xy, mut xx, mut yy) = (0.0, 0.0, 0.0);
    for (u, v) in a.iter().zip(&b) {
        let (u, v) = (u - centre, v - centre);
        xy += u * v;
        xx += u * u;
        yy += v * v;
    }
    let square = xx * yy;
    (square > 0.0).then(|| (xy / square.sqrt()).clamp(-1.0, 1.0))
}

/// Groups listed by their rows, refusing one that lies in two strata. Returns (stratum, rows) of every group, in order of
/// first appearance.
pub(super) fn groups_in_strata(groups: &[usize], strata: &[usize]) -> Result<Vec<(usize, Vec<usize>)>> {
    check_parallel("groups", groups.len(), "strata", strata.len())?;
    let mut place: HashMap<usize, usize> = HashMap::new();
    let mut out: Vec<(usize, Vec<usize>)> = Vec::new();
    for (i, (&g, &s)) in groups.iter().zip(strata).enumerate() {
        let at = *place.entry(g).or_insert(out.len());
        if at == out.len() {
            out.push((s, Vec::new()));
        }
        if out[at].0 != s {
            return Err(StatsError::Straddles { what: "strata", index: i });
        }
        out[at].1.push(i);
    }
    Ok(out)
}
