//! The report of a run: one self-contained `report.html`, and every figure and table as a file of its own.
//!
//! A run folder (see [`crate::battery::record`]) is read as it is; nothing is computed anew except counts of rows. The page
//! loads nothing from anywhere, can be read whole without its one script (which only filters transcripts), and is at most 10 MB.

mod axis;
pub mod beside;
mod csv;
mod curves;
mod figures;
mod html;
mod methods;
mod number;
mod page;
mod pair;
mod palette;
mod published;
mod read;
mod rules;
mod sections;
mod svg;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;
mod transcripts;
mod verdicts;

pub use pair::{PairWritten, write_pair};

use std::path::{Path, PathBuf};

use crate::battery::record::Outcome;
use crate::durable;

/// Bytes that `report.html` may have.
pub const MAX_BYTES: usize = 10_000_000;

/// Why a report could not be written.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    #[error("{path}: no manifest.json there: give the folder that `probity battery` printed")]
    NotARun { path: PathBuf },
    #[error("{path}: {source}")]
    Io { path: PathBuf, source: std::io::Error },
    #[error(
        "{path}, line {line}: {detail}. If the run was cut off while writing, let `probity battery` go on with it; else restore the file"
    )]
    Parse { path: PathBuf, line: usize, detail: String },
    #[error(transparent)]
    Pair(Box<crate::pair::error::PairError>),
    /// Pieces of different runs lie in one folder.
    #[error(
        "{a} and {b} do not belong together: {detail}. A report never mixes runs: let `probity battery` go on in this folder, or move the file away"
    )]
    Mixed { a: PathBuf, b: PathBuf, detail: String },
    /// Runs that cannot stand on one page.
    #[error("runs side by side: {detail}")]
    Apart { detail: String },
}

impl From<crate::pair::error::PairError> for ReportError {
    fn from(e: crate::pair::error::PairError) -> Self {
        Self::Pair(Box::new(e))
    }
}

impl ReportError {
    pub(crate) fn io(path: &Path) -> impl FnOnce(std::io::Error) -> Self + '_ {
        move |source| Self::Io { path: path.to_path_buf(), source }
    }
}

/// What was written.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Written {
    /// `report.html`.
    pub report: PathBuf,
    pub bytes: usize,
    /// Title of the page: the answer in one line.
    pub answer: String,
    /// Test folder and its outcome; `None` = not run yet.
    pub outcomes: Vec<(String, Option<Outcome>)>,
    /// Health checks that failed, and those that fail because a training did what it is paid for.
    pub failed_checks: usize,
    pub by_design_checks: usize,
    pub figures: Vec<PathBuf>,
    pub tables: Vec<PathBuf>,
}

/// Writes `report.html`, `figures/<id>.{svg,csv}` and `tables/*.csv` into the run folder and returns the path of the page.
///
/// Pieces that are missing because the run is not finished are shown as such. Errors: see [`ReportError`].
pub fn write(run_dir: &Path) -> Result<PathBuf, ReportError> {
    Ok(write_all(run_dir)?.report)
}

/// As [`write`], and says what was written. `figures/` and `tables/` belong to the report: what an earlier one left is removed.
pub fn write_all(run_dir: &Path) -> Result<Written, ReportError> {
    let run = read::read(run_dir)?;
    let mut budget = transcripts::Budget { rows: transcripts::MAX_ROWS, bytes: transcripts::MAX_BYTES };
    let mut page = page::build(&run, budget);
    while page.html.len() > MAX_BYTES && budget.rows > 0 {
        budget = transcripts::Budget { rows: budget.rows / 2, bytes: budget.bytes / 2 };
        page = page::build(&run, budget);
    }

    let figures_dir = run_dir.join("figures");
    let tables_dir = run_dir.join("tables");
    for dir in [&figures_dir, &tables_dir] {
        clear(dir)?;
    }
    let (mut figures, mut tables) = (Vec::new(), Vec::new());
    for d in &page.figures {
        figures.push(save(&figures_dir.join(format!("{}.svg", d.id)), &d.file())?);
        save(&figures_dir.join(format!("{}.csv", d.id)), &d.csv)?;
    }
    for (name, text) in &page.tables {
        tables.push(save(&tables_dir.join(name), text)?);
    }
    // last, and in one go: a page that is there is whole
    let report = run_dir.join("report.html");
    durable::write(&report, page.html.as_bytes()).map_err(|e| ReportError::io(&e.path)(e.source))?;
    Ok(Written {
        report,
        bytes: page.html.len(),
        answer: page.answer,
        outcomes: run.tests.iter().map(|t| (t.id.clone(), t.result.as_ref().map(|r| r.verdict.outcome))).collect(),
        failed_checks: page.failed_checks,
        by_design_checks: page.by_design_checks,
        figures,
        tables,
    })
}

fn save(path: &Path, text: &str) -> Result<PathBuf, ReportError> {
    std::fs::write(path, text).map_err(ReportError::io(path))?;
    Ok(path.to_path_buf())
}

/// Makes the folder and removes the SVG and CSV files in it.
fn clear(dir: &Path) -> Result<(), ReportError> {
    std::fs::create_dir_all(dir).map_err(ReportError::io(dir))?;
    for entry in std::fs::read_dir(dir).map_err(ReportError::io(dir))? {
        let path = entry.map_err(ReportError::io(dir))?.path();
        if path.extension().is_some_and(|e| e == "svg" || e == "csv") {
            std::fs::remove_file(&path).map_err(ReportError::io(&path))?;
        }
    }
    Ok(())
}
