//! Small helpers for figures and tables: orders and intervals.

use std::collections::BTreeMap;

use super::error::Result;
use super::record::Row;
use super::rows::{ItemMean, Key};
use super::verdict::StatisticsConfig;
use crate::stats::{BootstrapInterval, cluster_bootstrap_mean, cluster_codes};

fn in_order(rows: &[Row], known: &[&str], field: impl Fn(&Row) -> &str) -> Vec<String> {
    let mut seen: Vec<String> = Vec::new();
    for r in rows {
        if !seen.iter().any(|s| s == field(r)) {
            seen.push(field(r).to_string());
        }
    }
    let rank = |s: &String| known.iter().position(|k| k == s).unwrap_or(known.len());
    seen.sort_by_key(rank);
    seen
}

/// Families in order of appearance, trained ones first.
pub fn families(rows: &[Row]) -> Vec<String> {
    let mut f = in_order(rows, &[], |r| &r.family);
    f.sort_by_key(|name| rows.iter().any(|r| &r.family == name && r.split == "held_out"));
    f
}

/// Arms, `base`, `control`, `value` first.
pub fn arms(rows: &[Row]) -> Vec<String> {
    in_order(rows, &["base", "control", "value"], |r| &r.arm)
}

/// Conditions, `neutral`, `monitored`, `unmonitored` first.
pub fn conditions(rows: &[Row]) -> Vec<String> {
    in_order(rows, &["neutral", "monitored", "unmonitored"], |r| &r.condition)
}

/// Mean over items of one family, arm and condition, with a percentile interval over canonical prompts.
pub fn mean_interval(
    rows: &[Row],
    means: &BTreeMap<Key, ItemMean>,
    family: &str,
    arm: &str,
    condition: &str,
    value: &dyn Fn(&ItemMean) -> f64,
    c: &StatisticsConfig,
) -> Result<(f64, f64, f64)> {
    let canonical: BTreeMap<&str, &str> =
        rows.iter().filter(|r| r.family == family).map(|r| (r.item.as_str(), r.canonical.as_str())).collect();
    let (mut values, mut prompts) = (Vec::new(), Vec::new());
    for (k, m) in means {
        if let Some(p) = canonical.get(k.item.as_str())
            && k.arm == arm
            && k.condition == condition
        {
            values.push(value(m));
            prompts.push(*p);
        }
    }
    let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
    if values.len() < 2 || values.iter().all(|v| *v == values[0]) {
        return Ok((mean, mean, mean));
    }
    let mut opts = c.resampling();
    opts.resamples = opts.resamples.min(2000);
    let r = cluster_bootstrap_mean(&values, &cluster_codes(&prompts), BootstrapInterval::Percentile, &opts)?;
    Ok((mean, r.ci.map_or(mean, |c| c.low), r.ci.map_or(mean, |c| c.high)))
}
