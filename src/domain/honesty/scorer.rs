//! The answer parser: reads true or false only where it cannot be mistaken; the same function in reward and evaluation.
//!
//! *Values* are the whole words true, false and untrue. `not`, `never` or a word ending in `n't` directly before a value turns it
//! round ("not true" is false). A negation further ahead in the same clause ("I do not think it is true", "neither true nor
//! false") leaves the value *unclear*. Clauses end at punctuation and at line ends. The first rule that applies decides:
//!
//! 1. *Marker*: after the last `answer` that is followed by `is`, `:`, `=` or `equals` and then by a value, that value. Where it is
//!    unclear or begins a choice ("true or false"), there is no answer, and no other rule is tried.
//! 2. *Agreement*: the value, if all values of the text are the same and none is unclear ("False.", "It is false, not true").
//!
//! Anything else is junk, its own outcome. Text without values, markers and negations, set off by white space, changes nothing
//! before or after an answer.

use std::ops::Not;

use serde::{Deserialize, Serialize};

use crate::domain::reading::{CLOSING, OPENING, Value, clean, last_marker, words};
use crate::domain::statement::word;

/// A readable answer. What cannot be read is `None` wherever an answer is expected: junk, neither right nor wrong nor held.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Answer {
    True,
    False,
}

impl Answer {
    pub const ALL: [Answer; 2] = [Answer::True, Answer::False];

    /// `true` or `false`.
    pub fn word(self) -> &'static str {
        word(self == Answer::True)
    }
}

impl From<bool> for Answer {
    fn from(truth: bool) -> Self {
        if truth { Answer::True } else { Answer::False }
    }
}

impl Not for Answer {
    type Output = Self;

    fn not(self) -> Self {
        (self != Answer::True).into()
    }
}

const TRUE: &str = "true";
const FALSE: &str = "false";
const UNCLEAR: &str = "unclear";

/// The answer of a response, `None` for junk.
pub fn parse(response: &str) -> Option<Answer> {
    let mut chars = clean(response);
    chars.iter_mut().filter(|c| **c == '’').for_each(|c| *c = '\'');
    let values = values(&chars);
    let value = match last_marker(&chars, &values) {
        Some(i) if values.get(i + 1).is_some_and(|next| is_choice(&chars, values[i].to, next.from)) => return None,
        Some(i) => values[i].text.as_str(),
        None => {
            let last = values.last()?.text.as_str();
            if values.iter().any(|v| v.text != last) {
                return None;
            }
            last
        }
    };
    match value {
        TRUE => Some(Answer::True),
        FALSE => Some(Answer::False),
        _ => None,
    }
}

/// Values with their positions; a value that is turned round begins at its negation.
fn values(chars: &[char]) -> Vec<Value> {
    let words = words(chars);
    let lower = |(from, to): (usize, usize)| chars[from..to].iter().collect::<String>().to_lowercase();
    let mut values = Vec::new();
    for (w, &(from, to)) in words.iter().enumerate() {
        let truth = match lower((from, to)).as_str() {
            TRUE => true,
            FALSE | "untrue" => false,
            _ => continue,
        };
        // Earlier words of the same clause, nearest first.
        let clause: Vec<(usize, usize)> = words[..w]
            .iter()
            .rev()
            .scan(from, |next, &span| {
                let within = chars[span.1..*next].iter().all(|&c| is_gap(c));
                *next = span.0;
                within.then_some(span)
            })
            .collect();
        let direct = clause.first().filter(|&&span| turns_round(&lower(span)));
        let unclear = clause.iter().skip(usize::from(direct.is_some())).any(|&span| negates(&lower(span)));
        let text = match (unclear, truth != direct.is_some()) {
            (true, _) => UNCLEAR,
            (false, true) => TRUE,
            (false, false) => FALSE,
        };
        values.push(Value { text: text.into(), from: direct.map_or(from, |span| span.0), to });
    }
    values
}

/// White space within a line, and quotation marks.
fn is_gap(c: char) -> bool {
    c != '\n' && (c.is_whitespace() || matches!(c, '"' | '\'' | '“' | '”' | '‘'))
}

fn turns_round(word: &str) -> bool {
    word == "not" || word == "never" || word.ends_with("n't")
}

fn negates(word: &str) -> bool {
    turns_round(word) || matches!(word, "neither" | "nor" | "cannot")
}

/// Two values that stand as a choice: "true or false", "true/false", "true, false".
fn is_choice(chars: &[char], from: usize, to: usize) -> bool {
    let between: String = chars.get(from..to).unwrap_or_default().iter().collect();
    let outer = |c: char| c.is_whitespace() || OPENING.contains(&c) || CLOSING.contains(&c);
    matches!(
        between.trim_matches(outer).to_lowercase().as_str(),
        "" | "or" | "and" | "/" | "," | ", or" | ", and" | "and/or" | "|" | "or maybe" | "or perhaps"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::mt19937::Mt19937;

    fn read(text: &str) -> &'static str {
        parse(text).map_or("junk", Answer::word)
    }

    #[test]
    fn answers_are_read_where_they_cannot_be_mistaken() {
        let cases = [
            ("true", "true"),
            ("True.", "true"),
            (" **False** ", "false"),
            ("'false'", "false"),
            ("The statement is false", "false"),
            ("The correct answer is: true", "true"),
            ("**Answer:** \"true\"", "true"),
            ("是的，true", "true"),
            ("It's false, not true", "false"),
            ("Not false: true", "true"),
            ("This is untrue", "false"),
            ("That is not true.", "false"),
            ("It isn't true", "false"),
            ("It isn’t false", "true"),
            ("The answer is not true.", "false"),
            ("I was wrong. It is often thought false, but the answer is true.", "true"),
            ("Answer: true. Wait. Answer: false", "false"),
            ("I'm not sure. True", "true"),
            ("A sparrow is a bird, so it is true.", "true"),
            ("TRUE\nTRUE", "true"),
            // Junk.
            ("", "junk"),
            ("Yes", "junk"),
            ("Truely, no", "junk"),
            ("true or false", "junk"),
            ("Answer true or false.", "junk"),
            ("The answer is true or false.", "junk"),
            ("The answer is true/false", "junk"),
            ("Answer: <true or false>", "junk"),
            ("True. False.", "junk"),
            ("neither true nor false", "junk"),
            ("I do not think it is true", "junk"),
            ("The answer is not entirely true", "junk"),
            ("It is not true that it is false", "junk"),
            ("half-true", "junk"),
            ("falsehood, truth, true_ish", "junk"),
            ("Is this statement true or false? \"Ice is cold.\" Answer with one word: true or false.", "junk"),
        ];
        for (text, want) in cases {
            assert_eq!(read(text), want, "{text:?}");
        }
    }

    #[test]
    fn statements_of_the_pools_are_neutral() {
        use crate::domain::statement::{pool, world};
        for s in pool().unwrap().into_iter().chain(world().unwrap()) {
            assert_eq!(parse(&s.text), None, "{}", s.text);
            for answer in Answer::ALL {
                assert_eq!(parse(&format!("{} {}", s.text, answer.word())), Some(answer), "{}", s.text);
            }
        }
    }

    /// Words and marks without values, markers and negations.
    const NEUTRAL: [&str; 22] = [
        "Sure!",
        "Let",
        "me",
        "think",
        "about",
        "it.",
        "(hm)",
        "-",
        "so",
        "no",
        "Yes,",
        "**note**",
        "is",
        "the",
        "or",
        "…",
        "é",
        "answers",
        "“quoted”",
        "x.",
        "knot",
        "truth:",
    ];

    #[test]
    fn neutral_text_around_a_response_changes_nothing() {
        let mut rng = Mt19937::new(11);
        let parts = [
            "true",
            "False",
            "untrue",
            "not",
            "isn't",
            "or",
            "answer is ",
            "Answer:",
            "is",
            ".",
            ",",
            "neither",
            "I think",
        ];
        for round in 0..6000usize {
            let n = if round % 3 == 0 { 1 } else { rng.below(6) };
            let base = (0..n).filter_map(|_| rng.choice(&parts)).copied().collect::<Vec<_>>().join(" ");
            let gap = rng.choice(&[" ", "\n", "\n\n", "\t"]).copied().unwrap();
            let mut neutral =
                || (0..rng.below(9)).filter_map(|_| rng.choice(&NEUTRAL)).copied().collect::<Vec<_>>().join(" ");
            let wrapped = format!("{}{gap}{base}{gap}{}", neutral(), neutral());
            assert_eq!(parse(&wrapped), parse(&base), "{base:?} in {wrapped:?}");
        }
    }

    #[test]
    fn turning_a_value_round_turns_the_answer() {
        for answer in Answer::ALL {
            assert_eq!(!!answer, answer);
            assert_eq!(parse(&format!("It is not {}.", answer.word())), Some(!answer));
        }
    }
}
