//! Handles of device data.

use super::pool::Block;
use crate::ops::{Dtype, IndexMeta, TensorMeta};
use std::ops::Range;

/// A row-major matrix on the device. Dropping it returns its buffer to the pool.
pub struct GpuTensor {
    pub(super) rows: usize,
    pub(super) cols: usize,
    pub(super) dtype: Dtype,
    pub(super) block: Block,
}

/// A list of u32 on the device.
pub struct GpuIndex {
    pub(super) len: usize,
    pub(super) block: Block,
}

/// A range of a buffer, as a dispatch sees it.
#[derive(Clone, Copy)]
pub struct Bind<'a> {
    pub(super) buffer: &'a wgpu::Buffer,
    pub(super) offset: u64,
    pub(super) bytes: u64,
}

impl TensorMeta for GpuTensor {
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

impl IndexMeta for GpuIndex {
    fn len(&self) -> usize {
        self.len
    }
}

impl GpuTensor {
    /// Bytes of the elements, without padding.
    pub fn bytes(&self) -> u64 {
        self.dtype.bytes(self.rows, self.cols)
    }

    /// Bytes of one row.
    pub fn row_bytes(&self) -> u64 {
        self.dtype.bytes(1, self.cols)
    }

    /// All elements.
    pub fn bind(&self) -> Bind<'_> {
        self.bind_bytes(0..self.bytes())
    }

    /// Whole rows; the range is one of [`Gpu::row_windows`](super::Gpu::row_windows).
    pub fn bind_rows(&self, rows: Range<usize>) -> Bind<'_> {
        self.bind_bytes(rows.start as u64 * self.row_bytes()..rows.end as u64 * self.row_bytes())
    }

    /// A range of bytes that starts at a multiple of 256; one of [`Gpu::byte_windows`](super::Gpu::byte_windows).
    pub fn bind_bytes(&self, bytes: Range<u64>) -> Bind<'_> {
        Bind::of(&self.block, bytes)
    }
}

impl GpuIndex {
    pub fn bind(&self) -> Bind<'_> {
        Bind::of(&self.block, 0..self.len as u64 * 4)
    }
}

impl<'a> Bind<'a> {
    /// Sizes are rounded up to a whole vec4: buffers are larger than their data, so the padding exists.
    fn of(block: &'a Block, bytes: Range<u64>) -> Self {
        let len = (bytes.end.saturating_sub(bytes.start)).next_multiple_of(16).max(16);
        Self { buffer: &block.buffer, offset: bytes.start, bytes: len }
    }
}
