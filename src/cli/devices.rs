//! `probity devices`: the adapters of this machine, and which kernel variants run on them.

use std::error::Error;
use std::fmt::Write;
use std::path::Path;

use serde_json::{Value, json};

use crate::cpu::Cpu;
use crate::gpu::{Adapter, Caps, DeviceSpec, GpuOptions, MAX_DISPATCHES, MAX_SECONDS, Selected, list_adapters, select};
use crate::kernels::{Kernel, matmul, registry, select::select as choose};
use crate::model::config::{ModelConfig, Sizes};
use crate::ops::Ops;

/// Options of `probity devices`.
#[derive(clap::Args)]
pub struct Args {
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Also print how work is cut and handed over, and which kernel variant each matrix of the shapes tiny, small and q05b gets, and why
    #[arg(long)]
    explain: bool,
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let adapters = list_adapters();
    let auto = match select(&DeviceSpec::Auto)? {
        Selected::Gpu(adapter) | Selected::Check(adapter) => format!("index:{}", adapter.index),
        Selected::Cpu => "cpu".to_string(),
    };
    let models = if args.explain { models()? } else { Vec::new() };
    let cpu = Cpu::<f32>::new().device_name();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    if args.json {
        let list: Result<Vec<Value>, Box<dyn Error>> = adapters.iter().map(|a| described(a, &models)).collect();
        let out = json!({ "auto": auto, "cpu": { "name": cpu, "threads": threads }, "adapters": list? });
        super::print(&format!("{out:#}\n"));
        return Ok(0);
    }
    let mut text = String::new();
    for adapter in &adapters {
        listed(&mut text, adapter)?;
        if let (true, Ok(caps)) = (args.explain, Caps::of(adapter, &GpuOptions::default())) {
            explained(&mut text, &caps, &models)?;
        }
        text.push('\n');
    }
    if adapters.is_empty() {
        text.push_str(
            "no graphics adapter (Debian and Ubuntu: apt-get install mesa-vulkan-drivers gives a software one)\n\n",
        );
    }
    writeln!(text, "cpu      {cpu}, {threads} threads\nauto     means {auto}")?;
    super::print(&text);
    Ok(0)
}

const MIB: u64 = 1 << 20;

fn listed(text: &mut String, a: &Adapter) -> Result<(), Box<dyn Error>> {
    let l = &a.limits;
    writeln!(text, "index:{}  {}", a.index, a.info.name)?;
    writeln!(text, "  type      {}, {}", a.kind(), a.backend())?;
    writeln!(text, "  driver    {} {}", a.info.driver, a.info.driver_info)?;
    let bus = if a.info.device_pci_bus_id.is_empty() { "none" } else { &a.info.device_pci_bus_id };
    writeln!(text, "  pci       {bus}, vendor {:#06x}, device {:#06x}", a.info.vendor, a.info.device)?;
    writeln!(
        text,
        "  limits    binding {} MiB, buffer {} MiB, workgroup memory {} KiB, {} invocations, subgroups of {} to {}",
        l.max_storage_buffer_binding_size / MIB,
        l.max_buffer_size / MIB,
        l.max_compute_workgroup_storage_size >> 10,
        l.max_compute_invocations_per_workgroup,
        a.info.subgroup_min_size,
        a.info.subgroup_max_size
    )?;
    let mut line = String::from("  features ");
    for name in a.feature_names() {
        if line.len() + name.len() > 110 {
            writeln!(text, "{line}")?;
            line = " ".repeat(11);
        }
        line.push(' ');
        line.push_str(name);
    }
    writeln!(text, "{line}")?;
    let shapes = a.cooperative_shapes();
    if !shapes.is_empty() {
        writeln!(text, "  matrices  {}", shapes.join(", "))?;
    }
    match Caps::of(a, &GpuOptions::default()) {
        Ok(caps) => writeln!(text, "  used      {}", used(&caps))?,
        Err(e) => writeln!(text, "  unusable  {e}")?,
    }
    Ok(())
}

/// What Probity takes of an adapter.
fn used(caps: &Caps) -> String {
    let subgroups = match (caps.subgroup_min, caps.subgroup_max) {
        (0, _) => "no subgroups".to_string(),
        (min, max) if min == max => format!("subgroups of {min}"),
        (min, max) => format!("subgroups of {min} to {max}"),
    };
    let kind = if caps.software { "software" } else { "hardware" };
    format!("bindings of {} MiB, {subgroups}, variants for {kind}", caps.max_binding / MIB)
}

/// How work is handed over.
fn handed_over(caps: &Caps) -> String {
    format!(
        "at most {} dispatches or {:.0} ms at a time, by the rate assumed of its type: {:.0} GFLOP/s and {:.0} GB/s; longer operations are cut",
        MAX_DISPATCHES,
        1e3 * MAX_SECONDS,
        caps.flop_rate / 1e9,
        caps.byte_rate / 1e9
    )
}

fn described(a: &Adapter, models: &[(&'static str, ModelConfig)]) -> Result<Value, Box<dyn Error>> {
    let caps = Caps::of(a, &GpuOptions::default());
    let mut out = json!({
        "index": a.index, "name": a.info.name, "type": a.kind(), "backend": a.backend(),
        "driver": a.info.driver, "driver_info": a.info.driver_info,
        "pci_bus": a.info.device_pci_bus_id, "vendor": a.info.vendor, "device": a.info.device,
        "limits": {
            "max_storage_buffer_binding_size": a.limits.max_storage_buffer_binding_size,
            "max_buffer_size": a.limits.max_buffer_size,
            "max_compute_workgroup_storage_size": a.limits.max_compute_workgroup_storage_size,
            "max_compute_invocations_per_workgroup": a.limits.max_compute_invocations_per_workgroup,
            "max_storage_buffers_per_shader_stage": a.limits.max_storage_buffers_per_shader_stage,
            "max_immediate_size": a.limits.max_immediate_size,
            "min_storage_buffer_offset_alignment": a.limits.min_storage_buffer_offset_alignment,
        },
        "subgroup_min": a.info.subgroup_min_size, "subgroup_max": a.info.subgroup_max_size,
        "features": a.feature_names(),
        "unusable": caps.as_ref().err().map(|e| e.to_string()),
    });
    if let (false, Ok(caps)) = (models.is_empty(), &caps) {
        let mut products = Vec::new();
        for (model, config) in models {
            for p in plan(config, caps) {
                products.push(json!({
                    "model": model, "matrix": p.matrix, "n": p.n, "k": p.k, "pass": p.pass,
                    "variant": p.variant, "windows": p.windows, "why": p.why,
                }));
            }
        }
        let others: Vec<Value> =
            other_kernels(caps).map(|(k, v)| json!({ "kernel": k.name, "variant": v.name, "why": v.why })).collect();
        let submits = json!({
            "max_dispatches": MAX_DISPATCHES, "max_seconds": MAX_SECONDS,
            "flop_per_s": caps.flop_rate, "bytes_per_s": caps.byte_rate,
        });
        out["explain"] = json!({ "matmul": products, "other": others, "submits": submits });
    }
    Ok(out)
}

fn explained(text: &mut String, caps: &Caps, models: &[(&'static str, ModelConfig)]) -> Result<(), Box<dyn Error>> {
    writeln!(text, "  submits   {}", handed_over(caps))?;
    let mut reasons: Vec<(&str, &str)> = Vec::new();
    for (model, config) in models {
        writeln!(
            text,
            "\n  {model:<10} {:>14}  {:<14} {:<10} {:<15} {:<12} windows",
            "[N, K]", "decode", "forward", "dx", "dw"
        )?;
        for products in plan(config, caps).chunks(4) {
            let Some(p) = products.first() else { continue };
            // `matmul_nn_any.sg32x4` prints as `any.sg32x4`: the column says the rest.
            let short = |i: usize| {
                let name = products.get(i).map_or("", |p: &Product| p.variant);
                let plain = ["matmul_nt.", "matmul_nn.", "matmul_tn.", "matmul_nn_", "matmul_tn_", "matmul_"];
                plain.iter().find_map(|prefix| name.strip_prefix(prefix)).unwrap_or(name)
            };
            let shape = format!("[{}, {}]", p.n, p.k);
            let (decode, forward, dx, dw) = (short(0), short(1), short(2), short(3));
            writeln!(
                text,
                "  {:<10} {shape:>14}  {decode:<14} {forward:<10} {dx:<15} {dw:<12} {}",
                p.matrix, p.windows
            )?;
            for p in products {
                let kind = p.variant.rsplit('.').next().unwrap_or(p.variant);
                if !reasons.iter().any(|(k, _)| *k == kind) {
                    reasons.push((kind, p.why));
                }
            }
        }
    }
    text.push('\n');
    for (kind, why) in reasons {
        writeln!(text, "  {kind:<12} {why}")?;
    }
    writeln!(text, "\n  other kernels, for rows that are a multiple of 4 long:")?;
    for (kernel, variant) in other_kernels(caps) {
        writeln!(text, "  {:<20} {:<28} {}", kernel.name, variant.name, variant.why)?;
    }
    Ok(())
}

/// The kernels that do not depend on the shape of a weight matrix, with the variant that runs.
fn other_kernels(caps: &Caps) -> impl Iterator<Item = (&'static Kernel, &'static crate::kernels::Variant)> {
    registry::all().filter(|k| k.family != "matmul").map(move |k| (k, choose(k, TRAINING_ROWS, 1, caps)))
}

/// Tokens of a training batch; any number above 16 chooses the same.
const TRAINING_ROWS: usize = 1024;

/// One product with a weight matrix.
struct Product {
    matrix: &'static str,
    n: usize,
    k: usize,
    pass: &'static str,
    variant: &'static str,
    why: &'static str,
    /// Dispatches because the f32 matrix exceeds a binding.
    windows: u64,
}

/// Every product with every weight matrix of a model.
fn plan(c: &ModelConfig, caps: &Caps) -> Vec<Product> {
    let (q, kv) = (c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim);
    let (h, ff) = (c.hidden_size, c.intermediate_size);
    let matrices = [
        ("q_proj", q, h),
        ("k_proj", kv, h),
        ("v_proj", kv, h),
        ("o_proj", h, q),
        ("gate_proj", ff, h),
        ("up_proj", ff, h),
        ("down_proj", h, ff),
        ("lm_head", c.vocab_size, h),
    ];
    let mut out = Vec::new();
    for (matrix, n, k) in matrices {
        let windows = (4 * (n * k) as u64).div_ceil(caps.max_binding);
        let mut put = |pass, kernel, rows, cols| {
            let v = choose(kernel, rows, cols, caps);
            out.push(Product { matrix, n, k, pass, variant: v.name, why: v.why, windows });
        };
        // Decoding does these together.
        let (kernel, cols) = match matrix {
            "q_proj" | "k_proj" | "v_proj" => (matmul::THREE, q + 2 * kv),
            "gate_proj" | "up_proj" => (matmul::GATED, 2 * ff),
            _ => (matmul::NT, n),
        };
        put("decode", kernel, 1, cols);
        put("forward", matmul::NT, TRAINING_ROWS, n);
        put("dx", matmul::nn_kernel(n, k, caps), TRAINING_ROWS, k);
        put("dw", matmul::tn_kernel(n), n, k);
    }
    out
}

/// The shapes of the published comparisons.
fn models() -> Result<Vec<(&'static str, ModelConfig)>, Box<dyn Error>> {
    let mut out = Vec::new();
    for name in ["tiny", "small", "q05b"] {
        if let Some(sizes) = Sizes::named(name) {
            out.push((name, sizes.config(Path::new(name))?));
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(software: bool, subgroup: u32, binding: u64) -> Caps {
        Caps {
            cooperative: 0,
            timestamps: false,
            software,
            subgroup_min: subgroup,
            subgroup_max: subgroup,
            max_binding: binding,
            max_buffer: 1 << 31,
            flop_rate: 1e12,
            byte_rate: 1e11,
        }
    }

    #[test]
    fn the_plan_follows_the_adapter() {
        let q05b = &models().unwrap()[2].1;
        let find = |caps: &Caps, matrix: &str, pass: &str| {
            let p = plan(q05b, caps).into_iter().find(|p| p.matrix == matrix && p.pass == pass).unwrap();
            (p.variant, p.windows)
        };
        let lavapipe = caps(true, 8, 128 * MIB);
        assert_eq!(find(&lavapipe, "q_proj", "decode"), ("matmul_three.row1", 1));
        assert_eq!(find(&lavapipe, "lm_head", "forward"), ("matmul_nt.sg32x4", 5));
        assert_eq!(find(&lavapipe, "lm_head", "dx"), ("matmul_nn.sg32x4", 5));
        assert_eq!(find(&caps(true, 4, 128 * MIB), "up_proj", "dw"), ("matmul_tn.reg8x8", 1));
        let card = caps(false, 32, 2048 * MIB - 256);
        assert_eq!(find(&card, "q_proj", "decode"), ("matmul_three.narrow4", 1));
        assert_eq!(find(&card, "up_proj", "decode"), ("matmul_gated.skinny16", 1));
        assert_eq!(find(&card, "down_proj", "forward"), ("matmul_nt.tile64", 1));
        assert_eq!(find(&card, "up_proj", "forward"), ("matmul_nt.tile128x64", 1));
        assert_eq!(find(&card, "lm_head", "dx"), ("matmul_nn_split.tile64", 1));
    }
}
