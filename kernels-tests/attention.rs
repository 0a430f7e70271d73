//! Attention: forward, backward, and decoding from a cache.

use crate::adapters::random;
use crate::twin::{bits, row, twin};
use probity::gpu::Gpu;
use probity::ops::{AttnShape, Ops, Span};

crate::kernel_tests! {
    attention => attends,
    attention_delta => gradients_of_one_token,
    attention_bwd_q => gradients,
    attention_bwd_kv => gradients_of_loud_inputs,
}

fn shape(heads: usize, kv_heads: usize, head_dim: usize) -> AttnShape {
    AttnShape { heads, kv_heads, head_dim, scale: 1.0 / (head_dim as f32).sqrt() }
}

/// Heads, and lengths of the packed sequences.
fn cases() -> Vec<(AttnShape, Vec<usize>)> {
    vec![
        (shape(1, 1, 4), vec![1]),
        (shape(4, 2, 8), vec![1, 7, 33, 2, 129]),
        (shape(14, 2, 64), vec![3, 65, 31]),
        (shape(3, 1, 12), vec![17, 8]),
    ]
}

/// q, k, v of `rows` rows, the queries `loud` times as large.
fn inputs(s: &AttnShape, rows: usize, loud: f32) -> [Vec<f32>; 3] {
    let q = random(1, rows * s.heads * s.head_dim).into_iter().map(|v| v * loud).collect();
    [q, random(2, rows * s.kv_heads * s.head_dim), random(3, rows * s.kv_heads * s.head_dim)]
}

fn attends(gpu: &Gpu) {
    for (s, lens) in cases() {
        // Scores of 1e4 are known to 1e-3 only.
        for (loud, bound) in [(1.0, 5e-5), (1e4, 1e-2)] {
            let m = lens.iter().sum();
            let (wide, narrow) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
            let [q, k, v] = inputs(&s, m, loud);
            let outputs = twin!(gpu, format!("attention {s:?} {lens:?} x{loud}"), bound, |o| {
                let plan = o.attn_plan(Span::packed(&lens))?;
                let (q, k, v) = (o.upload(m, wide, &q)?, o.upload(m, narrow, &k)?, o.upload(m, narrow, &v)?);
                let (out, lse) = o.attention(&q, &k, &v, &plan, &s)?;
                Ok(vec![o.read(&out)?, o.read(&lse)?])
            });
            if loud == 1.0 {
                decodes_the_same_bits(gpu, &s, &lens, [&q, &k, &v], &outputs);
            }
        }
    }
}

/// Each sequence in a slot of a cache whose other rows hold something else, one query row per sequence at a time: the
/// rows of the packed forward come back bit for bit.
fn decodes_the_same_bits(gpu: &Gpu, s: &AttnShape, lens: &[usize], [q, k, v]: [&[f32]; 3], want: &[Vec<f32>]) {
    let (wide, narrow) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    let slot = lens.iter().max().unwrap() + 3;
    let mut caches = [random(8, lens.len() * slot * narrow), random(9, lens.len() * slot * narrow)];
    for (i, span) in Span::packed(lens).iter().enumerate() {
        for (cache, rows) in caches.iter_mut().zip([k, v]) {
            let at = (i * slot + 1) * narrow;
            cache[at..at + span.n * narrow].copy_from_slice(&rows[span.q0 * narrow..(span.q0 + span.n) * narrow]);
        }
    }
    let [k, v] = caches.map(|c| gpu.upload(lens.len() * slot, narrow, &c).unwrap());
    for step in [0, 1, 6, 30, 32, 128] {
        let (mut spans, mut query, mut source) = (Vec::new(), Vec::new(), Vec::new());
        for (i, span) in Span::packed(lens).iter().enumerate().filter(|(_, span)| span.n > step) {
            spans.push(Span { q0: spans.len(), n: 1, k0: i * slot + 1, past: step });
            query.extend_from_slice(row(q, wide, span.q0 + step));
            source.push(span.q0 + step);
        }
        let plan = gpu.attn_plan(spans).unwrap();
        let query = gpu.upload(source.len(), wide, &query).unwrap();
        let (out, lse) = Ops::attention(gpu, &query, &k, &v, &plan, s).unwrap();
        let (out, lse) = (gpu.read(&out).unwrap(), gpu.read(&lse).unwrap());
        for (i, &from) in source.iter().enumerate() {
            assert_eq!(bits(row(&out, wide, i)), bits(row(&want[0], wide, from)), "{s:?}: out of row {from}");
            assert_eq!(bits(row(&lse, s.heads, i)), bits(row(&want[1], s.heads, from)), "{s:?}: lse of row {from}");
        }
    }
}

fn check_gradients(gpu: &Gpu, s: AttnShape, lens: &[usize], loud: f32) {
    let m = lens.iter().sum();
    let (wide, narrow) = (s.heads * s.head_dim, s.kv_heads * s.head_dim);
    let dout = random(4, m * wide);
    // Alone, and after the keys of a shared prefix.
    for past in [[0, 0, 0], [2, 37, 0]] {
        let spans = Span::laid(lens.iter().enumerate().map(|(i, &n)| (past[i % 3], n)));
        let keys = spans.iter().map(|s| s.past + s.n).sum();
        let [q, ..] = inputs(&s, m, loud);
        let [_, k, v] = inputs(&s, keys, loud);
        twin!(gpu, format!("attention_bwd {s:?} {lens:?} after {past:?} x{loud}"), 5e-5, |o| {
            let plan = o.attn_plan(spans.clone())?;
            let (q, k, v) = (o.upload(m, wide, &q)?, o.upload(keys, narrow, &k)?, o.upload(keys, narrow, &v)?);
            let (out, lse) = o.attention(&q, &k, &v, &plan, &s)?;
            let (dq, dk, dv) = o.attention_bwd(&o.upload(m, wide, &dout)?, &q, &k, &v, &out, &lse, &plan, &s)?;
            Ok(vec![o.read(&dq)?, o.read(&dk)?, o.read(&dv)?])
        });
    }
}

fn gradients_of_one_token(gpu: &Gpu) {
    let s = shape(4, 2, 8);
    let outputs = [1.0, 2.0].map(|loud| {
        let [q, k, v] = inputs(&s, 1, loud);
        let plan = gpu.attn_plan(Span::packed(&[1])).unwrap();
        let (q, k) = (gpu.upload(1, 32, &q).unwrap(), gpu.upload(1, 16, &k).unwrap());
        let v = gpu.upload(1, 16, &v).unwrap();
        let (out, lse) = Ops::attention(gpu, &q, &k, &v, &plan, &s).unwrap();
        let dout = gpu.upload(1, 32, &random(4, 32)).unwrap();
        let (dq, _, dv) = Ops::attention_bwd(gpu, &dout, &q, &k, &v, &out, &lse, &plan, &s).unwrap();
        (gpu.read(&dq).unwrap(), gpu.read(&dv).unwrap())
    });
    // The softmax of one key is 1 whatever the query: no gradient reaches it, and dv is the sum over the group.
    let dout = random(4, 32);
    for (dq, dv) in outputs {
        assert!(dq.iter().all(|v| v.abs() < 1e-6), "{dq:?}");
        for (i, &got) in dv.iter().enumerate() {
            let want = dout[i / 8 * 16 + i % 8] + dout[i / 8 * 16 + 8 + i % 8];
            assert!((got - want).abs() < 1e-5, "dv[{i}] is {got}, should be {want}");
        }
    }
}

fn gradients(gpu: &Gpu) {
    for (s, lens) in cases().into_iter().skip(1) {
        // Backward passes of wide heads compile slowly and are no different.
        check_gradients(gpu, shape(s.heads, s.kv_heads, s.head_dim.min(16)), &lens, 1.0);
    }
}

fn gradients_of_loud_inputs(gpu: &Gpu) {
    check_gradients(gpu, shape(4, 2, 16), &[33, 5], 20.0);
}
