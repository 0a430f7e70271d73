//! `probity pair audit FILE`: published 2×2 tables, recomputed.

use std::error::Error;
use std::path::PathBuf;

use crate::pair::audit::{self, Audited, COLUMNS};

/// Recompute published tables of paired proportions and say which of their numbers disagree
///
/// Tries every table of whole numbers that rounds to what was printed. Exit code 1 where a row has none.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = columns())]
pub struct Args {
    /// CSV with a header
    pub file: PathBuf,
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

/// Columns of the file, for the help.
fn columns() -> String {
    let lines = COLUMNS.iter().map(|(name, what)| format!("  {name:<14}{what}"));
    format!(
        "Columns (name and n must be there; an empty field is not known):\n{}",
        lines.collect::<Vec<_>>().join("\n")
    )
}

/// Prints a verdict a row.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let text = crate::config::read(&args.file)?;
    let rows = audit::audit(&args.file.display().to_string(), &text)?;
    if args.json {
        super::super::print(&format!("{}\n", serde_json::to_string_pretty(&rows)?));
    } else {
        super::super::print(&rows.iter().map(lines).collect::<String>());
    }
    Ok(i32::from(rows.iter().any(|r| !r.agrees)))
}

fn lines(r: &Audited) -> String {
    let mut out =
        format!("{:<9} {} (line {}, n = {})\n", if r.agrees { "agrees" } else { "DISAGREES" }, r.name, r.line, r.n);
    for text in &r.problems {
        out.push_str(&format!("          {text}\n"));
    }
    for t in &r.tables {
        out.push_str(&format!(
            "          table: both {}, only free {}, only paid {}, neither {}\n",
            t.a, t.b, t.c, t.d
        ));
    }
    if r.n_tables as usize > r.tables.len() {
        out.push_str(&format!("          and {} more tables\n", r.n_tables as usize - r.tables.len()));
    }
    for text in &r.notes {
        out.push_str(&format!("          {text}\n"));
    }
    out
}
