//! Inspect: JSON eval logs, version 2, as `inspect_ai` 0.3 reads and writes them.

use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::export::{Cell, Exported, mean_of_items, stamp, write_json};
use super::fields::{Fields, fault, label, short};
use super::{Draft, Input, Noticed, Record, UNSTATED};
use crate::battery::error::Result;
use crate::battery::record::{Decoding, sha256_hex};
use crate::domain::frugality::Family;
use crate::domain::frugality::dataset::canonical_prompt;
use crate::generate::Finish;

/// The parts of a log that rows need; events and attachments, most of a log's bytes, are skipped while parsing.
#[derive(Deserialize)]
struct Log {
    version: Option<Value>,
    status: Option<Value>,
    eval: Option<Value>,
    plan: Option<Value>,
    samples: Option<Vec<Map<String, Value>>>,
}

/// Reads the samples. Epochs are samples of an item; family and condition come from a sample's metadata where it has them.
pub fn read(input: &Input<'_>, noticed: &mut Noticed) -> Result<Vec<Draft>> {
    let log: Log = serde_json::from_str(input.text).map_err(|e| {
        fault(
            input.path,
            format!("not an Inspect log: {e}; if the file was cut off, write it again (inspect log convert)"),
        )
    })?;
    if let Some(v) = log.version.as_ref().filter(|v| v.as_u64() != Some(2)) {
        noticed.notes.push(format!("log version {}; version 2 is what was tested", short(v)));
    }
    if let Some(s) = log.status.as_ref().and_then(Value::as_str).filter(|s| *s != "success") {
        noticed.notes.push(format!("the log's status is {s}: its samples may be incomplete"));
    }
    let eval = log.eval.ok_or_else(|| fault(input.path, "no field `eval`; expected an Inspect log's header"))?;
    let eval = Fields::new(input.path, "`eval`".into(), &eval)?;
    let samples = log.samples.ok_or_else(|| {
        fault(
            input.path,
            "no field `samples`: a log header only; give the log with its samples (inspect log dump FILE)",
        )
    })?;
    let arm = match input.arm {
        Some(arm) => arm.to_string(),
        None => eval.maybe_text("model")?.ok_or_else(|| eval.wrong("model", "a string, or name it with --arm"))?.into(),
    };
    let task = eval.maybe_text("task")?.unwrap_or("inspect").to_string();
    let setting = |key: &str| {
        let of = |v: Option<&Value>, at: &str| v.and_then(|v| v.get(at)?.get(key)?.as_f64());
        of(log.plan.as_ref(), "config").or_else(|| eval.get("model_generate_config").and_then(|v| v.get(key)?.as_f64()))
    };
    let limit = setting("max_tokens").filter(|x| (1.0..=f64::from(u32::MAX)).contains(x)).map(|x| x as u32);
    let greedy = setting("temperature") == Some(0.0);
    let scorer = scorer(input, &eval, &samples, noticed)?;
    let file = File { input, task, arm, limit, greedy, scorer };
    let mut out = Vec::new();
    for (i, map) in samples.iter().enumerate() {
        let f = Fields { path: input.path, place: format!("sample {}", i + 1), map };
        match file.draft(&f)? {
            Some(draft) => out.push(draft),
            None if f.get("error").is_some() => noticed.skip("sample that ended in an error"),
            None => noticed.skip("sample without an output"),
        }
    }
    Ok(out)
}

/// The scorer that says right or wrong: named (`NAME`, or `NAME.KEY` in a scorer of several values), or the first.
fn scorer(
    input: &Input<'_>,
    eval: &Fields<'_>,
    samples: &[Map<String, Value>],
    noticed: &mut Noticed,
) -> Result<Option<(String, Option<String>)>> {
    let mut names: Vec<&str> = Vec::new();
    let listed = eval.get("scorers").and_then(Value::as_array).into_iter().flatten();
    let listed = listed.filter_map(|s| s.get("name").and_then(Value::as_str));
    let scored = samples.iter().filter_map(|s| s.get("scores").and_then(Value::as_object));
    let found: Vec<&str> = scored.flat_map(|s| s.keys().map(String::as_str)).collect();
    for name in listed.filter(|n| found.contains(n)).chain(found.iter().copied()) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    match input.score {
        Some(wanted) => {
            if names.contains(&wanted) {
                return Ok(Some((wanted.into(), None)));
            }
            match wanted.split_once('.').filter(|(name, _)| names.contains(name)) {
                Some((name, key)) => Ok(Some((name.into(), Some(key.into())))),
                None => {
                    let has = names.join(", ");
                    Err(fault(input.path, format!("--score {wanted}: no sample has that scorer (there is: {has})")))
                }
            }
        }
        None => {
            if let [first, _, ..] = names.as_slice() {
                noticed.notes.push(format!("took scorer {first} of {} (--score chooses another)", names.join(", ")));
            }
            Ok(names.first().map(|n| ((*n).into(), None)))
        }
    }
}

/// What the samples of one log have in common.
struct File<'a> {
    input: &'a Input<'a>,
    task: String,
    arm: String,
    limit: Option<u32>,
    greedy: bool,
    scorer: Option<(String, Option<String>)>,
}

/// Text of a message: a string, or the text parts of a list (reasoning is another kind of part).
fn message_text(content: &Value) -> Option<String> {
    match content {
        Value::String(s) => Some(s.clone()),
        Value::Array(parts) => {
            let text =
                |p: &Value| (p.get("type")?.as_str()? == "text").then(|| p.get("text")?.as_str().map(String::from))?;
            Some(parts.iter().filter_map(text).collect::<Vec<_>>().join("\n"))
        }
        _ => None,
    }
}

/// The prompt: the input, or the texts of its messages.
fn prompt(f: &Fields<'_>) -> Result<String> {
    match f.map.get("input") {
        Some(Value::String(s)) => Ok(s.clone()),
        Some(Value::Array(messages)) => {
            let text = |m: &Value| m.get("content").and_then(message_text);
            Ok(messages.iter().filter_map(text).collect::<Vec<_>>().join("\n"))
        }
        _ => Err(f.wrong("input", "a string or a list of messages")),
    }
}

impl File<'_> {
    /// The row of a sample; `None` where the model said nothing, because of an error or a limit.
    fn draft(&self, f: &Fields<'_>) -> Result<Option<Draft>> {
        let item = f.label("id")?;
        let epoch = f.count("epoch")?.unwrap_or(1);
        let Some(output) = f.object("output")? else { return Ok(None) };
        let choice = output.get("choices").and_then(Value::as_array).and_then(|c| c.first());
        let text = match (output.maybe_text("completion")?, choice) {
            (Some(text), Some(_)) => text.to_string(),
            (None, Some(c)) => c
                .pointer("/message/content")
                .and_then(message_text)
                .ok_or_else(|| output.wrong("completion", "a string, or choices with a message"))?,
            (_, None) => return Ok(None),
        };
        let usage = output.object("usage")?;
        let n_tokens = usage.map(|u| u.count("output_tokens")).transpose()?.flatten();
        let stop = choice.and_then(|c| c.get("stop_reason")).and_then(Value::as_str);
        let meta = f.object("metadata")?;
        let said = |key: &str| meta.as_ref().and_then(|m| m.map.get(key)).and_then(Value::as_str).map(String::from);
        let number = |key: &str| meta.as_ref().and_then(|m| m.map.get(key)).and_then(Value::as_f64);
        let prompt = prompt(f)?;
        let (answer, correct) = self.score(f)?;
        let seed = meta.as_ref().and_then(|m| m.map.get("seed")).and_then(Value::as_u64);
        let family = said("family").or_else(|| Family::of_id(&item).map(|x| x.name().into()));
        let greedy = said("decoding").map_or(self.greedy, |d| d == "greedy");
        let record = Record {
            arm: self.input.arm.map(String::from).or_else(|| said("arm")).unwrap_or_else(|| self.arm.clone()),
            seed: self.input.seed.or(seed).unwrap_or(0),
            family: family.unwrap_or_else(|| self.task.clone()),
            split: said("split").unwrap_or(UNSTATED.into()),
            canonical: said("canonical").unwrap_or_else(|| canonical_prompt(&prompt)),
            condition: self.input.condition.map(String::from).or_else(|| said("condition")).unwrap_or(UNSTATED.into()),
            cue: said("cue").unwrap_or_default(),
            decoding: if greedy { Decoding::Greedy } else { Decoding::Sample },
            sample: epoch.saturating_sub(1),
            prompt,
            text,
            token_ids: Vec::new(),
            n_tokens,
            excess_tokens: number("excess_tokens").filter(|x| x.fract() == 0.0).map(|x| x as i64),
            finish: match stop {
                Some("stop") => Some(Finish::Stop),
                Some("max_tokens" | "model_length") => Some(Finish::Length),
                _ => None,
            },
            truth: target(f)?,
            answer,
            correct,
            reward: number("reward"),
            mean_logp: number("mean_logp"),
            task_type: said("task_type"),
            item,
        };
        Ok(Some(Draft { record, limit: self.limit, choice: false }))
    }

    /// Answer and value of the chosen scorer; values as Inspect's `value_to_float` reads them.
    fn score(&self, f: &Fields<'_>) -> Result<(Option<String>, Option<f64>)> {
        let Some((name, key)) = &self.scorer else { return Ok((None, None)) };
        let Some(score) = f.object("scores")?.map(|s| s.object(name)).transpose()?.flatten() else {
            return Ok((None, None));
        };
        let answer = score.maybe_label("answer")?.filter(|a| !a.is_empty());
        let value = match (score.get("value"), key) {
            (Some(v), Some(key)) => v.get(key).filter(|v| !v.is_null()),
            (v, _) => v,
        };
        let Some(value) = value else { return Ok((answer, None)) };
        let number = match value {
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            Value::String(s) => match s.as_str() {
                "C" => Some(1.0),
                "P" => Some(0.5),
                "I" | "N" => Some(0.0),
                other => match other.to_lowercase().as_str() {
                    "yes" | "true" => Some(1.0),
                    "no" | "false" => Some(0.0),
                    text => text.parse().ok(),
                },
            },
            other => other.as_f64(),
        };
        match number.filter(|x| (0.0..=1.0).contains(x)) {
            Some(x) => Ok((answer, Some(x))),
            None => {
                let keys =
                    value.as_object().map(|o| o.keys().map(|k| format!("{name}.{k}")).collect::<Vec<_>>().join(", "));
                let hint = keys.map_or(String::new(), |k| format!(": {k}"));
                let expected = "C, I, P, N, true, false or a number from 0 to 1; --score names a scorer, or SCORER.KEY";
                let found = short(value);
                Err(fault(f.path, format!("{}: score `{name}` is {found}; expected {expected}{hint}", f.place)))
            }
        }
    }
}

/// The target: a text, or several of which each counts as right (joined by ` | `).
fn target(f: &Fields<'_>) -> Result<String> {
    match f.map.get("target") {
        Some(Value::Array(all)) => Ok(all.iter().filter_map(label).collect::<Vec<_>>().join(" | ")),
        _ => f.label("target"),
    }
}

/// Writes one log a cell: `<time>_<task>_<id>.json`.
pub fn write(e: &Exported, out: &Path) -> Result<Vec<PathBuf>> {
    let time = stamp(e.made, "%Y-%m-%dT%H:%M:%S+00:00")?;
    let mut files = Vec::new();
    for cell in e.cells() {
        let id = sha256_hex(format!("{}\n{}\n{}", e.origin, cell.task, cell.model).as_bytes());
        let id = id.get(..22).unwrap_or(&id).to_string();
        // As `clean_filename_component` of inspect_ai.
        let clean = |s: &str| s.replace(['_', '/', ':', '+'], "-");
        let path = out.join(format!("{}_{}_{id}.json", clean(&time), clean(&cell.task)));
        write_json(&path, &log(e, &cell, &id, &time))?;
        files.push(path);
    }
    Ok(files)
}

fn log(e: &Exported, cell: &Cell<'_>, id: &str, time: &str) -> Value {
    let items = cell.items();
    let scorer = e.scorer;
    let model = format!("probity/{}", cell.model);
    let first = cell.rows.first();
    let ids: Vec<&str> = items.iter().filter_map(|of| Some(of.first()?.item.as_str())).collect();
    let tokens: u64 = cell.rows.iter().filter_map(|r| r.n_tokens).map(u64::from).sum();
    let accuracy = mean_of_items(&items, |r| r.correct);
    let values = [
        ("accuracy", accuracy.map(|a| a.0)),
        ("stderr", accuracy.and_then(|a| a.1)),
        ("mean_tokens", mean_of_items(&items, |r| r.n_tokens.map(f64::from)).map(|t| t.0)),
    ];
    let metric = |(name, value): (&str, Option<f64>)| {
        value.map(|v| (name.to_string(), json!({ "name": name, "value": v, "params": {} })))
    };
    let metrics: Map<String, Value> = values.into_iter().filter_map(metric).collect();
    let epochs = items.iter().map(Vec::len).max().unwrap_or(1);
    let scored = cell.rows.iter().filter(|r| r.correct.is_some()).count();
    let usage = json!({ (model.clone()): usage(tokens) });
    json!({
        "version": 2,
        "status": "success",
        "eval": {
            "eval_id": id, "run_id": id, "created": time, "task": cell.task, "task_id": id, "task_version": 0,
            "task_args": {},
            "dataset": { "name": cell.task, "samples": items.len(), "sample_ids": ids, "shuffled": false },
            "model": model, "model_generate_config": {}, "model_args": {},
            "config": { "epochs": epochs, "epochs_reducer": ["mean"] },
            "packages": { "probity": e.version },
            "metadata": {
                "arm": first.map(|r| &r.arm), "seed": first.map(|r| r.seed),
                "condition": first.map(|r| &r.condition), "origin": e.origin,
            },
            "scorers": [{ "name": scorer, "options": {}, "metrics": [], "metadata": {} }],
        },
        "plan": { "name": "plan", "steps": [], "config": {} },
        "results": {
            "total_samples": cell.rows.len(), "completed_samples": cell.rows.len(),
            "scores": [{ "name": scorer, "scorer": scorer, "reducer": "mean", "scored_samples": scored,
                "unscored_samples": cell.rows.len() - scored, "params": {}, "metrics": metrics }],
        },
        "stats": { "started_at": time, "completed_at": time, "model_usage": usage },
        "samples": cell.rows.iter().map(|r| sample(r, &model, id, scorer)).collect::<Vec<_>>(),
    })
}

fn usage(output: u64) -> Value {
    json!({ "input_tokens": 0, "output_tokens": output, "total_tokens": output })
}

fn sample(r: &Record, model: &str, log: &str, scorer: &str) -> Value {
    let uuid = sha256_hex(format!("{log}\n{}\n{}", r.item, r.sample).as_bytes());
    let uuid = uuid.get(..22).unwrap_or(&uuid);
    let said = json!({ "id": uuid, "content": r.text, "source": "generate", "role": "assistant", "model": model });
    let asked = json!({ "id": format!("{uuid}q"), "content": r.prompt, "source": "input", "role": "user" });
    let stop = match r.finish {
        Some(Finish::Stop) => "stop",
        Some(Finish::Length) => "max_tokens",
        None => "unknown",
    };
    let mut output =
        json!({ "model": model, "choices": [{ "message": said, "stop_reason": stop }], "completion": r.text });
    if let Some(n) = r.n_tokens {
        output["usage"] = usage(n.into());
    }
    let value = match r.correct {
        Some(1.0) => json!("C"),
        Some(0.0) => json!("I"),
        Some(0.5) => json!("P"),
        other => json!(other),
    };
    // A score must have a value: what was not scored has none.
    let scores = match r.correct {
        Some(_) => json!({ (scorer): { "value": value, "answer": r.answer, "history": [] } }),
        None => json!({}),
    };
    json!({
        "id": r.item, "epoch": r.sample.saturating_add(1), "input": r.prompt, "target": r.truth,
        "messages": [asked, said], "output": output, "scores": scores,
        "metadata": {
            "arm": r.arm, "seed": r.seed, "family": r.family, "split": r.split, "canonical": r.canonical,
            "condition": r.condition, "cue": r.cue, "decoding": r.decoding, "excess_tokens": r.excess_tokens,
            "reward": r.reward, "mean_logp": r.mean_logp, "task_type": r.task_type,
        },
        "store": {}, "events": [], "model_usage": { (model): output.get("usage").cloned().unwrap_or_else(|| usage(0)) },
        "attachments": {}, "uuid": uuid,
    })
}
