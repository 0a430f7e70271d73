//! LoRA (Hu et al. 2021, arXiv 2106.09685): a frozen projection `W` `[out, in]` with a trained correction of low rank,
//! `y = x W^T + s (x A^T) B^T`, `A` `[r, in]`, `B` `[out, r]`, `s = lora_alpha / r`, or `lora_alpha / sqrt(r)` with `use_rslora`
//! (arXiv 2312.03732). The correction is never merged into `W`: in bf16 most of it would round away. Names are PEFT's.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use super::config::ModelConfig;
use super::params::{Module, ParamSpec, Params};
use crate::ops::{Ops, Result, TensorMeta};

/// Settings of adapters, with PEFT's names and defaults where it has any.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LoraConfig {
    /// Rank.
    pub r: usize,
    pub lora_alpha: f64,
    /// Projections that get an adapter, in every layer.
    pub target_modules: Vec<Module>,
    pub use_rslora: bool,
}

impl Default for LoraConfig {
    fn default() -> Self {
        Self { r: 16, lora_alpha: 32.0, target_modules: Module::ALL.to_vec(), use_rslora: false }
    }
}

impl LoraConfig {
    /// What is wrong with the settings, if anything.
    pub fn problem(&self) -> Option<String> {
        let twice = |m: &Module| self.target_modules.iter().filter(|n| *n == m).count() > 1;
        if self.r == 0 || self.r > 4096 {
            return Some(format!("r = {}: the rank is from 1 to 4096", self.r));
        }
        if !(self.lora_alpha.is_finite() && self.lora_alpha > 0.0) {
            return Some(format!("lora_alpha = {}: must be above 0", self.lora_alpha));
        }
        if self.target_modules.is_empty() {
            return Some("target_modules is empty: nothing would be trained".into());
        }
        self.target_modules.iter().find(|m| twice(m)).map(|m| format!("target_modules: {} is there twice", m.name()))
    }

    /// `s`.
    pub fn scale(&self) -> f32 {
        let r = self.r as f64;
        (self.lora_alpha / if self.use_rslora { r.sqrt() } else { r }) as f32
    }

    /// Rank on a device, where rows have a multiple of four elements. The rows of `A` and columns of `B` that this adds are
    /// zero, get gradients of zero, and stay zero.
    pub fn padded(&self) -> usize {
        self.r.next_multiple_of(4)
    }
}

/// `A` and `B` of one projection.
#[derive(Clone, Debug)]
pub struct Pair<T> {
    pub a: T,
    pub b: T,
}

/// One pair for every target of every layer: weights, gradients or moments.
#[derive(Clone, Debug)]
pub struct Adapters<T> {
    pub config: LoraConfig,
    layers: Vec<[Option<Pair<T>>; Module::ALL.len()]>,
}

impl<T> Adapters<T> {
    /// Makes every tensor by calling `make` with its name in a PEFT file and its shape on the device.
    pub fn build<E>(
        c: &ModelConfig,
        config: &LoraConfig,
        mut make: impl FnMut(ParamSpec) -> std::result::Result<T, E>,
    ) -> std::result::Result<Self, E> {
        let r = config.padded();
        let mut layers = Vec::with_capacity(c.num_hidden_layers);
        for l in 0..c.num_hidden_layers {
            let mut layer = [const { None }; Module::ALL.len()];
            for (m, slot) in Module::ALL.into_iter().zip(&mut layer) {
                if config.target_modules.contains(&m) {
                    let [rows, cols] = m.shape(c);
                    let name = |part| format!("base_model.model.model.layers.{l}.{}.{part}.weight", m.path());
                    let spec = |part, rows, cols| ParamSpec { name: name(part), rows, cols, vector: false };
                    *slot = Some(Pair { a: make(spec("lora_A", r, cols))?, b: make(spec("lora_B", rows, r))? });
                }
            }
            layers.push(layer);
        }
        Ok(Self { config: config.clone(), layers })
    }

    pub fn pair(&self, layer: usize, m: Module) -> Option<&Pair<T>> {
        self.layers[layer][m as usize].as_ref()
    }

    pub fn pair_mut(&mut self, layer: usize, m: Module) -> Option<&mut Pair<T>> {
        self.layers[layer][m as usize].as_mut()
    }

    /// Every tensor in the order of [`Adapters::build`].
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.layers.iter().flatten().flatten().flat_map(|p| [&p.a, &p.b])
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.layers.iter_mut().flatten().flatten().flat_map(|p| [&mut p.a, &mut p.b])
    }
}

/// Names and device shapes of every tensor, in order.
pub fn specs(c: &ModelConfig, config: &LoraConfig) -> Vec<ParamSpec> {
    let mut out = Vec::new();
    let built: std::result::Result<Adapters<()>, std::convert::Infallible> = Adapters::build(c, config, |s| {
        out.push(s);
        Ok(())
    });
    let Ok(_) = built;
    out
}

/// Fresh adapters in f32, as PEFT initialises them: `A` uniform within ±1/sqrt(in), `B` zero, so that nothing changes at first.
pub fn init<O: Ops>(o: &O, c: &ModelConfig, config: &LoraConfig, seed: u64) -> Result<Adapters<O::T>> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x4c6f_5241);
    Adapters::build(c, config, |s| {
        if s.name.contains("lora_B") {
            return o.zeros(s.rows, s.cols);
        }
        let bound = 1.0 / (s.cols as f64).sqrt();
        let mut unit = || (rng.next_u64() >> 11) as f64 * (2.0 / (1u64 << 53) as f64) - 1.0;
        let mut values: Vec<f32> = (0..config.r * s.cols).map(|_| (bound * unit()) as f32).collect();
        values.resize(s.len(), 0.0);
        o.upload(s.rows, s.cols, &values)
    })
}

/// One tensor for everything that a training changes: every parameter, or the adapters alone. Gradients and moments have this shape.
#[derive(Clone, Debug)]
pub enum Trained<T> {
    Full(Params<T>),
    Lora(Adapters<T>),
}

impl<T> Trained<T> {
    /// The parameters, where they are what is trained.
    pub fn full(&mut self) -> Option<&mut Params<T>> {
        match self {
            Trained::Full(p) => Some(p),
            Trained::Lora(_) => None,
        }
    }

    pub fn iter(&self) -> Box<dyn Iterator<Item = &T> + '_> {
        match self {
            Trained::Full(p) => Box::new(p.iter()),
            Trained::Lora(a) => Box::new(a.iter()),
        }
    }

    pub fn iter_mut(&mut self) -> Box<dyn Iterator<Item = &mut T> + '_> {
        match self {
            Trained::Full(p) => Box::new(p.iter_mut()),
            Trained::Lora(a) => Box::new(a.iter_mut()),
        }
    }
}

/// `y += s (x A^T) B^T`.
pub(super) fn forward<O: Ops>(o: &O, s: f32, p: &Pair<O::T>, x: &O::T, y: &mut O::T) -> Result<()> {
    o.add(y, &o.matmul_nt(&scaled(o, s, p, x)?, &p.b, None)?)
}

/// `s x A^T`, `[M, r]`.
fn scaled<O: Ops>(o: &O, s: f32, p: &Pair<O::T>, x: &O::T) -> Result<O::T> {
    let mut u = o.matmul_nt(x, &p.a, None)?;
    if s != 1.0 {
        o.scale(&mut u, s)?;
    }
    Ok(u)
}

/// Backward of [`forward`]: adds to the gradients of the pair, and to that of `x`.
pub(super) fn backward<O: Ops>(
    o: &O,
    s: f32,
    p: &Pair<O::T>,
    g: &mut Pair<O::T>,
    dy: &O::T,
    x: &O::T,
    dx: O::T,
) -> Result<O::T> {
    debug_assert!(p.a.rows() == p.b.cols());
    o.matmul_tn(&mut g.b, dy, &scaled(o, s, p, x)?)?;
    let mut du = o.matmul_nn(dy, &p.b, None)?;
    if s != 1.0 {
        o.scale(&mut du, s)?;
    }
    o.matmul_tn(&mut g.a, &du, x)?;
    o.matmul_nn(&du, &p.a, Some(dx))
}
