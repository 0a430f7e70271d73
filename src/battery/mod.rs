//! The battery: which cells run, in what order, and what their rows say.

pub mod config;
pub mod environment;
pub mod error;
pub mod evaluate;
pub mod exchange;
pub mod figures;
pub mod health;
pub mod pretrain;
pub mod record;
pub mod rows;
pub mod run;
pub mod test01_generalisation;
pub mod test02_monitoring;
pub mod verdict;

#[cfg(test)]
mod tests;

use std::collections::BTreeSet;

use record::{Health, Outcome, Row, Verdict};
use verdict::StatisticsConfig;

/// What every test needs to know about the run.
#[derive(Clone, Debug)]
pub struct Context {
    pub statistics: StatisticsConfig,
    pub seeds: Vec<u64>,
    /// Fewest items a test may rest on.
    pub min_items: usize,
    /// Tests in this run: the smallest Holm threshold is `alpha / tests`.
    pub tests: usize,
    /// Health of the training arms.
    pub training: Vec<Health>,
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

fn count_distinct<'a>(rows: &'a [Row], field: impl Fn(&'a Row) -> &'a String) -> usize {
    rows.iter().map(field).collect::<BTreeSet<_>>().len()
}
