//! Probes and steering of any model folder, without a battery around them.

use std::path::{Path, PathBuf};

use serde::Serialize;

use super::config::{Arm, BatteryConfig};
use super::error::Result;
use super::folder::write_json;
use super::record::{Headline, Row};
use super::run::{Reporter, open};
use super::test06_steering::{Steered, slope_between};
use super::{auroc, test01_generalisation, test03_probing};
use crate::domain::Condition;
use crate::model::gguf::ControlVector;
use crate::ops::Ops;
use crate::stats::{MaxStatistic, StatResult, against_random};

/// What `probity probe` finds.
#[derive(Clone, Debug, Serialize)]
pub struct ProbeReport {
    /// Out-of-fold rank correlation with log length within families, by block.
    pub skill: Vec<f64>,
    pub permutation: MaxStatistic,
    /// The study's AUROC by block.
    pub headline: Headline,
    /// safetensors of the residual stream.
    pub activations: PathBuf,
}

/// What `probity steer` finds.
#[derive(Clone, Debug, Serialize)]
pub struct SteerReport {
    pub steered: Steered,
    /// Doses that keep the accuracy.
    pub preserving: Vec<f64>,
    /// Slope between their ends against random directions; `None` without two such doses or two random directions.
    pub against_random: Option<StatResult>,
    /// Control vector for llama.cpp; `None` where there is no direction, or it is of block 0.
    pub gguf: Option<PathBuf>,
}

/// `config` with one model and no arms.
fn alone(config: &BatteryConfig, model: &str, seed: u64) -> BatteryConfig {
    let mut c = config.clone();
    (c.model, c.arms, c.seeds) = (model.into(), Vec::new(), vec![seed]);
    c
}

/// Probes a model on the test split of `config`; rows and activations are kept in `dir`.
pub fn probe<O: Ops>(
    o: &O,
    config: &BatteryConfig,
    model: &str,
    seed: u64,
    dir: &Path,
    reporter: &mut dyn Reporter,
) -> Result<ProbeReport> {
    let config = alone(config, model, seed);
    let mut lab = open(o, &config, dir, reporter)?;
    let (probed, design) = lab.probed_arms(&[Arm::Base])?;
    let (skill, permutation) = test03_probing::layers(&probed, &design, &config.probe, config.statistics.seed)?;
    let report = ProbeReport {
        skill,
        permutation,
        headline: auroc::headline(&design.study(&probed, &config.probe)?, lab.domain.words()),
        activations: lab.activations_path(Arm::Base, seed),
    };
    write_json(&dir.join("probe.json"), &report)?;
    Ok(report)
}

/// Which direction `probity steer` takes.
pub enum Along<'a> {
    /// The model's own, at a block or where its probe is best.
    Own(Option<usize>),
    /// That of a GGUF control vector, at a block of it (the only one may be left out).
    Vector(&'a Path, Option<usize>),
}

/// Steers a model along a direction and along random ones.
#[allow(clippy::too_many_arguments)]
pub fn steer<O: Ops>(
    o: &O,
    config: &BatteryConfig,
    model: &str,
    seed: u64,
    along: Along,
    dir: &Path,
    reporter: &mut dyn Reporter,
) -> Result<SteerReport> {
    let config = alone(config, model, seed);
    let mut lab = open(o, &config, dir, reporter)?;
    let layers = lab.source.checkpoint.config.num_hidden_layers;
    let mut given = None;
    let wanted = match along {
        Along::Own(layer) => layer,
        Along::Vector(path, layer) => {
            let (block, vector) = of_file(path, layer, lab.source.checkpoint.config.hidden_size)?;
            given = Some(vector);
            Some(block)
        }
    };
    let layer = match wanted {
        Some(l) if l >= layers => {
            let text = format!("--layer {l}: the model has blocks 0 to {}", layers - 1);
            return Err(super::error::BatteryError::Refused(text));
        }
        Some(l) => l,
        None => {
            let (probed, design) = lab.probed_arms(&[Arm::Base])?;
            test03_probing::best_layer(&probed, &design, Arm::Base)?
        }
    };
    let rows: Vec<Row> = lab.rows_of(1, test01_generalisation::ID, &[Condition::Neutral])?;
    let steered = lab.steer(Arm::Base, seed, layer, &rows, given.as_deref())?;
    let rules = super::rules::Rules::built_in()?.numbers;
    let preserving = steered.preserving(rules.keeps_accuracy);
    let ends = preserving.first().zip(preserving.last()).and_then(|(l, h)| Some((steered.at(*l)?, steered.at(*h)?)));
    let against = ends.filter(|(l, h)| l.dose < h.dose).and_then(|(low, high)| {
        against_random(slope_between(low, high), &steered.random, config.statistics.level).ok()
    });
    let mut gguf = None;
    if !steered.direction.is_empty() && layer > 0 {
        let path = dir.join("direction.gguf");
        // One unit of llama.cpp's scale is one residual RMS.
        let scale = steered.rms * (steered.direction.len() as f64).sqrt();
        let vector = steered.direction.iter().map(|x| (f64::from(*x) * scale) as f32).collect();
        let directions = [(layer, vector)].into();
        let model_hint = lab.source.checkpoint.config.family.model_type().into();
        ControlVector { model_hint, directions }.write(&path)?;
        gguf = Some(path);
    }
    let report = SteerReport { steered, preserving, against_random: against, gguf };
    write_json(&dir.join("steer.json"), &report)?;
    Ok(report)
}

/// The direction of one block of a control vector.
fn of_file(path: &Path, layer: Option<usize>, hidden: usize) -> Result<(usize, Vec<f32>)> {
    let file = ControlVector::read(path)?;
    let blocks: Vec<String> = file.directions.keys().map(usize::to_string).collect();
    let refuse = |text: String| Err(super::error::BatteryError::Refused(format!("{}: {text}", path.display())));
    let block = match (layer, file.directions.keys().next()) {
        (Some(l), _) => l,
        (None, Some(&only)) if blocks.len() == 1 => only,
        _ => return refuse(format!("holds directions of blocks {}; choose one with --layer", blocks.join(", "))),
    };
    match file.directions.get(&block) {
        Some(v) if v.len() == hidden => Ok((block, v.clone())),
        Some(v) => refuse(format!("direction.{block} has {} elements, the model's stream {hidden}", v.len())),
        None => refuse(format!("has no direction of block {block}, only of {}", blocks.join(", "))),
    }
}
