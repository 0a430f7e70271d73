//! The study's result JSON: an array of flat objects, one a response.

use serde_json::Value;

use super::fields::{Fields, fault};
use super::{Draft, Input, Noticed, Record, UNSTATED};
use crate::battery::error::Result;
use crate::battery::record::Decoding;
use crate::domain::frugality::Family;
use crate::domain::frugality::dataset::canonical_prompt;

const KNOWN: [&str; 11] = [
    "task_id",
    "task_type",
    "condition",
    "model_name",
    "prompt",
    "response",
    "n_tokens",
    "correctness",
    "total_reward",
    "answer",
    "ground_truth",
];

/// Reads the array. Family = the generator named by the prefix of `task_id`, else `task_type`.
pub fn read(input: &Input<'_>, noticed: &mut Noticed) -> Result<Vec<Draft>> {
    let rows: Vec<Value> = serde_json::from_str(input.text).map_err(|e| {
        fault(input.path, format!("not a JSON array of rows: {e}; if the file was cut off, fetch or write it again"))
    })?;
    rows.iter().enumerate().map(|(i, row)| draft(input, &format!("row {}", i + 1), row, noticed)).collect()
}

fn draft(input: &Input<'_>, place: &str, row: &Value, noticed: &mut Noticed) -> Result<Draft> {
    let f = Fields::new(input.path, place.into(), row)?;
    noticed.unused(&f, &KNOWN);
    let item = f.label("task_id")?;
    let task_type = f.maybe_text("task_type")?.map(String::from);
    let arm = match input.arm {
        Some(arm) => arm.to_string(),
        None => f.maybe_label("model_name")?.ok_or_else(|| f.wrong("model_name", "a string, or name it with --arm"))?,
    };
    let prompt = f.maybe_text("prompt")?.unwrap_or_default();
    let correct = f.number("correctness")?;
    if correct.is_some_and(|c| !(0.0..=1.0).contains(&c)) {
        return Err(f.wrong("correctness", "a number from 0 to 1, or null"));
    }
    let family = match Family::of_id(&item) {
        Some(family) => family.name().to_string(),
        None => task_type.clone().unwrap_or_else(|| UNSTATED.into()),
    };
    let record = Record {
        arm,
        seed: input.seed.unwrap_or(0),
        family,
        split: UNSTATED.into(),
        canonical: if prompt.trim().is_empty() { item.clone() } else { canonical_prompt(prompt) },
        condition: match input.condition {
            Some(c) => c.into(),
            None => f.maybe_text("condition")?.unwrap_or(UNSTATED).into(),
        },
        cue: String::new(),
        // The study's evaluation samples (T 0.7); its files do not say so.
        decoding: Decoding::Sample,
        sample: 0,
        prompt: prompt.into(),
        text: f.text("response")?.into(),
        token_ids: Vec::new(),
        n_tokens: f.count("n_tokens")?,
        excess_tokens: None,
        finish: None,
        truth: f.label("ground_truth")?,
        answer: f.maybe_label("answer")?.filter(|a| !a.is_empty()),
        correct,
        reward: f.number("total_reward")?,
        mean_logp: None,
        task_type,
        item,
    };
    Ok(Draft { record, limit: None, choice: false })
}
