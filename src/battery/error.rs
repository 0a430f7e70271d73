//! What stops a battery.

use std::path::{Path, PathBuf};

use crate::config::ConfigError;
use crate::domain::{AttractorRefusal, DomainError};
use crate::durable::FileError;
use crate::model::error::ModelError;
use crate::ops::OpError;
use crate::stats::StatsError;
use crate::text::TextError;
use crate::train::error::TrainError;

#[derive(Debug, thiserror::Error)]
pub enum BatteryError {
    #[error(transparent)]
    Config(#[from] ConfigError),
    #[error(transparent)]
    Domain(#[from] DomainError),
    #[error(transparent)]
    Model(#[from] ModelError),
    #[error(transparent)]
    Text(#[from] TextError),
    #[error(transparent)]
    Train(#[from] TrainError),
    #[error(transparent)]
    Op(#[from] OpError),
    #[error(transparent)]
    Stats(#[from] StatsError),
    #[error("arm {arm}: {source}")]
    Attractor { arm: String, source: AttractorRefusal },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {detail}")]
    File { path: PathBuf, detail: String },
    #[error("{0}")]
    Refused(String),
    /// Someone asked for it; finished cells are kept.
    #[error("stopped in {0}; what was finished before is kept")]
    Interrupted(String),
}

impl BatteryError {
    /// For `map_err` on file operations.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| BatteryError::Io { path: path.to_path_buf(), source }
    }
}

impl From<FileError> for BatteryError {
    fn from(e: FileError) -> Self {
        BatteryError::Io { path: e.path, source: e.source }
    }
}

pub type Result<T> = std::result::Result<T, BatteryError>;
