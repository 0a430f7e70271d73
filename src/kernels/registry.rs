//! Descriptors of kernels and their variants.

use crate::ops::Dtype;

/// One piece of WGSL text, embedded at compile time.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    /// Path under `shaders/`, for messages.
    pub file: &'static str,
    pub text: &'static str,
}

/// `part!("lib/grid.wgsl")`: a [`Part`] of that file under `shaders/`.
#[macro_export]
macro_rules! part {
    ($file:literal) => {
        $crate::kernels::Part {
            file: $file,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/shaders/", $file)),
        }
    };
}

/// What a variant cannot run without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// WebGPU's default limits.
    Base,
    /// Subgroup operations on subgroups of at least this many lanes.
    Subgroup(u32),
    /// Matrix units: square products of this size in f16 with sums in f32, in subgroups of one size.
    Cooperative(u32),
}

/// Where a variant is preferred. It runs (and is tested) anywhere its [`Needs`] are met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum On {
    Any,
    /// Adapters of type CPU (lavapipe, WARP): workgroup memory and barriers are slow there.
    Software,
    Hardware,
}

/// A constant of the composed module: `const NAME: u32 = value;`.
pub type Const = (&'static str, u32);

/// One way to compute a kernel.
#[derive(Debug)]
pub struct Variant {
    /// Unique over all kernels, `kernel.variant`; names the pipeline in error messages.
    pub name: &'static str,
    /// Entry point in the composed module.
    pub entry: &'static str,
    /// Why it exists, for `probity devices --explain`.
    pub why: &'static str,
    /// Concatenated in order, after the constants and the weight accessor.
    pub parts: &'static [Part],
    /// Constants this variant always has.
    pub consts: &'static [Const],
    /// Storage formats of the weight operand (binding 0); empty when there is none.
    pub weights: &'static [Dtype],
    /// Constants given at dispatch: sets of values to compose for the lint (one empty set when there are none).
    pub samples: &'static [&'static [Const]],
    pub needs: Needs,
    pub on: On,
    /// Chosen for at most this many rows and columns of the result. Variants of one kernel that differ in the rows must give the same
    /// bits.
    pub max_rows: usize,
    pub max_cols: usize,
    /// Chosen for at least this many rows of the result.
    pub least_rows: usize,
    /// Chosen for at least this many elements of the result.
    pub least_area: usize,
}

impl Variant {
    /// Defaults for `Variant { name, parts, ..Variant::BASE }`.
    pub const BASE: Variant = Variant {
        name: "",
        entry: "main",
        why: "the only variant",
        parts: &[],
        consts: &[],
        weights: &[],
        samples: &[&[]],
        needs: Needs::Base,
        on: On::Any,
        max_rows: usize::MAX,
        max_cols: usize::MAX,
        least_rows: 0,
        least_area: 0,
    };
}

/// A kernel: what is computed, and the ways to compute it in order of preference.
#[derive(Debug)]
pub struct Kernel {
    /// Unique. The test table has a row of this name.
    pub name: &'static str,
    /// File of the family under `src/kernels/`, `src/cpu/` and `kernels-tests/`.
    pub family: &'static str,
    /// Method of [`Ops`](crate::ops::Ops) whose `Cpu<f64>` implementation is the oracle. The self-test and the bench have
    /// a row of this name.
    pub twin: &'static str,
    pub variants: &'static [Variant],
}

/// Every kernel of the program.
pub fn all() -> impl Iterator<Item = &'static Kernel> {
    FAMILIES.iter().copied().flatten()
}

/// One line per family.
static FAMILIES: &[&[Kernel]] = &[
    super::copy::KERNELS,
    super::matmul::KERNELS,
    super::rows::KERNELS,
    super::reduce::KERNELS,
    super::norm::KERNELS,
    super::rope::KERNELS,
    super::swiglu::KERNELS,
    super::embed::KERNELS,
    super::attention::KERNELS,
    super::head::KERNELS,
    super::sample::KERNELS,
    super::optim::KERNELS,
];

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn names_are_unique_and_every_kernel_has_a_base_variant() {
        let (mut kernels, mut variants) = (BTreeSet::new(), BTreeSet::new());
        for k in all() {
            assert!(kernels.insert(k.name), "kernel {} is registered twice", k.name);
            assert!(
                k.variants.iter().any(|v| v.needs == Needs::Base && v.max_rows == usize::MAX),
                "kernel {} has no variant for an adapter with WebGPU's default limits and any number of rows",
                k.name
            );
            for v in k.variants {
                assert!(variants.insert(v.name), "variant {} is registered twice", v.name);
                assert!(v.name.starts_with(k.name), "variant {} of kernel {}", v.name, k.name);
                assert!(!v.samples.is_empty(), "variant {} has no constants to compose it with", v.name);
            }
        }
    }
}
