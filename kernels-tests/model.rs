//! The whole model on every device: PyTorch's values, decoding against the training forward, recomputation, hooks.

use std::path::Path;

use probity::cpu::Cpu;
use probity::generate::source::{Source, Storage};
use probity::generate::{GenerateConfig, Request, generate};
use probity::gpu::{Gpu, GpuOptions, list_adapters};
use probity::model::batch::Batch;
use probity::model::cache::{KvCache, Work};
use probity::model::config::ModelConfig;
use probity::model::golden::{Bounds, Golden};
use probity::model::hooks::{Action, Hook, HookSet};
use probity::model::init::random;
use probity::model::qwen2::{Qwen2, Recompute};
use probity::ops::checked::Checked;
use probity::ops::{Ops, Sampling};
use probity::train::accumulate::{Example, MicroBatch, accumulate, score};
use probity::train::golden::Verified;
use probity::train::optim::{OptimConfig, Optimizer, Schedule};

use crate::adapters::for_each_gpu;

const MODELS: [&str; 3] = ["tied", "untied", "llama"];

pub fn folder(name: &str) -> String {
    format!("{}/kernels-tests/golden/{name}", env!("CARGO_MANIFEST_DIR"))
}

fn load<O: Ops>(o: &O, name: &str) -> Qwen2<O> {
    Source::open(&folder(name)).unwrap().load(o, 64, Storage::F32).unwrap()
}

fn equals_pytorch<O: Ops>(o: &O) {
    for name in MODELS {
        let source = Source::open(&folder(name)).unwrap();
        let path = folder(name) + "/golden.safetensors";
        let golden = Golden::open(Path::new(&path), &source.checkpoint.config).unwrap();
        for storage in [Storage::F32, Storage::AsStored] {
            let model = source.load(o, 64, storage).unwrap();
            if storage == Storage::AsStored && !source.checkpoint.is_bf16() {
                continue;
            }
            let rows = golden.verify(&mut Verified { o, model: &model }, &Bounds::default()).unwrap();
            assert!(rows.len() > 45);
            for r in rows {
                assert!(
                    r.ok,
                    "{name} on {}: {} is off by {:.1e} (bound {:.0e})",
                    o.device_name(),
                    r.tensor,
                    r.max_rel,
                    r.bound
                );
            }
        }
    }
}

#[test]
fn cpu_equals_pytorch() {
    equals_pytorch(&Cpu::<f32>::new());
    equals_pytorch(&Cpu::<f32>::plain());
    equals_pytorch(&Cpu::<f64>::new());
}

#[test]
fn gpu_equals_pytorch() {
    for_each_gpu(equals_pytorch);
}

/// Ten AdamW updates on the golden batch follow `torch.optim.AdamW`.
fn ten_losses<O: Ops>(o: &O) {
    let g: serde_json::Value = serde_json::from_str(include_str!("golden/adamw.json")).unwrap();
    let number = |k: &str| g[k].as_f64().unwrap();
    let mut model = load(o, "tied");
    let config = OptimConfig {
        learning_rate: number("lr"),
        weight_decay: number("weight_decay"),
        decay_all: true,
        max_grad_norm: 0.0,
        lr_scheduler_type: Schedule::Constant,
        ..OptimConfig::default()
    };
    let mut optimizer = Optimizer::new(o, &model, config).unwrap();
    let path = folder("tied") + "/golden.safetensors";
    let golden = Golden::open(Path::new(&path), &model.config).unwrap();
    let examples: Vec<Example> = golden
        .sequences()
        .unwrap()
        .iter()
        .map(|s| Example { targets: (1..s.len()).collect(), tokens: s.clone() })
        .collect();
    let weight = 1.0 / examples.iter().map(|e| e.targets.len()).sum::<usize>() as f64;
    for (i, want) in g["losses"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).enumerate() {
        let mut grads = model.zeros_like(o).unwrap();
        let mut loss = 0.0;
        let micro = MicroBatch { max_tokens: 4096, recompute: Recompute::None };
        accumulate(o, &model, &examples, 1.0, micro, &mut grads, |_, s, d| {
            loss -= weight * s.logp.iter().map(|&l| f64::from(l)).sum::<f64>();
            d.fill(-weight as f32);
        })
        .unwrap();
        assert!((loss - want).abs() <= 2e-4 * want, "{}: loss {i} is {loss}, torch has {want}", o.device_name());
        let update = optimizer.update(o, &mut model, &grads, 100).unwrap();
        assert!(update.update_norm > 0.0 && update.nonfinite == 0);
    }
}

#[test]
fn ten_adamw_losses() {
    ten_losses(&Cpu::<f32>::new());
    for_each_gpu(ten_losses);
}

/// Tokens and log-probs are the same bits in any batch, and equal the training forward's.
fn decoding_is_batch_invariant_and_on_policy<O: Ops>(o: &O) {
    for name in ["untied", "llama"] {
        decodes_alike(o, &load(o, name));
    }
}

fn decodes_alike<O: Ops>(o: &O, model: &Qwen2<O>) {
    let prompts: [&[u32]; 3] = [&[1, 50, 9], &[2], &[3, 33, 7, 211, 13, 2, 8]];
    let requests: Vec<Request> = prompts
        .iter()
        .enumerate()
        .map(|(i, p)| Request { prompt: p.to_vec(), sequences: (0..3).map(|g| (i * 3 + g) as u32).collect() })
        .collect();
    let decode = |requests: &[Request], max_batch| {
        let c = GenerateConfig {
            sampling: Sampling { temperature: 0.8, top_k: 0, top_p: 0.95 },
            repetition_penalty: 1.0,
            max_new_tokens: 12,
            stop_ids: (0..30).collect(),
            seed: 77,
            max_batch,
        };
        generate(o, model, requests, &c, &HookSet::default()).unwrap()
    };
    let together = decode(&requests, 9);
    assert!(together.iter().flatten().any(|c| c.tokens.len() < 12), "no sequence ended early");
    assert_eq!(together, decode(&requests, 3), "narrow batches");
    assert_eq!(together, decode(&requests, 32), "more room than sequences");
    for (r, group) in requests.iter().zip(&together) {
        for (i, &sequence) in r.sequences.iter().enumerate() {
            let alone = Request { prompt: r.prompt.clone(), sequences: vec![sequence] };
            assert_eq!(decode(&[alone], 1)[0][0], group[i], "alone");
        }
    }
    let mut reversed = requests.clone();
    reversed.reverse();
    let mut back = decode(&reversed, 5);
    back.reverse();
    assert_eq!(together, back, "reversed order");
    let micro = MicroBatch { max_tokens: 4096, recompute: Recompute::None };
    for (r, group) in requests.iter().zip(&together) {
        let examples: Vec<Example> = group.iter().map(|c| Example::completion(&r.prompt, &c.tokens)).collect();
        // Together they share the prompt's rows, alone they do not.
        let shared = score(o, model, &examples, 0.8, micro).unwrap();
        for ((c, example), shared) in group.iter().zip(&examples).zip(&shared) {
            let alone = score(o, model, std::slice::from_ref(example), 0.8, micro).unwrap();
            assert_eq!(alone[0].logp, c.logps, "{}: sampled and training log-probs differ", o.device_name());
            assert_eq!(&alone[0], shared, "{}: a shared prompt changes log-probs", o.device_name());
        }
    }
}

#[test]
fn decoding_equals_training_forward() {
    decoding_is_batch_invariant_and_on_policy(&Cpu::<f32>::new());
    for_each_gpu(decoding_is_batch_invariant_and_on_policy);
}

/// Dispatches are what small models spend their time on.
#[test]
fn a_block_of_a_decoding_step_is_eight_dispatches() {
    // The count is the device's, so it must be nobody else's.
    for adapter in list_adapters() {
        for options in [GpuOptions::default(), GpuOptions::poor()] {
            let gpu = Gpu::open(&adapter, &options).unwrap();
            for name in ["untied", "llama"] {
                a_block_is_eight(&gpu, &load(&gpu, name).config);
            }
        }
    }
}

fn a_block_is_eight(gpu: &Gpu, config: &ModelConfig) {
    let dispatches = |layers: usize| {
        let mut config = config.clone();
        config.num_hidden_layers = layers;
        let model = Qwen2::new(gpu, config.clone(), random(gpu, &config, 1).unwrap(), 16).unwrap();
        let mut cache = KvCache::new(gpu, &model, 3, 16).unwrap();
        let work: Vec<Work> = (0..3).map(|slot| Work { slot, n: 1 }).collect();
        let ids = gpu.upload_index(&[1, 2, 3]).unwrap();
        gpu.sync().unwrap();
        let before = gpu.submitted().dispatches;
        model.forward_cached(gpu, &ids, &work, &mut cache, &HookSet::default()).unwrap();
        gpu.sync().unwrap();
        gpu.submitted().dispatches - before
    };
    assert_eq!(dispatches(5) - dispatches(2), 3 * 8);
}

fn gradients<O: Ops>(o: &O, name: &str, recompute: Recompute) -> Vec<Vec<u32>> {
    let model = load(o, name);
    let examples: Vec<Example> = [vec![1u32, 50, 9, 77, 3], vec![2, 8], vec![3, 33, 7, 211, 13, 2, 8, 90]]
        .into_iter()
        .map(|tokens| Example { targets: (1..tokens.len()).collect(), tokens })
        .collect();
    let mut grads = model.zeros_like(o).unwrap();
    let micro = MicroBatch { max_tokens: 4096, recompute };
    accumulate(o, &model, &examples, 1.0, micro, &mut grads, |i, _, d| d.fill(0.1 * (i + 1) as f32)).unwrap();
    grads.iter().map(|g| o.read(g).unwrap().iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn recomputation_changes_no_bit() {
    fn check<O: Ops>(o: &O) {
        for name in ["untied", "llama"] {
            let all = gradients(o, name, Recompute::None);
            assert_eq!(all, gradients(o, name, Recompute::None), "the same work twice");
            assert_eq!(all, gradients(o, name, Recompute::Mlp));
            assert_eq!(all, gradients(o, name, Recompute::Layer));
        }
    }
    check(&Cpu::<f32>::new());
    for_each_gpu(check);
}

/// Residual stream after the last block under a hook set.
fn stream<O: Ops>(o: &O, model: &Qwen2<O>, hooks: &HookSet<O>) -> Vec<f32> {
    let batch = Batch::new(o, &[vec![1, 50, 9, 77], vec![2, 8]]).unwrap();
    o.read(&model.forward(o, &batch, hooks).unwrap()).unwrap()
}

fn hooks_do_what_they_say<O: Ops>(o: &O) {
    let model = load(o, "untied");
    let h = model.config.hidden_size;
    let plain = stream(o, &model, &HookSet::default());
    let unit: Vec<f32> = (0..h).map(|i| if i % 2 == 0 { 1.0 } else { -1.0 } / (h as f32).sqrt()).collect();
    let direction = || o.upload(1, h, &unit).unwrap();
    let zero = HookSet::default().with(Hook::ResidPost(0), Action::Add { vector: direction(), scale: 0.0 });
    assert_eq!(plain, stream(o, &model, &zero), "a zero steer changes bits");
    let steer = HookSet::default().with(Hook::ResidPost(1), Action::Add { vector: direction(), scale: 2.0 });
    for (i, (a, b)) in stream(o, &model, &steer).iter().zip(&plain).enumerate() {
        assert!((a - b - 2.0 * unit[i % h]).abs() < 1e-5);
    }
    let ablate = HookSet::default().with(Hook::ResidPost(1), Action::Ablate { direction: direction() });
    for row in stream(o, &model, &ablate).chunks(h) {
        let along: f32 = row.iter().zip(&unit).map(|(a, b)| a * b).sum();
        assert!(along.abs() < 1e-5, "{along} is left along the ablated direction");
    }
    let rows = o.upload_index(&[5, 0]).unwrap();
    let capture = HookSet::default().with(Hook::ResidPost(1), Action::Capture { rows: Some(rows) });
    stream(o, &model, &capture);
    let taken = capture.take();
    let got = o.read(&taken[0].1).unwrap();
    assert_eq!(got[..h], plain[5 * h..]);
    assert_eq!(got[h..], plain[..h]);
    let source = o.upload(1, h, &unit).unwrap();
    let replace =
        HookSet::default().with(Hook::ResidPost(1), Action::Replace { rows: o.upload_index(&[3]).unwrap(), source });
    assert_eq!(stream(o, &model, &replace)[3 * h..4 * h], unit[..]);
    let beyond = HookSet::default().with(Hook::ResidPre(2), Action::Capture { rows: None });
    let refused = model.forward(o, &Batch::new(o, &[vec![1]]).unwrap(), &beyond).err().unwrap().to_string();
    assert!(refused.contains("layers 0 to 1"), "{refused}");
}

#[test]
fn hooks() {
    hooks_do_what_they_say(&Cpu::<f32>::new());
    for_each_gpu(hooks_do_what_they_say);
}

#[test]
fn gpu_and_cpu_side_by_side_agree() {
    for adapter in list_adapters() {
        let gpu = Gpu::open(&adapter, &GpuOptions::default()).unwrap();
        let checked = Checked::new(gpu, Cpu::<f32>::new(), 1e-4);
        for name in ["tied", "llama"] {
            let model = load(&checked, name);
            let examples = [
                Example { tokens: vec![5, 9, 200, 2, 17], targets: vec![1, 2, 3, 4] },
                Example::completion(&[5, 9, 200], &[7, 4]),
                Example::completion(&[5, 9, 200], &[2, 17, 6]),
            ];
            let mut grads = model.zeros_like(&checked).unwrap();
            let micro = MicroBatch { max_tokens: 4096, recompute: Recompute::None };
            accumulate(&checked, &model, &examples, 1.0, micro, &mut grads, |_, _, d| d.fill(-0.25)).unwrap();
        }
    }
}
