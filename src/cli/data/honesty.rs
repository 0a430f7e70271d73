//! `probity data honesty`: statements in train, dev, test and held-out topics.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use serde::Serialize;

use super::{DataError, ProfileArg, as_json, folder, table_of};
use crate::domain::Profile;
use crate::domain::honesty::{Answer, Dataset, HonestyConfig, Part, Pool};

#[derive(Debug, Args)]
pub struct HonestyArgs {
    #[arg(long, value_enum, default_value = "strict")]
    pub profile: ProfileArg,
    /// Where statements come from: words (the embedded pool), world (general knowledge), or a JSONL file in their format
    #[arg(long)]
    pub pool: Option<String>,
    /// Topics that occur in ood.json alone, with commas between (default: the pool's own choice)
    #[arg(long, value_delimiter = ',')]
    pub held_out: Option<Vec<String>>,
    /// Seed of the draw (default: the configuration's, 42)
    #[arg(long)]
    pub seed: Option<u64>,
    /// Folder to write into; made if missing
    #[arg(long)]
    pub out: PathBuf,
    /// TOML file whose [honesty] table sets pool, sizes, shares and held-out topics
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// Print the summary as JSON
    #[arg(long)]
    pub json: bool,
}

/// One topic in one file.
#[derive(Debug, Serialize)]
struct Count {
    part: Part,
    topic: String,
    statements: usize,
    trues: usize,
}

#[derive(Debug, Serialize)]
struct Summary {
    profile: Profile,
    pool: Pool,
    seed: u64,
    out: PathBuf,
    counts: Vec<Count>,
}

/// Write the files; the returned text is what to print.
pub fn write(args: &HonestyArgs) -> Result<String, DataError> {
    let profile = args.profile.into();
    let mut config = match &args.config {
        None => HonestyConfig::of_profile(profile),
        Some(path) => table_of(path, "honesty", profile, |c: &HonestyConfig| c.profile)?,
    };
    config.seed = args.seed.unwrap_or(config.seed);
    config.pool = args.pool.clone().map_or(config.pool, Pool::from);
    config.held_out = args.held_out.clone().or(config.held_out);
    let data = Dataset::draw(&config)?;
    folder(&args.out)?;
    data.write_dir(&args.out)?;
    let summary = Summary {
        profile: config.profile,
        pool: config.pool,
        seed: config.seed,
        out: args.out.clone(),
        counts: counts(&data),
    };
    if args.json { as_json(&summary) } else { Ok(table(&summary)) }
}

fn counts(data: &Dataset) -> Vec<Count> {
    let of = |part: Part| {
        let mut topics: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
        for e in data.part(part) {
            let n = topics.entry(&e.topic).or_default();
            n[0] += 1;
            n[1] += usize::from(e.answer == Answer::True);
        }
        let count =
            |(topic, [statements, trues]): (&str, [usize; 2])| Count { part, topic: topic.into(), statements, trues };
        topics.into_iter().map(count).collect::<Vec<_>>()
    };
    Part::ALL.into_iter().flat_map(of).collect()
}

fn table(summary: &Summary) -> String {
    let mut text = format!("{:<6} {:<16} {:>10} {:>6}\n", "file", "topic", "statements", "true");
    let line = |part: Part, topic: &str, [statements, trues]: [usize; 2]| {
        format!("{:<6} {topic:<16} {statements:>10} {trues:>6}\n", part.name())
    };
    for part in Part::ALL {
        let of = || summary.counts.iter().filter(|c| c.part == part);
        of().for_each(|c| text += &line(part, &c.topic, [c.statements, c.trues]));
        text += &line(part, "(all)", [of().map(|c| c.statements).sum(), of().map(|c| c.trues).sum()]);
    }
    text + &format!("written to {} (seed {})\n", summary.out.display(), summary.seed)
}

#[cfg(test)]
mod tests {
    use super::super::tests::data;
    use super::*;

    #[test]
    fn writes_both_profiles_and_counts_them() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().join("a/strict");
        let text = data(&["honesty", "--out", out.to_str().unwrap()]).unwrap();
        let words = |l: &str| l.split_whitespace().map(str::to_string).collect::<Vec<_>>();
        assert!(text.lines().any(|l| words(l) == ["ood", "parity", "120", "60"]), "{text}");
        assert!(Dataset::load_dir(&out).is_ok());
        let out = dir.path().join("paper");
        let json =
            data(&["honesty", "--profile", "paper", "--seed", "7", "--json", "--out", out.to_str().unwrap()]).unwrap();
        let summary: serde_json::Value = serde_json::from_str(&json).unwrap();
        assert_eq!((&summary["seed"], &summary["pool"]), (&7.into(), &"words".into()));
        assert_eq!(Dataset::load_dir(&out).unwrap().train.len(), 174);
    }

    #[test]
    fn another_pool_is_a_file_and_its_topics_must_be_named() {
        let dir = tempfile::tempdir().unwrap();
        let (pool, out) = (dir.path().join("pool.jsonl"), dir.path().join("out"));
        let mut rows = String::new();
        for (topic, i) in ["a", "b"].into_iter().flat_map(|t| (0..40).map(move |i| (t, i))) {
            for (mark, twin, truth) in [("t", "f", true), ("f", "t", false)] {
                rows += &format!(
                    "{{\"id\":\"{topic}{i}{mark}\",\"topic\":\"{topic}\",\"group\":\"{topic}{i}\",\"twin\":\"{topic}{i}{twin}\",\"truth\":{truth},\"text\":\"{topic}{i}{mark}.\"}}\n"
                );
            }
        }
        std::fs::write(&pool, rows).unwrap();
        let config = dir.path().join("c.toml");
        std::fs::write(&config, "[honesty]\nmin_statements = 100").unwrap();
        let mut args = vec![
            "honesty",
            "--pool",
            pool.to_str().unwrap(),
            "--config",
            config.to_str().unwrap(),
            "--out",
            out.to_str().unwrap(),
        ];
        let message = data(&args).unwrap_err().to_string();
        assert!(message.contains("the pool has a, b"), "{message}");
        args.extend(["--held-out", "b"]);
        data(&args).unwrap();
        assert_eq!(Dataset::load_dir(&out).unwrap().ood.len(), 80);
        for (text, needle) in
            [("", "[honesty]"), ("[honesty]\nsede = 1", "sede"), ("[honesty]\nprofile = \"paper\"", "differ")]
        {
            std::fs::write(&config, text).unwrap();
            let message = data(&args).unwrap_err().to_string();
            assert!(message.contains(needle) && message.contains("c.toml"), "{message}");
        }
    }
}
