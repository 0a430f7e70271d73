//! Choosing the next token on the device.

use super::head::stats;
use super::reduce::{counted, refuse, shaped, windows};
use super::{Kernel, On, Variant};
use crate::gpu::{Dispatch, Gpu, GpuIndex, GpuTensor, linear_grid};
use crate::ops::{IndexMeta, Result, Sampling, TensorMeta};
use crate::part;

macro_rules! sample_variant {
    ($name:literal, $lanes:literal, $on:ident, $why:literal) => {
        Variant {
            name: $name,
            why: $why,
            parts: &[part!("lib/grid.wgsl"), part!("reduce_group.wgsl"), part!("sample.wgsl")],
            consts: &[("WG", $lanes)],
            on: On::$on,
            ..Variant::BASE
        }
    };
}

pub static KERNELS: &[Kernel] = &[
    Kernel {
        name: "sample",
        family: "sample",
        twin: "sample",
        variants: &[
            sample_variant!("sample.lanes256", 256, Hardware, "256 chunks of the vocabulary"),
            sample_variant!("sample.lanes64", 64, Software, "fewer invocations to synchronise"),
        ],
    },
    Kernel {
        name: "repetition_penalty",
        family: "sample",
        twin: "repetition_penalty",
        variants: &[Variant {
            name: "repetition_penalty.row",
            parts: &[part!("lib/grid.wgsl"), part!("sample_penalty.wgsl")],
            consts: &[("WG", 64)],
            ..Variant::BASE
        }],
    },
];

const SAMPLE: &Kernel = &KERNELS[0];
const PENALTY: &Kernel = &KERNELS[1];

/// Largest vocabulary: counts and indices pass through f32 sums.
const MAX_VOCAB: usize = 1 << 24;

/// Chooses one token per row of `logits [M,V]`; `keys` holds four words per row. Returns the ids and their `[M,1]`
/// log-probabilities under softmax(logits / T) over the whole vocabulary (T = 1 when greedy), by the kernel of
/// [`head_logp`](super::head::head_logp): the same logits give the same bits.
pub fn sample(gpu: &Gpu, logits: &GpuTensor, s: &Sampling, keys: &GpuIndex) -> Result<(GpuIndex, GpuTensor)> {
    let op = "sample";
    let (m, vocab) = (logits.rows(), logits.cols());
    shaped(op, "logits", logits, m, vocab)?;
    counted(op, "keys", keys, 4 * m)?;
    if m > 0 && !(1..=MAX_VOCAB).contains(&vocab) {
        return refuse(op, format!("a vocabulary of {vocab}, expected 1 to {MAX_VOCAB}"));
    }
    if !(s.temperature >= 0.0 && s.temperature.is_finite() && s.top_p > 0.0) {
        return refuse(op, format!("{s:?}: temperature must be at least 0 and top_p above 0"));
    }
    let greedy = s.temperature == 0.0;
    let inv_temperature = if greedy { 1.0 } else { 1.0 / s.temperature };
    let ids = gpu.alloc_index(m)?;
    let most = gpu.rows_per_dispatch(80 * vocab as u64, 40 * vocab as u64);
    for w in gpu.row_windows(op, m, &[logits.row_bytes()], most)? {
        gpu.dispatch(&Dispatch {
            binds: &[logits.bind_rows(w.clone()), keys.bind(), ids.bind()],
            params: &[
                w.len() as u32,
                vocab as u32,
                inv_temperature.to_bits(),
                s.top_k,
                s.top_p.to_bits(),
                u32::from(greedy),
                w.start as u32,
            ],
            groups: linear_grid(w.len()),
            flops: 80 * (w.len() * vocab) as u64,
            bytes: 40 * (w.len() * vocab) as u64,
            ..Dispatch::new(gpu.select(SAMPLE, m))
        })?;
    }
    let (logp, lse, entropy) = (gpu.alloc_f32(m, 1)?, gpu.alloc_f32(m, 1)?, gpu.alloc_f32(m, 1)?);
    stats(gpu, logits, &ids, inv_temperature, [&logp, &lse, &entropy], 0)?;
    Ok((ids, logp))
}

/// `z > 0 ? z / penalty : z * penalty` for ids `seen[offsets[i]..offsets[i+1]]` (distinct) of row `i` (Keskar et al. 2019).
pub fn repetition_penalty(
    gpu: &Gpu,
    logits: &mut GpuTensor,
    seen: &GpuIndex,
    offsets: &GpuIndex,
    penalty: f32,
) -> Result<()> {
    let op = "repetition_penalty";
    let (m, vocab) = (logits.rows(), logits.cols());
    shaped(op, "logits", logits, m, vocab)?;
    counted(op, "offsets", offsets, m + 1)?;
    for w in windows(gpu, op, m, vocab)? {
        gpu.dispatch(&Dispatch {
            binds: &[logits.bind_rows(w.clone()), seen.bind(), offsets.bind()],
            params: &[w.len() as u32, vocab as u32, penalty.to_bits(), w.start as u32, seen.len() as u32],
            groups: linear_grid(w.len()),
            flops: seen.len() as u64,
            bytes: 12 * seen.len() as u64,
            ..Dispatch::new(gpu.select(PENALTY, m))
        })?;
    }
    Ok(())
}
