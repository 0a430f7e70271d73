//! A model folder's tokenizer: ids, end tokens, chat prompts.

use std::path::Path;

use serde_json::Value as Json;

use super::{ChatTemplate, Message, TextError, json_object, read_optional, utf8};

/// The bytes of a folder's tokenizer files; only `tokenizer` is required.
#[derive(Clone, Copy, Debug, Default)]
pub struct TokenizerFiles<'a> {
    /// `tokenizer.json`
    pub tokenizer: &'a [u8],
    /// `tokenizer_config.json`
    pub tokenizer_config: Option<&'a [u8]>,
    /// `chat_template.jinja`
    pub chat_template: Option<&'a [u8]>,
    /// `generation_config.json`
    pub generation_config: Option<&'a [u8]>,
    /// `config.json`
    pub config: Option<&'a [u8]>,
}

/// Tokenizer, end tokens and chat template of a model.
#[derive(Debug)]
pub struct Tokenizer {
    inner: tokenizers::Tokenizer,
    eos: Vec<u32>,
    pad: Option<u32>,
    chat: Option<ChatTemplate>,
}

impl Tokenizer {
    /// Read the files of a Hugging Face folder.
    pub fn load(dir: &Path) -> Result<Self, TextError> {
        let path = dir.join("tokenizer.json");
        let tokenizer = std::fs::read(&path).map_err(|source| TextError::Read { path, source })?;
        let optional = |name| read_optional(dir, name);
        let (tokenizer_config, chat_template) = (optional("tokenizer_config.json")?, optional("chat_template.jinja")?);
        let (generation_config, config) = (optional("generation_config.json")?, optional("config.json")?);
        Self::from_files(&TokenizerFiles {
            tokenizer: &tokenizer,
            tokenizer_config: tokenizer_config.as_deref(),
            chat_template: chat_template.as_deref(),
            generation_config: generation_config.as_deref(),
            config: config.as_deref(),
        })
    }

    /// The same from memory.
    pub fn from_files(files: &TokenizerFiles) -> Result<Self, TextError> {
        let malformed = |file: &str, detail: String| TextError::Malformed { file: file.into(), detail };
        let mut inner = parse(files.tokenizer)?;
        // A file may carry the truncation or padding of whoever saved it; prompts here are never cut or filled.
        inner.with_padding(None);
        inner.with_truncation(None).map_err(|e| malformed("tokenizer.json", e.to_string()))?;
        let tokenizer_config = json_object("tokenizer_config.json", files.tokenizer_config)?;
        let generation_config = json_object("generation_config.json", files.generation_config)?;
        let config = json_object("config.json", files.config)?;
        let chat = ChatTemplate::from_files(files.chat_template, &tokenizer_config, None)?;
        let named = |key: &str| -> Option<u32> {
            let value = tokenizer_config.get(key)?;
            inner.token_to_id(value.as_str().or_else(|| value.get("content")?.as_str())?)
        };
        let mut eos = ids("generation_config.json", generation_config.get("eos_token_id"))?;
        if eos.is_empty() {
            eos = ids("config.json", config.get("eos_token_id"))?;
        }
        if eos.is_empty() {
            eos.extend(named("eos_token"));
        }
        let pad = named("pad_token");
        Ok(Self { inner, eos, pad, chat })
    }

    /// Ids of `text` as it stands: special tokens written in it are recognised, none are added.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>, TextError> {
        let encoding = self.inner.encode_fast(text, false).map_err(|e| TextError::Coding { detail: e.to_string() })?;
        Ok(encoding.get_ids().to_vec())
    }

    /// Text of ids; ids that the tokenizer does not know give nothing. With `skip_special`, special tokens give nothing either.
    pub fn decode(&self, ids: &[u32], skip_special: bool) -> Result<String, TextError> {
        self.inner.decode(ids, skip_special).map_err(|e| TextError::Coding { detail: e.to_string() })
    }

    /// What one token prints as (invalid UTF-8 pieces as replacement characters); `None` for an unknown id.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.inner.id_to_token(id)?;
        self.decode(&[id], false).ok()
    }

    /// The id of a token by its exact entry (a special token's text).
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.token_to_id(token)
    }

    /// Tokens that end a response: of `generation_config.json`, else `config.json`, else `tokenizer_config.json`; may be none.
    pub fn eos_ids(&self) -> &[u32] {
        &self.eos
    }

    /// The padding token, if the tokenizer names one.
    pub fn pad_id(&self) -> Option<u32> {
        self.pad
    }

    /// Number of entries, special tokens included. A model's embedding may have more rows.
    pub fn vocab_size(&self) -> usize {
        self.inner.get_vocab_size(true)
    }

    pub fn chat(&self) -> Option<&ChatTemplate> {
        self.chat.as_ref()
    }

    /// Prompt text of a conversation by the model's own template.
    pub fn render(&self, messages: &[Message], add_generation_prompt: bool) -> Result<String, TextError> {
        self.chat.as_ref().ok_or(TextError::NoTemplate)?.render(messages, add_generation_prompt)
    }

    /// Prompt ids of a conversation.
    pub fn encode_chat(&self, messages: &[Message], add_generation_prompt: bool) -> Result<Vec<u32>, TextError> {
        self.encode(&self.render(messages, add_generation_prompt)?)
    }

    /// Tokens of a response text including one end token: the length that rewards and the behaviour measure count.
    pub fn response_tokens(&self, text: &str) -> Result<u32, TextError> {
        let n = self.encode(text)?.len();
        Ok(u32::try_from(n).unwrap_or(u32::MAX).saturating_add(1))
    }
}

/// Parse `tokenizer.json`. The crate panics on some damaged files, so those are caught and made errors as well.
fn parse(bytes: &[u8]) -> Result<tokenizers::Tokenizer, TextError> {
    let file = "tokenizer.json";
    let malformed = |detail: String| TextError::Malformed { file: file.into(), detail };
    serde_json::from_str::<serde::de::IgnoredAny>(utf8(file, bytes)?)
        .map_err(|e| malformed(format!("is not JSON: {e}")))?;
    match std::panic::catch_unwind(|| tokenizers::Tokenizer::from_bytes(bytes)) {
        Ok(parsed) => parsed.map_err(|e| malformed(format!("is not a tokenizer: {e}"))),
        Err(_) => Err(malformed("holds a component that the tokenizer library cannot read".into())),
    }
}

/// One id or a list of ids; null or absent is an empty list.
fn ids(file: &str, value: Option<&Json>) -> Result<Vec<u32>, TextError> {
    let bad = || TextError::Malformed {
        file: file.into(),
        detail: "eos_token_id is neither a token id nor a list of them".into(),
    };
    let id = |v: &Json| v.as_u64().and_then(|n| u32::try_from(n).ok()).ok_or_else(bad);
    match value {
        None | Some(Json::Null) => Ok(Vec::new()),
        Some(Json::Array(list)) => list.iter().map(id).collect(),
        Some(v) => Ok(vec![id(v)?]),
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// See `scripts/tokenizer_fixtures.py`.
    #[derive(Deserialize)]
    struct Cases {
        bos_token: String,
        eos_token: String,
        chat_template: String,
        special: Vec<String>,
        /// Added and not special.
        plain: Vec<String>,
        texts: Vec<Text>,
        conversations: Vec<Conversation>,
    }

    #[derive(Deserialize)]
    struct Text {
        text: String,
        ids: Vec<u32>,
        decoded: String,
    }

    #[derive(Deserialize)]
    struct Conversation {
        messages: Vec<Message>,
        text: String,
        ids: Vec<u32>,
    }

    /// Llama 3's word split, a post-processor that would put a begin token before every text, tokens that are added and not special.
    #[test]
    fn a_tokenizer_of_llama_3_codes_as_in_transformers() {
        let cases: Cases = serde_json::from_str(include_str!("fixtures/llama3_cases.json")).unwrap();
        let config = serde_json::json!({ "bos_token": { "content": cases.bos_token }, "eos_token": cases.eos_token });
        let tokenizer = Tokenizer::from_files(&TokenizerFiles {
            tokenizer: include_bytes!("fixtures/llama3_tokenizer.json"),
            tokenizer_config: Some(config.to_string().as_bytes()),
            chat_template: Some(cases.chat_template.as_bytes()),
            ..TokenizerFiles::default()
        })
        .unwrap();
        assert!(cases.texts.len() > 10);
        for case in &cases.texts {
            assert_eq!(tokenizer.encode(&case.text).unwrap(), case.ids, "{:?}", case.text);
            assert_eq!(tokenizer.decode(&case.ids, true).unwrap(), case.decoded);
            assert_eq!(tokenizer.response_tokens(&case.text).unwrap() as usize, case.ids.len() + 1);
        }
        for token in cases.special.iter().chain(&cases.plain) {
            let id = tokenizer.token_id(token).unwrap();
            assert_eq!(tokenizer.encode(&format!("a{token}b")).unwrap()[1..2], [id], "{token}");
            assert_eq!(tokenizer.token_text(id).as_ref(), Some(token));
            let shown = tokenizer.decode(&[id], true).unwrap();
            assert_eq!(shown.is_empty(), cases.special.contains(token), "{token}");
        }
        let begin = tokenizer.token_id(&cases.bos_token).unwrap();
        for case in &cases.conversations {
            assert_eq!(tokenizer.render(&case.messages, true).unwrap(), case.text);
            let ids = tokenizer.encode_chat(&case.messages, true).unwrap();
            assert_eq!(ids, case.ids);
            assert_eq!(ids.iter().filter(|&&id| id == begin).count(), 1, "the template's own begin token alone");
        }
        assert_eq!(tokenizer.eos_ids(), [tokenizer.token_id(&cases.eos_token).unwrap()]);
    }
}
