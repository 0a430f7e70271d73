//! Faults of a device, provoked.

use super::*;
use crate::kernels::copy;
use crate::ops::{AdamW, AttnPlan, AttnShape, OpError, Ops, Sampling, Span, TensorMeta};

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
        OpError::Lost { kernel, detail, .. } => {
            assert_eq!(kernel, "fill.vec4");
            assert!(detail.contains("last submission: 1 dispatches") && detail.ends_with("fill.vec4"), "{detail}");
        }
        e => panic!("{e}"),
    }
    // Whatever comes next says the same; nothing panics or waits.
    let lost = |e: Option<OpError>| matches!(e, Some(OpError::Lost { .. }));
    assert!(lost(gpu.upload(1, 4, &[0.0; 4]).and_then(|y| gpu.read(&y)).err()));
    assert!(lost(gpu.write(&mut x, &[0.0; 4]).and_then(|()| gpu.sync()).err()));
    assert!(lost(gpu.zeros(64 << 10, 1024).and_then(|y| gpu.read(&y)).err()));
}

/// Results and gradients of operations that are cut into many dispatches on a slow device.
fn work(gpu: &Gpu) -> Vec<Vec<u32>> {
    let (rows, inner, wide, vocab) = (200, 64, 300, 1000);
    let tensor = |r: usize, c: usize, seed: usize| {
        let data: Vec<f32> = (0..r * c).map(|i| (((i * 31 + seed * 17) % 101) as f32 - 50.0) / 40.0).collect();
        gpu.upload(r, c, &data).unwrap()
    };
    let (x, w, dy) = (tensor(rows, inner, 1), tensor(wide, inner, 2), tensor(rows, wide, 3));
    let mut out = vec![
        gpu.matmul_nt(&x, &w, None).unwrap(),
        gpu.matmul_nn(&dy, &w, None).unwrap(),
        gpu.swiglu(&dy, &dy).unwrap(),
    ];
    let mut dw = tensor(wide, inner, 4);
    gpu.matmul_tn(&mut dw, &dy, &x).unwrap();
    let spans = vec![Span { q0: 0, n: 120, k0: 0, past: 0 }, Span { q0: 120, n: 80, k0: 120, past: 0 }];
    let plan = AttnPlan::new(spans, |i| gpu.upload_index(i)).unwrap();
    let shape = AttnShape { heads: 4, kv_heads: 1, head_dim: 16, scale: 0.25 };
    let (k, v) = (tensor(rows, 16, 5), tensor(rows, 16, 6));
    let (y, lse) = gpu.attention(&x, &k, &v, &plan, &shape).unwrap();
    let (dq, dk, dv) = gpu.attention_bwd(&x, &x, &k, &v, &y, &lse, &plan, &shape).unwrap();
    let head = tensor(vocab, inner, 7);
    let targets = gpu.upload_index(&(0..rows as u32).collect::<Vec<_>>()).unwrap();
    let scored = gpu.head_logp(&x, &head, &targets, 0.9).unwrap();
    let dlogp = tensor(rows, 1, 8);
    let mut dhead = gpu.zeros(vocab, inner).unwrap();
    let dh = gpu.head_logp_bwd(&dlogp, &x, &head, &targets, 0.9, &scored, Some(&mut dhead)).unwrap();
    // More than a window of 1 MiB.
    let (mut big, g) = (tensor(1000, 600, 9), tensor(1000, 600, 10));
    let (mut m, mut s) = (gpu.zeros(1000, 600).unwrap(), gpu.zeros(1000, 600).unwrap());
    let norm = gpu.global_norm(&[&g, &dhead]).unwrap();
    let hyper = AdamW {
        lr: 0.1,
        beta1: 0.9,
        beta2: 0.99,
        eps: 1e-8,
        weight_decay: 0.1,
        bias_correction1: 0.1,
        bias_correction2: 0.01,
        max_norm: 1.0,
    };
    let change = gpu.adamw(&mut big, &g, &mut m, &mut s, &hyper, &norm).unwrap();
    let logits = gpu.matmul_nt(&x, &head, None).unwrap();
    let keys = gpu.upload_index(&(0..4 * rows as u32).collect::<Vec<_>>()).unwrap();
    let (_, drawn) = gpu.sample(&logits, &Sampling { temperature: 0.8, top_k: 0, top_p: 0.9 }, &keys).unwrap();
    out.extend([dw, y, lse, dq, dk, dv, scored.logp, dhead, dh, norm, big, change, drawn]);
    out.iter().map(|t| gpu.read(t).unwrap().iter().map(|x| x.to_bits()).collect()).collect()
}

#[test]
fn submissions_keep_to_their_budget_and_change_no_bit() {
    let adapters = list_adapters();
    for options in [GpuOptions::default(), GpuOptions::poor()] {
        let run = |rates| {
            let gpu = Gpu::open(&adapters[0], &GpuOptions { rates, ..options.clone() }).unwrap();
            (work(&gpu), gpu.submitted())
        };
        let (want, usual) = run(None);
        assert_eq!((usual.alone, usual.over), (0, 0), "{usual:?}");
        // Slow enough to cut, and so slow that not even the smallest pieces fit: those go alone.
        for (rates, alone) in [([1e9, 2e8], false), ([2e4, 4e3], true)] {
            let (got, fine) = run(Some(rates));
            assert!(got == want, "another flush policy, other bits ({rates:?})");
            assert_eq!(fine.over, 0, "{fine:?}");
            assert!(fine.dispatches > usual.dispatches && fine.submissions > usual.submissions, "{fine:?} {usual:?}");
            assert_eq!(fine.alone > 0, alone, "{fine:?}");
            assert!(alone || fine.longest <= MAX_SECONDS, "{fine:?}");
        }
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
    assert_eq!(gpu.byte_windows((9 << 20) + 4, 1).count(), 3);
}

#[test]
fn a_profile_counts_every_dispatch_and_changes_no_bit() {
    let gpu = device();
    let x = gpu.upload(64, 64, &vec![0.5; 4096]).unwrap();
    let plain = gpu.read(&Ops::matmul_nt(&gpu, &x, &x, None).unwrap()).unwrap();
    let mut seen = Vec::new();
    // More than a set of timestamps holds.
    let spent = gpu.profile(&mut || {
        for _ in 0..3000 {
            let mut y = gpu.alloc_f32(1, 4)?;
            copy::fill(&gpu, &mut y, 1.0)?;
        }
        seen = gpu.read(&Ops::matmul_nt(&gpu, &x, &x, None)?)?;
        Ok(())
    });
    let spent = spent.unwrap().expect("lavapipe has timestamps");
    assert_eq!(seen, plain);
    let calls = |name: &str| spent.iter().filter(|s| s.kernel.starts_with(name)).map(|s| s.calls).sum::<u64>();
    assert_eq!((calls("fill"), calls("matmul_nt"), spent.len()), (3000, 1, 2));
    assert!(spent.iter().all(|s| s.seconds > 0.0) && spent[0].seconds >= spent[1].seconds);
    // Afterwards there is no clock, and without timestamps there never is.
    assert_eq!(gpu.read(&Ops::matmul_nt(&gpu, &x, &x, None).unwrap()).unwrap(), plain);
    let adapters = list_adapters();
    let without = GpuOptions { disable_timestamps: true, ..GpuOptions::default() };
    assert_eq!(Gpu::open(&adapters[0], &without).unwrap().profile(&mut || Ok(())).unwrap(), None);
}
