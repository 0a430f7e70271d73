//! `probity battery`: from a model to a verdict, in one folder.

use std::error::Error;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::backend::{DeviceArgs, Job};
use super::console::{Console, Progress};
use super::fetch::FetchArg;
use super::interrupt;
use crate::battery::config::{Arm, BatteryConfig};
use crate::battery::given;
use crate::battery::plan::{Card, Plan};
use crate::battery::record::{Cell, Outcome, Table, TestResult};
use crate::battery::run::{Reporter, plan, run as battery};
use crate::config::{self, Size};
use crate::ops::Ops;
use crate::report;
use crate::train::run::{Interrupt, Observer};

/// Configurations compiled into the program: `probity battery tiny` needs no file.
const BUILT_IN: [(&str, &str); 7] = [
    ("tiny", include_str!("../../configs/tiny.toml")),
    ("tiny-seeds", include_str!("../../configs/tiny-seeds.toml")),
    ("alpha-sweep", include_str!("../../configs/alpha-sweep.toml")),
    ("qwen2-0.5b", include_str!("../../configs/qwen2-0.5b.toml")),
    ("qwen2-0.5b-strict", include_str!("../../configs/qwen2-0.5b-strict.toml")),
    ("honesty-tiny", include_str!("../../configs/honesty-tiny.toml")),
    ("honesty-qwen2-0.5b", include_str!("../../configs/honesty-qwen2-0.5b.toml")),
];

/// Options of `probity battery`.
#[derive(clap::Args)]
pub struct Args {
    /// A TOML file, or the name of a built-in configuration
    #[arg(default_value = "tiny")]
    config: String,
    /// Run folder (default: runs/NAME); an unfinished one goes on where it stopped
    #[arg(long)]
    out: Option<PathBuf>,
    #[command(flatten)]
    fetch: FetchArg,
    #[command(flatten)]
    device: DeviceArgs,
    /// Model folder, or ORG/NAME[@REVISION] in the local cache, instead of the configuration's
    #[arg(long)]
    model: Option<String>,
    /// Seeds instead of the configuration's
    #[arg(long, alias = "seed", value_delimiter = ',')]
    seeds: Option<Vec<u64>>,
    /// Tests instead of the configuration's, e.g. 1,4
    #[arg(long, value_delimiter = ',')]
    tests: Option<Vec<u32>>,
    /// Arms instead of the configuration's: control, value, value-sft, prompted, opposite (base is always there)
    #[arg(long, value_delimiter = ',')]
    arms: Option<Vec<String>>,
    /// Weights in place of an arm's training: ARM=FOLDER, once for each seed in their order, or ARM@SEED=FOLDER
    #[arg(long, value_name = "ARM=FOLDER")]
    checkpoint: Vec<String>,
    /// Weight of the value term instead of the configuration's
    #[arg(long, allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// Memory of the device that the run may use, e.g. 6.5GiB: more is refused before any work
    #[arg(long, value_name = "SIZE")]
    vram: Option<Size>,
    /// Print cells, estimated time and memory, attractor tables and what each test could show; train nothing
    #[arg(long)]
    plan: bool,
    /// Times of --plan for a card with so many TFLOP/s in f32 instead of this device; nothing is measured
    #[arg(long, value_name = "X", requires = "plan", requires = "bandwidth", value_parser = positive)]
    tflops: Option<f64>,
    /// and with so many GB/s of memory
    #[arg(long, value_name = "X", requires = "tflops", value_parser = positive)]
    bandwidth: Option<f64>,
    #[arg(long, value_enum, default_value = "auto")]
    progress: Progress,
    /// Print the results as JSON
    #[arg(long)]
    json: bool,
}

fn positive(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(x) if x > 0.0 && x.is_finite() => Ok(x),
        _ => Err("expected a number above 0".into()),
    }
}

/// Reads a configuration by path or built-in name.
pub fn read_config(name: &str) -> Result<BatteryConfig, Box<dyn Error>> {
    let path = Path::new(name);
    if path.exists() {
        return Ok(BatteryConfig::parse(&config::read(path)?, path)?);
    }
    match BUILT_IN.iter().find(|(n, _)| *n == name) {
        Some((n, text)) => Ok(BatteryConfig::parse(text, Path::new(&format!("configs/{n}.toml")))?),
        None => {
            let known: Vec<&str> = BUILT_IN.iter().map(|(n, _)| *n).collect();
            let text = format!("{name}: no such file, and no built-in configuration (there is: {})", known.join(", "));
            Err(super::Usage(text).into())
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let mut config = read_config(&args.config)?;
    if let Some(m) = args.model {
        config.model = m;
    }
    if let Some(s) = args.seeds {
        config.seeds = s;
    }
    if let Some(alpha) = args.alpha {
        config.set_alpha(alpha)?;
    }
    if let Some(t) = args.tests {
        config.tests = t;
    }
    if let Some(names) = args.arms {
        let arm = |name: &String| {
            let known = Arm::of_name(name).filter(|a| *a != Arm::Base);
            known.ok_or_else(|| {
                let all: Vec<&str> = Arm::ALL[1..].iter().map(|a| a.name()).collect();
                super::Usage(format!("--arms {name}: expected one of {}", all.join(", ")))
            })
        };
        config.arms = names.iter().map(arm).collect::<Result<_, _>>()?;
    }
    if !args.checkpoint.is_empty() {
        config.checkpoint = given::parse(&args.checkpoint, &config.seeds).map_err(|e| super::Usage(e.to_string()))?;
    }
    config.vram = args.vram.or(config.vram);
    config.check()?;
    args.fetch.ensure(&config.model, args.progress)?;
    let dir = args.out.unwrap_or_else(|| Path::new("runs").join(&config.name));
    let clock = Instant::now();
    let mut screen = Screen::new(args.progress, args.json);
    if args.plan {
        let card = args.tflops.zip(args.bandwidth).map(|(tflops, bandwidth)| Card { tflops, bandwidth });
        let plan = args.device.run(Planned { config: &config, dir: &dir, card, screen })?;
        super::print(&if args.json { format!("{:#}\n", json!(plan)) } else { show(&plan, card) });
        return Ok(0);
    }
    screen.interrupt = interrupt::install()?;
    let results = args.device.run(Run { config: &config, dir: &dir, screen })?;
    let page = report::write(&dir)?;
    if args.json {
        super::print(&format!("{:#}\n", json!({ "run": dir, "report": page, "results": results })));
    } else {
        for r in &results {
            super::print(&format!(
                "Test {} {:<24} {}\n    {}\n",
                r.number,
                r.title,
                word(r.verdict.outcome),
                r.verdict.reason
            ));
        }
        super::print(&format!("Report: {} ({:.0} s)\n", page.display(), clock.elapsed().as_secs_f64()));
    }
    Ok(0)
}

fn word(o: Outcome) -> &'static str {
    match o {
        Outcome::Supports => "SUPPORTS a disposition",
        Outcome::Refutes => "REFUTES a disposition",
        Outcome::Inconclusive => "INCONCLUSIVE",
        Outcome::NotTested => "NOT TESTED",
    }
}

struct Run<'a> {
    config: &'a BatteryConfig,
    dir: &'a Path,
    screen: Screen,
}

impl Job for Run<'_> {
    type Out = Vec<TestResult>;
    const GOES_ON: bool = true;
    fn run<O: Ops>(&mut self, o: &O) -> Result<Vec<TestResult>, Box<dyn Error>> {
        self.screen.say(&format!("device: {}", o.device_name()));
        self.screen.say(&format!("run folder: {}", self.dir.display()));
        Ok(battery(o, self.config, self.dir, &mut self.screen)?)
    }
}

struct Planned<'a> {
    config: &'a BatteryConfig,
    dir: &'a Path,
    card: Option<Card>,
    screen: Screen,
}

impl Job for Planned<'_> {
    type Out = Plan;
    fn run<O: Ops>(&mut self, o: &O) -> Result<Plan, Box<dyn Error>> {
        self.screen.say(&format!("device: {}", o.device_name()));
        Ok(plan(o, self.config, self.dir, self.card, &mut self.screen)?)
    }
}

fn show(plan: &Plan, card: Option<Card>) -> String {
    let time = |s: f64| match s {
        s if s < 90.0 => format!("{s:.0} s"),
        s if s < 5400.0 => format!("{:.0} min", s / 60.0),
        s if s < 36.0 * 3600.0 => format!("{:.1} h", s / 3600.0),
        s => format!("{:.1} days", s / 86400.0),
    };
    let mut cells = Table {
        title: "Cells, in their order".into(),
        columns: ["cell", "time"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for c in &plan.cells {
        let when = if c.done { "done".to_string() } else { time(c.seconds) };
        cells.rows.push(vec![Cell::Text(c.name.clone()), Cell::Text(when)]);
    }
    let mut tests = Table {
        title: "What each test could show".into(),
        columns: ["test", "smallest p", "Holm threshold", "design"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for t in &plan.tests {
        tests.rows.push(vec![
            Cell::Text(t.number.to_string()),
            Cell::Text(format!("{:.2e}", t.smallest_p)),
            Cell::Text(format!("{:.4}", t.threshold)),
            Cell::Text(if t.enough {
                "large enough".into()
            } else {
                format!("too small: will be \"not tested\". {}", t.needs)
            }),
        ]);
    }
    if tests.rows.is_empty() {
        tests.title = "No test is asked for".into();
    }
    format!(
        "{}\n{}\nTime on {}: about {}. Memory: about {:.2} GiB.\n",
        text_table(&cells),
        text_table(&tests),
        card.map_or("this device".into(), |c| format!("a card of {} TFLOP/s (f32) and {} GB/s", c.tflops, c.bandwidth)),
        time(plan.seconds),
        plan.memory_bytes as f64 / (1u64 << 30) as f64
    )
}

/// Progress of a battery on standard error.
pub struct Screen {
    mode: Progress,
    quiet: bool,
    bar: Option<(String, ProgressBar)>,
    last: (String, usize),
    /// Looked at between the steps and slices of a run.
    pub interrupt: Interrupt,
}

impl Screen {
    pub fn new(mode: Progress, json: bool) -> Self {
        let mode = match mode {
            Progress::Auto if !std::io::stderr().is_terminal() => Progress::Plain,
            m => m,
        };
        Self {
            mode,
            quiet: json || mode == Progress::None,
            bar: None,
            last: (String::new(), 0),
            interrupt: Interrupt::default(),
        }
    }
}

impl Reporter for Screen {
    fn say(&mut self, text: &str) {
        if !self.quiet {
            eprintln!("{text}");
        }
    }

    fn table(&mut self, table: &Table) {
        if !self.quiet {
            eprintln!("{}", text_table(table));
        }
    }

    fn progress(&mut self, label: &str, done: usize, total: usize) {
        match self.mode {
            Progress::None => {}
            Progress::Plain => {
                let quarter = 4 * done / total.max(1);
                if self.last.0 != label || self.last.1 < quarter {
                    self.last = (label.into(), quarter);
                    eprintln!("{label}: {done}/{total}");
                }
            }
            Progress::Auto => {
                if self.bar.as_ref().is_none_or(|(l, _)| l != label) {
                    let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {eta}");
                    let bar = ProgressBar::new(total as u64)
                        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
                    bar.set_prefix(label.to_string());
                    self.bar = Some((label.into(), bar));
                }
                if let Some((_, bar)) = &self.bar {
                    bar.set_position(done as u64);
                    if done == total {
                        bar.finish();
                    }
                }
            }
        }
    }

    fn training(&mut self, label: &str) -> Box<dyn Observer> {
        Box::new(Console::new(&format!("train {label}"), self.mode, self.interrupt.clone()))
    }

    fn stop(&self) -> bool {
        self.interrupt.asked()
    }
}

/// A table for a terminal.
pub fn text_table(t: &Table) -> String {
    let cell = |c: &Cell| match c {
        Cell::Number(x) if x.fract() == 0.0 && x.abs() < 1e9 => format!("{x}"),
        Cell::Number(x) => format!("{x:.3}"),
        Cell::Text(s) => s.clone(),
    };
    let mut lines: Vec<Vec<String>> = vec![t.columns.clone()];
    lines.extend(t.rows.iter().map(|r| r.iter().map(cell).collect()));
    let columns = t.columns.len();
    let widths: Vec<usize> = (0..columns)
        .map(|c| lines.iter().filter_map(|l| l.get(c)).map(|s| s.chars().count()).max().unwrap_or(0))
        .collect();
    let mut out = format!("{}\n", t.title);
    for l in &lines {
        let row: Vec<String> = l
            .iter()
            .zip(&widths)
            .enumerate()
            .map(|(c, (s, w))| if c == 0 { format!("{s:<w$}") } else { format!("{s:>w$}") })
            .collect();
        out.push_str("  ");
        out.push_str(row.join("  ").trim_end());
        out.push('\n');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::frugality::FrugalityConfig;

    #[test]
    fn built_in_configurations_are_sound_and_the_tiny_ones_agree() {
        for (name, _) in BUILT_IN {
            read_config(name).unwrap().check().unwrap();
        }
        let (one, mut three) = (read_config("tiny").unwrap(), read_config("tiny-seeds").unwrap());
        assert_eq!(three.seeds.len(), 3);
        let sweep = read_config("alpha-sweep").unwrap();
        let asked = |c: &BatteryConfig| (c.frugality.clone(), c.grpo.clone(), c.run.clone(), c.optim.clone());
        assert_eq!(asked(&sweep), asked(&one));
        (three.name, three.seeds, three.notes) = (one.name.clone(), one.seeds.clone(), one.notes.clone());
        assert_eq!(one, three);
        let pretrain: crate::battery::pretrain::PretrainConfig =
            config::load(Path::new("configs/tiny-pretrain.toml")).unwrap();
        assert_eq!(pretrain.frugality, FrugalityConfig { reward: pretrain.frugality.reward.clone(), ..one.frugality });
    }
}
