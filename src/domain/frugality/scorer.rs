//! The strict scorer: reads an answer only where it cannot be mistaken.
//!
//! *Values* are numbers (`42`, `-3.50`, `1,024`; not `42nd` or `x2`) or the whole words yes/no. The first rule that applies
//! decides:
//!
//! 1. *Marker*: after the last `answer` that is followed by `is`, `:`, `=` or `equals` and then by a value, that value
//!    ("so the answer is 42.", "**Answer:** yes"). An expression there counts by its last `=` ("The answer is 3 + 4 = 7").
//!    A list or a choice ("4 or 5", "4, 5", "yes/no") and an unfinished expression ("3 + 4") are no answer, and no
//!    other rule is tried.
//! 2. *Equation*: the last number of the text, if `=` stands directly before it ("(7 + 11) × 2 = 18 × 2 = 36").
//! 3. *Only value*: the value, if the text holds no other ("42", "Yes, it is.", "42 apples"); not in an expression ("7 - 7").
//!
//! Anything else is unparsed, its own outcome, worth 0. Text without values or markers, set off by white space, changes
//! nothing before or after an answer: all rules look at values and their direct neighbours only. Numbers compare as numbers
//! (4.0 equals 4).

use crate::domain::reading::{CLOSING, OPENING, Value, clean, is_word, last_marker, word_is, words};

/// What kind of answer a task wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AnswerKind {
    Number,
    /// yes or no
    Verdict,
}

impl AnswerKind {
    /// The kind of a ground truth: `yes`/`no` in any case are verdicts, everything else is a number.
    pub fn of(truth: &str) -> Self {
        if ["yes", "no"].iter().any(|w| truth.trim().eq_ignore_ascii_case(w)) { Self::Verdict } else { Self::Number }
    }
}

/// The answer in normal form (`-3.5`, `1024`, `yes`), or `None` where the text holds no unmistakable one.
pub fn parse(response: &str, kind: AnswerKind) -> Option<String> {
    let chars = clean(response);
    let values = match kind {
        AnswerKind::Number => number_values(&chars),
        AnswerKind::Verdict => verdict_values(&chars),
    };
    if let Some(first) = last_marker(&chars, &values) {
        return marked_value(&chars, &values, first, kind);
    }
    let last = values.last()?;
    if kind == AnswerKind::Number && preceded_by_equals(&chars, last.from) {
        return Some(last.text.clone());
    }
    let tied = |pair: &[Value]| kind == AnswerKind::Number && link(&chars, &pair[0], &pair[1], kind) != Link::Apart;
    let only = values.iter().all(|v| v.text == last.text) && !values.windows(2).any(tied);
    only.then(|| last.text.clone())
}

/// Normal form of a ground truth, comparable with [`parse`].
pub fn normalise(truth: &str, kind: AnswerKind) -> String {
    parse(truth, kind).unwrap_or_else(|| truth.trim().to_lowercase())
}

/// R_task of a parsed answer: 1 equal, `near_miss` for numbers at most 1 apart, else 0.
pub fn task_reward(answer: &str, truth: &str, kind: AnswerKind, near_miss: f64) -> f64 {
    if answer == truth {
        return 1.0;
    }
    match (kind, answer.parse::<f64>(), truth.parse::<f64>()) {
        (AnswerKind::Number, Ok(x), Ok(y)) if (x - y).abs() <= 1.0 => near_miss,
        _ => 0.0,
    }
}

fn is_minus(c: char) -> bool {
    matches!(c, '-' | '−')
}

fn number_values(chars: &[char]) -> Vec<Value> {
    let digit = |i: usize| chars.get(i).is_some_and(char::is_ascii_digit);
    let (mut values, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        if !digit(i) {
            i += 1;
            continue;
        }
        let from = i;
        let mut text: String = String::new();
        let mut take = |i: &mut usize| {
            while digit(*i) {
                text.push(chars[*i]);
                *i += 1;
            }
        };
        take(&mut i);
        // Thousands: one to three digits, then groups of exactly three.
        if i - from <= 3 {
            while chars.get(i) == Some(&',') && (1..=3).all(|k| digit(i + k)) && !digit(i + 4) {
                i += 1;
                take(&mut i);
            }
        }
        let mut fraction = String::new();
        if chars.get(i) == Some(&'.') && digit(i + 1) {
            i += 1;
            while digit(i) {
                fraction.push(chars[i]);
                i += 1;
            }
        }
        let glued_after = chars.get(i).is_some_and(|&c| is_word(c)) || (chars.get(i) == Some(&'.') && digit(i + 1));
        let before = from.checked_sub(1).map(|k| chars[k]);
        let glued_before = before.is_some_and(|c| is_word(c) || c == '.');
        if glued_after || glued_before {
            while chars.get(i).is_some_and(|&c| is_word(c) || c == '.') {
                i += 1;
            }
            continue;
        }
        // A minus is a sign when it is glued to the digits and to nothing before it.
        let signed = before.is_some_and(is_minus)
            && from.checked_sub(2).is_none_or(|k| !(is_word(chars[k]) || matches!(chars[k], ')' | '-' | '−')));
        values.push(Value { text: normal_number(signed, &text, &fraction), from: from - usize::from(signed), to: i });
    }
    values
}

fn normal_number(negative: bool, digits: &str, fraction: &str) -> String {
    let whole = digits.trim_start_matches('0');
    let fraction = fraction.trim_end_matches('0');
    let mut text = if whole.is_empty() { "0".to_string() } else { whole.to_string() };
    if !fraction.is_empty() {
        text = format!("{text}.{fraction}");
    }
    if negative && text != "0" { format!("-{text}") } else { text }
}

fn verdict_values(chars: &[char]) -> Vec<Value> {
    let value = |span: (usize, usize)| {
        ["yes", "no"].iter().find(|w| word_is(chars, span, w)).map(|w| Value {
            text: (*w).to_string(),
            from: span.0,
            to: span.1,
        })
    };
    words(chars).into_iter().filter_map(value).collect()
}

/// How a value is tied to the next one.
#[derive(PartialEq)]
enum Link {
    /// Other text stands between them.
    Apart,
    Equals,
    Operator,
    /// A list or a choice.
    List,
}

fn link(chars: &[char], value: &Value, next: &Value, kind: AnswerKind) -> Link {
    let between: String = chars.get(value.to..next.from).unwrap_or_default().iter().collect();
    let brackets = |c: char| c.is_whitespace() || OPENING.contains(&c) || CLOSING.contains(&c);
    let number = kind == AnswerKind::Number;
    match between.trim_matches(brackets).to_lowercase().as_str() {
        "=" if number => Link::Equals,
        "+" | "-" | "−" | "*" | "×" | "/" | "÷" | "^" | "·" if number => Link::Operator,
        // "3 -5" leaves nothing between the values but the sign of the second.
        "" if number && next.text.starts_with('-') => Link::Operator,
        "or" | "and" | "/" | "," | ", or" | ", and" | "and/or" | "to" | "|" => Link::List,
        _ => Link::Apart,
    }
}

/// The answer that the marked value `first` begins: itself, or the end of its equation; `None` for lists and open expressions.
fn marked_value(chars: &[char], values: &[Value], first: usize, kind: AnswerKind) -> Option<String> {
    let (mut at, mut open) = (first, false);
    while let (Some(value), Some(next)) = (values.get(at), values.get(at + 1)) {
        match link(chars, value, next, kind) {
            Link::Apart => break,
            Link::List => return None,
            Link::Equals => open = false,
            Link::Operator => open = true,
        }
        at += 1;
    }
    values.get(at).filter(|_| !open).map(|v| v.text.clone())
}

fn preceded_by_equals(chars: &[char], from: usize) -> bool {
    chars[..from].iter().rev().find(|c| !c.is_whitespace()) == Some(&'=')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::mt19937::Mt19937;

    #[test]
    fn numbers_are_read_where_they_cannot_be_mistaken() {
        let cases = [
            ("42", Some("42")),
            ("42.", Some("42")),
            (" **42** ", Some("42")),
            ("$42$", Some("42")),
            ("It is 42 apples.", Some("42")),
            ("Answer: 42", Some("42")),
            ("**Answer:** 42", Some("42")),
            ("5 + 3 = 8, so the answer is 8.", Some("8")),
            ("Answer: 12. Wait. Answer: 13", Some("13")),
            ("The answer is 8 because 5 + 3 = 8 and 4 < 9", Some("8")),
            ("The answer is 3 + 4 = 7.", Some("7")),
            ("The answer is: \"7\"", Some("7")),
            ("(7 + 11) × 2 = 18 × 2 = 36", Some("36")),
            ("So 16 + 16 = 32.", Some("32")),
            ("1,024", Some("1024")),
            ("-7", Some("-7")),
            ("answer = −7", Some("-7")),
            ("4.0", Some("4")),
            ("007", Some("7")),
            ("-0", Some("0")),
            ("The answer is 4 or 5", None),
            ("Answer: 4, 5", None),
            ("The answer is 6 × 7", None),
            ("The answer is 3 -5", None),
            ("The answer is not 42, 43", None),
            ("Calculate: 3 + 4", None),
            ("Calculate: 7 - 7", None),
            ("It is 7, I am sure that it is 7.", Some("7")),
            ("36 = 18 × 2", None),
            ("3-5", None),
            ("42nd x2 1e5", None),
            ("1.2.3", None),
            ("", None),
            ("yes", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text, AnswerKind::Number).as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn verdicts_are_read_where_they_cannot_be_mistaken() {
        let cases = [
            ("Yes", Some("yes")),
            ("Yes.", Some("yes")),
            ("Yes, it is.", Some("yes")),
            ("'no'", Some("no")),
            ("No wugs are toves, so the answer is no.", Some("no")),
            ("No wugs are toves, so the answer is yes.", Some("yes")),
            ("Answer: NO", Some("no")),
            ("Answer yes or no.", None),
            ("Answer: yes or no", None),
            ("Answer: yes/no", None),
            ("Answer: <yes or no>", None),
            ("Yes and no", None),
            ("no-one yesterday know", None),
            ("42", None),
        ];
        for (text, want) in cases {
            assert_eq!(parse(text, AnswerKind::Verdict).as_deref(), want, "{text:?}");
        }
    }

    #[test]
    fn near_miss_is_numeric_and_optional() {
        assert_eq!(task_reward("48", "49", AnswerKind::Number, 0.5), 0.5);
        assert_eq!(task_reward("48", "49", AnswerKind::Number, 0.0), 0.0);
        assert_eq!(task_reward("47", "49", AnswerKind::Number, 0.5), 0.0);
        assert_eq!(task_reward("no", "yes", AnswerKind::Verdict, 0.5), 0.0);
        assert_eq!(task_reward("4", &normalise("4.0", AnswerKind::Number), AnswerKind::Number, 0.5), 1.0);
    }

    /// Text without values or markers, as sentences or loose words.
    fn neutral(rng: &mut Mt19937) -> String {
        let words = [
            "Sure!",
            "Let",
            "me",
            "think",
            "about",
            "it.",
            "(hm)",
            "-",
            "so",
            "I",
            "hope",
            "that",
            "helps:",
            "**note**",
            "is",
            "therefore,",
            "the",
            "result",
            "or",
            "…",
            "é",
            "+",
            "×",
            "answers",
            "and",
            "“quoted”",
            "x.",
            "not",
        ];
        (0..rng.below(9)).filter_map(|_| rng.choice(&words)).copied().collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn neutral_text_around_a_response_changes_nothing() {
        let mut rng = Mt19937::new(11);
        let bases = [
            "42",
            "-42.",
            "yes",
            "No.",
            "Answer: 42",
            "12 + 5 = 17, so the answer is 17.",
            "7 + 11 = 18",
            "The answer is 4 or 5",
            "Answer: yes",
            "3 + 4",
            "",
            "Answer yes or no.",
            "no wugs are toves, so the answer is yes",
        ];
        let alphabet: Vec<char> = "answer is:=yesno -−.,()/*+0159\"'\n×".chars().collect();
        for round in 0..4000usize {
            let base = if round % 2 == 0 {
                bases[round / 2 % bases.len()].to_string()
            } else {
                // Any text at all, not only well-formed answers.
                let mut text = String::new();
                for _ in 0..rng.below(5) {
                    text.push_str(
                        rng.choice(&["answer is ", "Answer: ", " = ", "12", " or ", "yes", "no", "-3 "]).unwrap(),
                    );
                    text.extend((0..rng.below(4)).filter_map(|_| rng.choice(&alphabet)));
                }
                text
            };
            let gap = rng.choice(&[" ", "\n", "\n\n", "\t"]).unwrap();
            let wrapped = format!("{}{gap}{base}{gap}{}", neutral(&mut rng), neutral(&mut rng));
            for kind in [AnswerKind::Number, AnswerKind::Verdict] {
                assert_eq!(parse(&wrapped, kind), parse(&base, kind), "{base:?} in {wrapped:?}");
            }
        }
    }
}
