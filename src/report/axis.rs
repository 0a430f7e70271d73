//! Axes with nice ticks.

use super::number;
use super::svg::{FONT, text_width};

/// An axis from data to user units, linear or logarithmic.
#[derive(Clone, Debug, PartialEq)]
pub struct Axis {
    pub low: f64,
    pub high: f64,
    log: bool,
    from: f64,
    to: f64,
    pub ticks: Vec<f64>,
    decimals: usize,
}

impl Axis {
    /// Covers the finite numbers of `values` (and a little more where they are all equal), with about `want` ticks at 1, 2 or 5
    /// × 10ⁿ, drawn between `from` and `to`. With `round` the ends are ticks; else they are padded by 4 %.
    pub fn new(values: impl Iterator<Item = f64>, from: f64, to: f64, want: usize, round: bool) -> Self {
        let (mut low, mut high) =
            values.filter(|v| v.is_finite()).fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
        if low > high {
            (low, high) = (0.0, 1.0);
        }
        if high - low <= 1e-9 * high.abs().max(low.abs()) {
            let pad = if high == 0.0 { 1.0 } else { 0.1 * high.abs() };
            (low, high) = (low - pad, high + pad);
        }
        if !(high - low).is_finite() {
            (low, high) = (low / 4.0, high / 4.0);
        }
        let step = nice_step((high - low) / want.max(1) as f64);
        if round {
            (low, high) = ((low / step).floor() * step, (high / step).ceil() * step);
        } else {
            let pad = 0.04 * (high - low);
            (low, high) = (low - pad, high + pad);
        }
        let (first, last) = ((low / step - 1e-9).ceil(), (high / step + 1e-9).floor());
        let n = ((last - first).clamp(0.0, 40.0)) as usize;
        let ticks = (0..=n).map(|i| (first + i as f64) * step).collect();
        let decimals = (-step.log10().floor()).clamp(0.0, 9.0) as usize;
        Self { low, high, log: false, from, to, ticks, decimals }
    }

    /// As `new`, with as many ticks as their labels leave room for on a horizontal axis.
    pub fn horizontal(values: &[f64], from: f64, to: f64, round: bool) -> Self {
        for want in (2..=8).rev() {
            let axis = Self::new(values.iter().copied(), from, to, want, round);
            if axis.labels_fit() {
                return axis;
            }
        }
        Self::new(values.iter().copied(), from, to, 1, round)
    }

    /// A logarithmic axis over the positive numbers of `values`, ticks at 1, 2, 5 × 10ⁿ or at powers of ten.
    pub fn log(values: impl Iterator<Item = f64>, from: f64, to: f64, want: usize) -> Self {
        let (mut low, mut high) = values
            .filter(|v| v.is_finite() && *v > 0.0)
            .fold((f64::INFINITY, 0.0f64), |(a, b), v| (a.min(v.log10()), b.max(v)));
        high = high.log10();
        if !(low.is_finite() && high.is_finite()) {
            (low, high) = (0.0, 1.0);
        }
        let pad = (0.04 * (high - low)).max(0.05);
        (low, high) = ((low - pad).clamp(-300.0, 299.0), (high + pad).clamp(-299.0, 300.0));
        let inside = |t: &f64| (low..=high).contains(&t.log10());
        let powers =
            |step: usize| (low.floor() as i32..=high.ceil() as i32).step_by(step.max(1)).map(|n| 10f64.powi(n));
        let fine: Vec<f64> = powers(1).flat_map(|p| [p, 2.0 * p, 5.0 * p]).filter(inside).collect();
        let coarse: Vec<f64> = powers(((high - low) / want.max(1) as f64).ceil() as usize).filter(inside).collect();
        let (low_value, high_value) = (10f64.powf(low), 10f64.powf(high));
        let linear = || {
            let ticks = Self::new([low_value, high_value].into_iter(), from, to, want, false).ticks;
            ticks.into_iter().filter(|t| *t > 0.0 && inside(t)).collect()
        };
        let ticks = match fine.len() {
            0..=2 => linear(),
            n if n <= want.max(3) => fine,
            _ => coarse,
        };
        Self { low: low_value, high: high_value, log: true, from, to, ticks, decimals: 0 }
    }

    /// As `log`, with ticks whose labels do not touch on a horizontal axis.
    pub fn log_horizontal(values: &[f64], from: f64, to: f64) -> Self {
        for want in (2..=8).rev() {
            let axis = Self::log(values.iter().copied(), from, to, want);
            if axis.labels_fit() {
                return axis;
            }
        }
        let mut axis = Self::log(values.iter().copied(), from, to, 1);
        while !axis.labels_fit() {
            let mut keep = false;
            axis.ticks.retain(|_| {
                keep = !keep;
                keep
            });
        }
        axis
    }

    fn labels_fit(&self) -> bool {
        let half = |t: f64| text_width(&self.label(t), FONT) / 2.0;
        self.ticks.windows(2).all(|w| half(w[0]) + half(w[1]) + FONT <= (self.at(w[1]) - self.at(w[0])).abs())
    }

    /// Place of `v`; not finite where a logarithmic axis has none for it.
    pub fn at(&self, v: f64) -> f64 {
        if self.log {
            let share = (v.ln() - self.low.ln()) / (self.high.ln() - self.low.ln());
            return if share.is_finite() { self.from + share * (self.to - self.from) } else { f64::NAN };
        }
        self.from + (v - self.low) / (self.high - self.low) * (self.to - self.from)
    }

    /// `at`, kept inside the axis; the flag says whether it had to be moved.
    pub fn clamped(&self, v: f64) -> (f64, bool) {
        let inside = v.clamp(self.low, self.high);
        (self.at(inside), inside != v)
    }

    pub fn label(&self, tick: f64) -> String {
        if self.log {
            return number::num(tick);
        }
        let largest = self.low.abs().max(self.high.abs());
        if (1e-4..1e6).contains(&largest) { number::fixed(tick, self.decimals) } else { number::num(tick) }
    }
}

/// The smallest of 1, 2, 5 × 10ⁿ that is at least `raw`.
fn nice_step(raw: f64) -> f64 {
    let power = 10f64.powf(raw.log10().floor());
    let lead = raw / power;
    let nice = if lead <= 1.0 + 1e-9 {
        1.0
    } else if lead <= 2.0 + 1e-9 {
        2.0
    } else if lead <= 5.0 + 1e-9 {
        5.0
    } else {
        10.0
    };
    let step = nice * power;
    if step.is_normal() { step } else { 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_nice_and_inside() {
        for (low, high) in [(0.0, 1.0), (-0.4123, 0.0488), (3.0, 3.0), (0.0, 0.0), (-1e9, 2e9), (1e-7, 3e-7)] {
            let axis = Axis::new([low, high].into_iter(), 0.0, 300.0, 5, false);
            assert!((1..=12).contains(&axis.ticks.len()), "{low} {high}: {:?}", axis.ticks);
            for t in &axis.ticks {
                let x = axis.at(*t);
                assert!((-0.5..=300.5).contains(&x), "{low} {high}: tick {t} at {x}");
            }
        }
        let axis = Axis::new([0.0, 1.0].into_iter(), 0.0, 100.0, 5, true);
        assert_eq!(
            axis.ticks.iter().map(|t| axis.label(*t)).collect::<Vec<_>>(),
            ["0.0", "0.2", "0.4", "0.6", "0.8", "1.0"]
        );
        let odd = [f64::NAN, f64::INFINITY, f64::MAX, f64::MIN, 0.0];
        assert!(Axis::horizontal(&odd, 0.0, 100.0, true).at(0.0).is_finite());
    }

    #[test]
    fn horizontal_labels_do_not_overlap() {
        for high in [1.0, 12345.0, 0.000321] {
            let axis = Axis::horizontal(&[0.0, high], 0.0, 160.0, false);
            let ends: Vec<(f64, f64)> = axis
                .ticks
                .iter()
                .map(|&t| (axis.at(t), text_width(&axis.label(t), FONT) / 2.0))
                .map(|(x, half)| (x - half, x + half))
                .collect();
            assert!(ends.windows(2).all(|w| w[0].1 < w[1].0), "{high}: {ends:?}");
        }
    }

    #[test]
    fn logarithmic_ticks() {
        let labels = |low: f64, high: f64| {
            let axis = Axis::log_horizontal(&[low, high, -1.0, f64::NAN], 0.0, 300.0);
            axis.ticks.iter().map(|t| axis.label(*t)).collect::<Vec<_>>()
        };
        assert_eq!(labels(2.0, 64.0), ["2", "5", "10", "20", "50"]);
        assert_eq!(labels(1.0, 1000.0), ["1", "10", "100", "1000"]);
        assert!(labels(30.0, 40.0).len() > 1, "{:?}", labels(30.0, 40.0));
        for (low, high) in [(0.0, 0.0), (f64::NAN, -3.0), (1e-300, 1e300), (5.0, 5.0), (f64::MIN_POSITIVE, f64::MAX)] {
            let axis = Axis::log_horizontal(&[low, high], 0.0, 300.0);
            assert!(axis.ticks.iter().all(|t| (-0.5..=300.5).contains(&axis.at(*t))), "{low} {high}: {axis:?}");
        }
        let axis = Axis::log([1.0, 100.0].into_iter(), 0.0, 100.0, 4);
        assert!((axis.at(10.0) - 50.0).abs() < 1e-9 && axis.at(0.0).is_nan() && axis.at(-1.0).is_nan());
    }
}
