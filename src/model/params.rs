//! One tensor per named parameter of a Qwen2 model: the same struct holds weights, gradients and optimizer moments.

use super::config::ModelConfig;

/// One value per parameter of a decoder layer. Projections are `[out, in]`, biases and norms `[1, n]`.
#[derive(Clone, Debug)]
pub struct LayerParams<T> {
    pub input_layernorm: T,
    pub q_proj: T,
    pub q_bias: T,
    pub k_proj: T,
    pub k_bias: T,
    pub v_proj: T,
    pub v_bias: T,
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
        let mut matrix = |name: String, rows, cols| make(ParamSpec { name, rows, cols, vector: rows == 1 });
        let (h, f) = (c.hidden_size, c.intermediate_size);
        let (q, kv) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
        let embed_tokens = matrix("model.embed_tokens.weight".into(), c.vocab_size, h)?;
        let mut layers = Vec::with_capacity(c.num_hidden_layers);
        for l in 0..c.num_hidden_layers {
            let n = |part: &str| format!("model.layers.{l}.{part}");
            layers.push(LayerParams {
                input_layernorm: matrix(n("input_layernorm.weight"), 1, h)?,
                q_proj: matrix(n("self_attn.q_proj.weight"), q, h)?,
                q_bias: matrix(n("self_attn.q_proj.bias"), 1, q)?,
                k_proj: matrix(n("self_attn.k_proj.weight"), kv, h)?,
                k_bias: matrix(n("self_attn.k_proj.bias"), 1, kv)?,
                v_proj: matrix(n("self_attn.v_proj.weight"), kv, h)?,
                v_bias: matrix(n("self_attn.v_proj.bias"), 1, kv)?,
                o_proj: matrix(n("self_attn.o_proj.weight"), h, q)?,
                post_attention_layernorm: matrix(n("post_attention_layernorm.weight"), 1, h)?,
                gate_proj: matrix(n("mlp.gate_proj.weight"), f, h)?,
                up_proj: matrix(n("mlp.up_proj.weight"), f, h)?,
                down_proj: matrix(n("mlp.down_proj.weight"), h, f)?,
            });
        }
        let norm = matrix("model.norm.weight".into(), 1, h)?;
        let lm_head = match c.tie_word_embeddings {
            true => None,
            false => Some(matrix("lm_head.weight".into(), c.vocab_size, h)?),
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
    fn fields(&self) -> [&T; 12] {
        [
            &self.input_layernorm,
            &self.q_proj,
            &self.q_bias,
            &self.k_proj,
            &self.k_bias,
            &self.v_proj,
            &self.v_bias,
            &self.o_proj,
            &self.post_attention_layernorm,
            &self.gate_proj,
            &self.up_proj,
            &self.down_proj,
        ]
    }
    fn fields_mut(&mut self) -> [&mut T; 12] {
        [
            &mut self.input_layernorm,
            &mut self.q_proj,
            &mut self.q_bias,
            &mut self.k_proj,
            &mut self.k_bias,
            &mut self.v_proj,
            &mut self.v_bias,
            &mut self.o_proj,
            &mut self.post_attention_layernorm,
            &mut self.gate_proj,
            &mut self.up_proj,
            &mut self.down_proj,
        ]
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
