//! Strict sequences: ten kinds of rule, listed in full within the configured ranges.

use super::config::{Family, Range, Ranges, SequenceKind};
use super::strict::Problem;

/// All sequence problems; the same terms may come from two rules (the caller drops those that continue differently).
pub fn problems(ranges: &Ranges) -> Vec<Problem> {
    let mut found = Vec::new();
    for &kind in &ranges.sequence_kinds {
        for rule in rules(kind, ranges) {
            for shown in ranges.sequence_length.lo..=ranges.sequence_length.hi {
                let terms: Vec<i64> = (0..=shown).map_while(|n| rule.term(n)).collect();
                let fits = |t: &i64| (0..=ranges.sequence_max).contains(t);
                if terms.len() as i64 == shown + 1 && terms.iter().all(fits) {
                    found.extend(problem(kind, &rule, &terms));
                }
            }
        }
    }
    found
}

/// Parameters of one rule; what they mean depends on the kind.
struct Rule {
    kind: SequenceKind,
    a: i64,
    p: i64,
    q: i64,
}

impl Rule {
    /// Term n, counted from 0; `None` on overflow.
    fn term(&self, n: i64) -> Option<i64> {
        let Rule { kind, a, p, q } = *self;
        match kind {
            SequenceKind::Rising => a.checked_add(n * p),
            SequenceKind::Falling => a.checked_sub(n * p),
            SequenceKind::Geometric => p.checked_pow(u32::try_from(n).ok()?)?.checked_mul(a),
            SequenceKind::Square => (a + n).checked_pow(2)?.checked_add(p),
            SequenceKind::Triangular => (a + n).checked_mul(a + n + 1)?.checked_div(2)?.checked_add(p),
            SequenceKind::Cube => (a + n).checked_pow(3)?.checked_add(p),
            SequenceKind::Power => 2i64.checked_pow(u32::try_from(a + n).ok()?)?.checked_add(p),
            SequenceKind::Fibonacci => Some((0..n).fold((a, p), |(x, y), _| (y, x.saturating_add(y))).0),
            SequenceKind::Alternating => a.checked_add((n + 1) / 2 * p + n / 2 * q),
            // q < 0 marks a cycle of two.
            SequenceKind::Cycle if q < 0 => Some([a, p][(n % 2) as usize]),
            SequenceKind::Cycle => Some([a, p, q][(n % 3) as usize]),
        }
    }
}

fn rules(kind: SequenceKind, ranges: &Ranges) -> Vec<Rule> {
    let (start, step) = (ranges.sequence_start, ranges.sequence_step);
    let all = |r: Range| r.lo..=r.hi;
    // Few parameters give enough sequences of the dense kinds; steps up to this keep the list short.
    let small = Range { lo: step.lo, hi: step.hi.min(step.lo + 5) };
    let pairs = |first: Range, second: Range| all(first).flat_map(move |a| all(second).map(move |p| (a, p)));
    let make = |a, p, q| Rule { kind, a, p, q };
    match kind {
        SequenceKind::Rising => pairs(start, step).map(|(a, p)| make(a, p, 0)).collect(),
        // Falls from a multiple of its step, so that long ones fit as well.
        SequenceKind::Falling => {
            pairs(start, step).map(|(a, p)| make(a + p * ranges.sequence_length.hi, p, 0)).collect()
        }
        SequenceKind::Geometric => {
            pairs(start, Range { lo: 2, hi: 4 }).filter(|(a, _)| *a > 0).map(|(a, p)| make(a, p, 0)).collect()
        }
        SequenceKind::Square | SequenceKind::Triangular | SequenceKind::Cube | SequenceKind::Power => {
            let first = Range { lo: start.lo, hi: start.hi.min(start.lo + 8) };
            pairs(first, Range { lo: 0, hi: step.hi }).map(|(a, p)| make(a, p, 0)).collect()
        }
        SequenceKind::Fibonacci => pairs(start, start).filter(|(a, p)| a + p > 0).map(|(a, p)| make(a, p, 0)).collect(),
        SequenceKind::Alternating => pairs(start, small)
            .flat_map(|(a, p)| all(small).filter(move |q| *q != p).map(move |q| make(a, p, q)))
            .collect(),
        SequenceKind::Cycle => {
            let two = pairs(start, start).filter(|(a, p)| a != p).map(|(a, p)| make(a, p, -1));
            let three = pairs(start, small)
                .flat_map(|(a, p)| all(small).map(move |q| (a, p, q)))
                .filter(|(a, p, q)| a != p && p != q && a != q)
                .map(|(a, p, q)| make(a, p, q));
            two.chain(three).collect()
        }
    }
}

fn problem(kind: SequenceKind, rule: &Rule, terms: &[i64]) -> Option<Problem> {
    let (&answer, shown) = terms.split_last()?;
    let &last = shown.last()?;
    let joined = shown.iter().map(i64::to_string).collect::<Vec<_>>().join(", ");
    let canonical = format!("{joined}, ___");
    let n = rule.a + shown.len() as i64;
    let plus = |base: String| if rule.p == 0 { base } else { format!("{base} + {}", rule.p) };
    let worked = match kind {
        SequenceKind::Rising | SequenceKind::Alternating => format!("{last} + {} = {answer}", answer - last),
        SequenceKind::Falling => format!("{last} - {} = {answer}", last - answer),
        SequenceKind::Geometric => format!("{last} × {} = {answer}", rule.p),
        SequenceKind::Square => format!("{} = {answer}", plus(format!("{n} × {n}"))),
        SequenceKind::Triangular => format!("{last} + {n} = {answer}"),
        SequenceKind::Cube => format!("{} = {answer}", plus(format!("{n} × {n} × {n}"))),
        SequenceKind::Power => format!("{last} + {} = {answer}", answer - last),
        SequenceKind::Fibonacci => format!("{} + {last} = {answer}", answer - last),
        SequenceKind::Cycle => format!("the numbers repeat and after {last} comes {answer}"),
    };
    Some(Problem {
        family: Family::Pattern,
        stratum: kind as u32,
        question: format!("What is the next number in this sequence?\n{canonical}"),
        canonical,
        answer: answer.to_string(),
        worked,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn next(kind: SequenceKind, a: i64, p: i64, q: i64) -> Vec<i64> {
        let rule = Rule { kind, a, p, q };
        (0..5).filter_map(|n| rule.term(n)).collect()
    }

    #[test]
    fn rules_give_their_sequences() {
        use SequenceKind::*;
        assert_eq!(next(Rising, 3, 4, 0), [3, 7, 11, 15, 19]);
        assert_eq!(next(Falling, 20, 3, 0), [20, 17, 14, 11, 8]);
        assert_eq!(next(Geometric, 2, 3, 0), [2, 6, 18, 54, 162]);
        assert_eq!(next(Square, 1, 1, 0), [2, 5, 10, 17, 26]);
        assert_eq!(next(Triangular, 1, 0, 0), [1, 3, 6, 10, 15]);
        assert_eq!(next(Cube, 1, 0, 0), [1, 8, 27, 64, 125]);
        assert_eq!(next(Power, 0, 0, 0), [1, 2, 4, 8, 16]);
        assert_eq!(next(Fibonacci, 0, 1, 0), [0, 1, 1, 2, 3]);
        assert_eq!(next(Alternating, 1, 2, 5), [1, 3, 8, 10, 15]);
        assert_eq!(next(Cycle, 4, 9, -1), [4, 9, 4, 9, 4]);
        assert_eq!(next(Cycle, 4, 9, 6), [4, 9, 6, 4, 9]);
    }

    #[test]
    fn derivations_are_true() {
        for p in problems(&Ranges::default()) {
            let Some((sum, result)) = p.worked.split_once(" = ") else {
                assert!(p.worked.ends_with(&format!("comes {}", p.answer)));
                continue;
            };
            let words: Vec<&str> = sum.split(' ').collect();
            // Left to right is right here: products stand before the one sum.
            let value = words[1..].chunks(2).fold(words[0].parse::<i64>().unwrap(), |acc, pair| {
                let x: i64 = pair[1].parse().unwrap();
                match pair[0] {
                    "+" => acc + x,
                    "-" => acc - x,
                    _ => acc * x,
                }
            });
            assert_eq!((value.to_string().as_str(), result), (p.answer.as_str(), p.answer.as_str()), "{}", p.canonical);
        }
    }
}
