//! What stops a training run.

use std::path::PathBuf;

use crate::ops::OpError;

#[derive(Debug, thiserror::Error)]
pub enum TrainError {
    #[error(transparent)]
    Op(#[from] OpError),
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {detail}")]
    Checkpoint { path: PathBuf, detail: String },
    #[error(
        "step {step}: {count} gradient elements are NaN or infinite; the weights of step {step} are untouched. Lower learning_rate, or run `probity verify --kernels` to rule out the driver"
    )]
    NonFinite { step: u64, count: u64 },
    /// Prompts, completions or examples that their source could not read.
    #[error("{0}")]
    Data(Box<dyn std::error::Error + Send + Sync>),
    #[error("{0}")]
    Config(String),
}

impl TrainError {
    /// For `map_err` on file operations.
    pub fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| TrainError::Io { path: path.to_path_buf(), source }
    }
}

pub type Result<T> = std::result::Result<T, TrainError>;
