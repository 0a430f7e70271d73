//! `probity flips`: the flip evaluation of honesty over any list of models and checkpoints.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::backend::{DeviceArgs, Job};
use super::battery::{Screen, read_config, text_table};
use super::console::Progress;
use super::fetch::FetchArg;
use crate::battery::config::{BatteryConfig, Subject};
use crate::battery::flips::{Flipped, flips_of, tables};
use crate::battery::provenance::{Provenance, in_file_name};
use crate::battery::rows;
use crate::battery::run::Reporter;
use crate::domain::Condition;
use crate::generate::source::Source;
use crate::ops::Ops;
use crate::train::checkpoint::is_checkpoint;

/// Ask, contradict three times, ask again: the study's flip table and the 2x2 of every turn, for any list of models
///
/// Every test statement of the experiment is asked once; then whatever the model says is contradicted at turns 2, 3 and 4, and beside it
/// the question is merely asked again. Greedy.
#[derive(clap::Args)]
pub struct Args {
    /// A TOML file with domain = "honesty", or the name of a built-in configuration: statements, wordings, decoding
    #[arg(default_value = "honesty-tiny")]
    config: String,
    /// [NAME=]MODEL, once for each: a model folder, a training's checkpoint-N folder, ORG/NAME[@REVISION] in the local cache, or "embedded"
    #[arg(long, value_name = "[NAME=]MODEL", default_value = "embedded")]
    model: Vec<String>,
    /// Write the dialogues here, one JSON object a line, and beside them what they were made with (FILE.manifest.json, of several models FILE.NAME.manifest.json)
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    fetch: FetchArg,
    #[command(flatten)]
    device: DeviceArgs,
    #[arg(long, value_enum, default_value = "auto")]
    progress: Progress,
    #[arg(long)]
    json: bool,
}

/// Names and models; a model without a name is its own.
fn named(models: &[String]) -> Result<Vec<[String; 2]>, super::Usage> {
    let mut out: Vec<[String; 2]> = Vec::new();
    for text in models {
        let (name, model) = text.split_once('=').unwrap_or((text, text));
        if name.is_empty() || model.is_empty() {
            return Err(super::Usage(format!("--model {text}: expected MODEL or NAME=MODEL")));
        }
        if out.iter().any(|[n, _]| in_file_name(n) == in_file_name(name)) {
            return Err(super::Usage(format!(
                "--model {text}: {name} is named twice (in a file's name); give each a name of its own, as NAME=MODEL"
            )));
        }
        out.push([name.into(), model.into()]);
    }
    Ok(out)
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let config = read_config(&args.config)?;
    if config.domain != Subject::Honesty {
        let text = format!("{}: flips are of domain = \"honesty\"; try the configuration honesty-tiny", args.config);
        return Err(super::Usage(text).into());
    }
    let models = named(&args.model)?;
    for [_, model] in &models {
        args.fetch.ensure(model, args.progress)?;
        // A wrong name ends the command before any model is asked, not after the others.
        if !is_checkpoint(Path::new(model)) {
            Source::open(model)?;
        }
    }
    let screen = Screen::new(args.progress, args.json);
    let (flips, provenance) = args.device.run(Flips { config: &config, models: &models, screen })?;
    if let Some(path) = &args.out {
        rows::write(path, &flips)?;
        for (provenance, [name, _]) in provenance.iter().zip(&models) {
            let own = flips.iter().filter(|f| &f.arm == name).count();
            provenance.clone().write_as(path, if models.len() > 1 { Some(name) } else { None }, own)?;
        }
    }
    let tables = tables(&flips, "model", config.domain.words());
    if args.json {
        super::print(&format!("{:#}\n", json!({ "rows": args.out, "provenance": provenance, "tables": tables })));
    } else {
        for table in &tables {
            super::print(&text_table(table));
        }
    }
    Ok(0)
}

struct Flips<'a> {
    config: &'a BatteryConfig,
    models: &'a [[String; 2]],
    screen: Screen,
}

impl Job for Flips<'_> {
    type Out = (Vec<Flipped>, Vec<Provenance>);
    fn run<O: Ops>(&mut self, o: &O) -> Result<Self::Out, Box<dyn Error>> {
        let (mut all, mut made) = (Vec::new(), Vec::new());
        // One storage for all: a checkpoint is trained on it, and its `final` beside it must be read alike.
        let storage = self.config.optim.precision.storage();
        for (i, [name, model]) in self.models.iter().enumerate() {
            self.screen.progress("flips", i, self.models.len());
            all.extend(flips_of(o, self.config, ([name, model], storage), 0)?.unwrap_or_default());
            made.push(Provenance::new(o, self.config, (model, storage), &[Condition::Neutral], 0)?);
        }
        self.screen.progress("flips", self.models.len(), self.models.len());
        Ok((all, made))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn models_have_names() {
        let of = |texts: &[&str]| named(&texts.iter().map(|t| t.to_string()).collect::<Vec<_>>());
        let found = of(&["embedded", "step 25=runs/a/checkpoint-25", "x=a=b"]).unwrap();
        assert_eq!(found, [["embedded", "embedded"], ["step 25", "runs/a/checkpoint-25"], ["x", "a=b"]]);
        for (texts, needle) in [(&["a", "a"][..], "named twice"), (&["=a"], "NAME=MODEL"), (&["a="], "NAME=MODEL")] {
            assert!(of(texts).unwrap_err().to_string().contains(needle), "{texts:?}");
        }
    }
}
