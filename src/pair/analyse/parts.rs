//! Δ by wording and by category, and over wordings as a random effect.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Options;
use super::pairs::{Counted, Pair};
use crate::pair::error::Result;
use crate::stats::{PairedTable, PromptDraw, StatResult, hierarchical_bootstrap, tango};

/// Δ of a part of the pairs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Number of the wording, or the category.
    pub name: String,
    pub table: PairedTable,
    /// Tango; parts have no p of their own.
    pub delta: StatResult,
}

/// Δ over wordings.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Wordings {
    pub parts: Vec<Part>,
    /// Mean over wordings, wordings and clusters both resampled: what holds for other wordings too. Absent with one wording.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub over: Option<StatResult>,
}

/// Parts by wording, and the bootstrap over wordings and clusters.
///
/// # Errors
/// Bad options.
pub fn by_wording(pairs: &[Pair], options: &Options) -> Result<Wordings> {
    let wording = |p: &Pair| p.first.place.paraphrase.max(p.second.place.paraphrase);
    let parts = parts(pairs, |p| format!("{}", wording(p)), options)?;
    let counted = Counted::new(pairs, options.endpoint);
    let wordings: Vec<usize> = counted.index.iter().filter_map(|at| pairs.get(*at)).map(wording).collect();
    let mut over = None;
    if parts.len() >= 2 && counted.n_clusters() >= 2 {
        let (values, opts) = (counted.differences(), options.resampling());
        // Items that are asked in every wording are drawn once for all of them; items that take turns belong to their wording.
        let mut of_cluster = std::collections::BTreeMap::new();
        let crossed = counted.clusters.iter().zip(&wordings).any(|(c, w)| *of_cluster.entry(c).or_insert(w) != w);
        let draw = if crossed { PromptDraw::Crossed } else { PromptDraw::Nested };
        let mut r = hierarchical_bootstrap(&values, &wordings, &counted.clusters, draw, true, &opts)?;
        // The procedure is that over seeds and prompts.
        let words = |text: &str| {
            text.replace("seeds", "wordings").replace("per-seed", "per-wording").replace("prompts", "clusters")
        };
        r.method = words(&r.method);
        r.direction = "p2 - p1, mean over wordings".into();
        r.notes = r.notes.iter().map(|n| words(n)).collect();
        over = Some(r);
    }
    Ok(Wordings { parts, over })
}

/// Parts by category.
///
/// # Errors
/// Bad options.
pub fn by_category(pairs: &[Pair], options: &Options) -> Result<Vec<Part>> {
    parts(pairs, |p| p.first.place.category.clone(), options)
}

fn parts(pairs: &[Pair], name: impl Fn(&Pair) -> String, options: &Options) -> Result<Vec<Part>> {
    let mut groups: BTreeMap<String, Vec<Pair>> = BTreeMap::new();
    for pair in pairs {
        groups.entry(name(pair)).or_default().push(*pair);
    }
    let mut out = Vec::new();
    for (name, pairs) in groups {
        let table = Counted::new(&pairs, options.endpoint).table();
        if table.n() > 0 {
            out.push(Part { name, table, delta: tango(table, options.level)? });
        }
    }
    // 10 comes after 9.
    out.sort_by_key(|p| (p.name.parse::<usize>().unwrap_or(usize::MAX), p.name.clone()));
    Ok(out)
}
