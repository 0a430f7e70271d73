//! `probity data`: write data sets as files, to look at them or to use them elsewhere.

use std::path::PathBuf;

use clap::{Args, Subcommand, ValueEnum};
use serde::Serialize;

use crate::domain::frugality::{self, Family, FrugalityConfig, Profile, Task, dataset, paper, strict};
use crate::domain::{DomainError, Split};

#[derive(Debug, Args)]
pub struct DataArgs {
    #[command(subcommand)]
    pub command: DataCommand,
}

#[derive(Debug, Subcommand)]
pub enum DataCommand {
    /// Frugality tasks: train.json, val.json and test.json in the study's format
    Frugality(FrugalityArgs),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum ProfileArg {
    /// As the study describes it: its published files, bit for bit at seed 42
    Paper,
    /// Disjoint splits, held-out families, at least 1000 distinct prompts a family
    Strict,
}

#[derive(Debug, Args)]
pub struct FrugalityArgs {
    #[arg(long, value_enum, default_value = "strict")]
    pub profile: ProfileArg,
    /// Seed of the generators (default: the configuration's, 42)
    #[arg(long)]
    pub seed: Option<u64>,
    /// Folder to write into; made if missing
    #[arg(long)]
    pub out: PathBuf,
    /// TOML file whose [frugality] table sets ranges, sizes and held-out families
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Paper profile: write the study's single-digit sums too (trivial_*.json)
    #[arg(long)]
    pub trivial: bool,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, thiserror::Error)]
pub enum DataError {
    #[error(transparent)]
    Domain(#[from] DomainError),
    #[error("{path}: {detail}", path = path.display())]
    Config { path: PathBuf, detail: String },
    #[error("cannot make the folder {path}: {source}", path = path.display())]
    Folder { path: PathBuf, source: std::io::Error },
}

/// Run the command; the returned text is what to print.
pub fn run(args: &DataArgs) -> Result<String, DataError> {
    match &args.command {
        DataCommand::Frugality(args) => write_frugality(args),
    }
}

/// One family in one split.
#[derive(Debug, Serialize)]
struct Count {
    split: &'static str,
    family: &'static str,
    items: usize,
    distinct_prompts: usize,
    /// Items whose canonical prompt also occurs in train.
    seen_in_train: usize,
    yes: usize,
}

#[derive(Debug, Serialize)]
struct Summary {
    profile: Profile,
    seed: u64,
    out: PathBuf,
    held_out: Vec<Family>,
    counts: Vec<Count>,
    /// Strict: distinct prompts that each family can give, in all and by split.
    space: Vec<strict::FamilyCount>,
}

fn write_frugality(args: &FrugalityArgs) -> Result<String, DataError> {
    let mut config = frugality_config(args)?;
    config.seed = args.seed.unwrap_or(config.seed);
    config.check()?;
    let (splits, space) = match config.profile {
        Profile::Paper => (frugality::generate(&config)?, Vec::new()),
        Profile::Strict => strict::dataset(&config)?,
    };
    std::fs::create_dir_all(&args.out).map_err(|source| DataError::Folder { path: args.out.clone(), source })?;
    dataset::write_dir(&args.out, "", &splits)?;
    if args.trivial {
        dataset::write_dir(&args.out, "trivial_", &paper::trivial(config.seed, &config.ranges)?)?;
    }
    let summary = Summary {
        profile: config.profile,
        seed: config.seed,
        out: args.out.clone(),
        held_out: config.held_out.clone(),
        counts: counts(&splits),
        space,
    };
    if args.json {
        return serde_json::to_string_pretty(&summary)
            .map_err(|e| DomainError::Malformed { origin: "summary".into(), detail: e.to_string() }.into());
    }
    Ok(table(&summary))
}

fn frugality_config(args: &FrugalityArgs) -> Result<FrugalityConfig, DataError> {
    let profile = match args.profile {
        ProfileArg::Paper => Profile::Paper,
        ProfileArg::Strict => Profile::Strict,
    };
    let Some(path) = &args.config else { return Ok(FrugalityConfig::of_profile(profile)) };
    let fail = |detail: String| DataError::Config { path: path.clone(), detail };
    let text = std::fs::read_to_string(path).map_err(|e| fail(format!("cannot be read: {e}")))?;
    let mut document: toml::Table = toml::from_str(&text).map_err(|e| fail(e.to_string()))?;
    let table = document.remove("frugality").ok_or_else(|| fail("has no [frugality] table".into()))?;
    let config: FrugalityConfig = table.try_into().map_err(|e| fail(format!("[frugality]: {e}")))?;
    if config.profile != profile {
        return Err(fail("its profile and --profile differ; give the same one".into()));
    }
    Ok(config)
}

fn counts(splits: &[Vec<Task>; 3]) -> Vec<Count> {
    use std::collections::BTreeSet;
    let train: BTreeSet<String> = splits[0].iter().map(Task::canonical).collect();
    let mut counts = Vec::new();
    for (split, tasks) in Split::ALL.into_iter().zip(splits) {
        for family in Family::STRICT {
            let of: Vec<&Task> = tasks.iter().filter(|t| t.family() == family.name()).collect();
            let distinct: BTreeSet<String> = of.iter().map(|t| t.canonical()).collect();
            let seen = of.iter().filter(|t| split != Split::Train && train.contains(&t.canonical())).count();
            let yes = of.iter().filter(|t| t.answer == "yes").count();
            counts.push(Count {
                split: split.name(),
                family: family.name(),
                items: of.len(),
                distinct_prompts: distinct.len(),
                seen_in_train: seen,
                yes,
            });
        }
    }
    counts
}

fn table(summary: &Summary) -> String {
    let mut text = format!(
        "{:<6} {:<8} {:>6} {:>9} {:>14} {:>5}\n",
        "split", "family", "items", "distinct", "seen in train", "yes"
    );
    for c in &summary.counts {
        let seen = if c.split == "train" { "-".to_string() } else { c.seen_in_train.to_string() };
        let yes = if c.family == "logic" { c.yes.to_string() } else { "-".to_string() };
        text +=
            &format!("{:<6} {:<8} {:>6} {:>9} {seen:>14} {yes:>5}\n", c.split, c.family, c.items, c.distinct_prompts);
    }
    for s in &summary.space {
        let [train, val, test] = s.by_split;
        let held = if summary.held_out.contains(&s.family) { ", held out of training" } else { "" };
        text += &format!(
            "{}: {} distinct prompts possible ({train} train, {val} val, {test} test){held}\n",
            s.family.name(),
            s.distinct
        );
    }
    text + &format!("written to {} (seed {})\n", summary.out.display(), summary.seed)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        data: DataArgs,
    }

    fn data(args: &[&str]) -> Result<String, DataError> {
        let cli = Cli::try_parse_from(["data"].iter().chain(args)).unwrap();
        run(&cli.data)
    }

    #[test]
    fn writes_both_profiles_and_says_what_overlaps() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/paper");
        let text = data(&["frugality", "--profile", "paper", "--trivial", "--out", out.to_str().unwrap()]).unwrap();
        // The study's own overlap: 50 of 50 pattern items of the test split stand in train.
        assert!(
            text.lines()
                .any(|l| l.split_whitespace().collect::<Vec<_>>() == ["test", "pattern", "50", "33", "50", "-"]),
            "{text}"
        );
        assert!(out.join("trivial_test.json").exists() && dataset::load_dir(&out, true).is_ok());
        let out = dir.path().join("strict");
        let json = data(&["frugality", "--seed", "7", "--json", "--out", out.to_str().unwrap()]).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!(summary["seed"], 7);
        assert!(summary["counts"].as_array().unwrap().iter().all(|c| c["seen_in_train"] == 0));
        assert!(dataset::load_dir(&out, false).is_ok());
    }

    #[test]
    fn configuration_errors_name_the_file_and_the_key() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        let (config, out) = (path.to_str().unwrap(), dir.path().to_str().unwrap());
        for (text, needle) in [
            ("", "[frugality]"),
            ("[frugality]\nsede = 1", "sede"),
            ("[frugality", "c.toml"),
            ("[frugality]\nprofile = \"paper\"", "differ"),
        ] {
            std::fs::write(&path, text).unwrap();
            let message = data(&["frugality", "--config", config, "--out", out]).unwrap_err().to_string();
            assert!(message.contains(needle), "{message}");
        }
    }
}
