//! `probity report RUN`: draws the report of a run again; of several runs also a page with their verdicts side by side.

use std::path::PathBuf;

use crate::report::{beside, write_all};

/// Write report.html, figures and tables of a run folder; of several runs also one page with their verdicts side by side
///
/// Shows what a folder holds, finished or not, and refuses a folder whose pieces belong to different runs, and runs of different program
/// versions on one page.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The run folder: what `probity battery` printed. Several: a page over all of them is written to --out
    #[arg(required = true)]
    pub run: Vec<PathBuf>,
    /// The page over several runs
    #[arg(long, value_name = "FILE.html")]
    pub out: Option<PathBuf>,
    /// Print what was written as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the path of the page.
pub fn run(args: Args) -> Result<i32, Box<dyn std::error::Error>> {
    let (page, json) = match (&args.run[..], &args.out) {
        ([run], None) => {
            let written = write_all(run)?;
            (written.report.clone(), serde_json::to_string_pretty(&written)?)
        }
        (_, Some(out)) => {
            let written = beside::write(&args.run, out)?;
            (written.page.clone(), serde_json::to_string_pretty(&written)?)
        }
        (_, None) => {
            return Err(super::Usage("several runs: name the page over them with --out FILE.html".into()).into());
        }
    };
    match args.json {
        true => println!("{json}"),
        false => println!("{}", page.display()),
    }
    Ok(0)
}
