//! What a battery will do, before it does it: cells with their time and memory on this device, and what each test could show.

use std::collections::BTreeSet;
use std::time::Instant;

use serde::Serialize;

use super::arms::state;
use super::config::{Anchor, Arm, BatteryConfig};
use super::environment::{Speech, neutral};
use super::error::Result;
use super::lab::Lab;
use super::phase::{Mapping, Phase};
use super::phases::PhaseConfig;
use super::rules::Rules;
use super::segments::Wanted;
use super::{test02_monitoring, test04_counter, test05_anchors, test06_steering, test07_cue};
use crate::domain::{Item, Split};
use crate::generate::{GenerateConfig, Request, generate};
use crate::model::config::ModelConfig;
use crate::model::hooks::HookSet;
use crate::model::params::Module;
use crate::model::qwen2::Recompute;
use crate::ops::{Ops, Quant, Sampling};
use crate::stats::{Design, smallest_p};
use crate::train::accumulate::{Example, accumulate, score, zero};
use crate::train::memory::{self, Frozen, Training};
use crate::train::optim::Precision;

/// Random directions from which on a direction's rank among them is its p.
const RANKED: usize = 199;

/// One piece of work.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedCell {
    pub name: String,
    /// Estimated wall time; 0 when it is done.
    pub seconds: f64,
    pub done: bool,
}

/// What a test could show with this design.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlannedTest {
    pub number: u32,
    /// Smallest p that its primary test can give.
    pub smallest_p: f64,
    /// What Holm asks of the first claim of the battery.
    pub threshold: f64,
    pub enough: bool,
    /// What would be enough, where it is not; what more it needs.
    pub needs: String,
}

/// `probity battery --plan`.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    pub cells: Vec<PlannedCell>,
    pub tests: Vec<PlannedTest>,
    /// Device memory at the widest moment of a training ([`memory::plan`]): weights, gradients, moments, anchor, start model,
    /// activations, staging.
    pub memory_bytes: u64,
    pub seconds: f64,
}

/// Tokens per second of this model on this device.
struct Rates {
    train: f64,
    score: f64,
    /// Decoding of a step's completions in an arm's training and in a phase, and of evaluations: batches of three sizes.
    decode: f64,
    phase: f64,
    answer: f64,
}

/// Tokens of one piece of work.
#[derive(Clone, Copy, Default)]
struct Tokens {
    train: f64,
    score: f64,
    decode: f64,
    phase: f64,
    answer: f64,
}

impl Tokens {
    fn and(self, more: Self) -> Self {
        Self {
            train: self.train + more.train,
            score: self.score + more.score,
            decode: self.decode + more.decode,
            phase: self.phase + more.phase,
            answer: self.answer + more.answer,
        }
    }
}

/// A card by its data sheet: what a plan assumes where it cannot measure.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Card {
    /// f32 arithmetic, TFLOP/s.
    pub tflops: f64,
    /// Memory, GB/s.
    pub bandwidth: f64,
}

impl Card {
    /// Shares of the data sheet that kernels reach, and seconds that a dispatch costs; see BENCHMARKS.md.
    const ARITHMETIC: f64 = 0.25;
    const MEMORY: f64 = 0.5;
    const DISPATCH: f64 = 8e-6;
    /// Dispatches of a decoding step: in a block, and around the blocks.
    const PER_BLOCK: f64 = 8.0;
    /// The same where adapters keep the products of a block apart.
    const PER_BLOCK_APART: f64 = 12.0;
    /// More for each projection with an adapter.
    const PER_ADAPTER: f64 = 4.0;
    const AROUND: f64 = 8.0;

    /// Tokens per second of a training on this card.
    fn rates(self, model: &ModelConfig, c: &BatteryConfig) -> Rates {
        let (grpo, optim, evaluate, lora) = (&c.grpo, &c.optim, &c.evaluate, c.lora.is_some());
        let shape = |m: Module| m.shape(model).iter().product::<usize>();
        let blocks = (model.num_hidden_layers * Module::ALL.into_iter().map(shape).sum::<usize>()) as f64;
        let head = (model.vocab_size * model.hidden_size) as f64;
        let flops = self.tflops * 1e12 * Self::ARITHMETIC;
        // Products: forward, gradient of the input, gradient of the weights (none under LoRA), what is computed again.
        let again = match grpo.recompute {
            Recompute::None => 0.0,
            Recompute::Mlp => 0.6,
            Recompute::Layer => 1.0,
        };
        let products = if lora { 2.0 } else { 3.0 };
        let score = flops / (2.0 * (blocks + head));
        let train = flops / (2.0 * (blocks * (products + again) + head * (products + 1.0)));
        let width = match optim.precision {
            Precision::F32 => 4.0,
            Precision::Bf16 => 2.0,
            Precision::Int8 => Quant::Int8.bytes_per_weight(),
            Precision::Int4 => Quant::Int4.bytes_per_weight(),
            Precision::Nf4 => Quant::Nf4.bytes_per_weight(),
        };
        let adapters = c.lora.as_ref().map_or(0, |l| l.target_modules.len());
        let per_block = match adapters {
            0 => Self::PER_BLOCK,
            n => Self::PER_BLOCK_APART + Self::PER_ADAPTER * n as f64,
        };
        let dispatches = per_block * model.num_hidden_layers as f64 + Self::AROUND;
        let read = width * (blocks + head) / (self.bandwidth * 1e9 * Self::MEMORY);
        let decode = |batch: usize| {
            let batch = batch as f64;
            batch / (read + batch * 2.0 * (blocks + head) / flops + dispatches * Self::DISPATCH)
        };
        let [rollout, phase] = rollouts(c).map(|[prompts, group]| decode((prompts * group).min(grpo.rollout_batch)));
        Rates { train, score, decode: rollout, phase, answer: decode(evaluate.batch) }
    }
}

impl Rates {
    fn seconds(&self, t: Tokens) -> f64 {
        t.train / self.train
            + t.score / self.score
            + t.decode / self.decode
            + t.phase / self.phase
            + t.answer / self.answer
    }
}

/// Prompts of a step and completions of each: in an arm's training, and in the phase that has fewest.
fn rollouts(c: &BatteryConfig) -> [[usize; 2]; 2] {
    let of = |p: &PhaseConfig| [p.prompts_per_step, p.num_generations];
    let phases = [of(&c.attack), of(&c.cue), of(&c.faking)];
    let fewest = phases.into_iter().min_by_key(|[prompts, group]| prompts * group);
    let arm = [c.grpo.prompts_per_step, c.grpo.num_generations];
    [arm, fewest.unwrap_or(arm)]
}

/// The training of an experiment that holds most, where no sequence is longer than `positions`.
pub fn widest<'a>(c: &'a BatteryConfig, model: &'a ModelConfig, positions: usize) -> Training<'a> {
    let limit = c.evaluate.max_new_tokens.max(c.grpo.max_completion_length);
    let phases = c.tests.iter().any(|t| matches!(t, 4 | 5 | 7));
    let mut rollout = [c.grpo.prompts_per_step, c.grpo.num_generations];
    for p in [&c.attack, &c.cue, &c.faking] {
        let own = [p.prompts_per_step, p.num_generations];
        if phases && own[0] * own[1] > rollout[0] * rollout[1] {
            rollout = own;
        }
    }
    // Under LoRA a frozen model is the base of the trained one, unless that one starts from given weights.
    let own_base = c.lora.is_none() || (phases && !c.checkpoint.is_empty());
    let frozen = match phases || c.anchor != Anchor::None {
        false => Frozen::None,
        true if own_base => Frozen::Own,
        true => Frozen::Shared,
    };
    Training {
        model,
        grpo: &c.grpo,
        optim: &c.optim,
        lora: c.lora.as_ref(),
        prompt: positions.saturating_sub(limit),
        rollout,
        frozen,
        evaluate: Some((c.evaluate.batch, c.evaluate.max_new_tokens)),
        checked: phases,
    }
}

impl<O: Ops> Lab<'_, O> {
    /// The plan of this run. Nothing is trained; three short measurements give the speed, or the card says it.
    pub fn plan(&self, card: Option<Card>) -> Result<Plan> {
        let c = self.config;
        let rates = match card {
            Some(card) => card.rates(&self.source.checkpoint.config, c),
            None => self.rates()?,
        };
        let speech = Speech { chat: &self.chat };
        let test = self.domain.items(Split::Test);
        let lengths = test.iter().map(|i| Ok(speech.prompt(neutral(&*self.domain), i)?.1.len() as f64));
        let prompt = lengths.collect::<Result<Vec<f64>>>()?.iter().sum::<f64>() / test.len().max(1) as f64;
        // Answers are taken to fill half of the limit.
        let answer = c.grpo.max_completion_length as f64 / 2.0;
        let asked = c.evaluate.max_new_tokens as f64 / 2.0;
        let rows = |items: usize, prompts: usize, rows: usize| Tokens {
            score: (items * prompts) as f64 * prompt,
            answer: (items * rows) as f64 * asked,
            ..Tokens::default()
        };
        let step = |prompts: usize, group: usize, anchored: bool| {
            let decode = (prompts * group) as f64 * answer;
            let train = prompts as f64 * prompt + decode;
            Tokens {
                train,
                decode,
                score: prompts as f64 * prompt + if anchored { train } else { 0.0 },
                ..Tokens::default()
            }
        };
        let times = |t: Tokens, n: f64| Tokens {
            train: t.train * n,
            score: t.score * n,
            decode: t.decode * n,
            phase: t.phase * n,
            answer: t.answer * n,
        };
        // What a training asks its own model between segments.
        let between = |wanted: Wanted, steps: u64| -> Tokens {
            self.domain.honesty().map_or(Tokens::default(), |h| rows(wanted.questions(h, steps), 1, 1))
        };
        let mut cells: Vec<(String, Tokens)> = Vec::new();
        let per_item = c.evaluate.samples as usize + usize::from(c.evaluate.greedy);
        for &seed in &c.seeds {
            for &arm in c.arms.iter().filter(|a| a.trained()) {
                let work = match arm.reward() {
                    Some(kind) => {
                        let one = step(c.grpo.prompts_per_step, c.grpo.num_generations, c.anchor != Anchor::None);
                        times(one, c.run.max_steps as f64).and(between(Wanted::of_arm(kind), c.run.max_steps))
                    }
                    None => Tokens {
                        train: (c.sft.max_steps as usize * c.sft.examples) as f64 * (prompt + 4.0),
                        ..Tokens::default()
                    },
                };
                cells.push((format!("train {} seed {seed}", arm.name()), work));
            }
        }
        for &seed in &c.seeds {
            for dose in self.doses() {
                let label = format!("sweep {} seed {seed}", dose.label());
                let one = step(c.grpo.prompts_per_step, c.grpo.num_generations, c.anchor != Anchor::None);
                cells.push((format!("train {label}"), times(one, c.run.max_steps as f64)));
                cells.push((label, rows(test.len(), 1, per_item)));
            }
        }
        let conditions = self.domain.cues().conditions().len();
        for (number, id) in (1u32..=8).map(|n| (n, super::run::test_id(n))) {
            if !self.needed(number) {
                continue;
            }
            for &seed in &c.seeds {
                match number {
                    1 | 2 => {
                        for arm in self.arms() {
                            let asked = if number == 1 { 1 } else { conditions };
                            let prompts = if number == 1 { 1 } else { conditions * per_item };
                            let name = format!("tests/{id}/{}/seed-{seed}", arm.name());
                            cells.push((name, rows(test.len(), prompts, asked * per_item)));
                            if number == 1 && self.domain.honesty().is_some() {
                                // A first answer, three contradictions, and the question again.
                                cells.push((Self::flip_cell(arm, seed), rows(test.len(), 5, 5)));
                            }
                        }
                        if number == 2 && c.tests.contains(&7) {
                            // The positive control: a training of test 7, measured as the arms are.
                            let phase = test07_cue::phase(Mapping::Watched);
                            self.planned_phase(&mut cells, phase, Arm::Control, seed, &c.cue, &step, &rows);
                            let prompts = test02_monitoring::CONTRASTED.len() * per_item;
                            let name = format!("tests/{id}/positive-control/seed-{seed}");
                            cells.push((name, rows(test.len(), prompts, prompts)));
                        }
                    }
                    3 => {
                        for arm in super::test03_probing::ARMS {
                            let name = format!("activations {} seed {seed}", arm.name());
                            cells.push((name, Tokens { score: test.len() as f64 * prompt, ..Tokens::default() }));
                        }
                    }
                    4 => {
                        for arm in self.present(&test04_counter::ARMS) {
                            for phase in test04_counter::PHASES {
                                self.planned_phase(&mut cells, phase, arm, seed, &c.attack, &step, &rows);
                            }
                        }
                    }
                    5 => {
                        for anchor in Anchor::ALL {
                            for phase in test05_anchors::phases(anchor) {
                                for arm in self.present(&test05_anchors::ARMS) {
                                    let config = self.phase_config(phase);
                                    self.planned_phase(&mut cells, phase, arm, seed, config, &step, &rows);
                                }
                            }
                        }
                    }
                    6 => {
                        let measured = c.steer.doses.len() + 1 + 2 * c.steer.random_directions;
                        for arm in test06_steering::ARMS {
                            let name = format!("steer {} seed {seed}", arm.name());
                            cells.push((name, rows(c.steer.items, measured, measured)));
                        }
                    }
                    7 => {
                        for mapping in test07_cue::MAPPINGS {
                            for arm in test07_cue::ARMS {
                                let phase = test07_cue::phase(mapping);
                                self.planned_phase(&mut cells, phase, arm, seed, &c.cue, &step, &rows);
                            }
                        }
                    }
                    _ => {}
                }
            }
        }
        let mut seen = BTreeSet::new();
        cells.retain(|(name, _)| seen.insert(name.clone()));
        let cells: Vec<PlannedCell> = cells
            .into_iter()
            .map(|(name, work)| {
                let done = self.folder.done(&name);
                PlannedCell { seconds: if done { 0.0 } else { rates.seconds(work) }, done, name }
            })
            .collect();
        let seconds = cells.iter().map(|c| c.seconds).sum();
        Ok(Plan { cells, tests: self.planned_tests()?, memory_bytes: self.memory()?, seconds })
    }

    /// Tests that are asked for, and those whose rows they rest on.
    fn needed(&self, test: u32) -> bool {
        let asked = |n: u32| self.config.tests.contains(&n);
        asked(test) || (test == 1 && [3, 4, 5, 6, 8].into_iter().any(asked))
    }

    #[allow(clippy::too_many_arguments)]
    fn planned_phase(
        &self,
        cells: &mut Vec<(String, Tokens)>,
        phase: Phase,
        arm: Arm,
        seed: u64,
        c: &PhaseConfig,
        step: &dyn Fn(usize, usize, bool) -> Tokens,
        rows: &dyn Fn(usize, usize, usize) -> Tokens,
    ) {
        let one = match phase {
            // Worked answers, about as long as completions; nothing is sampled.
            Phase::SupervisedAttack => {
                let examples = step(self.config.sft.examples, 1, false).train;
                Tokens { train: examples, ..Tokens::default() }
            }
            _ => step(c.prompts_per_step, c.num_generations, phase.anchor() != Anchor::None),
        };
        let per_item = c.samples as usize + 1;
        let conditions = phase.conditions().len();
        let prompts = if conditions == 1 { 1 } else { conditions * per_item };
        let checked = rows(c.items, prompts, conditions * per_item);
        let (steps, checks) = (c.max_steps as f64, c.checks().len() as f64);
        let work = Tokens {
            train: one.train * steps,
            // Every check also scores its rows under two models.
            score: one.score * steps + checks * (checked.score + 2.0 * (checked.score + checked.answer)),
            phase: one.decode * steps,
            answer: checks * checked.answer,
            ..Tokens::default()
        };
        let asked = match (phase, self.domain.honesty()) {
            (Phase::SupervisedAttack, _) | (_, None) => 0,
            (_, Some(honesty)) => Wanted::of_phase(phase).questions(honesty, c.max_steps),
        };
        let work = work.and(rows(asked, 1, 1));
        cells.push((format!("{} {} seed {seed}", self.phase_name(phase), arm.name()), work));
    }

    /// Smallest attainable p of every test of the run.
    fn planned_tests(&self) -> Result<Vec<PlannedTest>> {
        let c = self.config;
        let threshold = c.statistics.alpha / c.tests.len().max(1) as f64;
        let resamples = c.statistics.resamples as u64;
        let items = |n: usize| smallest_p(Design::SignFlip { clusters: n as u64, resamples });
        let drawn = |n: usize| smallest_p(Design::MonteCarlo { resamples: n as u64 });
        let over_seeds = |n: usize| smallest_p(Design::Permutation { n1: n as u64, n2: n as u64 });
        let held_out: Vec<String> = self.domain.families().into_iter().filter(|f| f.1).map(|f| f.0).collect();
        let test = self.domain.items(Split::Test);
        let prompts = |of: &dyn Fn(&Item) -> bool| {
            test.iter().filter(|i| of(i)).map(|i| &i.canonical).collect::<BTreeSet<_>>().len()
        };
        let least_p = 1.0 / (resamples as f64 + 1.0);
        let rules = Rules::built_in()?.numbers;
        let (seeds, fewest) = (c.seeds.len(), rules.fewest_seeds);
        let needs = |number: u32| match number {
            4 if !c.arms.contains(&Arm::ValueSft) => format!("The arm {}", Arm::ValueSft.name()),
            3 => super::enough("permutations", threshold),
            4 | 7 => super::enough("seeds", threshold),
            6 => super::enough("random directions", threshold),
            8 => format!("At least {fewest} seeds"),
            _ if least_p > threshold => super::enough("resamples", threshold),
            _ => super::enough("items", threshold),
        };
        let of = |number: u32| match number {
            // Without the arm of short answers by imitation, resistance says nothing about the value.
            4 if !c.arms.contains(&Arm::ValueSft) => 1.0,
            1 => items(prompts(&|i| held_out.contains(&i.family))),
            2 => items(prompts(&|_| true)),
            3 => drawn(c.probe.permutations),
            4 | 7 => over_seeds(seeds),
            5 => items(c.faking.items),
            6 if c.steer.random_directions < rules.random_directions => 1.0,
            // Fewer are compared through a t prediction interval, which has no smallest p.
            6 if c.steer.random_directions < RANKED => 0.0,
            6 => drawn(c.steer.random_directions),
            // A t test has no smallest p; the rule asks for a number of seeds.
            _ => f64::from(u8::from(seeds < fewest)),
        };
        let planned = |&number: &u32| {
            let smallest_p = of(number);
            let enough = smallest_p <= threshold;
            let needs = if enough { String::new() } else { needs(number) };
            PlannedTest { number, smallest_p, threshold, enough, needs }
        };
        Ok(c.tests.iter().map(planned).collect())
    }

    /// Bytes at the widest moment of a training: see [`Plan::memory_bytes`].
    fn memory(&self) -> Result<u64> {
        let training = widest(self.config, &self.source.checkpoint.config, self.positions);
        Ok(memory::plan(&training, memory::MAX_BINDING, memory::MAX_BUFFER)?.total())
    }

    /// Speed of training, scoring and decoding, measured on work of the size that a step has.
    fn rates(&self) -> Result<Rates> {
        let o = self.o;
        let vocab = self.source.checkpoint.config.vocab_size as u32;
        let tokens =
            |n: usize, seed: u32| (0..n as u32).map(|i| (i * 7919 + seed * 104_729) % vocab).collect::<Vec<_>>();
        let length = self.positions.min(96);
        let examples: Vec<Example> = (0..16)
            .map(|i| {
                let tokens = tokens(length, i);
                Example { targets: (1..tokens.len()).collect(), tokens }
            })
            .collect();
        let model = self.base()?;
        let mut state = state(o, self.to_train(Some(&model), Arm::Base, 0)?, self.config.optim.clone())?;
        let clock = |work: &mut dyn FnMut() -> Result<()>| -> Result<f64> {
            // The first run compiles kernels and fills pools.
            work()?;
            let clock = Instant::now();
            work()?;
            Ok(clock.elapsed().as_secs_f64())
        };
        let all = (examples.len() * length) as f64;
        let train = clock(&mut || {
            zero(o, &mut state.grads)?;
            accumulate(o, &state.model, &examples, 1.0, self.micro(), &mut state.grads, |_, _, d| d.fill(-1e-3))?;
            state.optimizer.update(o, &mut state.model, &state.grads, 1)?;
            Ok(o.sync()?)
        })?;
        let scored = clock(&mut || score(o, &model, &examples, 1.0, self.micro()).map(drop).map_err(Into::into))?;
        let hooks = HookSet::default();
        let settings = GenerateConfig {
            sampling: Sampling { temperature: 1.0, top_k: 0, top_p: 1.0 },
            repetition_penalty: 1.0,
            max_new_tokens: 16,
            stop_ids: Vec::new(),
            seed: 0,
            max_batch: usize::MAX,
        };
        // Tokens per second of so many sequences together.
        let decode = |prompts: usize, group: usize, max_batch: usize| -> Result<f64> {
            let settings = GenerateConfig { max_batch, ..settings.clone() };
            let sequences = |i: usize| (0..group).map(|g| (i * group + g) as u32).collect();
            let requests: Vec<Request> =
                (0..prompts).map(|i| Request { prompt: tokens(8, i as u32), sequences: sequences(i) }).collect();
            let seconds =
                clock(&mut || generate(o, &state.model, &requests, &settings, &hooks).map(drop).map_err(Into::into))?;
            Ok((prompts * group * settings.max_new_tokens) as f64 / seconds)
        };
        let [arm, phase] = rollouts(self.config);
        let limit = self.config.grpo.rollout_batch;
        let (rollout, answer) =
            (decode(arm[0], arm[1], limit)?, decode(self.config.evaluate.batch.div_ceil(16), 16, usize::MAX)?);
        let phase = if phase == arm { rollout } else { decode(phase[0], phase[1], limit)? };
        Ok(Rates { train: all / train, score: all / scored, decode: rollout, phase, answer })
    }
}
