//! LoRA on every device: PEFT's values from PEFT's files, finite differences, and what must not change.

use std::path::Path;

use probity::cpu::Cpu;
use probity::generate::source::{Source, Storage};
use probity::generate::{GenerateConfig, Request, generate};
use probity::model::hooks::HookSet;
use probity::model::lora::LoraConfig;
use probity::model::params::Module;
use probity::model::peft::{AdapterFolder, write_peft_folder};
use probity::model::qwen2::{Qwen2, Recompute};
use probity::model::save::SideFiles;
use probity::ops::{Dtype, Ops, Sampling, TensorMeta};
use probity::train::accumulate::{Example, MicroBatch, accumulate, score};
use probity::train::optim::{OptimConfig, Optimizer};

use crate::adapters::{compare, for_each_gpu};
use crate::model::folder;

const CASES: [&str; 3] = ["lora-all", "lora-some", "lora-llama"];

/// The base of a case, whose folder is named from the project's root.
fn open(name: &str) -> (Source, AdapterFolder) {
    let adapter = AdapterFolder::open(Path::new(&folder(name))).unwrap();
    let base = adapter.base.rsplit('/').next().unwrap().to_string();
    (Source::open(&folder(&base)).unwrap(), adapter)
}

fn load<O: Ops>(o: &O, name: &str, storage: Storage) -> Qwen2<O> {
    let (source, adapter) = open(name);
    let base = source.load(o, 64, storage).unwrap();
    base.sharing(Some(adapter.load(o, &base.config).unwrap()))
}

fn numbers(file: &safetensors::SafeTensors, name: &str) -> Vec<f64> {
    let t = file.tensor(name).unwrap();
    match t.dtype() {
        safetensors::Dtype::I64 => t.data().as_chunks::<8>().0.iter().map(|b| i64::from_le_bytes(*b) as f64).collect(),
        _ => t.data().as_chunks::<4>().0.iter().map(|b| f64::from(f32::from_le_bytes(*b))).collect(),
    }
}

/// The golden batch as examples for a mean next-token cross entropy.
fn examples(file: &safetensors::SafeTensors) -> Vec<Example> {
    let shape = file.tensor("input_ids").unwrap().shape().to_vec();
    let (ids, mask) = (numbers(file, "input_ids"), numbers(file, "attention_mask"));
    (0..shape[0])
        .map(|b| {
            let row = b * shape[1]..(b + 1) * shape[1];
            let tokens: Vec<u32> = row.filter(|&i| mask[i] > 0.0).map(|i| ids[i] as u32).collect();
            Example { targets: (1..tokens.len()).collect(), tokens }
        })
        .collect()
}

const MICRO: MicroBatch = MicroBatch { max_tokens: 4096, recompute: Recompute::None };

fn equals_peft<O: Ops>(o: &O) {
    for name in CASES {
        let bytes = std::fs::read(folder(name) + "/golden.safetensors").unwrap();
        let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let examples = examples(&file);
        let weight = 1.0 / examples.iter().map(|e| e.targets.len()).sum::<usize>() as f64;
        let model = load(o, name, Storage::F32);
        for recompute in [Recompute::None, Recompute::Mlp, Recompute::Layer] {
            let mut grads = model.zeros_like(o).unwrap();
            let mut loss = 0.0;
            accumulate(o, &model, &examples, 1.0, MicroBatch { recompute, ..MICRO }, &mut grads, |_, s, d| {
                loss -= weight * s.logp.iter().map(|&l| f64::from(l)).sum::<f64>();
                d.fill(-weight as f32);
            })
            .unwrap();
            let want = numbers(&file, "ce_loss")[0];
            assert!((loss - want).abs() < 1e-5 * want, "{name}: loss {loss}, PEFT has {want}");
            let r = model.adapters.as_ref().unwrap().config.r;
            for (spec, g) in model.trained_specs().iter().zip(grads.iter()) {
                let got = o.read(g).unwrap();
                let (rows, cols) = if spec.name.contains("lora_A") { (r, spec.cols) } else { (spec.rows, r) };
                let outside = |i: usize| i / spec.cols >= rows || i % spec.cols >= cols;
                let padding = got.iter().enumerate().filter(|(i, _)| outside(*i));
                assert!(padding.map(|(_, g)| g.abs()).sum::<f32>() == 0.0, "{}: padding has a gradient", spec.name);
                let inside = got.iter().enumerate().filter(|(i, _)| !outside(*i)).map(|(_, g)| *g);
                let want = numbers(&file, &format!("ce_grad.{}", spec.name));
                compare(&format!("{name} {}", spec.name), &inside.collect::<Vec<_>>(), &want, 5e-5);
            }
        }
    }
}

#[test]
fn cpu_equals_peft() {
    equals_peft(&Cpu::<f32>::new());
    equals_peft(&Cpu::<f64>::new());
}

#[test]
fn gpu_equals_peft() {
    for_each_gpu(equals_peft);
}

/// Along a random direction of all adapters the loss in f64 changes as the gradient says.
#[test]
fn gradients_are_finite_differences() {
    let o = Cpu::<f64>::new();
    let mut model = load(&o, "lora-some", Storage::F32);
    let examples: Vec<Example> = [vec![3u32, 17, 44, 9, 101], vec![8, 8, 200]]
        .map(|tokens| Example { targets: (1..tokens.len()).collect(), tokens })
        .into();
    let loss = |model: &Qwen2<Cpu<f64>>| -> f64 {
        let scores = score(&o, model, &examples, 1.0, MICRO).unwrap();
        scores.iter().flat_map(|s| &s.logp).map(|&l| f64::from(l)).sum()
    };
    let mut grads = model.zeros_like(&o).unwrap();
    accumulate(&o, &model, &examples, 1.0, MICRO, &mut grads, |_, _, d| d.fill(1.0)).unwrap();
    let sizes: Vec<usize> = model.trained().map(|t| t.len()).collect();
    let directions: Vec<Vec<f32>> =
        sizes.iter().enumerate().map(|(i, &n)| crate::adapters::random(40 + i as u64, n)).collect();
    let slope: f64 = grads
        .iter()
        .zip(&directions)
        .flat_map(|(g, d)| o.read(g).unwrap().into_iter().zip(d.clone()).collect::<Vec<_>>())
        .map(|(g, d)| f64::from(g) * f64::from(d))
        .sum();
    let here: Vec<Vec<f32>> = model.trained().map(|t| o.read(t).unwrap()).collect();
    let mut at = |h: f32| {
        for ((t, x), d) in model.trained_mut().unwrap().zip(&here).zip(&directions) {
            let moved: Vec<f32> = x.iter().zip(d).map(|(x, d)| x + h * d).collect();
            o.write(t, &moved).unwrap();
        }
        loss(&model)
    };
    let h = 2e-3f32;
    let measured = (at(h) - at(-h)) / (2.0 * f64::from(h));
    assert!((measured - slope).abs() < 2e-3 * slope.abs(), "{measured} measured, {slope} by the gradient");
}

/// Fresh adapters change no bit; training leaves the base as it is; without adapters the trained model is the base again; sampling is
/// on-policy to the bit, alone and in a batch.
fn trains_adapters_alone<O: Ops>(o: &O) {
    for name in ["lora-all", "lora-llama"] {
        trains_adapters_of(o, &open(name).0);
    }
}

fn trains_adapters_of<O: Ops>(o: &O, source: &Source) {
    let config = LoraConfig { r: 3, lora_alpha: 7.0, target_modules: Module::ALL.to_vec(), use_rslora: true };
    for storage in [Storage::F32, Storage::AsStored, Storage::Int8, Storage::Nf4] {
        let base = source.load(o, 64, storage).unwrap();
        let mut model = base.with_fresh_adapters(o, &config, 5).unwrap();
        let examples = [Example { tokens: vec![5, 9, 33, 2, 71, 8], targets: (1..6).collect() }];
        let scored = |m: &Qwen2<O>| score(o, m, &examples, 1.0, MICRO).unwrap();
        let before = scored(&base);
        assert_eq!(scored(&model), before, "B is zero");
        let bits = |m: &Qwen2<O>| -> Vec<Vec<f32>> { m.params.iter().map(|t| o.read(t).unwrap()).collect() };
        let frozen = bits(&base);
        let optim = OptimConfig { learning_rate: 0.02, ..OptimConfig::default() };
        let mut optimizer = Optimizer::new(o, &model, optim).unwrap();
        assert!(model.trained().all(|t| t.dtype() == Dtype::F32));
        for step in 0..3 {
            let mut grads = model.zeros_like(o).unwrap();
            accumulate(o, &model, &examples, 1.0, MICRO, &mut grads, |_, _, d| d.fill(-0.2)).unwrap();
            if step == 0 {
                for (s, g) in model.trained_specs().iter().zip(grads.iter()) {
                    let largest = o.read(g).unwrap().iter().fold(0f32, |m, x| m.max(x.abs()));
                    assert_eq!(largest > 0.0, s.name.contains("lora_B"), "{}: {largest}", s.name);
                }
            }
            optimizer.update(o, &mut model, &grads, 100).unwrap();
        }
        let sum = |s: &[probity::train::accumulate::Scores]| s[0].logp.iter().sum::<f32>();
        assert!(sum(&scored(&model)) > sum(&before) + 0.1, "three updates raise the log-probability");
        assert_eq!(bits(&model), frozen, "the base weights are untouched");
        assert_eq!(scored(&model.sharing(None)), before, "without adapters it is the base");
        let copy = model.with_own_adapters(o).unwrap();
        assert_eq!(scored(&copy), scored(&model));

        let prompts: [&[u32]; 3] = [&[1, 50, 9], &[2], &[3, 33, 7, 211, 13, 2, 8]];
        let requests: Vec<Request> = prompts
            .iter()
            .enumerate()
            .map(|(i, p)| Request { prompt: p.to_vec(), sequences: vec![2 * i as u32, 2 * i as u32 + 1] })
            .collect();
        let settings = |max_batch| GenerateConfig {
            sampling: Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 },
            repetition_penalty: 1.0,
            max_new_tokens: 9,
            stop_ids: Vec::new(),
            seed: 11,
            max_batch,
        };
        let together = generate(o, &model, &requests, &settings(32), &HookSet::default()).unwrap();
        let alone = generate(o, &model, &requests, &settings(1), &HookSet::default()).unwrap();
        for ((r, group), other) in requests.iter().zip(&together).zip(&alone) {
            for (c, d) in group.iter().zip(other) {
                assert_eq!((&c.tokens, &c.logps), (&d.tokens, &d.logps), "in a batch and alone");
                let e = Example::completion(&r.prompt, &c.tokens);
                assert_eq!(score(o, &model, &[e], 1.0, MICRO).unwrap()[0].logp, c.logps, "on-policy to the bit");
            }
        }
    }
}

#[test]
fn adapters_alone_are_trained() {
    trains_adapters_alone(&Cpu::<f32>::new());
    for_each_gpu(trains_adapters_alone);
}

#[test]
fn a_written_adapter_reads_back_to_the_same_bits() {
    let o = Cpu::<f32>::new();
    for name in CASES {
        let model = load(&o, name, Storage::F32);
        let dir = tempfile::tempdir().unwrap();
        let adapters = model.adapters.as_ref().unwrap();
        let base = open(name).1.base;
        write_peft_folder(&o, dir.path(), &model.config, adapters, (&base, None), &SideFiles::default()).unwrap();
        let again = AdapterFolder::open(dir.path()).unwrap();
        assert_eq!((&again.config, &again.base), (&adapters.config, &base));
        let read = again.load(&o, &model.config).unwrap();
        for (a, b) in adapters.iter().zip(read.iter()) {
            assert_eq!(o.read(a).unwrap(), o.read(b).unwrap());
        }
        let tensors = |dir: &Path| {
            let bytes = std::fs::read(dir.join("adapter_model.safetensors")).unwrap();
            let file = safetensors::SafeTensors::deserialize(&bytes).unwrap();
            file.tensors().into_iter().map(|(n, t)| (n, (t.shape().to_vec(), t.data().to_vec()))).collect()
        };
        let (ours, theirs): (std::collections::BTreeMap<_, _>, _) =
            (tensors(dir.path()), tensors(Path::new(&folder(name))));
        assert!(ours == theirs, "names, shapes and bytes are those of PEFT's file");
    }
}

/// What is wrong with an adapter folder is said by file and key or tensor.
#[test]
fn bad_adapters_are_refused() {
    let good = folder("lora-some");
    let config: serde_json::Value =
        serde_json::from_slice(&std::fs::read(good.clone() + "/adapter_config.json").unwrap()).unwrap();
    let weights = std::fs::read(good + "/adapter_model.safetensors").unwrap();
    let o = Cpu::<f32>::new();
    let base = open("lora-some").0.load(&o, 8, Storage::F32).unwrap();
    let error = |config: &str, weights: &[u8]| {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("adapter_config.json"), config).unwrap();
        std::fs::write(dir.path().join("adapter_model.safetensors"), weights).unwrap();
        let loaded = AdapterFolder::open(dir.path()).and_then(|a| a.load(&o, &base.config).map(drop));
        loaded.err().map_or(String::new(), |e| e.to_string())
    };
    let with = |key: &str, value: serde_json::Value| {
        let mut c = config.clone();
        c[key] = value;
        error(&c.to_string(), &weights)
    };
    assert_eq!(error(&config.to_string(), &weights), "", "as PEFT wrote it");
    use serde_json::json;
    for (key, value) in [
        ("peft_type", json!("IA3")),
        ("r", json!("8")),
        ("r", json!(0)),
        ("lora_alpha", json!(-1)),
        ("use_dora", json!(true)),
        ("bias", json!("all")),
        ("rank_pattern", json!({"q_proj": 4})),
        ("modules_to_save", json!(["lm_head"])),
        ("layers_to_transform", json!([0])),
        ("a_new_way", json!("of doing it")),
        ("init_lora_weights", json!("pissa_niter_16")),
        ("target_modules", json!(["c_attn"])),
        ("target_modules", json!(".*proj")),
        ("base_model_name_or_path", json!(null)),
    ] {
        let text = with(key, value.clone());
        assert!(text.contains("adapter_config.json") && text.contains(key), "{key} = {value}: {text:?}");
    }
    // Another rank, more or fewer targets than the file has tensors of, damage.
    assert!(with("r", json!(4)).contains("q_proj.lora_A.weight` has shape [5, 60]"), "{}", with("r", json!(4)));
    assert!(with("target_modules", json!(["q_proj"])).contains("unexpected tensor"));
    let missing = with("target_modules", json!(["q_proj", "v_proj", "down_proj", "o_proj"]));
    assert!(missing.contains("o_proj.lora_A.weight` is missing"), "{missing}");
    assert!(!error("{", &weights).is_empty());
    assert!(!error(&config.to_string(), &weights[..weights.len() - 5]).is_empty());
    let mut nan = weights.clone();
    let end = nan.len();
    nan[end - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(error(&config.to_string(), &nan).contains("NaN"), "{}", error(&config.to_string(), &nan));
}
