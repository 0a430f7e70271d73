//! `probity plan`: will this training fit the card?

use std::error::Error;

use serde_json::json;

use super::battery::{read_config, text_table};
use crate::battery::lab::{domain_of, longest};
use crate::battery::plan::widest;
use crate::battery::record::{Cell, Table};
use crate::generate::source::Source;
use crate::model::qwen2::Recompute;
use crate::train::grpo::GrpoConfig;
use crate::train::memory::{MAX_BINDING, MemoryPlan, Training, plan};
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
    #[arg(long, default_value = "6.5GiB", value_parser = bytes)]
    vram: u64,
    /// Print the plan as JSON
    #[arg(long)]
    json: bool,
}

/// `8GiB`, `6.5 GiB`, `8GB`, `7000MB`, or a number of bytes.
pub fn bytes(text: &str) -> Result<u64, String> {
    let text = text.trim();
    let split = text.find(|c: char| !(c.is_ascii_digit() || c == '.')).unwrap_or(text.len());
    let (number, unit) = (&text[..split], text[split..].trim().to_lowercase());
    let factor = match unit.as_str() {
        "" | "b" => 1.0,
        "kb" => 1e3,
        "mb" => 1e6,
        "gb" => 1e9,
        "kib" => 1024.0,
        "mib" => 1024.0f64.powi(2),
        "gib" => 1024.0f64.powi(3),
        _ => return Err(format!("{text}: the unit is one of B, kB, MB, GB, KiB, MiB, GiB")),
    };
    match number.parse::<f64>() {
        Ok(n) if n > 0.0 && n * factor < 1e15 => Ok((n * factor) as u64),
        _ => Err(format!("{text}: expected a size such as 8GiB")),
    }
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
    let of = |grpo: &GrpoConfig, optim: &OptimConfig| plan(&Training { grpo, optim, ..training.clone() }, MAX_BINDING);
    let asked = of(&config.grpo, &config.optim)?;
    let mut picked: Option<(Precision, Recompute, usize, MemoryPlan)> = None;
    'search: for precision in [config.optim.precision, Precision::Bf16] {
        let optim = OptimConfig { precision, ..config.optim.clone() };
        for (recompute, micro_batch_tokens) in settings(&config.grpo) {
            let grpo = GrpoConfig { recompute, micro_batch_tokens, ..config.grpo.clone() };
            let p = of(&grpo, &optim)?;
            if p.total() <= args.vram {
                picked = Some((precision, recompute, micro_batch_tokens, p));
                break 'search;
            }
        }
    }
    let gib = |b: u64| b as f64 / (1u64 << 30) as f64;
    if args.json {
        let picked = picked.map(|(precision, recompute, micro_batch_tokens, plan)| {
            json!({ "precision": precision, "recompute": recompute, "micro_batch_tokens": micro_batch_tokens,
                "plan": plan, "total": plan.total() })
        });
        let fits = asked.total() <= args.vram;
        super::print(&format!(
            "{:#}\n",
            json!({ "model": config.model, "vram": args.vram, "fits": fits, "as_configured": asked,
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
    if asked.total() <= args.vram {
        super::print(&format!("It fits {:.2} GiB as it is.\n", gib(args.vram)));
        return Ok(0);
    }
    let Some((precision, recompute, tokens, p)) = picked else {
        super::print(&format!(
            "No setting fits {:.2} GiB: weights, gradients, moments and frozen models alone take {:.2} GiB in bf16. Use a smaller model, fewer or shorter completions, or --device cpu.\n",
            gib(args.vram),
            gib(of(&config.grpo, &OptimConfig { precision: Precision::Bf16, ..config.optim.clone() })?.throughout())
        ));
        return Ok(1);
    };
    super::print(&table("With the settings below".into(), &p));
    let name = |v: serde_json::Value| v.to_string();
    super::print(&format!(
        "It does not fit {:.2} GiB as it is; with these it does:\n[optim]\nprecision = {}\n[grpo]\nrecompute = {}\nmicro_batch_tokens = {tokens}\n",
        gib(args.vram),
        name(json!(precision)),
        name(json!(recompute))
    ));
    Ok(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_with_their_units() {
        assert_eq!(bytes("8GiB"), Ok(8 << 30));
        assert_eq!(bytes("6.5 gib"), Ok((6.5 * (1u64 << 30) as f64) as u64));
        assert_eq!(bytes("8GB"), Ok(8_000_000_000));
        assert_eq!(bytes("1000"), Ok(1000));
        for bad in ["", "GiB", "8TiB", "-1GiB", "0GiB", "1e3GiB", "8.8.8MB"] {
            assert!(bytes(bad).is_err(), "{bad}");
        }
    }
}
