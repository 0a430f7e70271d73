//! Matrix products against f64 loops, and the promise that a row's bits depend on nothing but the row and the weights.

use crate::adapters::{compare, random};
use probity::gpu::{Gpu, GpuOptions, GpuTensor, list_adapters};
use probity::kernels::{Kernel, Needs, Variant, matmul, select};
use probity::ops::{Dtype, Quant, QuantMatrix, apart};

crate::kernel_tests! {
    matmul_nt => nt_matches_f64,
    matmul_three => three_are_the_three_products,
    matmul_gated => gated_is_the_gate_of_two_products,
    row_scale => rows_are_brought_into_the_range_of_f16,
    matmul_nn => nn_matches_f64,
    matmul_nn_any => nn_any_matches_f64,
    matmul_nn_split => nn_split_matches_f64,
    sum_slices => nn_split_sums_slices_in_order,
    matmul_tn => tn_matches_f64,
    matmul_tn_any => tn_any_matches_f64,
}

/// f32 sums of a few thousand terms.
const BOUND: f64 = 2e-6;

/// Variants of a kernel that this device can run, preferred here or not.
fn runnable(gpu: &Gpu, kernel: &'static Kernel) -> impl Iterator<Item = &'static Variant> {
    kernel.variants.iter().filter(|v| select::fits(v, gpu.caps()))
}

/// Those that take so many rows.
fn for_rows(gpu: &Gpu, kernel: &'static Kernel, rows: usize) -> impl Iterator<Item = &'static Variant> {
    runnable(gpu, kernel).filter(move |v| v.max_rows > 1 || rows == 1)
}

/// Seeded weights on the device, and their values: bf16 ones are f32 cut to 16 bits, codes what they stand for.
fn weights(gpu: &Gpu, seed: u64, n: usize, k: usize, dtype: Dtype) -> (GpuTensor, Vec<f32>) {
    let values = random(seed, n * k);
    match dtype {
        Dtype::F32 => (gpu.upload(n, k, &values).unwrap(), values),
        Dtype::Bf16 => {
            let bits: Vec<u16> = values.iter().map(|v| (v.to_bits() >> 16) as u16).collect();
            let cut = bits.iter().map(|&b| f32::from_bits((b as u32) << 16)).collect();
            (gpu.upload_bf16(n, k, &bits).unwrap(), cut)
        }
        Dtype::Quant(q) => {
            let w = QuantMatrix::new(q, n, k, &values).unwrap();
            (gpu.upload_quant(&w).unwrap(), w.values())
        }
    }
}

/// `start + a b` in f64, with strides: `a[i, l]` at `i*a.1 + l*a.2`, `b[l, j]` at `l*b.1 + j*b.2`.
fn product(
    (m, n, depth): (usize, usize, usize),
    a: (&[f32], usize, usize),
    b: (&[f32], usize, usize),
    start: impl Fn(usize, usize) -> f64,
) -> Vec<f64> {
    let mut out = Vec::with_capacity(m * n);
    for i in 0..m {
        for j in 0..n {
            let term = |l: usize| a.0[i * a.1 + l * a.2] as f64 * b.0[l * b.1 + j * b.2] as f64;
            out.push(start(i, j) + (0..depth).map(term).sum::<f64>());
        }
    }
    out
}

/// (M, N, K): one row, few rows, tails of every tile, N that is no multiple of 4, a vocabulary.
const SHAPES: &[(usize, usize, usize)] =
    &[(1, 4, 4), (5, 7, 12), (16, 64, 36), (33, 97, 128), (70, 130, 100), (3, 513, 64), (131, 135, 20)];

fn nt_matches_f64(gpu: &Gpu) {
    for &(m, n, k) in SHAPES {
        let (hx, hb) = (random(1, m * k), random(2, n));
        let x = gpu.upload(m, k, &hx).unwrap();
        let bias = gpu.upload(1, n, &hb).unwrap();
        for dtype in Dtype::WEIGHTS {
            let (w, hw) = weights(gpu, 3, n, k, dtype);
            for bias in [None, Some(&bias)] {
                let want = product((m, n, k), (&hx, k, 1), (&hw, 1, k), |_, j| bias.map_or(0.0, |_| hb[j] as f64));
                for v in for_rows(gpu, matmul::NT, m) {
                    let y = matmul::nt_by(gpu, v, &x, &w, bias).unwrap();
                    compare(&format!("{} {dtype:?} [{m}, {n}, {k}]", v.name), &gpu.read(&y).unwrap(), &want, BOUND);
                }
            }
        }
    }
    let (x, w) = (gpu.upload(2, 8, &[0.0; 16]).unwrap(), gpu.upload(3, 4, &[0.0; 12]).unwrap());
    let text = matmul::matmul_nt(gpu, &x, &w, None).err().unwrap().to_string();
    assert_eq!(text, "matmul_nt: [2, 8] [3, 4]^T");
    let odd = gpu.upload(2, 6, &[0.0; 12]).unwrap();
    assert!(matmul::matmul_nt(gpu, &odd, &odd, None).err().unwrap().to_string().contains("multiple of 4"));
    let none = gpu.upload(0, 4, &[]).unwrap();
    assert!(gpu.read(&matmul::matmul_nt(gpu, &none, &w, None).unwrap()).unwrap().is_empty());
}

/// Every variant gives the bits of the products one by one, which are held against f64 above.
fn three_are_the_three_products(gpu: &Gpu) {
    for &(m, n, k) in SHAPES {
        let sizes = [n, 1 + n / 3, 2 + n / 2];
        let x = gpu.upload(m, k, &random(1, m * k)).unwrap();
        let b = sizes.map(|n| gpu.upload(1, n, &random(2, n)).unwrap());
        for dtype in Dtype::WEIGHTS {
            let w: [_; 3] = std::array::from_fn(|i| weights(gpu, 3 + i as u64, sizes[i], k, dtype).0);
            for with in [[true; 3], [false; 3], [false, true, false]] {
                let parts: [_; 3] = std::array::from_fn(|i| (&w[i], with[i].then_some(&b[i])));
                let apart = parts.map(|(w, b)| gpu.read(&matmul::matmul_nt(gpu, &x, w, b).unwrap()).unwrap());
                let row = |i: usize| (0..3).flat_map(move |j| i * sizes[j]..(i + 1) * sizes[j]).collect::<Vec<_>>();
                let want: Vec<u32> = (0..m)
                    .flat_map(|i| {
                        let of = (0..3).flat_map(|j| std::iter::repeat_n(j, sizes[j])).collect::<Vec<_>>();
                        row(i).into_iter().zip(of).collect::<Vec<_>>()
                    })
                    .map(|(at, j)| apart[j][at].to_bits())
                    .collect();
                for v in for_rows(gpu, matmul::THREE, m) {
                    let y = matmul::three_by(gpu, Some(v), &x, parts).unwrap().expect("one dispatch");
                    assert_eq!(bits(&gpu.read(&y).unwrap()), want, "{} {dtype:?} [{m}, {n}, {k}] {with:?}", v.name);
                }
            }
        }
    }
    let (x, w) = (gpu.upload(2, 8, &[0.0; 16]).unwrap(), gpu.upload(3, 4, &[0.0; 12]).unwrap());
    let text = matmul::three_by(gpu, None, &x, [(&w, None); 3]).err().unwrap().to_string();
    assert!(text.starts_with("qkv_append: [2, 8] [3, 4]^T"), "{text}");
}

fn gated_is_the_gate_of_two_products(gpu: &Gpu) {
    for &(m, n, k) in SHAPES {
        let hx = random(1, m * k);
        let x = gpu.upload(m, k, &hx).unwrap();
        for dtype in Dtype::WEIGHTS {
            let ((w, hw), (w1, hw1)) = (weights(gpu, 3, n, k, dtype), weights(gpu, 4, n, k, dtype));
            let gate = product((m, n, k), (&hx, k, 1), (&hw, 1, k), |_, _| 0.0);
            let up = product((m, n, k), (&hx, k, 1), (&hw1, 1, k), |_, _| 0.0);
            let want: Vec<f64> = gate.iter().zip(&up).map(|(g, u)| g / (1.0 + (-g).exp()) * u).collect();
            let apart = bits(&gpu.read(&apart::gated(gpu, &x, &w, &w1).unwrap()).unwrap());
            for v in for_rows(gpu, matmul::GATED, m) {
                let y = matmul::gated_by(gpu, Some(v), &x, &w, &w1).unwrap().expect("one dispatch");
                let y = gpu.read(&y).unwrap();
                compare(&format!("{} {dtype:?} [{m}, {n}, {k}]", v.name), &y, &want, 2.0 * BOUND);
                assert_eq!(bits(&y), apart, "{} {dtype:?} [{m}, {n}, {k}]", v.name);
            }
        }
    }
    let (x, w) = (gpu.upload(2, 8, &[0.0; 16]).unwrap(), gpu.upload(3, 4, &[0.0; 12]).unwrap());
    let text = matmul::gated_by(gpu, None, &x, &w, &w).err().unwrap().to_string();
    assert_eq!(text, "gated: [2, 8] with [3, 4]^T and [3, 4]^T");
}

fn nn_case(gpu: &Gpu, kernel: &'static Kernel, (m, n, k): (usize, usize, usize)) {
    let (hdy, hacc) = (random(4, m * n), random(5, m * k));
    let dy = gpu.upload(m, n, &hdy).unwrap();
    for dtype in Dtype::WEIGHTS {
        let (w, hw) = weights(gpu, 6, n, k, dtype);
        for add in [false, true] {
            let start = |i: usize, j: usize| if add { hacc[i * k + j] as f64 } else { 0.0 };
            let want = product((m, k, n), (&hdy, n, 1), (&hw, k, 1), start);
            for v in runnable(gpu, kernel) {
                let acc = add.then(|| gpu.upload(m, k, &hacc).unwrap());
                let dx = matmul::nn_by(gpu, v, &dy, &w, acc).unwrap();
                compare(&format!("{} {dtype:?} [{m}, {n}, {k}]", v.name), &gpu.read(&dx).unwrap(), &want, BOUND);
            }
        }
    }
}

fn nn_matches_f64(gpu: &Gpu) {
    for &(m, n, k) in SHAPES {
        nn_case(gpu, matmul::NN, (m, n.next_multiple_of(4), k));
    }
}

fn nn_any_matches_f64(gpu: &Gpu) {
    for &shape in SHAPES {
        nn_case(gpu, matmul::NN_ANY, shape);
    }
}

fn nn_split_matches_f64(gpu: &Gpu) {
    nn_case(gpu, matmul::NN_SPLIT, (5, 8195, 12));
}

/// Slices hold 4096 rows of w; with one term each, the order of their sum shows in the bits.
fn nn_split_sums_slices_in_order(gpu: &Gpu) {
    let (n, terms) = (4 * 4096, [1e8f32, 1.0, -1e8, 3.0]);
    let mut hdy = vec![0.0; n];
    for (s, t) in terms.iter().enumerate() {
        hdy[s * 4096 + 17] = *t;
    }
    let dy = gpu.upload(1, n, &hdy).unwrap();
    let w = gpu.upload(n, 4, &vec![1.0; n * 4]).unwrap();
    let in_order = terms.iter().fold(0.5f32, |sum, t| sum + t);
    for v in runnable(gpu, matmul::NN_SPLIT) {
        let acc = gpu.upload(1, 4, &[0.5; 4]).unwrap();
        let dx = matmul::nn_by(gpu, v, &dy, &w, Some(acc)).unwrap();
        assert_eq!(gpu.read(&dx).unwrap(), vec![in_order; 4], "{}", v.name);
    }
}

fn tn_case(gpu: &Gpu, kernel: &'static Kernel, (m, n, k): (usize, usize, usize)) {
    let (hdy, hx, hdw) = (random(7, m * n), random(8, m * k), random(9, n * k));
    let (dy, x) = (gpu.upload(m, n, &hdy).unwrap(), gpu.upload(m, k, &hx).unwrap());
    let want = product((n, k, m), (&hdy, 1, n), (&hx, k, 1), |i, j| hdw[i * k + j] as f64);
    for v in runnable(gpu, kernel) {
        let mut dw = gpu.upload(n, k, &hdw).unwrap();
        matmul::tn_by(gpu, v, &mut dw, &dy, &x).unwrap();
        compare(&format!("{} [{m}, {n}, {k}]", v.name), &gpu.read(&dw).unwrap(), &want, BOUND);
    }
}

fn tn_matches_f64(gpu: &Gpu) {
    for &(m, n, k) in SHAPES {
        tn_case(gpu, matmul::TN, (m, n.next_multiple_of(4), k));
    }
}

fn tn_any_matches_f64(gpu: &Gpu) {
    for &shape in SHAPES {
        tn_case(gpu, matmul::TN_ANY, shape);
    }
}

fn bits(values: &[f32]) -> Vec<u32> {
    values.iter().map(|v| v.to_bits()).collect()
}

/// Row i has the same bits for every number of rows and in every variant.
#[test]
fn rows_do_not_depend_on_the_batch_or_the_variant() {
    crate::adapters::for_each_gpu(|gpu| {
        let (most, n, k) = (64, 70, 132);
        let (hx, hb) = (random(10, most * k), random(11, n));
        let bias = gpu.upload(1, n, &hb).unwrap();
        for dtype in Dtype::WEIGHTS {
            let (w, _) = weights(gpu, 12, n, k, dtype);
            let mut reference: Option<Vec<u32>> = None;
            for m in [64, 33, 5, 3, 2, 1] {
                for v in for_rows(gpu, matmul::NT, m) {
                    let x = gpu.upload(m, k, &hx[..m * k]).unwrap();
                    let y = bits(&gpu.read(&matmul::nt_by(gpu, v, &x, &w, Some(&bias)).unwrap()).unwrap());
                    let reference = reference.get_or_insert_with(|| y.clone());
                    assert_eq!(y, reference[..m * n], "{} {dtype:?} with {m} rows", v.name);
                }
            }
        }
        // The backward products: every variant the same bits, and rows of dx independent of the batch.
        let (w, _) = weights(gpu, 13, n, k, Dtype::F32);
        let hdy = random(14, most * n);
        let mut reference: Option<Vec<u32>> = None;
        for v in runnable(gpu, matmul::NN_ANY) {
            for m in [64, 5, 1] {
                let dy = gpu.upload(m, n, &hdy[..m * n]).unwrap();
                let dx = bits(&gpu.read(&matmul::nn_by(gpu, v, &dy, &w, None).unwrap()).unwrap());
                let reference = reference.get_or_insert_with(|| dx.clone());
                assert_eq!(dx, reference[..m * k], "{} with {m} rows", v.name);
            }
        }
    });
}

/// Operands larger than a binding are walked in windows, which change no bit: the poor device (4 MiB bindings) and the full
/// one run the same core here.
#[test]
fn windows_change_no_bit() {
    crate::adapters::for_each_gpu(|gpu| {
        let small = gpu.caps().max_binding <= 4 << 20;
        let core = |kernel: &'static Kernel| kernel.variants.iter().find(|v| v.name.ends_with(".reg8x8")).unwrap();
        // w: 3001 x 420 f32 = 4.8 MiB; 1300 rows of x: 2.1 MiB, of y and dy: 15 MiB.
        let (m, n, k) = (1300, 3001, 420);
        let (w, hw) = weights(gpu, 15, n, k, Dtype::F32);
        let hx = random(16, m * k);
        let x = gpu.upload(m, k, &hx).unwrap();
        let y = matmul::nt_by(gpu, core(matmul::NT), &x, &w, None).unwrap();
        let hy = gpu.read(&y).unwrap();
        let dx = gpu.read(&matmul::nn_by(gpu, core(matmul::NN_ANY), &y, &w, None).unwrap()).unwrap();
        let mut dw = gpu.upload(n, k, &hw).unwrap();
        matmul::tn_by(gpu, core(matmul::TN_ANY), &mut dw, &y, &x).unwrap();
        let hdw = gpu.read(&dw).unwrap();
        // The same arithmetic in the same order, one element at a time, near both ends of the windows.
        let fused = fuses(gpu);
        let step = |sum: f32, a: f32, b: f32| if fused { a.mul_add(b, sum) } else { sum + a * b };
        for i in [0, 1, 347, 348, 640, m - 1] {
            for j in [0, 3, 2495, 2496, 2499, n - 1] {
                let want = (0..k).fold(0.0, |s, l| step(s, hx[i * k + l], hw[j * k + l]));
                assert_eq!(hy[i * n + j].to_bits(), want.to_bits(), "y[{i}, {j}] (small bindings: {small})");
                let c = j % k;
                let want = (0..n).fold(0.0, |s, l| step(s, hy[i * n + l], hw[l * k + c]));
                assert_eq!(dx[i * k + c].to_bits(), want.to_bits(), "dx[{i}, {c}] (small bindings: {small})");
                let want = (0..m).fold(hw[j * k + c], |s, l| step(s, hy[l * n + j], hx[l * k + c]));
                assert_eq!(hdw[j * k + c].to_bits(), want.to_bits(), "dw[{j}, {c}] (small bindings: {small})");
            }
        }
    });
}

/// Codes of more rows than a binding of the poor device holds: the bits of their parts.
#[test]
fn windows_over_codes_change_no_bit() {
    crate::adapters::for_each_gpu(|gpu| {
        let (m, n, k, part) = (3, 18_000, 420, 3000);
        let (hw, hdy) = (random(21, n * k), random(23, m * n));
        let (x, dy) = (gpu.upload(m, k, &random(22, m * k)).unwrap(), gpu.upload(m, n, &hdy).unwrap());
        for q in Quant::ALL {
            let codes = |rows: std::ops::Range<usize>| {
                let w = QuantMatrix::new(q, rows.len(), k, &hw[rows.start * k..rows.end * k]).unwrap();
                gpu.upload_quant(&w).unwrap()
            };
            let w = codes(0..n);
            let y = gpu.read(&matmul::matmul_nt(gpu, &x, &w, None).unwrap()).unwrap();
            let core = matmul::NN.variants.iter().find(|v| v.name.ends_with(".reg8x8")).unwrap();
            let dx = gpu.read(&matmul::nn_by(gpu, core, &dy, &w, None).unwrap()).unwrap();
            let mut sum = None;
            for first in (0..n).step_by(part) {
                let w = codes(first..first + part);
                let of = gpu.read(&matmul::matmul_nt(gpu, &x, &w, None).unwrap()).unwrap();
                for i in 0..m {
                    assert_eq!(
                        bits(&y[i * n + first..][..part]),
                        bits(&of[i * part..][..part]),
                        "{q:?} row {i}, {first}"
                    );
                }
                let columns: Vec<f32> = (0..m).flat_map(|i| hdy[i * n + first..][..part].to_vec()).collect();
                let dy = gpu.upload(m, part, &columns).unwrap();
                sum = Some(matmul::nn_by(gpu, core, &dy, &w, sum).unwrap());
            }
            assert_eq!(bits(&dx), bits(&gpu.read(&sum.unwrap()).unwrap()), "{q:?}");
        }
    });
}

/// What only changing would need is refused with words.
#[test]
fn codes_are_read_only() {
    crate::adapters::for_each_gpu(|gpu| {
        let mut w = gpu.upload_quant(&QuantMatrix::new(Quant::Nf4, 5, 36, &random(1, 180)).unwrap()).unwrap();
        let (dy, x) = (gpu.upload(2, 5, &[0.0; 10]).unwrap(), gpu.upload(2, 36, &[0.0; 72]).unwrap());
        let text = matmul::matmul_tn(gpu, &mut w, &dy, &x).err().unwrap().to_string();
        assert!(text.contains("only the weights may be packed"), "{text}");
        assert!(gpu.write(&mut w, &[0.0; 180]).unwrap_err().to_string().contains("nf4 weights are read-only"));
        assert!(probity::ops::Ops::fill(gpu, &mut w, 0.0).is_err());
        let narrow = gpu.upload_quant(&QuantMatrix::new(Quant::Int4, 5, 6, &[0.5; 30]).unwrap()).unwrap();
        let x = gpu.upload(2, 6, &[0.0; 12]).unwrap();
        assert!(matmul::matmul_nt(gpu, &x, &narrow, None).err().unwrap().to_string().contains("multiple of 4"));
    });
}

fn rows_are_brought_into_the_range_of_f16(gpu: &Gpu) {
    for &(m, k) in &[(1, 4), (5, 33), (70, 128), (3, 4900)] {
        let mut x = random(20, m * k);
        for (i, v) in x.iter_mut().enumerate() {
            *v *= [1.0, 1e30, 1e-30, 0.0, 7e4][i / k % 5];
        }
        let got = gpu.read(&matmul::row_scale(gpu, &gpu.upload(m, k, &x).unwrap()).unwrap()).unwrap();
        for (row, scale) in x.chunks(k).zip(got) {
            let top = row.iter().fold(0.0f32, |t, v| t.max(v.abs()));
            assert_eq!(scale.to_bits() & 0x007f_ffff, 0, "{scale} is no power of two");
            if top == 0.0 {
                assert_eq!(scale, 1.0);
            } else if top > 1e-20 {
                assert!((8192.0..16384.0).contains(&(top * scale)), "{top} times {scale}");
            } else {
                assert!(top * scale > 0.0 && scale == 2.0f32.powi(100), "{top} times {scale}");
            }
        }
    }
}

/// Matrix units, where an adapter has them: f16 holds eleven bits of every factor, whatever the size of the rows.
#[test]
fn matrix_units_match_f64() {
    for adapter in list_adapters().iter().filter(|a| a.cooperative() > 0) {
        let gpu = Gpu::open(adapter, &GpuOptions { fast: true, checked_shaders: true, ..Default::default() }).unwrap();
        let Some(coop) = runnable(&gpu, matmul::NT).find(|v| matches!(v.needs, Needs::Cooperative(_))) else {
            continue;
        };
        assert_eq!(select::select(matmul::NT, 128, 896, gpu.caps()).name, coop.name);
        assert_ne!(select::select(matmul::NT, 64, 896, gpu.caps()).name, coop.name);
        eprintln!("on {adapter}, fast");
        for &(m, n, k) in SHAPES.iter().chain(&[(200, 130, 900)]) {
            let (mut hx, hb) = (random(1, m * k), random(2, n));
            // What f16 cannot hold: 7e4 and 1e-9.
            for (i, v) in hx.iter_mut().enumerate() {
                *v *= [1.0, 7e4, 1e-9][i / k % 3];
            }
            let (x, bias) = (gpu.upload(m, k, &hx).unwrap(), gpu.upload(1, n, &hb).unwrap());
            for dtype in Dtype::WEIGHTS {
                let (w, hw) = weights(&gpu, 3, n, k, dtype);
                for bias in [None, Some(&bias)] {
                    let want = product((m, n, k), (&hx, k, 1), (&hw, 1, k), |_, j| bias.map_or(0.0, |_| hb[j] as f64));
                    let y = gpu.read(&matmul::nt_by(&gpu, coop, &x, &w, bias).unwrap()).unwrap();
                    for (i, (y, want)) in y.chunks(n).zip(want.chunks(n)).enumerate() {
                        // Each factor is rounded by at most 2^-11 of itself, the bias not at all.
                        let size = (hx[i * k..][..k].iter().map(|v| (v * v) as f64).sum::<f64>() * k as f64).sqrt();
                        for (y, want) in y.iter().zip(want) {
                            let error = (*y as f64 - want).abs();
                            let bound = 2.0f64.powi(-10) * size + 1e-6 * want.abs();
                            assert!(error <= bound, "[{m}, {n}, {k}] {dtype:?} row {i}: {y}, not {want}");
                        }
                    }
                }
            }
        }
    }
}

/// Whether the device's `fma` rounds once. WGSL allows both.
fn fuses(gpu: &Gpu) -> bool {
    // (1 + e)(1 - e) - 1 = -e², which a rounded product loses.
    let e = f32::EPSILON;
    let x = gpu.upload(1, 4, &[1.0, 1.0 + e, 0.0, 0.0]).unwrap();
    let w = gpu.upload(1, 4, &[-1.0, 1.0 - e, 0.0, 0.0]).unwrap();
    gpu.read(&matmul::matmul_nt(gpu, &x, &w, None).unwrap()).unwrap()[0] != 0.0
}
