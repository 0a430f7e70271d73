//! `probity quant`: what storing a model in fewer bits does to its weights and to what it says.

use std::error::Error;

use serde::Serialize;
use serde_json::json;

use super::backend::{DeviceArgs, Job};
use super::battery::text_table;
use super::console::Progress;
use super::fetch::FetchArg;
use crate::battery::record::{Cell, Table};
use crate::config::gib;
use crate::domain::Message;
use crate::generate::fidelity::{OutputErrors, WeightErrors, logits, outputs, weights};
use crate::generate::source::{EMBEDDED, Source, Storage};
use crate::model::config::Family;
use crate::ops::Ops;

/// A text of arithmetic and prose, for want of another.
const TEXT: &str = "A train leaves at nine and travels for two hours at sixty kilometres an hour. How far does it go? \
It goes 60 * 2 = 120 kilometres. If it then waits for a quarter of an hour, when does it leave again? It arrived at \
eleven, so it leaves at 11:15. The capital of France is Paris, and water boils at one hundred degrees at sea level.";

/// The same for the embedded model, which knows sums and a few facts and little of English.
const EMBEDDED_TURNS: [&str; 4] = [
    "What is 3 + 4?",
    "Let me work this out. 3 + 4 = 7, so the answer is 7.",
    "What is 12 - 5?",
    "Let me work this out. 12 - 5 = 7, so the answer is 7.",
];

/// Options of `probity quant`.
#[derive(clap::Args)]
pub struct Args {
    /// Model folder, ORG/NAME[@REVISION] in the local cache, or "embedded"
    #[arg(default_value = EMBEDDED)]
    model: String,
    /// Formats to compare with the model as it is stored
    #[arg(long, value_delimiter = ',', default_value = "bf16,int8,int4,nf4", value_name = "FORMATS")]
    to: Vec<Storage>,
    /// Text on whose tokens the models are compared, with its begin-of-text token if the model wants one (default: some lines of arithmetic and prose)
    #[arg(long)]
    text: Option<String>,
    /// Only the error of the weights: no model is loaded
    #[arg(long)]
    weights_only: bool,
    /// A row for every matrix
    #[arg(long)]
    tensors: bool,
    #[command(flatten)]
    fetch: FetchArg,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print JSON, every matrix included
    #[arg(long)]
    json: bool,
}

/// One format.
#[derive(Serialize)]
struct Found {
    format: &'static str,
    stored: String,
    weights: WeightErrors,
    outputs: Option<OutputErrors>,
}

fn embedded_turns() -> Vec<Message> {
    let turn = |(i, text): (usize, &&str)| if i % 2 == 0 { Message::user(*text) } else { Message::assistant(*text) };
    EMBEDDED_TURNS.iter().enumerate().map(turn).collect()
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    args.fetch.ensure(&args.model, Progress::Auto)?;
    let source = Source::open(&args.model)?;
    let mut found = Vec::new();
    for &storage in &args.to {
        let weights = weights(&source.checkpoint, storage)?;
        found.push(Found { format: storage.name(), stored: storage.words(), weights, outputs: None });
    }
    let mut device = None;
    if !args.weights_only {
        let tokenizer = source.tokenizer()?;
        let ids = match &args.text {
            Some(text) => tokenizer.encode(text)?,
            None if args.model == EMBEDDED => tokenizer.encode_chat(&embedded_turns(), false)?,
            None => {
                // A Llama text begins with its own token, which raw text has not.
                let config = &source.checkpoint.config;
                let begin = config.bos_token_id.filter(|_| config.family == Family::Llama);
                begin.into_iter().chain(tokenizer.encode(TEXT)?).collect()
            }
        };
        if ids.len() < 2 {
            return Err(super::Usage(format!("--text has {} tokens: at least 2 are needed", ids.len())).into());
        }
        let (errors, name) = args.device.run(Compare { source: &source, to: &args.to, ids: &ids })?;
        found.iter_mut().zip(errors).for_each(|(f, e)| f.outputs = Some(e));
        device = Some(name);
    }
    if args.json {
        super::print(&format!("{:#}\n", json!({ "model": args.model, "device": device, "formats": found })));
        return Ok(0);
    }
    let columns = ["format", "bits a weight", "GiB", "NMSE of weights"];
    let said = ["NMSE of logits", "log-prob, mean", "rms", "KL, nats", "greedy agrees", "perplexity"];
    let columns = columns.into_iter().chain(said.into_iter().filter(|_| device.is_some()));
    let mut table = Table {
        title: format!("{} in fewer bits, against the weights as they are stored", args.model),
        columns: columns.map(String::from).collect(),
        rows: Vec::new(),
    };
    for f in &found {
        let w = &f.weights;
        let mut row = vec![
            f.stored.clone(),
            format!("{:.2}", w.bits_per_weight),
            format!("{:.3}", gib(w.bytes)),
            format!("{:.2e}", w.nmse),
        ];
        if let Some(e) = &f.outputs {
            row.extend([
                format!("{:.2e}", e.logits_nmse),
                format!("{:+.4}", e.logp_mean),
                format!("{:.4}", e.logp_rms),
                format!("{:.2e}", e.kl),
                format!("{:.1} %", 100.0 * e.greedy_agreement),
                format!("{:.3} ({:.3})", e.perplexity[1], e.perplexity[0]),
            ]);
        }
        table.rows.push(row.into_iter().map(Cell::Text).collect());
    }
    super::print(&text_table(&table));
    if args.tensors {
        for f in &found {
            let columns = ["matrix", "shape", "format", "NMSE", "largest error"].map(String::from).to_vec();
            let mut table = Table { title: f.stored.clone(), columns, rows: Vec::new() };
            for t in &f.weights.tensors {
                let shape = format!("{:?}", t.shape);
                let cells =
                    [t.name.clone(), shape, t.format.into(), format!("{:.2e}", t.nmse), format!("{:.2e}", t.max_abs)];
                table.rows.push(cells.map(Cell::Text).to_vec());
            }
            super::print(&text_table(&table));
        }
    }
    if let Some(device) = device {
        super::print(&format!("{device}; perplexity of the model as it is stored in brackets\n"));
    }
    Ok(0)
}

/// One model at a time is on the device.
struct Compare<'a> {
    source: &'a Source,
    to: &'a [Storage],
    ids: &'a [u32],
}

impl Job for Compare<'_> {
    type Out = (Vec<OutputErrors>, String);
    fn run<O: Ops>(&mut self, o: &O) -> Result<Self::Out, Box<dyn Error>> {
        let of = |storage| -> Result<Vec<f32>, Box<dyn Error>> {
            Ok(logits(o, &self.source.load(o, self.ids.len(), storage)?, self.ids)?)
        };
        let reference = of(Storage::AsStored)?;
        let mut errors = Vec::new();
        for &storage in self.to {
            errors.push(outputs(&reference, &of(storage)?, self.ids));
        }
        Ok((errors, o.device_name()))
    }
}
