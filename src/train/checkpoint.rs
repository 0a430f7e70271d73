//! `checkpoint-{step}/`: trained weights and moments with the bits they have on the device, and the trainer's state. Sampler and data position are functions of
//! the step, so nothing else is needed to continue to the same bytes. A folder `checkpoint-{step}` is complete, also after a kill.

use std::path::{Path, PathBuf};

use half::bf16;
use safetensors::tensor::Dtype;
use serde::{Deserialize, Serialize};

use super::error::{Result, TrainError, frozen};
use super::run::{Ended, State, checkpoint_dir};
use crate::durable;
use crate::model::ModelError;
use crate::model::params::ParamSpec;
use crate::model::qwen2::Qwen2;
use crate::model::tensor_file::FileDtype;
use crate::model::tensor_writer::{TensorSpec, TensorWriter};
use crate::ops::{self, Ops, TensorMeta};

/// `trainer_state.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct TrainerState {
    pub global_step: u64,
    /// Optimizer updates made (more than steps when `num_iterations > 1`).
    pub optimizer_step: u64,
    pub max_steps: u64,
    pub num_tokens: u64,
    /// Logs in a row, up to this one, whose groups did not differ.
    #[serde(default)]
    pub flat_logs: u64,
    /// Set when the run is over.
    pub ended: Option<Ended>,
}

impl TrainerState {
    /// A guard ended the run before its last step.
    pub fn stopped_early(&self) -> bool {
        self.ended.as_ref().is_some_and(|e| !matches!(e, Ended::Complete { .. }))
    }
}

/// Weights that are trained (all, or the adapters with their ranks padded to a multiple of four), then moments.
fn files<O: Ops>(model: &Qwen2<O>) -> [&'static str; 3] {
    let weights = if model.adapters.is_some() { "adapters.safetensors" } else { "model.safetensors" };
    [weights, "adam_m.safetensors", "adam_v.safetensors"]
}

fn fail(path: &Path, detail: impl std::fmt::Display) -> TrainError {
    TrainError::Checkpoint { path: path.to_path_buf(), detail: detail.to_string() }
}

/// Whether `dir` is the checkpoint of a training.
pub fn is_checkpoint(dir: &Path) -> bool {
    dir.join("trainer_state.json").is_file()
}

/// SHA-256 (hex) of a checkpoint's weights.
pub fn sha256(dir: &Path) -> Result<String> {
    use sha2::{Digest, Sha256};
    use std::io::Read;
    let adapters = dir.join("adapters.safetensors");
    let path = if adapters.exists() { adapters } else { dir.join("model.safetensors") };
    let mut file = std::fs::File::open(&path).map_err(TrainError::io(&path))?;
    let (mut hash, mut part) = (Sha256::new(), vec![0; 1 << 20]);
    loop {
        match file.read(&mut part).map_err(TrainError::io(&path))? {
            0 => return Ok(hash.finalize().iter().map(|b| format!("{b:02x}")).collect()),
            n => hash.update(&part[..n]),
        }
    }
}

/// The newest complete checkpoint under `dir`.
pub fn newest(dir: &Path) -> Result<Option<PathBuf>> {
    Ok(list(dir)?.pop().map(|(_, p)| p))
}

/// Complete checkpoints by step. A folder still being written has a temporary name and is not one.
fn list(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(TrainError::io(dir))? {
        let entry = entry.map_err(TrainError::io(dir))?;
        let name = entry.file_name();
        let step = name.to_str().and_then(|n| n.strip_prefix("checkpoint-")).and_then(|n| n.parse().ok());
        if let Some(step) = step {
            found.push((step, entry.path()));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes what a kill left of checkpoints in the making.
pub fn clean(dir: &Path) -> Result<()> {
    Ok(durable::clean(dir, "checkpoint-")?)
}

/// Writes `checkpoint-{step}` under `dir` (complete or not at all) and removes all but the newest `keep`.
pub fn save<O: Ops>(o: &O, state: &State<O>, meta: &TrainerState, dir: &Path, keep: usize) -> Result<()> {
    let target = checkpoint_dir(dir, meta.global_step);
    let temporary = durable::begin_dir(&target)?;
    let names = state.model.trained_specs();
    let [weights, m, v] = files(&state.model).map(|f| temporary.join(f));
    write_params(o, &names, state.model.trained(), &weights)?;
    write_params(o, &names, state.optimizer.m.iter(), &m)?;
    write_params(o, &names, state.optimizer.v.iter(), &v)?;
    let path = temporary.join("trainer_state.json");
    let text = serde_json::to_string_pretty(meta).map_err(|e| fail(&path, e))?;
    durable::write(&path, text.as_bytes())?;
    durable::commit_dir(&temporary, &target)?;
    if keep > 0 {
        let all = list(dir)?;
        for (_, old) in all.iter().take(all.len().saturating_sub(keep)) {
            durable::remove_dir(old)?;
        }
    }
    Ok(())
}

/// One tensor in memory at a time.
fn write_params<'a, O: Ops>(
    o: &O,
    names: &[ParamSpec],
    params: impl Iterator<Item = &'a O::T>,
    path: &Path,
) -> Result<()>
where
    O::T: 'a,
{
    let params: Vec<&O::T> = params.collect();
    let spec = |(s, t): (&ParamSpec, &&O::T)| -> Result<TensorSpec> {
        Ok(TensorSpec { name: s.name.clone(), shape: s.shape(), dtype: stored(&s.name, *t)? })
    };
    let layout: Vec<TensorSpec> = names.iter().zip(&params).map(spec).collect::<Result<_>>()?;
    let said = |e: ModelError| fail(path, e);
    let mut file = TensorWriter::create(path, &[("format", "pt")], &layout).map_err(said)?;
    for (spec, tensor) in names.iter().zip(params) {
        file.put(&spec.name, &o.read(tensor)?).map_err(said)?;
    }
    file.finish().map_err(said)
}

/// A checkpoint keeps the bits of every tensor.
fn stored(name: &str, x: &impl TensorMeta) -> Result<FileDtype> {
    match x.dtype() {
        ops::Dtype::F32 => Ok(FileDtype::F32),
        ops::Dtype::Bf16 => Ok(FileDtype::Bf16),
        ops::Dtype::Quant(q) => Err(frozen(name, q)),
    }
}

/// Overwrites the state with a checkpoint's.
pub fn load<O: Ops>(o: &O, state: &mut State<O>, dir: &Path) -> Result<TrainerState> {
    let path = dir.join("trainer_state.json");
    let text = std::fs::read_to_string(&path).map_err(TrainError::io(&path))?;
    let meta: TrainerState = serde_json::from_str(&text).map_err(|e| fail(&path, e))?;
    let names = state.model.trained_specs();
    let [weights, m, v] = files(&state.model).map(|f| dir.join(f));
    read_params(o, &names, state.model.trained_mut()?, &weights)?;
    read_params(o, &names, state.optimizer.m.iter_mut(), &m)?;
    read_params(o, &names, state.optimizer.v.iter_mut(), &v)?;
    state.optimizer.step = meta.optimizer_step;
    Ok(meta)
}

/// Overwrites what a model trains with a checkpoint's.
pub fn load_model<O: Ops>(o: &O, model: &mut Qwen2<O>, dir: &Path) -> Result<()> {
    let (names, file) = (model.trained_specs(), dir.join(files(model)[0]));
    read_params(o, &names, model.trained_mut()?, &file)
}

fn read_params<'a, O: Ops>(
    o: &O,
    names: &[ParamSpec],
    params: impl Iterator<Item = &'a mut O::T>,
    path: &Path,
) -> Result<()>
where
    O::T: 'a,
{
    let bytes = std::fs::read(path).map_err(TrainError::io(path))?;
    let file = safetensors::SafeTensors::deserialize(&bytes).map_err(|e| fail(path, e))?;
    for (spec, tensor) in names.iter().zip(params) {
        let view = file.tensor(&spec.name).map_err(|e| fail(path, e))?;
        let bf16 = tensor.dtype() == ops::Dtype::Bf16;
        let expected = if bf16 { Dtype::BF16 } else { Dtype::F32 };
        if view.dtype() != expected || view.shape() != spec.shape() {
            return Err(fail(
                path,
                format!(
                    "{} is {:?} {:?}, expected {expected:?} {:?}: the checkpoint belongs to another model or optim.precision",
                    spec.name,
                    view.dtype(),
                    view.shape(),
                    spec.shape()
                ),
            ));
        }
        let values: Vec<f32> = match bf16 {
            true => view.data().chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
            false => view.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect(),
        };
        o.write(tensor, &values)?;
    }
    Ok(())
}
