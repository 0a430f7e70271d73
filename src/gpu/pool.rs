//! Device memory: buffers by size class, reused after their tensor is dropped.

use super::caps::Caps;
use super::errors::Watch;
use crate::ops::{OpError, Result};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

/// Free buffers are kept up to this many bytes, or an eighth of what is in use, whichever is more: a card that is nearly full has no
/// room for more.
const KEEP_FREE: u64 = 256 << 20;

/// Buffers that belong to no tensor at the moment.
pub(crate) struct Pool {
    device: wgpu::Device,
    watch: Arc<Watch>,
    max_buffer: u64,
    shelves: Mutex<Shelves>,
    /// Number of submissions so far. A buffer freed in an earlier epoch has no unsubmitted use.
    epoch: AtomicU64,
}

#[derive(Default)]
struct Shelves {
    free: HashMap<u64, Vec<(wgpu::Buffer, u64)>>,
    free_bytes: u64,
    used_bytes: u64,
    peak_bytes: u64,
}

/// A buffer owned by one tensor; dropping it shelves the buffer.
pub(crate) struct Block {
    pub buffer: wgpu::Buffer,
    pool: Arc<Pool>,
}

impl Drop for Block {
    fn drop(&mut self) {
        self.pool.shelve(self.buffer.clone());
    }
}

impl Pool {
    pub fn new(device: wgpu::Device, watch: Arc<Watch>, caps: &Caps) -> Self {
        let shelves = Mutex::new(Shelves::default());
        Self { device, watch, max_buffer: caps.max_buffer, shelves, epoch: AtomicU64::new(1) }
    }

    pub fn watch(&self) -> &Watch {
        &self.watch
    }

    /// A new epoch begins: everything recorded so far has been submitted.
    pub fn submitted(&self) {
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// A buffer of at least `bytes`, with any content. `idle`: one that no unsubmitted command uses, so that
    /// `Queue::write_buffer`, which runs before the commands recorded meanwhile, cannot overtake its last use.
    pub fn take(self: &Arc<Self>, bytes: u64, idle: bool) -> Result<Block> {
        let class = size_class(bytes);
        if class > self.max_buffer {
            return Err(OpError::Unsupported(format!(
                "a tensor of {bytes} bytes is larger than this adapter's largest buffer ({} bytes): use a smaller batch, another device or --device cpu",
                self.max_buffer
            )));
        }
        let epoch = self.epoch.load(Ordering::Acquire);
        let mut shelves = super::lock(&self.shelves);
        let hit = shelves.free.get_mut(&class).and_then(|shelf| {
            let at = shelf.iter().rposition(|(_, freed)| !idle || *freed < epoch)?;
            Some(shelf.remove(at).0)
        });
        if hit.is_some() {
            shelves.free_bytes -= class;
        }
        shelves.used_bytes += class;
        shelves.peak_bytes = shelves.peak_bytes.max(shelves.used_bytes);
        drop(shelves);
        let made = hit.map(Ok).unwrap_or_else(|| {
            self.create(class).or_else(|_| {
                self.trim(0);
                self.create(class)
            })
        });
        made.map(|buffer| Block { buffer, pool: self.clone() }).inspect_err(|_| {
            super::lock(&self.shelves).used_bytes -= class;
        })
    }

    fn create(&self, bytes: u64) -> Result<wgpu::Buffer> {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let buffer = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        match pollster::block_on(scope.pop()) {
            None => Ok(buffer),
            Some(e) => Err(self.watch.out_of_memory(format!(
                "no buffer of {bytes} bytes, {} bytes in use: {e}",
                super::lock(&self.shelves).used_bytes
            ))),
        }
    }

    fn shelve(&self, buffer: wgpu::Buffer) {
        let class = buffer.size();
        let epoch = self.epoch.load(Ordering::Acquire);
        let mut shelves = super::lock(&self.shelves);
        shelves.used_bytes -= class;
        shelves.free_bytes += class;
        shelves.free.entry(class).or_default().push((buffer, epoch));
        let keep = KEEP_FREE.max(shelves.used_bytes / 8);
        if shelves.free_bytes > keep {
            drop(shelves);
            self.trim(keep / 2);
        }
    }

    /// Frees shelved buffers, the longest idle first, until at most `keep` bytes are left.
    fn trim(&self, keep: u64) {
        let mut shelves = super::lock(&self.shelves);
        let mut order: Vec<(u64, u64)> =
            shelves.free.iter().flat_map(|(class, shelf)| shelf.iter().map(|(_, freed)| (*freed, *class))).collect();
        order.sort_unstable();
        for (freed, class) in order {
            if shelves.free_bytes <= keep {
                break;
            }
            if let Some(shelf) = shelves.free.get_mut(&class)
                && let Some(at) = shelf.iter().position(|(_, f)| *f == freed)
            {
                shelf.remove(at);
                shelves.free_bytes -= class;
            }
        }
    }

    /// Starts a new peak at what is held now.
    pub fn new_peak(&self) {
        let mut shelves = super::lock(&self.shelves);
        shelves.peak_bytes = shelves.used_bytes;
    }

    /// Most bytes that tensors held at once.
    pub fn peak_bytes(&self) -> u64 {
        super::lock(&self.shelves).peak_bytes
    }
}

/// Small buffers come in four sizes per power of two, so that ragged batches meet buffers of earlier ones; at most a quarter is unused.
/// Large ones, weights above all, are as large as they need to be, to a megabyte.
pub(super) fn size_class(bytes: u64) -> u64 {
    const LARGE: u64 = 16 << 20;
    if bytes > LARGE {
        return bytes.next_multiple_of(1 << 20);
    }
    let bytes = bytes.max(256);
    let step = (1u64 << (63 - bytes.leading_zeros() as u64)) / 4;
    bytes.div_ceil(step) * step
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn size_classes_hold_their_bytes_and_waste_at_most_a_quarter() {
        for bytes in [1, 255, 256, 257, 4096, 5000, 12345, (1 << 20) + 1, (1 << 31) - 1] {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(16), "{bytes} -> {class}");
            assert!(class <= 256 || class * 4 <= bytes * 5 + 3, "{bytes} -> {class}");
            assert_eq!(size_class(class), class);
            assert!(bytes <= 16 << 20 || class - bytes < 1 << 20, "{bytes} -> {class}");
        }
    }
}
