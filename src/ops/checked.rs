//! Two backends side by side: every operation runs on both, every output is compared, and the first disagreement is an
//! error that names the operation.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::{
    AdamW, AttnPlan, AttnShape, DeviceMemory, Dtype, HeadOut, IndexMeta, OpError, Ops, QuantMatrix, Result, Sampling,
    ScatterPlan, TensorMeta,
};

mod compare;

use compare::magnitude;

/// Backend `A` under the eyes of reference `B`.
///
/// An element disagrees when it is off by more than `bound` of the largest magnitude in the reference's output, or is
/// NaN or infinite on one side only. Where an output is a difference of larger numbers (a log-probability near 0), a
/// hundredth of those numbers counts as magnitude too. After each operation that agrees, `B` goes on with `A`'s result,
/// so errors do not add up and the operation named is the one at fault. Everything is read back every time: this is for
/// finding a fault, not for work.
pub struct Checked<A, B> {
    a: A,
    b: B,
    bound: f32,
    calls: AtomicUsize,
}

impl<A: TensorMeta, B> TensorMeta for (A, B) {
    fn rows(&self) -> usize {
        self.0.rows()
    }
    fn cols(&self) -> usize {
        self.0.cols()
    }
    fn dtype(&self) -> Dtype {
        self.0.dtype()
    }
}

impl<A: IndexMeta, B> IndexMeta for (A, B) {
    fn len(&self) -> usize {
        self.0.len()
    }
}

impl<A: Ops, B: Ops> Checked<A, B> {
    /// The usual bound.
    pub const BOUND: f32 = 1e-4;

    /// Checks `a` against the reference `b`; `bound` as in the type's description, [`Self::BOUND`] for real use.
    pub fn new(a: A, b: B, bound: f32) -> Self {
        Self { a, b, bound, calls: AtomicUsize::new(0) }
    }

    fn call(&self) -> usize {
        self.calls.fetch_add(1, Ordering::Relaxed) + 1
    }
}

impl<A: Ops, B: Ops> Ops for Checked<A, B> {
    type T = (A::T, B::T);
    type I = (A::I, B::I);

    fn device_name(&self) -> String {
        format!("{} checked by {}", self.a.device_name(), self.b.device_name())
    }

    fn memory(&self) -> Option<DeviceMemory> {
        self.a.memory()
    }

    fn upload(&self, rows: usize, cols: usize, data: &[f32]) -> Result<Self::T> {
        Ok((self.a.upload(rows, cols, data)?, self.b.upload(rows, cols, data)?))
    }
    fn upload_bf16(&self, rows: usize, cols: usize, data: &[u16]) -> Result<Self::T> {
        Ok((self.a.upload_bf16(rows, cols, data)?, self.b.upload_bf16(rows, cols, data)?))
    }
    fn upload_quant(&self, w: &QuantMatrix) -> Result<Self::T> {
        Ok((self.a.upload_quant(w)?, self.b.upload_quant(w)?))
    }
    fn upload_index(&self, data: &[u32]) -> Result<Self::I> {
        Ok((self.a.upload_index(data)?, self.b.upload_index(data)?))
    }
    fn zeros(&self, rows: usize, cols: usize) -> Result<Self::T> {
        Ok((self.a.zeros(rows, cols)?, self.b.zeros(rows, cols)?))
    }
    fn zeros_bf16(&self, rows: usize, cols: usize) -> Result<Self::T> {
        Ok((self.a.zeros_bf16(rows, cols)?, self.b.zeros_bf16(rows, cols)?))
    }
    fn read(&self, x: &Self::T) -> Result<Vec<f32>> {
        self.call();
        let got = self.a.read(&x.0)?;
        self.differ("read", "x", &got, &self.b.read(&x.1)?, 0.0)?;
        Ok(got)
    }
    fn read_index(&self, x: &Self::I) -> Result<Vec<u32>> {
        self.a.read_index(&x.0)
    }
    fn write(&self, x: &mut Self::T, data: &[f32]) -> Result<()> {
        self.a.write(&mut x.0, data)?;
        self.b.write(&mut x.1, data)
    }
    fn copy(&self, x: &Self::T) -> Result<Self::T> {
        self.call();
        let y = (self.a.copy(&x.0)?, self.b.copy(&x.1)?);
        self.differ("copy", "y", &self.a.read(&y.0)?, &self.b.read(&y.1)?, 0.0)?;
        Ok(y)
    }
    fn fill(&self, x: &mut Self::T, value: f32) -> Result<()> {
        self.call();
        self.a.fill(&mut x.0, value)?;
        self.b.fill(&mut x.1, value)?;
        self.settle("fill", "x", x, 0.0)
    }
    fn sync(&self) -> Result<()> {
        self.a.sync()?;
        self.b.sync()
    }

    fn add(&self, a: &mut Self::T, b: &Self::T) -> Result<()> {
        self.call();
        self.a.add(&mut a.0, &b.0)?;
        self.b.add(&mut a.1, &b.1)?;
        self.settle("add", "a", a, 0.0)
    }
    fn scale(&self, a: &mut Self::T, s: f32) -> Result<()> {
        self.call();
        self.a.scale(&mut a.0, s)?;
        self.b.scale(&mut a.1, s)?;
        self.settle("scale", "a", a, 0.0)
    }
    fn add_row(&self, x: &mut Self::T, v: &Self::T, s: f32) -> Result<()> {
        self.call();
        let terms = self.size(x)?;
        self.a.add_row(&mut x.0, &v.0, s)?;
        self.b.add_row(&mut x.1, &v.1, s)?;
        self.settle("add_row", "x", x, terms)
    }
    fn ablate_row(&self, x: &mut Self::T, d: &Self::T) -> Result<()> {
        self.call();
        let terms = self.size(x)?;
        self.a.ablate_row(&mut x.0, &d.0)?;
        self.b.ablate_row(&mut x.1, &d.1)?;
        self.settle("ablate_row", "x", x, terms)
    }
    fn gather_rows(&self, x: &Self::T, rows: &Self::I) -> Result<Self::T> {
        self.call();
        let (a, b) = (self.a.gather_rows(&x.0, &rows.0)?, self.b.gather_rows(&x.1, &rows.1)?);
        self.settled("gather_rows", "y", a, b, 0.0)
    }
    fn scatter_rows(&self, dst: &mut Self::T, src: &Self::T, rows: &Self::I) -> Result<()> {
        self.call();
        self.a.scatter_rows(&mut dst.0, &src.0, &rows.0)?;
        self.b.scatter_rows(&mut dst.1, &src.1, &rows.1)?;
        self.settle("scatter_rows", "dst", dst, 0.0)
    }
    fn scatter_add_rows(&self, dst: &mut Self::T, src: &Self::T, rows: &Self::I) -> Result<()> {
        self.call();
        self.a.scatter_add_rows(&mut dst.0, &src.0, &rows.0)?;
        self.b.scatter_add_rows(&mut dst.1, &src.1, &rows.1)?;
        self.settle("scatter_add_rows", "dst", dst, 0.0)
    }

    fn matmul_nt(&self, x: &Self::T, w: &Self::T, bias: Option<&Self::T>) -> Result<Self::T> {
        self.call();
        let a = self.a.matmul_nt(&x.0, &w.0, bias.map(|b| &b.0))?;
        let b = self.b.matmul_nt(&x.1, &w.1, bias.map(|b| &b.1))?;
        self.settled("matmul_nt", "y", a, b, 0.0)
    }
    fn matmul_nn(&self, dy: &Self::T, w: &Self::T, acc: Option<Self::T>) -> Result<Self::T> {
        self.call();
        let (acc_a, acc_b) = acc.unzip();
        let (a, b) = (self.a.matmul_nn(&dy.0, &w.0, acc_a)?, self.b.matmul_nn(&dy.1, &w.1, acc_b)?);
        self.settled("matmul_nn", "dx", a, b, 0.0)
    }
    fn matmul_tn(&self, dw: &mut Self::T, dy: &Self::T, x: &Self::T) -> Result<()> {
        self.call();
        self.a.matmul_tn(&mut dw.0, &dy.0, &x.0)?;
        self.b.matmul_tn(&mut dw.1, &dy.1, &x.1)?;
        self.settle("matmul_tn", "dw", dw, 0.0)
    }
    fn bias_bwd(&self, db: &mut Self::T, dy: &Self::T) -> Result<()> {
        self.call();
        let terms = self.size(dy)?;
        self.a.bias_bwd(&mut db.0, &dy.0)?;
        self.b.bias_bwd(&mut db.1, &dy.1)?;
        self.settle("bias_bwd", "db", db, terms)
    }

    fn embed(&self, w: &Self::T, ids: &Self::I) -> Result<Self::T> {
        self.call();
        let (a, b) = (self.a.embed(&w.0, &ids.0)?, self.b.embed(&w.1, &ids.1)?);
        self.settled("embed", "y", a, b, 0.0)
    }
    fn embed_bwd(&self, dw: &mut Self::T, dy: &Self::T, plan: &ScatterPlan<Self::I>) -> Result<()> {
        self.call();
        let (targets, offsets, rows) = &plan.host;
        let mut ids = vec![0; rows.len()];
        for (&target, span) in targets.iter().zip(offsets.windows(2)) {
            for &r in rows.get(span[0] as usize..span[1] as usize).unwrap_or_default() {
                if let Some(id) = ids.get_mut(r as usize) {
                    *id = target;
                }
            }
        }
        self.a.embed_bwd(&mut dw.0, &dy.0, &self.a.scatter_plan(&ids)?)?;
        self.b.embed_bwd(&mut dw.1, &dy.1, &self.b.scatter_plan(&ids)?)?;
        self.settle("embed_bwd", "dw", dw, 0.0)
    }

    fn rmsnorm(&self, x: &Self::T, w: &Self::T, eps: f32) -> Result<(Self::T, Self::T)> {
        self.call();
        let op = "rmsnorm";
        let (a, b) = (self.a.rmsnorm(&x.0, &w.0, eps)?, self.b.rmsnorm(&x.1, &w.1, eps)?);
        Ok((self.settled(op, "y", a.0, b.0, 0.0)?, self.settled(op, "rstd", a.1, b.1, 0.0)?))
    }
    fn add_rmsnorm(&self, x: &Self::T, delta: &Self::T, w: &Self::T, eps: f32) -> Result<(Self::T, Self::T, Self::T)> {
        self.call();
        let op = "add_rmsnorm";
        let a = self.a.add_rmsnorm(&x.0, &delta.0, &w.0, eps)?;
        let b = self.b.add_rmsnorm(&x.1, &delta.1, &w.1, eps)?;
        Ok((
            self.settled(op, "s", a.0, b.0, 0.0)?,
            self.settled(op, "y", a.1, b.1, 0.0)?,
            self.settled(op, "rstd", a.2, b.2, 0.0)?,
        ))
    }
    fn rmsnorm_bwd(
        &self,
        dy: &Self::T,
        x: &Self::T,
        w: &Self::T,
        rstd: &Self::T,
        mut dw: Option<&mut Self::T>,
        dres: Option<Self::T>,
    ) -> Result<Self::T> {
        self.call();
        let op = "rmsnorm_bwd";
        let terms = self.size(dy)? * self.size(w)? * self.size(rstd)?;
        let (dres_a, dres_b) = dres.unzip();
        let a = self.a.rmsnorm_bwd(&dy.0, &x.0, &w.0, &rstd.0, dw.as_deref_mut().map(|d| &mut d.0), dres_a)?;
        let b = self.b.rmsnorm_bwd(&dy.1, &x.1, &w.1, &rstd.1, dw.as_deref_mut().map(|d| &mut d.1), dres_b)?;
        if let Some(dw) = dw {
            self.settle(op, "dw", dw, 0.0)?;
        }
        self.settled(op, "dx", a, b, terms)
    }

    fn rope(&self, x: &mut Self::T, pos: &Self::I, table: &Self::T, head_dim: usize, inverse: bool) -> Result<()> {
        self.call();
        self.a.rope(&mut x.0, &pos.0, &table.0, head_dim, inverse)?;
        self.b.rope(&mut x.1, &pos.1, &table.1, head_dim, inverse)?;
        self.settle("rope", "x", x, 0.0)
    }

    fn qkv_append(
        &self,
        x: &Self::T,
        parts: [(&Self::T, Option<&Self::T>); 3],
        pos: &Self::I,
        table: &Self::T,
        head_dim: usize,
        (keys, values): (&mut Self::T, &mut Self::T),
        slots: &Self::I,
    ) -> Result<Self::T> {
        self.call();
        let op = "qkv_append";
        let of_a = parts.map(|(w, bias)| (&w.0, bias.map(|b| &b.0)));
        let of_b = parts.map(|(w, bias)| (&w.1, bias.map(|b| &b.1)));
        let caches = (&mut keys.0, &mut values.0);
        let a = self.a.qkv_append(&x.0, of_a, &pos.0, &table.0, head_dim, caches, &slots.0)?;
        let caches = (&mut keys.1, &mut values.1);
        let b = self.b.qkv_append(&x.1, of_b, &pos.1, &table.1, head_dim, caches, &slots.1)?;
        let terms = x.0.cols() as f32;
        self.settle(op, "keys", keys, terms)?;
        self.settle(op, "values", values, terms)?;
        self.settled(op, "q", a, b, terms)
    }

    fn gated(&self, x: &Self::T, gate: &Self::T, up: &Self::T) -> Result<Self::T> {
        self.call();
        let (a, b) = (self.a.gated(&x.0, &gate.0, &up.0)?, self.b.gated(&x.1, &gate.1, &up.1)?);
        self.settled("gated", "y", a, b, x.0.cols() as f32)
    }

    fn swiglu(&self, g: &Self::T, u: &Self::T) -> Result<Self::T> {
        self.call();
        let (a, b) = (self.a.swiglu(&g.0, &u.0)?, self.b.swiglu(&g.1, &u.1)?);
        self.settled("swiglu", "y", a, b, 0.0)
    }
    fn swiglu_bwd(&self, dy: &Self::T, g: &Self::T, u: &Self::T) -> Result<(Self::T, Self::T)> {
        self.call();
        let op = "swiglu_bwd";
        let (a, b) = (self.a.swiglu_bwd(&dy.0, &g.0, &u.0)?, self.b.swiglu_bwd(&dy.1, &g.1, &u.1)?);
        Ok((self.settled(op, "dg", a.0, b.0, 0.0)?, self.settled(op, "du", a.1, b.1, 0.0)?))
    }

    fn attention(
        &self,
        q: &Self::T,
        k: &Self::T,
        v: &Self::T,
        plan: &AttnPlan<Self::I>,
        shape: &AttnShape,
    ) -> Result<(Self::T, Self::T)> {
        self.call();
        let op = "attention";
        let (plan_a, plan_b) = self.plans(plan)?;
        let a = self.a.attention(&q.0, &k.0, &v.0, &plan_a, shape)?;
        let b = self.b.attention(&q.1, &k.1, &v.1, &plan_b, shape)?;
        let terms = self.size(q)? * self.size(k)? * shape.scale;
        Ok((self.settled(op, "out", a.0, b.0, 0.0)?, self.settled(op, "lse", a.1, b.1, terms)?))
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
        self.call();
        let op = "attention_bwd";
        let (plan_a, plan_b) = self.plans(plan)?;
        let a = self.a.attention_bwd(&dout.0, &q.0, &k.0, &v.0, &out.0, &lse.0, &plan_a, shape)?;
        let b = self.b.attention_bwd(&dout.1, &q.1, &k.1, &v.1, &out.1, &lse.1, &plan_b, shape)?;
        // dS = P (dP - delta) is a difference, and nothing is left of it where a row sees one key.
        let ds = self.size(dout)? * self.size(v)? * shape.scale;
        Ok((
            self.settled(op, "dq", a.0, b.0, ds * self.size(k)?)?,
            self.settled(op, "dk", a.1, b.1, ds * self.size(q)?)?,
            self.settled(op, "dv", a.2, b.2, 0.0)?,
        ))
    }

    fn head_logp(&self, h: &Self::T, w: &Self::T, targets: &Self::I, temperature: f32) -> Result<HeadOut<Self::T>> {
        self.call();
        let op = "head_logp";
        let a = self.a.head_logp(&h.0, &w.0, &targets.0, temperature)?;
        let b = self.b.head_logp(&h.1, &w.1, &targets.1, temperature)?;
        let logits = match a.logits.zip(b.logits) {
            Some((a, b)) => Some(self.settled(op, "logits", a, b, 0.0)?),
            None => None,
        };
        let lse = self.settled(op, "lse", a.lse, b.lse, 0.0)?;
        let terms = self.size(&lse)?;
        Ok(HeadOut {
            logp: self.settled(op, "logp", a.logp, b.logp, terms)?,
            entropy: self.settled(op, "entropy", a.entropy, b.entropy, terms)?,
            lse,
            logits,
        })
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
        self.call();
        let op = "head_logp_bwd";
        let z = out.logits.as_ref();
        let out_a = HeadOut {
            logp: self.a.copy(&out.logp.0)?,
            lse: self.a.copy(&out.lse.0)?,
            entropy: self.a.copy(&out.entropy.0)?,
            logits: z.map(|z| self.a.copy(&z.0)).transpose()?,
        };
        let out_b = HeadOut {
            logp: self.b.copy(&out.logp.1)?,
            lse: self.b.copy(&out.lse.1)?,
            entropy: self.b.copy(&out.entropy.1)?,
            logits: z.map(|z| self.b.copy(&z.1)).transpose()?,
        };
        let dw_a = dw.as_deref_mut().map(|d| &mut d.0);
        let a = self.a.head_logp_bwd(&dlogp.0, &h.0, &w.0, &targets.0, temperature, &out_a, dw_a)?;
        let dw_b = dw.as_deref_mut().map(|d| &mut d.1);
        let b = self.b.head_logp_bwd(&dlogp.1, &h.1, &w.1, &targets.1, temperature, &out_b, dw_b)?;
        // 1 - p is a difference, and little is left of it where the model is sure.
        let dz = self.size(dlogp)? / temperature;
        if let Some(dw) = dw {
            self.settle(op, "dw", dw, dz * self.size(h)?)?;
        }
        self.settled(op, "dh", a, b, dz * self.size(w)?)
    }

    /// The ids are `A`'s: a draw at the edge between two tokens may fall either way. They must be ones the rule allows.
    fn sample(&self, logits: &Self::T, s: &Sampling, keys: &Self::I) -> Result<(Self::I, Self::T)> {
        let call = self.call();
        let op = "sample";
        let (ids_a, logp_a) = self.a.sample(&logits.0, s, &keys.0)?;
        let (ids_b, mut logp_b) = self.b.sample(&logits.1, s, &keys.1)?;
        let (ids, want_ids) = (self.a.read_index(&ids_a)?, self.b.read_index(&ids_b)?);
        let z = self.b.read(&logits.1)?;
        let mut want = Vec::with_capacity(ids.len());
        for (row, (z, &id)) in z.chunks_exact(logits.cols().max(1)).zip(&ids).enumerate() {
            let Some(logp) = Self::allowed(z, s, id as usize) else {
                return Err(OpError::Disagree {
                    op,
                    what: "ids",
                    index: row,
                    got: id as f32,
                    want: want_ids.get(row).map_or(f32::NAN, |&id| id as f32),
                    left: self.a.device_name(),
                    right: self.b.device_name(),
                    error: f32::INFINITY,
                    bound: self.bound,
                    call,
                });
            };
            want.push(logp);
        }
        let got = self.a.read(&logp_a)?;
        self.differ(op, "logp", &got, &want, magnitude(&z))?;
        self.b.write(&mut logp_b, &got)?;
        Ok(((ids_a, self.b.upload_index(&ids)?), (logp_a, logp_b)))
    }
    fn repetition_penalty(&self, logits: &mut Self::T, seen: &Self::I, offsets: &Self::I, penalty: f32) -> Result<()> {
        self.call();
        self.a.repetition_penalty(&mut logits.0, &seen.0, &offsets.0, penalty)?;
        self.b.repetition_penalty(&mut logits.1, &seen.1, &offsets.1, penalty)?;
        self.settle("repetition_penalty", "logits", logits, 0.0)
    }

    fn global_norm(&self, grads: &[&Self::T]) -> Result<Self::T> {
        self.call();
        let (a, b): (Vec<&A::T>, Vec<&B::T>) = grads.iter().map(|g| (&g.0, &g.1)).unzip();
        let mut x = (self.a.global_norm(&a)?, self.b.global_norm(&b)?);
        let (got, want) = (self.a.read(&x.0)?, self.b.read(&x.1)?);
        let at = |v: &[f32], i: usize| v.get(i).copied().unwrap_or(f32::NAN);
        self.differ("global_norm", "count of NaN and infinite", &[at(&got, 1)], &[at(&want, 1)], 0.0)?;
        // Of gradients with NaN in them the norm says nothing; devices may leave those elements out.
        if at(&want, 1) == 0.0 {
            self.differ("global_norm", "norm", &[at(&got, 0)], &[at(&want, 0)], 0.0)?;
        }
        self.b.write(&mut x.1, &got)?;
        Ok(x)
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
        self.call();
        let op = "adamw";
        let a = self.a.adamw(&mut w.0, &g.0, &mut m.0, &mut v.0, hyper, &norm.0)?;
        let b = self.b.adamw(&mut w.1, &g.1, &mut m.1, &mut v.1, hyper, &norm.1)?;
        self.settle(op, "m", m, 0.0)?;
        self.settle(op, "v", v, 0.0)?;
        self.settle(op, "w", w, 0.0)?;
        // Each w was rounded by up to a unit in its last place: what the norm of the change can be off by.
        let off = self.size(w)? * f32::EPSILON * (w.len() as f32).sqrt();
        self.settled(op, "change", a, b, 100.0 * off / self.bound)
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
        self.call();
        let op = "adamw_bf16";
        self.a.adamw_bf16(&mut w.0, &g.0, &mut m.0, &mut v.0, hyper, &norm.0, key, &mut report.0, row)?;
        self.b.adamw_bf16(&mut w.1, &g.1, &mut m.1, &mut v.1, hyper, &norm.1, key, &mut report.1, row)?;
        // Values that differ in their last f32 bits may be rounded to different neighbours: a bf16 unit in the last place.
        let unit = 100.0 / (256.0 * self.bound);
        for (what, x) in [("m", m), ("v", v), ("w", w), ("report", report)] {
            let size = self.size(x)?;
            self.settle(op, what, x, unit * size)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
