//! The study's answer extractor and its evaluation scorer, kept only to re-score published rows.
//!
//! Both have known faults ("Yes." scores 0, the first "= number" of a worked solution wins); the strict scorer replaces
//! them everywhere else. Digits are ASCII here.

use super::scorer::AnswerKind;

/// The answer that the study's training reward reads from a response.
pub fn extract(response: &str) -> String {
    let text = response.trim();
    let chars: Vec<char> = text.chars().collect();
    if number_at(&chars, 0) == Some(chars.len()) {
        return text.to_string();
    }
    let lower = text.to_lowercase();
    if ["yes", "no", "true", "false"].contains(&lower.as_str()) {
        return lower;
    }
    let slice = |(from, to): (usize, usize)| chars[from..to].iter().collect::<String>();
    if let Some(span) = (0..chars.len()).find_map(|i| keyword_number(&chars, i)) {
        return slice(span);
    }
    if let Some(span) = (0..chars.len()).find_map(|i| keyword_verdict(&chars, i)) {
        return slice(span).to_lowercase();
    }
    if let Some(span) = (0..chars.len()).find_map(|i| bold_number(&chars, i)) {
        return slice(span);
    }
    if let Some(line) = text.split('\n').map(str::trim).find(|l| is_number(l)) {
        return line.to_string();
    }
    if let Some(&span) = numbers(&chars).last() {
        return slice(span);
    }
    let verdict = text.split_whitespace().rev().map(str::to_lowercase).find(|w| w == "yes" || w == "no");
    verdict.unwrap_or_else(|| text.to_string())
}

/// The study's correctness: 1 for equal strings (trimmed, case-folded), `near_miss` for numbers at most 1 apart, else 0.
pub fn correctness(extracted: &str, truth: &str, near_miss: f64) -> f64 {
    let (a, b) = (extracted.trim().to_lowercase(), truth.trim().to_lowercase());
    if a == b {
        return 1.0;
    }
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(x), Ok(y)) if (x - y).abs() <= 1.0 => near_miss,
        _ => 0.0,
    }
}

/// The study's evaluation scorer `score_first_match`: the first whole-word yes/no, or the *last* number, compared as text.
///
/// Returns what was read, if anything, and whether it equals the truth.
pub fn score_first_match(response: &str, truth: &str) -> (Option<String>, bool) {
    let truth = truth.trim().to_lowercase();
    let read = match AnswerKind::of(&truth) {
        AnswerKind::Verdict => response
            .split(|c: char| !(c.is_alphanumeric() || c == '_'))
            .map(str::to_lowercase)
            .find(|w| w == "yes" || w == "no"),
        AnswerKind::Number => {
            let chars: Vec<char> = response.chars().collect();
            numbers(&chars).last().map(|&(from, to)| chars[from..to].iter().collect())
        }
    };
    let correct = read.as_deref() == Some(truth.as_str());
    (read, correct)
}

/// End of an optional minus, digits, optional `.digits` starting at `i`.
fn number_at(chars: &[char], i: usize) -> Option<usize> {
    let digits = |from: usize| from + chars[from..].iter().take_while(|c| c.is_ascii_digit()).count();
    let start = if chars.get(i) == Some(&'-') { i + 1 } else { i };
    if !chars.get(start).is_some_and(char::is_ascii_digit) {
        return None;
    }
    let end = digits(start);
    if chars.get(end) == Some(&'.') && chars.get(end + 1).is_some_and(char::is_ascii_digit) {
        return Some(digits(end + 1));
    }
    Some(end)
}

fn is_number(text: &str) -> bool {
    let chars: Vec<char> = text.chars().collect();
    !chars.is_empty() && number_at(&chars, 0) == Some(chars.len())
}

/// All numbers, left to right, not overlapping.
fn numbers(chars: &[char]) -> Vec<(usize, usize)> {
    let (mut found, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        match number_at(chars, i) {
            Some(end) => {
                found.push((i, end));
                i = end;
            }
            None => i += 1,
        }
    }
    found
}

/// End of `word` (lower case) at `i`, ignoring case.
fn word_at(chars: &[char], i: usize, word: &str) -> Option<usize> {
    let mut at = i;
    for w in word.chars() {
        if chars.get(at)?.to_lowercase().ne(std::iter::once(w)) {
            return None;
        }
        at += 1;
    }
    Some(at)
}

fn skip_space(chars: &[char], i: usize) -> usize {
    i + chars[i.min(chars.len())..].iter().take_while(|c| c.is_whitespace()).count()
}

/// Pattern a: answer|result|therefore|so|=, optional colon, a number.
fn keyword_number(chars: &[char], i: usize) -> Option<(usize, usize)> {
    let end = ["answer", "result", "therefore", "so", "="].iter().find_map(|w| word_at(chars, i, w))?;
    let mut at = skip_space(chars, end);
    if chars.get(at) == Some(&':') {
        at = skip_space(chars, at + 1);
    }
    number_at(chars, at).map(|to| (at, to))
}

/// Pattern b: answer|result, is|colon, a truth word.
fn keyword_verdict(chars: &[char], i: usize) -> Option<(usize, usize)> {
    let end = ["answer", "result"].iter().find_map(|w| word_at(chars, i, w))?;
    let at = skip_space(chars, end);
    let end = ["is", ":"].iter().find_map(|w| word_at(chars, at, w))?;
    let at = skip_space(chars, end);
    ["yes", "no", "true", "false"].iter().find_map(|w| word_at(chars, at, w)).map(|to| (at, to))
}

/// Pattern c: a number between double asterisks.
fn bold_number(chars: &[char], i: usize) -> Option<(usize, usize)> {
    let at = word_at(chars, i, "**")?;
    let to = number_at(chars, at)?;
    word_at(chars, to, "**").map(|_| (at, to))
}

#[cfg(test)]
mod tests {
    use super::super::reward::{absolute_penalty, total};
    use super::*;

    /// response, truth, n, extracted, correctness, total reward at α 0.3 and n_max 200 (made with the study's code).
    const GOLDEN: [(&str, &str, u32, &str, f64, f64); 17] = [
        ("42", "42", 1, "42", 1.0, 0.9985),
        ("4.0", "4", 1, "4.0", 0.5, 0.49925),
        ("Yes", "yes", 1, "yes", 1.0, 0.9985),
        ("Yes.", "yes", 1, "Yes.", 0.0, 0.0),
        ("Yes, it is.", "yes", 3, "Yes, it is.", 0.0, 0.0),
        ("It is true", "yes", 3, "It is true", 0.0, 0.0),
        ("The answer is 42.", "42", 4, "42", 1.0, 0.994),
        ("(7 + 11) × 2 = 18 × 2 = 36", "36", 9, "18", 0.0, 0.0),
        ("So 16 + 16 = 32.", "32", 6, "16", 0.0, 0.0),
        ("The result is **36**", "36", 4, "36", 1.0, 0.994),
        ("the next number is 48", "49", 5, "48", 0.5, 0.49625),
        ("Also 5 apples make 10", "10", 5, "5", 0.0, 0.0),
        ("x\n12\nmore 13 text", "13", 4, "12", 0.5, 0.497),
        ("1,024", "1024", 1, "024", 0.0, 0.0),
        ("3-5", "-2", 1, "-5", 0.0, 0.0),
        ("I think the answer is: No because", "no", 7, "no", 1.0, 0.9895),
        ("", "7", 0, "", 0.0, 0.0),
    ];

    #[test]
    fn golden_vectors() {
        for (response, truth, n, extracted, correct, reward) in GOLDEN {
            assert_eq!(extract(response), extracted, "{response:?}");
            let c = correctness(extracted, truth, 0.5);
            assert_eq!(c, correct, "{response:?}");
            let r = total(c, absolute_penalty(n, 200), 0.3, true);
            assert!((r - reward).abs() < 1e-12, "{response:?}: {r}");
        }
    }

    #[test]
    fn first_match_reads_the_first_verdict_and_the_last_number() {
        assert_eq!(score_first_match("Yes, and no.", "yes"), (Some("yes".into()), true));
        assert_eq!(score_first_match("yesterday NO", "no"), (Some("no".into()), true));
        assert_eq!(score_first_match("5 + 3 = 8", "8"), (Some("8".into()), true));
        assert_eq!(score_first_match("8.0", "8"), (Some("8.0".into()), false));
        assert_eq!(score_first_match("", "8"), (None, false));
    }

    #[test]
    fn total_on_any_text() {
        let mut rng = crate::domain::mt19937::Mt19937::new(3);
        let pool: Vec<char> = "answer isso=:-*.,0159 yesno\n×é**".chars().collect();
        for _ in 0..2000 {
            let text: String = (0..rng.below(24)).filter_map(|_| rng.choice(&pool)).collect();
            extract(&text);
            score_first_match(&text, "5");
        }
    }
}
