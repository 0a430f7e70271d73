//! Reasoning and answer of a completion.

/// What reasoning models write around their deliberation.
pub const OPEN: &str = "<think>";
pub const CLOSE: &str = "</think>";

/// A completion in its parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parts {
    /// `None` where no think block was opened.
    pub reasoning: Option<String>,
    /// White space at both ends is gone.
    pub answer: String,
    /// False where a think block never closed: what is there is deliberation, not an answer.
    pub answered: bool,
}

/// Whether a prompt ends inside a think block that the chat template opened.
pub fn opened_by(prompt: &str) -> bool {
    prompt.trim_end().ends_with(OPEN)
}

/// Cuts `text` (no prompt in it) after the first closing tag. `opened` says that the prompt opened the block.
pub fn split(text: &str, opened: bool) -> Parts {
    let inside = text.trim_start().strip_prefix(OPEN);
    match (text.split_once(CLOSE), inside.is_some() || opened) {
        (Some((before, after)), _) => {
            let before = before.trim_start();
            let reasoning = before.strip_prefix(OPEN).unwrap_or(before).trim().to_string();
            Parts { reasoning: Some(reasoning), answer: after.trim().into(), answered: true }
        }
        (None, true) => {
            let reasoning = Some(inside.unwrap_or(text).trim().to_string());
            Parts { reasoning, answer: String::new(), answered: false }
        }
        (None, false) => Parts { reasoning: None, answer: text.trim().into(), answered: true },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_begins_after_the_closing_tag_and_nowhere_else() {
        let parts = |reasoning: Option<&str>, answer: &str, answered| Parts {
            reasoning: reasoning.map(String::from),
            answer: answer.into(),
            answered,
        };
        assert_eq!(split("<think>\na\n</think>\n\nb </think> c", false), parts(Some("a"), "b </think> c", true));
        assert_eq!(split("a</think>b", true), parts(Some("a"), "b", true));
        // Some templates leave the opening tag out of the prompt and the model does not write it.
        assert_eq!(split("a</think>b", false), parts(Some("a"), "b", true));
        assert_eq!(split("I'm sorry", true), parts(Some("I'm sorry"), "", false));
        assert_eq!(split("<think> a", false), parts(Some("a"), "", false));
        assert_eq!(split(" a ", false), parts(None, "a", true));
        assert!(opened_by("...assistant\n<think>\n") && !opened_by("<think></think>"));
    }
}
