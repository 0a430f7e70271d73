//! `probity plan`: will this training fit the card?

use std::error::Error;

use serde_json::json;

use super::battery::{read_config, text_table};
use crate::battery::lab::{domain_of, longest};
use crate::battery::plan::widest;
use crate::battery::record::{Cell, Table};
use crate::config::{Size, gib};
use crate::generate::source::Source;
use crate::model::qwen2::Recompute;
use crate::train::grpo::GrpoConfig;
use crate::train::memory::{MAX_BINDING, MAX_BUFFER, MemoryPlan, Training, plan};
use crate::train::optim::{OptimConfig, Precision};

/// Options of `probity plan`.
#[derive(clap::Args)]
pub struct Args {
    /// A TOML file, or the name of a built-in configuration
    #[arg(default_value = "qwen2-0.5b")]
    config: String,
    /// Model folder or ORG/NAME instead of the configuration's
    #[arg(long)]
    model: Option<String>,
    /// Memory of the card that the program may use, e.g. 6.5GiB or 8GB
    #[arg(long, default_value = "6.5GiB", value_name = "SIZE")]
    vram: Size,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

/// Settings that a plan may change, from the fastest to the smallest.
fn settings(asked: &GrpoConfig) -> Vec<(Recompute, usize)> {
    let mut all = Vec::new();
    for recompute in [Recompute::None, Recompute::Mlp, Recompute::Layer] {
        let mut tokens = asked.micro_batch_tokens;
        all.push((recompute, tokens));
        while tokens >= 512 {
            tokens /= 2;
            all.push((recompute, tokens));
        }
    }
    all
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let mut config = read_config(&args.config)?;
    if let Some(m) = args.model {
        config.model = m;
    }
    config.check()?;
    let source = Source::open(&config.model)?;
    let chat = source.tokenizer()?;
    let positions = longest(&domain_of(&config)?, &chat, &config)?;
    let training = widest(&config, &source.checkpoint.config, positions);
    let of = |grpo: &GrpoConfig, optim: &OptimConfig| {
        plan(&Training { grpo, optim, ..training.clone() }, MAX_BINDING, MAX_BUFFER)
    };
    let asked = of(&config.grpo, &config.optim)?;
    let mut picked: Option<(Precision, Recompute, usize, MemoryPlan)> = None;
    'search: for precision in [config.optim.precision, Precision::Bf16] {
        let optim = OptimConfig { precision, ..config.optim.clone() };
        for (recompute, micro_batch_tokens) in settings(&config.grpo) {
            let grpo = GrpoConfig { recompute, micro_batch_tokens, ..config.grpo.clone() };
            let p = of(&grpo, &optim)?;
            if p.total() <= args.vram.0 {
                picked = Some((precision, recompute, micro_batch_tokens, p));
                break 'search;
            }
        }
    }
    if args.json {
        let picked = picked.map(|(precision, recompute, micro_batch_tokens, plan)| {
            json!({ "precision": precision, "recompute": recompute, "micro_batch_tokens": micro_batch_tokens,
                "plan": plan, "total": plan.total() })
        });
        let fits = asked.total() <= args.vram.0;
        super::print(&format!(
            "{:#}\n",
            json!({ "model": config.model, "vram": args.vram.0, "fits": fits, "as_configured": asked,
                "total": asked.total(), "picked": picked })
        ));
        return Ok(i32::from(!fits));
    }
    let table = |title: String, p: &MemoryPlan| {
        let mut t = Table { title, columns: ["what", "GiB"].map(String::from).to_vec(), rows: Vec::new() };
        for (name, b) in p.rows() {
            t.rows.push(vec![Cell::Text(name.into()), Cell::Text(format!("{:.3}", gib(b)))]);
        }
        t.rows.push(vec![Cell::Text("widest moment, in all".into()), Cell::Text(format!("{:.3}", gib(p.total())))]);
        text_table(&t)
    };
    super::print(&table(format!("{}, {} as configured", config.name, config.model), &asked));
    if asked.total() <= args.vram.0 {
        super::print(&format!("It fits {:.2} GiB as it is.\n", gib(args.vram.0)));
        return Ok(0);
    }
    let Some((precision, recompute, tokens, p)) = picked else {
        super::print(&format!(
            "No setting fits {:.2} GiB: weights, gradients, moments and frozen models alone take {:.2} GiB in bf16. Use a smaller model, fewer or shorter completions, or --device cpu.\n",
            gib(args.vram.0),
            gib(of(&config.grpo, &OptimConfig { precision: Precision::Bf16, ..config.optim.clone() })?.throughout())
        ));
        return Ok(1);
    };
    super::print(&table("With the settings below".into(), &p));
    let name = |v: serde_json::Value| v.to_string();
    super::print(&format!(
        "It does not fit {:.2} GiB as it is; with these it does:\n[optim]\nprecision = {}\n[grpo]\nrecompute = {}\nmicro_batch_tokens = {tokens}\n",
        gib(args.vram.0),
        name(json!(precision)),
        name(json!(recompute))
    ));
    Ok(1)
}
