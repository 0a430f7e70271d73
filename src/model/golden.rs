//! Reference values of a model and how far a device is from them: the arithmetic behind `probity verify`.
//!
//! The file format is that of `scripts/dump_golden.py`: a safetensors file with any of the keys listed there. Every part
//! that is missing is skipped; an unknown key is an error. Only positions whose mask is 1 are kept and compared.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Serialize;

use super::config::ModelConfig;
use super::error::{ModelError, Result};
use super::params::{ParamSpec, specs};
use super::tensor_file::{FileDtype, TensorFile, TensorView, first_not_finite, nearest};

/// Largest error allowed, relative to the reference tensor's largest magnitude. PyTorch in f32 sits at 1e-6 against f64.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    /// Logits, hidden states and losses.
    pub forward: f64,
    pub gradient: f64,
}

impl Default for Bounds {
    fn default() -> Self {
        Self { forward: 1e-5, gradient: 3e-5 }
    }
}

/// A loss and the gradient of every named parameter (a tied embedding once, as `model.embed_tokens.weight`).
pub struct LossAndGrads {
    pub loss: f64,
    pub grads: BTreeMap<String, Vec<f32>>,
}

/// What `probity verify` asks of a model. `ids` are ragged sequences; rows of a result are their tokens end to end,
/// without padding.
pub trait GoldenModel {
    /// `[tokens, V]`.
    fn logits(&mut self, ids: &[Vec<u32>]) -> Result<Vec<f32>>;
    /// Residual stream entering block `l = 0..L`, then leaving the last block (before the final norm): L+1 times `[tokens, H]`.
    fn hidden(&mut self, ids: &[Vec<u32>]) -> Result<Vec<Vec<f32>>>;
    /// Mean next-token cross entropy over all targets of the batch.
    fn ce(&mut self, ids: &[Vec<u32>]) -> Result<LossAndGrads>;
    /// TRL's `loss_type="grpo"` on policy at temperature 1.
    fn grpo(&mut self, ids: &[Vec<u32>], batch: &GrpoBatch) -> Result<LossAndGrads>;
    /// `n` greedy ids after `prompt`; end tokens do not stop it.
    fn greedy(&mut self, prompt: &[u32], n: usize) -> Result<Vec<u32>>;
}

/// Inputs of the GRPO loss. Element `t` of a sequence belongs to its target `t + 1`, so a sequence of n tokens has n - 1.
#[derive(Clone, Debug, PartialEq)]
pub struct GrpoBatch {
    pub completion_mask: Vec<Vec<bool>>,
    /// `[B]`.
    pub advantages: Vec<f32>,
    /// 0 where the completion mask is.
    pub ref_logps: Vec<Vec<f32>>,
    /// Weight of the k3 KL term.
    pub beta: f32,
}

/// One line of the table. For `greedy.tokens`, `max_abs` counts the ids that differ, `max_rel` is their share, and `got` and
/// `want` are the first differing ids.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Row {
    pub tensor: String,
    pub shape: Vec<usize>,
    pub max_abs: f64,
    /// `max_abs` over the largest magnitude of the reference.
    pub max_rel: f64,
    /// `Σ (got - want)² / Σ want²`.
    pub nmse: f64,
    /// Where the largest error is, in the shape of FILE's tensor.
    pub worst_index: Vec<usize>,
    pub got: f64,
    pub want: f64,
    /// Largest `max_rel` allowed.
    pub bound: f64,
    pub ok: bool,
}

/// A reference tensor's compared elements, in order, and the rows of FILE's tensor they come from.
pub struct Reference {
    pub name: String,
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
    /// Row of `shape` (all but the last dimension flattened) of each kept row; `None` = all of them.
    rows: Option<Vec<usize>>,
}

/// Padded shape `[B, T]` and the sequences without their padding.
type Sequences = ([usize; 2], Vec<Vec<u32>>);

/// An open golden file whose keys, shapes and ids have been checked against the model's config.
pub struct Golden {
    file: TensorFile,
    params: Vec<ParamSpec>,
    layers: usize,
    batch: Option<Sequences>,
    grpo: Option<GrpoBatch>,
    greedy: Option<(Vec<u32>, Vec<u32>)>,
}

impl Golden {
    /// Opens FILE and checks everything but the float values, which [`Golden::verify`] reads one tensor at a time.
    pub fn open(path: &Path, config: &ModelConfig) -> Result<Self> {
        let file = TensorFile::open(path)?;
        let params = specs(config);
        let mut golden = Self { params, layers: config.num_hidden_layers, batch: None, grpo: None, greedy: None, file };
        golden.check_names()?;
        golden.batch = golden.read_batch(config)?;
        golden.check_shapes(config)?;
        golden.grpo = golden.read_grpo()?;
        golden.greedy = golden.read_greedy(config)?;
        let compared = |n: &str| n == "logits" || n == "greedy.tokens" || is_loss(n) || of_part(n);
        if !golden.file.names().any(compared) {
            return Err(ModelError::File {
                path: path.into(),
                detail: "there is nothing in it to compare with".into(),
                hint: "Make it with scripts/dump_golden.py".into(),
            });
        }
        Ok(golden)
    }

    /// The sequences of `input_ids` without their padding.
    pub fn sequences(&self) -> Option<&[Vec<u32>]> {
        self.batch.as_ref().map(|(_, ids)| ids.as_slice())
    }

    /// Tokens of the longest sequence that [`Golden::verify`] puts through the model.
    pub fn positions(&self) -> usize {
        let batch = self.sequences().into_iter().flatten().map(Vec::len).max().unwrap_or(0);
        batch.max(self.greedy.as_ref().map_or(0, |(prompt, tokens)| prompt.len() + tokens.len()))
    }

    pub fn grpo_batch(&self) -> Option<&GrpoBatch> {
        self.grpo.as_ref()
    }

    /// Runs the model on every part the file has and compares, in the order logits, hidden, CE, GRPO, greedy.
    pub fn verify(&self, model: &mut dyn GoldenModel, bounds: &Bounds) -> Result<Vec<Row>> {
        let mut rows = Vec::new();
        if let Some((_, ids)) = &self.batch {
            if let Some(want) = self.reference("logits")? {
                rows.push(want.compare(&model.logits(ids)?, bounds.forward, 0.0)?);
            }
            if (0..=self.layers).any(|l| self.file.get(&format!("hidden.{l}")).is_some()) {
                let got = model.hidden(ids)?;
                for l in 0..=self.layers {
                    let Some(want) = self.reference(&format!("hidden.{l}"))? else { continue };
                    let got = got.get(l).ok_or_else(|| ModelError::Input(format!("the model gave no hidden.{l}")))?;
                    rows.push(want.compare(got, bounds.forward, 0.0)?);
                }
            }
            if self.has_part("ce") {
                self.compare_loss("ce", &model.ce(ids)?, 0.0, bounds, &mut rows)?;
            }
            if let Some(batch) = self.grpo.as_ref().filter(|_| self.has_part("grpo")) {
                // The loss is a mean of terms as large as an advantage that cancel almost to nothing, so PyTorch's own f32 sum
                // is off by a few roundings of such a term.
                let largest = batch.advantages.iter().fold(0.0, |m: f32, a| m.max(a.abs()));
                let slack = 4.0 * f64::from(f32::EPSILON) * f64::from(largest);
                self.compare_loss("grpo", &model.grpo(ids, batch)?, slack, bounds, &mut rows)?;
            }
        }
        if let Some((prompt, want)) = &self.greedy {
            rows.push(compare_ids("greedy.tokens", &model.greedy(prompt, want.len())?, want)?);
        }
        Ok(rows)
    }

    fn compare_loss(
        &self,
        part: &str,
        got: &LossAndGrads,
        slack: f64,
        bounds: &Bounds,
        rows: &mut Vec<Row>,
    ) -> Result<()> {
        if let Some(want) = self.reference(&format!("{part}_loss"))? {
            rows.push(want.compare(&[got.loss as f32], bounds.forward, slack)?);
        }
        for spec in &self.params {
            let Some(want) = self.reference(&format!("{part}_grad.{}", spec.name))? else { continue };
            let got = got.grads.get(&spec.name);
            let got = got.ok_or_else(|| ModelError::Input(format!("the model gave no gradient of `{}`", spec.name)))?;
            rows.push(want.compare(got, bounds.gradient, 0.0)?);
        }
        Ok(())
    }

    fn has_part(&self, part: &str) -> bool {
        let (loss, grad) = (format!("{part}_loss"), format!("{part}_grad."));
        self.file.names().any(|n| n == loss || n.starts_with(&grad))
    }

    /// One reference tensor without its padding rows. NaN or infinity in what is compared is an error.
    pub fn reference(&self, name: &str) -> Result<Option<Reference>> {
        let Some(view) = self.file.get(name) else { return Ok(None) };
        let values = f32_only(&view)?;
        let per_token = name == "logits" || name.starts_with("hidden.");
        let rows = match &self.batch {
            Some(([_, t], ids)) if per_token => {
                Some(ids.iter().enumerate().flat_map(|(b, seq)| b * t..b * t + seq.len()).collect::<Vec<_>>())
            }
            _ => None,
        };
        let width = row_width(view.shape);
        let values = match &rows {
            None => values,
            Some(rows) => rows.iter().flat_map(|r| &values[r * width..(r + 1) * width]).copied().collect(),
        };
        let reference = Reference { name: name.into(), shape: view.shape.to_vec(), values, rows };
        match first_not_finite(&reference.values) {
            Some(i) => Err(view.not_finite(reference.element(i), reference.values[i], REMAKE)),
            None => Ok(Some(reference)),
        }
    }

    fn check_names(&self) -> Result<()> {
        let mut known: Vec<String> = KEYS.map(String::from).into();
        known.extend((0..=self.layers).map(|l| format!("hidden.{l}")));
        for part in ["ce_grad", "grpo_grad"] {
            known.extend(self.params.iter().map(|s| format!("{part}.{}", s.name)));
        }
        for name in self.file.names() {
            if known.iter().any(|k| k == name) {
                continue;
            }
            let hint = if name.ends_with("_grad.lm_head.weight") {
                "This model's head is tied: its gradient is part of `model.embed_tokens.weight`".into()
            } else if name.starts_with("hidden.") {
                format!("This model has {0} layers: `hidden.0` to `hidden.{0}`", self.layers)
            } else if let Some(near) = nearest(name, known.iter().map(String::as_str)) {
                format!("Is `{near}` meant?")
            } else {
                "The keys of a golden file are listed in scripts/dump_golden.py".into()
            };
            return Err(ModelError::ExtraTensor { path: self.file.path().into(), tensor: name.into(), hint });
        }
        Ok(())
    }

    fn read_batch(&self, config: &ModelConfig) -> Result<Option<Sequences>> {
        let Some(view) = self.file.get("input_ids") else {
            let needs = |n: &&str| !n.starts_with("greedy.");
            return match self.file.names().find(needs) {
                None => Ok(None),
                Some(name) => Err(self.needed("input_ids", name)),
            };
        };
        let &[b, t] = view.shape else {
            return Err(view.wrong(format!("shape {:?}", view.shape), "[B, T]", REMAKE));
        };
        let ids = view.to_i64()?;
        if ids.is_empty() {
            return Err(view.wrong("no elements", "at least one token", REMAKE));
        }
        let mask = match self.file.get("attention_mask") {
            None => vec![1; ids.len()],
            Some(mask) => {
                mask.expect_shape(&[b, t], "It must be that of `input_ids`")?;
                mask.to_i64()?
            }
        };
        let mut sequences = Vec::with_capacity(b);
        for (row, (ids, mask)) in ids.chunks_exact(t).zip(mask.chunks_exact(t)).enumerate() {
            let len = mask.iter().position(|&m| m != 1).unwrap_or(t);
            if len == 0 || mask[len..].iter().any(|&m| m != 0) {
                let hint = "Pad on the right: ones, then zeros, with at least one 1 in every row";
                let found = format!("{:?} in row {row}", &mask[..t.min(16)]);
                return Err(self.file.tensor("attention_mask")?.wrong(found, "right padding", hint));
            }
            let at = |i| format!("token {i} of row {row}");
            sequences.push(token_ids(&view, &ids[..len], config.vocab_size, at)?);
        }
        Ok(Some(([b, t], sequences)))
    }

    fn check_shapes(&self, config: &ModelConfig) -> Result<()> {
        if let Some(([b, t], _)) = self.batch {
            let per_token = (0..=self.layers).map(|l| (format!("hidden.{l}"), config.hidden_size));
            for (name, width) in per_token.chain([("logits".to_string(), config.vocab_size)]) {
                if let Some(view) = self.file.get(&name) {
                    view.expect_shape(&[b, t, width], "Batch of `input_ids`, sizes of config.json")?;
                }
            }
            for name in ["grpo.completion_mask", "grpo.ref_logps"] {
                if let Some(view) = self.file.get(name) {
                    view.expect_shape(&[b, t - 1], "It must be [B, T - 1] of `input_ids`")?;
                }
            }
            if let Some(view) = self.file.get("grpo.advantages") {
                view.expect_shape(&[b], "One advantage per sequence")?;
            }
        }
        for part in ["ce_grad", "grpo_grad"] {
            for spec in &self.params {
                if let Some(view) = self.file.get(&format!("{part}.{}", spec.name)) {
                    view.expect_shape(&spec.shape(), "A gradient has its parameter's shape")?;
                }
            }
        }
        for name in ["ce_loss", "grpo_loss", "grpo.beta"] {
            if let Some(view) = self.file.get(name)
                && view.shape.iter().product::<usize>() != 1
            {
                return Err(view.wrong(format!("shape {:?}", view.shape), "[1]", REMAKE));
            }
        }
        let integer = |n: &str| n == "input_ids" || n.ends_with("_mask") || n.starts_with("greedy.");
        for view in self.file.names().filter(|n| !integer(n)).filter_map(|n| self.file.get(n)) {
            if view.dtype != FileDtype::F32 {
                return Err(view.wrong(format!("dtype {}", view.dtype), "F32", REMAKE));
            }
        }
        Ok(())
    }

    fn read_grpo(&self) -> Result<Option<GrpoBatch>> {
        let Some((_, ids)) = self.batch.as_ref().filter(|_| self.has_part("grpo")) else { return Ok(None) };
        let get = |name| self.file.get(name).ok_or_else(|| self.needed(name, "grpo_loss"));
        let mask_view = get("grpo.completion_mask")?;
        let flat = mask_view.to_i64()?;
        let per_row = flat.len() / ids.len();
        let mut completion_mask = Vec::with_capacity(ids.len());
        for (b, seq) in ids.iter().enumerate() {
            let row = &flat[b * per_row..(b + 1) * per_row];
            let wrong = row.iter().enumerate().position(|(t, &m)| !(m == 0 || m == 1 && t + 1 < seq.len()));
            if let Some(t) = wrong {
                let hint = "Element t of the mask belongs to token t + 1, which must not be padding";
                return Err(mask_view.wrong(format!("{} at [{b}, {t}]", row[t]), "0, or 1 at a token", hint));
            }
            completion_mask.push(row[..seq.len() - 1].iter().map(|&m| m == 1).collect::<Vec<_>>());
        }
        let advantages = finite(&get("grpo.advantages")?)?;
        let beta = match self.file.get("grpo.beta") {
            Some(view) => finite(&view)?.first().copied().unwrap_or_default(),
            None if self.file.get("grpo.ref_logps").is_some() => return Err(self.needed("grpo.beta", "grpo.ref_logps")),
            None => 0.0,
        };
        let ref_logps = match self.file.get("grpo.ref_logps") {
            None if beta == 0.0 => completion_mask.iter().map(|m| vec![0.0; m.len()]).collect(),
            None => return Err(self.needed("grpo.ref_logps", "grpo.beta")),
            Some(view) => {
                let flat = f32_only(&view)?;
                let mut rows = Vec::with_capacity(ids.len());
                for (b, mask) in completion_mask.iter().enumerate() {
                    let row = &flat[b * per_row..b * per_row + mask.len()];
                    let row: Vec<f32> = row.iter().zip(mask).map(|(&x, &m)| if m { x } else { 0.0 }).collect();
                    if let Some(t) = first_not_finite(&row) {
                        return Err(view.not_finite(b * per_row + t, row[t], REMAKE));
                    }
                    rows.push(row);
                }
                rows
            }
        };
        Ok(Some(GrpoBatch { completion_mask, advantages, ref_logps, beta }))
    }

    fn read_greedy(&self, config: &ModelConfig) -> Result<Option<(Vec<u32>, Vec<u32>)>> {
        let read = |name: &str, other: &str| {
            let view = self.file.get(name).ok_or_else(|| self.needed(name, other))?;
            if view.shape.len() != 1 || view.shape[0] == 0 {
                return Err(view.wrong(format!("shape {:?}", view.shape), "a list of at least one id", REMAKE));
            }
            token_ids(&view, &view.to_i64()?, config.vocab_size, |i| format!("element {i}"))
        };
        let (prompt, tokens) = ("greedy.prompt", "greedy.tokens");
        if self.file.get(prompt).is_none() && self.file.get(tokens).is_none() {
            return Ok(None);
        }
        Ok(Some((read(prompt, tokens)?, read(tokens, prompt)?)))
    }

    fn needed(&self, name: &str, by: &str) -> ModelError {
        ModelError::MissingTensor {
            path: self.file.path().into(),
            tensor: name.into(),
            hint: format!("`{by}` needs it"),
        }
    }
}

const REMAKE: &str = "Make the file again with scripts/dump_golden.py";
const KEYS: [&str; 11] = [
    "input_ids",
    "attention_mask",
    "logits",
    "ce_loss",
    "grpo.completion_mask",
    "grpo.advantages",
    "grpo.ref_logps",
    "grpo.beta",
    "grpo_loss",
    "greedy.prompt",
    "greedy.tokens",
];

fn is_loss(name: &str) -> bool {
    matches!(name, "ce_loss" | "grpo_loss")
}

fn of_part(name: &str) -> bool {
    ["hidden.", "ce_grad.", "grpo_grad."].iter().any(|p| name.starts_with(p))
}

fn row_width(shape: &[usize]) -> usize {
    shape.last().copied().unwrap_or(1)
}

/// Float tensors of a golden file are F32.
fn f32_only(view: &TensorView) -> Result<Vec<f32>> {
    match view.dtype {
        FileDtype::F32 => view.to_f32(),
        other => Err(view.wrong(format!("dtype {other}"), "F32", REMAKE)),
    }
}

fn finite(view: &TensorView) -> Result<Vec<f32>> {
    let values = f32_only(view)?;
    match first_not_finite(&values) {
        Some(i) => Err(view.not_finite(i, values[i], REMAKE)),
        None => Ok(values),
    }
}

fn token_ids(view: &TensorView, ids: &[i64], vocab: usize, place: impl Fn(usize) -> String) -> Result<Vec<u32>> {
    match ids.iter().position(|&id| id < 0 || id >= vocab as i64) {
        None => Ok(ids.iter().map(|&id| id as u32).collect()),
        Some(i) => Err(view.wrong(
            format!("id {} at {}", ids[i], place(i)),
            format!("ids from 0 to {}", vocab - 1),
            "Is the file made from this model?",
        )),
    }
}

impl Reference {
    /// Position in FILE's tensor (row-major) of compared element `i`.
    fn element(&self, i: usize) -> usize {
        let width = row_width(&self.shape);
        self.rows.as_ref().map_or(i, |rows| rows[i / width] * width + i % width)
    }

    /// Compares `got`, laid out as `self.values`. It is in order when no value is NaN and the largest error is at most
    /// `bound` times the reference's largest magnitude plus `slack`.
    ///
    /// # Errors
    /// When `got` has another length.
    pub fn compare(&self, got: &[f32], bound: f64, slack: f64) -> Result<Row> {
        if got.len() != self.values.len() {
            let detail = format!("`{}`: the model gave {} values for {}", self.name, got.len(), self.values.len());
            return Err(ModelError::Input(detail));
        }
        let (mut max_abs, mut worst, mut largest) = (0.0f64, 0, 0.0f64);
        let (mut error2, mut want2) = (0.0, 0.0);
        for (i, (&g, &w)) in got.iter().zip(&self.values).enumerate() {
            let (g, w) = (f64::from(g), f64::from(w));
            let finite = g.is_finite();
            let error = if finite { (g - w).abs() } else { f64::INFINITY };
            if error > max_abs {
                (max_abs, worst) = (error, i);
            }
            largest = largest.max(w.abs());
            error2 += error * error;
            want2 += w * w;
        }
        // 0 where both are zero, infinite where only the reference is.
        let over = |x: f64, y: f64| if x == 0.0 { 0.0 } else { x / y };
        let mut element = self.element(worst);
        let mut worst_index = vec![0; self.shape.len()];
        for (index, &size) in worst_index.iter_mut().zip(&self.shape).rev() {
            (*index, element) = (element % size.max(1), element / size.max(1));
        }
        Ok(Row {
            tensor: self.name.clone(),
            shape: self.shape.clone(),
            max_abs,
            max_rel: over(max_abs, largest),
            nmse: over(error2, want2),
            worst_index,
            got: got.get(worst).copied().map_or(0.0, f64::from),
            want: self.values.get(worst).copied().map_or(0.0, f64::from),
            bound: bound + over(slack, largest),
            ok: max_abs <= bound * largest + slack,
        })
    }
}

/// Ids must be the same.
fn compare_ids(name: &str, got: &[u32], want: &[u32]) -> Result<Row> {
    if got.len() != want.len() {
        return Err(ModelError::Input(format!("`{name}`: the model gave {} ids for {}", got.len(), want.len())));
    }
    let differ = got.iter().zip(want).filter(|(g, w)| g != w).count();
    let first = got.iter().zip(want).position(|(g, w)| g != w).unwrap_or(0);
    Ok(Row {
        tensor: name.into(),
        shape: vec![want.len()],
        max_abs: differ as f64,
        max_rel: differ as f64 / want.len().max(1) as f64,
        nmse: 0.0,
        worst_index: vec![first],
        got: f64::from(got[first]),
        want: f64::from(want[first]),
        bound: 0.0,
        ok: differ == 0,
    })
}
