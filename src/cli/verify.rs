//! `probity verify --model DIR --golden FILE`: this device against reference values, tensor by tensor.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::json;

use crate::model::error::{ModelError, Result};
use crate::model::golden::{Bounds, Golden, GoldenModel, Row};
use crate::model::weights::Checkpoint;

/// Compare this device with reference values computed by PyTorch (scripts/dump_golden.py makes such a file for any Qwen2
/// model). Exit code 1 if any tensor is out of bounds.
#[derive(Clone, Debug, clap::Args)]
pub struct VerifyArgs {
    /// Model folder: config.json and safetensors weights (no tokenizer needed)
    #[arg(long, value_name = "DIR")]
    pub model: PathBuf,
    /// Reference values
    #[arg(long, value_name = "FILE")]
    pub golden: PathBuf,
    /// auto | cpu | index:N | name:TEXT | pci:BUS | check[:SELECTOR]
    #[arg(long, default_value = "auto")]
    pub device: String,
    /// Bound for logits, hidden states and losses, relative to the tensor's largest magnitude
    #[arg(long, value_name = "X", default_value_t = Bounds::default().forward, value_parser = bound)]
    pub bound: f64,
    /// Bound for gradients, likewise
    #[arg(long, value_name = "X", default_value_t = Bounds::default().gradient, value_parser = bound)]
    pub gradient_bound: f64,
    /// Print JSON instead of the table
    #[arg(long)]
    pub json: bool,
}

fn bound(text: &str) -> std::result::Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x >= 0.0 && x.is_finite() => Ok(x),
        _ => Err("a bound is a number that is not negative, such as 1e-5".into()),
    }
}

/// A model on a device, ready to be asked, and the device's name.
pub type Loaded = (Box<dyn GoldenModel>, String);

/// Runs the command. `load(checkpoint, device, positions)` puts the weights on the device `--device` names, with room for
/// sequences of `positions` tokens.
///
/// Exit code: 0 all within bounds, 1 a tensor is not or the run failed, 2 the files cannot be used.
pub fn run(args: &VerifyArgs, load: impl FnOnce(&Checkpoint, &str, usize) -> Result<Loaded>) -> ExitCode {
    let inputs = Checkpoint::open(&args.model).and_then(|c| Ok((Golden::open(&args.golden, &c.config)?, c)));
    let (golden, checkpoint) = match inputs {
        Ok(inputs) => inputs,
        Err(e) => return fail(&e, 2),
    };
    let bounds = Bounds { forward: args.bound, gradient: args.gradient_bound };
    let verified = load(&checkpoint, &args.device, golden.positions())
        .and_then(|(mut model, device)| Ok((golden.verify(model.as_mut(), &bounds)?, device)));
    let (rows, device) = match verified {
        Ok(verified) => verified,
        Err(e) => return fail(&e, 1),
    };
    let ok = rows.iter().all(|r| r.ok);
    let text = match args.json {
        true => format!(
            "{:#}\n",
            json!({ "model": args.model, "golden": args.golden, "device": device, "ok": ok, "rows": rows })
        ),
        false => format!("{}\n{device}: {}\n", table(&rows), summary(&rows)),
    };
    // A closed pipe (`| head`) changes nothing about the result.
    let _ = std::io::stdout().write_all(text.as_bytes());
    ExitCode::from(u8::from(!ok))
}

fn fail(error: &ModelError, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(code)
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
