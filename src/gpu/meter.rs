//! A device that computes nothing and counts bytes: the same model and training code runs on it, so what a run will hold at its widest
//! moment is known before anything is loaded. Allocations, those inside kernels included, follow the GPU's; a test holds the
//! count against the GPU's own.

use std::sync::{Arc, Mutex};

use super::lock;
use super::pool::size_class;
use crate::ops::{
    AdamW, AttnPlan, AttnShape, Dtype, HeadOut, IndexMeta, OpError, Ops, QuantMatrix, Result, Sampling, ScatterPlan,
    TensorMeta,
};

/// Bytes held now and at most.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Held {
    pub now: u64,
    pub peak: u64,
}

/// Counts what tensors would hold on a GPU.
pub struct Meter {
    held: Arc<Mutex<Held>>,
    max_binding: u64,
    max_buffer: u64,
}

/// A tensor without elements.
pub struct Shape {
    rows: usize,
    cols: usize,
    dtype: Dtype,
    block: Claim,
}

/// An index list without elements.
pub struct Length {
    len: usize,
    _block: Claim,
}

/// Bytes given back when dropped.
struct Claim {
    bytes: u64,
    held: Arc<Mutex<Held>>,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.held).now -= self.bytes;
    }
}

impl TensorMeta for Shape {
    fn rows(&self) -> usize {
        self.rows
    }
    fn cols(&self) -> usize {
        self.cols
    }
    fn dtype(&self) -> Dtype {
        self.dtype
    }
}

impl IndexMeta for Length {
    fn len(&self) -> usize {
        self.len
    }
}

impl Meter {
    /// A device whose largest binding and buffer are these, in bytes: they decide how the head is cut.
    pub fn new(max_binding: u64, max_buffer: u64) -> Self {
        Self { held: Arc::default(), max_binding, max_buffer }
    }

    pub fn held(&self) -> Held {
        *lock(&self.held)
    }

    /// Starts a new peak at what is held now.
    pub fn reset_peak(&self) {
        let mut held = lock(&self.held);
        held.peak = held.now;
    }

    fn claim(&self, bytes: u64) -> Result<Claim> {
        let bytes = size_class(bytes);
        if bytes > self.max_buffer {
            return Err(OpError::Unsupported(format!(
                "a tensor of {bytes} bytes is larger than the largest buffer that plans assume ({} bytes): use a smaller batch or fewer bits a weight (in training: adapters on bf16 or quantised weights)",
                self.max_buffer
            )));
        }
        let mut held = lock(&self.held);
        held.now += bytes;
        held.peak = held.peak.max(held.now);
        Ok(Claim { bytes, held: self.held.clone() })
    }

    /// A tensor in any storage.
    pub fn tensor(&self, rows: usize, cols: usize, dtype: Dtype) -> Result<Shape> {
        Ok(Shape { rows, cols, dtype, block: self.claim(dtype.bytes(rows, cols))? })
    }

    fn f32(&self, rows: usize, cols: usize) -> Result<Shape> {
        self.tensor(rows, cols, Dtype::F32)
    }

    fn index(&self, len: usize) -> Result<Length> {
        Ok(Length { len, _block: self.claim(4 * len as u64)? })
    }

    /// Partial sums of [`sum_rows`](crate::kernels), for a moment.
    fn sum_rows(&self, rows: usize, cols: usize) -> Result<()> {
        if rows > crate::kernels::reduce::ROW_BLOCK {
            self.f32(rows.div_ceil(crate::kernels::reduce::ROW_BLOCK), cols)?;
        }
        Ok(())
    }

    /// Partial sums of the optimizer's kernels, for a moment.
    fn blocks(&self, elements: usize) -> Result<Shape> {
        self.f32(elements.div_ceil(crate::kernels::optim::BLOCK), 2)
    }

    fn head_rows(&self, vocab: usize) -> usize {
        crate::kernels::head::rows_per_chunk(vocab, self.max_binding)
    }
}

impl Ops for Meter {
    type T = Shape;
    type I = Length;

    fn device_name(&self) -> String {
        "meter".into()
    }

    fn upload(&self, rows: usize, cols: usize, _: &[f32]) -> Result<Shape> {
        self.f32(rows, cols)
    }
    fn upload_bf16(&self, rows: usize, cols: usize, _: &[u16]) -> Result<Shape> {
        self.tensor(rows, cols, Dtype::Bf16)
    }
    fn upload_quant(&self, w: &QuantMatrix) -> Result<Shape> {
        self.tensor(w.rows, w.cols, Dtype::Quant(w.format))
    }
    fn upload_index(&self, data: &[u32]) -> Result<Length> {
        self.index(data.len())
    }
    fn zeros(&self, rows: usize, cols: usize) -> Result<Shape> {
        self.f32(rows, cols)
    }
    fn zeros_bf16(&self, rows: usize, cols: usize) -> Result<Shape> {
        self.tensor(rows, cols, Dtype::Bf16)
    }
    fn read(&self, x: &Shape) -> Result<Vec<f32>> {
        Ok(vec![0.0; x.len()])
    }
    fn read_index(&self, x: &Length) -> Result<Vec<u32>> {
        Ok(vec![0; x.len])
    }
    fn write(&self, _: &mut Shape, _: &[f32]) -> Result<()> {
        Ok(())
    }
    fn copy(&self, x: &Shape) -> Result<Shape> {
        self.tensor(x.rows, x.cols, x.dtype)
    }
    fn fill(&self, _: &mut Shape, _: f32) -> Result<()> {
        Ok(())
    }
    fn sync(&self) -> Result<()> {
        Ok(())
    }

    fn add(&self, _: &mut Shape, _: &Shape) -> Result<()> {
        Ok(())
    }
    fn scale(&self, _: &mut Shape, _: f32) -> Result<()> {
        Ok(())
    }
    fn add_row(&self, _: &mut Shape, _: &Shape, _: f32) -> Result<()> {
        Ok(())
    }
    fn ablate_row(&self, _: &mut Shape, _: &Shape) -> Result<()> {
        Ok(())
    }
    fn gather_rows(&self, x: &Shape, rows: &Length) -> Result<Shape> {
        self.f32(rows.len, x.cols)
    }
    fn scatter_rows(&self, _: &mut Shape, _: &Shape, _: &Length) -> Result<()> {
        Ok(())
    }
    fn scatter_add_rows(&self, _: &mut Shape, _: &Shape, _: &Length) -> Result<()> {
        Ok(())
    }

    fn matmul_nt(&self, x: &Shape, w: &Shape, _: Option<&Shape>) -> Result<Shape> {
        self.f32(x.rows, w.rows)
    }
    fn matmul_nn(&self, dy: &Shape, w: &Shape, acc: Option<Shape>) -> Result<Shape> {
        let dx = acc.map_or_else(|| self.f32(dy.rows, w.cols), Ok)?;
        let (slices, rows) = crate::kernels::matmul::split_part(dy.rows, w.rows, w.cols, self.max_binding);
        if slices > 1 {
            self.f32(slices * rows, w.cols)?;
        }
        Ok(dx)
    }
    fn matmul_tn(&self, _: &mut Shape, _: &Shape, _: &Shape) -> Result<()> {
        Ok(())
    }
    fn bias_bwd(&self, db: &mut Shape, dy: &Shape) -> Result<()> {
        self.sum_rows(dy.rows, db.cols)
    }

    fn embed(&self, w: &Shape, ids: &Length) -> Result<Shape> {
        self.f32(ids.len, w.cols)
    }
    fn embed_bwd(&self, _: &mut Shape, _: &Shape, _: &ScatterPlan<Length>) -> Result<()> {
        Ok(())
    }
    fn rmsnorm(&self, x: &Shape, _: &Shape, _: f32) -> Result<(Shape, Shape)> {
        Ok((self.f32(x.rows, x.cols)?, self.f32(x.rows, 1)?))
    }
    fn add_rmsnorm(&self, x: &Shape, _: &Shape, _: &Shape, _: f32) -> Result<(Shape, Shape, Shape)> {
        Ok((self.f32(x.rows, x.cols)?, self.f32(x.rows, x.cols)?, self.f32(x.rows, 1)?))
    }
    fn rmsnorm_bwd(
        &self,
        _: &Shape,
        x: &Shape,
        _: &Shape,
        _: &Shape,
        dw: Option<&mut Shape>,
        dres: Option<Shape>,
    ) -> Result<Shape> {
        let dx = dres.map_or_else(|| self.f32(x.rows, x.cols), Ok)?;
        if dw.is_some() {
            self.sum_rows(x.rows, x.cols)?;
        }
        Ok(dx)
    }
    fn rope(&self, _: &mut Shape, _: &Length, _: &Shape, _: usize, _: bool) -> Result<()> {
        Ok(())
    }
    fn swiglu(&self, g: &Shape, _: &Shape) -> Result<Shape> {
        self.f32(g.rows, g.cols)
    }
    fn swiglu_bwd(&self, _: &Shape, g: &Shape, _: &Shape) -> Result<(Shape, Shape)> {
        Ok((self.f32(g.rows, g.cols)?, self.f32(g.rows, g.cols)?))
    }
    fn attention(
        &self,
        q: &Shape,
        _: &Shape,
        _: &Shape,
        _: &AttnPlan<Length>,
        shape: &AttnShape,
    ) -> Result<(Shape, Shape)> {
        Ok((self.f32(q.rows, q.cols)?, self.f32(q.rows, shape.heads)?))
    }
    fn attention_bwd(
        &self,
        _: &Shape,
        q: &Shape,
        k: &Shape,
        _: &Shape,
        _: &Shape,
        _: &Shape,
        _: &AttnPlan<Length>,
        shape: &AttnShape,
    ) -> Result<(Shape, Shape, Shape)> {
        let all = (self.f32(q.rows, q.cols)?, self.f32(k.rows, k.cols)?, self.f32(k.rows, k.cols)?);
        self.f32(q.rows, 2 * shape.heads)?;
        Ok(all)
    }

    fn head_logp(&self, h: &Shape, w: &Shape, _: &Length, _: f32) -> Result<HeadOut<Shape>> {
        let (m, vocab) = (h.rows, w.rows);
        let (logp, lse, entropy) = (self.f32(m, 1)?, self.f32(m, 1)?, self.f32(m, 1)?);
        let chunk = self.head_rows(vocab);
        if m <= chunk && m * vocab * 4 <= crate::kernels::head::KEEP_BYTES {
            return Ok(HeadOut { logp, lse, entropy, logits: Some(self.f32(m, vocab)?) });
        }
        let rows = m.min(chunk);
        let _slice = self.f32(rows, h.cols)?;
        self.f32(rows, vocab)?;
        Ok(HeadOut { logp, lse, entropy, logits: None })
    }
    fn head_logp_bwd(
        &self,
        _: &Shape,
        h: &Shape,
        w: &Shape,
        _: &Length,
        _: f32,
        out: &HeadOut<Shape>,
        _: Option<&mut Shape>,
    ) -> Result<Shape> {
        if out.logits.is_some() {
            let dz = self.f32(h.rows, w.rows)?;
            return self.matmul_nn(&dz, w, None);
        }
        let dh = self.f32(h.rows, h.cols)?;
        let rows = h.rows.min(self.head_rows(w.rows));
        let _slice = self.f32(rows, h.cols)?;
        let z = self.f32(rows, w.rows)?;
        self.matmul_nn(&z, w, None)?;
        Ok(dh)
    }
    fn sample(&self, logits: &Shape, _: &Sampling, _: &Length) -> Result<(Length, Shape)> {
        let m = logits.rows;
        let (ids, logp) = (self.index(m)?, self.f32(m, 1)?);
        let _rest = (self.f32(m, 1)?, self.f32(m, 1)?);
        Ok((ids, logp))
    }
    fn repetition_penalty(&self, _: &mut Shape, _: &Length, _: &Length, _: f32) -> Result<()> {
        Ok(())
    }
    fn global_norm(&self, grads: &[&Shape]) -> Result<Shape> {
        let _partial = self.blocks(grads.iter().map(|g| g.len()).sum())?;
        self.f32(1, 2)
    }
    fn adamw(&self, w: &mut Shape, _: &Shape, _: &mut Shape, _: &mut Shape, _: &AdamW, _: &Shape) -> Result<Shape> {
        let _partial = self.blocks(w.len())?;
        self.f32(1, 1)
    }
    fn adamw_bf16(
        &self,
        w: &mut Shape,
        _: &Shape,
        _: &mut Shape,
        _: &mut Shape,
        _: &AdamW,
        _: &Shape,
        _: [u32; 2],
        _: &mut Shape,
        _: usize,
    ) -> Result<()> {
        self.blocks(w.len()).map(drop)
    }
}

impl Shape {
    /// Bytes that its buffer has.
    pub fn held_bytes(&self) -> u64 {
        self.block.bytes
    }
}
