//! `probity pair plan`: what a configuration would ask.

use std::error::Error;
use std::path::PathBuf;

use serde_json::json;

use super::super::battery::text_table;
use super::{leak_line, read_config};
use crate::battery::record::{Cell, Table};
use crate::generate::source::Source;
use crate::pair::config::PairConfig;
use crate::pair::folder::write_lines;
use crate::pair::pilot::{self, Pilot};
use crate::pair::plan::{FrameLength, Plan, Stimuli, Tokens, frame_lengths, tokens};
use crate::pair::power;

/// Options of `probity pair plan`.
#[derive(clap::Args)]
pub struct Args {
    /// A TOML file, or the name of a built-in configuration
    #[arg(default_value = "pair-tiny")]
    config: String,
    /// Model instead of the configuration's
    #[arg(long)]
    model: Option<String>,
    /// Write the cells there as plan.jsonl
    #[arg(long)]
    out: Option<PathBuf>,
    /// Tokens that the device generates in a second, for an estimate of the time (`probity bench` measures it); else a pilot's pace
    #[arg(long, value_name = "X")]
    tokens_per_second: Option<f64>,
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let mut config = read_config(&args.config)?;
    if let Some(m) = args.model {
        config.model = m;
    }
    if args.tokens_per_second.is_some_and(|t| !(t > 0.0 && t.is_finite())) {
        return Err(super::super::Usage("--tokens-per-second: expected a number above 0".into()).into());
    }
    let stimuli = Stimuli::open(&config)?;
    let plan = Plan::new(&config, &stimuli)?;
    let pilot = pilot::of(&config)?;
    // Where the model is not there yet, lengths are estimated, and the output says so.
    let tokenizer = Source::open(&config.model).ok().and_then(|s| s.tokenizer().ok());
    let tokens = tokens(&config, &stimuli, &plan, tokenizer.as_ref())?;
    let lengths = tokenizer.map(|t| frame_lengths(&config, &stimuli, &t)).transpose()?.unwrap_or_default();
    let seconds = match (args.tokens_per_second, &pilot) {
        (Some(rate), _) => Some(tokens.completions as f64 / rate),
        (None, Some(p)) => Some(p.cell_ms / 1e3 * plan.cells.len() as f64),
        (None, None) => None,
    };
    let n = stimuli.items.items.len() as u64;
    let power = if n >= 2 { Some(power::table(n)?) } else { None };
    let mut written = None;
    if let Some(dir) = &args.out {
        std::fs::create_dir_all(dir)?;
        let path = dir.join("plan.jsonl");
        write_lines(&path, &plan.cells)?;
        written = Some(path);
    }
    if args.json {
        super::super::print(&format!(
            "{:#}\n",
            json!({ "run_id": plan.run_id(&config), "cells": plan.cells.len(), "items": stimuli.items.items.len(), "hashes": stimuli.hashes(),
                "tokens": tokens, "seconds": seconds, "frames": lengths, "pilot": pilot, "power": power, "confirmatory": config.confirmatory,
                "leak": config.leak, "plan": written })
        ));
        return Ok(0);
    }
    super::super::print(&leak_line(config.leak));
    super::super::print(&text_table(&settings(&config, &plan)));
    if !lengths.is_empty() {
        super::super::print(&text_table(&frames(&config, &lengths)));
    }
    super::super::print(&summary(&config, &stimuli, &plan, &tokens, seconds, pilot.as_ref()));
    if let Some(power) = power {
        super::super::print(&power.to_string());
    }
    if let Some(path) = written {
        super::super::print(&format!("Cells: {}\n", path.display()));
    }
    Ok(0)
}

/// Cells by setting of the factors.
fn settings(config: &PairConfig, plan: &Plan) -> Table {
    let mut table = Table {
        title: format!("{}: {} cells", plan.run_id(config), plan.cells.len()),
        columns: ["order", "blocking", "batch", "precision", "cells", "reference first"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for of in plan.cells.chunk_by(|a, b| a.factors == b.factors) {
        let Some(f) = of.first().map(|c| &c.factors) else { continue };
        let reference = of.iter().filter(|c| c.arm == config.analysis.reference);
        let (n, first) = reference.fold((0, 0), |(n, first), c| {
            (n + 1, first + usize::from(c.order_group == crate::pair::row::OrderGroup::FP))
        });
        table.rows.push(vec![
            Cell::Text(format!("{:?}", f.protocol).to_lowercase()),
            Cell::Text(format!("{:?}", f.blocking).to_lowercase()),
            Cell::Number(f.batch_size as f64),
            Cell::Text(f.precision.clone()),
            Cell::Number(of.len() as f64),
            Cell::Text(format!("{first} of {n}")),
        ]);
    }
    table
}

/// Lengths of the frames beside the reference's.
fn frames(config: &PairConfig, lengths: &[FrameLength]) -> Table {
    let mut table = Table {
        title: format!(
            "Tokens of the frames, and their difference from `{}` in the same wording",
            config.analysis.reference
        ),
        columns: vec!["arm".into(), "tokens".into(), "difference".into()],
        rows: Vec::new(),
    };
    for of in lengths.chunk_by(|a, b| a.arm == b.arm) {
        let list = |f: &dyn Fn(&FrameLength) -> String| Cell::Text(of.iter().map(f).collect::<Vec<_>>().join(" "));
        let arm = of.first().map(|l| l.arm.clone()).unwrap_or_default();
        table.rows.push(vec![
            Cell::Text(arm),
            list(&|l| l.tokens.to_string()),
            list(&|l| format!("{:+}", l.difference)),
        ]);
    }
    table
}

fn summary(
    config: &PairConfig,
    stimuli: &Stimuli,
    plan: &Plan,
    tokens: &Tokens,
    seconds: Option<f64>,
    pilot: Option<&Pilot>,
) -> String {
    let s = &stimuli.items;
    let clusters: std::collections::BTreeSet<&str> = s.items.iter().map(|i| i.cluster_id.as_str()).collect();
    let mut out = format!(
        "Items: {} of {} (SHA-256 {}…), {} clusters of near-duplicates.\nTokens: {} of prompts{}, at most {} of completions in {} cells.\n",
        s.items.len(),
        s.origin,
        s.sha256.get(..12).unwrap_or(&s.sha256),
        clusters.len(),
        tokens.prompts,
        if tokens.counted { "" } else { " (estimated: the model is not here)" },
        tokens.completions,
        plan.cells.len()
    );
    match seconds {
        Some(s) if s < 5400.0 => out.push_str(&format!("Time: about {:.0} min.\n", (s / 60.0).max(1.0))),
        Some(s) => out.push_str(&format!("Time: about {:.1} h.\n", s / 3600.0)),
        None => out.push_str("Time: give --tokens-per-second, or a pilot, for an estimate.\n"),
    }
    if let Some(p) = pilot {
        for (arm, n, rate) in &p.rates {
            out.push_str(&format!("Pilot: `{arm}` refused {:.1} % of {n}.\n", 100.0 * rate));
        }
        if let Some(why) = p.at_the_edge() {
            out.push_str(&format!("Warning: {why}.\n"));
        }
    }
    out.push_str(if config.confirmatory {
        "The run may be called confirmatory.\n"
    } else {
        "The run is exploratory.\n"
    });
    out
}
