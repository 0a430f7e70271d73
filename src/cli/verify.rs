//! `probity verify --model DIR --golden FILE`: this device against reference values, tensor by tensor.

use std::error::Error;
use std::path::PathBuf;

use serde_json::json;

use super::backend::{DeviceArgs, Job};
use crate::generate::source::Source;
use crate::model::golden::{Bounds, Golden, Row};
use crate::ops::Ops;
use crate::train::golden::Verified;

/// Options of `probity verify`.
#[derive(Clone, Debug, clap::Args)]
pub struct Args {
    /// Model folder: config.json and safetensors weights (no tokenizer needed)
    #[arg(long, value_name = "DIR", requires = "golden")]
    model: PathBuf,
    /// Reference values computed by PyTorch; scripts/dump_golden.py makes such a file for any Qwen2 model
    #[arg(long, value_name = "FILE")]
    golden: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// Bound for logits, hidden states and losses, relative to the tensor's largest magnitude
    #[arg(long, value_name = "X", default_value_t = Bounds::default().forward, value_parser = bound)]
    bound: f64,
    /// Bound for gradients, likewise
    #[arg(long, value_name = "X", default_value_t = Bounds::default().gradient, value_parser = bound)]
    gradient_bound: f64,
    /// Print JSON instead of the table
    #[arg(long)]
    json: bool,
}

fn bound(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x >= 0.0 && x.is_finite() => Ok(x),
        _ => Err("a bound is a number that is not negative, such as 1e-5".into()),
    }
}

/// Runs the command. Exit code: 0 all within bounds, 1 a tensor is not or the run failed, 2 the files cannot be used.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let source = Source::open(&args.model.to_string_lossy())?;
    let golden = Golden::open(&args.golden, &source.checkpoint.config)?;
    let bounds = Bounds { forward: args.bound, gradient: args.gradient_bound };
    let (rows, device) = args.device.run(Verify { source, golden, bounds })?;
    let ok = rows.iter().all(|r| r.ok);
    if args.json {
        let value = json!({ "model": args.model, "golden": args.golden, "device": device, "ok": ok, "rows": rows });
        super::print(&format!("{value:#}\n"));
    } else {
        super::print(&format!("{}\n{device}: {}\n", table(&rows), summary(&rows)));
    }
    Ok(i32::from(!ok))
}

struct Verify {
    source: Source,
    golden: Golden,
    bounds: Bounds,
}

impl Job for Verify {
    type Out = (Vec<Row>, String);
    fn run<O: Ops>(self, o: &O) -> Result<Self::Out, Box<dyn Error>> {
        // Gradients need f32 matrices; a bf16 checkpoint expands exactly.
        let model = self.source.load(o, self.golden.positions(), true)?;
        let rows = self.golden.verify(&mut Verified { o, model: &model }, &self.bounds)?;
        Ok((rows, o.device_name()))
    }
}

/// One line per tensor, columns aligned.
pub fn table(rows: &[Row]) -> String {
    let head = ["tensor", "shape", "max abs", "max rel", "nmse", "worst index", "got", "want", "bound", ""];
    let mut lines: Vec<[String; 10]> = vec![head.map(String::from)];
    for r in rows {
        let ids = r.tensor == "greedy.tokens";
        let number = |x: f64| if ids { format!("{x}") } else { format!("{x:.6e}") };
        let error = |x: f64| if ids { "-".into() } else { format!("{x:.1e}") };
        lines.push([
            r.tensor.clone(),
            format!("{:?}", r.shape),
            if ids { format!("{} differ", r.max_abs) } else { error(r.max_abs) },
            error(r.max_rel),
            error(r.nmse),
            format!("{:?}", r.worst_index),
            number(r.got),
            number(r.want),
            if ids { "exact".into() } else { format!("{:.0e}", r.bound) },
            if r.ok { "ok".into() } else { "FAIL".into() },
        ]);
    }
    let widths: [usize; 10] = std::array::from_fn(|c| lines.iter().map(|l| l[c].chars().count()).max().unwrap_or(0));
    let mut out = String::new();
    for line in &lines {
        // Names and shapes are text, the rest numbers.
        let cells = line.iter().zip(widths).enumerate().map(|(c, (cell, w))| match c {
            0 | 1 | 9 => format!("{cell:<w$}"),
            _ => format!("{cell:>w$}"),
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// `66 tensors within bounds`, or which is worst.
fn summary(rows: &[Row]) -> String {
    let failed: Vec<&Row> = rows.iter().filter(|r| !r.ok).collect();
    let Some(worst) = failed.iter().max_by(|a, b| (a.max_rel / a.bound).total_cmp(&(b.max_rel / b.bound))) else {
        return format!("{} tensors within bounds", rows.len());
    };
    format!("{} of {} tensors out of bounds, `{}` by most", failed.len(), rows.len(), worst.tensor)
}
