//! Control tasks for the study's probe (Hewitt and Liang 2019): how well the same probe does where there is nothing to find.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use super::auroc::StudyLayers;
use super::record::{Cell, Table};
use crate::domain::Words;
use crate::stats::{Exchange, Features, study_probe};

/// Label sets that are averaged: one alone would vary as much as the AUROC itself.
const DRAWS: u64 = 5;
/// Seed of the label sets. They belong to the task, so they are the same in every run.
const SEED: u64 = 0x005e_1ec7;

/// Labels of one control task: every prompt (`groups`) gets one at random, short as often as the answers of its family (`strata`)
/// are. A probe that only tells families apart does as well here as on the real labels.
fn labels(real: &[bool], strata: &[usize], groups: &[usize], draw: u64) -> Vec<bool> {
    let share = |family: usize| {
        let of = || strata.iter().zip(real).filter(move |(s, _)| **s == family);
        of().filter(|(_, short)| **short).count() as f64 / of().count().max(1) as f64
    };
    let shares: Vec<f64> = (0..=strata.iter().copied().max().unwrap_or(0)).map(share).collect();
    let mut rng = ChaCha8Rng::seed_from_u64(SEED);
    rng.set_stream(draw);
    let uniform: Vec<f64> = (0..=groups.iter().copied().max().unwrap_or(0))
        .map(|_| (rng.next_u64() >> 11) as f64 / (1u64 << 53) as f64)
        .collect();
    strata.iter().zip(groups).map(|(s, g)| uniform[*g] < shares[*s]).collect()
}

/// Mean AUROC of the study's probe, with the C that it chose for the real labels, over control tasks; NaN where undefined. Where prompts
/// come as `twins`, one of each class, their labels change places at random: one label for both would be another task than the real one.
pub fn auroc(
    features: &Features,
    real: &[bool],
    strata: &[usize],
    groups: &[usize],
    twins: Option<&Exchange>,
    c: f64,
) -> f64 {
    let one = |draw: u64| {
        let labels = match twins {
            Some(twins) => twins.permuted(real, SEED, draw).ok()?,
            None => labels(real, strata, groups, draw),
        };
        study_probe(features, &labels, &[c]).ok()?.skill.mean.value()
    };
    let found: Vec<f64> = (0..DRAWS).filter_map(one).collect();
    if found.is_empty() { f64::NAN } else { found.iter().sum::<f64>() / found.len() as f64 }
}

/// Selectivity by arm, seed and layer.
pub fn table(study: &[StudyLayers], w: &Words) -> Table {
    let number = |x: f64| if x.is_finite() { Cell::Number(x) } else { Cell::Text("undefined".into()) };
    let row = |s: &StudyLayers, layer: usize| {
        let found = &s.layers[layer];
        vec![
            Cell::Text(w.arm(s.arm.name()).into()),
            Cell::Text(s.seed.to_string()),
            Cell::Number(layer as f64),
            number(found.auroc),
            number(found.control),
            number(found.auroc - found.control),
        ]
    };
    let family = w.family;
    Table {
        title: format!(
            "Control task: the same probe on labels drawn at random for every prompt (of twins: between the two), as often {} within each {family} \
             (mean of {DRAWS} draws). Selectivity = AUROC − control: without it a high AUROC may only mean that the probe knows the \
             {family} or has learned prompts by heart",
            w.class
        ),
        columns: ["arm", "seed", "layer", "AUROC", "AUROC of the control task", "selectivity"]
            .map(String::from)
            .to_vec(),
        rows: study.iter().flat_map(|s| (0..s.layers.len()).map(move |l| row(s, l))).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_labels_are_fixed_by_prompt_and_as_frequent_as_the_real_ones() {
        // Two families, 400 prompts twice each: 80 % short in the first, 20 % in the second.
        let strata: Vec<usize> = (0..800).map(|i| i % 2).collect();
        let groups: Vec<usize> = (0..800).map(|i| i % 400).collect();
        let real: Vec<bool> = (0..800).map(|i| (i / 2 % 5 == 0) ^ (i % 2 == 0)).collect();
        let drawn = labels(&real, &strata, &groups, 0);
        assert_eq!(drawn[..400], drawn[400..], "a prompt has one label");
        for family in 0..2 {
            let of = |l: &[bool]| (0..400).filter(|i| i % 2 == family && l[*i]).count() as f64 / 200.0;
            assert!((of(&drawn) - of(&real)).abs() < 0.1, "{} {}", of(&drawn), of(&real));
        }
        assert_eq!(drawn, labels(&real, &strata, &groups, 0));
        assert_ne!(drawn, labels(&real, &strata, &groups, 1));
    }

    #[test]
    fn a_probe_that_knows_the_family_alone_is_not_selective() {
        let strata: Vec<usize> = (0..400).map(|i| i % 2).collect();
        let groups: Vec<usize> = (0..400).collect();
        let hash = |i: usize| ((i.wrapping_mul(2_654_435_761) >> 7) % 1000) as f64 / 1000.0;
        let family: Vec<f64> = (0..400).flat_map(|i| [(i % 2) as f64, hash(i)]).collect();
        let short: Vec<bool> = (0..400).map(|i| hash(i + 9000) < if i % 2 == 0 { 0.85 } else { 0.15 }).collect();
        let f = Features::new(family, 2).unwrap();
        let real = study_probe(&f, &short, &[1.0]).unwrap().skill.mean.or_nan();
        let control = auroc(&f, &short, &strata, &groups, None, 1.0);
        assert!(real > 0.75 && (real - control).abs() < 0.06, "{real} {control}");
        // What it knows of the single answer is.
        let answer: Vec<f64> = (0..400).map(|i| f64::from(u8::from(short[i])) + 0.5 * hash(i + 77)).collect();
        let control = auroc(&Features::new(answer.clone(), 1).unwrap(), &short, &strata, &groups, None, 1.0);
        let real = study_probe(&Features::new(answer, 1).unwrap(), &short, &[1.0]).unwrap().skill.mean.or_nan();
        assert!(real - control > 0.2, "{real} {control}");
    }
}
