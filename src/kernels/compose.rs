//! Composition of a WGSL module: constants, weight accessor, helpers, body, by concatenation.

use super::registry::{Const, Needs, Part, Variant};
use crate::ops::{Dtype, Quant};
use std::fmt::Write;

/// Accessor of the weight operand: declares binding 0 and `w4(row, k4) -> vec4<f32>`; for further weights of the same format
/// `expand(codes, scales, k4)` of what is at `code_at(row, k4)` and `scale_at(row, k4)`. The body defines `w_stride4() -> u32`, the vec4s per
/// row.
fn accessor(format: Dtype) -> &'static [Part] {
    const GROUPS: Part = crate::part!("access/groups.wgsl");
    const CODES4: Part = crate::part!("access/codes4.wgsl");
    match format {
        Dtype::F32 => &[crate::part!("access/w_f32.wgsl")],
        Dtype::Bf16 => &[crate::part!("access/w_bf16.wgsl")],
        Dtype::Quant(Quant::Int8) => &[crate::part!("access/levels_int8.wgsl"), GROUPS],
        Dtype::Quant(Quant::Int4) => &[CODES4, crate::part!("access/levels_int4.wgsl"), GROUPS],
        Dtype::Quant(Quant::Nf4) => &[CODES4, crate::part!("access/levels_nf4.wgsl"), GROUPS],
    }
}

/// Constants of an accessor.
fn of_format(format: Dtype) -> Vec<Const> {
    match format {
        Dtype::F32 | Dtype::Bf16 => Vec::new(),
        Dtype::Quant(q) => vec![("PER_WORD4", 8 / q.bits() as u32), ("GROUP4", q.group() as u32 / 4)],
    }
}

/// WGSL text of a variant with the given weight format and dispatch-time constants.
pub fn compose(variant: &Variant, weight: Option<Dtype>, consts: &[Const]) -> String {
    let mut text = format!("// {}\n", variant.name);
    if matches!(variant.needs, Needs::Cooperative(_)) {
        text.push_str("enable f16;\nenable wgpu_cooperative_matrix;\n");
    }
    for (name, value) in variant.consts.iter().chain(consts).chain(&weight.map(of_format).unwrap_or_default()) {
        let _ = writeln!(text, "const {name}: u32 = {value}u;");
    }
    for part in weight.map(accessor).unwrap_or_default().iter().chain(variant.parts) {
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
