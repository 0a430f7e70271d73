//! Writing safetensors files that are either complete or not there.

use std::collections::BTreeMap;
use std::path::Path;

use half::bf16;
use serde_json::{Map, Value, json};

use super::error::{ModelError, Result};
use super::tensor_file::{FileDtype, first_not_finite};
use crate::durable::AtomicFile;

/// Name, shape and storage of a tensor to be written.
#[derive(Clone, Debug, PartialEq)]
pub struct TensorSpec {
    pub name: String,
    pub shape: Vec<usize>,
    pub dtype: FileDtype,
}

/// Writes a safetensors file tensor by tensor, in any order, so that one tensor at a time need be in memory. The file
/// appears at its place when [`TensorWriter::finish`] succeeds.
pub struct TensorWriter {
    file: AtomicFile,
    data_start: u64,
    /// Name → (spec, offset in the data, written).
    pending: BTreeMap<String, (TensorSpec, u64, bool)>,
}

impl TensorWriter {
    /// `metadata` goes into the header; Hugging Face loaders want `format` = `pt`.
    pub fn create(path: &Path, metadata: &[(&str, &str)], specs: &[TensorSpec]) -> Result<Self> {
        let mut header = Map::new();
        if !metadata.is_empty() {
            header.insert(
                "__metadata__".into(),
                metadata.iter().map(|&(k, v)| (k.to_string(), Value::from(v))).collect(),
            );
        }
        let mut pending = BTreeMap::new();
        let mut at = 0u64;
        // Wider elements first keeps every tensor aligned, as the reference implementation does.
        let mut order: Vec<&TensorSpec> = specs.iter().collect();
        order.sort_by_key(|s| std::cmp::Reverse(s.dtype.size()));
        for spec in order {
            let end = at + (spec.shape.iter().product::<usize>() * spec.dtype.size()) as u64;
            let entry = json!({ "dtype": spec.dtype, "shape": spec.shape, "data_offsets": [at, end] });
            if header.insert(spec.name.clone(), entry).is_some() {
                return Err(ModelError::Input(format!("{}: tensor `{}` is listed twice", path.display(), spec.name)));
            }
            pending.insert(spec.name.clone(), (spec.clone(), at, false));
            at = end;
        }
        let mut header = Value::Object(header).to_string();
        header.extend(std::iter::repeat_n(' ', header.len().next_multiple_of(8) - header.len()));
        let mut file = AtomicFile::create(path)?;
        file.write(&(header.len() as u64).to_le_bytes())?;
        file.write(header.as_bytes())?;
        Ok(Self { file, data_start: 8 + header.len() as u64, pending })
    }

    /// Writes an F32 tensor as it is or a BF16 tensor rounded to nearest even. What would be stored as NaN or infinity is
    /// an error.
    pub fn put(&mut self, name: &str, values: &[f32]) -> Result<()> {
        let dtype = self.begin(name, values.len())?;
        if let Some(i) = first_not_finite(values) {
            return Err(self.not_finite(
                name,
                i,
                values[i],
                "Training diverged: nothing was written; lower the learning rate",
            ));
        }
        match dtype {
            FileDtype::F32 => {
                let mut chunks = values.chunks(1 << 16);
                Ok(chunks.try_for_each(|c| self.file.write(&bytes_of(c, f32::to_le_bytes)))?)
            }
            FileDtype::Bf16 => {
                for (at, chunk) in values.chunks(1 << 16).enumerate() {
                    let bytes = bytes_of(chunk, |x| bf16::from_f32(x).to_le_bytes());
                    if let Some(i) = chunk.iter().position(|&x| !bf16::from_f32(x).is_finite()) {
                        return Err(self.not_finite(name, (at << 16) + i, chunk[i], "Too large for bf16: write f32"));
                    }
                    self.file.write(&bytes)?;
                }
                Ok(())
            }
            other => Err(self.mismatch(name, "f32 values", &other.to_string())),
        }
    }

    /// Writes a U32 tensor.
    pub fn put_u32(&mut self, name: &str, values: &[u32]) -> Result<()> {
        match self.begin(name, values.len())? {
            FileDtype::U32 => Ok(self.file.write(&bytes_of(values, u32::to_le_bytes))?),
            other => Err(self.mismatch(name, "u32 values", &other.to_string())),
        }
    }

    /// Seeks to the tensor's place.
    fn begin(&mut self, name: &str, len: usize) -> Result<FileDtype> {
        let path = self.file.path().to_path_buf();
        let Some((spec, at, written)) = self.pending.get_mut(name) else {
            let hint = "It is no parameter of the model that is being written".into();
            return Err(ModelError::ExtraTensor { path, tensor: name.into(), hint });
        };
        if *written {
            return Err(ModelError::ExtraTensor { path, tensor: name.into(), hint: "It came twice".into() });
        }
        if len != spec.shape.iter().product::<usize>() {
            let (found, expected) = (format!("{len} values"), format!("shape {:?}", spec.shape));
            return Err(self.mismatch(name, &found, &expected));
        }
        *written = true;
        let (dtype, at) = (spec.dtype, *at);
        self.file.seek(self.data_start + at)?;
        Ok(dtype)
    }

    fn mismatch(&self, name: &str, found: &str, expected: &str) -> ModelError {
        ModelError::Tensor {
            path: self.file.path().to_path_buf(),
            tensor: name.into(),
            found: found.into(),
            expected: expected.into(),
            hint: String::new(),
        }
    }

    fn not_finite(&self, name: &str, index: usize, value: f32, hint: &str) -> ModelError {
        let (path, tensor) = (self.file.path().to_path_buf(), name.into());
        ModelError::NotFinite { path, tensor, index, value, hint: hint.into() }
    }

    /// Puts the complete file at its place.
    pub fn finish(self) -> Result<()> {
        if let Some((name, _)) = self.pending.iter().find(|(_, (_, _, written))| !written) {
            return Err(ModelError::MissingTensor {
                path: self.file.path().to_path_buf(),
                tensor: name.clone(),
                hint: "The file was not written".into(),
            });
        }
        Ok(self.file.commit()?)
    }
}

fn bytes_of<T: Copy, const N: usize>(values: &[T], encode: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&x| encode(x)).collect()
}
