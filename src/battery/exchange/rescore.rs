//! What is done to rows after reading: scores computed again, lengths counted, cut completions told from ended ones.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::fields::fault;
use super::{Draft, Noticed, Options, Record};
use crate::battery::error::Result;
use crate::domain::frugality::scorer::{AnswerKind, normalise, parse, task_reward};
use crate::domain::frugality::{FrugalityConfig, legacy, reward};
use crate::generate::Finish;
use crate::text::Tokenizer;

/// Which scorer's word counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "kebab-case")]
pub enum Rescore {
    /// The source's own scores
    #[default]
    None,
    /// Probity's scorer: numbers and yes/no, read only where they cannot be mistaken
    Strict,
    /// The extractor of the study's training reward, with its near-miss credit and reward (alpha 0.3)
    Legacy,
    /// The study's evaluation scorer: the first yes/no, else the last number
    FirstMatch,
}

/// Finishes the rows of one file.
pub fn finish(
    drafts: Vec<Draft>,
    o: &Options,
    tokenizer: Option<&Tokenizer>,
    path: &Path,
    noticed: &mut Noticed,
) -> Result<Vec<Record>> {
    let (mut counted, mut from_source, mut agree) = (0, 0, [0usize; 3]);
    let n = drafts.len();
    let mut out = Vec::with_capacity(n);
    for Draft { mut record, limit, choice } in drafts {
        let limit = o.max_tokens.or(limit);
        let r = &mut record;
        match (r.n_tokens, tokenizer) {
            (Some(n), _) => {
                from_source += 1;
                if let (None, Some(limit)) = (r.finish, limit) {
                    r.finish = Some(if n >= limit { Finish::Length } else { Finish::Stop });
                }
            }
            (None, Some(t)) if !choice => {
                // One end token more than the text has, unless the completion was cut.
                let whole = t.response_tokens(&r.text)?;
                let bare = whole.saturating_sub(1);
                if let (None, Some(limit)) = (r.finish, limit) {
                    r.finish = Some(if bare >= limit { Finish::Length } else { Finish::Stop });
                }
                r.n_tokens = Some(if r.finish == Some(Finish::Length) { bare } else { whole });
                counted += 1;
            }
            _ => {}
        }
        if let (Some(n), Some(t), None) = (r.n_tokens, tokenizer, r.excess_tokens) {
            r.excess_tokens = Some(i64::from(n) - i64::from(t.response_tokens(&r.truth)?));
        }
        if o.rescore != Rescore::None {
            let before = (r.answer.clone(), r.correct, r.reward);
            score(r, o.rescore, path)?;
            agree[0] += usize::from(same_text(&before.0, &r.answer));
            agree[1] += usize::from(before.1 == r.correct);
            let close = |a: f64, b: f64| (a - b).abs() < 1e-9;
            agree[2] += usize::from(matches!((before.2, r.reward), (Some(a), Some(b)) if close(a, b)));
        }
        out.push(record);
    }
    if from_source > 0 {
        noticed.notes.push(format!("lengths of {from_source} row(s) as the source counts them"));
    }
    if counted > 0 {
        noticed.notes.push(format!("lengths of {counted} row(s) counted with --tokenizer, one end token included"));
    }
    if o.rescore != Rescore::None {
        let [answer, correct, reward] = agree;
        noticed.notes.push(format!(
            "scored again: as the source in {answer} of {n} answers, {correct} of {n} scores, {reward} of {n} rewards"
        ));
    }
    Ok(out)
}

/// Equal after trimming; an empty answer is none.
fn same_text(a: &Option<String>, b: &Option<String>) -> bool {
    a.as_deref().unwrap_or("").trim() == b.as_deref().unwrap_or("").trim()
}

/// Sets answer, correctness and reward. The strict reward needs a completion limit of the run, which a row does not know: none.
fn score(r: &mut Record, how: Rescore, path: &Path) -> Result<()> {
    match how {
        Rescore::None => {}
        Rescore::Strict => {
            let kind = AnswerKind::of(&r.truth);
            if parse(&r.truth, kind).is_none() {
                let text = format!(
                    "item {}: the truth {:?} is neither a number nor yes/no, which is all that --rescore strict reads; \
                     use --rescore none",
                    r.item, r.truth
                );
                return Err(fault(path, text));
            }
            r.answer = parse(&r.text, kind);
            let task = |a: &String| task_reward(a, &normalise(&r.truth, kind), kind, 0.0);
            r.correct = Some(r.answer.as_ref().map_or(0.0, task));
            r.reward = None;
        }
        Rescore::Legacy => {
            let c = FrugalityConfig::paper().reward;
            let read = legacy::extract(&r.text);
            let correct = legacy::correctness(&read, &r.truth, c.near_miss);
            let n_max = c.n_max.unwrap_or(200);
            let total = |n: u32| reward::total(correct, reward::absolute_penalty(n, n_max), c.alpha, c.gate);
            r.answer = Some(read).filter(|a| !a.is_empty());
            r.correct = Some(correct);
            r.reward = r.n_tokens.map(total);
        }
        Rescore::FirstMatch => {
            let (read, right) = legacy::score_first_match(&r.text, &r.truth);
            r.answer = read;
            r.correct = Some(f64::from(u8::from(right)));
            r.reward = None;
        }
    }
    Ok(())
}
