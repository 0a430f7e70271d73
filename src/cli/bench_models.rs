//! Rows of whole models: prefill, decoding, training and GRPO steps, each with the memory that it needed.

use std::error::Error;

use super::bench::{Args, Row, Sheet, time};
use crate::battery::arms::state;
use crate::generate::{Completion, GenerateConfig, Request, generate};
use crate::model::batch::Batch;
use crate::model::config::ModelConfig;
use crate::model::hooks::HookSet;
use crate::model::params::Params;
use crate::model::qwen2::{Qwen2, Recompute};
use crate::ops::selftest::random;
use crate::ops::{Dtype, OpError, Ops, QuantMatrix, Sampling, Spent};
use crate::train::accumulate::{Example, MicroBatch};
use crate::train::error::TrainError;
use crate::train::grpo::{Environment, Grpo, GrpoConfig, Reward};
use crate::train::loss::{LossType, ScaleRewards};
use crate::train::optim::{OptimConfig, Precision};
use crate::train::run::Objective;
use crate::train::sft::{ExampleSource, Sft, Weighting};

const SHARE: &str = "% of its time";

/// One model serves all rows.
pub(super) fn rows<O: Ops>(
    o: &O,
    sheet: &mut Sheet,
    name: &str,
    config: &ModelConfig,
    a: &Args,
) -> Result<(), Box<dyn Error>> {
    let wants = |w: &str| a.what.iter().any(|x| x == w);
    if !["train", "grpo", "prefill", "decode", "profile"].into_iter().any(wants) {
        return Ok(());
    }
    let storage = a.precision.storage();
    let kind = if a.precision == Precision::F32 { String::new() } else { format!(" {}", storage.name()) };
    let mut index = 0;
    let params = Params::build(config, |s| {
        index += 1;
        if s.name.ends_with("norm.weight") {
            return o.upload(s.rows, s.cols, &vec![1.0; s.len()]);
        }
        // Uniform with the deviation of fresh weights: quick to make, and as fast to compute with.
        let values = random(index, s.len()).into_iter().map(|x| 0.035 * x);
        match storage.dtype(&s, false) {
            Dtype::Bf16 => {
                let bits: Vec<u16> = values.map(|x| (x.to_bits() >> 16) as u16).collect();
                o.upload_bf16(s.rows, s.cols, &bits)
            }
            Dtype::F32 => o.upload(s.rows, s.cols, &values.collect::<Vec<f32>>()),
            Dtype::Quant(q) => o.upload_quant(&QuantMatrix::new(q, s.rows, s.cols, &values.collect::<Vec<f32>>())?),
        }
    })?;
    let mut model = Qwen2::new(o, config.clone(), params, 256)?;
    let mut put = |what: &str, shape: String, seconds: [f64; 3], work: f64, unit| {
        sheet.put(Row {
            device: String::new(),
            what: what.into(),
            shape: format!("{name}{kind} {shape}"),
            seconds,
            rate: if unit == SHARE { work } else { work / seconds[0] },
            unit,
            gb_per_s: None,
            of_ceiling: None,
            peak_bytes: o.memory().map(|m| m.peak).or_else(resident::peak),
        });
    };
    let fresh = || {
        o.new_peak();
        resident::new_peak();
    };
    if wants("prefill") {
        let hooks = HookSet::default();
        for n in [32, 128, 256] {
            let batch = Batch::new(o, &[tokens(config, n, 3)])?;
            for (what, all) in [("prefill, all logits", true), ("prefill, last logits", false)] {
                fresh();
                let last = if all { None } else { Some(o.upload_index(&[n as u32 - 1])?) };
                let t = time(a.repeat, || {
                    let x = model.forward(o, &batch, &hooks)?;
                    model.logits(o, &x, last.as_ref(), &hooks)?;
                    Ok(o.sync()?)
                })?;
                put(what, format!("1x{n}"), t, n as f64, "tok/s");
            }
        }
    }
    if wants("decode") {
        for &b in &a.batch {
            fresh();
            let t = time(a.repeat.min(3), || decode(o, &model, b, 64, a.top_p).map(drop))?;
            put("decode", format!("B={b} 32+64"), t, (b * 64) as f64, "tok/s");
        }
    }
    if wants("profile") {
        model = profiles(o, model, &mut put)?;
    }
    if wants("train") {
        for b in [2, 4, 8] {
            fresh();
            let (t, back) = train_step(o, model, b, a)?;
            model = back;
            put("training step", format!("{b}x128"), t, (128 * b) as f64, "tok/s");
        }
    }
    if wants("grpo") {
        for &[prompts, group, length] in &a.grpo {
            fresh();
            let (t, back) = grpo_step(o, model, [prompts, group, length], a)?;
            model = back;
            let shape = format!("{prompts}x{group}x{length}");
            put("GRPO step", shape, t, (prompts * group * length) as f64, "completion tok/s");
        }
    }
    Ok(())
}

/// A GPU's own time by kernel: 16 decoding steps of 8 sequences, and a training step of 2x128.
fn profiles<O: Ops>(
    o: &O,
    model: Qwen2<O>,
    put: &mut impl FnMut(&str, String, [f64; 3], f64, &'static str),
) -> Result<Qwen2<O>, Box<dyn Error>> {
    let mut show = |what: &str, spent: Option<Vec<Spent>>| -> Result<(), Box<dyn Error>> {
        let Some(spent) = spent else {
            return Err(super::Usage(format!("--what profile: {} has no timestamps", o.device_name())).into());
        };
        let all: f64 = spent.iter().map(|s| s.seconds).sum();
        for s in spent {
            let share = 100.0 * s.seconds / all;
            put(&format!("{what}, {}", s.kernel), format!("{} calls", s.calls), [s.seconds; 3], share, SHARE);
        }
        Ok(())
    };
    decode(o, &model, 8, 16, None)?;
    let spent = o.profile(&mut || decode(o, &model, 8, 16, None).map(drop).map_err(unexpected))?;
    show("decode B=8", spent)?;
    let examples = (0..2).map(|i| whole(tokens(&model.config, 129, i))).collect();
    let source = Fixed(examples);
    let mut objective = supervised(&source);
    let mut state = state(o, model, OptimConfig::default())?;
    objective.step(o, &mut state, 0, 100)?;
    let spent = o.profile(&mut || objective.step(o, &mut state, 0, 100).map(drop).map_err(|e| unexpected(e.into())))?;
    show("training 2x128", spent)?;
    Ok(state.model)
}

/// Below the door only its own errors pass.
fn unexpected(e: Box<dyn Error>) -> OpError {
    match e.downcast() {
        Ok(e) => *e,
        Err(e) => OpError::Unsupported(e.to_string()),
    }
}

fn whole(tokens: Vec<u32>) -> Example {
    Example { targets: (1..tokens.len()).collect(), tokens }
}

fn supervised(source: &Fixed) -> Sft<'_, Fixed> {
    Sft { source, micro: MicroBatch { max_tokens: 4096, recompute: Recompute::None }, weighting: Weighting::Token }
}

fn tokens(c: &ModelConfig, n: usize, seed: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % c.vocab_size) as u32).collect()
}

fn decode<O: Ops>(
    o: &O,
    m: &Qwen2<O>,
    b: usize,
    n: usize,
    top_p: Option<f32>,
) -> Result<Vec<Vec<Completion>>, Box<dyn Error>> {
    let requests: Vec<Request> =
        (0..b).map(|i| Request { prompt: tokens(&m.config, 32, i), sequences: vec![i as u32] }).collect();
    let c = GenerateConfig {
        sampling: match top_p {
            Some(top_p) => Sampling { temperature: 0.7, top_k: 0, top_p },
            None => Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 },
        },
        repetition_penalty: 1.0,
        max_new_tokens: n,
        stop_ids: Vec::new(),
        seed: 0,
        max_batch: b,
    };
    Ok(generate(o, m, &requests, &c, &HookSet::default())?)
}

struct Fixed(Vec<Example>);
impl ExampleSource for Fixed {
    fn batch(&self, _: u64) -> Result<Vec<Example>, TrainError> {
        Ok(self.0.clone())
    }
}

/// Forward, backward and AdamW on `b` sequences of 128 tokens; gives the model back.
fn train_step<O: Ops>(o: &O, model: Qwen2<O>, b: usize, a: &Args) -> Result<([f64; 3], Qwen2<O>), Box<dyn Error>> {
    let source = Fixed((0..b).map(|i| whole(tokens(&model.config, 129, i))).collect());
    let mut objective = supervised(&source);
    let mut state = state(o, model, OptimConfig::default())?;
    let t = time(a.repeat, || {
        objective.step(o, &mut state, 0, 100)?;
        Ok(o.sync()?)
    })?;
    Ok((t, state.model))
}

struct Digits(Vec<Vec<u32>>);
impl Environment for Digits {
    fn len(&self) -> usize {
        self.0.len()
    }
    fn prompt(&self, index: usize) -> &[u32] {
        &self.0[index]
    }
    fn stop_ids(&self) -> &[u32] {
        // Exactly 64 tokens, as the peer's run forces.
        &[]
    }
    fn reward_names(&self) -> Vec<String> {
        vec!["digits".into()]
    }
    fn rewards(&self, _: usize, group: &[Completion]) -> Result<Vec<Reward>, TrainError> {
        let digits = |c: &Completion| c.tokens.iter().filter(|&&t| t % 10 == 0).count() as f64;
        Ok(group.iter().map(|c| Reward { total: digits(c), parts: vec![digits(c)] }).collect())
    }
    fn describe(&self, index: usize, _: &Completion) -> Result<(String, String), TrainError> {
        Ok((index.to_string(), String::new()))
    }
}

/// Prompts of 33 tokens, completions of exactly so many tokens, no anchor; gives the model back.
fn grpo_step<O: Ops>(
    o: &O,
    model: Qwen2<O>,
    [prompts, group, length]: [usize; 3],
    a: &Args,
) -> Result<([f64; 3], Qwen2<O>), Box<dyn Error>> {
    let env = Digits((0..prompts).map(|i| tokens(&model.config, 33, i)).collect());
    let config = GrpoConfig {
        prompts_per_step: prompts,
        num_generations: group,
        loss_type: LossType::Dapo,
        scale_rewards: ScaleRewards::Group,
        max_completion_length: length,
        top_p: a.top_p.map_or(1.0, f64::from),
        ..GrpoConfig::default()
    };
    let mut objective = Grpo { config, env: &env, anchor: None };
    let mut state = state(o, model, OptimConfig::default())?;
    let mut step = 0;
    let t = time(a.repeat.min(5), || {
        step += 1;
        objective.step(o, &mut state, step, 1000)?;
        Ok(o.sync()?)
    })?;
    Ok((t, state.model))
}

/// Memory of this process, where the system says.
mod resident {
    /// Largest resident size since [`new_peak`], in bytes.
    pub fn peak() -> Option<u64> {
        let text = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = text.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib << 10)
    }

    pub fn new_peak() {
        // Where this is refused the peak is that of all rows so far.
        let _ = std::fs::write("/proc/self/clear_refs", "5");
    }
}
