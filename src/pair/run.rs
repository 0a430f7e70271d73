//! The run: every cell of the plan is asked, batch by batch, and becomes a row.
//!
//! Who answers is behind [`Respondent`]: a model on a device (`engine.rs`), or in tests a script. A request has no state but its own
//! tokens and its own random stream, so that neither order nor blocking nor batch can change an answer; that this is so is shown in every
//! run by the A/A arm and by cells that are asked again in another batch.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use super::config::{Leak, PairConfig};
use super::error::{PairError, Result};
use super::folder::{Folder, Manifest, Prompt, Replay};
use super::judge;
use super::pilot;
use super::plan::{Cell, FrameLength, Plan, Stimuli};
use super::row::{Factors, Judged, Row, StopReason};
use crate::battery::record::sha256_hex;
use crate::battery::run::Reporter;
use crate::domain::split::unit_hash;
use crate::domain::tier::arms::{FREE_AGAIN, original};
use crate::domain::tier::think::Parts;
use crate::domain::tier::{Frame, TierItem};

/// One request.
pub struct Asked<'a> {
    pub item: &'a TierItem,
    pub frame: Frame<'a>,
    /// Identity of its random draws.
    pub stream: u32,
    /// Tokens that stand before its own: none, but under a leak.
    pub before: &'a [u32],
}

/// What came of it.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The rendered prompt, and the ids that were fed.
    pub prompt: String,
    pub input: Vec<u32>,
    /// Generated ids, the end token included.
    pub output: Vec<u32>,
    pub stop_reason: StopReason,
    pub parts: Parts,
    /// Refusal gap and panel gap at the first answer position.
    pub gaps: Option<(f64, f64)>,
    /// Log-odds of yes against no in the manipulation check.
    pub frame_log_odds: Option<f64>,
}

/// What is asked of a respondent beside the answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    Answers,
    AnswersAndReadings,
}

/// Who answers, as rows and manifest name it.
#[derive(Clone, Debug, PartialEq)]
pub struct Facts {
    pub device: String,
    pub kernel_set: String,
    pub engine_build: String,
    pub model_revision: String,
    /// SHA-256 (hex) of `model`, `tokenizer`, `template`.
    pub hashes: BTreeMap<String, String>,
    pub max_tokens: usize,
    pub reasons: bool,
    pub no_frame: BTreeMap<String, String>,
    pub frame_lengths: Vec<FrameLength>,
    pub notes: Vec<String>,
}

/// Who answers.
pub trait Respondent {
    fn facts(&self) -> Result<Facts>;

    /// Answers one batch with the weights in this precision.
    fn answer(&mut self, precision: &str, batch: &[Asked<'_>], wanted: Wanted) -> Result<Vec<Reply>>;
}

/// How a run is made, beside its configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Keep texts; else only labels, hashes and log-probabilities.
    pub text: bool,
}

/// What [`run`] did.
#[derive(Clone, Debug, PartialEq)]
pub struct Ran {
    pub manifest: Manifest,
    pub cells: usize,
    /// Rows that were there before.
    pub found: usize,
}

/// Cells of each precision that are asked again.
const REPLAYED: usize = 24;

/// Hash of token ids, little-endian.
pub fn ids_sha256(ids: &[u32]) -> String {
    sha256_hex(&ids.iter().flat_map(|i| i.to_le_bytes()).collect::<Vec<u8>>())
}

/// Identity of a cell's random stream: of run seed, item, arm, wording and repeat. `free_again` has that of `free`, so that it is the
/// same request to the last draw; order, blocking, batch and precision are no part of it.
pub fn stream(seed: u64, cell: &Cell) -> u32 {
    let key = format!("{}\0{}\0{}\0{}", cell.item_id, original(&cell.arm), cell.paraphrase, cell.repeat);
    (unit_hash(seed, "pair stream", &key) * f64::from(u32::MAX)) as u32
}

/// Runs what is missing of a configuration's plan into `dir`.
///
/// # Errors
/// Another run in the folder, a file that cannot be written, what the respondent says, [`PairError::Interrupted`].
pub fn run(
    config: &PairConfig,
    stimuli: &Stimuli,
    respondent: &mut dyn Respondent,
    options: Options,
    dir: &Path,
    reporter: &mut dyn Reporter,
) -> Result<Ran> {
    pilot::of(config)?;
    let plan = Plan::new(config, stimuli)?;
    let facts = respondent.facts()?;
    let manifest = manifest(config, stimuli, &plan, &facts, options)?;
    for note in &manifest.notes {
        reporter.say(note);
    }
    let mut folder = Folder::open(dir, manifest, &plan.cells)?;
    let found = folder.done.len();
    let mut asking =
        Asking { config, stimuli, respondent, facts: &facts, setting: None, kept: BTreeMap::new(), served: 0 };
    let mut done = 0;
    for batch in plan.batches() {
        asking.enter(batch);
        let there = found.saturating_sub(done).min(batch.len());
        // What a leak hands on has to be made again.
        if there == batch.len() && config.leak != Some(Leak::KeptPrefix) {
            asking.served += batch.len();
            done += batch.len();
            continue;
        }
        if reporter.stop() {
            folder.sync()?;
            return Err(PairError::Interrupted(format!("{} after {done} of {} cells", config.name, plan.cells.len())));
        }
        let (rows, prompts) = asking.batch(batch, &folder.manifest.run_id)?;
        let mut rows: Vec<Row> = rows.into_iter().skip(there).collect();
        let labels: Vec<Judged> = rows.iter().filter_map(judge::lexical).collect();
        if !options.text {
            rows.iter_mut().for_each(|r| (r.answer, r.reasoning) = (None, None));
        }
        folder.append(&rows, prompts, &labels)?;
        done += batch.len();
        reporter.progress(&config.name, done, plan.cells.len());
    }
    folder.sync()?;
    if folder.manifest.replay.is_none() {
        let rows = super::folder::rows(dir)?;
        folder.manifest.replay = Some(asking.replay(&plan, &rows)?);
        folder.manifest.write(dir)?;
    }
    Ok(Ran { manifest: folder.manifest, cells: plan.cells.len(), found })
}

fn manifest(config: &PairConfig, stimuli: &Stimuli, plan: &Plan, facts: &Facts, options: Options) -> Result<Manifest> {
    let mut hashes = facts.hashes.clone();
    hashes.extend(stimuli.hashes());
    hashes.insert("config".into(), sha256_hex(config.text()?.as_bytes()));
    let analysis = serde_json::to_string(&config.analysis).map_err(|e| PairError::Refused(e.to_string()))?;
    hashes.insert("analysis".into(), sha256_hex(analysis.as_bytes()));
    if let Some(path) = &config.analysis_plan {
        hashes.insert("analysis_plan".into(), sha256_hex(&std::fs::read(path).map_err(PairError::io(path))?));
    }
    let environment = [("os", std::env::consts::OS), ("arch", std::env::consts::ARCH)];
    let leaked = config.leak.map(|l| {
        format!("LEAK {}: this run breaks the evaluation on purpose; its numbers say nothing of the model", l.name())
    });
    Ok(Manifest {
        program: "probity".into(),
        version: env!("CARGO_PKG_VERSION").into(),
        run_id: plan.run_id(config),
        key: plan.key.clone(),
        model: config.model.clone(),
        model_revision: facts.model_revision.clone(),
        device: facts.device.clone(),
        engine_build: facts.engine_build.clone(),
        kernel_set: facts.kernel_set.clone(),
        hashes,
        cells: plan.cells.len(),
        aa: config.arms.names.iter().any(|a| a == FREE_AGAIN),
        leak: config.leak,
        text_kept: options.text,
        confirmatory: config.confirmatory,
        max_tokens: facts.max_tokens,
        reasons: facts.reasons,
        no_frame: facts.no_frame.clone(),
        frame_lengths: facts.frame_lengths.clone(),
        config: config.clone(),
        environment: environment.map(|(k, v)| (k.to_string(), v.to_string())).into(),
        notes: leaked.into_iter().chain(config.notes.iter().cloned()).chain(facts.notes.iter().cloned()).collect(),
        started_unix: SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs(),
        replay: None,
    })
}

/// A run at work.
struct Asking<'a> {
    config: &'a PairConfig,
    stimuli: &'a Stimuli,
    respondent: &'a mut dyn Respondent,
    facts: &'a Facts,
    /// The setting of the factors that is asked under, and requests under it so far.
    setting: Option<Factors>,
    served: usize,
    /// Under a leak, by item what its last request left.
    kept: BTreeMap<usize, Vec<u32>>,
}

/// A cell as a request.
fn asked<'c>(stimuli: &'c Stimuli, cell: &Cell, stream: u32, before: &'c [u32]) -> Result<Asked<'c>> {
    let frame = stimuli.arms.frame(&cell.arm, cell.paraphrase)?;
    Ok(Asked { item: &stimuli.items.items[cell.item], frame, stream, before })
}

impl Asking<'_> {
    /// Another setting of the factors is another session, in a leaking harness as well.
    fn enter(&mut self, batch: &[Cell]) {
        let factors = batch.first().map(|c| &c.factors);
        if self.setting.as_ref() != factors {
            self.setting = factors.cloned();
            self.served = 0;
            self.kept.clear();
        }
    }

    /// Rows of a batch, in their order, and the inputs behind them.
    fn batch(&mut self, batch: &[Cell], run_id: &str) -> Result<(Vec<Row>, Vec<Prompt>)> {
        let (clock, stimuli, leak) = (Instant::now(), self.stimuli, self.config.leak);
        let Some(first) = batch.first() else { return Ok((Vec::new(), Vec::new())) };
        let mut streams = Vec::with_capacity(batch.len());
        for cell in batch {
            let own = stream(self.config.seed, cell);
            streams.push(if leak == Some(Leak::SharedStream) { self.served as u32 } else { own });
            self.served += 1;
        }
        let befores: Vec<Vec<u32>> =
            batch.iter().map(|c| self.kept.get(&c.item).cloned().unwrap_or_default()).collect();
        let requests = (batch.iter().zip(&streams).zip(&befores))
            .map(|((cell, stream), before)| asked(stimuli, cell, *stream, before))
            .collect::<Result<Vec<_>>>()?;
        let replies = self.respondent.answer(&first.factors.precision, &requests, Wanted::AnswersAndReadings)?;
        let wall_ms = clock.elapsed().as_secs_f64() * 1e3 / batch.len() as f64;
        let (mut rows, mut prompts) = (Vec::with_capacity(batch.len()), Vec::with_capacity(batch.len()));
        for (((cell, reply), stream), before) in batch.iter().zip(replies).zip(streams).zip(&befores) {
            if leak == Some(Leak::KeptPrefix) {
                let own = reply.input.get(before.len()..).unwrap_or_default();
                self.kept.insert(cell.item, [own, &reply.output].concat());
            }
            let input_sha256 = ids_sha256(&reply.input);
            prompts.push(Prompt { input_sha256: input_sha256.clone(), text: reply.prompt.clone() });
            rows.push(self.row(cell, reply, input_sha256, stream, run_id, wall_ms)?);
        }
        Ok((rows, prompts))
    }

    fn row(
        &self,
        cell: &Cell,
        reply: Reply,
        input_sha256: String,
        stream: u32,
        run_id: &str,
        wall_ms: f64,
    ) -> Result<Row> {
        let trains = self.stimuli.arms.frame(&cell.arm, cell.paraphrase)?.trains();
        let hash = |name: &str| self.facts.hashes.get(name).cloned().unwrap_or_default();
        Ok(Row {
            run_id: run_id.into(),
            cell_id: cell.cell_id.clone(),
            item_id: cell.item_id.clone(),
            cluster_id: cell.cluster_id.clone(),
            category: cell.category.clone(),
            arm: cell.arm.clone(),
            paraphrase: cell.paraphrase,
            repeat: cell.repeat,
            factors: cell.factors.clone(),
            order_position: cell.order_position,
            order_group: cell.order_group,
            batch_id: cell.batch_id,
            batch_row: cell.batch_row,
            input_sha256,
            input_len: reply.input.len(),
            output_ids_sha256: ids_sha256(&reply.output),
            output_len: reply.output.len(),
            stop_reason: reply.stop_reason,
            reasoning: reply.parts.reasoning,
            answered: reply.parts.answered,
            answer: Some(reply.parts.answer),
            refusal_logit_gap: reply.gaps.map(|g| g.0).filter(|g| g.is_finite()),
            panel_gap: reply.gaps.map(|g| g.1).filter(|g| g.is_finite()),
            frame_log_odds: reply.frame_log_odds,
            knows_frame: trains.zip(reply.frame_log_odds).map(|(says, odds)| (odds > 0.0) == says),
            seed: u64::from(stream),
            engine_build: self.facts.engine_build.clone(),
            device: self.facts.device.clone(),
            kernel_set: self.facts.kernel_set.clone(),
            model_revision: self.facts.model_revision.clone(),
            tokenizer_sha256: hash("tokenizer"),
            template_sha256: hash("template"),
            wall_ms,
        })
    }

    /// Asks a sample of every precision's cells once more, in another order and in batches of a size that the design does not have,
    /// and compares token ids.
    fn replay(&mut self, plan: &Plan, rows: &[Row]) -> Result<Replay> {
        let sizes = &self.config.design.batch_sizes;
        let batch_size = (5..).find(|n| !sizes.contains(n)).unwrap_or(5);
        let mut out = Replay { cells: 0, batch_size, mismatches: 0, different: Vec::new() };
        for precision in &self.config.design.precisions {
            let of = plan.cells.iter().zip(rows).filter(|(c, _)| c.factors.precision == *precision);
            let mut sample: Vec<(f64, &Cell, &Row)> =
                of.map(|(c, r)| (unit_hash(self.config.seed, "pair replay", &c.cell_id), c, r)).collect();
            sample.sort_by(|a, b| a.0.total_cmp(&b.0));
            sample.truncate(REPLAYED);
            for batch in sample.chunks(batch_size) {
                let asked = (batch.iter())
                    .map(|(_, cell, _)| asked(self.stimuli, cell, stream(self.config.seed, cell), &[]))
                    .collect::<Result<Vec<_>>>()?;
                let replies = self.respondent.answer(precision, &asked, Wanted::Answers)?;
                for ((_, cell, row), reply) in batch.iter().zip(replies) {
                    out.cells += 1;
                    if ids_sha256(&reply.output) != row.output_ids_sha256
                        || ids_sha256(&reply.input) != row.input_sha256
                    {
                        out.mismatches += 1;
                        out.different.push(cell.cell_id.clone());
                    }
                }
            }
        }
        Ok(out)
    }
}
