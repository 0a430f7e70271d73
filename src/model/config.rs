//! `config.json` of a Qwen2 or Llama model, in the spellings of transformers 4 and 5.

mod rope;

use std::path::Path;

use serde_json::{Map, Value, json};

use super::error::{ModelError, Result};
use super::tensor_file::{FileDtype, UniqueMap, regular_file_len};
use crate::ops::plan::{Llama3Scaling, Rope};

/// Sizes above this are no such model, and products of two of them still fit an index.
const MAX_SIZE: u64 = 1 << 24;
const MAX_LAYERS: u64 = 4096;
const MAX_CONFIG_BYTES: u64 = 16 << 20;

/// The architectures that Probity runs. Their blocks are the same; they differ in biases and in what missing keys mean.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Family {
    Qwen2,
    Llama,
}

impl Family {
    pub const ALL: [Family; 2] = [Family::Qwen2, Family::Llama];

    /// The family with this `model_type`.
    pub fn of(model_type: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|f| f.model_type() == model_type)
    }

    /// `model_type` in a `config.json`; llama.cpp has the same names.
    pub fn model_type(self) -> &'static str {
        match self {
            Family::Qwen2 => "qwen2",
            Family::Llama => "llama",
        }
    }

    /// Its class in transformers.
    pub fn architecture(self) -> &'static str {
        match self {
            Family::Qwen2 => "Qwen2ForCausalLM",
            Family::Llama => "LlamaForCausalLM",
        }
    }

    /// Whether the projections of queries, keys and values have biases.
    pub fn has_bias(self) -> bool {
        self == Family::Qwen2
    }
}

/// A model's shape. Missing keys have transformers' defaults; a null key counts as missing.
#[derive(Clone, Debug, PartialEq)]
pub struct ModelConfig {
    pub family: Family,
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    pub max_position_embeddings: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub rope_scaling: Option<Llama3Scaling>,
    pub tie_word_embeddings: bool,
    pub bos_token_id: Option<u32>,
    /// One, several (Qwen2.5-Instruct has two in `generation_config.json`) or none.
    pub eos_token_id: Vec<u32>,
    /// What the config says; the tensors' own dtype is what counts when reading.
    pub dtype: Option<FileDtype>,
    /// The file's keys as they stood, for writing back.
    original: Map<String, Value>,
}

impl ModelConfig {
    /// Reads `DIR/config.json`.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("config.json");
        let len = regular_file_len(&path)?;
        if len > MAX_CONFIG_BYTES {
            return Err(ModelError::File {
                path,
                detail: format!("{len} bytes are too many for a config.json"),
                hint: "Check the path".into(),
            });
        }
        let bytes =
            std::fs::read(&path).map_err(|source| ModelError::Io { path: path.clone(), doing: "read", source })?;
        Self::parse(&path, &bytes)
    }

    /// `path` is for error messages.
    pub fn parse(path: &Path, bytes: &[u8]) -> Result<Self> {
        let UniqueMap(entries) = serde_json::from_slice(bytes).map_err(|e| ModelError::File {
            path: path.into(),
            detail: format!("not a JSON object of distinct keys: {e}"),
            hint: "Fetch or export the file again".into(),
        })?;
        Self::from_map(path, entries.into_iter().collect())
    }

    /// A config made in the program, with the keys of `config.json`; `path` is for error messages.
    pub fn from_map(path: &Path, original: Map<String, Value>) -> Result<Self> {
        let keys = Keys { path, map: &original, prefix: "" };
        let family = keys.family()?;
        // transformers' own defaults.
        let (vocabulary, intermediate, positions) = match family {
            Family::Qwen2 => (151_936, 22_016, 32_768),
            Family::Llama => (32_000, 11_008, 2048),
        };
        let hidden_size = keys.size("hidden_size", 4096, 4)?;
        let num_attention_heads = keys.size("num_attention_heads", 32, 1)?;
        let head_dim = match keys.get("head_dim") {
            Some(_) => keys.size("head_dim", 0, 4)?,
            None if hidden_size.is_multiple_of(num_attention_heads) => hidden_size / num_attention_heads,
            None => {
                let found = format!("{num_attention_heads} while hidden_size is {hidden_size}");
                return Err(keys.wrong(
                    "num_attention_heads",
                    found,
                    "a divisor of hidden_size, or the key `head_dim`",
                ));
            }
        };
        if !head_dim.is_multiple_of(4) {
            return Err(keys.unsupported(&format!("a head size of {head_dim}"), "it must be a multiple of 4"));
        }
        // transformers reads a null as one per query head, and an absent key of Qwen2 as 32.
        let given = family == Family::Llama || original.contains_key("num_key_value_heads");
        let kv_default = match given || !num_attention_heads.is_multiple_of(32) {
            true => num_attention_heads,
            false => 32,
        };
        let num_key_value_heads = keys.size("num_key_value_heads", kv_default as u64, 1)?;
        if !num_attention_heads.is_multiple_of(num_key_value_heads) {
            let expected = format!("a divisor of num_attention_heads ({num_attention_heads})");
            return Err(keys.wrong("num_key_value_heads", num_key_value_heads.to_string(), &expected));
        }
        let num_hidden_layers = keys.size("num_hidden_layers", 32, 1)?;
        if num_hidden_layers as u64 > MAX_LAYERS {
            return Err(keys.wrong("num_hidden_layers", num_hidden_layers.to_string(), "at most 4096"));
        }
        keys.unsupported_features(num_hidden_layers)?;
        if family == Family::Llama {
            keys.unsupported_biases()?;
        }
        let vocab_size = keys.size("vocab_size", vocabulary, 1)?;
        if vocab_size < 2 {
            return Err(keys.wrong("vocab_size", vocab_size.to_string(), "at least 2"));
        }
        let dtype = keys.get("dtype").or(keys.get("torch_dtype")).and_then(Value::as_str);
        let max_position_embeddings = keys.size("max_position_embeddings", positions, 1)?;
        let rope = keys.rope(max_position_embeddings)?;
        // An absent key of Llama means the tokens of its first release, a null none.
        let default_ids = |key: &str, id| match family == Family::Llama && !original.contains_key(key) {
            true => Ok(vec![id]),
            false => keys.ids(key),
        };
        let config = Self {
            family,
            hidden_size,
            intermediate_size: keys.size("intermediate_size", intermediate, 4)?,
            num_hidden_layers,
            num_attention_heads,
            num_key_value_heads,
            head_dim,
            vocab_size,
            max_position_embeddings,
            rms_norm_eps: keys.positive("rms_norm_eps", 1e-6)?,
            rope_theta: rope.theta,
            rope_scaling: rope.scaling,
            tie_word_embeddings: keys.flag("tie_word_embeddings", false)?,
            bos_token_id: default_ids("bos_token_id", 1)?.first().copied(),
            eos_token_id: default_ids("eos_token_id", 2)?,
            dtype: dtype.and_then(|d| match d.trim_start_matches("torch.") {
                "float32" => Some(FileDtype::F32),
                "float16" => Some(FileDtype::F16),
                "bfloat16" => Some(FileDtype::Bf16),
                _ => None,
            }),
            original: Map::new(),
        };
        for spec in super::params::specs(&config) {
            if spec.rows as u64 * spec.cols as u64 > u64::from(u32::MAX) {
                let what = format!("`{}` of {} x {} elements", spec.name, spec.rows, spec.cols);
                return Err(keys.unsupported(&what, "a tensor has at most 2^32 - 1 elements"));
            }
        }
        Ok(Self { original, ..config })
    }

    /// Frequencies of its rotary embedding.
    pub fn rope(&self) -> Rope {
        Rope { theta: self.rope_theta, scaling: self.rope_scaling }
    }

    /// The keys to write: everything that was read, untouched, plus `architectures`, `model_type`, the dtype (F32 or BF16, in the
    /// spelling that was read) and whatever the model needs that was missing or null.
    pub fn to_map(&self, dtype: FileDtype) -> Map<String, Value> {
        let mut map = self.original.clone();
        map.insert("architectures".into(), json!([self.family.architecture()]));
        map.insert("model_type".into(), json!(self.family.model_type()));
        let dtype = match dtype {
            FileDtype::Bf16 => "bfloat16",
            _ => "float32",
        };
        if map.contains_key("dtype") {
            map.insert("dtype".into(), json!(dtype));
        }
        // Read by transformers 4 and 5 alike.
        if map.contains_key("torch_dtype") || !map.contains_key("dtype") {
            map.insert("torch_dtype".into(), json!(dtype));
        }
        let mut need = |key: &str, value: Value| {
            if map.get(key).is_none_or(Value::is_null) {
                map.insert(key.into(), value);
            }
        };
        need("hidden_act", json!("silu"));
        need("hidden_size", json!(self.hidden_size));
        need("intermediate_size", json!(self.intermediate_size));
        need("num_hidden_layers", json!(self.num_hidden_layers));
        need("num_attention_heads", json!(self.num_attention_heads));
        need("num_key_value_heads", json!(self.num_key_value_heads));
        need("vocab_size", json!(self.vocab_size));
        need("max_position_embeddings", json!(self.max_position_embeddings));
        need("rms_norm_eps", json!(self.rms_norm_eps));
        need("tie_word_embeddings", json!(self.tie_word_embeddings));
        // transformers derives it where the key is absent, but not where it is null.
        let derived = self.head_dim * self.num_attention_heads == self.hidden_size;
        if map.get("head_dim").map_or(!derived, Value::is_null) {
            map.insert("head_dim".into(), json!(self.head_dim));
        }
        let nested = |key| map.get(key).and_then(|r: &Value| r.get("rope_theta")).is_some_and(|t| !t.is_null());
        if !nested("rope_parameters") && !nested("rope_scaling") && map.get("rope_theta").is_none_or(Value::is_null) {
            map.insert("rope_theta".into(), json!(self.rope_theta));
        }
        map
    }
}

/// Typed access to one JSON object.
struct Keys<'a> {
    path: &'a Path,
    map: &'a Map<String, Value>,
    /// `rope_parameters.` for the nested object.
    prefix: &'a str,
}

impl<'a> Keys<'a> {
    fn get(&self, key: &str) -> Option<&'a Value> {
        self.map.get(key).filter(|v| !v.is_null())
    }

    fn wrong(&self, key: &str, found: impl Into<String>, expected: &str) -> ModelError {
        let (key, found) = (format!("{}{key}", self.prefix), found.into());
        ModelError::Key { path: self.path.into(), key, found, expected: expected.into() }
    }

    fn unsupported(&self, what: &str, why: &str) -> ModelError {
        ModelError::Unsupported { path: self.path.into(), what: what.into(), why: why.into() }
    }

    fn size(&self, key: &str, default: u64, multiple: usize) -> Result<usize> {
        let n = match self.get(key) {
            None => default,
            Some(v) => match v.as_u64() {
                Some(n) if (1..=MAX_SIZE).contains(&n) => n,
                _ => return Err(self.wrong(key, short(v), "a whole number from 1 to 2^24")),
            },
        } as usize;
        if !n.is_multiple_of(multiple) {
            return Err(self.unsupported(&format!("{key} {n}"), &format!("it must be a multiple of {multiple}")));
        }
        Ok(n)
    }

    fn positive(&self, key: &str, default: f64) -> Result<f64> {
        match self.get(key) {
            None => Ok(default),
            // f32 is what the kernels get.
            Some(v) => match v.as_f64() {
                Some(x) if x as f32 > 0.0 && (x as f32).is_finite() => Ok(x),
                _ => Err(self.wrong(key, short(v), "a positive number")),
            },
        }
    }

    fn flag(&self, key: &str, default: bool) -> Result<bool> {
        match self.get(key) {
            None => Ok(default),
            Some(v) => v.as_bool().ok_or_else(|| self.wrong(key, short(v), "true or false")),
        }
    }

    /// A token id, or a list of them.
    fn ids(&self, key: &str) -> Result<Vec<u32>> {
        let id = |v: &Value| v.as_u64().and_then(|n| u32::try_from(n).ok());
        let ids = match self.get(key) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list.iter().map(id).collect(),
            Some(one) => id(one).map(|n| vec![n]),
        };
        ids.ok_or_else(|| {
            self.wrong(key, self.get(key).map_or_else(String::new, short), "a token id or a list of them")
        })
    }

    fn object(&self, key: &str) -> Result<Option<&'a Map<String, Value>>> {
        match self.get(key) {
            None => Ok(None),
            Some(Value::Object(map)) if map.is_empty() => Ok(None),
            Some(Value::Object(map)) => Ok(Some(map)),
            Some(v) => Err(self.wrong(key, short(v), "an object")),
        }
    }

    fn family(&self) -> Result<Family> {
        match self.get("model_type") {
            Some(Value::String(s)) => Family::of(s).ok_or_else(|| {
                let runs = Family::ALL.map(|f| format!("\"{}\"", f.model_type())).join(" and ");
                self.unsupported(&format!("model_type \"{}\"", short_text(s)), &format!("Probity runs {runs} models"))
            }),
            other => Err(self.wrong("model_type", other.map_or("missing".into(), short), "\"qwen2\" or \"llama\"")),
        }
    }

    fn unsupported_features(&self, layers: usize) -> Result<()> {
        match self.get("hidden_act") {
            None => {}
            Some(Value::String(s)) if s == "silu" || s == "swish" => {}
            Some(v) => {
                return Err(self.unsupported(&format!("hidden_act {}", short(v)), "the MLP is SwiGLU (\"silu\")"));
            }
        }
        let window = "attention sees the whole past; set `use_sliding_window` to false if the context fits the window";
        match self.get("layer_types") {
            None => {
                // As transformers derives the types: a null `sliding_window` turns the window off, an absent one is 4096.
                let first = self.size_or_zero("max_window_layers", 28)?;
                let has_window = !self.map.get("sliding_window").is_some_and(Value::is_null);
                if self.flag("use_sliding_window", false)? && has_window && first < layers {
                    return Err(
                        self.unsupported(&format!("a sliding window in layers {first} to {}", layers - 1), window)
                    );
                }
            }
            Some(Value::Array(types)) => {
                if let Some(t) = types.iter().find(|t| t.as_str() != Some("full_attention")) {
                    return Err(self.unsupported(&format!("layer type {}", short(t)), window));
                }
                if types.len() != layers {
                    let expected = format!("one entry per layer ({layers})");
                    return Err(self.wrong("layer_types", format!("a list of {}", types.len()), &expected));
                }
            }
            Some(v) => return Err(self.wrong("layer_types", short(v), "a list")),
        }
        if let Some(v) = self.get("quantization_config") {
            let method = v.get("quant_method").map_or("a quantization_config".into(), short);
            return Err(
                self.unsupported(&format!("quantised weights ({method})"), "use the checkpoint in bf16, f16 or f32")
            );
        }
        Ok(())
    }

    /// What Llama's code can have and its published models have not.
    fn unsupported_biases(&self) -> Result<()> {
        for (key, which) in [("attention_bias", "q_proj, k_proj, v_proj and o_proj"), ("mlp_bias", "the MLP")] {
            if self.flag(key, false)? {
                return Err(
                    self.unsupported(&format!("{key} true"), &format!("{which} of a Llama model have no biases here"))
                );
            }
        }
        Ok(())
    }

    fn size_or_zero(&self, key: &str, default: usize) -> Result<usize> {
        match self.get(key) {
            Some(v) if v.as_u64() == Some(0) => Ok(0),
            _ => self.size(key, default as u64, 1),
        }
    }
}

/// A JSON value for a message.
fn short(v: &Value) -> String {
    short_text(&v.to_string())
}

fn short_text(s: &str) -> String {
    match s.char_indices().nth(60) {
        Some((at, _)) => format!("{}...", &s[..at]),
        None => s.to_string(),
    }
}

/// A model's sizes, as a `[model]` table gives them; the rest is transformers' defaults with tied embeddings.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sizes {
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub intermediate_size: usize,
    pub vocab_size: usize,
    #[serde(default = "default_theta")]
    pub rope_theta: f64,
    #[serde(default = "default_positions")]
    pub max_position_embeddings: usize,
}

fn default_theta() -> f64 {
    1e6
}
fn default_positions() -> usize {
    1024
}

impl Sizes {
    /// A model to be made here; `path` is for error messages.
    pub fn config(&self, path: &Path) -> Result<ModelConfig> {
        let json = json!({
            "architectures": ["Qwen2ForCausalLM"],
            "model_type": "qwen2",
            "hidden_act": "silu",
            "hidden_size": self.hidden_size,
            "intermediate_size": self.intermediate_size,
            "num_hidden_layers": self.num_hidden_layers,
            "num_attention_heads": self.num_attention_heads,
            "num_key_value_heads": self.num_key_value_heads,
            "vocab_size": self.vocab_size,
            "max_position_embeddings": self.max_position_embeddings,
            "rms_norm_eps": 1e-6,
            "rope_theta": self.rope_theta,
            "tie_word_embeddings": true,
            "use_sliding_window": false,
            "torch_dtype": "float32",
        });
        let Value::Object(map) = json else { return Err(ModelError::Input("the sizes are not an object".into())) };
        ModelConfig::from_map(path, map)
    }

    /// Shapes that published comparisons use (`TINY`, `SMALL`, Qwen2-0.5B).
    pub fn named(name: &str) -> Option<Sizes> {
        let [h, l, q, kv, f, v] = match name {
            "tiny" => [128, 4, 4, 2, 352, 512],
            "small" => [256, 6, 8, 2, 704, 4096],
            "q05b" => [896, 24, 14, 2, 4864, 151_936],
            _ => return None,
        };
        Some(Sizes {
            hidden_size: h,
            num_hidden_layers: l,
            num_attention_heads: q,
            num_key_value_heads: kv,
            intermediate_size: f,
            vocab_size: v,
            rope_theta: default_theta(),
            max_position_embeddings: default_positions(),
        })
    }
}
