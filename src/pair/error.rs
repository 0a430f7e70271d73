//! What stops a paired evaluation.

use std::path::{Path, PathBuf};

use crate::battery::error::BatteryError;
use crate::config::ConfigError;
use crate::domain::DomainError;
use crate::durable::FileError;
use crate::model::ModelError;
use crate::ops::OpError;
use crate::stats::StatsError;
use crate::text::TextError;

#[derive(Debug, thiserror::Error)]
pub enum PairError {
    #[error("{0}")]
    Config(#[from] ConfigError),
    #[error("{0}")]
    Domain(#[from] DomainError),
    #[error("{0}")]
    Model(#[from] ModelError),
    #[error("{0}")]
    Text(#[from] TextError),
    #[error("{0}")]
    Op(#[from] OpError),
    #[error("{0}")]
    Stats(#[from] StatsError),
    #[error("{0}")]
    Battery(#[from] BatteryError),
    #[error("{0}")]
    Written(#[from] FileError),
    #[error("{path}: {source}", path = path.display())]
    Io { path: PathBuf, source: std::io::Error },
    #[error("{path}: {detail}", path = path.display())]
    File { path: PathBuf, detail: String },
    #[error("{0}")]
    Refused(String),
    /// Someone asked for it; the rows are kept.
    #[error("stopped in {0}; the rows that were written are kept")]
    Interrupted(String),
}

impl PairError {
    /// For `map_err` on file operations.
    pub fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| PairError::Io { path: path.to_path_buf(), source }
    }
}

pub type Result<T> = std::result::Result<T, PairError>;
