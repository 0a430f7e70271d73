//! `probity pair analyse RUN`: tables and statements from rows and labels.

use std::error::Error;
use std::path::PathBuf;

use crate::pair::analyse::{self, Options};

/// Analyse a paired run: 2×2 tables, intervals, controls, factors, judges
///
/// Reads rows, labels, plan and manifest of the folder and writes analysis.json, which holds everything that is printed and more. Exit code 1
/// where the run failed its own controls.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The run folder: what `probity pair run` printed
    pub run: PathBuf,
    /// Judge whose labels are used (labels/JUDGE.jsonl) [default: lexical, or the only one]
    #[arg(long)]
    pub judge: Option<String>,
    /// Half width of the equivalence range, in percentage points [default: as the run declared it]
    #[arg(long, value_name = "PP")]
    pub margin: Option<f64>,
    /// Confidence level of intervals
    #[arg(long, default_value_t = crate::stats::DEFAULT_LEVEL)]
    pub level: f64,
    /// Bootstrap resamples
    #[arg(long, default_value_t = 10_000)]
    pub resamples: usize,
    /// Seed of the resampling
    #[arg(long, default_value_t = 0)]
    pub seed: u64,
    /// Print the analysis as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the table.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let options = Options {
        judge: args.judge,
        margin: args.margin.map(|pp| pp / 100.0),
        level: args.level,
        resamples: args.resamples,
        seed: args.seed,
        ..Options::default()
    };
    let analysis = analyse::run(&args.run, &options)?;
    if args.json {
        super::super::print(&format!("{}\n", serde_json::to_string_pretty(&analysis)?));
    } else {
        super::super::print(&analyse::text(&analysis));
    }
    Ok(i32::from(analysis.failed()))
}
