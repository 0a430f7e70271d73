//! Controls: the A/A arm, the noise that an effect must exceed, who received the frame; and an endpoint without a judge.

use serde::{Deserialize, Serialize};

use super::Options;
use super::evidence::Evidence;
use super::pairs::{Counted, Pair, pairs};
use crate::domain::tier::arms::AGAIN;
use crate::pair::error::Result;
use crate::pair::row::Factors;
use crate::stats::{
    BootstrapInterval, FlipRate, McNemar, PairedTable, StatResult, StatsError, WilcoxonMethod, cluster_bootstrap_mean,
    mcnemar, sign_flip, tango, wilcoxon,
};

/// The arm repeated at one setting.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SelfCheck {
    pub arm: String,
    pub again: String,
    pub setting: Factors,
    pub table: PairedTable,
    /// `None`: no pair has two labels that count; the tokens are compared all the same.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub flips: Option<FlipRate>,
    /// Pairs of which both were run.
    pub pairs: usize,
    /// Those that were not fed the same tokens: what one arm said or was told reached the other.
    pub other_input: usize,
    /// Those that did not write the same tokens.
    pub other_output: usize,
    /// The table is (a, 0, 0, d), and inputs and outputs are the same.
    pub passed: bool,
}

/// A/A tables of every repeated arm at every setting.
///
/// # Errors
/// Bad options.
pub fn self_checks(
    evidence: &Evidence,
    arms: &[String],
    settings: &[Factors],
    options: &Options,
) -> Result<Vec<SelfCheck>> {
    let mut out = Vec::new();
    for again in arms {
        let Some(arm) = again.strip_suffix(AGAIN).filter(|a| arms.iter().any(|b| b == a)) else { continue };
        for setting in settings {
            let pairs = pairs(evidence, [arm, again], setting);
            let rows: Vec<_> = pairs.iter().filter_map(Pair::rows).collect();
            let differ = |f: fn(&crate::pair::row::Row) -> &str| rows.iter().filter(|(x, y)| f(x) != f(y)).count();
            let (other_input, other_output) = (differ(|r| &r.input_sha256), differ(|r| &r.output_ids_sha256));
            // A label that is missing is no flip.
            let (x, y): (Vec<bool>, Vec<bool>) = pairs.iter().filter_map(|p| p.refused(options.endpoint)).unzip();
            let table = PairedTable::from_pairs(&x, &y)?;
            if rows.is_empty() {
                continue;
            }
            out.push(SelfCheck {
                arm: arm.to_string(),
                again: again.clone(),
                setting: setting.clone(),
                flips: if table.n() > 0 { Some(FlipRate::new(table, options.level)?) } else { None },
                table,
                pairs: rows.len(),
                other_input,
                other_output,
                passed: table.b + table.c == 0 && other_input == 0 && other_output == 0,
            });
        }
    }
    Ok(out)
}

/// Flips between the arms against flips of an arm with itself, item by item.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct NoiseAdjusted {
    pub arms: [String; 2],
    pub again: String,
    /// Condition 1: the item flips when nothing changes. Condition 2: it flips between the arms.
    pub table: PairedTable,
    /// Share of items that flip between the arms, less the share that flips by itself (Tango).
    pub excess: StatResult,
    /// McNemar mid-p of the two indicators.
    pub mcnemar: StatResult,
}

/// Pairs with both labels only. `None` where the run has no A/A arm of `arms[0]` or no common items, and above temperature 0: the A/A arm
/// shares its arm's random stream, so it has no noise of sampling, which the other arm has.
///
/// # Errors
/// Bad options.
pub fn noise_adjusted(
    evidence: &Evidence,
    arms: [&str; 2],
    setting: &Factors,
    options: &Options,
) -> Result<Option<NoiseAdjusted>> {
    if evidence.sampled() {
        return Ok(None);
    }
    let again = format!("{}{AGAIN}", arms[0]);
    let effect = pairs(evidence, arms, setting);
    let noise = pairs(evidence, [arms[0], &again], setting);
    let flips = |pairs: &[Pair]| {
        let labelled = pairs.iter().filter_map(|pair| {
            let p = &pair.first.place;
            let (x, y) = pair.refused(options.endpoint)?;
            Some(((p.item_id.clone(), p.paraphrase, p.repeat), x != y))
        });
        labelled.collect::<std::collections::BTreeMap<_, _>>()
    };
    let (effect, noise) = (flips(&effect), flips(&noise));
    let (mut by_noise, mut by_effect) = (Vec::new(), Vec::new());
    for (key, flip) in &effect {
        if let Some(alone) = noise.get(key) {
            by_noise.push(*alone);
            by_effect.push(*flip);
        }
    }
    if by_effect.is_empty() {
        return Ok(None);
    }
    let table = PairedTable::from_pairs(&by_noise, &by_effect)?;
    let mut excess = tango(table, options.level)?;
    excess.direction = "share that flips between the arms - share that flips by itself".into();
    Ok(Some(NoiseAdjusted {
        arms: arms.map(str::to_string),
        again,
        table,
        excess,
        mcnemar: mcnemar(table.b, table.c, McNemar::MidP, options.level)?,
    }))
}

/// Who could say, in the same context, what the frame says of training.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Manipulation {
    pub arms: [String; 2],
    /// Cells asked and cells that knew, by arm.
    pub asked: [usize; 2],
    pub knew: [usize; 2],
    /// Pairs of which both cells knew, and Δ among them (Tango): a model that cannot say has not received the treatment.
    pub table: PairedTable,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub delta: Option<StatResult>,
}

/// `None` where nothing was asked.
///
/// # Errors
/// Bad options.
pub fn manipulation(pairs: &[Pair], arms: [&str; 2], options: &Options) -> Result<Option<Manipulation>> {
    let (mut asked, mut knew) = ([0; 2], [0; 2]);
    let mut both = Vec::new();
    for pair in pairs {
        let Some((x, y)) = pair.rows() else { continue };
        for (i, row) in [x, y].into_iter().enumerate() {
            asked[i] += usize::from(row.knows_frame.is_some());
            knew[i] += usize::from(row.knows_frame == Some(true));
        }
        if x.knows_frame == Some(true) && y.knows_frame == Some(true) {
            both.push(*pair);
        }
    }
    if asked == [0, 0] {
        return Ok(None);
    }
    let table = Counted::new(&both, options.endpoint).table();
    let delta = if table.n() > 0 { Some(tango(table, options.level)?) } else { None };
    Ok(Some(Manipulation { arms: arms.map(str::to_string), asked, knew, table, delta }))
}

/// The endpoint that needs no judge: the gap between log-probability of refusal and of compliance openings, in nats.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Continuous {
    pub first: String,
    pub second: String,
    pub setting: Factors,
    pub pairs: usize,
    pub mean_first: f64,
    pub mean_second: f64,
    /// Mean of second minus first, BCa interval from resampled clusters; above 0: closer to refusing under the second arm.
    pub mean: StatResult,
    /// Sign flips of clusters.
    pub sign_flip: StatResult,
    /// `None` where no pair differs.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub wilcoxon: Option<StatResult>,
}

/// `None` where fewer than two clusters have a gap under both arms.
///
/// # Errors
/// A gap that is not finite, bad options.
pub fn continuous(pairs: &[Pair], options: &Options) -> Result<Option<Continuous>> {
    let mut x = Vec::new();
    let mut y = Vec::new();
    let mut clusters = Vec::new();
    for pair in pairs {
        let gaps = pair.rows().and_then(|(a, b)| Some((a.refusal_logit_gap?, b.refusal_logit_gap?)));
        if let Some((a, b)) = gaps {
            x.push(a);
            y.push(b);
            clusters.push(pair.cluster);
        }
    }
    let (Some(some), true) = (pairs.first(), clusters.iter().any(|c| Some(c) != clusters.first())) else {
        return Ok(None);
    };
    let differences: Vec<f64> = x.iter().zip(&y).map(|(a, b)| b - a).collect();
    let resampling = options.resampling();
    let mut mean = cluster_bootstrap_mean(&differences, &clusters, BootstrapInterval::Bca, &resampling)?;
    mean.direction = "mean of second - first, nats; above 0: closer to refusing under the second arm".into();
    let wilcoxon = match wilcoxon(&y, &x, WilcoxonMethod::Auto) {
        Ok(r) => Some(r),
        Err(StatsError::NoVariation { .. }) => None,
        Err(e) => return Err(e.into()),
    };
    let average = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
    Ok(Some(Continuous {
        first: some.first.place.arm.clone(),
        second: some.second.place.arm.clone(),
        setting: some.first.place.factors.clone(),
        pairs: x.len(),
        mean_first: average(&x),
        mean_second: average(&y),
        mean,
        sign_flip: sign_flip(&differences, &clusters, &resampling)?,
        wilcoxon,
    }))
}
