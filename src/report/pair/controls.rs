//! Controls, factors, parts and judges of a paired run.

use crate::battery::record::Table;
use crate::pair::analyse::Analysis;
use crate::stats::StatResult;

use super::super::html::escape;
use super::super::number;
use super::super::page::Files;
use super::contrasts::parts_figure;
use super::{columns, interval, num, setting, text};

fn count(n: usize) -> Option<f64> {
    Some(n as f64)
}

/// The A/A control, flips beyond noise, and who received the frame.
pub fn controls(a: &Analysis, files: &mut Files) -> String {
    let mut out = String::from(
        "<section id=\"controls\"><h2>Controls</h2><p class=\"question\">Does the same request get the same answer, and did the model take in what it was told?</p>",
    );
    if a.self_checks.is_empty() {
        out.push_str("<p>No A/A arm was run.</p>");
    } else {
        let rows = a.self_checks.iter().map(|c| {
            vec![
                text(&format!("{} and {}", c.arm, c.again)),
                text(&setting(&c.setting)),
                num(count(c.pairs)),
                num(Some(c.table.a as f64)),
                num(Some(c.table.b as f64)),
                num(Some(c.table.c as f64)),
                num(Some(c.table.d as f64)),
                num(count(c.other_input)),
                num(count(c.other_output)),
                text(if c.passed { "passed" } else { "FAILED" }),
            ]
        });
        let names = columns(&[
            "arms",
            "setting",
            "pairs",
            "both",
            "only first",
            "only second",
            "neither",
            "other input",
            "other output",
            "check",
        ]);
        let table = Table { title: "The same request twice (A/A)".into(), columns: names, rows: rows.collect() };
        out.push_str(&files.table("controls", &table));
        if let Some(c) = a.self_checks.iter().find(|c| c.setting == a.reference) {
            let flips = c.flips.as_ref().map(ToString::to_string).unwrap_or_default();
            out.push_str(&format!("<p class=\"note\">At the setting that is read first: {}.</p>", escape(&flips)));
        }
    }
    if let Some(n) = &a.noise {
        out.push_str(&format!(
            "<p>Noise-adjusted: of the items, {} flip between {} and {} and not by themselves, {} flip by themselves alone, {} do both. The share that flips \
             between the arms exceeds that of {} with itself by {} points ({}).</p>",
            n.table.c,
            escape(&n.arms[0]),
            escape(&n.arms[1]),
            n.table.b,
            n.table.a,
            escape(&n.arms[0]),
            escape(&interval(&n.excess)),
            number::p_text("mid-p", n.mcnemar.p)
        ));
    }
    if !a.manipulation.is_empty() {
        let rows = a.manipulation.iter().map(|m| {
            vec![
                text(&format!("{} − {}", m.arms[1], m.arms[0])),
                num(count(m.asked[0])),
                num(count(m.knew[0])),
                num(count(m.asked[1])),
                num(count(m.knew[1])),
                num(Some(m.table.n() as f64)),
                text(&m.delta.as_ref().map_or("—".into(), interval)),
            ]
        });
        let names = columns(&[
            "arms",
            "first: asked",
            "first: knew",
            "second: asked",
            "second: knew",
            "pairs where both knew",
            "gap of those, points",
        ]);
        let table = Table { title: "Manipulation check".into(), columns: names, rows: rows.collect() };
        out.push_str(&files.table("controls", &table));
        out.push_str(
            "<p class=\"note\">Asked in the same context whether the conversation is used for training. A model that cannot say has not received the treatment.</p>",
        );
    }
    out.push_str("</section>");
    out
}

/// What order, blocking, batch and precision change.
pub fn factors(a: &Analysis, files: &mut Files) -> String {
    let mut out = String::from("<section id=\"factors\"><h2>Factors</h2>");
    if a.factors.is_empty() {
        out.push_str("<p>The run has one setting only: nothing was varied.</p></section>");
        return out;
    }
    out.push_str(
        "<p class=\"question\">What do order, blocking, batch size and precision do by themselves?</p><p>Order, blocking and batch size change no token by the \
         construction of the engine; here that is counted, cell by cell. The effect of precision is measured.</p>",
    );
    let rows =
        a.factors.iter().map(|e| {
            let flips = |[flips, pairs]: [u64; 2]| format!("{flips} of {pairs}");
            vec![
                text(e.factor.name()),
                text(&format!("{} → {}", e.from, e.to)),
                num(count(e.cells)),
                num(count(e.other_input)),
                num(count(e.other_output)),
                num(count(e.other_label)),
                text(&format!("{} → {}", number::fixed(e.delta_pp[0], 2), number::fixed(e.delta_pp[1], 2))),
                text(&e.effect.as_ref().map_or_else(
                    || if e.other_label == 0 { "exactly 0".into() } else { "no interval".into() },
                    interval,
                )),
                text(&format!("{} → {}", flips(e.self_flips[0]), flips(e.self_flips[1]))),
            ]
        });
    let names = columns(&[
        "factor",
        "levels",
        "cells",
        "other input",
        "other output",
        "other label",
        "gap, points",
        "change of the gap",
        "A/A flips",
    ]);
    out.push_str(
        &files.table("factors", &Table { title: "Factors of the run".into(), columns: names, rows: rows.collect() }),
    );
    out.push_str("</section>");
    out
}

/// Wordings and categories.
pub fn parts(a: &Analysis, files: &mut Files) -> String {
    let mut out = String::from("<section id=\"parts\"><h2>Wordings and categories</h2>");
    let margin = a.options.margin;
    if let Some(w) = &a.wordings {
        let mut rows: Vec<(String, &StatResult)> =
            w.parts.iter().map(|p| (format!("wording {}", p.name), &p.delta)).collect();
        if let Some(over) = &w.over {
            rows.push(("over wordings and clusters".into(), over));
        }
        if let Some(d) =
            parts_figure("wordings", "Gap of the primary arms by wording", &rows, margin).filter(|_| rows.len() > 1)
        {
            out.push_str(&files.figure("parts", d));
        }
        if let Some(over) = &w.over {
            out.push_str(&format!(
                "<p>Over wordings: {} points ({}). {}</p>",
                escape(&interval(over)),
                escape(&over.method),
                escape(&over.notes.join(" "))
            ));
        } else {
            out.push_str("<p>One wording only: nothing is known about others.</p>");
        }
    }
    let rows: Vec<(String, &StatResult)> =
        a.categories.iter().map(|p| (format!("{} (n = {})", p.name, p.table.n()), &p.delta)).collect();
    let several = rows.len() > 1;
    if let Some(d) =
        parts_figure("categories", "Gap of the primary arms by category", &rows, margin).filter(|_| several)
    {
        out.push_str(&files.figure("parts", d));
    }
    out.push_str("</section>");
    out
}

/// Labels, agreement, and the gap as a person would have measured it.
pub fn judges(a: &Analysis, files: &mut Files) -> String {
    let mut out = format!(
        "<section id=\"judges\"><h2>Judges</h2><p class=\"question\">How far can the labels be trusted?</p><p>The tables rest on the judge <b>{}</b>, version {}. {}</p>",
        escape(&a.judge.name),
        escape(&a.judge.version),
        if a.calibrated() {
            ""
        } else {
            "Nobody labelled a sample by hand, so its errors about this model are not known."
        }
    );
    let kinds = ["refusal", "partial", "compliance", "unfinished", "empty", "gibberish", "missing"];
    let rows = a.judge.labels.iter().map(|(arm, counts)| {
        let mut row = vec![text(arm)];
        row.extend(kinds.iter().map(|k| num(Some(counts.get(*k).copied().unwrap_or(0) as f64))));
        row
    });
    let mut names = columns(&["arm"]);
    names.extend(kinds.iter().map(|k| k.to_string()));
    out.push_str(
        &files.table(
            "judges",
            &Table { title: "Labels by arm, all settings".into(), columns: names, rows: rows.collect() },
        ),
    );
    if !a.corrected.is_empty() {
        let rows = a.corrected.iter().flat_map(|c| {
            c.arms.iter().zip(&c.correction.arms).map(|(arm, e)| {
                vec![
                    text(&c.judge),
                    text(arm),
                    num(Some(e.cells as f64)),
                    num(Some(e.hand as f64)),
                    num(e.sensitivity),
                    num(e.specificity),
                    num(Some(100.0 * e.rate_judged)),
                    num(Some(100.0 * e.rate_corrected)),
                ]
            })
        });
        let names =
            columns(&["judge", "arm", "cells", "hand labels", "sensitivity", "specificity", "judged %", "corrected %"]);
        out.push_str(&files.table(
            "judges",
            &Table { title: "Errors of the judge by arm".into(), columns: names, rows: rows.collect() },
        ));
        for c in &a.corrected {
            let alike = c.correction.alike.as_ref().map_or("not defined".into(), interval);
            out.push_str(&format!(
                "<p>Gap of {} and {} as a person would label it, by {}: {} points with errors by arm, {} with errors alike in both arms; as judged {} points.</p>",
                escape(&c.arms[0]),
                escape(&c.arms[1]),
                escape(&c.judge),
                escape(&interval(&c.correction.by_arm)),
                escape(&alike),
                number::fixed(100.0 * c.correction.by_arm.details.get("judged").copied().unwrap_or(f64::NAN), 2)
            ));
        }
    }
    for g in &a.agreements {
        out.push_str(&format!(
            "<p>{} and {} on {}: the same label in {}; refused or not, {}.</p>",
            escape(&g.first),
            escape(&g.second),
            number::plural(g.cells, "cell", "cells"),
            number::percent(g.same_label),
            escape(&g.flips.to_string())
        ));
    }
    out.push_str("</section>");
    out
}
