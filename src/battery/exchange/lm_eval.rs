//! lm-evaluation-harness: `samples_<task>_<time>.jsonl`, one object a document and filter, and `results_<time>.json`.
//!
//! Written as version 0.4.13 writes them (`loggers/evaluation_tracker.py`, `result_schema.py`); read from 0.4.0 on, whose
//! `arguments` are lists and which does not name its metrics. Our own writer leaves the rows of an item in the key `probity`;
//! where that is, they are what is read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value, json};

use super::export::{Cell, Exported, mean_of_items, stamp, write_json};
use super::fields::{Fields, fault, label, short};
use super::{Draft, Input, Noticed, Record, UNSTATED};
use crate::battery::error::{BatteryError, Result};
use crate::battery::record::{Decoding, sha256_hex};
use crate::battery::rows;
use crate::domain::frugality::dataset::canonical_prompt;

/// Keys of a line that are not metrics.
const FIXED: [&str; 12] = [
    "doc_id",
    "doc",
    "target",
    "arguments",
    "resps",
    "filtered_resps",
    "filter",
    "metrics",
    "doc_hash",
    "prompt_hash",
    "target_hash",
    "probity",
];
/// What a filter of the harness gives where it found nothing.
const NOTHING_FOUND: &str = "[invalid]";

/// What the lines of one file have in common.
struct File<'a> {
    input: &'a Input<'a>,
    task: String,
    arm: String,
    filter: Option<String>,
    metric: Option<String>,
}

/// Reads the lines of one filter.
pub fn read(input: &Input<'_>, noticed: &mut Noticed) -> Result<Vec<Draft>> {
    let mut lines = Vec::new();
    for (i, line) in input.text.lines().enumerate().filter(|(_, l)| !l.trim().is_empty()) {
        let value: Value = serde_json::from_str(line).map_err(|e| {
            fault(input.path, format!("line {}: not JSON: {e}; if the file was cut off, remove that line", i + 1))
        })?;
        lines.push((format!("line {}", i + 1), value));
    }
    let fields: Vec<Fields<'_>> =
        lines.iter().map(|(place, v)| Fields::new(input.path, place.clone(), v)).collect::<Result<_>>()?;
    let mut filters: Vec<&str> = Vec::new();
    for f in &fields {
        let name = f.maybe_text("filter")?.unwrap_or("none");
        if !filters.contains(&name) {
            filters.push(name);
        }
    }
    let filter = chosen("--filter", input, input.filter, &filters, noticed)?;
    let mut metrics: Vec<&str> = Vec::new();
    for f in &fields {
        for name in metrics_of(f) {
            if !metrics.contains(&name) {
                metrics.push(name);
            }
        }
    }
    let metric = chosen("--score", input, input.score, &metrics, noticed)?;
    let (task, arm) = (task_of(input.path), arm_of(input)?);
    let file = File { input, task, arm, filter, metric };
    let mut out = Vec::new();
    for f in &fields {
        if file
            .filter
            .as_deref()
            .is_some_and(|want| f.map.get("filter").and_then(Value::as_str).unwrap_or("none") != want)
        {
            continue;
        }
        let known: Vec<&str> = FIXED.iter().copied().chain(metrics.iter().copied()).collect();
        noticed.unused(f, &known);
        out.extend(file.drafts(f)?);
    }
    Ok(out)
}

/// The option's value, checked, or the first that the file has, with a note where there are others.
fn chosen(
    option: &str,
    input: &Input<'_>,
    wanted: Option<&str>,
    have: &[&str],
    noticed: &mut Noticed,
) -> Result<Option<String>> {
    match (wanted, have) {
        (Some(w), have) if have.contains(&w) => Ok(Some(w.into())),
        (Some(w), have) => {
            Err(fault(input.path, format!("{option} {w}: not in this file (it has: {})", have.join(", "))))
        }
        (None, []) => Ok(None),
        (None, [only]) => Ok(Some((*only).into())),
        (None, [first, ..]) => {
            noticed.notes.push(format!("took {first} of {} ({option} chooses another)", have.join(", ")));
            Ok(Some((*first).into()))
        }
    }
}

/// Names of a line's metrics; older files do not list them: every other number is one.
fn metrics_of<'a>(f: &Fields<'a>) -> Vec<&'a str> {
    match f.map.get("metrics").and_then(Value::as_array) {
        Some(names) => names.iter().filter_map(Value::as_str).collect(),
        None => {
            let scalar = |v: &Value| v.is_number() || v.is_boolean();
            let metric = |(k, v): &(&'a String, &Value)| !FIXED.contains(&k.as_str()) && scalar(v);
            f.map.iter().filter(metric).map(|(k, _)| k.as_str()).collect()
        }
    }
}

/// The task in a file name, as the harness's own `get_file_task_name` reads it.
fn task_of(path: &Path) -> String {
    let stem = path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    match (stem.find('_'), stem.rfind('_')) {
        (Some(a), Some(b)) if a < b && stem.starts_with("samples_") => stem[a + 1..b].to_string(),
        _ => stem,
    }
}

/// The arm: named, or `model_name` of the results file that was written with the samples.
fn arm_of(input: &Input<'_>) -> Result<String> {
    if let Some(arm) = input.arm {
        return Ok(arm.into());
    }
    let stem = input.path.file_stem().map(|s| s.to_string_lossy().into_owned()).unwrap_or_default();
    let beside = stem.rsplit('_').next().map(|time| input.path.with_file_name(format!("results_{time}.json")));
    let name = beside
        .and_then(|p| std::fs::read_to_string(p).ok())
        .and_then(|text| serde_json::from_str::<Value>(&text).ok())
        .and_then(|v| v.get("model_name").and_then(label))
        .filter(|name| !name.is_empty());
    name.ok_or_else(|| {
        let text = "samples do not name their model, and no results_*.json with a model_name lies beside them; give --arm NAME";
        BatteryError::Refused(format!("{}: {text}", input.path.display()))
    })
}

/// A request's arguments: the prompt, and the generation settings or the continuation.
fn arguments<'a>(f: &Fields<'a>, request: usize) -> (Option<&'a Value>, Option<&'a Value>) {
    let Some(all) = f.get("arguments") else { return (None, None) };
    match all.get(format!("gen_args_{request}")) {
        Some(args) => (args.get("arg_0"), args.get("arg_1")),
        None => {
            let args = all.get(request);
            (args.and_then(|a| a.get(0)), args.and_then(|a| a.get(1)))
        }
    }
}

/// The first string at or below a value.
fn first_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(s) => Some(s),
        Value::Array(a) => a.first().and_then(first_text),
        _ => None,
    }
}

/// A log-likelihood response, `[log_prob, is_greedy]`, as numbers or as the strings that the harness writes.
fn log_likelihood(value: &Value) -> Option<(f64, bool)> {
    let [logp, greedy] = value.as_array()?.as_slice() else { return None };
    let logp = logp.as_f64().or_else(|| logp.as_str()?.parse().ok())?;
    let greedy = greedy.as_bool().or_else(|| Some(greedy.as_str()?.eq_ignore_ascii_case("true")))?;
    Some((logp, greedy))
}

impl File<'_> {
    fn drafts(&self, f: &Fields<'_>) -> Result<Vec<Draft>> {
        let doc = f.object("doc")?;
        if let Some(samples) = f.get("probity").and_then(Value::as_array) {
            return samples.iter().map(|v| self.own(f, v)).collect();
        }
        let doc_id = f.label("doc_id")?;
        let (prompt, second) = arguments(f, 0);
        let prompt = prompt.map(|p| p.as_str().map_or_else(|| p.to_string(), String::from)).unwrap_or_default();
        let said = |key: &str| doc.as_ref().and_then(|d| d.map.get(key)).and_then(Value::as_str).map(String::from);
        let settings = second.and_then(Value::as_object);
        let setting = |key: &str| settings.and_then(|s| s.get(key));
        let sampled = setting("do_sample").and_then(Value::as_bool).unwrap_or(false)
            || setting("temperature").and_then(Value::as_f64).is_some_and(|t| t > 0.0);
        let limit = ["max_gen_toks", "max_new_tokens", "max_tokens"].iter().find_map(|k| setting(k)?.as_u64());
        let (text, answer, choice) = self.answer(f)?;
        let record = Record {
            arm: self.arm.clone(),
            seed: self.input.seed.unwrap_or(0),
            item: format!("{}/{doc_id}", self.task),
            family: said("family").unwrap_or_else(|| self.task.clone()),
            split: UNSTATED.into(),
            canonical: if prompt.trim().is_empty() {
                format!("{}/{doc_id}", self.task)
            } else {
                canonical_prompt(&prompt)
            },
            condition: self.input.condition.map(String::from).or_else(|| said("condition")).unwrap_or(UNSTATED.into()),
            cue: String::new(),
            decoding: if sampled { Decoding::Sample } else { Decoding::Greedy },
            sample: 0,
            prompt,
            text,
            token_ids: Vec::new(),
            n_tokens: None,
            excess_tokens: None,
            finish: None,
            truth: f.label("target")?,
            answer,
            correct: self.score(f)?,
            reward: None,
            mean_logp: None,
            task_type: None,
        };
        Ok(vec![Draft { record, limit: limit.and_then(|n| u32::try_from(n).ok()), choice }])
    }

    /// One sample that our own writer left.
    fn own(&self, f: &Fields<'_>, value: &Value) -> Result<Draft> {
        let place = format!("{}, `probity`", f.place);
        let mut record: Record = serde_json::from_value(value.clone())
            .map_err(|e| fault(f.path, format!("{place}: {e}; export the run again")))?;
        record.arm = self.input.arm.map_or(record.arm, String::from);
        record.seed = self.input.seed.unwrap_or(record.seed);
        record.condition = self.input.condition.map_or(record.condition, String::from);
        Ok(Draft { record, limit: None, choice: false })
    }

    /// Response text, what the filter read, and whether it is a choice among given texts.
    fn answer(&self, f: &Fields<'_>) -> Result<(String, Option<String>, bool)> {
        let list = |field: &str| f.get(field).and_then(Value::as_array).ok_or_else(|| f.wrong(field, "a list"));
        let (raw, filtered) = (list("resps")?, list("filtered_resps")?);
        let scored: Option<Vec<(f64, bool)>> = filtered.iter().map(log_likelihood).collect();
        if let Some(scored) = scored.filter(|s| !s.is_empty()) {
            // The likeliest continuation; the first of equals, as the harness's argmax.
            let mut best = 0;
            for (i, s) in scored.iter().enumerate() {
                if scored.get(best).is_some_and(|b| s.0 > b.0) {
                    best = i;
                }
            }
            let (_, text) = arguments(f, best);
            let text = text.and_then(first_text).unwrap_or_default().to_string();
            // A single continuation is an answer only where it was the greedy one.
            let taken = scored.len() > 1 || scored.first().is_some_and(|s| s.1);
            return Ok((text.clone(), taken.then_some(text), true));
        }
        let text = raw
            .iter()
            .find_map(first_text)
            .ok_or_else(|| f.wrong("resps", "a list of texts, or of [log_prob, is_greedy]"))?;
        let read = filtered.iter().find_map(first_text).map(str::trim);
        Ok((text.into(), read.filter(|a| !a.is_empty() && *a != NOTHING_FOUND).map(String::from), false))
    }

    fn score(&self, f: &Fields<'_>) -> Result<Option<f64>> {
        let Some(metric) = &self.metric else { return Ok(None) };
        let Some(value) = f.get(metric) else { return Ok(None) };
        let number = value.as_f64().or_else(|| value.as_bool().map(|b| f64::from(u8::from(b))));
        match number.filter(|x| (0.0..=1.0).contains(x)) {
            Some(x) => Ok(Some(x)),
            None => {
                let expected = "a score from 0 to 1, true or false; --score names the metric that says right or wrong";
                Err(fault(f.path, format!("{}: metric `{metric}` is {}; expected {expected}", f.place, short(value))))
            }
        }
    }
}

/// Writes a folder a model with `results_<time>.json` and a `samples_<task>_<time>.jsonl` a task.
pub fn write(e: &Exported, out: &Path) -> Result<Vec<PathBuf>> {
    let time = stamp(e.made, "%Y-%m-%dT%H-%M-%S.000000")?;
    let mut models: BTreeMap<String, Vec<Cell<'_>>> = BTreeMap::new();
    for cell in e.cells() {
        models.entry(cell.model.clone()).or_default().push(cell);
    }
    let mut files = Vec::new();
    for (model, cells) in models {
        let name = format!("probity/{model}");
        let dir = out.join(sanitised(&name));
        std::fs::create_dir_all(&dir).map_err(BatteryError::io(&dir))?;
        let mut results = Results::default();
        for cell in &cells {
            let lines = lines(cell)?;
            results.add(cell, &lines);
            let path = dir.join(format!("samples_{}_{time}.jsonl", cell.task));
            rows::write(&path, &lines)?;
            files.push(path);
        }
        let path = dir.join(format!("results_{time}.json"));
        write_json(&path, &results.json(e, &name))?;
        files.push(path);
    }
    Ok(files)
}

/// As the harness's `sanitize_model_name`: a run of characters that file names do not like becomes `__`.
fn sanitised(name: &str) -> String {
    let parts: Vec<&str> = name.split(|c| "\"<>:/|\\?*[]".contains(c)).filter(|p| !p.is_empty()).collect();
    parts.join("__")
}

/// One line an item: its responses as repeats of one request, metrics as means over them, the rows themselves in `probity`.
fn lines(cell: &Cell<'_>) -> Result<Vec<Value>> {
    let mut out = Vec::new();
    for (doc_id, of) in cell.items().into_iter().enumerate() {
        let Some(first) = of.first() else { continue };
        let doc = json!({ "item": first.item, "family": first.family, "split": first.split,
            "canonical": first.canonical, "condition": first.condition });
        let text = serde_json::to_string_pretty(&doc).map_err(|e| BatteryError::Refused(e.to_string()))?;
        let texts: Vec<&str> = of.iter().map(|r| r.text.as_str()).collect();
        let read: Vec<&str> = of.iter().take(1).map(|r| r.answer.as_deref().unwrap_or(NOTHING_FOUND)).collect();
        let mut line = Map::new();
        let mut put = |key: &str, value: Value| line.insert(key.into(), value);
        put("doc_id", json!(doc_id));
        put("doc", doc);
        put("target", json!(first.truth));
        let settings = json!({ "until": [], "do_sample": first.decoding == Decoding::Sample });
        put("arguments", json!({ "gen_args_0": { "arg_0": first.prompt, "arg_1": settings } }));
        put("resps", json!([texts]));
        put("filtered_resps", json!(read));
        put("filter", json!("none"));
        let scores: Vec<(&str, f64)> = METRICS
            .iter()
            .filter_map(|(name, value)| Some((*name, mean_of_items(std::slice::from_ref(&of), value)?.0)))
            .collect();
        put("metrics", scores.iter().map(|(name, _)| *name).collect());
        put("doc_hash", json!(sha256_hex(text.as_bytes())));
        put("prompt_hash", json!(sha256_hex(first.prompt.as_bytes())));
        put("target_hash", json!(sha256_hex(first.truth.as_bytes())));
        for (name, mean) in scores {
            put(name, json!(mean));
        }
        put("probity", json!(of));
        out.push(Value::Object(line));
    }
    Ok(out)
}

type Metric = (&'static str, fn(&Record) -> Option<f64>);
const METRICS: [Metric; 2] =
    [("exact_match", |r| r.correct.map(|c| f64::from(u8::from(c == 1.0)))), ("tokens", |r| r.n_tokens.map(f64::from))];

/// The aggregated results of one model.
#[derive(Default)]
struct Results {
    by_key: BTreeMap<&'static str, Map<String, Value>>,
}

impl Results {
    fn add(&mut self, cell: &Cell<'_>, lines: &[Value]) {
        let items = cell.items();
        let mut scores = json!({ "name": cell.task, "alias": cell.task, "sample_len": items.len() });
        for (name, value) in METRICS {
            if let Some((mean, error)) = mean_of_items(&items, value) {
                scores[format!("{name},none")] = json!(mean);
                scores[format!("{name}_stderr,none")] = error.map_or(json!("N/A"), |e| json!(e));
            }
        }
        let hashes: String = lines
            .iter()
            .flat_map(|l| ["doc_hash", "prompt_hash", "target_hash"].map(|k| l[k].as_str().unwrap_or_default()))
            .collect();
        let metric = |name: &str, up: bool| json!({ "metric": name, "aggregation": "mean", "higher_is_better": up });
        let repeats = items.iter().map(Vec::len).max().unwrap_or(1);
        let config = json!({ "task": cell.task, "output_type": "generate_until", "repeats": repeats, "num_fewshot": 0,
            "metric_list": [metric("exact_match", true), metric("tokens", false)], "metadata": { "version": 1.0 } });
        for (key, value) in [
            ("results", scores),
            ("group_subtasks", json!([])),
            ("configs", config),
            ("versions", json!(1.0)),
            ("n-shot", json!(0)),
            ("higher_is_better", json!({ "exact_match": true, "tokens": false })),
            ("n-samples", json!({ "original": items.len(), "effective": items.len() })),
            ("task_hashes", json!(sha256_hex(hashes.as_bytes()))),
        ] {
            self.by_key.entry(key).or_default().insert(cell.task.clone(), value);
        }
    }

    fn json(mut self, e: &Exported, name: &str) -> Value {
        let mut out = Map::new();
        let order = [
            "results",
            "group_subtasks",
            "configs",
            "versions",
            "n-shot",
            "higher_is_better",
            "n-samples",
            "task_hashes",
        ];
        for key in order {
            out.insert(key.into(), self.by_key.remove(key).unwrap_or_default().into());
        }
        let rest = json!({
            "config": { "model": "probity", "model_args": e.origin },
            "git_hash": null, "date": e.made, "pretty_env_info": format!("probity {}", e.version),
            "transformers_version": null, "lm_eval_version": null, "upper_git_hash": null,
            "model_source": "probity", "model_name": name, "model_name_sanitized": sanitised(name),
            "system_instruction": null, "system_instruction_sha": null, "fewshot_as_multiturn": null,
            "chat_template": null, "chat_template_sha": null, "total_evaluation_time_seconds": null,
        });
        out.extend(rest.as_object().cloned().unwrap_or_default());
        Value::Object(out)
    }
}
