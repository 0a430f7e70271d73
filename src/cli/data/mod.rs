//! `probity data`: write data sets as files, to look at them or to use them elsewhere.

mod frugality;
mod honesty;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::domain::{DomainError, Profile};

#[derive(Debug, Args)]
pub struct DataArgs {
    #[command(subcommand)]
    pub command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Frugality tasks: train.json, val.json and test.json in the study's format
    Frugality(frugality::FrugalityArgs),
    /// True and false statements: train.json, dev.json, test.json and ood.json (held-out topics)
    Honesty(honesty::HonestyArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProfileArg {
    /// As the study describes it: frugality's published files bit for bit at seed 42, honesty's sizes and labels
    Paper,
    /// Disjoint splits, held-out families or topics, large enough for the tests
    Strict,
}

impl From<ProfileArg> for Profile {
    fn from(profile: ProfileArg) -> Self {
        match profile {
            ProfileArg::Paper => Profile::Paper,
            ProfileArg::Strict => Profile::Strict,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error(transparent)]
    Domain(#[from] DomainError),
    #[error("{path}: {detail}", path = path.display())]
    Config { path: PathBuf, detail: String },
    #[error("cannot make the folder {path}: {source}", path = path.display())]
    Folder { path: PathBuf, source: std::io::Error },
}

/// Run the command; the returned text is what to print.
pub fn run(args: &DataArgs) -> Result<String, DataError> {
    match &args.command {
        DataCommand::Frugality(args) => frugality::write(args),
        DataCommand::Honesty(args) => honesty::write(args),
    }
}

fn folder(path: &Path) -> Result<(), DataError> {
    std::fs::create_dir_all(path).map_err(|source| DataError::Folder { path: path.into(), source })
}

fn as_json(summary: &impl Serialize) -> Result<String, DataError> {
    serde_json::to_string_pretty(summary)
        .map_err(|e| DomainError::Malformed { origin: "summary".into(), detail: e.to_string() }.into())
}

/// The table `name` of a TOML file, of the profile that the command line names.
fn table_of<C: DeserializeOwned>(
    path: &Path,
    name: &str,
    profile: Profile,
    profile_of: fn(&C) -> Profile,
) -> Result<C, DataError> {
    let fail = |detail: String| DataError::Config { path: path.into(), detail };
    let text = std::fs::read_to_string(path).map_err(|e| fail(format!("cannot be read: {e}")))?;
    let mut document: toml::Table = toml::from_str(&text).map_err(|e| fail(e.to_string()))?;
    let table = document.remove(name).ok_or_else(|| fail(format!("has no [{name}] table")))?;
    let config: C = table.try_into().map_err(|e| fail(format!("[{name}]: {e}")))?;
    if profile_of(&config) != profile {
        return Err(fail("its profile and --profile differ; give the same one".into()));
    }
    Ok(config)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        data: DataArgs,
    }

    pub fn data(args: &[&str]) -> Result<String, DataError> {
        let cli = Cli::try_parse_from(["data"].iter().chain(args)).unwrap();
        run(&cli.data)
    }
}
