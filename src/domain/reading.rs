//! What the scorers of several domains share: words of a response, and the value that follows "answer".

/// A value in the text: its normalised form and where it stands.
pub struct Value {
    pub text: String,
    pub from: usize,
    pub to: usize,
}

/// Characters with emphasis (`**`, `__`, backticks, dollar signs) as spaces.
pub fn clean(text: &str) -> Vec<char> {
    let mut chars: Vec<char> = text.chars().collect();
    for i in 0..chars.len() {
        let pair = matches!(chars[i], '*' | '_') && chars.get(i + 1) == Some(&chars[i]);
        if pair {
            chars[i] = ' ';
            chars[i + 1] = ' ';
        } else if matches!(chars[i], '`' | '$') {
            chars[i] = ' ';
        }
    }
    chars
}

pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '\''
}

/// Whole words, with their positions; a hyphen between letters belongs to the word ("no-one" is not "no").
pub fn words(chars: &[char]) -> Vec<(usize, usize)> {
    let (mut found, mut i) = (Vec::new(), 0);
    while i < chars.len() {
        if !is_word(chars[i]) {
            i += 1;
            continue;
        }
        let from = i;
        while i < chars.len()
            && (is_word(chars[i]) || (chars[i] == '-' && chars.get(i + 1).is_some_and(|&c| is_word(c))))
        {
            i += 1;
        }
        // Quotation marks around a word are not part of it.
        let (mut a, mut b) = (from, i);
        while a < b && chars[a] == '\'' {
            a += 1;
        }
        while a < b && chars[b - 1] == '\'' {
            b -= 1;
        }
        found.push((a, b));
    }
    found
}

pub fn word_is(chars: &[char], span: (usize, usize), word: &str) -> bool {
    span.1 - span.0 == word.len()
        && chars[span.0..span.1].iter().zip(word.chars()).all(|(a, b)| a.eq_ignore_ascii_case(&b))
}

/// The first index at or after `i` that is neither white space nor one of `also`.
pub fn skip(chars: &[char], i: usize, also: &[char]) -> usize {
    let rest = chars.get(i..).unwrap_or_default();
    i + rest.iter().take_while(|c| c.is_whitespace() || also.contains(c)).count()
}

pub const OPENING: [char; 6] = ['"', '\'', '(', '[', '{', '“'];
pub const CLOSING: [char; 6] = ['"', '\'', ')', ']', '}', '”'];

/// Index of the value after the last marker that has one.
pub fn last_marker(chars: &[char], values: &[Value]) -> Option<usize> {
    let words = words(chars);
    words.iter().enumerate().rev().filter(|(_, span)| word_is(chars, **span, "answer")).find_map(|(w, span)| {
        let (mut at, mut connected, mut next) = (span.1, false, w + 1);
        loop {
            at = skip(chars, at, &OPENING);
            if matches!(chars.get(at), Some(':' | '=')) {
                at += 1;
            } else if let Some(&word) =
                words.get(next).filter(|s| s.0 == at && (word_is(chars, **s, "is") || word_is(chars, **s, "equals")))
            {
                at = word.1;
                next += 1;
            } else {
                break;
            }
            connected = true;
        }
        values.iter().position(|v| connected && v.from == at)
    })
}
