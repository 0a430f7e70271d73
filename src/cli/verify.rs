//! `probity verify --model DIR --golden FILE`: this device against reference values, tensor by tensor.
//! `probity verify --kernels`: every operation of this device against plain loops in f64.

use std::error::Error;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::backend::{DeviceArgs, Job};
use super::console::Progress;
use super::fetch::FetchArg;
use crate::cpu::Cpu;
use crate::generate::source::{Source, Storage};
use crate::model::golden::{Bounds, Golden, Row};
use crate::ops::{Ops, selftest};
use crate::train::golden::Verified;

/// Options of `probity verify`.
#[derive(Clone, Debug, clap::Args)]
#[command(
    override_usage = "probity verify --model <DIR> --golden <FILE> [OPTIONS]\n       probity verify --kernels [OPTIONS]"
)]
pub struct Args {
    /// Model folder (config.json and safetensors weights; no tokenizer needed), or ORG/NAME[@REVISION] in the local cache
    #[arg(long, value_name = "DIR", requires = "golden", required_unless_present = "kernels")]
    model: Option<PathBuf>,
    /// Reference values computed by PyTorch; scripts/dump_golden.py makes such a file for any model that Probity runs
    #[arg(long, value_name = "FILE", requires = "model", required_unless_present = "kernels")]
    golden: Option<PathBuf>,
    /// Check every operation against plain loops in f64 instead, on small awkward shapes; needs no files
    #[arg(long, conflicts_with_all = ["model", "golden", "bound", "gradient_bound"])]
    kernels: bool,
    #[command(flatten)]
    fetch: FetchArg,
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

/// Runs the command. Exit code: 0 all within bounds, 1 something is not or the run failed, 2 the files cannot be used.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    match (&args.model, &args.golden) {
        (Some(model), Some(golden)) if !args.kernels => against_golden(&args, model, golden),
        _ => kernels(&args),
    }
}

fn against_golden(args: &Args, model: &Path, golden_file: &Path) -> Result<i32, Box<dyn Error>> {
    args.fetch.ensure(&model.to_string_lossy(), Progress::Auto)?;
    let source = Source::open(&model.to_string_lossy())?;
    let golden = Golden::open(golden_file, &source.checkpoint.config)?;
    let bounds = Bounds { forward: args.bound, gradient: args.gradient_bound };
    let (rows, device) = args.device.run(Verify { source, golden, bounds })?;
    let ok = rows.iter().all(|r| r.ok);
    if args.json {
        let value = json!({ "model": model, "golden": golden_file, "device": device, "ok": ok, "rows": rows });
        super::print(&format!("{value:#}\n"));
    } else {
        let errors = rows.iter().map(|r| (r.tensor.as_str(), r.ok, r.max_rel / r.bound));
        super::print(&format!("{}\n{device}: {}\n", table(&rows), summary("tensors", errors)));
    }
    Ok(i32::from(!ok))
}

fn kernels(args: &Args) -> Result<i32, Box<dyn Error>> {
    let (rows, device) = args.device.run(Kernels)?;
    let ok = rows.iter().all(|r| r.ok);
    if args.json {
        super::print(&format!("{:#}\n", json!({ "device": device, "ok": ok, "rows": rows })));
    } else {
        // What could not run is worse than any error.
        let error = |r: &selftest::Row| if r.error.is_some() { f64::INFINITY } else { r.max_rel / r.bound };
        let errors = rows.iter().map(|r| (r.op, r.ok, error(r)));
        super::print(&format!("{}\n{device}: {}\n", kernel_table(&rows), summary("cases", errors)));
    }
    Ok(i32::from(!ok))
}

struct Kernels;

impl Job for Kernels {
    type Out = (Vec<selftest::Row>, String);
    fn run<O: Ops>(&mut self, o: &O) -> Result<Self::Out, Box<dyn Error>> {
        Ok((selftest::run(o, &Cpu::<f64>::new()), o.device_name()))
    }
}

struct Verify {
    source: Source,
    golden: Golden,
    bounds: Bounds,
}

impl Job for Verify {
    type Out = (Vec<Row>, String);
    fn run<O: Ops>(&mut self, o: &O) -> Result<Self::Out, Box<dyn Error>> {
        // Gradients need f32 matrices; a bf16 checkpoint expands exactly.
        let model = self.source.load(o, self.golden.positions(), Storage::F32)?;
        let rows = self.golden.verify(&mut Verified { o, model: &model }, &self.bounds)?;
        Ok((rows, o.device_name()))
    }
}

/// One line per tensor.
fn table(rows: &[Row]) -> String {
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
            if ids { "exact".into() } else { bound_text(r.bound) },
            verdict(r.ok),
        ]);
    }
    aligned(&lines, &[0, 1, 9])
}

/// One line per operation and shape, and under the table what could not run.
fn kernel_table(rows: &[selftest::Row]) -> String {
    let head = ["op", "shape", "output", "max abs", "max rel", "worst index", "got", "want", "bound", ""];
    let mut lines: Vec<[String; 10]> = vec![head.map(String::from)];
    let mut errors = String::new();
    for r in rows {
        let (op, shape) = (r.op.to_string(), format!("{:?}", r.shape));
        let bound = bound_text(r.bound);
        let mut cells = match &r.error {
            Some(e) => {
                errors.push_str(&format!("\n{op} {shape}: {e}\n"));
                std::array::from_fn(|_| "-".into())
            }
            None => [
                String::new(),
                String::new(),
                r.output.into(),
                format!("{:.1e}", r.max_abs),
                format!("{:.1e}", r.max_rel),
                r.worst_index.to_string(),
                format!("{:.6e}", r.got),
                format!("{:.6e}", r.want),
                String::new(),
                String::new(),
            ],
        };
        (cells[0], cells[1], cells[8], cells[9]) = (op, shape, bound, verdict(r.ok));
        lines.push(cells);
    }
    aligned(&lines, &[0, 1, 2, 9]) + &errors
}

fn verdict(ok: bool) -> String {
    if ok { "ok".into() } else { "FAIL".into() }
}

fn bound_text(bound: f64) -> String {
    if bound == 0.0 { "exact".into() } else { format!("{bound:.0e}") }
}

/// Columns aligned: those of `text` to the left, the others, which are numbers, to the right.
fn aligned<const N: usize>(lines: &[[String; N]], text: &[usize]) -> String {
    let widths: [usize; N] = std::array::from_fn(|c| lines.iter().map(|l| l[c].chars().count()).max().unwrap_or(0));
    let mut out = String::new();
    for line in lines {
        let cells = line.iter().zip(widths).enumerate().map(|(c, (cell, w))| match text.contains(&c) {
            true => format!("{cell:<w$}"),
            false => format!("{cell:>w$}"),
        });
        out.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        out.push('\n');
    }
    out
}

/// `66 tensors within bounds`, or which is worst; of each its name, whether it is ok and its error as a multiple of the bound.
fn summary<'a>(what: &str, rows: impl Iterator<Item = (&'a str, bool, f64)>) -> String {
    let rows: Vec<_> = rows.collect();
    let failed = rows.iter().filter(|r| !r.1);
    match failed.clone().max_by(|a, b| a.2.total_cmp(&b.2)) {
        None => format!("{} {what} within bounds", rows.len()),
        Some(worst) => {
            format!("{} of {} {what} out of bounds, `{}` by most", failed.count(), rows.len(), worst.0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    #[test]
    fn one_of_the_two_forms_is_required() {
        let parse = |line: &str| Line::try_parse_from(std::iter::once("verify").chain(line.split_whitespace()));
        assert!(parse("--kernels --device cpu --json").is_ok_and(|l| l.args.kernels));
        assert!(parse("--model a --golden b --bound 1e-4").is_ok_and(|l| !l.args.kernels));
        for wrong in
            ["", "--device cpu", "--model a", "--golden b", "--kernels --model a --golden b", "--kernels --bound 1"]
        {
            assert!(parse(wrong).is_err(), "`{wrong}` should be refused");
        }
    }

    #[test]
    fn failures_show() {
        let row = selftest::Row {
            op: "swiglu",
            shape: &[3, 5],
            output: "y",
            max_abs: f64::INFINITY,
            max_rel: f64::INFINITY,
            worst_index: 7,
            got: f32::NAN,
            want: 0.5,
            bound: 5e-6,
            ok: false,
            error: None,
        };
        let rows = [selftest::Row { op: "copy", bound: 0.0, ok: true, max_rel: 0.0, ..row.clone() }, row.clone()];
        let lines: Vec<String> =
            kernel_table(&rows).lines().map(|l| l.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
        assert_eq!(lines[1], "copy [3, 5] y inf 0.0e0 7 NaN 5.000000e-1 exact ok");
        assert_eq!(lines[2], "swiglu [3, 5] y inf inf 7 NaN 5.000000e-1 5e-6 FAIL");
        let lost = [selftest::Row { error: Some("kernel swiglu: the device was lost".into()), ..row }];
        let text = kernel_table(&lost);
        assert!(text.ends_with("FAIL\n\nswiglu [3, 5]: kernel swiglu: the device was lost\n"), "{text}");
        let errors = || [("a", true, 0.1), ("b", false, 3.0), ("c", false, f64::INFINITY)].into_iter();
        assert_eq!(summary("cases", errors()), "2 of 3 cases out of bounds, `c` by most");
        assert_eq!(summary("cases", errors().take(1)), "1 cases within bounds");
    }
}
