//! `probity stats`: every statistic of the reports, on counts or on columns of a JSON-lines file.

use std::error::Error;

use clap::Args as _;
use serde::Serialize;
use serde_json::{Value, json};

use self::args::*;
use self::columns::{Paired, RowArgs, outcomes};
use super::Usage;
use crate::stats::{self as s, Design, OrderGroup, PairedTable, Resampling, StatResult};

pub use self::args::Args;

mod args;
mod columns;
mod models;
#[cfg(test)]
mod tests;

type Boxed<T> = Result<T, Box<dyn Error>>;

/// Runs the command.
pub fn run(args: Args) -> Boxed<i32> {
    let value = evaluate(&args)?;
    if args.json {
        println!("{}", serde_json::to_string_pretty(&value)?);
    } else {
        print!("{}", table(&value));
    }
    Ok(0)
}

fn evaluate(args: &Args) -> Boxed<Value> {
    let level = args.level;
    let value = match &args.test {
        Test::List => list(),
        Test::Wilson { x, n } => show(s::wilson(*x, *n, level)?)?,
        Test::TwoProportion(g) => g.with(|x1, n1, x2, n2| s::two_proportion_z(x1, n1, x2, n2, level))?,
        Test::Newcombe(g) => g.with(|x1, n1, x2, n2| s::newcombe(x1, n1, x2, n2, level))?,
        Test::Fisher { a, b, c, d } => show(s::fisher_exact(*a, *b, *c, *d)?)?,
        Test::Mcnemar { table, method } => {
            let t = table.get(false)?;
            show(s::mcnemar(t.b, t.c, (*method).into(), level)?)?
        }
        Test::McnemarClustered(d) => {
            let labels: Vec<&str> = d.cluster.as_deref().into_iter().collect();
            let p = d.rows.paired(&labels)?;
            let codes = p.labels.first().cloned().unwrap_or_else(|| (0..p.x.len()).collect());
            noted(s::mcnemar_clustered(&outcomes(&p.x)?, &outcomes(&p.y)?, &codes)?, p.dropped)?
        }
        Test::PairedOddsRatio(table) => {
            let t = table.get(false)?;
            show(s::paired_odds_ratio(t.b, t.c, level)?)?
        }
        Test::Tango { table, null } => show(s::tango_test(table.get(true)?, *null, level)?)?,
        Test::NewcombePaired(t) => show(s::newcombe_paired(t.get(true)?, level)?)?,
        Test::Agreement(t) => show(s::agreement(t.get(true)?, level)?)?,
        Test::TostPairedProportions { table, margin, alpha } => {
            show(s::tost_paired_proportions(table.get(true)?, *margin, *alpha)?)?
        }
        Test::MainlandGart { first, second } => by_order(first, second, s::mainland_gart)?,
        Test::DiscordantLogit { first, second } => by_order(first, second, |x, y| s::discordant_logit(x, y, level))?,
        Test::StudentT(d) => show(d.with(s::student_t_from_summary, s::student_t, level)?)?,
        Test::WelchT(d) => show(d.with(s::welch_t_from_summary, s::welch_t, level)?)?,
        Test::PairedT(rows) => paired(rows, |p| s::paired_t(&p.x, &p.y, level))?,
        Test::TInterval { values, rows } if !values.is_empty() && !rows.given() => show(s::t_interval(values, level)?)?,
        Test::TInterval { rows, .. } => show(s::t_interval(&rows.paired(&[])?.differences(), level)?)?,
        Test::ClusterT(d) => d.with(|v, c| s::cluster_t(v, c, level))?,
        Test::Wilcoxon { rows, method } => {
            let method = match method {
                WilcoxonKind::Auto => s::WilcoxonMethod::Auto,
                WilcoxonKind::Exact => s::WilcoxonMethod::Exact,
                WilcoxonKind::Normal => s::WilcoxonMethod::Normal,
            };
            paired(rows, |p| s::wilcoxon(&p.x, &p.y, method))?
        }
        Test::MannWhitney(rows) => {
            let (x, y) = rows.samples()?;
            show(s::mann_whitney(&x, &y)?)?
        }
        Test::TostPaired { data, margin, alpha } => {
            if data.cluster.is_some() {
                data.with(|v, c| s::tost_cluster_mean(v, c, -margin, *margin, *alpha))?
            } else {
                paired(&data.rows, |p| s::tost_paired(&p.x, &p.y, -margin, *margin, *alpha))?
            }
        }
        Test::TostLogRatio { rows, margin, alpha } => paired(rows, |p| s::tost_log_ratio(&p.x, &p.y, *margin, *alpha))?,
        Test::ClusterBootstrap { data, resample, interval } => {
            data.with(|v, c| s::cluster_bootstrap_mean(v, c, (*interval).into(), &resample.at(level)))?
        }
        Test::HierarchicalBootstrap { data, resample, seed_column, nested, fixed_seeds } => {
            let cluster = data.cluster.as_deref().ok_or_else(|| Usage("give --cluster COLUMN, the prompt".into()))?;
            let p = data.rows.paired(&[seed_column, cluster])?;
            let draw = if *nested { s::PromptDraw::Nested } else { s::PromptDraw::Crossed };
            let opts = resample.at(level);
            let (seeds, prompts) = (&p.labels[0], &p.labels[1]);
            show(s::hierarchical_bootstrap(&p.differences(), seeds, prompts, draw, !fixed_seeds, &opts)?)?
        }
        Test::SignFlip { data, resample } => data.with(|v, c| s::sign_flip(v, c, &resample.at(level)))?,
        Test::Auroc { rows, score, second, label, positive } => {
            let (a, b, truth) = rows.scores(score, second.as_deref(), label, positive.as_deref())?;
            match second {
                Some(_) => show(s::delong_compare(&a, &b, &truth, level)?)?,
                None => show(s::auroc(&a, &truth, level)?)?,
            }
        }
        Test::Model(model) => model.evaluate(level)?,
        Test::Holm { p, alpha } => show(s::holm(p, *alpha)?)?,
        Test::Invariance { monitored, neutral, unmonitored } => json!({
            "test": "invariance",
            "method": "1 - |monitored - unmonitored| / (neutral + 1e-8)",
            "estimate": s::invariance_score(*monitored, *neutral, *unmonitored),
            "cue_ratio": s::cue_ratio(*monitored, *unmonitored),
        }),
        Test::SmallestP { design, n, n2, resamples, alpha } => {
            let design = match design {
                DesignKind::Sign => Design::Sign { n: *n },
                DesignKind::MidP => Design::MidP { n: *n },
                DesignKind::SignFlip => Design::SignFlip { clusters: *n, resamples: *resamples },
                DesignKind::Permutation => Design::Permutation { n1: *n, n2: *n2 },
                DesignKind::MonteCarlo => Design::MonteCarlo { resamples: *resamples },
            };
            let (p, needed) = (s::smallest_p(design), s::groups_needed(*alpha)?);
            json!({ "test": "smallest-p", "smallest_p": p, "alpha": alpha, "reachable": p <= *alpha,
                    "groups_needed_by_a_sign_test": needed })
        }
        Test::PowerPairedT { dz, plan } => plan.show(
            "power-paired-t",
            |n| s::power_paired_t(n, *dz, plan.alpha),
            || s::n_for_paired_t(*dz, plan.target, plan.alpha),
        )?,
        Test::PowerTost { dz, margin, plan } => plan.show(
            "power-tost",
            |n| s::power_tost(n, *dz, *margin, plan.alpha),
            || s::n_for_tost(*dz, *margin, plan.target, plan.alpha),
        )?,
        Test::PowerMcnemar { p_b, p_c, method, plan } => plan.show(
            "power-mcnemar",
            |n| s::power_mcnemar(n, *p_b, *p_c, (*method).into(), plan.alpha),
            || s::n_for_mcnemar(*p_b, *p_c, (*method).into(), plan.target, plan.alpha),
        )?,
    };
    Ok(value)
}

fn show(result: impl Serialize) -> Boxed<Value> {
    Ok(serde_json::to_value(result)?)
}

/// A paired test on columns, with a note where pairs were left out.
fn paired(rows: &RowArgs, test: impl Fn(&Paired) -> s::Result<StatResult>) -> Boxed<Value> {
    let p = rows.pairs()?;
    noted(test(&p)?, p.dropped)
}

fn noted(mut result: StatResult, dropped: usize) -> Boxed<Value> {
    if dropped > 0 {
        result.notes.push(format!("{dropped} row group(s) without a partner were left out"));
    }
    show(result)
}

/// A test of condition and order on the discordant pairs of both order groups.
fn by_order(
    first: &[u64],
    second: &[u64],
    test: impl Fn(OrderGroup, OrderGroup) -> s::Result<(StatResult, StatResult)>,
) -> Boxed<Value> {
    let group = |v: &[u64]| match v {
        [only_1, only_2] => Ok(OrderGroup { only_1: *only_1, only_2: *only_2 }),
        _ => Err(Usage("give --first ONLY_1 ONLY_2 and --second ONLY_1 ONLY_2".into())),
    };
    let (condition, order) = test(group(first)?, group(second)?)?;
    Ok(json!({ "condition": condition, "order": order }))
}

impl Groups {
    fn with(&self, test: impl Fn(u64, u64, u64, u64) -> s::Result<StatResult>) -> Boxed<Value> {
        if let (Some(x1), Some(n1), Some(x2), Some(n2)) = (self.x1, self.n1, self.x2, self.n2) {
            return show(test(x1, n1, x2, n2)?);
        }
        if !self.rows.given() {
            return Err(Usage("give --x1 --n1 --x2 --n2, or --jsonl FILE with columns".into()).into());
        }
        let (x, y) = self.rows.samples()?;
        let count = |v: &[f64]| Ok::<_, Box<dyn Error>>(outcomes(v)?.iter().filter(|b| **b).count() as u64);
        show(test(count(&x)?, x.len() as u64, count(&y)?, y.len() as u64)?)
    }
}

impl Table {
    /// The table; `whole` where a and d matter too.
    fn get(&self, whole: bool) -> Boxed<PairedTable> {
        if let (Some(b), Some(c)) = (self.b, self.c) {
            if whole && (self.a.is_none() || self.d.is_none()) {
                return Err(Usage("this needs the concordant pairs too: --a (both) and --d (neither)".into()).into());
            }
            return Ok(PairedTable { a: self.a.unwrap_or(0), b, c, d: self.d.unwrap_or(0) });
        }
        if !self.rows.given() {
            return Err(Usage("give --b and --c (and --a, --d), or --jsonl FILE with columns".into()).into());
        }
        let p = self.rows.pairs()?;
        Ok(PairedTable::from_pairs(&outcomes(&p.x)?, &outcomes(&p.y)?)?)
    }
}

impl Samples {
    fn with(
        &self,
        of_summaries: fn(s::Summary, s::Summary, f64) -> s::Result<StatResult>,
        of_values: fn(&[f64], &[f64], f64) -> s::Result<StatResult>,
        level: f64,
    ) -> Boxed<StatResult> {
        if let (Some(x), Some(y)) = (&self.summary_x, &self.summary_y) {
            return Ok(of_summaries(summary(x)?, summary(y)?, level)?);
        }
        if !self.rows.given() {
            return Err(Usage("give --summary-x and --summary-y, or --jsonl FILE with columns".into()).into());
        }
        let (x, y) = self.rows.samples()?;
        Ok(of_values(&x, &y, level)?)
    }
}

fn summary(v: &[f64]) -> Result<s::Summary, Usage> {
    match v {
        [mean, sd, n] if n.fract() == 0.0 && (2.0..=1e9).contains(n) => {
            Ok(s::Summary { n: *n as u64, mean: *mean, sd: *sd })
        }
        _ => Err(Usage("a summary is MEAN SD N with a whole N of at least 2".into())),
    }
}

impl Clustered {
    fn with(&self, test: impl Fn(&[f64], &[usize]) -> s::Result<StatResult>) -> Boxed<Value> {
        let labels: Vec<&str> = self.cluster.as_deref().into_iter().collect();
        let p = self.rows.paired(&labels)?;
        let values = p.differences();
        let codes = p.labels.first().cloned().unwrap_or_else(|| (0..values.len()).collect());
        noted(test(&values, &codes)?, p.dropped)
    }
}

impl Resample {
    /// Options of a resampling at this level.
    fn at(&self, level: f64) -> Resampling {
        Resampling { resamples: self.resamples, seed: self.seed, level }
    }
}

impl Plan {
    fn show(
        &self,
        test: &str,
        power: impl Fn(u64) -> s::Result<f64>,
        needed: impl Fn() -> s::Result<Option<u64>>,
    ) -> Boxed<Value> {
        match self.n {
            Some(n) => Ok(json!({ "test": test, "n": n, "alpha": self.alpha, "power": power(n)? })),
            None => {
                let n = needed()?;
                let reached = n.map(&power).transpose()?;
                Ok(json!({ "test": test, "target": self.target, "alpha": self.alpha, "n": n, "power": reached }))
            }
        }
    }
}

/// Names and one-line descriptions, from the command line's own definition.
fn list() -> Value {
    let command = Args::augment_args(clap::Command::new("stats"));
    let about = |c: &clap::Command| c.get_about().map(ToString::to_string).unwrap_or_default();
    let names = command.get_subcommands().filter(|c| c.get_name() != "list");
    Value::Object(names.map(|c| (c.get_name().to_string(), Value::from(about(c)))).collect())
}

/// A result as aligned lines, one value each; nested objects are indented under their name.
fn table(value: &Value) -> String {
    let mut out = String::new();
    lines(value, 0, &mut out);
    out
}

fn lines(value: &Value, indent: usize, out: &mut String) {
    let Some(object) = value.as_object() else { return };
    let width = object.keys().map(String::len).max().unwrap_or(0).max(24 - indent.min(24));
    for (key, v) in object {
        let text = match v {
            Value::Object(ci) if ci.contains_key("low") && ci.contains_key("high") => {
                let level = ci.get("level").and_then(Value::as_f64).unwrap_or(f64::NAN);
                format!("{} to {}  ({:.4} %)", plain(&ci["low"]), plain(&ci["high"]), level * 100.0)
                    .replace(".0000 %", " %")
            }
            Value::Object(_) => {
                out.push_str(&format!("{:indent$}{key}\n", ""));
                lines(v, indent + 2, out);
                continue;
            }
            Value::Array(items) if items.iter().all(Value::is_string) => {
                items.iter().map(plain).collect::<Vec<_>>().join("; ")
            }
            Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join("  "),
            other => plain(other),
        };
        out.push_str(&format!("{:indent$}{key:<width$}  {text}\n", ""));
    }
}

/// Six significant digits; the JSON form has all of them.
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null => "none (above 100,000)".into(),
        Value::Number(n) if n.is_f64() => {
            let v = n.as_f64().unwrap_or(f64::NAN);
            if v == 0.0 || v == v.trunc() && v.abs() < 1e6 {
                return format!("{v}");
            }
            if !(1e-4..1e6).contains(&v.abs()) {
                return format!("{v:.5e}");
            }
            let decimals = (5 - v.abs().log10().floor() as i32).max(0) as usize;
            let text = format!("{v:.decimals$}");
            if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').into() } else { text }
        }
        other => other.to_string(),
    }
}
