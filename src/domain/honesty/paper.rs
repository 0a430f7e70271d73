//! The study's 250-item set, drawn from our own pool: its random stream, its sizes (174/38/38), its labels in its order.
//!
//! One departure: the study splits true and false statements apart from each other, so that 24 of its 38 test items have their twin
//! in train. Here the true statements go where the study's stream sends them, and their twins follow. (Its `test_ood.json` is a
//! copy of `val.json`; ours holds the held-out topics.)

use super::dataset::{Entry, Group};
use crate::domain::mt19937::Mt19937;

/// The generator draws a wrong capital for each of 35 countries, among 34 others, before it shuffles.
const CAPITAL_DRAWS: usize = 35;

/// Train, dev and test of `groups`, by the study's class-wise shuffle: class shares `[train, dev]`, rounded down as it does.
pub(super) fn splits(seed: u64, groups: &[Group], shares: [f64; 2]) -> [Vec<Entry>; 3] {
    let n = groups.len();
    let mut rng = Mt19937::new(seed);
    for _ in 0..CAPITAL_DRAWS {
        rng.index(34);
    }
    let [mut trues, mut falses]: [Vec<usize>; 2] = [(0..n).collect(), (0..n).collect()];
    rng.shuffle(&mut trues);
    rng.shuffle(&mut falses);
    let mut all: Vec<(bool, usize)> =
        trues.into_iter().map(|i| (true, i)).chain(falses.into_iter().map(|i| (false, i))).collect();
    rng.shuffle(&mut all);
    let class = |label: bool| all.iter().filter(|(l, _)| *l == label).map(|(_, i)| *i).collect::<Vec<usize>>();
    let (trues, falses) = (class(true), class(false));
    let cut = |share: f64| (share * n as f64) as usize;
    let bounds = [0, cut(shares[0]), cut(shares[0] + shares[1]), n];
    [0, 1, 2].map(|split| {
        let mine = &trues[bounds[split]..bounds[split + 1]];
        let twins = falses.iter().filter(|i| mine.contains(i));
        let mut entries: Vec<Entry> =
            mine.iter().map(|&i| groups[i][0]).chain(twins.map(|&i| groups[i][1])).map(Entry::from).collect();
        rng.shuffle(&mut entries);
        entries
    })
}
