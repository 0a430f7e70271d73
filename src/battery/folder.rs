//! The run folder: manifest, configuration, and which cells are done.
//!
//! A cell (one training, one set of rows, one sweep) is keyed by a hash of everything it depends on. A cell that is done under
//! its key is not run again; one that was begun under another key is refused, never overwritten.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::error::{BatteryError, Result};
use super::given;
use super::record::{Manifest, sha256_hex};
use crate::durable;

/// One entry of `cells.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct CellRecord {
    key: String,
    /// Wall time; absent while the cell is unfinished.
    seconds: Option<f64>,
}

/// An open run folder.
pub struct Folder {
    pub dir: PathBuf,
    pub manifest: Manifest,
    cells: BTreeMap<String, CellRecord>,
    /// Texts of manifest and configuration as they were found; a refused run puts them back.
    found: Option<[String; 2]>,
}

/// A cell that is to be run.
pub struct Begun {
    name: String,
    clock: Instant,
}

/// Hash of what a cell depends on; a tuple of its parts will do.
pub fn key_of(parts: &impl Serialize) -> Result<String> {
    let text = serde_json::to_string(parts).map_err(|e| BatteryError::Refused(e.to_string()))?;
    Ok(sha256_hex(text.as_bytes()))
}

impl Folder {
    /// Opens or makes the folder of a run. An existing one must have the program version, model, data and device of `manifest`.
    pub fn open(dir: &Path, manifest: Manifest, config: &str) -> Result<Self> {
        make_dir(dir)?;
        let path = dir.join("manifest.json");
        let mut manifest = manifest;
        if path.exists() {
            let found: Manifest = read_json(&path)?;
            let mut differs: Vec<&str> = manifest
                .hashes
                .iter()
                .filter(|(k, v)| k.as_str() != "config" && found.hashes.get(*k) != Some(v))
                // One that is new belongs to a new arm or seed, or its cell is refused.
                .filter(|(k, _)| !k.starts_with(given::HASH) || found.hashes.contains_key(*k))
                .map(|(k, _)| k.as_str())
                .collect();
            if found.version != manifest.version {
                differs.push("program version");
            }
            if !differs.is_empty() {
                return Err(BatteryError::Refused(format!(
                    "{} holds a run with another {}; choose another --out, or delete it",
                    dir.display(),
                    differs.join(" and ")
                )));
            }
            if found.device != manifest.device {
                return Err(BatteryError::Refused(format!(
                    "{} was started on {}, this is {}: rows of two devices are not mixed; use --device, or another --out",
                    dir.display(),
                    found.device,
                    manifest.device
                )));
            }
            // A folder only grows: rows of an arm or seed that is no longer asked for would be dropped from the merged files.
            let left_out = left_out(&found, &manifest);
            if !left_out.is_empty() && dir.join("tests").is_dir() {
                return Err(BatteryError::Refused(format!(
                    "{} holds {}, which this selection leaves out: name them too, or choose another --out",
                    dir.display(),
                    left_out.join(", ")
                )));
            }
            manifest.started_unix = found.started_unix;
            manifest.seconds = found.seconds;
            manifest.attractors = found.attractors;
        }
        let cells = dir.join("cells.json");
        let cells = if cells.exists() { read_json(&cells)? } else { BTreeMap::new() };
        let texts = [path, dir.join("config.toml")].map(std::fs::read_to_string);
        let found = if let [Ok(manifest), Ok(config)] = texts { Some([manifest, config]) } else { None };
        let folder = Self { dir: dir.to_path_buf(), manifest, cells, found };
        write_text(&dir.join("config.toml"), config)?;
        folder.save()?;
        Ok(folder)
    }

    pub fn save(&self) -> Result<()> {
        write_json(&self.dir.join("manifest.json"), &self.manifest)
    }

    /// Puts manifest and configuration back as they were found: for a run that is refused.
    pub fn restore(&mut self) -> Result<()> {
        if let Some([manifest, config]) = self.found.take() {
            write_text(&self.dir.join("manifest.json"), &manifest)?;
            write_text(&self.dir.join("config.toml"), &config)?;
        }
        Ok(())
    }

    /// Starts or continues a cell; `None` when it is done and what it wrote is `present`. Refuses a cell that was begun under
    /// another key.
    pub fn begin(&mut self, name: &str, key: &str, present: bool) -> Result<Option<Begun>> {
        match self.cells.get(name) {
            Some(cell) if cell.key != key => {
                self.restore()?;
                Err(BatteryError::Refused(format!(
                    "{}: the cell `{name}` was made under another configuration; choose another --out, or delete the folder",
                    self.dir.display()
                )))
            }
            Some(cell) if cell.seconds.is_some() && present => Ok(None),
            _ => {
                self.cells.insert(name.into(), CellRecord { key: key.into(), seconds: None });
                self.save_cells()?;
                Ok(Some(Begun { name: name.into(), clock: Instant::now() }))
            }
        }
    }

    /// Marks a cell as done.
    pub fn finish(&mut self, begun: Begun) -> Result<()> {
        let seconds = begun.clock.elapsed().as_secs_f64();
        *self.manifest.seconds.entry(begun.name.clone()).or_default() += seconds;
        if let Some(cell) = self.cells.get_mut(&begun.name) {
            cell.seconds = Some(seconds);
        }
        self.save_cells()?;
        self.save()
    }

    /// Is the cell done, under whatever key?
    pub fn done(&self, name: &str) -> bool {
        self.cells.get(name).is_some_and(|c| c.seconds.is_some())
    }

    fn save_cells(&self) -> Result<()> {
        write_json(&self.dir.join("cells.json"), &self.cells)
    }
}

/// Arms, seeds and tests of a found run that another manifest does not have.
fn left_out(found: &Manifest, now: &Manifest) -> Vec<String> {
    let arms = found.arms.iter().filter(|a| !now.arms.contains(a)).map(|a| format!("arm {a}"));
    let seeds = found.seeds.iter().filter(|s| !now.seeds.contains(s)).map(|s| format!("seed {s}"));
    let tests = found.tests.iter().filter(|t| !now.tests.contains(t)).map(|t| format!("test {t}"));
    arms.chain(seeds).chain(tests).collect()
}

pub fn read_json<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T> {
    let text = std::fs::read_to_string(path).map_err(BatteryError::io(path))?;
    serde_json::from_str(&text).map_err(|e| BatteryError::File { path: path.to_path_buf(), detail: e.to_string() })
}

pub fn write_json<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let text = serde_json::to_string_pretty(value)
        .map_err(|e| BatteryError::File { path: path.to_path_buf(), detail: e.to_string() })?;
    write_text(path, &text)
}

/// A file that exists is complete.
pub fn write_text(path: &Path, text: &str) -> Result<()> {
    Ok(durable::write(path, text.as_bytes())?)
}

pub fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).map_err(BatteryError::io(path))
}
