//! Strict logic: five templates, each with a version that is answered yes and one that is answered no.
//!
//! Nouns are invented so that no premise can clash with what a model knows, and no template fixes the answer.

use super::config::{Family, Ranges};
use super::strict::Problem;

/// Invented plural nouns.
const NOUNS: [&str; 16] = [
    "wugs", "toves", "blickets", "daxes", "feps", "gorps", "zibs", "moops", "tamas", "lorks", "pims", "rabs", "snabs",
    "vims", "borns", "kets",
];

const NAMES: [&str; 12] = ["Ann", "Bob", "Cal", "Dan", "Eve", "Fay", "Gus", "Ida", "Jon", "Kim", "Leo", "Mia"];

/// Third person and base form.
const ACTS: [[&str; 2]; 4] = [["sings", "sing"], ["dances", "dance"], ["cooks", "cook"], ["swims", "swim"]];

const THINGS: [&str; 6] = ["key", "ball", "book", "map", "cup", "hat"];

const ORDERS: [&str; 4] = ["taller", "older", "faster", "stronger"];

/// All logic problems within the configured numbers of nouns and names.
pub fn problems(ranges: &Ranges) -> Vec<Problem> {
    let nouns = &NOUNS[..ranges.logic_nouns.min(NOUNS.len())];
    let names = &NAMES[..ranges.logic_names.min(NAMES.len())];
    let mut found = Vec::new();
    let mut add = |template: u32, yes: bool, text: String, worked: String| {
        found.push(Problem {
            family: Family::Logic,
            stratum: 2 * template + u32::from(yes),
            canonical: text.clone(),
            question: text,
            answer: if yes { "yes" } else { "no" }.to_string(),
            worked,
        });
    };
    for [a, b, c] in triples(nouns) {
        let ask = format!("Are all {a} also {c}?");
        add(
            0,
            true,
            format!("All {a} are {b}. All {b} are {c}. {ask}"),
            format!("all {a} are {b} and all {b} are {c}"),
        );
        add(
            0,
            false,
            format!("All {a} are {b}. No {b} are {c}. {ask}"),
            format!("all {a} are {b} but none of the {b} are {c}"),
        );
    }
    for [a, b] in pairs(nouns) {
        for n in names {
            let ask = format!("{n} is one of the {a}. Is {n} one of the {b}?");
            add(1, true, format!("All {a} are {b}. {ask}"), format!("{n} is one of the {a} and all {a} are {b}"));
            add(
                1,
                false,
                format!("No {a} are {b}. {ask}"),
                format!("{n} is one of the {a} and none of the {a} are {b}"),
            );
        }
    }
    for [n, m] in pairs(names) {
        for [[p, p0], [q, q0]] in ACTS.iter().flat_map(|x| ACTS.iter().filter(move |y| *y != x).map(move |y| [*x, *y]))
        {
            let rule = format!("If {n} {p}, {m} {q}.");
            add(2, true, format!("{rule} {n} {p}. Does {m} {q0}?"), format!("{n} {p} and then {m} {q}"));
            add(
                2,
                false,
                format!("{rule} {m} does not {q0}. Does {n} {p0}?"),
                format!("if {n} did {p0}, {m} would {q0} but {m} does not"),
            );
        }
        for thing in THINGS {
            add(
                3,
                true,
                format!("Either {n} or {m} has the {thing}. {n} does not have the {thing}. Does {m} have the {thing}?"),
                format!("one of them has the {thing} and {n} does not"),
            );
            add(
                3,
                false,
                format!("Only one of {n} and {m} has the {thing}. {n} has the {thing}. Does {m} have the {thing}?"),
                format!("only one of them has the {thing} and {n} does"),
            );
        }
    }
    for [n, m, k] in triples(names) {
        for order in ORDERS {
            let facts = format!("{n} is {order} than {m}. {m} is {order} than {k}.");
            let worked = format!("{n} comes before {m} and {m} comes before {k}");
            add(4, true, format!("{facts} Is {n} {order} than {k}?"), worked.clone());
            add(4, false, format!("{facts} Is {k} {order} than {n}?"), worked);
        }
    }
    found
}

fn pairs<'a>(words: &'a [&'a str]) -> impl Iterator<Item = [&'a str; 2]> {
    words.iter().flat_map(move |a| words.iter().filter(move |b| *b != a).map(move |b| [*a, *b]))
}

fn triples<'a>(words: &'a [&'a str]) -> impl Iterator<Item = [&'a str; 3]> {
    pairs(words).flat_map(move |[a, b]| words.iter().filter(move |c| **c != a && **c != b).map(move |c| [a, b, *c]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_is_balanced() {
        let problems = problems(&Ranges::default());
        for template in 0..5 {
            let count = |stratum: u32| problems.iter().filter(|p| p.stratum == stratum).count();
            assert!(count(2 * template) >= 100, "template {template}");
            assert_eq!(count(2 * template), count(2 * template + 1), "template {template}");
        }
        assert!(problems.iter().all(|p| (p.answer == "yes") == (p.stratum % 2 == 1)));
    }

    #[test]
    fn derivations_do_not_hold_a_verdict_word() {
        for p in problems(&Ranges::default()) {
            assert!(p.worked.split_whitespace().all(|w| w != "yes" && w != "no" && w != "No"), "{}", p.worked);
        }
    }
}
