//! Operations that a device may do in fewer dispatches, as the operations they stand for: what a device without such kernels does, and
//! one whose bindings are too small.

use super::{Ops, Result};

/// See [`Ops::qkv_append`].
#[allow(clippy::too_many_arguments)]
pub fn qkv_append<O: Ops + ?Sized>(
    o: &O,
    x: &O::T,
    parts: [(&O::T, Option<&O::T>); 3],
    pos: &O::I,
    table: &O::T,
    head_dim: usize,
    caches: (&mut O::T, &mut O::T),
    slots: &O::I,
) -> Result<O::T> {
    let [q, k, v] = parts.map(|(w, bias)| o.matmul_nt(x, w, bias));
    append(o, (q?, k?, v?), pos, table, head_dim, caches, slots)
}

/// Turns queries and keys by their positions and puts keys and values into rows `slots` of the caches. Returns the queries.
pub fn append<O: Ops + ?Sized>(
    o: &O,
    (mut q, mut k, v): (O::T, O::T, O::T),
    pos: &O::I,
    table: &O::T,
    head_dim: usize,
    (keys, values): (&mut O::T, &mut O::T),
    slots: &O::I,
) -> Result<O::T> {
    o.rope(&mut q, pos, table, head_dim, false)?;
    o.rope(&mut k, pos, table, head_dim, false)?;
    o.scatter_rows(keys, &k, slots)?;
    o.scatter_rows(values, &v, slots)?;
    Ok(q)
}

/// See [`Ops::gated`].
pub fn gated<O: Ops + ?Sized>(o: &O, x: &O::T, gate: &O::T, up: &O::T) -> Result<O::T> {
    o.swiglu(&o.matmul_nt(x, gate, None)?, &o.matmul_nt(x, up, None)?)
}
