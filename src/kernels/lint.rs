//! Checks of a composed module that need no GPU: what naga validates, and the rules of this project that it does not know.

use super::uniformity;
use crate::gpu::Caps;
use naga::proc::Layouter;
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, Literal, MathFunction, Module};

/// WebGPU's default limits, which every variant keeps.
const MAX_STORAGE_BINDINGS: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16 << 10;
const MAX_INVOCATIONS: u32 = 256;

/// Parses and validates `text`; an error is one line per problem.
pub fn parse(text: &str) -> Result<(Module, ModuleInfo), Vec<String>> {
    let module = naga::front::wgsl::parse_str(text).map_err(|e| vec![e.emit_to_string(text)])?;
    let capabilities = Capabilities::IMMEDIATES
        | Capabilities::SUBGROUP
        | Capabilities::COOPERATIVE_MATRIX
        | Capabilities::SHADER_FLOAT16;
    let info = Validator::new(ValidationFlags::all(), capabilities)
        .subgroup_stages(naga::valid::ShaderStages::COMPUTE)
        .subgroup_operations(naga::valid::SubgroupOperationSet::all())
        .validate(&module)
        .map_err(|e| vec![e.emit_to_string(text)])?;
    Ok((module, info))
}

/// Every broken rule of the entry point `entry` of a composed module. The rules: it parses and validates; every
/// binding line ends in a shape comment `// [..]`; the entry's bindings are numbered from 0 without gaps in group 0, at most
/// 8 of them; at most 16 KiB of workgroup memory, 256 invocations and 64 bytes of immediates; `x * x` instead of `pow(x, 2)`; no
/// barrier after a `return` nor under a condition that may differ within a workgroup.
pub fn check(text: &str, entry: &str) -> Vec<String> {
    let (module, info) = match parse(text) {
        Ok(parsed) => parsed,
        Err(problems) => return problems,
    };
    let Some(at) = module.entry_points.iter().position(|e| e.name == entry) else {
        return vec![format!("no entry point {entry}")];
    };
    let mut problems = Vec::new();
    for line in text.lines().filter(|l| l.contains("@binding(")) {
        let comment = line.split_once("//").map_or("", |(_, c)| c);
        if !(comment.contains('[') && comment.contains(']')) {
            problems.push(format!("binding without a shape comment: {}", line.trim()));
        }
    }
    resources(&module, &info, at, &mut problems);
    let size = module.entry_points[at].workgroup_size;
    if size.iter().product::<u32>() > MAX_INVOCATIONS {
        problems.push(format!("a workgroup of {size:?} is more than {MAX_INVOCATIONS} invocations"));
    }
    squares(&module, &mut problems);
    problems.extend(uniformity::check(&module, &module.entry_points[at].function, text));
    problems
}

/// Bindings, workgroup memory and immediates that the entry point uses.
fn resources(module: &Module, info: &ModuleInfo, entry: usize, problems: &mut Vec<String>) {
    let mut layouter = Layouter::default();
    if let Err(e) = layouter.update(module.to_ctx()) {
        problems.push(format!("no layout: {e}"));
        return;
    }
    let uses = info.get_entry_point(entry);
    let (mut bindings, mut workgroup_bytes, mut immediate_bytes) = (Vec::new(), 0, 0);
    for (handle, global) in module.global_variables.iter().filter(|(h, _)| !uses[*h].is_empty()) {
        match (global.space, &global.binding) {
            (AddressSpace::WorkGroup, _) => workgroup_bytes += layouter[global.ty].size,
            (AddressSpace::Immediate, _) => immediate_bytes += layouter[global.ty].size,
            (AddressSpace::Storage { .. }, Some(binding)) if binding.group == 0 => bindings.push(binding.binding),
            (AddressSpace::Private, _) => {}
            _ => {
                problems.push(format!("{:?} is not a storage buffer of group 0", module.global_variables[handle].name))
            }
        }
    }
    bindings.sort_unstable();
    if !bindings.iter().copied().eq(0..bindings.len() as u32) {
        problems.push(format!("the bindings used, {bindings:?}, do not count from 0 without gaps"));
    }
    if bindings.len() > MAX_STORAGE_BINDINGS {
        problems.push(format!("{} storage bindings are more than {MAX_STORAGE_BINDINGS}", bindings.len()));
    }
    if workgroup_bytes > MAX_WORKGROUP_BYTES {
        problems.push(format!("{workgroup_bytes} bytes of workgroup memory are more than {MAX_WORKGROUP_BYTES}"));
    }
    if immediate_bytes > Caps::IMMEDIATE_BYTES {
        problems.push(format!("{immediate_bytes} bytes of immediates are more than {}", Caps::IMMEDIATE_BYTES));
    }
}

/// `pow(x, 2)` is slow and NaN for a negative x on some drivers.
fn squares(module: &Module, problems: &mut Vec<String>) {
    let functions = module.functions.iter().map(|(_, f)| f).chain(module.entry_points.iter().map(|e| &e.function));
    for f in functions {
        for (_, expression) in f.expressions.iter() {
            let Expression::Math { fun: MathFunction::Pow, arg1: Some(exponent), .. } = *expression else { continue };
            let exponent = match f.expressions[exponent] {
                Expression::Splat { value, .. } => value,
                _ => exponent,
            };
            if matches!(f.expressions[exponent], Expression::Literal(Literal::F32(2.0))) {
                problems.push(format!("pow(x, 2) in {:?}: write x * x", f.name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Problems of a module with one buffer and the given body of a 64-wide entry point.
    fn problems(body: &str) -> Vec<String> {
        let text = format!(
            "struct Params {{ n: u32 }}\nvar<immediate> p: Params;\nvar<workgroup> shared_sum: array<f32, 64>;\n\
             @group(0) @binding(0) var<storage, read> len: array<u32>; // [N]\n\
             @group(0) @binding(1) var<storage, read_write> x: array<f32>; // [N]\n\
             fn tile(at: u32) -> u32 {{ return at * 4u; }}\n\
             fn join() {{ workgroupBarrier(); }}\n\
             @compute @workgroup_size(64)\n\
             fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {{\n\
             shared_sum[lane] = x[lane] + f32(len[0] + p.n);\n{body}\n}}\n"
        );
        check(&text, "main")
    }

    #[test]
    fn uniform_barriers_pass() {
        for body in [
            "workgroupBarrier();",
            "for (var i = 0u; i < p.n; i += 8u) { workgroupBarrier(); }",
            "if (group.x < p.n) { workgroupBarrier(); }",
            "let end = len[tile(group.x)]; for (var i = 0u; i < end; i++) { join(); }",
            "for (var s = 32u; s > 0u; s >>= 1u) { if (lane < s) { shared_sum[lane] += shared_sum[lane + s]; } workgroupBarrier(); }",
            "workgroupBarrier(); if (lane > p.n) { return; } x[lane] = 1.0;",
            "if (p.n == 0u) { workgroupBarrier(); return; } else { workgroupBarrier(); }",
            "var i = 0u; loop { workgroupBarrier(); i += 1u; if (i == p.n) { break; } }",
            "for (var i = 0u; i < lane; i++) { if (i > 3u) { break; } } workgroupBarrier();",
        ] {
            assert_eq!(problems(body), Vec::<String>::new(), "{body}");
        }
    }

    #[test]
    fn divergent_barriers_are_found() {
        for body in [
            "if (lane < 3u) { workgroupBarrier(); }",
            "if (lane < 3u) { join(); }",
            "if (lane > p.n) { return; } workgroupBarrier();",
            "if (p.n == 0u) { return; } workgroupBarrier();",
            "for (var i = 0u; i < lane; i++) { workgroupBarrier(); }",
            "for (var i = lane; i < p.n; i += 64u) { workgroupBarrier(); }",
            "for (var i = 0u; i < p.n; i++) { if (x[i] > 0.0) { break; } workgroupBarrier(); }",
            "for (var i = 0u; i < p.n; i++) { workgroupBarrier(); if (lane == i) { break; } }",
            "for (var i = 0u; i < p.n; i++) { if (lane == i) { continue; } workgroupBarrier(); }",
            "var n = p.n; if (lane == 0u) { n = 3u; } for (var i = 0u; i < n; i++) { workgroupBarrier(); }",
            "if (tile(lane) > 3u) { workgroupBarrier(); }",
            "if (len[lane] > 3u) { workgroupBarrier(); }",
            "switch lane { case 0u: { workgroupBarrier(); } default: {} }",
            "if (shared_sum[0] > 1.0) { workgroupBarrier(); }",
        ] {
            let found = problems(body);
            assert!(found.iter().any(|p| p.contains("barrier")), "{body}: {found:?}");
        }
    }

    #[test]
    fn other_rules() {
        assert!(problems("x[lane] = pow(x[lane], 2.0);")[0].contains("x * x"));
        assert!(problems("x[lane] = unknown;").len() == 1);
        let module = |head: &str, size: &str, body: &str| {
            check(&format!("{head}\n@compute @workgroup_size({size})\nfn main() {{ {body} }}"), "main")
        };
        let bare = "@group(0) @binding(0) var<storage, read_write> x: array<f32>;";
        assert!(module(bare, "1", "x[0] = 1.0;")[0].contains("shape comment"));
        let second = "@group(0) @binding(1) var<storage, read_write> x: array<f32>; // [N]";
        assert!(module(second, "1", "x[0] = 1.0;")[0].contains("without gaps"));
        assert!(module("", "257", "")[0].contains("257"));
        assert!(module("var<workgroup> t: array<f32, 4097>;", "1", "t[0] = 1.0;")[0].contains("16388"));
        assert!(
            module("var<immediate> p: array<vec4<u32>, 5>;", "1", "if (p[0].x == 0u) { return; }")[0].contains("80")
        );
        let many: String = (0..9)
            .map(|i| format!("@group(0) @binding({i}) var<storage, read_write> b{i}: array<f32>; // [N]\n"))
            .collect();
        let body: String = (0..9).map(|i| format!("b{i}[0] = 1.0;")).collect();
        assert!(module(&many, "1", &body)[0].contains("9 storage bindings"));
        assert_eq!(check("", "main"), ["no entry point main"]);
    }
}
