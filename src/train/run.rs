//! The loop around an objective: logs, checkpoints, resume, and the guards that end a run early.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use serde::{Deserialize, Serialize};

use super::checkpoint;
use super::error::{Result, TrainError};
use super::log::{JsonlLog, TensorBoard};
use super::optim::Optimizer;
use crate::model::lora::Trained;
use crate::model::qwen2::Qwen2;
use crate::ops::Ops;

/// Named numbers of one step, in the order they were set.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Metrics(pub Vec<(String, f64)>);

impl Metrics {
    pub fn set(&mut self, name: &str, value: f64) {
        match self.0.iter_mut().find(|(n, _)| n == name) {
            Some((_, v)) => *v = value,
            None => self.0.push((name.to_string(), value)),
        }
    }
    pub fn get(&self, name: &str) -> Option<f64> {
        self.0.iter().find(|(n, _)| n == name).map(|(_, v)| *v)
    }
}

/// Everything that a step changes.
pub struct State<O: Ops> {
    pub model: Qwen2<O>,
    pub optimizer: Optimizer<O::T>,
    pub grads: Trained<O::T>,
}

/// What a step reports.
pub struct StepRecord {
    pub metrics: Metrics,
    /// Tokens processed, prompts included.
    pub tokens: u64,
    /// One JSON object per completion, for `completions.jsonl`.
    pub rows: Vec<serde_json::Value>,
}

/// One kind of training. A step may depend only on the state and the step number: then a resumed run is the same run.
pub trait Objective<O: Ops> {
    fn step(&mut self, o: &O, state: &mut State<O>, step: u64, total: u64) -> Result<StepRecord>;
}

/// The loop's settings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RunConfig {
    pub max_steps: u64,
    pub logging_steps: u64,
    /// 0 = only at the end.
    pub save_steps: u64,
    /// Older checkpoints are removed; 0 = keep all.
    pub save_total_limit: usize,
    /// End the run when `frac_reward_zero_std` exceeds this at two consecutive logs; 1 = never.
    pub zero_std_limit: f64,
}

impl Default for RunConfig {
    fn default() -> Self {
        Self { max_steps: 100, logging_steps: 1, save_steps: 0, save_total_limit: 1, zero_std_limit: 1.0 }
    }
}

/// Why the loop ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Ended {
    /// `max_steps` reached.
    Complete { step: u64 },
    /// Groups stopped differing and the reward is at its ceiling.
    Converged { step: u64, reward: f64 },
    /// Groups stopped differing while the reward is not at its ceiling: nothing left to learn from.
    DeadGradient { step: u64, reward: f64, frac_reward_zero_std: f64 },
}

/// A wish to stop at the next good moment, shared by the one who asks (Ctrl-C) and those who work.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<AtomicBool>);

impl Interrupt {
    pub fn ask(&self) {
        self.0.store(true, Ordering::Release);
    }
    pub fn asked(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
    /// For a signal handler.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }
}

/// Receives progress; the command line draws it.
pub trait Observer {
    fn step(&mut self, step: u64, total: u64, metrics: &Metrics);
    fn note(&mut self, text: &str);
    /// Asked between steps: the run saves a checkpoint and ends with [`TrainError::Interrupted`].
    fn stop(&self) -> bool {
        false
    }
}

/// Ignores progress.
pub struct Quiet;
impl Observer for Quiet {
    fn step(&mut self, _: u64, _: u64, _: &Metrics) {}
    fn note(&mut self, _: &str) {}
}

/// Trains until `max_steps`, writing `metrics.jsonl`, `completions.jsonl`, TensorBoard events and checkpoints under `dir`, and
/// going on from the newest checkpoint found there. `max_reward` tells convergence from a dead gradient.
pub fn run<O: Ops>(
    o: &O,
    state: &mut State<O>,
    objective: &mut impl Objective<O>,
    c: &RunConfig,
    dir: &Path,
    max_reward: Option<f64>,
    observer: &mut dyn Observer,
) -> Result<Ended> {
    std::fs::create_dir_all(dir).map_err(TrainError::io(dir))?;
    checkpoint::clean(dir)?;
    let (mut start, mut num_tokens, mut flat_logs) = (0, 0, 0);
    if let Some(found) = checkpoint::newest(dir)? {
        let resumed = checkpoint::load(o, state, &found)?;
        (start, num_tokens, flat_logs) = (resumed.global_step, resumed.num_tokens, resumed.flat_logs);
        observer.note(&format!("resuming at step {start} from {}", found.display()));
        // A run that was complete goes on when it is asked for more steps.
        if let Some(ended) =
            resumed.ended.clone().filter(|_| resumed.global_step >= c.max_steps || resumed.stopped_early())
        {
            return Ok(ended);
        }
    }
    let mut logs = Logs::open(dir, start)?;
    let at = |global_step, state: &State<O>, ended, num_tokens, flat_logs| checkpoint::TrainerState {
        global_step,
        optimizer_step: state.optimizer.step,
        max_steps: c.max_steps,
        num_tokens,
        flat_logs,
        ended,
    };
    let mut saved = start;
    for step in start..c.max_steps {
        if observer.stop() {
            if saved < step {
                logs.sync()?;
                checkpoint::save(o, state, &at(step, state, None, num_tokens, flat_logs), dir, c.save_total_limit)?;
            }
            return Err(TrainError::Interrupted { step, total: c.max_steps, dir: dir.to_path_buf() });
        }
        let clock = Instant::now();
        let mut record = objective.step(o, state, step, c.max_steps)?;
        let seconds = clock.elapsed().as_secs_f64();
        num_tokens += record.tokens;
        let m = &mut record.metrics;
        m.set("num_tokens", num_tokens as f64);
        m.set("step_time", seconds);
        m.set("tokens_per_second", record.tokens as f64 / seconds.max(1e-9));
        for row in &record.rows {
            logs.rows.write(row)?;
        }
        let done = step + 1;
        let last = done == c.max_steps;
        let mut ended = last.then_some(Ended::Complete { step: done });
        if last || done % c.logging_steps.max(1) == 0 {
            logs.metrics.write(&as_row(done, m))?;
            logs.metrics.flush()?;
            logs.board.scalars(done, "train/", m)?;
            let zero = m.get("frac_reward_zero_std").unwrap_or(0.0);
            flat_logs = if zero > c.zero_std_limit { flat_logs + 1 } else { 0 };
            if flat_logs >= 2 {
                let reward = m.get("reward").unwrap_or(0.0);
                ended = Some(match max_reward {
                    Some(max) if reward >= 0.95 * max => Ended::Converged { step: done, reward },
                    _ => Ended::DeadGradient { step: done, reward, frac_reward_zero_std: zero },
                });
            }
        }
        observer.step(done, c.max_steps, m);
        if ended.is_some() || (c.save_steps > 0 && done % c.save_steps == 0) {
            logs.sync()?;
            let meta = at(done, state, ended.clone(), num_tokens, flat_logs);
            checkpoint::save(o, state, &meta, dir, c.save_total_limit)?;
            saved = done;
        }
        if let Some(ended) = ended {
            return Ok(ended);
        }
    }
    Ok(Ended::Complete { step: start })
}

/// What grows beside the checkpoints.
struct Logs {
    metrics: JsonlLog,
    rows: JsonlLog,
    board: TensorBoard,
}

impl Logs {
    /// Cut back to what was there at step `start`.
    fn open(dir: &Path, start: u64) -> Result<Self> {
        Ok(Self {
            metrics: JsonlLog::open(&dir.join("metrics.jsonl"), start)?,
            rows: JsonlLog::open(&dir.join("completions.jsonl"), start)?,
            board: TensorBoard::open(dir, start)?,
        })
    }

    /// Before a checkpoint, which must not outlive the rows before it.
    fn sync(&mut self) -> Result<()> {
        self.metrics.sync()?;
        self.rows.sync()?;
        self.board.sync()
    }
}

fn as_row(step: u64, m: &Metrics) -> serde_json::Value {
    let mut row = serde_json::Map::new();
    row.insert("step".into(), step.into());
    for (k, v) in &m.0 {
        row.insert(k.clone(), (*v).into());
    }
    serde_json::Value::Object(row)
}

/// Where a run keeps its checkpoint of `step`.
pub fn checkpoint_dir(dir: &Path, step: u64) -> PathBuf {
    dir.join(format!("checkpoint-{step}"))
}
