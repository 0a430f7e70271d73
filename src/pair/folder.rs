//! The folder of a paired run: `manifest.json`, `config.toml`, `plan.jsonl`, `rows.jsonl`, `prompts.jsonl`, `labels/<judge>.jsonl`.
//!
//! Rows are appended in the order of the plan and never changed. What a kill cuts off in the middle of a line is cut away by the next
//! run, which goes on behind the last whole row.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::config::{Leak, PairConfig};
use super::error::{PairError, Result};
use super::plan::{Cell, FrameLength};
use super::row::{Judged, Row};
use crate::durable;

/// What a run was made with.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    pub program: String,
    pub version: String,
    pub run_id: String,
    /// Hash of everything that decided the plan.
    pub key: String,
    pub model: String,
    /// Commit on the hub, or the hash of the weights.
    pub model_revision: String,
    pub device: String,
    pub engine_build: String,
    pub kernel_set: String,
    /// SHA-256 (hex) of model, tokenizer, template, items, arms, openings, config, and of the declared analysis.
    pub hashes: BTreeMap<String, String>,
    pub cells: usize,
    /// Whether an arm repeats the reference byte for byte.
    pub aa: bool,
    pub leak: Option<Leak>,
    /// False under `--no-text`.
    pub text_kept: bool,
    pub confirmatory: bool,
    /// Most tokens of a completion, and whether the chat template opens a think block.
    pub max_tokens: usize,
    pub reasons: bool,
    /// What the arms `none` and `none_empty` became: the text before the user's turn.
    pub no_frame: BTreeMap<String, String>,
    pub frame_lengths: Vec<FrameLength>,
    pub config: PairConfig,
    pub environment: BTreeMap<String, String>,
    pub notes: Vec<String>,
    pub started_unix: u64,
    /// `None` until every row is there.
    pub replay: Option<Replay>,
}

/// Cells that were asked again in another batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Replay {
    pub cells: usize,
    pub batch_size: usize,
    /// Cells whose token ids were others.
    pub mismatches: usize,
    pub different: Vec<String>,
}

impl Manifest {
    /// Of a run folder.
    pub fn read(dir: &Path) -> Result<Self> {
        let path = dir.join("manifest.json");
        let text = std::fs::read_to_string(&path).map_err(PairError::io(&path))?;
        serde_json::from_str(&text)
            .map_err(|e| PairError::File { path, detail: format!("{e}; is it the folder of a paired run?") })
    }

    pub fn write(&self, dir: &Path) -> Result<()> {
        let path = dir.join("manifest.json");
        let text = serde_json::to_string_pretty(self)
            .map_err(|e| PairError::File { path: path.clone(), detail: e.to_string() })?;
        Ok(durable::write(&path, (text + "\n").as_bytes())?)
    }

    /// What a folder's run must have in common with this one to be gone on with.
    fn alike(&self, found: &Self, dir: &Path) -> Result<()> {
        let facts = [
            ("configuration or stimuli", found.key == self.key),
            ("program build", found.engine_build == self.engine_build && found.version == self.version),
            ("device", found.device == self.device && found.kernel_set == self.kernel_set),
            (
                "model, tokenizer or chat template",
                found.hashes == self.hashes && found.model_revision == self.model_revision,
            ),
            ("--no-text", found.text_kept == self.text_kept),
        ];
        let differs: Vec<&str> = facts.iter().filter(|(_, same)| !same).map(|(what, _)| *what).collect();
        if differs.is_empty() {
            return Ok(());
        }
        Err(PairError::Refused(format!(
            "{} holds a run with another {}; rows of two are not mixed: choose another --out, or delete it",
            dir.display(),
            differs.join(" and another ")
        )))
    }
}

/// A line of `prompts.jsonl`: each distinct input once.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Prompt {
    pub input_sha256: String,
    pub text: String,
}

/// An append-only file of JSON lines.
pub struct Log {
    path: PathBuf,
    file: File,
    synced: Instant,
}

/// Between two syncs: what a power cut may cost.
const SYNC: Duration = Duration::from_secs(2);

impl Log {
    /// Opens the file, cuts away a line without its end, and gives what is there. `keep` says of how many of the lines.
    fn open<T: DeserializeOwned>(path: &Path, keep: impl Fn(&[T]) -> usize) -> Result<(Self, Vec<T>)> {
        let io = || PairError::io(path);
        let mut file =
            OpenOptions::new().read(true).append(true).create(true).truncate(false).open(path).map_err(io())?;
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).map_err(io())?;
        let (mut found, mut ends, mut at): (Vec<T>, Vec<usize>, usize) = (Vec::new(), Vec::new(), 0);
        for line in bytes.split_inclusive(|&b| b == b'\n').filter(|l| l.ends_with(b"\n")) {
            at += line.len();
            match serde_json::from_slice(line) {
                Ok(value) => {
                    found.push(value);
                    ends.push(at);
                }
                // The last line of a power cut may be whole and empty of what was to be in it.
                Err(_) if at == bytes.len() => break,
                Err(e) => {
                    let detail = format!("line {}: {e}; restore the file or delete the run", found.len() + 1);
                    return Err(PairError::File { path: path.into(), detail });
                }
            }
        }
        let n = keep(&found).min(found.len());
        found.truncate(n);
        let end = n.checked_sub(1).and_then(|last| ends.get(last)).copied().unwrap_or(0);
        file.set_len(end as u64).map_err(io())?;
        Ok((Self { path: path.into(), file, synced: Instant::now() }, found))
    }

    /// Appends lines in one write.
    fn append<T: Serialize>(&mut self, rows: &[T]) -> Result<()> {
        let mut text = String::new();
        for row in rows {
            let line = serde_json::to_string(row)
                .map_err(|e| PairError::File { path: self.path.clone(), detail: e.to_string() })?;
            text.push_str(&line);
            text.push('\n');
        }
        self.file.write_all(text.as_bytes()).map_err(PairError::io(&self.path))?;
        if self.synced.elapsed() > SYNC {
            self.sync()?;
        }
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        self.synced = Instant::now();
        self.file.sync_data().map_err(PairError::io(&self.path))
    }
}

/// A run folder that rows are added to.
pub struct Folder {
    pub dir: PathBuf,
    pub manifest: Manifest,
    /// Rows that were there.
    pub done: Vec<Row>,
    rows: Log,
    prompts: Log,
    known: std::collections::BTreeSet<String>,
    /// Labels that are made before texts are dropped.
    labels: Option<Log>,
}

impl Folder {
    /// Opens or makes the folder of a run with the cells of `plan`.
    ///
    /// # Errors
    /// A folder that holds another run, or rows that are not the beginning of the plan.
    pub fn open(dir: &Path, mut manifest: Manifest, plan: &[Cell]) -> Result<Self> {
        std::fs::create_dir_all(dir).map_err(PairError::io(dir))?;
        if dir.join("manifest.json").exists() {
            let found = Manifest::read(dir)?;
            manifest.alike(&found, dir)?;
            manifest.started_unix = found.started_unix;
            manifest.replay = found.replay;
        } else {
            durable::write(&dir.join("config.toml"), manifest.config.text()?.as_bytes())?;
            write_lines(&dir.join("plan.jsonl"), plan)?;
            manifest.write(dir)?;
        }
        let path = dir.join("rows.jsonl");
        let (rows, done) = Log::open(&path, |r: &[Row]| r.len())?;
        if done.len() > plan.len() || done.iter().zip(plan).any(|(r, c)| r.cell_id != c.cell_id) {
            let detail = "its rows are not the beginning of plan.jsonl; choose another --out, or delete the folder";
            return Err(PairError::File { path, detail: detail.into() });
        }
        let (prompts, known) = Log::open(&dir.join("prompts.jsonl"), |p: &[Prompt]| p.len())?;
        let labels = if manifest.text_kept {
            None
        } else {
            let labels = dir.join("labels");
            std::fs::create_dir_all(&labels).map_err(PairError::io(&labels))?;
            // Labels are written before their rows.
            let (log, _) = Log::open::<Judged>(&labels.join("lexical.jsonl"), |_| done.len())?;
            Some(log)
        };
        let known = known.into_iter().map(|p| p.input_sha256).collect();
        Ok(Self { dir: dir.into(), manifest, done, rows, prompts, known, labels })
    }

    /// Appends the rows of a batch, with their prompts, or where texts are not kept with their labels.
    pub fn append(&mut self, rows: &[Row], prompts: Vec<Prompt>, labels: &[Judged]) -> Result<()> {
        match &mut self.labels {
            Some(log) => log.append(labels)?,
            None => {
                let new: Vec<Prompt> =
                    prompts.into_iter().filter(|p| self.known.insert(p.input_sha256.clone())).collect();
                self.prompts.append(&new)?;
            }
        }
        self.rows.append(rows)
    }

    /// Everything is on the disk.
    pub fn sync(&mut self) -> Result<()> {
        self.prompts.sync()?;
        self.labels.as_mut().map_or(Ok(()), Log::sync)?;
        self.rows.sync()
    }
}

/// Writes lines: a file that exists is complete.
pub fn write_lines<T: Serialize>(path: &Path, of: &[T]) -> Result<()> {
    Ok(crate::battery::rows::write(path, of)?)
}

/// Rows of a run that may still be going on: a last line without its end is left out.
pub fn rows(dir: &Path) -> Result<Vec<Row>> {
    read_lines(&dir.join("rows.jsonl"))
}

/// The inputs of a run by hash; empty where texts were not kept.
pub fn prompts(dir: &Path) -> Result<BTreeMap<String, String>> {
    let path = dir.join("prompts.jsonl");
    let found: Vec<Prompt> = if path.exists() { read_lines(&path)? } else { Vec::new() };
    Ok(found.into_iter().map(|p| (p.input_sha256, p.text)).collect())
}

/// Labels of a judge by cell; of a cell that was labelled twice the later one.
pub fn labels(dir: &Path, judge: &str) -> Result<BTreeMap<String, Judged>> {
    let path = dir.join("labels").join(format!("{judge}.jsonl"));
    let found: Vec<Judged> = if path.exists() { read_lines(&path)? } else { Vec::new() };
    Ok(found.into_iter().map(|l| (l.cell_id.clone(), l)).collect())
}

/// Names of the judges that have labels there.
pub fn judges(dir: &Path) -> Result<Vec<String>> {
    let folder = dir.join("labels");
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut names = Vec::new();
    for entry in std::fs::read_dir(&folder).map_err(PairError::io(&folder))? {
        let path = entry.map_err(PairError::io(&folder))?.path();
        let stem = path.file_stem().and_then(|s| s.to_str()).filter(|s| !s.starts_with('.'));
        if let (Some(stem), Some("jsonl")) = (stem, path.extension().and_then(|e| e.to_str())) {
            names.push(stem.to_string());
        }
    }
    names.sort();
    Ok(names)
}

fn read_lines<T: DeserializeOwned>(path: &Path) -> Result<Vec<T>> {
    let text = std::fs::read_to_string(path).map_err(PairError::io(path))?;
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let read = |(i, line): (usize, &str)| {
        serde_json::from_str(line)
            .map_err(|e| PairError::File { path: path.into(), detail: format!("line {}: {e}", i + 1) })
    };
    whole.lines().enumerate().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_without_its_end_is_cut_away_and_damage_before_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let all = |v: &[u32]| v.len();
        let (mut log, found) = Log::open::<u32>(&path, all).unwrap();
        assert!(found.is_empty());
        log.append(&[1u32, 2]).unwrap();
        log.append::<u32>(&[]).unwrap();
        drop(log);
        std::fs::write(&path, std::fs::read_to_string(&path).unwrap() + "3").unwrap();
        assert_eq!(read_lines::<u32>(&path).unwrap(), [1, 2]);
        let (mut log, found) = Log::open::<u32>(&path, all).unwrap();
        assert_eq!(found, [1, 2]);
        log.append(&[4u32]).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "1\n2\n4\n");
        let (_, found) = Log::open::<u32>(&path, |_| 1).unwrap();
        assert_eq!((found, std::fs::read_to_string(&path).unwrap()), (vec![1], "1\n".into()));
        std::fs::write(&path, "1\n\0\0\n").unwrap();
        assert_eq!(Log::open::<u32>(&path, all).unwrap().1, [1]);
        std::fs::write(&path, "1\nx\n2\n").unwrap();
        assert!(Log::open::<u32>(&path, all).err().unwrap().to_string().contains("line 2"));
    }
}
