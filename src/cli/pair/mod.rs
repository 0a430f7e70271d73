//! `probity pair`: the paired evaluation of training-aware behaviour, one file per step.

mod analyse;
mod audit;
mod report;

use clap::Subcommand;

/// Options of `probity pair`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(subcommand)]
    pub step: Step,
}

#[derive(Subcommand, Clone, Debug)]
pub enum Step {
    /// Analyse a paired run: 2×2 tables, intervals, controls, factors, judges
    Analyse(analyse::Args),
    /// Write report.html, figures and tables of a paired run
    Report(report::Args),
    /// Recompute published tables of paired proportions and say which of their numbers disagree
    Audit(audit::Args),
}

/// Runs a step.
pub fn run(args: Args) -> Result<i32, Box<dyn std::error::Error>> {
    match args.step {
        Step::Analyse(a) => analyse::run(a),
        Step::Report(a) => report::run(a),
        Step::Audit(a) => audit::run(a),
    }
}
