//! Out-of-fold scores of linear probes, with the penalty chosen inside the training folds.
//!
//! Which probe where: [`logistic_out_of_fold`] is the probe that is reported and the study's headline
//! ([`study_probe`]); it is refitted for every label vector. [`RidgeProbe`] is for permutation tests: with features and folds
//! fixed its scores are linear in the labels, so each training set is factorised once and a permutation costs a few
//! matrix-vector products. Observed and permuted skill of one test come from the same probe, always.
//!
//! The choice of the penalty is nested: for outer fold f it is made by the other folds, each predicted from the rest without
//! f. So inner folds keep groups whole because outer folds do, and the fit without folds f and g serves both f and g.

use super::crossval::{FoldSkill, Folds, fold_auroc, study_folds};
use super::dist::{mean, sum};
use super::logistic::{LinearFit, Prepared, Solution, check_penalty, factor_plus};
use super::matrix::{Features, dot, gram};
use super::{Result, StatsError, check_finite, check_parallel};

/// Scores of rows by fits that did not see them.
#[derive(Debug, Clone, PartialEq)]
pub struct OutOfFold {
    /// Decision values with intercept; compare within a fold.
    pub scores: Vec<f64>,
    /// Decision values without intercept, so with mean 0 over the training rows of each fold; compare across folds.
    pub centred: Vec<f64>,
    /// Penalty chosen for each fold (C of logistic, alpha of ridge).
    pub chosen: Vec<f64>,
}

impl OutOfFold {
    fn empty(n: usize) -> Self {
        Self { scores: vec![0.0; n], centred: vec![0.0; n], chosen: Vec::new() }
    }

    fn set(&mut self, row: usize, centred: f64, intercept: f64) {
        self.centred[row] = centred;
        self.scores[row] = centred + intercept;
    }
}

fn check_grid(what: &'static str, grid: &[f64]) -> Result<()> {
    if grid.is_empty() {
        return Err(StatsError::TooFew { what, n: 0, need: 1 });
    }
    grid.iter().try_for_each(|v| check_penalty(what, *v))
}

/// w·z of the rows `of`.
fn project(features: &Features, fit: &LinearFit, of: &[usize]) -> Vec<f64> {
    let raw = fit.raw_weights();
    let shift = dot(&raw, &fit.scaler.mean);
    of.iter().map(|&i| dot(features.row(i), &raw) - shift).collect()
}

/// Logistic fits of `train` for every C of the grid, each from its neighbour's solution.
fn along_grid(features: &Features, labels: &[bool], train: &[usize], grid: &[f64]) -> Result<Vec<LinearFit>> {
    let prepared = Prepared::new(features, train);
    let picked: Vec<bool> = train.iter().map(|&i| labels[i]).collect();
    let mut last: Option<Solution> = None;
    let mut fits = Vec::with_capacity(grid.len());
    for &c in grid {
        let solution = prepared.logistic(&picked, c, last.as_ref())?;
        last = Some(solution.clone());
        fits.push(prepared.fit(solution));
    }
    Ok(fits)
}

/// Out-of-fold scores of a logistic probe. With more than one C in `grid` the choice is nested, by mean inner-fold AUROC (folds of
/// one class left out; ties, and a choice without any inner AUROC, take the first of the grid: put the smallest C first).
///
/// # Errors
/// Lengths that differ, an empty or bad grid, fewer than three folds for a choice, a training set of one class only, no
/// convergence.
pub fn logistic_out_of_fold(features: &Features, labels: &[bool], folds: &Folds, grid: &[f64]) -> Result<OutOfFold> {
    check_parallel("features", features.rows(), "labels", labels.len())?;
    check_parallel("features", features.rows(), "folds", folds.of().len())?;
    check_grid("C", grid)?;
    let k = folds.k();
    let mut choice = vec![0usize; k];
    if grid.len() > 1 {
        check_inner(k)?;
        // Sum and number of inner AUROCs by outer fold and C.
        let mut inner = vec![vec![(0.0, 0usize); grid.len()]; k];
        for f in 0..k {
            for g in f + 1..k {
                let fits = along_grid(features, labels, &folds.outside(&[f, g]), grid)?;
                for (outer, tested) in [(f, g), (g, f)] {
                    let rows = folds.test(tested);
                    let truth: Vec<bool> = rows.iter().map(|&i| labels[i]).collect();
                    for (cell, fit) in inner[outer].iter_mut().zip(&fits) {
                        let scores = project(features, fit, &rows);
                        let strata = vec![0; rows.len()];
                        if let Some(a) = super::stratified_auroc(&scores, &truth, &strata)?.value() {
                            *cell = (cell.0 + a, cell.1 + 1);
                        }
                    }
                }
            }
        }
        for (best, cells) in choice.iter_mut().zip(&inner) {
            let score = |i: usize| if cells[i].1 > 0 { cells[i].0 / cells[i].1 as f64 } else { f64::NEG_INFINITY };
            for i in 1..grid.len() {
                if score(i) > score(*best) + 1e-12 {
                    *best = i;
                }
            }
        }
    }
    let mut out = OutOfFold::empty(labels.len());
    for (f, &i) in choice.iter().enumerate() {
        let fits = along_grid(features, labels, &folds.outside(&[f]), &grid[i..=i])?;
        let rows = folds.test(f);
        for (&row, centred) in rows.iter().zip(project(features, &fits[0], &rows)) {
            out.set(row, centred, fits[0].intercept);
        }
        out.chosen.push(grid[i]);
    }
    Ok(out)
}

fn check_inner(k: usize) -> Result<()> {
    if k < 3 { Err(StatsError::TooFew { what: "folds for a nested choice", n: k, need: 3 }) } else { Ok(()) }
}

/// The study's probe of one layer.
#[derive(Debug, Clone, PartialEq)]
pub struct StudyProbe {
    pub skill: FoldSkill,
    /// C with the best mean; the study chose it on the very folds it reports.
    pub c: f64,
}

/// Headline probe of the study: 5 unshuffled stratified folds, mean-fold AUROC with population sd, the best of `grid` kept. Not
/// nested and not grouped, as published. The study's floor of 0.5 is left out: below chance is shown as measured, one class is
/// undefined.
///
/// # Errors
/// Lengths that differ, an empty or bad grid, one class only, too few rows, no convergence.
pub fn study_probe(features: &Features, labels: &[bool], grid: &[f64]) -> Result<StudyProbe> {
    check_grid("C", grid)?;
    let classes: Vec<usize> = labels.iter().map(|l| usize::from(*l)).collect();
    let folds = study_folds(&classes, 5)?;
    let mut best: Option<StudyProbe> = None;
    for &c in grid {
        let out = logistic_out_of_fold(features, labels, &folds, &[c])?;
        let skill = fold_auroc(&out.scores, labels, &folds)?;
        if best.as_ref().is_none_or(|b| skill.mean.or_nan() > b.skill.mean.or_nan()) {
            best = Some(StudyProbe { skill, c });
        }
    }
    best.ok_or(StatsError::TooFew { what: "C", n: 0, need: 1 })
}

/// Linear map from training targets to the predictions of other rows: K (K_train + alpha I)^-1, one a penalty.
struct Smoother {
    train: Vec<usize>,
    rows: Vec<usize>,
    /// [rows, train] for every penalty.
    maps: Vec<Vec<f64>>,
}

impl Smoother {
    fn new(features: &Features, train: Vec<usize>, rows: Vec<usize>, grid: &[f64]) -> Result<Self> {
        let m = train.len();
        let z = features.standardised(&features.scaler(&train));
        let kernel = gram(&z, features.cols(), &train);
        let line = |i: usize| &kernel[i * m..(i + 1) * m];
        let square: Vec<f64> = train.iter().flat_map(|&i| line(i)).copied().collect();
        let mut maps = Vec::with_capacity(grid.len());
        for &alpha in grid {
            let factor = factor_plus(square.clone(), m, alpha, "ridge probe")?;
            let mut map = Vec::with_capacity(rows.len() * m);
            for &i in &rows {
                let mut x = line(i).to_vec();
                factor.solve(&mut x);
                map.extend(x);
            }
            maps.push(map);
        }
        Ok(Self { train, rows, maps })
    }

    /// Mean of the training targets, and for penalty `i` the predictions less that mean.
    fn centred<'a>(&'a self, targets: &[f64]) -> (f64, impl Fn(usize) -> Vec<f64> + 'a) {
        let mut y: Vec<f64> = self.train.iter().map(|&i| targets[i]).collect();
        let centre = mean(&y);
        y.iter_mut().for_each(|v| *v -= centre);
        (centre, move |i: usize| self.maps[i].chunks_exact(y.len().max(1)).map(|row| dot(row, &y)).collect())
    }
}

/// Ridge probe of one layer with everything that does not depend on the targets computed once.
///
/// Memory: about (1 + 2.4 a) n² numbers for 5 folds and a > 1 penalties, n² for one penalty.
pub struct RidgeProbe {
    grid: Vec<f64>,
    n: usize,
    outer: Vec<Smoother>,
    /// (f, g, fit without both), f < g; empty where there is nothing to choose.
    inner: Vec<(usize, usize, Smoother)>,
}

impl RidgeProbe {
    /// With more than one penalty in `grid` the choice is nested, by squared error; ties take the first of the grid.
    ///
    /// # Errors
    /// Lengths that differ, an empty or bad grid, fewer than three folds for a choice.
    pub fn new(features: &Features, folds: &Folds, grid: &[f64]) -> Result<Self> {
        check_parallel("features", features.rows(), "folds", folds.of().len())?;
        check_grid("alpha", grid)?;
        let k = folds.k();
        let outer = (0..k).map(|f| Smoother::new(features, folds.outside(&[f]), folds.test(f), grid));
        let outer = outer.collect::<Result<Vec<_>>>()?;
        let mut inner = Vec::new();
        if grid.len() > 1 {
            check_inner(k)?;
            for f in 0..k {
                for g in f + 1..k {
                    let rows = folds.test(f).into_iter().chain(folds.test(g)).collect();
                    inner.push((f, g, Smoother::new(features, folds.outside(&[f, g]), rows, grid)?));
                }
            }
        }
        Ok(Self { grid: grid.to_vec(), n: folds.of().len(), outer, inner })
    }

    /// Penalties p · {0.1, 1, 10, 100} for `cols` = p features: standardised rows have squared norm p on average, so these mean the
    /// same at every width.
    pub fn default_grid(cols: usize) -> [f64; 4] {
        [0.1, 1.0, 10.0, 100.0].map(|v| v * cols.max(1) as f64)
    }

    /// Out-of-fold predictions of `targets`, one a row.
    ///
    /// # Errors
    /// Another number of targets than rows, a target that is not finite.
    pub fn predict(&self, targets: &[f64]) -> Result<OutOfFold> {
        check_parallel("targets", targets.len(), "rows of the probe", self.n)?;
        check_finite("targets", targets)?;
        // Squared error by penalty and outer fold.
        let mut error = vec![vec![0.0f64; self.outer.len()]; self.grid.len()];
        for (f, g, smoother) in &self.inner {
            let (centre, map) = smoother.centred(targets);
            let in_f = self.outer[*f].rows.len();
            for (i, error) in error.iter_mut().enumerate() {
                let square = |(v, &row): (&f64, &usize)| (targets[row] - centre - v).powi(2);
                let squares: Vec<f64> = map(i).iter().zip(&smoother.rows).map(square).collect();
                // Rows of f, predicted without f and g, judge the choice for g, and the other way round.
                let (of_f, of_g) = squares.split_at(in_f);
                error[*g] += sum(of_f.iter().copied());
                error[*f] += sum(of_g.iter().copied());
            }
        }
        let mut out = OutOfFold::empty(self.n);
        for (f, smoother) in self.outer.iter().enumerate() {
            let best = (1..error.len()).fold(0, |b, i| if error[i][f] < error[b][f] { i } else { b });
            let (centre, map) = smoother.centred(targets);
            for (v, &row) in map(best).into_iter().zip(&smoother.rows) {
                out.set(row, v, centre);
            }
            out.chosen.push(self.grid[best]);
        }
        Ok(out)
    }

    /// Ridge classifier: [`RidgeProbe::predict`] of +1 for true and -1 for false.
    ///
    /// # Errors
    /// Another number of labels than rows, one class only.
    pub fn classify(&self, labels: &[bool]) -> Result<OutOfFold> {
        let positive = labels.iter().filter(|l| **l).count();
        if positive == 0 || positive == labels.len() {
            return Err(StatsError::OneClass { positive, negative: labels.len() - positive });
        }
        self.predict(&labels.iter().map(|l| if *l { 1.0 } else { -1.0 }).collect::<Vec<_>>())
    }
}
