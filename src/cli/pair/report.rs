//! `probity pair report RUN`: the page of a paired run.

use std::error::Error;
use std::path::PathBuf;

/// Write report.html, figures and tables of a paired run
///
/// Draws what `probity pair analyse` left in analysis.json; it computes nothing anew.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The run folder: what `probity pair run` printed
    pub run: PathBuf,
    /// Print what was written as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the path of the page.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let written = crate::report::write_pair(&args.run)?;
    if args.json {
        super::super::print(&format!("{}\n", serde_json::to_string_pretty(&written)?));
    } else {
        super::super::print(&format!("{}\n", written.report.display()));
    }
    Ok(0)
}
