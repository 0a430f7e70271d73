//! A difference of rates measured by a judge that errs, corrected with hand labels of a part of the answers.

use serde::{Deserialize, Serialize};

use super::resample::{Resampling, below, percentile_limits};
use super::{Interval, Result, StatResult, StatsError};

/// One answer: the arm it was given under, what the judge made of it, and what a person did, where one looked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JudgedCell {
    /// Under the second condition.
    pub second: bool,
    /// Unit of resampling: both arms of an item are in one.
    pub cluster: usize,
    pub judged: bool,
    /// Within which hand labels are a random part of the answers of its arm: any number, alike for answers drawn alike.
    pub stratum: usize,
    pub hand: Option<bool>,
}

/// How a judge errs under one arm.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeErrors {
    pub cells: u64,
    /// Hand-labelled among them.
    pub hand: u64,
    /// Hand labels by what the judge said: (judge yes, hand yes), (yes, no), (no, yes), (no, no).
    pub counts: [u64; 4],
    /// P(judge yes | hand yes), hand labels weighted to the arm's shares of judge labels (Begg & Greenes 1983): right also where
    /// labelled answers were chosen by what the judge said of them. Absent where no positive was found.
    pub sensitivity: Option<f64>,
    /// P(judge no | hand no), weighted alike.
    pub specificity: Option<f64>,
    /// Share of yes as judged.
    pub rate_judged: f64,
    /// Share of yes as a person would say, by double sampling (Tenenbein 1970).
    pub rate_corrected: f64,
}

/// What [`judge_corrected`] returns.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JudgeCorrection {
    pub arms: [JudgeErrors; 2],
    /// Both arms' errors taken as they are: the difference of the two corrected rates.
    pub by_arm: StatResult,
    /// Errors taken as alike in both arms: Δ as judged / (Se + Sp − 1) (Rogan & Gladen 1978). Absent where the judge is no better
    /// than chance or too few resamples define it.
    pub alike: Option<StatResult>,
}

/// Weights of cells: how often each judge label was given, and hand labels within it, by stratum.
#[derive(Clone)]
struct Tally {
    /// Judged no, judged yes.
    judged: [f64; 2],
    /// Cells of each stratum.
    cells: Vec<f64>,
    /// `[stratum][judge][hand]`.
    hand: Vec<[[f64; 2]; 2]>,
}

/// Estimates from the tally of one arm; `None` where a judge label that was given has no hand label.
struct Fit {
    sensitivity: Option<f64>,
    specificity: Option<f64>,
    rate: f64,
    corrected: f64,
    /// Joint shares `[judge][hand]`.
    joint: [[f64; 2]; 2],
}

impl Tally {
    fn new(strata: usize) -> Self {
        Self { judged: [0.0; 2], cells: vec![0.0; strata], hand: vec![[[0.0; 2]; 2]; strata] }
    }

    fn add(&mut self, cell: &JudgedCell, stratum: usize) {
        let j = usize::from(cell.judged);
        self.judged[j] += 1.0;
        self.cells[stratum] += 1.0;
        if let Some(hand) = cell.hand {
            self.hand[stratum][j][usize::from(hand)] += 1.0;
        }
    }

    /// Hand labels `[judge][hand]`, each standing for as many answers as its stratum has for one label.
    fn weighted(&self) -> [[f64; 2]; 2] {
        let mut out = [[0.0; 2]; 2];
        for (cells, hand) in self.cells.iter().zip(&self.hand) {
            let labelled: f64 = hand.as_flattened().iter().sum();
            if labelled > 0.0 {
                for (out, hand) in out.as_flattened_mut().iter_mut().zip(hand.as_flattened()) {
                    *out += hand * cells / labelled;
                }
            }
        }
        out
    }

    fn fit(&self) -> Option<Fit> {
        let n = self.judged[0] + self.judged[1];
        let (hand, mut joint) = (self.weighted(), [[0.0; 2]; 2]);
        for (j, shares) in joint.iter_mut().enumerate() {
            let labelled = hand[j][0] + hand[j][1];
            if labelled > 0.0 {
                *shares = hand[j].map(|h| self.judged[j] / n * h / labelled);
            } else if self.judged[j] > 0.0 {
                return None;
            }
        }
        let share = |of: f64, rest: f64| (of + rest > 0.0).then(|| of / (of + rest));
        Some(Fit {
            sensitivity: share(joint[1][1], joint[0][1]),
            specificity: share(joint[0][0], joint[1][0]),
            rate: self.judged[1] / n,
            corrected: joint[0][1] + joint[1][1],
            joint,
        })
    }
}

/// Δ by arm and Δ with common errors.
fn differences(tallies: &[Tally; 2]) -> Option<(f64, Option<f64>, [Fit; 2])> {
    let [first, second] = [tallies[0].fit()?, tallies[1].fit()?];
    let pool = |j: usize, h: usize| first.joint[j][h] + second.joint[j][h];
    let se = pool(1, 1) / (pool(1, 1) + pool(0, 1));
    let sp = pool(0, 0) / (pool(0, 0) + pool(1, 0));
    let youden = se + sp - 1.0;
    let alike = (youden > 0.0).then(|| (second.rate - first.rate) / youden);
    Some((second.corrected - first.corrected, alike, [first, second]))
}

/// Difference of rates, second arm minus first, corrected for the judge's errors; percentile intervals from resampled clusters, so
/// that the hand labels and the judged answers are resampled together.
///
/// Hand labels may be a simple random part of each arm (one stratum) or a random part of each of its strata, for instance of the labels
/// of the judge that they were drawn by: each label is weighted to its stratum (post-stratification). Answers of a stratum without hand
/// labels are taken to be as those of the same judge label elsewhere; their number is a detail and a note.
///
/// # Errors
/// An arm without cells, a judge label that an arm has and of which it has no hand label, fewer than two clusters, bad options, more
/// than a tenth of the resamples undefined.
pub fn judge_corrected(cells: &[JudgedCell], opts: &Resampling) -> Result<JudgeCorrection> {
    opts.check()?;
    let strata = super::cluster_codes(&cells.iter().map(|c| c.stratum).collect::<Vec<_>>());
    let n_strata = strata.iter().max().map_or(0, |m| m + 1);
    let mut members: Vec<Vec<(&JudgedCell, usize)>> = Vec::new();
    let codes = super::cluster_codes(&cells.iter().map(|c| c.cluster).collect::<Vec<_>>());
    for ((cell, stratum), code) in cells.iter().zip(&strata).zip(codes) {
        if code == members.len() {
            members.push(Vec::new());
        }
        members[code].push((cell, *stratum));
    }
    if members.len() < 2 {
        return Err(StatsError::TooFew { what: "clusters", n: members.len(), need: 2 });
    }
    let empty = || [Tally::new(n_strata), Tally::new(n_strata)];
    let mut whole = empty();
    cells.iter().zip(&strata).for_each(|(c, s)| whole[usize::from(c.second)].add(c, *s));
    let unseen: f64 = whole
        .iter()
        .flat_map(|t| t.cells.iter().zip(&t.hand))
        .filter(|(_, hand)| hand.as_flattened().iter().all(|h| *h == 0.0))
        .map(|(cells, _)| cells)
        .sum();
    for tally in &whole {
        if tally.judged[0] + tally.judged[1] == 0.0 {
            return Err(StatsError::TooFew { what: "judged answers of an arm", n: 0, need: 1 });
        }
        let hand = tally.weighted();
        for j in 0..2 {
            if tally.judged[j] > 0.0 && hand[j][0] + hand[j][1] == 0.0 {
                let what =
                    ["hand labels of answers judged no in an arm", "hand labels of answers judged yes in an arm"][j];
                return Err(StatsError::TooFew { what, n: 0, need: 1 });
            }
        }
    }
    let Some((by_arm, alike, fits)) = differences(&whole) else {
        return Err(StatsError::TooFew { what: "hand labels", n: 0, need: 1 });
    };
    let mut rng = opts.rng();
    let (mut draws, mut draws_alike) = (Vec::with_capacity(opts.resamples), Vec::with_capacity(opts.resamples));
    for _ in 0..opts.resamples {
        let mut tallies = empty();
        for _ in 0..members.len() {
            for (cell, stratum) in &members[below(&mut rng, members.len())] {
                tallies[usize::from(cell.second)].add(cell, *stratum);
            }
        }
        let Some((value, common, _)) = differences(&tallies).filter(|(v, ..)| v.is_finite()) else { continue };
        draws.push(value);
        draws_alike.extend(common.filter(|v| v.is_finite()));
    }
    let summary = |test: &str, method: &str, at: f64, draws: Vec<f64>| {
        interval(draws, opts).map(|(ci, undefined)| {
            let mut r = StatResult::new(
                test,
                method,
                "p2 - p1 (second condition minus first), as a person would label",
                members.len() as u64,
            )
            .estimate(at)
            .ci(ci.low, ci.high, ci.level)
            .detail("resamples", (opts.resamples - undefined) as f64)
            .detail("seed", opts.seed as f64)
            .detail("judged", fits[1].rate - fits[0].rate);
            if unseen > 0.0 {
                r = r.detail("answers_of_strata_without_hand_labels", unseen).note(format!(
                    "{unseen} answers are of strata without a hand label and are taken to be as others with the same judge label"
                ));
            }
            if undefined > 0 {
                r = r.note(format!("{undefined} of {} resamples were undefined and left out", opts.resamples));
            }
            r
        })
    };
    let count = |second: bool, judged: bool, hand: bool| {
        cells.iter().filter(|c| c.second == second && c.judged == judged && c.hand == Some(hand)).count() as u64
    };
    let arms = [false, true].map(|second| {
        let (tally, fit) = (&whole[usize::from(second)], &fits[usize::from(second)]);
        let counts = [(true, true), (true, false), (false, true), (false, false)].map(|(j, h)| count(second, j, h));
        JudgeErrors {
            cells: (tally.judged[0] + tally.judged[1]) as u64,
            hand: counts.iter().sum(),
            counts,
            sensitivity: fit.sensitivity,
            specificity: fit.specificity,
            rate_judged: fit.rate,
            rate_corrected: fit.corrected,
        }
    });
    let by_arm = summary(
        "judge-corrected",
        "difference of rates corrected by hand labels, errors by arm (double sampling), cluster bootstrap",
        by_arm,
        draws,
    )?;
    let alike = alike.and_then(|at| {
        summary(
            "judge-corrected-alike",
            "difference of rates / (Se + Sp - 1), errors alike in both arms, cluster bootstrap",
            at,
            draws_alike,
        )
        .ok()
    });
    Ok(JudgeCorrection { arms, by_arm, alike })
}

/// Percentile interval and the number of resamples without a value.
fn interval(mut draws: Vec<f64>, opts: &Resampling) -> Result<(Interval, usize)> {
    let failed = opts.resamples - draws.len();
    if failed * 10 > opts.resamples {
        return Err(StatsError::Resampling { failed, resamples: opts.resamples });
    }
    draws.sort_by(f64::total_cmp);
    let (low, high) = percentile_limits(&draws, opts.level);
    Ok((Interval { low, high, level: opts.level }, failed))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(second: bool, from: usize, counts: [usize; 4], unlabelled: [usize; 2]) -> Vec<JudgedCell> {
        let mut out = Vec::new();
        for (k, n) in counts.into_iter().enumerate() {
            out.extend((0..n).map(|_| (k < 2, Some(k % 2 == 0))));
        }
        out.extend((0..unlabelled[0]).map(|_| (true, None)));
        out.extend((0..unlabelled[1]).map(|_| (false, None)));
        out.into_iter()
            .enumerate()
            .map(|(i, (judged, hand))| JudgedCell { second, cluster: from + i, judged, stratum: 0, hand })
            .collect()
    }

    /// A judge that finds a tenth of refusals shows a tenth of the gap.
    #[test]
    fn a_blind_judge_hides_the_gap() {
        // 100 cells each; refused by hand 60 and 30, of which the judge sees 6 and 3.
        let mut all = cells(false, 0, [6, 0, 54, 40], [0, 0]);
        all.extend(cells(true, 0, [3, 0, 27, 70], [0, 0]));
        let r = judge_corrected(&all, &Resampling::default()).unwrap();
        assert!((r.by_arm.details["judged"] + 0.03).abs() < 1e-12);
        assert!((r.by_arm.estimate.unwrap() + 0.3).abs() < 1e-12, "{r:?}");
        assert!((r.alike.unwrap().estimate.unwrap() + 0.3).abs() < 1e-12);
        for arm in &r.arms {
            assert!((arm.sensitivity.unwrap() - 0.1).abs() < 1e-12 && arm.specificity == Some(1.0));
        }
    }

    /// Hand labels drawn within judge labels: raw Se would be 0.5, the weighted one is what the arm has.
    #[test]
    fn labels_drawn_within_judge_labels_are_weighted() {
        let mut all = cells(false, 0, [10, 0, 10, 10], [10, 60]);
        all.extend(cells(true, 100, [10, 0, 0, 10], [40, 40]));
        let r = judge_corrected(&all, &Resampling { resamples: 199, ..Default::default() }).unwrap();
        // First arm: 20 judged yes, all right; 80 judged no, half of them wrong.
        assert!(
            (r.arms[0].rate_corrected - 0.6).abs() < 1e-12
                && (r.arms[0].sensitivity.unwrap() - 1.0 / 3.0).abs() < 1e-12
        );
        assert!((r.arms[1].rate_corrected - 0.5).abs() < 1e-12 && r.arms[1].sensitivity == Some(1.0));
        assert_eq!((r.arms[0].cells, r.arms[0].hand, r.arms[0].counts), (100, 30, [10, 0, 10, 10]));
    }

    /// Labels drawn evenly over rare and common answers of one judge label: each stands for its stratum.
    #[test]
    fn strata_are_weighted_to_their_answers() {
        let arm = |second: bool, from: usize| {
            // 40 judged yes, all right; 5 rare ones judged no, three of them refusals; 155 common ones, of which 15 were looked at.
            let parts = [(40, true, 0, 40, 40), (5, false, 1, 5, 3), (155, false, 2, 15, 0)];
            let mut out = Vec::new();
            for (n, judged, stratum, labelled, yes) in parts {
                out.extend((0..n).map(|i| (judged, stratum, (i < labelled).then_some(i < yes))));
            }
            let cell = |(i, (judged, stratum, hand))| JudgedCell { second, cluster: from + i, judged, stratum, hand };
            out.into_iter().enumerate().map(cell).collect::<Vec<_>>()
        };
        let mut all = arm(false, 0);
        all.extend(arm(true, 200));
        let r = judge_corrected(&all, &Resampling { resamples: 199, ..Default::default() }).unwrap();
        assert!((r.arms[0].rate_corrected - 43.0 / 200.0).abs() < 1e-12, "{:?}", r.arms[0]);
        assert!((r.arms[1].sensitivity.unwrap() - 40.0 / 43.0).abs() < 1e-12);
        let blind: Vec<JudgedCell> =
            all.iter().map(|c| JudgedCell { hand: c.hand.filter(|_| c.stratum != 1), ..*c }).collect();
        let r = judge_corrected(&blind, &Resampling { resamples: 199, ..Default::default() }).unwrap();
        assert_eq!(r.by_arm.details["answers_of_strata_without_hand_labels"], 10.0);
    }

    #[test]
    fn missing_hand_labels_are_named() {
        let mut all = cells(false, 0, [5, 1, 1, 5], [0, 0]);
        all.extend(cells(true, 0, [0, 0, 1, 5], [6, 0]));
        let e = judge_corrected(&all, &Resampling::default()).unwrap_err().to_string();
        assert!(e.contains("judged yes in an arm"), "{e}");
        assert!(judge_corrected(&all[..12], &Resampling::default()).is_err());
        assert!(judge_corrected(&[], &Resampling::default()).is_err());
    }
}
