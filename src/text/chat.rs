//! Chat templates: Jinja2 as transformers sets it up, rendered by minijinja.

use std::time::{SystemTime, UNIX_EPOCH};

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Value};
use serde_json::Value as Json;

use super::strftime::strftime;
use super::{Message, TextError, utf8};

/// A compiled chat template with the special tokens that it may name.
#[derive(Debug)]
pub struct ChatTemplate {
    env: Environment<'static>,
    source: String,
    specials: Vec<(String, String)>,
}

const NAME: &str = "chat";

impl ChatTemplate {
    /// Compile `source`. `specials` are variables such as `("bos_token", "<s>")`.
    pub fn new(source: &str, specials: Vec<(String, String)>) -> Result<Self, TextError> {
        let syntax = SyntaxConfig::builder().trim_blocks(true).lstrip_blocks(true).build().map_err(template_error)?;
        let mut env = Environment::new();
        env.set_syntax(syntax);
        env.set_unknown_method_callback(minijinja_contrib::pycompat::unknown_method_callback);
        env.add_function("raise_exception", |message: String| -> Result<Value, Error> {
            Err(Error::new(ErrorKind::InvalidOperation, message))
        });
        env.add_function("strftime_now", |format: String| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
            strftime(&format, i64::try_from(now).unwrap_or(i64::MAX))
                .map_err(|e| Error::new(ErrorKind::InvalidOperation, e))
        });
        env.add_filter("tojson", |value: &Value, indent: Option<Value>, args: Kwargs| {
            let escaped = minijinja::filters::tojson(value, indent, args)?;
            Ok::<_, Error>(escaped.as_str().map(unescape_html).map_or(escaped.clone(), Value::from))
        });
        env.add_template_owned(NAME, rewrite_generation_tags(source)).map_err(template_error)?;
        Ok(Self { env, source: source.to_string(), specials })
    }

    /// Read a template as transformers does: `chat_template.jinja` first, then the key `chat_template` of
    /// `tokenizer_config.json` (one string, or a list of `{name, template}` of which `name`, or "default", is taken).
    pub fn from_files(
        jinja: Option<&[u8]>,
        config: &serde_json::Map<String, Json>,
        name: Option<&str>,
    ) -> Result<Option<Self>, TextError> {
        let specials = special_tokens(config)?;
        if let Some(bytes) = jinja {
            return Self::new(utf8("chat_template.jinja", bytes)?, specials).map(Some);
        }
        let malformed = |detail: &str| TextError::Malformed {
            file: "tokenizer_config.json".into(),
            detail: format!("chat_template {detail}"),
        };
        let source = match config.get("chat_template") {
            None | Some(Json::Null) => return Ok(None),
            Some(Json::String(source)) => source.clone(),
            Some(Json::Array(list)) => {
                let mut named = Vec::new();
                for entry in list {
                    match (entry.get("name").and_then(Json::as_str), entry.get("template").and_then(Json::as_str)) {
                        (Some(name), Some(template)) => named.push((name, template)),
                        _ => return Err(malformed("has an entry without a name or a template")),
                    }
                }
                match named.iter().find(|(n, _)| *n == name.unwrap_or("default")) {
                    Some((_, template)) => (*template).to_string(),
                    None => {
                        let names = named.iter().map(|(n, _)| (*n).to_string()).collect();
                        return Err(TextError::NoDefaultTemplate { names });
                    }
                }
            }
            Some(_) => return Err(malformed("is neither a string nor a list")),
        };
        Self::new(&source, specials).map(Some)
    }

    /// The template as its file has it.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The prompt text of a conversation. With `add_generation_prompt` it ends where the assistant's turn begins.
    ///
    /// Mind that many templates insert a default system line when the first message is not a system message: no system
    /// message and an empty one are different prompts.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TextError> {
        let messages: Vec<Value> = messages
            .iter()
            .map(|m| {
                Value::from_pairs([
                    ("role", Value::from(m.role.as_str())),
                    ("content", Value::from(m.content.as_str())),
                ])
            })
            .collect();
        let mut variables = vec![
            ("messages".to_string(), Value::from(messages)),
            ("add_generation_prompt".to_string(), Value::from(add_generation_prompt)),
            ("tools".to_string(), Value::from(())),
            ("documents".to_string(), Value::from(())),
        ];
        variables.extend(self.specials.iter().map(|(k, v)| (k.clone(), Value::from(v.as_str()))));
        let template = self.env.get_template(NAME).map_err(template_error)?;
        template.render(Value::from_pairs(variables)).map_err(template_error)
    }
}

fn template_error(e: Error) -> TextError {
    let line = e.line().map_or(String::new(), |l| format!(" (line {l})"));
    TextError::Template { detail: format!("{e}{line}") }
}

/// `bos_token` and its like: a string or an object with `content`.
fn special_tokens(config: &serde_json::Map<String, Json>) -> Result<Vec<(String, String)>, TextError> {
    let mut found = Vec::new();
    for key in ["bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token"] {
        match config.get(key) {
            None | Some(Json::Null) => {}
            Some(Json::String(text)) => found.push((key.to_string(), text.clone())),
            Some(value) => match value.get("content").and_then(Json::as_str) {
                Some(text) => found.push((key.to_string(), text.to_string())),
                None => {
                    let detail = format!("{key} is neither a string nor an object with \"content\"");
                    return Err(TextError::Malformed { file: "tokenizer_config.json".into(), detail });
                }
            },
        }
    }
    Ok(found)
}

/// Undo the HTML escapes of minijinja's `tojson`, which transformers' filter does not make.
fn unescape_html(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        let escapes = [("\\u003c", '<'), ("\\u003e", '>'), ("\\u0026", '&'), ("\\u0027", '\'')];
        if let Some((after, c)) = escapes.iter().find_map(|(e, c)| rest.strip_prefix(e).map(|after| (after, *c))) {
            out.push(c);
            rest = after;
        } else {
            // Any other escape is a backslash and one ASCII character.
            let end = rest.len().min(2);
            out.push_str(rest.get(..end).unwrap_or(rest));
            rest = rest.get(end..).unwrap_or_default();
        }
    }
    out + rest
}

/// `{% generation %}` marks the assistant's text for masks; minijinja does not know it. As an `if true` block with the same
/// whitespace control it renders the same.
fn rewrite_generation_tags(source: &str) -> String {
    let mut out = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at);
        out.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end + 2);
        let inner = &tag[2..tag.len() - 2];
        let open = inner.strip_prefix(['-', '+']).unwrap_or(inner);
        let word = open.strip_suffix(['-', '+']).unwrap_or(open).trim();
        match word {
            "generation" => out.push_str(&tag.replacen("generation", "if true", 1)),
            "endgeneration" => out.push_str(&tag.replacen("endgeneration", "endif", 1)),
            _ => out.push_str(tag),
        }
        rest = after;
    }
    out.push_str(rest);
    out
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    struct Rendering {
        template: String,
        messages: Vec<Message>,
        add_generation_prompt: bool,
        specials: Vec<(String, String)>,
        /// What Jinja2 3.1.6 in the transformers setup gives; null where it raises.
        text: Option<String>,
    }

    fn equal_jinja2(cases: &str) {
        let cases: Vec<Rendering> = serde_json::from_str(cases).unwrap();
        assert!(cases.iter().filter(|c| c.text.is_some()).count() >= 8);
        for case in cases {
            let ours = ChatTemplate::new(&case.template, case.specials)
                .and_then(|t| t.render(&case.messages, case.add_generation_prompt))
                .ok();
            assert_eq!(ours, case.text, "{}", case.template);
        }
    }

    #[test]
    fn renderings_equal_jinja2() {
        equal_jinja2(include_str!("fixtures/chat_renderings.json"));
    }

    /// See `scripts/chat_fixtures.py`.
    #[test]
    #[ignore = "needs the templates of published models, which are not ours to ship"]
    fn published_templates_render_as_jinja2_does() {
        let path = std::env::var("PROBITY_TEMPLATE_CASES").expect("PROBITY_TEMPLATE_CASES names the file of cases");
        equal_jinja2(&std::fs::read_to_string(path).unwrap());
    }

    #[test]
    fn json_escapes_are_undone_once() {
        assert_eq!(unescape_html(r#""\u003cb\u003e \\u003c \"\n\\""#), r#""<b> \\u003c \"\n\\""#);
    }

    #[test]
    fn generation_tags_keep_their_whitespace_control() {
        let source = "a{%- generation -%}b{% endgeneration +%}{% if generation %}{% generationx %}{% open";
        assert_eq!(
            rewrite_generation_tags(source),
            "a{%- if true -%}b{% endif +%}{% if generation %}{% generationx %}{% open"
        );
    }

    #[test]
    fn templates_are_found_in_the_documented_order() {
        let config = |text: &str| serde_json::from_str::<serde_json::Map<String, Json>>(text).unwrap();
        let find = |jinja: Option<&[u8]>, text: &str, name| ChatTemplate::from_files(jinja, &config(text), name);
        let one = r#"{"chat_template": "config"}"#;
        assert_eq!(find(Some(b"file"), one, None).unwrap().unwrap().source(), "file");
        assert_eq!(find(None, one, None).unwrap().unwrap().source(), "config");
        let list = r#"{"chat_template": [{"name": "rag", "template": "r"}, {"name": "default", "template": "d"}]}"#;
        assert_eq!(find(None, list, None).unwrap().unwrap().source(), "d");
        assert_eq!(find(None, list, Some("rag")).unwrap().unwrap().source(), "r");
        assert!(
            matches!(find(None, list, Some("x")), Err(TextError::NoDefaultTemplate { names }) if names == ["rag", "default"])
        );
        assert!(find(None, "{}", None).unwrap().is_none());
        assert!(matches!(find(Some(b"\xff"), "{}", None), Err(TextError::NotUtf8 { at: 0, .. })));
        for bad in [r#"{"chat_template": 3}"#, r#"{"chat_template": [{"name": 1}]}"#, r#"{"bos_token": 3}"#] {
            assert!(matches!(find(None, bad, None), Err(TextError::Malformed { .. })), "{bad}");
        }
        let broken = find(Some(b"a\n{% if %}"), "{}", None).unwrap_err().to_string();
        assert!(broken.contains("line 2"), "{broken}");
    }

    #[test]
    fn the_date_is_available() {
        let template = ChatTemplate::new("{{ strftime_now('%Y') }}", Vec::new()).unwrap();
        assert!(template.render(&[], false).unwrap().parse::<u32>().unwrap() >= 2024);
        let bad = ChatTemplate::new("{{ strftime_now('%Q') }}", Vec::new()).unwrap();
        assert!(bad.render(&[], false).unwrap_err().to_string().contains("%Q"));
    }
}
