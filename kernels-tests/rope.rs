//! Rotary embedding.

use crate::adapters::random;
use crate::twin::{assert_adjoint, bits, twin};
use probity::gpu::Gpu;

use probity::ops::{Ops, apart};

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

/// Projections, positions and cache against f64, and to the bit what the seven operations give: what decoding keeps is what training
/// computes.
fn appends(gpu: &Gpu) {
    // The last one's cache is larger than the poor device's bindings, and so are the weights before it.
    for &(m, heads, kv, d, k, cache) in &[
        (1, 1, 1, 2, 4, 3),
        (7, 3, 1, 6, 12, 20),
        (33, 4, 2, 8, 36, 70),
        (65, 14, 2, 64, 128, 200),
        (5, 14, 2, 64, 1300, 9),
        (16, 14, 2, 64, 64, 9000),
    ] {
        let (wide, narrow) = (heads * d, kv * d);
        let hx = random(1, m * k);
        let [wq, wk, wv] = [(2, wide), (3, narrow), (4, narrow)].map(|(seed, n)| random(seed, n * k));
        let [bq, bk] = [(5, wide), (6, narrow)].map(|(seed, n)| random(seed, n));
        let pos: Vec<u32> = (0..m as u32).map(|i| (i * 37) % 129).collect();
        let slots: Vec<u32> = (0..m).map(|i| (cache - 1 - 2 * i.min(cache / 2 - 1)) as u32).collect();
        let slots: Vec<u32> = if m * 2 < cache { slots } else { (0..m as u32).map(|i| i % cache as u32).collect() };
        let whole = twin!(gpu, format!("qkv_append [{m}, {heads}, {kv}, {d}, {k}]"), 3e-6, |o| {
            let (x, w) = (o.upload(m, k, &hx)?, (o.upload(wide, k, &wq)?, o.upload(narrow, k, &wk)?));
            let (v, b) = (o.upload(narrow, k, &wv)?, (o.upload(1, wide, &bq)?, o.upload(1, narrow, &bk)?));
            let (mut keys, mut values) = (o.zeros(cache, narrow)?, o.zeros(cache, narrow)?);
            let (pos, slots) = (o.upload_index(&pos)?, o.upload_index(&slots)?);
            let table = o.rope_table(129, d, 1e6)?;
            let parts = [(&w.0, Some(&b.0)), (&w.1, Some(&b.1)), (&v, None)];
            let q = o.qkv_append(&x, parts, &pos, &table, d, (&mut keys, &mut values), &slots)?;
            Ok(vec![o.read(&q)?, o.read(&keys)?, o.read(&values)?])
        });
        let up = |rows: usize, cols: usize, v: &[f32]| gpu.upload(rows, cols, v).unwrap();
        let (x, w) = (up(m, k, &hx), [up(wide, k, &wq), up(narrow, k, &wk), up(narrow, k, &wv)]);
        let b = [Some(up(1, wide, &bq)), Some(up(1, narrow, &bk)), None];
        let parts: [_; 3] = std::array::from_fn(|i| (&w[i], b[i].as_ref()));
        let mut keys = Ops::zeros(gpu, cache, narrow).unwrap();
        let mut values = Ops::zeros(gpu, cache, narrow).unwrap();
        let (pos, slots) = (gpu.upload_index(&pos).unwrap(), gpu.upload_index(&slots).unwrap());
        let table = gpu.rope_table(129, d, 1e6).unwrap();
        let q = apart::qkv_append(gpu, &x, parts, &pos, &table, d, (&mut keys, &mut values), &slots).unwrap();
        for (one, many) in whole.iter().zip([&q, &keys, &values]) {
            assert_eq!(bits(one), bits(&gpu.read(many).unwrap()), "[{m}, {heads}, {kv}, {d}, {k}]");
        }
    }
}
