//! Linear probes: L2 logistic regression and ridge regression on standardised features.
//!
//! Logistic: ½‖w‖² + C Σ log(1 + exp(-y f)), f = w·z + b, intercept not penalised, as scikit-learn's
//! `LogisticRegression`. Ridge: Σ (y - f)² + α‖w‖², as its `Ridge`. Features are standardised by mean and population
//! standard deviation of the fitting rows.
//!
//! Both are solved to rounding by Newton's method (one step for ridge): over the weights where there are no more features than rows,
//! else over one coefficient a row, w = Zᵀa, which needs only the Gram matrix (Rasmussen and Williams, Gaussian Processes for Machine
//! Learning, algorithm 3.1, with an intercept).

use super::dist::{mean, sum};
use super::matrix::{Cholesky, Features, Scaler, dot, gram, times, transposed_times};
use super::{Result, StatsError, check_finite, check_parallel};

/// Newton steps before giving up; ten are usual.
const MAX_STEPS: usize = 200;
/// Gradient norm, relative to its largest possible value, at which the fit is done.
const TOLERANCE: f64 = 1e-13;
/// Gradient norm that is accepted where rounding stops further progress.
const ACCEPTED: f64 = 1e-9;

/// A fitted linear function of standardised features.
#[derive(Debug, Clone, PartialEq)]
pub struct LinearFit {
    /// Weights of the standardised features.
    pub weights: Vec<f64>,
    pub intercept: f64,
    pub scaler: Scaler,
    /// Newton steps taken.
    pub steps: usize,
}

impl LinearFit {
    /// w·z + b for every row: the log-odds of the positive class, or the predicted target.
    ///
    /// # Errors
    /// Another number of columns than the fit has.
    pub fn decision(&self, features: &Features) -> Result<Vec<f64>> {
        check_parallel("feature columns", features.cols(), "weights", self.weights.len())?;
        let z = features.standardised(&self.scaler);
        Ok(times(&z, features.cols(), &self.weights).into_iter().map(|v| v + self.intercept).collect())
    }

    /// Weights in units of the raw features, w / scale: the gradient of the decision value.
    pub fn raw_weights(&self) -> Vec<f64> {
        self.weights.iter().zip(&self.scaler.scale).map(|(w, s)| w / s).collect()
    }
}

/// L2 logistic regression of `labels` on `features` with inverse penalty `c`.
///
/// # Errors
/// Lengths that differ, one class only, `c` not positive, no convergence.
pub fn logistic(features: &Features, labels: &[bool], c: f64) -> Result<LinearFit> {
    check_parallel("features", features.rows(), "labels", labels.len())?;
    let rows: Vec<usize> = (0..features.rows()).collect();
    let prepared = Prepared::new(features, &rows);
    let solution = prepared.logistic(labels, c, None)?;
    Ok(prepared.fit(solution))
}

/// Ridge regression of `targets` on `features` with penalty `alpha`.
///
/// # Errors
/// Lengths that differ, a target that is not finite, `alpha` not positive.
pub fn ridge(features: &Features, targets: &[f64], alpha: f64) -> Result<LinearFit> {
    check_parallel("features", features.rows(), "targets", targets.len())?;
    check_finite("targets", targets)?;
    check_penalty("alpha", alpha)?;
    let rows: Vec<usize> = (0..features.rows()).collect();
    let prepared = Prepared::new(features, &rows);
    // Standardised features have mean 0, so the intercept is the mean target and drops out of the normal equations.
    let intercept = mean(targets);
    let centred: Vec<f64> = targets.iter().map(|y| y - intercept).collect();
    let n = prepared.size();
    let (system, mut x) = match &prepared.form {
        Form::Weights => (prepared.normal(&vec![1.0; rows.len()], 0), transposed_times(&prepared.z, n, &centred)),
        Form::Rows { kernel } => (kernel.clone(), centred),
    };
    factor_plus(system, n, alpha, "ridge regression")?.solve(&mut x);
    Ok(prepared.fit(Solution { x, intercept, steps: 1 }))
}

pub(super) fn check_penalty(what: &'static str, value: f64) -> Result<()> {
    if value.is_finite() && value > 0.0 {
        Ok(())
    } else {
        Err(StatsError::OutOfRange { what, value, allowed: "a finite number above 0" })
    }
}

/// Cholesky factor of `a` + `ridge` I.
pub(super) fn factor_plus(mut a: Vec<f64>, n: usize, ridge: f64, what: &'static str) -> Result<Cholesky> {
    (0..n).for_each(|i| a[i * n + i] += ridge);
    Cholesky::new(a, n).ok_or(StatsError::NotConverged { what, steps: 0, gradient: f64::NAN })
}

/// Coefficients: of features or of rows, as the form says.
#[derive(Debug, Clone)]
pub(super) struct Solution {
    x: Vec<f64>,
    intercept: f64,
    steps: usize,
}

/// Whether coefficients belong to features or to rows.
enum Form {
    Weights,
    /// Gram matrix of the fitting rows, [m, m].
    Rows {
        kernel: Vec<f64>,
    },
}

/// Features standardised on a set of fitting rows, with what the solver needs. One preparation serves every label vector
/// and every penalty.
pub(super) struct Prepared {
    /// Fitting rows, [m, p].
    z: Vec<f64>,
    p: usize,
    m: usize,
    scaler: Scaler,
    form: Form,
}

/// A Newton direction, seen from the decision values.
struct Direction {
    x: Vec<f64>,
    intercept: f64,
    /// Change of the decision values.
    df: Vec<f64>,
    /// w·Δw and Δw·Δw.
    dot: f64,
    square: f64,
}

impl Prepared {
    /// `rows` lie inside the matrix.
    pub(super) fn new(features: &Features, rows: &[usize]) -> Self {
        let scaler = features.scaler(rows);
        let (p, m) = (features.cols(), rows.len());
        let mut z = Vec::with_capacity(m * p);
        for &i in rows {
            z.extend(features.row(i).iter().zip(&scaler.mean).zip(&scaler.scale).map(|((v, m), s)| (v - m) / s));
        }
        let form = if p > m { Form::Rows { kernel: gram(&z, p, &(0..m).collect::<Vec<_>>()) } } else { Form::Weights };
        Self { z, p, m, scaler, form }
    }

    /// Number of coefficients.
    fn size(&self) -> usize {
        match self.form {
            Form::Weights => self.p,
            Form::Rows { .. } => self.m,
        }
    }

    /// Weights of the standardised features.
    fn weights(&self, x: &[f64]) -> Vec<f64> {
        match self.form {
            Form::Weights => x.to_vec(),
            Form::Rows { .. } => transposed_times(&self.z, self.p, x),
        }
    }

    pub(super) fn fit(&self, s: Solution) -> LinearFit {
        let weights = self.weights(&s.x);
        LinearFit { weights, intercept: s.intercept, scaler: self.scaler.clone(), steps: s.steps }
    }

    /// Zᵀ diag(d) Z, lower triangle, with `extra` rows and columns of 0 at the end.
    fn normal(&self, d: &[f64], extra: usize) -> Vec<f64> {
        let (p, size) = (self.p, self.p + extra);
        let mut a = vec![0.0; size * size];
        for (row, &di) in self.z.chunks_exact(p).zip(d) {
            for i in 0..p {
                let factor = di * row[i];
                a[i * size..i * size + i + 1].iter_mut().zip(row).for_each(|(o, v)| *o += factor * v);
            }
        }
        a
    }

    /// Logistic regression of `labels`, one a fitting row, from `start` where a solution for a neighbouring penalty is at
    /// hand.
    pub(super) fn logistic(&self, labels: &[bool], c: f64, start: Option<&Solution>) -> Result<Solution> {
        const WHAT: &str = "logistic regression";
        check_penalty("C", c)?;
        let positive = labels.iter().filter(|l| **l).count();
        if positive == 0 || positive == labels.len() {
            return Err(StatsError::OneClass { positive, negative: labels.len() - positive });
        }
        let (mut x, mut intercept) = match start {
            Some(s) => (s.x.clone(), s.intercept),
            None => (vec![0.0; self.size()], 0.0),
        };
        // The gradient cannot exceed C Σ ‖(z, 1)‖.
        let bound = c * sum(self.z.chunks_exact(self.p).map(|row| (1.0 + dot(row, row)).sqrt()));
        let mut gradient = f64::INFINITY;
        for steps in 0..MAX_STEPS {
            let plain = match &self.form {
                Form::Weights => times(&self.z, self.p, &x),
                Form::Rows { kernel } => times(kernel, self.m, &x),
            };
            let f: Vec<f64> = plain.iter().map(|v| v + intercept).collect();
            let (r, d) = residuals(&f, labels);
            let (norm, direction) = self.direction(&x, &plain, &r, &d, c).ok_or(StatsError::NotConverged {
                what: WHAT,
                steps,
                gradient,
            })?;
            gradient = norm / bound;
            if gradient <= TOLERANCE {
                return Ok(Solution { x, intercept, steps });
            }
            let t = step_length(&f, labels, &r, c, &direction);
            let moved = direction.df.iter().fold(0.0f64, |m, v| m.max(v.abs()));
            let size = f.iter().fold(1.0f64, |m, v| m.max(v.abs()));
            let Some(t) = t.filter(|_| moved > 1e-15 * size) else {
                if gradient <= ACCEPTED {
                    return Ok(Solution { x, intercept, steps });
                }
                return Err(StatsError::NotConverged { what: WHAT, steps, gradient });
            };
            x.iter_mut().zip(&direction.x).for_each(|(v, d)| *v += t * d);
            intercept += t * direction.intercept;
        }
        // Near the optimum rounding may keep the last digits moving.
        if gradient <= ACCEPTED {
            return Ok(Solution { x, intercept, steps: MAX_STEPS });
        }
        Err(StatsError::NotConverged { what: WHAT, steps: MAX_STEPS, gradient })
    }

    /// Norm of the gradient and the Newton direction; `plain` = decision values without the intercept, `r` = y - σ(f),
    /// `d` = σ'(f). `None` where the system cannot be solved.
    fn direction(&self, x: &[f64], plain: &[f64], r: &[f64], d: &[f64], c: f64) -> Option<(f64, Direction)> {
        let slope = c * sum(r.iter().copied());
        let (dx, db, df, norm2, dot_w, square);
        match &self.form {
            Form::Weights => {
                let p = self.p;
                let pull = transposed_times(&self.z, p, r);
                let descent: Vec<f64> = x.iter().zip(&pull).map(|(w, g)| c * g - w).collect();
                let weights: Vec<f64> = d.iter().map(|v| c * v).collect();
                let size = p + 1;
                let mut a = self.normal(&weights, 1);
                (0..p).for_each(|i| a[i * size + i] += 1.0);
                let border = transposed_times(&self.z, p, &weights);
                a[p * size..p * size + p].copy_from_slice(&border);
                a[p * size + p] = sum(weights);
                let mut step = descent.clone();
                step.push(slope);
                Cholesky::new(a, size)?.solve(&mut step);
                db = step.pop()?;
                dx = step;
                df = times(&self.z, p, &dx).into_iter().map(|v| v + db).collect::<Vec<_>>();
                norm2 = dot(&descent, &descent) + slope * slope;
                dot_w = dot(x, &dx);
                square = dot(&dx, &dx);
            }
            Form::Rows { kernel } => {
                // (I + W K) Δa + W 1 Δb = C r - a, Σ Δa = -Σ a, with W = C diag(d) and B = I + W^½ K W^½.
                let m = self.m;
                let root: Vec<f64> = d.iter().map(|v| (c * v).sqrt()).collect();
                let mut b = kernel.clone();
                for (row, ri) in b.chunks_exact_mut(m).zip(&root) {
                    row.iter_mut().zip(&root).for_each(|(v, rj)| *v *= ri * rj);
                }
                (0..m).for_each(|i| b[i * m + i] += 1.0);
                let factor = Cholesky::new(b, m)?;
                let descent: Vec<f64> = r.iter().zip(x).map(|(r, a)| c * r - a).collect();
                let pulled = times(kernel, m, &descent);
                let mut first: Vec<f64> = pulled.iter().zip(&root).map(|(v, s)| v * s).collect();
                factor.solve(&mut first);
                for ((v, s), h) in first.iter_mut().zip(&root).zip(&descent) {
                    *v = h - s * *v;
                }
                let mut second = root.clone();
                factor.solve(&mut second);
                second.iter_mut().zip(&root).for_each(|(v, s)| *v *= s);
                let total = sum(first.iter().copied()) + sum(x.iter().copied());
                db = total / sum(second.iter().copied());
                dx = first.iter().zip(&second).map(|(u, v)| u - db * v).collect::<Vec<_>>();
                let kdx = times(kernel, m, &dx);
                norm2 = dot(&descent, &pulled).max(0.0) + slope * slope;
                dot_w = dot(&dx, plain);
                square = dot(&dx, &kdx).max(0.0);
                df = kdx.into_iter().map(|v| v + db).collect();
            }
        }
        let finite = db.is_finite() && df.iter().chain(&dx).all(|v| v.is_finite());
        finite.then_some((norm2.sqrt(), Direction { x: dx, intercept: db, df, dot: dot_w, square }))
    }
}

/// y - σ(f) and σ'(f), without cancellation where the curve is flat.
fn residuals(f: &[f64], labels: &[bool]) -> (Vec<f64>, Vec<f64>) {
    let one = |(&f, &y): (&f64, &bool)| {
        let e = (-f.abs()).exp();
        let d = e / ((1.0 + e) * (1.0 + e));
        let r = if y { 1.0 / (1.0 + f.exp()) } else { -1.0 / (1.0 + (-f).exp()) };
        (r, d)
    };
    f.iter().zip(labels).map(one).unzip()
}

/// Step along `direction` by Armijo's rule, halving from 1. `None` where no step lowers the objective.
fn step_length(f: &[f64], labels: &[bool], r: &[f64], c: f64, direction: &Direction) -> Option<f64> {
    let loss = |t: f64| {
        let terms = f.iter().zip(&direction.df).zip(labels).map(|((f, d), y)| {
            let m = if *y { -(f + t * d) } else { f + t * d };
            m.max(0.0) + (-m.abs()).exp().ln_1p()
        });
        c * sum(terms)
    };
    let start = loss(0.0);
    let slope = direction.dot - c * dot(r, &direction.df);
    let mut t = 1.0;
    for _ in 0..60 {
        let rise = loss(t) - start + t * direction.dot + 0.5 * t * t * direction.square;
        if rise <= 1e-4 * t * slope + 1e-14 * (1.0 + start) {
            return Some(t);
        }
        t *= 0.5;
    }
    None
}
