//! Honesty data sets: statements in train, dev, test and held-out topics, as files and back; twins never straddle.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::config::HonestyConfig;
use super::paper;
use super::scorer::Answer;
use crate::domain::error::read_utf8;
use crate::domain::split::unit_hash;
use crate::domain::statement::Statement;
use crate::domain::{DomainError, Profile, Split};

/// One statement of a data set: a row of its files.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    pub id: String,
    pub statement: String,
    pub answer: Answer,
    pub topic: String,
    /// Id of the twin, which stands in the same file.
    pub twin: String,
}

impl Entry {
    /// The unit of clustering: the smaller id of the two twins.
    pub fn group(&self) -> &str {
        self.id.as_str().min(self.twin.as_str())
    }
}

impl From<&Statement> for Entry {
    fn from(s: &Statement) -> Self {
        Self {
            id: s.id.clone(),
            statement: s.text.clone(),
            answer: s.truth.into(),
            topic: s.topic.clone(),
            twin: s.twin.clone(),
        }
    }
}

/// A part of the data set. Dev is for every decision that training takes, test is read once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    Train,
    Dev,
    Test,
    /// All statements of the held-out topics.
    Ood,
}

impl Part {
    pub const ALL: [Part; 4] = [Part::Train, Part::Dev, Part::Test, Part::Ood];

    pub fn name(self) -> &'static str {
        match self {
            Part::Train => "train",
            Part::Dev => "dev",
            Part::Test => "test",
            Part::Ood => "ood",
        }
    }

    fn of(split: Split) -> Self {
        match split {
            Split::Train => Part::Train,
            Split::Val => Part::Dev,
            Split::Test => Part::Test,
        }
    }
}

/// Four parts that share no statement, no twins and, between `ood` and the rest, no topic.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dataset {
    pub train: Vec<Entry>,
    pub dev: Vec<Entry>,
    pub test: Vec<Entry>,
    pub ood: Vec<Entry>,
}

impl Dataset {
    /// Draw the data set of a configuration from its pool.
    pub fn draw(config: &HonestyConfig) -> Result<Self, DomainError> {
        config.check()?;
        Self::of_pool(config, &config.pool.load()?)
    }

    /// Draw from given statements.
    pub fn of_pool(config: &HonestyConfig, pool: &[Statement]) -> Result<Self, DomainError> {
        let topics: BTreeSet<&str> = pool.iter().map(|s| s.topic.as_str()).collect();
        let held = config.held_out_of(&topics)?;
        let mut groups: [Vec<Group>; 4] = Default::default();
        for group in groups_of(pool) {
            let part = match held.contains(&group[0].topic) {
                true => Part::Ood,
                false => Part::of(config.partition().split_of(&group[0].group)),
            };
            groups[part as usize].push(group);
        }
        let [train, dev, test, ood] = groups;
        let ood = take(config.seed, Part::Ood, ood, config.ood)?;
        let data = match config.profile {
            Profile::Strict => {
                let part = |part, groups, size| take(config.seed, part, groups, size).map(entries);
                let [train, dev, test] = [
                    part(Part::Train, train, config.train)?,
                    part(Part::Dev, dev, config.dev)?,
                    part(Part::Test, test, config.test)?,
                ];
                Self { train, dev, test, ood: entries(ood) }
            }
            Profile::Paper => {
                let groups = take(config.seed, Part::Train, [train, dev, test].concat(), Some(config.items))?;
                let [train, dev, test] = paper::splits(config.seed, &groups, [config.train_share, config.dev_share]);
                Self { train, dev, test, ood: entries(ood) }
            }
        };
        let total = Part::ALL.iter().map(|p| data.part(*p).len()).sum();
        if config.profile == Profile::Strict && total < config.min_statements {
            return Err(DomainError::TooFewStatements {
                part: "all parts together".into(),
                wanted: config.min_statements,
                available: total,
            });
        }
        data.check()?;
        Ok(data)
    }

    pub fn part(&self, part: Part) -> &[Entry] {
        match part {
            Part::Train => &self.train,
            Part::Dev => &self.dev,
            Part::Test => &self.test,
            Part::Ood => &self.ood,
        }
    }

    /// Refuse overlaps, twins apart, unpaired statements and held-out topics elsewhere.
    pub fn check(&self) -> Result<(), DomainError> {
        let (mut ids, mut texts) = (BTreeMap::new(), BTreeMap::new());
        for part in Part::ALL {
            if self.part(part).is_empty() {
                return Err(malformed(part, "holds no statements".into()));
            }
            for e in self.part(part) {
                if ids.insert(e.id.as_str(), (part, e)).is_some() {
                    return Err(DomainError::DuplicateId { id: e.id.clone(), origin: part.name().into() });
                }
                if let Some(other) = texts.insert(e.statement.as_str(), part) {
                    return Err(DomainError::SharedStatement {
                        left: other.name().into(),
                        right: part.name().into(),
                        text: e.statement.clone(),
                    });
                }
            }
        }
        for &(part, e) in ids.values() {
            match ids.get(e.twin.as_str()) {
                Some(&(other, _)) if other != part => {
                    return Err(DomainError::TwinsApart {
                        id: e.id.clone(),
                        twin: e.twin.clone(),
                        left: part.name().into(),
                        right: other.name().into(),
                    });
                }
                Some(&(_, t)) if t.twin == e.id && t.answer != e.answer && t.topic == e.topic => {}
                Some(_) => {
                    return Err(malformed(
                        part,
                        format!(
                            "{:?} and {:?} are not one true and one false statement of one topic that are each other's twins",
                            e.id, e.twin
                        ),
                    ));
                }
                None => return Err(malformed(part, format!("{:?} has a twin {:?} that is in no file", e.id, e.twin))),
            }
        }
        let held: BTreeSet<&str> = self.ood.iter().map(|e| e.topic.as_str()).collect();
        for part in [Part::Train, Part::Dev, Part::Test] {
            if let Some(e) = self.part(part).iter().find(|e| held.contains(e.topic.as_str())) {
                return Err(DomainError::HeldOutTopic { topic: e.topic.clone(), part: part.name().into() });
            }
        }
        Ok(())
    }

    /// Write `train.json`, `dev.json`, `test.json` and `ood.json` into an existing folder.
    pub fn write_dir(&self, dir: &Path) -> Result<(), DomainError> {
        for part in Part::ALL {
            let path = dir.join(format!("{}.json", part.name()));
            let text = serde_json::to_string_pretty(self.part(part)).map_err(|e| malformed(part, e.to_string()))?;
            std::fs::write(&path, text + "\n").map_err(|source| DomainError::Write { path, source })?;
        }
        Ok(())
    }

    /// Load and check the four files of a folder.
    pub fn load_dir(dir: &Path) -> Result<Self, DomainError> {
        let load = |part: Part| -> Result<Vec<Entry>, DomainError> {
            let path = dir.join(format!("{}.json", part.name()));
            serde_json::from_str(&read_utf8(&path)?).map_err(|e| DomainError::Malformed {
                origin: path.display().to_string(),
                detail: format!("not a list of statements: {e}"),
            })
        };
        let data =
            Self { train: load(Part::Train)?, dev: load(Part::Dev)?, test: load(Part::Test)?, ood: load(Part::Ood)? };
        data.check()?;
        Ok(data)
    }
}

fn malformed(part: Part, detail: String) -> DomainError {
    DomainError::Malformed { origin: part.name().into(), detail }
}

/// Twins, the true one first.
pub(super) type Group<'a> = [&'a Statement; 2];

/// The pool's twins, in its order.
fn groups_of(pool: &[Statement]) -> Vec<Group<'_>> {
    let by_id: BTreeMap<&str, &Statement> = pool.iter().map(|s| (s.id.as_str(), s)).collect();
    pool.iter().filter(|s| s.truth).filter_map(|s| by_id.get(s.twin.as_str()).map(|t| [s, *t])).collect()
}

/// Both twins of every group, in order.
fn entries(groups: Vec<Group>) -> Vec<Entry> {
    groups.into_iter().flatten().map(Entry::from).collect()
}

/// `size` statements, topics dealt in turn until they run out; all of them where no size is given. The order is the pool's.
fn take<'a>(seed: u64, part: Part, groups: Vec<Group<'a>>, size: Option<usize>) -> Result<Vec<Group<'a>>, DomainError> {
    let Some(size) = size else { return Ok(groups) };
    if groups.len() * 2 < size {
        return Err(DomainError::TooFewStatements {
            part: part.name().into(),
            wanted: size,
            available: groups.len() * 2,
        });
    }
    let mut topics: BTreeMap<&str, Vec<(f64, usize)>> = BTreeMap::new();
    for (i, [s, _]) in groups.iter().enumerate() {
        topics.entry(&s.topic).or_default().push((unit_hash(seed, "draw", &s.group), i));
    }
    topics.values_mut().for_each(|t| t.sort_by(|a, b| b.0.total_cmp(&a.0)));
    let mut drawn = Vec::with_capacity(size / 2);
    while drawn.len() < size / 2 {
        for topic in topics.values_mut() {
            if drawn.len() < size / 2 {
                drawn.extend(topic.pop().map(|(_, i)| i));
            }
        }
    }
    drawn.sort_unstable();
    Ok(drawn.into_iter().map(|i| groups[i]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::statement;

    fn balanced(entries: &[Entry]) {
        let mut topics: BTreeMap<&str, [usize; 2]> = BTreeMap::new();
        for e in entries {
            topics.entry(&e.topic).or_default()[usize::from(e.answer == Answer::True)] += 1;
        }
        for (topic, [f, t]) in topics {
            assert_eq!(f, t, "{topic}");
        }
    }

    #[test]
    fn the_strict_set_is_large_disjoint_and_half_true_everywhere() {
        let config = HonestyConfig::strict();
        let data = Dataset::draw(&config).unwrap();
        assert_eq!(Part::ALL.iter().map(|p| data.part(*p).len()).sum::<usize>(), statement::pool().unwrap().len());
        Part::ALL.iter().for_each(|p| balanced(data.part(*p)));
        assert!(data.train.len() >= 700 && data.dev.len() >= 80 && data.test.len() >= 200 && data.ood.len() >= 200);
        let topics = |part: Part| data.part(part).iter().map(|e| e.topic.as_str()).collect::<BTreeSet<_>>();
        assert_eq!(topics(Part::Ood), BTreeSet::from(["colours", "opposites", "parity"]));
        assert_eq!((topics(Part::Train).len(), topics(Part::Test).len()), (9, 9));
        assert_eq!(Dataset::draw(&config).unwrap(), data);
        // Membership is a property of the group: sizes take statements away and move none.
        let small = HonestyConfig { train: Some(100), test: Some(36), ood: Some(20), min_statements: 100, ..config };
        let drawn = Dataset::draw(&small).unwrap();
        assert_eq!((drawn.train.len(), drawn.test.len(), drawn.ood.len()), (100, 36, 20));
        for part in Part::ALL {
            balanced(drawn.part(part));
            assert!(drawn.part(part).iter().all(|e| data.part(part).contains(e)));
        }
        let dealt = drawn.test.iter().filter(|e| e.topic == "kinds").count();
        assert_eq!(dealt, 4, "36 statements over nine topics");
    }

    #[test]
    fn general_knowledge_splits_like_the_embedded_pool() {
        let config = HonestyConfig { pool: super::super::Pool::World, ..HonestyConfig::strict() };
        let data = Dataset::draw(&config).unwrap();
        Part::ALL.iter().for_each(|p| balanced(data.part(*p)));
        assert!(data.train.len() >= 900 && data.test.len() >= 200 && data.ood.len() >= 200);
        assert!(data.ood.iter().all(|e| ["music", "food", "sports"].contains(&e.topic.as_str())));
        let paper = HonestyConfig { pool: super::super::Pool::World, ..HonestyConfig::paper() };
        assert_eq!(Part::ALL.map(|p| Dataset::draw(&paper).unwrap().part(p).len()), [174, 38, 38, 38]);
    }

    #[test]
    fn the_paper_set_has_the_studys_sizes_and_labels() {
        let data = Dataset::draw(&HonestyConfig::paper()).unwrap();
        assert_eq!(Part::ALL.map(|p| data.part(p).len()), [174, 38, 38, 38]);
        for part in Part::ALL {
            let trues = data.part(part).iter().filter(|e| e.answer == Answer::True).count();
            assert_eq!(trues * 2, data.part(part).len());
        }
        // The study's test labels begin 1001010101.
        let labels: String =
            data.test.iter().take(10).map(|e| if e.answer == Answer::True { '1' } else { '0' }).collect();
        assert_eq!(labels, "1001010101");
        // The pool is finite: asking for more says so instead of silently giving fewer.
        let config = HonestyConfig { items: 4000, ..HonestyConfig::paper() };
        let message = Dataset::draw(&config).unwrap_err().to_string();
        assert!(message.contains("4000 statements wanted"), "{message}");
        let other = HonestyConfig { seed: 7, ..HonestyConfig::paper() };
        assert_ne!(Dataset::draw(&other).unwrap().train, data.train);
    }

    #[test]
    fn too_small_a_pool_and_odd_topics_are_refused() {
        let config = HonestyConfig { min_statements: 2000, ..HonestyConfig::strict() };
        let message = Dataset::draw(&config).unwrap_err().to_string();
        assert!(message.contains("2000 statements wanted") && message.contains("1330"), "{message}");
        let config = HonestyConfig { dev: Some(600), ..HonestyConfig::strict() };
        assert!(Dataset::draw(&config).unwrap_err().to_string().starts_with("dev: 600"));
        let config = HonestyConfig { held_out: Some(vec!["rivers".into()]), ..HonestyConfig::strict() };
        assert!(Dataset::draw(&config).unwrap_err().to_string().contains("rivers"));
    }

    #[test]
    fn files_round_trip_and_bad_ones_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let data = Dataset::draw(&HonestyConfig::paper()).unwrap();
        data.write_dir(dir.path()).unwrap();
        assert_eq!(Dataset::load_dir(dir.path()).unwrap(), data);
        let refused = |change: &dyn Fn(&mut Dataset), needle: &str| {
            let mut broken = data.clone();
            change(&mut broken);
            broken.write_dir(dir.path()).unwrap();
            let message = Dataset::load_dir(dir.path()).unwrap_err().to_string();
            assert!(message.contains(needle), "{message}");
        };
        refused(&|d| d.dev = d.test.clone(), "occurs twice");
        refused(
            &|d| d.ood = d.test.iter().cloned().map(|e| Entry { id: e.id + "x", twin: e.twin + "x", ..e }).collect(),
            "both test and ood",
        );
        refused(
            &|d| {
                let moved = d.train.pop();
                d.dev.extend(moved);
            },
            "twins must stand in one file",
        );
        refused(&|d| d.train[0].answer = !d.train[0].answer, "one true and one false");
        refused(&|d| d.train[0].topic = "other".into(), "of one topic");
        refused(&|d| drop(d.train.pop()), "in no file");
        refused(&|d| d.ood.clear(), "holds no statements");
        refused(
            &|d| {
                let topic = d.train[0].topic.clone();
                d.ood.iter_mut().for_each(|e| e.topic = topic.clone());
            },
            "held-out topics",
        );
        let path = dir.path().join("train.json");
        let row = r#"{"id":"a","statement":"s","answer":"true","topic":"t","twin":"b"}"#;
        for text in ["", "{}", "[1]", "[{\"id\": 3}]", &row.replace("true", "maybe"), &row.replace("twin", "twine")] {
            std::fs::write(&path, format!("[{text}]")).unwrap();
            if text.is_empty() {
                assert!(Dataset::load_dir(dir.path()).unwrap_err().to_string().contains("no statements"));
            } else {
                let message = Dataset::load_dir(dir.path()).unwrap_err().to_string();
                assert!(message.contains("train.json") && message.contains("not a list"), "{text}: {message}");
            }
        }
        std::fs::remove_file(&path).unwrap();
        assert!(matches!(Dataset::load_dir(dir.path()), Err(DomainError::Read { .. })));
    }
}
