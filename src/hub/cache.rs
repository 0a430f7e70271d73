//! The cache on disk: which commit a revision is, and whether its files are there.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo, RepoType};
use serde::Deserialize;

use super::plan::{CONFIG, INDEX, WEIGHTS};
use super::{Env, HubError, ModelId, Result, is_hex, known_bytes, size_text};

/// A model in the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    pub folder: PathBuf,
    pub commit: String,
}

/// The part of the cache that belongs to a repository.
pub(super) fn repo(env: &Env, id: &ModelId) -> CacheRepo {
    let repo = Repo::with_revision(id.repository.clone(), RepoType::Model, id.revision().to_string());
    Cache::new(env.cache.clone()).repo(repo)
}

/// `models--org--name`.
pub(super) fn folder(env: &Env, id: &ModelId) -> PathBuf {
    env.cache.join(Repo::model(id.repository.clone()).folder_name())
}

/// The commit that the cache has for a revision.
fn commit(env: &Env, id: &ModelId) -> Option<String> {
    if is_hex(id.revision(), 40) {
        return Some(id.revision().to_string());
    }
    let text = std::fs::read_to_string(folder(env, id).join("refs").join(id.revision())).ok()?;
    Some(text.trim().to_string()).filter(|c| is_hex(c, 40))
}

/// A complete model in the cache; never touches the network.
///
/// # Errors
/// [`HubError::Missing`], with the command that fetches it.
pub fn locate(env: &Env, id: &ModelId) -> Result<Snapshot> {
    let missing = |found: String| {
        let size = match known_bytes(&id.repository) {
            Some(bytes) => format!("its weights have about {}", size_text(bytes)),
            None => format!("`probity fetch {id} --dry-run` asks the hub for its size"),
        };
        Err(HubError::Missing { id: id.to_string(), cache: env.cache.clone(), found, size })
    };
    let Some(commit) = commit(env, id) else {
        let here = folder(env, id).is_dir();
        return missing(if here {
            format!("no revision {} of it", id.revision())
        } else {
            "no such repository".into()
        });
    };
    let snapshot = Snapshot { folder: repo(env, id).pointer_path(&commit), commit };
    let absent = absent(&snapshot.folder);
    match absent.first() {
        None => Ok(snapshot),
        Some(first) if absent.len() == 1 => missing(format!("it without {first}")),
        Some(first) => missing(format!("it without {first} and {} more", absent.len() - 1)),
    }
}

/// What a snapshot lacks; a link whose file is gone counts as lacking.
fn absent(folder: &Path) -> Vec<String> {
    #[derive(Deserialize)]
    struct Index {
        weight_map: BTreeMap<String, String>,
    }
    let mut needed = BTreeSet::from([CONFIG.to_string()]);
    let index = folder.join(INDEX);
    if !folder.join(WEIGHTS).exists() && index.exists() {
        // A damaged index is the model's error to explain, not a missing file.
        let text = std::fs::read(&index).ok();
        let map = text.and_then(|t| serde_json::from_slice::<Index>(&t).ok()).map(|i| i.weight_map);
        needed.extend(map.unwrap_or_default().into_values());
    } else {
        needed.insert(WEIGHTS.into());
    }
    needed.into_iter().filter(|n| !folder.join(n).exists()).collect()
}
