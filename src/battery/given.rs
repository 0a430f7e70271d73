//! Checkpoints given in place of an arm's training: the battery measures them as if it had trained them, and says that it has not.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::config::{Arm, BatteryConfig};
use super::environment::{Speech, neutral};
use super::error::{BatteryError, Result};
use super::lab::Lab;
use super::plan::Plan;
use super::record::Health;
use crate::domain::{Domain, Split};
use crate::generate::source::Source;
use crate::ops::Ops;
use crate::text::Tokenizer;

/// Start of the names of their hashes in the manifest. They key the arms they stand for, and nothing else.
pub const HASH: &str = "checkpoint ";

/// The weights of one arm and seed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Given {
    pub arm: Arm,
    pub seed: u64,
    /// A folder in Hugging Face layout.
    pub model: String,
}

/// SHA-256 of the weights by arm and seed.
pub type Hashes = BTreeMap<(Arm, u64), String>;

/// Reads `ARM=FOLDER` (the n-th of an arm is for the n-th seed) and `ARM@SEED=FOLDER`.
pub fn parse(texts: &[String], seeds: &[u64]) -> Result<Vec<Given>> {
    let mut out: Vec<Given> = Vec::new();
    for text in texts {
        let refuse = |why: String| BatteryError::Refused(format!("--checkpoint {text}: {why}"));
        let Some((name, model)) = text.split_once('=').filter(|(_, m)| !m.is_empty()) else {
            return Err(refuse("expected ARM=FOLDER, or ARM@SEED=FOLDER".into()));
        };
        let (name, seed) = match name.split_once('@') {
            Some((name, seed)) => match seed.parse::<u64>() {
                Ok(seed) => (name, Some(seed)),
                Err(_) => return Err(refuse(format!("{seed:?} is no seed"))),
            },
            None => (name, None),
        };
        let Some(arm) = Arm::of_name(name).filter(|a| a.trained()) else {
            let arms: Vec<&str> = Arm::ALL.iter().filter(|a| a.trained()).map(|a| a.name()).collect();
            return Err(refuse(format!("{name:?} is no arm with weights of its own; there is {}", arms.join(", "))));
        };
        let taken = out.iter().filter(|g| g.arm == arm).count();
        let Some(seed) = seed.or_else(|| seeds.get(taken).copied()) else {
            return Err(refuse(format!("the run has {} seed(s), and each has its {name} already", seeds.len())));
        };
        out.push(Given { arm, seed, model: model.into() });
    }
    Ok(out)
}

/// Refuses checkpoints that no arm of the run would use.
pub fn check(config: &BatteryConfig) -> Result<()> {
    for (i, g) in config.checkpoint.iter().enumerate() {
        let why = if !g.arm.trained() {
            "has no weights of its own".to_string()
        } else if !config.arms.contains(&g.arm) {
            "is no arm of this run: name it in arms".into()
        } else if !config.seeds.contains(&g.seed) {
            format!("has no seed {} in this run: name it in seeds", g.seed)
        } else if config.checkpoint[..i].iter().any(|o| (o.arm, o.seed) == (g.arm, g.seed)) {
            format!("is given twice for seed {}", g.seed)
        } else {
            continue;
        };
        return Err(BatteryError::Refused(format!("checkpoint {}: the arm {why}", g.model)));
    }
    Ok(())
}

/// Opens every checkpoint that the run uses and hashes it. Refuses one of another shape, or whose tokenizer reads the prompts
/// otherwise: its rows could not be compared with those of the base model.
pub fn open(config: &BatteryConfig, base: &Source, chat: &Tokenizer, domain: &dyn Domain) -> Result<Hashes> {
    let mut out = Hashes::new();
    let used = |g: &&Given| config.arms.contains(&g.arm) && config.seeds.contains(&g.seed);
    for g in config.checkpoint.iter().filter(used) {
        let source = Source::open(&g.model)?;
        let refuse = |why: String| {
            BatteryError::Refused(format!(
                "{} is no checkpoint of {}: {why}; give one of that model",
                g.model, config.model
            ))
        };
        // An attack on every weight of one arm and on the adapters of another says nothing about the arms.
        let trained_on = config.tests.iter().any(|t| matches!(t, 4 | 5 | 7));
        if source.is_adapter() && config.lora.is_none() && trained_on {
            return Err(BatteryError::Refused(format!(
                "{} is a LoRA adapter, and tests 4, 5 and 7 train on top of every arm: add [lora] to the configuration, so that all arms are trained alike, or leave these tests out",
                g.model
            )));
        }
        let shape = |s: &Source| {
            let c = &s.checkpoint.config;
            [
                c.hidden_size,
                c.num_hidden_layers,
                c.num_attention_heads,
                c.num_key_value_heads,
                c.intermediate_size,
                c.vocab_size,
            ]
        };
        if shape(&source) != shape(base) {
            return Err(refuse(format!(
                "hidden size, layers, heads, key-value heads, intermediate size and vocabulary are {:?}, not {:?}",
                shape(&source),
                shape(base)
            )));
        }
        // Without a tokenizer of its own the base model's serves.
        if let Ok(own) = source.tokenizer() {
            for item in domain.items(Split::Test) {
                let ids = |chat| Ok::<_, BatteryError>(Speech { chat }.prompt(neutral(domain), item)?.1);
                if ids(&own)? != ids(chat)? {
                    return Err(refuse(format!("its tokenizer reads the prompt of item {} otherwise", item.id)));
                }
            }
        }
        out.insert((g.arm, g.seed), source.sha256()?);
    }
    Ok(out)
}

/// Names and hashes for the manifest.
pub fn hashes(given: &Hashes) -> impl Iterator<Item = (String, String)> + '_ {
    given.iter().map(|((arm, seed), hash)| (format!("{HASH}{} seed {seed}", arm.name()), hash.clone()))
}

/// What a reader of the report must know.
pub fn notes(config: &BatteryConfig, given: &Hashes) -> Vec<String> {
    let used = config.checkpoint.iter().filter(|g| given.contains_key(&(g.arm, g.seed)));
    let note = |g: &Given| {
        format!("{}, seed {}: given checkpoint {}, not trained by this run.", g.arm.name(), g.seed, g.model)
    };
    used.map(note).collect()
}

/// A plan without the trainings that checkpoints stand for.
pub fn settle(plan: &mut Plan, given: &Hashes) {
    for (arm, seed) in given.keys() {
        let name = format!("train {} seed {seed}", arm.name());
        if let Some(cell) = plan.cells.iter_mut().find(|c| c.name == name) {
            plan.seconds -= cell.seconds;
            (cell.seconds, cell.done) = (0.0, true);
        }
    }
}

impl<O: Ops> Lab<'_, O> {
    /// The folder that stands for an arm's training.
    pub fn given_model(&self, arm: Arm, seed: u64) -> Option<&str> {
        self.given.get(&(arm, seed))?;
        Some(self.config.checkpoint.iter().find(|g| (g.arm, g.seed) == (arm, seed))?.model.as_str())
    }

    /// Is nothing of this arm trained here?
    pub fn wholly_given(&self, arm: Arm) -> bool {
        self.config.seeds.iter().all(|s| self.given.contains_key(&(arm, *s)))
    }

    /// Marks the training of a given arm as done. A folder that has trained it, or was given other weights, is refused.
    pub fn accept_given(&mut self, arm: Arm, seed: u64) -> Result<()> {
        let label = format!("{} seed {seed}", arm.name());
        if let Some(cell) = self.folder.begin(&format!("train {label}"), &self.arm_key(arm, seed)?, true)? {
            self.folder.finish(cell)?;
        }
        let folder = self.given_model(arm, seed).unwrap_or_default().to_string();
        self.reporter.borrow_mut().say(&format!("train {label}: given checkpoint {folder}"));
        Ok(())
    }

    /// What is known of a training that was done elsewhere.
    pub fn given_health(&self, arm: Arm, seed: u64) -> Option<Health> {
        let folder = self.given_model(arm, seed)?;
        Some(Health {
            name: format!("training of {}, seed {seed}", self.domain.words().arm(arm.name())),
            ok: true,
            fatal: false,
            by_design: false,
            detail: format!("given checkpoint {folder}: this run knows nothing of how it was trained"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checkpoints_are_read_in_the_order_of_the_seeds() {
        let texts = |t: &[&str]| t.iter().map(|t| t.to_string()).collect::<Vec<_>>();
        let found = parse(&texts(&["control=a", "value=b=c", "control=d", "value@42=e"]), &[7, 42]).unwrap();
        let of = |arm, seed, model: &str| Given { arm, seed, model: model.into() };
        let (c, v) = (Arm::Control, Arm::Value);
        assert_eq!(found, [of(c, 7, "a"), of(v, 7, "b=c"), of(c, 42, "d"), of(v, 42, "e")]);
        for (text, needle) in [
            (&["value"][..], "expected ARM=FOLDER"),
            (&["value="], "expected ARM=FOLDER"),
            (&["base=x"], "no arm with weights of its own; there is control, value"),
            (&["value@x=y"], "is no seed"),
            (&["value=a", "value=b", "value=c"], "has 2 seed(s)"),
        ] {
            let e = parse(&texts(text), &[7, 42]).unwrap_err().to_string();
            assert!(e.contains(needle), "{e}");
        }
    }
}
