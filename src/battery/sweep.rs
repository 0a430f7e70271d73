//! The dose of the value term: arms trained with several α under several losses, each against its own α = 0.
//!
//! The study divides every group's advantages by their standard deviation, which takes α out of groups whose answers are all right
//! (`frugality.md` of the study, B2): a sweep under both losses shows how much of the largest dose's effect the smallest has already.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::config::{Arm, BatteryConfig};
use super::error::{BatteryError, Result};
use super::evaluate::{self, Job, Wordings};
use super::folder::{key_of, make_dir, write_json};
use super::lab::{Lab, domain_of};
use super::record::{Cell, Effect, Figure, LinePanel, Reference, Row, Series, Table};
use super::rows::{self, Measure, Side, paired};
use super::verdict::{StatisticsConfig, effect};
use crate::domain::{Condition, Domain, RewardKind, Split};
use crate::model::hooks::HookSet;
use crate::ops::Ops;
use crate::train::grpo::GrpoConfig;
use crate::train::loss::{LossType, ScaleRewards};

/// Folder of the sweep in a run.
pub const ID: &str = "sweep";

/// `[sweep]`: every α under every loss.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepConfig {
    /// Weights of the value term; 0 is what the others are compared with.
    pub alpha: Vec<f64>,
    pub losses: Vec<Loss>,
}

/// A loss and what advantages are divided by.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Loss {
    pub loss_type: LossType,
    pub scale_rewards: ScaleRewards,
}

impl Loss {
    /// e.g. `dr_grpo, scale_rewards none`.
    fn name(self) -> String {
        format!("{}, scale_rewards {}", self.loss_type.name(), self.scale_rewards.name())
    }

    fn folder(self) -> String {
        format!("{}-{}", self.loss_type.name(), self.scale_rewards.name())
    }
}

impl SweepConfig {
    pub fn check(&self) -> Result<()> {
        let refuse = |m: String| Err(BatteryError::Refused(m));
        let twice = |i: usize| self.alpha[..i].contains(&self.alpha[i]);
        if let Some(a) = self.alpha.iter().find(|a| !(a.is_finite() && **a >= 0.0)) {
            return refuse(format!("sweep.alpha: {a} must be a number of at least 0"));
        }
        if !self.alpha.contains(&0.0) || self.alpha.len() < 2 || (0..self.alpha.len()).any(twice) {
            return refuse("sweep.alpha: 0 and at least one other value are needed, each once".into());
        }
        if self.losses.is_empty() || (0..self.losses.len()).any(|i| self.losses[..i].contains(&self.losses[i])) {
            return refuse("sweep.losses: at least one loss is needed, each once".into());
        }
        Ok(())
    }
}

/// One α under one loss.
#[derive(Clone, Copy)]
pub struct Dose {
    pub loss: Loss,
    pub alpha: f64,
}

impl Dose {
    /// What rows carry as their arm.
    pub fn label(self) -> String {
        format!("{}/alpha-{}", self.loss.folder(), self.alpha)
    }
}

/// `sweep/result.json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SweepResult {
    pub summary: String,
    pub table: Table,
    pub figures: Vec<Figure>,
    pub n_rows: usize,
    pub n_seeds: usize,
    /// [`super::record::Manifest::key`] of the run.
    pub key: String,
}

impl SweepResult {
    /// Title of a report that has nothing else.
    pub fn heading(&self) -> String {
        "No verdict: a sweep over the weight of the value term".to_string()
    }
}

impl<O: Ops> Lab<'_, O> {
    pub fn doses(&self) -> Vec<Dose> {
        let sweep = self.config.sweep.iter();
        sweep
            .flat_map(|s| s.losses.iter().flat_map(|&loss| s.alpha.iter().map(move |&alpha| Dose { loss, alpha })))
            .collect()
    }

    fn dose_dir(&self, dose: Dose, seed: u64) -> PathBuf {
        self.dir().join(ID).join(dose.loss.folder()).join(format!("alpha-{}", dose.alpha)).join(format!("seed-{seed}"))
    }

    /// Trains and measures every dose, unless that is done, and writes `sweep/items.jsonl` and `sweep/result.json`.
    pub fn sweep(&mut self) -> Result<()> {
        let mut all = Vec::new();
        for seed in self.config.seeds.clone() {
            for dose in self.doses() {
                all.extend(self.dose(dose, seed)?);
            }
        }
        let dir = self.dir().join(ID);
        rows::write(&dir.join("items.jsonl"), &all)?;
        let c = self.config;
        let losses = c.sweep.as_ref().map(|s| s.losses.as_slice()).unwrap_or_default();
        let alphas = c.sweep.as_ref().map(|s| s.alpha.as_slice()).unwrap_or_default();
        let result = result(&all, losses, alphas, &c.statistics, c.seeds.len(), self.folder.manifest.key())?;
        self.reporter.borrow_mut().say(&result.summary);
        write_json(&dir.join("result.json"), &result)
    }

    /// Rows of one dose and seed on the test split, neutral prompt.
    fn dose(&mut self, dose: Dose, seed: u64) -> Result<Vec<Row>> {
        let dir = self.dose_dir(dose, seed);
        let mut config: BatteryConfig = self.config.clone();
        config.frugality.reward.alpha = dose.alpha;
        let domain = domain_of(&config)?;
        let Loss { loss_type, scale_rewards } = dose.loss;
        let grpo = GrpoConfig { seed, loss_type, scale_rewards, ..config.grpo.clone() };
        let training =
            key_of(&(self.ground(), &grpo, &config.run, &config.optim, &config.anchor, config.paid(), &config.lora))?;
        let label = format!("sweep {} seed {seed}", dose.label());
        let present = self.finished(&dir);
        if let Some(cell) = self.folder.begin(&format!("train {label}"), &training, present)? {
            let (ended, model) = self.reinforce(&label, &*domain, RewardKind::Value, grpo, &dir)?;
            self.source.save(self.o, &model, &dir.join("final"))?;
            write_json(&dir.join("ended.json"), &ended)?;
            self.folder.finish(cell)?;
            self.reporter.borrow_mut().say(&format!("train {label}: {}", super::arms::describe(&ended)));
        }
        let path = dir.join("items.jsonl");
        let key = key_of(&(&training, &config.evaluate, "neutral"))?;
        if let Some(cell) = self.folder.begin(&label, &key, path.exists())? {
            rows::write(&path, &self.measured(&*domain, dose, seed, &dir)?)?;
            self.folder.finish(cell)?;
        }
        rows::read(&path)
    }

    fn measured(&self, domain: &dyn Domain, dose: Dose, seed: u64, dir: &std::path::Path) -> Result<Vec<Row>> {
        make_dir(dir)?;
        let model = self.trained_here(dir)?;
        let (items, arm) = (self.domain_items(Split::Test), dose.label());
        let job = Job {
            domain,
            chat: &self.chat,
            items: &items,
            conditions: &[Condition::Neutral],
            wordings: Wordings::All,
            asking: Arm::Value.asking(),
            arm: &arm,
            seed,
            test: 1,
            config: &self.config.evaluate,
            micro: self.micro(),
        };
        let show = |d, t| self.went_on(&format!("evaluate {arm}, seed {seed}"), d, t);
        evaluate::rows(self.o, &model, &job, &HookSet::default(), show)
    }
}

/// What each α does to length and accuracy, against α = 0 under the same loss.
pub fn result(
    rows: &[Row],
    losses: &[Loss],
    alphas: &[f64],
    c: &StatisticsConfig,
    n_seeds: usize,
    key: String,
) -> Result<SweepResult> {
    let mut alphas = alphas.to_vec();
    alphas.sort_by(f64::total_cmp);
    let columns =
        ["loss", "α", "families", "log tokens against α = 0", "low", "high", "accuracy against α = 0", "low", "high"];
    let mut table =
        Table { title: "Dose of the value term".into(), columns: columns.map(String::from).to_vec(), rows: Vec::new() };
    let panel = |y: &str, zero: &str| LinePanel {
        x_axis: "α".into(),
        y_axis: y.into(),
        references: vec![Reference { name: zero.into(), y: 0.0 }],
        ..LinePanel::default()
    };
    let splits = [("held_out", "held-out families"), ("train", "trained families")];
    let mut panels = vec![
        panel("log tokens, held-out families", "α = 0"),
        panel("log tokens, trained families", "α = 0"),
        panel("accuracy, held-out families", "α = 0"),
    ];
    let mut summary = Vec::new();
    for &loss in losses {
        let zero = Dose { loss, alpha: 0.0 }.label();
        let (mut lines, mut held_out) = (vec![Series::new(loss.name(), Vec::new()); 3], Vec::new());
        for &alpha in &alphas {
            let label = Dose { loss, alpha }.label();
            for (split, families) in splits {
                let of = |r: &Row| (r.split == "held_out") == (split == "held_out");
                let side = |arm| Side { arm, condition: "neutral" };
                let against = |measure| -> Result<Effect> {
                    let d = paired(rows, measure, side(label.as_str()), side(zero.as_str()), of);
                    if d.values.is_empty() {
                        return Err(BatteryError::Refused(format!("sweep: no rows of {label} on {families}")));
                    }
                    effect(&format!("{label}, {families}"), &d, c, None)
                };
                let (length, right) = (against(Measure::Behaviour)?, against(Measure::Correct)?);
                let mut row = vec![Cell::Text(loss.name()), Cell::Number(alpha), Cell::Text(families.into())];
                for e in [&length, &right] {
                    row.extend([e.estimate, e.low, e.high].map(Cell::Number));
                }
                table.rows.push(row);
                let put = |line: &mut Series, e: &Effect| {
                    line.points.push((alpha, e.estimate));
                    line.band.push((e.low, e.high));
                };
                if split == "held_out" {
                    put(&mut lines[0], &length);
                    put(&mut lines[2], &right);
                    held_out.push((alpha, length.estimate));
                } else {
                    put(&mut lines[1], &length);
                }
            }
        }
        for (panel, line) in panels.iter_mut().zip(lines) {
            panel.series.push(line);
        }
        summary.push(format!("{}: {}", loss.name(), course(&held_out)));
    }
    Ok(SweepResult {
        summary: format!("Dose of the value term, tokens on held-out families. {}.", summary.join("; ")),
        table,
        figures: vec![Figure::Lines {
            id: format!("{ID}-dose"),
            title: "Length and accuracy by weight of the value term".into(),
            panels,
        }],
        n_rows: rows.len(),
        n_seeds,
        key,
    })
}

/// The effects of the smallest and the largest dose above 0, and the share of the one in the other.
fn course(effects: &[(f64, f64)]) -> String {
    let percent = |e: f64| format!("{:+.1} %", 100.0 * e.exp_m1());
    let above: Vec<&(f64, f64)> = effects.iter().filter(|e| e.0 > 0.0).collect();
    let (Some(first), Some(last)) = (above.first(), above.last()) else { return "no dose above 0".into() };
    let mut text = format!("{} at α = {}, {} at α = {}", percent(first.1), first.0, percent(last.1), last.0);
    if first.0 < last.0 && last.1 != 0.0 && first.1 / last.1 >= 0.0 {
        text.push_str(&format!(
            " (the smallest dose has {:.0} % of the largest one's effect)",
            100.0 * first.1 / last.1
        ));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::tests::{context, row};
    use super::*;

    const LOSSES: [Loss; 2] = [
        Loss { loss_type: LossType::DrGrpo, scale_rewards: ScaleRewards::None },
        Loss { loss_type: LossType::Grpo, scale_rewards: ScaleRewards::Group },
    ];

    #[test]
    fn doses_are_compared_with_zero_under_the_same_loss() {
        let alphas = [1.0, 0.0, 0.1];
        let mut all = Vec::new();
        for loss in LOSSES {
            for &alpha in &alphas {
                for (family, split) in [("arith", "train"), ("pattern", "held_out")] {
                    for item in 0..30 {
                        // Without scaling the effect grows with α; with it, it is there at once.
                        let n = match (loss.loss_type, alpha > 0.0) {
                            (_, false) => 40,
                            (LossType::Grpo, true) => 10,
                            _ => 40 - (30.0 * alpha) as u32,
                        };
                        let label = Dose { loss, alpha }.label();
                        all.push(row(&label, family, split, item, "neutral", 0, n + item as u32 % 3, true));
                    }
                }
            }
        }
        let c = context(1).statistics;
        let r = result(&all, &LOSSES, &alphas, &c, 1, "k".into()).unwrap();
        let Figure::Lines { panels, .. } = &r.figures[0] else { panic!("another kind") };
        let at = |line: usize, i: usize| panels[0].series[line].points[i];
        assert_eq!([at(0, 0), at(1, 0)], [(0.0, 0.0); 2]);
        assert!(at(0, 1).0 == 0.1 && at(0, 1).1 > -0.2 && at(0, 2).1 < -1.0, "{:?}", panels[0].series[0]);
        assert!((at(1, 1).1 - at(1, 2).1).abs() < 1e-12 && at(1, 1).1 < -1.0);
        assert!(r.summary.contains("100 % of the largest"), "{}", r.summary);
        assert_eq!((r.table.rows.len(), panels[2].series[0].band.len()), (12, 3));
        // A dose whose rows are missing is an error, not a gap.
        all.retain(|r| r.arm != Dose { loss: LOSSES[0], alpha: 0.1 }.label());
        assert!(result(&all, &LOSSES, &alphas, &c, 1, "k".into()).is_err());
    }

    #[test]
    fn sweeps_that_compare_nothing_are_refused() {
        let sweep =
            |alpha: &[f64], losses: &[Loss]| SweepConfig { alpha: alpha.to_vec(), losses: losses.to_vec() }.check();
        assert!(sweep(&[0.0, 0.3], &LOSSES).is_ok());
        for alpha in [&[0.1, 0.3][..], &[0.0], &[0.0, 0.3, 0.3], &[0.0, f64::NAN], &[0.0, -1.0], &[]] {
            assert!(sweep(alpha, &LOSSES).is_err(), "{alpha:?}");
        }
        assert!(sweep(&[0.0, 0.3], &[]).is_err() && sweep(&[0.0, 0.3], &[LOSSES[0]; 2]).is_err());
    }
}
