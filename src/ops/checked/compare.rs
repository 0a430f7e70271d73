//! How two results are compared, and what a choice of a token may be.

use std::sync::atomic::Ordering;

use super::Checked;
use crate::ops::{AttnPlan, OpError, Ops, Result, Sampling};

/// Largest finite magnitude.
pub(super) fn magnitude(x: &[f32]) -> f32 {
    x.iter().fold(0.0, |m, x| if x.is_finite() { m.max(x.abs()) } else { m })
}

/// Index and error of the worst element of `got`, as a share of `scale` (infinite where only one side is finite).
pub(super) fn worst(got: &[f32], want: &[f32], scale: f32) -> Option<(usize, f32)> {
    let mut worst: Option<(usize, f32)> = None;
    for (i, (&g, &w)) in got.iter().zip(want).enumerate() {
        let error = if g == w || (g.is_nan() && w.is_nan()) {
            0.0
        } else if g.is_finite() && w.is_finite() {
            // In f64: the difference of two finite f32 can overflow.
            ((f64::from(g) - f64::from(w)).abs() / f64::from(scale.max(f32::MIN_POSITIVE))) as f32
        } else {
            f32::INFINITY
        };
        if worst.is_none_or(|(_, e)| error > e) {
            worst = Some((i, error));
        }
    }
    worst
}

impl<A: Ops, B: Ops> Checked<A, B> {
    pub(super) fn differ(
        &self,
        op: &'static str,
        what: &'static str,
        got: &[f32],
        want: &[f32],
        terms: f32,
    ) -> Result<()> {
        let scale = magnitude(want).max(terms / 100.0);
        let found = if got.len() == want.len() { worst(got, want, scale) } else { Some((0, f32::INFINITY)) };
        match found {
            Some((index, error)) if error > self.bound => Err(OpError::Disagree {
                op,
                what,
                index,
                got: got.get(index).copied().unwrap_or(f32::NAN),
                want: want.get(index).copied().unwrap_or(f32::NAN),
                left: self.a.device_name(),
                right: self.b.device_name(),
                error,
                bound: self.bound,
                call: self.calls.load(Ordering::Relaxed),
            }),
            _ => Ok(()),
        }
    }

    /// Compares an output and gives `A`'s values to `B`. `terms` is the size of the numbers whose difference it is.
    pub(super) fn settle(&self, op: &'static str, what: &'static str, x: &mut (A::T, B::T), terms: f32) -> Result<()> {
        let got = self.a.read(&x.0)?;
        self.differ(op, what, &got, &self.b.read(&x.1)?, terms)?;
        self.b.write(&mut x.1, &got)
    }

    pub(super) fn settled(
        &self,
        op: &'static str,
        what: &'static str,
        a: A::T,
        b: B::T,
        terms: f32,
    ) -> Result<(A::T, B::T)> {
        let mut x = (a, b);
        self.settle(op, what, &mut x, terms)?;
        Ok(x)
    }

    pub(super) fn size(&self, x: &(A::T, B::T)) -> Result<f32> {
        Ok(magnitude(&self.b.read(&x.1)?))
    }

    #[allow(clippy::type_complexity)]
    pub(super) fn plans(&self, plan: &AttnPlan<(A::I, B::I)>) -> Result<(AttnPlan<A::I>, AttnPlan<B::I>)> {
        Ok((self.a.attn_plan(plan.spans.clone())?, self.b.attn_plan(plan.spans.clone())?))
    }

    /// That `A`'s choice `id` is one the rule allows, give or take rounding, and its log-probability.
    pub(super) fn allowed(z: &[f32], s: &Sampling, id: usize) -> Option<f32> {
        let t = if s.temperature == 0.0 { 1.0 } else { f64::from(s.temperature) };
        let chosen = f64::from(*z.get(id)?);
        let max = f64::from(z.iter().fold(f32::NEG_INFINITY, |m, &z| m.max(z)));
        let slack = 1e-5 * f64::from(magnitude(z));
        let larger = || z.iter().map(|&z| f64::from(z)).filter(|&z| z > chosen + slack);
        let mass = |z: f64| ((z - max) / t).exp();
        let all: f64 = z.iter().map(|&z| mass(f64::from(z))).sum();
        let mut left = all;
        let mut k = usize::MAX;
        if s.temperature == 0.0 {
            k = 1;
        } else if s.top_k > 0 {
            k = s.top_k as usize;
            let mut sorted = z.to_vec();
            sorted.sort_unstable_by(|a, b| b.total_cmp(a));
            let kth = sorted.get(k - 1).copied().unwrap_or(f32::NEG_INFINITY);
            left = z.iter().filter(|&&z| z >= kth).map(|&z| mass(f64::from(z))).sum();
        }
        let in_p = s.temperature == 0.0 || larger().map(mass).sum::<f64>() < (f64::from(s.top_p) + 1e-4) * left;
        (larger().count() < k && in_p).then_some(((chosen - max) / t - all.ln()) as f32)
    }
}
