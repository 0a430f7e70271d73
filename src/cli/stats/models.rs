//! `probity stats`: probes, rank correlation, survival, onsets, slopes and seeds.

use clap::Subcommand;
use serde_json::{Value, json};

use super::args::{IntervalKind, Resample};
use super::columns::RowArgs;
use super::{Boxed, show};
use crate::cli::Usage;
use crate::stats as s;

#[derive(Debug, Subcommand)]
pub(super) enum Model {
    /// Logistic probe: out-of-fold AUROC by fold and pooled within strata, C chosen inside the training folds
    LogisticProbe {
        #[command(flatten)]
        data: ProbeArgs,
        #[arg(long, value_name = "COLUMN")]
        label: String,
        /// The label's positive value, where it is not true or 1
        #[arg(long)]
        positive: Option<String>,
        /// Inverse penalties to choose from
        #[arg(long, value_delimiter = ',', default_values_t = [0.01, 0.1, 1.0, 10.0])]
        c: Vec<f64>,
        /// The study's headline instead: five unshuffled stratified folds, the best C kept on the folds reported
        #[arg(long)]
        study: bool,
    },
    /// Ridge probe of a number: out-of-fold rank correlation within strata, with permutation p
    RidgeProbe {
        #[command(flatten)]
        data: ProbeArgs,
        #[arg(long, value_name = "COLUMN")]
        target: String,
        /// Penalties to choose from [default: 0.1, 1, 10 and 100 times the number of features]
        #[arg(long, value_delimiter = ',')]
        alpha: Vec<f64>,
        /// Number of permutations
        #[arg(long, default_value_t = 999)]
        resamples: usize,
    },
    /// Spearman's rank correlation of x and y within strata, permutation p
    Spearman {
        #[command(flatten)]
        rows: RowArgs,
        #[command(flatten)]
        units: Units,
        #[command(flatten)]
        resample: Resample,
    },
    /// Kaplan-Meier curve of break times
    KaplanMeier(Times),
    /// Restricted mean time to a break; with --first, the difference of two groups
    RestrictedMean {
        #[command(flatten)]
        times: Times,
        /// Column that is true for the first group
        #[arg(long, value_name = "COLUMN")]
        first: Option<String>,
        /// The value of --first that means the first group, where it is not true or 1
        #[arg(long, requires = "first")]
        positive: Option<String>,
        /// End of the axis
        #[arg(long)]
        tau: f64,
    },
    /// Log-rank test of two groups, exact permutation p for few runs
    LogRank {
        #[command(flatten)]
        times: Times,
        /// Column that is true for the first group
        #[arg(long, value_name = "COLUMN")]
        first: String,
        /// The value of --first that means the first group, where it is not true or 1
        #[arg(long)]
        positive: Option<String>,
        #[command(flatten)]
        resample: Resample,
    },
    /// Onset of one step in the mean of a series
    ChangePoint {
        #[command(flatten)]
        series: Series,
        /// Values on either side, at least
        #[arg(long, default_value_t = 2)]
        least: usize,
        #[arg(long, default_value_t = 0.05)]
        alpha: f64,
        #[command(flatten)]
        resample: Resample,
    },
    /// First index at which a bound is crossed at several consecutive checks
    Crossing {
        #[command(flatten)]
        series: Series,
        #[arg(long, allow_negative_numbers = true, required_unless_present = "below", conflicts_with = "below")]
        above: Option<f64>,
        #[arg(long, allow_negative_numbers = true)]
        below: Option<f64>,
        /// Consecutive checks
        #[arg(long, default_value_t = 2)]
        run: usize,
    },
    /// Mean over items of the slope of a response on dose, bootstrapped over clusters (--log: of the response)
    DoseResponse {
        #[command(flatten)]
        rows: RowArgs,
        #[arg(long, value_name = "COLUMN")]
        dose: String,
        #[arg(long, value_name = "COLUMN")]
        response: String,
        #[arg(long, value_name = "COLUMN")]
        item: String,
        /// Canonical prompt; without it every item stands alone
        #[arg(long, value_name = "COLUMN")]
        cluster: Option<String>,
        #[command(flatten)]
        resample: Resample,
        #[arg(long, value_enum, default_value = "studentised")]
        interval: IntervalKind,
    },
    /// A slope against the slopes of random directions (the series)
    AgainstRandom {
        #[arg(long, allow_negative_numbers = true)]
        slope: f64,
        #[command(flatten)]
        series: Series,
    },
    /// Effects over training seeds: t interval and agreement in sign
    SeedEffects(Series),
}

/// Features, folds and units of a probe.
#[derive(Debug, clap::Args)]
pub(super) struct ProbeArgs {
    #[command(flatten)]
    rows: RowArgs,
    /// Feature columns; a column may hold a list of numbers
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', required = true)]
    features: Vec<String>,
    #[command(flatten)]
    units: Units,
    #[arg(long, default_value_t = 5)]
    folds: usize,
    /// Seed of folds and permutations
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// What is exchangeable with what.
#[derive(Debug, clap::Args)]
pub(super) struct Units {
    /// Column of the stratum (family); without it all rows are one
    #[arg(long, value_name = "COLUMN")]
    stratum: Option<String>,
    /// Column of the group that stays whole (canonical prompt); without it every row stands alone
    #[arg(long, value_name = "COLUMN")]
    group: Option<String>,
}

/// Break times.
#[derive(Debug, clap::Args)]
pub(super) struct Times {
    #[command(flatten)]
    rows: RowArgs,
    #[arg(long, value_name = "COLUMN")]
    time: String,
    /// Column that is false for a run that never broke
    #[arg(long, value_name = "COLUMN")]
    broken: String,
}

/// Numbers in order, given or as a column (--jsonl FILE --x COLUMN).
#[derive(Debug, clap::Args)]
pub(super) struct Series {
    /// The values themselves
    #[arg(long, value_delimiter = ',', allow_negative_numbers = true)]
    values: Vec<f64>,
    #[command(flatten)]
    rows: RowArgs,
}

impl Series {
    fn get(&self) -> Boxed<Vec<f64>> {
        if self.rows.given() {
            return Ok(self.rows.paired(&[])?.differences());
        }
        if self.values.is_empty() {
            return Err(Usage("give --values A,B,C or --jsonl FILE --x COLUMN".into()).into());
        }
        Ok(self.values.clone())
    }
}

impl Times {
    /// Times, whether the run broke, and whether it is of the first group.
    fn get(&self, first: Option<(&str, Option<&str>)>) -> Boxed<(Vec<f64>, Vec<bool>, Vec<bool>)> {
        let columns = self.rows.columns()?;
        let group = first.map(|(name, positive)| columns.truths(name, positive)).transpose()?.unwrap_or_default();
        Ok((columns.plain(&self.time)?, columns.truths(&self.broken, None)?, group))
    }
}

impl Model {
    pub(super) fn evaluate(&self, level: f64) -> Boxed<Value> {
        match self {
            Self::LogisticProbe { data, label, positive, c, study } => {
                let (columns, features, strata, groups) = data.get()?;
                let labels = columns.truths(label, positive.as_deref())?;
                if *study {
                    let probe = s::study_probe(&features, &labels, c)?;
                    return Ok(
                        json!({ "test": "logistic-probe", "method": "the study's: five unshuffled stratified folds",
                                      "n": labels.len(), "features": features.cols(), "c": probe.c, "by_fold": probe.skill }),
                    );
                }
                // Both the label and the stratum are balanced over folds.
                let classes: Vec<(usize, bool)> = strata.iter().copied().zip(labels.iter().copied()).collect();
                let folds = s::grouped_folds(&s::cluster_codes(&classes), &groups, data.folds, data.seed)?;
                let out = s::logistic_out_of_fold(&features, &labels, &folds, c)?;
                Ok(
                    json!({ "test": "logistic-probe", "method": "grouped stratified folds, C chosen inside the training folds",
                           "n": labels.len(), "features": features.cols(), "c_by_fold": out.chosen,
                           "pooled_auroc": s::stratified_auroc(&out.centred, &labels, &strata)?,
                           "by_fold": s::fold_auroc(&out.scores, &labels, &folds)? }),
                )
            }
            Self::RidgeProbe { data, target, alpha, resamples } => {
                let (columns, features, strata, groups) = data.get()?;
                let y = columns.numbers(target)?;
                let default = s::RidgeProbe::default_grid(features.cols());
                let grid = if alpha.is_empty() { &default[..] } else { alpha };
                let folds = s::grouped_folds(&strata, &groups, data.folds, data.seed)?;
                let probe = s::RidgeProbe::new(&features, &folds, grid)?;
                let out = probe.predict(&y)?;
                let skill = s::stratified_spearman(&out.centred, &y, &strata)?;
                if skill.value().is_none() {
                    return Ok(json!({ "test": "ridge-probe", "n": y.len(), "spearman": skill }));
                }
                let exchange = s::Exchange::new(&strata, &groups)?;
                let opts = s::Resampling { resamples: *resamples, seed: data.seed, level };
                let permuted = s::max_statistic(&y, &exchange, &opts, |y| {
                    let skill = probe.predict(y).and_then(|o| s::stratified_spearman(&o.centred, y, &strata));
                    vec![skill.map_or(f64::NAN, |v| v.or_nan())]
                })?;
                Ok(
                    json!({ "test": "ridge-probe", "method": "grouped folds, alpha chosen inside the training folds; one-sided permutation p",
                           "n": y.len(), "features": features.cols(), "alpha_by_fold": out.chosen, "spearman": skill,
                           "p": permuted.p, "chance_mean": permuted.chance_mean, "chance_95": permuted.chance_95,
                           "permutations": permuted.permutations, "smallest_p": permuted.smallest_p }),
                )
            }
            Self::Spearman { rows, units, resample } => {
                let names: Vec<&str> = units.stratum.as_deref().into_iter().chain(units.group.as_deref()).collect();
                let p = rows.paired(&names)?;
                if p.y.is_empty() {
                    return Err(Usage("a rank correlation needs --y COLUMN too".into()).into());
                }
                let mut codes = p.labels.iter();
                let strata = units.stratum.as_ref().and_then(|_| codes.next().cloned());
                let groups = units.group.as_ref().and_then(|_| codes.next().cloned());
                let strata = strata.unwrap_or_else(|| vec![0; p.x.len()]);
                let groups = groups.unwrap_or_else(|| (0..p.x.len()).collect());
                show(s::spearman(&p.x, &p.y, &strata, &groups, &resample.at(level))?)
            }
            Self::KaplanMeier(times) => {
                let (t, broken, _) = times.get(None)?;
                let breaks = broken.iter().filter(|b| **b).count();
                Ok(
                    json!({ "test": "kaplan-meier", "n": t.len(), "breaks": breaks, "steps": s::kaplan_meier(&t, &broken)? }),
                )
            }
            Self::RestrictedMean { times, first, positive, tau } => {
                let (t, broken, group) = times.get(first.as_deref().map(|f| (f, positive.as_deref())))?;
                match first {
                    Some(_) => show(s::restricted_mean_difference(&t, &broken, &group, *tau, level)?),
                    None => show(s::restricted_mean(&t, &broken, *tau, level)?),
                }
            }
            Self::LogRank { times, first, positive, resample } => {
                let (t, broken, group) = times.get(Some((first, positive.as_deref())))?;
                show(s::log_rank(&t, &broken, &group, &resample.at(level))?)
            }
            Self::ChangePoint { series, least, alpha, resample } => {
                show(s::change_point(&series.get()?, *least, *alpha, &resample.at(level))?)
            }
            Self::Crossing { series, above, below, run } => {
                let values = series.get()?;
                let holds = |v: f64| above.is_some_and(|b| v > b) || below.is_some_and(|b| v < b);
                let index = s::persistent_crossing(&values, *run, holds);
                Ok(
                    json!({ "test": "crossing", "n": values.len(), "run": run, "crossed": index.is_some(), "index": index }),
                )
            }
            Self::DoseResponse { rows, dose, response, item, cluster, resample, interval } => {
                let columns = rows.columns()?;
                let (x, y, items) = (columns.plain(dose)?, columns.numbers(response)?, columns.codes(item)?);
                let clusters = columns.codes(cluster.as_ref().unwrap_or(item))?;
                show(s::dose_response(&x, &y, &items, &clusters, (*interval).into(), &resample.at(level))?)
            }
            Self::AgainstRandom { slope, series } => show(s::against_random(*slope, &series.get()?, level)?),
            Self::SeedEffects(series) => show(s::seed_effects(&series.get()?, level)?),
        }
    }
}

impl ProbeArgs {
    /// The rows, their features, strata and groups.
    fn get(&self) -> Boxed<(super::columns::Columns<'_>, s::Features, Vec<usize>, Vec<usize>)> {
        let columns = self.rows.columns()?;
        let (data, width) = columns.features(&self.features)?;
        let features = s::Features::new(data, width)?;
        let n = features.rows();
        let codes = |name: &Option<String>| name.as_ref().map(|c| columns.codes(c)).transpose();
        let strata = codes(&self.units.stratum)?.unwrap_or_else(|| vec![0; n]);
        let groups = codes(&self.units.group)?.unwrap_or_else(|| (0..n).collect());
        Ok((columns, features, strata, groups))
    }
}
