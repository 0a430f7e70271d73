//! `probity probe` and `probity steer`: the instruments of tests 3 and 6 on any model folder.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::backend::{DeviceArgs, Job};
use super::battery::{Screen, read_config, text_table};
use super::console::Progress;
use super::fetch::FetchArg;
use crate::battery::config::BatteryConfig;
use crate::battery::record::{Cell, Table};
use crate::battery::standalone::{Along, ProbeReport, SteerReport, probe, steer};
use crate::domain::measure::capital;
use crate::generate::source::EMBEDDED;
use crate::ops::Ops;
use crate::train::optim::Precision;

/// Options of both commands.
#[derive(clap::Args)]
pub struct Args {
    /// A TOML file, or the name of a built-in configuration: items, decoding, [probe] and [steer]
    #[arg(default_value = "tiny")]
    config: String,
    /// Model folder, ORG/NAME[@REVISION] in the local cache, or "embedded"
    #[arg(long, default_value = EMBEDDED)]
    model: String,
    /// How matrices are kept: f32, bf16, int8, int4 or nf4 (quantised while loading), in place of the configuration's `optim.precision`
    #[arg(long, value_name = "FORMAT")]
    weights: Option<Precision>,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Folder for rows, activations and results (default: runs/NAME-probe or runs/NAME-steer)
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

/// Options of `probity steer`.
#[derive(clap::Args)]
pub struct SteerArgs {
    #[command(flatten)]
    common: Args,
    /// Block whose output is steered (default: where the probe is best, or the only one of --vector)
    #[arg(long)]
    layer: Option<usize>,
    /// Steer along a GGUF control vector instead of the model's own direction
    #[arg(long)]
    vector: Option<PathBuf>,
}

impl Args {
    fn read(&self) -> Result<BatteryConfig, Box<dyn Error>> {
        let mut config = read_config(&self.config)?;
        config.optim.precision = self.weights.unwrap_or(config.optim.precision);
        Ok(config)
    }

    fn dir(&self, config: &BatteryConfig, what: &str) -> PathBuf {
        self.out.clone().unwrap_or_else(|| Path::new("runs").join(format!("{}-{what}", config.name)))
    }
}

struct Probe<'a>(&'a BatteryConfig, &'a Args, &'a Path, Screen);

impl Job for Probe<'_> {
    type Out = ProbeReport;
    fn run<O: Ops>(&mut self, o: &O) -> Result<ProbeReport, Box<dyn Error>> {
        let Self(config, args, dir, screen) = self;
        Ok(probe(o, config, &args.model, args.seed, dir, screen)?)
    }
}

struct Steer<'a>(&'a BatteryConfig, &'a SteerArgs, &'a Path, Screen);

impl Job for Steer<'_> {
    type Out = SteerReport;
    fn run<O: Ops>(&mut self, o: &O) -> Result<SteerReport, Box<dyn Error>> {
        let Self(config, args, dir, screen) = self;
        let along = match &args.vector {
            Some(path) => Along::Vector(path, args.layer),
            None => Along::Own(args.layer),
        };
        Ok(steer(o, config, &args.common.model, args.common.seed, along, dir, screen)?)
    }
}

/// Runs `probity probe`.
pub fn run_probe(args: Args) -> Result<i32, Box<dyn Error>> {
    let config = args.read()?;
    args.fetch.ensure(&args.model, args.progress)?;
    let dir = args.dir(&config, "probe");
    let screen = Screen::new(args.progress, args.json);
    let report = args.device.run(Probe(&config, &args, &dir, screen))?;
    if args.json {
        super::print(&format!("{:#}\n", json!(report)));
        return Ok(0);
    }
    let mut table = Table {
        title: format!(
            "Rank correlation with {} within {}, out of fold: {}",
            config.domain.words().target,
            config.domain.words().families,
            args.model
        ),
        columns: ["block", "skill", "p", "family-wise p"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for (l, s) in report.permutation.layers.iter().enumerate() {
        let p = |p: f64| Cell::Text(format!("{p:.4}"));
        table.rows.push(vec![Cell::Text(l.to_string()), Cell::Number(s.skill), p(s.p), p(s.p_family)]);
    }
    super::print(&text_table(&table));
    for table in &report.headline.tables {
        super::print(&text_table(table));
    }
    super::print(&format!(
        "{}\nChance reaches {:.3} at the best block in 5 % of {} permutations.\nActivations: {}\n",
        report.headline.summary,
        report.permutation.chance_95,
        report.permutation.permutations,
        report.activations.display()
    ));
    Ok(0)
}

/// Runs `probity steer`.
pub fn run_steer(args: SteerArgs) -> Result<i32, Box<dyn Error>> {
    let config = args.common.read()?;
    args.common.fetch.ensure(&args.common.model, args.common.progress)?;
    let dir = args.common.dir(&config, "steer");
    let screen = Screen::new(args.common.progress, args.common.json);
    let report = args.common.device.run(Steer(&config, &args, &dir, screen))?;
    if args.common.json {
        super::print(&format!("{:#}\n", json!(report)));
        return Ok(0);
    }
    let (s, words) = (&report.steered, config.domain.words());
    if s.doses.is_empty() {
        super::print("No family has both of what the direction runs between: there is none.\n");
        return Ok(1);
    }
    let mut table = Table {
        title: format!("Block {}, {} items, greedy: {}", s.layer, s.items.len(), args.common.model),
        columns: ["dose (RMS)", words.steered_mean, "accuracy", "keeps accuracy"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for d in &s.doses {
        let mean = |v: &[f64]| Cell::Number(v.iter().sum::<f64>() / v.len().max(1) as f64);
        let kept = if report.preserving.contains(&d.dose) { "yes" } else { "no" };
        table.rows.push(vec![Cell::Number(d.dose), Cell::Number(d.shown()), mean(&d.correct), Cell::Text(kept.into())]);
    }
    super::print(&text_table(&table));
    match &report.against_random {
        Some(r) => super::print(&format!(
            "{} {:+.3}; against {} random directions p = {:.4} ({})\n",
            capital(words.slope),
            r.estimate.unwrap_or(f64::NAN),
            s.random.len(),
            r.p.unwrap_or(f64::NAN),
            r.method
        )),
        None => super::print("No two doses keep the accuracy: no slope is compared with random directions.\n"),
    }
    match &report.gguf {
        Some(path) => super::print(&format!("Control vector (one unit = one residual RMS): {}\n", path.display())),
        None => super::print("No control vector: the GGUF format has no place for block 0.\n"),
    }
    super::print(&format!("Results: {}\n", dir.join("steer.json").display()));
    Ok(0)
}
