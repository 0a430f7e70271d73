//! The language-model head: log-probabilities, entropy, gradients.

use crate::adapters::random;
use crate::twin::{rows_stand_alone, twin};
use probity::gpu::Gpu;
use probity::ops::{Dtype, HeadOut, Ops, QuantMatrix, Sampling};

crate::kernel_tests! {
    head_logp => log_probabilities,
    head_dz => gradients,
    head_dz_inplace => gradients_of_recomputed_logits,
}

fn targets(m: usize, vocab: usize) -> Vec<u32> {
    (0..m).map(|i| ((i * 17 + 3) % vocab) as u32).collect()
}

/// Rows, vocabulary, width. The last needs several chunks on the poor device.
const SHAPES: &[(usize, usize, usize)] = &[(1, 1, 4), (7, 33, 8), (33, 258, 16), (5, 4100, 8), (130, 16388, 8)];

fn log_probabilities(gpu: &Gpu) {
    for &(m, v, h) in SHAPES {
        let (x, w, y) = (random(1, m * h), random(2, v * h), targets(m, v));
        for t in [1.0, 0.6] {
            twin!(gpu, format!("head_logp [{m}, {v}, {h}] T={t}"), 2e-5, |o| {
                let (x, w) = (o.upload(m, h, &x)?, o.upload(v, h, &w)?);
                let out = o.head_logp(&x, &w, &o.upload_index(&y)?, t)?;
                Ok(vec![o.read(&out.logp)?, o.read(&out.lse)?, o.read(&out.entropy)?])
            });
        }
    }
    let (v, h) = (258, 16);
    let (x, w) = (random(3, 33 * h), random(4, v * h));
    rows_stand_alone(gpu, "head_logp", &x, h, |o, x| {
        use probity::ops::TensorMeta;
        let out = Ops::head_logp(o, x, &Ops::upload(o, v, h, &w)?, &Ops::upload_index(o, &vec![7; x.rows()])?, 0.8)?;
        Ok(vec![(1, Ops::read(o, &out.logp)?), (1, Ops::read(o, &out.entropy)?)])
    });
    // Logits of 1e4 and more, and a target without probability.
    let loud: Vec<f32> = random(5, 9 * h).into_iter().map(|v| v * 1e4).collect();
    twin!(gpu, "head_logp of loud rows", 2e-5, |o| {
        let (x, w) = (o.upload(9, h, &loud)?, o.upload(v, h, &w)?);
        let out = o.head_logp(&x, &w, &o.upload_index(&targets(9, v))?, 1.0)?;
        Ok(vec![o.read(&out.logp)?, o.read(&out.lse)?])
    });
}

fn check_gradients(gpu: &Gpu, keep: bool) {
    for &(m, v, h) in SHAPES {
        let (x, w, y) = (random(6, m * h), random(7, v * h), targets(m, v));
        let (dlogp, dw) = (random(8, m), random(9, v * h));
        twin!(gpu, format!("head_logp_bwd [{m}, {v}, {h}]"), 2e-5, |o| {
            let (x, w, y) = (o.upload(m, h, &x)?, o.upload(v, h, &w)?, o.upload_index(&y)?);
            let out = o.head_logp(&x, &w, &y, 0.7)?;
            let out = HeadOut { logits: if keep { out.logits } else { None }, ..out };
            let (dlogp, mut dw) = (o.upload(m, 1, &dlogp)?, o.upload(v, h, &dw)?);
            let frozen = o.head_logp_bwd(&dlogp, &x, &w, &y, 0.7, &out, None)?;
            let dh = o.head_logp_bwd(&dlogp, &x, &w, &y, 0.7, &out, Some(&mut dw))?;
            Ok(vec![o.read(&frozen)?, o.read(&dh)?, o.read(&dw)?])
        });
    }
}

fn gradients(gpu: &Gpu) {
    check_gradients(gpu, true);
}

fn gradients_of_recomputed_logits(gpu: &Gpu) {
    check_gradients(gpu, false);
}

/// Qwen2's 151,936 rows on bindings of 4 MiB: embedding, head, their gradients and sampling walk windows, in every storage.
#[test]
fn a_large_vocabulary_is_walked_in_windows() {
    const VOCAB: usize = 151_936;
    let (m, h) = (3, 64);
    let ids = [0u32, 151_935, 77_777];
    crate::adapters::for_each_gpu(|gpu| {
        if gpu.caps().max_binding > 4 << 20 {
            return;
        }
        for dtype in Dtype::WEIGHTS {
            twin!(gpu, format!("vocabulary {VOCAB}, {dtype:?}"), 2e-5, |o| {
                let bits: Vec<u16> = random(21, VOCAB * h).iter().map(|v| (v.to_bits() >> 16) as u16).collect();
                let w = match dtype {
                    Dtype::Bf16 => o.upload_bf16(VOCAB, h, &bits)?,
                    Dtype::F32 => {
                        let cut: Vec<f32> = bits.iter().map(|&b| f32::from_bits(u32::from(b) << 16)).collect();
                        o.upload(VOCAB, h, &cut)?
                    }
                    Dtype::Quant(q) => o.upload_quant(&QuantMatrix::new(q, VOCAB, h, &random(21, VOCAB * h))?)?,
                };
                let x = o.upload(m, h, &random(22, m * h))?;
                let index = o.upload_index(&ids)?;
                let rows = o.embed(&w, &index)?;
                let out = o.head_logp(&x, &w, &index, 0.7)?;
                let dlogp = o.upload(m, 1, &[0.5, -1.0, 0.25])?;
                let mut dw = o.zeros(VOCAB, h)?;
                let dh = o.head_logp_bwd(&dlogp, &x, &w, &index, 0.7, &out, Some(&mut dw))?;
                o.embed_bwd(&mut dw, &dh, &o.scatter_plan(&ids)?)?;
                let logits = o.matmul_nt(&x, &w, None)?;
                let keys = o.upload_index(&[0; 12])?;
                let greedy = Sampling { temperature: 0.0, top_k: 0, top_p: 1.0 };
                let (first, _) = o.sample(&logits, &greedy, &keys)?;
                let first: Vec<f32> = o.read_index(&first)?.iter().map(|&i| i as f32).collect();
                Ok(vec![o.read(&rows)?, o.read(&out.logp)?, o.read(&out.entropy)?, o.read(&dh)?, o.read(&dw)?, first])
            });
        }
    });
}
