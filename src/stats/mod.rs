//! Statistics of the battery: paired tests, intervals, equivalence, resampling, AUROC, multiplicity and power; linear probes,
//! permutation over layers, survival, change points, dose and response.
//!
//! Every test is a plain function on slices or counts that returns a [`StatResult`]; nothing here knows the engine.
//!
//! Direction. Tests on two samples take `x, y` and report `x - y`, as SciPy does. Tests on counts take group 1 (the
//! reference) and group 2 and report `p2 - p1`, as the paired evaluation defines its gap. Each result says which, in words.
//!
//! No function panics: empty, short, non-finite or constant input is a [`StatsError`].

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

mod changepoint;
mod crossval;
mod dist;
mod dose;
mod equivalence;
mod flips;
#[cfg(test)]
mod golden_tests;
mod judged;
mod logistic;
mod matrix;
mod multiplicity;
mod paired;
mod permutation;
mod power;
mod probe;
#[cfg(test)]
mod probe_golden_tests;
#[cfg(test)]
mod property_tests;
mod proportions;
mod ranks;
mod resample;
mod seeds;
#[cfg(test)]
mod simulation;
mod study;
mod survival;
mod ttest;
mod wilcoxon;

pub use changepoint::{Onset, OnsetInterval, change_point, persistent_crossing};
pub use crossval::{
    FoldSkill, Folds, Skill, fold_auroc, grouped_folds, stratified_auroc, stratified_spearman, study_folds,
};
pub use dist::quantile;
pub use dose::{against_random, dose_response};
pub use equivalence::{tost_cluster_mean, tost_log_ratio, tost_one_sample, tost_paired, tost_paired_proportions};
pub use flips::{FlipRate, discordant_logit, mcnemar_clustered, paired_odds_ratio};
pub use judged::{JudgeCorrection, JudgeErrors, JudgedCell, judge_corrected};
pub use logistic::{LinearFit, logistic, ridge};
pub use matrix::{Features, Scaler};
pub use multiplicity::{Design, Holm, groups_needed, holm, smallest_p};
pub use paired::{
    McNemar, OrderGroup, PairedTable, agreement, mainland_gart, mcnemar, newcombe_paired, tango, tango_test,
};
pub use permutation::{Exchange, LayerSkill, MaxStatistic, max_statistic, spearman};
pub use power::{
    detectable_effect, detectable_hazard_ratio, n_for_mcnemar, n_for_paired_t, n_for_tost, power_mcnemar,
    power_paired_t, power_tost,
};
pub use probe::{OutOfFold, RidgeProbe, StudyProbe, logistic_out_of_fold, study_probe};
pub use proportions::{fisher_exact, newcombe, two_proportion_z, wilson};
pub use ranks::{auroc, delong_compare, mann_whitney};
pub use resample::{
    BootstrapInterval, PromptDraw, Resampling, cluster_bootstrap, cluster_bootstrap_mean, cluster_codes,
    hierarchical_bootstrap, sign_flip,
};
pub use seeds::{SEEDS_FOR_SIGN, over_seeds_and_prompts, over_seeds_t, seed_effects};
pub use study::{cue_ratio, invariance_score};
pub use survival::{SurvivalStep, kaplan_meier, log_rank, restricted_mean, restricted_mean_difference};
pub use ttest::{
    Summary, cluster_t, describe, paired_t, student_t, student_t_from_summary, t_interval, t_interval_from_summary,
    welch_t, welch_t_from_summary,
};
pub use wilcoxon::{WilcoxonMethod, wilcoxon};

/// Confidence level used where a caller has no reason to choose another.
pub const DEFAULT_LEVEL: f64 = 0.95;

/// What went wrong: which input, where in it, and what to do.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum StatsError {
    /// Fewer values, pairs, groups or clusters than the procedure is defined for.
    #[error("{what}: {n} given, at least {need} needed; collect more or choose a test for fewer")]
    TooFew { what: &'static str, n: usize, need: usize },
    /// A NaN or an infinity.
    #[error("{what}: entry {index} is {value}, not a finite number; mend or drop that row before testing")]
    NotFinite { what: &'static str, index: usize, value: f64 },
    /// Slices that must run in parallel do not.
    #[error("{left} has {n_left} entries and {right} has {n_right}; they must be parallel")]
    Length { left: &'static str, n_left: usize, right: &'static str, n_right: usize },
    /// Zero standard error: the statistic would be 0/0 or infinite.
    #[error(
        "{what} does not vary (mean {value}), so its test statistic is undefined; report the value itself, or use an \
         exact test on counts"
    )]
    NoVariation { what: &'static str, value: f64 },
    /// A parameter or datum outside its domain.
    #[error("{what} is {value}; allowed: {allowed}")]
    OutOfRange { what: &'static str, value: f64, allowed: &'static str },
    /// A ranking measure asked of one class: undefined, not 0.5.
    #[error(
        "{positive} positive and {negative} negative labels: both classes are needed; an AUROC is undefined, not 0.5"
    )]
    OneClass { positive: usize, negative: usize },
    /// The resampled statistic could not be computed often enough to give an interval.
    #[error("{failed} of {resamples} resamples gave no finite statistic; too few clusters carry information")]
    Resampling { failed: usize, resamples: usize },
    /// An iteration stopped before its gradient was small, or its system was singular.
    #[error(
        "{what}: no convergence after {steps} steps (relative gradient {gradient:.1e}); lower C or raise the penalty, and \
         look for features of extreme size"
    )]
    NotConverged { what: &'static str, steps: usize, gradient: f64 },
    /// A unit that must lie whole inside one part lies in two.
    #[error("{what}: row {index} belongs to a group whose other rows differ; give every row of a group the same one")]
    Straddles { what: &'static str, index: usize },
}

/// `Result` of this floor.
pub type Result<T> = std::result::Result<T, StatsError>;

/// A confidence interval, both ends included.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub low: f64,
    pub high: f64,
    /// Nominal coverage, e.g. 0.95.
    pub level: f64,
}

impl Interval {
    /// True where `value` lies inside, ends included.
    pub fn contains(&self, value: f64) -> bool {
        self.low <= value && value <= self.high
    }
}

/// Outcome of one procedure. A field that the procedure does not define is absent.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StatResult {
    /// Short name, as on the command line, e.g. `mcnemar`.
    pub test: String,
    /// What was computed, for a reader.
    pub method: String,
    /// What a positive estimate or statistic means, e.g. `mean(x) - mean(y)`.
    pub direction: String,
    /// Independent units: pairs, values, or clusters where the method says so.
    pub n: u64,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub statistic: Option<f64>,
    /// Degrees of freedom.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub df: Option<f64>,
    /// Two-sided unless `method` says otherwise.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub p: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub estimate: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub ci: Option<Interval>,
    /// Further named numbers, all finite.
    #[serde(skip_serializing_if = "BTreeMap::is_empty", default)]
    pub details: BTreeMap<String, f64>,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
}

impl StatResult {
    fn new(test: &str, method: impl Into<String>, direction: &str, n: u64) -> Self {
        Self {
            test: test.into(),
            method: method.into(),
            direction: direction.into(),
            n,
            statistic: None,
            df: None,
            p: None,
            estimate: None,
            ci: None,
            details: BTreeMap::new(),
            notes: Vec::new(),
        }
    }

    fn statistic(mut self, value: f64) -> Self {
        self.statistic = Some(value).filter(|v| v.is_finite());
        self
    }

    fn df(mut self, value: f64) -> Self {
        self.df = Some(value);
        self
    }

    fn p(mut self, value: f64) -> Self {
        self.p = Some(value.clamp(0.0, 1.0));
        self
    }

    fn estimate(mut self, value: f64) -> Self {
        self.estimate = Some(value);
        self
    }

    /// Sets the interval, widened to the estimate where rounding left it one unit outside.
    fn ci(mut self, low: f64, high: f64, level: f64) -> Self {
        let (low, high) = match self.estimate {
            Some(e) => (low.min(e), high.max(e)),
            None => (low, high),
        };
        self.ci = Some(Interval { low, high, level });
        self
    }

    /// Adds a named number; one that is not finite is left out rather than written as null.
    fn detail(mut self, key: &str, value: f64) -> Self {
        if value.is_finite() {
            self.details.insert(key.into(), value);
        }
        self
    }

    fn note(mut self, text: impl Into<String>) -> Self {
        self.notes.push(text.into());
        self
    }
}

/// Refuses NaN and infinities.
fn check_finite(what: &'static str, values: &[f64]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => Err(StatsError::NotFinite { what, index, value: values[index] }),
        None => Ok(()),
    }
}

/// Refuses short input and non-finite values.
fn check_values(what: &'static str, values: &[f64], need: usize) -> Result<()> {
    if values.len() < need {
        return Err(StatsError::TooFew { what, n: values.len(), need });
    }
    check_finite(what, values)
}

fn check_parallel(left: &'static str, n_left: usize, right: &'static str, n_right: usize) -> Result<()> {
    if n_left == n_right { Ok(()) } else { Err(StatsError::Length { left, n_left, right, n_right }) }
}

/// A probability strictly between 0 and 1: a confidence level, an alpha, a power.
fn check_open_unit(what: &'static str, value: f64) -> Result<()> {
    if value > 0.0 && value < 1.0 {
        Ok(())
    } else {
        Err(StatsError::OutOfRange { what, value, allowed: "strictly between 0 and 1" })
    }
}

/// Largest count accepted; keeps every sum exact in f64 and every loop short.
const MAX_COUNT: u64 = 1_000_000_000;

fn check_count(what: &'static str, value: u64) -> Result<()> {
    if value <= MAX_COUNT {
        Ok(())
    } else {
        Err(StatsError::OutOfRange { what, value: value as f64, allowed: "0 to 1,000,000,000" })
    }
}
