//! `metrics.jsonl` (append-only, cut back to the checkpoint on resume) and TensorBoard event files.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::{Result, TrainError};
use super::run::Metrics;

/// One JSON object per line.
pub struct JsonlLog {
    path: PathBuf,
    out: BufWriter<File>,
}

impl JsonlLog {
    /// Opens for appending. Rows of steps after `keep` (written after the checkpoint that a run resumes from) and a torn last
    /// line are dropped: the resumed run writes them again.
    pub fn open(path: &Path, keep: u64) -> Result<Self> {
        let mut kept = Vec::new();
        if path.exists() {
            let file = File::open(path).map_err(TrainError::io(path))?;
            for line in BufReader::new(file).lines() {
                let line = line.map_err(TrainError::io(path))?;
                let Ok(row) = serde_json::from_str::<serde_json::Value>(&line) else { break };
                // metrics rows count completed steps; completion rows carry the step's index
                let done = row.get("step").and_then(|s| s.as_u64()).unwrap_or(0) + u64::from(row.get("item").is_some());
                if done > keep {
                    break;
                }
                kept.push(line);
            }
            let temporary = path.with_extension("jsonl.tmp");
            let mut text = kept.join("\n");
            if !kept.is_empty() {
                text.push('\n');
            }
            std::fs::write(&temporary, text).map_err(TrainError::io(&temporary))?;
            std::fs::rename(&temporary, path).map_err(TrainError::io(path))?;
        }
        let file = OpenOptions::new().create(true).append(true).open(path).map_err(TrainError::io(path))?;
        Ok(Self { path: path.to_path_buf(), out: BufWriter::new(file) })
    }

    pub fn write(&mut self, row: &serde_json::Value) -> Result<()> {
        writeln!(self.out, "{row}").map_err(TrainError::io(&self.path))
    }

    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(TrainError::io(&self.path))
    }
}

/// Writer of `events.out.tfevents.*`: TFRecord framing (length, masked CRC32C, payload, masked CRC32C) around
/// hand-encoded `tensorflow.Event` messages.
pub struct TensorBoard {
    path: PathBuf,
    out: BufWriter<File>,
}

impl TensorBoard {
    pub fn create(dir: &Path) -> Result<Self> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let path = dir.join(format!("events.out.tfevents.{}.probity.{}.0", now.as_secs(), std::process::id()));
        let file = File::create(&path).map_err(TrainError::io(&path))?;
        let mut board = Self { path, out: BufWriter::new(file) };
        let mut event = Vec::new();
        field_double(&mut event, 1, now.as_secs_f64());
        field_bytes(&mut event, 3, b"brain.Event:2");
        board.record(&event)?;
        Ok(board)
    }

    /// Writes every metric as `prefix + name`.
    pub fn scalars(&mut self, step: u64, prefix: &str, m: &Metrics) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut summary = Vec::new();
        for (name, value) in &m.0 {
            let mut scalar = Vec::new();
            field_bytes(&mut scalar, 1, format!("{prefix}{name}").as_bytes());
            scalar.push(2 << 3 | 5);
            scalar.extend_from_slice(&(*value as f32).to_le_bytes());
            field_bytes(&mut summary, 1, &scalar);
        }
        let mut event = Vec::new();
        field_double(&mut event, 1, now.as_secs_f64());
        event.push(2 << 3);
        varint(&mut event, step);
        field_bytes(&mut event, 5, &summary);
        self.record(&event)
    }

    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(TrainError::io(&self.path))
    }

    fn record(&mut self, payload: &[u8]) -> Result<()> {
        let length = (payload.len() as u64).to_le_bytes();
        let mut bytes = length.to_vec();
        bytes.extend(masked_crc(&length).to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes.extend(masked_crc(payload).to_le_bytes());
        self.out.write_all(&bytes).map_err(TrainError::io(&self.path))
    }
}

fn masked_crc(data: &[u8]) -> u32 {
    let crc = crc32c::crc32c(data);
    crc.rotate_right(15).wrapping_add(0xa282_ead8)
}

fn varint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

fn field_bytes(out: &mut Vec<u8>, field: u8, data: &[u8]) {
    out.push(field << 3 | 2);
    varint(out, data.len() as u64);
    out.extend_from_slice(data);
}

fn field_double(out: &mut Vec<u8>, field: u8, v: f64) {
    out.push(field << 3 | 1);
    out.extend_from_slice(&v.to_le_bytes());
}
