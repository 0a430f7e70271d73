//! What must be read before any number of a paired run.

use serde::{Deserialize, Serialize};

use super::{Analysis, Evidence, SelfCheck, words};

/// How loudly something is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The numbers must not be used.
    Red,
    /// They must be read with this in mind.
    Amber,
}

/// Something to read before any number.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Flag {
    pub severity: Severity,
    pub text: String,
}

/// What must be read before any number, the worst first.
pub(super) fn flags(evidence: &Evidence, a: &Analysis) -> Vec<Flag> {
    let mut out = Vec::new();
    if let Some(leak) = leak(&evidence.manifest) {
        out.push(words::red(format!(
            "This run was made with the leak `{leak}` on, which breaks the evaluation on purpose: its numbers say nothing of the model"
        )));
    }
    for (passed, text) in replays(&evidence.manifest) {
        if !passed {
            out.push(words::red(format!("Cells run again in another batch wrote other tokens: {text}")));
        }
    }
    let failed: Vec<&SelfCheck> = a.self_checks.iter().filter(|c| !c.passed).collect();
    if let Some(c) = failed.iter().max_by_key(|c| c.other_input + c.other_output) {
        out.push(words::red(format!(
            "The A/A control failed at {} of {} settings: of {} pairs of `{}` and `{}`, which are the same request, {} were fed other tokens, \
             {} wrote other tokens, {} changed their label. Something passes from one request to the next",
            failed.len(),
            a.self_checks.len(),
            c.pairs,
            c.arm,
            c.again,
            c.other_input,
            c.other_output,
            c.table.b + c.table.c
        )));
    }
    for e in a.factors.iter().filter(|e| e.factor.excluded() && e.other_output + e.other_input > 0) {
        out.push(words::red(format!(
            "{} changed the tokens of {} of {} cells ({} to {}): it must change none",
            e.factor.name(),
            e.other_output.max(e.other_input),
            e.cells,
            e.from,
            e.to
        )));
    }
    if !evidence.manifest.is_null() && evidence.manifest["replay"].is_null() {
        out.push(words::amber(
            "No cell was asked again in another batch: the run was not finished, so this proof is missing",
        ));
    }
    if a.self_checks.is_empty() {
        out.push(words::amber("No A/A arm was run: nothing in this run shows that no state passed between requests"));
    }
    let c = &a.completeness;
    if let Some(planned) = c.planned.filter(|p| *p > c.run) {
        let arms: Vec<String> = c.not_run.iter().map(|(arm, n)| format!("{arm} {n}")).collect();
        out.push(words::amber(format!(
            "Incomplete: {} of {planned} cells were not run ({})",
            planned - c.run,
            arms.join(", ")
        )));
    }
    if c.planned.is_none() {
        out.push(words::amber("The folder has no plan.jsonl: nobody can say which cells are missing"));
    }
    if c.labelled < c.run {
        let unlabelled = c.run - c.labelled;
        out.push(words::amber(format!(
            "{unlabelled} of {} cells have no label of `{}` and count as not refused",
            c.run, a.judge.name
        )));
    }
    if !a.calibrated() {
        out.push(words::amber(format!(
            "Judge not calibrated: nobody knows how often `{}` is right about this model; label a sample with `probity pair label`",
            a.judge.name
        )));
    }
    if let Some(primary) = a.primary() {
        out.extend(primary.warnings.iter().map(words::amber));
        if !a.self_checks.is_empty() && primary.order.notes.iter().any(|n| n.starts_with("one order")) {
            out.push(words::amber(
                "The arms were asked in one order only: order is excluded by the A/A control, not by the design",
            ));
        }
    }
    out.sort_by_key(|f| f.severity);
    out
}

/// The leak that a manifest names, at its top or in its configuration.
fn leak(manifest: &serde_json::Value) -> Option<String> {
    let named = |v: &serde_json::Value| v.as_str().filter(|s| !s.is_empty() && *s != "none").map(str::to_string);
    named(&manifest["leak"]).or_else(|| named(&manifest["config"]["leak"]))
}

/// Samples that the run repeated in another batch partition: whether the tokens were the same, and which they were.
fn replays(manifest: &serde_json::Value) -> Vec<(bool, String)> {
    let replay = &manifest["replay"];
    match (replay["cells"].as_u64(), replay["mismatches"].as_u64()) {
        (Some(cells), Some(mismatches)) => vec![(mismatches == 0, format!("{mismatches} of {cells}"))],
        _ => Vec::new(),
    }
}
