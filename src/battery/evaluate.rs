//! Rows: every item of a split under every condition, sampled and greedy.

use std::collections::{HashMap, HashSet};

use super::config::EvaluateConfig;
use super::environment::{Asking, Speech};
use super::error::Result;
use super::record::{Decoding, Row};
use crate::domain::{Condition, Cue, Domain, Item, Readout, RewardKind};
use crate::generate::{Completion, GenerateConfig, Request, generate};
use crate::model::hooks::HookSet;
use crate::model::qwen2::Qwen2;
use crate::ops::{Ops, Sampling};
use crate::text::Tokenizer;
use crate::train::accumulate::{Example, MicroBatch, Scores, score_under};

/// Which wordings of a condition are asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wordings {
    /// All of them; a single condition keeps the first, which training uses.
    All,
    /// The first ones, which cue training sees.
    First(usize),
    /// The others.
    After(usize),
}

impl Wordings {
    fn of(self, cues: Vec<&Cue>) -> Vec<&Cue> {
        match self {
            Wordings::All => cues,
            Wordings::First(n) => cues.into_iter().take(n).collect(),
            // A profile with one wording has no others to hold out.
            Wordings::After(n) if cues.len() <= n => cues,
            Wordings::After(n) => cues.into_iter().skip(n).collect(),
        }
    }
}

/// What to run and how to label it.
pub struct Job<'a> {
    pub domain: &'a dyn Domain,
    pub chat: &'a Tokenizer,
    pub items: &'a [Item],
    pub conditions: &'a [Condition],
    pub wordings: Wordings,
    pub asking: Asking,
    pub arm: &'a str,
    pub seed: u64,
    /// Number of the test: part of the random-number identity.
    pub test: u32,
    pub config: &'a EvaluateConfig,
    /// How log-odds are scored, where the domain measures them.
    pub micro: MicroBatch,
}

/// One prompt to decode and what its rows will say.
struct Asked<'a> {
    item: &'a Item,
    condition: Condition,
    cue: &'a Cue,
    decoding: Decoding,
    sample: u32,
    rendered: String,
    prompt: Vec<u32>,
    /// Random-number identity.
    place: u32,
}

/// Decodes everything. Wordings of a condition rotate over items and samples: sample `s` of item `i` uses wording
/// `(i + s) mod wordings`, the same one in every condition, so that matched wordings are compared. `progress` hears of every slice
/// and may stop it with an error.
pub fn rows<O: Ops>(
    o: &O,
    model: &Qwen2<O>,
    job: &Job<'_>,
    hooks: &HookSet<O>,
    mut progress: impl FnMut(usize, usize) -> Result<()>,
) -> Result<Vec<Row>> {
    let (c, speech) = (job.config, Speech { chat: job.chat });
    let mut asked = Vec::new();
    let per_item = c.samples + 1;
    for (k, &condition) in job.conditions.iter().enumerate() {
        let wordings = job.wordings.of(job.domain.cues().of(condition).collect());
        if wordings.is_empty() {
            continue;
        }
        for (i, item) in job.items.iter().enumerate() {
            let samples = (0..c.samples).map(|s| (Decoding::Sample, s));
            for (decoding, sample) in samples.chain(c.greedy.then_some((Decoding::Greedy, 0))) {
                // A single condition (test 1) keeps the wording that training used.
                let wording = if job.conditions.len() == 1 { 0 } else { (i + sample as usize) % wordings.len() };
                let cue = wordings[wording];
                let system = job.asking.system(job.domain, Some(&cue.text));
                let (rendered, prompt) = speech.prompt(system.as_deref(), item)?;
                let place = (k * job.items.len() + i) as u32 * per_item + sample;
                asked.push(Asked { item, condition, cue, decoding, sample, rendered, prompt, place });
            }
        }
    }
    let odds = log_odds(o, model, job, &asked, hooks)?;
    let held_out: Vec<String> = job.domain.families().into_iter().filter(|(_, h)| *h).map(|(f, _)| f).collect();
    let mut out: Vec<Option<Row>> = vec![None; asked.len()];
    for decoding in [Decoding::Sample, Decoding::Greedy] {
        let of: Vec<usize> = (0..asked.len()).filter(|&i| asked[i].decoding == decoding).collect();
        let settings = GenerateConfig {
            sampling: Sampling {
                temperature: if decoding == Decoding::Greedy { 0.0 } else { c.temperature as f32 },
                top_k: c.top_k,
                top_p: c.top_p as f32,
            },
            repetition_penalty: c.repetition_penalty as f32,
            max_new_tokens: c.max_new_tokens,
            stop_ids: job.chat.eos_ids().to_vec(),
            seed: job.seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ u64::from(job.test),
            max_batch: c.batch,
        };
        // In slices, so that progress is seen and the cache stays small; slicing cannot change a bit.
        for slice in of.chunks(c.batch * 8) {
            // Samples of one prompt share its prefill.
            let (mut at, mut requests, mut owners) = (HashMap::new(), Vec::<Request>::new(), Vec::<Vec<usize>>::new());
            for &i in slice {
                let prompt = &asked[i].prompt;
                let r = *at.entry(prompt.as_slice()).or_insert(requests.len());
                if r == requests.len() {
                    requests.push(Request { prompt: prompt.clone(), sequences: Vec::new() });
                    owners.push(Vec::new());
                }
                requests[r].sequences.push(asked[i].place);
                owners[r].push(i);
            }
            let done = generate(o, model, &requests, &settings, hooks)?;
            for (i, completion) in owners.into_iter().flatten().zip(done.into_iter().flatten()) {
                let odds = odds.get(asked[i].prompt.as_slice()).copied();
                out[i] = Some(row(job, &speech, &asked[i], &completion, &held_out, odds)?);
            }
            progress(out.iter().flatten().count(), out.len())?;
        }
    }
    Ok(out.into_iter().flatten().collect())
}

/// Log-odds of the untruth against the truth as the next words, once for every prompt and at temperature 1: of a word's tokens the
/// sum. Empty where the domain measures something else.
fn log_odds<'a, O: Ops>(
    o: &O,
    model: &Qwen2<O>,
    job: &Job<'_>,
    asked: &'a [Asked<'_>],
    hooks: &HookSet<O>,
) -> Result<HashMap<&'a [u32], f64>> {
    if job.domain.readout() != Readout::LogOdds {
        return Ok(HashMap::new());
    }
    let (mut seen, mut prompts, mut examples) = (HashSet::new(), Vec::new(), Vec::new());
    for a in asked {
        if !seen.insert(a.prompt.as_slice()) {
            continue;
        }
        prompts.push(a.prompt.as_slice());
        for word in [job.domain.worked_answer(a.item).as_str(), job.domain.bare_answer(a.item)] {
            examples.push(Example::completion(&a.prompt, &job.chat.encode(word)?));
        }
    }
    let scores = score_under(o, model, &examples, 1.0, job.micro, hooks)?;
    let sum = |s: &Scores| s.logp.iter().map(|l| f64::from(*l)).sum::<f64>();
    Ok(prompts.into_iter().zip(scores.chunks(2)).map(|(p, pair)| (p, sum(&pair[0]) - sum(&pair[1]))).collect())
}

fn row(
    job: &Job<'_>,
    speech: &Speech<'_>,
    a: &Asked<'_>,
    c: &Completion,
    held_out: &[String],
    log_odds: Option<f64>,
) -> Result<Row> {
    let response = speech.graded(c)?;
    let score = job.domain.score(a.item, &response.text);
    let reward =
        job.domain.grade(RewardKind::Value, a.item, std::slice::from_ref(&response)).first().map_or(0.0, |g| g.reward);
    let bare = speech.count(job.domain.bare_answer(a.item))?;
    let n = c.tokens.len();
    Ok(Row {
        arm: job.arm.into(),
        seed: job.seed,
        item: a.item.id.clone(),
        family: a.item.family.clone(),
        split: if held_out.contains(&a.item.family) { "held_out" } else { "train" }.into(),
        canonical: a.item.canonical.clone(),
        condition: a.condition.name().into(),
        cue: a.cue.id(),
        decoding: a.decoding,
        sample: a.sample,
        prompt: a.rendered.clone(),
        text: response.text,
        token_ids: c.tokens.clone(),
        n_tokens: n as u32,
        excess_tokens: n as i64 - i64::from(bare),
        finish: c.finish,
        truth: a.item.truth.clone(),
        answer: score.parsed.then_some(score.answer),
        correct: score.task,
        reward,
        phase: None,
        step: None,
        mean_logp: c.logps.iter().map(|&l| f64::from(l)).sum::<f64>() / n.max(1) as f64,
        log_odds,
    })
}
