//! Task files in the study's JSON format: writing, loading, and the refusal of overlapping splits.

use std::collections::BTreeSet;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::Family;
use crate::domain::error::read_utf8;
use crate::domain::{DomainError, Item, Split};

/// One row of a task file: the study's six fields, and two that the strict profile adds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    pub task_id: String,
    pub task_type: String,
    pub prompt: String,
    pub answer: String,
    /// Constants of the generator that nothing reads; kept because the study's files have them.
    pub min_tokens: u32,
    pub max_tokens: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub family: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub canonical: Option<String>,
}

impl Task {
    /// The unit of clustering: the stated canonical text, or the prompt with white space collapsed.
    pub fn canonical(&self) -> String {
        match &self.canonical {
            Some(text) => text.clone(),
            None => canonical_prompt(&self.prompt),
        }
    }

    pub fn family(&self) -> String {
        let of_id = || Family::of_id(&self.task_id).map(|f| f.name().to_string());
        self.family.clone().or_else(of_id).unwrap_or_else(|| self.task_type.clone())
    }

    pub fn item(&self) -> Item {
        Item {
            id: self.task_id.clone(),
            family: self.family(),
            canonical: self.canonical(),
            before: Vec::new(),
            said: None,
            claimed: None,
            prompt: self.prompt.clone(),
            truth: self.answer.clone(),
        }
    }
}

/// A prompt with white space collapsed: the unit of clustering where nothing better is stated.
pub fn canonical_prompt(prompt: &str) -> String {
    prompt.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Refuse two splits that share a canonical prompt, and an id that occurs twice.
pub fn check_disjoint(splits: &[Vec<Task>; 3]) -> Result<(), DomainError> {
    check_ids(splits)?;
    let prompts = splits.each_ref().map(|tasks| tasks.iter().map(Task::canonical).collect::<BTreeSet<_>>());
    for (i, j) in [(0, 1), (0, 2), (1, 2)] {
        let shared: Vec<&String> = prompts[i].intersection(&prompts[j]).collect();
        if let Some(example) = shared.first() {
            return Err(DomainError::Overlap {
                left: Split::ALL[i].name().into(),
                right: Split::ALL[j].name().into(),
                count: shared.len(),
                example: (*example).clone(),
            });
        }
    }
    Ok(())
}

fn check_ids(splits: &[Vec<Task>; 3]) -> Result<(), DomainError> {
    let mut seen = BTreeSet::new();
    for (split, tasks) in Split::ALL.iter().zip(splits) {
        for task in tasks {
            if !seen.insert(task.task_id.as_str()) {
                return Err(DomainError::DuplicateId {
                    id: task.task_id.clone(),
                    origin: format!("{} split", split.name()),
                });
            }
        }
    }
    Ok(())
}

/// The JSON text of a task file: two spaces of indentation and ASCII only, as the study's files are.
pub fn to_json(tasks: &[Task]) -> Result<String, DomainError> {
    let text = serde_json::to_string_pretty(tasks)
        .map_err(|e| DomainError::Malformed { origin: "tasks".into(), detail: e.to_string() })?;
    let mut ascii = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            ascii.push(c);
        } else {
            let mut units = [0u16; 2];
            for unit in c.encode_utf16(&mut units) {
                ascii.push_str(&format!("\\u{unit:04x}"));
            }
        }
    }
    Ok(ascii)
}

/// Parse one task file; `origin` names it in errors.
pub fn from_json(origin: &str, text: &str) -> Result<Vec<Task>, DomainError> {
    let tasks: Vec<Task> = serde_json::from_str(text)
        .map_err(|e| DomainError::Malformed { origin: origin.into(), detail: format!("not a list of tasks: {e}") })?;
    if tasks.is_empty() {
        return Err(DomainError::Malformed { origin: origin.into(), detail: "holds no tasks".into() });
    }
    Ok(tasks)
}

/// Write `train.json`, `val.json` and `test.json` (with a name prefix) into an existing folder.
pub fn write_dir(dir: &Path, prefix: &str, splits: &[Vec<Task>; 3]) -> Result<(), DomainError> {
    for (split, tasks) in Split::ALL.iter().zip(splits) {
        let path = dir.join(format!("{prefix}{}.json", split.name()));
        std::fs::write(&path, to_json(tasks)?).map_err(|source| DomainError::Write { path, source })?;
    }
    Ok(())
}

/// Load the three files of a folder. Overlapping splits are refused unless `allow_overlap` (the study's own files overlap).
pub fn load_dir(dir: &Path, allow_overlap: bool) -> Result<[Vec<Task>; 3], DomainError> {
    let load = |split: Split| {
        let path = dir.join(format!("{}.json", split.name()));
        from_json(&path.display().to_string(), &read_utf8(&path)?)
    };
    let splits = [load(Split::Train)?, load(Split::Val)?, load(Split::Test)?];
    if allow_overlap {
        check_ids(&splits)?
    } else {
        check_disjoint(&splits)?
    }
    Ok(splits)
}

#[cfg(test)]
mod tests {
    use super::super::config::Ranges;
    use super::super::paper;
    use super::*;

    #[test]
    fn the_paper_files_round_trip_and_are_refused_for_overlap() {
        let splits = paper::dataset(42, [1000, 200, 200], &Ranges::default()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        write_dir(dir.path(), "", &splits).unwrap();
        assert_eq!(load_dir(dir.path(), true).unwrap(), splits);
        let message = load_dir(dir.path(), false).unwrap_err().to_string();
        assert!(message.contains("train and val") && message.contains("regenerate"), "{message}");
    }

    #[test]
    fn bad_files_are_named_errors() {
        let dir = tempfile::tempdir().unwrap();
        let missing = load_dir(dir.path(), true).unwrap_err();
        assert!(matches!(missing, DomainError::Read { .. }), "{missing}");
        let path = dir.path().join("train.json");
        std::fs::write(&path, b"[{\"task_id\": \"a\xff\"}]").unwrap();
        assert!(matches!(load_dir(dir.path(), true).unwrap_err(), DomainError::NotUtf8 { at: 15, .. }));
        let row = r#"{"task_id":"a","task_type":"t","prompt":"p","answer":"1","min_tokens":1,"max_tokens":2}"#;
        for text in ["", "{}", "[]", "[{\"task_id\": 3}]", "[1"] {
            std::fs::write(&path, text).unwrap();
            assert!(matches!(load_dir(dir.path(), true).unwrap_err(), DomainError::Malformed { .. }), "{text:?}");
        }
        let twice = from_json("f", &format!("[{row},{row}]")).unwrap();
        let message = check_disjoint(&[twice, Vec::new(), Vec::new()]).unwrap_err().to_string();
        assert!(message.contains("\"a\" occurs twice"), "{message}");
    }
}
