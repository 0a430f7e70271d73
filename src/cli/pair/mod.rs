//! `probity pair`: the paired evaluation of training-aware behaviour, step by step.

mod analyse;
mod audit;
mod judge;
mod label;
mod plan;
mod report;
mod run;

use std::error::Error;
use std::io::IsTerminal;
use std::path::Path;

use crate::config;
use crate::pair::config::{Leak, PairConfig};

/// Configurations compiled into the program.
const BUILT_IN: [(&str, &str); 7] = [
    ("pair-tiny", include_str!("../../../configs/pair-tiny.toml")),
    ("pair-pilot-tiny", include_str!("../../../configs/pair-pilot-tiny.toml")),
    ("pair-replication-tiny", include_str!("../../../configs/pair-replication-tiny.toml")),
    ("pair-pilot-r1-llama-8b", include_str!("../../../configs/pair-pilot-r1-llama-8b.toml")),
    ("pair-pilot-qwen2.5-7b", include_str!("../../../configs/pair-pilot-qwen2.5-7b.toml")),
    ("pair-replication-r1-llama-8b", include_str!("../../../configs/pair-replication-r1-llama-8b.toml")),
    ("pair-replication-qwen2.5-7b", include_str!("../../../configs/pair-replication-qwen2.5-7b.toml")),
];

#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    /// Cells, lengths of the frames, tokens and time of a configuration; no model is needed
    Plan(plan::Args),
    /// Ask every cell and write the rows; a stopped run goes on where it was
    Run(run::Args),
    /// Label the answers of a run, and compare judges
    Judge(judge::Args),
    /// Label a blinded sample of a run by hand, in the terminal
    Label(label::Args),
    /// Analyse a run: 2×2 tables, intervals, controls, factors, judges
    Analyse(analyse::Args),
    /// Write report.html, figures and tables of a run
    Report(report::Args),
    /// Recompute published tables of paired proportions and say which of their numbers disagree
    Audit(audit::Args),
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    match args.command {
        Command::Plan(a) => plan::run(a),
        Command::Run(a) => run::run(a),
        Command::Judge(a) => judge::run(a),
        Command::Label(a) => label::run(a),
        Command::Analyse(a) => analyse::run(a),
        Command::Report(a) => report::run(a),
        Command::Audit(a) => audit::run(a),
    }
}

/// Reads a configuration by path or built-in name.
fn read_config(name: &str) -> Result<PairConfig, Box<dyn Error>> {
    let path = Path::new(name);
    if path.exists() {
        return Ok(PairConfig::parse(&config::read(path)?, path)?);
    }
    match BUILT_IN.iter().find(|(n, _)| *n == name) {
        Some((n, text)) => Ok(PairConfig::parse(text, Path::new(&format!("configs/{n}.toml")))?),
        None => {
            let known: Vec<&str> = BUILT_IN.iter().map(|(n, _)| *n).collect();
            let text = format!("{name}: no such file, and no built-in configuration (there is: {})", known.join(", "));
            Err(super::Usage(text).into())
        }
    }
}

/// What every output of a leaking run begins with; red on a terminal.
fn leak_line(leak: Option<Leak>) -> String {
    let Some(leak) = leak else { return String::new() };
    let text = format!(
        "LEAK {}: this run breaks the evaluation on purpose; its numbers say nothing of the model",
        leak.name()
    );
    if std::io::stdout().is_terminal() { format!("\x1b[1;31m{text}\x1b[0m\n") } else { format!("{text}\n") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pair::plan::{Plan, Stimuli};

    #[test]
    fn built_in_configurations_are_sound_and_differ_where_they_should() {
        let all: Vec<PairConfig> = BUILT_IN.iter().map(|(n, _)| read_config(n).unwrap()).collect();
        for (c, (name, _)) in all.iter().zip(BUILT_IN) {
            assert_eq!(c.name, name);
            // The others read the user's copy of HarmBench.
            if c.model == "embedded" {
                assert!(!Plan::new(c, &Stimuli::open(c).unwrap()).unwrap().cells.is_empty());
            } else {
                assert!(c.items.file.ends_with(".csv"));
            }
        }
        for [a, b] in [
            ["pair-pilot-r1-llama-8b", "pair-pilot-qwen2.5-7b"],
            ["pair-replication-r1-llama-8b", "pair-replication-qwen2.5-7b"],
        ] {
            let [a, mut b] = [a, b].map(|n| read_config(n).unwrap());
            assert_ne!(a.model, b.model);
            (b.name, b.model) = (a.name.clone(), a.model.clone());
            assert_eq!(a, b);
        }
        assert!(read_config("pair-none").unwrap_err().to_string().contains("pair-tiny"));
    }
}
