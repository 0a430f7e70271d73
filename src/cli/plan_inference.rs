//! `probity plan --inference`: will generating with this model fit the card, and in which storage?

use std::error::Error;
use std::path::Path;

use serde_json::json;

use super::battery::text_table;
use super::plan::Args;
use crate::battery::record::{Cell, Table};
use crate::config::gib;
use crate::generate::memory::{InferencePlan, MAX_BINDING, MAX_BUFFER, host_bytes, plan};
use crate::generate::source::{Source, Storage};
use crate::model::config::{Family, ModelConfig, Sizes};

/// Sizes of published models that need not be there: name, family, hidden, blocks, heads, key/value heads, MLP, vocabulary.
const PUBLISHED: [(&str, Family, [usize; 6], bool); 4] = [
    ("qwen2.5-0.5b", Family::Qwen2, [896, 24, 14, 2, 4864, 151_936], true),
    ("qwen2.5-1.5b", Family::Qwen2, [1536, 28, 12, 2, 8960, 151_936], true),
    ("qwen2.5-7b", Family::Qwen2, [3584, 28, 28, 4, 18_944, 152_064], false),
    ("llama-3.1-8b", Family::Llama, [4096, 32, 32, 8, 14_336, 128_256], false),
];

/// A published model's sizes, those of a folder's config.json, or of a model in the cache.
fn config_of(model: &str, positions: usize) -> Result<ModelConfig, Box<dyn Error>> {
    if let Some((_, family, [h, l, q, kv, f, v], tied)) = PUBLISHED.iter().find(|(name, ..)| *name == model) {
        let sizes = Sizes {
            hidden_size: *h,
            num_hidden_layers: *l,
            num_attention_heads: *q,
            num_key_value_heads: *kv,
            intermediate_size: *f,
            vocab_size: *v,
            rope_theta: 1e6,
            max_position_embeddings: positions,
        };
        let mut config = sizes.config(Path::new(model))?;
        config.tie_word_embeddings = *tied;
        config.family = *family;
        return Ok(config);
    }
    let folder = Path::new(model);
    if folder.join("config.json").is_file() {
        return Ok(ModelConfig::read(folder)?);
    }
    let names = PUBLISHED.map(|(name, ..)| name).join(", ");
    let source = Source::open(model).map_err(|e| format!("{e}. Or plan with published sizes: --model {names}"))?;
    Ok(source.checkpoint.config)
}

/// Storages from the most exact to the smallest.
const FORMATS: [Storage; 5] = [Storage::F32, Storage::Bf16, Storage::Int8, Storage::Int4, Storage::Nf4];

/// Runs the command.
pub fn run(args: &Args, model: &str) -> Result<i32, Box<dyn Error>> {
    let (tokens, completion, batch) = (args.tokens, args.completion, args.batch);
    if completion == 0 || completion >= tokens || batch == 0 {
        let text = "--tokens must be more than --completion, which must be at least 1 like --batch";
        return Err(super::Usage(text.into()).into());
    }
    let config = config_of(model, tokens)?;
    let sizes = [batch, tokens - completion, completion];
    let of = |storage| plan(&config, storage, sizes, MAX_BINDING, MAX_BUFFER);
    let all = FORMATS.map(|s| (s, of(s)));
    let limit = args.vram.0;
    // What cannot be made at all does not fit.
    let fits = |p: &Result<InferencePlan, crate::ops::OpError>| p.as_ref().is_ok_and(|p| p.total() <= limit);
    let picked = match args.weights {
        Some(Storage::AsStored) => {
            let text = "--weights as-stored names no format: give f32, bf16, int8, int4 or nf4";
            return Err(super::Usage(text.into()).into());
        }
        None => all.iter().find(|(_, p)| fits(p)).map(|(s, _)| *s),
        Some(storage) => Some(storage),
    };
    let chosen = picked.map(|s| (s, of(s)));
    let ok = chosen.as_ref().is_some_and(|(_, p)| fits(p));
    if args.json {
        let row = |(s, p): &(Storage, Result<InferencePlan, crate::ops::OpError>)| {
            let problem = p.as_ref().err().map(ToString::to_string);
            let p = p.as_ref().ok();
            json!({ "weights": s.name(), "stored": s.words(), "plan": p, "total": p.map(InferencePlan::total),
                "problem": problem, "fits": p.is_some_and(|p| p.total() <= limit), "host": host_bytes(&config, *s) })
        };
        let ways: Vec<_> = all.iter().map(row).collect();
        super::print(&format!(
            "{:#}\n",
            json!({ "model": model, "vram": limit, "tokens": tokens, "completion": completion, "batch": batch, "fits": ok,
                "picked": chosen.as_ref().map(row), "ways": ways })
        ));
        return Ok(i32::from(!ok));
    }
    let mut table = Table {
        title: format!(
            "Generating with {model}: {batch} sequences at once, of up to {tokens} tokens ({completion} of them new)"
        ),
        columns: ["--weights", "weights, GiB", "in all, GiB", "", "CPU: weights in RAM, GiB"]
            .map(String::from)
            .to_vec(),
        rows: Vec::new(),
    };
    for (s, p) in &all {
        let (weights, total) = match p {
            Ok(p) => (format!("{:.2}", gib(p.vocabulary + p.blocks)), format!("{:.2}", gib(p.total()))),
            Err(_) => ("-".into(), "-".into()),
        };
        let fit = if fits(p) { "fits" } else { "does not fit" };
        let cells = [s.name().into(), weights, total, fit.into(), format!("{:.2}", gib(host_bytes(&config, *s)))];
        table.rows.push(cells.map(Cell::Text).to_vec());
    }
    super::print(&text_table(&table));
    for (s, p) in &all {
        if let Err(e) = p {
            super::print(&format!("{}: {e}\n", s.name()));
        }
    }
    let Some((storage, p)) = chosen else {
        super::print(&format!(
            "Nothing fits {:.2} GiB: a smaller --batch or --tokens holds less; --device cpu needs the RAM that the last column says, and as much as here beside the weights.\n",
            gib(limit)
        ));
        return Ok(1);
    };
    let p = p?;
    let mut table =
        Table { title: storage.words(), columns: ["what", "GiB"].map(String::from).to_vec(), rows: Vec::new() };
    for (name, bytes) in p.rows() {
        table.rows.push(vec![Cell::Text(name.into()), Cell::Text(format!("{:.3}", gib(bytes)))]);
    }
    table.rows.push(vec![Cell::Text("widest moment, in all".into()), Cell::Text(format!("{:.3}", gib(p.total())))]);
    super::print(&text_table(&table));
    super::print(&match ok {
        true => format!("--weights {} fits {:.2} GiB.\n", storage.name(), gib(limit)),
        false => {
            let finest = all.iter().find(|(_, p)| fits(p)).map(|(s, _)| format!("--weights {} does; ", s.name()));
            format!(
                "--weights {} does not fit {:.2} GiB: {}on the CPU (--device cpu) its weights take {:.2} GiB of RAM.\n",
                storage.name(),
                gib(limit),
                finest.unwrap_or_default(),
                gib(host_bytes(&config, storage))
            )
        }
    });
    Ok(i32::from(!ok))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Seven and eight billion weights, two sequences of 2,500 tokens, a card of 8 GB: in four bits, and not in more than eight.
    #[test]
    fn large_models_fit_eight_gigabytes_in_four_bits() {
        let of = |model: &str, storage| {
            plan(&config_of(model, 2500).unwrap(), storage, [2, 2300, 200], MAX_BINDING, MAX_BUFFER).unwrap()
        };
        for model in ["qwen2.5-7b", "llama-3.1-8b"] {
            for storage in [Storage::Int4, Storage::Nf4] {
                let p = of(model, storage);
                assert!(p.total() < 8_000_000_000, "{model} {storage:?}: {p:?}");
            }
            assert!(of(model, Storage::Int8).total() > 8_000_000_000, "{model}");
            let bf16 = of(model, Storage::Bf16);
            assert!(bf16.total() > 15_000_000_000, "{model}: {bf16:?}");
            let weights = |p: &InferencePlan| (p.vocabulary + p.blocks) as f64;
            let ratio = weights(&bf16) / weights(&of(model, Storage::Nf4));
            assert!((3.0..3.8).contains(&ratio), "{model}: {ratio}");
        }
        assert!(config_of("no/such", 10).unwrap_err().to_string().contains("--model qwen2.5-0.5b"));
    }
}
