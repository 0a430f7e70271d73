//! One tensor per named parameter of a model: the same struct holds weights, gradients and optimizer moments.

use serde::{Deserialize, Serialize};

use super::config::ModelConfig;

/// The projections of a layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Module {
    QProj,
    KProj,
    VProj,
    OProj,
    GateProj,
    UpProj,
    DownProj,
}

impl Module {
    pub const ALL: [Module; 7] = {
        use Module::*;
        [QProj, KProj, VProj, OProj, GateProj, UpProj, DownProj]
    };

    /// Last part of its name in a checkpoint.
    pub fn name(self) -> &'static str {
        match self {
            Module::QProj => "q_proj",
            Module::KProj => "k_proj",
            Module::VProj => "v_proj",
            Module::OProj => "o_proj",
            Module::GateProj => "gate_proj",
            Module::UpProj => "up_proj",
            Module::DownProj => "down_proj",
        }
    }

    /// Its name within a layer.
    pub fn path(self) -> String {
        let attention = matches!(self, Module::QProj | Module::KProj | Module::VProj | Module::OProj);
        format!("{}.{}", if attention { "self_attn" } else { "mlp" }, self.name())
    }

    /// `[out, in]`.
    pub fn shape(self, c: &ModelConfig) -> [usize; 2] {
        let (h, f) = (c.hidden_size, c.intermediate_size);
        let (q, kv) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
        match self {
            Module::QProj => [q, h],
            Module::KProj | Module::VProj => [kv, h],
            Module::OProj => [h, q],
            Module::GateProj | Module::UpProj => [f, h],
            Module::DownProj => [h, f],
        }
    }
}

/// One value per parameter of a decoder layer. Projections are `[out, in]`, biases (Qwen2 has them, Llama
/// not) and norms `[1, n]`.
#[derive(Clone, Debug)]
pub struct LayerParams<T> {
    pub input_layernorm: T,
    pub q_proj: T,
    pub q_bias: Option<T>,
    pub k_proj: T,
    pub k_bias: Option<T>,
    pub v_proj: T,
    pub v_bias: Option<T>,
    pub o_proj: T,
    pub post_attention_layernorm: T,
    pub gate_proj: T,
    pub up_proj: T,
    pub down_proj: T,
}

/// One value per parameter of the model.
#[derive(Clone, Debug)]
pub struct Params<T> {
    /// `[V, H]`; also the head when `lm_head` is absent (tied).
    pub embed_tokens: T,
    pub layers: Vec<LayerParams<T>>,
    pub norm: T,
    pub lm_head: Option<T>,
}

/// Hugging Face name and matrix shape of one parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParamSpec {
    pub name: String,
    pub rows: usize,
    pub cols: usize,
    /// Stored with one dimension in checkpoints (norms and biases).
    pub vector: bool,
}

impl ParamSpec {
    pub fn len(&self) -> usize {
        self.rows * self.cols
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Shape as a checkpoint stores it.
    pub fn shape(&self) -> Vec<usize> {
        if self.vector { vec![self.cols] } else { vec![self.rows, self.cols] }
    }
}

impl<T> Params<T> {
    /// Makes every parameter in checkpoint order by calling `make` with its name and shape.
    pub fn build<E>(c: &ModelConfig, mut make: impl FnMut(ParamSpec) -> Result<T, E>) -> Result<Self, E> {
        let mut matrix =
            |name: String, [rows, cols]: [usize; 2]| make(ParamSpec { name, rows, cols, vector: rows == 1 });
        let vocabulary = [c.vocab_size, c.hidden_size];
        let embed_tokens = matrix("model.embed_tokens.weight".into(), vocabulary)?;
        let mut layers = Vec::with_capacity(c.num_hidden_layers);
        for l in 0..c.num_hidden_layers {
            let n = |part: &str| format!("model.layers.{l}.{part}");
            let weight = |m: Module| (n(&format!("{}.weight", m.path())), m.shape(c));
            let bias = |m: Module| c.family.has_bias().then(|| (n(&format!("{}.bias", m.path())), [1, m.shape(c)[0]]));
            let norm = |part: &str| (n(&format!("{part}.weight")), [1, c.hidden_size]);
            let mut make = |(name, shape)| matrix(name, shape);
            layers.push(LayerParams {
                input_layernorm: make(norm("input_layernorm"))?,
                q_proj: make(weight(Module::QProj))?,
                q_bias: bias(Module::QProj).map(&mut make).transpose()?,
                k_proj: make(weight(Module::KProj))?,
                k_bias: bias(Module::KProj).map(&mut make).transpose()?,
                v_proj: make(weight(Module::VProj))?,
                v_bias: bias(Module::VProj).map(&mut make).transpose()?,
                o_proj: make(weight(Module::OProj))?,
                post_attention_layernorm: make(norm("post_attention_layernorm"))?,
                gate_proj: make(weight(Module::GateProj))?,
                up_proj: make(weight(Module::UpProj))?,
                down_proj: make(weight(Module::DownProj))?,
            });
        }
        let norm = matrix("model.norm.weight".into(), [1, c.hidden_size])?;
        let lm_head = match c.tie_word_embeddings {
            true => None,
            false => Some(matrix("lm_head.weight".into(), vocabulary)?),
        };
        Ok(Self { embed_tokens, layers, norm, lm_head })
    }

    /// The head's weight: `lm_head`, or the embedding when tied.
    pub fn head(&self) -> &T {
        self.lm_head.as_ref().unwrap_or(&self.embed_tokens)
    }

    pub fn head_mut(&mut self) -> &mut T {
        self.lm_head.as_mut().unwrap_or(&mut self.embed_tokens)
    }

    /// Every value, in the order of [`Params::build`].
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        std::iter::once(&self.embed_tokens)
            .chain(self.layers.iter().flat_map(|l| l.fields()))
            .chain(std::iter::once(&self.norm))
            .chain(self.lm_head.iter())
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        std::iter::once(&mut self.embed_tokens)
            .chain(self.layers.iter_mut().flat_map(|l| l.fields_mut()))
            .chain(std::iter::once(&mut self.norm))
            .chain(self.lm_head.iter_mut())
    }
}

impl<T> LayerParams<T> {
    /// Weights of a projection.
    pub fn weight(&self, m: Module) -> &T {
        match m {
            Module::QProj => &self.q_proj,
            Module::KProj => &self.k_proj,
            Module::VProj => &self.v_proj,
            Module::OProj => &self.o_proj,
            Module::GateProj => &self.gate_proj,
            Module::UpProj => &self.up_proj,
            Module::DownProj => &self.down_proj,
        }
    }

    pub fn weight_mut(&mut self, m: Module) -> &mut T {
        match m {
            Module::QProj => &mut self.q_proj,
            Module::KProj => &mut self.k_proj,
            Module::VProj => &mut self.v_proj,
            Module::OProj => &mut self.o_proj,
            Module::GateProj => &mut self.gate_proj,
            Module::UpProj => &mut self.up_proj,
            Module::DownProj => &mut self.down_proj,
        }
    }

    /// Bias of a projection, where it has one.
    pub fn bias(&self, m: Module) -> Option<&T> {
        match m {
            Module::QProj => self.q_bias.as_ref(),
            Module::KProj => self.k_bias.as_ref(),
            Module::VProj => self.v_bias.as_ref(),
            _ => None,
        }
    }

    pub fn bias_mut(&mut self, m: Module) -> Option<&mut T> {
        match m {
            Module::QProj => self.q_bias.as_mut(),
            Module::KProj => self.k_bias.as_mut(),
            Module::VProj => self.v_bias.as_mut(),
            _ => None,
        }
    }

    fn fields(&self) -> impl Iterator<Item = &T> {
        [
            Some(&self.input_layernorm),
            Some(&self.q_proj),
            self.q_bias.as_ref(),
            Some(&self.k_proj),
            self.k_bias.as_ref(),
            Some(&self.v_proj),
            self.v_bias.as_ref(),
            Some(&self.o_proj),
            Some(&self.post_attention_layernorm),
            Some(&self.gate_proj),
            Some(&self.up_proj),
            Some(&self.down_proj),
        ]
        .into_iter()
        .flatten()
    }
    fn fields_mut(&mut self) -> impl Iterator<Item = &mut T> {
        [
            Some(&mut self.input_layernorm),
            Some(&mut self.q_proj),
            self.q_bias.as_mut(),
            Some(&mut self.k_proj),
            self.k_bias.as_mut(),
            Some(&mut self.v_proj),
            self.v_bias.as_mut(),
            Some(&mut self.o_proj),
            Some(&mut self.post_attention_layernorm),
            Some(&mut self.gate_proj),
            Some(&mut self.up_proj),
            Some(&mut self.down_proj),
        ]
        .into_iter()
        .flatten()
    }
}

/// Names and shapes of every parameter, in order.
pub fn specs(c: &ModelConfig) -> Vec<ParamSpec> {
    let mut out = Vec::new();
    let built: Result<Params<()>, std::convert::Infallible> = Params::build(c, |s| {
        out.push(s);
        Ok(())
    });
    let Ok(_) = built;
    out
}
