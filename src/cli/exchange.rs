//! `probity import` and `probity export`: results made elsewhere, and ours for other tools.

use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;

use super::battery::text_table;
use crate::battery::exchange::export::Target;
use crate::battery::exchange::{self, About, Format, Options, Rescore};
use crate::domain::error::read_utf8;
use crate::domain::frugality::dataset;
use crate::text::Tokenizer;

/// Options of `probity import`.
#[derive(clap::Args, Debug)]
pub struct ImportArgs {
    /// The study's result JSON, lm-eval samples_*.jsonl, Inspect JSON logs
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Format of all files (default: by their content)
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// Arm of the rows: one name for all files, or one a file, with commas (default: the model's name in the source)
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    arm: Vec<String>,
    /// Training seed of the arm: one for all files, or one a file
    #[arg(long, value_delimiter = ',', value_name = "N")]
    seed: Vec<u64>,
    /// Condition of the rows: one for all files, or one a file (default: what the source says)
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    condition: Vec<String>,
    /// Metric (lm-eval) or scorer (Inspect; SCORER.KEY in one of several values) that says right or wrong
    #[arg(long, value_name = "NAME")]
    score: Option<String>,
    /// lm-eval: the filter whose answers to take
    #[arg(long, value_name = "NAME")]
    filter: Option<String>,
    /// Score the responses again
    #[arg(long, value_enum, default_value = "none")]
    rescore: Rescore,
    /// Model folder whose tokenizer counts the lengths that a source does not give
    #[arg(long, value_name = "DIR")]
    tokenizer: Option<PathBuf>,
    /// Completion limit of the source, in tokens: rows that reach it count as cut
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    max_tokens: Option<u32>,
    /// Task file of the training set, in the study's format: how many prompts occur in it
    #[arg(long, value_name = "FILE")]
    train: Option<PathBuf>,
    /// Folder for items.jsonl and import.json; made if missing
    #[arg(long)]
    out: PathBuf,
    /// Print import.json instead of tables
    #[arg(long)]
    json: bool,
}

/// Options of `probity export`.
#[derive(clap::Args, Debug)]
pub struct ExportArgs {
    /// A run folder, or a folder that `probity import` wrote
    run: PathBuf,
    #[arg(long, value_enum)]
    format: Target,
    /// Folder to write into; made if missing
    #[arg(long)]
    out: PathBuf,
    /// Print the files as JSON
    #[arg(long)]
    json: bool,
}

/// Reads, checks, writes; the returned text is what to print.
pub fn import(args: &ImportArgs) -> Result<String, Box<dyn Error>> {
    let options = Options {
        format: args.format,
        arms: args.arm.clone(),
        seeds: args.seed.clone(),
        conditions: args.condition.clone(),
        score: args.score.clone(),
        filter: args.filter.clone(),
        rescore: args.rescore,
        max_tokens: args.max_tokens,
    };
    let tokenizer = args.tokenizer.as_deref().map(Tokenizer::load).transpose()?;
    let train = match &args.train {
        Some(path) => Some(dataset::from_json(&path.display().to_string(), &read_utf8(path)?)?),
        None => None,
    };
    let (records, about) = exchange::import(&args.files, &options, tokenizer.as_ref(), train.as_deref())?;
    exchange::save(&args.out, &records, &about)?;
    if args.json {
        return Ok(format!("{}\n", serde_json::to_string_pretty(&about)?));
    }
    Ok(show(&about, args)?)
}

fn show(about: &About, args: &ImportArgs) -> Result<String, std::fmt::Error> {
    let mut out = String::new();
    for s in &about.sources {
        writeln!(out, "{}: {} rows", s.path.display(), s.rows)?;
        for (why, n) in &s.skipped {
            writeln!(out, "    left out: {n} × {why}")?;
        }
        for note in &s.notes {
            writeln!(out, "    {note}")?;
        }
    }
    for note in &about.notes {
        writeln!(out, "note: {note}")?;
    }
    if !about.missing.is_empty() {
        let missing: Vec<String> = about.missing.iter().map(|(key, n)| format!("{key} {n}")).collect();
        writeln!(out, "unknown values, rows: {}", missing.join(", "))?;
    }
    writeln!(out, "\nHealth")?;
    for h in &about.health {
        writeln!(out, "  {:<5} {}: {}", if h.ok { "ok" } else { "LOOK" }, h.name, h.detail)?;
    }
    for table in &about.statistics {
        write!(out, "\n{}", text_table(table))?;
    }
    writeln!(out, "\n{} rows in {}", about.rows, args.out.join("items.jsonl").display())?;
    Ok(out)
}

/// Writes the files; the returned text is their paths.
pub fn export(args: &ExportArgs) -> Result<String, Box<dyn Error>> {
    let files = exchange::export::export(&args.run, args.format, &args.out)?;
    if args.json {
        return Ok(format!("{}\n", serde_json::to_string_pretty(&files)?));
    }
    Ok(files.iter().map(|f| format!("{}\n", f.display())).collect())
}

#[cfg(test)]
mod tests {
    use clap::{Parser, Subcommand};

    use super::*;

    #[derive(Parser)]
    struct Program {
        #[command(subcommand)]
        command: Both,
    }

    #[derive(Subcommand)]
    enum Both {
        Import(ImportArgs),
        Export(ExportArgs),
    }

    fn run(args: &[&str]) -> Result<String, Box<dyn Error>> {
        match Program::try_parse_from(["probity"].iter().chain(args))?.command {
            Both::Import(a) => import(&a),
            Both::Export(a) => export(&a),
        }
    }

    #[test]
    fn the_commands_of_the_readme() {
        let dir = tempfile::tempdir().unwrap();
        let data = concat!(env!("CARGO_MANIFEST_DIR"), "/data/exchange");
        let (a, b) = (format!("{data}/baseline_results.json"), format!("{data}/frugal_results.json"));
        let out = dir.path().join("a/imported");
        let out = out.to_str().unwrap();
        let text = run(&["import", &a, &b, "--rescore", "strict", "--max-tokens", "150", "--out", out]).unwrap();
        for part in ["24 rows in", "duplicate prompts, neutral", "McNemar p", "baseline, frugal", "scored again"] {
            assert!(text.contains(part), "{part}: {text}");
        }
        let json = run(&["import", &a, &b, "--arm", "x,y", "--seed", "1,2", "--json", "--out", out]).unwrap();
        let about: About = serde_json::from_str(&json).unwrap();
        assert_eq!(about.rows, 24);
        let items = std::fs::read_to_string(format!("{out}/items.jsonl")).unwrap();
        assert!(items.lines().next().unwrap().starts_with("{\"arm\":\"x\",\"seed\":1,"), "{items}");
        let exported = dir.path().join("logs");
        let text = run(&["export", out, "--format", "inspect", "--out", exported.to_str().unwrap()]).unwrap();
        assert_eq!(text.lines().count(), 6);
        let e = run(&["import", &a, "--arm", "x,y", "--out", out]).unwrap_err();
        assert_eq!(super::super::exit_code(&*e), 2, "{e}");
        assert!(run(&["import", "--out", out]).is_err() && run(&["export", out]).is_err());
        let e = run(&["import", "nowhere.json", "--out", out]).unwrap_err();
        assert!(e.to_string().contains("nowhere.json"));
    }
}
