//! The gradient norm and AdamW.

use crate::adapters::random;
use crate::twin::twin;
use probity::gpu::Gpu;
use probity::ops::{AdamW, Ops};

crate::kernel_tests! {
    global_norm => norms,
    block_sums => counts_broken_elements,
    adamw => steps,
}

/// The last exceeds the poor device's binding.
const SHAPES: &[(usize, usize)] = &[(1, 1), (3, 7), (17, 128), (2, 2049), (1025, 1031)];

fn norms(gpu: &Gpu) {
    let data: Vec<Vec<f32>> = (0..).zip(SHAPES).map(|(i, (m, n))| random(i, m * n)).collect();
    for take in 1..=SHAPES.len() {
        twin!(gpu, format!("global_norm of {take} tensors"), 3e-6, |o| {
            let tensors: Vec<_> =
                SHAPES.iter().zip(&data).take(take).map(|(&(m, n), d)| o.upload(m, n, d)).collect::<Result<_, _>>()?;
            Ok(vec![o.read(&o.global_norm(&tensors.iter().collect::<Vec<_>>())?)?])
        });
    }
}

fn counts_broken_elements(gpu: &Gpu) {
    let mut x = vec![0.0; 4100];
    x[1] = 3.0;
    x[4099] = -4.0;
    let clean = gpu.upload(41, 100, &x).unwrap();
    for (i, bad) in [(0, f32::NAN), (77, f32::INFINITY), (2048, f32::NEG_INFINITY), (4098, f32::from_bits(0xffc0_1234))]
    {
        x[i] = bad;
    }
    let broken = gpu.upload(41, 100, &x).unwrap();
    let read = |t: &[&_]| gpu.read(&Ops::global_norm(gpu, t).unwrap()).unwrap();
    assert_eq!(read(&[&clean]), [5.0, 0.0]);
    assert_eq!(read(&[&clean, &broken])[1], 4.0);
    assert_eq!(read(&[]), [0.0, 0.0]);
}

fn steps(gpu: &Gpu) {
    let mut hyper = AdamW {
        lr: 0.01,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        bias_correction1: 1.0 - 0.9f32.powi(3),
        bias_correction2: 1.0 - 0.99f32.powi(3),
        max_norm: f32::INFINITY,
    };
    for max_norm in [f32::INFINITY, 1e9, 0.25] {
        hyper.max_norm = max_norm;
        for &(m, n) in SHAPES {
            let [w, g, m1] = [1, 2, 3].map(|seed| random(seed, m * n));
            let m2: Vec<f32> = random(4, m * n).into_iter().map(|v| v * v + 1e-3).collect();
            twin!(gpu, format!("adamw [{m}, {n}] max_norm {max_norm}"), 1e-5, |o| {
                let (mut w, g) = (o.upload(m, n, &w)?, o.upload(m, n, &g)?);
                let (mut m1, mut m2) = (o.upload(m, n, &m1)?, o.upload(m, n, &m2)?);
                let norm = o.global_norm(&[&g])?;
                let change = o.adamw(&mut w, &g, &mut m1, &mut m2, &hyper, &norm)?;
                Ok(vec![o.read(&w)?, o.read(&m1)?, o.read(&m2)?, o.read(&change)?])
            });
        }
    }
}
