use super::cases::{SAMPLINGS, sample_at};
use super::*;
use crate::cpu::{Cpu, Kernels, Plain};
use std::collections::BTreeSet;

fn failures(rows: &[Row]) -> Vec<&Row> {
    rows.iter().filter(|r| !r.ok).collect()
}

#[test]
fn fast_cpu_passes() {
    let rows = run(&Cpu::<f32>::new(), &Cpu::<f64>::new());
    assert!(failures(&rows).is_empty(), "{:#?}", failures(&rows));
    assert_eq!(rows.iter().map(|r| r.op).collect::<BTreeSet<_>>(), ops().iter().copied().collect());
    // f32 is not f64: a table of zeros would compare something with itself.
    assert!(rows.iter().any(|r| r.op == "matmul_nt" && r.max_rel > 0.0));
}

/// Methods that move data, name things or plan on the host.
const NOT_ARITHMETIC: &[&str] = &[
    "device_name",
    "strands",
    "memory",
    "new_peak",
    "ceilings",
    "profile",
    "steps_ahead",
    "each_strand",
    "upload",
    "upload_bf16",
    "upload_quant",
    "upload_index",
    "zeros",
    "zeros_bf16",
    "read",
    "read_index",
    "read_steps",
    "write",
    "sync",
    "attn_plan",
    "scatter_plan",
    "rope_table",
];

#[test]
fn every_method_of_the_door_has_a_case() {
    let source = include_str!("../mod.rs").split_once("pub trait Ops: Sync {").unwrap().1;
    let methods: BTreeSet<&str> = source
        .lines()
        .filter_map(|l| l.strip_prefix("    fn ")?.split_once(['(', '<']).map(|(name, _)| name))
        .filter(|name| !NOT_ARITHMETIC.contains(name))
        .collect();
    assert_eq!(methods, ops().iter().copied().collect::<BTreeSet<_>>());
}

/// A device with one fault.
struct Faulty;

impl Kernels<f32> for Faulty {
    fn name(&self) -> String {
        "faulty".into()
    }
    fn swiglu(&self, y: &mut [f32], g: &[f32], u: &[f32]) {
        Plain.swiglu(y, g, u);
        if let Some(last) = y.get_mut(500) {
            *last = f32::NAN;
        }
    }
    fn bias_bwd(&self, db: &mut [f32], dy: &[f32]) {
        Plain.bias_bwd(db, dy);
        if db.len() == 33 {
            db[4] += 1e-3;
        }
    }
}

#[test]
fn faults_are_found_and_named() {
    let rows = run(&Cpu::<f32>::with(Faulty), &Cpu::<f64>::new());
    let found: Vec<_> = failures(&rows).into_iter().map(|r| (r.op, r.shape, r.output, r.worst_index)).collect();
    // The gate of an MLP in one go is made of the faulty operation here.
    let want: [(&str, &[usize], &str, usize); 6] = [
        ("bias_bwd", &[65, 33], "db", 4),
        ("gated", &[33, 97, 128], "y", 500),
        ("gated", &[70, 130, 100], "y", 500),
        ("gated", &[3, 1030, 896], "y", 500),
        ("swiglu", &[33, 17], "y", 500),
        ("swiglu", &[65, 1001], "y", 500),
    ];
    assert_eq!(found, want);
}

/// Rounding on a device must not change a draw of the table: temperatures a few parts in 1e5 away draw the same ids.
#[test]
fn draws_are_not_at_an_edge() {
    let o = Cpu::<f64>::new();
    for shape in [[65, 7], [33, 258], [17, 4099]] {
        let [low, mid, high] = [1.0 - 2e-5, 1.0, 1.0 + 2e-5].map(|f| sample_at(&o, &shape, f).unwrap());
        for (ids, _, _) in SAMPLINGS {
            let of = |outputs: &Outputs| outputs.iter().find(|(name, _)| *name == ids).map(|(_, v)| v.clone()).unwrap();
            assert!(of(&low) == of(&mid) && of(&mid) == of(&high), "{shape:?}: {ids}");
        }
    }
}
