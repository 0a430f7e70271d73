//! A backend with one fault is found out, and the fault named.

use super::compare::worst;
use super::*;
use crate::cpu::{Cpu, Dims, Kernels, Plain, Values, uniform};
use crate::ops::Span;

/// Plain arithmetic with one operation done wrongly.
#[derive(Clone, Copy, PartialEq)]
enum Faulty {
    Nowhere,
    Matmul,
    Swiglu,
    Softmax,
    Norm,
}

impl Kernels<f32> for Faulty {
    fn name(&self) -> String {
        "faulty".into()
    }
    fn nt(&self, y: &mut [f32], x: &[f32], w: Values<f32>, bias: Option<&[f32]>, d: Dims) {
        Plain.nt(y, x, w, bias, d);
        if *self == Faulty::Matmul {
            y[5] += 0.01;
        }
    }
    fn swiglu(&self, y: &mut [f32], g: &[f32], u: &[f32]) {
        Plain.swiglu(y, g, u);
        if *self == Faulty::Swiglu {
            y[3] = f32::NAN;
        }
    }
    fn log_softmax(&self, lse: &mut [f32], entropy: &mut [f32], z: &[f32], t: f32) {
        Plain.log_softmax(lse, entropy, z, t);
        if *self == Faulty::Softmax {
            lse[2] += 0.01;
        }
    }
    fn sum_squares(&self, x: &[f32]) -> (f64, u64) {
        let (sum, bad) = Plain.sum_squares(x);
        (sum, if *self == Faulty::Norm { bad + 1 } else { bad })
    }
}

/// Every operation once, on the faulty backend checked by the oracle.
fn run(fault: Faulty) -> Result<()> {
    let o = Checked::new(Cpu::<f32>::with(fault), Cpu::<f64>::new(), 1e-4);
    let mut seed = 0;
    let mut random = |rows: usize, cols: usize| {
        let values: Vec<f32> = (0..rows * cols)
            .map(|_| {
                seed += 1;
                uniform([seed, 0, 0, 0]) - 0.5
            })
            .collect();
        o.upload(rows, cols, &values)
    };
    let (m, h, vocab) = (4, 8, 12);
    let ids = o.upload_index(&[0, 11, 3, 3])?;
    let rows = o.upload_index(&[2, 1, 3, 0])?;
    let (mut embedding, mut norm_w, gate, up) = (random(vocab, h)?, random(1, h)?, random(h, h)?, random(h, h)?);
    let x = o.embed(&embedding, &ids)?;
    let (y, rstd) = o.rmsnorm(&x, &norm_w, 1e-6)?;
    let mut q = o.matmul_nt(&y, &gate, Some(&norm_w))?;
    let table = o.rope_table(4, 4, 10000.0)?;
    o.rope(&mut q, &rows, &table, 4, false)?;
    let shape = AttnShape { heads: 2, kv_heads: 2, head_dim: 4, scale: 0.5 };
    let plan = o.attn_plan(Span::packed(&[3, 1]))?;
    let (out, lse) = o.attention(&q, &y, &x, &plan, &shape)?;
    let (dq, _, mut dv) = o.attention_bwd(&y, &q, &y, &x, &out, &lse, &plan, &shape)?;
    let (s, n, rstd2) = o.add_rmsnorm(&x, &out, &norm_w, 1e-6)?;
    let (g, u) = (o.matmul_nt(&n, &gate, None)?, o.matmul_nt(&n, &up, None)?);
    let mut act = o.swiglu(&g, &u)?;
    o.add_row(&mut act, &norm_w, 2.0)?;
    let (dg, _) = o.swiglu_bwd(&y, &g, &u)?;
    let dn = o.matmul_nn(&dg, &gate, Some(dq))?;
    let mut d_norm = o.zeros(1, h)?;
    let ds = o.rmsnorm_bwd(&dn, &s, &norm_w, &rstd2, Some(&mut d_norm), Some(o.copy(&y)?))?;
    o.rmsnorm_bwd(&ds, &x, &norm_w, &rstd, None, None)?;
    o.bias_bwd(&mut d_norm, &ds)?;
    o.scale(&mut d_norm, 0.5)?;
    o.ablate_row(&mut dv, &norm_w)?;
    o.scatter_rows(&mut dv, &ds, &rows)?;
    o.scatter_add_rows(&mut dv, &ds, &rows)?;
    o.add(&mut dv, &o.gather_rows(&ds, &rows)?)?;
    let head = o.head_logp(&act, &embedding, &ids, 0.8)?;
    let mut d_embedding = o.zeros(vocab, h)?;
    o.head_logp_bwd(&head.entropy, &act, &embedding, &ids, 0.8, &head, Some(&mut d_embedding))?;
    o.embed_bwd(&mut d_embedding, &dv, &o.scatter_plan(&[0, 11, 3, 3])?)?;
    o.matmul_tn(&mut d_embedding, &o.matmul_nt(&act, &embedding, None)?, &dv)?;
    let mut logits = o.matmul_nt(&act, &embedding, None)?;
    o.repetition_penalty(&mut logits, &o.upload_index(&[4, 5])?, &o.upload_index(&[0, 1, 1, 1, 2])?, 1.3)?;
    let keys = o.upload_index(&(0..16).collect::<Vec<_>>())?;
    for temperature in [0.0, 1.0] {
        let (chosen, _) = o.sample(&logits, &Sampling { temperature, top_k: 4, top_p: 0.9 }, &keys)?;
        assert_eq!(o.read_index(&chosen)?.len(), m);
    }
    let norm = o.global_norm(&[&d_norm, &d_embedding])?;
    let hyper = AdamW {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        bias_correction1: 0.1,
        bias_correction2: 0.01,
        max_norm: 1.0,
    };
    let (mut m1, mut m2) = (o.zeros(vocab, h)?, o.zeros(vocab, h)?);
    o.adamw(&mut embedding, &d_embedding, &mut m1, &mut m2, &hyper, &norm)?;
    o.fill(&mut norm_w, 1.0)?;
    assert_eq!(o.read(&norm_w)?, [1.0; 8]);
    o.sync()
}

#[test]
fn the_first_wrong_operation_is_named() {
    run(Faulty::Nowhere).unwrap();
    for (fault, want, number) in [
        (Faulty::Matmul, ("matmul_nt", "y", 5), 3),
        (Faulty::Swiglu, ("swiglu", "y", 3), 10),
        (Faulty::Softmax, ("head_logp", "lse", 2), 24),
        (Faulty::Norm, ("global_norm", "count of NaN and infinite", 0), 33),
    ] {
        match run(fault) {
            Err(OpError::Disagree { op, what, index, call, left, .. }) => {
                assert_eq!((op, what, index), want);
                assert_eq!((left.as_str(), call), ("faulty", number));
            }
            other => panic!("{want:?} passed as {other:?}"),
        }
    }
}

#[test]
fn a_choice_outside_the_rule_is_not_allowed() {
    type C = Checked<Cpu<f32>, Cpu<f32>>;
    let z = [1.0, 3.0, 2.0, 3.0, f32::NEG_INFINITY];
    let s = |temperature, top_k, top_p| Sampling { temperature, top_k, top_p };
    let allowed = |s: &Sampling| -> Vec<usize> { (0..5).filter(|&id| C::allowed(&z, s, id).is_some()).collect() };
    assert_eq!(allowed(&s(0.0, 0, 1.0)), [1, 3]);
    assert_eq!(allowed(&s(1.0, 2, 1.0)), [1, 3]);
    assert_eq!(allowed(&s(1.0, 3, 1.0)), [1, 2, 3]);
    assert_eq!(allowed(&s(1.0, 0, 0.75)), [1, 3]);
    assert_eq!(allowed(&s(1.0, 0, 0.9)), [1, 2, 3]);
    assert_eq!(C::allowed(&z, &s(1.0, 0, 1.0), 5), None);
    let sum: f32 = z.iter().map(|z| (z / 0.5).exp()).sum();
    assert!((C::allowed(&z, &s(0.5, 0, 1.0), 0).unwrap() - (2.0 - sum.ln())).abs() < 1e-5);
}

#[test]
fn one_sided_nan_is_the_worst_error() {
    assert_eq!(worst(&[1.0, f32::NAN, 9.0], &[1.0, f32::NAN, 8.0], 8.0), Some((2, 0.125)));
    assert_eq!(worst(&[f32::NAN, 9.0], &[1.0, 8.0], 8.0), Some((0, f32::INFINITY)));
    assert_eq!(worst(&[f32::INFINITY], &[f32::INFINITY], 1.0), Some((0, 0.0)));
    assert_eq!(worst(&[f32::MAX], &[f32::NEG_INFINITY], 1.0), Some((0, f32::INFINITY)));
    assert_eq!(worst(&[1e-3], &[0.0], 0.0).map(|w| w.1 > 1.0), Some(true));
}
