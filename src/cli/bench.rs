//! `probity bench`: kernels, a training step, a GRPO step, prefill and decoding, on one device.

use std::error::Error;
use std::path::Path;
use std::time::Instant;

use serde::Serialize;

use super::backend::{DeviceArgs, Job};
use super::bench_kernels;
use crate::generate::{Completion, GenerateConfig, Request, generate};
use crate::model::batch::Batch;
use crate::model::config::{ModelConfig, Sizes};
use crate::model::hooks::HookSet;
use crate::model::init;
use crate::model::qwen2::{Qwen2, Recompute};
use crate::ops::{Ops, Sampling};
use crate::train::accumulate::{Example, MicroBatch};
use crate::train::error::TrainError;
use crate::train::grpo::{Environment, Grpo, GrpoConfig, Reward};
use crate::train::loss::{LossType, ScaleRewards};
use crate::train::optim::{OptimConfig, Optimizer};
use crate::train::run::{Objective, State};
use crate::train::sft::{ExampleSource, Sft, Weighting};

/// Options of `probity bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    /// What to measure: matmul, train, grpo, prefill, decode; kernels = every operation alone
    #[arg(long, value_delimiter = ',', default_value = "matmul,train,grpo,prefill,decode")]
    what: Vec<String>,
    /// Model shapes: tiny, small, q05b
    #[arg(long, value_delimiter = ',', default_value = "tiny")]
    shapes: Vec<String>,
    /// Timed repetitions; the median, smallest and largest are printed
    #[arg(long, default_value_t = 7)]
    repeat: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

/// One measured figure.
#[derive(Serialize)]
pub(super) struct Row {
    pub device: String,
    pub what: String,
    pub shape: String,
    /// Seconds: median, smallest, largest.
    pub seconds: [f64; 3],
    /// In `unit` at the median.
    pub rate: f64,
    pub unit: &'static str,
    /// Of single operations: memory traffic at the median, every operand counted once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gb_per_s: Option<f64>,
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    for what in &args.what {
        if !["matmul", "train", "grpo", "prefill", "decode", "kernels"].contains(&what.as_str()) {
            let text = format!("--what {what}: expected matmul, train, grpo, prefill, decode or kernels");
            return Err(super::Usage(text).into());
        }
    }
    let device = args.device.clone();
    let json = args.json;
    let rows = device.run(Bench(args))?;
    if json {
        println!("{}", serde_json::to_string_pretty(&rows)?);
    } else {
        println!("{:<28} {:<22} {:>10} {:>10} {:>10}  rate", "what", "shape", "median ms", "min", "max");
        for r in &rows {
            let ms = r.seconds.map(|s| s * 1e3);
            let traffic = r.gb_per_s.map_or(String::new(), |gb| format!(", {gb:.1} GB/s"));
            println!(
                "{:<28} {:<22} {:>10.3} {:>10.3} {:>10.3}  {:.1} {}{traffic}",
                r.what, r.shape, ms[0], ms[1], ms[2], r.rate, r.unit
            );
        }
    }
    Ok(0)
}

/// The shapes that the published comparisons use.
fn shape(name: &str) -> Result<ModelConfig, Box<dyn Error>> {
    match Sizes::named(name) {
        Some(sizes) => Ok(sizes.config(Path::new(name))?),
        None => Err(super::Usage(format!("--shapes {name}: expected tiny, small or q05b")).into()),
    }
}

struct Bench(Args);

pub(super) fn time(
    repeat: usize,
    mut f: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<[f64; 3], Box<dyn Error>> {
    f()?;
    let mut t = Vec::with_capacity(repeat);
    for _ in 0..repeat.max(1) {
        let clock = Instant::now();
        f()?;
        t.push(clock.elapsed().as_secs_f64());
    }
    t.sort_by(f64::total_cmp);
    Ok([t[t.len() / 2], t[0], t[t.len() - 1]])
}

impl Job for Bench {
    type Out = Vec<Row>;
    fn run<O: Ops>(&mut self, o: &O) -> Result<Vec<Row>, Box<dyn Error>> {
        let a = &self.0;
        let mut rows = Vec::new();
        let mut put = |what: &str, shape: String, seconds: [f64; 3], work: f64, unit| {
            let rate = work / seconds[0];
            rows.push(Row { device: o.device_name(), what: what.into(), shape, seconds, rate, unit, gb_per_s: None });
        };
        let wants = |w: &str| a.what.iter().any(|x| x == w);
        if wants("matmul") {
            for n in [256, 512, 1024] {
                let data: Vec<f32> = (0..n * n).map(|i| ((i * 7919) % 1013) as f32 / 1013.0 - 0.5).collect();
                let (x, w) = (o.upload(n, n, &data)?, o.upload(n, n, &data)?);
                let gflop = 2.0 * (n as f64).powi(3) / 1e9;
                let mut dw = o.zeros(n, n)?;
                let nt = time(a.repeat, || Ok(o.matmul_nt(&x, &w, None).and_then(|_| o.sync())?))?;
                let nn = time(a.repeat, || Ok(o.matmul_nn(&x, &w, None).and_then(|_| o.sync())?))?;
                let tn = time(a.repeat, || Ok(o.matmul_tn(&mut dw, &x, &w).and_then(|_| o.sync())?))?;
                for (name, t) in [("matmul_nt", nt), ("matmul_nn", nn), ("matmul_tn", tn)] {
                    put(name, format!("{n}x{n}x{n} f32"), t, gflop, "GFLOP/s");
                }
            }
        }
        for name in &a.shapes {
            let config = shape(name)?;
            let model = |positions| Qwen2::new(o, config.clone(), init::random(o, &config, 1)?, positions);
            if wants("train") {
                let t = train_step(o, model(256)?, a.repeat)?;
                put("training step", format!("{name} 8x128"), t, 1024.0, "tok/s");
            }
            if wants("grpo") {
                let t = grpo_step(o, model(256)?, a.repeat)?;
                put("GRPO step", format!("{name} 4x8x64"), t, 2048.0, "completion tok/s");
            }
            if wants("prefill") {
                let m = model(256)?;
                let batch = Batch::new(o, &[tokens(&config, 128, 3)])?;
                let hooks = HookSet::default();
                let t = time(a.repeat, || {
                    let x = m.forward(o, &batch, &hooks)?;
                    m.logits(o, &x, None, &hooks)?;
                    Ok(o.sync()?)
                })?;
                put("prefill, all logits", format!("{name} 1x128"), t, 128.0, "tok/s");
            }
            if wants("decode") {
                for b in [1usize, 8, 32] {
                    let m = model(256)?;
                    let t = time(a.repeat.min(3), || {
                        decode(o, &m, b, 64)?;
                        Ok(())
                    })?;
                    put("decode", format!("{name} B={b} 32+64"), t, (b * 64) as f64, "tok/s");
                }
            }
        }
        if wants("kernels") {
            for name in &a.shapes {
                rows.extend(bench_kernels::rows(o, name, &bench_kernels::Sizes::of(&shape(name)?), a.repeat)?);
            }
        }
        Ok(rows)
    }
}

fn tokens(c: &ModelConfig, n: usize, seed: usize) -> Vec<u32> {
    (0..n).map(|i| ((i * 7919 + seed * 104_729) % c.vocab_size) as u32).collect()
}

fn decode<O: Ops>(o: &O, m: &Qwen2<O>, b: usize, n: usize) -> Result<Vec<Vec<Completion>>, Box<dyn Error>> {
    let requests: Vec<Request> =
        (0..b).map(|i| Request { prompt: tokens(&m.config, 32, i), sequences: vec![i as u32] }).collect();
    let c = GenerateConfig {
        sampling: Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 },
        repetition_penalty: 1.0,
        max_new_tokens: n,
        stop_ids: Vec::new(),
        seed: 0,
        max_batch: b,
    };
    Ok(generate(o, m, &requests, &c, &HookSet::default())?)
}

fn state<O: Ops>(o: &O, model: Qwen2<O>) -> Result<State<O>, Box<dyn Error>> {
    let optimizer = Optimizer::new(o, &model, OptimConfig::default())?;
    let grads = model.zeros_like(o)?;
    Ok(State { model, optimizer, grads })
}

struct Fixed(Vec<Example>);
impl ExampleSource for Fixed {
    fn batch(&self, _: u64) -> Result<Vec<Example>, TrainError> {
        Ok(self.0.clone())
    }
}

/// Forward, backward and AdamW on 8 sequences of 128 tokens.
fn train_step<O: Ops>(o: &O, model: Qwen2<O>, repeat: usize) -> Result<[f64; 3], Box<dyn Error>> {
    let examples = (0..8)
        .map(|i| {
            let tokens = tokens(&model.config, 129, i);
            Example { targets: (1..tokens.len()).collect(), tokens }
        })
        .collect();
    let source = Fixed(examples);
    let mut objective = Sft {
        source: &source,
        micro: MicroBatch { max_tokens: 4096, recompute: Recompute::None },
        weighting: Weighting::Token,
    };
    let mut state = state(o, model)?;
    time(repeat, || {
        objective.step(o, &mut state, 0, 100)?;
        Ok(o.sync()?)
    })
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

/// 4 prompts of 33 tokens, 8 completions each of exactly 64 tokens, no anchor.
fn grpo_step<O: Ops>(o: &O, model: Qwen2<O>, repeat: usize) -> Result<[f64; 3], Box<dyn Error>> {
    let env = Digits((0..4).map(|i| tokens(&model.config, 33, i)).collect());
    let config = GrpoConfig {
        loss_type: LossType::Dapo,
        scale_rewards: ScaleRewards::Group,
        max_completion_length: 64,
        ..GrpoConfig::default()
    };
    let mut objective = Grpo { config, env: &env, anchor: None };
    let mut state = state(o, model)?;
    let mut step = 0;
    time(repeat, || {
        step += 1;
        objective.step(o, &mut state, step, 1000)?;
        Ok(o.sync()?)
    })
}
