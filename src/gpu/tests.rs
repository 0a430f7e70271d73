//! Faults of a device, provoked.

use super::*;
use crate::kernels::copy;
use crate::ops::{OpError, TensorMeta};

fn device() -> Gpu {
    let adapters = list_adapters();
    let adapter = adapters.first().expect(
        "these tests need a graphics adapter: on a machine without a GPU install a software one (apt-get install mesa-vulkan-drivers)",
    );
    Gpu::open(adapter, &GpuOptions::default()).unwrap()
}

#[test]
fn a_rejected_dispatch_surfaces_at_the_next_read_and_stays() {
    let gpu = device();
    let x = gpu.upload(1, 4, &[1.0; 4]).unwrap();
    // `add` binds two buffers; giving it one is a mistake that only wgpu sees.
    let add = copy::KERNELS.iter().find(|k| k.name == "add").unwrap();
    let variant = gpu.select(add, 1);
    gpu.dispatch(&Dispatch { binds: &[x.bind()], params: &[1, 0], ..Dispatch::new(variant) }).unwrap();
    for _ in 0..2 {
        match gpu.read(&x).unwrap_err() {
            OpError::Validation { kernel, adapter, .. } => {
                assert_eq!((kernel.as_str(), adapter.as_str()), ("add.vec4", gpu.name()));
            }
            e => panic!("{e}"),
        }
    }
    assert!(gpu.sync().is_err());
}

#[test]
fn a_lost_device_names_the_last_kernel() {
    let gpu = device();
    let mut x = gpu.alloc_f32(1, 4).unwrap();
    copy::fill(&gpu, &mut x, 1.0).unwrap();
    gpu.sync().unwrap();
    gpu.device.destroy();
    let error = copy::fill(&gpu, &mut x, 2.0).and_then(|()| gpu.read(&x)).unwrap_err();
    match error {
        OpError::Lost { kernel, .. } => assert_eq!(kernel, "fill.vec4"),
        e => panic!("{e}"),
    }
}

#[test]
fn mistakes_are_refused_before_the_device_sees_them() {
    let gpu = device();
    let huge = gpu.alloc_f32(1 << 20, 1 << 14).err().unwrap().to_string();
    assert!(huge.contains("larger than this adapter's largest buffer"), "{huge}");
    assert!(matches!(gpu.upload(2, 3, &[0.0; 5]), Err(OpError::Shape { op: "upload", .. })));
    let x = gpu.alloc_f32(1, 256).unwrap();
    let fill = gpu.select(&copy::KERNELS[0], 1);
    let odd = Dispatch { binds: &[x.bind_bytes(16..64)], params: &[1, 0], ..Dispatch::new(fill) };
    assert!(matches!(gpu.dispatch(&odd), Err(OpError::Shape { .. })));
    let wide = Dispatch { binds: &[x.bind()], params: &[1, 0], groups: [65536, 1, 1], ..Dispatch::new(fill) };
    assert!(matches!(gpu.dispatch(&wide), Err(OpError::Shape { .. })));
    let bits = gpu.upload_bf16(1, 4, &[0; 4]).unwrap();
    assert_eq!(bits.len(), 4);
    gpu.sync().unwrap();
}

#[test]
fn dropped_buffers_are_used_again() {
    let gpu = device();
    let first = gpu.alloc_f32(100, 100).unwrap();
    let buffer = first.block.buffer.clone();
    drop(first);
    // An upload writes at once, so it waits until what used the buffer has been submitted.
    let upload = gpu.upload(100, 100, &[0.0; 10_000]).unwrap();
    assert_ne!(upload.block.buffer, buffer);
    let second = gpu.alloc_f32(100, 99).unwrap();
    assert_eq!(second.block.buffer, buffer);
}

#[test]
fn windows_cover_all_rows_at_aligned_offsets() {
    let adapters = list_adapters();
    let gpu = Gpu::open(&adapters[0], &GpuOptions::poor()).unwrap();
    for (rows, row_bytes, most) in [(10_000, vec![4_000, 12], usize::MAX), (999, vec![16], 128), (7, vec![4 << 20], 9)]
    {
        let mut at = 0;
        for w in gpu.row_windows("test", rows, &row_bytes, most).unwrap() {
            assert_eq!(w.start, at);
            assert!(w.len() <= most && !w.is_empty());
            for b in &row_bytes {
                assert_eq!(w.start as u64 * b % Caps::ALIGN, 0);
                assert!(w.len() as u64 * b <= gpu.caps().max_binding);
            }
            at = w.end;
        }
        assert_eq!(at, rows);
    }
    assert!(gpu.row_windows("test", 3, &[5 << 20], usize::MAX).err().unwrap().to_string().contains("do not fit"));
    assert_eq!(gpu.byte_windows((9 << 20) + 4).count(), 3);
}
