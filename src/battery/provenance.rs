//! What rows that stand outside a run folder were made with.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};

use super::config::{BatteryConfig, EvaluateConfig};
use super::error::{BatteryError, Result};
use super::folder::write_json;
use super::record::sha256_hex;
use crate::domain::{Condition, Domain, Split};
use crate::generate::source::{Source, Storage};
use crate::ops::Ops;
use crate::train::checkpoint;

/// Written beside the rows of `probity evaluate`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Provenance {
    pub program: String,
    pub version: String,
    /// Name of the experiment whose test split and scorer were used.
    pub experiment: String,
    pub model: String,
    /// How its matrices were kept on the device, with the sizes of groups.
    #[serde(default)]
    pub weights: String,
    pub device: String,
    /// SHA-256 of the weights, of all items, and of the rows' file.
    pub model_sha256: String,
    pub data_sha256: String,
    pub rows_sha256: String,
    pub rows: usize,
    pub seed: u64,
    pub conditions: Vec<String>,
    /// Decoding.
    pub evaluate: EvaluateConfig,
    pub made_unix: u64,
}

/// SHA-256 over every item of a domain.
pub fn data_sha256(domain: &dyn Domain) -> String {
    let items = Split::ALL.iter().flat_map(|&s| domain.items(s));
    let text = |i: &crate::domain::Item| {
        let before: String = i.before.iter().map(|m| format!("{}\t", m.content)).collect();
        format!("{}\t{before}{}\t{}\n", i.id, i.prompt, i.truth)
    };
    sha256_hex(items.map(text).collect::<String>().as_bytes())
}

/// A model's name as part of a file's.
pub fn in_file_name(model: &str) -> String {
    let plain = |c: char| if c.is_ascii_alphanumeric() || "-_.".contains(c) { c } else { '-' };
    model.chars().map(plain).collect()
}

impl Provenance {
    /// Of rows that are still to be written; see [`Provenance::write`].
    pub fn new<O: Ops>(
        o: &O,
        config: &BatteryConfig,
        (model, storage): (&str, Storage),
        conditions: &[Condition],
        seed: u64,
    ) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(Self {
            program: "probity".into(),
            version: env!("CARGO_PKG_VERSION").into(),
            experiment: config.name.clone(),
            model: model.into(),
            weights: storage.words(),
            device: o.device_name(),
            model_sha256: match Path::new(model) {
                // Adapters say nothing without their base.
                dir if checkpoint::is_checkpoint(dir) && config.lora.is_some() => {
                    let both = [Source::open(&config.model)?.sha256()?, checkpoint::sha256(dir)?];
                    super::record::sha256_hex(both.join(" ").as_bytes())
                }
                dir if checkpoint::is_checkpoint(dir) => checkpoint::sha256(dir)?,
                _ => Source::open(model)?.sha256()?,
            },
            data_sha256: data_sha256(&*super::lab::domain_of(config)?),
            rows_sha256: String::new(),
            rows: 0,
            seed,
            conditions: conditions.iter().map(|c| c.name().to_string()).collect(),
            evaluate: config.evaluate.clone(),
            made_unix: now.as_secs(),
        })
    }

    /// Writes it beside the file of `rows` rows as `<its name>.manifest.json` and returns that path.
    pub fn write(self, file: &Path, rows: usize) -> Result<PathBuf> {
        self.write_as(file, None, rows)
    }

    /// The same of `rows` rows of one of several models in a file: `<its name>.<model>.manifest.json`.
    pub fn write_as(mut self, file: &Path, model: Option<&str>, rows: usize) -> Result<PathBuf> {
        self.rows_sha256 = sha256_hex(&std::fs::read(file).map_err(BatteryError::io(file))?);
        self.rows = rows;
        let mut name = file.file_name().unwrap_or_default().to_os_string();
        if let Some(model) = model {
            name.push(format!(".{}", in_file_name(model)));
        }
        name.push(".manifest.json");
        let path = file.with_file_name(name);
        write_json(&path, &self)?;
        Ok(path)
    }
}
