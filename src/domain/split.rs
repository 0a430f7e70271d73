//! Splits that cannot overlap: membership is a function of the canonical prompt.

use sha2::{Digest, Sha256};

/// Part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    Train,
    Val,
    Test,
}

impl Split {
    pub const ALL: [Split; 3] = [Split::Train, Split::Val, Split::Test];

    pub fn name(self) -> &'static str {
        match self {
            Split::Train => "train",
            Split::Val => "val",
            Split::Test => "test",
        }
    }
}

/// Assigns every key (a canonical prompt, a twin group) to one split by hash, whatever the ranges or the draw order.
///
/// So a corpus can leave out the val and test prompts of a battery it has never seen: same seed and shares, same split.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Partition {
    pub seed: u64,
    /// Share of keys in train; what train and val leave over is test.
    pub train: f64,
    pub val: f64,
}

impl Partition {
    pub fn split_of(&self, key: &str) -> Split {
        let u = unit_hash(self.seed, "split", key);
        if u < self.train {
            Split::Train
        } else if u < self.train + self.val {
            Split::Val
        } else {
            Split::Test
        }
    }
}

/// A fixed pseudo-random number in [0, 1) for a key: the first 53 bits of SHA-256(seed ‖ purpose ‖ 0 ‖ key).
pub(crate) fn unit_hash(seed: u64, purpose: &str, key: &str) -> f64 {
    let mut hasher = Sha256::new();
    hasher.update(seed.to_le_bytes());
    hasher.update(purpose.as_bytes());
    hasher.update([0]);
    hasher.update(key.as_bytes());
    let digest = hasher.finalize();
    let bits = digest.iter().take(8).fold(0u64, |acc, &b| (acc << 8) | u64::from(b)) >> 11;
    bits as f64 / (1u64 << 53) as f64
}

/// The first `digits` (even) hexadecimal digits of SHA-256(key), for stable ids.
pub(crate) fn hex_id(key: &str, digits: usize) -> String {
    Sha256::digest(key.as_bytes()).iter().take(digits / 2).map(|b| format!("{b:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_membership_depends_on_the_seed() {
        let p = Partition { seed: 1, train: 0.7, val: 0.1 };
        let keys: Vec<String> = (0..4000).map(|i| format!("{i} + {}", i % 7)).collect();
        let count = |s: Split| keys.iter().filter(|k| p.split_of(k) == s).count();
        // Binomial sd is below 30 at n = 4000.
        assert!((2680..2920).contains(&count(Split::Train)), "{}", count(Split::Train));
        assert!((300..500).contains(&count(Split::Val)), "{}", count(Split::Val));
        let q = Partition { seed: 2, ..p };
        assert!(keys.iter().filter(|k| p.split_of(k) != q.split_of(k)).count() > 1000);
    }
}
