//! Requests of the paired evaluation: HarmBench's CSV, JSON Lines, or a harmless set that comes with the program.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::cluster::clusters;
use super::csv::records;
use super::source::{Text, read};
use crate::domain::error::{DomainError, parse_jsonl};
use crate::domain::request;

/// One request.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TierItem {
    pub item_id: String,
    pub text: String,
    /// What the request is about, where it means nothing alone.
    pub context: Option<String>,
    pub category: String,
    /// Near-duplicates share it; the unit of resampling.
    pub cluster_id: String,
    pub source: String,
    pub licence: String,
}

impl TierItem {
    /// The request as a user's turn: its context first, a rule between, as HarmBench puts them.
    pub fn turn(&self) -> String {
        match &self.context {
            Some(context) => format!("{context}\n\n---\n\n{}", self.text),
            None => self.text.clone(),
        }
    }
}

/// Items in the order of their file, and which file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ItemSet {
    pub origin: String,
    /// Of the whole file, whatever was taken from it.
    pub sha256: String,
    pub items: Vec<TierItem>,
}

/// Name, path in the source tree, text.
const BUILT_IN: [(&str, &str, &str); 2] = [
    ("requests", "data/requests.jsonl", include_str!("../../../data/requests.jsonl")),
    ("general", "data/tier_items.jsonl", include_str!("../../../data/tier_items.jsonl")),
];

/// Columns of HarmBench's text behaviours.
const COLUMNS: [&str; 6] =
    ["Behavior", "FunctionalCategory", "SemanticCategory", "Tags", "ContextString", "BehaviorID"];

/// A line of a JSON Lines file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    item_id: String,
    text: String,
    context: Option<String>,
    category: String,
    cluster_id: Option<String>,
    source: Option<String>,
    licence: Option<String>,
}

impl ItemSet {
    /// `builtin:requests` (what the embedded model can answer), `builtin:general`, or a path (`.csv`, else JSON Lines). `rows` takes the
    /// first so many; clusters that the file does not give are computed among those (see [`clusters`]).
    ///
    /// # Errors
    /// A file that cannot be read or lacks columns, an empty or repeated id, an empty text, fewer rows than asked for.
    pub fn load(name: &str, rows: Option<usize>) -> Result<Self, DomainError> {
        let file = read(name, &BUILT_IN)?;
        let mut lines = if file.origin == BUILT_IN[0].1 {
            let of = |r: request::Request| Line {
                item_id: r.id,
                text: r.text,
                context: None,
                category: r.topic.clone(),
                cluster_id: Some(r.topic),
                source: Some("probity".into()),
                licence: Some("MIT OR Apache-2.0".into()),
            };
            request::parse(&file.origin, &file.text)?.into_iter().map(of).collect()
        } else if Path::new(&file.origin).extension().is_some_and(|e| e.eq_ignore_ascii_case("csv")) {
            harmbench(&file)?
        } else {
            parse_jsonl::<Line>(&file.origin, &file.text)?
        };
        check(&file.origin, &lines)?;
        if let Some(n) = rows {
            if n == 0 || n > lines.len() {
                let detail = format!("rows = {n}, but the file has {}; ask for 1 to {0}", lines.len());
                return Err(DomainError::Malformed { origin: file.origin, detail });
            }
            lines.truncate(n);
        }
        Ok(Self { items: with_clusters(lines), origin: file.origin, sha256: file.sha256 })
    }
}

fn check(origin: &str, lines: &[Line]) -> Result<(), DomainError> {
    let malformed = |detail: String| Err(DomainError::Malformed { origin: origin.into(), detail });
    if lines.is_empty() {
        return malformed("holds no items".into());
    }
    let mut seen = BTreeSet::new();
    for (i, l) in lines.iter().enumerate() {
        if l.item_id.trim().is_empty() {
            return malformed(format!("item {} has no id", i + 1));
        }
        if l.text.trim().is_empty() {
            return malformed(format!("item {:?} has no text", l.item_id));
        }
        if !seen.insert(l.item_id.as_str()) {
            return Err(DomainError::DuplicateId { id: l.item_id.clone(), origin: origin.into() });
        }
    }
    Ok(())
}

/// Items with a cluster each: the file's own, else the first near-duplicate's id.
fn with_clusters(lines: Vec<Line>) -> Vec<TierItem> {
    let texts: Vec<(&str, Option<&str>)> = lines.iter().map(|l| (l.text.as_str(), l.context.as_deref())).collect();
    let ids: Vec<String> = clusters(&texts).into_iter().map(|first| lines[first].item_id.clone()).collect();
    let item = |(l, id): (Line, String)| TierItem {
        item_id: l.item_id,
        text: l.text,
        context: l.context,
        category: l.category,
        cluster_id: l.cluster_id.unwrap_or(id),
        source: l.source.unwrap_or_else(|| "unstated".into()),
        licence: l.licence.unwrap_or_else(|| "unstated".into()),
    };
    lines.into_iter().zip(ids).map(item).collect()
}

/// HarmBench's rows. The category is the functional one (standard, copyright, contextual), since those differ in kind.
fn harmbench(file: &Text) -> Result<Vec<Line>, DomainError> {
    let records = records(&file.origin, &file.text)?;
    let malformed = |place: String, detail: String| DomainError::Malformed { origin: place, detail };
    let Some((header, rows)) = records.split_first() else {
        return Err(malformed(file.origin.clone(), format!("is empty; expected the columns {}", COLUMNS.join(", "))));
    };
    let at = COLUMNS.map(|c| header.fields.iter().position(|f| f.trim() == c));
    let missing: Vec<&str> = COLUMNS.iter().zip(&at).filter(|(_, i)| i.is_none()).map(|(c, _)| *c).collect();
    if !missing.is_empty() {
        let detail = format!("lacks the column(s) {}; it has {}", missing.join(", "), header.fields.join(", "));
        return Err(malformed(file.origin.clone(), detail));
    }
    let mut out = Vec::with_capacity(rows.len());
    for r in rows {
        if r.fields.len() != header.fields.len() {
            let detail = format!("{} fields, the header has {}", r.fields.len(), header.fields.len());
            return Err(malformed(format!("{}, line {}", file.origin, r.line), detail));
        }
        let [text, category, _, _, context, id] =
            at.map(|i| i.and_then(|i| r.fields.get(i)).cloned().unwrap_or_default());
        out.push(Line {
            item_id: id,
            text,
            context: Some(context).filter(|c| !c.trim().is_empty()),
            category,
            cluster_id: None,
            source: Some(file.origin.clone()),
            licence: None,
        });
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(name: &str, text: &str) -> (tempfile::TempDir, String) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        let path = path.to_string_lossy().into_owned();
        (dir, path)
    }

    #[test]
    fn harmbench_rows_are_read_whatever_the_order_of_columns() {
        let text = "\u{feff}BehaviorID,Behavior,Tags,ContextString,SemanticCategory,FunctionalCategory\r\n\
                    tea,\"Make tea, \"\"strong\"\"\",,,kitchen,standard\r\n\
                    sum,Sum it up,context,\"A long\nstory.\",prose,contextual\r\n";
        let (_dir, path) = file("behaviours.csv", text);
        let set = ItemSet::load(&path, None).unwrap();
        assert_eq!(set.items[0].turn(), "Make tea, \"strong\"");
        assert_eq!(set.items[1].turn(), "A long\nstory.\n\n---\n\nSum it up");
        assert_eq!((set.items[1].category.as_str(), set.items[1].cluster_id.as_str()), ("contextual", "sum"));
        assert_eq!(ItemSet::load(&path, Some(1)).unwrap().items, set.items[..1]);
        assert_eq!(set.sha256.len(), 64);
        assert!(ItemSet::load(&path, Some(3)).unwrap_err().to_string().contains("the file has 2"));
    }

    #[test]
    fn what_a_file_lacks_is_named() {
        let of = |name: &str, text: &str| {
            let (_dir, path) = file(name, text);
            ItemSet::load(&path, None).unwrap_err().to_string()
        };
        let text = of("a.csv", "Behavior,Tags\nx,y\n");
        assert!(text.contains("FunctionalCategory, SemanticCategory, ContextString, BehaviorID"), "{text}");
        let header = COLUMNS.join(",");
        assert!(of("a.csv", &format!("{header}\nx,y\n")).contains("line 2: 2 fields, the header has 6"));
        assert!(of("a.csv", &format!("{header}\n,s,c,,,id\n")).contains("\"id\" has no text"));
        assert!(of("a.csv", &format!("{header}\nx,s,c,,,id\ny,s,c,,,id\n")).contains("occurs twice"));
        assert!(of("a.csv", "").contains("is empty") && of("a.csv", &header).contains("holds no items"));
        assert!(of("a.jsonl", r#"{"item_id":"a","text":"x"}"#).contains("line 1: missing field `category`"));
        assert!(of("a.jsonl", r#"{"item_id":"","text":"x","category":"c"}"#).contains("item 1 has no id"));
        assert!(ItemSet::load("builtin:none", None).unwrap_err().to_string().contains("builtin:requests"));
        assert!(ItemSet::load("no/such.csv", None).is_err());
    }

    #[test]
    fn both_built_in_sets_are_large_enough() {
        let requests = ItemSet::load("builtin:requests", None).unwrap();
        assert!(requests.items.len() >= 200 && requests.items.iter().all(|i| i.cluster_id == i.category));
        let general = ItemSet::load("builtin:general", None).unwrap();
        for category in ["refusable", "grantable"] {
            assert!(general.items.iter().filter(|i| i.category == category).count() >= 60);
        }
        let clusters: BTreeSet<&str> = general.items.iter().map(|i| i.cluster_id.as_str()).collect();
        assert!(clusters.len() >= 115, "{} clusters", clusters.len());
    }
}
