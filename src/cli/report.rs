//! `probity report RUN`: draws the report of a run again.

use std::path::PathBuf;

/// Write report.html, figures and tables of a run folder
///
/// Shows what the folder holds, finished or not, and refuses a folder whose pieces belong to different runs.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    /// The run folder: what `probity battery` printed
    pub run: PathBuf,
    /// Print what was written as JSON
    #[arg(long)]
    pub json: bool,
}

/// Prints the path of the page.
pub fn run(args: Args) -> Result<i32, Box<dyn std::error::Error>> {
    let written = crate::report::write_all(&args.run)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&written)?);
    } else {
        println!("{}", written.report.display());
    }
    Ok(0)
}
