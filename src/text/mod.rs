//! Text in and out of token ids: tokenizer files, chat templates, and the training of a small byte-level BPE.

mod chat;
pub(crate) mod strftime;
mod tokenizer;
pub mod train;

use std::path::{Path, PathBuf};

pub use chat::ChatTemplate;
pub use tokenizer::{Tokenizer, TokenizerFiles};

pub use crate::domain::Message;

#[derive(Debug, thiserror::Error)]
pub enum TextError {
    #[error("cannot read {path}: {source}; a model folder needs this file", path = path.display())]
    Read { path: PathBuf, source: std::io::Error },

    #[error("cannot write {path}: {source}; check that the folder exists and has room", path = path.display())]
    Write { path: PathBuf, source: std::io::Error },

    #[error("{file} is not UTF-8 (first bad byte at offset {at}); it may be damaged, fetch it again")]
    NotUtf8 { file: String, at: usize },

    #[error("{file}: {detail}")]
    Malformed { file: String, detail: String },

    #[error("this model has no chat template; put a chat_template.jinja into its folder")]
    NoTemplate,

    #[error("tokenizer_config.json names the chat templates {names:?} and none is \"default\"; choose one by name")]
    NoDefaultTemplate { names: Vec<String> },

    #[error("chat template: {detail}")]
    Template { detail: String },

    #[error("cannot encode or decode: {detail}")]
    Coding { detail: String },

    #[error("cannot train a tokenizer: {detail}")]
    Train { detail: String },
}

/// The bytes of a file, or `None` where there is no such file.
fn read_optional(dir: &Path, name: &str) -> Result<Option<Vec<u8>>, TextError> {
    let path = dir.join(name);
    match std::fs::read(&path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(TextError::Read { path, source }),
    }
}

fn utf8<'a>(file: &str, bytes: &'a [u8]) -> Result<&'a str, TextError> {
    std::str::from_utf8(bytes).map_err(|e| TextError::NotUtf8 { file: file.into(), at: e.valid_up_to() })
}

/// A JSON object from a file that may be absent (an empty object then).
fn json_object(file: &str, bytes: Option<&[u8]>) -> Result<serde_json::Map<String, serde_json::Value>, TextError> {
    let Some(bytes) = bytes else { return Ok(serde_json::Map::new()) };
    let malformed = |detail: String| TextError::Malformed { file: file.into(), detail };
    match serde_json::from_str(utf8(file, bytes)?) {
        Ok(serde_json::Value::Object(map)) => Ok(map),
        Ok(_) => Err(malformed("is not a JSON object".into())),
        Err(e) => Err(malformed(format!("is not JSON: {e}"))),
    }
}
