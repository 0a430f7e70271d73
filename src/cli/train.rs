//! `probity train`: one arm of a configuration.

use std::error::Error;
use std::path::{Path, PathBuf};

use super::backend::{DeviceArgs, Job};
use super::battery::{Screen, read_config};
use super::console::Progress;
use super::fetch::FetchArg;
use super::interrupt;
use crate::battery::config::{Arm, BatteryConfig};
use crate::battery::run::train_one;
use crate::config::Size;
use crate::ops::Ops;

/// Options of `probity train`.
#[derive(clap::Args)]
pub struct Args {
    /// A TOML file, or the name of a built-in configuration
    #[arg(default_value = "tiny")]
    config: String,
    /// control (correctness alone), value (the value reward), value-sft (supervised on bare answers) or opposite (sign turned)
    #[arg(long, value_enum, default_value = "value")]
    arm: ArmArg,
    #[arg(long, default_value_t = 42)]
    seed: u64,
    /// Weight of the compute term instead of the configuration's
    #[arg(long)]
    alpha: Option<f64>,
    /// Model folder, or ORG/NAME[@REVISION] in the local cache, instead of the configuration's
    #[arg(long)]
    model: Option<String>,
    /// Optimizer steps instead of the configuration's
    #[arg(long)]
    max_steps: Option<u64>,
    /// Memory of the device that the training may use, e.g. 6.5GiB: more is refused before any work
    #[arg(long, value_name = "SIZE")]
    vram: Option<Size>,
    /// Run folder (default: runs/NAME-ARM)
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    fetch: FetchArg,
    #[command(flatten)]
    device: DeviceArgs,
    #[arg(long, value_enum, default_value = "auto")]
    progress: Progress,
}

#[derive(Clone, Copy, clap::ValueEnum)]
enum ArmArg {
    Control,
    Value,
    ValueSft,
    Opposite,
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let mut config = read_config(&args.config)?;
    let arm = match args.arm {
        ArmArg::Control => Arm::Control,
        ArmArg::Value => Arm::Value,
        ArmArg::ValueSft => Arm::ValueSft,
        ArmArg::Opposite => Arm::Opposite,
    };
    if let Some(alpha) = args.alpha {
        config.set_alpha(alpha)?;
    }
    if let Some(model) = args.model {
        config.model = model;
    }
    if let Some(steps) = args.max_steps {
        config.run.max_steps = steps;
    }
    config.vram = args.vram.or(config.vram);
    config.check()?;
    args.fetch.ensure(&config.model, args.progress)?;
    let name = format!("{}-{}", config.name, arm.name());
    let dir = args.out.unwrap_or_else(|| Path::new("runs").join(name));
    let mut screen = Screen::new(args.progress, false);
    screen.interrupt = interrupt::install()?;
    let made = args.device.run(Train { config: &config, dir: &dir, arm, seed: args.seed, screen })?;
    super::print(&format!("Model: {}\n", made.display()));
    Ok(0)
}

struct Train<'a> {
    config: &'a BatteryConfig,
    dir: &'a Path,
    arm: Arm,
    seed: u64,
    screen: Screen,
}

impl Job for Train<'_> {
    type Out = PathBuf;
    const GOES_ON: bool = true;
    fn run<O: Ops>(&mut self, o: &O) -> Result<PathBuf, Box<dyn Error>> {
        Ok(train_one(o, self.config, self.dir, self.arm, self.seed, &mut self.screen)?)
    }
}
