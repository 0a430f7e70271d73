//! `probity data frugality`: the task files.

use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{DataError, ProfileArg, as_json, folder, table_of};
use crate::domain::Split;
use crate::domain::frugality::{self, Family, FrugalityConfig, Profile, Task, dataset, paper, strict};

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

pub fn write(args: &FrugalityArgs) -> Result<String, DataError> {
    let mut config = frugality_config(args)?;
    config.seed = args.seed.unwrap_or(config.seed);
    config.check()?;
    let (splits, space) = match config.profile {
        Profile::Paper => (frugality::generate(&config)?, Vec::new()),
        Profile::Strict => strict::dataset(&config)?,
    };
    folder(&args.out)?;
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
        return as_json(&summary);
    }
    Ok(table(&summary))
}

fn frugality_config(args: &FrugalityArgs) -> Result<FrugalityConfig, DataError> {
    let profile = args.profile.into();
    match &args.config {
        None => Ok(FrugalityConfig::of_profile(profile)),
        Some(path) => table_of(path, "frugality", profile, |c: &FrugalityConfig| c.profile),
    }
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
    use super::super::tests::data;
    use super::*;

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
