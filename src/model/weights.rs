//! A checkpoint folder in Hugging Face layout, opened for reading: `config.json` and one or several safetensors files,
//! memory-mapped, with every tensor the model needs, in its shape, and no other.

use std::collections::BTreeMap;
use std::path::{Component, Path, PathBuf};

use serde::Deserialize;

use super::config::ModelConfig;
use super::error::{ModelError, Result};
use super::params::{ParamSpec, specs};
use super::tensor_file::{FileDtype, TensorFile, TensorView, UniqueMap, nearest, regular_file_len};
use crate::ops::{Quant, QuantMatrix};

const WEIGHTS: &str = "model.safetensors";
const INDEX: &str = "model.safetensors.index.json";
const MAX_INDEX_BYTES: u64 = 100_000_000;

/// An open checkpoint whose names, shapes and dtypes have been checked. Values are checked when they are read.
pub struct Checkpoint {
    pub config: ModelConfig,
    path: PathBuf,
    files: Vec<TensorFile>,
    /// Parameter → index into `files`.
    home: BTreeMap<String, usize>,
}

impl Checkpoint {
    /// Opens `dir`: `model.safetensors`, or else the shards of `model.safetensors.index.json`.
    pub fn open(dir: &Path) -> Result<Self> {
        let meta =
            std::fs::metadata(dir).map_err(|source| ModelError::Io { path: dir.into(), doing: "open", source })?;
        if !meta.is_dir() {
            return Err(ModelError::File {
                path: dir.into(),
                detail: "expected a model folder, found a file".into(),
                hint: "Give the folder that holds config.json and model.safetensors".into(),
            });
        }
        let config = ModelConfig::read(dir)?;
        let single = dir.join(WEIGHTS);
        let index = dir.join(INDEX);
        // `exists` is false for a link that leads nowhere; opening it says so.
        if single.symlink_metadata().is_ok() {
            return Self::new(config, dir, vec![TensorFile::open(&single)?], None);
        }
        if index.symlink_metadata().is_ok() {
            let map = read_index(&index)?;
            let mut names: Vec<&String> = map.values().collect();
            names.sort();
            names.dedup();
            let files = names.into_iter().map(|shard| open_shard(dir, &index, shard)).collect::<Result<Vec<_>>>()?;
            return Self::new(config, dir, files, Some((index, map)));
        }
        Err(ModelError::File {
            path: dir.into(),
            detail: format!("the folder has neither {WEIGHTS} nor {INDEX}"),
            hint: match dir.join("pytorch_model.bin").exists() || dir.join("pytorch_model.bin.index.json").exists() {
                true => "Convert pytorch_model.bin with transformers: model.save_pretrained(DIR)".into(),
                false => "Fetch the weights too, or check the path".into(),
            },
        })
    }

    /// A checkpoint compiled into the program; `name` stands in for its path.
    pub fn from_static(name: &Path, config: &[u8], weights: &'static [u8]) -> Result<Self> {
        let config = ModelConfig::parse(&name.join("config.json"), config)?;
        Self::new(config, name, vec![TensorFile::from_static(&name.join(WEIGHTS), weights)?], None)
    }

    fn new(
        config: ModelConfig,
        path: &Path,
        files: Vec<TensorFile>,
        index: Option<(PathBuf, BTreeMap<String, String>)>,
    ) -> Result<Self> {
        let mut home = BTreeMap::new();
        for (i, file) in files.iter().enumerate() {
            for name in file.names() {
                if let Some(other) = home.insert(name.to_string(), i) {
                    return Err(ModelError::ExtraTensor {
                        path: file.path().into(),
                        tensor: name.into(),
                        hint: format!(
                            "{} has it too; one of the shards is from another model",
                            files[other].path().display()
                        ),
                    });
                }
            }
        }
        if let Some((index, map)) = index {
            agree(&index, &map, &files, &home)?;
        }
        let checkpoint = Self { config, path: path.into(), files, home };
        checkpoint.check_tensors()?;
        Ok(checkpoint)
    }

    /// The folder, or the embedded model's name.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The view of one parameter, by its Hugging Face name.
    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>> {
        match self.home.get(name).and_then(|&i| self.files.get(i)) {
            Some(file) => file.tensor(name),
            None => Err(self.missing(name)),
        }
    }

    /// Values of one parameter in f32; NaN and infinities are an error that names the element.
    pub fn f32(&self, name: &str) -> Result<Vec<f32>> {
        self.tensor(name)?.to_finite_f32()
    }

    /// bf16 bit patterns of one parameter, rounded to nearest even where the file is wider.
    pub fn bf16(&self, name: &str) -> Result<Vec<u16>> {
        self.tensor(name)?.to_bf16_bits()
    }

    /// One matrix quantised, some rows at a time: no copy of it in f32 is made.
    pub fn quantised(&self, s: &ParamSpec, format: Quant) -> Result<QuantMatrix> {
        let tensor = self.tensor(&s.name)?;
        QuantMatrix::of_rows(format, s.rows, s.cols, |rows| tensor.finite_rows(rows))
    }

    /// Whether every matrix is stored as bf16, so that [`Checkpoint::bf16`] is exact.
    pub fn is_bf16(&self) -> bool {
        let matrices = specs(&self.config).into_iter().filter(|s| !s.vector);
        matrices.into_iter().all(|s| self.tensor(&s.name).is_ok_and(|t| t.dtype == FileDtype::Bf16))
    }

    /// SHA-256 over the parameters' names, dtypes, shapes and bytes in model order: the same for one file or shards.
    pub fn sha256(&self) -> Result<String> {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        for spec in specs(&self.config) {
            let t = self.tensor(&spec.name)?;
            hash.update(format!("{} {} {:?}\n", t.name, t.dtype, t.shape));
            hash.update(t.bytes);
        }
        Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }

    fn weights_path(&self) -> PathBuf {
        match self.files.as_slice() {
            [one] => one.path().into(),
            _ => self.path.join(INDEX),
        }
    }

    fn missing(&self, name: &str) -> ModelError {
        let hint = if name == "lm_head.weight" {
            "config.json says the head is not tied; set `tie_word_embeddings` to true if it is".into()
        } else if self.home.keys().any(|k| k.contains(".lora_A.") || k.contains(".lora_B.")) {
            "The file holds a LoRA adapter: merge it into its base model first".into()
        } else if name.strip_prefix("model.").is_some_and(|bare| self.home.contains_key(bare)) {
            format!("The file has it without the prefix `model.`: save it as {}", self.config.family.architecture())
        } else if let Some(near) = nearest(name, self.home.keys().map(String::as_str)) {
            format!("The nearest name in the file is `{near}`; is config.json of the same model?")
        } else {
            "Is config.json of the same model, and are all files there?".into()
        };
        ModelError::MissingTensor { path: self.weights_path(), tensor: name.into(), hint }
    }

    fn check_tensors(&self) -> Result<()> {
        let expected = specs(&self.config);
        for spec in &expected {
            let tensor = self.tensor(&spec.name)?;
            tensor.expect_shape(&spec.shape(), "Is config.json of the same model?")?;
            if !matches!(tensor.dtype, FileDtype::F32 | FileDtype::F16 | FileDtype::Bf16) {
                let hint = "Convert the checkpoint with transformers";
                return Err(tensor.wrong(format!("dtype {}", tensor.dtype), "F32, F16 or BF16", hint));
            }
        }
        for name in self.home.keys() {
            // `specs` is in model order; a set of names would cost more than it saves for a few hundred of them.
            if !expected.iter().any(|s| s.name == *name) && !self.ignorable(name)? {
                return Err(self.extra(name));
            }
        }
        Ok(())
    }

    /// Rotary buffers that old exporters stored, and a copy of the tied embedding.
    fn ignorable(&self, name: &str) -> Result<bool> {
        if name == "lm_head.weight" {
            let (head, embed) = (self.tensor(name)?, self.tensor("model.embed_tokens.weight")?);
            return Ok(head.dtype == embed.dtype && head.shape == embed.shape && head.bytes == embed.bytes);
        }
        Ok(name.ends_with("rotary_emb.inv_freq"))
    }

    fn extra(&self, name: &str) -> ModelError {
        let hint = if name == "lm_head.weight" {
            "config.json ties the head to the embedding, which is different; set `tie_word_embeddings` to false".into()
        } else if layer_of(name).is_some_and(|l| l >= self.config.num_hidden_layers) {
            format!("config.json says num_hidden_layers {}", self.config.num_hidden_layers)
        } else {
            let family = self.config.family;
            let (kind, class) = (family.model_type(), family.architecture());
            format!("It is no part of a {kind} model: is this the right model, saved as {class}?")
        };
        let path = self
            .home
            .get(name)
            .and_then(|&i| self.files.get(i))
            .map_or_else(|| self.weights_path(), |f| f.path().into());
        ModelError::ExtraTensor { path, tensor: name.into(), hint }
    }
}

fn layer_of(name: &str) -> Option<usize> {
    name.strip_prefix("model.layers.")?.split('.').next()?.parse().ok()
}

#[derive(Deserialize)]
struct Index {
    weight_map: UniqueMap<String>,
}

/// Tensor → shard file name.
fn read_index(path: &Path) -> Result<BTreeMap<String, String>> {
    let bad = |detail: String| ModelError::File {
        path: path.into(),
        detail,
        hint: "Fetch or export the checkpoint again".into(),
    };
    let len = regular_file_len(path)?;
    if len > MAX_INDEX_BYTES {
        return Err(bad(format!("{len} bytes are too many for an index")));
    }
    let bytes = std::fs::read(path).map_err(|source| ModelError::Io { path: path.into(), doing: "read", source })?;
    let index: Index = serde_json::from_slice(&bytes)
        .map_err(|e| bad(format!("no index with a `weight_map` of distinct names: {e}")))?;
    if index.weight_map.0.is_empty() {
        return Err(bad("`weight_map` is empty".into()));
    }
    Ok(index.weight_map.0.into_iter().collect())
}

fn open_shard(dir: &Path, index: &Path, shard: &str) -> Result<TensorFile> {
    let mut parts = Path::new(shard).components();
    if !matches!((parts.next(), parts.next()), (Some(Component::Normal(_)), None)) {
        return Err(ModelError::Key {
            path: index.into(),
            key: "weight_map".into(),
            found: format!("\"{shard}\""),
            expected: "the name of a file in the same folder".into(),
        });
    }
    let path = dir.join(shard);
    TensorFile::open(&path).map_err(|e| match e {
        ModelError::Io { source, .. } if source.kind() == std::io::ErrorKind::NotFound => ModelError::File {
            path,
            detail: format!("this shard is missing; {INDEX} lists it"),
            hint: "Fetch it too".into(),
        },
        other => other,
    })
}

/// The index and the shards tell the same story.
fn agree(
    index: &Path,
    map: &BTreeMap<String, String>,
    files: &[TensorFile],
    home: &BTreeMap<String, usize>,
) -> Result<()> {
    let shard_of = |name: &str| home.get(name).and_then(|&i| files[i].path().file_name()).map(|n| n.to_string_lossy());
    for (name, shard) in map {
        if shard_of(name).as_deref() != Some(shard) {
            return Err(ModelError::MissingTensor {
                path: index.with_file_name(shard),
                tensor: name.clone(),
                hint: format!(
                    "{INDEX} says it is in this shard: the shards are from another version, fetch all files again"
                ),
            });
        }
    }
    match home.keys().find(|name| !map.contains_key(*name)) {
        None => Ok(()),
        Some(name) => Err(ModelError::ExtraTensor {
            path: index.with_file_name(shard_of(name).as_deref().unwrap_or_default()),
            tensor: name.clone(),
            hint: format!("{INDEX} does not list it: the shards are from another version, fetch all files again"),
        }),
    }
}
