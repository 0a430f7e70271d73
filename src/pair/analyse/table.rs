//! The analysis as text for a terminal.

use super::{Analysis, Contrast, Severity, words};
use crate::stats::{Interval, StatResult};

/// Everything a reader needs first; the rest is in the file.
pub fn text(a: &Analysis) -> String {
    let mut out = String::new();
    let mut line = |text: String| {
        out.push_str(text.trim_end());
        out.push('\n');
    };
    line(a.headline.clone());
    for f in &a.flags {
        line(format!("{} {}", if f.severity == Severity::Red { "FAILED " } else { "note   " }, f.text));
    }
    let c = &a.circumstances;
    line(String::new());
    line(format!(
        "{} items, {} arms, {} settings; model {}; {}",
        c.items,
        c.arms.len(),
        c.settings.len(),
        c.model_text(),
        c.device
    ));
    line(format!(
        "read first: order {}, {}, batch {}, {}; judge {} {}",
        format!("{:?}", a.reference.protocol).to_lowercase(),
        format!("{:?}", a.reference.blocking).to_lowercase(),
        a.reference.batch_size,
        a.reference.precision,
        a.judge.name,
        a.judge.version
    ));
    line(String::new());
    let level = format!("{:.0}", 100.0 * a.options.level);
    line(format!(
        "{:<24} {:>7} {:>24} {:>7} {:>7} {:>7} {:>7}   [both, 1, 2, neither]",
        "2 against 1",
        "Δ pp",
        format!("{level} % interval"),
        "p",
        "exact",
        "Holm",
        "n"
    ));
    for c in &a.contrasts {
        line(row(a, c));
    }
    if let Some(c) = a.primary() {
        line(String::new());
        line(format!("{} against {}: {}", c.second, c.first, c.words));
        line(format!("  {}", c.flips));
        let newcombe = interval(c.newcombe.ci);
        line(format!(
            "  Newcombe {newcombe}; p exact {}, corrected chi-squared {}; the verdict rests on: {}",
            p(detail(&c.mcnemar, "p_exact")),
            p(detail(&c.mcnemar, "p_chi2_corrected")),
            c.rests_on
        ));
        if let (Some(test), Some(b)) = (&c.clustered, &c.bootstrap) {
            line(format!("  by {} clusters: p {}, bootstrap {}", c.clusters, p(test.p), interval(b.ci)));
        }
        let inside = if c.equivalent { "inside" } else { "not shown inside" };
        line(format!("  equivalence: {inside} ±{} points (p {})", 100.0 * a.options.margin(), p(c.equivalence.p)));
        match (&c.order.arm, &c.order.order) {
            (Some(arm), Some(order)) => {
                line(format!("  order (Mainland-Gart): arm p {}, order p {}", p(arm.p), p(order.p)))
            }
            _ => line(format!("  order: {}", c.order.notes.join("; "))),
        }
        if let Some(b) = c.bounds_pp {
            line(format!("  missing labels could move it to {:+.2} or {:+.2} points", b[0], b[1]));
        }
    }
    if let Some(n) = &a.noise {
        line(format!(
            "  flips beyond those of `{}` itself: {} of items, {}, mid-p {}",
            n.arms[0],
            percent(n.excess.estimate),
            interval(n.excess.ci),
            p(n.mcnemar.p)
        ));
    }
    if let Some(over) = a.wordings.as_ref().and_then(|w| w.over.as_ref()) {
        line(format!("  over wordings: {} points, {}", points(over.estimate), interval(over.ci)));
    }
    for c in &a.continuous {
        line(format!(
            "  refusal log-odds, {} against {}: {:+.3} nats, {}, sign flips p {}",
            c.second,
            c.first,
            c.mean.estimate.unwrap_or(f64::NAN),
            c.mean.ci.map_or("no interval".into(), |ci| format!("{:+.3} to {:+.3}", ci.low, ci.high)),
            p(c.sign_flip.p)
        ));
    }
    for m in &a.manipulation {
        line(format!(
            "  knew the frame: {} {} of {}, {} {} of {}; Δ of the pairs that knew {}",
            m.arms[0],
            m.knew[0],
            m.asked[0],
            m.arms[1],
            m.knew[1],
            m.asked[1],
            m.delta.as_ref().map_or("none".into(), |d| format!("{} points, {}", points(d.estimate), interval(d.ci)))
        ));
    }
    if !a.self_checks.is_empty() {
        let bad = a.self_checks.iter().filter(|c| !c.passed).count();
        let pairs: usize = a.self_checks.iter().map(|c| c.pairs).sum();
        line(String::new());
        line(format!(
            "A/A: {} tables of {pairs} pairs, {bad} not (a, 0, 0, d) with the same tokens",
            a.self_checks.len()
        ));
    }
    if !a.factors.is_empty() {
        line(String::new());
        line(format!(
            "{:<12} {:>22} {:>8} {:>13} {:>13} {:>18}   A/A flips",
            "factor", "levels", "cells", "other tokens", "other labels", "Δ pp"
        ));
    }
    for e in &a.factors {
        line(format!(
            "{:<12} {:>22} {:>8} {:>13} {:>13} {:>18}   {}/{} and {}/{}",
            e.factor.name(),
            format!("{} to {}", e.from, e.to),
            e.cells,
            e.other_output,
            e.other_label,
            format!("{:+.2} to {:+.2}", e.delta_pp[0], e.delta_pp[1]),
            e.self_flips[0][0],
            e.self_flips[0][1],
            e.self_flips[1][0],
            e.self_flips[1][1]
        ));
    }
    for c in &a.corrected {
        line(String::new());
        for (arm, e) in c.arms.iter().zip(&c.correction.arms) {
            line(format!(
                "judge {}, {arm}: sensitivity {}, specificity {} ({} hand labels of {} cells)",
                c.judge,
                share(e.sensitivity),
                share(e.specificity),
                e.hand,
                e.cells
            ));
        }
        line(format!(
            "  gap as a person would label it: {} points, {}",
            points(c.correction.by_arm.estimate),
            interval(c.correction.by_arm.ci)
        ));
    }
    for g in &a.agreements {
        line(format!(
            "{} and {} on {} cells: same label {:.1} %; {}",
            g.first,
            g.second,
            g.cells,
            100.0 * g.same_label,
            g.flips
        ));
    }
    for note in &a.notes {
        line(format!("note    {note}"));
    }
    if !a.cannot_say.is_empty() {
        line(String::new());
        line("What this does not say:".into());
        a.cannot_say.iter().for_each(|text| line(format!("  {text}")));
    }
    out
}

fn row(a: &Analysis, c: &Contrast) -> String {
    let mut name = format!("{} - {}", c.second, c.first);
    if c.setting.precision != a.reference.precision {
        name.push_str(&format!(", {}", c.setting.precision));
    }
    match c.endpoint {
        crate::domain::tier::Endpoint::Refusal => {}
        other => name = format!("  {}", words::endpoint(other)),
    }
    let holm = a.family.iter().zip(std::iter::once(None).chain(a.contrasts.iter().skip(1).map(Some)));
    let adjusted = holm.filter_map(|(m, k)| (k == Some(c)).then_some(m.p_adjusted)).next();
    let t = &c.table;
    format!(
        "{name:<24} {:>+7.2} {:>24} {:>7} {:>7} {:>7} {:>7}   [{}, {}, {}, {}]",
        c.delta_pp,
        interval(Some(c.interval)),
        p(Some(c.p)),
        p(detail(&c.mcnemar, "p_exact")),
        adjusted.map_or("primary".into(), |v| p(Some(v))),
        t.n(),
        t.a,
        t.b,
        t.c,
        t.d
    )
}

fn detail(r: &StatResult, key: &str) -> Option<f64> {
    r.details.get(key).copied()
}

fn p(p: Option<f64>) -> String {
    match p {
        Some(p) if p < 0.0001 => "<0.0001".into(),
        Some(p) => format!("{p:.4}"),
        None => "-".into(),
    }
}

fn interval(ci: Option<Interval>) -> String {
    ci.map_or("no interval".into(), |ci| format!("{:+.2} to {:+.2}", 100.0 * ci.low, 100.0 * ci.high))
}

fn points(x: Option<f64>) -> String {
    x.map_or("-".into(), |x| format!("{:+.2}", 100.0 * x))
}

fn percent(x: Option<f64>) -> String {
    x.map_or("-".into(), |x| format!("{:+.1} %", 100.0 * x))
}

fn share(x: Option<f64>) -> String {
    x.map_or("-".into(), |x| format!("{x:.2}"))
}
