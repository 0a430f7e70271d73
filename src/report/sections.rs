//! The parts of the page below the verdicts.

use crate::battery::given;
use crate::battery::record::{Cell, Table};

use super::figures::{self, forest};
use super::html::{escape, slug};
use super::page::Files;
use super::read::{Run, TestFolder};
use super::transcripts;
use super::verdicts::{badge, is_log, outcome, test_title};
use super::{curves, methods as methods_text, number, published};

/// One test: question, the study's statistic, the verdict and why, figures, counts.
pub fn test(run: &Run, t: &TestFolder, files: &mut Files) -> String {
    let id = slug(&t.id);
    let state = t.result.as_ref().map(|r| r.verdict.outcome);
    let mut out = format!("<section id=\"test-{id}\"><h2>{} {}</h2>", escape(&test_title(t)), badge(state));
    if let Some(r) = &t.result {
        out.push_str(&format!("<p class=\"question\">{}</p>", escape(&r.question)));
        out.push_str(&format!("<h3>As the study reports it</h3><p>{}</p>", escape(&r.headline.summary)));
        for table in &r.headline.tables {
            out.push_str(&files.table(&t.id, table));
        }
        out.push_str(&published::of_test(run, r.number));
        let v = &r.verdict;
        let (_, class, _) = outcome(state);
        out.push_str(&format!(
            "<h3>Verdict</h3><div class=\"box reason {class}\"><p>{} {}</p>",
            badge(state),
            escape(&v.reason)
        ));
        if let Some(e) = &v.primary {
            let ratio = if is_log(e) { format!(" (a change of {})", number::log_as_percent(e)) } else { String::new() };
            let level = number::percent(e.level).replace(".0", "");
            let margin = e.margin.map_or(String::new(), |m| format!(", equivalence margin ±{}", number::num(m)));
            out.push_str(&format!(
                "<p>{}: <b>{}</b>{ratio}, {level} interval{margin}; {}.</p>",
                escape(&e.name),
                escape(&number::interval(e)),
                escape(&e.method)
            ));
        }
        let (p, holm) = (number::p_text("p", v.p), number::p_text("Holm p", v.p_holm));
        out.push_str(&format!("<p>{}, {}; ", escape(&p), escape(&holm)));
        out.push_str(&format!(
            "{} of {}, {}, {}.</p><p><b>What would change it:</b> {}</p></div>",
            number::plural(r.n_rows, "row", "rows"),
            number::plural(r.n_items, "item", "items"),
            number::plural(r.n_prompts, "distinct prompt", "distinct prompts"),
            number::plural(r.n_seeds, "seed", "seeds"),
            escape(&v.would_change)
        ));
        for f in &r.figures {
            out.push_str(&files.figure(&t.id, figures::draw(f)));
        }
    } else {
        out.push_str("<p>This test has not been run to its end: there is no <code>result.json</code>. Run <code>probity battery</code> on this folder to go on.</p>");
    }
    match &t.rows {
        Some(rows) if !rows.is_empty() => {
            out.push_str(&files.table(&t.id, &transcripts::outcomes(rows, &run.manifest.arms)));
            out.push_str("<p class=\"note\">Counted from the rows; a near miss counts half in “right %”.</p>");
            out.push_str(&format!("<p><a href=\"#transcripts-{id}\">Transcripts of this test</a></p>"));
        }
        Some(_) => out.push_str("<p class=\"note\">items.jsonl is empty.</p>"),
        None => {
            let elsewhere = t.result.as_ref().and_then(|r| r.rows_of.as_deref());
            out.push_str(&match elsewhere {
                Some(id) => format!("<p class=\"note\">Computed from the rows of {}.</p>", escape(id)),
                None => "<p class=\"note\">No items.jsonl: there are no rows to show.</p>".to_string(),
            });
        }
    }
    out.push_str("</section>");
    out
}

/// Learning curves of the arms and of the trainings on top of them, what they drew, and the attractor tables.
pub fn training(run: &Run, files: &mut Files) -> String {
    let mut out = String::from("<section id=\"training\"><h2>Training</h2>");
    let given: Vec<&str> = run.manifest.hashes.keys().filter_map(|k| k.strip_prefix(given::HASH)).collect();
    if !given.is_empty() {
        out.push_str(&format!(
            "<p>Given checkpoints: {}. This run has not trained them; their hashes are under provenance.</p>",
            escape(&given.join(", "))
        ));
    }
    match curves::drawing(run) {
        Some(d) => {
            out.push_str(&files.figure("training", d));
            out.push_str(&files.table("training", &curves::table(run)));
        }
        None if given.is_empty() => out.push_str("<p>Nothing was logged yet: no learning curves.</p>"),
        None => {}
    }
    if !run.curves.is_empty() || !run.phases.is_empty() {
        out.push_str(&files.table("training", &curves::material(run)));
    }
    let phases: Vec<_> = run.phases.iter().filter_map(|p| Some((p, curves::of_phase(p)?))).collect();
    if !phases.is_empty() {
        out.push_str("<h3>Trainings on top of the arms</h3>");
    }
    for (phase, drawing) in phases {
        out.push_str(&format!(
            "<details class=\"more\"><summary>{}, {}</summary>{}</details>",
            escape(&phase.name),
            number::plural(phase.curves.len(), "training", "trainings"),
            files.figure("training", drawing)
        ));
    }
    out.push_str("<h3>Attractors</h3>");
    if run.manifest.attractors.is_empty() {
        out.push_str("<p>No attractor table recorded.</p>");
    } else {
        out.push_str(
            "<p>Expected reward of degenerate policies on the batches that were drawn. A policy that earns almost as much as the \
             intended one is where training may go instead.</p>",
        );
        for t in &run.manifest.attractors {
            out.push_str(&files.table("attractors", t));
        }
    }
    out.push_str("</section>");
    out
}

/// Length and accuracy by the weight of the value term, where the run has a sweep.
pub fn dose(run: &Run, files: &mut Files) -> String {
    let Some(s) = &run.sweep else { return String::new() };
    let mut out = format!(
        "<section id=\"dose\"><h2>Dose of the value term</h2><p class=\"question\">How much shorter does training make the answers as \
         the value term weighs more, and does the loss decide that instead?</p><p>{}</p>",
        escape(&s.summary)
    );
    for f in &s.figures {
        out.push_str(&files.figure("sweep", figures::draw(f)));
    }
    out.push_str(&files.table("sweep", &s.table));
    out.push_str(&format!(
        "<p class=\"note\">{} of {} in <code>sweep/items.jsonl</code>; each difference is paired by item, with a 95\u{202f}% interval \
         over distinct prompts (and seeds, where there are several). No verdict rests on this section.</p></section>",
        number::plural(s.n_rows, "row", "rows"),
        number::plural(s.n_seeds, "seed", "seeds")
    ));
    out
}

/// Every effect of every test, grouped by test, with one axis for each unit.
pub fn all_effects(run: &Run, files: &mut Files) -> String {
    let mut facets: Vec<forest::Facet> = Vec::new();
    for t in &run.tests {
        let Some(r) = &t.result else { continue };
        let group = format!("{}: {}", test_title(t), outcome(Some(r.verdict.outcome)).0);
        let primary = r.verdict.primary.iter().map(|e| (e, true));
        let others = r.effects.iter().filter(|e| r.verdict.primary.as_ref() != Some(*e)).map(|e| (e, false));
        for (e, primary) in primary.chain(others) {
            let unit = forest::unit(e).to_string();
            let name = e.name[unit.len().min(e.name.len())..].trim_start_matches([',', ' ']);
            let name = if name.is_empty() { unit.as_str() } else { name };
            let row = forest::Row { label: name.to_string(), effect: e.clone(), primary };
            match facets.iter_mut().find(|f| f.group == group && f.axis == unit) {
                Some(f) => f.rows.push(row),
                None => facets.push(forest::Facet { group: group.clone(), axis: unit, margin: None, rows: vec![row] }),
            }
        }
    }
    let mut out = String::from("<section id=\"effects\"><h2>All effects</h2>");
    if facets.is_empty() {
        out.push_str("<p>No effect has been estimated yet.</p>");
    } else {
        out.push_str(
            &files
                .figure("report", forest::draw("all-effects", "All effects, by test, one axis for each unit", &facets)),
        );
    }
    out.push_str("</section>");
    out
}

/// What each test could have found with this run's n.
pub fn power(run: &Run, files: &mut Files) -> String {
    let mut out = String::from("<section id=\"power\"><h2>What this run can detect</h2>");
    let known: Vec<_> = run.tests.iter().filter_map(|t| Some((t, t.result.as_ref()?.power.as_ref()?))).collect();
    if !known.is_empty() {
        out.push_str(
            "<p>The smallest effect that each test finds at 80\u{202f}% power with the items, prompts and seeds of this run. An \
             inconclusive test says nothing about effects smaller than these.</p>",
        );
    }
    // tests that give the same columns share a table
    let mut tables: Vec<Table> = Vec::new();
    for (t, table) in &known {
        let columns: Vec<String> = ["test".to_string()].into_iter().chain(table.columns.clone()).collect();
        let title = Cell::Text(test_title(t));
        let rows = table.rows.iter().map(|r| [title.clone()].into_iter().chain(r.clone()).collect::<Vec<_>>());
        match tables.iter_mut().find(|o| o.title == table.title && o.columns == columns) {
            Some(o) => o.rows.extend(rows),
            None => tables.push(Table { title: table.title.clone(), columns, rows: rows.collect() }),
        }
    }
    for table in &tables {
        out.push_str(&files.table("power", table));
    }
    let without: Vec<String> =
        run.tests.iter().filter(|t| t.result.as_ref().is_some_and(|r| r.power.is_none())).map(test_title).collect();
    if !without.is_empty() {
        out.push_str(&format!("<p class=\"note\">Not recorded for: {}.</p>", escape(&without.join(", "))));
    } else if known.is_empty() {
        out.push_str("<p>No test has finished yet.</p>");
    }
    out.push_str("</section>");
    out
}

pub fn methods(run: &Run) -> String {
    let mut out = String::from("<section id=\"methods\"><h2>Methods</h2>");
    for p in methods_text::paragraphs(run) {
        out.push_str(&format!("<p>{}</p>", escape(&p)));
    }
    if let Some((text, _)) = &run.config {
        out.push_str(&format!(
            "<details class=\"more\"><summary>config.toml as resolved</summary><pre>{}</pre></details>",
            escape(text)
        ));
    }
    out.push_str("</section>");
    out
}

pub fn provenance(run: &Run, files: &mut Files) -> String {
    let m = &run.manifest;
    let mut facts: Vec<(String, String)> = vec![
        ("program".into(), format!("{} {}", m.program, m.version)),
        ("started".into(), number::utc(m.started_unix)),
        ("device".into(), m.device.clone()),
    ];
    facts.extend(m.model_commit.iter().map(|c| ("commit of the model".into(), c.clone())));
    let system = match m.neutral_system.as_deref() {
        None => "none: what the chat template puts there".to_string(),
        Some("") => "an empty one".into(),
        Some(text) => format!("\"{text}\""),
    };
    facts.push(("system message of training".into(), system));
    facts.extend(run.memory.iter().map(|m| ("device memory".into(), m.describe())));
    facts.extend(m.device_details.iter().map(|(k, v)| (format!("device: {k}"), v.clone())));
    facts.push(("seeds".into(), m.seeds.iter().map(u64::to_string).collect::<Vec<_>>().join(", ")));
    facts.push(("arms".into(), m.arms.join(", ")));
    facts.extend(m.hashes.iter().map(|(k, v)| (format!("SHA-256 of {k}"), v.clone())));
    facts.push(("key of the run's results".into(), m.key()));
    let mut out = String::from(
        "<section id=\"provenance\"><h2>Provenance</h2><div class=\"scroll\" tabindex=\"0\"><table><tbody>",
    );
    for (name, value) in &facts {
        out.push_str(&format!(
            "<tr><th scope=\"row\">{}</th><td><code>{}</code></td></tr>",
            escape(name),
            escape(value)
        ));
    }
    out.push_str("</tbody></table></div>");
    if !m.seconds.is_empty() {
        let total: f64 = m.seconds.values().sum();
        let rows = m.seconds.iter().map(|(cell, s)| vec![Cell::Text(cell.clone()), Cell::Number(*s)]).collect();
        let table = Table {
            title: "Wall time by cell".to_string(),
            columns: vec!["cell".to_string(), "seconds".to_string()],
            rows,
        };
        out.push_str(&format!(
            "<details class=\"more\"><summary>Wall time: {} in {}</summary>{}</details>",
            number::duration(total),
            number::plural(m.seconds.len(), "cell", "cells"),
            files.table("provenance", &table)
        ));
    }
    out.push_str("</section>");
    out
}

/// Commands that check this page.
pub fn recompute(run: &Run) -> String {
    let name = run.dir.file_name().map_or_else(|| "RUN".to_string(), |n| n.to_string_lossy().into_owned());
    let first = run.tests.iter().find(|t| t.rows.is_some()).map_or("01-generalisation", |t| t.id.as_str());
    let commands = format!(
        "probity report {name}      # this page again, from the rows and results in the folder\n\
         probity battery --help     # goes on with, or repeats, the run from config.toml\n\
         probity stats --help       # every statistic above, on counts or on columns of items.jsonl\n"
    );
    let script = format!(
        "import collections, json\n\
         rows = [json.loads(line) for line in open(\"{name}/tests/{first}/items.jsonl\")]\n\
         cells = collections.defaultdict(list)\n\
         for r in rows:\n    cells[r[\"arm\"], r[\"split\"], r[\"condition\"], r[\"decoding\"]].append(r)\n\
         for cell, rs in sorted(cells.items()):\n    \
         print(*cell, len(rs), sum(r[\"correct\"] for r in rs) / len(rs), sum(r[\"n_tokens\"] for r in rs) / len(rs))\n"
    );
    format!(
        "<section id=\"recompute\"><h2>How to recompute</h2><p>Every number above comes from the folder of this run: one line for \
         each completion in <code>tests/&lt;test&gt;/items.jsonl</code>, results in <code>result.json</code>, every table in \
         <code>tables/</code>, every figure and its data in <code>figures/</code>.</p><pre>{}</pre>\
         <p>Without Probity, for example the counts of one test (Python, standard library):</p><pre>{}</pre></section>",
        escape(&commands),
        escape(&script)
    )
}
