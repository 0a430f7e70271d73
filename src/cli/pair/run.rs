//! `probity pair run`: every cell of a configuration, into one folder.

use std::collections::BTreeMap;
use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::super::backend::{DeviceArgs, Job};
use super::super::battery::{Screen, text_table};
use super::super::console::Progress;
use super::super::fetch::FetchArg;
use super::super::interrupt;
use super::{leak_line, read_config};
use crate::battery::record::{Cell, Table};
use crate::battery::run::Reporter;
use crate::domain::tier::Label;
use crate::domain::tier::arms::{AGAIN, original};
use crate::ops::Ops;
use crate::pair::config::PairConfig;
use crate::pair::engine::Engine;
use crate::pair::folder;
use crate::pair::inspect;
use crate::pair::judge::{self, LEXICAL, Lexical};
use crate::pair::plan::Stimuli;
use crate::pair::row::{Judged, Row};
use crate::pair::run::{Options, Ran, run as ask};

/// Options of `probity pair run`.
#[derive(clap::Args)]
pub struct Args {
    /// A TOML file, or the name of a built-in configuration
    #[arg(default_value = "pair-tiny")]
    config: String,
    /// Run folder (default: runs/NAME); an unfinished one goes on where it stopped
    #[arg(long)]
    out: Option<PathBuf>,
    /// Model folder, or ORG/NAME[@REVISION] in the local cache, instead of the configuration's
    #[arg(long)]
    model: Option<String>,
    /// Keep no texts: only labels (of the lexical judge), hashes and log-probabilities
    #[arg(long)]
    no_text: bool,
    #[command(flatten)]
    fetch: FetchArg,
    #[command(flatten)]
    device: DeviceArgs,
    #[arg(long, value_enum, default_value = "auto")]
    progress: Progress,
    #[arg(long)]
    json: bool,
}

struct Run<'a> {
    config: &'a PairConfig,
    stimuli: &'a Stimuli,
    options: Options,
    dir: &'a Path,
    screen: Screen,
}

impl Job for Run<'_> {
    type Out = Ran;
    const GOES_ON: bool = true;
    fn run<O: Ops>(&mut self, o: &O) -> Result<Ran, Box<dyn Error>> {
        self.screen.say(&format!("device: {}", o.device_name()));
        self.screen.say(&format!("run folder: {}", self.dir.display()));
        let mut engine = Engine::open(o, self.config, self.stimuli)?;
        Ok(ask(self.config, self.stimuli, &mut engine, self.options, self.dir, &mut self.screen)?)
    }
}

/// Runs the command. Exit code 1 where a control failed.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let mut config = read_config(&args.config)?;
    if let Some(m) = args.model {
        config.model = m;
    }
    if args.device.fast {
        let text =
            "--fast lets an answer depend on the size of its batch, which is what a paired run excludes; leave it out";
        return Err(super::super::Usage(text.into()).into());
    }
    args.fetch.ensure(&config.model, args.progress)?;
    let stimuli = Stimuli::open(&config)?;
    let dir = args.out.unwrap_or_else(|| Path::new("runs").join(&config.name));
    let mut screen = Screen::new(args.progress, args.json);
    screen.interrupt = interrupt::install()?;
    let options = Options { text: !args.no_text };
    let ran = args.device.run(Run { config: &config, stimuli: &stimuli, options, dir: &dir, screen })?;
    if options.text {
        judge::judge(&dir, &mut Lexical, config.seed)?;
        inspect::write(&dir)?;
    }
    let rows = folder::rows(&dir)?;
    let labels = folder::labels(&dir, LEXICAL)?;
    let differing = self_check(&rows);
    let replay = ran.manifest.replay.clone();
    let failed = differing.iter().any(|(_, d)| d.1 > 0) || replay.as_ref().is_some_and(|r| r.mismatches > 0);
    if args.json {
        let aa: BTreeMap<&String, _> =
            differing.iter().map(|(arm, (n, d))| (arm, json!({ "pairs": n, "different": d }))).collect();
        super::super::print(&format!(
            "{:#}\n",
            json!({ "run": dir, "cells": ran.cells, "found": ran.found, "replay": replay, "self_checks": aa, "leak": config.leak })
        ));
        return Ok(i32::from(failed));
    }
    super::super::print(&leak_line(config.leak));
    super::super::print(&text_table(&rates(&config, &rows, &labels)));
    for (arm, (n, different)) in &differing {
        let verdict = if *different == 0 { "identical" } else { "FAILED" };
        super::super::print(&format!(
            "A/A `{arm}`: {different} of {n} pairs were fed or wrote other tokens: {verdict}.\n"
        ));
    }
    if let Some(r) = replay {
        let verdict =
            if r.mismatches == 0 { "identical".into() } else { format!("FAILED: {}", r.different.join(", ")) };
        let (cells, size, other) = (r.cells, r.batch_size, r.mismatches);
        super::super::print(&format!(
            "Asked again in batches of {size}: {other} of {cells} cells wrote other tokens: {verdict}.\n"
        ));
    }
    super::super::print(&format!("Rows: {}\n", dir.join("rows.jsonl").display()));
    super::super::print(&leak_line(config.leak));
    Ok(i32::from(failed))
}

/// Pairs of every arm with its repetition, and how many of them were fed or wrote other tokens.
fn self_check(rows: &[Row]) -> BTreeMap<String, (usize, usize)> {
    let key = |r: &Row| (r.item_id.clone(), r.paraphrase, r.repeat, r.factors.clone());
    let hashes = |r: &Row| (r.input_sha256.clone(), r.output_ids_sha256.clone());
    let mut of: BTreeMap<(String, _), (String, String)> = BTreeMap::new();
    for r in rows {
        of.insert((r.arm.clone(), key(r)), hashes(r));
    }
    let mut out: BTreeMap<String, (usize, usize)> = BTreeMap::new();
    for r in rows.iter().filter(|r| r.arm.ends_with(AGAIN)) {
        if let Some(hash) = of.get(&(original(&r.arm).to_string(), key(r))) {
            let n = out.entry(r.arm.clone()).or_default();
            n.0 += 1;
            n.1 += usize::from(*hash != hashes(r));
        }
    }
    out
}

/// Labels and readings by arm, over all settings.
fn rates(config: &PairConfig, rows: &[Row], labels: &BTreeMap<String, Judged>) -> Table {
    let mut columns = vec!["arm".to_string(), "cells".into()];
    columns.extend(Label::ALL.map(|l| l.name().to_string()));
    columns.extend(["refusal gap".into(), "knows frame".into()]);
    let mut table =
        Table { title: format!("Labels of the lexical judge: {}", config.model), columns, rows: Vec::new() };
    for arm in &config.arms.names {
        let of: Vec<&Row> = rows.iter().filter(|r| r.arm == *arm).collect();
        let mut line = vec![Cell::Text(arm.clone()), Cell::Number(of.len() as f64)];
        for label in Label::ALL {
            let n = of.iter().filter(|r| labels.get(&r.cell_id).is_some_and(|j| j.label == label)).count();
            line.push(Cell::Number(n as f64));
        }
        let gaps: Vec<f64> = of.iter().filter_map(|r| r.refusal_logit_gap).collect();
        let knows: Vec<bool> = of.iter().filter_map(|r| r.knows_frame).collect();
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        line.push(if gaps.is_empty() { Cell::Text("-".into()) } else { Cell::Text(format!("{:+.3}", mean(&gaps))) });
        let share = knows.iter().filter(|k| **k).count() as f64 / knows.len() as f64;
        line.push(if knows.is_empty() {
            Cell::Text("-".into())
        } else {
            Cell::Text(format!("{:.0} %", 100.0 * share))
        });
        table.rows.push(line);
    }
    table
}
