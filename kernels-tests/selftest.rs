//! The table of `probity verify --kernels`, on every device of the tests.

use probity::cpu::Cpu;
use probity::ops::selftest;

#[test]
fn every_operation_passes() {
    crate::adapters::for_each_gpu(|gpu| {
        let rows = selftest::run(gpu, &Cpu::<f64>::new());
        let failed: Vec<_> = rows.iter().filter(|r| !r.ok).collect();
        assert!(!rows.is_empty() && failed.is_empty(), "{failed:#?}");
    });
}
