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
use crate::ops::OpError;
use crate::train::error::TrainError;
use crate::train::memory::{MAX_BINDING, MAX_BUFFER, MemoryPlan, plan};
use crate::train::optim::Precision;

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

/// What a training holds, or why no buffer of a common driver holds one of its tensors.
type Held = Result<MemoryPlan, String>;

/// Settings that a plan may change.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Settings<'a> {
    precision: Precision,
    lora: Option<&'a LoraConfig>,
    recompute: Recompute,
    micro_batch_tokens: usize,
    evaluate_batch: usize,
}

impl Settings<'_> {
    /// The same way to train, from the fastest to the smallest.
    fn smaller_trainings(self) -> Vec<Self> {
        let mut all = Vec::new();
        for recompute in [Recompute::None, Recompute::Mlp, Recompute::Layer] {
            all.push(Self { recompute, ..self });
            let mut tokens = self.micro_batch_tokens;
            while tokens >= 512 {
                tokens /= 2;
                all.push(Self { recompute, micro_batch_tokens: tokens, ..self });
            }
        }
        all
    }

    /// The same training, measured with fewer sequences at once.
    fn smaller_evaluations(self) -> Vec<Self> {
        let halves = std::iter::successors(Some(self.evaluate_batch / 2), |b| Some(b / 2));
        halves.take_while(|b| *b >= 8).map(|evaluate_batch| Self { evaluate_batch, ..self }).collect()
    }
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
    let configured = Settings {
        precision: config.optim.precision,
        lora: config.lora.as_ref(),
        recompute: config.grpo.recompute,
        micro_batch_tokens: config.grpo.micro_batch_tokens,
        evaluate_batch: config.evaluate.batch,
    };
    let of = |s: &Settings| -> Result<Held, Box<dyn Error>> {
        let mut c = BatteryConfig { lora: s.lora.cloned(), ..config.clone() };
        c.optim.precision = s.precision;
        (c.grpo.recompute, c.grpo.micro_batch_tokens) = (s.recompute, s.micro_batch_tokens);
        c.evaluate.batch = s.evaluate_batch;
        match plan(&widest(&c, &source.checkpoint.config, positions), MAX_BINDING, MAX_BUFFER) {
            Ok(p) => Ok(Ok(p)),
            Err(TrainError::Op(OpError::Unsupported(why))) => Ok(Err(why)),
            Err(e) => Err(e.into()),
        }
    };
    let limit = args.vram.0;
    let fits = |held: &Held| held.as_ref().is_ok_and(|p| p.total() <= limit);
    let asked = of(&configured)?;
    let adapters = config.lora.clone().unwrap_or_default();
    // From what was asked for to what holds least.
    let bf16 = Settings { precision: Precision::Bf16, ..configured };
    let below =
        [Precision::Bf16, Precision::Nf4].map(|p| Settings { precision: p, lora: Some(&adapters), ..configured });
    let mut ways = vec![configured, bf16, below[0], below[1]];
    ways.dedup();
    let mut picked: Option<(Settings, MemoryPlan)> = None;
    'search: for way in &ways {
        for settings in way.smaller_trainings() {
            let held = of(&settings)?;
            // A narrower evaluation is slower and gives the same rows: where only that is in the way, it gives way.
            let narrow = match &held {
                Ok(p) if !fits(&held) && p.without_checks() <= limit => settings.smaller_evaluations(),
                _ => Vec::new(),
            };
            for settings in std::iter::once(settings).chain(narrow) {
                if let Some(p) = of(&settings)?.ok().filter(|p| p.total() <= limit) {
                    picked = Some((settings, p));
                    break 'search;
                }
            }
        }
    }
    // Every way to train at its smallest, so that what does not fit is said by name.
    let mut all = Vec::new();
    for (precision, lora) in [
        (Precision::F32, None),
        (Precision::Bf16, None),
        (Precision::F32, Some(&adapters)),
        (Precision::Bf16, Some(&adapters)),
        (Precision::Int8, Some(&adapters)),
        (Precision::Nf4, Some(&adapters)),
    ] {
        let way = Settings { precision, lora, ..configured };
        let smallest = way.smaller_trainings().pop().unwrap_or(way);
        let smallest = smallest.smaller_evaluations().pop().unwrap_or(smallest);
        all.push((named(precision, lora), of(&smallest)?));
    }
    if args.json {
        let picked = picked.map(|(s, plan)| {
            json!({ "precision": s.precision, "lora": s.lora, "recompute": s.recompute, "micro_batch_tokens": s.micro_batch_tokens,
                "evaluate_batch": s.evaluate_batch, "plan": plan, "total": plan.total() })
        });
        let total = |held: &Held| held.as_ref().ok().map(MemoryPlan::total);
        let of_way = |(name, held): &(String, Held)| json!({ "way": name, "total": total(held), "fits": fits(held), "why_not": held.as_ref().err() });
        let all: Vec<_> = all.iter().map(of_way).collect();
        super::print(&format!(
            "{:#}\n",
            json!({ "model": config.model, "vram": limit, "fits": fits(&asked), "as_configured": asked.as_ref().ok(),
                "total": total(&asked), "why_not": asked.as_ref().err(), "picked": picked, "ways": all })
        ));
        return Ok(i32::from(!fits(&asked)));
    }
    let table = |title: String, p: &MemoryPlan| {
        let mut t = Table { title, columns: ["what", "GiB"].map(String::from).to_vec(), rows: Vec::new() };
        for (name, b) in p.rows() {
            t.rows.push(vec![Cell::Text(name.into()), Cell::Text(format!("{:.3}", gib(b)))]);
        }
        t.rows.push(vec![Cell::Text("widest moment, in all".into()), Cell::Text(format!("{:.3}", gib(p.total())))]);
        text_table(&t)
    };
    let title = format!("{}, {} as configured", config.name, config.model);
    super::print(&match &asked {
        Ok(p) => table(title, p),
        Err(why) => format!("{title}: {why}\n"),
    });
    let mut ways = Table {
        title: "Ways to train, each with the settings that hold least".into(),
        columns: ["way", "GiB", ""].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for (name, held) in &all {
        let (bytes, says) = match held {
            Ok(p) => (format!("{:.3}", gib(p.total())), if fits(held) { "fits" } else { "does not fit" }),
            Err(_) => ("-".into(), "one tensor is larger than a buffer"),
        };
        ways.rows.push([name.clone(), bytes, says.into()].map(Cell::Text).to_vec());
    }
    super::print(&text_table(&ways));
    if fits(&asked) {
        super::print(&format!("It fits {:.2} GiB as it is.\n", gib(limit)));
        return Ok(0);
    }
    let Some((picked, p)) = picked else {
        super::print(&format!(
            "No setting fits {:.2} GiB. Use a smaller model, fewer or shorter completions, or --device cpu.\n",
            gib(limit)
        ));
        return Ok(1);
    };
    super::print(&table("With the settings below".into(), &p));
    let adapters = match picked.lora {
        Some(l) if config.lora.is_none() => format!("[lora]\nr = {}\nlora_alpha = {}\n", l.r, l.lora_alpha),
        _ => String::new(),
    };
    let evaluate = match picked.evaluate_batch {
        batch if batch == config.evaluate.batch => String::new(),
        batch => format!("[evaluate]\nbatch = {batch}\n"),
    };
    super::print(&format!(
        "It does not fit {:.2} GiB as it is; with these it does:\n[optim]\nprecision = {}\n[grpo]\nrecompute = {}\nmicro_batch_tokens = {}\n{evaluate}{adapters}",
        gib(limit),
        json!(picked.precision),
        json!(picked.recompute),
        picked.micro_batch_tokens
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_go_from_the_fastest_to_the_smallest() {
        let asked = Settings {
            precision: Precision::Bf16,
            lora: None,
            recompute: Recompute::Mlp,
            micro_batch_tokens: 1024,
            evaluate_batch: 50,
        };
        let trainings = asked.smaller_trainings();
        let (first, last) = (trainings[0], trainings[trainings.len() - 1]);
        assert_eq!((first.recompute, first.micro_batch_tokens), (Recompute::None, 1024));
        assert_eq!((last.recompute, last.micro_batch_tokens), (Recompute::Layer, 256));
        assert!(trainings.len() == 9 && trainings.iter().all(|s| s.evaluate_batch == 50));
        let batches = |s: Settings| s.smaller_evaluations().iter().map(|s| s.evaluate_batch).collect::<Vec<_>>();
        assert_eq!(batches(asked), [25, 12]);
        assert!(batches(Settings { evaluate_batch: 8, ..asked }).is_empty(), "not below 8");
    }
}
