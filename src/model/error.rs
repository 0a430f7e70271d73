//! What goes wrong with a model and its files.

use std::path::PathBuf;

use thiserror::Error;

use crate::durable::FileError;
use crate::hub::HubError;
use crate::ops::OpError;

/// Every variant names the file (or the embedded model), the key or tensor, what was expected, what was found, and what
/// to do about it.
#[derive(Debug, Error)]
pub enum ModelError {
    #[error("{}: cannot {doing}: {source}", path.display())]
    Io { path: PathBuf, doing: &'static str, source: std::io::Error },
    /// The file as a whole cannot be used.
    #[error("{}: {detail}. {hint}", path.display())]
    File { path: PathBuf, detail: String, hint: String },
    /// A key of a JSON file.
    #[error("{}: `{key}` is {found}, expected {expected}", path.display())]
    Key { path: PathBuf, key: String, found: String, expected: String },
    /// A model that other programs may run and this one does not.
    #[error("{}: {what} is not supported: {why}", path.display())]
    Unsupported { path: PathBuf, what: String, why: String },
    #[error("{}: tensor `{tensor}` is missing. {hint}", path.display())]
    MissingTensor { path: PathBuf, tensor: String, hint: String },
    #[error("{}: unexpected tensor `{tensor}`. {hint}", path.display())]
    ExtraTensor { path: PathBuf, tensor: String, hint: String },
    /// A tensor of the wrong shape, dtype or content.
    #[error("{}: tensor `{tensor}` has {found}, expected {expected}. {hint}", path.display())]
    Tensor { path: PathBuf, tensor: String, found: String, expected: String, hint: String },
    /// `index` counts elements in row-major order.
    #[error("{}: tensor `{tensor}` holds {value} at element {index}. {hint}", path.display())]
    NotFinite { path: PathBuf, tensor: String, index: usize, value: f32, hint: String },
    /// What a caller asked of a model makes no sense for it.
    #[error("{0}")]
    Input(String),
    #[error(transparent)]
    Hub(#[from] HubError),
    #[error(transparent)]
    Op(#[from] OpError),
}

impl From<FileError> for ModelError {
    fn from(e: FileError) -> Self {
        ModelError::Io { path: e.path, doing: e.doing, source: e.source }
    }
}

pub type Result<T> = std::result::Result<T, ModelError>;
