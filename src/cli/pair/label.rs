//! `probity pair label`: a person labels a blinded sample.

use std::error::Error;
use std::path::PathBuf;

use super::super::battery::text_table;
use crate::pair::hand::label;
use crate::pair::judge::agreements;

/// Options of `probity pair label`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a paired run
    run: PathBuf,
    /// Answers in the sample, spread over arms and labels of the lexical judge
    #[arg(long, default_value_t = 100)]
    n: usize,
    /// Of the sample and its order; another seed is another sample
    #[arg(long, default_value_t = 42)]
    seed: u64,
}

/// Runs the command: answers on standard output, keys from standard input.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let session = label(&args.run, args.n, args.seed, &mut std::io::stdin().lock(), &mut std::io::stdout().lock())?;
    super::super::print(&format!("\n{} of {} answers are labelled.\n", session.labelled, session.sample));
    if session.labelled < session.sample {
        super::super::print("The same command goes on with the rest.\n");
    }
    let agreement = agreements(&args.run)?;
    if !agreement.rows.is_empty() {
        super::super::print(&text_table(&agreement));
    }
    Ok(0)
}
