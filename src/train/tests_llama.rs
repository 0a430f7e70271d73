//! A Llama folder through whole trainings: every weight, in f32 and bf16, and adapters; stopped, resumed, saved and read back.

use std::path::Path;

use super::error::TrainError;
use super::grpo::{Grpo, GrpoConfig};
use super::optim::{OptimConfig, Optimizer, Precision};
use super::run::{Ended, Quiet, RunConfig, State, run};
use super::tests::{Before, Even, lines, requests};
use crate::cpu::Cpu;
use crate::generate::source::{Source, Storage};
use crate::model::config::Family;
use crate::model::lora::LoraConfig;
use crate::model::params::ParamSpec;
use crate::model::qwen2::Qwen2;
use crate::ops::Ops;

const STEPS: u64 = 10;

/// What is trained, and how weights are kept.
#[derive(Clone, Copy, Debug)]
struct Way {
    storage: Storage,
    precision: Precision,
    lora: bool,
    learning_rate: f64,
}

fn source() -> Source {
    Source::open(&format!("{}/kernels-tests/golden/llama", env!("CARGO_MANIFEST_DIR"))).unwrap()
}

fn bits<O: Ops>(o: &O, model: &Qwen2<O>) -> Vec<Vec<u32>> {
    model.trained().map(|t| o.read(t).unwrap().iter().map(|x| x.to_bits()).collect()).collect()
}

/// A training that breaks off before step `kill`.
fn train<O: Ops>(o: &O, way: Way, dir: &Path, kill: u64) -> Qwen2<O> {
    let env = Even { prompts: requests().into_iter().map(|r| r.prompt).collect() };
    let config = GrpoConfig {
        prompts_per_step: 4,
        num_generations: 8,
        max_completion_length: 6,
        beta: 0.01,
        ..Default::default()
    };
    let base = source().load(o, 32, way.storage).unwrap();
    let (model, anchor) = match way.lora {
        true => (base.with_fresh_adapters(o, &LoraConfig::default(), 3).unwrap(), base.sharing(None)),
        false => (source().load(o, 32, way.storage).unwrap(), base),
    };
    let optim = OptimConfig { learning_rate: way.learning_rate, precision: way.precision, ..OptimConfig::default() };
    let optimizer = Optimizer::new(o, &model, optim).unwrap();
    let grads = model.zeros_like(o).unwrap();
    let mut state = State { model, optimizer, grads };
    let mut stop = || Err(TrainError::Config("killed".into()));
    let mut objective = Before(Grpo { config, env: &env, anchor: Some(&anchor) }, kill, &mut stop);
    let c = RunConfig { max_steps: STEPS, save_steps: 5, ..RunConfig::default() };
    let ended = run(o, &mut state, &mut objective, &c, dir, None, &mut Quiet);
    assert_eq!(ended.ok(), (kill > STEPS).then_some(Ended::Complete { step: STEPS }));
    state.model
}

#[test]
fn a_llama_folder_trains_resumes_and_reads_back() {
    let o = Cpu::<f32>::new();
    let full = Way { storage: Storage::F32, precision: Precision::F32, lora: false, learning_rate: 0.02 };
    let packed = Way { storage: Storage::AsStored, precision: Precision::Bf16, ..full };
    let adapters = Way { storage: Storage::AsStored, lora: true, learning_rate: 0.05, ..full };
    for way in [full, packed, adapters] {
        let (whole, part, saved) =
            (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let model = train(&o, way, whole.path(), STEPS + 1);
        let rows = lines(whole.path(), "metrics.jsonl");
        let rewards: Vec<f64> = rows.iter().map(|r| r["reward"].as_f64().unwrap()).collect();
        let end = rewards[rewards.len() - 3..].iter().sum::<f64>() / 3.0;
        assert!(end > rewards[0] + 0.2, "{way:?}: {rewards:?}");
        for r in &rows {
            assert_eq!(r["sampling/sampling_logp_difference/max"], 0.0, "{way:?}: on-policy to the bit");
        }
        train(&o, way, part.path(), 7);
        assert!(bits(&o, &train(&o, way, part.path(), STEPS + 1)) == bits(&o, &model), "{way:?}: resumed");

        source().save(&o, &model, saved.path()).unwrap();
        let again = Source::open(&saved.path().to_string_lossy()).unwrap();
        assert_eq!((again.checkpoint.config.family, again.is_adapter()), (Family::Llama, way.lora));
        assert_eq!(again.checkpoint.config.rope(), model.config.rope());
        let read = again.load(&o, 32, way.storage).unwrap();
        // A folder in bf16 has norms in bf16 too; a device has them in f32.
        let whole = |s: &ParamSpec| !s.vector || way.precision == Precision::F32;
        for ((s, a), b) in model.trained_specs().iter().zip(bits(&o, &read)).zip(bits(&o, &model)) {
            assert!(a == b || !whole(s), "{way:?}: {} read back", s.name);
        }
    }
}
