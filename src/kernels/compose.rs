//! Composition of a WGSL module: constants, weight accessor, helpers, body, by concatenation.

use super::registry::{Const, Needs, Part, Variant};
use crate::ops::Dtype;
use std::fmt::Write;

/// Accessor of the weight operand: declares binding 0 and `w4(row, k4) -> vec4<f32>`. The body defines
/// `w_stride4() -> u32`, the vec4s per row.
fn accessor(format: Dtype) -> &'static Part {
    static F32: Part = crate::part!("access/w_f32.wgsl");
    static BF16: Part = crate::part!("access/w_bf16.wgsl");
    match format {
        Dtype::F32 => &F32,
        Dtype::Bf16 => &BF16,
    }
}

/// WGSL text of a variant with the given weight format and dispatch-time constants.
pub fn compose(variant: &Variant, weight: Option<Dtype>, consts: &[Const]) -> String {
    let mut text = format!("// {}\n", variant.name);
    if matches!(variant.needs, Needs::Cooperative(_)) {
        text.push_str("enable f16;\nenable wgpu_cooperative_matrix;\n");
    }
    for (name, value) in variant.consts.iter().chain(consts) {
        let _ = writeln!(text, "const {name}: u32 = {value}u;");
    }
    for part in weight.map(accessor).into_iter().chain(variant.parts) {
        let _ = writeln!(text, "// ---- shaders/{}", part.file);
        text.push_str(part.text);
        text.push('\n');
    }
    text
}

/// Every (format, constants) pair a variant is composed with: what the lint and the cross-compilation test walk over.
pub fn compositions(variant: &'static Variant) -> Vec<(Option<Dtype>, &'static [Const])> {
    let formats: Vec<Option<Dtype>> =
        if variant.weights.is_empty() { vec![None] } else { variant.weights.iter().copied().map(Some).collect() };
    formats.into_iter().flat_map(|f| variant.samples.iter().map(move |s| (f, *s))).collect()
}
