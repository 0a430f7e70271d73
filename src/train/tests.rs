//! The loss against TRL; decoding against the training forward; the whole step against itself.

use std::path::Path;

use super::accumulate::{Example, MicroBatch, accumulate, score};
use super::error::{Result, TrainError};
use super::grpo::{Environment, Grpo, GrpoConfig, Reward};
use super::log::tests::steps;
use super::loss::*;
use super::optim::{OptimConfig, Optimizer, Precision};
use super::run::{Ended, Interrupt, Metrics, Objective, Observer, Quiet, RunConfig, State, StepRecord, run};
use crate::cpu::Cpu;
use crate::generate::{Completion, GenerateConfig, Request, generate};
use crate::model::config::{ModelConfig, Sizes};
use crate::model::hooks::HookSet;
use crate::model::init;
use crate::model::params::specs;
use crate::model::qwen2::{Qwen2, Recompute};
use crate::ops::{Dtype, Ops, Sampling, TensorMeta};

fn numbers(v: &serde_json::Value) -> Vec<f64> {
    v.as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect()
}

/// 72 cases through TRL's own `_compute_loss`; see `kernels-tests/golden/README.md`.
#[test]
fn loss_and_its_gradient_equal_trl() {
    let g: serde_json::Value =
        serde_json::from_str(include_str!("../../kernels-tests/golden/grpo_losses.json")).unwrap();
    let t = g["T"].as_u64().unwrap() as usize;
    let group = g["num_generations"].as_u64().unwrap() as usize;
    let max = g["max_completion_length"].as_u64().unwrap() as usize;
    let mask = numbers(&g["completion_mask"]);
    let lens: Vec<usize> = mask.chunks(t).map(|r| r.iter().sum::<f64>() as usize).collect();
    let f32s = |k: &str| numbers(&g[k]).iter().map(|&x| x as f32).collect::<Vec<_>>();
    let (logp, old, reference) = (f32s("logps"), f32s("old_logps"), f32s("ref_logps"));
    let rewards = numbers(&g["rewards"]);
    let cases = g["cases"].as_array().unwrap();
    assert!(cases.len() >= 72);
    for case in cases {
        let scale: ScaleRewards = serde_json::from_value(case["scale_rewards"].clone()).unwrap();
        let adv = advantages(&rewards, group, scale);
        let want = numbers(&g["advantages"][case["scale_rewards"].as_str().unwrap()]);
        for (a, b) in adv.values.iter().zip(&want) {
            assert!((a - b).abs() < 1e-6, "{scale:?}: {a} {b}");
        }
        let beta = case["beta"].as_f64().unwrap();
        let number = |k: &str, default: f64| case[k].as_f64().unwrap_or(default);
        let c = LossConfig {
            loss_type: serde_json::from_value(case["loss_type"].clone()).unwrap(),
            beta,
            epsilon: number("epsilon", 0.2),
            epsilon_high: number("epsilon_high", number("epsilon", 0.2)),
            max_completion_length: max,
        };
        let on_policy = case["num_iterations"].as_u64() == Some(1);
        let want = numbers(&case["dlogp"]);
        let mut sums = LossSums::default();
        for (b, &n) in lens.iter().enumerate() {
            let r = b * t..b * t + n;
            let mut d = vec![0.0; n];
            let s = Sequence {
                logp: &logp[r.clone()],
                old_logp: (!on_policy).then_some(&old[r.clone()]),
                ref_logp: (beta != 0.0).then_some(&reference[r.clone()]),
                advantage: adv.values[b],
                weight: c.loss_type.token_weight(n, lens.len(), lens.iter().sum(), max),
            };
            sums.add(&sequence_loss(&c, &s, &mut d));
            for (got, want) in d.iter().zip(&want[r]) {
                assert!((f64::from(*got) - want).abs() < 2e-7, "{case}");
            }
        }
        let loss = case["loss"].as_f64().unwrap();
        assert!((sums.loss - loss).abs() < 1e-6, "{} {loss} {case}", sums.loss);
        let m = &case["metrics"];
        if beta != 0.0 {
            assert!((sums.kl / sums.tokens as f64 - m["kl"].as_f64().unwrap()).abs() < 1e-6);
        }
        if let Some(low) = m["clip_ratio/low_mean"].as_f64() {
            assert!((sums.clip_low as f64 / sums.tokens as f64 - low).abs() < 1e-9);
            assert!(
                (sums.clip_high as f64 / sums.tokens as f64 - m["clip_ratio/high_mean"].as_f64().unwrap()).abs() < 1e-9
            );
        }
    }
}

#[test]
fn a_runaway_log_ratio_is_clamped_and_counted() {
    let c =
        LossConfig { loss_type: LossType::Dapo, beta: 1.0, epsilon: 0.2, epsilon_high: 0.2, max_completion_length: 4 };
    let mut d = [0.0; 2];
    let s =
        Sequence { logp: &[-200.0, -1.0], old_logp: None, ref_logp: Some(&[0.0, -1.0]), advantage: 0.0, weight: 0.5 };
    let sums = sequence_loss(&c, &s, &mut d);
    assert_eq!(sums.kl_clamped, 1);
    assert!(sums.loss.is_finite() && d.iter().all(|x| x.is_finite()));
}

#[test]
fn schedules_follow_transformers() {
    let c = OptimConfig { learning_rate: 1.0, warmup_steps: 2, ..Default::default() };
    let lr: Vec<f64> = (0..7).map(|s| c.lr(s, 6)).collect();
    assert_eq!(lr, [0.0, 0.5, 1.0, 0.75, 0.5, 0.25, 0.0]);
}

fn small() -> ModelConfig {
    let sizes = Sizes {
        hidden_size: 12,
        num_hidden_layers: 2,
        num_attention_heads: 3,
        num_key_value_heads: 1,
        intermediate_size: 36,
        vocab_size: 23,
        rope_theta: 1e4,
        max_position_embeddings: 64,
    };
    sizes.config(Path::new("test")).unwrap()
}

fn small_model<O: Ops>(o: &O, seed: u64) -> Qwen2<O> {
    let config = small();
    let mut params = init::random(o, &config, seed).unwrap();
    // Spread the logits: at the initial scale every distribution is flat and mistakes in sampling would hide.
    for p in params.iter_mut() {
        o.scale(p, 8.0).unwrap();
    }
    Qwen2::new(o, config, params, 64).unwrap()
}

pub fn requests() -> Vec<Request> {
    let prompts: [&[u32]; 4] = [&[1, 5, 9], &[2], &[3, 3, 7, 11, 13, 2, 8], &[4, 4, 4, 4]];
    prompts
        .iter()
        .enumerate()
        .map(|(i, p)| Request { prompt: p.to_vec(), sequences: (0..3).map(|g| (i * 3 + g) as u32).collect() })
        .collect()
}

fn settings(max_batch: usize) -> GenerateConfig {
    GenerateConfig {
        sampling: Sampling { temperature: 0.8, top_k: 0, top_p: 0.95 },
        repetition_penalty: 1.0,
        max_new_tokens: 17,
        stop_ids: vec![0],
        seed: 77,
        max_batch,
    }
}

/// Tokens and log-probs are the same bits in any batch, and equal the training forward's.
pub fn decoding_is_batch_invariant_and_on_policy<O: Ops>(o: &O) {
    let model = small_model(o, 3);
    let hooks = HookSet::default();
    let decode = |requests: &[Request], batch| generate(o, &model, requests, &settings(batch), &hooks).unwrap();
    let together = decode(&requests(), 12);
    let lengths: Vec<usize> = together.iter().flatten().map(|c| c.tokens.len()).collect();
    assert!(lengths.iter().any(|&n| n < 17), "no sequence ended early: the test would not see refilled slots");
    assert_eq!(together, decode(&requests(), 3), "narrow batches");
    let mut reversed: Vec<Request> = requests();
    reversed.reverse();
    let mut back = decode(&reversed, 5);
    back.reverse();
    assert_eq!(together, back, "reversed order");
    for (r, group) in requests().iter().zip(&together) {
        for (s, want) in r.sequences.iter().zip(group) {
            let alone = [Request { prompt: r.prompt.clone(), sequences: vec![*s] }];
            assert_eq!(&decode(&alone, 1)[0][0], want, "alone");
            let example = Example::completion(&r.prompt, &want.tokens);
            let micro = MicroBatch { max_tokens: 4096, recompute: Recompute::None };
            let scores = score(o, &model, &[example], 0.8, micro).unwrap();
            assert_eq!(scores[0].logp, want.logps, "training forward");
        }
    }
}

#[test]
fn decoding_is_batch_invariant_and_on_policy_on_the_cpu() {
    decoding_is_batch_invariant_and_on_policy(&Cpu::<f32>::plain());
    decoding_is_batch_invariant_and_on_policy(&Cpu::<f32>::new());
}

/// Completions of one prompt, once in a row, so that they share it, and once apart.
fn sharing_changes_no_log_prob<O: Ops>(o: &O, bound: f64) {
    let model = small_model(o, 5);
    let (first, second) = (vec![3, 1, 4, 1, 5, 9], vec![2, 7, 1]);
    let completion = |(p, i): (&[u32], u32)| {
        Example::completion(p, &(0..3 + i % 5).map(|t| (t * 7 + i * 11) % 23).collect::<Vec<_>>())
    };
    let together: Vec<Example> =
        [(&first[..], 0), (&first[..], 1), (&first[..], 2), (&second[..], 3), (&second[..], 4)].map(completion).into();
    let order = [0, 3, 1, 4, 2];
    let apart: Vec<Example> = order.iter().map(|&i| together[i].clone()).collect();
    let run = |examples: &[Example], max_tokens, recompute| {
        let mut grads = model.zeros_like(o).unwrap();
        let micro = MicroBatch { max_tokens, recompute };
        let scores = accumulate(o, &model, examples, 0.9, micro, &mut grads, |_, s, d| {
            // The gradient of a target is a function of it alone.
            d.iter_mut().zip(&s.logp).for_each(|(d, l)| *d = l.sin());
        })
        .unwrap();
        assert_eq!(score(o, &model, examples, 0.9, micro).unwrap(), scores);
        (scores, grads.iter().map(|g| o.read(g).unwrap()).collect::<Vec<_>>())
    };
    let (scores, grads) = run(&apart, 4096, Recompute::None);
    for (max_tokens, recompute) in [(4096, Recompute::None), (20, Recompute::Layer), (9, Recompute::Mlp)] {
        let (shared, shared_grads) = run(&together, max_tokens, recompute);
        for (&i, want) in order.iter().zip(&scores) {
            assert_eq!(&shared[i], want, "example {i} in micro-batches of {max_tokens}");
        }
        for (a, b) in shared_grads.iter().zip(&grads) {
            let largest = b.iter().fold(0.0f64, |m, &x| m.max(f64::from(x).abs()));
            let worst = a.iter().zip(b).fold(0.0f64, |m, (&a, &b)| m.max(f64::from(a - b).abs()));
            assert!(worst <= bound * largest, "gradient of {} elements: {worst} of {largest}", b.len());
        }
    }
}

#[test]
fn a_shared_prompt_changes_no_log_prob() {
    sharing_changes_no_log_prob(&Cpu::<f64>::new(), 1e-6);
    sharing_changes_no_log_prob(&Cpu::<f32>::new(), 1e-5);
}

/// Rewards the share of even tokens.
pub struct Even {
    pub prompts: Vec<Vec<u32>>,
}

impl Environment for Even {
    fn len(&self) -> usize {
        self.prompts.len()
    }
    fn prompt(&self, index: usize) -> &[u32] {
        &self.prompts[index]
    }
    fn stop_ids(&self) -> &[u32] {
        &[0]
    }
    fn reward_names(&self) -> Vec<String> {
        vec!["even".into()]
    }
    fn rewards(&self, _: usize, group: &[Completion]) -> Result<Vec<Reward>> {
        Ok(group
            .iter()
            .map(|c| {
                let r = c.tokens.iter().filter(|&&t| t % 2 == 0).count() as f64 / c.tokens.len() as f64;
                Reward { total: r, parts: vec![r] }
            })
            .collect())
    }
    fn describe(&self, index: usize, c: &Completion) -> Result<(String, String)> {
        Ok((format!("item-{index}"), format!("{:?}", c.tokens)))
    }
}

/// Does something before one step.
pub struct Before<'a, T>(pub T, pub u64, pub &'a mut dyn FnMut() -> Result<()>);

impl<O: Ops, T: Objective<O>> Objective<O> for Before<'_, T> {
    fn step(&mut self, o: &O, state: &mut State<O>, step: u64, total: u64) -> Result<StepRecord> {
        if step == self.1 {
            (self.2)()?;
        }
        self.0.step(o, state, step, total)
    }
}

/// A GRPO run of a small model; `before` is done before step `at`.
pub fn train_until<O: Ops>(
    o: &O,
    dir: &Path,
    c: &RunConfig,
    before: (u64, &mut dyn FnMut() -> Result<()>),
    observer: &mut dyn Observer,
) -> (State<O>, Result<Ended>) {
    train_stored(o, dir, c, before, observer, Precision::F32)
}

/// The same model with its matrices as `precision` stores them.
fn stored_as<O: Ops>(o: &O, mut model: Qwen2<O>, precision: Precision) -> Qwen2<O> {
    if precision == Precision::Bf16 {
        let specs = specs(&model.config);
        for (s, p) in specs.iter().zip(model.trained_mut().unwrap()).filter(|(s, _)| !s.vector) {
            let bits: Vec<u16> = o.read(p).unwrap().iter().map(|x| half::bf16::from_f32(*x).to_bits()).collect();
            *p = o.upload_bf16(s.rows, s.cols, &bits).unwrap();
        }
    }
    model
}

fn train_stored<O: Ops>(
    o: &O,
    dir: &Path,
    c: &RunConfig,
    (at, before): (u64, &mut dyn FnMut() -> Result<()>),
    observer: &mut dyn Observer,
    precision: Precision,
) -> (State<O>, Result<Ended>) {
    let env = Even { prompts: requests().into_iter().map(|r| r.prompt).collect() };
    let config = GrpoConfig {
        prompts_per_step: 4,
        num_generations: 8,
        max_completion_length: 8,
        beta: 0.01,
        num_iterations: 2,
        ..Default::default()
    };
    let (model, anchor) = (stored_as(o, small_model(o, 5), precision), stored_as(o, small_model(o, 5), precision));
    let optimizer = Optimizer::new(o, &model, OptimConfig { learning_rate: 0.02, ..Default::default() }).unwrap();
    let grads = model.zeros_like(o).unwrap();
    let mut state = State { model, optimizer, grads };
    let mut objective = Before(Grpo { config, env: &env, anchor: Some(&anchor) }, at, before);
    let ended = run(o, &mut state, &mut objective, c, dir, None, observer);
    (state, ended)
}

/// Killed before step `kill`.
fn train<O: Ops>(o: &O, dir: &Path, kill: u64, save_steps: u64) -> (State<O>, Result<Ended>) {
    let c = RunConfig { max_steps: 24, save_steps, ..Default::default() };
    train_until(o, dir, &c, (kill, &mut || Err(TrainError::Config("killed".into()))), &mut Quiet)
}

pub fn weights<O: Ops>(o: &O, s: &State<O>) -> Vec<Vec<u32>> {
    let all = s.model.params.iter().chain(s.optimizer.m.iter()).chain(s.optimizer.v.iter());
    all.map(|t| o.read(t).unwrap().iter().map(|x| x.to_bits()).collect()).collect()
}

/// Lines of a log without the times, which may differ.
pub fn lines(dir: &Path, file: &str) -> Vec<serde_json::Value> {
    let text = std::fs::read_to_string(dir.join(file)).unwrap();
    text.lines()
        .map(|l| {
            let mut row: serde_json::Value = serde_json::from_str(l).unwrap();
            for k in ["step_time", "tokens_per_second"] {
                row.as_object_mut().unwrap().remove(k);
            }
            row
        })
        .collect()
}

#[test]
fn grpo_learns_and_a_resumed_run_writes_the_same_bytes() {
    let o = Cpu::<f32>::new();
    let (whole, part) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (a, ended) = train(&o, whole.path(), 99, 0);
    assert_eq!(ended.unwrap(), Ended::Complete { step: 24 });
    let rewards: Vec<f64> =
        lines(whole.path(), "metrics.jsonl").iter().map(|r| r["reward"].as_f64().unwrap()).collect();
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    assert!(mean(&rewards[18..]) > rewards[0] + 0.3, "{rewards:?}");
    for r in lines(whole.path(), "metrics.jsonl") {
        assert_eq!(r["sampling/sampling_logp_difference/max"], 0.0, "on-policy to the bit");
    }
    // Killed after step 13 with a checkpoint at 10: rows 11 to 13 are dropped and written again.
    train(&o, part.path(), 13, 10).1.unwrap_err();
    // As a kill leaves them: half a row, half an event, a checkpoint in the making.
    for (file, torn) in [("metrics.jsonl", "{\"step\": 14, \"rew"), ("completions.jsonl", "{\"step\":")] {
        let path = part.path().join(file);
        std::fs::write(&path, [std::fs::read(&path).unwrap(), torn.into()].concat()).unwrap();
    }
    std::fs::create_dir_all(part.path().join(".checkpoint-13.tmp")).unwrap();
    let (b, ended) = train(&o, part.path(), 99, 10);
    assert_eq!(ended.unwrap(), Ended::Complete { step: 24 });
    assert_eq!(weights(&o, &a), weights(&o, &b));
    for file in ["metrics.jsonl", "completions.jsonl"] {
        assert_eq!(lines(whole.path(), file), lines(part.path(), file), "{file}");
    }
    assert_eq!(steps(part.path()), (1..=24).collect::<Vec<_>>());
    assert!(!part.path().join(".checkpoint-13.tmp").exists());
}

/// Codes cannot take small steps: whole weights are refused, adapters on them are not.
#[test]
fn quantised_weights_are_trained_by_adapters_alone() {
    use crate::generate::source::{EMBEDDED, Source, Storage};
    use crate::model::lora::LoraConfig;
    let (o, source) = (Cpu::<f32>::new(), Source::open(EMBEDDED).unwrap());
    let base = source.load(&o, 8, Storage::Nf4).unwrap();
    let text = Optimizer::new(&o, &base, OptimConfig::default()).err().unwrap().to_string();
    assert!(text.contains("embed_tokens.weight is stored as int8") && text.contains("[lora]"), "{text}");
    // Also of weights that are not in codes yet: the setting would be ignored.
    let full = source.load(&o, 8, Storage::F32).unwrap();
    let asked = OptimConfig { precision: Precision::Int4, ..OptimConfig::default() };
    let text = Optimizer::new(&o, &full, asked).err().unwrap().to_string();
    assert!(text.contains("\"int4\"") && text.contains("[lora]"), "{text}");
    let dir = tempfile::tempdir().unwrap();
    let text = source.save(&o, &base, &dir.path().join("out")).unwrap_err().to_string();
    assert!(text.contains("stored as int8") && text.contains("f32 or bf16"), "{text}");
    let model = base.with_fresh_adapters(&o, &LoraConfig::default(), 3).unwrap();
    let optimizer = Optimizer::new(&o, &model, OptimConfig::default()).unwrap();
    assert!(optimizer.m.iter().all(|m| m.dtype() == Dtype::F32));
    source.save(&o, &model, &dir.path().join("adapter")).unwrap();
}

#[test]
fn training_in_bf16_learns_and_resumes_to_the_same_bytes() {
    let o = Cpu::<f32>::new();
    let (whole, part) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let c = RunConfig { max_steps: 24, save_steps: 10, ..Default::default() };
    let go = |dir: &Path, kill| {
        let before = (kill, &mut (|| Err(TrainError::Config("killed".into()))) as &mut dyn FnMut() -> Result<()>);
        train_stored(&o, dir, &c, before, &mut Quiet, Precision::Bf16)
    };
    let (a, ended) = go(whole.path(), 99);
    assert_eq!(ended.unwrap(), Ended::Complete { step: 24 });
    // Matrices and their moments are bf16, norms and biases f32.
    for (s, (w, m)) in specs(&a.model.config).iter().zip(a.model.params.iter().zip(a.optimizer.m.iter())) {
        let want = if s.vector { Dtype::F32 } else { Dtype::Bf16 };
        assert!(w.dtype() == want && m.dtype() == want, "{}", s.name);
    }
    let log = lines(whole.path(), "metrics.jsonl");
    let column = |name: &str| log.iter().map(|r| r[name].as_f64().unwrap()).collect::<Vec<_>>();
    let rewards = column("reward");
    let mean = |x: &[f64]| x.iter().sum::<f64>() / x.len() as f64;
    assert!(mean(&rewards[18..]) > rewards[0] + 0.3, "{rewards:?}");
    assert!(column("sampling/sampling_logp_difference/max").iter().all(|d| *d == 0.0), "on-policy to the bit");
    assert!(column("weights_changed").iter().all(|c| (0.01..=1.0).contains(c)), "{:?}", column("weights_changed"));
    go(part.path(), 13).1.unwrap_err();
    let (b, _) = go(part.path(), 99);
    assert_eq!(weights(&o, &a), weights(&o, &b));
    assert_eq!(log, lines(part.path(), "metrics.jsonl"));
    // A checkpoint of the other precision is refused, and says why.
    let before = (99, &mut (|| Ok(())) as &mut dyn FnMut() -> Result<()>);
    let refused = train_stored(&o, part.path(), &c, before, &mut Quiet, Precision::F32).1.unwrap_err().to_string();
    assert!(refused.contains("optim.precision") && refused.contains("BF16"), "{refused}");
}

/// Asks for the end once a step is done.
struct StopAfter(u64, Interrupt);

impl Observer for StopAfter {
    fn step(&mut self, step: u64, _: u64, _: &Metrics) {
        if step == self.0 {
            self.1.ask();
        }
    }
    fn note(&mut self, _: &str) {}
    fn stop(&self) -> bool {
        self.1.asked()
    }
}

#[test]
fn a_run_stopped_at_any_step_goes_on_to_the_same_bytes() {
    let o = Cpu::<f32>::new();
    let c = RunConfig { max_steps: 9, save_steps: 4, logging_steps: 2, ..Default::default() };
    let go = |dir: &Path, after: u64| {
        train_until(&o, dir, &c, (99, &mut || Ok(())), &mut StopAfter(after, Interrupt::default()))
    };
    let whole = tempfile::tempdir().unwrap();
    let (a, _) = go(whole.path(), 99);
    let part = tempfile::tempdir().unwrap();
    // Between checkpoints, at one, between logs and at the one before last.
    for step in [1, 4, 5, 8] {
        let error = go(part.path(), step).1.unwrap_err();
        assert!(matches!(error, TrainError::Interrupted { step: s, total: 9, .. } if s == step), "{error}");
        let text = error.to_string();
        assert!(text.contains(&format!("step {step} is saved")), "{text}");
        let kept: Vec<u64> = lines(part.path(), "metrics.jsonl").iter().map(|r| r["step"].as_u64().unwrap()).collect();
        assert_eq!(kept, (2..=step).step_by(2).collect::<Vec<_>>());
    }
    // Stopped after the last step it is simply done.
    let (b, ended) = go(part.path(), 9);
    assert_eq!(ended.unwrap(), Ended::Complete { step: 9 });
    assert_eq!(weights(&o, &a), weights(&o, &b));
    for file in ["metrics.jsonl", "completions.jsonl"] {
        assert_eq!(lines(whole.path(), file), lines(part.path(), file), "{file}");
    }
    assert_eq!(steps(whole.path()), steps(part.path()));
    // Asked before it began, it does nothing.
    let (none, asked) = (tempfile::tempdir().unwrap(), StopAfter(0, Interrupt::default()));
    asked.1.ask();
    let error = train_until(&o, none.path(), &c, (99, &mut || Ok(())), &mut { asked }).1.unwrap_err();
    assert!(error.to_string().contains("nothing was trained yet"), "{error}");
}

/// Groups that never differ.
struct Flat;

impl<O: Ops> Objective<O> for Flat {
    fn step(&mut self, _: &O, _: &mut State<O>, step: u64, _: u64) -> Result<StepRecord> {
        let mut metrics = Metrics::default();
        metrics.set("frac_reward_zero_std", 1.0);
        Ok(StepRecord { metrics, tokens: step, rows: Vec::new() })
    }
}

#[test]
fn a_guard_counts_on_across_a_resume() {
    let o = Cpu::<f32>::new();
    let dir = tempfile::tempdir().unwrap();
    // Flat at the logs of steps 3 and 6; stopped between them.
    let c = RunConfig { max_steps: 20, logging_steps: 3, zero_std_limit: 0.9, ..Default::default() };
    let go = |after| {
        let model = small_model(&o, 5);
        let optimizer = Optimizer::new(&o, &model, OptimConfig::default()).unwrap();
        let grads = model.zeros_like(&o).unwrap();
        let mut state = State { model, optimizer, grads };
        run(&o, &mut state, &mut Flat, &c, dir.path(), None, &mut StopAfter(after, Interrupt::default()))
    };
    go(4).unwrap_err();
    assert!(matches!(go(99).unwrap(), Ended::DeadGradient { step: 6, .. }));
}
