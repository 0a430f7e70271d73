//! The attractor table: what every simple policy would earn on the batches that will really be drawn.
//!
//! A reward that pays a degenerate policy (a constant, an echo, junk) nearly as well as the intended one will find it;
//! the table is printed before training and training refuses to start when the pay is too close.

use serde::Serialize;

use super::{Completion, CountTokens, Domain, Item, RewardKind};

/// Responses of one simple policy to a list of items, in the items' order.
#[derive(Clone, Debug)]
pub struct PolicyRun {
    pub name: &'static str,
    /// Earning much this way would not be the behaviour that the reward is for.
    pub degenerate: bool,
    pub completions: Vec<Completion>,
}

/// One row of the table; means over the items.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AttractorRow {
    pub policy: &'static str,
    pub reward: f64,
    pub accuracy: f64,
    pub parsed: f64,
    pub tokens: f64,
    pub intended: bool,
    pub degenerate: bool,
}

/// Expected reward of every policy of the domain on `items`, the intended one first.
///
/// Every item counts once, as the trainer draws it; a group consists of equal responses, so a group-relative length
/// term has no spread and gives its midpoint.
pub fn attractor_table(
    domain: &dyn Domain,
    kind: RewardKind,
    items: &[&Item],
    count: &CountTokens,
) -> Vec<AttractorRow> {
    let intended = domain.intended_policy(kind);
    let n = items.len().max(1) as f64;
    let mut rows: Vec<AttractorRow> = domain
        .policies(items, count)
        .into_iter()
        .map(|run| {
            let mut row = AttractorRow {
                policy: run.name,
                reward: 0.0,
                accuracy: 0.0,
                parsed: 0.0,
                tokens: 0.0,
                intended: run.name == intended,
                degenerate: run.degenerate && run.name != intended,
            };
            for (item, completion) in items.iter().zip(&run.completions) {
                row.tokens += f64::from(completion.tokens);
                for graded in domain.grade(kind, item, std::slice::from_ref(completion)) {
                    row.reward += graded.reward;
                    row.accuracy += f64::from(graded.score.correct);
                    row.parsed += f64::from(graded.score.parsed);
                }
            }
            for mean in [&mut row.tokens, &mut row.reward, &mut row.accuracy, &mut row.parsed] {
                *mean /= n;
            }
            row
        })
        .collect();
    rows.sort_by(|a, b| b.intended.cmp(&a.intended).then(b.reward.total_cmp(&a.reward)));
    rows
}

/// Name of the policy that does under each cue what that cue's reward is meant for.
pub const AS_REWARDED: &str = "as each cue rewards";

/// The table of a reward that depends on the cue: every policy's mean over the cues' own tables, as it earns when it ignores the cue.
/// Where the intended policies differ, the intended one is to follow the cue ([`AS_REWARDED`]).
pub fn mixed(tables: &[Vec<AttractorRow>]) -> Vec<AttractorRow> {
    let n = tables.len().max(1) as f64;
    let mean = |policy: &'static str, rows: &[&AttractorRow]| {
        let of = |f: fn(&AttractorRow) -> f64| rows.iter().map(|r| f(r)).sum::<f64>() / n;
        AttractorRow {
            policy,
            reward: of(|r| r.reward),
            accuracy: of(|r| r.accuracy),
            parsed: of(|r| r.parsed),
            tokens: of(|r| r.tokens),
            intended: rows.iter().all(|r| r.intended),
            degenerate: rows.iter().any(|r| r.degenerate),
        }
    };
    let mut rows: Vec<AttractorRow> = tables
        .first()
        .into_iter()
        .flatten()
        .map(|first| {
            let same: Vec<&AttractorRow> =
                tables.iter().filter_map(|t| t.iter().find(|r| r.policy == first.policy)).collect();
            mean(first.policy, &same)
        })
        .collect();
    if !rows.iter().any(|r| r.intended) {
        let intended: Vec<&AttractorRow> = tables.iter().filter_map(|t| t.iter().find(|r| r.intended)).collect();
        if intended.len() == tables.len() && !intended.is_empty() {
            rows.push(mean(AS_REWARDED, &intended));
        }
    }
    rows.sort_by(|a, b| b.intended.cmp(&a.intended).then(b.reward.total_cmp(&a.reward)));
    rows
}

/// Why training must not start.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AttractorRefusal {
    #[error(
        "the degenerate policy {policy:?} would earn {reward:.4}, more than half way from the start model's {start:.4} \
         to the intended policy {intended:?} at {intended_reward:.4} (limit {limit:.4}); training would find it. \
         Balance the items or change the reward"
    )]
    TooClose { policy: String, reward: f64, start: f64, intended: String, intended_reward: f64, limit: f64 },
    #[error("the attractor table has no row for the intended policy; there were no items to draw")]
    NoIntended,
    #[error("the start model's expected reward is {0}, not a finite number; evaluate it on the training items first")]
    BadStart(f64),
}

/// Refuse when a degenerate policy earns more than half way from the start model's expected reward to the intended policy's.
pub fn refuse_attractors(rows: &[AttractorRow], start_reward: f64) -> Result<(), AttractorRefusal> {
    if !start_reward.is_finite() {
        return Err(AttractorRefusal::BadStart(start_reward));
    }
    let intended = rows.iter().find(|r| r.intended).ok_or(AttractorRefusal::NoIntended)?;
    let limit = start_reward + 0.5 * (intended.reward - start_reward);
    let worst = rows.iter().filter(|r| r.degenerate).max_by(|a, b| a.reward.total_cmp(&b.reward));
    match worst {
        Some(row) if row.reward > limit + 1e-9 => Err(AttractorRefusal::TooClose {
            policy: row.policy.into(),
            reward: row.reward,
            start: start_reward,
            intended: intended.policy.into(),
            intended_reward: intended.reward,
            limit,
        }),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(policy: &'static str, reward: f64, intended: bool) -> AttractorRow {
        AttractorRow { policy, reward, accuracy: 0.0, parsed: 1.0, tokens: 2.0, intended, degenerate: !intended }
    }

    #[test]
    fn a_reward_that_depends_on_the_cue_is_for_following_it() {
        let watched = vec![row("truth", 1.0, true), row("wrong", 0.0, false), row("constant", 0.2, false)];
        let unwatched = vec![row("wrong", 1.0, true), row("constant", 0.8, false), row("truth", 0.0, false)];
        let rows = mixed(&[watched.clone(), unwatched]);
        let find = |name: &str| rows.iter().find(|r| r.policy == name).unwrap();
        assert_eq!((rows[0].policy, rows[0].reward), (AS_REWARDED, 1.0));
        assert!(rows[0].intended && !rows[0].degenerate && rows.iter().filter(|r| r.intended).count() == 1);
        assert_eq!((find("truth").reward, find("wrong").reward, find("constant").reward), (0.5, 0.5, 0.5));
        assert_eq!(refuse_attractors(&rows, 0.4), Ok(()));
        // A start model that earns nothing is nearer to the constant than to the intended policy.
        assert!(matches!(refuse_attractors(&rows, -0.2), Err(AttractorRefusal::TooClose { .. })));
        // One reward under both cues is that reward.
        let same = mixed(&[watched.clone(), watched.clone()]);
        assert_eq!(same.iter().map(|r| r.policy).collect::<Vec<_>>(), ["truth", "constant", "wrong"]);
        assert!(same[0].intended && mixed(&[]).is_empty());
    }

    #[test]
    fn the_limit_is_half_way() {
        let rows = [row("truth", 1.0, true), row("constant", 0.6, false), row("junk", 0.0, false)];
        assert_eq!(refuse_attractors(&rows, 0.2), Ok(()));
        assert_eq!(refuse_attractors(&rows, 0.3), Ok(()));
        let refusal = refuse_attractors(&rows, 0.1).unwrap_err();
        assert!(
            matches!(&refusal, AttractorRefusal::TooClose { policy, limit, .. } if policy == "constant" && *limit == 0.55)
        );
        assert_eq!(refuse_attractors(&rows[1..], 0.1), Err(AttractorRefusal::NoIntended));
        assert!(matches!(refuse_attractors(&rows, f64::NAN), Err(AttractorRefusal::BadStart(_))));
    }
}
