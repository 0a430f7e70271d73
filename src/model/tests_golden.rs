//! Golden files: the comparison, and what is refused.

use std::fs;

use safetensors::tensor::Dtype;
use tempfile::TempDir;

use super::config::ModelConfig;
use super::error::Result;
use super::golden::*;
use super::params::specs;
use super::tensor_file::TensorFile;
use super::tests_io::{Tensors, bytes_of, fails, fixture, set_f32, tensors};

/// A small linear congruential generator: the same damage in every run.
fn random(state: &mut u64, n: usize) -> usize {
    *state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
    (*state >> 33) as usize % n
}

/// Truncation anywhere is an error; any other damage to the header is an error or harmless, and never a panic.
#[test]
fn damaged_files_never_panic() {
    let good = fs::read(fixture("tied/golden.safetensors")).unwrap();
    let config = ModelConfig::read(&fixture("tied")).unwrap();
    let header = 8 + u64::from_le_bytes(good[..8].try_into().unwrap()) as usize;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("g.safetensors");
    let mut seed = 1;
    for cut in (0..32).chain((0..40).map(|_| random(&mut seed, good.len()))) {
        fs::write(&path, &good[..cut]).unwrap();
        assert!(TensorFile::open(&path).is_err(), "cut at {cut}");
    }
    let mut refused = 0;
    for _ in 0..300 {
        let mut bad = good.clone();
        for _ in 0..1 + random(&mut seed, 3) {
            let at = random(&mut seed, header);
            bad[at] = match random(&mut seed, 3) {
                0 => random(&mut seed, 256) as u8,
                1 => b"0123456789"[random(&mut seed, 10)],
                _ => bad[at] ^ (1 << random(&mut seed, 8)),
            };
        }
        fs::write(&path, &bad).unwrap();
        match Golden::open(&path, &config) {
            // What opens can also be read.
            Ok(g) => drop(g.verify(&mut Replay(&g), &Bounds::default())),
            Err(_) => refused += 1,
        }
    }
    assert!(refused > 200, "only {refused} of 300 damaged headers were noticed");
}

/// Answers with the file's own values: every row is exact.
struct Replay<'a>(&'a Golden);

impl Replay<'_> {
    fn values(&self, name: &str) -> Option<Vec<f32>> {
        self.0.reference(name).ok().flatten().map(|r| r.values)
    }
    fn part(&self, part: &str) -> LossAndGrads {
        let loss = self.values(&format!("{part}_loss")).map_or(0.0, |v| f64::from(v[0]));
        let config = ModelConfig::read(&fixture("tied")).unwrap();
        let grads = specs(&config).into_iter();
        let grads = grads.filter_map(|s| Some((s.name.clone(), self.values(&format!("{part}_grad.{}", s.name))?)));
        LossAndGrads { loss, grads: grads.collect() }
    }
}

impl GoldenModel for Replay<'_> {
    fn logits(&mut self, _: &[Vec<u32>]) -> Result<Vec<f32>> {
        Ok(self.values("logits").unwrap_or_default())
    }
    fn hidden(&mut self, _: &[Vec<u32>]) -> Result<Vec<Vec<f32>>> {
        Ok((0..3).map(|l| self.values(&format!("hidden.{l}")).unwrap_or_default()).collect())
    }
    fn ce(&mut self, _: &[Vec<u32>]) -> Result<LossAndGrads> {
        Ok(self.part("ce"))
    }
    fn grpo(&mut self, _: &[Vec<u32>], _: &GrpoBatch) -> Result<LossAndGrads> {
        Ok(self.part("grpo"))
    }
    fn greedy(&mut self, _: &[u32], _: usize) -> Result<Vec<u32>> {
        let t = tensors(&fixture("tied/golden.safetensors"));
        Ok(t["greedy.tokens"].2.chunks(8).map(|b| b[0] as u32 + 256 * b[1] as u32).collect())
    }
}

fn golden(t: &Tensors) -> (TempDir, Result<Golden>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("golden.safetensors");
    fs::write(&path, bytes_of(t)).unwrap();
    let opened = Golden::open(&path, &ModelConfig::read(&fixture("tied")).unwrap());
    (dir, opened)
}

#[test]
fn golden_parts_are_compared_where_the_mask_is_one() {
    let good = tensors(&fixture("tied/golden.safetensors"));
    let replay =
        Golden::open(&fixture("tied/golden.safetensors"), &ModelConfig::read(&fixture("tied")).unwrap()).unwrap();
    assert_eq!(replay.sequences().unwrap().iter().map(Vec::len).collect::<Vec<_>>(), [12, 7, 10]);
    assert_eq!(replay.positions(), 6 + 32);
    let rows = replay.verify(&mut Replay(&replay), &Bounds::default()).unwrap();
    assert_eq!(rows.len(), 1 + 3 + 1 + 26 + 1 + 26 + 1);
    assert!(rows.iter().all(|r| r.ok && r.max_abs == 0.0 && r.nmse == 0.0));

    // Element [1, 6, 5] of the logits is compared, [1, 7, 5] is padding.
    let (at, padding) = ((12 + 6) * 320 + 5, (12 + 7) * 320 + 5);
    let mut t = good.clone();
    set_f32(&mut t, "logits", padding, f32::NAN);
    set_f32(&mut t, "logits", at, 1000.0);
    let name = "grpo_grad.model.layers.1.mlp.down_proj.weight";
    set_f32(&mut t, name, 64, 9.0);
    set_f32(&mut t, "grpo_loss", 0, 0.00132576);
    t.get_mut("greedy.tokens").unwrap().2[8 * 3] ^= 1;
    let (_dir, bad) = golden(&t);
    let rows = bad.unwrap().verify(&mut Replay(&replay), &Bounds::default()).unwrap();
    let failed: Vec<(&str, &[usize])> =
        rows.iter().filter(|r| !r.ok).map(|r| (r.tensor.as_str(), r.worst_index.as_slice())).collect();
    let want: [(&str, &[usize]); 4] =
        [("logits", &[1, 6, 5]), ("grpo_loss", &[0]), (name, &[0, 64]), ("greedy.tokens", &[3])];
    assert_eq!(failed, want);
    let logits = &rows[0];
    let original = replay.reference("logits").unwrap().unwrap().values[(12 + 6) * 320 + 5];
    assert_eq!((logits.want, logits.got, logits.shape.as_slice()), (1000.0, f64::from(original), &[3, 12, 320][..]));
    assert_eq!((logits.max_abs, logits.max_rel), (1000.0 - logits.got, (1000.0 - logits.got) / 1000.0));
}

#[test]
fn comparison_is_relative_to_the_largest_magnitude() {
    let mut t = Tensors::new();
    let f32s = |v: &[f32]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
    let ids = [3i64, 4].iter().flat_map(|x| x.to_le_bytes()).collect();
    t.insert("input_ids".into(), (Dtype::I64, vec![1, 2], ids));
    let mut values = vec![0.0; 128];
    (values[0], values[1]) = (-2.0, 0.5);
    t.insert("hidden.1".into(), (Dtype::F32, vec![1, 2, 64], f32s(&values)));
    t.insert("hidden.2".into(), (Dtype::F32, vec![1, 2, 64], f32s(&[0.0; 128])));
    let (_dir, g) = golden(&t);
    let g = g.unwrap();
    let want = g.reference("hidden.1").unwrap().unwrap();
    values[65] = 1.9e-5;
    let row = want.compare(&values, 1e-5, 0.0).unwrap();
    assert!(row.ok && row.worst_index == [0, 1, 1]);
    assert!((row.max_rel - 0.95e-5).abs() < 1e-11 && (row.nmse / (1.9e-5f64.powi(2) / 4.25) - 1.0).abs() < 1e-6);
    values[65] = 2.1e-5;
    assert!(!want.compare(&values, 1e-5, 0.0).unwrap().ok);
    assert!(want.compare(&values, 1e-5, 2e-6).unwrap().ok, "slack is absolute");
    values[65] = f32::NAN;
    let row = want.compare(&values, 1e-5, 0.0).unwrap();
    assert!(!row.ok && row.worst_index == [0, 1, 1] && row.got.is_nan());
    fails(want.compare(&values[1..], 1e-5, 0.0), &["127 values for 128"]);
    let zero = g.reference("hidden.2").unwrap().unwrap();
    assert!(zero.compare(&[0.0; 128], 1e-5, 0.0).unwrap().ok);
    assert!(!zero.compare(&values, 1e-5, 0.0).unwrap().ok);
}

#[test]
fn wrong_golden_files_are_refused() {
    let good = tensors(&fixture("tied/golden.safetensors"));
    let check = |edit: &dyn Fn(&mut Tensors), says: &[&str]| {
        let mut t = good.clone();
        edit(&mut t);
        fails(golden(&t).1, says);
    };
    fn put(t: &mut Tensors, name: &str, like: &str) {
        let copy = t[like].clone();
        t.insert(name.into(), copy);
    }
    fn set_i64(t: &mut Tensors, name: &str, index: usize, value: i64) {
        t.get_mut(name).unwrap().2[8 * index..8 * index + 8].copy_from_slice(&value.to_le_bytes());
    }
    check(&|t| put(t, "logit", "logits"), &["`logit`", "Is `logits` meant"]);
    check(&|t| put(t, "hidden.3", "hidden.2"), &["`hidden.3`", "has 2 layers"]);
    check(&|t| put(t, "ce_grad.lm_head.weight", "ce_grad.model.embed_tokens.weight"), &["head is tied"]);
    check(&|t| t.get_mut("logits").unwrap().1 = vec![3, 320, 12], &["logits", "[3, 320, 12]", "[3, 12, 320]"]);
    check(&|t| t.get_mut("hidden.0").unwrap().1 = vec![36, 64], &["hidden.0", "[3, 12, 64]"]);
    check(&|t| t.get_mut("input_ids").unwrap().1 = vec![36], &["input_ids", "[B, T]"]);
    check(&|t| t.get_mut("logits").unwrap().0 = Dtype::I32, &["logits", "dtype I32", "F32"]);
    check(&|t| t.get_mut("input_ids").unwrap().0 = Dtype::F64, &["input_ids", "dtype F64"]);
    let grad = "ce_grad.model.layers.0.self_attn.q_proj.weight";
    check(&|t| t.get_mut(grad).unwrap().1 = vec![32, 128], &[grad, "[64, 64]"]);
    check(&|t| set_i64(t, "input_ids", 2, 320), &["id 320 at token 2 of row 0", "0 to 319"]);
    check(&|t| set_i64(t, "greedy.prompt", 1, -1), &["greedy.prompt", "id -1 at element 1"]);
    check(&|t| set_i64(t, "attention_mask", 0, 0), &["attention_mask", "right padding", "row 0"]);
    check(&|t| set_i64(t, "attention_mask", 3, 2), &["attention_mask", "right padding"]);
    check(&|t| set_f32(t, "grpo.completion_mask", 11 + 6, 1.0), &["1 at [1, 6]", "must not be padding"]);
    check(&|t| set_f32(t, "grpo.completion_mask", 0, 0.5), &["grpo.completion_mask", "0.5 at element 0"]);
    check(&|t| set_f32(t, "grpo.advantages", 2, f32::INFINITY), &["grpo.advantages", "inf at element 2"]);
    check(&|t| set_f32(t, "grpo.ref_logps", 10, f32::NAN), &["grpo.ref_logps", "NaN at element 10"]);
    for name in ["input_ids", "grpo.completion_mask", "grpo.advantages", "grpo.ref_logps", "grpo.beta", "greedy.prompt"]
    {
        check(&|t| drop(t.remove(name)), &[name, "missing", "needs it"]);
    }
    check(&|t| t.retain(|n, _| n.starts_with("input") || n.starts_with("grpo.")), &["nothing in it to compare"]);
    // Parts may be left out; ids at padding are not looked at.
    let mut t = good.clone();
    t.retain(|n, _| n.starts_with("greedy."));
    golden(&t).1.unwrap();
    let mut t = good.clone();
    set_i64(&mut t, "input_ids", 12 + 11, -100);
    set_f32(&mut t, "logits", 7, f32::NAN);
    let (_dir, g) = golden(&t);
    fails(g.unwrap().reference("logits").map(|_| ()), &["logits", "NaN at element 7"]);
}
