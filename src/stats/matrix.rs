//! Feature matrices of probes: standardisation, Gram matrix, Cholesky. Row-major f64; every sum has one fixed order, so
//! results do not depend on the number of threads.

use rayon::prelude::*;

use super::{Result, StatsError, check_finite};

/// Rows of features, row-major, all finite: one row an item, one column a feature.
#[derive(Debug, Clone, PartialEq)]
pub struct Features {
    data: Vec<f64>,
    rows: usize,
    cols: usize,
}

impl Features {
    /// `data` holds rows of `cols` values end to end.
    ///
    /// # Errors
    /// No row or column, a length that is not a multiple of `cols`, a value that is not finite.
    pub fn new(data: Vec<f64>, cols: usize) -> Result<Self> {
        if cols == 0 || data.is_empty() {
            return Err(StatsError::TooFew { what: "rows and columns of the features", n: 0, need: 1 });
        }
        let rows = data.len() / cols;
        if rows * cols != data.len() {
            return Err(StatsError::Length {
                left: "feature data",
                n_left: data.len(),
                right: "rows times columns",
                n_right: rows * cols,
            });
        }
        check_finite("features", &data)?;
        Ok(Self { data, rows, cols })
    }

    /// [`Features::new`] of activations in single precision.
    ///
    /// # Errors
    /// As [`Features::new`].
    pub fn from_f32(data: &[f32], cols: usize) -> Result<Self> {
        Self::new(data.iter().map(|v| f64::from(*v)).collect(), cols)
    }

    pub fn rows(&self) -> usize {
        self.rows
    }

    pub fn cols(&self) -> usize {
        self.cols
    }

    /// Row `i`; empty beyond the end.
    pub fn row(&self, i: usize) -> &[f64] {
        if i < self.rows { &self.data[i * self.cols..(i + 1) * self.cols] } else { &[] }
    }

    /// Column means and population standard deviations (ddof 0) over `rows`, which lie inside the matrix. A column that is
    /// constant up to rounding divides by 1, by the rule of scikit-learn's `StandardScaler`.
    pub(super) fn scaler(&self, rows: &[usize]) -> Scaler {
        let n = rows.len().max(1) as f64;
        let mut mean = vec![0.0; self.cols];
        for &i in rows {
            mean.iter_mut().zip(self.row(i)).for_each(|(m, v)| *m += v);
        }
        mean.iter_mut().for_each(|m| *m /= n);
        // Two passes and a correction of the mean: exact to rounding also far from 0.
        let (mut var, mut drift) = (vec![0.0; self.cols], vec![0.0; self.cols]);
        for &i in rows {
            for (j, v) in self.row(i).iter().enumerate() {
                let d = v - mean[j];
                var[j] += d * d;
                drift[j] += d;
            }
        }
        for j in 0..self.cols {
            drift[j] /= n;
            var[j] = var[j] / n - drift[j] * drift[j];
            mean[j] += drift[j];
        }
        let limit = |m: f64, v: f64| n * f64::EPSILON * v + (n * m * f64::EPSILON).powi(2);
        let scale = mean.iter().zip(&var).map(|(&m, &v)| if v <= limit(m, v) { 1.0 } else { v.sqrt() }).collect();
        Scaler { mean, scale }
    }

    /// Every row standardised by `scaler`, row-major.
    pub(super) fn standardised(&self, scaler: &Scaler) -> Vec<f64> {
        let mut z = self.data.clone();
        for row in z.chunks_mut(self.cols) {
            for ((v, m), s) in row.iter_mut().zip(&scaler.mean).zip(&scaler.scale) {
                *v = (*v - m) / s;
            }
        }
        z
    }
}

/// Column means and scales by which features are standardised.
#[derive(Debug, Clone, PartialEq)]
pub struct Scaler {
    pub mean: Vec<f64>,
    /// Population standard deviation; 1 for a constant column.
    pub scale: Vec<f64>,
}

/// Inner product in eight running sums, which the compiler keeps in vector registers.
pub(super) fn dot(a: &[f64], b: &[f64]) -> f64 {
    let mut acc = [0.0f64; 8];
    let (a8, b8) = (a.chunks_exact(8), b.chunks_exact(8));
    let tail: f64 = a8.remainder().iter().zip(b8.remainder()).map(|(x, y)| x * y).sum();
    for (x, y) in a8.zip(b8) {
        for k in 0..8 {
            acc[k] += x[k] * y[k];
        }
    }
    ((acc[0] + acc[4]) + (acc[2] + acc[6])) + ((acc[1] + acc[5]) + (acc[3] + acc[7])) + tail
}

/// `a` (row-major, rows of `cols`) times the vector `x` of `cols` values.
pub(super) fn times(a: &[f64], cols: usize, x: &[f64]) -> Vec<f64> {
    a.chunks_exact(cols.max(1)).map(|row| dot(row, x)).collect()
}

/// Transpose of `a` (rows of `cols`) times `x`, one value a row: Σ x_i · row_i.
pub(super) fn transposed_times(a: &[f64], cols: usize, x: &[f64]) -> Vec<f64> {
    let mut out = vec![0.0; cols];
    for (row, &xi) in a.chunks_exact(cols.max(1)).zip(x) {
        out.iter_mut().zip(row).for_each(|(o, v)| *o += xi * v);
    }
    out
}

/// Inner products of all rows of `z` with the rows `of`: [rows, of.len()].
pub(super) fn gram(z: &[f64], cols: usize, of: &[usize]) -> Vec<f64> {
    let (rows, m) = (z.len() / cols.max(1), of.len());
    let mut out = vec![0.0; rows * m];
    // Bands of rows, so that a row of the other side is read once a band.
    out.par_chunks_mut((16 * m).max(1)).enumerate().for_each(|(band, out)| {
        for (j, &t) in of.iter().enumerate() {
            let right = &z[t * cols..(t + 1) * cols];
            for (i, line) in out.chunks_exact_mut(m).enumerate() {
                let r = band * 16 + i;
                line[j] = dot(&z[r * cols..(r + 1) * cols], right);
            }
        }
    });
    out
}

/// Lower Cholesky factor of a symmetric positive definite matrix.
#[derive(Debug, Clone)]
pub(super) struct Cholesky {
    l: Vec<f64>,
    n: usize,
}

impl Cholesky {
    /// Factors `a`, [n, n], of which the lower triangle is read. `None` where it is not positive definite.
    pub(super) fn new(mut a: Vec<f64>, n: usize) -> Option<Self> {
        const BAND: usize = 16;
        for start in (0..n).step_by(BAND) {
            let end = (start + BAND).min(n);
            let (done, band) = a.split_at_mut(start * n);
            for j in 0..end {
                // Row j is finished up to its diagonal by the time column j is reached.
                let (pivot_row, rest) = if j < start {
                    (&done[j * n..j * n + j + 1], &mut band[..])
                } else {
                    let (head, rest) = band.split_at_mut((j - start + 1) * n);
                    let row = &mut head[(j - start) * n..(j - start) * n + j + 1];
                    let (before, diagonal) = row.split_at_mut(j);
                    let square = diagonal[0] - dot(before, before);
                    if square.is_nan() || square <= 0.0 {
                        return None;
                    }
                    diagonal[0] = square.sqrt();
                    (&*row, rest)
                };
                let skip = if j < start { 0 } else { j - start + 1 };
                let (before, pivot) = (&pivot_row[..j], pivot_row[j]);
                for row in rest.chunks_exact_mut(n).take(end - start - skip) {
                    row[j] = (row[j] - dot(&row[..j], before)) / pivot;
                }
            }
        }
        Some(Self { l: a, n })
    }

    /// Solves A x = b in place.
    pub(super) fn solve(&self, x: &mut [f64]) {
        let n = self.n;
        for i in 0..n {
            let row = &self.l[i * n..i * n + i + 1];
            x[i] = (x[i] - dot(&row[..i], &x[..i])) / row[i];
        }
        for i in (0..n).rev() {
            let row = &self.l[i * n..i * n + i + 1];
            x[i] /= row[i];
            let xi = x[i];
            x[..i].iter_mut().zip(&row[..i]).for_each(|(v, l)| *v -= xi * l);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Values in [-1, 1] from a linear congruence.
    fn values(n: usize) -> Vec<f64> {
        let mut state = 7u64;
        (0..n)
            .map(|_| {
                state = (state * 1_103_515_245 + 12_345) % (1 << 31);
                state as f64 / f64::from(1u32 << 30) - 1.0
            })
            .collect()
    }

    #[test]
    fn cholesky_solves() {
        for n in [1, 2, 15, 16, 17, 50] {
            let z = values(n * 60);
            let mut a = gram(&z, 60, &(0..n).collect::<Vec<_>>());
            (0..n).for_each(|i| a[i * n + i] += 0.5);
            let want = values(n);
            let mut x = times(&a, n, &want);
            Cholesky::new(a, n).unwrap().solve(&mut x);
            for (got, want) in x.iter().zip(&want) {
                assert!((got - want).abs() < 1e-10, "{n}: {got} {want}");
            }
        }
        assert!(Cholesky::new(vec![1.0, 0.0, 2.0, 1.0], 2).is_none(), "not positive definite");
        assert!(Cholesky::new(vec![f64::NAN], 1).is_none());
    }

    #[test]
    fn scaling_far_from_zero() {
        let data: Vec<f64> = values(30).iter().flat_map(|v| [1e8 + v, 0.1, *v]).collect();
        let f = Features::new(data, 3).unwrap();
        let s = f.scaler(&(0..30).collect::<Vec<_>>());
        assert!((s.scale[0] / s.scale[2] - 1.0).abs() < 1e-7, "{s:?}");
        assert_eq!(s.scale[1], 1.0, "a constant column");
        assert!(Features::new(vec![1.0; 5], 2).is_err() && Features::new(vec![], 2).is_err());
        assert!(Features::new(vec![f64::NAN], 1).is_err() && Features::new(vec![1.0], 0).is_err());
    }
}
