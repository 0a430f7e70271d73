//! The battery: which cells run, in what order, and what their rows say.

pub mod activations;
pub mod arms;
pub mod attack_probes;
pub mod attractors;
pub mod auroc;
pub mod budget;
pub mod config;
pub mod control_task;
pub mod environment;
pub mod error;
pub mod evaluate;
pub mod exchange;
pub mod figures;
pub mod flips;
pub mod folder;
pub mod given;
pub mod health;
pub mod lab;
pub mod phase;
pub mod phases;
pub mod plan;
pub mod power;
pub mod pretrain;
pub mod provenance;
pub mod record;
pub mod rows;
pub mod rules;
pub mod run;
pub mod segments;
pub mod spread;
pub mod standalone;
pub mod steer;
pub mod sweep;
pub mod test01_generalisation;
pub mod test02_monitoring;
pub mod test03_probing;
pub mod test04_counter;
pub mod test05_anchors;
pub mod test06_steering;
pub mod test07_cue;
pub mod test08_seeds;
pub mod trajectory;
pub mod verdict;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use crate::domain::Measured;
use crate::stats::{Design, smallest_p};
use record::{Effect, Health, Outcome, Row, Verdict};
use rules::Numbers;
use verdict::StatisticsConfig;

/// What every test needs to know about the run.
#[derive(Clone, Debug)]
pub struct Context {
    pub statistics: StatisticsConfig,
    /// What the domain measures.
    pub measure: Measured,
    pub seeds: Vec<u64>,
    /// Fewest items a test may rest on.
    pub min_items: usize,
    /// Fewest items at every check of a training.
    pub min_checked: usize,
    /// Numbers of the rule table.
    pub rules: Numbers,
    /// Tests in this run: the smallest Holm threshold is `alpha / tests`.
    pub tests: usize,
    /// Health of the training arms.
    pub training: Vec<Health>,
    /// Completion limit of the evaluation, in tokens.
    pub limit: usize,
    /// Hash that rows and result belong to.
    pub key: String,
}

impl Context {
    /// A design whose smallest attainable p exceeds this cannot pass Holm.
    pub fn smallest_useful_p(&self) -> f64 {
        self.statistics.alpha / self.tests.max(1) as f64
    }
}

/// The first failed fatal check.
fn blocking(checks: &[Health]) -> Option<String> {
    checks.iter().find(|h| h.fatal && !h.ok).map(|h| format!("{}: {}", h.name, h.detail))
}

fn not_tested(reason: String) -> Verdict {
    Verdict {
        outcome: Outcome::NotTested,
        p: None,
        p_holm: None,
        primary: None,
        would_change: "Mending the failed check and running the test again.".into(),
        reason,
    }
}

/// "Not tested: design too small", with the number of `what` (items, seeds, random draws) that would do.
fn too_small(smallest_p: f64, ctx: &Context, what: &str) -> Verdict {
    let threshold = ctx.smallest_useful_p();
    Verdict {
        would_change: format!("{}.", enough(what, threshold)),
        ..not_tested(format!(
            "design too small: the smallest attainable p is {smallest_p:.4}, and {threshold:.4} is needed"
        ))
    }
}

/// How many of `what` a smallest p of at most `threshold` needs.
pub fn enough(what: &str, threshold: f64) -> String {
    let n = match what {
        // Two arms of n seeds each, all orders.
        "seeds" => (2..=50).find(|&n| smallest_p(Design::Permutation { n1: n, n2: n }) <= threshold),
        // Sign flips of n prompts.
        "items" => (2..=64).find(|&n| 0.5f64.powi(n as i32 - 1) <= threshold),
        _ => Some((1.0 / threshold).ceil() as u64),
    };
    n.map_or(format!("More than 50 {what}"), |n| format!("At least {n} {what}"))
}

/// A decision whose statistics are undefined on these rows (nothing varies, too few clusters carry information) is "not tested";
/// it does not end the battery.
fn settled(decided: error::Result<(Verdict, Vec<Effect>)>) -> error::Result<(Verdict, Vec<Effect>)> {
    match decided {
        Err(error::BatteryError::Stats(e)) => {
            Ok((not_tested(format!("a statistic is undefined on these rows: {e}")), Vec::new()))
        }
        decided => decided,
    }
}

fn count_distinct<'a>(rows: impl IntoIterator<Item = &'a Row>, field: impl Fn(&'a Row) -> &'a String) -> usize {
    rows.into_iter().map(field).collect::<BTreeSet<_>>().len()
}
