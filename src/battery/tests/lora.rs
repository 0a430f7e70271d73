//! A battery whose arms are adapters, and the budget of device memory.

use super::super::budget::Memory;
use super::super::config::Arm;
use super::super::given::Given;
use super::super::run::train_one;
use super::*;
use crate::config::Size;
use crate::generate::source::Storage;
use crate::gpu::{Gpu, GpuOptions, list_adapters};
use crate::model::lora::LoraConfig;
use crate::model::peft::is_adapter;
use crate::ops::Ops;
use crate::train::optim::Precision;

#[test]
fn arms_can_be_adapters_through_every_kind_of_training() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = config(dir.path());
    (c.tests, c.sweep) = (vec![1, 4, 5], None);
    c.arms.truncate(3);
    c.lora = Some(LoraConfig { r: 3, lora_alpha: 8.0, ..LoraConfig::default() });
    model(&dir.path().join("model"), &c);
    let o = Cpu::<f32>::new();
    let (first, second) = (dir.path().join("first"), dir.path().join("second"));
    run(&o, &c, &first, &mut Silent).unwrap();
    let folder = |arm: Arm| first.join("train").join(arm.name()).join("seed-42/final");
    for arm in ["control", "value", "value-sft"] {
        let made = folder(Arm::of_name(arm).unwrap());
        assert!(is_adapter(&made) && !made.join("model.safetensors").exists());
    }
    // Supervised training moved the adapters; the start of every phase is the arm, so its first check is at distance 0.
    let sha = |arm| Source::open(&folder(arm).to_string_lossy()).unwrap().sha256().unwrap();
    assert_ne!(sha(Arm::ValueSft), Source::open(&c.model).unwrap().sha256().unwrap());
    let base = crate::model::peft::AdapterFolder::open(&folder(Arm::Value)).unwrap().base;
    assert_eq!(std::fs::canonicalize(base).unwrap(), std::fs::canonicalize(&c.model).unwrap());
    for (phase, arm) in [("attack-base", "value"), ("attack-start", "value-sft"), ("attack-supervised", "value-sft")] {
        let check = first.join("phases").join(phase).join(arm).join("seed-42/checks");
        if check.exists() {
            let kl = |step: u64| -> f64 {
                let text = read(&check.join(format!("step-{step:06}.json")));
                serde_json::from_slice::<serde_json::Value>(&text).unwrap()["kl"].as_f64().unwrap()
            };
            assert_eq!(kl(0), 0.0, "{phase} of {arm} starts elsewhere");
        }
    }
    let moved = first.join("phases/attack-supervised/value-sft/seed-42/checks/step-000004.json");
    let moved: serde_json::Value = serde_json::from_slice(&read(&moved)).unwrap();
    assert!(moved["kl"].as_f64().unwrap() > 0.0, "the supervised attack moves the adapters");

    // Stopped again and again: the same rows.
    let mut stops = 0;
    while let Err(e) = run(&o, &c, &second, &mut Stopping(Rc::new(Cell::new(9 + 4 * stops)))) {
        assert!(e.to_string().starts_with("stopped "), "{e}");
        stops += 1;
    }
    assert!(stops > 3, "{stops} stops");
    for file in
        ["tests/01-generalisation/items.jsonl", "tests/04-counter-training/items.jsonl", "tests/05-anchors/items.jsonl"]
    {
        assert!(read(&first.join(file)) == read(&second.join(file)), "{file} differs");
    }
    let weights = "train/value-sft/seed-42/final/adapter_model.safetensors";
    assert!(read(&first.join(weights)) == read(&second.join(weights)), "{weights} differs");

    // Adapters as given checkpoints are measured as they were; trained on top of only where every arm's training is one of adapters.
    let of = |arm| Given { arm, seed: 42, model: folder(arm).to_string_lossy().into_owned() };
    let mut g = BatteryConfig { lora: None, tests: vec![1, 4], ..c.clone() };
    g.checkpoint = vec![of(Arm::Control), of(Arm::Value), of(Arm::ValueSft)];
    let measured = dir.path().join("measured");
    let refused = run(&o, &g, &measured, &mut Silent).unwrap_err().to_string();
    assert!(refused.contains("LoRA adapter") && refused.contains("add [lora]"), "{refused}");
    assert!(!measured.exists());
    g.lora = c.lora.clone();
    run(&o, &g, &measured, &mut Silent).unwrap();
    let file = "tests/01-generalisation/items.jsonl";
    assert!(read(&first.join(file)) == read(&measured.join(file)), "{file} differs");
    assert!(measured.join("phases/attack-supervised/value-sft/seed-42/checkpoint-4/adapters.safetensors").exists());

    // What is on top of this run's weights is found wherever they lay when it was written.
    let made = dir.path().join("moved");
    std::fs::create_dir_all(&made).unwrap();
    for name in ["adapter_config.json", "adapter_model.safetensors"] {
        std::fs::copy(folder(Arm::ValueSft).join(name), made.join(name)).unwrap();
    }
    let path = made.join("adapter_config.json");
    let mut json: serde_json::Value = serde_json::from_slice(&read(&path)).unwrap();
    json["base_model_name_or_path"] = "/nowhere/at/all".into();
    std::fs::write(&path, json.to_string()).unwrap();
    let text = Source::open(&made.to_string_lossy()).err().unwrap().to_string();
    assert!(text.contains("/nowhere/at/all") && text.contains("adapter_config.json"), "{text}");
    let source = Source::open(&c.model).unwrap();
    let weights = |m: &Qwen2<Cpu<f32>>| m.trained().map(|t| o.read(t).unwrap()).collect::<Vec<_>>();
    let there = source.load_trained(&o, &made, 8, Storage::F32).unwrap();
    let here = Source::open(&folder(Arm::ValueSft).to_string_lossy()).unwrap().load(&o, 8, Storage::F32).unwrap();
    assert_eq!(weights(&there), weights(&here));

    // Whole weights are what a battery starts from.
    let on_top = BatteryConfig { model: folder(Arm::Value).to_string_lossy().into_owned(), ..c.clone() };
    let refused = run(&o, &on_top, &dir.path().join("on-top"), &mut Silent).unwrap_err().to_string();
    assert!(refused.contains("LoRA adapter") && refused.contains("base model"), "{refused}");
    assert!(!dir.path().join("on-top").exists());
    // An adapter that names itself, or another adapter, as its base.
    json["base_model_name_or_path"] = made.to_string_lossy().into_owned().into();
    std::fs::write(&path, json.to_string()).unwrap();
    assert!(Source::open(&made.to_string_lossy()).err().unwrap().to_string().contains("adapter itself"));

    let mut bad = c.clone();
    bad.lora = Some(LoraConfig { r: 0, ..LoraConfig::default() });
    assert!(bad.check().unwrap_err().to_string().contains("lora: r = 0"));
    // Codes are frozen: adapters or nothing.
    let mut codes = c.clone();
    codes.optim.precision = Precision::Nf4;
    codes.lora = None;
    let text = codes.check().unwrap_err().to_string();
    assert!(text.contains("\"nf4\"") && text.contains("[lora]"), "{text}");
    codes.lora = Some(LoraConfig::default());
    codes.check().unwrap();
}

#[test]
fn a_run_above_its_budget_is_refused_before_any_work() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = config(dir.path());
    model(&dir.path().join("model"), &c);
    let adapters = list_adapters();
    let adapter = adapters.first().expect("a graphics adapter (apt-get install mesa-vulkan-drivers)");
    let o = Gpu::open(adapter, &GpuOptions::default()).unwrap();
    c.vram = Some(Size(1 << 20));
    let small = dir.path().join("small");
    let refused = run(&o, &c, &small, &mut Silent).unwrap_err().to_string();
    assert!(refused.contains("vram allows 0.00 GiB") && refused.contains("probity plan"), "{refused}");
    assert!(!small.join("train").exists() && !small.join("attractors").exists());
    // The CPU has no memory of its own to budget.
    c.vram = Some(Size(8 << 30));
    let large = dir.path().join("large");
    train_one(&o, &c, &large, Arm::ValueSft, 42, &mut Silent).unwrap();
    let memory = Memory::read(&large).unwrap().unwrap();
    assert!(memory.peak > 0 && memory.planned_peak > 0 && memory.vram == c.vram, "{memory:?}");
    assert!(memory.describe().contains("GiB of tensors"));
}
