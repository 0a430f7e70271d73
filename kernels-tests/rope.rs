//! Rotary embedding.

use crate::adapters::random;
use crate::twin::{assert_adjoint, twin};
use probity::gpu::Gpu;
use probity::ops::Ops;

crate::kernel_tests! {
    rope => rotates,
}

fn rotates(gpu: &Gpu) {
    for &(m, heads, d) in &[(1, 1, 2), (7, 3, 6), (33, 2, 8), (65, 14, 64), (1100, 15, 64)] {
        let n = heads * d;
        let x = random(1, m * n);
        let pos: Vec<u32> = (0..m as u32).map(|i| (i * 37) % 129).collect();
        let outputs = twin!(gpu, format!("rope [{m}, {heads}, {d}]"), 3e-6, |o| {
            let (mut a, mut b) = (o.upload(m, n, &x)?, o.upload(m, n, &x)?);
            let (pos, table) = (o.upload_index(&pos)?, o.rope_table(129, d, 1e6)?);
            o.rope(&mut a, &pos, &table, d, false)?;
            o.rope(&mut b, &pos, &table, d, true)?;
            Ok(vec![o.read(&a)?, o.read(&b)?])
        });
        let y = random(2, m * n);
        let mut back = gpu.upload(m, n, &y).unwrap();
        let (pos, table) = (gpu.upload_index(&pos).unwrap(), gpu.rope_table(129, d, 1e6).unwrap());
        Ops::rope(gpu, &mut back, &pos, &table, d, true).unwrap();
        assert_adjoint("rope", &outputs[0], &y, &x, &gpu.read(&back).unwrap());
    }
}
