//! `probity pretrain`: a model from nothing, on the synthetic corpus.

use std::error::Error;
use std::path::PathBuf;

use super::backend::{DeviceArgs, Job};
use super::console::{Console, Progress};
use super::interrupt;
use crate::battery::pretrain::{CorpusSource, PretrainConfig};
use crate::config;
use crate::generate::source::save;
use crate::model::init;
use crate::model::qwen2::Qwen2;
use crate::model::save::SideFiles;
use crate::model::tensor_file::FileDtype;
use crate::ops::Ops;
use crate::text::Tokenizer;
use crate::train::accumulate::MicroBatch;
use crate::train::optim::Optimizer;
use crate::train::run::{State, run as train};
use crate::train::sft::Sft;

/// Options of `probity pretrain`.
#[derive(clap::Args)]
pub struct Args {
    /// TOML file, e.g. configs/tiny-pretrain.toml
    config: PathBuf,
    /// Folder for checkpoints, logs and the finished model (final/)
    #[arg(long)]
    out: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    #[arg(long, value_enum, default_value = "auto")]
    progress: Progress,
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let config: PretrainConfig = config::load(&args.config)?;
    let device = args.device.clone();
    let console = Console::new("pretrain", args.progress, interrupt::install()?);
    device.run(Pretrain { args: &args, config: &config, console })?;
    super::print(&format!("Model: {}\n", args.out.join("final").display()));
    Ok(0)
}

struct Pretrain<'a> {
    args: &'a Args,
    config: &'a PretrainConfig,
    console: Console,
}

impl Job for Pretrain<'_> {
    type Out = ();
    const GOES_ON: bool = true;
    fn run<O: Ops>(&mut self, o: &O) -> Result<(), Box<dyn Error>> {
        let (c, out) = (self.config, &self.args.out);
        std::fs::create_dir_all(out)?;
        let files = out.join("tokenizer");
        let corpus = c.corpus()?;
        if !files.join("tokenizer.json").exists() {
            c.make_tokenizer(&corpus, &files)?;
        }
        let tokenizer = Tokenizer::load(&files)?;
        let source = CorpusSource::new(c, &corpus, &tokenizer)?;
        let model_config = c.model()?;
        let positions = model_config.max_position_embeddings;
        let model = Qwen2::new(o, model_config.clone(), init::random(o, &model_config, c.seed)?, positions)?;
        let optimizer = Optimizer::new(o, &model, c.optim.clone())?;
        let grads = model.zeros_like(o)?;
        let mut state = State { model, optimizer, grads };
        let micro = MicroBatch { max_tokens: c.batch.micro_batch_tokens, recompute: c.batch.recompute };
        let mut objective = Sft { source: &source, micro, weighting: c.batch.weighting };
        train(o, &mut state, &mut objective, &c.run, out, None, &mut self.console)?;
        save(o, &state.model, FileDtype::Bf16, &SideFiles::read(&files)?, &out.join("final"))?;
        Ok(())
    }
}
