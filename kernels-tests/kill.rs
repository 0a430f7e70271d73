//! The program killed, stopped and started again: the same bytes as if nothing had happened.
#![cfg(unix)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const STEPS: i64 = 16;

/// An experiment of two seconds on the embedded model, which earns rewards: its weights move at every step.
fn experiment(dir: &Path) -> PathBuf {
    let mut all: toml::Table = toml::from_str(include_str!("../configs/tiny.toml")).unwrap();
    let mut set = |section: &str, values: &[(&str, i64)]| {
        let section = all[section].as_table_mut().unwrap();
        values.iter().for_each(|(k, v)| drop(section.insert((*k).into(), (*v).into())));
    };
    set("frugality", &[("min_distinct", 1), ("train", 40), ("val", 8), ("test", 16)]);
    set("run", &[("max_steps", STEPS), ("save_steps", 2), ("logging_steps", 3)]);
    set("grpo", &[("prompts_per_step", 2), ("num_generations", 4), ("max_completion_length", 24)]);
    all["run"].as_table_mut().unwrap().remove("zero_std_limit");
    let path = dir.join("experiment.toml");
    std::fs::write(&path, all.to_string()).unwrap();
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
    let moments = a.iter().find(|(k, _)| k.ends_with("adam_v.safetensors")).unwrap().1;
    assert!(moments.iter().rev().take(1000).any(|b| *b != 0), "nothing was learned: nothing is compared");
}

#[test]
fn killed_and_stopped_runs_end_in_the_same_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let experiment = experiment(dir.path());
    let [whole, killed, stopped] = ["whole", "killed", "stopped"].map(|n| dir.path().join(n));
    let clock = Instant::now();
    complete(start(&experiment, &whole));
    let duration = clock.elapsed();

    // Killed at many moments, from the start into the training, without regard to what it is doing; each goes a little further.
    let kills = 6;
    for i in 0..kills {
        let mut child = start(&experiment, &killed);
        let jitter = f64::from((i * 7919) % 13) / 13.0;
        std::thread::sleep(duration.mul_f64(0.4 * (f64::from(i) + jitter) / f64::from(kills)));
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
        while rows() < before + 1 && since.elapsed() < Duration::from_secs(20) {
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
