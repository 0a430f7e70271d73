//! The gradient norm and AdamW.

use crate::adapters::random;
use crate::twin::twin;
use probity::cpu::Cpu;
use probity::gpu::Gpu;
use probity::ops::{AdamW, Ops};

crate::kernel_tests! {
    global_norm => norms,
    block_sums => counts_broken_elements,
    adamw => steps,
    adamw_bf16 => stochastic_steps,
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

/// Each value is the one that f64 arithmetic and the same random bits give, but for the few whose f32 value lies within its rounding
/// error of the threshold: those are the other neighbour.
fn stochastic_steps(gpu: &Gpu) {
    let oracle = Cpu::<f64>::new();
    let hyper = AdamW {
        lr: 1e-3,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        bias_correction1: 1.0 - 0.9f32.powi(3),
        bias_correction2: 1.0 - 0.99f32.powi(3),
        max_norm: 0.25,
    };
    // The last exceeds the poor device's binding.
    for (rows, cols) in [(1, 4), (3, 12), (17, 128), (2, 2052), (1033, 1036)] {
        let n = rows * cols;
        let bits = |seed: u64| random(seed, n).iter().map(|x| (x.to_bits() >> 16) as u16).collect::<Vec<_>>();
        let squares: Vec<u16> = bits(4).iter().map(|b| b & 0x7fff).collect();
        let (w, m, g) = (bits(1), bits(3), random(2, n));
        fn run<O: Ops>(
            o: &O,
            (rows, cols): (usize, usize),
            data: (&[u16], &[f32], &[u16], &[u16]),
            hyper: &AdamW,
        ) -> [Vec<f32>; 4] {
            let half = |x| o.upload_bf16(rows, cols, x).unwrap();
            let (mut w, mut m, mut v) = (half(data.0), half(data.2), half(data.3));
            let g = o.upload(rows, cols, data.1).unwrap();
            let norm = o.global_norm(&[&g]).unwrap();
            let mut report = o.zeros(2, 2).unwrap();
            o.adamw_bf16(&mut w, &g, &mut m, &mut v, hyper, &norm, [3, 5], &mut report, 1).unwrap();
            [&w, &m, &v, &report].map(|x| o.read(x).unwrap())
        }
        let data = (&w[..], &g[..], &m[..], &squares[..]);
        let (got, want) = (run(gpu, (rows, cols), data, &hyper), run(&oracle, (rows, cols), data, &hyper));
        for (what, (got, want)) in ["w", "m", "v"].iter().zip(got.iter().zip(&want)) {
            let mut other = 0;
            for (i, (g, w)) in got.iter().zip(want).enumerate() {
                let apart = (i64::from(g.to_bits() >> 16) - i64::from(w.to_bits() >> 16)).abs();
                assert!(apart <= 1, "{what}[{i}] of [{rows}, {cols}]: {g:e} against {w:e}");
                other += usize::from(apart == 1);
            }
            assert!(other <= 2 + n / 500, "{what} of [{rows}, {cols}]: {other} of {n} rounded otherwise");
        }
        let [report, expected] = [&got[3], &want[3]];
        assert_eq!(report[..2], [0.0, 0.0]);
        assert!((report[2] - expected[2]).abs() <= 1e-2 * expected[2], "change {report:?} {expected:?}");
        assert!((report[3] - expected[3]).abs() <= 2.0 + n as f32 / 500.0, "changed {report:?} {expected:?}");
    }
    // The same key gives the same bits on one device whatever the window; another key gives others.
    let once = |key| {
        let (mut w, g) =
            (gpu.upload_bf16(1, 4096, &[0x3f80; 4096]).unwrap(), gpu.upload(1, 4096, &[1e-3; 4096]).unwrap());
        let (mut m, mut v) = (gpu.zeros_bf16(1, 4096).unwrap(), gpu.zeros_bf16(1, 4096).unwrap());
        let norm = Ops::global_norm(gpu, &[&g]).unwrap();
        let mut report = Ops::zeros(gpu, 1, 2).unwrap();
        gpu.adamw_bf16(&mut w, &g, &mut m, &mut v, &hyper, &norm, key, &mut report, 0).unwrap();
        gpu.read(&w).unwrap()
    };
    let first = once([1, 2]);
    assert!(first == once([1, 2]) && first != once([1, 3]) && first != once([2, 2]));
    // Far below half a unit, yet the mean moves as far as f32 would: the expectation is exact.
    let root = (0.01 / f64::from(hyper.bias_correction2)).sqrt();
    let step = f64::from(hyper.lr) * (0.1 / f64::from(hyper.bias_correction1) / root + 0.1);
    let mean = first.iter().map(|&x| 1.0 - f64::from(x)).sum::<f64>() / 4096.0;
    assert!((mean / step - 1.0).abs() < 0.1, "{mean:e} against {step:e}");
}
