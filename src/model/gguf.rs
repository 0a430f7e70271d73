//! Control vectors in GGUF, as llama.cpp writes and reads them (`--control-vector`): little-endian, version 3, one F32 tensor
//! `direction.{block}` a block, added to that block's output. Block 0 has no place in the format.

use std::collections::BTreeMap;
use std::path::Path;

use super::error::{ModelError, Result};

const MAGIC: &[u8; 4] = b"GGUF";
const VERSION: u32 = 3;
const ALIGNMENT: usize = 32;
/// Types of the format that control vectors use.
const UINT32: u32 = 4;
const INT32: u32 = 5;
const STRING: u32 = 8;
const F32: u32 = 0;
/// No real file has more entries or longer names; a damaged length must not make us ask for the memory.
const SANE: u64 = 1 << 20;

/// Vectors by block.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ControlVector {
    /// Architecture of the model it was made for, e.g. `qwen2`.
    pub model_hint: String,
    /// `[hidden]` each; blocks from 1 on.
    pub directions: BTreeMap<usize, Vec<f32>>,
}

fn text(out: &mut Vec<u8>, s: &str) {
    out.extend((s.len() as u64).to_le_bytes());
    out.extend(s.as_bytes());
}

fn key_text(out: &mut Vec<u8>, key: &str, value: &str) {
    text(out, key);
    out.extend(STRING.to_le_bytes());
    text(out, value);
}

impl ControlVector {
    /// Writes the file, complete or not at all. Refuses block 0, an empty set and elements that are not finite.
    pub fn write(&self, path: &Path) -> Result<()> {
        if self.directions.is_empty() || self.directions.contains_key(&0) {
            return Err(ModelError::Input(format!(
                "{}: a GGUF control vector holds directions of blocks 1 and later; block 0 has no place in the format",
                path.display()
            )));
        }
        let mut out = Vec::new();
        out.extend(MAGIC);
        out.extend(VERSION.to_le_bytes());
        out.extend((self.directions.len() as u64).to_le_bytes());
        out.extend(3u64.to_le_bytes());
        key_text(&mut out, "general.architecture", "controlvector");
        key_text(&mut out, "controlvector.model_hint", &self.model_hint);
        text(&mut out, "controlvector.layer_count");
        out.extend(INT32.to_le_bytes());
        out.extend((self.directions.len() as i32).to_le_bytes());
        let mut offset = 0u64;
        for (block, v) in &self.directions {
            if let Some(i) = v.iter().position(|x| !x.is_finite()) {
                return Err(ModelError::Input(format!("direction of block {block}: element {i} is {}", v[i])));
            }
            text(&mut out, &format!("direction.{block}"));
            out.extend(1u32.to_le_bytes());
            out.extend((v.len() as u64).to_le_bytes());
            out.extend(F32.to_le_bytes());
            out.extend(offset.to_le_bytes());
            offset += (4 * v.len()).next_multiple_of(ALIGNMENT) as u64;
        }
        for v in self.directions.values() {
            out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
            out.extend(v.iter().flat_map(|x| x.to_le_bytes()));
        }
        out.resize(out.len().next_multiple_of(ALIGNMENT), 0);
        Ok(crate::durable::write(path, &out)?)
    }

    pub fn read(path: &Path) -> Result<Self> {
        let bytes =
            std::fs::read(path).map_err(|source| ModelError::Io { path: path.into(), doing: "read", source })?;
        let bad = |detail: String| ModelError::File {
            path: path.into(),
            detail,
            hint: "Give a control vector written by `probity steer` or by llama.cpp's cvector-generator".into(),
        };
        let mut r = Reader { bytes: &bytes, at: 0 };
        Self::parse(&mut r).map_err(bad)
    }

    fn parse(r: &mut Reader) -> std::result::Result<Self, String> {
        if r.take(4)? != MAGIC {
            return Err("does not begin with GGUF".into());
        }
        let version = r.u32()?;
        if !(2..=VERSION).contains(&version) {
            return Err(format!("GGUF version {version}; 2 and 3 are read"));
        }
        let (tensors, keys) = (r.count()?, r.count()?);
        let mut out = Self::default();
        let (mut architecture, mut alignment) = (String::new(), ALIGNMENT);
        for _ in 0..keys {
            let key = r.text()?;
            match (key.as_str(), r.u32()?) {
                ("general.architecture", STRING) => architecture = r.text()?,
                ("controlvector.model_hint", STRING) => out.model_hint = r.text()?,
                ("general.alignment", UINT32) => alignment = r.u32()?.max(1) as usize,
                (_, STRING) => drop(r.text()?),
                (_, UINT32 | INT32) => drop(r.u32()?),
                (_, kind) => return Err(format!("key {key} has type {kind}, which no control vector needs")),
            }
        }
        if architecture != "controlvector" {
            return Err(format!("architecture is {architecture:?}, not \"controlvector\""));
        }
        let mut places = Vec::new();
        for _ in 0..tensors {
            let name = r.text()?;
            let block = name.strip_prefix("direction.").and_then(|n| n.parse::<usize>().ok()).filter(|b| *b > 0);
            let Some(block) = block else {
                return Err(format!("tensor {name:?} is not direction.1, direction.2, …"));
            };
            let dimensions = r.u32()?;
            if dimensions != 1 {
                return Err(format!("tensor {name} has {dimensions} dimensions, one is needed"));
            }
            let len = r.count()?;
            let kind = r.u32()?;
            if kind != F32 {
                return Err(format!("tensor {name} has type {kind}, F32 (0) is needed"));
            }
            places.push((block, len, r.u64()? as usize));
        }
        let data = r.at.next_multiple_of(alignment);
        for (block, len, offset) in places {
            let start = data.checked_add(offset).ok_or("a tensor's offset overflows")?;
            let bytes = start.checked_add(4 * len).and_then(|end| r.bytes.get(start..end));
            let bytes = bytes.ok_or_else(|| format!("direction.{block} lies beyond the end of the file"))?;
            let v: Vec<f32> = bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect();
            if let Some(i) = v.iter().position(|x| !x.is_finite()) {
                return Err(format!("direction.{block}: element {i} is {}", v[i]));
            }
            if out.directions.insert(block, v).is_some() {
                return Err(format!("direction.{block} occurs twice"));
            }
        }
        Ok(out)
    }
}

struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, n: usize) -> std::result::Result<&'a [u8], String> {
        let end = self.at.checked_add(n).filter(|e| *e <= self.bytes.len());
        let end = end.ok_or_else(|| format!("ends at byte {} in the middle of its header", self.bytes.len()))?;
        let out = &self.bytes[self.at..end];
        self.at = end;
        Ok(out)
    }
    fn u32(&mut self) -> std::result::Result<u32, String> {
        let b = self.take(4)?;
        Ok(u32::from_le_bytes([b[0], b[1], b[2], b[3]]))
    }
    fn u64(&mut self) -> std::result::Result<u64, String> {
        let (low, high) = (self.u32()?, self.u32()?);
        Ok(u64::from(high) << 32 | u64::from(low))
    }
    fn count(&mut self) -> std::result::Result<usize, String> {
        let n = self.u64()?;
        if n > SANE { Err(format!("a count of {n} is no real one: the header is damaged")) } else { Ok(n as usize) }
    }
    fn text(&mut self) -> std::result::Result<String, String> {
        let n = self.count()?;
        String::from_utf8(self.take(n)?.to_vec()).map_err(|_| "a name is not UTF-8".to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn vector() -> ControlVector {
        let directions = BTreeMap::from([(1, vec![0.5, -1.0, 2.0]), (7, vec![1.0, 0.0, -0.25])]);
        ControlVector { model_hint: "qwen2".into(), directions }
    }

    #[test]
    fn a_vector_comes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.gguf");
        vector().write(&path).unwrap();
        assert_eq!(ControlVector::read(&path).unwrap(), vector());
        let zero = ControlVector { directions: BTreeMap::from([(0, vec![1.0])]), ..vector() };
        assert!(zero.write(&path).unwrap_err().to_string().contains("block 0"));
        let broken = ControlVector { directions: BTreeMap::from([(2, vec![f32::NAN])]), ..vector() };
        assert!(broken.write(&path).unwrap_err().to_string().contains("element 0"));
    }

    /// Every truncation and every changed byte is read or refused, never a panic.
    #[test]
    fn damaged_files_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("v.gguf");
        vector().write(&path).unwrap();
        let bytes = std::fs::read(&path).unwrap();
        // What follows the last direction is padding.
        let end = bytes.len() - (ALIGNMENT - 12);
        for n in 0..bytes.len() {
            std::fs::write(&path, &bytes[..n]).unwrap();
            assert_eq!(ControlVector::read(&path).is_err(), n < end, "cut at {n} of {}", bytes.len());
        }
        for i in 0..bytes.len() {
            for flip in [0x01, 0x80, 0xff] {
                let mut damaged = bytes.clone();
                damaged[i] ^= flip;
                std::fs::write(&path, &damaged).unwrap();
                let _ = ControlVector::read(&path);
            }
        }
    }
}
