//! `probity bench`: what a device does at best, then kernels, a training step, a GRPO step, prefill and decoding on it.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::time::Instant;

use serde::Serialize;

use super::backend::{DeviceArgs, Job};
use super::{bench_kernels, bench_models};
use crate::config::gib;
use crate::model::config::{ModelConfig, Sizes};
use crate::model::params::Module;
use crate::ops::selftest::random;
use crate::ops::{Ceiling, Ops};
use crate::train::optim::Precision;

/// Options of `probity bench`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    device: DeviceArgs,
    /// What to measure: ceilings, matmul, train, grpo, prefill, decode; kernels = every operation alone; profile = a GPU's own time by kernel in a decoding
    /// step and a training step
    #[arg(long, value_delimiter = ',', default_value = "ceilings,matmul,train,grpo,prefill,decode")]
    pub(super) what: Vec<String>,
    /// Model shapes: tiny, small, q05b
    #[arg(long, value_delimiter = ',', default_value = "tiny")]
    shapes: Vec<String>,
    /// How models are stored: f32, bf16 as checkpoints are, or int8, int4 and nf4 (to prefill and decode)
    #[arg(long, default_value = "f32")]
    pub(super) precision: Precision,
    /// Sample with temperature 0.7 and this top-p instead of greedily (decode) or from everything (grpo)
    #[arg(long)]
    pub(super) top_p: Option<f32>,
    /// Prompts, completions of each and their length, of every GRPO step
    #[arg(long, value_delimiter = ',', default_value = "4x4x150,4x8x64,4x8x16", value_parser = grpo_shape)]
    pub(super) grpo: Vec<[usize; 3]>,
    /// Sequences decoded together
    #[arg(long, value_delimiter = ',', default_value = "1,8,32", value_parser = at_least_one)]
    pub(super) batch: Vec<usize>,
    /// Timed repetitions; the median, smallest and largest are printed
    #[arg(long, default_value_t = 7)]
    pub(super) repeat: usize,
    /// Print JSON
    #[arg(long)]
    json: bool,
    /// Ratios to an earlier run's --json
    #[arg(long, value_name = "FILE", conflicts_with = "json")]
    compare: Option<PathBuf>,
}

fn at_least_one(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|n| *n > 0).ok_or_else(|| "expected a number of at least 1".into())
}

fn grpo_shape(text: &str) -> Result<[usize; 3], String> {
    let numbers: Option<Vec<usize>> = text.split('x').map(|n| n.parse().ok().filter(|n| *n > 0)).collect();
    match numbers.as_deref() {
        Some(&[prompts, group, length]) if group > 1 => Ok([prompts, group, length]),
        _ => Err("expected PROMPTSxCOMPLETIONSxTOKENS with at least 2 completions, such as 4x8x64".into()),
    }
}

const WHAT: [&str; 8] = ["ceilings", "matmul", "train", "grpo", "prefill", "decode", "kernels", "profile"];

/// One measured figure.
#[derive(Clone, Serialize)]
pub(super) struct Row {
    pub device: String,
    pub what: String,
    pub shape: String,
    /// Seconds: median, smallest, largest.
    pub seconds: [f64; 3],
    /// In `unit` at the median.
    pub rate: f64,
    pub unit: &'static str,
    /// Of single operations: memory traffic at the median, every operand counted once.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gb_per_s: Option<f64>,
    /// Of single operations: the larger of the shares of the arithmetic and the memory ceiling.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_ceiling: Option<f64>,
    /// Of whole models: most bytes that tensors held on the device at once, or where it has no memory of its own, that the process did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub peak_bytes: Option<u64>,
}

/// Everything measured.
#[derive(Serialize)]
pub struct Measured {
    device: String,
    ceilings: Vec<Ceiling>,
    rows: Vec<Row>,
}

/// Prints rows as they come, unless they are wanted as JSON at the end.
pub(super) struct Sheet {
    device: String,
    ceilings: Vec<Ceiling>,
    rows: Vec<Row>,
    quiet: bool,
}

impl Sheet {
    #[cfg(test)]
    pub fn quiet(device: &str) -> Self {
        Self { device: device.into(), ceilings: Vec::new(), rows: Vec::new(), quiet: true }
    }

    #[cfg(test)]
    pub fn rows(&self) -> &[Row] {
        &self.rows
    }

    fn ceiling(&self, name: &str) -> Option<f64> {
        self.ceilings.iter().find(|c| c.name == name).map(|c| c.value)
    }

    pub fn put(&mut self, mut row: Row) {
        row.device.clone_from(&self.device);
        if let Some(gb) = row.gb_per_s {
            let of = |rate: f64, name: &str| self.ceiling(name).map(|c| rate / c);
            let arithmetic = if row.unit == "GFLOP/s" { of(row.rate, "multiply-add, f32") } else { None };
            row.of_ceiling = [arithmetic, of(gb, "copy")].into_iter().flatten().reduce(f64::max);
        }
        if !self.quiet {
            super::print(&line(&row));
        }
        self.rows.push(row);
    }
}

fn line(r: &Row) -> String {
    let ms = r.seconds.map(|s| s * 1e3);
    let traffic = r.gb_per_s.filter(|_| r.unit == "GFLOP/s").map_or(String::new(), |gb| format!(", {gb:.1} GB/s"));
    let share = r.of_ceiling.map_or(String::new(), |s| format!(", {:.0} % of the ceiling", 100.0 * s));
    let peak = match r.peak_bytes {
        Some(b) if r.of_ceiling.is_none() => format!(", {:.2} GiB held", gib(b)),
        _ => String::new(),
    };
    format!(
        "{:<28} {:<26} {:>10.3} {:>10.3} {:>10.3}  {:.1} {}{traffic}{share}{peak}\n",
        r.what, r.shape, ms[0], ms[1], ms[2], r.rate, r.unit
    )
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    for what in &args.what {
        if !WHAT.contains(&what.as_str()) {
            return Err(super::Usage(format!("--what {what}: expected one of {}", WHAT.join(", "))).into());
        }
    }
    let before = args.compare.as_deref().map(read_rows).transpose()?;
    let (device, json) = (args.device.clone(), args.json);
    let measured = device.run(Bench(args))?;
    if json {
        super::print(&format!("{}\n", serde_json::to_string_pretty(&measured)?));
    }
    if let Some(before) = before {
        super::print(&compared(&before, &measured.rows));
    }
    Ok(0)
}

/// Name, shape and median of an earlier `--json`.
type Before = Vec<(String, String, f64)>;

fn read_rows(path: &Path) -> Result<Before, Box<dyn Error>> {
    let bad = |detail: String| super::Usage(format!("--compare {}: {detail}", path.display()));
    let text = std::fs::read(path).map_err(|e| bad(e.to_string()))?;
    let value: serde_json::Value = serde_json::from_slice(&text).map_err(|e| bad(e.to_string()))?;
    let row = |r: &serde_json::Value| {
        Some((r["what"].as_str()?.to_string(), r["shape"].as_str()?.to_string(), r["seconds"][0].as_f64()?))
    };
    let rows = value["rows"].as_array().and_then(|rows| rows.iter().map(row).collect());
    rows.ok_or_else(|| bad("it is no output of `probity bench --json`".into()).into())
}

/// One line for every row that both have.
fn compared(before: &Before, now: &[Row]) -> String {
    let mut out = String::from("Against the earlier run (above 1 = faster now):\n");
    for r in now {
        if let Some((_, _, then)) = before.iter().find(|(what, shape, _)| *what == r.what && *shape == r.shape) {
            out += &format!("{:<28} {:<26} {:.2}x\n", r.what, r.shape, then / r.seconds[0]);
        }
    }
    out
}

/// The shapes that the published comparisons use.
fn shape(name: &str) -> Result<ModelConfig, Box<dyn Error>> {
    match Sizes::named(name) {
        Some(sizes) => Ok(sizes.config(Path::new(name))?),
        None => Err(super::Usage(format!("--shapes {name}: expected tiny, small or q05b")).into()),
    }
}

struct Bench(Args);

pub(super) fn time(
    repeat: usize,
    mut f: impl FnMut() -> Result<(), Box<dyn Error>>,
) -> Result<[f64; 3], Box<dyn Error>> {
    f()?;
    let mut t = Vec::with_capacity(repeat);
    for _ in 0..repeat.max(1) {
        let clock = Instant::now();
        f()?;
        t.push(clock.elapsed().as_secs_f64());
    }
    t.sort_by(f64::total_cmp);
    Ok([t[t.len() / 2], t[0], t[t.len() - 1]])
}

impl Job for Bench {
    type Out = Measured;
    fn run<O: Ops>(&mut self, o: &O) -> Result<Measured, Box<dyn Error>> {
        let a = &self.0;
        let wants = |w: &str| a.what.iter().any(|x| x == w);
        let ceilings = if wants("ceilings") { o.ceilings()? } else { Vec::new() };
        let mut sheet = Sheet { device: o.device_name(), ceilings, rows: Vec::new(), quiet: a.json };
        if !a.json {
            super::print(&format!("{}\n", sheet.device));
            for c in &sheet.ceilings {
                super::print(&format!("{:<28} {:.1} {}\n", c.name, c.value, c.unit));
            }
            super::print(&format!(
                "{:<28} {:<26} {:>10} {:>10} {:>10}  rate\n",
                "what", "shape", "median ms", "min", "max"
            ));
        }
        if wants("matmul") {
            for [m, n, k] in [[256; 3], [512; 3], [1024; 3]] {
                matmuls(o, &mut sheet, "", [m, n, k], a.repeat)?;
            }
        }
        for name in &a.shapes {
            let config = shape(name)?;
            if wants("matmul") {
                // The MLP's products, and attention's, with many rows.
                for [n, k] in [Module::UpProj, Module::DownProj, Module::OProj].map(|m| m.shape(&config)) {
                    matmuls(o, &mut sheet, name, [4096, n, k], a.repeat)?;
                }
            }
            if wants("kernels") {
                bench_kernels::rows(o, name, &bench_kernels::Sizes::of(&config), a.repeat, &mut sheet)?;
            }
            bench_models::rows(o, &mut sheet, name, &config, a)?;
        }
        Ok(Measured { device: sheet.device, ceilings: sheet.ceilings, rows: sheet.rows })
    }
}

/// The three products of a linear map `[m, k]` to `[m, n]`.
fn matmuls<O: Ops>(
    o: &O,
    sheet: &mut Sheet,
    name: &str,
    [m, n, k]: [usize; 3],
    repeat: usize,
) -> Result<(), Box<dyn Error>> {
    let given = |seed, rows, cols| o.upload(rows, cols, &random(seed, rows * cols));
    let (x, dy, w) = (given(1, m, k)?, given(2, m, n)?, given(3, n, k)?);
    let mut dw = o.zeros(n, k)?;
    let nt = time(repeat, || Ok(o.matmul_nt(&x, &w, None).and_then(|_| o.sync())?))?;
    let nn = time(repeat, || Ok(o.matmul_nn(&dy, &w, None).and_then(|_| o.sync())?))?;
    let tn = time(repeat, || Ok(o.matmul_tn(&mut dw, &dy, &x).and_then(|_| o.sync())?))?;
    let floats = (m * k + n * k + m * n) as f64;
    for (what, seconds) in [("matmul_nt", nt), ("matmul_nn", nn), ("matmul_tn", tn)] {
        sheet.put(Row {
            device: String::new(),
            what: what.into(),
            shape: format!("{name} {m}x{n}x{k} f32").trim().into(),
            seconds,
            rate: 2.0 * (m * n * k) as f64 / seconds[0] / 1e9,
            unit: "GFLOP/s",
            gb_per_s: Some(4.0 * floats / seconds[0] / 1e9),
            of_ceiling: None,
            peak_bytes: None,
        });
    }
    Ok(())
}
