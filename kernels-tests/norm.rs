//! RMSNorm, fused and alone, and its gradients.

use crate::adapters::random;
use crate::twin::{rows_stand_alone, twin};
use probity::gpu::Gpu;
use probity::ops::Ops;

crate::kernel_tests! {
    rmsnorm => normalizes,
    add_rmsnorm => adds_and_normalizes,
    rmsnorm_bwd => input_gradient,
    rmsnorm_bwd_weight => weight_gradient,
}

const SHAPES: &[(usize, usize)] = &[(1, 1), (2, 3), (7, 8), (31, 33), (65, 128), (3, 4097), (1290, 1028)];
const EPS: f32 = 1e-6;

/// Rows of magnitude 1, 1e4 and 1e-3, and one of zeros.
fn rows_of_all_sizes(seed: u64, m: usize, h: usize) -> Vec<f32> {
    let mut x = random(seed, m * h);
    for (i, row) in x.chunks_exact_mut(h).enumerate() {
        let size = [1.0, 1e4, 1e-3, 0.0][i % 4];
        row.iter_mut().for_each(|v| *v *= size);
    }
    x
}

fn normalizes(gpu: &Gpu) {
    for &(m, h) in SHAPES {
        let (x, w) = (rows_of_all_sizes(1, m, h), random(2, h));
        twin!(gpu, format!("rmsnorm [{m}, {h}]"), 1e-5, |o| {
            let (y, rstd) = o.rmsnorm(&o.upload(m, h, &x)?, &o.upload(1, h, &w)?, EPS)?;
            Ok(vec![o.read(&y)?, o.read(&rstd)?])
        });
        rows_stand_alone(gpu, "rmsnorm", &x, h, |o, x| {
            let (y, rstd) = Ops::rmsnorm(o, x, &Ops::upload(o, 1, h, &w)?, EPS)?;
            Ok(vec![(h, Ops::read(o, &y)?), (1, Ops::read(o, &rstd)?)])
        });
    }
}

fn adds_and_normalizes(gpu: &Gpu) {
    for &(m, h) in SHAPES {
        let (x, delta, w) = (rows_of_all_sizes(3, m, h), random(4, m * h), random(5, h));
        let outputs = twin!(gpu, format!("add_rmsnorm [{m}, {h}]"), 1e-5, |o| {
            let (x, delta) = (o.upload(m, h, &x)?, o.upload(m, h, &delta)?);
            let (s, y, rstd) = o.add_rmsnorm(&x, &delta, &o.upload(1, h, &w)?, EPS)?;
            Ok(vec![o.read(&s)?, o.read(&y)?, o.read(&rstd)?])
        });
        // The fused form gives the bits of the two steps.
        let s = gpu.upload(m, h, &outputs[0]).unwrap();
        let (y, _) = Ops::rmsnorm(gpu, &s, &gpu.upload(1, h, &w).unwrap(), EPS).unwrap();
        assert_eq!(gpu.read(&y).unwrap(), outputs[1], "[{m}, {h}]");
    }
}

fn input_gradient(gpu: &Gpu) {
    for &(m, h) in SHAPES {
        let (dy, x, w, dres) = (random(6, m * h), random(7, m * h), random(8, h), random(9, m * h));
        twin!(gpu, format!("rmsnorm_bwd [{m}, {h}]"), 1e-5, |o| {
            let (dy, x, w) = (o.upload(m, h, &dy)?, o.upload(m, h, &x)?, o.upload(1, h, &w)?);
            let (_, rstd) = o.rmsnorm(&x, &w, 0.1)?;
            let plain = o.rmsnorm_bwd(&dy, &x, &w, &rstd, None, None)?;
            let added = o.rmsnorm_bwd(&dy, &x, &w, &rstd, None, Some(o.upload(m, h, &dres)?))?;
            Ok(vec![o.read(&plain)?, o.read(&added)?])
        });
    }
}

fn weight_gradient(gpu: &Gpu) {
    for &(m, h) in SHAPES {
        let (dy, x, w, dw) = (random(10, m * h), random(11, m * h), random(12, h), random(13, h));
        twin!(gpu, format!("rmsnorm_bwd dw [{m}, {h}]"), 1e-5, |o| {
            let (dy, x, w) = (o.upload(m, h, &dy)?, o.upload(m, h, &x)?, o.upload(1, h, &w)?);
            let (_, rstd) = o.rmsnorm(&x, &w, 0.1)?;
            let mut dw = o.upload(1, h, &dw)?;
            o.rmsnorm_bwd(&dy, &x, &w, &rstd, Some(&mut dw), None)?;
            Ok(vec![o.read(&dw)?])
        });
    }
}
