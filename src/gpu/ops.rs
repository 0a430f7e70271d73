//! [`Ops`] of a GPU: every method is the function of the same name under `kernels`.

use super::{Gpu, GpuIndex, GpuTensor};
use crate::kernels::{attention, copy, embed, head, matmul, norm, optim, reduce, rope, rows, sample, swiglu};
use crate::ops::{
    AdamW, AttnPlan, AttnShape, Ceiling, DeviceMemory, HeadOut, Ops, QuantMatrix, Result, Sampling, ScatterPlan, Spent,
    apart,
};

impl Ops for Gpu {
    type T = GpuTensor;
    type I = GpuIndex;

    fn device_name(&self) -> String {
        self.name().to_string()
    }

    fn ceilings(&self) -> Result<Vec<Ceiling>> {
        Gpu::ceilings(self)
    }

    fn memory(&self) -> Option<DeviceMemory> {
        let caps = self.caps();
        Some(DeviceMemory { max_binding: caps.max_binding, max_buffer: caps.max_buffer, peak: self.peak_bytes() })
    }

    fn profile(&self, work: &mut dyn FnMut() -> Result<()>) -> Result<Option<Vec<Spent>>> {
        Gpu::profile(self, work)
    }

    fn new_peak(&self) {
        self.pool.new_peak();
    }

    fn upload(&self, rows: usize, cols: usize, data: &[f32]) -> Result<GpuTensor> {
        Gpu::upload(self, rows, cols, data)
    }

    fn upload_bf16(&self, rows: usize, cols: usize, data: &[u16]) -> Result<GpuTensor> {
        Gpu::upload_bf16(self, rows, cols, data)
    }

    fn upload_quant(&self, w: &QuantMatrix) -> Result<GpuTensor> {
        Gpu::upload_quant(self, w)
    }

    fn upload_index(&self, data: &[u32]) -> Result<GpuIndex> {
        Gpu::upload_index(self, data)
    }

    fn zeros(&self, rows: usize, cols: usize) -> Result<GpuTensor> {
        let mut x = self.alloc_f32(rows, cols)?;
        copy::fill(self, &mut x, 0.0)?;
        Ok(x)
    }

    fn zeros_bf16(&self, rows: usize, cols: usize) -> Result<GpuTensor> {
        Gpu::zeros_bf16(self, rows, cols)
    }

    fn read(&self, x: &GpuTensor) -> Result<Vec<f32>> {
        Gpu::read(self, x)
    }

    fn read_index(&self, x: &GpuIndex) -> Result<Vec<u32>> {
        Gpu::read_index(self, x)
    }

    fn steps_ahead(&self) -> usize {
        8
    }

    fn read_steps(&self, steps: &[(GpuIndex, GpuTensor)]) -> Result<Vec<(Vec<u32>, Vec<f32>)>> {
        Gpu::read_steps(self, steps)
    }

    fn write(&self, x: &mut GpuTensor, data: &[f32]) -> Result<()> {
        Gpu::write(self, x, data)
    }

    fn copy(&self, x: &GpuTensor) -> Result<GpuTensor> {
        copy::copy(self, x)
    }

    fn fill(&self, x: &mut GpuTensor, value: f32) -> Result<()> {
        copy::fill(self, x, value)
    }

    fn sync(&self) -> Result<()> {
        Gpu::sync(self)
    }

    fn add(&self, a: &mut GpuTensor, b: &GpuTensor) -> Result<()> {
        copy::add(self, a, b)
    }

    fn scale(&self, a: &mut GpuTensor, s: f32) -> Result<()> {
        copy::scale(self, a, s)
    }

    fn add_row(&self, x: &mut GpuTensor, v: &GpuTensor, s: f32) -> Result<()> {
        rows::add_row(self, x, v, s)
    }

    fn ablate_row(&self, x: &mut GpuTensor, d: &GpuTensor) -> Result<()> {
        rows::ablate_row(self, x, d)
    }

    fn gather_rows(&self, x: &GpuTensor, index: &GpuIndex) -> Result<GpuTensor> {
        rows::gather_rows(self, x, index)
    }

    fn scatter_rows(&self, dst: &mut GpuTensor, src: &GpuTensor, index: &GpuIndex) -> Result<()> {
        rows::scatter_rows(self, dst, src, index)
    }

    fn scatter_add_rows(&self, dst: &mut GpuTensor, src: &GpuTensor, index: &GpuIndex) -> Result<()> {
        rows::scatter_add_rows(self, dst, src, index)
    }

    fn matmul_nt(&self, x: &GpuTensor, w: &GpuTensor, bias: Option<&GpuTensor>) -> Result<GpuTensor> {
        matmul::matmul_nt(self, x, w, bias)
    }

    fn matmul_nn(&self, dy: &GpuTensor, w: &GpuTensor, acc: Option<GpuTensor>) -> Result<GpuTensor> {
        matmul::matmul_nn(self, dy, w, acc)
    }

    fn matmul_tn(&self, dw: &mut GpuTensor, dy: &GpuTensor, x: &GpuTensor) -> Result<()> {
        matmul::matmul_tn(self, dw, dy, x)
    }

    fn bias_bwd(&self, db: &mut GpuTensor, dy: &GpuTensor) -> Result<()> {
        reduce::bias_bwd(self, db, dy)
    }

    fn embed(&self, w: &GpuTensor, ids: &GpuIndex) -> Result<GpuTensor> {
        embed::embed(self, w, ids)
    }

    fn embed_bwd(&self, dw: &mut GpuTensor, dy: &GpuTensor, plan: &ScatterPlan<GpuIndex>) -> Result<()> {
        embed::embed_bwd(self, dw, dy, plan)
    }

    fn rmsnorm(&self, x: &GpuTensor, w: &GpuTensor, eps: f32) -> Result<(GpuTensor, GpuTensor)> {
        norm::rmsnorm(self, x, w, eps)
    }

    fn add_rmsnorm(
        &self,
        x: &GpuTensor,
        delta: &GpuTensor,
        w: &GpuTensor,
        eps: f32,
    ) -> Result<(GpuTensor, GpuTensor, GpuTensor)> {
        norm::add_rmsnorm(self, x, delta, w, eps)
    }

    fn rmsnorm_bwd(
        &self,
        dy: &GpuTensor,
        x: &GpuTensor,
        w: &GpuTensor,
        rstd: &GpuTensor,
        dw: Option<&mut GpuTensor>,
        dres: Option<GpuTensor>,
    ) -> Result<GpuTensor> {
        norm::rmsnorm_bwd(self, dy, x, w, rstd, dw, dres)
    }

    fn qkv_append(
        &self,
        x: &GpuTensor,
        parts: [(&GpuTensor, Option<&GpuTensor>); 3],
        pos: &GpuIndex,
        table: &GpuTensor,
        head_dim: usize,
        (keys, values): (&mut GpuTensor, &mut GpuTensor),
        slots: &GpuIndex,
    ) -> Result<GpuTensor> {
        let bound = [keys.bytes(), values.bytes(), table.bytes()].iter().all(|b| *b <= self.caps().max_binding);
        let qkv = if bound { matmul::three_by(self, None, x, parts)? } else { None };
        match qkv {
            Some(qkv) => rope::append(self, &qkv, pos, table, head_dim, (keys, values), slots),
            None => apart::qkv_append(self, x, parts, pos, table, head_dim, (keys, values), slots),
        }
    }

    fn gated(&self, x: &GpuTensor, gate: &GpuTensor, up: &GpuTensor) -> Result<GpuTensor> {
        matmul::gated_by(self, None, x, gate, up)?.map_or_else(|| apart::gated(self, x, gate, up), Ok)
    }

    fn rope(&self, x: &mut GpuTensor, pos: &GpuIndex, table: &GpuTensor, head_dim: usize, inverse: bool) -> Result<()> {
        rope::rope(self, x, pos, table, head_dim, inverse)
    }

    fn swiglu(&self, g: &GpuTensor, u: &GpuTensor) -> Result<GpuTensor> {
        swiglu::swiglu(self, g, u)
    }

    fn swiglu_bwd(&self, dy: &GpuTensor, g: &GpuTensor, u: &GpuTensor) -> Result<(GpuTensor, GpuTensor)> {
        swiglu::swiglu_bwd(self, dy, g, u)
    }

    fn attention(
        &self,
        q: &GpuTensor,
        k: &GpuTensor,
        v: &GpuTensor,
        plan: &AttnPlan<GpuIndex>,
        shape: &AttnShape,
    ) -> Result<(GpuTensor, GpuTensor)> {
        attention::attention(self, q, k, v, plan, shape)
    }

    fn attention_bwd(
        &self,
        dout: &GpuTensor,
        q: &GpuTensor,
        k: &GpuTensor,
        v: &GpuTensor,
        out: &GpuTensor,
        lse: &GpuTensor,
        plan: &AttnPlan<GpuIndex>,
        shape: &AttnShape,
    ) -> Result<(GpuTensor, GpuTensor, GpuTensor)> {
        attention::attention_bwd(self, dout, q, k, v, out, lse, plan, shape)
    }

    fn head_logp(
        &self,
        h: &GpuTensor,
        w: &GpuTensor,
        targets: &GpuIndex,
        temperature: f32,
    ) -> Result<HeadOut<GpuTensor>> {
        head::head_logp(self, h, w, targets, temperature)
    }

    fn head_logp_bwd(
        &self,
        dlogp: &GpuTensor,
        h: &GpuTensor,
        w: &GpuTensor,
        targets: &GpuIndex,
        temperature: f32,
        out: &HeadOut<GpuTensor>,
        dw: Option<&mut GpuTensor>,
    ) -> Result<GpuTensor> {
        head::head_logp_bwd(self, dlogp, h, w, targets, temperature, out, dw)
    }

    fn sample(&self, logits: &GpuTensor, s: &Sampling, keys: &GpuIndex) -> Result<(GpuIndex, GpuTensor)> {
        sample::sample(self, logits, s, keys)
    }

    fn repetition_penalty(
        &self,
        logits: &mut GpuTensor,
        seen: &GpuIndex,
        offsets: &GpuIndex,
        penalty: f32,
    ) -> Result<()> {
        sample::repetition_penalty(self, logits, seen, offsets, penalty)
    }

    fn global_norm(&self, grads: &[&GpuTensor]) -> Result<GpuTensor> {
        optim::global_norm(self, grads)
    }

    fn adamw(
        &self,
        w: &mut GpuTensor,
        g: &GpuTensor,
        m: &mut GpuTensor,
        v: &mut GpuTensor,
        hyper: &AdamW,
        norm: &GpuTensor,
    ) -> Result<GpuTensor> {
        optim::adamw(self, w, g, m, v, hyper, norm)
    }

    fn adamw_bf16(
        &self,
        w: &mut GpuTensor,
        g: &GpuTensor,
        m: &mut GpuTensor,
        v: &mut GpuTensor,
        hyper: &AdamW,
        norm: &GpuTensor,
        key: [u32; 2],
        report: &mut GpuTensor,
        row: usize,
    ) -> Result<()> {
        optim::adamw_bf16(self, w, g, m, v, hyper, norm, key, report, row)
    }
}
