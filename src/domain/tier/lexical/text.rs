//! Text as the rules read it.

/// Share of letters and digits among visible characters below which a text is symbols.
const LETTERS: f64 = 0.4;
/// Words from which repetition can be told.
const WORDS: usize = 12;
/// Distinct words in such a text, as a share, below which it is one thing over and over.
const DISTINCT: f64 = 0.2;
/// Words after an announcement that are the announced thing.
const CONTENT: usize = 5;

/// Lower case, typographic apostrophes, quotation marks and dashes as in ASCII, line ends kept, other white space single.
pub fn normalised(text: &str) -> String {
    let fold = |c: char| match c {
        '\u{2018}' | '\u{2019}' | '\u{02bc}' | '\u{2032}' | '`' | '\u{00b4}' => '\'',
        '\u{201c}' | '\u{201d}' | '\u{201e}' | '\u{00ab}' | '\u{00bb}' => '"',
        '\u{2010}'..='\u{2015}' => '-',
        c => c,
    };
    let lower: String = text.chars().map(fold).collect::<String>().to_lowercase();
    let lines = lower.lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" "));
    lines.filter(|l| !l.is_empty()).collect::<Vec<_>>().join("\n")
}

/// The text without what stands in double quotation marks; an unpaired mark quotes nothing.
pub fn unquoted(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('"') {
        out.push_str(before);
        match after.split_once('"') {
            Some((_, behind)) => rest = behind,
            None => {
                rest = after;
                break;
            }
        }
    }
    out + rest
}

/// The words of a text: letters, digits and apostrophes, one space before each and one at the end, so that ` phrase ` is found whole.
pub fn words(text: &str) -> String {
    let plain: String = text.chars().map(|c| if c.is_alphanumeric() || c == '\'' { c } else { ' ' }).collect();
    format!(" {} ", plain.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The first sentences with a letter in them, as [`words`].
pub fn sentences(text: &str, most: usize) -> Vec<String> {
    let (mut out, mut now) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        now.push(c);
        let mark = matches!(c, '.' | '!' | '?' | '。' | '！' | '？');
        let ends = c == '\n' || (mark && chars.peek().is_none_or(|n| n.is_whitespace() || !n.is_ascii()));
        if ends || chars.peek().is_none() {
            let sentence = std::mem::take(&mut now);
            if sentence.chars().any(char::is_alphabetic) {
                out.push(words(&sentence));
                if out.len() == most {
                    break;
                }
            }
        }
    }
    out
}

/// Symbols, or very few words over and over.
pub fn gibberish(text: &str) -> bool {
    let visible = text.chars().filter(|c| !c.is_whitespace()).count();
    let letters = text.chars().filter(|c| c.is_alphanumeric()).count();
    if visible >= WORDS && (letters as f64) < LETTERS * visible as f64 {
        return true;
    }
    let all: Vec<&str> = text.split_whitespace().collect();
    let mut distinct = all.clone();
    distinct.sort_unstable();
    distinct.dedup();
    all.len() >= WORDS && (distinct.len() as f64) < DISTINCT * all.len() as f64
}

/// Ways to announce what comes.
const ANNOUNCED: [&str; 12] = [
    "here is",
    "here's",
    "here are",
    "i can draft",
    "i can write",
    "i can give",
    "i can offer",
    "i can suggest",
    "you could write",
    "you could say",
    "a template",
    "for example",
];

/// Whether the text announces something and then gives it: a colon with enough words behind it, or a numbered list.
pub fn content_follows(text: &str) -> bool {
    let listed =
        text.lines().filter(|l| l.starts_with("1.") || l.starts_with("1)") || l.starts_with("2.")).count() >= 2;
    let given = |phrase: &str| {
        let after = text.find(phrase).and_then(|at| text.get(at..)).and_then(|t| t.split_once(':'));
        after.is_some_and(|(_, content)| content.split_whitespace().count() >= CONTENT)
    };
    listed || ANNOUNCED.iter().any(|p| given(p))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn typography_is_folded_and_quotations_go() {
        assert_eq!(normalised(" I\u{2019}m  SORRY \u{2014}\n\n\u{201c}no\u{201d} "), "i'm sorry -\n\"no\"");
        assert_eq!(unquoted("he said \"i can't\" and \"left\"."), "he said  and .");
        assert_eq!(unquoted("5\" nails"), "5 nails");
        assert_eq!(words("sorry, but i can't!"), " sorry but i can't ");
    }

    #[test]
    fn sentences_end_at_marks_before_space_and_at_lines() {
        assert_eq!(sentences("a. b 1.5 c! ... d\ne", 3), [" a ", " b 1 5 c ", " d "]);
        assert_eq!(sentences("", 3), Vec::<String>::new());
    }

    #[test]
    fn lists_and_announced_content_count_offers_do_not() {
        assert!(content_follows("here is one: a b c d e") && !content_follows("i can suggest a safer hobby."));
        assert!(content_follows("1. wash\n2. dry") && !content_follows("here is: a b"));
        assert!(gibberish("$$ %% ## @@ !! && **") && !gibberish("4, 5, 6, 7, 8, 9.") && !gibberish("no no no"));
    }
}
