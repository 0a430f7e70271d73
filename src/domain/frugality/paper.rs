//! The study's generators, bit for bit: one CPython random stream, 25 % of each generator in every split.
//!
//! Its splits overlap by design (60 pattern and 13 logic prompts exist in all); the strict profile corrects that.

use super::config::{Family, Range, Ranges};
use super::dataset::Task;
use crate::domain::DomainError;
use crate::domain::mt19937::Mt19937;

/// Category triples of the logic templates, as the study uses them (plural nouns, inserted unmodified).
const CATEGORIES: [[&str; 3]; 5] = [
    ["mammals", "animals", "living things"],
    ["dogs", "pets", "animals"],
    ["roses", "flowers", "plants"],
    ["triangles", "polygons", "shapes"],
    ["electrons", "particles", "matter"],
];

/// Train, val and test of sizes `sizes` (the study: 1000, 200, 200; each rounded down to a multiple of 4).
pub fn dataset(seed: u64, sizes: [usize; 3], ranges: &Ranges) -> Result<[Vec<Task>; 3], DomainError> {
    let mut rng = Mt19937::new(seed);
    let mut splits = [Vec::new(), Vec::new(), Vec::new()];
    let mut offset = 0;
    for (split, size) in splits.iter_mut().zip(sizes) {
        for family in [Family::Arith, Family::Chain, Family::Pattern, Family::Logic] {
            for k in 0..size / 4 {
                split.push(task(&mut rng, family, offset + k, ranges)?);
            }
        }
        rng.shuffle(split);
        offset += size;
    }
    Ok(splits)
}

/// The single-digit sums: 400, 100 and 100 items from one stream, each split shuffled.
pub fn trivial(seed: u64, ranges: &Ranges) -> Result<[Vec<Task>; 3], DomainError> {
    let mut rng = Mt19937::new(seed);
    let mut splits = [Vec::new(), Vec::new(), Vec::new()];
    let mut offset = 0;
    for (split, size) in splits.iter_mut().zip([400, 100, 100]) {
        for k in 0..size {
            split.push(task(&mut rng, Family::Trivial, offset + k, ranges)?);
        }
        rng.shuffle(split);
        offset += size;
    }
    Ok(splits)
}

fn task(rng: &mut Mt19937, family: Family, index: usize, ranges: &Ranges) -> Result<Task, DomainError> {
    let draw = |rng: &mut Mt19937, r: Range| rng.randint(r.lo, r.hi);
    let (prompt, answer, min_tokens, max_tokens) = match family {
        Family::Arith => {
            let op = *rng.choice(&['+', '-', '*']).unwrap_or(&'+');
            let range = ranges.operands(op);
            let (a, b) = (draw(rng, range), draw(rng, range));
            let answer = match op {
                '+' => a.checked_add(b),
                '-' => a.checked_sub(b),
                _ => a.checked_mul(b),
            };
            (format!("Calculate: {a} {op} {b}\nProvide only the numeric answer."), number(answer)?, 3, 80)
        }
        Family::Chain => {
            let (a, b, c) = (draw(rng, ranges.chain_sum), draw(rng, ranges.chain_sum), draw(rng, ranges.chain_factor));
            let answer = a.checked_add(b).and_then(|s| s.checked_mul(c));
            (format!("What is ({a} + {b}) × {c}?\nProvide only the numeric answer."), number(answer)?, 3, 120)
        }
        Family::Pattern => {
            let kind = rng.below(5);
            let (start, len) = (rng.randint(1, 4), rng.randint(4, 6));
            let terms: Vec<String> = (start..start + len).map(|n| term(kind, n).to_string()).collect();
            let prompt = format!(
                "What is the next number in this sequence?\n{}, ___\nProvide only the numeric answer.",
                terms.join(", ")
            );
            (prompt, term(kind, start + len).to_string(), 3, 100)
        }
        Family::Logic => {
            let template = rng.below(5);
            let [a, b, c] = match template {
                0 | 1 => *rng.choice(&CATEGORIES).unwrap_or(&CATEGORIES[0]),
                _ => [""; 3],
            };
            let (text, answer) = match template {
                0 => (format!("All {a} are {b}. All {b} are {c}. Is every {a} a {c}?"), "yes"),
                1 => (format!("No {a} are {b}. X is a {a}. Is X a {b}?"), "no"),
                2 => ("If it rains, the ground is wet. The ground is not wet. Did it rain?".into(), "no"),
                3 => ("If P then Q. P is true. Is Q true?".into(), "yes"),
                _ => ("Either X or Y must be true. X is false. Is Y true?".into(), "yes"),
            };
            (format!("{text} Answer yes or no."), answer.to_string(), 3, 150)
        }
        Family::Trivial => {
            let (a, b) = (draw(rng, ranges.trivial), draw(rng, ranges.trivial));
            (format!("What is {a} + {b}? Answer with only the number."), number(a.checked_add(b))?, 1, 40)
        }
    };
    Ok(Task {
        task_id: format!("{}_{index:04}", family.prefix()),
        task_type: family.task_type().to_string(),
        prompt,
        answer,
        min_tokens,
        max_tokens,
        family: None,
        canonical: None,
    })
}

fn number(value: Option<i64>) -> Result<String, DomainError> {
    value.map(|v| v.to_string()).ok_or_else(|| DomainError::Config("an operand range overflows 64-bit integers".into()))
}

/// Term n of the kinds square, triangular, cube, power of two, Fibonacci (F(0) = 0).
fn term(kind: u32, n: i64) -> i64 {
    match kind {
        0 => n * n,
        1 => n * (n + 1) / 2,
        2 => n * n * n,
        3 => 1 << n,
        _ => (0..n).fold((0, 1), |(a, b), _| (b, a + b)).0,
    }
}

#[cfg(test)]
mod tests {
    use sha2::{Digest, Sha256};

    use super::*;

    /// SHA-256 over the compact JSON arrays `[task_id, prompt, answer]`, one a line, of train, val and test in order.
    const TRIPLES: &str = "ff9ea130d8994e97591107ea4c6c8deeb03ca53db2ebac9c87a99f49c4294273";

    #[test]
    fn seed_42_regenerates_the_published_files() {
        let splits = dataset(42, [1000, 200, 200], &Ranges::default()).unwrap();
        assert_eq!(splits.each_ref().map(Vec::len), [1000, 200, 200]);
        let mut hasher = Sha256::new();
        for task in splits.iter().flatten() {
            let line = serde_json::to_string(&[&task.task_id, &task.prompt, &task.answer]).unwrap();
            hasher.update(line);
            hasher.update("\n");
        }
        assert_eq!(format!("{:x}", hasher.finalize()), TRIPLES);
        let first: Vec<_> =
            splits[0].iter().take(3).map(|t| (&*t.task_id, t.prompt.lines().next(), &*t.answer)).collect();
        assert_eq!(
            first,
            [
                ("chain_0141", Some("What is (7 + 11) × 2?"), "36"),
                ("arith_0189", Some("Calculate: 44 + 23"), "67"),
                ("arith_0019", Some("Calculate: 26 + 7"), "33"),
            ]
        );
        assert_eq!(
            (&*splits[0][0].task_type, splits[0][0].min_tokens, splits[0][0].max_tokens),
            ("arithmetic", 3, 120)
        );
    }

    #[test]
    fn trivial_sums_stay_in_range() {
        let splits = trivial(42, &Ranges::default()).unwrap();
        assert_eq!(splits.each_ref().map(Vec::len), [400, 100, 100]);
        assert!(splits.iter().flatten().all(|t| (2..=18).contains(&t.answer.parse::<i64>().unwrap())));
    }

    #[test]
    fn overflowing_ranges_are_errors() {
        let huge = Range { lo: i64::MAX - 1, hi: i64::MAX };
        let ranges = Ranges { chain_sum: huge, ..Ranges::default() };
        assert!(matches!(dataset(1, [4, 4, 4], &ranges), Err(DomainError::Config(_))));
    }
}
