//! Fill, copy, add, scale, and the way of data to the device and back.

use crate::adapters::{compare, for_each_gpu, random};
use probity::gpu::Gpu;
use probity::kernels::copy;
use probity::ops::{Dtype, IndexMeta, TensorMeta};

crate::kernel_tests! {
    fill => fills,
    copy => copies,
    add => adds,
    scale => scales,
}

/// Awkward lengths, one larger than the poor device's binding.
const SHAPES: &[(usize, usize)] = &[(1, 1), (3, 5), (1, 257), (64, 33), (1031, 1033)];

fn fills(gpu: &Gpu) {
    for &(m, n) in SHAPES {
        let mut x = gpu.alloc_f32(m, n).unwrap();
        copy::fill(gpu, &mut x, -2.5).unwrap();
        assert!(gpu.read(&x).unwrap().iter().all(|&v| v == -2.5), "[{m}, {n}]");
    }
}

fn copies(gpu: &Gpu) {
    for &(m, n) in SHAPES {
        let data = random(1, m * n);
        let y = copy::copy(gpu, &gpu.upload(m, n, &data).unwrap()).unwrap();
        assert_eq!(gpu.read(&y).unwrap(), data, "[{m}, {n}]");
    }
    let bits: Vec<u16> = (0..21).map(|i| 0x3f80 + i).collect();
    let y = copy::copy(gpu, &gpu.upload_bf16(3, 7, &bits).unwrap()).unwrap();
    assert_eq!((y.rows(), y.cols(), y.dtype()), (3, 7, Dtype::Bf16));
    let want: Vec<f32> = bits.iter().map(|&b| f32::from_bits((b as u32) << 16)).collect();
    assert_eq!(gpu.read(&y).unwrap(), want);
}

fn adds(gpu: &Gpu) {
    for &(m, n) in SHAPES {
        let (a, b) = (random(2, m * n), random(3, m * n));
        let mut x = gpu.upload(m, n, &a).unwrap();
        copy::add(gpu, &mut x, &gpu.upload(m, n, &b).unwrap()).unwrap();
        let want: Vec<f64> = a.iter().zip(&b).map(|(a, b)| *a as f64 + *b as f64).collect();
        compare("a + b", &gpu.read(&x).unwrap(), &want, 1e-7);
    }
    let (mut a, b) = (gpu.upload(2, 3, &[0.0; 6]).unwrap(), gpu.upload(3, 2, &[0.0; 6]).unwrap());
    let e = copy::add(gpu, &mut a, &b).unwrap_err().to_string();
    assert_eq!(e, "add: [2, 3] += [3, 2]");
}

fn scales(gpu: &Gpu) {
    for &(m, n) in SHAPES {
        let a = random(4, m * n);
        let mut x = gpu.upload(m, n, &a).unwrap();
        copy::scale(gpu, &mut x, 0.375).unwrap();
        let want: Vec<f64> = a.iter().map(|a| *a as f64 * 0.375).collect();
        compare("0.375 a", &gpu.read(&x).unwrap(), &want, 1e-7);
    }
}

/// Uploads into recycled buffers must not overtake commands recorded earlier, and writes must come after them.
#[test]
fn uploads_and_writes_keep_their_place() {
    for_each_gpu(|gpu| {
        let ones = vec![1.0; 1000];
        let mut sums = Vec::new();
        for i in 0..20 {
            let mut acc = gpu.upload(1, 1000, &ones).unwrap();
            let x = gpu.upload(1, 1000, &vec![i as f32; 1000]).unwrap();
            copy::add(gpu, &mut acc, &x).unwrap();
            drop(x);
            let mut other = gpu.upload(1, 1000, &vec![7.0; 1000]).unwrap();
            let before = copy::copy(gpu, &other).unwrap();
            gpu.write(&mut other, &vec![9.0; 1000]).unwrap();
            sums.push((acc, before, other));
        }
        for (i, (acc, before, other)) in sums.iter().enumerate() {
            assert_eq!(gpu.read(acc).unwrap(), vec![1.0 + i as f32; 1000]);
            assert_eq!(gpu.read(before).unwrap(), vec![7.0; 1000]);
            assert_eq!(gpu.read(other).unwrap(), vec![9.0; 1000]);
        }
        let index = gpu.upload_index(&[3, 1, 2]).unwrap();
        assert_eq!((index.len(), gpu.read_index(&index).unwrap()), (3, vec![3, 1, 2]));
        assert_eq!(gpu.read(&gpu.upload(0, 4, &[]).unwrap()).unwrap(), Vec::<f32>::new());
    });
}
