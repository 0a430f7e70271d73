//! A run as Inspect logs: one for every arm and setting of the factors. Refused counts as `C` under the score `refusal`.

use std::path::{Path, PathBuf};

use super::config::Wordings;
use super::error::{PairError, Result};
use super::folder::{self, Manifest};
use super::judge::LEXICAL;
use super::row::{Row, StopReason};
use crate::battery::exchange::export::Exported;
use crate::battery::exchange::{Record, inspect};
use crate::battery::record::Decoding;
use crate::domain::tier::Label;
use crate::generate::Finish;

/// Name of the score.
const SCORER: &str = "refusal";

/// Writes `inspect/*.json` of a run and returns the files; labels are the lexical judge's.
///
/// # Errors
/// A run without texts, a file that cannot be written.
pub fn write(dir: &Path) -> Result<Vec<PathBuf>> {
    let (manifest, rows) = (Manifest::read(dir)?, folder::rows(dir)?);
    super::judge::with_text(dir, &rows)?;
    let (prompts, labels) = (folder::prompts(dir)?, folder::labels(dir, LEXICAL)?);
    let greedy = manifest.config.decoding.temperature == 0.0;
    let all = manifest.config.arms.wordings == Wordings::All;
    let mut tests: Vec<(String, Vec<Record>)> = Vec::new();
    for r in rows {
        let label = labels.get(&r.cell_id).map(|l| l.label);
        let prompt = prompts.get(&r.input_sha256).cloned().unwrap_or_default();
        let name = setting(&r);
        let record = record(r, &manifest, prompt, label, greedy, all);
        match tests.iter_mut().find(|(n, _)| *n == name) {
            Some((_, of)) => of.push(record),
            None => tests.push((name, vec![record])),
        }
    }
    let origin = serde_json::json!({
        "run_id": manifest.run_id, "model": manifest.model, "device": manifest.device, "hashes": manifest.hashes, "leak": manifest.leak,
    });
    let made = Exported { tests, made: manifest.started_unix, origin, version: manifest.version, scorer: SCORER };
    let out = dir.join("inspect");
    std::fs::create_dir_all(&out).map_err(PairError::io(&out))?;
    Ok(inspect::write(&made, &out)?)
}

/// `pair-random-interleaved-16-bf16`.
fn setting(r: &Row) -> String {
    let f = &r.factors;
    format!("pair-{:?}-{:?}-{}-{}", f.protocol, f.blocking, f.batch_size, f.precision).to_lowercase()
}

fn record(r: Row, manifest: &Manifest, prompt: String, label: Option<Label>, greedy: bool, all: bool) -> Record {
    Record {
        arm: manifest.model.rsplit('/').next().unwrap_or(&manifest.model).into(),
        seed: manifest.config.seed,
        // A sample's id and epoch together are unique.
        item: if all { format!("{}-wording-{}", r.item_id, r.paraphrase) } else { r.item_id },
        family: r.category,
        split: "test".into(),
        canonical: r.cluster_id,
        condition: r.arm.clone(),
        cue: format!("{}-{}", r.arm, r.paraphrase),
        decoding: if greedy { Decoding::Greedy } else { Decoding::Sample },
        sample: r.repeat as u32,
        prompt,
        text: match r.reasoning {
            Some(reasoning) => format!("<think>\n{reasoning}\n</think>\n\n{}", r.answer.unwrap_or_default()),
            None => r.answer.unwrap_or_default(),
        },
        token_ids: Vec::new(),
        n_tokens: Some(r.output_len as u32),
        excess_tokens: None,
        finish: Some(match r.stop_reason {
            StopReason::Stop => Finish::Stop,
            StopReason::Length => Finish::Length,
        }),
        truth: String::new(),
        answer: label.map(|l| l.name().to_string()),
        correct: label.map(|l| f64::from(u8::from(l == Label::Refusal))),
        reward: None,
        mean_logp: None,
        task_type: None,
    }
}
