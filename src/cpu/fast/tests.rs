//! The fast kernels against the oracle, and what they promise about bits.

use pulp::Arch;

use super::Fast;
use super::vector::{exp, vectorized};
use crate::cpu::{Cpu, CpuTensor, uniform};
use crate::ops::checked::Checked;
use crate::ops::{AdamW, AttnShape, Ops, Quant, QuantMatrix, Result, Sampling, Span, TensorMeta};

/// Uniform in [-1, 1).
fn random(seed: u32, n: usize) -> Vec<f32> {
    (0..n as u32).map(|i| uniform([i, seed, 3, 4]) * 2.0 - 1.0).collect()
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

/// Sizes of one layer, its batch and vocabulary.
struct Case {
    lens: &'static [usize],
    heads: usize,
    kv_heads: usize,
    head_dim: usize,
    hidden: usize,
    inner: usize,
    vocab: usize,
}

const CASES: [Case; 5] = [
    Case { lens: &[3, 1, 5], heads: 6, kv_heads: 2, head_dim: 4, hidden: 20, inner: 12, vocab: 33 },
    Case { lens: &[1], heads: 1, kv_heads: 1, head_dim: 2, hidden: 4, inner: 4, vocab: 1 },
    Case { lens: &[130, 63, 65], heads: 4, kv_heads: 2, head_dim: 32, hidden: 128, inner: 352, vocab: 512 },
    Case { lens: &[70, 2], heads: 7, kv_heads: 1, head_dim: 20, hidden: 140, inner: 300, vocab: 1031 },
    Case { lens: &[300], heads: 2, kv_heads: 2, head_dim: 64, hidden: 132, inner: 68, vocab: 77 },
];

/// Every operation with a fast version, forward and backward; all that comes out.
fn everything<O: Ops>(o: &O, c: &Case) -> Result<Vec<Vec<f32>>> {
    let mut seed = 0;
    let mut scaled = |rows: usize, cols: usize, scale: f32| {
        seed += 1;
        o.upload(rows, cols, &random(seed, rows * cols).iter().map(|x| scale * x).collect::<Vec<_>>())
    };
    let m: usize = c.lens.iter().sum();
    let (h, q_width, kv_width) = (c.hidden, c.heads * c.head_dim, c.kv_heads * c.head_dim);
    let (x, delta, norm_w, dh) = (scaled(m, h, 1.0)?, scaled(m, h, 1.0)?, scaled(1, h, 1.0)?, scaled(m, h, 1.0)?);
    let mut weight = |rows: usize, cols: usize| scaled(rows, cols, 2.0 / (cols as f32).sqrt());
    let (wq, bq, wk, wg) = (weight(q_width, h)?, weight(1, q_width)?, weight(kv_width, h)?, weight(c.inner, h)?);
    let (wd, mut embedding, dlogp) = (weight(h, c.inner)?, weight(c.vocab, h)?, weight(m, 1)?);
    let packed: Vec<u16> = random(99, c.inner * h).iter().map(|x| (x.to_bits() >> 16) as u16).collect();
    let wu = o.upload_bf16(c.inner, h, &packed)?;
    let shape = AttnShape {
        heads: c.heads,
        kv_heads: c.kv_heads,
        head_dim: c.head_dim,
        scale: 1.0 / (c.head_dim as f32).sqrt(),
    };
    let plan = o.attn_plan(Span::packed(c.lens))?;
    let pos = o.upload_index(&(0..m as u32).map(|i| i % 50).collect::<Vec<_>>())?;
    let table = o.rope_table(50, c.head_dim, 10000.0)?;
    let targets = o.upload_index(&(0..m).map(|i| (i * 7 % c.vocab) as u32).collect::<Vec<_>>())?;

    let (s, n, rstd) = o.add_rmsnorm(&x, &delta, &norm_w, 1e-6)?;
    let (mut q, k) = (o.matmul_nt(&n, &wq, Some(&bq))?, o.matmul_nt(&n, &wk, None)?);
    o.rope(&mut q, &pos, &table, c.head_dim, false)?;
    let v = o.matmul_nt(&s, &wk, None)?;
    let (out, lse) = o.attention(&q, &k, &v, &plan, &shape)?;
    // The same queries after keys that others have seen.
    let after = Span::laid(c.lens.iter().enumerate().map(|(i, &n)| ([5, 0, 70][i % 3], n)));
    let keys = after.iter().map(|s| s.past + s.n).sum::<usize>();
    let copied = o.upload_index(&(0..keys).map(|i| (i * 3 % m) as u32).collect::<Vec<_>>())?;
    let after = o.attn_plan(after)?;
    let (k_after, v_after) = (o.gather_rows(&k, &copied)?, o.gather_rows(&v, &copied)?);
    let (out_after, lse_after) = o.attention(&q, &k_after, &v_after, &after, &shape)?;
    let (g, u) = (o.matmul_nt(&n, &wg, None)?, o.matmul_nt(&n, &wu, None)?);
    let act = o.swiglu(&g, &u)?;
    let mut y = o.matmul_nt(&act, &wd, None)?;
    o.add(&mut y, &x)?;
    o.add_row(&mut y, &norm_w, 0.3)?;
    let head = o.head_logp(&y, &embedding, &targets, 0.7)?;

    let mut d_embedding = o.zeros(c.vocab, h)?;
    let dy = o.head_logp_bwd(&dlogp, &y, &embedding, &targets, 0.7, &head, Some(&mut d_embedding))?;
    let d_act = o.matmul_nn(&dy, &wd, None)?;
    let mut d_wd = o.zeros(h, c.inner)?;
    o.matmul_tn(&mut d_wd, &dy, &act)?;
    let (dg, du) = o.swiglu_bwd(&d_act, &g, &u)?;
    let dn = o.matmul_nn(&du, &wu, Some(o.matmul_nn(&dg, &wg, None)?))?;
    let d_out = o.matmul_nt(&dn, &wq, None)?;
    let (dq, dk, dv) = o.attention_bwd(&d_out, &q, &k, &v, &out, &lse, &plan, &shape)?;
    let (dq_after, dk_after, dv_after) =
        o.attention_bwd(&d_out, &q, &k_after, &v_after, &out_after, &lse_after, &after, &shape)?;
    let mut dbq = o.zeros(1, q_width)?;
    o.bias_bwd(&mut dbq, &dq)?;
    let mut d_norm = o.zeros(1, h)?;
    let dx = o.rmsnorm_bwd(&dn, &s, &norm_w, &rstd, Some(&mut d_norm), Some(dh))?;
    let norm = o.global_norm(&[&d_embedding, &d_wd, &dbq])?;
    let hyper = AdamW {
        lr: 1e-2,
        beta1: 0.9,
        beta2: 0.95,
        eps: 1e-8,
        weight_decay: 0.1,
        bias_correction1: 0.19,
        bias_correction2: 0.0975,
        max_norm: 1.0,
    };
    let (mut m1, mut m2) = (o.copy(&d_embedding)?, o.zeros(c.vocab, h)?);
    let change = o.adamw(&mut embedding, &d_embedding, &mut m1, &mut m2, &hyper, &norm)?;
    let logits = o.matmul_nt(&y, &embedding, None)?;
    let keys = o.upload_index(&(0..4 * m as u32).collect::<Vec<_>>())?;
    let (_, logp) = o.sample(&logits, &Sampling { temperature: 0.8, top_k: 20, top_p: 0.9 }, &keys)?;
    let all = [
        &s,
        &n,
        &rstd,
        &q,
        &k,
        &v,
        &out,
        &lse,
        &g,
        &u,
        &act,
        &y,
        &head.logp,
        &head.lse,
        &head.entropy,
        &d_embedding,
        &dy,
        &d_act,
        &d_wd,
        &dg,
        &du,
        &dn,
        &dq,
        &dk,
        &dv,
        &out_after,
        &lse_after,
        &dq_after,
        &dk_after,
        &dv_after,
        &dbq,
        &d_norm,
        &dx,
        &norm,
        &embedding,
        &m1,
        &m2,
        &change,
        &logits,
        &logp,
    ];
    all.into_iter().map(|x| o.read(x)).collect()
}

/// The vector instructions this machine has, none to widest.
fn instruction_sets() -> Vec<Arch> {
    let mut sets = vec![Arch::Scalar, Arch::new()];
    #[cfg(target_arch = "x86_64")]
    sets.extend(pulp::x86::V3::try_new().map(Arch::V3));
    sets
}

#[test]
fn every_operation_agrees_with_the_oracle() {
    for arch in instruction_sets() {
        for case in &CASES {
            let fast = Cpu::with(Fast::on(arch));
            everything(&Checked::new(fast, Cpu::<f64>::new(), 1e-5), case).unwrap_or_else(|e| panic!("{arch:?}: {e}"));
        }
    }
}

/// With fused multiply-add a product has the same bits at any register width.
#[cfg(target_arch = "x86_64")]
#[test]
fn products_have_the_same_bits_on_avx2_and_avx512() {
    let Some(narrow) = pulp::x86::V3::try_new() else { return };
    let (a, b) = (Cpu::with(Fast::on(Arch::V3(narrow))), Cpu::<f32>::new());
    for (m, n, k) in [(1, 7, 300), (9, 50, 513), (70, 33, 64)] {
        let run = |o: &Cpu<f32>| {
            let up = |rows, cols| o.upload(rows, cols, &random(rows as u32, rows * cols)).unwrap();
            let (x, w, dy, mut dw) = (up(m, k), up(n, k), up(m, n), up(n, k));
            o.matmul_tn(&mut dw, &dy, &x).unwrap();
            [o.matmul_nt(&x, &w, None).unwrap(), o.matmul_nn(&dy, &w, None).unwrap(), dw].map(|y| bits(&y.values()))
        };
        assert_eq!(run(&a), run(&b), "{m} {n} {k}");
    }
}

#[test]
fn the_number_of_threads_changes_no_bit() {
    let run = |threads: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| CASES.iter().map(|c| everything(&Cpu::<f32>::new(), c).unwrap()).collect::<Vec<_>>())
    };
    let want = run(1);
    for threads in [2, 3, 7] {
        for (case, (got, want)) in run(threads).iter().zip(&want).enumerate() {
            for (n, (got, want)) in got.iter().zip(want).enumerate() {
                assert_eq!(bits(got), bits(want), "output {n} of case {case} on {threads} threads");
            }
        }
    }
}

vectorized! {
    fn exp_of(s: S, y: &'a mut [f32], x: &'a [f32]) {
        for (y, &x) in y.iter_mut().zip(x) {
            let mut first = [0.0];
            s.partial_store_f32s(&mut first, exp(s, s.splat_f32s(x)));
            *y = first[0];
        }
    }
}

#[test]
fn exp_is_within_two_units_in_the_last_place() {
    let x: Vec<f32> =
        (-8733..8837).flat_map(|i| [i as f32 / 100.0, i as f32 / 3e5, i as f32 / 100.0 + 0.003]).collect();
    let mut y = vec![0.0; x.len()];
    exp_of(pulp::Arch::new(), &mut y, &x);
    let mut worst: f64 = 0.0;
    for (&x, &y) in x.iter().zip(&y) {
        let want = f64::from(x).exp();
        let unit = f64::from(f32::from_bits((want as f32).to_bits() + 1)) - f64::from(want as f32);
        worst = worst.max((f64::from(y) - want).abs() / unit);
    }
    assert!(worst < 2.0, "{worst} units");
    let mut y = [1.0; 5];
    exp_of(pulp::Arch::new(), &mut y, &[f32::NEG_INFINITY, -104.0, f32::INFINITY, f32::NAN, 0.0]);
    assert_eq!(y[..2], [0.0, 0.0]);
    assert!(y[2] > 2e38 && y[3].is_nan() && y[4] == 1.0);
}

/// Rows of `x` from `first` on.
fn some_rows(o: &Cpu<f32>, x: &CpuTensor<f32>, first: usize, count: usize) -> CpuTensor<f32> {
    let cols = x.cols();
    o.upload(count, cols, &x.values()[first * cols..][..count * cols]).unwrap()
}

/// Row i has the same bits whatever the number of rows, and wherever it stands among them.
#[test]
fn rows_do_not_depend_on_each_other() {
    let o = Cpu::<f32>::new();
    let most = 1024;
    for (n, k) in [(128, 128), (64, 128), (352, 128), (128, 352), (48, 4864), (100, 896), (37, 20), (3, 4), (512, 128)]
    {
        let up = |rows: usize, cols: usize| o.upload(rows, cols, &random((rows * cols) as u32, rows * cols)).unwrap();
        let (x, w, b) = (up(most, k), up(n, k), up(1, n));
        let packed: Vec<u16> = w.values().iter().map(|x| (x.to_bits() >> 16) as u16).collect();
        let packed = o.upload_bf16(n, k, &packed).unwrap();
        let wide = o.upload(n, k, &packed.values()).unwrap();
        let codes = Quant::ALL.map(|q| o.upload_quant(&QuantMatrix::new(q, n, k, &w.values()).unwrap()).unwrap());
        let norm_w = o.upload(1, n, &random(5, n)).unwrap();
        let targets: Vec<u32> = (0..most as u32).map(|i| i % n as u32).collect();
        let keys: Vec<u32> = (0..4 * most as u32).collect();
        let outputs = |first: usize, m: usize| -> Vec<CpuTensor<f32>> {
            let x = some_rows(&o, &x, first, m);
            let y = o.matmul_nt(&x, &w, Some(&b)).unwrap();
            let from_bf16 = o.matmul_nt(&x, &packed, None).unwrap();
            assert_eq!(bits(&from_bf16.values()), bits(&o.matmul_nt(&x, &wide, None).unwrap().values()), "{n} {k} {m}");
            let (s, normed, rstd) = o.add_rmsnorm(&y, &from_bf16, &norm_w, 1e-6).unwrap();
            let gated = o.swiglu(&y, &from_bf16).unwrap();
            let of_rows = |v: &[u32], each| o.upload_index(&v[first * each..(first + m) * each]).unwrap();
            let head = o.head_logp(&x, &w, &of_rows(&targets, 1), 0.9).unwrap();
            let s_t = Sampling { temperature: 0.9, top_k: 0, top_p: 1.0 };
            let (ids, logp) = o.sample(head.logits.as_ref().unwrap(), &s_t, &of_rows(&keys, 4)).unwrap();
            let again = o.head_logp(&x, &w, &ids, 0.9).unwrap();
            assert_eq!(bits(&logp.values()), bits(&again.logp.values()), "sampled and trained log-probabilities");
            let from_codes = codes.iter().map(|w| o.matmul_nt(&x, w, Some(&b)).unwrap());
            let rest = [y, from_bf16, s, normed, rstd, gated, head.logp, head.lse, head.entropy, logp];
            from_codes.chain(rest).collect()
        };
        let all: Vec<Vec<f32>> = outputs(0, most).iter().map(CpuTensor::values).collect();
        for (m, first) in [
            (1, 0),
            (1, 777),
            (2, 5),
            (3, 1),
            (4, 4),
            (5, 9),
            (8, 0),
            (31, 32),
            (33, 500),
            (64, 3),
            (65, 1),
            (256, 700),
        ] {
            for (i, got) in outputs(first, m).iter().enumerate() {
                let want = &all[i][first * got.cols()..(first + m) * got.cols()];
                assert_eq!(bits(&got.values()), bits(want), "output {i}, rows {first}..+{m}, N {n}, K {k}");
            }
        }
    }
}

/// A row decoded alone from a cache has the bits of the same row in the packed training forward.
#[test]
fn decoding_has_the_bits_of_training() {
    let o = Cpu::<f32>::new();
    for (heads, kv_heads, d) in [(4, 2, 32), (7, 1, 20), (2, 2, 64), (3, 1, 4)] {
        let shape = AttnShape { heads, kv_heads, head_dim: d, scale: 1.0 / (d as f32).sqrt() };
        let lens = [1, 2, 7, 33, 64, 65, 130, 300];
        let m: usize = lens.iter().sum();
        let (width, kv_width) = (heads * d, kv_heads * d);
        let up =
            |seed, cols: usize| o.upload(m, cols, &random(seed, m * cols).iter().map(|x| 3.0 * x).collect::<Vec<_>>());
        let (q, k, v) = (up(1, width).unwrap(), up(2, kv_width).unwrap(), up(3, kv_width).unwrap());
        let spans = Span::packed(&lens);
        let (out, lse) = o.attention(&q, &k, &v, &o.attn_plan(spans.clone()).unwrap(), &shape).unwrap();
        // A cache with a slot of 320 rows per sequence; what lies past a sequence's keys is never read.
        let slot = 320;
        let cache = |rows: &CpuTensor<f32>, seen: &dyn Fn(usize) -> usize| {
            let mut cache = vec![f32::NAN; lens.len() * slot * kv_width];
            for (n, s) in spans.iter().enumerate() {
                let rows = &rows.values()[s.q0 * kv_width..(s.q0 + seen(n)) * kv_width];
                cache[n * slot * kv_width..][..rows.len()].copy_from_slice(rows);
            }
            o.upload(lens.len() * slot, kv_width, &cache).unwrap()
        };
        // Decode the row that is `back` from the end of each sequence; prefill in pieces of up to 3 rows.
        for (back, piece) in [(0, 1), (1, 1), (5, 1), (40, 1), (0, 3), (30, 3)] {
            let last = |n: usize| lens[n].saturating_sub(back).max(1);
            let take = |n: usize| piece.min(last(n));
            let rows: Vec<usize> = (0..lens.len()).flat_map(|n| last(n) - take(n)..last(n)).collect();
            let firsts = (0..lens.len()).flat_map(|n| std::iter::repeat_n(spans[n].q0, take(n)));
            let rows: Vec<u32> = rows.iter().zip(firsts).map(|(r, q0)| (r + q0) as u32).collect();
            let (mut at, mut decode) = (0, Vec::new());
            for n in 0..lens.len() {
                decode.push(Span { q0: at, n: take(n), k0: n * slot, past: last(n) - take(n) });
                at += take(n);
            }
            let index = o.upload_index(&rows).unwrap();
            let (k, v) = (cache(&k, &last), cache(&v, &last));
            let q = o.gather_rows(&q, &index).unwrap();
            let got = o.attention(&q, &k, &v, &o.attn_plan(decode).unwrap(), &shape).unwrap();
            for (what, got, want) in [("out", &got.0, &out), ("lse", &got.1, &lse)] {
                let want = o.gather_rows(want, &index).unwrap();
                assert_eq!(bits(&got.values()), bits(&want.values()), "{what}, heads of {d}, {back} from the end");
            }
        }
    }
}
