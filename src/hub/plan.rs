//! What the hub has of a model, and which of it is wanted.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::digest::Digest;
use super::{HubError, ModelId, Result, is_hex, plain};

pub(super) const CONFIG: &str = "config.json";
pub(super) const WEIGHTS: &str = "model.safetensors";
pub(super) const INDEX: &str = "model.safetensors.index.json";

/// Everything a model folder may need beside its weights.
const SMALL: [&str; 10] = [
    CONFIG,
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "vocab.json",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template.jinja",
    "chat_template.json",
];

/// A file on the hub.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Remote {
    pub name: String,
    pub size: u64,
    #[serde(skip)]
    pub(super) digest: Digest,
    /// Already in the cache.
    pub cached: bool,
}

/// A revision of a model on the hub: its commit and the files that a fetch brings.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    #[serde(skip)]
    pub id: ModelId,
    pub commit: String,
    /// `model_type` of the configuration, where the hub says it.
    pub model_type: Option<String>,
    pub files: Vec<Remote>,
}

impl Plan {
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|f| f.size).sum()
    }

    /// Bytes that are not in the cache.
    pub fn missing_bytes(&self) -> u64 {
        self.files.iter().filter(|f| !f.cached).map(|f| f.size).sum()
    }
}

/// The hub's answer about a revision.
#[derive(Deserialize)]
pub(super) struct Info {
    pub sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
    #[serde(default)]
    config: Option<Config>,
}

#[derive(Deserialize)]
struct Config {
    model_type: Option<String>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    #[serde(rename = "blobId")]
    blob: Option<String>,
    lfs: Option<Lfs>,
}

#[derive(Deserialize)]
struct Lfs {
    sha256: Option<String>,
    size: Option<u64>,
}

/// A wanted file, as far as the answer describes it.
pub(super) struct Wanted {
    pub name: String,
    pub size: Option<u64>,
    pub digest: Option<Digest>,
}

impl Info {
    pub fn model_type(&self) -> Option<String> {
        self.config.as_ref()?.model_type.clone()
    }

    /// The files to fetch, small ones first: what is wrong with a model shows before its weights are loaded.
    pub fn wanted(&self, id: &ModelId) -> Result<Vec<Wanted>> {
        let unusable = |detail: &str| HubError::Unusable { id: id.to_string(), detail: detail.into() };
        if !is_hex(&self.sha, 40) {
            return Err(unusable("the hub's answer names no commit; check HF_ENDPOINT"));
        }
        let has = |name: &str| self.siblings.iter().any(|s| s.rfilename == name);
        if !has(CONFIG) {
            return Err(unusable("the repository has no config.json, so it holds no transformers model"));
        }
        let single = has(WEIGHTS);
        if !single && !has(INDEX) {
            let text = "the repository has no safetensors weights (model.safetensors, or shards with an index); convert it with \
                        transformers: model.save_pretrained(DIR)";
            return Err(unusable(text));
        }
        let shard = |n: &str| n.starts_with("model-") && n.ends_with(".safetensors");
        let weights = |n: &str| if single { n == WEIGHTS } else { shard(n) };
        let mut found = Vec::new();
        for s in &self.siblings {
            let n = s.rfilename.as_str();
            let template =
                Path::new(n).parent() == Some(Path::new("additional_chat_templates")) && n.ends_with(".jinja");
            let small = SMALL.contains(&n) || template || (!single && n == INDEX);
            // The name becomes a path: what is not plain is not wanted.
            if !(small || weights(n)) || !n.split('/').all(plain) {
                continue;
            }
            let lfs = s.lfs.as_ref();
            let digest = match lfs {
                Some(lfs) => lfs.sha256.as_deref(),
                None => s.blob.as_deref(),
            };
            found.push((
                weights(n),
                Wanted {
                    name: n.into(),
                    size: lfs.and_then(|l| l.size).or(s.size),
                    digest: digest.and_then(Digest::parse),
                },
            ));
        }
        found.sort_by(|a, b| (a.0, &a.1.name).cmp(&(b.0, &b.1.name)));
        Ok(found.into_iter().map(|f| f.1).collect())
    }
}
