//! The residual stream at the last prompt position, after every block: what probes read and steering directions are made of.

use std::path::{Path, PathBuf};

use super::config::Arm;
use super::environment::{Speech, neutral};
use super::error::{BatteryError, Result};
use super::folder::{key_of, make_dir};
use super::lab::Lab;
use crate::domain::{Item, Split};
use crate::model::batch::Batch;
use crate::model::hooks::{Action, Hook, HookSet};
use crate::model::qwen2::Qwen2;
use crate::model::tensor_file::{FileDtype, TensorFile};
use crate::model::tensor_writer::{TensorSpec, TensorWriter};
use crate::ops::Ops;

/// `[items, hidden]` of every block, in the order of the items.
#[derive(Clone, Debug, PartialEq)]
pub struct Activations {
    pub items: usize,
    pub hidden: usize,
    /// One matrix per block, row-major.
    pub layers: Vec<Vec<f32>>,
    /// Block of the first matrix.
    pub first: usize,
}

impl Activations {
    /// Rows `rows` of one block.
    pub fn select(&self, layer: usize, rows: &[usize]) -> Vec<f64> {
        let row = |&r: &usize| self.layers[layer][r * self.hidden..(r + 1) * self.hidden].iter().map(|&x| f64::from(x));
        rows.iter().flat_map(row).collect()
    }

    /// One block alone.
    pub fn only(self, layer: usize) -> Self {
        let rows = self.layers.into_iter().nth(layer).into_iter().collect();
        Self { layers: rows, first: layer, ..self }
    }

    /// Root mean square of the stream after a block.
    pub fn rms(&self, layer: usize) -> f64 {
        let x = &self.layers[layer];
        (x.iter().map(|&v| f64::from(v).powi(2)).sum::<f64>() / x.len().max(1) as f64).sqrt()
    }

    /// Writes `blocks.{l}.hook_resid_post` `[items, hidden]` in f32.
    pub fn write(&self, path: &Path) -> Result<()> {
        let spec = |l| TensorSpec {
            name: Hook::ResidPost(self.first + l).to_string(),
            shape: vec![self.items, self.hidden],
            dtype: FileDtype::F32,
        };
        let specs: Vec<TensorSpec> = (0..self.layers.len()).map(spec).collect();
        let mut file = TensorWriter::create(path, &[], &specs)?;
        for (spec, values) in specs.iter().zip(&self.layers) {
            file.put(&spec.name, values)?;
        }
        Ok(file.finish()?)
    }

    pub fn read(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        Self::read_from(path, &file, 0)
    }

    /// A file of one block, whichever it is.
    pub fn read_one(path: &Path) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let block = |name: &str| match name.parse() {
            Ok(Hook::ResidPost(l)) => Some(l),
            _ => None,
        };
        let first = file.names().find_map(block);
        let Some(first) = first else {
            return Err(BatteryError::File { path: path.into(), detail: "holds no block's residual stream".into() });
        };
        Self::read_from(path, &file, first)
    }

    fn read_from(path: &Path, file: &TensorFile, first: usize) -> Result<Self> {
        let mut out = Self { items: 0, hidden: 0, layers: Vec::new(), first };
        for l in first.. {
            let name = Hook::ResidPost(l).to_string();
            let Some(view) = file.get(&name) else { break };
            let &[items, hidden] = view.shape else {
                return Err(BatteryError::File { path: path.into(), detail: format!("{name} is not a matrix") });
            };
            (out.items, out.hidden) = (items, hidden);
            out.layers.push(file.tensor(&name)?.to_finite_f32()?);
        }
        Ok(out)
    }
}

impl<O: Ops> Lab<'_, O> {
    /// Activations of a model on items under the neutral prompt.
    pub fn activations_of(&self, model: &Qwen2<O>, items: &[Item], arm: Arm) -> Result<Activations> {
        let speech = Speech { chat: &self.chat };
        let system = arm.asking().system(&*self.domain, neutral(&*self.domain));
        let prompts: Vec<Vec<u32>> =
            items.iter().map(|i| Ok(speech.prompt(system.as_deref(), i)?.1)).collect::<Result<_>>()?;
        let (layers, hidden) = (model.config.num_hidden_layers, model.config.hidden_size);
        let mut out = Activations { items: items.len(), hidden, layers: vec![Vec::new(); layers], first: 0 };
        let mut at = 0;
        while at < prompts.len() {
            let mut end = at + 1;
            let mut tokens = prompts[at].len();
            while end < prompts.len() && tokens + prompts[end].len() <= self.config.grpo.micro_batch_tokens {
                tokens += prompts[end].len();
                end += 1;
            }
            let last: Vec<u32> = prompts[at..end]
                .iter()
                .scan(0, |sum, p| {
                    *sum += p.len() as u32;
                    Some(*sum - 1)
                })
                .collect();
            let mut hooks = HookSet::default();
            for l in 0..layers {
                let rows = Some(self.o.upload_index(&last)?);
                hooks = hooks.with(Hook::ResidPost(l), Action::Capture { rows });
            }
            model.forward(self.o, &Batch::new(self.o, &prompts[at..end])?, &hooks)?;
            for (hook, taken) in hooks.take() {
                if let Hook::ResidPost(l) = hook {
                    out.layers[l].extend(self.o.read(&taken)?);
                }
            }
            at = end;
        }
        Ok(out)
    }

    /// Where [`Lab::activations`] keeps them.
    pub fn activations_path(&self, arm: Arm, seed: u64) -> PathBuf {
        let dir = self.dir().join("tests").join("03-probing").join("activations");
        dir.join(format!("{}-seed-{seed}.safetensors", arm.name()))
    }

    /// Activations of an arm on the test split: a cell, kept as `tests/03-probing/activations/<arm>-seed-<s>.safetensors`.
    pub fn activations(&mut self, arm: Arm, seed: u64) -> Result<Activations> {
        let path = self.activations_path(arm, seed);
        let key = key_of(&(self.arm_key(arm, seed)?, "activations", arm.asking().name()))?;
        if let Some(cell) =
            self.folder.begin(&format!("activations {} seed {seed}", arm.name()), &key, path.exists())?
        {
            path.parent().map_or(Ok(()), make_dir)?;
            let items = self.domain_items(Split::Test);
            self.activations_of(&self.model(arm, seed)?, &items, arm)?.write(&path)?;
            self.folder.finish(cell)?;
        }
        Activations::read(&path)
    }
}
