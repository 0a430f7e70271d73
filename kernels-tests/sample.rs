//! Sampling and the repetition penalty.

use crate::adapters::{compare, random};
use crate::twin::{bits, row, twin};
use probity::cpu::Cpu;
use probity::gpu::Gpu;
use probity::ops::{Ops, Sampling};

crate::kernel_tests! {
    sample => samples,
    repetition_penalty => penalizes,
}

fn samples(gpu: &Gpu) {
    let oracle = Cpu::<f64>::new();
    let settings = [(0.0, 0, 1.0), (1.0, 0, 1.0), (0.7, 5, 1.0), (1.3, 0, 0.8), (0.9, 20, 0.5), (1.0, 1, 0.01)];
    for (m, v) in [(1, 1), (65, 7), (33, 258), (17, 4099)] {
        // Quantised, so that equal logits occur.
        let z: Vec<f32> = random(1, m * v).into_iter().map(|x| (x * 40.0).round() / 8.0).collect();
        let keys: Vec<u32> = (0..m as u32).flat_map(|i| [i / 3, i % 3 * 7, 0x9abc_def0, 42]).collect();
        for (temperature, top_k, top_p) in settings {
            let s = Sampling { temperature, top_k, top_p };
            let what = format!("[{m}, {v}] {s:?}");
            let run = |z: &[f32], keys: &[u32]| {
                let rows = keys.len() / 4;
                let logits = gpu.upload(rows, v, z).unwrap();
                let (ids, logp) = Ops::sample(gpu, &logits, &s, &gpu.upload_index(keys).unwrap()).unwrap();
                (gpu.read_index(&ids).unwrap(), gpu.read(&logp).unwrap())
            };
            let (ids, logp) = run(&z, &keys);
            let (want_ids, want_logp) =
                oracle.sample(&oracle.upload(m, v, &z).unwrap(), &s, &oracle.upload_index(&keys).unwrap()).unwrap();
            assert_eq!(ids, oracle.read_index(&want_ids).unwrap(), "{what}");
            let want: Vec<f64> = oracle.read(&want_logp).unwrap().iter().map(|&x| x as f64).collect();
            compare(&what, &logp, &want, 1e-5);
            // Alone, a row draws the same token with the same bits.
            let last = m - 1;
            let (id, lp) = run(row(&z, v, last), &keys[4 * last..]);
            assert_eq!((id[0], bits(&lp)), (ids[last], bits(&logp[last..])), "{what}");
        }
    }
}

fn penalizes(gpu: &Gpu) {
    let (m, v) = (5, 33);
    let z = random(2, m * v);
    let (seen, offsets) = ([0, 32, 7, 7, 1, 2, 3], [0, 3, 3, 4, 7, 7]);
    twin!(gpu, "repetition_penalty", 1e-6, |o| {
        let mut z = o.upload(m, v, &z)?;
        o.repetition_penalty(&mut z, &o.upload_index(&seen)?, &o.upload_index(&offsets)?, 1.3)?;
        Ok(vec![o.read(&z)?])
    });
}
