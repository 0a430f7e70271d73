//! Tensors of the CPU backend and the pool their buffers come from and go back to.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, Mutex, PoisonError};

use super::real::Real;
use crate::ops::quant::Codes;
use crate::ops::{Dtype, IndexMeta, OpError, Quant, QuantMatrix, Result, TensorMeta};

/// Row-major matrix in memory. The buffer may be longer than `rows * cols`: it is one of the pool's sizes.
#[derive(Debug)]
pub struct CpuTensor<F: Real> {
    rows: usize,
    cols: usize,
    data: Data<F>,
    pool: Option<Arc<Pool<F>>>,
}

#[derive(Debug)]
enum Data<F> {
    F(Vec<F>),
    Bf16(Vec<u16>),
    Quant(Quant, Vec<u32>),
}

/// Borrowed elements of a weight in any storage.
#[derive(Clone, Copy, Debug)]
pub enum Values<'a, F> {
    F(&'a [F]),
    Bf16(&'a [u16]),
    Quant(Codes<'a>),
}

impl<F: Real> Values<'_, F> {
    #[inline]
    pub fn get(&self, i: usize) -> F {
        match self {
            Values::F(v) => v[i],
            Values::Bf16(v) => F::of_bf16(v[i]),
            Values::Quant(v) => F::of_f32(v.get(i)),
        }
    }

    /// The elements in the arithmetic type (bf16 and codes expanded).
    pub fn to_vec(&self) -> Vec<F> {
        match self {
            Values::F(v) => v.to_vec(),
            Values::Bf16(v) => v.iter().map(|&b| F::of_bf16(b)).collect(),
            Values::Quant(v) => v.to_vec().into_iter().map(F::of_f32).collect(),
        }
    }

    pub fn len(&self) -> usize {
        match self {
            Values::F(v) => v.len(),
            Values::Bf16(v) => v.len(),
            Values::Quant(v) => v.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl<F: Real> CpuTensor<F> {
    /// A tensor of the given values; a shape error unless there are `rows * cols` of them.
    pub fn from_vec(rows: usize, cols: usize, values: Vec<F>) -> Result<Self> {
        if rows.checked_mul(cols) != Some(values.len()) {
            let detail = format!("{} values for a tensor of [{rows}, {cols}]", values.len());
            return Err(OpError::Shape { op: "from_vec", detail });
        }
        Ok(Self { rows, cols, data: Data::F(values), pool: None })
    }

    pub(super) fn pooled(rows: usize, cols: usize, buffer: Vec<F>, pool: &Arc<Pool<F>>) -> Self {
        Self { rows, cols, data: Data::F(buffer), pool: Some(pool.clone()) }
    }

    pub(super) fn bf16(rows: usize, cols: usize, bits: Vec<u16>) -> Self {
        Self { rows, cols, data: Data::Bf16(bits), pool: None }
    }

    pub(super) fn quantised(w: &QuantMatrix) -> Self {
        Self { rows: w.rows, cols: w.cols, data: Data::Quant(w.format, w.words.clone()), pool: None }
    }

    /// See [`Values::to_vec`].
    pub fn values(&self) -> Vec<F> {
        self.view().to_vec()
    }

    pub(super) fn view(&self) -> Values<'_, F> {
        let n = self.rows * self.cols;
        match &self.data {
            Data::F(v) => Values::F(&v[..n]),
            Data::Bf16(v) => Values::Bf16(&v[..n]),
            Data::Quant(format, words) => Values::Quant(Codes { format: *format, cols: self.cols, words }),
        }
    }

    /// `None` for weights that are packed.
    pub(super) fn slice(&self) -> Option<&[F]> {
        match &self.data {
            Data::F(v) => Some(&v[..self.rows * self.cols]),
            Data::Bf16(_) | Data::Quant(..) => None,
        }
    }

    /// Bit patterns; `None` unless bf16.
    pub(super) fn bits_mut(&mut self) -> Option<&mut [u16]> {
        match &mut self.data {
            Data::F(_) | Data::Quant(..) => None,
            Data::Bf16(v) => Some(&mut v[..self.rows * self.cols]),
        }
    }

    /// `None` for weights that are packed.
    pub(super) fn slice_mut(&mut self) -> Option<&mut [F]> {
        match &mut self.data {
            Data::F(v) => Some(&mut v[..self.rows * self.cols]),
            Data::Bf16(_) | Data::Quant(..) => None,
        }
    }
}

impl<F: Real> Drop for CpuTensor<F> {
    fn drop(&mut self) {
        if let (Some(pool), Data::F(v)) = (&self.pool, &mut self.data) {
            pool.give(mem::take(v));
        }
    }
}

impl<F: Real> TensorMeta for CpuTensor<F> {
    fn rows(&self) -> usize {
        self.rows
    }
    fn cols(&self) -> usize {
        self.cols
    }
    fn dtype(&self) -> Dtype {
        match self.data {
            Data::F(_) => Dtype::F32,
            Data::Bf16(_) => Dtype::Bf16,
            Data::Quant(q, _) => Dtype::Quant(q),
        }
    }
}

/// Row numbers, token ids, offsets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CpuIndex(pub Vec<u32>);

impl IndexMeta for CpuIndex {
    fn len(&self) -> usize {
        self.0.len()
    }
}

/// Free buffers by length. A fresh large allocation costs a page fault per 4 KiB; a training step asks for the same
/// sizes again and again.
#[derive(Debug)]
pub(super) struct Pool<F> {
    free: Mutex<Free<F>>,
}

#[derive(Debug)]
struct Free<F> {
    by_len: HashMap<usize, Vec<Vec<F>>>,
    bytes: usize,
}

/// Most bytes kept in free buffers; past it the pool is emptied.
const POOL_BYTES: usize = 1 << 30;

/// Buffer lengths: at most an eighth above what is asked for, so ragged batches share them.
fn size_class(len: usize) -> usize {
    if len <= 64 {
        return 64;
    }
    let step = len.next_power_of_two() >> 4;
    len.div_ceil(step) * step
}

impl<F: Real> Pool<F> {
    pub fn new() -> Arc<Self> {
        Arc::new(Self { free: Mutex::new(Free { by_len: HashMap::new(), bytes: 0 }) })
    }

    /// A buffer of at least `len` elements with leftover contents: NaN where the build checks, so that a kernel that
    /// forgets an element is found.
    pub fn take(&self, len: usize) -> Vec<F> {
        let len = size_class(len);
        let found = {
            let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
            let found = free.by_len.get_mut(&len).and_then(Vec::pop);
            if found.is_some() {
                free.bytes -= len * size_of::<F>();
            }
            found
        };
        let mut buffer = found.unwrap_or_else(|| vec![F::ZERO; len]);
        if cfg!(debug_assertions) {
            buffer.fill(F::NAN);
        }
        buffer
    }

    fn give(&self, buffer: Vec<F>) {
        let mut free = self.free.lock().unwrap_or_else(PoisonError::into_inner);
        let bytes = buffer.len() * size_of::<F>();
        if free.bytes + bytes > POOL_BYTES {
            free.by_len.clear();
            free.bytes = 0;
        }
        if bytes > 0 && bytes <= POOL_BYTES {
            free.bytes += bytes;
            free.by_len.entry(buffer.len()).or_default().push(buffer);
        }
    }
}
