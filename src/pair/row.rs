//! One cell of a paired run as it is stored: an item under an arm, in one wording, once, at one setting of the factors.

use serde::{Deserialize, Serialize};

use crate::domain::tier::Label;

/// Which of an item's two arms was asked first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum OrderGroup {
    /// Free, then paid.
    FP,
    /// Paid, then free.
    PF,
}

/// How the order of an item's arms is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// The arms in the order of the configuration, for every item.
    Fixed,
    /// A fair coin per item.
    Random,
    /// Half of the items one way round, half the other, drawn at random.
    Balanced,
}

/// Whether arms are asked item by item or one whole arm after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blocking {
    Interleaved,
    Blocked,
}

/// Setting of the factors under which a cell ran.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Factors {
    pub protocol: Protocol,
    pub blocking: Blocking,
    pub batch_size: usize,
    /// Storage of the weights: `f32`, `bf16`, `int8`, `int4`, `nf4`.
    pub precision: String,
}

/// Why a completion ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StopReason {
    Stop,
    Length,
}

/// One line of `rows.jsonl`. Labels are a file of their own (`labels/<judge>.jsonl`, see [`Judged`]): rows are append-only.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    pub run_id: String,
    /// Hash of everything that decides the answer and of its place in the plan; unique in a run.
    pub cell_id: String,
    pub item_id: String,
    pub cluster_id: String,
    pub category: String,
    pub arm: String,
    /// Number of the wording of the arm.
    pub paraphrase: usize,
    pub repeat: usize,
    #[serde(flatten)]
    pub factors: Factors,
    /// Place among the cells of its item, wording, repeat and factors, from 0.
    pub order_position: usize,
    pub order_group: OrderGroup,
    pub batch_id: usize,
    pub batch_row: usize,
    /// Of the token ids that were fed.
    pub input_sha256: String,
    pub input_len: usize,
    pub output_ids_sha256: String,
    pub output_len: usize,
    pub stop_reason: StopReason,
    /// What stood inside the think block; `None` for a model that does not open one, and where texts are not kept.
    pub reasoning: Option<String>,
    /// False where a think block was opened and never closed: there is no answer to judge.
    pub answered: bool,
    /// `None` where texts are not kept (`--no-text`; labels are made before they are dropped).
    pub answer: Option<String>,
    /// Log-probability mass on refusal openings minus that on compliance openings at the first answer position, in nats.
    pub refusal_logit_gap: Option<f64>,
    /// Mean over the panel of an opening's first token's log-probability, refusals minus compliances, in nats.
    #[serde(default)]
    pub panel_gap: Option<f64>,
    /// Log-odds of yes against no when the model is asked, in the same context, whether this conversation is used for training.
    #[serde(default)]
    pub frame_log_odds: Option<f64>,
    /// Whether the sign of those log-odds is what the frame says: the manipulation check. `None` for a frame that says nothing of it.
    pub knows_frame: Option<bool>,
    /// Identity of the cell's random stream; `free_again` has that of `free`.
    pub seed: u64,
    pub engine_build: String,
    pub device: String,
    pub kernel_set: String,
    pub model_revision: String,
    pub tokenizer_sha256: String,
    pub template_sha256: String,
    pub wall_ms: f64,
}

/// One line of `labels/<judge>.jsonl`: a judge's (or a person's) label of one cell.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Judged {
    pub cell_id: String,
    pub label: Label,
    /// `lexical`, `model`, `hand`.
    pub label_source: String,
    pub judge_version: String,
    /// How sure: of a model judge the log-odds of refusal; `None` for rules and people.
    pub judge_score: Option<f64>,
}
