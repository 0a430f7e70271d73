//! The safetensors container: a memory-mapped reader that trusts nothing.
//!
//! Layout: header length (u64, little endian), a JSON header `{name: {dtype, shape, data_offsets}}`, the data. The data are
//! covered without gap or overlap (<https://github.com/huggingface/safetensors#format>). The reader checks all of that
//! itself, so that every complaint names the tensor, and duplicate names, which a map would swallow, are found.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File};
use std::marker::PhantomData;
use std::ops::{Deref, Range};
use std::path::{Path, PathBuf};

use half::{bf16, f16};
use memmap2::Mmap;
use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, Visitor};
use serde_json::Value;

use super::error::{ModelError, Result};

/// The limit of the reference implementation.
const MAX_HEADER: u64 = 100_000_000;
const NOT_SAFETENSORS: &str = "The file is damaged or no safetensors file: fetch or export it again";
const DAMAGED: &str = "The weights are damaged or diverged in training: use another file";
const INCOMPLETE: &str = "The file is incomplete: fetch or copy it again";

/// Element types of a safetensors file, by the format's own names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "UPPERCASE")]
#[allow(non_camel_case_types)]
pub enum FileDtype {
    Bool,
    U8,
    I8,
    F8_E4M3,
    F8_E5M2,
    U16,
    I16,
    F16,
    Bf16,
    U32,
    I32,
    F32,
    U64,
    I64,
    F64,
}

impl FileDtype {
    /// Bytes of one element.
    pub fn size(self) -> usize {
        use FileDtype::*;
        match self {
            Bool | U8 | I8 | F8_E4M3 | F8_E5M2 => 1,
            U16 | I16 | F16 | Bf16 => 2,
            U32 | I32 | F32 => 4,
            U64 | I64 | F64 => 8,
        }
    }
}

impl fmt::Display for FileDtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format!("{self:?}").to_uppercase())
    }
}

/// A JSON object in file order whose keys must be distinct.
pub(super) struct UniqueMap<V>(pub Vec<(String, V)>);

impl<'de, V: Deserialize<'de>> Deserialize<'de> for UniqueMap<V> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        struct Entries<V>(PhantomData<V>);
        impl<'de, V: Deserialize<'de>> Visitor<'de> for Entries<V> {
            type Value = UniqueMap<V>;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a JSON object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Self::Value, A::Error> {
                let (mut out, mut seen) = (Vec::new(), std::collections::HashSet::new());
                while let Some((key, value)) = map.next_entry::<String, V>()? {
                    if !seen.insert(key.clone()) {
                        return Err(A::Error::custom(format_args!("`{key}` appears twice")));
                    }
                    out.push((key, value));
                }
                Ok(UniqueMap(out))
            }
        }
        deserializer.deserialize_map(Entries(PhantomData))
    }
}

/// The length of a regular file. Folders, pipes and devices are refused before anything is opened.
pub(super) fn regular_file_len(path: &Path) -> Result<u64> {
    let meta = fs::metadata(path).map_err(|source| ModelError::Io { path: path.into(), doing: "open", source })?;
    if meta.is_file() {
        return Ok(meta.len());
    }
    let what = if meta.is_dir() { "a folder" } else { "neither a file nor a folder" };
    Err(ModelError::File {
        path: path.into(),
        detail: format!("expected a file, found {what}"),
        hint: "Check the path".into(),
    })
}

enum Bytes {
    Mapped(Mmap),
    Static(&'static [u8]),
}

impl Deref for Bytes {
    type Target = [u8];
    fn deref(&self) -> &[u8] {
        match self {
            Bytes::Mapped(m) => m,
            Bytes::Static(b) => b,
        }
    }
}

#[derive(serde::Deserialize)]
struct HeaderEntry {
    dtype: Value,
    shape: Vec<u64>,
    data_offsets: (u64, u64),
}

struct Entry {
    dtype: FileDtype,
    shape: Vec<usize>,
    range: Range<usize>,
}

/// A validated safetensors file.
pub struct TensorFile {
    path: PathBuf,
    bytes: Bytes,
    entries: BTreeMap<String, Entry>,
    metadata: BTreeMap<String, String>,
}

impl TensorFile {
    /// Maps `path` and validates its header. The data are not read yet. The file must not be truncated while it is open.
    pub fn open(path: &Path) -> Result<Self> {
        if regular_file_len(path)? == 0 {
            return Err(bad(path, "the file is empty", INCOMPLETE));
        }
        let io = |doing| move |source| ModelError::Io { path: path.into(), doing, source };
        let file = File::open(path).map_err(io("open"))?;
        // SAFETY: the map is read-only. Like every mapped reader we rely on nobody shortening the file meanwhile; our own
        // writer never does (it replaces files by renaming).
        let map = unsafe { Mmap::map(&file) }.map_err(io("map"))?;
        Self::parse(path, Bytes::Mapped(map))
    }

    /// A file compiled into the program; `name` stands in for its path.
    pub fn from_static(name: &Path, bytes: &'static [u8]) -> Result<Self> {
        Self::parse(name, Bytes::Static(bytes))
    }

    fn parse(path: &Path, bytes: Bytes) -> Result<Self> {
        let Some((len, rest)) = bytes.split_first_chunk::<8>() else {
            let detail = format!("the file has {} bytes, too few for a header", bytes.len());
            return Err(bad(path, detail, INCOMPLETE));
        };
        let header_len = u64::from_le_bytes(*len);
        if header_len > MAX_HEADER {
            return Err(bad(
                path,
                format!("the header claims {header_len} bytes (at most {MAX_HEADER})"),
                NOT_SAFETENSORS,
            ));
        }
        let header_len = header_len as usize;
        let Some((header, data)) = rest.split_at_checked(header_len) else {
            let detail = format!("the header claims {header_len} bytes and the file ends after {}", rest.len());
            return Err(bad(path, detail, INCOMPLETE));
        };
        let header = str::from_utf8(header)
            .map_err(|e| bad(path, format!("the header is not UTF-8 (byte {})", e.valid_up_to()), NOT_SAFETENSORS))?;
        let header: UniqueMap<Value> = serde_json::from_str(header).map_err(|e| {
            bad(path, format!("the header is not a JSON object of distinct names: {e}"), NOT_SAFETENSORS)
        })?;

        let mut metadata = BTreeMap::new();
        let mut entries = BTreeMap::new();
        for (name, value) in header.0 {
            if name == "__metadata__" {
                metadata = serde_json::from_value(value).map_err(|e| {
                    bad(path, format!("the header's __metadata__ is no map of strings: {e}"), NOT_SAFETENSORS)
                })?;
            } else {
                let entry = entry(path, &name, value, data.len())?;
                entries.insert(name, entry);
            }
        }
        covered(path, &entries, data.len())?;
        let start = 8 + header_len;
        for entry in entries.values_mut() {
            entry.range = entry.range.start + start..entry.range.end + start;
        }
        Ok(Self { path: path.into(), bytes, entries, metadata })
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The header's `__metadata__`.
    pub fn metadata(&self) -> &BTreeMap<String, String> {
        &self.metadata
    }

    /// Tensor names in alphabetical order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.entries.keys().map(String::as_str)
    }

    pub fn get(&self, name: &str) -> Option<TensorView<'_>> {
        let (name, entry) = self.entries.get_key_value(name)?;
        let bytes = self.bytes.get(entry.range.clone())?;
        Some(TensorView { path: &self.path, name, dtype: entry.dtype, shape: &entry.shape, bytes })
    }

    pub fn tensor(&self, name: &str) -> Result<TensorView<'_>> {
        self.get(name).ok_or_else(|| ModelError::MissingTensor {
            path: self.path.clone(),
            tensor: name.into(),
            hint: nearest(name, self.names()).map_or_else(String::new, |n| format!("The file has `{n}`")),
        })
    }
}

fn bad(path: &Path, detail: impl Into<String>, hint: &str) -> ModelError {
    ModelError::File { path: path.into(), detail: detail.into(), hint: hint.into() }
}

/// One header entry with its offsets checked against dtype, shape and file length; the range is relative to the data.
fn entry(path: &Path, name: &str, value: Value, data_len: usize) -> Result<Entry> {
    let bad = |detail: String, hint| bad(path, format!("tensor `{name}`: {detail}"), hint);
    let raw: HeaderEntry =
        serde_json::from_value(value).map_err(|e| bad(format!("header entry: {e}"), NOT_SAFETENSORS))?;
    let dtype: FileDtype = serde_json::from_value(raw.dtype.clone())
        .map_err(|_| bad(format!("unknown dtype {}", raw.dtype), "Store the tensor as F32, F16 or BF16"))?;
    let (begin, end) = raw.data_offsets;
    let wanted = raw.shape.iter().try_fold(dtype.size() as u64, |n, &d| n.checked_mul(d));
    if begin > end || wanted != Some(end - begin) {
        let detail = format!("{dtype} {:?} does not fill the bytes {begin}..{end}", raw.shape);
        return Err(bad(detail, NOT_SAFETENSORS));
    }
    if end > data_len as u64 {
        return Err(bad(format!("ends at data byte {end}, the file at {data_len}"), INCOMPLETE));
    }
    // A dimension beside a zero may be anything; all others are bounded by the file's length.
    let shape: Option<Vec<usize>> = raw.shape.iter().map(|&d| usize::try_from(d).ok()).collect();
    let shape = shape.ok_or_else(|| bad(format!("shape {:?} is too large", raw.shape), NOT_SAFETENSORS))?;
    Ok(Entry { dtype, shape, range: begin as usize..end as usize })
}

/// The tensors lie end to end over all of the data.
fn covered(path: &Path, entries: &BTreeMap<String, Entry>, data_len: usize) -> Result<()> {
    let mut order: Vec<_> = entries.iter().map(|(name, e)| (e.range.start, e.range.end, name)).collect();
    order.sort_unstable();
    let (mut at, mut before) = (0, "the header");
    for (start, end, name) in order {
        if start != at {
            let how = if start < at { "overlaps" } else { "leaves a gap after" };
            return Err(bad(path, format!("tensor `{name}` {how} {before}"), NOT_SAFETENSORS));
        }
        (at, before) = (end, name);
    }
    if at != data_len {
        return Err(bad(path, format!("{} bytes follow the last tensor", data_len - at), NOT_SAFETENSORS));
    }
    Ok(())
}

/// The candidate that is spelled most like `name`, if any is close.
pub(super) fn nearest<'a>(name: &str, candidates: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    candidates
        .map(|c| (strsim::jaro_winkler(name, c), c))
        .filter(|(score, _)| *score > 0.85)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, c)| c)
}

/// One tensor inside a file; nothing is copied. Elements are little endian and may be unaligned.
#[derive(Clone, Copy)]
pub struct TensorView<'a> {
    pub path: &'a Path,
    pub name: &'a str,
    pub dtype: FileDtype,
    pub shape: &'a [usize],
    pub bytes: &'a [u8],
}

impl TensorView<'_> {
    pub fn wrong(&self, found: impl Into<String>, expected: impl Into<String>, hint: impl Into<String>) -> ModelError {
        ModelError::Tensor {
            path: self.path.into(),
            tensor: self.name.into(),
            found: found.into(),
            expected: expected.into(),
            hint: hint.into(),
        }
    }

    /// Fails unless the shape is `want`.
    pub fn expect_shape(&self, want: &[usize], hint: &str) -> Result<()> {
        if self.shape == want {
            return Ok(());
        }
        Err(self.wrong(format!("shape {:?}", self.shape), format!("{want:?}"), hint))
    }

    /// Values of an F32, F16 or BF16 tensor (all exact), as they are: NaN and infinities included.
    pub fn to_f32(&self) -> Result<Vec<f32>> {
        match self.dtype {
            FileDtype::F32 => Ok(elements(self.bytes, f32::from_le_bytes)),
            FileDtype::F16 => Ok(elements(self.bytes, |b| f16::from_le_bytes(b).to_f32())),
            FileDtype::Bf16 => Ok(elements(self.bytes, |b| bf16::from_le_bytes(b).to_f32())),
            other => Err(self.wrong(format!("dtype {other}"), "F32, F16 or BF16", "Convert the file")),
        }
    }

    /// Like [`TensorView::to_f32`]; NaN and infinities are an error that names the element.
    pub fn to_finite_f32(&self) -> Result<Vec<f32>> {
        let values = self.to_f32()?;
        match first_not_finite(&values) {
            Some(i) => Err(self.not_finite(i, values[i], DAMAGED)),
            None => Ok(values),
        }
    }

    /// Some rows of a matrix, as [`TensorView::to_finite_f32`].
    pub fn finite_rows(&self, rows: Range<usize>) -> Result<Vec<f32>> {
        let width: usize = self.shape.iter().skip(1).product();
        let (from, to) = (rows.start * width, rows.end * width);
        let bytes = self.bytes.get(from * self.dtype.size()..to * self.dtype.size());
        let Some(bytes) = bytes else {
            return Err(self.wrong(format!("shape {:?}", self.shape), format!("at least {} rows", rows.end), ""));
        };
        let values = Self { bytes, ..*self }.to_f32()?;
        match first_not_finite(&values) {
            Some(i) => Err(self.not_finite(from + i, values[i], DAMAGED)),
            None => Ok(values),
        }
    }

    /// bf16 bit patterns: those of a BF16 tensor as they are, F32 and F16 rounded to nearest even. A value that is not
    /// finite, or does not fit, is an error.
    pub fn to_bf16_bits(&self) -> Result<Vec<u16>> {
        if self.dtype != FileDtype::Bf16 {
            let values = self.to_finite_f32()?;
            let bits: Vec<u16> = values.iter().map(|&x| bf16::from_f32(x).to_bits()).collect();
            return match first_not_finite_bf16(&bits) {
                Some(i) => Err(self.not_finite(i, values[i], "That is too large for bf16: keep these weights in f32")),
                None => Ok(bits),
            };
        }
        let bits = elements(self.bytes, u16::from_le_bytes);
        match first_not_finite_bf16(&bits) {
            Some(i) => {
                let value = bf16::from_bits(bits[i]).to_f32();
                Err(self.not_finite(i, value, DAMAGED))
            }
            None => Ok(bits),
        }
    }

    /// Values of an integer or BOOL tensor, or of a float tensor that holds whole numbers (masks are found in all of these).
    pub fn to_i64(&self) -> Result<Vec<i64>> {
        match self.dtype {
            FileDtype::I64 => Ok(elements(self.bytes, i64::from_le_bytes)),
            FileDtype::I32 => Ok(elements(self.bytes, |b| i64::from(i32::from_le_bytes(b)))),
            FileDtype::U8 | FileDtype::Bool => Ok(self.bytes.iter().map(|&b| i64::from(b)).collect()),
            FileDtype::F32 => {
                let values = self.to_f32()?;
                match values.iter().position(|x| x.fract() != 0.0 || x.abs() > 1e9) {
                    Some(i) => Err(self.wrong(format!("{} at element {i}", values[i]), "whole numbers", "")),
                    None => Ok(values.iter().map(|&x| x as i64).collect()),
                }
            }
            other => Err(self.wrong(format!("dtype {other}"), "I64", "Convert the file")),
        }
    }

    pub(super) fn not_finite(&self, index: usize, value: f32, hint: &str) -> ModelError {
        ModelError::NotFinite { path: self.path.into(), tensor: self.name.into(), index, value, hint: hint.into() }
    }
}

fn elements<const N: usize, T>(bytes: &[u8], decode: impl Fn([u8; N]) -> T) -> Vec<T> {
    bytes.as_chunks::<N>().0.iter().map(|&b| decode(b)).collect()
}

/// First NaN or infinity, found by its bits.
pub fn first_not_finite(values: &[f32]) -> Option<usize> {
    values.iter().position(|x| x.to_bits() & 0x7f80_0000 == 0x7f80_0000)
}

fn first_not_finite_bf16(bits: &[u16]) -> Option<usize> {
    bits.iter().position(|x| x & 0x7f80 == 0x7f80)
}
