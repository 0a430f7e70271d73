//! The methods paragraph, from the manifest and the configuration: it says what they say and nothing else.

use toml::{Table, Value};

use super::number;
use super::read::Run;

/// Settings worth naming, if the configuration has them anywhere.
const TRAINING: [&str; 18] = [
    "loss_type",
    "scale_rewards",
    "num_generations",
    "prompts_per_step",
    "beta",
    "anchor",
    "epsilon",
    "num_iterations",
    "max_steps",
    "learning_rate",
    "lr_scheduler_type",
    "max_grad_norm",
    "alpha",
    "n_max",
    "gate",
    "near_miss",
    "max_completion_length",
    "zero_std_limit",
];
const DECODING: [&str; 7] =
    ["temperature", "top_p", "top_k", "samples", "greedy", "max_new_tokens", "repetition_penalty"];

/// One sentence list per paragraph.
pub fn paragraphs(run: &Run) -> Vec<String> {
    let m = &run.manifest;
    let mut out = Vec::new();
    let seeds: Vec<String> = m.seeds.iter().map(u64::to_string).collect();
    let mut setting = format!(
        "{} {} ran the {} profile of the {} domain with the model {}: arms {}; {} {}; on {}.",
        m.program,
        m.version,
        m.profile,
        m.domain,
        m.model,
        m.arms.join(", "),
        if seeds.len() == 1 { "seed" } else { "seeds" },
        if seeds.is_empty() { "not recorded".to_string() } else { seeds.join(", ") },
        m.device
    );
    if let Some((_, config)) = &run.config {
        for (label, names) in [("Training settings", &TRAINING[..]), ("Decoding and sampling settings", &DECODING[..])]
        {
            let found: Vec<String> = names.iter().filter_map(|n| setting_text(config, n)).collect();
            if !found.is_empty() {
                setting.push_str(&format!(" {label}: {}.", found.join("; ")));
            }
        }
    }
    out.push(setting);
    for t in &run.tests {
        let Some(r) = &t.result else { continue };
        let mut text = format!(
            "Test {} ({}): {} from {}, {}, {}.",
            r.number,
            r.title,
            number::plural(r.n_rows, "row", "rows"),
            number::plural(r.n_items, "item", "items"),
            number::plural(r.n_prompts, "distinct canonical prompt", "distinct canonical prompts"),
            number::plural(r.n_seeds, "seed", "seeds")
        );
        if let Some(e) = &r.verdict.primary {
            text.push_str(&format!(
                " Primary effect: {}; {}; {} interval",
                e.name,
                e.method,
                number::percent(e.level).replace(".0", "")
            ));
            match e.margin {
                Some(margin) => text.push_str(&format!("; equivalence margin ±{}.", number::num(margin))),
                None => text.push('.'),
            }
        }
        out.push(text);
    }
    let p = run.tests.iter().filter(|t| t.result.is_some()).count();
    if p > 0 {
        out.push(format!(
            "Each test has one primary p-value; Holm's step-down adjustment is over {} of this battery, one without a p counting as 1. An outcome follows \
             from a rule fixed before the run. Intervals are not adjusted.",
            number::plural(p, "test", "tests")
        ));
    }
    out
}

/// `name = value`, or every different value with where it stands.
fn setting_text(config: &Table, name: &str) -> Option<String> {
    let mut found = Vec::new();
    collect(config, name, String::new(), &mut found);
    let (_, first) = found.first()?;
    if found.iter().all(|(_, v)| v == first) {
        return Some(format!("{name} = {first}"));
    }
    let each: Vec<String> = found.iter().map(|(place, v)| format!("{v} ({place})")).collect();
    Some(format!("{name} = {}", each.join(", ")))
}

fn collect(table: &Table, name: &str, place: String, found: &mut Vec<(String, String)>) {
    for (key, value) in table {
        let inside = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
        match value {
            Value::Table(t) => collect(t, name, inside, found),
            Value::Array(items) if items.iter().any(Value::is_table) => {
                for (i, t) in items.iter().enumerate() {
                    if let Value::Table(t) = t {
                        let label = t.get("name").and_then(Value::as_str).map_or_else(|| i.to_string(), str::to_string);
                        collect(t, name, format!("{inside}.{label}"), found);
                    }
                }
            }
            _ if key == name => {
                let place = if place.is_empty() { "top level".to_string() } else { place.clone() };
                found.push((place, plain(value)));
            }
            _ => {}
        }
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(s) => s.clone(),
        Value::Float(x) => x.to_string(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_found_where_they_stand() {
        let config: Table =
            "beta = 0.0\n[arms.control]\nalpha = 0.0\n[arms.value]\nalpha = 0.3\n[[x]]\nname = \"a\"\ntop_p = 1.0\n"
                .parse()
                .unwrap();
        assert_eq!(setting_text(&config, "beta").unwrap(), "beta = 0");
        assert_eq!(setting_text(&config, "alpha").unwrap(), "alpha = 0 (arms.control), 0.3 (arms.value)");
        assert_eq!(setting_text(&config, "top_p").unwrap(), "top_p = 1");
        assert_eq!(setting_text(&config, "absent"), None);
    }
}
