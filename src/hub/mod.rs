//! The model hub: its environment variables, its cache and its downloads. Knows nothing of tensors.
//!
//! The cache has the layout of Python's `huggingface_hub` (`models--org--name/{blobs,refs,snapshots}`), so each reads what the
//! other fetched. Nothing here touches the network except [`Hub`], which only `probity fetch` and `--fetch` make.

mod cache;
mod digest;
mod env;
mod error;
mod fetch;
mod http;
mod plan;

pub use cache::{Snapshot, locate};
pub use env::Env;
pub use error::HubError;
pub use fetch::{Fetched, Hub, Watch};
pub use plan::{Plan, Remote};

use std::fmt;
use std::path::Path;

type Result<T> = std::result::Result<T, HubError>;

/// `ORG/NAME` or `ORG/NAME@REVISION`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelId {
    pub repository: String,
    /// Branch, tag or commit, where one was given.
    pub revision: Option<String>,
}

impl ModelId {
    /// What a model's name means: `None` for a folder (one that exists, or a name that looks like a path).
    pub fn of_name(name: &str) -> Result<Option<Self>> {
        let head = name.split('@').next().unwrap_or_default();
        let shaped = head.split('/').count() == 2 && !name.starts_with(['.', '/', '~']) && !head.contains(['\\', ':']);
        if !shaped || Path::new(name).exists() {
            return Ok(None);
        }
        Self::parse(name).map(Some)
    }

    /// Reads `ORG/NAME[@REVISION]`; refuses what could leave the cache folder or a URL's path.
    pub fn parse(name: &str) -> Result<Self> {
        let refuse = |detail: &str| Err(HubError::Name { name: name.into(), detail: detail.into() });
        let (repository, revision) = match name.split_once('@') {
            Some((r, v)) => (r, Some(v)),
            None => (name, None),
        };
        let parts: Vec<&str> = repository.split('/').collect();
        if parts.len() != 2 {
            return refuse("it has not two parts");
        }
        if !parts.iter().all(|p| plain(p)) || repository.contains("--") {
            return refuse("a part is empty or has characters that the hub does not allow");
        }
        if revision.is_some_and(|r| !r.split('/').all(plain)) {
            return refuse("the revision is no branch, tag or commit");
        }
        Ok(Self { repository: repository.into(), revision: revision.map(Into::into) })
    }

    pub fn revision(&self) -> &str {
        self.revision.as_deref().unwrap_or("main")
    }
}

impl fmt::Display for ModelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.revision {
            Some(r) => write!(f, "{}@{r}", self.repository),
            None => f.write_str(&self.repository),
        }
    }
}

/// One component of a path on the hub, safe as a file name and in a URL.
fn plain(part: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    part.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '_')
        && part.chars().all(allowed)
        && !part.contains("..")
}

/// `digits` hexadecimal digits, as the hub writes commits and hashes.
fn is_hex(text: &str, digits: usize) -> bool {
    text.len() == digits && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

/// Parameters of well-known repositories, all published in bf16. A count here is the one that the model's sizes give.
const KNOWN: [(&str, u64); 4] =
    [("0.5B", 494_032_768), ("1.5B", 1_543_714_304), ("3B", 3_085_938_688), ("7B", 7_615_616_512)];
/// Of the models in Llama-3.1-8B's shape.
const LLAMA_8B: u64 = 8_030_261_248;

/// Bytes of the weights of a repository whose size the program knows without asking.
pub fn known_bytes(repository: &str) -> Option<u64> {
    let llamas =
        ["meta-llama/Llama-3.1-8B", "meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"];
    if llamas.contains(&repository) {
        return Some(2 * LLAMA_8B);
    }
    let name = repository.strip_prefix("Qwen/")?;
    let base = name.strip_suffix("-Instruct").unwrap_or(name);
    let (family, size) = base.split_once('-')?;
    // The first generation of these names has no 3B.
    let published = family == "Qwen2.5" || (family == "Qwen2" && size != "3B");
    KNOWN.iter().find(|(s, _)| published && *s == size).map(|(_, parameters)| 2 * parameters)
}

/// A size as the hub writes it: powers of a thousand, three digits.
pub fn size_text(bytes: u64) -> String {
    let mut value = bytes as f64;
    for unit in ["bytes", "kB", "MB", "GB"] {
        if value < 999.5 || unit == "GB" {
            let digits = if unit == "bytes" || value >= 99.95 {
                0
            } else if value >= 9.995 {
                1
            } else {
                2
            };
            return format!("{value:.digits$} {unit}");
        }
        value /= 1e3;
    }
    format!("{bytes} bytes")
}

#[cfg(test)]
mod tests;
#[cfg(test)]
pub(crate) mod tests_server;
