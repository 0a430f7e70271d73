//! Contrasts of arms: verdicts, gaps, 2×2 tables, statistics, the family of tests.

use crate::battery::record::{Effect, Outcome, Table};
use crate::pair::analyse::{Analysis, Contrast, endpoint_name, finding};
use crate::stats::StatResult;

use super::super::figures::forest::{self, Facet, Row};
use super::super::html::{escape, slug};
use super::super::number;
use super::super::page::Files;
use super::super::verdicts;
use super::{columns, num, points, text};

/// Contrasts that the verdict table shows: one a pair of arms, at the reference setting and the primary endpoint.
fn shown(a: &Analysis) -> impl Iterator<Item = &Contrast> {
    a.contrasts.iter().filter(|c| c.setting == a.reference && c.endpoint == a.options.endpoint)
}

/// Word, class and glyph of what a contrast shows.
fn badge(a: &Analysis, c: &Contrast) -> String {
    let (word, class, glyph) = if a.failed() {
        ("void", "no", Some(Outcome::Refutes))
    } else if c.p <= 1.0 - a.options.level {
        (if c.delta_pp < 0.0 { "refuses less" } else { "refuses more" }, "mid", Some(Outcome::Supports))
    } else if c.equivalent {
        ("no difference", "yes", Some(Outcome::Supports))
    } else {
        ("inconclusive", "off", Some(Outcome::Inconclusive))
    };
    let glyph = verdicts::outcome(glyph).2;
    format!("<span class=\"badge {class}\"><svg viewBox=\"0 0 16 16\" aria-hidden=\"true\">{glyph}</svg>{word}</span>")
}

/// The effect that a verdict rests on, in points.
fn effect(a: &Analysis, c: &Contrast) -> Effect {
    Effect {
        name: format!("Δ, {} − {}", c.second, c.first),
        estimate: c.delta_pp,
        low: 100.0 * c.interval.low,
        high: 100.0 * c.interval.high,
        level: c.interval.level,
        method: c.rests_on.clone(),
        margin: a.options.margin.map(|m| 100.0 * m),
    }
}

pub fn verdicts(a: &Analysis, files: &mut Files) -> String {
    let mut out = String::from(
        "<section id=\"verdicts\" aria-label=\"Verdicts\"><div class=\"scroll\" tabindex=\"0\"><table class=\"verdicts\"><thead><tr>\
         <th scope=\"col\">Second arm against first</th><th scope=\"col\">Outcome</th><th scope=\"col\">Gap in points</th><th scope=\"col\">p</th>\
         <th scope=\"col\">Holm p</th><th scope=\"col\">Pairs</th><th scope=\"col\">The arms differ in</th></tr></thead><tbody>",
    );
    let mut data = Vec::new();
    for (i, c) in shown(a).enumerate() {
        let e = effect(a, c);
        let adjusted = a.contrasts.iter().position(|k| k == c).and_then(|at| a.family.get(at));
        let holm = match adjusted {
            Some(m) if m.primary => "primary".to_string(),
            Some(m) => number::p_value(m.p_adjusted),
            None => "—".into(),
        };
        out.push_str(&format!(
            "<tr><td class=\"t\"><a href=\"#table-{}\">{} against {}</a></td><td class=\"o\">{}</td><td class=\"e\"><span class=\"fx\"><span class=\"big\">{}</span>{}\
             </span><small>{}</small></td><td class=\"p\" data-l=\"p\">{}</td><td class=\"p\" data-l=\"Holm p\">{}</td><td class=\"k\"><small>{}</small><small>{}</small></td>\
             <td class=\"c\" data-l=\"The arms differ in:\">{}</td></tr>",
            slug(&format!("{}-{}", c.second, c.first)),
            escape(&c.second),
            escape(&c.first),
            badge(a, c),
            escape(&number::interval(&e)),
            forest::mini(&e, &format!("mini-{i}")),
            if a.failed() { "of a run that failed its control".into() } else { escape(&c.words) },
            escape(&number::p_value(c.p)),
            escape(&holm),
            number::plural(c.table.n() as usize, "pair", "pairs"),
            number::plural(c.clusters, "cluster", "clusters"),
            escape(&c.differ_in)
        ));
        data.push(vec![
            text(&c.second),
            text(&c.first),
            num(Some(c.delta_pp)),
            num(Some(e.low)),
            num(Some(e.high)),
            num(Some(c.p)),
            num(adjusted.map(|m| m.p_adjusted)),
            text(&finding(c, a.options.margin.unwrap_or(f64::NAN))),
        ]);
    }
    if data.is_empty() {
        out.push_str("<tr><td class=\"t\" colspan=\"7\">The run has no two arms to compare.</td></tr>");
    }
    out.push_str("</tbody></table></div>");
    let names = columns(&["second", "first", "delta_pp", "low", "high", "p", "p_holm", "finding"]);
    files.data("verdicts", &Table { title: "Verdicts".into(), columns: names, rows: data });
    out.push_str(&format!(
        "<p class=\"note\">Endpoint: {}. In the small plots the line is zero and the shade the equivalence margin. <a class=\"file\" \
         href=\"tables/verdicts.csv\">tables/verdicts.csv</a></p></section>",
        endpoint_name(a.options.endpoint)
    ));
    out
}

/// Δ with intervals, by pair of arms and precision.
pub fn gaps(a: &Analysis, files: &mut Files) -> String {
    let mut out = String::from(
        "<section id=\"gaps\"><h2>Gaps</h2><p class=\"question\">Does the model refuse more or less often under one arm than under another?</p>",
    );
    let mut precisions: Vec<&str> = Vec::new();
    for c in &a.contrasts {
        if !precisions.contains(&c.setting.precision.as_str()) {
            precisions.push(&c.setting.precision);
        }
    }
    let facets: Vec<Facet> = precisions
        .iter()
        .map(|precision| Facet {
            group: format!("weights in {precision}"),
            axis: "percentage points; right of zero: refuses more under the second arm".into(),
            margin: a.options.margin.map(|m| 100.0 * m),
            rows: a
                .contrasts
                .iter()
                .filter(|c| c.setting.precision == *precision && c.endpoint == a.options.endpoint)
                .map(|c| Row {
                    label: format!("{} − {}", c.second, c.first),
                    effect: effect(a, c),
                    primary: a.primary() == Some(c),
                })
                .collect(),
        })
        .filter(|f| !f.rows.is_empty())
        .collect();
    if !facets.is_empty() {
        out.push_str(&files.figure("gaps", forest::draw("gaps", "Refusal rate, second arm minus first", &facets)));
    }
    let gaps: Vec<Row> = a
        .continuous
        .iter()
        .filter_map(|c| {
            let (estimate, ci) = (c.mean.estimate?, c.mean.ci?);
            let name = format!("{} − {}", c.second, c.first);
            let effect = Effect {
                name: name.clone(),
                estimate,
                low: ci.low,
                high: ci.high,
                level: ci.level,
                method: c.mean.method.clone(),
                margin: None,
            };
            Some(Row { label: name, effect, primary: true })
        })
        .collect();
    if !gaps.is_empty() {
        let facet = Facet {
            group: String::new(),
            axis: "nats; right of zero: nearer to refusing under the second arm".into(),
            margin: None,
            rows: gaps,
        };
        out.push_str(&files.figure(
            "gaps",
            forest::draw(
                "refusal-log-odds",
                "Log-odds of a refusal opening at the first answer position, no judge",
                &[facet],
            ),
        ));
        let rows = a.continuous.iter().map(|c| {
            let w = c.wilcoxon.as_ref().and_then(|w| w.p);
            vec![
                text(&format!("{} − {}", c.second, c.first)),
                num(Some(c.pairs as f64)),
                num(Some(c.mean_first)),
                num(Some(c.mean_second)),
                num(c.mean.estimate),
                num(c.mean.ci.map(|ci| ci.low)),
                num(c.mean.ci.map(|ci| ci.high)),
                num(c.sign_flip.p),
                num(w),
            ]
        });
        let names = columns(&[
            "arms",
            "pairs",
            "mean first",
            "mean second",
            "difference",
            "low",
            "high",
            "p, sign flips",
            "p, Wilcoxon",
        ]);
        out.push_str(
            &files
                .table("gaps", &Table { title: "Refusal log-odds, nats".into(), columns: names, rows: rows.collect() }),
        );
    }
    out.push_str("</section>");
    out
}

/// The 2×2 of every pair of arms, and of every endpoint and precision in one long table.
pub fn tables(a: &Analysis, files: &mut Files) -> String {
    let mut out = String::from("<section id=\"tables\"><h2>2×2 tables</h2><div class=\"squares\">");
    for c in shown(a) {
        let t = &c.table;
        let (x, y) = (escape(&c.first), escape(&c.second));
        out.push_str(&format!(
            "<div id=\"table-{}\"><p class=\"cap\">{y} against {x}</p><table class=\"square\"><thead><tr><td></td><th scope=\"col\">{y} refuses</th>\
             <th scope=\"col\">{y} does not</th><th scope=\"col\">all</th></tr></thead><tbody><tr><th scope=\"row\">{x} refuses</th><td>{}</td><td>{}</td>\
             <td>{}</td></tr><tr><th scope=\"row\">{x} does not</th><td>{}</td><td>{}</td><td>{}</td></tr><tr><th scope=\"row\">all</th><td>{}</td><td>{}</td>\
             <td>{}</td></tr></tbody></table></div>",
            slug(&format!("{}-{}", c.second, c.first)),
            t.a,
            t.b,
            t.a + t.b,
            t.c,
            t.d,
            t.c + t.d,
            t.a + t.c,
            t.b + t.d,
            t.n()
        ));
    }
    out.push_str("</div>");
    let rows = a.contrasts.iter().map(|c| {
        let t = &c.table;
        vec![
            text(&format!("{} − {}", c.second, c.first)),
            text(endpoint_name(c.endpoint)),
            text(&c.setting.precision),
            num(Some(t.a as f64)),
            num(Some(t.b as f64)),
            num(Some(t.c as f64)),
            num(Some(t.d as f64)),
            num(Some(c.left_out as f64)),
            num(Some((c.missing[0] + c.missing[1]) as f64)),
            num(Some(c.delta_pp)),
            num(c.tango.ci.map(|ci| 100.0 * ci.low)),
            num(c.tango.ci.map(|ci| 100.0 * ci.high)),
            num(c.newcombe.ci.map(|ci| 100.0 * ci.low)),
            num(c.newcombe.ci.map(|ci| 100.0 * ci.high)),
            num(c.mcnemar.p),
            num(c.mcnemar.details.get("p_exact").copied()),
            num(c.mcnemar.details.get("p_chi2_corrected").copied()),
            num(c.clustered.as_ref().and_then(|r| r.p)),
            num(c.equivalence.p),
        ]
    });
    let names = columns(&[
        "arms",
        "endpoint",
        "precision",
        "both",
        "only first",
        "only second",
        "neither",
        "left out",
        "missing",
        "Δ",
        "Tango low",
        "high",
        "Newcombe low",
        "high",
        "p, mid-p",
        "p, exact",
        "p, corrected",
        "p, clusters",
        "p, equivalence",
    ]);
    out.push_str(
        &files.table(
            "contrasts",
            &Table { title: "Every contrast, points".into(), columns: names, rows: rows.collect() },
        ),
    );
    out.push_str("</section>");
    out
}

/// All statistics of the primary contrast.
pub fn statistics(a: &Analysis, files: &mut Files) -> String {
    let Some(c) = a.primary() else { return String::new() };
    let mut out = format!(
        "<section id=\"statistics\"><h2>Statistics of the primary contrast</h2><p class=\"question\">{} against {}: {}</p><p>{}.</p>",
        escape(&c.second),
        escape(&c.first),
        escape(&c.words),
        escape(&c.flips.to_string())
    );
    let mut rows = Vec::new();
    let mut add =
        |r: &StatResult, scale: f64| {
            let at = |x: f64| number::num(scale * x);
            rows.push(vec![
                text(&r.method),
                text(&r.estimate.map_or("—".into(), at)),
                text(&r.ci.map_or("—".into(), |ci| {
                    format!("{} to {} ({:.0} %)", at(ci.low), at(ci.high), 100.0 * ci.level)
                })),
                num(r.p),
                text(&r.direction),
                text(&r.notes.join("; ")),
            ]);
        };
    for r in [&c.tango, &c.newcombe, &c.equivalence] {
        add(r, 100.0);
    }
    c.bootstrap.iter().chain(&c.clustered).for_each(|r| add(r, 100.0));
    add(&c.mcnemar, 1.0);
    c.odds
        .iter()
        .chain(&c.order.arm)
        .chain(&c.order.order)
        .chain(c.order.model.iter().flatten())
        .for_each(|r| add(r, 1.0));
    if let Some(n) = &a.noise {
        add(&n.excess, 100.0);
    }
    let names = columns(&["procedure", "estimate", "interval", "p", "direction", "notes"]);
    let title = "Differences in points, odds and log odds as they are".to_string();
    out.push_str(&files.table("primary", &Table { title, columns: names, rows }));
    let [f, s] = [c.order.first_asked_first, c.order.second_asked_first];
    out.push_str(&format!(
        "<p class=\"note\">Discordant pairs with {first} asked first: {} refused only under {first}, {} only under {second}; with {second} asked first: {} and {}. {}</p>",
        f[0],
        f[1],
        s[0],
        s[1],
        escape(&c.order.notes.join(" ")),
        first = escape(&c.first),
        second = escape(&c.second)
    ));
    if let Some(b) = c.bounds_pp {
        out.push_str(&format!(
            "<p class=\"note\">Cells without a label count as not refused; were they all the other way, the gap would lie between {} and {} points.</p>",
            number::fixed(b[0], 2),
            number::fixed(b[1], 2)
        ));
    }
    out.push_str("</section>");
    out
}

/// Every test with a p, and what Holm leaves of it.
pub fn family(a: &Analysis, files: &mut Files) -> String {
    let rows = a.family.iter().map(|m| {
        vec![
            text(&m.name),
            text(if m.primary { "primary" } else { "Holm" }),
            num(Some(m.p)),
            num(Some(m.p_adjusted)),
            text(if m.rejected { "yes" } else { "no" }),
        ]
    });
    let table = Table {
        title: "Every test of this analysis".into(),
        columns: columns(&["test", "role", "p", "p adjusted", "below the level"]),
        rows: rows.collect(),
    };
    format!(
        "<section id=\"family\"><h2>Family of tests</h2><p>One endpoint was declared primary and is tested at the full level; Holm's adjustment is over all \
         others. The A/A control is no member: it is a check.</p>{}</section>",
        files.table("family", &table)
    )
}

/// Parts of the pairs as a forest in points.
pub fn parts_figure(
    id: &str,
    title: &str,
    parts: &[(String, &StatResult)],
    margin: Option<f64>,
) -> Option<super::super::figures::Drawing> {
    let rows: Vec<Row> = parts
        .iter()
        .filter_map(|(name, r)| {
            Some(Row { label: name.clone(), effect: points(name.clone(), r, margin)?, primary: true })
        })
        .collect();
    let facet = Facet {
        group: String::new(),
        axis: "percentage points, second arm minus first".into(),
        margin: margin.map(|m| 100.0 * m),
        rows,
    };
    (!facet.rows.is_empty()).then(|| forest::draw(id, title, &[facet]))
}
