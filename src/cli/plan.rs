//! `probity plan`: will this training fit the card? With `--inference`, see `plan_inference`.

use std::error::Error;

use serde_json::json;

use super::battery::{read_config, text_table};
use crate::battery::config::BatteryConfig;
use crate::battery::lab::{domain_of, longest};
use crate::battery::plan::widest;
use crate::battery::record::{Cell, Table};
use crate::config::{Size, gib};
use crate::generate::source::{Source, Storage};
use crate::model::lora::LoraConfig;
use crate::model::qwen2::Recompute;
use crate::train::grpo::GrpoConfig;
use crate::train::memory::{MAX_BINDING, MAX_BUFFER, MemoryPlan, plan};
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
    /// Plan generating with the model instead of a training; --model may also be qwen2.5-7b or another published size
    #[arg(long)]
    inference: bool,
    /// How matrices are kept: f32, bf16, int8, int4 or nf4 (default: the most exact that fits)
    #[arg(long, value_name = "FORMAT", requires = "inference")]
    pub(super) weights: Option<Storage>,
    /// Tokens of the longest sequence, prompt and completion together
    #[arg(long, default_value_t = 2500, requires = "inference")]
    pub(super) tokens: usize,
    /// How many of them are new
    #[arg(long, default_value_t = 256, requires = "inference")]
    pub(super) completion: usize,
    /// Sequences decoded together
    #[arg(long, default_value_t = 1, requires = "inference")]
    pub(super) batch: usize,
    /// Memory of the card that the program may use, e.g. 6.5GiB or 8GB
    #[arg(long, default_value = "6.5GiB", value_name = "SIZE")]
    pub(super) vram: Size,
    /// Print the plan as JSON
    #[arg(long)]
    pub(super) json: bool,
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
    if args.inference {
        return super::plan_inference::run(&args, args.model.as_deref().unwrap_or(&config.model));
    }
    if let Some(m) = args.model {
        config.model = m;
    }
    config.check()?;
    let source = Source::open(&config.model)?;
    let chat = source.tokenizer()?;
    let positions = longest(&*domain_of(&config)?, &chat, &config)?;
    type Way<'a> = (Precision, Option<&'a LoraConfig>);
    let of = |grpo: &GrpoConfig, (precision, lora): Way| {
        let optim = OptimConfig { precision, ..config.optim.clone() };
        let c = BatteryConfig { grpo: grpo.clone(), optim, lora: lora.cloned(), ..config.clone() };
        plan(&widest(&c, &source.checkpoint.config, positions), MAX_BINDING, MAX_BUFFER)
    };
    let limit = args.vram.0;
    let asked_way: Way = (config.optim.precision, config.lora.as_ref());
    let asked = of(&config.grpo, asked_way)?;
    let adapters = config.lora.clone().unwrap_or_default();
    // From what was asked for to what holds least.
    let below = [Precision::Bf16, Precision::Nf4].map(|p| (p, Some(&adapters)));
    let mut ways = vec![asked_way, (Precision::Bf16, config.lora.as_ref()), below[0], below[1]];
    ways.dedup();
    let mut picked: Option<(Way, Recompute, usize, MemoryPlan)> = None;
    'search: for &way in &ways {
        for (recompute, micro_batch_tokens) in settings(&config.grpo) {
            let p = of(&GrpoConfig { recompute, micro_batch_tokens, ..config.grpo.clone() }, way)?;
            if p.total() <= limit {
                picked = Some((way, recompute, micro_batch_tokens, p));
                break 'search;
            }
        }
    }
    // Every way to train at its smallest, so that what does not fit is said by name.
    let mut all = Vec::new();
    for way in [
        (Precision::F32, None),
        (Precision::Bf16, None),
        (Precision::F32, Some(&adapters)),
        (Precision::Bf16, Some(&adapters)),
        (Precision::Int8, Some(&adapters)),
        (Precision::Nf4, Some(&adapters)),
    ] {
        let (recompute, micro_batch_tokens) = *settings(&config.grpo).last().unwrap_or(&(Recompute::Layer, 256));
        let total = of(&GrpoConfig { recompute, micro_batch_tokens, ..config.grpo.clone() }, way)?.total();
        all.push((named(way.0, way.1), total));
    }
    if args.json {
        let picked = picked.map(|((precision, lora), recompute, micro_batch_tokens, plan)| {
            json!({ "precision": precision, "lora": lora, "recompute": recompute, "micro_batch_tokens": micro_batch_tokens,
                "plan": plan, "total": plan.total() })
        });
        let fits = asked.total() <= limit;
        let all: Vec<_> = all.iter().map(|(name, b)| json!({ "way": name, "total": b, "fits": *b <= limit })).collect();
        super::print(&format!(
            "{:#}\n",
            json!({ "model": config.model, "vram": limit, "fits": fits, "as_configured": asked,
                "total": asked.total(), "picked": picked, "ways": all })
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
    let mut ways = Table {
        title: "Ways to train, each with the settings that hold least".into(),
        columns: ["way", "GiB", ""].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for (name, b) in &all {
        let fits = if *b <= limit { "fits" } else { "does not fit" };
        ways.rows.push([name.clone(), format!("{:.3}", gib(*b)), fits.into()].map(Cell::Text).to_vec());
    }
    super::print(&text_table(&ways));
    if asked.total() <= limit {
        super::print(&format!("It fits {:.2} GiB as it is.\n", gib(limit)));
        return Ok(0);
    }
    let Some(((precision, lora), recompute, tokens, p)) = picked else {
        super::print(&format!(
            "No setting fits {:.2} GiB. Use a smaller model, fewer or shorter completions, or --device cpu.\n",
            gib(limit)
        ));
        return Ok(1);
    };
    super::print(&table("With the settings below".into(), &p));
    let adapters = match lora {
        Some(l) if config.lora.is_none() => format!("[lora]\nr = {}\nlora_alpha = {}\n", l.r, l.lora_alpha),
        _ => String::new(),
    };
    super::print(&format!(
        "It does not fit {:.2} GiB as it is; with these it does:\n[optim]\nprecision = {}\n[grpo]\nrecompute = {}\nmicro_batch_tokens = {tokens}\n{adapters}",
        gib(limit),
        json!(precision),
        json!(recompute)
    ));
    Ok(1)
}

/// A way to train in words.
fn named(precision: Precision, lora: Option<&LoraConfig>) -> String {
    let stored = precision.storage().name();
    match lora {
        None => format!("every weight, precision = \"{stored}\""),
        Some(l) => format!("[lora] r = {} on {stored} weights", l.r),
    }
}
