//! In which order an item's arms are asked.

use super::row::Protocol;
use crate::domain::mt19937::Mt19937;
use crate::domain::split::unit_hash;

/// A Williams square for `k` arms: every arm precedes every other equally often, at every distance as far as that is possible.
/// `k` rows for even `k`, twice as many for odd (Williams 1949, Aust. J. Sci. Res. A 2:149).
pub fn williams(k: usize) -> Vec<Vec<usize>> {
    // 0, 1, k-1, 2, k-2, …
    let first: Vec<usize> = (0..k).map(|i| if i % 2 == 1 { i.div_ceil(2) } else { (k - i / 2) % k.max(1) }).collect();
    let mut rows: Vec<Vec<usize>> = (0..k).map(|shift| first.iter().map(|a| (a + shift) % k).collect()).collect();
    if k % 2 == 1 {
        let reversed: Vec<Vec<usize>> = rows.iter().map(|r| r.iter().rev().copied().collect()).collect();
        rows.extend(reversed);
    }
    rows
}

/// For every item the places of `arms` arms in their order. A random order depends on the seed and the item's id alone.
pub fn orders(protocol: Protocol, ids: &[&str], arms: usize, seed: u64) -> Vec<Vec<usize>> {
    let square = williams(arms);
    match protocol {
        Protocol::Fixed => vec![(0..arms).collect(); ids.len()],
        Protocol::Random => {
            let row = |id: &&str| {
                let at = (unit_hash(seed, "pair order", id) * square.len() as f64) as usize;
                square.get(at).cloned().unwrap_or_default()
            };
            ids.iter().map(row).collect()
        }
        Protocol::Balanced => {
            let mut rng = Mt19937::new(seed);
            let mut drawn: Vec<Vec<usize>> = Vec::with_capacity(ids.len() + 2 * square.len());
            while drawn.len() < ids.len() {
                let mut rows = square.clone();
                rng.shuffle(&mut rows);
                // With its reverse beside it, any two arms come either way round equally often, wherever the list is cut.
                drawn.extend(rows.into_iter().flat_map(|r| {
                    let reversed = r.iter().rev().copied().collect();
                    [r, reversed]
                }));
            }
            drawn.truncate(ids.len());
            rng.shuffle(&mut drawn);
            drawn
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn before(order: &[usize], a: usize, b: usize) -> bool {
        order.iter().position(|&x| x == a) < order.iter().position(|&x| x == b)
    }

    #[test]
    fn in_a_williams_square_every_arm_follows_every_other_equally_often() {
        for k in 2..10 {
            let square = williams(k);
            assert_eq!(square.len(), if k % 2 == 0 { k } else { 2 * k });
            let times = square.len() / k;
            for a in 0..k {
                for b in (0..k).filter(|&b| b != a) {
                    let next = square.iter().flat_map(|r| r.windows(2)).filter(|w| *w == [a, b]).count();
                    assert_eq!(next, times, "{k} arms: {a} then {b}");
                    assert_eq!(square.iter().filter(|r| before(r, a, b)).count() * 2, square.len());
                }
                for place in 0..k {
                    assert_eq!(square.iter().filter(|r| r[place] == a).count(), times);
                }
            }
        }
        assert!(williams(0).is_empty() && williams(1).len() == 2);
    }

    #[test]
    fn balanced_is_exactly_half_and_random_is_a_coin_of_the_item() {
        let names: Vec<String> = (0..400).map(|i| format!("item-{i}")).collect();
        let ids: Vec<&str> = names.iter().map(String::as_str).collect();
        for arms in [2, 3, 9] {
            for n in [400, 77] {
                let drawn = orders(Protocol::Balanced, &ids[..n], arms, 7);
                for (a, b) in [(0, 1), (0, arms - 1)] {
                    let first = drawn.iter().filter(|o| before(o, a, b)).count();
                    assert!(first == n / 2 || first == n.div_ceil(2), "{arms} arms: {first} of {n}");
                }
                assert_ne!(drawn, orders(Protocol::Balanced, &ids[..n], arms, 8));
            }
            let random = orders(Protocol::Random, &ids, arms, 7);
            let first = random.iter().filter(|o| before(o, 0, 1)).count();
            // Within 4 standard deviations of a fair coin.
            assert!((160..=240).contains(&first), "{first}");
            let mut backwards = ids.clone();
            backwards.reverse();
            let mut again = orders(Protocol::Random, &backwards, arms, 7);
            again.reverse();
            assert_eq!(random, again, "an item's order does not depend on its neighbours");
            assert!(orders(Protocol::Fixed, &ids, arms, 7).iter().all(|o| o.is_sorted()));
        }
    }
}
