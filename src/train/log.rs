//! `metrics.jsonl`, `completions.jsonl` and TensorBoard event files: append-only, cut back to the checkpoint on resume.

use std::fs::{File, OpenOptions};
use std::io::{BufRead, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::error::{Result, TrainError};
use super::run::Metrics;

/// A file that grows, cut to its first `keep` bytes.
fn append(path: &Path, keep: u64) -> Result<BufWriter<File>> {
    let file = OpenOptions::new().create(true).append(true).open(path).map_err(TrainError::io(path))?;
    file.set_len(keep).map_err(TrainError::io(path))?;
    Ok(BufWriter::new(file))
}

/// A checkpoint must not outlive the rows before it: they are on the disk before it is.
fn sync(path: &Path, out: &mut BufWriter<File>) -> Result<()> {
    out.flush().and_then(|()| out.get_ref().sync_data()).map_err(TrainError::io(path))
}

/// One JSON object per line.
pub struct JsonlLog {
    path: PathBuf,
    out: BufWriter<File>,
}

impl JsonlLog {
    /// Opens for appending. Rows of steps after `keep` (written after the checkpoint that a run resumes from) and a torn last
    /// line are cut off: the resumed run writes them again.
    pub fn open(path: &Path, keep: u64) -> Result<Self> {
        let mut length = 0;
        if path.exists() {
            let mut lines = BufReader::new(File::open(path).map_err(TrainError::io(path))?);
            // Bytes, not text: a torn line may end within a character, or in what a power cut left.
            let mut line = Vec::new();
            while lines.read_until(b'\n', &mut line).map_err(TrainError::io(path))? > 0 {
                let row = line.strip_suffix(b"\n").and_then(|l| serde_json::from_slice::<serde_json::Value>(l).ok());
                let Some(row) = row else { break };
                // metrics rows count completed steps; completion rows carry the step's index
                let done = row.get("step").and_then(|s| s.as_u64()).unwrap_or(0) + u64::from(row.get("item").is_some());
                if done > keep {
                    break;
                }
                length += line.len() as u64;
                line.clear();
            }
        }
        Ok(Self { path: path.to_path_buf(), out: append(path, length)? })
    }

    pub fn write(&mut self, row: &serde_json::Value) -> Result<()> {
        writeln!(self.out, "{row}").map_err(TrainError::io(&self.path))
    }

    pub fn flush(&mut self) -> Result<()> {
        self.out.flush().map_err(TrainError::io(&self.path))
    }

    /// Puts everything on the disk.
    pub fn sync(&mut self) -> Result<()> {
        sync(&self.path, &mut self.out)
    }
}

/// Writer of `events.out.tfevents.*`: TFRecord framing (length, masked CRC32C, payload, masked CRC32C) around
/// hand-encoded `tensorflow.Event` messages.
pub struct TensorBoard {
    path: PathBuf,
    out: BufWriter<File>,
}

const EVENTS: &str = "events.out.tfevents.";

impl TensorBoard {
    /// Goes on in the newest event file of `dir`, or begins one. Events of steps after `keep` and a torn last record are cut
    /// off every file: no step is there twice.
    pub fn open(dir: &Path, keep: u64) -> Result<Self> {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(dir).map_err(TrainError::io(dir))? {
            let path = entry.map_err(TrainError::io(dir))?.path();
            if path.file_name().and_then(|n| n.to_str()).is_some_and(|n| n.starts_with(EVENTS)) {
                found.push(path);
            }
        }
        found.sort();
        let mut last = None;
        for path in found {
            let length = kept_events(&path, keep)?;
            last = Some((append(&path, length)?, length, path));
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (out, length, path) = match last {
            Some(found) => found,
            None => {
                let path = dir.join(format!("{EVENTS}{}.probity.{}.0", now.as_secs(), std::process::id()));
                (append(&path, 0)?, 0, path)
            }
        };
        let mut board = Self { path, out };
        if length == 0 {
            let mut event = Vec::new();
            field_double(&mut event, 1, now.as_secs_f64());
            field_bytes(&mut event, 3, b"brain.Event:2");
            board.record(&event)?;
        }
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

    /// Puts everything on the disk.
    pub fn sync(&mut self) -> Result<()> {
        sync(&self.path, &mut self.out)
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

/// Bytes of the whole records before the first of a step after `keep`.
fn kept_events(path: &Path, keep: u64) -> Result<u64> {
    let mut bytes = Vec::new();
    File::open(path).and_then(|mut f| f.read_to_end(&mut bytes)).map_err(TrainError::io(path))?;
    let mut length = 0;
    for (end, payload) in records(&bytes) {
        if step_of(payload) > keep {
            break;
        }
        length = end as u64;
    }
    Ok(length)
}

/// Where each whole record ends, and its payload; stops at the first that is torn.
fn records(bytes: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let mut at = 0;
    std::iter::from_fn(move || {
        let length = u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?) as usize;
        let end = at.checked_add(12)?.checked_add(length)?;
        let payload = bytes.get(at + 12..end)?;
        let crc = u32::from_le_bytes(bytes.get(end..end + 4)?.try_into().ok()?);
        at = end + 4;
        (crc == masked_crc(payload)).then_some((at, payload))
    })
}

/// The step of an event as this file writes it: the time (nine bytes), then the step if there is one.
fn step_of(event: &[u8]) -> u64 {
    let Some((&tag, rest)) = event.get(9..).and_then(<[u8]>::split_first) else { return 0 };
    if tag != 2 << 3 {
        return 0;
    }
    let mut step = 0;
    for (i, byte) in rest.iter().take(10).enumerate() {
        step |= u64::from(byte & 0x7f) << (7 * i);
        if byte & 0x80 == 0 {
            break;
        }
    }
    step
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

#[cfg(test)]
pub mod tests {
    use super::*;
    use serde_json::json;

    /// Steps of all events under a folder, in their order.
    pub fn steps(dir: &Path) -> Vec<u64> {
        let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
        files.retain(|p| p.file_name().unwrap().to_str().unwrap().starts_with(EVENTS));
        files.sort();
        let read = |p: &PathBuf| {
            let bytes = std::fs::read(p).unwrap();
            let found: Vec<u64> = records(&bytes).map(|(_, event)| step_of(event)).collect();
            assert_eq!(records(&bytes).last().map_or(0, |r| r.0), bytes.len(), "{}: a torn record", p.display());
            found.into_iter().filter(|&s| s > 0)
        };
        files.iter().flat_map(read).collect()
    }

    #[test]
    fn torn_and_later_rows_are_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log.jsonl");
        let mut log = JsonlLog::open(&path, 0).unwrap();
        // Steps 1 to 4 of a metrics log and of a completions log, whose rows count from 0.
        for step in 1..=4 {
            log.write(&json!({ "step": step, "text": "é" })).unwrap();
            log.write(&json!({ "step": step - 1, "item": "i" })).unwrap();
        }
        log.sync().unwrap();
        drop(log);
        let whole = std::fs::read(&path).unwrap();
        let half = whole.len() / 2;
        // Cut at every byte, and with zeros behind as after a power cut: what is kept is whole lines, as many as there are.
        for cut in 0..=whole.len() {
            for tail in [&b""[..], &[0; 9], b"\xff\n"] {
                let torn = [&whole[..cut], tail].concat();
                std::fs::write(&path, &torn).unwrap();
                drop(JsonlLog::open(&path, 2).unwrap());
                let lines = whole[..cut.min(half)].iter().rposition(|&b| b == b'\n').map_or(0, |at| at + 1);
                assert_eq!(std::fs::read(&path).unwrap(), whole[..lines], "cut at {cut}");
            }
        }
    }

    #[test]
    fn events_go_on_in_one_file_without_gap_or_repetition() {
        let dir = tempfile::tempdir().unwrap();
        let metrics = Metrics(vec![("reward".into(), 0.5)]);
        let put = |board: &mut TensorBoard, steps: std::ops::RangeInclusive<u64>| {
            steps.for_each(|s| board.scalars(s, "train/", &metrics).unwrap());
            board.sync().unwrap();
        };
        put(&mut TensorBoard::open(dir.path(), 0).unwrap(), 1..=300);
        let path = std::fs::read_dir(dir.path()).unwrap().next().unwrap().unwrap().path();
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() - 3]).unwrap();
        put(&mut TensorBoard::open(dir.path(), 299).unwrap(), 300..=301);
        assert_eq!(steps(dir.path()), (1..=301).collect::<Vec<_>>());
        // A file of an earlier version, which began one at every start.
        std::fs::copy(&path, dir.path().join("events.out.tfevents.0.probity.1.0")).unwrap();
        let keep_nothing = TensorBoard::open(dir.path(), 0).unwrap();
        drop(keep_nothing);
        assert_eq!(steps(dir.path()), [0u64; 0]);
        // Torn in its first record.
        std::fs::write(&path, &whole[..5]).unwrap();
        put(&mut TensorBoard::open(dir.path(), 0).unwrap(), 1..=2);
        assert_eq!(steps(dir.path()), [1, 2]);
    }
}
