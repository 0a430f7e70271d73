//! The cells of a run, in the order in which they are asked. No model is needed for that.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{PairConfig, Wordings};
use super::error::Result;
use super::order::orders;
use super::row::{Blocking, Factors, OrderGroup, Row};
use crate::battery::record::sha256_hex;
use crate::domain::tier::openings::Openings;
use crate::domain::tier::{ArmSet, ItemSet};
use crate::text::Tokenizer;

/// Everything that is asked, opened.
pub struct Stimuli {
    pub items: ItemSet,
    pub arms: ArmSet,
    pub openings: Openings,
}

impl Stimuli {
    /// # Errors
    /// A file that cannot be read, an arm or a wording that it does not have.
    pub fn open(config: &PairConfig) -> Result<Self> {
        let stimuli = Self {
            items: ItemSet::load(&config.items.file, config.items.rows)?,
            arms: ArmSet::load(&config.arms.file)?,
            openings: Openings::load(&config.readings.openings)?,
        };
        for arm in &config.arms.names {
            for wording in 0..stimuli.wordings(config) {
                stimuli.arms.frame(arm, wording)?;
            }
        }
        Ok(stimuli)
    }

    /// Wordings that are asked.
    pub fn wordings(&self, config: &PairConfig) -> usize {
        config.arms.first_wordings.unwrap_or(self.arms.wordings())
    }

    /// SHA-256 (hex) by file.
    pub fn hashes(&self) -> BTreeMap<String, String> {
        let of = [("items", &self.items.sha256), ("arms", &self.arms.sha256), ("openings", &self.openings.sha256)];
        of.map(|(name, hash)| (name.to_string(), hash.clone())).into()
    }
}

/// One planned request: a line of `plan.jsonl`. What a row repeats of it has the same names there.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Cell {
    pub cell_id: String,
    pub item_id: String,
    pub cluster_id: String,
    pub category: String,
    pub arm: String,
    pub paraphrase: usize,
    pub repeat: usize,
    #[serde(flatten)]
    pub factors: Factors,
    pub order_position: usize,
    pub order_group: OrderGroup,
    pub batch_id: usize,
    pub batch_row: usize,
    /// Place of the item in its file.
    #[serde(skip)]
    pub item: usize,
}

impl Cell {
    /// The plan's part of a row; the place in the file of items is not in it.
    pub fn of(row: &Row) -> Self {
        Self {
            cell_id: row.cell_id.clone(),
            item_id: row.item_id.clone(),
            cluster_id: row.cluster_id.clone(),
            category: row.category.clone(),
            arm: row.arm.clone(),
            paraphrase: row.paraphrase,
            repeat: row.repeat,
            factors: row.factors.clone(),
            order_position: row.order_position,
            order_group: row.order_group,
            batch_id: row.batch_id,
            batch_row: row.batch_row,
            item: 0,
        }
    }
}

/// Cells, and the hash of everything that decided them.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    pub key: String,
    pub cells: Vec<Cell>,
}

impl Plan {
    /// All cells of a configuration: precisions one after the other, since each loads the weights anew, within one the other factors.
    pub fn new(config: &PairConfig, stimuli: &Stimuli) -> Result<Self> {
        let key = sha256_hex(format!("{}\n{:?}", config.text()?, stimuli.hashes()).as_bytes());
        let mut plan = Self { key, cells: Vec::new() };
        let d = &config.design;
        for precision in &d.precisions {
            for &batch_size in &d.batch_sizes {
                for &protocol in &d.protocols {
                    for &blocking in &d.blocking {
                        let factors = Factors { protocol, blocking, batch_size, precision: precision.clone() };
                        plan.setting(config, stimuli, &factors);
                    }
                }
            }
        }
        Ok(plan)
    }

    /// Name of a run: that of its configuration, and what decided its cells.
    pub fn run_id(&self, config: &PairConfig) -> String {
        format!("{}-{}", config.name, self.key.get(..12).unwrap_or(&self.key))
    }

    /// Cells of one setting of the factors.
    fn setting(&mut self, config: &PairConfig, stimuli: &Stimuli, factors: &Factors) {
        let (items, arms) = (&stimuli.items.items, &config.arms.names);
        let ids: Vec<&str> = items.iter().map(|i| i.item_id.as_str()).collect();
        let orders = orders(factors.protocol, &ids, arms.len(), config.seed);
        let wordings = stimuli.wordings(config);
        // What is asked in every arm, one after the other or arm by arm.
        let mut blocks = Vec::new();
        for item in 0..items.len() {
            for repeat in 0..config.design.repeats {
                match config.arms.wordings {
                    Wordings::Rotate => blocks.push((item, (item + repeat) % wordings.max(1), repeat)),
                    Wordings::All => blocks.extend((0..wordings).map(|w| (item, w, repeat))),
                }
            }
        }
        let places: Vec<(usize, usize)> = match factors.blocking {
            Blocking::Interleaved => (0..blocks.len()).flat_map(|b| (0..arms.len()).map(move |p| (b, p))).collect(),
            Blocking::Blocked => (0..arms.len()).flat_map(|p| (0..blocks.len()).map(move |b| (b, p))).collect(),
        };
        let place_of = |order: &[usize], arm: &str| order.iter().position(|&a| arms[a] == arm);
        let first_batch = self.cells.last().map_or(0, |c| c.batch_id + 1);
        for (n, (block, position)) in places.into_iter().enumerate() {
            let (item, paraphrase, repeat) = blocks[block];
            let order = &orders[item];
            let (arm, of) = (&arms[order[position]], &items[item]);
            let reference_first =
                place_of(order, &config.analysis.reference) < place_of(order, &config.analysis.contrast);
            let identity = (&self.key, &of.item_id, arm, paraphrase, repeat, factors);
            let identity = serde_json::to_string(&identity).unwrap_or_default();
            self.cells.push(Cell {
                cell_id: sha256_hex(identity.as_bytes()).get(..20).unwrap_or_default().to_string(),
                item_id: of.item_id.clone(),
                cluster_id: of.cluster_id.clone(),
                category: of.category.clone(),
                arm: arm.clone(),
                paraphrase,
                repeat,
                factors: factors.clone(),
                order_position: position,
                order_group: if reference_first { OrderGroup::FP } else { OrderGroup::PF },
                batch_id: first_batch + n / factors.batch_size,
                batch_row: n % factors.batch_size,
                item,
            });
        }
    }

    /// Cells of one batch, one batch after the other.
    pub fn batches(&self) -> impl Iterator<Item = &[Cell]> {
        self.cells.chunk_by(|a, b| a.batch_id == b.batch_id)
    }
}

/// What a run reads and writes at most, in tokens.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Tokens {
    pub prompts: u64,
    /// If every completion went to the limit.
    pub completions: u64,
    /// Whether the model's own tokenizer counted; else four characters are taken for a token.
    pub counted: bool,
}

/// Tokens of a plan.
pub fn tokens(config: &PairConfig, stimuli: &Stimuli, plan: &Plan, tokenizer: Option<&Tokenizer>) -> Result<Tokens> {
    let mut known: BTreeMap<(usize, &str, usize), u64> = BTreeMap::new();
    let (mut prompts, mut reasons) = (0, false);
    for cell in &plan.cells {
        let key = (cell.item, cell.arm.as_str(), cell.paraphrase);
        if let Some(n) = known.get(&key) {
            prompts += n;
            continue;
        }
        let frame = stimuli.arms.frame(&cell.arm, cell.paraphrase)?;
        let messages = frame.messages(&stimuli.items.items[cell.item], config.arms.placement, &config.arms.suffix);
        let n = match tokenizer {
            Some(t) => {
                let text = t.render(&messages, true)?;
                reasons |= crate::domain::tier::think::opened_by(&text);
                t.encode(&text)?.len() as u64
            }
            None => messages.iter().map(|m| m.content.chars().count() as u64).sum::<u64>().div_ceil(4),
        };
        known.insert(key, n);
        prompts += n;
    }
    let limit = config.decoding.limit(reasons) as u64;
    Ok(Tokens { prompts, completions: limit * plan.cells.len() as u64, counted: tokenizer.is_some() })
}

/// Length of a frame beside the reference's in the same wording, in tokens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FrameLength {
    pub arm: String,
    pub wording: usize,
    pub tokens: usize,
    /// Minus the reference's.
    pub difference: i64,
}

/// Lengths of all written frames: what the `irrelevant` arm is to match is `analysis.reference`.
pub fn frame_lengths(config: &PairConfig, stimuli: &Stimuli, tokenizer: &Tokenizer) -> Result<Vec<FrameLength>> {
    let count = |arm: &str, wording| -> Result<Option<usize>> {
        match stimuli.arms.frame(arm, wording)? {
            crate::domain::tier::Frame::Text(w) => Ok(Some(tokenizer.encode(&w.text)?.len())),
            _ => Ok(None),
        }
    };
    let mut out = Vec::new();
    for arm in &config.arms.names {
        for wording in 0..stimuli.wordings(config) {
            if let (Some(tokens), Some(reference)) = (count(arm, wording)?, count(&config.analysis.reference, wording)?)
            {
                out.push(FrameLength {
                    arm: arm.clone(),
                    wording,
                    tokens,
                    difference: tokens as i64 - reference as i64,
                });
            }
        }
    }
    Ok(out)
}
