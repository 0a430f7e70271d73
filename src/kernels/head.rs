//! The language-model head: log-probabilities of given tokens and their gradient, in chunks of rows, so that `[M, V]`
//! never exists for a large vocabulary.

use super::reduce::{by_row, by_unit, counted, refuse, row_variants, shaped, unit_grid, windows};
use super::{Kernel, Variant, copy, matmul};
use crate::gpu::{Dispatch, Gpu, GpuIndex, GpuTensor, linear_grid};
use crate::ops::{Dtype, HeadOut, Result, TensorMeta};
use crate::part;
use std::ops::Range;

macro_rules! dz_variant {
    ($name:literal, $unit_file:literal, $unit:literal, $place:literal, $why:literal) => {
        Variant {
            name: $name,
            why: $why,
            parts: &[part!("lib/grid.wgsl"), part!($unit_file), part!($place), part!("head_dz.wgsl")],
            consts: &[("WG", 256), ("UNIT", $unit)],
            ..Variant::BASE
        }
    };
}

pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "head_logp",
        family: "head",
        twin: "head_logp",
        variants: row_variants!("head_logp", "head_stats.wgsl", 256, &[&[]]),
    },
    Kernel {
        name: "head_dz",
        family: "head",
        twin: "head_logp_bwd",
        variants: &[
            dz_variant!("head_dz.vec4", "rows_unit4.wgsl", 4, "head_apart.wgsl", "keeps the logits"),
            dz_variant!("head_dz.scalar", "rows_unit1.wgsl", 1, "head_apart.wgsl", "keeps the logits, any vocabulary"),
        ],
    },
    Kernel {
        name: "head_dz_inplace",
        family: "head",
        twin: "head_logp_bwd",
        variants: &[
            dz_variant!("head_dz_inplace.vec4", "rows_unit4.wgsl", 4, "head_inplace.wgsl", "overwrites the logits"),
            dz_variant!(
                "head_dz_inplace.scalar",
                "rows_unit1.wgsl",
                1,
                "head_inplace.wgsl",
                "overwrites, any vocabulary"
            ),
        ],
    },
];

const STATS: &Kernel = &KERNELS[0];
const DZ: &Kernel = &KERNELS[1];
const DZ_INPLACE: &Kernel = &KERNELS[2];

/// Logits are kept for the backward pass up to this many bytes.
pub(crate) const KEEP_BYTES: usize = 64 << 20;
/// A chunk of logits has at most this many bytes.
const CHUNK_BYTES: usize = 128 << 20;

fn check(
    op: &'static str,
    h: &GpuTensor,
    w: &GpuTensor,
    targets: &GpuIndex,
    temperature: f32,
) -> Result<(usize, usize)> {
    shaped(op, "h", h, h.rows(), w.cols())?;
    counted(op, "targets", targets, h.rows())?;
    if w.rows() == 0 && h.rows() > 0 {
        return refuse(op, "the vocabulary is empty".into());
    }
    if !(temperature > 0.0 && temperature.is_finite()) {
        return refuse(op, format!("temperature is {temperature}, expected a positive number"));
    }
    Ok((h.rows(), w.rows()))
}

/// Rows of logits per chunk; a function of the vocabulary and the device.
fn chunk_rows(gpu: &Gpu, vocab: usize) -> usize {
    rows_per_chunk(vocab, gpu.caps().max_binding)
}

/// The same from the largest binding, in bytes.
pub(crate) fn rows_per_chunk(vocab: usize, max_binding: u64) -> usize {
    (CHUNK_BYTES.min(max_binding as usize) / (4 * vocab.max(1))).max(1)
}

/// Per row of `z [M', V]`, which is row `first + i` of the outputs and targets.
pub(super) fn stats(
    gpu: &Gpu,
    z: &GpuTensor,
    targets: &GpuIndex,
    inv_temperature: f32,
    [logp, lse, entropy]: [&GpuTensor; 3],
    first: usize,
) -> Result<()> {
    let pick = by_row(gpu, STATS, z.cols());
    for w in windows(gpu, "head_logp", z.rows(), z.cols())? {
        gpu.dispatch(&Dispatch {
            binds: &[z.bind_rows(w.clone()), targets.bind(), logp.bind(), lse.bind(), entropy.bind()],
            params: &[w.len() as u32, pick.units as u32, (first + w.start) as u32, inv_temperature.to_bits()],
            groups: linear_grid(w.len().div_ceil(pick.rows)),
            flops: 8 * (w.len() * z.cols()) as u64,
            bytes: 8 * (w.len() * z.cols()) as u64,
            ..Dispatch::new(pick.variant)
        })?;
    }
    Ok(())
}

/// Rows of `x` as a tensor of their own.
fn slice(gpu: &Gpu, x: &GpuTensor, rows: Range<usize>) -> Result<GpuTensor> {
    let y = gpu.alloc(rows.len(), x.cols(), Dtype::F32)?;
    copy::copy_range(gpu, y.bind(), x.bind_rows(rows), y.bytes())?;
    Ok(y)
}

/// LM head and log-softmax for given targets (by contract below V). `w` is `[V,H]` in any storage.
pub fn head_logp(
    gpu: &Gpu,
    h: &GpuTensor,
    w: &GpuTensor,
    targets: &GpuIndex,
    temperature: f32,
) -> Result<HeadOut<GpuTensor>> {
    let op = "head_logp";
    let (m, vocab) = check(op, h, w, targets, temperature)?;
    let (logp, lse, entropy) = (gpu.alloc_f32(m, 1)?, gpu.alloc_f32(m, 1)?, gpu.alloc_f32(m, 1)?);
    let outputs = [&logp, &lse, &entropy];
    let chunk = chunk_rows(gpu, vocab);
    if m <= chunk && m * vocab * 4 <= KEEP_BYTES {
        let z = matmul::matmul_nt(gpu, h, w, None)?;
        stats(gpu, &z, targets, 1.0 / temperature, outputs, 0)?;
        return Ok(HeadOut { logp, lse, entropy, logits: Some(z) });
    }
    for rows in gpu.row_windows(op, m, &[h.row_bytes()], chunk)? {
        let z = matmul::matmul_nt(gpu, &slice(gpu, h, rows.clone())?, w, None)?;
        stats(gpu, &z, targets, 1.0 / temperature, outputs, rows.start)?;
    }
    Ok(HeadOut { logp, lse, entropy, logits: None })
}

/// Given `dlogp[M,1]`: `dz = dlogp/T (1[v=y] - p)`, returns `dh = dz w`; `dw += dz^T h`.
#[allow(clippy::too_many_arguments)]
pub fn head_logp_bwd(
    gpu: &Gpu,
    dlogp: &GpuTensor,
    h: &GpuTensor,
    w: &GpuTensor,
    targets: &GpuIndex,
    temperature: f32,
    out: &HeadOut<GpuTensor>,
    mut dw: Option<&mut GpuTensor>,
) -> Result<GpuTensor> {
    let op = "head_logp_bwd";
    let (m, vocab) = check(op, h, w, targets, temperature)?;
    shaped(op, "dlogp", dlogp, m, 1)?;
    shaped(op, "lse", &out.lse, m, 1)?;
    if let Some(dw) = &dw {
        shaped(op, "dw", dw, vocab, h.cols())?;
    }
    // dz of the chunk that starts at row `first`; without `z` in place of the logits it holds.
    let gradient = |dz: &GpuTensor, z: Option<&GpuTensor>, first: usize| -> Result<()> {
        let (variant, units) = by_unit(if z.is_some() { DZ } else { DZ_INPLACE }, vocab);
        for r in windows(gpu, op, dz.rows(), vocab)? {
            let n = r.len() * units;
            let mut binds = vec![targets.bind(), dlogp.bind(), out.lse.bind(), dz.bind_rows(r.clone())];
            binds.extend(z.map(|z| z.bind_rows(r.clone())));
            gpu.dispatch(&Dispatch {
                binds: &binds,
                params: &[n as u32, units as u32, (first + r.start) as u32, (1.0 / temperature).to_bits()],
                groups: unit_grid(n),
                flops: 6 * (r.len() * vocab) as u64,
                bytes: 8 * (r.len() * vocab) as u64,
                ..Dispatch::new(variant)
            })?;
        }
        Ok(())
    };
    if let Some(z) = &out.logits {
        shaped(op, "logits", z, m, vocab)?;
        let dz = gpu.alloc_f32(m, vocab)?;
        gradient(&dz, Some(z), 0)?;
        if let Some(dw) = dw {
            matmul::matmul_tn(gpu, dw, &dz, h)?;
        }
        return matmul::matmul_nn(gpu, &dz, w, None);
    }
    let dh = gpu.alloc_f32(m, h.cols())?;
    for rows in gpu.row_windows(op, m, &[h.row_bytes()], chunk_rows(gpu, vocab))? {
        let part = slice(gpu, h, rows.clone())?;
        let z = matmul::matmul_nt(gpu, &part, w, None)?;
        gradient(&z, None, rows.start)?;
        if let Some(dw) = dw.as_deref_mut() {
            matmul::matmul_tn(gpu, dw, &z, &part)?;
        }
        let dpart = matmul::matmul_nn(gpu, &z, w, None)?;
        copy::copy_range(gpu, dh.bind_rows(rows), dpart.bind(), dpart.bytes())?;
    }
    Ok(dh)
}
