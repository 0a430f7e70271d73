//! One arm against another at one setting and endpoint.

use serde::{Deserialize, Serialize};

use super::Options;
use super::pairs::{Counted, Pair};
use crate::domain::tier::Endpoint;
use crate::pair::error::Result;
use crate::pair::pilot::FLOOR;
use crate::pair::row::Factors;
use crate::stats::{
    BootstrapInterval, FlipRate, Interval, McNemar, OrderGroup, PairedTable, Resampling, StatResult, StatsError,
    cluster_bootstrap_mean, discordant_logit, mainland_gart, mcnemar, mcnemar_clustered, newcombe_paired,
    paired_odds_ratio, tango, tost_cluster_mean, tost_paired_proportions,
};

/// Arm effect and order effect of discordant pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OrderEffects {
    /// Discordant pairs whose first arm was asked first: refused only under the first, only under the second.
    pub first_asked_first: [u64; 2],
    pub second_asked_first: [u64; 2],
    /// Effect of the arm, free of order (Mainland-Gart).
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub arm: Option<StatResult>,
    /// Effect of the order, which is also the interaction of arm and order group.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub order: Option<StatResult>,
    /// Both again from the logistic model of discordant pairs, log odds: arm, order.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub model: Option<[StatResult; 2]>,
    /// Why something is absent.
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub notes: Vec<String>,
}

/// Statistics of one contrast. Arm 1 is the reference, Δ = p2 − p1.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Contrast {
    pub first: String,
    pub second: String,
    /// In what the two arms differ.
    pub differ_in: String,
    pub setting: Factors,
    pub endpoint: Endpoint,
    pub table: PairedTable,
    pub clusters: usize,
    pub left_out: usize,
    /// Cells without a label in counted pairs, by arm.
    pub missing: [usize; 2],
    /// Δ were the missing labels all against it, all for it, in percentage points.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bounds_pp: Option<[f64; 2]>,
    pub delta_pp: f64,
    /// The direction, in words.
    pub words: String,
    pub tango: StatResult,
    pub newcombe: StatResult,
    /// Mid-p; exact, corrected and plain chi-squared are in its details.
    pub mcnemar: StatResult,
    pub flips: FlipRate,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub odds: Option<StatResult>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub clustered: Option<StatResult>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub bootstrap: Option<StatResult>,
    pub order: OrderEffects,
    pub equivalence: StatResult,
    pub equivalent: bool,
    /// The p, interval (of Δ as a share) and method that a verdict rests on.
    pub p: f64,
    pub interval: Interval,
    pub rests_on: String,
    #[serde(skip_serializing_if = "Vec::is_empty", default)]
    pub warnings: Vec<String>,
}

/// Computes a contrast; `None` where no pair is left.
///
/// # Errors
/// A statistic that cannot be computed on counts that exist: bad options.
pub fn contrast(pairs: &[Pair], endpoint: Endpoint, options: &Options) -> Result<Option<Contrast>> {
    let counted = Counted::new(pairs, endpoint);
    let Some(some) = pairs.first().filter(|_| !counted.first.is_empty()) else { return Ok(None) };
    let (first, second) = (some.first.place.arm.clone(), some.second.place.arm.clone());
    let (table, level) = (counted.table(), options.level);
    let n = table.n();
    let tango = tango(table, level)?;
    let mcnemar = mcnemar(table.b, table.c, McNemar::MidP, level)?;
    let resampling = options.resampling();
    let (bootstrap, clustered) = by_cluster(&counted, &resampling)?;
    let single = counted.n_clusters() as u64 == n;
    let discordant = table.b + table.c > 0;
    let mut warnings = Vec::new();
    let mut equivalence = tost_paired_proportions(table, options.margin(), options.alpha())?;
    let tango_interval = tango.ci.unwrap_or(Interval { low: -1.0, high: 1.0, level });
    let (p, interval, rests_on) = if single {
        (mcnemar.p, tango_interval, "McNemar mid-p, Tango interval")
    } else {
        warnings.push(format!(
            "{n} pairs in {}: the verdict rests on clusters, because pairs of one item or its kin are not independent",
            match counted.n_clusters() {
                1 => "1 cluster".to_string(),
                k => format!("{k} clusters"),
            }
        ));
        match (&clustered, bootstrap.as_ref().and_then(|b| b.ci)) {
            (Some(test), Some(ci)) if discordant => {
                if let Some(by_cluster) = equivalence_by_cluster(&counted, options)? {
                    equivalence = by_cluster;
                }
                (test.p, ci, "clustered McNemar (Obuchowski), cluster bootstrap")
            }
            _ if discordant => {
                warnings.push("one cluster only: nothing can be said beyond it".into());
                (mcnemar.p, tango_interval, "McNemar mid-p, Tango interval, of one cluster")
            }
            _ => {
                // Nothing differs, so a bootstrap has no width: every cluster counts as one pair.
                let by_cluster = PairedTable { d: counted.n_clusters() as u64, ..PairedTable::default() };
                equivalence = tost_paired_proportions(by_cluster, options.margin(), options.alpha())?;
                let ci = crate::stats::tango(by_cluster, level)?.ci.unwrap_or(tango_interval);
                (mcnemar.p, ci, "Tango interval of clusters, none of which differs")
            }
        }
    };
    let p = p.unwrap_or(1.0);
    let bounds = counted.bounds();
    // Whatever the missing labels are, the gap must lie inside.
    let inside = bounds.is_none_or(|b| b.iter().all(|v| v.abs() <= options.margin()));
    let equivalent = inside && equivalence.p.is_some_and(|p| p <= options.alpha());
    if counted.unlabelled > 0 {
        warnings.push(format!("{} pairs are not labelled by hand in both arms and are left out", counted.unlabelled));
    }
    warnings.extend(base_rates(&table, &first, &second));
    let delta = tango.estimate.unwrap_or(0.0);
    Ok(Some(Contrast {
        differ_in: super::words::differ_in(&first, &second),
        setting: some.first.place.factors.clone(),
        endpoint,
        table,
        clusters: counted.n_clusters(),
        left_out: counted.left_out,
        missing: counted.missing,
        bounds_pp: bounds.map(|b| b.map(|v| 100.0 * v)),
        delta_pp: 100.0 * delta,
        words: super::words::direction(&first, &second, delta, endpoint),
        newcombe: newcombe_paired(table, level)?,
        flips: FlipRate::new(table, level)?,
        odds: if discordant { Some(paired_odds_ratio(table.b, table.c, level)?) } else { None },
        order: order_effects(pairs, &counted, level)?,
        first,
        second,
        tango,
        mcnemar,
        clustered,
        bootstrap,
        equivalence,
        equivalent,
        p,
        interval,
        rests_on: rests_on.into(),
        warnings,
    }))
}

/// Cluster bootstrap of Δ and the clustered test; `None` with fewer than two clusters.
fn by_cluster(counted: &Counted, opts: &Resampling) -> Result<(Option<StatResult>, Option<StatResult>)> {
    if counted.n_clusters() < 2 {
        return Ok((None, None));
    }
    let mut bootstrap =
        cluster_bootstrap_mean(&counted.differences(), &counted.clusters, BootstrapInterval::Bca, opts)?;
    bootstrap.direction = "p2 - p1 (second condition minus first)".into();
    Ok((Some(bootstrap), Some(mcnemar_clustered(&counted.first, &counted.second, &counted.clusters)?)))
}

fn equivalence_by_cluster(counted: &Counted, options: &Options) -> Result<Option<StatResult>> {
    let m = options.margin();
    match tost_cluster_mean(&counted.differences(), &counted.clusters, -m, m, options.alpha()) {
        Ok(r) => Ok(Some(r)),
        // Every cluster differs alike: the test on pairs stands.
        Err(StatsError::NoVariation { .. }) => Ok(None),
        Err(e) => Err(e.into()),
    }
}

fn order_effects(pairs: &[Pair], counted: &Counted, level: f64) -> Result<OrderEffects> {
    let mut groups = [[0u64; 2]; 2];
    let mut asked = [0usize; 2];
    for (i, (x, y)) in counted.first.iter().zip(&counted.second).enumerate() {
        let Some(pair) = counted.index.get(i).and_then(|at| pairs.get(*at)) else { continue };
        let group = usize::from(!pair.forward());
        asked[group] += 1;
        if x != y {
            groups[group][usize::from(*y)] += 1;
        }
    }
    let mut out = OrderEffects {
        first_asked_first: groups[0],
        second_asked_first: groups[1],
        arm: None,
        order: None,
        model: None,
        notes: Vec::new(),
    };
    if asked.contains(&0) {
        out.notes.push("one order only: order cannot be told from arm in these pairs".into());
        return Ok(out);
    }
    if groups == [[0; 2]; 2] {
        out.notes.push("no discordant pair: neither effect can be tested".into());
        return Ok(out);
    }
    let [first, second] = groups.map(|[only_1, only_2]| OrderGroup { only_1, only_2 });
    let (arm, order) = mainland_gart(first, second)?;
    (out.arm, out.order) = (Some(arm), Some(order));
    match discordant_logit(first, second, level) {
        Ok((arm, order)) => out.model = Some([arm, order]),
        Err(e) => out.notes.push(format!("logistic model left out: {e}")),
    }
    Ok(out)
}

fn base_rates(t: &PairedTable, first: &str, second: &str) -> Vec<String> {
    let n = t.n() as f64;
    let rates = [(first, (t.a + t.b) as f64 / n), (second, (t.a + t.c) as f64 / n)];
    let low = |rate: f64| rate < FLOOR;
    rates
        .iter()
        .filter(|(_, rate)| low(*rate) || *rate > 1.0 - FLOOR)
        .map(|(arm, rate)| {
            let (side, rarely) = if low(*rate) { ("floor", "hardly ever") } else { ("ceiling", "nearly always") };
            format!("{side}: `{arm}` refuses {:.1} %, {rarely}: a gap has no room to show", 100.0 * rate)
        })
        .collect()
}
