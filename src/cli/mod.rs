//! The command line: one file per subcommand; the only place that prints.

mod backend;
mod battery;
mod bench;
mod bench_kernels;
mod bench_models;
mod console;
mod data;
mod devices;
mod evaluate;
mod exchange;
mod fetch;
mod flips;
mod generate;
mod interrupt;
mod pair;
mod plan;
mod plan_inference;
mod pretrain;
mod probe;
mod quant;
mod report;
mod stats;
mod train;
mod verify;

use std::error::Error;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use crate::battery::error::BatteryError;
use crate::config::ConfigError;
use crate::gpu::DeviceError;
use crate::hub::HubError;
use crate::model::ModelError;
use crate::pair::error::PairError;
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
    /// List adapters and what runs on them
    Devices(devices::Args),
    /// Compare this device with PyTorch's values for a model, tensor by tensor
    Verify(verify::Args),
    /// Complete a prompt
    Generate(generate::Args),
    /// Download a model ORG/NAME[@REVISION] from the Hugging Face hub into the local cache
    Fetch(fetch::Args),
    /// Memory of a training or of generating on a GPU, by kind, and what fits a card
    Plan(plan::Args),
    /// What storing a model in fewer bits does to its weights and to what it says
    Quant(quant::Args),
    /// Make a model from nothing on the synthetic corpus
    Pretrain(pretrain::Args),
    /// Train one arm of an experiment
    Train(train::Args),
    /// Item rows of any model on an experiment's test split
    Evaluate(evaluate::Args),
    /// Flips of honesty under three contradictions, for any list of models and checkpoints
    Flips(flips::Args),
    /// From a model to a verdict: train the arms, run the tests, write the report
    Battery(Box<battery::Args>),
    /// Probe the residual stream of any model: test 3 alone
    Probe(probe::Args),
    /// Steer any model along its own direction and random ones: test 6 alone; writes a GGUF control vector
    Steer(probe::SteerArgs),
    /// Paired evaluation: the same requests under frames that differ in one claim (plan, run, judge, label, analyse, report, audit)
    Pair(Box<pair::Args>),
    /// Draw the report of a run again
    Report(report::Args),
    /// Read results made elsewhere (the study's JSON, lm-eval samples, Inspect logs) as rows
    Import(exchange::ImportArgs),
    /// Write a run's rows as Inspect logs or lm-eval results
    Export(exchange::ExportArgs),
    /// Write data sets as files
    Data(data::DataArgs),
    /// Measure kernels, training and decoding on a device
    Bench(bench::Args),
    /// Compute any statistic of the reports on counts or on columns of JSON lines
    Stats(stats::Args),
}

/// Entry point of the binary. Exit code 0: ok; 1: a check or a run failed; 2: usage or configuration; 130: stopped by
/// Ctrl-C or SIGTERM, with everything saved.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    let result = match cli.command {
        Command::Devices(a) => devices::run(a),
        Command::Verify(a) => verify::run(a),
        Command::Generate(a) => generate::run(a),
        Command::Fetch(a) => fetch::run(a),
        Command::Plan(a) => plan::run(a),
        Command::Quant(a) => quant::run(a),
        Command::Pretrain(a) => pretrain::run(a),
        Command::Train(a) => train::run(a),
        Command::Evaluate(a) => evaluate::run(a),
        Command::Flips(a) => flips::run(a),
        Command::Battery(a) => battery::run(*a),
        Command::Probe(a) => probe::run_probe(a),
        Command::Steer(a) => probe::run_steer(a),
        Command::Pair(a) => pair::run(*a),
        Command::Report(a) => report::run(a),
        Command::Import(a) => exchange::import(&a).map(printed),
        Command::Export(a) => exchange::export(&a).map(printed),
        Command::Data(a) => data::run(&a).map(printed).map_err(Into::into),
        Command::Bench(a) => bench::run(a),
        Command::Stats(a) => stats::run(a),
    };
    match result {
        Ok(code) => ExitCode::from(code as u8),
        Err(e) if stopped(&*e) => {
            eprintln!("{e}\nTo go on: {}", interrupt::command_line());
            ExitCode::from(interrupt::STOPPED)
        }
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

/// Someone asked for the end.
fn stopped(e: &(dyn Error + 'static)) -> bool {
    backend::within(e).any(|e| {
        matches!(e.downcast_ref(), Some(BatteryError::Interrupted(_)))
            || matches!(e.downcast_ref(), Some(TrainError::Interrupted { .. }))
            || matches!(e.downcast_ref(), Some(PairError::Interrupted(_)))
    })
}

fn exit_code(e: &(dyn Error + 'static)) -> u8 {
    let mut at = Some(e);
    while let Some(e) = at {
        let usage = e.is::<ConfigError>()
            || matches!(e.downcast_ref(), Some(TrainError::Config(_)))
            || matches!(e.downcast_ref(), Some(m) if !matches!(m, ModelError::Op(_)))
            || e.downcast_ref().is_some_and(HubError::is_usage)
            || e.is::<DeviceError>()
            || matches!(e.downcast_ref(), Some(BatteryError::Refused(_) | BatteryError::Config(_)))
            || matches!(e.downcast_ref(), Some(PairError::Refused(_) | PairError::Domain(_)));
        if usage || e.is::<Usage>() {
            return 2;
        }
        at = e.source();
    }
    1
}

/// Writes to standard output; a closed pipe (`| head`) changes nothing about the result.
fn print(text: &str) {
    use std::io::Write;
    let _ = std::io::stdout().write_all(text.as_bytes());
}

fn printed(text: String) -> i32 {
    print(&text);
    0
}

/// A mistake on the command line that clap cannot see.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Usage(String);
