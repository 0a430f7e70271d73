//! Judges against each other and against a person, and the gap as a person would have measured it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Options;
use super::evidence::{Cell, Evidence};
use crate::domain::tier::Label;
use crate::pair::error::Result;
use crate::pair::judge::{HAND, LEXICAL};
use crate::pair::row::Factors;
use crate::stats::{FlipRate, JudgeCorrection, JudgedCell, PairedTable, cluster_codes, judge_corrected};

/// The judge whose labels an analysis rests on.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Judge {
    pub name: String,
    pub version: String,
    /// Cells with each label, `missing` among them: nothing is dropped.
    pub labels: BTreeMap<String, BTreeMap<String, usize>>,
}

/// Two judges on the cells that both labelled.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    pub first: String,
    pub second: String,
    pub cells: usize,
    /// Share with the same of the six labels.
    pub same_label: f64,
    /// Refused or not: both, only the first judge, only the second, neither.
    pub table: PairedTable,
    pub flips: FlipRate,
}

/// A judge's errors by arm and the corrected gap, at the setting that the tables are read at.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Corrected {
    pub judge: String,
    pub arms: [String; 2],
    pub correction: JudgeCorrection,
}

/// Labels by arm.
pub fn judge(evidence: &Evidence) -> Judge {
    let mut labels: BTreeMap<String, BTreeMap<String, usize>> = BTreeMap::new();
    for cell in &evidence.cells {
        let name = cell.label.map_or("missing", Label::name);
        *labels.entry(cell.place.arm.clone()).or_default().entry(name.to_string()).or_default() += 1;
    }
    let version = evidence.labels.get(&evidence.judge).map(|l| l.version.clone()).unwrap_or_default();
    Judge { name: evidence.judge.clone(), version, labels }
}

/// Every two judges that have cells in common.
///
/// # Errors
/// Bad options.
pub fn agreements(evidence: &Evidence, options: &Options) -> Result<Vec<Agreement>> {
    let judges: Vec<_> = evidence.labels.iter().collect();
    let mut out = Vec::new();
    for (i, (first, x)) in judges.iter().enumerate() {
        for (second, y) in &judges[i + 1..] {
            let both: Vec<(Label, Label)> =
                x.by_cell.iter().filter_map(|(cell, label)| Some((*label, *y.by_cell.get(cell)?))).collect();
            let refused = |l: Label| options.endpoint.refused(l);
            let (a, b): (Vec<bool>, Vec<bool>) =
                both.iter().filter_map(|(x, y)| Some((refused(*x)?, refused(*y)?))).unzip();
            let table = PairedTable::from_pairs(&a, &b)?;
            if table.n() == 0 {
                continue;
            }
            out.push(Agreement {
                first: first.to_string(),
                second: second.to_string(),
                cells: both.len(),
                same_label: both.iter().filter(|(x, y)| x == y).count() as f64 / both.len() as f64,
                table,
                flips: FlipRate::new(table, options.level)?,
            });
        }
    }
    Ok(out)
}

/// An answer, whatever setting it was given under.
fn answer(cell: &Cell) -> Option<(&str, &str, usize, usize, &str)> {
    let p = &cell.place;
    Some((&p.item_id, &p.arm, p.paraphrase, p.repeat, &cell.row.as_ref()?.output_ids_sha256))
}

/// The gap of two arms at a setting corrected by hand labels, for every judge that is no person; what could not be computed is said in
/// words. A person labels an answer once: the same answer under another setting has the same label. Samples are drawn within arm and
/// lexical label, so that those are the strata.
pub fn corrected(
    evidence: &Evidence,
    arms: [&str; 2],
    setting: &Factors,
    options: &Options,
) -> (Vec<Corrected>, Vec<String>) {
    let (mut out, mut notes) = (Vec::new(), Vec::new());
    let Some(hand) = evidence.labels.get(HAND).filter(|l| !l.by_cell.is_empty()) else { return (out, notes) };
    let by_answer: BTreeMap<_, Label> =
        evidence.cells.iter().filter_map(|c| Some((answer(c)?, *hand.by_cell.get(&c.place.cell_id)?))).collect();
    let drawn_by = evidence.labels.get(LEXICAL);
    let stratum = |cell: &Cell| {
        let label = drawn_by.and_then(|l| l.by_cell.get(&cell.place.cell_id));
        label.and_then(|l| Label::ALL.iter().position(|k| k == l)).map_or(0, |at| at + 1)
    };
    let cells: Vec<_> =
        evidence.cells.iter().filter(|c| arms.contains(&c.place.arm.as_str()) && c.place.factors == *setting).collect();
    let clusters = cluster_codes(&cells.iter().map(|c| c.place.cluster_id.as_str()).collect::<Vec<_>>());
    for (name, labels) in evidence.labels.iter().filter(|(name, _)| *name != HAND) {
        let refused = |l: &Label| options.endpoint.refused(*l);
        let judged: Vec<JudgedCell> = cells
            .iter()
            .zip(&clusters)
            .filter_map(|(cell, cluster)| {
                Some(JudgedCell {
                    second: cell.place.arm == arms[1],
                    cluster: *cluster,
                    judged: refused(labels.by_cell.get(&cell.place.cell_id)?)?,
                    stratum: stratum(cell),
                    hand: answer(cell).and_then(|a| by_answer.get(&a)).and_then(refused),
                })
            })
            .collect();
        match judge_corrected(&judged, &options.resampling()) {
            Ok(correction) => {
                out.push(Corrected { judge: name.clone(), arms: arms.map(str::to_string), correction });
            }
            Err(e) => {
                notes.push(format!("the gap of `{}` and `{}` by {name} could not be corrected: {e}", arms[0], arms[1]))
            }
        }
    }
    (out, notes)
}
