//! What an earlier run says of this one's chances: base rates, and how fast it went.

use std::path::Path;

use serde::Serialize;

use super::config::PairConfig;
use super::error::{PairError, Result};
use super::folder;
use super::judge::LEXICAL;

/// A base rate below or above which a difference has no room.
pub const FLOOR: f64 = 0.1;

/// What a pilot found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Pilot {
    /// Arm, labelled cells, share refused.
    pub rates: Vec<(String, usize, f64)>,
    /// Mean wall time of a cell.
    pub cell_ms: f64,
}

impl Pilot {
    /// Reads rows and the lexical judge's labels of a run of the same model.
    ///
    /// # Errors
    /// A folder without rows or labels, another model, a run with a leak.
    pub fn read(config: &PairConfig, dir: &Path) -> Result<Self> {
        let manifest = folder::Manifest::read(dir)?;
        let refuse = |what: String| Err(PairError::Refused(format!("pilot {}: {what}", dir.display())));
        if manifest.model != config.model {
            return refuse(format!(
                "is of the model {}, this is {}; its base rate says nothing here",
                manifest.model, config.model
            ));
        }
        if let Some(leak) = manifest.leak {
            return refuse(format!("was made with the leak {} on", leak.name()));
        }
        let rows = folder::rows(dir)?;
        let labels = folder::labels(dir, LEXICAL)?;
        let mut rates = Vec::new();
        for arm in [&config.analysis.reference, &config.analysis.contrast] {
            let of = rows.iter().filter(|r| r.arm == *arm);
            let refused: Vec<bool> =
                of.filter_map(|r| config.analysis.endpoint.refused(labels.get(&r.cell_id)?.label)).collect();
            if refused.is_empty() {
                return refuse(format!("has no labelled row of the arm {arm:?}; run `probity pair judge` on it"));
            }
            let n = refused.len();
            rates.push((arm.clone(), n, refused.into_iter().filter(|r| *r).count() as f64 / n as f64));
        }
        let cell_ms = rows.iter().map(|r| r.wall_ms).sum::<f64>() / rows.len().max(1) as f64;
        Ok(Self { rates, cell_ms })
    }

    /// Words for an arm that has no room for a difference.
    pub fn at_the_edge(&self) -> Option<String> {
        let edge = self.rates.iter().find(|(_, _, p)| *p < FLOOR || *p > 1.0 - FLOOR)?;
        Some(format!(
            "the pilot's {:?} arm refuses {:.1} % of {} (below {:.0} % or above {:.0} % a difference has no room): choose other items",
            edge.0,
            100.0 * edge.2,
            edge.1,
            100.0 * FLOOR,
            100.0 * (1.0 - FLOOR)
        ))
    }
}

/// The pilot of a configuration, if it names one.
///
/// # Errors
/// As [`Pilot::read`]; a confirmatory run whose pilot has no room for a difference.
pub fn of(config: &PairConfig) -> Result<Option<Pilot>> {
    let Some(dir) = &config.pilot else { return Ok(None) };
    let pilot = Pilot::read(config, dir)?;
    match pilot.at_the_edge() {
        Some(why) if config.confirmatory => Err(PairError::Refused(format!(
            "this run cannot be called confirmatory: {why}, or set confirmatory = false"
        ))),
        _ => Ok(Some(pilot)),
    }
}
