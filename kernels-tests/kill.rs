//! The program killed, stopped and started again: the same bytes as if nothing had happened.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use probity::cpu::Cpu;
use probity::domain::frugality::Frugality;
use probity::domain::{Domain, Split};
use probity::generate::source::save;
use probity::model::config::Sizes;
use probity::model::init;
use probity::model::qwen2::Qwen2;
use probity::model::save::SideFiles;
use probity::model::tensor_file::FileDtype;
use probity::text::train::{train_bpe, write_files};

/// A random model, and an experiment of a second or two on it.
fn experiment(dir: &Path) -> PathBuf {
    let model = dir.join("model");
    let domain = Frugality::new(Default::default(), 8).unwrap();
    let mut texts: Vec<String> = Split::ALL.iter().flat_map(|&s| domain.items(s)).map(|i| i.prompt.clone()).collect();
    texts.extend(domain.cues().all().iter().map(|c| c.text.clone()));
    let json = train_bpe(texts.into_iter(), 320).unwrap();
    std::fs::create_dir_all(&model).unwrap();
    write_files(&model, &json).unwrap();
    let sizes = Sizes {
        hidden_size: 16,
        num_hidden_layers: 1,
        num_attention_heads: 2,
        num_key_value_heads: 1,
        intermediate_size: 16,
        vocab_size: 320,
        rope_theta: 1e4,
        max_position_embeddings: 512,
    };
    let o = Cpu::<f32>::new();
    let c = sizes.config(&model).unwrap();
    let weights = Qwen2::new(&o, c.clone(), init::random(&o, &c, 1).unwrap(), 8).unwrap();
    save(&o, &weights, FileDtype::Bf16, &SideFiles::read(&model).unwrap(), &model).unwrap();
    let path = dir.join("experiment.toml");
    let text = format!(
        "name = \"killed\"\nmodel = {model:?}\ntests = [1]\narms = [\"value\"]\n\
         [frugality]\nmin_distinct = 1\ntrain = 40\nval = 8\ntest = 16\n\
         [run]\nmax_steps = 40\nsave_steps = 2\nlogging_steps = 3\n\
         [grpo]\nprompts_per_step = 2\nnum_generations = 4\nmax_completion_length = 8\n\
         [evaluate]\nsamples = 2\nmax_new_tokens = 6\n"
    );
    std::fs::write(&path, text).unwrap();
    path
}

fn start(experiment: &Path, out: &Path) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_probity"));
    command.arg("train").arg(experiment).args(["--device", "cpu", "--out"]).arg(out);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn finish(child: Child) -> Output {
    child.wait_with_output().unwrap()
}

fn complete(child: Child) {
    let out = finish(child);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
}

/// Every file of a run without what may differ: times.
fn contents(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut open = vec![dir.to_path_buf()];
    while let Some(at) = open.pop() {
        for entry in std::fs::read_dir(&at).unwrap() {
            let path = entry.unwrap().path();
            let name = path.strip_prefix(dir).unwrap().to_string_lossy().into_owned();
            if path.is_dir() {
                open.push(path);
                continue;
            }
            let file = path.file_name().unwrap().to_string_lossy().into_owned();
            let bytes = match file.as_str() {
                "manifest.json" | "cells.json" => continue,
                f if f.starts_with("events.out.tfevents.") => continue,
                "metrics.jsonl" => {
                    let text = std::fs::read_to_string(&path).unwrap();
                    let timeless = |line: &str| {
                        let mut row: serde_json::Value = serde_json::from_str(line).unwrap();
                        let fields = row.as_object_mut().unwrap();
                        fields.remove("step_time");
                        fields.remove("tokens_per_second");
                        format!("{row}\n")
                    };
                    text.lines().map(timeless).collect::<String>().into_bytes()
                }
                _ => std::fs::read(&path).unwrap(),
            };
            found.insert(name, bytes);
        }
    }
    found
}

fn same(whole: &Path, other: &Path) {
    let (a, b) = (contents(whole), contents(other));
    assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
    for (name, bytes) in &a {
        assert!(b[name] == *bytes, "{name} differs");
    }
    // Weights, moments, rows, the finished model.
    for part in ["adam_m.safetensors", "adam_v.safetensors", "final/model.safetensors", "completions.jsonl"] {
        assert!(a.keys().any(|k| k.ends_with(part)), "no {part} to compare");
    }
}

#[test]
fn killed_and_stopped_runs_end_in_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let experiment = experiment(dir.path());
    let [whole, killed, stopped] = ["whole", "killed", "stopped"].map(|n| dir.path().join(n));
    let clock = Instant::now();
    complete(start(&experiment, &whole));
    let duration = clock.elapsed();

    // Killed at moments spread over the whole run, start and end included, without regard to what it is doing.
    let kills = 8;
    for i in 0..kills {
        let mut child = start(&experiment, &killed);
        let jitter = f64::from((i * 7919) % 13) / 13.0;
        std::thread::sleep(duration.mul_f64(0.9 * (f64::from(i) + jitter) / f64::from(kills)));
        child.kill().unwrap();
        finish(child);
    }
    complete(start(&experiment, &killed));
    same(&whole, &killed);

    // Stopped by SIGINT and by SIGTERM once a few steps are done.
    let log = stopped.join("train/value/seed-42/metrics.jsonl");
    let rows = || std::fs::read_to_string(&log).map_or(0, |t| t.lines().count());
    for signal in ["INT", "TERM"] {
        let child = start(&experiment, &stopped);
        let (before, since) = (rows(), Instant::now());
        while rows() < before + 2 && since.elapsed() < Duration::from_secs(20) {
            std::thread::sleep(Duration::from_millis(2));
        }
        assert!(
            Command::new("kill").args([&format!("-{signal}"), &child.id().to_string()]).status().unwrap().success()
        );
        let out = finish(child);
        let text = String::from_utf8_lossy(&out.stderr);
        assert_eq!(out.status.code(), Some(130), "{text}");
        assert!(text.contains("is saved in") && text.contains("To go on: ") && text.contains("--device cpu"), "{text}");
    }
    complete(start(&experiment, &stopped));
    same(&whole, &stopped);
}
