//! What stops a training run.

use std::path::PathBuf;

use crate::durable::FileError;
use crate::ops::{OpError, Quant};

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
    /// Someone asked for it; everything up to the step is saved.
    #[error("stopped before step {} of {total}; {}", step + 1, saved(*step, dir))]
    Interrupted { step: u64, total: u64, dir: PathBuf },
}

/// Weights that no training changes were given to one.
pub(super) fn frozen(name: &str, format: Quant) -> TrainError {
    let format = format.name();
    TrainError::Config(format!(
        "tensor {name} is stored as {format}: codes cannot take small steps, so these weights are frozen. Train adapters on them ([lora]), or store what is trained with precision = \"bf16\" or \"f32\""
    ))
}

fn saved(step: u64, dir: &std::path::Path) -> String {
    match step {
        0 => "nothing was trained yet".into(),
        _ => format!("step {step} is saved in {}", dir.join(format!("checkpoint-{step}")).display()),
    }
}

impl TrainError {
    /// For `map_err` on file operations.
    pub fn io(path: &std::path::Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| TrainError::Io { path: path.to_path_buf(), source }
    }
}

impl From<FileError> for TrainError {
    fn from(e: FileError) -> Self {
        TrainError::Io { path: e.path, source: e.source }
    }
}

pub type Result<T> = std::result::Result<T, TrainError>;
