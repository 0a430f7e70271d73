//! Progress for people: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::train::run::{Interrupt, Metrics, Observer};

/// `--progress`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Progress {
    /// A bar on a terminal, plain lines elsewhere.
    #[default]
    Auto,
    Plain,
    None,
}

/// Draws training progress on standard error.
pub struct Console {
    label: String,
    mode: Progress,
    bar: Option<ProgressBar>,
    explained: bool,
    interrupt: Interrupt,
}

impl Console {
    pub fn new(label: &str, mode: Progress, interrupt: Interrupt) -> Self {
        let mode = match mode {
            Progress::Auto if !std::io::stderr().is_terminal() => Progress::Plain,
            m => m,
        };
        Self { label: label.into(), mode, bar: None, explained: false, interrupt }
    }
}

/// The numbers a person wants, in that order: not the loss, which says nothing on-policy.
fn summary(m: &Metrics) -> String {
    let mut parts = Vec::new();
    let mut put = |name: &str, key: &str, digits: usize| {
        if let Some(v) = m.get(key) {
            parts.push(format!("{name} {v:.digits$}"));
        }
    };
    put("reward", "reward", 3);
    put("± ", "reward_std", 3);
    put("zero-variance", "frac_reward_zero_std", 2);
    put("length", "completions/mean_length", 1);
    put("kl", "kl", 4);
    put("entropy", "entropy", 3);
    if m.get("reward").is_none() {
        put("loss", "loss", 4);
        put("lr", "learning_rate", 6);
    }
    put("tok/s", "tokens_per_second", 0);
    parts.join("  ").replace("±  ", "± ")
}

impl Observer for Console {
    fn step(&mut self, step: u64, total: u64, m: &Metrics) {
        match self.mode {
            Progress::None => {}
            Progress::Plain => {
                let every = (total / 20).max(1);
                if step == 1 || step == total || step.is_multiple_of(every) {
                    eprintln!("{} step {step}/{total}  {}", self.label, summary(m));
                }
            }
            Progress::Auto => {
                let bar = self.bar.get_or_insert_with(|| {
                    let style = ProgressStyle::with_template("{prefix} {bar:24} {pos}/{len} {eta}  {msg}");
                    let bar = ProgressBar::new(total);
                    bar.set_prefix(self.label.clone());
                    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                });
                bar.set_position(step);
                bar.set_message(summary(m));
                if step == total {
                    bar.finish();
                }
            }
        }
        let flat = m.get("frac_reward_zero_std").is_some_and(|z| z > 0.9);
        if flat && !self.explained {
            self.explained = true;
            self.note(
                "more than 90 % of the groups have equal rewards: there is almost nothing to learn from at this step",
            );
        }
    }

    fn stop(&self) -> bool {
        self.interrupt.asked()
    }

    fn note(&mut self, text: &str) {
        match (&self.bar, self.mode) {
            (_, Progress::None) => {}
            (Some(bar), _) => bar.println(format!("{}: {text}", self.label)),
            (None, _) => eprintln!("{}: {text}", self.label),
        }
    }
}
