//! The plain path against finite differences, adjoint identities and published vectors.

use super::*;
use crate::ops::{AttnShape, OpError, Ops, Quant, QuantMatrix, Sampling, Span};

type T = CpuTensor<f64>;

/// Small deterministic generator for test data.
pub(super) struct Rng(u32);

impl Rng {
    pub fn new(seed: u32) -> Self {
        Self(seed)
    }
    /// Uniform in [-1, 1).
    pub fn next(&mut self) -> f64 {
        self.0 += 1;
        f64::from(uniform([self.0, 7, 1, 2])) * 2.0 - 1.0
    }
    pub fn vec(&mut self, n: usize) -> Vec<f64> {
        (0..n).map(|_| self.next()).collect()
    }
}

fn t(rows: usize, cols: usize, values: &[f64]) -> T {
    T::from_vec(rows, cols, values.to_vec()).unwrap()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn close(what: &str, got: f64, want: f64, bound: f64) {
    assert!((got - want).abs() <= bound * (1.0 + want.abs()), "{what}: {got} and {want}");
}

/// Compares `<grads, direction>` with a 4-point difference of `loss` along 32 random directions.
fn check_gradient(what: &str, at: &[Vec<f64>], grads: &[Vec<f64>], loss: impl Fn(&[Vec<f64>]) -> f64) {
    let mut rng = Rng::new(99);
    for n in 0..32 {
        let dir: Vec<Vec<f64>> = at.iter().map(|x| rng.vec(x.len())).collect();
        let along = |h: f64| {
            let moved: Vec<Vec<f64>> =
                at.iter().zip(&dir).map(|(x, d)| x.iter().zip(d).map(|(x, d)| x + h * d).collect()).collect();
            loss(&moved)
        };
        let h = 1e-3;
        let numeric = (8.0 * (along(h) - along(-h)) - (along(2.0 * h) - along(-2.0 * h))) / (12.0 * h);
        let analytic = grads.iter().zip(&dir).map(|(g, d)| dot(g, d)).sum();
        close(&format!("{what}, direction {n}"), analytic, numeric, 1e-8);
    }
}

#[test]
fn philox_matches_random123() {
    for (counter, key, want) in [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([u32::MAX; 4], [u32::MAX; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
    ] {
        assert_eq!(philox(counter, key), want);
    }
}

/// `<nt(x), dy> = <x, nn(dy)> = <w, tn(dy, x)>`, and the bias sees the column sums.
#[test]
fn matmul_forms_are_adjoint() {
    let (cpu, mut rng) = (Cpu::<f64>::new(), Rng::new(1));
    let (m, n, k) = (5, 7, 12);
    let (x, w, b, dy) = (rng.vec(m * k), rng.vec(n * k), rng.vec(n), rng.vec(m * n));
    let (xt, wt, bt, dyt) = (t(m, k, &x), t(n, k, &w), t(1, n, &b), t(m, n, &dy));
    let y = cpu.matmul_nt(&xt, &wt, None).unwrap().values();
    close("y[3,4]", y[3 * n + 4], (0..k).map(|l| x[3 * k + l] * w[4 * k + l]).sum(), 1e-14);
    let want = dot(&y, &dy);
    close("nn", dot(&x, &cpu.matmul_nn(&dyt, &wt, None).unwrap().values()), want, 1e-13);
    let acc = cpu.matmul_nn(&dyt, &wt, Some(t(m, k, &x))).unwrap().values();
    close("nn with acc", dot(&x, &acc), want + dot(&x, &x), 1e-13);
    let mut dw = t(n, k, &w);
    cpu.matmul_tn(&mut dw, &dyt, &xt).unwrap();
    close("tn", dot(&w, &dw.values()), want + dot(&w, &w), 1e-13);
    let with_bias = cpu.matmul_nt(&xt, &wt, Some(&bt)).unwrap().values();
    let mut db = t(1, n, &b);
    cpu.bias_bwd(&mut db, &dyt).unwrap();
    close("bias", dot(&with_bias, &dy), want + dot(&b, &db.values()) - dot(&b, &b), 1e-13);
}

#[test]
fn row_operations_are_adjoint() {
    let (cpu, mut rng) = (Cpu::<f64>::new(), Rng::new(2));
    let (v, h) = (9, 4);
    let ids = [3, 8, 3, 0, 3];
    let (w, dy, dw0) = (rng.vec(v * h), rng.vec(ids.len() * h), rng.vec(v * h));
    let y = cpu.embed(&t(v, h, &w), &CpuIndex(ids.to_vec())).unwrap().values();
    assert_eq!(y[4 * h..], w[3 * h..4 * h]);
    let mut dw = t(v, h, &dw0);
    cpu.embed_bwd(&mut dw, &t(ids.len(), h, &dy), &cpu.scatter_plan(&ids).unwrap()).unwrap();
    close("embed", dot(&w, &dw.values()), dot(&y, &dy) + dot(&w, &dw0), 1e-13);

    let rows = CpuIndex(vec![7, 2, 5]);
    let dy = &dy[..3 * h];
    let y = cpu.gather_rows(&t(v, h, &w), &rows).unwrap().values();
    let mut dx = t(v, h, &dw0);
    cpu.scatter_add_rows(&mut dx, &t(3, h, dy), &rows).unwrap();
    close("gather", dot(&w, &dx.values()), dot(&y, dy) + dot(&w, &dw0), 1e-13);
    cpu.scatter_rows(&mut dx, &t(3, h, &y), &rows).unwrap();
    assert_eq!(cpu.gather_rows(&dx, &rows).unwrap().values(), y);
}

#[test]
fn rope_turns_back_and_is_adjoint() {
    let (cpu, mut rng) = (Cpu::<f64>::new(), Rng::new(3));
    let (m, d) = (4, 8);
    let (x, dy) = (rng.vec(m * 2 * d), rng.vec(m * 2 * d));
    let (pos, table) = (CpuIndex(vec![0, 5, 2, 31]), cpu.rope_table(32, d, 10000.0).unwrap());
    let turn = |v: &[f64], inverse| {
        let mut x = t(m, 2 * d, v);
        cpu.rope(&mut x, &pos, &table, d, inverse).unwrap();
        x.values()
    };
    let y = turn(&x, false);
    assert_eq!(y[..2 * d], x[..2 * d]);
    // The pair (1, 5) of the second head of row 1, position 5, frequency 10000^(-2/8).
    let (a, at) = (5.0 * 10000f64.powf(-0.25), 2 * d + d);
    close("rotation", y[at + 1], x[at + 1] * a.cos() - x[at + 5] * a.sin(), 1e-7);
    close("adjoint", dot(&y, &dy), dot(&x, &turn(&dy, true)), 1e-13);
    let back = turn(&y, true);
    assert!(back.iter().zip(&x).all(|(a, b)| (a - b).abs() < 1e-6));
}

#[test]
fn rmsnorm_gradient() {
    let (cpu, mut rng) = (Cpu::<f64>::new(), Rng::new(4));
    let (m, h) = (3, 12);
    let (x, delta, w, cy, cs) = (rng.vec(m * h), rng.vec(m * h), rng.vec(h), rng.vec(m * h), rng.vec(m * h));
    let forward = |p: &[Vec<f64>]| cpu.add_rmsnorm(&t(m, h, &p[0]), &t(m, h, &delta), &t(1, h, &p[1]), 1e-5).unwrap();
    let at = [x, w];
    let (s, y, rstd) = forward(&at);
    let row = &s.values()[h..2 * h];
    close("rstd", rstd.values()[1], 1.0 / (dot(row, row) / h as f64 + f64::from(1e-5f32)).sqrt(), 1e-14);
    assert_eq!(cpu.rmsnorm(&s, &t(1, h, &at[1]), 1e-5).unwrap().0.values(), y.values());
    let mut dw = cpu.zeros(1, h).unwrap();
    let dres = Some(t(m, h, &cs));
    let dx = cpu.rmsnorm_bwd(&t(m, h, &cy), &s, &t(1, h, &at[1]), &rstd, Some(&mut dw), dres).unwrap();
    check_gradient("rmsnorm", &at, &[dx.values(), dw.values()], |p| {
        let (s, y, _) = forward(p);
        dot(&s.values(), &cs) + dot(&y.values(), &cy)
    });
}

#[test]
fn swiglu_gradient() {
    let (cpu, mut rng) = (Cpu::<f64>::new(), Rng::new(5));
    let at = [rng.vec(24).iter().map(|x| 4.0 * x).collect(), rng.vec(24)];
    let c = rng.vec(24);
    let (dg, du) = cpu.swiglu_bwd(&t(4, 6, &c), &t(4, 6, &at[0]), &t(4, 6, &at[1])).unwrap();
    check_gradient("swiglu", &at, &[dg.values(), du.values()], |p| {
        dot(&cpu.swiglu(&t(4, 6, &p[0]), &t(4, 6, &p[1])).unwrap().values(), &c)
    });
}

#[test]
fn attention_gradient() {
    let (cpu, mut rng) = (Cpu::<f64>::new(), Rng::new(6));
    let shape = AttnShape { heads: 6, kv_heads: 2, head_dim: 4, scale: 0.5 };
    let (width, kv) = (24, 8);
    for (past, what) in [([0, 0, 0], "attention"), ([0, 3, 2], "attention after shared keys")] {
        let spans = Span::laid(past.into_iter().zip([3, 1, 5]));
        let (m, keys) = (9, 9 + past.iter().sum::<usize>());
        let plan = cpu.attn_plan(spans).unwrap();
        let at = [rng.vec(m * width), rng.vec(keys * kv), rng.vec(keys * kv)];
        let c = rng.vec(m * width);
        let forward = |p: &[Vec<f64>]| {
            cpu.attention(&t(m, width, &p[0]), &t(keys, kv, &p[1]), &t(keys, kv, &p[2]), &plan, &shape).unwrap()
        };
        let (out, lse) = forward(&at);
        if keys == m {
            // The first row of a sequence sees itself alone.
            let score = 0.5 * dot(&at[0][3 * width..][..4], &at[1][3 * kv..][..4]);
            close("lse of one key", lse.values()[3 * 6], score, 1e-14);
            assert_eq!(out.values()[3 * width + 3 * 4..][..4], at[2][3 * kv + 4..][..4]);
        }
        let [q, k, v] = [t(m, width, &at[0]), t(keys, kv, &at[1]), t(keys, kv, &at[2])];
        let (dq, dk, dv) = cpu.attention_bwd(&t(m, width, &c), &q, &k, &v, &out, &lse, &plan, &shape).unwrap();
        let grads = [dq.values(), dk.values(), dv.values()];
        check_gradient(what, &at, &grads, |p| dot(&forward(p).0.values(), &c));
    }
}

#[test]
fn head_gradient() {
    let (cpu, mut rng) = (Cpu::<f64>::new(), Rng::new(7));
    let (m, v, h, temperature) = (4, 11, 5, 0.7);
    let at = [rng.vec(m * h), rng.vec(v * h)];
    let (c, targets) = (rng.vec(m), CpuIndex(vec![0, 10, 3, 3]));
    let forward = |p: &[Vec<f64>]| cpu.head_logp(&t(m, h, &p[0]), &t(v, h, &p[1]), &targets, temperature).unwrap();
    let mut out = forward(&at);
    let z = out.logits.as_ref().unwrap().values();
    let p: Vec<f64> = z[..v].iter().map(|z| z / f64::from(temperature)).collect();
    let sum: f64 = p.iter().map(|z| z.exp()).sum();
    close("lse", out.lse.values()[0], sum.ln(), 1e-13);
    close("logp", out.logp.values()[0], p[0] - sum.ln(), 1e-13);
    close("entropy", out.entropy.values()[0], -p.iter().map(|z| z.exp() / sum * (z - sum.ln())).sum::<f64>(), 1e-13);
    let (ht, wt, ct) = (t(m, h, &at[0]), t(v, h, &at[1]), t(m, 1, &c));
    for kept in [true, false] {
        if !kept {
            out.logits = None;
        }
        let mut dw = cpu.zeros(v, h).unwrap();
        let dh = cpu.head_logp_bwd(&ct, &ht, &wt, &targets, temperature, &out, Some(&mut dw)).unwrap();
        check_gradient("head", &at, &[dh.values(), dw.values()], |p| dot(&forward(p).logp.values(), &c));
    }
}

#[test]
fn hooks_add_and_ablate() {
    let (cpu, mut rng) = (Cpu::<f64>::new(), Rng::new(8));
    let (x, v) = (rng.vec(3 * 5), rng.vec(5));
    let norm = dot(&v, &v).sqrt();
    let unit: Vec<f64> = v.iter().map(|v| v / norm).collect();
    let mut y = t(3, 5, &x);
    cpu.add_row(&mut y, &t(1, 5, &v), 0.5).unwrap();
    close("add_row", y.values()[7], x[7] + 0.5 * v[2], 1e-15);
    cpu.ablate_row(&mut y, &t(1, 5, &unit)).unwrap();
    for row in y.values().chunks_exact(5) {
        close("nothing is left along d", dot(row, &unit), 0.0, 1e-14);
    }
    cpu.scale(&mut y, 2.0).unwrap();
    let doubled = y.values();
    cpu.add(&mut y, &t(3, 5, &x)).unwrap();
    close("add", y.values()[4], doubled[4] + x[4], 1e-15);
}

/// `torch.optim.AdamW(lr=0.1, betas=(0.9, 0.95), eps=1e-8, weight_decay=0.2)` with `clip_grad_norm_(1.0)`, PyTorch in f64.
#[test]
fn adamw_matches_pytorch() {
    let cpu = Cpu::<f64>::new();
    let (mut w, mut m, mut v) = (t(1, 3, &[0.5, -1.0, 2.0]), cpu.zeros(1, 3).unwrap(), cpu.zeros(1, 3).unwrap());
    let steps = [
        ([0.3, -4.0, 0.0], 4.011234224026316, [0.3900000133707823, -0.8800000010028087, 1.96]),
        ([0.1, 2.0, -1.0], 2.238302928559939, [0.28593265923343664, -0.8621803664145081, 1.994295997933156]),
        ([-0.5, 0.25, 3.0], 3.0516389039334255, [0.30159293833749534, -0.8487247254286557, 1.9207341307916266]),
    ];
    for (step, (g, norm, want)) in steps.into_iter().enumerate() {
        let (b1, b2) = (0.9f32, 0.95f32);
        let correction = |b: f32| (1.0 - f64::from(b).powi(step as i32 + 1)) as f32;
        let hyper = AdamW {
            lr: 0.1,
            beta1: b1,
            beta2: b2,
            eps: 1e-8,
            weight_decay: 0.2,
            bias_correction1: correction(b1),
            bias_correction2: correction(b2),
            max_norm: 1.0,
        };
        let g = t(1, 3, &g);
        let measured = cpu.global_norm(&[&g]).unwrap();
        close("norm", measured.values()[0], norm, 1e-14);
        let before = w.values();
        let change = cpu.adamw(&mut w, &g, &mut m, &mut v, &hyper, &measured).unwrap().values()[0];
        let after = w.values();
        for (got, want) in after.iter().zip(want) {
            close("w", *got, want, 1e-7);
        }
        close("change", change, before.iter().zip(&after).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt(), 1e-14);
    }
}

#[test]
fn global_norm_counts_what_is_not_finite() {
    let cpu = Cpu::<f32>::plain();
    let a = cpu.upload(1, 3, &[3.0, f32::NAN, f32::NEG_INFINITY]).unwrap();
    let b = cpu.upload(2, 1, &[4.0, f32::MAX]).unwrap();
    assert_eq!(cpu.read(&cpu.global_norm(&[&a, &b]).unwrap()).unwrap()[1], 2.0);
    let c = cpu.upload(1, 2, &[3e30, 4e30]).unwrap();
    assert_eq!(cpu.read(&cpu.global_norm(&[&c]).unwrap()).unwrap(), [5e30, 0.0]);
}

/// Every draw equals a scan of the cumulative probabilities of the kept tokens, and `logp` is of the full softmax.
#[test]
fn sampling_inverts_the_distribution() {
    let (cpu, mut rng) = (Cpu::<f64>::new(), Rng::new(9));
    let v = 150;
    let mut z: Vec<f64> = rng.vec(v).iter().map(|z| (z * 40.0).round() / 10.0).collect();
    z[20] = f64::NEG_INFINITY;
    let rows = 300;
    let logits = t(rows, v, &z.repeat(rows));
    let keys: Vec<u32> = (0..rows as u32).flat_map(|i| [i / 7, i % 7, 11, 5]).collect();
    for (temperature, top_k, top_p) in [(1.0, 0, 1.0), (0.6, 0, 1.0), (1.3, 5, 1.0), (1.0, 0, 0.5), (0.9, 20, 0.7)] {
        let s = Sampling { temperature, top_k, top_p };
        let (ids, logp) = cpu.sample(&logits, &s, &CpuIndex(keys.clone())).unwrap();
        let mass: Vec<f64> = z.iter().map(|z| (z / f64::from(temperature)).exp()).collect();
        let larger = |x: f64| z.iter().filter(|&&z| z > x).count();
        let by_rank = |i: usize| top_k == 0 || larger(z[i]) < top_k as usize;
        let left: f64 = (0..v).filter(|&i| by_rank(i)).map(|i| mass[i]).sum();
        let above = |i: usize| (0..v).filter(|&j| z[j] > z[i]).map(|j| mass[j]).sum::<f64>();
        let kept: Vec<usize> = (0..v).filter(|&i| by_rank(i) && above(i) < f64::from(top_p) * left).collect();
        assert!(kept.len() > 3 && (kept.len() < v - 1) == (top_k > 0 || top_p < 1.0), "{} kept", kept.len());
        let total: f64 = kept.iter().map(|&i| mass[i]).sum();
        for (row, (&id, lp)) in ids.0.iter().zip(logp.values()).enumerate() {
            let k = &keys[4 * row..];
            let threshold = f64::from(uniform([k[0], k[1], k[2], k[3]])) * total;
            let mut sum = 0.0;
            let want = kept.iter().find(|&&i| {
                sum += mass[i];
                sum > threshold
            });
            assert_eq!(Some(&(id as usize)), want, "{s:?}, row {row}");
            close("logp", lp, (mass[id as usize] / mass.iter().sum::<f64>()).ln(), 1e-12);
        }
    }
    z[7] = 9.0;
    z[90] = 9.0;
    let greedy = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 };
    let (ids, logp) = cpu.sample(&t(1, v, &z), &greedy, &CpuIndex(vec![0; 4])).unwrap();
    assert_eq!(ids.0, [7]);
    close("greedy logp", logp.values()[0], 9.0 - z.iter().map(|z| z.exp()).sum::<f64>().ln(), 1e-13);
}

#[test]
fn repetition_penalty_divides_and_multiplies() {
    let cpu = Cpu::<f64>::new();
    let mut z = t(2, 3, &[2.0, -2.0, 1.0, 4.0, 5.0, -6.0]);
    cpu.repetition_penalty(&mut z, &CpuIndex(vec![0, 1, 2]), &CpuIndex(vec![0, 2, 3]), 2.0).unwrap();
    assert_eq!(z.values(), [1.0, -4.0, 1.0, 4.0, 5.0, -12.0]);
}

#[test]
fn bf16_weights_equal_their_expansion() {
    let (cpu, mut rng) = (Cpu::<f64>::new(), Rng::new(10));
    let bits: Vec<u16> = rng.vec(6 * 4).iter().map(|x| ((*x as f32).to_bits() >> 16) as u16).collect();
    let packed = cpu.upload_bf16(6, 4, &bits).unwrap();
    let wide = t(6, 4, &packed.values());
    let (x, dy) = (t(3, 4, &rng.vec(12)), t(3, 6, &rng.vec(18)));
    let ids = CpuIndex(vec![5, 0]);
    for (a, b) in [
        (cpu.matmul_nt(&x, &packed, None), cpu.matmul_nt(&x, &wide, None)),
        (cpu.matmul_nn(&dy, &packed, None), cpu.matmul_nn(&dy, &wide, None)),
        (cpu.embed(&packed, &ids), cpu.embed(&wide, &ids)),
        (cpu.copy(&packed), cpu.copy(&wide)),
    ] {
        assert_eq!(a.unwrap().values(), b.unwrap().values());
    }
}

/// The products with codes are those with what they stand for: to the bit in plain loops, and in the fast ones too, in few rows and many, in
/// widths of every remainder.
#[test]
fn codes_equal_their_expansion() {
    let (plain, fast, mut rng) = (Cpu::<f64>::new(), Cpu::<f32>::new(), Rng::new(12));
    for (n, k) in [(5, 36), (7, 33), (130, 300), (64, 1031)] {
        let mut random = |n: usize| rng.vec(n).iter().map(|x| *x as f32).collect::<Vec<f32>>();
        let values = random(n * k);
        for q in Quant::ALL {
            let codes = QuantMatrix::new(q, n, k, &values).unwrap();
            for m in [1, 3, 8, 70] {
                let (x, dy) = (random(m * k), random(m * n));
                let ids = CpuIndex(vec![n as u32 - 1, 0]);
                // Plain loops read code by code.
                if n * k * m < 1 << 14 {
                    both(&plain, &codes, (m, &x, &dy), &ids);
                }
                both(&fast, &codes, (m, &x, &dy), &ids);
            }
        }
    }
    fn both<F: Real>(o: &Cpu<F>, codes: &QuantMatrix, (m, x, dy): (usize, &[f32], &[f32]), ids: &CpuIndex)
    where
        Cpu<F>: Ops<T = CpuTensor<F>, I = CpuIndex>,
    {
        let (packed, wide) = (o.upload_quant(codes), o.upload(codes.rows, codes.cols, &codes.values()));
        let (packed, wide) = (packed.unwrap(), wide.unwrap());
        let (x, dy) = (o.upload(m, codes.cols, x).unwrap(), o.upload(m, codes.rows, dy).unwrap());
        for (a, b) in [
            (o.matmul_nt(&x, &packed, None), o.matmul_nt(&x, &wide, None)),
            (o.matmul_nn(&dy, &packed, None), o.matmul_nn(&dy, &wide, None)),
            (o.embed(&packed, ids), o.embed(&wide, ids)),
            (o.copy(&packed), o.copy(&wide)),
        ] {
            assert!(
                a.unwrap().values() == b.unwrap().values(),
                "{:?} [{m}, {}, {}]",
                codes.format,
                codes.rows,
                codes.cols
            );
        }
        let (mut w, mut moments) =
            (o.copy(&packed).unwrap(), [(); 2].map(|()| o.zeros(codes.rows, codes.cols).unwrap()));
        let [m, v] = &mut moments;
        let hyper = AdamW {
            lr: 0.1,
            beta1: 0.9,
            beta2: 0.9,
            eps: 1e-8,
            weight_decay: 0.0,
            bias_correction1: 0.1,
            bias_correction2: 0.1,
            max_norm: 1.0,
        };
        let text = o.adamw(&mut w, &wide, m, v, &hyper, &o.zeros(1, 2).unwrap()).err().unwrap().to_string();
        assert!(text.contains("read-only") && text.contains(codes.format.name()), "{text}");
    }
}

/// Mistakes come back as errors that name the operation.
#[test]
fn shape_mistakes_are_refused() {
    let cpu = Cpu::<f32>::plain();
    let z = |r, c| cpu.zeros(r, c).unwrap();
    let i = |v: &[u32]| CpuIndex(v.to_vec());
    let plan = cpu.attn_plan(Span::packed(&[2, 2])).unwrap();
    let decode = cpu.attn_plan(vec![Span { q0: 0, n: 1, k0: 2, past: 3 }]).unwrap();
    let shape = AttnShape { heads: 2, kv_heads: 1, head_dim: 2, scale: 1.0 };
    let head = cpu.head_logp(&z(2, 4), &z(5, 4), &i(&[0, 1]), 1.0).unwrap();
    let bf16 = cpu.upload_bf16(2, 2, &[0; 4]).unwrap();
    let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 };
    let hyper = AdamW {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.9,
        eps: 1e-8,
        weight_decay: 0.0,
        bias_correction1: 0.1,
        bias_correction2: 0.1,
        max_norm: 1.0,
    };
    let mistakes = [
        ("upload", cpu.upload(2, 2, &[0.0; 3]).err()),
        ("upload", cpu.upload(usize::MAX, 2, &[0.0; 3]).err()),
        ("zeros", cpu.zeros(usize::MAX, 2).err()),
        ("write", cpu.write(&mut z(1, 2), &[1.0]).err()),
        ("fill", cpu.fill(&mut cpu.copy(&bf16).unwrap(), 1.0).err()),
        ("add", cpu.add(&mut z(1, 2), &z(2, 1)).err()),
        ("add", cpu.add(&mut z(2, 2), &bf16).err()),
        ("add_row", cpu.add_row(&mut z(1, 2), &z(1, 3), 1.0).err()),
        ("ablate_row", cpu.ablate_row(&mut z(1, 2), &z(2, 2)).err()),
        ("gather_rows", cpu.gather_rows(&z(2, 2), &i(&[2])).err()),
        ("scatter_rows", cpu.scatter_rows(&mut z(2, 2), &z(1, 2), &i(&[2])).err()),
        ("scatter_add_rows", cpu.scatter_add_rows(&mut z(2, 2), &z(2, 2), &i(&[1])).err()),
        ("matmul_nt", cpu.matmul_nt(&z(2, 3), &z(4, 2), None).err()),
        ("matmul_nt", cpu.matmul_nt(&z(2, 3), &z(4, 3), Some(&z(4, 1))).err()),
        ("matmul_nn", cpu.matmul_nn(&z(2, 4), &z(4, 3), Some(z(3, 2))).err()),
        ("matmul_tn", cpu.matmul_tn(&mut z(4, 3), &z(2, 4), &z(3, 3)).err()),
        ("bias_bwd", cpu.bias_bwd(&mut z(1, 3), &z(2, 4)).err()),
        ("embed", cpu.embed(&z(4, 2), &i(&[1, 4])).err()),
        ("embed_bwd", cpu.embed_bwd(&mut z(4, 2), &z(2, 2), &cpu.scatter_plan(&[0, 4]).unwrap()).err()),
        ("rmsnorm", cpu.rmsnorm(&z(2, 4), &z(1, 3), 1e-6).err()),
        ("add_rmsnorm", cpu.add_rmsnorm(&z(2, 4), &z(1, 4), &z(1, 4), 1e-6).err()),
        ("rmsnorm_bwd", cpu.rmsnorm_bwd(&z(2, 4), &z(2, 4), &z(1, 4), &z(1, 2), None, None).err()),
        ("rope", cpu.rope(&mut z(2, 6), &i(&[0, 1]), &z(4, 4), 4, false).err()),
        ("rope", cpu.rope(&mut z(2, 4), &i(&[0, 4]), &z(4, 4), 4, false).err()),
        ("swiglu", cpu.swiglu(&z(2, 4), &z(2, 3)).err()),
        ("swiglu_bwd", cpu.swiglu_bwd(&z(1, 4), &z(2, 4), &z(2, 4)).err()),
        ("attention", cpu.attention(&z(5, 4), &z(4, 2), &z(4, 2), &plan, &shape).err()),
        ("attention", cpu.attention(&z(1, 4), &z(5, 2), &z(5, 2), &decode, &shape).err()),
        ("attention", cpu.attention(&z(4, 4), &z(4, 2), &z(4, 2), &plan, &AttnShape { kv_heads: 0, ..shape }).err()),
        (
            "attention_bwd",
            cpu.attention_bwd(&z(1, 4), &z(1, 4), &z(6, 2), &z(6, 2), &z(1, 4), &z(1, 2), &decode, &shape).err(),
        ),
        ("head_logp", cpu.head_logp(&z(2, 4), &z(5, 4), &i(&[0, 5]), 1.0).err()),
        ("head_logp", cpu.head_logp(&z(2, 4), &z(5, 4), &i(&[0, 1]), 0.0).err()),
        ("head_logp_bwd", cpu.head_logp_bwd(&z(1, 1), &z(2, 4), &z(5, 4), &i(&[0, 1]), 1.0, &head, None).err()),
        ("sample", cpu.sample(&z(2, 5), &sampling, &i(&[0; 4])).err()),
        ("sample", cpu.sample(&z(1, 5), &Sampling { temperature: f32::NAN, ..sampling }, &i(&[0; 4])).err()),
        ("repetition_penalty", cpu.repetition_penalty(&mut z(1, 5), &i(&[5]), &i(&[0, 1]), 1.1).err()),
        ("repetition_penalty", cpu.repetition_penalty(&mut z(1, 5), &i(&[4]), &i(&[0, 2]), 1.1).err()),
        ("adamw", cpu.adamw(&mut z(1, 3), &z(1, 3), &mut z(1, 3), &mut z(3, 1), &hyper, &z(1, 2)).err()),
    ];
    for (n, (op, error)) in mistakes.into_iter().enumerate() {
        match error {
            Some(OpError::Shape { op: named, .. }) => assert_eq!(named, op, "mistake {n}"),
            other => panic!("mistake {n} in {op}: {other:?}"),
        }
    }
}

#[test]
fn buffers_come_back_and_are_found_again() {
    let pool = tensor::Pool::<f32>::new();
    let x = CpuTensor::pooled(10, 100, pool.take(1000), &pool);
    let at = match x.view() {
        Values::F(v) => v.as_ptr(),
        Values::Bf16(_) | Values::Quant(_) => unreachable!(),
    };
    drop(x);
    // 1000 and 1010 share a size; contents of a used buffer are not to be relied on.
    let again = pool.take(1010);
    assert_eq!(again.as_ptr(), at);
    assert!(again.len() >= 1010 && again.len() <= 1010 * 9 / 8 && again[500].is_nan());
    let other = pool.take(1000);
    assert_ne!(other.as_ptr(), again.as_ptr());
}
