//! Kernels: hand-written WGSL under `shaders/`, described here, run by [`Gpu`](crate::gpu::Gpu).
//!
//! A kernel is five things, and a test fails when one is missing: a WGSL entry point, a [`Kernel`] descriptor with its
//! variants, a CPU twin (the `Cpu<f64>` method of the same operation), a row in the test table (`kernels-tests/`) and a
//! row in the bench table. One file per family holds the descriptors and the functions that check shapes, choose the
//! variant and record the dispatches.

pub mod attention;
pub mod compose;
pub mod copy;
pub mod embed;
pub mod head;
pub mod lint;
pub mod matmul;
pub mod norm;
pub mod optim;
pub mod reduce;
pub mod registry;
pub mod rope;
pub mod rows;
pub mod sample;
pub mod select;
pub mod swiglu;
pub mod uniformity;

pub use registry::{Kernel, Needs, On, Part, Variant};
