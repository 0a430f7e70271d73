//! Pre-training of the embedded model: the corpus as examples of a supervised run.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::error::Result;
use crate::domain::corpus::{Corpus, CorpusConfig};
use crate::domain::frugality::FrugalityConfig;
use crate::model::config::{ModelConfig, Sizes};
use crate::model::qwen2::Recompute;
use crate::text::train::{train_bpe, write_files};
use crate::text::{TextError, Tokenizer};
use crate::train::accumulate::Example;
use crate::train::error::TrainError;
use crate::train::optim::OptimConfig;
use crate::train::run::RunConfig;
use crate::train::sft::{ExampleSource, Weighting};

/// `configs/tiny-pretrain.toml`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PretrainConfig {
    /// Decides initial weights, tokenizer and every batch.
    pub seed: u64,
    pub model: ModelTable,
    pub tokenizer: TokenizerTable,
    /// That of the battery which will test the model: its val and test prompts stay out of the corpus.
    pub frugality: FrugalityConfig,
    #[serde(default)]
    pub corpus: CorpusConfig,
    pub run: RunConfig,
    pub batch: BatchTable,
    pub optim: OptimConfig,
}

/// Sizes of the model; the vocabulary is the tokenizer's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ModelTable {
    pub hidden_size: usize,
    pub num_hidden_layers: usize,
    pub num_attention_heads: usize,
    pub num_key_value_heads: usize,
    pub intermediate_size: usize,
    pub max_position_embeddings: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerTable {
    pub vocab_size: usize,
    /// Examples of the corpus that merges are learned from.
    pub examples: usize,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BatchTable {
    /// Chats per optimizer step.
    pub examples: u64,
    /// Input tokens per forward/backward.
    #[serde(default = "eight_thousand")]
    pub micro_batch_tokens: usize,
    #[serde(default)]
    pub recompute: Recompute,
    #[serde(default)]
    pub weighting: Weighting,
}

fn eight_thousand() -> usize {
    8192
}

impl PretrainConfig {
    pub fn corpus(&self) -> Result<Corpus> {
        Ok(Corpus::new(self.corpus.clone(), self.frugality.clone())?)
    }

    /// Learns the tokenizer from the corpus and writes its files.
    pub fn make_tokenizer(&self, corpus: &Corpus, dir: &Path) -> Result<()> {
        let json = train_bpe(corpus.turns(self.seed, self.tokenizer.examples), self.tokenizer.vocab_size)?;
        std::fs::create_dir_all(dir).map_err(super::error::BatteryError::io(dir))?;
        Ok(write_files(dir, &json)?)
    }

    pub fn model(&self) -> Result<ModelConfig> {
        let m = &self.model;
        let sizes = Sizes {
            hidden_size: m.hidden_size,
            num_hidden_layers: m.num_hidden_layers,
            num_attention_heads: m.num_attention_heads,
            num_key_value_heads: m.num_key_value_heads,
            intermediate_size: m.intermediate_size,
            vocab_size: self.tokenizer.vocab_size,
            rope_theta: 1e6,
            max_position_embeddings: m.max_position_embeddings,
        };
        Ok(sizes.config(Path::new("[model]"))?)
    }
}

/// Batches of the corpus; the loss is on the last assistant turn and its end token.
pub struct CorpusSource<'a> {
    corpus: &'a Corpus,
    tokenizer: &'a Tokenizer,
    seed: u64,
    batch: u64,
    /// Ends an answer.
    end: u32,
}

impl<'a> CorpusSource<'a> {
    pub fn new(config: &PretrainConfig, corpus: &'a Corpus, tokenizer: &'a Tokenizer) -> Result<Self> {
        let missing = || TextError::Coding { detail: "the tokenizer has no end token".into() };
        let end = *tokenizer.eos_ids().first().ok_or_else(missing)?;
        let source = Self { corpus, tokenizer, seed: config.seed, batch: config.batch.examples, end };
        // Errors of template or tokenizer show on the first chats or never.
        source.tokens(0)?;
        Ok(source)
    }

    fn tokens(&self, index: u64) -> std::result::Result<Example, TextError> {
        let chat = self.corpus.example(self.seed, index);
        let Some((answer, turns)) = chat.messages.split_last() else {
            return Err(TextError::Coding { detail: format!("example {index} is empty") });
        };
        let prompt = self.tokenizer.encode_chat(turns, true)?;
        let mut completion = self.tokenizer.encode(&answer.content)?;
        completion.push(self.end);
        Ok(Example::completion(&prompt, &completion))
    }
}

impl ExampleSource for CorpusSource<'_> {
    fn batch(&self, step: u64) -> std::result::Result<Vec<Example>, TrainError> {
        let first = step * self.batch;
        let example =
            |i| self.tokens(i).map_err(|e| TrainError::Data(format!("example {i} of the corpus: {e}").into()));
        (first..first + self.batch).map(example).collect()
    }
}
