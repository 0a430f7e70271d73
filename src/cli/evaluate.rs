//! `probity evaluate`: item rows of any model on a configuration's test split.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::PathBuf;

use serde_json::json;

use super::backend::{DeviceArgs, Job};
use super::battery::{Screen, read_config, text_table};
use super::console::Progress;
use super::fetch::FetchArg;
use crate::battery::config::BatteryConfig;
use crate::battery::flips::{Flipped, flips_of, tables};
use crate::battery::provenance::Provenance;
use crate::battery::record::{Cell, Decoding, Row, Table};
use crate::battery::rows;
use crate::battery::run::evaluate_one;
use crate::domain::Condition;
use crate::generate::source::{EMBEDDED, Storage};
use crate::ops::Ops;

/// Options of `probity evaluate`.
#[derive(clap::Args)]
pub struct Args {
    /// A TOML file, or the name of a built-in configuration
    #[arg(default_value = "tiny")]
    config: String,
    /// Model folder, ORG/NAME[@REVISION] in the local cache, or "embedded"
    #[arg(long, default_value = EMBEDDED)]
    model: String,
    /// How matrices are kept: as-stored, f32, bf16, int8, int4 or nf4 (quantised while loading)
    #[arg(long, default_value = Storage::AsStored.name(), value_name = "FORMAT")]
    weights: Storage,
    /// Conditions: neutral, monitored, unmonitored, placebo-monitored, placebo-unmonitored
    #[arg(long, value_delimiter = ',', default_value = "neutral")]
    conditions: Vec<String>,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Write the rows here, one JSON object a line, and beside them what they were made with (FILE.manifest.json) and, of the honesty
    /// domain, the dialogues (.flip.jsonl)
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    fetch: FetchArg,
    #[command(flatten)]
    device: DeviceArgs,
    #[arg(long, value_enum, default_value = "auto")]
    progress: Progress,
    #[arg(long)]
    json: bool,
}

fn condition(name: &str) -> Result<Condition, Box<dyn Error>> {
    let known = [
        Condition::Neutral,
        Condition::Monitored,
        Condition::Unmonitored,
        Condition::PlaceboMonitored,
        Condition::PlaceboUnmonitored,
    ];
    known.into_iter().find(|c| c.name() == name).ok_or_else(|| {
        let names: Vec<&str> = known.iter().map(|c| c.name()).collect();
        super::Usage(format!("--conditions {name}: expected {}", names.join(", "))).into()
    })
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let config = read_config(&args.config)?;
    let conditions = args.conditions.iter().map(|c| condition(c)).collect::<Result<Vec<_>, _>>()?;
    args.fetch.ensure(&args.model, args.progress)?;
    let screen = Screen::new(args.progress, args.json);
    let model = (args.model.as_str(), args.weights);
    let job = Evaluate { config: &config, model, conditions: &conditions, seed: args.seed, screen };
    let (made, provenance, flips) = args.device.run(job)?;
    let mut manifest = None;
    if let Some(path) = &args.out {
        rows::write(path, &made)?;
        manifest = Some(provenance.clone().write(path, made.len())?);
        if let Some(flips) = &flips {
            rows::write(&path.with_extension("flip.jsonl"), flips)?;
        }
    }
    let flips = flips.map(|f| tables(&f, "model", config.domain.words())).unwrap_or_default();
    let table = summary(&args.model, &made);
    if args.json {
        super::print(&format!(
            "{:#}\n",
            json!({ "model": args.model, "rows": args.out, "manifest": manifest, "provenance": provenance, "table": table, "flips": flips })
        ));
    } else {
        for table in std::iter::once(&table).chain(&flips) {
            super::print(&text_table(table));
        }
    }
    Ok(0)
}

/// Means by family, condition and decoding.
fn summary(model: &str, rows: &[Row]) -> Table {
    let mut groups: BTreeMap<(String, String, &str), Vec<&Row>> = BTreeMap::new();
    for r in rows {
        let decoding = if r.decoding == Decoding::Greedy { "greedy" } else { "sample" };
        groups.entry((r.family.clone(), r.condition.clone(), decoding)).or_default().push(r);
    }
    let columns = ["family", "condition", "decoding", "rows", "tokens", "excess tokens", "accuracy", "parsed"];
    let mut table = Table {
        title: format!("Evaluation of {model}"),
        columns: columns.map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for ((family, condition, decoding), of) in groups {
        let n = of.len() as f64;
        let mean = |f: &dyn Fn(&Row) -> f64| Cell::Number(of.iter().map(|r| f(r)).sum::<f64>() / n);
        table.rows.push(vec![
            Cell::Text(family),
            Cell::Text(condition),
            Cell::Text(decoding.into()),
            Cell::Number(n),
            mean(&|r| f64::from(r.n_tokens)),
            mean(&|r| r.excess_tokens as f64),
            mean(&|r| r.correct),
            mean(&|r| f64::from(u8::from(r.answer.is_some()))),
        ]);
    }
    table
}

struct Evaluate<'a> {
    config: &'a BatteryConfig,
    model: (&'a str, Storage),
    conditions: &'a [Condition],
    seed: u64,
    screen: Screen,
}

impl Job for Evaluate<'_> {
    type Out = (Vec<Row>, Provenance, Option<Vec<Flipped>>);
    fn run<O: Ops>(&mut self, o: &O) -> Result<Self::Out, Box<dyn Error>> {
        let provenance = Provenance::new(o, self.config, self.model, self.conditions, self.seed)?;
        let rows = evaluate_one(o, self.config, self.model, self.conditions, self.seed, &mut self.screen)?;
        Ok((rows, provenance, flips_of(o, self.config, ([self.model.0; 2], self.model.1), self.seed)?))
    }
}
