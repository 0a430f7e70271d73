//! Order, blocking, batch and precision as factors: what each changes, in tokens, in Δ and in the A/A flip rate.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Options;
use super::controls::SelfCheck;
use super::evidence::{Cell, Evidence};
use super::pairs::{Counted, pairs, rank_of_precision};
use crate::pair::error::Result;
use crate::pair::row::Factors;
use crate::stats::{BootstrapInterval, StatResult, cluster_bootstrap_mean, cluster_codes};

/// A factor of the design.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Factor {
    Order,
    Blocking,
    Batch,
    Precision,
}

impl Factor {
    pub const ALL: [Factor; 4] = [Factor::Order, Factor::Blocking, Factor::Batch, Factor::Precision];

    /// As it stands in a table.
    pub fn name(self) -> &'static str {
        match self {
            Factor::Order => "order",
            Factor::Blocking => "blocking",
            Factor::Batch => "batch size",
            Factor::Precision => "precision",
        }
    }

    /// The engine makes its effect exactly 0: kernels give a row the same bits whatever else is in the batch, and no state or random
    /// stream is shared between requests.
    pub fn excluded(self) -> bool {
        self != Factor::Precision
    }

    pub fn level(self, f: &Factors) -> String {
        match self {
            Factor::Order => format!("{:?}", f.protocol).to_lowercase(),
            Factor::Blocking => format!("{:?}", f.blocking).to_lowercase(),
            Factor::Batch => f.batch_size.to_string(),
            Factor::Precision => f.precision.clone(),
        }
    }

    /// The setting with `other`'s level of this factor.
    fn with(self, f: &Factors, other: &Factors) -> Factors {
        let mut out = f.clone();
        match self {
            Factor::Order => out.protocol = other.protocol,
            Factor::Blocking => out.blocking = other.blocking,
            Factor::Batch => out.batch_size = other.batch_size,
            Factor::Precision => out.precision = other.precision.clone(),
        }
        out
    }
}

/// One level of a factor against the first, all other factors alike.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FactorEffect {
    pub factor: Factor,
    pub from: String,
    pub to: String,
    /// Settings that differ in this factor alone.
    pub settings: usize,
    /// Cells run under both levels.
    pub cells: usize,
    /// Those of them that were fed other tokens, wrote other tokens, were labelled otherwise.
    pub other_input: usize,
    pub other_output: usize,
    pub other_label: usize,
    /// Δ of the primary arms under both levels, of the pairs that were run under both, in percentage points.
    pub delta_pp: [f64; 2],
    /// Change of Δ, as a share, clusters resampled; absent where no pair changed, and with one cluster.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub effect: Option<StatResult>,
    /// A/A flips and pairs under both levels.
    pub self_flips: [[u64; 2]; 2],
}

/// Item, arm, wording and repeat of a cell.
type Key<'a> = (&'a str, &'a str, usize, usize);

/// Effects of every factor with two levels or more.
///
/// # Errors
/// Bad options.
pub fn factors(
    evidence: &Evidence,
    settings: &[Factors],
    arms: [&str; 2],
    checks: &[SelfCheck],
    options: &Options,
) -> Result<Vec<FactorEffect>> {
    let mut by_setting: BTreeMap<&Factors, BTreeMap<Key<'_>, &Cell>> = BTreeMap::new();
    for cell in evidence.cells.iter().filter(|c| c.row.is_some()) {
        let p = &cell.place;
        let key = (p.item_id.as_str(), p.arm.as_str(), p.paraphrase, p.repeat);
        by_setting.entry(&p.factors).or_default().insert(key, cell);
    }
    let mut out = Vec::new();
    for factor in Factor::ALL {
        let mut levels: Vec<&Factors> = Vec::new();
        for setting in settings {
            if levels.iter().all(|l| factor.level(l) != factor.level(setting)) {
                levels.push(setting);
            }
        }
        if factor == Factor::Precision {
            levels.sort_by_key(|l| rank_of_precision(&l.precision));
        }
        let Some((from, rest)) = levels.split_first() else { continue };
        for to in rest {
            let matched: Vec<(&Factors, Factors)> = settings
                .iter()
                .filter(|s| factor.level(s) == factor.level(from))
                .map(|s| (s, factor.with(s, to)))
                .filter(|(_, other)| by_setting.contains_key(other))
                .collect();
            if matched.is_empty() {
                continue;
            }
            let mut e = FactorEffect {
                factor,
                from: factor.level(from),
                to: factor.level(to),
                settings: matched.len(),
                cells: 0,
                other_input: 0,
                other_output: 0,
                other_label: 0,
                delta_pp: [0.0; 2],
                effect: None,
                self_flips: [from, to].map(|l| self_flips(checks, factor, &factor.level(l))),
            };
            for (one, other) in &matched {
                let (Some(x), Some(y)) = (by_setting.get(one), by_setting.get(other)) else { continue };
                for (key, cell) in x {
                    let Some((a, b)) = y.get(key).and_then(|c| Some((cell.row.as_ref()?, c.row.as_ref()?))) else {
                        continue;
                    };
                    e.cells += 1;
                    e.other_input += usize::from(a.input_sha256 != b.input_sha256);
                    e.other_output += usize::from(a.output_ids_sha256 != b.output_ids_sha256);
                    e.other_label += usize::from(y.get(key).is_some_and(|c| c.label != cell.label));
                }
            }
            change(evidence, &matched, arms, options, &mut e)?;
            out.push(e);
        }
    }
    Ok(out)
}

/// Fills Δ under both levels and its change.
fn change(
    evidence: &Evidence,
    matched: &[(&Factors, Factors)],
    arms: [&str; 2],
    options: &Options,
    e: &mut FactorEffect,
) -> Result<()> {
    let mut sums = [(0.0, 0usize); 2];
    let (mut changes, mut clusters) = (Vec::new(), Vec::new());
    for (one, other) in matched {
        let sides = [*one, other].map(|s| {
            let pairs = pairs(evidence, arms, s);
            let counted = Counted::new(&pairs, options.endpoint);
            let each = counted.index.iter().zip(counted.differences());
            each.filter_map(|(at, d)| {
                let p = &pairs.get(*at)?.first.place;
                Some(((p.item_id.clone(), p.paraphrase, p.repeat), (d, p.cluster_id.clone())))
            })
            .collect::<BTreeMap<_, _>>()
        });
        for (key, (d, cluster)) in &sides[0] {
            if let Some((with, _)) = sides[1].get(key) {
                for (sum, d) in sums.iter_mut().zip([d, with]) {
                    *sum = (sum.0 + d, sum.1 + 1);
                }
                changes.push(with - d);
                clusters.push(cluster.clone());
            }
        }
    }
    e.delta_pp = sums.map(|(sum, n)| if n > 0 { 100.0 * sum / n as f64 } else { 0.0 });
    let codes = cluster_codes(&clusters);
    if changes.iter().any(|c| *c != 0.0) && codes.iter().any(|c| *c > 0) {
        let mut r = cluster_bootstrap_mean(&changes, &codes, BootstrapInterval::Percentile, &options.resampling())?;
        r.direction = format!("change of Δ from {} to {}", e.from, e.to);
        e.effect = Some(r);
    }
    Ok(())
}

fn self_flips(checks: &[SelfCheck], factor: Factor, level: &str) -> [u64; 2] {
    let of = checks.iter().filter(|c| factor.level(&c.setting) == level);
    of.fold([0, 0], |[flips, pairs], c| [flips + c.table.b + c.table.c, pairs + c.table.n()])
}
