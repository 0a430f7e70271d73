//! What a run could have found: the smallest effects at 80 % power, for the report's section of that name. All at α before Holm.

use super::record::{Cell, Effect, Table};
use super::rows::Paired;
use super::verdict::StatisticsConfig;
use crate::stats::{
    Design, describe, detectable_effect, detectable_hazard_ratio, power_paired_t, power_tost, smallest_p,
};

/// Power that effects are said to be found with.
const POWER: f64 = 0.8;

/// What contrasts could have shown: the smallest mean difference that a paired t test on this many prompts finds with 80 % power,
/// given the spread between prompts that was seen; and, where there is a margin, the chance that a difference of zero is shown
/// to be within it.
pub fn power_table(contrasts: &[(&str, &Paired, Option<f64>)], c: &StatisticsConfig) -> Option<Table> {
    let mut samples = Vec::new();
    for (name, d, margin) in contrasts {
        let mut sums = vec![(0.0, 0.0); d.n_prompts];
        for (v, &k) in d.values.iter().zip(&d.clusters) {
            sums[k].0 += v;
            sums[k].1 += 1.0;
        }
        samples.push((*name, sums.iter().filter(|s| s.1 > 0.0).map(|s| s.0 / s.1).collect(), *margin));
    }
    power_of_means(&samples, "prompts", c)
}

/// The same from one value a unit (`prompts`, `seeds`).
pub fn power_of_means(samples: &[(&str, Vec<f64>, Option<f64>)], unit: &str, c: &StatisticsConfig) -> Option<Table> {
    let last = "chance to show equivalence";
    let mut table = Table {
        title: "Smallest effect found with 80 % power".into(),
        columns: vec![
            "contrast".into(),
            format!("n {unit}"),
            format!("sd over {unit}"),
            "smallest effect".into(),
            last.into(),
        ],
        rows: Vec::new(),
    };
    for (name, means, margin) in samples {
        let Ok(s) = describe(means) else { continue };
        // Power grows with the effect: bisection on the standardised one.
        let (mut low, mut high) = (0.0, 10.0);
        for _ in 0..40 {
            let dz = 0.5 * (low + high);
            match power_paired_t(means.len() as u64, dz, c.alpha) {
                Ok(p) if p < POWER => low = dz,
                Ok(_) => high = dz,
                Err(_) => return None,
            }
        }
        table.rows.push(vec![
            Cell::Text((*name).into()),
            Cell::Number(means.len() as f64),
            Cell::Number(s.sd),
            Cell::Number(high * s.sd),
            match margin.filter(|_| s.sd > 0.0).map(|m| power_tost(means.len() as u64, 0.0, m / s.sd, c.alpha)) {
                Some(Ok(p)) => Cell::Number(p),
                _ => Cell::Text("–".into()),
            },
        ]);
    }
    (!table.rows.is_empty()).then_some(table)
}

/// The same for effects of which only an interval is known, by the normal approximation with the standard error read off the
/// interval. `n` is the number of distinct prompts.
pub fn power_of_intervals(effects: &[Effect], n: usize, c: &StatisticsConfig) -> Option<Table> {
    let mut table = Table {
        title: "Smallest effect found with 80 % power, from the width of the interval".into(),
        columns: ["contrast", "n prompts", "standard error", "smallest effect"].map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for e in effects {
        // An interval of level L is as wide as 2 z((1 + L) / 2) standard errors.
        let Ok(z) = detectable_effect(1.0, 1.0 - e.level, 0.5) else { continue };
        let se = (e.high - e.low) / (2.0 * z);
        let Ok(least) = detectable_effect(se, c.alpha, POWER) else { continue };
        let row = [n as f64, se, least];
        table.rows.push(std::iter::once(Cell::Text(e.name.clone())).chain(row.map(Cell::Number)).collect());
    }
    (!table.rows.is_empty()).then_some(table)
}

/// The same for a log-rank test of two arms with as many runs each: (contrast, seeds, events). Beside the hazard ratio stands the
/// smallest p that permuting so few runs can give.
pub fn power_of_survival(contrasts: &[(String, usize, usize)], c: &StatisticsConfig) -> Option<Table> {
    let columns = ["contrast", "n seeds", "events", "smallest hazard ratio", "smallest attainable p"];
    let mut table = Table {
        title: "Smallest hazard ratio found with 80 % power".into(),
        columns: columns.map(String::from).to_vec(),
        rows: Vec::new(),
    };
    for (name, seeds, events) in contrasts {
        let least = smallest_p(Design::Permutation { n1: *seeds as u64, n2: *seeds as u64 });
        // What no permutation can make significant is not found at any size.
        let ratio = match detectable_hazard_ratio(*events as u64, c.alpha, POWER) {
            _ if least > c.alpha => Cell::Text("none: too few seeds".into()),
            Ok(ratio) => Cell::Number(ratio),
            Err(_) => Cell::Text("none: no event".into()),
        };
        let count = |n: usize| Cell::Number(n as f64);
        table.rows.push(vec![Cell::Text(name.clone()), count(*seeds), count(*events), ratio, Cell::Number(least)]);
    }
    (!table.rows.is_empty()).then_some(table)
}
