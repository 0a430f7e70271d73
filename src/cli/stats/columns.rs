//! Columns of JSON-lines files for `probity stats`: one row a line, wide (`--x A --y B`) or long
//! (`--value V --x-where arm=a --y-where arm=b --pair-by item`).

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;

use serde_json::Value;

use crate::cli::Usage;
use crate::stats::cluster_codes;

/// What is wrong with a row, and where.
#[derive(Debug, thiserror::Error)]
pub enum ColumnError {
    #[error("{file}: {source}")]
    Open { file: String, source: std::io::Error },
    #[error("{file} line {line}: not readable as text: {source}")]
    Read { file: String, line: usize, source: std::io::Error },
    #[error("{file} line {line}: not JSON: {source}")]
    Json { file: String, line: usize, source: serde_json::Error },
    #[error("{file} line {line}: a row must be a JSON object")]
    Row { file: String, line: usize },
    #[error("{file} line {line}: no column {column:?}; the row has {present}")]
    Missing { file: String, line: usize, column: String, present: String },
    #[error("{file} line {line}: column {column:?} is {found}, expected {expected}")]
    Kind { file: String, line: usize, column: String, found: String, expected: &'static str },
    #[error("{file}: no row matches {what}")]
    NoRow { file: String, what: String },
    #[error(
        "{file} lines {first} and {line}: both are {side} of {key}; add a column to --pair-by, or --mean to average them"
    )]
    Repeated { file: String, first: usize, line: usize, side: &'static str, key: String },
    #[error(
        "{file} line {line}: {key} has no row on the other side ({unpaired} such in all); --drop-unpaired leaves them out"
    )]
    Unpaired { file: String, line: usize, key: String, unpaired: usize },
    #[error("{file} line {line}: {column:?} is {found} here but {other} in the row it is paired with")]
    Disagree { file: String, line: usize, column: String, found: String, other: String },
}

type Boxed<T> = Result<T, Box<dyn std::error::Error>>;

/// `KEY=VALUE`: the column must have that value, compared as text.
#[derive(Debug, Clone)]
pub struct Condition {
    column: String,
    value: String,
}

fn condition(text: &str) -> Result<Condition, String> {
    match text.split_once('=') {
        Some((column, value)) if !column.is_empty() => Ok(Condition { column: column.into(), value: value.into() }),
        _ => Err("expected COLUMN=VALUE".into()),
    }
}

/// Where values come from. A column may be a dotted path into nested objects; true and false count as 1 and 0.
#[derive(Debug, Clone, Default, clap::Args)]
pub struct RowArgs {
    /// Rows, one JSON object a line
    #[arg(long, value_name = "FILE")]
    jsonl: Option<PathBuf>,
    /// Column of x (wide rows), or of the values of a one-sample test
    #[arg(long, value_name = "COLUMN", requires = "jsonl")]
    x: Option<String>,
    /// Column of y (wide rows)
    #[arg(long, value_name = "COLUMN", requires = "x")]
    y: Option<String>,
    /// Column of the values (long rows)
    #[arg(long, value_name = "COLUMN", requires = "jsonl", conflicts_with = "x")]
    value: Option<String>,
    /// Which long rows are x; may be repeated
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = condition, requires = "value")]
    x_where: Vec<Condition>,
    /// Which long rows are y; may be repeated
    #[arg(long, value_name = "COLUMN=VALUE", value_parser = condition, requires = "value")]
    y_where: Vec<Condition>,
    /// Columns that together identify a pair (long rows)
    #[arg(long, value_name = "COLUMN", value_delimiter = ',', requires = "value")]
    pair_by: Vec<String>,
    /// Average long rows that share a pair
    #[arg(long, requires = "pair_by")]
    mean: bool,
    /// Leave out long rows without a partner instead of refusing them
    #[arg(long, requires = "pair_by")]
    drop_unpaired: bool,
    /// Use only these rows; may be repeated
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = condition, requires = "jsonl")]
    only: Vec<Condition>,
    /// Take the natural logarithm of every value
    #[arg(long, requires = "jsonl")]
    log: bool,
    /// Turn every value into an outcome: 1 where it is at least this, else 0
    #[arg(long, value_name = "NUMBER", requires = "jsonl", conflicts_with = "log", allow_negative_numbers = true)]
    at_least: Option<f64>,
}

/// One row with its place in the file.
struct Row {
    line: usize,
    value: Value,
}

/// Parallel values of a paired or one-sample test, with the labels that were asked for.
pub struct Paired {
    pub x: Vec<f64>,
    /// Empty for one sample.
    pub y: Vec<f64>,
    /// One vector of group codes per label column, parallel to `x`.
    pub labels: Vec<Vec<usize>>,
    /// Pairs left out by `--drop-unpaired`.
    pub dropped: usize,
}

impl Paired {
    /// x - y, or x where there is no y.
    pub fn differences(&self) -> Vec<f64> {
        if self.y.is_empty() { self.x.clone() } else { self.x.iter().zip(&self.y).map(|(a, b)| a - b).collect() }
    }
}

/// The file being read, for messages.
struct Reader<'a> {
    file: String,
    args: &'a RowArgs,
}

impl RowArgs {
    /// True where a file was named.
    pub fn given(&self) -> bool {
        self.jsonl.is_some()
    }

    fn open(&self) -> Boxed<(Reader<'_>, Vec<Row>)> {
        let path = self.jsonl.as_ref().ok_or_else(|| Usage("give --jsonl FILE with --x and --y, or counts".into()))?;
        let file = path.display().to_string();
        let handle = File::open(path).map_err(|source| ColumnError::Open { file: file.clone(), source })?;
        let reader = Reader { file, args: self };
        let mut rows = Vec::new();
        for (i, text) in BufReader::new(handle).lines().enumerate() {
            let line = i + 1;
            let text = text.map_err(|source| ColumnError::Read { file: reader.file.clone(), line, source })?;
            if text.trim().is_empty() {
                continue;
            }
            let value: Value = serde_json::from_str(&text).map_err(|source| ColumnError::Json {
                file: reader.file.clone(),
                line,
                source,
            })?;
            if !value.is_object() {
                return Err(ColumnError::Row { file: reader.file.clone(), line }.into());
            }
            let row = Row { line, value };
            if reader.matches(&row, &self.only)? {
                rows.push(row);
            }
        }
        if rows.is_empty() {
            return Err(reader.no_row("--where").into());
        }
        Ok((reader, rows))
    }

    /// Pairs (or single values where only `--x` is given), with `labels` columns coded 0, 1, ...
    pub fn paired(&self, labels: &[&str]) -> Boxed<Paired> {
        let (reader, rows) = self.open()?;
        let paired = match (&self.x, &self.value) {
            (Some(x), _) => reader.wide(&rows, x, self.y.as_deref(), labels)?,
            (None, Some(value)) => reader.long(&rows, value, labels)?,
            (None, None) => {
                return Err(Usage("name the values: --x COLUMN [--y COLUMN], or --value COLUMN".into()).into());
            }
        };
        Ok(paired)
    }

    /// Two paired samples; refuses a single one.
    pub fn pairs(&self) -> Boxed<Paired> {
        if self.x.is_some() && self.y.is_none() {
            return Err(Usage("a paired test needs --y COLUMN too".into()).into());
        }
        if self.value.is_some() && self.y_where.is_empty() {
            return Err(Usage("a paired test needs --x-where, --y-where and --pair-by".into()).into());
        }
        self.paired(&[])
    }

    /// Two independent samples.
    pub fn samples(&self) -> Boxed<(Vec<f64>, Vec<f64>)> {
        let Some(value) = &self.value else {
            let p = self.pairs()?;
            return Ok((p.x, p.y));
        };
        if self.x_where.is_empty() || self.y_where.is_empty() {
            return Err(Usage("two samples of --value need --x-where and --y-where".into()).into());
        }
        let (reader, rows) = self.open()?;
        let pick = |side: &'static str, conditions: &[Condition]| -> Result<Vec<f64>, ColumnError> {
            let mut out = Vec::new();
            for row in &rows {
                if reader.matches(row, conditions)? {
                    out.push(reader.number(row, value)?);
                }
            }
            if out.is_empty() { Err(reader.no_row(side)) } else { Ok(out) }
        };
        Ok((pick("--x-where", &self.x_where)?, pick("--y-where", &self.y_where)?))
    }

    /// Numbers of two columns and the truth of a third, row by row.
    pub fn scores(
        &self,
        first: &str,
        second: Option<&str>,
        label: &str,
        positive: Option<&str>,
    ) -> Boxed<(Vec<f64>, Vec<f64>, Vec<bool>)> {
        let columns = self.columns()?;
        let a = columns.numbers(first)?;
        let b = second.map(|c| columns.numbers(c)).transpose()?.unwrap_or_default();
        let truth = columns.truths(label, positive)?;
        Ok((a, b, truth))
    }
}

/// Rows of a file, read column by column.
pub struct Columns<'a> {
    reader: Reader<'a>,
    rows: Vec<Row>,
}

impl RowArgs {
    /// Access to any column of the rows kept.
    pub fn columns(&self) -> Boxed<Columns<'_>> {
        let (reader, rows) = self.open()?;
        Ok(Columns { reader, rows })
    }
}

impl Columns<'_> {
    /// Numbers, with `--log` and `--at-least` applied.
    pub fn numbers(&self, column: &str) -> Result<Vec<f64>, ColumnError> {
        self.rows.iter().map(|row| self.reader.number(row, column)).collect()
    }

    /// Numbers as they stand.
    pub fn plain(&self, column: &str) -> Result<Vec<f64>, ColumnError> {
        let one = |row| self.reader.plain(row, column, self.reader.field(row, column)?);
        self.rows.iter().map(one).collect()
    }

    /// Truth of a column, or whether it has the value `positive`.
    pub fn truths(&self, column: &str, positive: Option<&str>) -> Result<Vec<bool>, ColumnError> {
        let one = |row| match positive {
            Some(value) => Ok(text_of(self.reader.field(row, column)?) == value),
            None => self.reader.truth(row, column),
        };
        self.rows.iter().map(one).collect()
    }

    /// Values as codes 0, 1, ... in order of first appearance.
    pub fn codes(&self, column: &str) -> Result<Vec<usize>, ColumnError> {
        let names: Result<Vec<String>, _> =
            self.rows.iter().map(|r| self.reader.field(r, column).map(text_of)).collect();
        Ok(cluster_codes(&names?))
    }

    /// Numbers of several columns row by row, lists laid end to end, and how many a row has.
    pub fn features(&self, columns: &[String]) -> Result<(Vec<f64>, usize), ColumnError> {
        let (mut out, mut width) = (Vec::new(), 0);
        for (i, row) in self.rows.iter().enumerate() {
            let start = out.len();
            for column in columns {
                let found = self.reader.field(row, column)?;
                match found.as_array() {
                    Some(items) => {
                        for item in items {
                            out.push(self.reader.plain(row, column, item)?);
                        }
                    }
                    None => out.push(self.reader.plain(row, column, found)?),
                }
            }
            let here = out.len() - start;
            if i == 0 {
                width = here;
            } else if here != width {
                let found = &Value::from(format!("part of {here} features, but the first row has {width}"));
                return Err(self.reader.kind(row, &columns.join(", "), found, "as many numbers in every row"));
            }
        }
        Ok((out, width))
    }
}

/// Values that must be 0 or 1.
pub fn outcomes(values: &[f64]) -> Boxed<Vec<bool>> {
    match values.iter().find(|v| **v != 0.0 && **v != 1.0) {
        Some(v) => Err(Usage(format!(
            "the columns of this test must hold true, false, 0 or 1; found {v} (--at-least makes outcomes)"
        ))
        .into()),
        None => Ok(values.iter().map(|v| *v == 1.0).collect()),
    }
}

fn text_of(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), Into::into)
}

impl Reader<'_> {
    fn no_row(&self, what: &str) -> ColumnError {
        ColumnError::NoRow { file: self.file.clone(), what: what.into() }
    }

    /// A column: the key itself, else a dotted path.
    fn field<'v>(&self, row: &'v Row, column: &str) -> Result<&'v Value, ColumnError> {
        let direct = row.value.get(column);
        let found = direct.or_else(|| column.split('.').try_fold(&row.value, |at, key| at.get(key)));
        found.ok_or_else(|| ColumnError::Missing {
            file: self.file.clone(),
            line: row.line,
            column: column.into(),
            present: row
                .value
                .as_object()
                .map(|o| o.keys().cloned().collect::<Vec<_>>().join(", "))
                .unwrap_or_default(),
        })
    }

    fn kind(&self, row: &Row, column: &str, found: &Value, expected: &'static str) -> ColumnError {
        let mut found = found.to_string();
        if found.chars().count() > 60 {
            found = found.chars().take(60).chain("…".chars()).collect();
        }
        ColumnError::Kind { file: self.file.clone(), line: row.line, column: column.into(), found, expected }
    }

    /// A number, true or false, as it stands.
    fn plain(&self, row: &Row, column: &str, found: &Value) -> Result<f64, ColumnError> {
        let number = found.as_bool().map(|b| f64::from(u8::from(b))).or_else(|| found.as_f64());
        number.filter(|v| v.is_finite()).ok_or_else(|| self.kind(row, column, found, "a number, true or false"))
    }

    /// [`Reader::plain`] with `--log` or `--at-least` applied.
    fn number(&self, row: &Row, column: &str) -> Result<f64, ColumnError> {
        let found = self.field(row, column)?;
        let value = self.plain(row, column, found)?;
        match self.args.at_least {
            Some(bound) => Ok(f64::from(u8::from(value >= bound))),
            None if !self.args.log => Ok(value),
            None if value > 0.0 => Ok(value.ln()),
            None => Err(self.kind(row, column, found, "a number above 0, because of --log")),
        }
    }

    fn truth(&self, row: &Row, column: &str) -> Result<bool, ColumnError> {
        let found = self.field(row, column)?;
        match (found.as_bool(), found.as_f64()) {
            (Some(b), _) => Ok(b),
            (_, Some(v)) if v == 0.0 || v == 1.0 => Ok(v == 1.0),
            _ => Err(self.kind(row, column, found, "true, false, 0 or 1 (or name the positive value: --positive)")),
        }
    }

    fn matches(&self, row: &Row, conditions: &[Condition]) -> Result<bool, ColumnError> {
        for c in conditions {
            if text_of(self.field(row, &c.column)?) != c.value {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn wide(&self, rows: &[Row], x: &str, y: Option<&str>, labels: &[&str]) -> Result<Paired, ColumnError> {
        let mut out = Paired { x: Vec::new(), y: Vec::new(), labels: Vec::new(), dropped: 0 };
        let mut names = vec![Vec::new(); labels.len()];
        for row in rows {
            out.x.push(self.number(row, x)?);
            if let Some(y) = y {
                out.y.push(self.number(row, y)?);
            }
            for (column, seen) in labels.iter().zip(&mut names) {
                seen.push(text_of(self.field(row, column)?));
            }
        }
        out.labels = names.iter().map(|n| cluster_codes(n)).collect();
        Ok(out)
    }

    /// Long rows. Without `--y-where` every matching row is one value; with it rows meet by `--pair-by`, in the order in
    /// which pairs first appear.
    fn long(&self, rows: &[Row], value: &str, labels: &[&str]) -> Boxed<Paired> {
        let args = self.args;
        if args.y_where.is_empty() {
            let mut kept = Vec::new();
            for row in rows {
                if self.matches(row, &args.x_where)? {
                    kept.push(Row { line: row.line, value: row.value.clone() });
                }
            }
            if kept.is_empty() {
                return Err(self.no_row("--x-where").into());
            }
            return Ok(self.wide(&kept, value, None, labels)?);
        }
        if args.x_where.is_empty() || args.pair_by.is_empty() {
            return Err(Usage("pairs of --value need --x-where, --y-where and --pair-by".into()).into());
        }
        let mut places: BTreeMap<Vec<String>, usize> = BTreeMap::new();
        let mut cells: Vec<Cell> = Vec::new();
        for row in rows {
            for (side, conditions) in [(0, &args.x_where), (1, &args.y_where)] {
                if !self.matches(row, conditions)? {
                    continue;
                }
                let key =
                    args.pair_by.iter().map(|c| self.field(row, c).map(text_of)).collect::<Result<Vec<_>, _>>()?;
                let names = labels.iter().map(|c| self.field(row, c).map(text_of)).collect::<Result<Vec<_>, _>>()?;
                let place = *places.entry(key.clone()).or_insert(cells.len());
                if place == cells.len() {
                    cells.push(Cell {
                        key: key.join(", "),
                        line: row.line,
                        names: names.clone(),
                        sides: Default::default(),
                    });
                }
                let cell = &mut cells[place];
                if let Some(i) = (0..names.len()).find(|&i| names[i] != cell.names[i]) {
                    return Err(ColumnError::Disagree {
                        file: self.file.clone(),
                        line: row.line,
                        column: labels[i].into(),
                        found: names[i].clone(),
                        other: cell.names[i].clone(),
                    }
                    .into());
                }
                let at = &mut cell.sides[side];
                if at.count > 0.0 && !args.mean {
                    return Err(ColumnError::Repeated {
                        file: self.file.clone(),
                        first: at.line,
                        line: row.line,
                        side: ["x", "y"][side],
                        key: cell.key.clone(),
                    }
                    .into());
                }
                at.sum += self.number(row, value)?;
                at.count += 1.0;
                at.line = row.line;
            }
        }
        let lonely = cells.iter().filter(|c| !c.complete()).count();
        if let Some(cell) = cells.iter().find(|c| !c.complete())
            && !args.drop_unpaired
        {
            let (file, key) = (self.file.clone(), cell.key.clone());
            return Err(ColumnError::Unpaired { file, line: cell.line, key, unpaired: lonely }.into());
        }
        cells.retain(Cell::complete);
        if cells.is_empty() {
            return Err(self.no_row("both --x-where and --y-where").into());
        }
        let side = |k: usize| cells.iter().map(|c| c.sides[k].sum / c.sides[k].count).collect();
        let codes = |i: usize| cluster_codes(&cells.iter().map(|c| c.names[i].as_str()).collect::<Vec<_>>());
        Ok(Paired { x: side(0), y: side(1), labels: (0..labels.len()).map(codes).collect(), dropped: lonely })
    }
}

/// Rows of one pair.
struct Cell {
    key: String,
    line: usize,
    names: Vec<String>,
    sides: [Side; 2],
}

impl Cell {
    fn complete(&self) -> bool {
        self.sides.iter().all(|s| s.count > 0.0)
    }
}

#[derive(Default)]
struct Side {
    sum: f64,
    count: f64,
    line: usize,
}
