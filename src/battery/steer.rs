//! Steering an arm: along its own direction at every dose, and along random ones at the ends of the range that keeps its accuracy.

use super::config::{Arm, EvaluateConfig};
use super::error::Result;
use super::evaluate::{self, Job, Wordings};
use super::folder::{key_of, make_dir, read_json, write_json};
use super::lab::Lab;
use super::record::Row;
use super::rows;
use super::rules::Rules;
use super::test03_probing::Probed;
use super::test06_steering::{Dosed, ID, Steered, direction, random_direction, slope_between};
use crate::domain::{Condition, Domain, Item, Split};
use crate::model::hooks::{Action, Hook, HookSet};
use crate::model::qwen2::Qwen2;
use crate::ops::{Ops, TensorMeta};
use crate::stats::cluster_codes;
use crate::train::accumulate::MicroBatch;

impl<O: Ops> Lab<'_, O> {
    /// Steers an arm at a layer, unless that is done: along `given`, or along the direction from its short to its long answers in
    /// `rows`, the neutral rows of test 1.
    pub fn steer(&mut self, arm: Arm, seed: u64, layer: usize, rows: &[Row], given: Option<&[f32]>) -> Result<Steered> {
        let c = self.config.steer.clone();
        let dir = self.dir().join("tests").join(ID).join("cells");
        let path = dir.join(format!("{}-seed-{seed}.json", arm.name()));
        let name = format!("steer {} seed {seed}", arm.name());
        let key = key_of(&(self.arm_key(arm, seed)?, "steer", layer, &c, &self.config.evaluate, given))?;
        if let Some(cell) = self.folder.begin(&name, &key, path.exists())? {
            make_dir(&dir)?;
            let activations = self.activations(arm, seed)?;
            let fit: Vec<Item> = self.domain_items(Split::Test);
            let ids: Vec<String> = fit.iter().map(|i| i.id.clone()).collect();
            let families = cluster_codes(&fit.iter().map(|i| &i.family).collect::<Vec<_>>());
            let probed = Probed::new(arm, seed, activations, rows, &ids, self.domain.readout())?;
            let items = self.check_items(c.items);
            let mut steered = Steered {
                arm,
                seed,
                layer,
                rms: probed.activations.rms(layer),
                items: items.iter().map(|i| i.id.clone()).collect(),
                canonical: items.iter().map(|i| i.canonical.clone()).collect(),
                doses: Vec::new(),
                direction: Vec::new(),
                random: Vec::new(),
            };
            let own = match given {
                Some(v) => unit(v),
                None => direction(&probed.activations, layer, &probed.target, &families),
            };
            if let Some(own) = own {
                let (measured, random) = self.measure(&mut steered, &own, &items, seed)?;
                rows::write(&path.with_extension("jsonl"), &measured)?;
                rows::write(&path.with_extension("random.jsonl"), &random)?;
                steered.direction = own;
            }
            write_json(&path, &steered)?;
            self.folder.finish(cell)?;
        }
        read_json(&path)
    }

    /// Fills in doses and random slopes; returns the rows of the own direction, and what each random one did.
    fn measure(&self, s: &mut Steered, own: &[f32], items: &[Item], seed: u64) -> Result<(Vec<Row>, Vec<Random>)> {
        let (mut kept, mut random) = (Vec::new(), Vec::new());
        let c = &self.config.steer;
        let model = self.model(s.arm, s.seed)?;
        let mut doses: Vec<f64> = c.doses.iter().copied().chain([0.0]).collect();
        doses.sort_by(f64::total_cmp);
        doses.dedup();
        let (layer, rms) = (s.layer, s.rms);
        let bench = Bench {
            o: self.o,
            domain: &*self.domain,
            micro: self.micro(),
            chat: &self.chat,
            evaluate: &self.config.evaluate,
        };
        for (i, &dose) in doses.iter().enumerate() {
            let mut rows = bench.rows(&model, layer, own, dose, rms, items, s.arm)?;
            s.doses.push(dosed(dose, &rows));
            rows.iter_mut().for_each(|r| r.phase = Some(format!("steer, dose {dose}")));
            kept.extend(rows);
            self.went_on(&format!("steer {}", s.arm.name()), i + 1, doses.len())?;
        }
        let range = s.preserving(Rules::built_in()?.numbers.keeps_accuracy);
        let (Some(&low), Some(&high)) = (range.first(), range.last()) else {
            return Ok((kept, random));
        };
        if low == high {
            return Ok((kept, random));
        }
        let label = format!("steer {}, random directions", s.arm.name());
        let all: Vec<u64> = (0..c.random_directions as u64).collect();
        let (arm, hidden) = (s.arm, own.len());
        for chunk in all.chunks(16) {
            let measured = self.o.each_strand(chunk.to_vec(), |index| -> Result<Random> {
                let v = random_direction(hidden, seed, index);
                let at =
                    |dose| -> Result<Dosed> { Ok(dosed(dose, &bench.rows(&model, layer, &v, dose, rms, items, arm)?)) };
                Ok(Random { index, ends: [at(low)?, at(high)?] })
            });
            random.extend(measured.into_iter().collect::<Result<Vec<_>>>()?);
            self.went_on(&label, random.len(), all.len())?;
        }
        s.random = random.iter().map(|r| slope_between(&r.ends[0], &r.ends[1])).collect();
        Ok((kept, random))
    }
}

/// One line of `cells/<arm>-seed-<s>.random.jsonl`: greedy answers along a random direction, at the ends of the doses that keep the
/// accuracy.
#[derive(serde::Serialize)]
struct Random {
    /// The direction is [`random_direction`] of the seed and this number.
    index: u64,
    ends: [Dosed; 2],
}

/// What a measurement needs and threads may share.
struct Bench<'a, O: Ops> {
    o: &'a O,
    domain: &'a dyn Domain,
    chat: &'a crate::text::Tokenizer,
    evaluate: &'a EvaluateConfig,
    micro: MicroBatch,
}

impl<O: Ops> Bench<'_, O> {
    /// Greedy answers with `dose` × RMS × √hidden of the unit vector `v` added to the stream after a block, at every position.
    #[allow(clippy::too_many_arguments)]
    fn rows(
        &self,
        model: &Qwen2<O>,
        layer: usize,
        v: &[f32],
        dose: f64,
        rms: f64,
        items: &[Item],
        arm: Arm,
    ) -> Result<Vec<Row>> {
        let vector = self.o.upload(1, v.len(), v)?;
        let scale = (dose * rms * (vector.cols() as f64).sqrt()) as f32;
        let hooks = match dose {
            0.0 => HookSet::default(),
            _ => HookSet::default().with(Hook::ResidPost(layer), Action::Add { vector, scale }),
        };
        let config = EvaluateConfig { samples: 0, greedy: true, ..self.evaluate.clone() };
        let job = Job {
            domain: self.domain,
            chat: self.chat,
            items,
            conditions: &[Condition::Neutral],
            wordings: Wordings::All,
            asking: arm.asking(),
            arm: arm.name(),
            seed: 0,
            test: 6,
            config: &config,
            micro: self.micro,
        };
        evaluate::rows(self.o, model, &job, &hooks, |_, _| Ok(()))
    }
}

/// A vector at length 1; `None` for zeros.
fn unit(v: &[f32]) -> Option<Vec<f32>> {
    let norm = v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
    (norm > 0.0).then(|| v.iter().map(|x| (f64::from(*x) / norm) as f32).collect())
}

fn dosed(dose: f64, rows: &[Row]) -> Dosed {
    Dosed {
        dose,
        tokens: rows.iter().map(|r| f64::from(r.n_tokens)).collect(),
        correct: rows.iter().map(|r| r.correct).collect(),
        log_odds: rows
            .iter()
            .filter_map(|r| Some(if r.truth == "true" { -r.log_odds? } else { r.log_odds? }))
            .collect(),
    }
}

impl<O: Ops> Lab<'_, O> {
    /// Writes the rows of every steered arm as the test's `items.jsonl`.
    pub fn merge_steered(&self, steered: &[Steered]) -> Result<()> {
        let dir = self.dir().join("tests").join(ID);
        let mut all = Vec::new();
        for s in steered {
            let path = dir.join("cells").join(format!("{}-seed-{}.jsonl", s.arm.name(), s.seed));
            if path.exists() {
                all.extend(rows::read(&path)?);
            }
        }
        rows::write(&dir.join("items.jsonl"), &all)
    }
}
