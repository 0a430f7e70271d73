//! A LoRA adapter as a folder in PEFT's layout: `adapter_config.json` and `adapter_model.safetensors`. What PEFT can express and
//! this program does not compute is refused by its key.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::config::ModelConfig;
use super::error::{ModelError, Result};
use super::lora::{Adapters, LoraConfig, specs};
use super::params::{Module, ParamSpec};
use super::save::SideFiles;
use super::tensor_file::{FileDtype, TensorFile, UniqueMap, regular_file_len};
use super::tensor_writer::{TensorSpec, TensorWriter};
use crate::durable;
use crate::ops::Ops;

const CONFIG: &str = "adapter_config.json";
const WEIGHTS: &str = "adapter_model.safetensors";
const MAX_CONFIG_BYTES: u64 = 16 << 20;
/// Keys whose value is read, or does not matter for what an adapter computes.
const UNDERSTOOD: [&str; 17] = [
    "auto_mapping",
    "base_model_name_or_path",
    "bias",
    "ensure_weight_tying",
    "inference_mode",
    "init_lora_weights",
    "lora_alpha",
    "lora_dropout",
    "megatron_core",
    "peft_type",
    "peft_version",
    "qalora_group_size",
    "r",
    "revision",
    "target_modules",
    "task_type",
    "use_rslora",
];

/// An open adapter whose settings have been checked; its tensors are checked against a base model when they are read.
pub struct AdapterFolder {
    pub config: LoraConfig,
    /// Name of the base model as the folder has it: a folder or a repository, and the repository's revision if it says one.
    pub base: String,
    pub revision: Option<String>,
    path: PathBuf,
    file: TensorFile,
}

/// Whether `dir` holds an adapter rather than a model.
pub fn is_adapter(dir: &Path) -> bool {
    dir.join(CONFIG).symlink_metadata().is_ok()
}

impl AdapterFolder {
    pub fn open(dir: &Path) -> Result<Self> {
        let path = dir.join(CONFIG);
        let bad = |detail: String| ModelError::File {
            path: path.clone(),
            detail,
            hint: "Save the adapter again with PEFT".into(),
        };
        let len = regular_file_len(&path)?;
        if len > MAX_CONFIG_BYTES {
            return Err(bad(format!("{len} bytes are too many for an adapter_config.json")));
        }
        let bytes =
            std::fs::read(&path).map_err(|source| ModelError::Io { path: path.clone(), doing: "read", source })?;
        let UniqueMap(entries) =
            serde_json::from_slice(&bytes).map_err(|e| bad(format!("not a JSON object of distinct keys: {e}")))?;
        let map: Map<String, Value> = entries.into_iter().collect();
        let keys = Keys { path: &path, map: &map };
        keys.refuse_what_is_not_computed()?;
        let config = keys.lora()?;
        let base = match map.get("base_model_name_or_path").and_then(Value::as_str) {
            Some(name) if !name.is_empty() => name.to_string(),
            _ => return Err(keys.wrong("base_model_name_or_path", "the name of the base model")),
        };
        let revision = keys.get("revision").and_then(Value::as_str).map(String::from);
        Ok(Self { config, base, revision, file: TensorFile::open(&dir.join(WEIGHTS))?, path: dir.into() })
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Puts the adapter on a device, in f32.
    ///
    /// # Errors
    /// A tensor that is missing, of another shape, not finite or left over.
    pub fn load<O: Ops>(&self, o: &O, c: &ModelConfig) -> Result<Adapters<O::T>> {
        let wanted = specs(c, &self.config);
        for name in self.file.names() {
            if !wanted.iter().any(|s| s.name == name) {
                return Err(ModelError::ExtraTensor {
                    path: self.file.path().into(),
                    tensor: name.into(),
                    hint: format!("{CONFIG} and the base model have no such target: is the adapter of another model?"),
                });
            }
        }
        Adapters::build(c, &self.config, |s| {
            let have = self.file.names().any(|n| n == s.name);
            if !have {
                return Err(ModelError::MissingTensor {
                    path: self.file.path().into(),
                    tensor: s.name,
                    hint: format!("{CONFIG} targets it: is the adapter of another model?"),
                });
            }
            let view = self.file.tensor(&s.name)?;
            let shape = stored_shape(&s, &self.config);
            view.expect_shape(&shape, "Is the adapter of another model, or its rank another?")?;
            Ok(o.upload(s.rows, s.cols, &padded(&view.to_finite_f32()?, shape, &s))?)
        })
    }

    /// SHA-256 over settings, names, shapes and bytes of the adapter.
    pub fn sha256(&self, c: &ModelConfig) -> Result<String> {
        use sha2::{Digest, Sha256};
        let mut hash = Sha256::new();
        hash.update(serde_json::to_vec(&self.config).unwrap_or_default());
        for s in specs(c, &self.config) {
            let t = self.file.tensor(&s.name)?;
            hash.update(format!("{} {} {:?}\n", t.name, t.dtype, t.shape));
            hash.update(t.bytes);
        }
        Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect())
    }
}

/// Shape in a file: with the rank itself, not the rank padded for a device.
fn stored_shape(s: &ParamSpec, c: &LoraConfig) -> [usize; 2] {
    if is_a(s) { [c.r, s.cols] } else { [s.rows, c.r] }
}

fn is_a(s: &ParamSpec) -> bool {
    s.name.ends_with("lora_A.weight")
}

/// From the shape of a file to that of a device: zeros in the rows or columns that are added.
fn padded(values: &[f32], [rows, cols]: [usize; 2], s: &ParamSpec) -> Vec<f32> {
    let mut out = vec![0.0; s.len()];
    for r in 0..rows {
        out[r * s.cols..r * s.cols + cols].copy_from_slice(&values[r * cols..(r + 1) * cols]);
    }
    out
}

/// Writes `adapters` as a folder that PEFT loads on top of `base`, a folder or a repository and its revision; `side` are the files that travel with the base model.
pub fn write_peft_folder<O: Ops>(
    o: &O,
    dir: &Path,
    c: &ModelConfig,
    adapters: &Adapters<O::T>,
    (base, revision): (&str, Option<&str>),
    side: &SideFiles,
) -> Result<()> {
    side.write(dir)?;
    let config = &adapters.config;
    let targets: Vec<&str> = config.target_modules.iter().map(|m| m.name()).collect();
    let text = json!({
        "peft_type": "LORA", "task_type": "CAUSAL_LM", "base_model_name_or_path": base, "revision": revision,
        "inference_mode": true,
        "r": config.r, "lora_alpha": config.lora_alpha, "use_rslora": config.use_rslora, "lora_dropout": 0.0,
        "target_modules": targets, "bias": "none", "fan_in_fan_out": false, "init_lora_weights": true,
        "use_dora": false, "modules_to_save": null, "layers_to_transform": null, "layers_pattern": null,
        "rank_pattern": {}, "alpha_pattern": {},
    });
    durable::write(&dir.join(CONFIG), format!("{text:#}\n").as_bytes())?;
    let specs = specs(c, config);
    let layout: Vec<TensorSpec> = specs
        .iter()
        .map(|s| TensorSpec { name: s.name.clone(), shape: stored_shape(s, config).to_vec(), dtype: FileDtype::F32 })
        .collect();
    let mut file = TensorWriter::create(&dir.join(WEIGHTS), &[("format", "pt")], &layout)?;
    for (s, tensor) in specs.iter().zip(adapters.iter()) {
        let ([rows, cols], values) = (stored_shape(s, config), o.read(tensor)?);
        let cut: Vec<f32> = (0..rows).flat_map(|r| values[r * s.cols..r * s.cols + cols].iter().copied()).collect();
        file.put(&s.name, &cut)?;
    }
    file.finish()
}

struct Keys<'a> {
    path: &'a Path,
    map: &'a Map<String, Value>,
}

impl Keys<'_> {
    /// A key that is there and says something.
    fn get(&self, key: &str) -> Option<&Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn wrong(&self, key: &str, expected: &str) -> ModelError {
        let found = self.map.get(key).map_or("missing".into(), Value::to_string);
        ModelError::Key { path: self.path.into(), key: key.into(), found, expected: expected.into() }
    }

    fn refuse_what_is_not_computed(&self) -> Result<()> {
        let kind = self.get("peft_type").and_then(Value::as_str).unwrap_or_default();
        if kind != "LORA" {
            return Err(self.wrong("peft_type", "\"LORA\""));
        }
        let off = |v: &Value| match v {
            Value::Null | Value::Bool(false) => true,
            Value::Object(m) => m.is_empty(),
            Value::Array(a) => a.is_empty(),
            _ => false,
        };
        // What PEFT adds in later versions is refused too, unless it is off.
        if let Some(key) = self.map.iter().find(|(k, v)| !UNDERSTOOD.contains(&k.as_str()) && !off(v)).map(|(k, _)| k) {
            return Err(self
                .wrong(key, "absent or off: adapters of one rank on whole projections of every layer are supported"));
        }
        let moves_the_base =
            |how: &str| ["pissa", "olora", "loftq", "corda", "lora_ga"].iter().any(|p| how.starts_with(p));
        if self.get("init_lora_weights").and_then(Value::as_str).is_some_and(moves_the_base) {
            return Err(self.wrong("init_lora_weights", "an initialisation that leaves the base weights as they are"));
        }
        match self.get("bias").map(|v| v.as_str() == Some("none")) {
            None | Some(true) => Ok(()),
            Some(false) => Err(self.wrong("bias", "\"none\"")),
        }
    }

    fn lora(&self) -> Result<LoraConfig> {
        let r = match self.get("r").and_then(Value::as_u64) {
            Some(r) => r as usize,
            None => return Err(self.wrong("r", "a whole number")),
        };
        let Some(lora_alpha) = self.get("lora_alpha").and_then(Value::as_f64) else {
            return Err(self.wrong("lora_alpha", "a number"));
        };
        let use_rslora = match self.get("use_rslora") {
            None => false,
            Some(v) => v.as_bool().ok_or_else(|| self.wrong("use_rslora", "true or false"))?,
        };
        let target_modules = match self.get("target_modules") {
            Some(Value::String(s)) if s == "all-linear" => Module::ALL.to_vec(),
            Some(Value::Array(names)) => {
                let known = |v: &Value| Module::ALL.into_iter().find(|m| Some(m.name()) == v.as_str());
                let found: Option<Vec<Module>> = names.iter().map(known).collect();
                found.ok_or_else(|| self.wrong("target_modules", "names of projections, q_proj to down_proj"))?
            }
            _ => return Err(self.wrong("target_modules", "a list of projections, or \"all-linear\"")),
        };
        let config = LoraConfig { r, lora_alpha, target_modules, use_rslora };
        match config.problem() {
            None => Ok(config),
            Some(detail) => Err(ModelError::File {
                path: self.path.into(),
                detail,
                hint: "Save the adapter again with PEFT".into(),
            }),
        }
    }
}
