//! What the row-wise families share: variants by unit and by lanes, shape checks, and ordered column sums (the bias
//! gradient and every weight gradient that is a sum over rows).
//!
//! A row is read in units of four elements where its length allows and one at a time otherwise. Its reductions run in
//! one invocation on software adapters, where barriers are slow, and over the lanes of a workgroup elsewhere. Neither
//! depends on the number of rows, so a row has the same bits in every batch.

use super::{Kernel, Variant};
use crate::gpu::{Bind, Dispatch, Gpu, GpuTensor, linear_grid};
use crate::ops::{Dtype, IndexMeta, OpError, Result, TensorMeta};
use std::ops::Range;

/// Variants of a kernel that handles one unit per invocation.
macro_rules! unit_variants {
    ($name:literal, $file:literal, $samples:expr) => {
        unit_variants!($name, $file, $samples, [])
    };
    // With further parts between the unit and the body.
    ($name:literal, $file:literal, $samples:expr, [$($more:literal),*]) => {
        &[
            $crate::kernels::Variant {
                name: concat!($name, ".vec4"),
                why: "rows of a multiple of four",
                parts: &[
                    $crate::part!("lib/grid.wgsl"),
                    $crate::part!("rows_unit4.wgsl"),
                    $($crate::part!($more),)*
                    $crate::part!($file),
                ],
                consts: &[("WG", 256), ("UNIT", 4)],
                samples: $samples,
                ..$crate::kernels::Variant::BASE
            },
            $crate::kernels::Variant {
                name: concat!($name, ".scalar"),
                why: "rows of any length",
                parts: &[
                    $crate::part!("lib/grid.wgsl"),
                    $crate::part!("rows_unit1.wgsl"),
                    $($crate::part!($more),)*
                    $crate::part!($file),
                ],
                consts: &[("WG", 256), ("UNIT", 1)],
                samples: $samples,
                ..$crate::kernels::Variant::BASE
            },
        ]
    };
}

/// Variants of a kernel that reduces rows: the order is the one [`RowPick`] relies on.
macro_rules! row_variants {
    ($name:literal, $file:literal, $group:literal, $samples:expr) => {
        row_variants!(
            $name, $file, $samples,
            (".vec4.group", "rows_unit4.wgsl", 4, "reduce_group.wgsl", $group, Hardware, "a workgroup per row"),
            (".vec4.lane", "rows_unit4.wgsl", 4, "reduce_lane.wgsl", 64, Software, "no barriers: short rows"),
            (".scalar.group", "rows_unit1.wgsl", 1, "reduce_group.wgsl", $group, Hardware, "rows of any length"),
            (".scalar.lane", "rows_unit1.wgsl", 1, "reduce_lane.wgsl", 64, Software, "no barriers, rows of any length")
        )
    };
    ($name:literal, $file:literal, $samples:expr,
     $(($suffix:literal, $unit_file:literal, $unit:literal, $lanes:literal, $wg:literal, $on:ident, $why:literal)),*) => {
        &[$($crate::kernels::Variant {
            name: concat!($name, $suffix),
            why: $why,
            parts: &[
                $crate::part!("lib/grid.wgsl"),
                $crate::part!($unit_file),
                $crate::part!($lanes),
                $crate::part!($file),
            ],
            consts: &[("WG", $wg), ("UNIT", $unit)],
            samples: $samples,
            on: $crate::kernels::On::$on,
            ..$crate::kernels::Variant::BASE
        }),*]
    };
}

pub(super) use {row_variants, unit_variants};

pub static KERNELS: &[Kernel] = &[Kernel {
    name: "column_sums",
    family: "reduce",
    twin: "bias_bwd",
    variants: unit_variants!("column_sums", "reduce_columns.wgsl", &[&[("ADD", 0)], &[("ADD", 1)]]),
}];

/// Rows per block of a sum over rows; part of the definition of the result.
pub(crate) const ROW_BLOCK: usize = 64;

/// Invocations per workgroup of [`unit_variants`].
pub(super) const UNIT_GROUP: usize = 256;

/// Rows longer than this are reduced by a workgroup on software adapters too.
const LONG_ROW: usize = 4096;

/// A variant of [`unit_variants`] for rows of `cols` elements, and the units in a row.
pub(super) fn by_unit(kernel: &'static Kernel, cols: usize) -> (&'static Variant, usize) {
    if cols.is_multiple_of(4) { (&kernel.variants[0], cols / 4) } else { (&kernel.variants[1], cols) }
}

/// The choice among [`row_variants`].
pub(super) struct RowPick {
    pub variant: &'static Variant,
    /// Units in a row.
    pub units: usize,
    /// Rows per workgroup.
    pub rows: usize,
}

/// A variant of [`row_variants`] for rows of `cols` elements.
pub(super) fn by_row(gpu: &Gpu, kernel: &'static Kernel, cols: usize) -> RowPick {
    let lane = gpu.caps().software && cols <= LONG_ROW;
    let (unit, units) = if cols.is_multiple_of(4) { (0, cols / 4) } else { (2, cols) };
    RowPick { variant: &kernel.variants[unit + usize::from(lane)], units, rows: if lane { 64 } else { 1 } }
}

/// Grid of a kernel with one unit per invocation.
pub(super) fn unit_grid(units: usize) -> [u32; 3] {
    linear_grid(units.div_ceil(UNIT_GROUP))
}

/// The shape must be `[rows, cols]` and the storage f32.
pub(super) fn shaped(op: &'static str, what: &str, x: &GpuTensor, rows: usize, cols: usize) -> Result<()> {
    if (x.rows(), x.cols()) != (rows, cols) {
        return refuse(op, format!("{what} is [{}, {}], expected [{rows}, {cols}]", x.rows(), x.cols()));
    }
    if x.dtype() != Dtype::F32 {
        return refuse(op, format!("{what} is stored as bf16, which is for read-only weights"));
    }
    Ok(())
}

/// The number of entries of an index list must be `want`.
pub(super) fn counted(op: &'static str, what: &str, x: &impl IndexMeta, want: usize) -> Result<()> {
    if x.len() != want {
        return refuse(op, format!("{what} has {} entries, expected {want}", x.len()));
    }
    Ok(())
}

pub(super) fn refuse<T>(op: &'static str, detail: String) -> Result<T> {
    Err(OpError::Shape { op, detail })
}

/// Row windows of operands that all have `cols` f32 per row.
pub(super) fn windows(
    gpu: &Gpu,
    op: &'static str,
    rows: usize,
    cols: usize,
) -> Result<impl Iterator<Item = Range<usize>> + use<>> {
    gpu.row_windows(op, rows, &[cols as u64 * 4], usize::MAX)
}

/// `db[1,N] += Σ_rows dy[M,N]`, rows in order within blocks of [`ROW_BLOCK`], blocks in order.
pub fn bias_bwd(gpu: &Gpu, db: &mut GpuTensor, dy: &GpuTensor) -> Result<()> {
    let op = "bias_bwd";
    shaped(op, "db", db, 1, dy.cols())?;
    shaped(op, "dy", dy, dy.rows(), dy.cols())?;
    sum_rows(gpu, op, db, dy.rows(), dy.cols(), |sums, rows| {
        columns(gpu, dy.bind_rows(rows.clone()), sums, [rows.len(), dy.cols()])
    })
}

/// Where the sums of blocks of rows go.
pub(super) struct Sums<'a> {
    /// `[all blocks, cols]`.
    pub out: Bind<'a>,
    /// Number of the first block written.
    pub first: usize,
    /// Rows per block.
    pub block: usize,
    /// Add to what is there.
    pub add: bool,
}

/// Two ordered passes: `partial` sums the [`ROW_BLOCK`]s of a window of rows (the only one straight into `dst`), then
/// the blocks are summed into `dst[1, cols]`.
pub(super) fn sum_rows(
    gpu: &Gpu,
    op: &'static str,
    dst: &mut GpuTensor,
    rows: usize,
    cols: usize,
    partial: impl Fn(Sums, Range<usize>) -> Result<()>,
) -> Result<()> {
    if rows == 0 || cols == 0 {
        return Ok(());
    }
    if rows <= ROW_BLOCK {
        return partial(Sums { out: dst.bind(), first: 0, block: ROW_BLOCK, add: true }, 0..rows);
    }
    let blocks = rows.div_ceil(ROW_BLOCK);
    let sums = gpu.alloc_f32(blocks, cols)?;
    for w in windows(gpu, op, blocks, cols * ROW_BLOCK)? {
        let rows = w.start * ROW_BLOCK..(w.end * ROW_BLOCK).min(rows);
        partial(Sums { out: sums.bind(), first: w.start, block: ROW_BLOCK, add: false }, rows)?;
    }
    for w in windows(gpu, op, blocks, cols)? {
        let whole = Sums { out: dst.bind(), first: 0, block: w.len(), add: true };
        columns(gpu, sums.bind_rows(w.clone()), whole, [w.len(), cols])?;
    }
    Ok(())
}

/// `sums[b, :] (+)= Σ x[rows of block b, :]`; `shape` = rows, cols.
fn columns(gpu: &Gpu, x: Bind, sums: Sums, [rows, cols]: [usize; 2]) -> Result<()> {
    let (variant, units) = by_unit(&KERNELS[0], cols);
    let n = rows.div_ceil(sums.block) * units;
    gpu.dispatch(&Dispatch {
        binds: &[x, sums.out],
        params: &[rows as u32, units as u32, sums.block as u32, n as u32, sums.first as u32],
        consts: &[("ADD", u32::from(sums.add))],
        groups: unit_grid(n),
        flops: (rows * cols) as u64,
        bytes: (rows * cols * 4) as u64,
        ..Dispatch::new(variant)
    })
}
