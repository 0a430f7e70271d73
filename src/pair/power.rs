//! What a run of n pairs can find, before it is run: exact power of McNemar's test, and the smallest difference found four times in five.

use std::fmt;

use serde::Serialize;

use crate::stats::{McNemar, Result, power_mcnemar};

/// Two-sided level and power of the tables.
pub const ALPHA: f64 = 0.05;
pub const TARGET: f64 = 0.8;

/// Shares of discordant pairs with differences that they may come with, where the user expects none in particular.
pub const COMMON: [(f64, f64); 7] =
    [(0.02, 0.02), (0.05, 0.02), (0.1, 0.05), (0.1, 0.1), (0.135, 0.065), (0.2, 0.1), (0.2, 0.2)];

/// Flips in each direction that would happen without any effect.
pub const BACKGROUND: [f64; 4] = [0.0005, 0.01, 0.03, 0.06];

/// Power at one share of discordant pairs and one difference.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Power {
    /// Share of pairs that differ.
    pub discordant: f64,
    /// |p2 − p1|, at most `discordant`.
    pub delta: f64,
    pub mid_p: f64,
    pub exact: f64,
}

/// Smallest difference that the mid-p test finds with power 0.8.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Detectable {
    /// Share of pairs that flip in each direction without an effect.
    pub background: f64,
    /// `None`: none, however large.
    pub delta: Option<f64>,
}

/// Both tables for `n` pairs.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PowerTable {
    pub n: u64,
    pub power: Vec<Power>,
    pub detectable: Vec<Detectable>,
    /// Upper 95 % bound of the flip rate where no pair flips, 1 − 0.05^(1/n).
    pub bound_if_none: f64,
}

/// Tables for `n` pairs with the usual shares.
///
/// # Errors
/// `n` outside 2 to 100,000.
pub fn table(n: u64) -> Result<PowerTable> {
    table_for(n, &COMMON)
}

/// Tables for `n` pairs and (share of discordant pairs, difference) as the user expects them.
///
/// # Errors
/// `n` outside 2 to 100,000; a difference above its share, or a share above 1.
pub fn table_for(n: u64, expected: &[(f64, f64)]) -> Result<PowerTable> {
    let power = expected.iter().map(|&(discordant, delta)| {
        let at = |variant| power_mcnemar(n, (discordant - delta) / 2.0, (discordant + delta) / 2.0, variant, ALPHA);
        Ok(Power { discordant, delta, mid_p: at(McNemar::MidP)?, exact: at(McNemar::Exact)? })
    });
    let detectable = BACKGROUND.iter().map(|&e| Ok(Detectable { background: e, delta: detectable(n, e)? }));
    Ok(PowerTable {
        n,
        power: power.collect::<Result<_>>()?,
        detectable: detectable.collect::<Result<_>>()?,
        bound_if_none: 1.0 - 0.05f64.powf(1.0 / n as f64),
    })
}

/// Smallest δ with power 0.8 where one direction flips with probability `background` and the other with `background` + δ.
///
/// # Errors
/// `n` outside 2 to 100,000, `background` outside 0 to 0.5.
pub fn detectable(n: u64, background: f64) -> Result<Option<f64>> {
    let power = |delta: f64| power_mcnemar(n, background, background + delta, McNemar::MidP, ALPHA);
    let (mut low, mut high) = (0.0, 1.0 - 2.0 * background);
    if power(high)? < TARGET {
        return Ok(None);
    }
    while high - low > 1e-5 {
        let mid = (low + high) / 2.0;
        if power(mid)? < TARGET { low = mid } else { high = mid }
    }
    Ok(Some(high))
}

impl fmt::Display for PowerTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "What {} pairs can find (McNemar, two-sided 5 %, exact enumeration)", self.n)?;
        writeln!(f, "  pairs that differ   difference   power, mid-p   power, exact test")?;
        for p in &self.power {
            let (q, d) = (100.0 * p.discordant, 100.0 * p.delta);
            writeln!(f, "  {q:>15.1} %   {d:>7.1} pp   {:>12.2}   {:>17.2}", p.mid_p, p.exact)?;
        }
        writeln!(f, "  Smallest difference found with 80 % power, by flips without any effect in each direction:")?;
        for d in &self.detectable {
            let found = d.delta.map_or("none, however large".to_string(), |x| format!("{:.1} pp", 100.0 * x));
            writeln!(f, "  {:>15.2} %   {found}", 100.0 * d.background)?;
        }
        writeln!(f, "  No flip at all would bound the flip rate below {:.2} %.", 100.0 * self.bound_if_none)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sums of binomial probabilities by SciPy.
    #[test]
    fn power_by_enumeration() {
        for (n, discordant, delta, mid_p, exact) in [
            (200, 0.135, 0.065, 0.712784463, 0.653348491),
            (400, 0.135, 0.065, 0.954530551, 0.941282350),
            (400, 0.05, 0.02, 0.423662366, 0.352897125),
            (1000, 0.05, 0.02, 0.820381892, 0.785007875),
            (400, 0.02, 0.02, 0.902666254, 0.811534383),
            (38, 0.2, 0.2, 0.901431546, 0.799625613),
            (38, 0.1, 0.1, 0.329863552, 0.174747641),
        ] {
            let t = table_for(n, &[(discordant, delta)]).unwrap();
            let p = &t.power[0];
            assert!((p.mid_p - mid_p).abs() < 1e-8 && (p.exact - exact).abs() < 1e-8, "n {n}: {p:?}");
        }
    }

    /// Sizes by enumeration, in percent: mid-p near its level and never above it on this grid, the exact test far below.
    #[test]
    fn size_by_enumeration() {
        for (n, rate, mid_p) in [
            (200, 0.02, 1.7),
            (200, 0.05, 4.1),
            (200, 0.1, 4.6),
            (200, 0.2, 4.8),
            (400, 0.02, 3.8),
            (400, 0.05, 4.6),
            (400, 0.1, 4.8),
            (400, 0.2, 4.8),
        ] {
            let size = |variant| 100.0 * power_mcnemar(n, rate / 2.0, rate / 2.0, variant, ALPHA).unwrap();
            assert!((size(McNemar::MidP) - mid_p).abs() <= 0.05, "n {n} at {rate}: {}", size(McNemar::MidP));
            assert!((0.5..3.85).contains(&size(McNemar::Exact)), "n {n} at {rate}: {}", size(McNemar::Exact));
        }
        for n in [38, 100, 200, 400] {
            for rate in [0.02, 0.05, 0.1, 0.2] {
                let size = power_mcnemar(n, rate / 2.0, rate / 2.0, McNemar::MidP, ALPHA).unwrap();
                assert!(size <= ALPHA, "n {n} at {rate}: {size}");
            }
        }
    }

    #[test]
    fn smallest_differences_of_the_specification() {
        for (n, want, tol) in [
            (38, [17.0, 19.0, 23.0, 27.0], 0.5),
            (100, [6.7, 8.5, 11.0, 14.0], 0.06),
            (200, [3.4, 5.0, 7.0, 8.9], 0.06),
            (400, [1.8, 3.0, 4.5, 5.9], 0.06),
        ] {
            for (e, want) in BACKGROUND.into_iter().zip(want) {
                let got = 100.0 * detectable(n, e).unwrap().unwrap();
                assert!((got - want).abs() <= tol, "n {n}, background {e}: {got}, not {want}");
            }
        }
        assert_eq!(detectable(3, 0.0).unwrap(), None, "three pairs find nothing");
    }

    #[test]
    fn a_table_prints_its_numbers() {
        let t = table(38).unwrap();
        let text = t.to_string();
        assert!(text.contains("What 38 pairs") && text.contains("below 7.58 %"), "{text}");
        assert!(table(1).is_err() && table_for(100, &[(0.1, 0.2)]).is_err());
    }
}
