//! tmp
#[derive(Clone, Debug)]
pub struct ModelConfig {
    pub hidden_size: usize,
    pub intermediate_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub head_dim: usize,
    pub vocab_size: usize,
    pub rms_norm_eps: f64,
    pub rope_theta: f64,
    pub tie_word_embeddings: bool,
}

impl ModelConfig {
    #[cfg(test)]
    pub fn new_for_tests(hidden: usize, layers: usize, heads: usize, kv: usize, d: usize, f: usize, v: usize) -> Self {
        Self {
            hidden_size: hidden,
            intermediate_size: f,
            num_hidden_layers: layers,
            num_attention_heads: heads,
            num_key_value_heads: kv,
            head_dim: d,
            vocab_size: v,
            rms_norm_eps: 1e-6,
            rope_theta: 1e4,
            tie_word_embeddings: true,
        }
    }
}
impl ModelConfig {
    pub fn qwen2(h: usize, layers: usize, heads: usize, kv: usize, f: usize, v: usize) -> Self {
        Self { hidden_size: h, intermediate_size: f, num_hidden_layers: layers, num_attention_heads: heads, num_key_value_heads: kv,
            head_dim: h / heads, vocab_size: v, rms_norm_eps: 1e-6, rope_theta: 1e6, tie_word_embeddings: true }
    }
}
