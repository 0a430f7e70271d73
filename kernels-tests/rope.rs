//! Rotary embedding.

use crate::adapters::random;
use crate::twin::{assert_adjoint, bits, twin};
use probity::gpu::Gpu;
use probity::kernels::{rope, rows};
use probity::ops::Ops;

crate::kernel_tests! {
    rope => rotates,
    rope_append => appends,
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

/// Against f64, and to the bit what the four operations give: what decoding keeps is what training computes.
fn appends(gpu: &Gpu) {
    // The last one's cache is larger than the poor device's bindings.
    for &(m, heads, kv, d, cache) in
        &[(1, 1, 1, 2, 3), (7, 3, 1, 6, 20), (33, 4, 2, 8, 70), (65, 14, 2, 64, 200), (16, 14, 2, 64, 9000)]
    {
        let (wide, narrow) = (heads * d, kv * d);
        let [q, k, v] = [(1, wide), (2, narrow), (3, narrow)].map(|(seed, n)| random(seed, m * n));
        let pos: Vec<u32> = (0..m as u32).map(|i| (i * 37) % 129).collect();
        let slots: Vec<u32> = (0..m).map(|i| (cache - 1 - 2 * i.min(cache / 2 - 1)) as u32).collect();
        let slots: Vec<u32> = if m * 2 < cache { slots } else { (0..m as u32).map(|i| i % cache as u32).collect() };
        let whole = twin!(gpu, format!("rope_append [{m}, {heads}, {kv}, {d}]"), 3e-6, |o| {
            let (mut a, b, c) = (o.upload(m, wide, &q)?, o.upload(m, narrow, &k)?, o.upload(m, narrow, &v)?);
            let (mut keys, mut values) = (o.zeros(cache, narrow)?, o.zeros(cache, narrow)?);
            let (pos, slots) = (o.upload_index(&pos)?, o.upload_index(&slots)?);
            let table = o.rope_table(129, d, 1e6)?;
            o.rope_append(&mut a, b, &c, &pos, &table, d, (&mut keys, &mut values), &slots)?;
            Ok(vec![o.read(&a)?, o.read(&keys)?, o.read(&values)?])
        });
        let (mut a, mut b) = (gpu.upload(m, wide, &q).unwrap(), gpu.upload(m, narrow, &k).unwrap());
        let c = gpu.upload(m, narrow, &v).unwrap();
        let mut keys = Ops::zeros(gpu, cache, narrow).unwrap();
        let mut values = Ops::zeros(gpu, cache, narrow).unwrap();
        let (pos, slots) = (gpu.upload_index(&pos).unwrap(), gpu.upload_index(&slots).unwrap());
        let table = gpu.rope_table(129, d, 1e6).unwrap();
        rope::rope(gpu, &mut a, &pos, &table, d, false).unwrap();
        rope::rope(gpu, &mut b, &pos, &table, d, false).unwrap();
        rows::scatter_rows(gpu, &mut keys, &b, &slots).unwrap();
        rows::scatter_rows(gpu, &mut values, &c, &slots).unwrap();
        for (one, four) in whole.iter().zip([&a, &keys, &values]) {
            assert_eq!(bits(one), bits(&gpu.read(four).unwrap()), "[{m}, {heads}, {kv}, {d}]");
        }
    }
}
