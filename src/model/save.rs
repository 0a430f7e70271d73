//! Writing a model as a Hugging Face folder that `transformers` loads.

use std::path::Path;

use serde_json::Value;

use super::config::ModelConfig;
use super::error::{ModelError, Result};
use super::params::specs;
use super::tensor_file::{FileDtype, regular_file_len};
use super::tensor_writer::{TensorSpec, TensorWriter};
use crate::durable;

/// What lies beside the weights and is copied byte by byte, never written anew.
const SIDE_FILES: [&str; 9] = [
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
/// Named templates (transformers 5) lie in this folder.
const TEMPLATES: &str = "additional_chat_templates";

/// Tokenizer, chat template and generation defaults of a model: file names within the folder and their bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SideFiles(pub Vec<(String, Vec<u8>)>);

impl SideFiles {
    /// Those that `dir` has.
    pub fn read(dir: &Path) -> Result<Self> {
        let mut names: Vec<String> = SIDE_FILES.map(String::from).into();
        if let Ok(entries) = std::fs::read_dir(dir.join(TEMPLATES)) {
            let mut templates: Vec<String> = entries
                .filter_map(|e| e.ok()?.file_name().into_string().ok())
                .filter(|n| n.ends_with(".jinja"))
                .map(|n| format!("{TEMPLATES}/{n}"))
                .collect();
            templates.sort();
            names.extend(templates);
        }
        let mut files = Vec::new();
        for name in names {
            let path = dir.join(&name);
            if path.symlink_metadata().is_ok() {
                regular_file_len(&path)?;
                let bytes = std::fs::read(&path).map_err(|source| ModelError::Io { path, doing: "read", source })?;
                files.push((name, bytes));
            }
        }
        Ok(Self(files))
    }

    /// Writes them into `dir`, made if absent.
    pub(super) fn write(&self, dir: &Path) -> Result<()> {
        let make = |path: &Path| {
            std::fs::create_dir_all(path).map_err(|source| ModelError::Io {
                path: path.into(),
                doing: "create",
                source,
            })
        };
        make(dir)?;
        for (name, bytes) in &self.0 {
            let path = dir.join(name);
            path.parent().map_or(Ok(()), make)?;
            durable::write(&path, bytes)?;
        }
        Ok(())
    }
}

/// Writes `dir` (made if absent): the side files, `config.json` with its unknown keys untouched, and `model.safetensors` in
/// F32 or BF16 (rounded to nearest even). `params` yields every parameter once, in any order, by Hugging Face name; a tied head is not
/// among them. Each file appears complete or not at all, the weights last.
///
/// # Errors
/// A missing, unknown or repeated parameter, a wrong length, a value that is not finite, and what the file system says.
pub fn write_hf_folder(
    dir: &Path,
    config: &ModelConfig,
    params: impl IntoIterator<Item = Result<(String, Vec<f32>)>>,
    dtype: FileDtype,
    side: &SideFiles,
) -> Result<()> {
    if !matches!(dtype, FileDtype::F32 | FileDtype::Bf16) {
        return Err(ModelError::Input(format!("weights are written as F32 or BF16, not {dtype}")));
    }
    side.write(dir)?;
    let mut text = format!("{:#}", Value::Object(config.to_map(dtype)));
    text.push('\n');
    durable::write(&dir.join("config.json"), text.as_bytes())?;

    let layout: Vec<TensorSpec> =
        specs(config).into_iter().map(|s| TensorSpec { shape: s.shape(), name: s.name, dtype }).collect();
    let mut file = TensorWriter::create(&dir.join("model.safetensors"), &[("format", "pt")], &layout)?;
    for param in params {
        let (name, values) = param?;
        file.put(&name, &values)?;
    }
    file.finish()
}
