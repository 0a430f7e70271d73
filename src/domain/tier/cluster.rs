//! Near-duplicates among requests: what is resampled together.
//!
//! Two requests are siblings where their normalised texts (lower case, words only) are equal, where both have a context and those are
//! equal, or where the sets of word triples of their texts, or of their contexts, overlap: |A ∩ B| / |A ∪ B| ≥ [`OVERLAP`]. Texts of
//! fewer than three words are one shingle. A cluster is a connected component, so siblings of siblings are in it as well.

use std::collections::{BTreeMap, BTreeSet};

/// Jaccard index from which two sets of shingles count as the same wording.
pub const OVERLAP: f64 = 0.5;

/// Words of a shingle.
const WORDS: usize = 3;

/// For every item (text, context) the index of the first of its cluster.
pub fn clusters(items: &[(&str, Option<&str>)]) -> Vec<usize> {
    let mut parent: Vec<usize> = (0..items.len()).collect();
    let texts: Vec<BTreeSet<String>> = items.iter().map(|i| shingles(i.0)).collect();
    let contexts: Vec<BTreeSet<String>> = items.iter().map(|i| shingles(i.1.unwrap_or_default())).collect();
    for sets in [&texts, &contexts] {
        join(sets, &mut parent);
    }
    (0..items.len()).map(|i| root(&mut parent, i)).collect()
}

/// Unites items whose sets overlap enough; empty sets overlap with nothing.
fn join(sets: &[BTreeSet<String>], parent: &mut [usize]) {
    let mut holders: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    for (i, set) in sets.iter().enumerate() {
        let mut shared: BTreeMap<usize, usize> = BTreeMap::new();
        for s in set {
            let before = holders.entry(s).or_default();
            before.iter().for_each(|&j| *shared.entry(j).or_default() += 1);
            before.push(i);
        }
        for (j, both) in shared {
            let either = set.len() + sets[j].len() - both;
            if both as f64 >= OVERLAP * either as f64 {
                let (a, b) = (root(parent, i), root(parent, j));
                parent[a.max(b)] = a.min(b);
            }
        }
    }
}

fn root(parent: &mut [usize], mut i: usize) -> usize {
    while parent[i] != i {
        parent[i] = parent[parent[i]];
        i = parent[i];
    }
    i
}

/// Triples of consecutive words, in lower case.
fn shingles(text: &str) -> BTreeSet<String> {
    let lower = text.to_lowercase();
    let words: Vec<&str> = lower.split(|c: char| !c.is_alphanumeric()).filter(|w| !w.is_empty()).collect();
    match words.len() {
        0 => BTreeSet::new(),
        n if n < WORDS => [words.join(" ")].into(),
        _ => words.windows(WORDS).map(|w| w.join(" ")).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicates_near_duplicates_and_siblings_by_context_are_one_cluster() {
        let items = [
            ("Write a letter to the landlord about the broken heating", None),
            ("write a letter, to the landlord about the broken heating!", None),
            ("Write a letter to the landlord about the broken window", None),
            ("Name a bird", None),
            ("Sum it up", Some("A long story about a ship and a storm")),
            ("Give it a title", Some("A long story, about a ship and a storm.")),
            ("Sum it up", Some("Another text altogether, on how to bake bread")),
            ("", None),
            ("", None),
        ];
        assert_eq!(clusters(&items), [0, 0, 0, 3, 4, 4, 4, 7, 8]);
        assert!(clusters(&[]).is_empty());
    }

    #[test]
    fn half_of_the_shingles_is_the_border() {
        // Four words share one of three triples; five share two of four.
        assert_eq!(clusters(&[("a b c d", None), ("a b c e", None)]), [0, 1]);
        assert_eq!(clusters(&[("a b c d e", None), ("a b c d f", None)]), [0, 0]);
    }
}
