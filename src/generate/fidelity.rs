//! What a storage does to a model: the error of its weights, and of what the model says about a text.

use serde::Serialize;

use super::source::Storage;
use crate::model::batch::Batch;
use crate::model::error::Result;
use crate::model::hooks::HookSet;
use crate::model::params::specs;
use crate::model::qwen2::Qwen2;
use crate::model::weights::Checkpoint;
use crate::ops::{Dtype, Ops, QuantMatrix};

/// One matrix: `Σ (ŵ - w)² / Σ w²` against the checkpoint's values.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TensorError {
    pub name: String,
    pub shape: [usize; 2],
    pub format: &'static str,
    pub nmse: f64,
    /// The weight that is furthest off.
    pub max_abs: f64,
}

/// Every matrix of a model in one storage.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WeightErrors {
    pub tensors: Vec<TensorError>,
    /// Over all matrices together.
    pub nmse: f64,
    /// Bytes of all parameters, and bits of a matrix's weight with its share of scales and padding.
    pub bytes: u64,
    pub bits_per_weight: f64,
}

/// Rows that are compared at a time.
const ROWS: usize = 256;

/// The error of every matrix in `storage`.
pub fn weights(c: &Checkpoint, storage: Storage) -> Result<WeightErrors> {
    let bf16 = storage == Storage::AsStored && c.is_bf16();
    let mut out = WeightErrors { tensors: Vec::new(), nmse: 0.0, bytes: 0, bits_per_weight: 0.0 };
    let (mut error, mut size, mut bytes, mut count) = (0.0, 0.0, 0, 0);
    for s in specs(&c.config) {
        let dtype = storage.dtype(&s, bf16);
        out.bytes += dtype.bytes(s.rows, s.cols);
        if s.vector {
            continue;
        }
        let (mut off, mut all, mut max_abs) = (0.0, 0.0, 0.0f64);
        for first in (0..s.rows).step_by(ROWS) {
            let rows = first..s.rows.min(first + ROWS);
            let values = c.tensor(&s.name)?.finite_rows(rows.clone())?;
            let kept = match dtype {
                Dtype::F32 => values.clone(),
                Dtype::Bf16 => values.iter().map(|x| half::bf16::from_f32(*x).to_f32()).collect(),
                Dtype::Quant(q) => QuantMatrix::new(q, rows.len(), s.cols, &values)?.values(),
            };
            for (k, v) in kept.iter().zip(&values) {
                let d = f64::from(*k) - f64::from(*v);
                off += d * d;
                all += f64::from(*v) * f64::from(*v);
                max_abs = max_abs.max(d.abs());
            }
        }
        (error, size) = (error + off, size + all);
        (bytes, count) = (bytes + dtype.bytes(s.rows, s.cols), count + s.len());
        let shape = [s.rows, s.cols];
        out.tensors.push(TensorError { name: s.name, shape, format: dtype.name(), nmse: share(off, all), max_abs });
    }
    out.nmse = share(error, size);
    out.bits_per_weight = 8.0 * bytes as f64 / count.max(1) as f64;
    Ok(out)
}

/// Of nothing there is no share.
fn share(part: f64, whole: f64) -> f64 {
    if whole > 0.0 { part / whole } else { 0.0 }
}

/// What a model says after every token of a text but the last: raw logits `[ids - 1, V]`.
pub fn logits<O: Ops>(o: &O, model: &Qwen2<O>, ids: &[u32]) -> Result<Vec<f32>> {
    let n = ids.len().saturating_sub(1);
    let hooks = HookSet::default();
    let x = model.forward(o, &Batch::new(o, &[ids[..n].to_vec()])?, &hooks)?;
    let mut out = Vec::with_capacity(n * model.config.vocab_size);
    // Some rows at a time, for the device's sake.
    let rows: Vec<u32> = (0..n as u32).collect();
    for rows in rows.chunks(32) {
        out.extend(o.read(&model.logits(o, &x, Some(&o.upload_index(rows)?), &hooks)?)?);
    }
    Ok(out)
}

/// Two models on one text, at the tokens that it goes on with.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct OutputErrors {
    pub tokens: usize,
    /// Relative square error of logits, the mean of each row taken off (it says nothing).
    pub logits_nmse: f64,
    /// Change of the tokens' log-probabilities: mean, root mean square, largest.
    pub logp_mean: f64,
    pub logp_rms: f64,
    pub logp_max: f64,
    /// KL(reference ‖ this) of the next token's distribution, mean, in nats.
    pub kl: f64,
    /// Share of positions whose most likely token is the same.
    pub greedy_agreement: f64,
    /// `exp` of the mean negative log-probability, of the reference and of this.
    pub perplexity: [f64; 2],
}

/// Compares [`logits`] of the text `ids` with those of the reference.
pub fn outputs(reference: &[f32], other: &[f32], ids: &[u32]) -> OutputErrors {
    let n = ids.len().saturating_sub(1).max(1);
    let vocab = (reference.len() / n).max(1);
    let mut e = OutputErrors {
        tokens: 0,
        logits_nmse: 0.0,
        logp_mean: 0.0,
        logp_rms: 0.0,
        logp_max: 0.0,
        kl: 0.0,
        greedy_agreement: 0.0,
        perplexity: [0.0; 2],
    };
    let (mut off, mut size) = (0.0, 0.0);
    let rows = reference.chunks_exact(vocab).zip(other.chunks_exact(vocab));
    for ((a, b), &target) in rows.zip(ids.iter().skip(1)) {
        let [(la, mean_a, top_a), (lb, mean_b, top_b)] = [a, b].map(of_row);
        let (mut kl, target) = (0.0, target as usize);
        for (&x, &y) in a.iter().zip(b) {
            let (x, y) = (f64::from(x), f64::from(y));
            off += ((y - mean_b) - (x - mean_a)).powi(2);
            size += (x - mean_a).powi(2);
            kl += (x - la).exp() * ((x - la) - (y - lb));
        }
        let at = |z: &[f32], lse: f64| z.get(target).map_or(f64::NEG_INFINITY, |z| f64::from(*z) - lse);
        let (pa, pb) = (at(a, la), at(b, lb));
        e.tokens += 1;
        e.logp_mean += pb - pa;
        e.logp_rms += (pb - pa).powi(2);
        e.logp_max = e.logp_max.max((pb - pa).abs());
        e.kl += kl;
        e.greedy_agreement += f64::from(u8::from(top_a == top_b));
        e.perplexity = [e.perplexity[0] - pa, e.perplexity[1] - pb];
    }
    let tokens = e.tokens.max(1) as f64;
    e.logits_nmse = share(off, size);
    e.logp_mean /= tokens;
    e.logp_rms = (e.logp_rms / tokens).sqrt();
    e.kl /= tokens;
    e.greedy_agreement /= tokens;
    e.perplexity = e.perplexity.map(|p| (p / tokens).exp());
    e
}

/// Log of the sum of exponentials, mean, and where the first largest is.
fn of_row(z: &[f32]) -> (f64, f64, usize) {
    let mut top = 0;
    for (i, x) in z.iter().enumerate() {
        if *x > z[top] {
            top = i;
        }
    }
    let largest = z.get(top).map_or(0.0, |x| f64::from(*x));
    let sum: f64 = z.iter().map(|x| (f64::from(*x) - largest).exp()).sum();
    let mean = z.iter().map(|x| f64::from(*x)).sum::<f64>() / z.len().max(1) as f64;
    (largest + sum.ln(), mean, top)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cpu::Cpu;
    use crate::generate::source::{EMBEDDED, Source};

    #[test]
    fn errors_of_outputs_are_what_the_formulas_say() {
        let ids = [9, 1, 0];
        let a = [0.0, 2.0, 1.0, 1.0, 1.0, 0.0];
        // Every logit of a row moved alike: the same distribution.
        let moved: Vec<f32> = a.iter().map(|x| x + 3.0).collect();
        let same = outputs(&a, &moved, &ids);
        assert!(same.logits_nmse < 1e-12 && same.kl.abs() < 1e-12 && same.logp_max < 1e-12);
        assert_eq!((same.tokens, same.greedy_agreement), (2, 1.0));
        let e = outputs(&a, &[2.0, 0.0, 1.0, 1.0, 1.0, 0.0], &ids);
        assert_eq!(e.greedy_agreement, 0.5);
        // The first row's target fell by 2, the second row is as it was.
        assert!((e.logp_mean + 1.0).abs() < 1e-12 && (e.logp_max - 2.0).abs() < 1e-12);
        let p: Vec<f64> = [0.0f64, 2.0, 1.0].iter().map(|x| x.exp()).collect();
        let z: f64 = p.iter().sum();
        assert!((e.kl - (p[1] / z * 2.0 - p[0] / z * 2.0) / 2.0).abs() < 1e-12, "{}", e.kl);
        assert!((e.logits_nmse - 8.0 / (2.0 + 2.0 / 3.0)).abs() < 1e-12);
    }

    /// Fewer bits, more error; eight bits change next to nothing; nothing kept is nothing lost.
    #[test]
    fn the_embedded_model_in_every_storage() {
        let (o, source) = (Cpu::<f32>::new(), Source::open(EMBEDDED).unwrap());
        let ids = source.tokenizer().unwrap().encode("What is 3 + 4? The answer is 7.").unwrap();
        let of = |storage| {
            let model = source.load(&o, ids.len(), storage).unwrap();
            (weights(&source.checkpoint, storage).unwrap(), logits(&o, &model, &ids).unwrap())
        };
        let (kept, reference) = of(Storage::AsStored);
        assert_eq!(kept.nmse, 0.0);
        let [int8, int4, nf4] = [Storage::Int8, Storage::Int4, Storage::Nf4].map(|s| {
            let (w, z) = of(s);
            assert!(w.tensors.iter().all(|t| t.nmse > 0.0 && t.nmse < 0.02), "{w:?}");
            assert!(w.bytes < kept.bytes && w.bits_per_weight < 9.0);
            (w.nmse, outputs(&reference, &z, &ids))
        });
        assert!(int8.0 < 1e-4 && int4.0 > 50.0 * int8.0 && nf4.0 > 50.0 * int8.0);
        assert!(int8.1.kl < 0.01 && int8.1.kl < int4.1.kl && int8.1.kl < nf4.1.kl, "{int8:?} {int4:?} {nf4:?}");
    }
}
