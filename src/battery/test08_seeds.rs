//! Test 8: does the effect come back with every seed?

use super::error::Result;
use super::power::power_of_means;
use super::record::{Cell, Decoding, Effect, Figure, Headline, Outcome, Row, Table, TestResult, Verdict};
use super::rows::{Measure, Paired, Side, paired, shown};
use super::verdict::effect;
use super::{Context, count_distinct, figures, health};
use crate::domain::{Measured, Readout};
use crate::stats::{describe, t_interval, tost_one_sample};

pub const ID: &str = "08-seeds";

/// Mean paired difference of every seed, `value − control`, over the items that pass; empty where a seed has none (the paper profile
/// holds nothing out).
fn by_seed(rows: &[Row], measure: Measure, seeds: &[u64], held_out: bool) -> Vec<f64> {
    let side = |arm| Side { arm, condition: "neutral" };
    let mean = |seed: u64| {
        let of = |r: &Row| r.seed == seed && (r.split == "held_out") == held_out;
        let d = paired(rows, measure, side("value"), side("control"), of);
        (!d.values.is_empty()).then(|| d.values.iter().sum::<f64>() / d.values.len() as f64)
    };
    seeds.iter().map(|&s| mean(s)).collect::<Option<_>>().unwrap_or_default()
}

/// The study's table: accuracy and tokens of every arm and family, mean and standard deviation (ddof 1) over seeds. First sample of
/// each item.
fn over_seeds(rows: &[Row], seeds: &[u64], m: &Measured) -> Table {
    let (mean, sd) = match m.readout {
        Readout::Tokens => ("tokens, mean".to_string(), "tokens, sd".to_string()),
        Readout::LogOdds => (format!("{}, mean", m.words.measure), format!("{}, sd", m.words.measure)),
    };
    let columns = ["arm", m.words.family, "seeds", "accuracy, mean", "accuracy, sd", &mean, &sd];
    let mut table = Table {
        title: "Mean and standard deviation over seeds (first sample of each item)".into(),
        columns: columns.map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for arm in figures::arms(rows) {
        for family in figures::families(rows) {
            let of = |seed: u64, value: &dyn Fn(&Row) -> f64| {
                let own: Vec<f64> = rows
                    .iter()
                    .filter(|r| r.arm == arm && r.family == family && r.seed == seed)
                    .filter(|r| r.decoding == Decoding::Sample && r.sample == 0)
                    .map(value)
                    .collect();
                (!own.is_empty()).then(|| own.iter().sum::<f64>() / own.len() as f64)
            };
            let summary = |value: &dyn Fn(&Row) -> f64| {
                let values: Vec<f64> = seeds.iter().filter_map(|&s| of(s, value)).collect();
                let mean = values.iter().sum::<f64>() / values.len().max(1) as f64;
                let sd = describe(&values).map_or(Cell::Text("–".into()), |s| Cell::Number(s.sd));
                (values.len(), Cell::Number(mean), sd)
            };
            let (n, accuracy, accuracy_sd) = summary(&|r| f64::from(u8::from(r.correct == 1.0)));
            let (_, tokens, tokens_sd) = summary(&|r| shown(r, m));
            if n > 0 {
                let names = [Cell::Text(m.arm(&arm).into()), Cell::Text(family.clone()), Cell::Number(n as f64)];
                table.rows.push(names.into_iter().chain([accuracy, accuracy_sd, tokens, tokens_sd]).collect());
            }
        }
    }
    table
}

/// Result from the rows of test 1.
pub fn result(rows: &[Row], ctx: &Context) -> Result<TestResult> {
    let c = &ctx.statistics;
    let w = ctx.measure.words;
    let n = ctx.seeds.len();
    let (val, families) = (w.arm("value"), w.families);
    let effects_of = |measure, held_out| by_seed(rows, measure, &ctx.seeds, held_out);
    let (length, trained) = (effects_of(Measure::Behaviour, true), effects_of(Measure::Behaviour, false));
    let accuracy = effects_of(Measure::Correct, true);
    let mut checks = ctx.training.clone();
    checks.push(health::at_least("seeds", n, ctx.rules.fewest_seeds));
    checks.push(health::at_least("seeds with held-out items", length.len(), n));

    let mut table = Table {
        title: format!("Effect of the value reward by seed ({val} − control)"),
        columns: vec![
            "seed".into(),
            format!("{}, held out", w.measure),
            format!("{}, trained", w.measure),
            "accuracy, held out".into(),
        ],
        rows: Vec::new(),
    };
    let mut effects = Vec::new();
    for (i, seed) in ctx.seeds.iter().enumerate() {
        let number = |v: &[f64]| v.get(i).map_or(Cell::Text("–".into()), |x| Cell::Number(*x));
        table.rows.push(vec![Cell::Text(seed.to_string()), number(&length), number(&trained), number(&accuracy)]);
        let of = |r: &Row| r.seed == *seed && r.split == "held_out";
        let d: Paired = paired(
            rows,
            Measure::Behaviour,
            Side { arm: "value", condition: "neutral" },
            Side { arm: "control", condition: "neutral" },
            of,
        );
        if d.values.len() > 1 {
            effects.extend(effect(&format!("{}, held-out {families}, seed {seed}", w.measure), &d, c, None).ok());
        }
    }
    let contrast = format!("{}, {val} − control, held-out {families}", w.measure);
    let summary = match describe(&length) {
        Ok(s) if n > 1 => {
            format!("{contrast}: {:+.3} ± {:.3} (sd over {n} seeds)", s.mean, s.sd)
        }
        _ => format!("{contrast}: {:+.3} (one seed)", length.first().copied().unwrap_or(f64::NAN)),
    };
    let figure = Figure::Forest {
        id: format!("{ID}-forest"),
        title: "Effect by seed".into(),
        axis: match ctx.measure.readout {
            Readout::Tokens => "log ratio of tokens, value over control, held-out families".into(),
            Readout::LogOdds => format!("{}, {val} − control, held-out {families}", w.difference),
        },
        margin: Some(ctx.measure.margin),
        effects: effects.clone(),
    };
    let verdict = match super::blocking(&checks) {
        Some(reason) => Verdict {
            would_change: format!(
                "At least {} seeds; with fewer, equal signs are no surprise.",
                ctx.rules.fewest_seeds
            ),
            ..super::not_tested(reason)
        },
        None => super::settled(decide(&length, ctx).map(|v| (v, Vec::new())))?.0,
    };
    effects.extend(verdict.primary.clone());
    Ok(TestResult {
        number: 8,
        id: ID.into(),
        title: "Seed replication".into(),
        question: "Does the effect come back when training is repeated with other seeds?".into(),
        headline: Headline { summary, tables: vec![over_seeds(rows, &ctx.seeds, &ctx.measure), table] },
        verdict,
        effects,
        n_items: count_distinct(rows, |r| &r.item),
        n_prompts: count_distinct(rows, |r| &r.canonical),
        n_rows: rows.len(),
        n_seeds: n,
        health: checks,
        figures: vec![figure],
        rows_of: Some("01-generalisation".into()),
        power: power_of_means(&[(&contrast, length, Some(ctx.measure.margin))], "seeds", c),
        key: ctx.key.clone(),
    })
}

fn decide(length: &[f64], ctx: &Context) -> Result<Verdict> {
    let c = &ctx.statistics;
    let (w, margin, show) = (ctx.measure.words, ctx.measure.margin, |e: f64| ctx.measure.show(e));
    let mut would_change = "A seed whose effect has the other sign.".to_string();
    // Equal effects in all seeds leave no variation to test against.
    let t = t_interval(length, c.level);
    let Ok(t) = t else {
        return Ok(super::not_tested(format!("the {} per-seed effects do not vary", length.len())));
    };
    let ci = t.ci.map_or((f64::NAN, f64::NAN), |i| (i.low, i.high));
    let estimate = t.estimate.unwrap_or(f64::NAN);
    let primary = Effect {
        name: format!("{}, {} − control, held-out {}, over seeds", w.measure, w.arm("value"), w.families),
        estimate,
        low: ci.0,
        high: ci.1,
        level: c.level,
        method: t.method,
        margin: Some(margin),
    };
    let p = t.p.unwrap_or(1.0);
    let negative = length.iter().filter(|e| **e < 0.0).count();
    let found = format!(
        "{} of {} seeds {}; over seeds {} (95 % interval {} to {})",
        negative,
        length.len(),
        w.gains,
        show(estimate),
        show(ci.0),
        show(ci.1)
    );
    let p_equal = tost_one_sample(length, -margin, margin, c.alpha)?.p.unwrap_or(1.0);
    let (outcome, p) = if negative == length.len() && p < c.alpha && p_equal >= c.alpha {
        (Outcome::Supports, p)
    } else if p < c.alpha && estimate > 0.0 {
        would_change = format!("Seeds that {}.", w.gains);
        (Outcome::Refutes, p)
    } else if p_equal < c.alpha {
        would_change = "Seeds whose effect lies beyond the equivalence margin.".into();
        (Outcome::Refutes, p_equal)
    } else {
        would_change = "More seeds, all with the same sign.".into();
        (Outcome::Inconclusive, p)
    };
    Ok(Verdict { outcome, p: Some(p), p_holm: None, primary: Some(primary), reason: format!("{found}."), would_change })
}

#[cfg(test)]
mod tests {
    use super::super::tests::{context, row};
    use super::*;

    /// Rows of seeds whose value arm uses `tokens(seed)` against control's 20 or 21.
    fn run(seeds: u64, tokens: impl Fn(u64) -> u32) -> Verdict {
        let mut rows = Vec::new();
        for seed in 0..seeds {
            for arm in ["control", "value"] {
                for item in 0..20 {
                    let n = if arm == "value" { tokens(seed) } else { 20 } + item as u32 % 2;
                    let r = row(arm, "pattern", "held_out", item, "neutral", 0, n, true);
                    rows.push(Row { seed, ..r });
                }
            }
        }
        let mut ctx = context(10);
        ctx.seeds = (0..seeds).collect();
        result(&rows, &ctx).unwrap().verdict
    }

    #[test]
    fn outcomes() {
        assert_eq!(run(5, |s| 10 + s as u32).outcome, Outcome::Supports);
        assert_eq!(run(5, |s| 30 + s as u32).outcome, Outcome::Refutes);
        // Equivalent to control over seeds.
        assert_eq!(run(6, |s| 20 + u32::from(s == 3)).outcome, Outcome::Refutes);
        // Nothing held out: no effect is made up.
        let rows: Vec<Row> = ["control", "value"]
            .into_iter()
            .flat_map(|arm| (0..5).map(move |seed| (arm, seed)))
            .map(|(arm, seed)| Row { seed, ..row(arm, "pattern", "train", 0, "neutral", 0, 20, true) })
            .collect();
        let mut ctx = context(1);
        ctx.seeds = (0..5).collect();
        let r = result(&rows, &ctx).unwrap();
        assert!(r.verdict.outcome == Outcome::NotTested && r.power.is_none(), "{:?}", r.verdict);
        assert_eq!(r.headline.tables[0].rows.len(), 2);
        // One seed of the other sign: not in every one.
        assert_eq!(run(6, |s| if s == 3 { 22 } else { 10 }).outcome, Outcome::Inconclusive);
        let v = run(3, |s| 10 + s as u32);
        assert!(v.outcome == Outcome::NotTested && v.would_change.contains("5 seeds"), "{}", v.reason);
    }
}
