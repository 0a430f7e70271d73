//! Row operations and column sums.

use crate::adapters::random;
use crate::twin::{assert_adjoint, rows_stand_alone, twin};
use probity::gpu::Gpu;
use probity::ops::Ops;

crate::kernel_tests! {
    add_row => adds_a_row,
    ablate_row => ablates,
    gather_rows => gathers,
    scatter_rows => scatters,
    column_sums => sums_columns,
}

/// Awkward shapes; the last is larger than the poor device's binding.
const SHAPES: &[(usize, usize)] = &[(1, 1), (3, 7), (17, 8), (65, 33), (2, 257), (1290, 1028)];

fn adds_a_row(gpu: &Gpu) {
    for &(m, n) in SHAPES {
        let (x, v) = (random(1, m * n), random(2, n));
        twin!(gpu, format!("add_row [{m}, {n}]"), 1e-6, |o| {
            let mut y = o.upload(m, n, &x)?;
            o.add_row(&mut y, &o.upload(1, n, &v)?, -1.75)?;
            Ok(vec![o.read(&y)?])
        });
    }
}

fn ablates(gpu: &Gpu) {
    for &(m, n) in SHAPES {
        let (x, mut d) = (random(3, m * n), random(4, n));
        let norm = d.iter().map(|v| v * v).sum::<f32>().sqrt();
        d.iter_mut().for_each(|v| *v /= norm);
        twin!(gpu, format!("ablate_row [{m}, {n}]"), 3e-6, |o| {
            let mut y = o.upload(m, n, &x)?;
            o.ablate_row(&mut y, &o.upload(1, n, &d)?)?;
            Ok(vec![o.read(&y)?])
        });
        rows_stand_alone(gpu, "ablate_row", &x, n, |o, x| {
            let mut y = Ops::copy(o, x)?;
            Ops::ablate_row(o, &mut y, &Ops::upload(o, 1, n, &d)?)?;
            Ok(vec![(n, Ops::read(o, &y)?)])
        });
    }
}

/// `m` distinct rows below `table`, out of order.
fn distinct(m: usize, table: usize) -> Vec<u32> {
    (0..m).map(|i| ((i * 7919 + 5) % table) as u32).collect()
}

fn gathers(gpu: &Gpu) {
    // 1291 and the other table sizes are coprime to 7919.
    for &(m, n, table) in &[(1, 1, 1), (5, 7, 3), (33, 8, 129), (70, 1028, 1291)] {
        let (x, rows) = (random(5, table * n), distinct(m, table));
        twin!(gpu, format!("gather_rows {m} of [{table}, {n}]"), 0.0, |o| {
            Ok(vec![o.read(&o.gather_rows(&o.upload(table, n, &x)?, &o.upload_index(&rows)?)?)?])
        });
    }
}

fn scatters(gpu: &Gpu) {
    for &(m, n, table) in &[(1, 1, 1), (2, 7, 3), (33, 8, 129), (70, 1028, 1291)] {
        let (dst, src, rows) = (random(6, table * n), random(7, m * n), distinct(m, table));
        let outputs = twin!(gpu, format!("scatter {m} into [{table}, {n}]"), 1e-7, |o| {
            let (mut a, mut b) = (o.upload(table, n, &dst)?, o.upload(table, n, &dst)?);
            let (src, rows) = (o.upload(m, n, &src)?, o.upload_index(&rows)?);
            o.scatter_rows(&mut a, &src, &rows)?;
            o.scatter_add_rows(&mut b, &src, &rows)?;
            let mut zero = o.zeros(table, n)?;
            o.scatter_add_rows(&mut zero, &src, &rows)?;
            Ok(vec![o.read(&a)?, o.read(&b)?, o.read(&zero)?])
        });
        let x = gpu.upload(table, n, &dst).unwrap();
        let gathered = Ops::gather_rows(gpu, &x, &gpu.upload_index(&rows).unwrap()).unwrap();
        assert_adjoint("gather and scatter_add", &gpu.read(&gathered).unwrap(), &src, &dst, &outputs[2]);
    }
}

fn sums_columns(gpu: &Gpu) {
    for &(m, n) in SHAPES {
        let (dy, db) = (random(8, m * n), random(9, n));
        twin!(gpu, format!("bias_bwd [{m}, {n}]"), 3e-6, |o| {
            let mut y = o.upload(1, n, &db)?;
            o.bias_bwd(&mut y, &o.upload(m, n, &dy)?)?;
            Ok(vec![o.read(&y)?])
        });
    }
}
