//! Test 1: does the trained value carry over to families that were not trained?

use std::collections::BTreeMap;

use super::error::Result;
use super::power::power_table;
use super::record::{
    BarPanel, Cell, Decoding, Effect, Figure, Headline, Health, Outcome, Row, Series, Table, TestResult, Verdict,
};
use super::rows::{Key, Measure, Side, item_means, paired, room, shown};
use super::verdict::{effect, equivalence_p, permutation_p};
use super::{Context, count_distinct, figures, health};
use crate::domain::measure::{Measured, Readout, capital};
use crate::stats::two_proportion_z;

pub const ID: &str = "01-generalisation";
const HELD_OUT: &str = "held_out";

/// Result from the rows of arms `base`, `control` and `value` under the neutral prompt.
pub fn result(rows: &[Row], ctx: &Context) -> Result<TestResult> {
    let c = &ctx.statistics;
    let side = |arm| Side { arm, condition: "neutral" };
    let held_out = |r: &Row| r.split == HELD_OUT;
    let trained = |r: &Row| r.split != HELD_OUT;
    let (m, margin) = (&ctx.measure, ctx.measure.margin);
    let named = |contrast: &str| format!("{}, {contrast}", m.words.measure);
    let (val, families) = (m.arm("value"), m.words.families);
    let versus = |arm: &str, split: &str| format!("{val} − {}, {split} {families}", m.arm(arm));
    let contrasts = [
        named(&versus("control", "held-out")),
        format!("accuracy, {}", versus("control", "held-out")),
        named(&versus("control", "trained")),
    ];
    let contrast = |measure, f: &dyn Fn(&Row) -> bool| paired(rows, measure, side("value"), side("control"), f);
    let (length, accuracy) = (contrast(Measure::Behaviour, &held_out), contrast(Measure::Correct, &held_out));
    let length_trained = contrast(Measure::Behaviour, &trained);

    let mut checks = health::of_rows(rows, ctx);
    checks.push(health::at_least("held-out items", length.values.len() / length.n_seeds.max(1), ctx.min_items));
    let room = room(rows, m.readout, side("control"), held_out);
    checks.push(Health {
        name: format!("{}, held-out {families}", m.words.room),
        ok: room >= margin,
        fatal: true,
        by_design: false,
        detail: match m.readout {
            Readout::Tokens => format!(
                "the control arm could lose {:.1} % of its tokens there, at least {:.1} % wanted",
                100.0 * (1.0 - (-room).exp()),
                100.0 * (1.0 - (-margin).exp())
            ),
            Readout::LogOdds => format!(
                "the control arm could still move {room:.2} nats there before it is 99 % sure of every truth, at least {margin:.2} wanted"
            ),
        },
    });
    let judge = || -> Result<(Verdict, Vec<Effect>)> {
        let primary = effect(&contrasts[0], &length, c, Some(margin))?;
        let acc = effect(&contrasts[1], &accuracy, c, Some(c.accuracy_margin))?;
        let on_trained = effect(&contrasts[2], &length_trained, c, Some(margin))?;
        let (p, smallest) = permutation_p(&length, c)?;
        let (p_trained, _) = permutation_p(&length_trained, c)?;
        let p_equal = equivalence_p(&length, margin, c)?;
        let evidence = Evidence { primary, accuracy: acc, trained: on_trained, p, smallest, p_trained, p_equal, room };
        let verdict = decide(ctx, &evidence);
        let mut effects = vec![evidence.primary, evidence.accuracy, evidence.trained];
        // Arms that answer briefly without the value reward: would they do as well?
        for arm in ["value-sft", "prompted", "base"] {
            let d = paired(rows, Measure::Behaviour, side("value"), side(arm), held_out);
            if !d.values.is_empty() {
                effects.push(effect(&named(&versus(arm, "held-out")), &d, c, None)?);
            }
        }
        Ok((verdict, effects))
    };
    let (verdict, effects) = match super::blocking(&checks) {
        Some(reason) => (super::not_tested(reason), Vec::new()),
        None => super::settled(judge())?,
    };
    Ok(TestResult {
        number: 1,
        id: ID.into(),
        title: "Generalisation".into(),
        question: m.words.generalises.into(),
        headline: headline(rows, m)?,
        verdict,
        effects,
        n_items: count_distinct(rows, |r| &r.item),
        n_prompts: count_distinct(rows, |r| &r.canonical),
        n_rows: rows.len(),
        n_seeds: ctx.seeds.len(),
        health: checks,
        figures: vec![figure(rows, ctx)?, scatter(rows, m)],
        rows_of: None,
        power: power_table(
            &[
                (&contrasts[0], &length, Some(margin)),
                (&contrasts[1], &accuracy, Some(c.accuracy_margin)),
                (&contrasts[2], &length_trained, Some(margin)),
            ],
            c,
        ),
        key: ctx.key.clone(),
    })
}

/// What the verdict is decided on.
struct Evidence {
    /// Log tokens, value − control, on held-out families; the others likewise.
    primary: Effect,
    accuracy: Effect,
    trained: Effect,
    /// Permutation p of the held-out effect, and the smallest that the design can give.
    p: f64,
    smallest: f64,
    p_trained: f64,
    /// TOST on held-out families.
    p_equal: f64,
    /// Log ratio that control could still lose on held-out families.
    room: f64,
}

fn decide(ctx: &Context, e: &Evidence) -> Verdict {
    let c = &ctx.statistics;
    let &Evidence { ref primary, ref accuracy, ref trained, p, smallest, p_trained, p_equal, room } = e;
    let (w, show) = (ctx.measure.words, |e: f64| ctx.measure.show(e));
    let (val, families) = (w.arm("value"), w.families);
    if smallest > ctx.smallest_useful_p() {
        return super::too_small(smallest, ctx, "items");
    }
    let shorter = p < c.alpha && primary.high < 0.0;
    let longer = p < c.alpha && primary.low > 0.0;
    let non_inferior = accuracy.low > -c.accuracy_margin;
    let carried = format!(
        "on held-out {families} the {val} arm {}{}{} relative to control (95 % interval {} to {}), with accuracy {:+.1} pp ({:+.1} to {:+.1})",
        w.moves[0],
        show(primary.estimate),
        w.moves[1],
        show(primary.low),
        show(primary.high),
        100.0 * accuracy.estimate,
        100.0 * accuracy.low,
        100.0 * accuracy.high
    );
    let on_trained = format!("on trained {families} {}", show(trained.estimate));
    let (outcome, p, reason, would_change) = if shorter && non_inferior {
        (
            Outcome::Supports,
            p,
            format!("{carried}; {on_trained}."),
            format!(
                "An accuracy loss of more than 5 pp, or the same {} in an arm that was not rewarded for it.",
                w.gain
            ),
        )
    } else if longer {
        (
            Outcome::Refutes,
            p,
            format!("{carried}: the opposite direction; {on_trained}."),
            format!("A {} on held-out {families}.", w.gain),
        )
    } else if p_equal < c.alpha && p_trained < c.alpha && trained.high < 0.0 && room < -trained.estimate {
        (
            Outcome::Inconclusive,
            p,
            format!(
                "{carried}: equivalent, {on_trained}; but control is {} on held-out {families} that at most {} was possible there.",
                w.no_room,
                show(-room)
            ),
            w.more_room.into(),
        )
    } else if p_equal < c.alpha && p_trained < c.alpha && trained.high < 0.0 {
        (
            Outcome::Refutes,
            // What is claimed is equivalence there and a difference here: both must hold.
            p_equal.max(p_trained),
            format!(
                "{carried}: equivalent within {}, while {on_trained} — the behaviour stayed where it was trained.",
                ctx.measure.band()
            ),
            format!("A {} on held-out {families} beyond the equivalence margin.", w.gain),
        )
    } else if shorter {
        (
            Outcome::Inconclusive,
            p,
            format!(
                "{carried}: {}, but the accuracy loss cannot be bounded by {:.0} pp.",
                w.better,
                100.0 * c.accuracy_margin
            ),
            "More items, until the accuracy interval excludes or includes the margin.".into(),
        )
    } else if p_equal < c.alpha {
        (
            Outcome::Inconclusive,
            p,
            format!(
                "{carried}: equivalent to control, and {on_trained} — training changed nothing that could generalise."
            ),
            format!("A longer or stronger training that moves the trained {families}."),
        )
    } else {
        (
            Outcome::Inconclusive,
            p,
            format!("{carried}; {on_trained}."),
            format!("More items or seeds than the {} used.", ctx.seeds.len()),
        )
    };
    Verdict { outcome, p: Some(p), p_holm: None, primary: Some(primary.clone()), reason, would_change }
}

/// The study's table: mean tokens and accuracy by family, and an unpaired two-proportion z between the arms. One sample an item.
fn headline(rows: &[Row], m: &Measured) -> Result<Headline> {
    let (mean, val, family_word) = (m.words.mean, m.arm("value"), m.words.family);
    let first: Vec<&Row> = rows.iter().filter(|r| r.decoding == Decoding::Sample && r.sample == 0).collect();
    let mut table = Table {
        title: format!("{} and accuracy by {family_word} (first sample of each item)", capital(mean)),
        columns: [family_word, "split", "arm", "n", mean, "accuracy"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    let mut tests = Table {
        title: format!("Two-proportion z, {val} against control (the study's test: unpaired, uncorrected)"),
        columns: [family_word, "z", "p"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    let mut summary = Vec::new();
    for family in figures::families(rows) {
        let mut counts = [(0u64, 0u64); 2];
        for arm in figures::arms(rows) {
            let of: Vec<&&Row> = first.iter().filter(|r| r.family == family && r.arm == arm).collect();
            let Some(one) = of.first() else { continue };
            let n = of.len() as f64;
            let right = of.iter().filter(|r| r.correct == 1.0).count() as u64;
            let behaviour = of.iter().map(|r| shown(r, m)).sum::<f64>() / n;
            let accuracy = of.iter().map(|r| r.correct).sum::<f64>() / n;
            match arm.as_str() {
                "control" => counts[0] = (right, of.len() as u64),
                "value" => counts[1] = (right, of.len() as u64),
                _ => {}
            }
            table.rows.push(vec![
                Cell::Text(family.clone()),
                Cell::Text(one.split.clone()),
                Cell::Text(m.arm(&arm).into()),
                Cell::Number(n),
                Cell::Number(behaviour),
                Cell::Number(accuracy),
            ]);
        }
        let [(x1, n1), (x2, n2)] = counts;
        if n1 > 0 && n2 > 0 {
            let z = two_proportion_z(x1, n1, x2, n2, 0.95)?;
            let (stat, p) = (z.statistic.unwrap_or(0.0), z.p.unwrap_or(1.0));
            summary.push(format!("{family}: z = {stat:.2}, p = {p:.3}"));
            tests.rows.push(vec![Cell::Text(family), Cell::Number(stat), Cell::Number(p)]);
        }
    }
    Ok(Headline {
        summary: format!("Accuracy, {val} against control — {}", summary.join("; ")),
        tables: vec![table, tests],
    })
}

/// Tokens and accuracy by family and arm, with bootstrap intervals over prompts.
fn figure(rows: &[Row], ctx: &Context) -> Result<Figure> {
    let (families, arms) = (figures::families(rows), figures::arms(rows));
    let names: Vec<String> = arms.iter().map(|a| ctx.measure.arm(a).to_string()).collect();
    let means = item_means(rows);
    let panel = |axis: &str, value: &dyn Fn(&super::rows::ItemMean) -> f64| -> Result<BarPanel> {
        let mut values = Vec::new();
        for family in &families {
            let mut group = Vec::new();
            for arm in &arms {
                group.push(figures::mean_interval(rows, &means, family, arm, "neutral", value, &ctx.statistics)?);
            }
            values.push(group);
        }
        Ok(BarPanel { axis: axis.into(), groups: families.clone(), bars: names.clone(), values })
    };
    Ok(Figure::GroupedBars {
        id: format!("{ID}-bars"),
        title: match ctx.measure.readout {
            Readout::Tokens => "Tokens and accuracy by family and arm".into(),
            Readout::LogOdds => "Log-odds of the untruth and accuracy by topic and arm".into(),
        },
        panels: vec![
            panel(ctx.measure.words.mean, &|i| i.shown(ctx.measure.readout))?,
            panel("accuracy", &|i| i.correct)?,
        ],
    })
}

/// Every item's mean in the value arm against that in control.
fn scatter(rows: &[Row], m: &Measured) -> Figure {
    let means = item_means(rows);
    let family: BTreeMap<&str, &str> = rows.iter().map(|r| (r.item.as_str(), r.family.as_str())).collect();
    let mut series: Vec<Series> = figures::families(rows).into_iter().map(|f| Series::new(f, Vec::new())).collect();
    for (k, control) in means.iter().filter(|(k, _)| k.arm == "control" && k.condition == "neutral") {
        let other = Key { arm: "value".into(), ..k.clone() };
        let own = family.get(k.item.as_str());
        if let (Some(value), Some(s)) =
            (means.get(&other), series.iter_mut().find(|s| own.is_some_and(|f| s.name == *f)))
        {
            s.points.push((control.shown(m.readout), value.shown(m.readout)));
        }
    }
    Figure::Scatter {
        id: format!("{ID}-items"),
        title: format!("{} of every item: {} against control", capital(m.words.mean), m.arm("value")),
        x_axis: "control".into(),
        y_axis: m.arm("value").into(),
        series,
        log: m.readout == Readout::Tokens,
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::{context, row};
    use super::*;

    /// Rows of 40 items a family and 4 samples, whose tokens are those of `tokens(arm, family, item)` and a little noise.
    fn rows(tokens: impl Fn(&str, &str, usize) -> u32, accuracy: impl Fn(&str, usize) -> bool) -> Vec<Row> {
        let mut rows = Vec::new();
        for arm in ["base", "control", "value"] {
            for (family, split) in [("arith", "train"), ("pattern", HELD_OUT)] {
                for item in 0..40 {
                    for sample in 0..4u32 {
                        let n = tokens(arm, family, item) + (item as u32 * 7 + sample * 3) % 2;
                        rows.push(row(arm, family, split, item, "neutral", sample, n, accuracy(arm, item)));
                    }
                }
            }
        }
        rows
    }

    fn outcome(rows: &[Row]) -> (Outcome, String) {
        let v = result(rows, &context(40)).unwrap().verdict;
        (v.outcome, v.reason)
    }

    #[test]
    fn the_four_outcomes() {
        let right = |_: &str, i: usize| !i.is_multiple_of(5);
        // Shorter everywhere, as accurate: the behaviour generalised.
        let everywhere =
            |arm: &str, _: &str, i: usize| if arm == "value" { 8 + i as u32 % 3 } else { 20 + i as u32 % 5 };
        assert_eq!(outcome(&rows(everywhere, right)).0, Outcome::Supports);
        // Shorter, and wrong more often: not frugality.
        let (found, why) = outcome(&rows(everywhere, |arm, i| arm != "value" || i.is_multiple_of(2)));
        assert_eq!(found, Outcome::Inconclusive, "{why}");
        assert!(why.contains("accuracy loss"), "{why}");
        // Shorter only where it was trained.
        let trained = |arm: &str, family: &str, i: usize| {
            if arm == "value" && family == "arith" { 8 } else { 20 + i as u32 % 5 }
        };
        assert_eq!(outcome(&rows(trained, right)).0, Outcome::Refutes);
        // Longer on held-out families.
        let longer = |arm: &str, family: &str, i: usize| {
            if arm == "value" && family == "pattern" { 30 } else { 20 + i as u32 % 5 }
        };
        assert_eq!(outcome(&rows(longer, right)).0, Outcome::Refutes);
        // Training moved nothing.
        let (found, why) = outcome(&rows(|_, _, i| 20 + i as u32 % 5, right));
        assert_eq!(found, Outcome::Inconclusive, "{why}");
        assert!(why.contains("changed nothing"), "{why}");
    }

    #[test]
    fn bare_answers_on_held_out_families_refute_nothing() {
        let right = |_: &str, _: usize| true;
        // Control is at the floor on held-out families (`row` has bare answers of 3 tokens).
        let floor = |arm: &str, family: &str, _: usize| match (arm, family) {
            (_, "pattern") => 2,
            ("value", _) => 5,
            _ => 20,
        };
        let (found, why) = outcome(&rows(floor, right));
        assert_eq!(found, Outcome::NotTested, "{why}");
        assert!(why.contains("room to shorten"), "{why}");
        // Some room, but less than what was gained on trained families.
        let little = |arm: &str, family: &str, _: usize| if family == "pattern" { 4 } else { floor(arm, family, 0) };
        let (found, why) = outcome(&rows(little, right));
        assert_eq!(found, Outcome::Inconclusive, "{why}");
        assert!(why.contains("so near the bare answers"), "{why}");
    }
}
