//! Where a model comes from: a folder in Hugging Face layout, a repository in the local Hugging Face cache, the model compiled
//! into the program, or a LoRA adapter in PEFT's layout on top of one of these.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::hub::{self, Env, ModelId};
use crate::model::error::{ModelError, Result};
use crate::model::params::{ParamSpec, Params, specs};
use crate::model::peft::{AdapterFolder, is_adapter, write_peft_folder};
use crate::model::qwen2::Qwen2;
use crate::model::save::{SideFiles, write_hf_folder};
use crate::model::tensor_file::FileDtype;
use crate::model::weights::Checkpoint;
use crate::ops::{Dtype, Ops, Quant, TensorMeta};
use crate::text::{TextError, Tokenizer, TokenizerFiles};

/// Name of the embedded model on the command line and in configurations.
pub const EMBEDDED: &str = "embedded";

macro_rules! tiny {
    ($name:literal) => {
        include_bytes!(concat!("../../data/tiny/", $name))
    };
}

static TINY_CONFIG: &[u8] = tiny!("config.json");
static TINY_WEIGHTS: &[u8] = tiny!("model.safetensors");
static TINY_FILES: [(&str, &[u8]); 4] = [
    ("generation_config.json", tiny!("generation_config.json")),
    ("tokenizer.json", tiny!("tokenizer.json")),
    ("tokenizer_config.json", tiny!("tokenizer_config.json")),
    ("special_tokens_map.json", tiny!("special_tokens_map.json")),
];

const IS_ADAPTER: &str = "it is an adapter itself; merge one into the other with PEFT";

/// How matrices are kept on a device; norms and biases are f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// bf16 where the file has it, else f32.
    AsStored,
    F32,
    /// Rounded to nearest where the file is wider.
    Bf16,
    /// Codes of eight bits ([`Quant::Int8`]), made while loading.
    Int8,
    /// Codes of four bits ([`Quant::Int4`]); embedding and head are int8, as log-probabilities are read off them and they are few bytes.
    Int4,
    /// Likewise with [`Quant::Nf4`].
    Nf4,
}

impl Storage {
    pub const ALL: [Storage; 6] =
        [Storage::AsStored, Storage::F32, Storage::Bf16, Storage::Int8, Storage::Int4, Storage::Nf4];

    /// As it is given on the command line and stands in files.
    pub const fn name(self) -> &'static str {
        match self {
            Storage::AsStored => "as-stored",
            Storage::F32 => "f32",
            Storage::Bf16 => "bf16",
            Storage::Int8 => Quant::Int8.name(),
            Storage::Int4 => Quant::Int4.name(),
            Storage::Nf4 => Quant::Nf4.name(),
        }
    }

    /// Format and group sizes in words, for manifests.
    pub fn words(self) -> String {
        let groups = |q: Quant| format!("{} in groups of {}", q.name(), q.group());
        match self {
            Storage::AsStored | Storage::F32 | Storage::Bf16 => self.name().into(),
            Storage::Int8 => groups(Quant::Int8),
            Storage::Int4 => format!("{}, embedding and head {}", groups(Quant::Int4), groups(Quant::Int8)),
            Storage::Nf4 => format!("{}, embedding and head {}", groups(Quant::Nf4), groups(Quant::Int8)),
        }
    }

    /// Storage of one parameter; `bf16`: the file has every matrix in bf16.
    pub fn dtype(self, s: &ParamSpec, bf16: bool) -> Dtype {
        let vocabulary = s.name == EMBEDDING || s.name == HEAD;
        match self {
            _ if s.vector => Dtype::F32,
            Storage::AsStored if bf16 => Dtype::Bf16,
            Storage::AsStored | Storage::F32 => Dtype::F32,
            Storage::Bf16 => Dtype::Bf16,
            Storage::Int8 => Dtype::Quant(Quant::Int8),
            Storage::Int4 | Storage::Nf4 if vocabulary => Dtype::Quant(Quant::Int8),
            Storage::Int4 => Dtype::Quant(Quant::Int4),
            Storage::Nf4 => Dtype::Quant(Quant::Nf4),
        }
    }
}

impl FromStr for Storage {
    type Err = String;
    fn from_str(text: &str) -> std::result::Result<Self, String> {
        let names = || Self::ALL.map(Self::name).join(", ");
        Self::ALL.into_iter().find(|s| s.name() == text).ok_or_else(|| format!("expected one of {}", names()))
    }
}

/// The two tables of the vocabulary.
pub(super) const EMBEDDING: &str = "model.embed_tokens.weight";
pub(super) const HEAD: &str = "lm_head.weight";

/// An opened model: weights, and the files that travel with them.
pub struct Source {
    pub checkpoint: Checkpoint,
    /// Commit on the hub, of a model from the cache.
    pub commit: Option<String>,
    /// On top of the checkpoint's weights.
    adapter: Option<AdapterFolder>,
    /// As it was asked for; of an adapter, the name of its base.
    name: String,
    side: SideFiles,
}

impl Source {
    /// `embedded`, a folder, or `ORG/NAME[@REVISION]` in the local Hugging Face cache (nothing is fetched).
    pub fn open(name: &str) -> Result<Self> {
        Self::open_with(name, Env::of_process)
    }

    /// The same with the environment that says where the cache is; asked for only where it matters.
    pub fn open_with(name: &str, env: impl Fn() -> std::result::Result<Env, hub::HubError> + Copy) -> Result<Self> {
        if name == EMBEDDED {
            let checkpoint = Checkpoint::from_static(Path::new(EMBEDDED), TINY_CONFIG, TINY_WEIGHTS)?;
            let side = SideFiles(TINY_FILES.iter().map(|(n, b)| (n.to_string(), b.to_vec())).collect());
            return Ok(Self { checkpoint, commit: None, adapter: None, name: name.into(), side });
        }
        let (dir, commit) = match ModelId::of_name(name)? {
            None => (PathBuf::from(name), None),
            Some(id) => {
                let found = hub::locate(&env()?, &id)?;
                (found.folder, Some(found.commit))
            }
        };
        if !is_adapter(&dir) {
            let (checkpoint, side) = (Checkpoint::open(&dir)?, SideFiles::read(&dir)?);
            return Ok(Self { checkpoint, commit, adapter: None, name: name.into(), side });
        }
        let adapter = AdapterFolder::open(&dir)?;
        let base = match (ModelId::of_name(&adapter.base)?, &adapter.revision) {
            (Some(ModelId { repository, revision: None }), Some(revision)) => format!("{repository}@{revision}"),
            _ => adapter.base.clone(),
        };
        let refuse = |why: &str| {
            let what = format!("the base model {base}");
            Err(ModelError::Unsupported { path: dir.clone(), what, why: why.into() })
        };
        // Before it is opened: adapters that name each other would go round for ever.
        if base == name || is_adapter(Path::new(&base)) {
            return refuse(IS_ADAPTER);
        }
        let below = Self::open_with(&base, env).map_err(|e| ModelError::File {
            path: dir.join("adapter_config.json"),
            detail: format!("its base model cannot be opened: {e}"),
            hint: "Put the base model there, or change base_model_name_or_path".into(),
        })?;
        if below.adapter.is_some() {
            return refuse(IS_ADAPTER);
        }
        let own = SideFiles::read(&dir)?;
        // Trainers save the tokenizer beside the adapter, sometimes with a changed template.
        let side = if own.0.iter().any(|(n, _)| n == "tokenizer.json") { own } else { below.side.clone() };
        Ok(Self { adapter: Some(adapter), side, ..below })
    }

    /// Puts the weights on a device with room for sequences of `positions` tokens.
    pub fn load<O: Ops>(&self, o: &O, positions: usize, storage: Storage) -> Result<Qwen2<O>> {
        let c = &self.checkpoint;
        let bf16 = storage == Storage::AsStored && c.is_bf16();
        let params: Params<O::T> = Params::build(&c.config, |s| -> Result<O::T> {
            // All readers refuse NaN and infinities.
            Ok(match storage.dtype(&s, bf16) {
                Dtype::F32 => o.upload(s.rows, s.cols, &c.f32(&s.name)?)?,
                Dtype::Bf16 => o.upload_bf16(s.rows, s.cols, &c.bf16(&s.name)?)?,
                Dtype::Quant(q) => o.upload_quant(&c.quantised(&s, q)?)?,
            })
        })?;
        let mut model = Qwen2::new(o, c.config.clone(), params, positions)?;
        model.adapters = self.adapter.as_ref().map(|a| a.load(o, &c.config)).transpose()?;
        Ok(model)
    }

    /// Whether it is an adapter on top of a model.
    pub fn is_adapter(&self) -> bool {
        self.adapter.is_some()
    }

    /// A model that was trained from this source and saved by [`Source::save`]: of adapters, the folder says no more than what is on top of
    /// this source's weights, wherever they lay when it was written.
    pub fn load_trained<O: Ops>(&self, o: &O, dir: &Path, positions: usize, storage: Storage) -> Result<Qwen2<O>> {
        if !is_adapter(dir) {
            return Self::open(&dir.to_string_lossy())?.load(o, positions, storage);
        }
        let mut model = self.load(o, positions, storage)?;
        model.adapters = Some(AdapterFolder::open(dir)?.load(o, &self.checkpoint.config)?);
        Ok(model)
    }

    /// The tokenizer and its chat template.
    pub fn tokenizer(&self) -> std::result::Result<Tokenizer, TextError> {
        let file = |name: &str| self.side.0.iter().find(|(n, _)| n == name).map(|(_, b)| b.as_slice());
        let Some(tokenizer) = file("tokenizer.json") else {
            let path = self.checkpoint.path().join("tokenizer.json");
            return Err(TextError::Read { path, source: std::io::ErrorKind::NotFound.into() });
        };
        let config = serde_json::to_vec(&self.checkpoint.config.to_map(FileDtype::F32)).ok();
        Tokenizer::from_files(&TokenizerFiles {
            tokenizer,
            config: config.as_deref(),
            tokenizer_config: file("tokenizer_config.json"),
            generation_config: file("generation_config.json"),
            chat_template: file("chat_template.jinja"),
        })
    }

    /// Sampling settings of the model's `generation_config.json`. They are shown and never used: a penalty that came with a checkpoint
    /// once changed a study's lengths. `None` where it has none, or none that changes anything.
    pub fn generation_defaults(&self) -> Option<String> {
        let (_, bytes) = self.side.0.iter().find(|(n, _)| n == "generation_config.json")?;
        let map: serde_json::Map<String, serde_json::Value> = serde_json::from_slice(bytes).ok()?;
        // Names with the values that do nothing.
        const SETTINGS: [(&str, f64); 8] = [
            ("temperature", 1.0),
            ("top_p", 1.0),
            ("top_k", 0.0),
            ("min_p", 0.0),
            ("repetition_penalty", 1.0),
            ("presence_penalty", 0.0),
            ("frequency_penalty", 0.0),
            ("no_repeat_ngram_size", 0.0),
        ];
        let said = |(name, neutral): &(&str, f64)| {
            let value = map.get(*name)?.as_f64().filter(|v| v != neutral)?;
            Some(format!("{name} {value}"))
        };
        let said: Vec<String> = SETTINGS.iter().filter_map(said).collect();
        let what = said.join(", ");
        (!said.is_empty()).then(|| {
            format!(
                "The model's generation_config.json asks for {what}: not used. Decoding is what the configuration says."
            )
        })
    }

    /// Of `tokenizer.json` (hex); of no bytes where there is none.
    pub fn tokenizer_sha256(&self) -> String {
        use sha2::{Digest, Sha256};
        let bytes = self.side.0.iter().find(|(n, _)| n == "tokenizer.json").map_or(&[][..], |(_, b)| b.as_slice());
        Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
    }

    /// Of the weights; of base and adapter together where there is one.
    pub fn sha256(&self) -> Result<String> {
        use sha2::{Digest, Sha256};
        let base = self.checkpoint.sha256()?;
        let Some(adapter) = &self.adapter else { return Ok(base) };
        let both = Sha256::digest(format!("{base} {}", adapter.sha256(&self.checkpoint.config)?));
        Ok(both.iter().map(|b| format!("{b:02x}")).collect())
    }

    /// Writes `model`, which came from this source, with this source's side files byte for byte: its adapters as a PEFT folder, or without
    /// adapters a Hugging Face folder, in bf16 where its matrices are stored so, else in f32.
    pub fn save<O: Ops>(&self, o: &O, model: &Qwen2<O>, dir: &Path) -> Result<()> {
        if let Some(adapters) = &model.adapters {
            // PEFT has the revision apart; a relative folder would mean another one from elsewhere.
            let (base, revision) = match ModelId::of_name(&self.name)? {
                Some(id) => (id.repository, self.commit.clone().or(id.revision)),
                None if self.name == EMBEDDED => (self.name.clone(), None),
                None => {
                    let whole = std::fs::canonicalize(&self.name);
                    (whole.map_or(self.name.clone(), |p| p.to_string_lossy().into_owned()), None)
                }
            };
            return write_peft_folder(o, dir, &model.config, adapters, (&base, revision.as_deref()), &self.side);
        }
        let dtype = match model.params.embed_tokens.dtype() {
            Dtype::F32 => FileDtype::F32,
            Dtype::Bf16 => FileDtype::Bf16,
            Dtype::Quant(q) => {
                return Err(ModelError::File {
                    path: dir.into(),
                    detail: format!("the model's weights are stored as {}, which no folder holds", q.name()),
                    hint: "Load it in f32 or bf16 to save it".into(),
                });
            }
        };
        save(o, model, dtype, &self.side, dir)
    }
}

/// Writes a model as a Hugging Face folder.
pub fn save<O: Ops>(o: &O, model: &Qwen2<O>, dtype: FileDtype, side: &SideFiles, dir: &Path) -> Result<()> {
    let named = specs(&model.config).into_iter().zip(model.params.iter());
    write_hf_folder(dir, &model.config, named.map(|(s, t)| Ok((s.name, o.read(t)?))), dtype, side)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::Hub;
    use crate::hub::tests_server::{COMMIT, Server, files};

    struct Silent;
    impl hub::Watch for Silent {
        fn file(&mut self, _: &str, _: u64) {}
        fn progress(&mut self, _: u64, _: u64) {}
        fn note(&mut self, _: &str) {}
    }

    #[test]
    fn a_fetched_model_opens_by_its_name_and_knows_its_commit() {
        let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
        let env = server.env(dir.path(), &[]);
        let open = |name: &str| Source::open_with(name, || Ok(env.clone()));
        let text = open("org/tiny").err().unwrap().to_string();
        assert!(text.contains("`probity fetch org/tiny`"), "{text}");
        assert!(server.seen.lock().unwrap().is_empty(), "nothing is fetched unasked");

        let hub = Hub::new(&env).unwrap();
        hub.fetch(&hub.plan(&ModelId::parse("org/tiny").unwrap()).unwrap(), &mut Silent).unwrap();
        for name in ["org/tiny", &format!("org/tiny@{COMMIT}")] {
            let source = open(name).unwrap();
            assert_eq!(source.commit.as_deref(), Some(COMMIT));
            assert_eq!(source.sha256().unwrap(), Source::open(EMBEDDED).unwrap().sha256().unwrap());
            assert!(!source.tokenizer().unwrap().encode("3 + 4").unwrap().is_empty());
        }
        assert_eq!(Source::open(EMBEDDED).unwrap().commit, None);
    }

    /// A sequence's tokens and log-probabilities are the same bits in any batch, and those that the training
    /// forward computes of it.
    #[test]
    fn quantised_models_generate_the_same_in_any_batch() {
        use crate::cpu::Cpu;
        use crate::generate::{GenerateConfig, Request, generate};
        use crate::model::batch::Batch;
        use crate::model::hooks::HookSet;
        use crate::ops::Sampling;
        let o = Cpu::<f32>::new();
        let source = Source::open(EMBEDDED).unwrap();
        let tokenizer = source.tokenizer().unwrap();
        let text = tokenizer.render(&[crate::text::Message::user("What is 3 + 4?")], true).unwrap();
        let prompt = tokenizer.encode(&text).unwrap();
        let mut said = Vec::new();
        for storage in [Storage::AsStored, Storage::Int8, Storage::Int4, Storage::Nf4] {
            let model = source.load(&o, 64, storage).unwrap();
            let dtype = |s: &ParamSpec| storage.dtype(s, source.checkpoint.is_bf16());
            let stored = specs(&model.config).iter().map(dtype).collect::<Vec<_>>();
            assert_eq!(model.params.iter().map(TensorMeta::dtype).collect::<Vec<_>>(), stored);
            let of = |sequences: u32, temperature: f32| {
                let config = GenerateConfig {
                    sampling: Sampling { temperature, top_k: 0, top_p: 1.0 },
                    repetition_penalty: 1.0,
                    max_new_tokens: 8,
                    stop_ids: tokenizer.eos_ids().to_vec(),
                    seed: 5,
                    max_batch: 64,
                };
                let request = Request { prompt: prompt.clone(), sequences: (0..sequences).collect() };
                generate(&o, &model, &[request], &config, &HookSet::default()).unwrap().remove(0)
            };
            let (one, three, eight) = (of(1, 0.9), of(3, 0.9), of(8, 0.9));
            let bits = |c: &crate::generate::Completion| {
                (c.tokens.clone(), c.logps.iter().map(|p| p.to_bits()).collect::<Vec<_>>())
            };
            assert_eq!(bits(&one[0]), bits(&eight[0]), "{storage:?}");
            assert_eq!(bits(&three[2]), bits(&eight[2]), "{storage:?}");
            let greedy = &of(1, 0.0)[0];
            let whole: Vec<u32> = prompt.iter().chain(&greedy.tokens).copied().collect();
            let batch = Batch::new(&o, &[whole[..whole.len() - 1].to_vec()]).unwrap();
            let x = model.forward(&o, &batch, &HookSet::default()).unwrap();
            let h = model.final_norm(&o, &x, None, &HookSet::default()).unwrap();
            let out = o.head_logp(&h, model.params.head(), &o.upload_index(&whole[1..]).unwrap(), 1.0).unwrap();
            let logp = o.read(&out.logp).unwrap()[prompt.len() - 1..].to_vec();
            let bits = |v: &[f32]| v.iter().map(|p| p.to_bits()).collect::<Vec<_>>();
            assert_eq!(bits(&logp), bits(&greedy.logps), "{storage:?}");
            said.push(tokenizer.decode(&greedy.tokens, true).unwrap());
        }
        // As stored it answers; with codes of eight bits it answers the same.
        assert_eq!(said[0], said[1], "{said:?}");
        assert!(!said[2].is_empty() && !said[3].is_empty());
    }

    #[test]
    fn storages_have_names_and_words() {
        for storage in Storage::ALL {
            assert_eq!(storage.name().parse(), Ok(storage));
        }
        assert!("q4".parse::<Storage>().is_err_and(|e| e.contains("int4, nf4")));
        assert_eq!(Storage::Nf4.words(), "nf4 in groups of 64, embedding and head int8 in groups of 32");
    }

    #[test]
    fn sampling_settings_of_a_checkpoint_are_shown() {
        let with = |text: &str| {
            let mut source = Source::open(EMBEDDED).unwrap();
            source.side.0.retain(|(n, _)| n != "generation_config.json");
            source.side.0.push(("generation_config.json".into(), text.as_bytes().to_vec()));
            source.generation_defaults()
        };
        let qwen = r#"{"repetition_penalty": 1.1, "temperature": 0.7, "top_p": 0.8, "top_k": 20, "eos_token_id": [1]}"#;
        let note = with(qwen).unwrap();
        assert!(
            note.contains("asks for temperature 0.7, top_p 0.8, top_k 20, repetition_penalty 1.1: not used"),
            "{note}"
        );
        assert_eq!(with(r#"{"temperature": 1.0, "repetition_penalty": 1}"#), None);
        assert_eq!(with("no json"), None);
        assert_eq!(Source::open(EMBEDDED).unwrap().generation_defaults(), None);
    }
}
