//! `probity generate`: complete a prompt with a model.

use std::error::Error;

use serde_json::json;

use super::backend::{DeviceArgs, Job};
use super::console::Progress;
use super::fetch::FetchArg;
use crate::generate::source::{EMBEDDED, Source, Storage};
use crate::generate::{Completion, Finish, GenerateConfig, Request, generate};
use crate::model::hooks::HookSet;
use crate::ops::{Ops, Sampling};
use crate::text::{Message, Tokenizer};

/// Options of `probity generate`.
#[derive(clap::Args)]
pub struct Args {
    /// The user turn (the whole text with --raw)
    prompt: String,
    /// Model folder, ORG/NAME[@REVISION] in the local cache, or "embedded"
    #[arg(long, default_value = EMBEDDED)]
    model: String,
    /// How matrices are kept: as-stored, f32, bf16, int8, int4 or nf4 (quantised while loading)
    #[arg(long, default_value = Storage::AsStored.name(), value_name = "FORMAT")]
    weights: Storage,
    #[command(flatten)]
    fetch: FetchArg,
    #[command(flatten)]
    device: DeviceArgs,
    /// System prompt; without it the chat template decides
    #[arg(long)]
    system: Option<String>,
    /// Do not apply the chat template: PROMPT is the whole text, with its begin-of-text token if the model wants one
    #[arg(long, conflicts_with = "system")]
    raw: bool,
    #[arg(long, default_value_t = 64)]
    max_new_tokens: usize,
    /// 0 = greedy
    #[arg(long, default_value_t = 0.0)]
    temperature: f32,
    #[arg(long, default_value_t = 1.0)]
    top_p: f32,
    /// 0 = all
    #[arg(long, default_value_t = 0)]
    top_k: u32,
    #[arg(long, default_value_t = 1.0)]
    repetition_penalty: f32,
    /// Completions to draw
    #[arg(long, default_value_t = 1)]
    num_return_sequences: u32,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    if args.temperature < 0.0 || args.top_p <= 0.0 || args.top_p > 1.0 || args.repetition_penalty <= 0.0 {
        let text = "--temperature must be at least 0, --top-p in (0, 1], --repetition-penalty above 0";
        return Err(super::Usage(text.into()).into());
    }
    args.fetch.ensure(&args.model, Progress::Auto)?;
    let source = Source::open(&args.model)?;
    let tokenizer = source.tokenizer()?;
    if let Some(note) = source.generation_defaults() {
        eprintln!("{note}");
    }
    let text = match args.raw {
        true => args.prompt.clone(),
        false => {
            let mut messages: Vec<Message> = args.system.iter().map(|s| Message::system(s.as_str())).collect();
            messages.push(Message::user(args.prompt.as_str()));
            tokenizer.render(&messages, true)?
        }
    };
    let prompt = tokenizer.encode(&text)?;
    let device = args.device.clone();
    let done = device.run(Generate { args: &args, source: &source, tokenizer: &tokenizer, prompt })?;
    let text = |c: &Completion| tokenizer.decode(&c.tokens, true);
    if args.json {
        let rows = done
            .iter()
            .map(|c| Ok(json!({ "text": text(c)?, "token_ids": c.tokens, "logps": c.logps, "finish": c.finish })))
            .collect::<Result<Vec<_>, crate::text::TextError>>()?;
        super::print(&format!("{:#}\n", json!({ "prompt": args.prompt, "completions": rows })));
    } else {
        for c in &done {
            let cut = if c.finish == Finish::Length { " …" } else { "" };
            super::print(&format!("{}{cut}\n", text(c)?));
        }
    }
    Ok(0)
}

struct Generate<'a> {
    args: &'a Args,
    source: &'a Source,
    tokenizer: &'a Tokenizer,
    prompt: Vec<u32>,
}

impl Job for Generate<'_> {
    type Out = Vec<Completion>;
    fn run<O: Ops>(&mut self, o: &O) -> Result<Vec<Completion>, Box<dyn Error>> {
        let a = self.args;
        let model = self.source.load(o, self.prompt.len() + a.max_new_tokens, a.weights)?;
        let config = GenerateConfig {
            sampling: Sampling { temperature: a.temperature, top_k: a.top_k, top_p: a.top_p },
            repetition_penalty: a.repetition_penalty,
            max_new_tokens: a.max_new_tokens,
            stop_ids: self.tokenizer.eos_ids().to_vec(),
            seed: a.seed,
            max_batch: 64,
        };
        let request = Request { prompt: self.prompt.clone(), sequences: (0..a.num_return_sequences).collect() };
        let done = generate(o, &model, &[request], &config, &HookSet::default())?;
        Ok(done.into_iter().flatten().collect())
    }
}
