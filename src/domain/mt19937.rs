//! The Mersenne Twister exactly as CPython's `random` drives it, so that published data sets regenerate bit for bit.
//!
//! Only the integer draws are here: they are all that the study's generators use, and they are exact on every machine.

const N: usize = 624;
const M: usize = 397;

/// MT19937 with CPython's seeding (`init_by_array`) and derived draws.
#[derive(Clone, Debug)]
pub struct Mt19937 {
    state: [u32; N],
    index: usize,
}

impl Mt19937 {
    /// Same stream as `random.Random(seed)` for a non-negative integer seed.
    pub fn new(seed: u64) -> Self {
        // CPython passes the 32-bit words of |seed|, least significant first, and one zero word for seed 0.
        let words = [seed as u32, (seed >> 32) as u32];
        Self::init_by_array(if words[1] == 0 { &words[..1] } else { &words })
    }

    /// Knuth's linear seeding (`init_genrand`), the base of `init_by_array` and of torch's CPU generator.
    pub fn init_genrand(seed: u32) -> Self {
        let mut state = [0u32; N];
        state[0] = seed;
        for i in 1..N {
            let prev = state[i - 1];
            state[i] = 1_812_433_253u32.wrapping_mul(prev ^ (prev >> 30)).wrapping_add(i as u32);
        }
        Self { state, index: N }
    }

    /// `torch.randperm(n)` on the CPU after `torch.manual_seed(seed)`: the study's trainers drew their prompts in this order.
    pub fn randperm(seed: u32, n: usize) -> Vec<usize> {
        let mut rng = Self::init_genrand(seed);
        let mut order: Vec<usize> = (0..n).collect();
        for i in 0..n.saturating_sub(1) {
            let j = i + rng.next_u32() as usize % (n - i);
            order.swap(i, j);
        }
        order
    }

    /// Seeding from a key of 32-bit words; an empty key counts as `[0]`.
    pub fn init_by_array(key: &[u32]) -> Self {
        let key = if key.is_empty() { &[0u32][..] } else { key };
        let mut s = Self::init_genrand(19_650_218).state;
        let (mut i, mut j) = (1, 0);
        for _ in 0..N.max(key.len()) {
            let mixed = s[i] ^ (s[i - 1] ^ (s[i - 1] >> 30)).wrapping_mul(1_664_525);
            s[i] = mixed.wrapping_add(key[j]).wrapping_add(j as u32);
            i += 1;
            j += 1;
            if i >= N {
                s[0] = s[N - 1];
                i = 1;
            }
            if j >= key.len() {
                j = 0;
            }
        }
        for _ in 0..N - 1 {
            let mixed = s[i] ^ (s[i - 1] ^ (s[i - 1] >> 30)).wrapping_mul(1_566_083_941);
            s[i] = mixed.wrapping_sub(i as u32);
            i += 1;
            if i >= N {
                s[0] = s[N - 1];
                i = 1;
            }
        }
        s[0] = 0x8000_0000;
        Self { state: s, index: N }
    }

    fn twist(&mut self) {
        for i in 0..N {
            let y = (self.state[i] & 0x8000_0000) | (self.state[(i + 1) % N] & 0x7fff_ffff);
            let mag = if y & 1 == 1 { 0x9908_b0df } else { 0 };
            self.state[i] = self.state[(i + M) % N] ^ (y >> 1) ^ mag;
        }
        self.index = 0;
    }

    /// The next raw 32-bit output.
    pub fn next_u32(&mut self) -> u32 {
        if self.index >= N {
            self.twist();
        }
        let mut y = self.state[self.index];
        self.index += 1;
        y ^= y >> 11;
        y ^= (y << 7) & 0x9d2c_5680;
        y ^= (y << 15) & 0xefc6_0000;
        y ^ (y >> 18)
    }

    /// `getrandbits(k)` for k ≤ 32 (more is taken as 32); k = 0 gives 0 without a draw.
    pub fn getrandbits(&mut self, k: u32) -> u32 {
        match k {
            0 => 0,
            1..=31 => self.next_u32() >> (32 - k),
            _ => self.next_u32(),
        }
    }

    /// Uniform in `0..n` by rejection (`_randbelow`); `n = 0` gives 0 without a draw.
    pub fn below(&mut self, n: u32) -> u32 {
        if n == 0 {
            return 0;
        }
        let bits = 32 - n.leading_zeros();
        loop {
            let r = self.getrandbits(bits);
            if r < n {
                return r;
            }
        }
    }

    /// Index form of `below` for slices.
    pub fn index(&mut self, len: usize) -> usize {
        self.below(u32::try_from(len).unwrap_or(u32::MAX)) as usize
    }

    /// `choice(seq)`; `None` for an empty slice.
    pub fn choice<'a, T>(&mut self, items: &'a [T]) -> Option<&'a T> {
        let i = self.index(items.len());
        items.get(i)
    }

    /// `randint(a, b)`: uniform in `a..=b`. An empty range gives `a`. Spans are limited to 2³² − 1 values.
    pub fn randint(&mut self, a: i64, b: i64) -> i64 {
        if b < a {
            return a;
        }
        let span = u32::try_from(b.abs_diff(a).saturating_add(1)).unwrap_or(u32::MAX);
        a + i64::from(self.below(span))
    }

    /// `shuffle(x)`: Fisher–Yates from the end.
    pub fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            let j = self.index(i + 1);
            items.swap(i, j);
        }
    }

    /// True with probability `p`, from one 32-bit draw (not a CPython call; used by our own generators).
    pub fn chance(&mut self, p: f64) -> bool {
        f64::from(self.next_u32()) < p * 4_294_967_296.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn raw_stream_of_seed_42() {
        let mut rng = Mt19937::new(42);
        assert_eq!([rng.next_u32(), rng.next_u32(), rng.next_u32()], [2_746_317_213, 478_163_327, 107_420_369]);
    }

    #[test]
    fn derived_draws_match_cpython() {
        // random.Random(7): randint(2, 50) ×3, choice of 5 letters, shuffle of 0..8, getrandbits(5).
        let mut rng = Mt19937::new(7);
        let drawn: Vec<i64> = (0..3).map(|_| rng.randint(2, 50)).collect();
        assert_eq!(drawn, [22, 11, 27]);
        assert_eq!(rng.choice(&['a', 'b', 'c', 'd', 'e']), Some(&'a'));
        let mut order: Vec<u32> = (0..8).collect();
        rng.shuffle(&mut order);
        assert_eq!(order, [7, 5, 3, 2, 0, 4, 6, 1]);
        assert_eq!(rng.getrandbits(5), 29);
        // A seed above 32 bits uses two key words: random.Random(2**40 + 9).getrandbits(32).
        assert_eq!(Mt19937::new((1 << 40) + 9).next_u32(), 473_075_119);
    }

    #[test]
    fn torch_permutation_from_linear_seeding() {
        assert_eq!(Mt19937::randperm(42, 10), [2, 6, 1, 8, 4, 5, 0, 9, 3, 7]);
        assert_eq!(Mt19937::randperm(0, 10), [4, 1, 7, 5, 3, 9, 0, 8, 6, 2]);
        assert_eq!(Mt19937::randperm(42, 98)[..5], [78, 88, 30, 17, 58]);
        assert_eq!(Mt19937::randperm(42, 174)[..5], [60, 33, 170, 169, 130]);
        assert_eq!(Mt19937::randperm(7, 348)[..5], [87, 309, 75, 299, 143]);
        assert!(Mt19937::randperm(7, 0).is_empty());
    }

    #[test]
    fn degenerate_arguments_do_not_loop_or_panic() {
        let mut rng = Mt19937::new(0);
        assert_eq!((rng.below(0), rng.below(1), rng.randint(5, 4)), (0, 0, 5));
        assert_eq!(rng.choice::<u8>(&[]), None);
        assert!(!rng.chance(0.0) && rng.chance(1.0));
    }
}
