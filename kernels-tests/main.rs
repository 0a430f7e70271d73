//! Every kernel on every adapter of this machine, against f64.
//!
//! One module per family. `kernel_tests!` makes the tests and the rows of the test table; `registry_is_covered` compares the
//! table with the registry.

mod adapters;
mod attention;
mod copy;
mod embed;
mod head;
mod kill;
mod lint;
mod lora;
mod matmul;
mod memory;
mod model;
mod norm;
mod optim;
mod rope;
mod rows;
mod sample;
mod selftest;
mod swiglu;
mod twin;

use std::collections::BTreeSet;

/// `kernel_tests! { kernel => function, ... }`: a test per kernel that runs the function on every device, and the table.
macro_rules! kernel_tests {
    ($($kernel:ident => $run:path),* $(,)?) => {
        pub const TABLE: &[&str] = &[$(stringify!($kernel)),*];
        $(#[test]
        fn $kernel() {
            $crate::adapters::for_each_gpu($run);
        })*
    };
}
pub(crate) use kernel_tests;

/// One line per family.
const TABLES: &[&[&str]] = &[
    copy::TABLE,
    matmul::TABLE,
    rows::TABLE,
    norm::TABLE,
    rope::TABLE,
    swiglu::TABLE,
    embed::TABLE,
    attention::TABLE,
    head::TABLE,
    sample::TABLE,
    optim::TABLE,
];

#[test]
fn registry_is_covered() {
    let registered: BTreeSet<&str> = probity::kernels::registry::all().map(|k| k.name).collect();
    let tested: BTreeSet<&str> = TABLES.iter().copied().flatten().copied().collect();
    let missing: Vec<_> = registered.difference(&tested).collect();
    let unknown: Vec<_> = tested.difference(&registered).collect();
    assert!(
        missing.is_empty() && unknown.is_empty(),
        "kernels without a test row: {missing:?}; rows without a kernel: {unknown:?}"
    );
}
