//! Forward and backward against PyTorch's values (`kernels-tests/golden/`).
use super::batch::Batch;
use super::hooks::HookSet;
use super::params::Params;
use super::qwen2::*;
use super::weights::Checkpoint;
use crate::cpu::Cpu;
use crate::ops::*;

fn f32s(st: &safetensors::SafeTensors, n: &str) -> Vec<f32> {
    let v = st.tensor(n).unwrap();
    match v.dtype() {
        safetensors::Dtype::F32 => {
            v.data().chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
        }
        safetensors::Dtype::I64 => {
            v.data().chunks_exact(8).map(|b| i64::from_le_bytes(b.try_into().unwrap()) as f32).collect()
        }
        d => panic!("{d:?}"),
    }
}

fn rel(got: &[f32], want: &[f32]) -> f32 {
    assert_eq!(got.len(), want.len());
    let big = want.iter().fold(0f32, |a, b| a.max(b.abs()));
    got.iter().zip(want).fold(0f32, |a, (g, w)| a.max((g - w).abs())) / big
}

fn check<O: Ops>(o: &O, name: &str, recompute: Recompute) {
    let dir = format!("kernels-tests/golden/{name}/");
    let checkpoint = Checkpoint::open(std::path::Path::new(&dir)).unwrap();
    let c = checkpoint.config.clone();
    let gb = std::fs::read(format!("{dir}golden.safetensors")).unwrap();
    let g = safetensors::SafeTensors::deserialize(&gb).unwrap();
    let params: Params<O::T> =
        Params::build(&c, |s| o.upload(s.rows, s.cols, &checkpoint.f32(&s.name).unwrap())).unwrap();
    let model = Qwen2::new(o, c.clone(), params, 64).unwrap();
    let shape = g.tensor("input_ids").unwrap().shape().to_vec();
    let (ids, mask) = (f32s(&g, "input_ids"), f32s(&g, "attention_mask"));
    let seqs: Vec<Vec<u32>> = (0..shape[0])
        .map(|b| (0..shape[1]).filter(|t| mask[b * shape[1] + t] > 0.0).map(|t| ids[b * shape[1] + t] as u32).collect())
        .collect();
    let batch = Batch::new(o, &seqs).unwrap();
    let hooks = HookSet::default();
    let saved = model.forward_saved(o, &batch, &hooks, recompute).unwrap();
    let logits = o.read(&model.logits(o, &saved.out, None, &hooks).unwrap()).unwrap();
    let want = f32s(&g, "logits");
    let mut packed = vec![];
    for b in 0..shape[0] {
        for t in 0..shape[1] {
            if mask[b * shape[1] + t] > 0.0 {
                let r = (b * shape[1] + t) * c.vocab_size;
                packed.extend_from_slice(&want[r..r + c.vocab_size]);
            }
        }
    }
    let e = rel(&logits, &packed);
    eprintln!("{name} logits {e:e}");
    assert!(e < 1e-5);
    // CE
    let (mut rows, mut targets, mut at) = (vec![], vec![], 0u32);
    for s in &seqs {
        for (t, &target) in s.iter().enumerate().skip(1) {
            rows.push(at + t as u32 - 1);
            targets.push(target);
        }
        at += s.len() as u32;
    }
    let n = rows.len();
    let (rows, targets) = (o.upload_index(&rows).unwrap(), o.upload_index(&targets).unwrap());
    let tail = model.tail(o, &saved.out, &rows, &targets, 1.0, &hooks).unwrap();
    let logp = o.read(&tail.head.logp).unwrap();
    let loss = -logp.iter().sum::<f32>() / n as f32;
    let want = f32s(&g, "ce_loss")[0];
    eprintln!("{name} loss {loss} {want}");
    assert!((loss - want).abs() < 1e-5 * want);
    let d = o.upload(n, 1, &vec![-1.0 / n as f32; n]).unwrap();
    let mut grads = model.zeros_like(o).unwrap();
    let dout = model.tail_bwd(o, tail, &d, &rows, &targets, 1.0, batch.rows(), &hooks, &mut grads).unwrap();
    model.backward(o, saved, dout, &batch, &hooks, &mut grads).unwrap();
    let mut worst = 0f32;
    for (s, gr) in super::params::specs(&c).iter().zip(grads.iter()) {
        let e = rel(&o.read(gr).unwrap(), &f32s(&g, &format!("ce_grad.{}", s.name)));
        assert!(e < 3e-5, "{name} {} {e:e}", s.name);
        worst = worst.max(e);
    }
    eprintln!("{name} grads {worst:e}");
}

#[test]
fn golden() {
    for name in ["tied", "untied", "llama"] {
        for r in [Recompute::None, Recompute::Mlp, Recompute::Layer] {
            check(&Cpu::<f64>::new(), name, r);
            check(&Cpu::<f32>::plain(), name, r);
        }
    }
}
