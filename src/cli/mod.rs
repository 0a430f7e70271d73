//! The command line: one file per subcommand; the only place that prints.

mod backend;
mod bench;
mod console;
mod stats;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::config::ConfigError;
use crate::train::error::TrainError;

/// Did training by reinforcement instil a disposition, or surface compliance?
#[derive(Parser)]
#[command(name = "probity", version, propagate_version = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Measure kernels, training and decoding on a device
    Bench(bench::Args),
    /// Compute any statistic of the reports on counts or on columns of JSON lines
    Stats(stats::Args),
}

/// Entry point of the binary. Exit code 0: ok; 1: a check or a run failed; 2: usage or configuration.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Bench(a) => bench::run(a),
        Command::Stats(a) => stats::run(a),
    };
    match result {
        Ok(code) => ExitCode::from(code as u8),
        Err(e) => {
            eprintln!("error: {}", chain(&*e));
            ExitCode::from(exit_code(&*e))
        }
    }
}

/// The message and its causes, without repeating what a message already includes.
fn chain(e: &dyn Error) -> String {
    let mut text = e.to_string();
    let mut source = e.source();
    while let Some(s) = source {
        let cause = s.to_string();
        if !text.contains(&cause) {
            text.push_str(&format!("\n  because: {cause}"));
        }
        source = s.source();
    }
    text
}

fn exit_code(e: &(dyn Error + 'static)) -> u8 {
    let mut at = Some(e);
    while let Some(e) = at {
        let usage = e.is::<ConfigError>() || matches!(e.downcast_ref(), Some(TrainError::Config(_)));
        if usage || e.is::<Usage>() {
            return 2;
        }
        at = e.source();
    }
    1
}

/// A mistake on the command line that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);
