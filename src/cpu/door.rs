//! `impl Ops`: shape checks and memory around the kernels.

use rayon::prelude::*;

use super::checks::{below, bits_mut, counted, full, full_mut, head_dims, qkv, refuse, shaped};
use super::matmul::Dims;
use super::real::Real;
use super::tensor::{CpuIndex, CpuTensor, Values};
use super::{Cpu, embed, optim, rows, sample};
use crate::ops::plan::bf16_bits;
use crate::ops::{
    AdamW, AttnPlan, AttnShape, Ceiling, HeadOut, Ops, QuantMatrix, Result, Sampling, ScatterPlan, TensorMeta,
};

/// Logits are kept for the backward pass up to this many bytes (at 4 bytes each), and made in chunks of rows of this
/// size otherwise.
const LOGITS_BYTES: usize = 64 << 20;

impl<F: Real> Cpu<F> {
    /// Output memory with leftover contents.
    fn empty(&self, rows: usize, cols: usize) -> CpuTensor<F> {
        CpuTensor::pooled(rows, cols, self.pool.take(rows * cols), &self.pool)
    }

    fn zeroed(&self, rows: usize, cols: usize) -> CpuTensor<F> {
        let mut x = self.empty(rows, cols);
        if let Some(v) = x.slice_mut() {
            v.fill(F::ZERO);
        }
        x
    }

    /// Fills `y` from `f`; a tensor from [`Cpu::empty`] always has a slice.
    fn made(&self, rows: usize, cols: usize, f: impl FnOnce(&mut [F])) -> CpuTensor<F> {
        let mut y = self.empty(rows, cols);
        if let Some(v) = y.slice_mut() {
            f(v);
        }
        y
    }

    fn sized(&self, op: &'static str, rows: usize, cols: usize, got: usize) -> Result<()> {
        match rows.checked_mul(cols) {
            Some(n) if n == got => Ok(()),
            _ => refuse(op, format!("{got} values for a tensor of [{rows}, {cols}]")),
        }
    }

    /// Row chunks of the head, a function of the vocabulary alone.
    fn head_chunk(vocab: usize) -> usize {
        (LOGITS_BYTES / (4 * vocab.max(1))).max(1)
    }
}

impl<F: Real> Ops for Cpu<F> {
    type T = CpuTensor<F>;
    type I = CpuIndex;

    fn device_name(&self) -> String {
        self.kernels.name()
    }

    fn ceilings(&self) -> Result<Vec<Ceiling>> {
        Ok(super::fast::ceilings::measure())
    }

    fn strands(&self, flops: usize) -> usize {
        // Larger operations occupy every thread by themselves, and share one pass over the weights.
        if flops < 1 << 23 { rayon::current_num_threads() } else { 1 }
    }

    fn each_strand<X: Send, R: Send>(&self, items: Vec<X>, work: impl Fn(X) -> R + Send + Sync) -> Vec<R> {
        items.into_par_iter().with_max_len(1).map(work).collect()
    }

    fn upload(&self, rows: usize, cols: usize, data: &[f32]) -> Result<Self::T> {
        self.sized("upload", rows, cols, data.len())?;
        Ok(self.made(rows, cols, |v| v.iter_mut().zip(data).for_each(|(v, &x)| *v = F::of_f32(x))))
    }

    fn upload_bf16(&self, rows: usize, cols: usize, data: &[u16]) -> Result<Self::T> {
        self.sized("upload_bf16", rows, cols, data.len())?;
        Ok(CpuTensor::bf16(rows, cols, data.to_vec()))
    }

    fn upload_quant(&self, w: &QuantMatrix) -> Result<Self::T> {
        Ok(CpuTensor::quantised(w))
    }

    fn upload_index(&self, data: &[u32]) -> Result<Self::I> {
        Ok(CpuIndex(data.to_vec()))
    }

    fn zeros(&self, rows: usize, cols: usize) -> Result<Self::T> {
        if rows.checked_mul(cols).is_none() {
            return refuse("zeros", format!("[{rows}, {cols}] is too large"));
        }
        Ok(self.zeroed(rows, cols))
    }

    fn zeros_bf16(&self, rows: usize, cols: usize) -> Result<Self::T> {
        match rows.checked_mul(cols) {
            Some(n) => Ok(CpuTensor::bf16(rows, cols, vec![0; n])),
            None => refuse("zeros_bf16", format!("[{rows}, {cols}] is too large")),
        }
    }

    fn read(&self, x: &Self::T) -> Result<Vec<f32>> {
        Ok(match x.view() {
            Values::F(v) => v.iter().map(|x| x.f32()).collect(),
            Values::Bf16(v) => v.iter().map(|&b| F::of_bf16(b).f32()).collect(),
            Values::Quant(v) => v.to_vec(),
        })
    }

    fn read_index(&self, x: &Self::I) -> Result<Vec<u32>> {
        Ok(x.0.clone())
    }

    fn write(&self, x: &mut Self::T, data: &[f32]) -> Result<()> {
        counted("write", "data", data.len(), x.len())?;
        match x.bits_mut() {
            Some(bits) => bits.copy_from_slice(&bf16_bits("write", data)?),
            None => full_mut("write", "x", x)?.iter_mut().zip(data).for_each(|(v, &x)| *v = F::of_f32(x)),
        }
        Ok(())
    }

    fn copy(&self, x: &Self::T) -> Result<Self::T> {
        Ok(match x.view() {
            Values::F(v) => self.made(x.rows(), x.cols(), |y| y.copy_from_slice(v)),
            Values::Bf16(v) => CpuTensor::bf16(x.rows(), x.cols(), v.to_vec()),
            Values::Quant(v) => CpuTensor::quantised(&v.to_matrix()),
        })
    }

    fn fill(&self, x: &mut Self::T, value: f32) -> Result<()> {
        full_mut("fill", "x", x)?.fill(F::of_f32(value));
        Ok(())
    }

    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn add(&self, a: &mut Self::T, b: &Self::T) -> Result<()> {
        shaped("add", "b", b, a.rows(), a.cols())?;
        self.kernels.add(full_mut("add", "a", a)?, full("add", "b", b)?);
        Ok(())
    }

    fn scale(&self, a: &mut Self::T, s: f32) -> Result<()> {
        self.kernels.scale(full_mut("scale", "a", a)?, F::of_f32(s));
        Ok(())
    }

    fn add_row(&self, x: &mut Self::T, v: &Self::T, s: f32) -> Result<()> {
        shaped("add_row", "v", v, 1, x.cols())?;
        self.kernels.add_row(full_mut("add_row", "x", x)?, full("add_row", "v", v)?, F::of_f32(s));
        Ok(())
    }

    fn ablate_row(&self, x: &mut Self::T, d: &Self::T) -> Result<()> {
        shaped("ablate_row", "d", d, 1, x.cols())?;
        self.kernels.ablate_row(full_mut("ablate_row", "x", x)?, full("ablate_row", "d", d)?);
        Ok(())
    }

    fn gather_rows(&self, x: &Self::T, index: &Self::I) -> Result<Self::T> {
        below("gather_rows", "rows", &index.0, x.rows())?;
        let v = full("gather_rows", "x", x)?;
        Ok(self.made(index.0.len(), x.cols(), |y| rows::gather(y, v, &index.0, x.cols())))
    }

    fn scatter_rows(&self, dst: &mut Self::T, src: &Self::T, index: &Self::I) -> Result<()> {
        let op = "scatter_rows";
        let cols = dst.cols();
        shaped(op, "src", src, index.0.len(), cols)?;
        below(op, "rows", &index.0, dst.rows())?;
        rows::scatter(full_mut(op, "dst", dst)?, full(op, "src", src)?, &index.0, cols);
        Ok(())
    }

    fn scatter_add_rows(&self, dst: &mut Self::T, src: &Self::T, index: &Self::I) -> Result<()> {
        let op = "scatter_add_rows";
        let cols = dst.cols();
        shaped(op, "src", src, index.0.len(), cols)?;
        below(op, "rows", &index.0, dst.rows())?;
        rows::scatter_add(full_mut(op, "dst", dst)?, full(op, "src", src)?, &index.0, cols);
        Ok(())
    }

    fn matmul_nt(&self, x: &Self::T, w: &Self::T, bias: Option<&Self::T>) -> Result<Self::T> {
        let op = "matmul_nt";
        let d = Dims { m: x.rows(), n: w.rows(), k: w.cols() };
        shaped(op, "x", x, d.m, d.k)?;
        let bias = match bias {
            Some(b) => {
                shaped(op, "bias", b, 1, d.n)?;
                Some(full(op, "bias", b)?)
            }
            None => None,
        };
        let x = full(op, "x", x)?;
        Ok(self.made(d.m, d.n, |y| self.kernels.nt(y, x, w.view(), bias, d)))
    }

    fn matmul_nn(&self, dy: &Self::T, w: &Self::T, acc: Option<Self::T>) -> Result<Self::T> {
        let op = "matmul_nn";
        let d = Dims { m: dy.rows(), n: w.rows(), k: w.cols() };
        shaped(op, "dy", dy, d.m, d.n)?;
        let mut dx = match acc {
            Some(acc) => {
                shaped(op, "acc", &acc, d.m, d.k)?;
                acc
            }
            None => self.zeroed(d.m, d.k),
        };
        self.kernels.nn(full_mut(op, "acc", &mut dx)?, full(op, "dy", dy)?, w.view(), d);
        Ok(dx)
    }

    fn matmul_tn(&self, dw: &mut Self::T, dy: &Self::T, x: &Self::T) -> Result<()> {
        let op = "matmul_tn";
        let d = Dims { m: dy.rows(), n: dw.rows(), k: dw.cols() };
        shaped(op, "dy", dy, d.m, d.n)?;
        shaped(op, "x", x, d.m, d.k)?;
        self.kernels.tn(full_mut(op, "dw", dw)?, full(op, "dy", dy)?, full(op, "x", x)?, d);
        Ok(())
    }

    fn bias_bwd(&self, db: &mut Self::T, dy: &Self::T) -> Result<()> {
        shaped("bias_bwd", "db", db, 1, dy.cols())?;
        self.kernels.bias_bwd(full_mut("bias_bwd", "db", db)?, full("bias_bwd", "dy", dy)?);
        Ok(())
    }

    fn embed(&self, w: &Self::T, ids: &Self::I) -> Result<Self::T> {
        below("embed", "ids", &ids.0, w.rows())?;
        Ok(self.made(ids.0.len(), w.cols(), |y| embed::embed(y, w.view(), &ids.0, w.cols())))
    }

    fn embed_bwd(&self, dw: &mut Self::T, dy: &Self::T, plan: &ScatterPlan<Self::I>) -> Result<()> {
        let op = "embed_bwd";
        let (targets, offsets, rows) = &plan.host;
        let cols = dw.cols();
        shaped(op, "dy", dy, rows.len(), cols)?;
        below(op, "targets", targets, dw.rows())?;
        below(op, "rows", rows, dy.rows())?;
        counted(op, "offsets", offsets.len(), targets.len() + 1)?;
        if offsets.windows(2).any(|o| o[0] > o[1]) || offsets.last().is_some_and(|&o| o as usize > rows.len()) {
            return refuse(op, "offsets do not rise within the rows".into());
        }
        embed::embed_bwd(full_mut(op, "dw", dw)?, full(op, "dy", dy)?, targets, offsets, rows, cols);
        Ok(())
    }

    fn rmsnorm(&self, x: &Self::T, w: &Self::T, eps: f32) -> Result<(Self::T, Self::T)> {
        let op = "rmsnorm";
        shaped(op, "w", w, 1, x.cols())?;
        let (v, w) = (full(op, "x", x)?, full(op, "w", w)?);
        let mut rstd = self.zeroed(x.rows(), 1);
        let r = full_mut(op, "rstd", &mut rstd)?;
        let y = self.made(x.rows(), x.cols(), |y| self.kernels.rmsnorm(y, r, v, w, F::of_f32(eps)));
        Ok((y, rstd))
    }

    fn add_rmsnorm(&self, x: &Self::T, delta: &Self::T, w: &Self::T, eps: f32) -> Result<(Self::T, Self::T, Self::T)> {
        let op = "add_rmsnorm";
        shaped(op, "delta", delta, x.rows(), x.cols())?;
        shaped(op, "w", w, 1, x.cols())?;
        let mut s = self.copy(x)?;
        self.kernels.add(full_mut(op, "x", &mut s)?, full(op, "delta", delta)?);
        let (y, rstd) = self.rmsnorm(&s, w, eps)?;
        Ok((s, y, rstd))
    }

    fn rmsnorm_bwd(
        &self,
        dy: &Self::T,
        x: &Self::T,
        w: &Self::T,
        rstd: &Self::T,
        dw: Option<&mut Self::T>,
        dres: Option<Self::T>,
    ) -> Result<Self::T> {
        let op = "rmsnorm_bwd";
        let (m, h) = (x.rows(), x.cols());
        shaped(op, "dy", dy, m, h)?;
        shaped(op, "w", w, 1, h)?;
        shaped(op, "rstd", rstd, m, 1)?;
        let dw = match dw {
            Some(dw) => {
                shaped(op, "dw", dw, 1, h)?;
                Some(full_mut(op, "dw", dw)?)
            }
            None => None,
        };
        let mut dx = match dres {
            Some(dres) => {
                shaped(op, "dres", &dres, m, h)?;
                dres
            }
            None => self.zeroed(m, h),
        };
        let (dy, x, w, rstd) = (full(op, "dy", dy)?, full(op, "x", x)?, full(op, "w", w)?, full(op, "rstd", rstd)?);
        self.kernels.rmsnorm_bwd(full_mut(op, "dres", &mut dx)?, dw, dy, x, w, rstd);
        Ok(dx)
    }

    fn rope(&self, x: &mut Self::T, pos: &Self::I, table: &Self::T, head_dim: usize, inverse: bool) -> Result<()> {
        let op = "rope";
        let cols = x.cols();
        if head_dim == 0 || !head_dim.is_multiple_of(2) || !cols.is_multiple_of(head_dim) {
            return refuse(op, format!("rows of {cols} are not heads of {head_dim} (even)"));
        }
        shaped(op, "table", table, table.rows(), head_dim)?;
        counted(op, "pos", pos.0.len(), x.rows())?;
        below(op, "pos", &pos.0, table.rows())?;
        self.kernels.rope(full_mut(op, "x", x)?, &pos.0, full(op, "table", table)?, head_dim, cols, inverse);
        Ok(())
    }

    fn swiglu(&self, g: &Self::T, u: &Self::T) -> Result<Self::T> {
        let op = "swiglu";
        shaped(op, "u", u, g.rows(), g.cols())?;
        let (gv, uv) = (full(op, "g", g)?, full(op, "u", u)?);
        Ok(self.made(g.rows(), g.cols(), |y| self.kernels.swiglu(y, gv, uv)))
    }

    fn swiglu_bwd(&self, dy: &Self::T, g: &Self::T, u: &Self::T) -> Result<(Self::T, Self::T)> {
        let op = "swiglu_bwd";
        let (m, n) = (g.rows(), g.cols());
        shaped(op, "u", u, m, n)?;
        shaped(op, "dy", dy, m, n)?;
        let (dyv, gv, uv) = (full(op, "dy", dy)?, full(op, "g", g)?, full(op, "u", u)?);
        let mut dg = self.empty(m, n);
        let dgv = full_mut(op, "dg", &mut dg)?;
        let du = self.made(m, n, |du| self.kernels.swiglu_bwd(dgv, du, dyv, gv, uv));
        Ok((dg, du))
    }

    fn attention(
        &self,
        q: &Self::T,
        k: &Self::T,
        v: &Self::T,
        plan: &AttnPlan<Self::I>,
        shape: &AttnShape,
    ) -> Result<(Self::T, Self::T)> {
        let op = "attention";
        let x = qkv(op, q, k, v, plan, shape)?;
        let mut lse = self.empty(q.rows(), shape.heads);
        let l = full_mut(op, "lse", &mut lse)?;
        let out = self.made(q.rows(), q.cols(), |out| self.kernels.attention(out, l, x));
        Ok((out, lse))
    }

    fn attention_bwd(
        &self,
        dout: &Self::T,
        q: &Self::T,
        k: &Self::T,
        v: &Self::T,
        out: &Self::T,
        lse: &Self::T,
        plan: &AttnPlan<Self::I>,
        shape: &AttnShape,
    ) -> Result<(Self::T, Self::T, Self::T)> {
        let op = "attention_bwd";
        let x = qkv(op, q, k, v, plan, shape)?;
        if plan.key_rows != Some(k.rows()) {
            return refuse(op, format!("the plan's spans do not own {} key rows in order", k.rows()));
        }
        shaped(op, "dout", dout, q.rows(), q.cols())?;
        shaped(op, "out", out, q.rows(), q.cols())?;
        shaped(op, "lse", lse, q.rows(), shape.heads)?;
        let mut grads =
            (self.zeroed(q.rows(), q.cols()), self.zeroed(k.rows(), k.cols()), self.zeroed(k.rows(), k.cols()));
        let slices =
            (full_mut(op, "dq", &mut grads.0)?, full_mut(op, "dk", &mut grads.1)?, full_mut(op, "dv", &mut grads.2)?);
        self.kernels.attention_bwd(slices, full(op, "dout", dout)?, full(op, "out", out)?, full(op, "lse", lse)?, x);
        Ok(grads)
    }

    fn head_logp(&self, h: &Self::T, w: &Self::T, targets: &Self::I, temperature: f32) -> Result<HeadOut<Self::T>> {
        let op = "head_logp";
        let d = head_dims(op, h, w, targets, temperature)?;
        let (t, hv) = (F::of_f32(temperature), full(op, "h", h)?);
        let chunk = Self::head_chunk(d.n);
        let mut out = [self.empty(d.m, 1), self.empty(d.m, 1), self.empty(d.m, 1)];
        let mut z = self.empty(d.m.min(chunk), d.n);
        {
            let [logp, lse, entropy] = &mut out;
            let (logp, lse, entropy) =
                (full_mut(op, "logp", logp)?, full_mut(op, "lse", lse)?, full_mut(op, "entropy", entropy)?);
            let z = full_mut(op, "logits", &mut z)?;
            for start in (0..d.m).step_by(chunk) {
                let m = chunk.min(d.m - start);
                let z = &mut z[..m * d.n];
                self.kernels.nt(z, &hv[start * d.k..][..m * d.k], w.view(), None, Dims { m, ..d });
                let rows = start..start + m;
                self.kernels.log_softmax(&mut lse[rows.clone()], &mut entropy[rows.clone()], z, t);
                for (row, z) in rows.zip(z.chunks_exact(d.n.max(1))) {
                    logp[row] = z[targets.0[row] as usize] / t - lse[row];
                }
            }
        }
        let [logp, lse, entropy] = out;
        Ok(HeadOut { logp, lse, entropy, logits: (d.m <= chunk).then_some(z) })
    }

    fn head_logp_bwd(
        &self,
        dlogp: &Self::T,
        h: &Self::T,
        w: &Self::T,
        targets: &Self::I,
        temperature: f32,
        out: &HeadOut<Self::T>,
        mut dw: Option<&mut Self::T>,
    ) -> Result<Self::T> {
        let op = "head_logp_bwd";
        let d = head_dims(op, h, w, targets, temperature)?;
        shaped(op, "dlogp", dlogp, d.m, 1)?;
        shaped(op, "lse", &out.lse, d.m, 1)?;
        let (hv, dlogp, lse) = (full(op, "h", h)?, full(op, "dlogp", dlogp)?, full(op, "lse", &out.lse)?);
        let logits = match &out.logits {
            Some(z) => {
                shaped(op, "logits", z, d.m, d.n)?;
                Some(full(op, "logits", z)?)
            }
            None => None,
        };
        if let Some(dw) = &dw {
            shaped(op, "dw", *dw, d.n, d.k)?;
        }
        let t = F::of_f32(temperature);
        let chunk = Self::head_chunk(d.n);
        let mut dh = self.zeroed(d.m, d.k);
        let mut z = self.empty(if logits.is_some() { 0 } else { d.m.min(chunk) }, d.n);
        let mut dz = self.empty(d.m.min(chunk), d.n);
        let (dhv, z, dz) = (full_mut(op, "dh", &mut dh)?, full_mut(op, "z", &mut z)?, full_mut(op, "dz", &mut dz)?);
        for start in (0..d.m).step_by(chunk) {
            let d = Dims { m: chunk.min(d.m - start), ..d };
            let (size, rows) = (d.m * d.n, start * d.k..(start + d.m) * d.k);
            let z = match logits {
                Some(z) => &z[start * d.n..][..size],
                None => {
                    self.kernels.nt(&mut z[..size], &hv[rows.clone()], w.view(), None, d);
                    &z[..size]
                }
            };
            let dz = &mut dz[..size];
            let of = start..start + d.m;
            self.kernels.log_softmax_bwd(dz, z, &targets.0[of.clone()], &dlogp[of.clone()], t, &lse[of]);
            self.kernels.nn(&mut dhv[rows.clone()], dz, w.view(), d);
            if let Some(dw) = dw.as_deref_mut() {
                self.kernels.tn(full_mut(op, "dw", dw)?, dz, &hv[rows], d);
            }
        }
        Ok(dh)
    }

    fn sample(&self, logits: &Self::T, s: &Sampling, keys: &Self::I) -> Result<(Self::I, Self::T)> {
        let op = "sample";
        counted(op, "keys", keys.0.len(), 4 * logits.rows())?;
        if logits.cols() == 0 && logits.rows() > 0 {
            return refuse(op, "the vocabulary is empty".into());
        }
        if !(s.temperature >= 0.0 && s.temperature.is_finite() && s.top_p > 0.0) {
            return refuse(op, format!("{s:?}: temperature must be at least 0 and top_p above 0"));
        }
        let z = full(op, "logits", logits)?;
        let mut ids = vec![0; logits.rows()];
        let logp = self.made(logits.rows(), 1, |logp| self.kernels.sample(&mut ids, logp, z, s, &keys.0));
        Ok((CpuIndex(ids), logp))
    }

    fn repetition_penalty(&self, logits: &mut Self::T, seen: &Self::I, offsets: &Self::I, penalty: f32) -> Result<()> {
        let op = "repetition_penalty";
        let (m, vocab) = (logits.rows(), logits.cols());
        counted(op, "offsets", offsets.0.len(), m + 1)?;
        below(op, "seen", &seen.0, vocab)?;
        if offsets.0.windows(2).any(|o| o[0] > o[1]) || offsets.0.last().is_some_and(|&o| o as usize > seen.0.len()) {
            return refuse(op, "offsets do not rise within the seen ids".into());
        }
        let rows = full_mut(op, "logits", logits)?.chunks_exact_mut(vocab.max(1));
        for (z, o) in rows.zip(offsets.0.windows(2)) {
            sample::repetition_penalty(z, &seen.0[o[0] as usize..o[1] as usize], F::of_f32(penalty));
        }
        Ok(())
    }

    fn global_norm(&self, grads: &[&Self::T]) -> Result<Self::T> {
        let (mut sum, mut bad) = (0.0, 0);
        for g in grads {
            let (s, b) = self.kernels.sum_squares(full("global_norm", "grads", g)?);
            sum += s;
            bad += b;
        }
        Ok(self.made(1, 2, |y| y.copy_from_slice(&[F::of(sum.sqrt()), F::of(bad as f64)])))
    }

    fn adamw(
        &self,
        w: &mut Self::T,
        g: &Self::T,
        m: &mut Self::T,
        v: &mut Self::T,
        hyper: &AdamW,
        norm: &Self::T,
    ) -> Result<Self::T> {
        let op = "adamw";
        let (rows, cols) = (w.rows(), w.cols());
        for (what, x) in [("g", g), ("m", m), ("v", v)] {
            shaped(op, what, x, rows, cols)?;
        }
        shaped(op, "norm", norm, 1, 2)?;
        let clip = optim::clip_factor(full(op, "norm", norm)?[0], hyper.max_norm);
        let (w, g) = (full_mut(op, "w", w)?, full(op, "g", g)?);
        let (m, v) = (full_mut(op, "m", m)?, full_mut(op, "v", v)?);
        let change = self.kernels.adamw(w, g, m, v, hyper, clip);
        Ok(self.made(1, 1, |y| y.fill(F::of(change.sqrt()))))
    }

    fn adamw_bf16(
        &self,
        w: &mut Self::T,
        g: &Self::T,
        m: &mut Self::T,
        v: &mut Self::T,
        hyper: &AdamW,
        norm: &Self::T,
        key: [u32; 2],
        report: &mut Self::T,
        row: usize,
    ) -> Result<()> {
        let op = "adamw_bf16";
        let (rows, cols) = (w.rows(), w.cols());
        for (what, x) in [("g", g), ("m", m), ("v", v)] {
            shaped(op, what, x, rows, cols)?;
        }
        shaped(op, "norm", norm, 1, 2)?;
        shaped(op, "report", report, report.rows(), 2)?;
        if row >= report.rows() || !w.len().is_multiple_of(4) {
            return refuse(op, format!("row {row} of {}, {} elements in units of four", report.rows(), w.len()));
        }
        let clip = optim::clip_factor(full(op, "norm", norm)?[0], hyper.max_norm);
        let (w, g) = (bits_mut(op, "w", w)?, full(op, "g", g)?);
        let state = optim::Bf16State { w, m: bits_mut(op, "m", m)?, v: bits_mut(op, "v", v)?, origin: 0, key };
        let (change, changed) = self.kernels.adamw_bf16(state, g, hyper, clip);
        full_mut(op, "report", report)?[2 * row..2 * row + 2]
            .copy_from_slice(&[F::of(change.sqrt()), F::of(changed as f64)]);
        Ok(())
    }
}
