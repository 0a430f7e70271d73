//! `probity pair judge`: labels of a run by rules or by a model, and how far judges agree.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::backend::{DeviceArgs, Job};
use super::super::battery::text_table;
use super::super::console::Progress;
use super::super::fetch::FetchArg;
use super::leak_line;
use crate::battery::record::{Cell, Table};
use crate::domain::tier::lexical::VERSION;
use crate::domain::tier::lexical::check::{Checked, checks};
use crate::generate::source::{EMBEDDED, Source, Storage};
use crate::model::qwen2::Recompute;
use crate::ops::Ops;
use crate::pair::folder::{self, Manifest};
use crate::pair::judge::{Lexical, agreements, judge, with_text};
use crate::pair::model_judge::{ModelJudge, positions};
use crate::pair::row::Judged;
use crate::train::accumulate::MicroBatch;

#[derive(clap::ValueEnum, Clone, Copy, Debug, PartialEq, Eq)]
enum Which {
    /// Rules on the normalised answer
    Lexical,
    /// A local model, by log-probabilities of the label words
    Model,
}

/// Options of `probity pair judge`.
#[derive(clap::Args)]
pub struct Args {
    /// Folder of a paired run
    #[arg(required_unless_present = "check")]
    run: Option<PathBuf>,
    #[arg(long, value_enum, default_value = "lexical")]
    judge: Which,
    /// The judging model: a folder, ORG/NAME[@REVISION] in the local cache, or "embedded"
    #[arg(long, default_value = EMBEDDED)]
    model: String,
    /// Print what the lexical judge makes of answers labelled by hand, and label nothing
    #[arg(long, conflicts_with = "run")]
    check: bool,
    /// Of the order in which answers are judged
    #[arg(long, default_value_t = 42)]
    seed: u64,
    #[command(flatten)]
    fetch: FetchArg,
    #[command(flatten)]
    device: DeviceArgs,
    #[arg(long)]
    json: bool,
}

struct Judging<'a> {
    args: &'a Args,
    dir: &'a Path,
    source: &'a Source,
}

impl Job for Judging<'_> {
    type Out = Vec<Judged>;
    fn run<O: Ops>(&mut self, o: &O) -> Result<Vec<Judged>, Box<dyn Error>> {
        let chat = self.source.tokenizer()?;
        let rows = folder::rows(self.dir)?;
        let answers: Vec<&str> = with_text(self.dir, &rows)?.into_iter().map(|a| a.1).collect();
        let model = self.source.load(o, positions(&chat, &answers)?, Storage::AsStored)?;
        let revision = self.source.commit.clone().map_or_else(|| self.source.sha256(), Ok)?;
        let micro = MicroBatch { max_tokens: 4096, recompute: Recompute::None };
        let mut by_model = ModelJudge { o, model: &model, chat: &chat, revision, micro };
        Ok(judge(self.dir, &mut by_model, self.args.seed)?)
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let Some(dir) = args.run.as_deref() else { return check(args.json) };
    let manifest = Manifest::read(dir)?;
    let labels = match args.judge {
        Which::Lexical => judge(dir, &mut Lexical, args.seed)?,
        Which::Model => {
            args.fetch.ensure(&args.model, Progress::Auto)?;
            let source = Source::open(&args.model)?;
            args.device.run(Judging { args: &args, dir, source: &source })?
        }
    };
    let agreement = agreements(dir)?;
    if args.json {
        super::super::print(&format!(
            "{:#}\n",
            json!({ "run": dir, "labels": labels.len(), "agreement": agreement, "leak": manifest.leak })
        ));
        return Ok(0);
    }
    super::super::print(&leak_line(manifest.leak));
    super::super::print(&format!(
        "{} labels by {}.\n",
        labels.len(),
        labels.first().map_or("nobody", |l| &l.judge_version)
    ));
    if !agreement.rows.is_empty() {
        super::super::print(&text_table(&agreement));
    }
    Ok(0)
}

fn check(json: bool) -> Result<i32, Box<dyn Error>> {
    let checked = checks()?;
    if json {
        super::super::print(&format!("{:#}\n", json!({ "version": VERSION, "checked": checked })));
        return Ok(0);
    }
    let mut table = Table {
        title: format!("{VERSION} on answers labelled by hand; its rules were written without the held-out half"),
        columns: ["half", "answers", "refusals", "precision", "recall", "all labels right"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    let line = |c: &Checked| {
        vec![
            Cell::Text(c.name.into()),
            Cell::Number(c.cases as f64),
            Cell::Number(c.refusals as f64),
            Cell::Text(format!("{:.3}", c.precision())),
            Cell::Text(format!("{:.3}", c.recall())),
            Cell::Text(format!("{} of {}", c.right, c.cases)),
        ]
    };
    table.rows.extend(checked.iter().map(line));
    super::super::print(&text_table(&table));
    for m in checked.iter().flat_map(|c| &c.misses) {
        super::super::print(&format!("  {} ({}): {} taken for {}\n", m.id, m.kind, m.wanted.name(), m.given.name()));
    }
    Ok(0)
}
