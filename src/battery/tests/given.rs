//! Arms whose weights are given: measured as if trained here, marked as not trained here, never mixed.

use super::super::config::Arm;
use super::super::given::Given;
use super::super::provenance::Provenance;
use super::super::record::sha256_hex;
use super::super::run::{evaluate_one, plan};
use super::*;
use crate::domain::Condition;
use crate::generate::source::Storage;

#[test]
fn given_checkpoints_are_measured_like_trained_arms_and_never_mixed_with_them() {
    let dir = tempfile::tempdir().unwrap();
    let mut c = config(dir.path());
    (c.tests, c.sweep) = (vec![1, 2, 3], None);
    c.arms.truncate(3);
    model(&dir.path().join("model"), &c);
    let o = Cpu::<f32>::new();
    let (trained, measured) = (dir.path().join("trained"), dir.path().join("measured"));
    run(&o, &c, &trained, &mut Silent).unwrap();

    let folder = |arm: Arm| trained.join("train").join(arm.name()).join("seed-42/final").to_string_lossy().into_owned();
    let mut g = c.clone();
    g.arms.truncate(2);
    // The supervised arm stands for value: its weights move whatever a random model answers.
    let of = |arm, from| Given { arm, seed: 42, model: folder(from) };
    g.checkpoint = vec![of(Arm::Control, Arm::Control), of(Arm::Value, Arm::ValueSft)];
    // The settings of a training that does not take place play no part.
    g.run.max_steps = 7;
    let planned = plan(&o, &g, &measured, None, &mut Silent).unwrap();
    assert!(planned.cells.iter().filter(|c| c.name.starts_with("train ")).all(|c| c.done && c.seconds == 0.0));
    let results = run(&o, &g, &measured, &mut Silent).unwrap();
    assert_eq!(results.len(), 3);
    assert!(!measured.join("train").exists());
    for file in ["tests/01-generalisation/items.jsonl", "tests/02-monitoring/items.jsonl"] {
        let rows = |dir: &Path, arm: Arm| -> Vec<Row> {
            let all = super::super::rows::read(&dir.join(file)).unwrap();
            all.into_iter().filter(|r| r.arm == arm.name()).map(|r| Row { arm: String::new(), ..r }).collect()
        };
        let [control, value] = [Arm::Control, Arm::Value].map(|a| rows(&measured, a));
        assert!(!value.is_empty() && value == rows(&trained, Arm::ValueSft), "{file} differs");
        assert!(control == rows(&trained, Arm::Control) && value != rows(&trained, Arm::Base), "{file}");
    }
    let manifest: Manifest = serde_json::from_slice(&read(&measured.join("manifest.json"))).unwrap();
    let hash = Source::open(&folder(Arm::ValueSft)).unwrap().sha256().unwrap();
    assert_eq!(manifest.hashes["checkpoint value seed 42"], hash);
    assert!(results[0].health.iter().any(|h| h.name == "training of value, seed 42" && h.detail.contains("given")));
    let page = String::from_utf8(read(&crate::report::write(&measured).unwrap())).unwrap();
    assert!(page.contains("value, seed 42: given checkpoint") && page.contains("Given checkpoints: control seed 42"));
    assert!(!page.contains("No training log"));
    // Done already: nothing is asked of the model again.
    run(&o, &g, &measured, &mut Silent).unwrap();

    // Other weights, the same arm trained here, or a trained arm replaced: each another run.
    let before = (read(&measured.join("manifest.json")), read(&measured.join("config.toml")));
    let mut other = g.clone();
    other.checkpoint[1].model = folder(Arm::Value);
    let refused = run(&o, &other, &measured, &mut Silent).unwrap_err().to_string();
    assert!(refused.contains("another checkpoint value seed 42"), "{refused}");
    let here = BatteryConfig { arms: g.arms.clone(), ..c.clone() };
    let refused = run(&o, &here, &measured, &mut Silent).unwrap_err().to_string();
    assert!(refused.contains("cell `train control seed 42` was made under another"), "{refused}");
    let here = BatteryConfig { arms: c.arms.clone(), ..g.clone() };
    let refused = run(&o, &here, &trained, &mut Silent).unwrap_err().to_string();
    assert!(refused.contains("cell `train control seed 42` was made under another"), "{refused}");
    assert!(before == (read(&measured.join("manifest.json")), read(&measured.join("config.toml"))));

    // A model of another shape, and a checkpoint that no arm uses.
    let mut other = g.clone();
    other.checkpoint[0].model = "embedded".into();
    let refused = run(&o, &other, &dir.path().join("x"), &mut Silent).unwrap_err().to_string();
    assert!(refused.contains("is no checkpoint of") && refused.contains("hidden size"), "{refused}");
    for (change, needle) in [
        (Given { arm: Arm::Opposite, seed: 42, model: "m".into() }, "no arm of this run"),
        (Given { arm: Arm::Value, seed: 7, model: "m".into() }, "no seed 7"),
        (Given { arm: Arm::Value, seed: 42, model: "m".into() }, "given twice"),
        (Given { arm: Arm::Base, seed: 42, model: "m".into() }, "no weights of its own"),
    ] {
        let mut other = g.clone();
        other.checkpoint.push(change);
        let refused = other.check().unwrap_err().to_string();
        assert!(refused.contains(needle), "{refused}");
    }
    // As a file would say it.
    let text = toml::to_string_pretty(&g).unwrap();
    assert!(text.contains("[[checkpoint]]\narm = \"control\"\nseed = 42\n"), "{text}");
    assert_eq!(BatteryConfig::parse(&text, Path::new("c.toml")).unwrap().checkpoint, g.checkpoint);
}

#[test]
fn rows_outside_a_run_say_what_they_were_made_with() {
    let dir = tempfile::tempdir().unwrap();
    let c = config(dir.path());
    let folder = dir.path().join("model");
    model(&folder, &c);
    let (o, name) = (Cpu::<f32>::new(), folder.to_string_lossy().into_owned());
    let conditions = [Condition::Neutral];
    let rows = evaluate_one(&o, &c, (&name, Storage::AsStored), &conditions, 42, &mut Silent).unwrap();
    let file = dir.path().join("rows.jsonl");
    super::super::rows::write(&file, &rows).unwrap();
    let made =
        Provenance::new(&o, &c, (&name, Storage::AsStored), &conditions, 42).unwrap().write(&file, rows.len()).unwrap();
    assert!(made.ends_with("rows.jsonl.manifest.json"));
    let p: Provenance = serde_json::from_slice(&read(&made)).unwrap();
    assert_eq!((p.rows, p.seed, p.conditions.as_slice()), (rows.len(), 42, &["neutral".to_string()][..]));
    assert_eq!(p.rows_sha256, sha256_hex(&read(&file)));
    assert_eq!(p.model_sha256, Source::open(&name).unwrap().sha256().unwrap());
    assert_eq!((p.evaluate, p.version.as_str()), (c.evaluate, env!("CARGO_PKG_VERSION")));
}
