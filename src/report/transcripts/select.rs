//! Which rows a page shows: disagreements first, then a seeded, stratified sample of the rest.

use std::collections::BTreeMap;

use crate::battery::record::{Decoding, Row};

/// Parts of the allowance: cases that differ in correctness, then (together with them) those that differ in length.
const DIFFERING_SHARE: f64 = 0.6;
const WITH_LENGTHS_SHARE: f64 = 0.75;
/// Rows of one case that are shown.
const MAX_CASE: usize = 12;
/// Of the sample. The same rows give the same page.
const SEED: u64 = 0;

/// What became of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fate {
    Right,
    Near,
    Wrong,
    Unparsable,
}

impl Fate {
    pub const ALL: [Self; 4] = [Self::Right, Self::Near, Self::Wrong, Self::Unparsable];

    pub fn of(r: &Row) -> Self {
        if r.answer.is_none() {
            Self::Unparsable
        } else if r.correct >= 1.0 {
            Self::Right
        } else if r.correct > 0.0 {
            Self::Near
        } else {
            Self::Wrong
        }
    }

    /// CSS class, glyph, word.
    pub fn show(self) -> (&'static str, char, &'static str) {
        match self {
            Self::Right => ("right", '✓', "right"),
            Self::Near => ("near", '≈', "near miss"),
            Self::Wrong => ("wrong", '✗', "wrong"),
            Self::Unparsable => ("unparsed", '?', "unparsable"),
        }
    }
}

/// Rows that belong together: one item under the same circumstances in all arms, or one arm under two conditions.
#[derive(Clone, Debug, PartialEq)]
pub struct Case {
    /// Places in the rows of the test.
    pub rows: Vec<usize>,
    /// Largest difference of correctness.
    pub differs: f64,
    /// Largest log-ratio of lengths.
    pub stretch: f64,
    pub conditions: bool,
}

/// What is shown of one test.
#[derive(Debug, Default, PartialEq)]
pub struct Selection {
    /// Arms or conditions disagree on correctness; the largest difference in length first.
    pub differ: Vec<Case>,
    /// They agree; the largest difference in length first.
    pub lengths: Vec<Case>,
    /// Single rows of the rest.
    pub sample: Vec<usize>,
    /// Cases that disagree on correctness in all, shown or not.
    pub differing: usize,
}

/// Chooses at most `allowed` rows; each is chosen once.
pub fn select(rows: &[Row], arms: &[String], allowed: usize) -> Selection {
    let mut cases = by_arm(rows, arms);
    cases.extend(by_condition(rows));
    // stable: equal cases stay in the order of their keys, comparisons of arms first
    cases.sort_by(|a, b| b.differs.total_cmp(&a.differs).then(b.stretch.total_cmp(&a.stretch)));
    let (differ, agree): (Vec<Case>, Vec<Case>) =
        cases.into_iter().filter(|c| c.differs > 0.0 || c.stretch > 0.0).partition(|c| c.differs > 0.0);

    let mut out = Selection { differing: differ.len(), ..Default::default() };
    let mut taken = vec![false; rows.len()];
    let mut used = 0;
    let mut take = |from: &[Case], into: &mut Vec<Case>, share: f64, taken: &mut [bool]| {
        let limit = (allowed as f64 * share) as usize;
        for case in from {
            if used + case.rows.len() <= limit && case.rows.iter().all(|i| !taken[*i]) {
                case.rows.iter().for_each(|i| taken[*i] = true);
                used += case.rows.len();
                into.push(case.clone());
            }
        }
        used
    };
    take(&differ, &mut out.differ, DIFFERING_SHARE, &mut taken);
    let used = take(&agree, &mut out.lengths, WITH_LENGTHS_SHARE, &mut taken);
    out.sample = sample(rows, arms, &mut taken, allowed.saturating_sub(used));
    out
}

/// Range of `values`; 0 where there is none.
fn range(values: impl Iterator<Item = f64>) -> f64 {
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), v| (a.min(v), b.max(v)));
    if high > low { high - low } else { 0.0 }
}

fn case(rows: &[Row], of: Vec<usize>, conditions: bool) -> Case {
    let differs = range(of.iter().map(|i| rows[*i].correct));
    let stretch = range(of.iter().map(|i| f64::from(rows[*i].n_tokens.max(1)).ln()));
    Case { rows: of, differs, stretch, conditions }
}

/// The same item, condition, cue, decoding and sample number in several arms.
fn by_arm(rows: &[Row], arms: &[String]) -> Vec<Case> {
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (i, r) in rows.iter().enumerate() {
        let sampled = r.decoding == Decoding::Sample;
        groups.entry((&r.item, &r.condition, &r.cue, sampled, r.sample)).or_default().push(i);
    }
    let several = |of: &Vec<usize>| of.iter().any(|i| rows[*i].arm != rows[of[0]].arm);
    groups
        .into_values()
        .filter(several)
        .map(|mut of| {
            of.sort_by_key(|i| (arms.iter().position(|a| *a == rows[*i].arm), rows[*i].seed));
            let n_arms = 1 + of.windows(2).filter(|w| rows[w[0]].arm != rows[w[1]].arm).count();
            let each = (MAX_CASE / n_arms).max(1);
            let mut seen: Vec<(&str, usize)> = Vec::new();
            of.retain(|i| {
                let arm = rows[*i].arm.as_str();
                match seen.iter_mut().find(|s| s.0 == arm) {
                    Some(s) => s.1 += 1,
                    None => seen.push((arm, 1)),
                }
                seen.iter().any(|s| s.0 == arm && s.1 <= each)
            });
            case(rows, of, false)
        })
        .collect()
}

/// The same item, arm, seed, decoding and sample number: the two rows of different conditions that differ most.
fn by_condition(rows: &[Row]) -> Vec<Case> {
    let mut groups: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (i, r) in rows.iter().enumerate() {
        let sampled = r.decoding == Decoding::Sample;
        groups.entry((&r.item, &r.arm, r.seed, sampled, r.sample)).or_default().push(i);
    }
    let order = |i: &usize, j: &usize| {
        let (a, b) = (&rows[*i], &rows[*j]);
        a.correct.total_cmp(&b.correct).then(a.n_tokens.cmp(&b.n_tokens)).then(i.cmp(j))
    };
    groups
        .into_values()
        .filter_map(|mut of| {
            of.sort_by(order);
            let (low, high) = (*of.first()?, *of.last()?);
            // the extreme rows, or the best pair with one of them when both are of one condition
            let other = |at: usize| move |i: &&usize| rows[**i].condition != rows[at].condition;
            let pairs =
                [of.iter().rev().find(other(low)).map(|j| (low, *j)), of.iter().find(other(high)).map(|j| (high, *j))];
            let cases = pairs.into_iter().flatten().map(|(a, b)| case(rows, vec![a.min(b), a.max(b)], true));
            cases.max_by(|a, b| a.differs.total_cmp(&b.differs).then(a.stretch.total_cmp(&b.stretch)))
        })
        .collect()
}

/// Rows in turn from every arm and outcome, each stratum in a seeded random order; then in the order of the file.
fn sample(rows: &[Row], arms: &[String], taken: &mut [bool], n: usize) -> Vec<usize> {
    let mut strata: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for (i, r) in rows.iter().enumerate().filter(|(i, _)| !taken[*i]) {
        strata.entry((arms.iter().position(|a| *a == r.arm), &r.arm, Fate::of(r))).or_default().push(i);
    }
    let mut random = SplitMix64(SEED);
    let mut strata: Vec<Vec<usize>> = strata.into_values().collect();
    for s in &mut strata {
        for i in (1..s.len()).rev() {
            s.swap(i, (random.next() % (i as u64 + 1)) as usize);
        }
    }
    let mut out = Vec::new();
    while out.len() < n && strata.iter().any(|s| !s.is_empty()) {
        for s in &mut strata {
            if out.len() < n
                && let Some(i) = s.pop()
            {
                out.push(i);
            }
        }
    }
    out.sort_unstable();
    out.iter().for_each(|i| taken[*i] = true);
    out
}

/// Steele, Lea & Flood (2014).
struct SplitMix64(u64);

impl SplitMix64 {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::synthetic;
    use super::*;

    fn arms() -> Vec<String> {
        ["base", "control", "value"].map(str::to_string).to_vec()
    }

    #[test]
    fn every_row_once_and_every_stratum() {
        let rows = synthetic::rows(80);
        let chosen = select(&rows, &arms(), 300);
        let mut all: Vec<usize> = chosen.differ.iter().chain(&chosen.lengths).flat_map(|c| c.rows.clone()).collect();
        all.extend(&chosen.sample);
        assert!(all.len() <= 300 && all.len() > 280, "{}", all.len());
        let n = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), n, "a row is shown twice");
        for arm in arms() {
            for fate in Fate::ALL {
                let is = |r: &Row| r.arm == arm && Fate::of(r) == fate;
                let left =
                    rows.iter().enumerate().any(|(i, r)| is(r) && (chosen.sample.contains(&i) || !all.contains(&i)));
                assert!(!left || chosen.sample.iter().any(|i| is(&rows[*i])), "{arm} {fate:?}");
            }
        }
        assert_eq!(chosen, select(&rows, &arms(), 300));
        assert_eq!(select(&rows, &arms(), 0), Selection { differing: chosen.differing, ..Default::default() });
    }

    #[test]
    fn disagreement_comes_before_length() {
        let chosen = select(&synthetic::rows(80), &arms(), 300);
        assert!(chosen.differ.iter().all(|c| c.differs > 0.0) && chosen.lengths.iter().all(|c| c.differs == 0.0));
        for cases in [&chosen.differ, &chosen.lengths] {
            assert!(!cases.is_empty());
            let same = |w: &[Case]| w[0].differs == w[1].differs;
            assert!(cases.windows(2).all(|w| w[0].differs > w[1].differs || (same(w) && w[0].stretch >= w[1].stretch)));
        }
    }

    #[test]
    fn conditions_of_one_arm_are_compared() {
        let mut rows = synthetic::rows(4);
        rows.retain(|r| r.arm == "value");
        for (i, r) in rows.iter_mut().enumerate() {
            r.condition = ["neutral", "monitored"][i % 2].into();
            (r.item, r.sample, r.decoding) = (format!("item-{}", i / 2), 0, Decoding::Greedy);
            (r.correct, r.n_tokens) = (if i == 3 { 0.0 } else { 1.0 }, 10);
        }
        let chosen = select(&rows, &arms(), 100);
        assert_eq!(chosen.differ.len(), 1);
        assert_eq!((chosen.differ[0].rows.as_slice(), chosen.differ[0].conditions), (&[2, 3][..], true));
        assert!(chosen.lengths.is_empty() && chosen.sample.len() == rows.len() - 2);
    }
}
