//! Uploads, downloads and windows over buffers larger than one binding.

use super::budget::MAX_SECONDS;
use super::caps::Caps;
use super::tensor::{GpuIndex, GpuTensor};
use super::{Gpu, lock};
use crate::ops::plan::bf16_bits;
use crate::ops::{Dtype, OpError, QuantMatrix, Result, TensorMeta};
use std::ops::Range;
use std::sync::mpsc;

/// Host data travels in slices of this size: what waits in staging memory is bounded.
const SLICE: u64 = 32 << 20;

/// A mapping is called back by the thread that finds it done, at once.
const CALLED_BACK: std::time::Duration = std::time::Duration::from_secs(60);

impl Gpu {
    /// A tensor with any content.
    pub fn alloc(&self, rows: usize, cols: usize, dtype: Dtype) -> Result<GpuTensor> {
        let block = self.pool.take(dtype.bytes(rows, cols), false)?;
        Ok(GpuTensor { rows, cols, dtype, block })
    }

    /// An f32 tensor with any content: the output of a kernel.
    pub fn alloc_f32(&self, rows: usize, cols: usize) -> Result<GpuTensor> {
        self.alloc(rows, cols, Dtype::F32)
    }

    /// An index list with any content.
    pub fn alloc_index(&self, len: usize) -> Result<GpuIndex> {
        Ok(GpuIndex { len, block: self.pool.take(len as u64 * 4, false)? })
    }

    pub fn upload(&self, rows: usize, cols: usize, data: &[f32]) -> Result<GpuTensor> {
        check_len("upload", rows * cols, data.len())?;
        let block = self.pool.take(Dtype::F32.bytes(rows, cols), true)?;
        self.write_buffer(&block.buffer, bytemuck::cast_slice(data))?;
        Ok(GpuTensor { rows, cols, dtype: Dtype::F32, block })
    }

    /// bf16 bit patterns, kept packed.
    pub fn upload_bf16(&self, rows: usize, cols: usize, data: &[u16]) -> Result<GpuTensor> {
        check_len("upload_bf16", rows * cols, data.len())?;
        let block = self.pool.take(Dtype::Bf16.bytes(rows, cols), true)?;
        let even = data.len() / 2 * 2;
        self.write_buffer(&block.buffer, bytemuck::cast_slice(&data[..even]))?;
        if let Some(&last) = data.get(even) {
            self.queue.write_buffer(&block.buffer, even as u64 * 2, bytemuck::cast_slice(&[last, 0]));
        }
        Ok(GpuTensor { rows, cols, dtype: Dtype::Bf16, block })
    }

    /// Codes and scales, row by row.
    pub fn upload_quant(&self, w: &QuantMatrix) -> Result<GpuTensor> {
        let dtype = Dtype::Quant(w.format);
        let block = self.pool.take(dtype.bytes(w.rows, w.cols), true)?;
        self.write_buffer(&block.buffer, bytemuck::cast_slice(&w.words))?;
        Ok(GpuTensor { rows: w.rows, cols: w.cols, dtype, block })
    }

    /// Zeros stored in bf16.
    pub fn zeros_bf16(&self, rows: usize, cols: usize) -> Result<GpuTensor> {
        let bytes = Dtype::Bf16.bytes(rows, cols);
        let block = self.pool.take(bytes, true)?;
        // Slice by slice: the whole in host memory would be a second copy of the moments.
        let zeros = vec![0u8; bytes.min(SLICE) as usize];
        let mut at = 0;
        while at < bytes {
            let n = (bytes - at).min(SLICE);
            self.write_at(&block.buffer, at, &zeros[..n as usize])?;
            at += n;
        }
        Ok(GpuTensor { rows, cols, dtype: Dtype::Bf16, block })
    }

    pub fn upload_index(&self, data: &[u32]) -> Result<GpuIndex> {
        let block = self.pool.take(data.len() as u64 * 4, true)?;
        self.write_buffer(&block.buffer, bytemuck::cast_slice(data))?;
        Ok(GpuIndex { len: data.len(), block })
    }

    /// Overwrites a tensor; one in bf16 takes bf16 values only.
    pub fn write(&self, x: &mut GpuTensor, data: &[f32]) -> Result<()> {
        check_len("write", x.len(), data.len())?;
        // A queue write runs before what is recorded but not submitted; uses of the old content must not see the new one.
        self.flush();
        match x.dtype {
            Dtype::F32 => self.write_buffer(&x.block.buffer, bytemuck::cast_slice(data)),
            Dtype::Bf16 => {
                let mut bits = bf16_bits("write", data)?;
                // Elements come in pairs.
                bits.resize(bits.len().next_multiple_of(2), 0);
                self.write_buffer(&x.block.buffer, bytemuck::cast_slice(&bits))
            }
            Dtype::Quant(q) => {
                Err(OpError::Shape { op: "write", detail: format!("{} weights are read-only", q.name()) })
            }
        }
    }

    fn write_buffer(&self, buffer: &wgpu::Buffer, bytes: &[u8]) -> Result<()> {
        for (i, slice) in bytes.chunks(SLICE as usize).enumerate() {
            self.write_at(buffer, i as u64 * SLICE, slice)?;
        }
        Ok(())
    }

    /// Writes at most a slice.
    fn write_at(&self, buffer: &wgpu::Buffer, at: u64, bytes: &[u8]) -> Result<()> {
        self.watch.enter("upload");
        self.queue.write_buffer(buffer, at, bytes);
        if bytes.len() as u64 == SLICE || at > 0 {
            // Staging memory is freed when a later submission is done (wgpu#7114).
            let submission = self.queue.submit([]);
            self.wait(Some(submission))?;
        }
        Ok(())
    }

    /// Values in f32; bf16 and codes are expanded.
    pub fn read(&self, x: &GpuTensor) -> Result<Vec<f32>> {
        let bytes = self.read_buffer(&x.block.buffer, x.bytes())?;
        Ok(match x.dtype {
            Dtype::F32 => bytemuck::pod_collect_to_vec(&bytes),
            Dtype::Bf16 => {
                let bits: Vec<u16> = bytemuck::pod_collect_to_vec(&bytes);
                bits[..x.len()].iter().map(|&b| f32::from_bits((b as u32) << 16)).collect()
            }
            Dtype::Quant(format) => {
                let words = bytemuck::pod_collect_to_vec(&bytes);
                QuantMatrix { rows: x.rows, cols: x.cols, format, words }.values()
            }
        })
    }

    pub fn read_index(&self, x: &GpuIndex) -> Result<Vec<u32>> {
        Ok(bytemuck::pod_collect_to_vec(&self.read_buffer(&x.block.buffer, x.len as u64 * 4)?))
    }

    /// Ids and values (f32) of several steps by one transfer.
    #[allow(clippy::type_complexity)]
    pub fn read_steps(&self, steps: &[(GpuIndex, GpuTensor)]) -> Result<Vec<(Vec<u32>, Vec<f32>)>> {
        let parts = |(i, x): &(GpuIndex, GpuTensor)| [i.len as u64 * 4, x.bytes()];
        if steps.iter().flat_map(parts).sum::<u64>() > SLICE || steps.iter().any(|(_, x)| x.dtype != Dtype::F32) {
            return steps.iter().map(|(i, x)| Ok((self.read_index(i)?, self.read(x)?))).collect();
        }
        let buffers = steps.iter().flat_map(|(i, x)| [&i.block.buffer, &x.block.buffer]);
        let bytes = self.transfer(buffers.zip(steps.iter().flat_map(parts)).map(|(b, n)| (b, 0, n)))?;
        let mut rest = bytes.as_slice();
        let mut cut = |n: u64| {
            let (head, tail) = rest.split_at(rest.len().min(n as usize));
            rest = tail;
            head
        };
        let step = |s: &(GpuIndex, GpuTensor)| {
            let [ids, values] = parts(s).map(&mut cut);
            (bytemuck::pod_collect_to_vec(ids), bytemuck::pod_collect_to_vec(values))
        };
        Ok(steps.iter().map(step).collect())
    }

    /// Waits for everything recorded so far and returns the buffer's first bytes.
    fn read_buffer(&self, buffer: &wgpu::Buffer, bytes: u64) -> Result<Vec<u8>> {
        let mut out = Vec::with_capacity(bytes as usize);
        while (out.len() as u64) < bytes {
            let n = (bytes - out.len() as u64).min(SLICE);
            out.extend(self.transfer([(buffer, out.len() as u64, n)])?);
        }
        self.watch.check()?;
        Ok(out)
    }

    /// Parts of buffers (first byte, bytes), one after the other; at most a slice in all.
    pub(super) fn transfer<'a>(
        &self,
        parts: impl IntoIterator<Item = (&'a wgpu::Buffer, u64, u64)>,
    ) -> Result<Vec<u8>> {
        let parts: Vec<_> = parts.into_iter().filter(|(.., n)| *n > 0).collect();
        let n = parts.iter().map(|(.., n)| n).sum();
        if n == 0 {
            return Ok(Vec::new());
        }
        let mut staging = lock(&self.staging);
        let stage = match staging.take().filter(|s| s.size() >= n) {
            Some(s) => s,
            None => self.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("read"),
                size: n.next_power_of_two().max(1 << 16),
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            }),
        };
        {
            let mut recorder = lock(&self.recorder);
            let mut at = 0;
            for (buffer, first, n) in parts {
                recorder.encoder(&self.device).copy_buffer_to_buffer(buffer, first, &stage, at, n);
                at += n;
            }
            recorder.flush(&self.device, &self.queue, &self.pool);
        }
        let (tell, told) = mpsc::channel();
        stage.map_async(wgpu::MapMode::Read, 0..n, move |r| {
            let _ = tell.send(r);
        });
        self.wait(None)?;
        self.watch.check()?;
        // Another thread that waits for the device may be the one to call back.
        if let Err(e) =
            told.recv_timeout(CALLED_BACK).map_err(|e| e.to_string()).and_then(|r| r.map_err(|e| e.to_string()))
        {
            return Err(self.watch.lost(format!("reading back failed: {e}")));
        }
        let out = match stage.get_mapped_range(0..n) {
            Ok(view) => view.to_vec(),
            Err(e) => return Err(self.watch.lost(format!("reading back failed: {e}"))),
        };
        stage.unmap();
        *staging = Some(stage);
        Ok(out)
    }

    /// Most bytes that tensors held at once.
    pub fn peak_bytes(&self) -> u64 {
        self.pool.peak_bytes()
    }

    /// Cuts `bytes` of a buffer into ranges that can each be bound and are done within the budget of a submission, where `moved`
    /// bytes are read or written for each. Ranges are a multiple of 1 MiB long: sums by block have the same blocks however it is cut.
    pub fn byte_windows(&self, bytes: u64, moved: u64) -> impl Iterator<Item = Range<u64>> + use<> {
        const UNIT: u64 = 1 << 20;
        let within = (MAX_SECONDS * self.caps.byte_rate) as u64 / moved.max(1);
        let step = self.caps.max_binding.min(within.max(UNIT));
        let step = if step > UNIT { step / UNIT * UNIT } else { step };
        (0..bytes.div_ceil(step)).map(move |i| i * step..((i + 1) * step).min(bytes))
    }

    /// Cuts `rows` rows into ranges of at most `max_rows` that can each be bound in every operand, given the operands' bytes per
    /// row: all ranges but the last have the same length and they start at aligned offsets. Fails when not even the shortest aligned
    /// range fits a binding.
    pub fn row_windows(
        &self,
        op: &'static str,
        rows: usize,
        row_bytes: &[u64],
        max_rows: usize,
    ) -> Result<impl Iterator<Item = Range<usize>> + use<>> {
        let widest = row_bytes.iter().copied().max().unwrap_or(1).max(1);
        // The units are powers of two, so the largest is a multiple of the others.
        let unit = row_bytes.iter().map(|&b| row_unit(b)).max().unwrap_or(1);
        let fit = (self.caps.max_binding / widest) as usize;
        let step =
            if rows <= fit && rows <= max_rows { rows.max(1) } else { fit.min(max_rows.max(unit)) / unit * unit };
        if step == 0 {
            return Err(OpError::Unsupported(format!(
                "{op}: {unit} rows of {widest} bytes do not fit this adapter's bindings of {} bytes; use another device or --device cpu",
                self.caps.max_binding
            )));
        }
        Ok((0..rows.div_ceil(step)).map(move |i| i * step..((i + 1) * step).min(rows)))
    }
}

/// Smallest number of rows whose bytes are a multiple of the binding alignment.
fn row_unit(row_bytes: u64) -> usize {
    let (mut a, mut b) = (Caps::ALIGN, row_bytes.max(1));
    while b != 0 {
        (a, b) = (b, a % b);
    }
    (Caps::ALIGN / a) as usize
}

fn check_len(op: &'static str, want: usize, got: usize) -> Result<()> {
    if want == got {
        return Ok(());
    }
    Err(OpError::Shape { op, detail: format!("the shape holds {want} elements, {got} were given") })
}

#[cfg(test)]
mod tests {
    use super::row_unit;

    #[test]
    fn row_units_align() {
        for row_bytes in [4u64, 12, 16, 100, 256, 1792, 3584, 151936 * 4] {
            let unit = row_unit(row_bytes) as u64;
            assert_eq!(unit * row_bytes % 256, 0);
            assert!((1..unit).all(|u| u * row_bytes % 256 != 0), "{row_bytes}");
        }
    }
}
