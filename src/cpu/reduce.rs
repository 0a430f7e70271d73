//! Reductions over whole tensors.

use super::real::Real;

/// Sum of squares of the finite elements in f64, and the number of elements that are NaN or infinite, found by their bits.
pub fn sum_squares<F: Real>(x: &[F]) -> (f64, u64) {
    x.iter().fold((0.0, 0), |(sum, bad), &x| if x.finite() { (sum + x.f64() * x.f64(), bad) } else { (sum, bad + 1) })
}
