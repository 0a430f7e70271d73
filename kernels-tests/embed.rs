//! Token embedding and its gradient.

use crate::adapters::random;
use crate::twin::{assert_adjoint, twin};
use probity::gpu::Gpu;
use probity::ops::{Ops, Quant, QuantMatrix};

crate::kernel_tests! {
    embed => looks_up,
    embed_bwd => scatters,
}

/// (tokens, vocabulary, width); the last table exceeds the poor device's binding in f32 and in bf16.
const SHAPES: &[(usize, usize, usize)] = &[(1, 1, 4), (17, 7, 8), (33, 129, 36), (65, 2500, 1028)];

fn ids(m: usize, vocab: usize) -> Vec<u32> {
    (0..m).map(|i| ((i * i * 31 + i) % vocab) as u32).collect()
}

fn looks_up(gpu: &Gpu) {
    for &(m, v, h) in SHAPES {
        let (w, ids) = (random(1, v * h), ids(m, v));
        let halves: Vec<u16> = w.iter().map(|x| (x.to_bits() >> 16) as u16).collect();
        twin!(gpu, format!("embed {m} of [{v}, {h}]"), 0.0, |o| {
            let ids = o.upload_index(&ids)?;
            let full = o.embed(&o.upload(v, h, &w)?, &ids)?;
            let half = o.embed(&o.upload_bf16(v, h, &halves)?, &ids)?;
            Ok(vec![o.read(&full)?, o.read(&half)?])
        });
    }
    for (m, v, h) in [(1, 1, 4), (17, 7, 8), (33, 129, 36), (65, 8000, 1028)] {
        let (w, ids) = (random(1, v * h), ids(m, v));
        for q in Quant::ALL {
            let w = QuantMatrix::new(q, v, h, &w).unwrap();
            let y = twin!(gpu, format!("embed {m} of [{v}, {h}] {}", q.name()), 0.0, |o| {
                Ok(vec![o.read(&o.embed(&o.upload_quant(&w)?, &o.upload_index(&ids)?)?)?])
            });
            // A copy is as it was, and read by the host it says the same.
            let table = gpu.read(&Ops::copy(gpu, &gpu.upload_quant(&w).unwrap()).unwrap()).unwrap();
            let looked = ids.iter().flat_map(|&id| table[id as usize * h..][..h].to_vec()).collect::<Vec<_>>();
            assert_eq!(y[0], looked, "{q:?}");
        }
    }
    let (w, ids) = (random(2, 5 * 3), ids(9, 5));
    twin!(gpu, "embed of width 3", 0.0, |o| {
        Ok(vec![o.read(&o.embed(&o.upload(5, 3, &w)?, &o.upload_index(&ids)?)?)?])
    });
}

fn scatters(gpu: &Gpu) {
    for &(m, v, h) in SHAPES.iter().chain(&[(9, 5, 3)]) {
        let (dy, dw, ids) = (random(3, m * h), random(4, v * h), ids(m, v));
        let outputs = twin!(gpu, format!("embed_bwd {m} into [{v}, {h}]"), 1e-6, |o| {
            let (dy, plan) = (o.upload(m, h, &dy)?, o.scatter_plan(&ids)?);
            let (mut dw, mut zero) = (o.upload(v, h, &dw)?, o.zeros(v, h)?);
            o.embed_bwd(&mut dw, &dy, &plan)?;
            o.embed_bwd(&mut zero, &dy, &plan)?;
            Ok(vec![o.read(&dw)?, o.read(&zero)?])
        });
        let w = gpu.upload(v, h, &dw).unwrap();
        let y = gpu.read(&Ops::embed(gpu, &w, &gpu.upload_index(&ids).unwrap()).unwrap()).unwrap();
        assert_adjoint("embed", &y, &dy, &dw, &outputs[1]);
    }
}
