//! The MLP's gate.

use crate::adapters::random;
use crate::twin::twin;
use probity::gpu::Gpu;
use probity::ops::Ops;

crate::kernel_tests! {
    swiglu => gates,
    swiglu_bwd => gradients,
}

/// Gates from -1e4 to 1e4, most of them near zero.
fn gate_values(n: usize) -> Vec<f32> {
    let far = [-1e4, -104.0, -88.5, -20.0, 0.0, 20.0, 89.0, 1e4];
    random(1, n).into_iter().enumerate().map(|(i, v)| if i % 9 == 8 { far[i / 9 % 8] } else { v * 8.0 }).collect()
}

fn gates(gpu: &Gpu) {
    for &(m, n) in &[(1, 1), (3, 5), (33, 17), (1100, 1001)] {
        let (g, u) = (gate_values(m * n), random(2, m * n));
        // Element by element: the far gates would hide the errors of the near ones.
        let got = twin!(gpu, format!("swiglu [{m}, {n}]"), 3e-6, |o| {
            Ok(vec![o.read(&o.swiglu(&o.upload(m, n, &g)?, &o.upload(m, n, &u)?)?)?])
        });
        for (i, &y) in got[0].iter().enumerate() {
            let (g, u) = (g[i] as f64, u[i] as f64);
            let want = g / (1.0 + (-g).exp()) * u;
            assert!((y as f64 - want).abs() <= 5e-6 * want.abs() + 1e-30, "silu({g}) {u} = {want}, got {y}");
        }
    }
}

fn gradients(gpu: &Gpu) {
    for &(m, n) in &[(1, 1), (3, 5), (33, 17), (1100, 1001)] {
        let (dy, g, u) = (random(3, m * n), random(4, m * n), random(5, m * n));
        let wide: Vec<f32> = g.iter().map(|v| v * 12.0).collect();
        twin!(gpu, format!("swiglu_bwd [{m}, {n}]"), 3e-6, |o| {
            let (dy, g, u) = (o.upload(m, n, &dy)?, o.upload(m, n, &wide)?, o.upload(m, n, &u)?);
            let (dg, du) = o.swiglu_bwd(&dy, &g, &u)?;
            Ok(vec![o.read(&dg)?, o.read(&du)?])
        });
    }
    let far = twin!(gpu, "swiglu_bwd far from zero", 3e-6, |o| {
        let (dg, du) =
            o.swiglu_bwd(&o.upload(1, 2, &[1.0, 1.0])?, &o.upload(1, 2, &[1e4, -1e4])?, &o.upload(1, 2, &[3.0, 3.0])?)?;
        Ok(vec![o.read(&dg)?, o.read(&du)?])
    });
    assert_eq!(far, [[3.0, 0.0], [1e4, 0.0]]);
}
