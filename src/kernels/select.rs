//! Which variant runs: a pure function of the kernel, the number of rows and the device's capabilities.
//!
//! Never timed at run time: two runs must execute the same arithmetic. The number of rows may choose only between
//! variants that give the same bits (a kernel test checks that they do).

use super::registry::{Kernel, Needs, On, Variant};
use crate::gpu::Caps;

/// True when the device can run the variant at all.
pub fn fits(variant: &Variant, caps: &Caps) -> bool {
    match variant.needs {
        Needs::Base => true,
        Needs::Subgroup(lanes) => caps.subgroup_min >= lanes,
        Needs::Cooperative(size) => caps.cooperative == size,
    }
}

/// The first variant of `kernel` that fits the device, is preferred on it and takes a result of `rows` by `cols`; failing that the
/// first that fits and takes it. Every kernel has a base variant, so there always is one.
pub fn select(kernel: &'static Kernel, rows: usize, cols: usize, caps: &Caps) -> &'static Variant {
    let takes = |v: &Variant| {
        let area = rows.saturating_mul(cols);
        rows <= v.max_rows && rows >= v.least_rows && cols <= v.max_cols && area >= v.least_area
    };
    let usable = || kernel.variants.iter().filter(|v| fits(v, caps) && takes(v));
    let preferred = |v: &&Variant| match v.on {
        On::Any => true,
        On::Software => caps.software,
        On::Hardware => !caps.software,
    };
    usable().find(preferred).or_else(|| usable().next()).unwrap_or(&kernel.variants[0])
}
