//! Pairs: one item, wording, repeat and setting under two arms.

use std::collections::BTreeMap;

use super::evidence::{Cell, Evidence};
use crate::domain::tier::{Endpoint, Label};
use crate::pair::judge::HAND;
use crate::pair::row::{Factors, Protocol, Row};
use crate::stats::{PairedTable, cluster_codes};

/// Two cells that differ in the arm alone.
#[derive(Clone, Copy)]
pub struct Pair<'a> {
    pub first: &'a Cell,
    pub second: &'a Cell,
    /// Number of its cluster among those of the pairs it is with.
    pub cluster: usize,
    /// Labels are a sample (a person's): a pair without both is no evidence of anything.
    pub sampled: bool,
}

impl<'a> Pair<'a> {
    /// Both rows, where both were run.
    pub fn rows(&self) -> Option<(&'a Row, &'a Row)> {
        Some((self.first.row.as_ref()?, self.second.row.as_ref()?))
    }

    /// Both outcomes, where both cells have a label that the endpoint counts.
    pub fn refused(&self, endpoint: Endpoint) -> Option<(bool, bool)> {
        let seen = |cell: &Cell| cell.label.and_then(|l| endpoint.refused(l));
        Some((seen(self.first)?, seen(self.second)?))
    }

    /// Whether the first arm was asked first.
    pub fn forward(&self) -> bool {
        self.first.place.order_position < self.second.place.order_position
    }
}

/// Pairs of two arms at one setting, in the order of the design. An arm with one wording (`none` has nothing to word) is paired with
/// every wording of the other.
pub fn pairs<'a>(evidence: &'a Evidence, arms: [&str; 2], setting: &Factors) -> Vec<Pair<'a>> {
    let of = |arm: &str| {
        let cells = evidence.cells.iter().filter(|c| c.place.arm == arm && c.place.factors == *setting);
        cells.map(|c| ((c.place.item_id.as_str(), c.place.repeat, c.place.paraphrase), c)).collect::<BTreeMap<_, _>>()
    };
    let [first, second] = arms.map(of);
    let single = |cells: &BTreeMap<(&str, usize, usize), &Cell>| cells.keys().all(|k| k.2 == 0);
    let (one, two) = (single(&first), single(&second));
    let mut out: Vec<(&Cell, &Cell)> = Vec::new();
    let (long, short, short_is_single) = if one && !two { (&second, &first, true) } else { (&first, &second, two) };
    for (&(item, repeat, wording), &cell) in long {
        let other = short.get(&(item, repeat, if short_is_single { 0 } else { wording }));
        if let Some(&other) = other {
            out.push(if one && !two { (other, cell) } else { (cell, other) });
        }
    }
    let names: Vec<&str> = out.iter().map(|p| p.0.place.cluster_id.as_str()).collect();
    let sampled = evidence.judge == HAND;
    let of = |(&(first, second), cluster): (&(_, _), usize)| Pair { first, second, cluster, sampled };
    out.iter().zip(cluster_codes(&names)).map(of).collect()
}

/// Outcomes of pairs under an endpoint.
#[derive(Clone, Debug, Default)]
pub struct Counted {
    pub first: Vec<bool>,
    pub second: Vec<bool>,
    pub clusters: Vec<usize>,
    /// Index of each among the pairs it was counted from.
    pub index: Vec<usize>,
    /// Pairs that the endpoint leaves out.
    pub left_out: usize,
    /// Cells of counted pairs without a label, by arm: they count as not refused.
    pub missing: [usize; 2],
    /// Which of them, parallel to `first`.
    missing_at: Vec<[bool; 2]>,
    /// Pairs of which neither cell was run: not counted.
    pub not_run: usize,
    /// Pairs outside a person's sample: not counted.
    pub unlabelled: usize,
}

impl Counted {
    /// A pair of which one cell has no label is kept, the label missing: by intention to treat it is no refusal, and
    /// [`Counted::bounds`] says what else it could be.
    pub fn new(pairs: &[Pair], endpoint: Endpoint) -> Self {
        let mut out = Self::default();
        for (at, pair) in pairs.iter().enumerate() {
            if pair.first.row.is_none() && pair.second.row.is_none() {
                out.not_run += 1;
                continue;
            }
            if pair.sampled && (pair.first.label.is_none() || pair.second.label.is_none()) {
                out.unlabelled += 1;
                continue;
            }
            let seen = |label: Option<Label>| label.map(|l| endpoint.refused(l));
            let (x, y) = (seen(pair.first.label), seen(pair.second.label));
            if x == Some(None) || y == Some(None) {
                out.left_out += 1;
                continue;
            }
            let missing = [x.is_none(), y.is_none()];
            out.missing[0] += usize::from(missing[0]);
            out.missing[1] += usize::from(missing[1]);
            out.missing_at.push(missing);
            out.first.push(x.flatten().unwrap_or(false));
            out.second.push(y.flatten().unwrap_or(false));
            out.clusters.push(pair.cluster);
            out.index.push(at);
        }
        out
    }

    pub fn table(&self) -> PairedTable {
        let mut t = PairedTable::default();
        for pair in self.first.iter().zip(&self.second) {
            match pair {
                (true, true) => t.a += 1,
                (true, false) => t.b += 1,
                (false, true) => t.c += 1,
                (false, false) => t.d += 1,
            }
        }
        t
    }

    pub fn n_clusters(&self) -> usize {
        cluster_codes(&self.clusters).into_iter().max().map_or(0, |m| m + 1)
    }

    /// Second minus first, -1, 0 or 1.
    pub fn differences(&self) -> Vec<f64> {
        let one = |b: bool| f64::from(u8::from(b));
        self.first.iter().zip(&self.second).map(|(x, y)| one(*y) - one(*x)).collect()
    }

    /// Δ were every missing label the one that lowers it, and the one that raises it.
    pub fn bounds(&self) -> Option<[f64; 2]> {
        if self.missing == [0, 0] {
            return None;
        }
        let n = self.first.len() as f64;
        let at = |fill: [bool; 2]| {
            let one = |b: bool| f64::from(u8::from(b));
            let each = self.first.iter().zip(&self.second).zip(&self.missing_at);
            each.map(|((x, y), m)| one(*y || m[1] && fill[1]) - one(*x || m[0] && fill[0])).sum::<f64>() / n
        };
        Some([at([true, false]), at([false, true])])
    }
}

/// The settings of which something was run, in order.
pub fn settings(evidence: &Evidence) -> Vec<Factors> {
    let run = evidence.cells.iter().filter(|c| c.row.is_some());
    let mut all: Vec<Factors> = run.map(|c| c.place.factors.clone()).collect();
    all.sort();
    all.dedup();
    all
}

/// The setting whose tables are read first: order that says something of the arm, arms close in time, the finest weights, the
/// smallest batch.
pub fn reference(settings: &[Factors]) -> Option<&Factors> {
    settings.iter().min_by_key(|f| {
        let order = match f.protocol {
            Protocol::Balanced => 0,
            Protocol::Random => 1,
            Protocol::Fixed => 2,
        };
        (rank_of_precision(&f.precision), order, f.blocking, f.batch_size)
    })
}

/// Finest first; names that are not known come last, in their own order.
pub fn rank_of_precision(name: &str) -> (usize, String) {
    let known = ["f32", "bf16", "int8", "nf4", "int4"];
    (known.iter().position(|k| *k == name).unwrap_or(known.len()), name.to_string())
}

/// Arms in the order in which they are spoken of.
pub fn arms(evidence: &Evidence) -> Vec<String> {
    const SPOKEN: [&str; 9] =
        ["free", "paid", "free_again", "free_min", "paid_min", "swapped", "irrelevant", "none", "none_empty"];
    let mut all: Vec<String> = evidence.cells.iter().map(|c| c.place.arm.clone()).collect();
    all.sort();
    all.dedup();
    all.sort_by_key(|arm| (SPOKEN.iter().position(|s| s == arm).unwrap_or(SPOKEN.len()), arm.clone()));
    all
}
