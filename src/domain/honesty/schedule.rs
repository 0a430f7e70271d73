//! What a training draws: the rows of a segment, a function of configuration, seed, segment and first answers.
//!
//! *Strict* rows come in blocks that are balanced in themselves. A direct or adversarial block is a pair of twins in the same words.
//! A two-turn block has eight rows: first answer right or wrong, contradicted or confirmed, statement true or false. So whatever
//! number of blocks is drawn, neither a constant nor repeating the first answer, agreeing or disagreeing earns anything on average.
//! *Paper* rows are the study's: item by item, then shuffled, every two-turn row a contradiction.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::config::{Design, HonestyConfig};
use super::curriculum::Phase;
use super::dataset::Entry;
use super::rows::{FirstAnswer, Row, SnapshotSummary, Snapshots};
use super::scorer::Answer;
use super::turns::{Frame, Push};
use crate::domain::mt19937::Mt19937;
use crate::domain::{DomainError, Profile};

/// Kinds of rows that a training asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowSet {
    /// Direct rows alone: the `control` arm.
    Direct,
    /// Direct and adversarial rows: unified, phase 1.
    SingleTurn,
    /// Two-turn rows too: interleaved, phase 2.
    TwoTurn,
    /// Direct rows, and contradictions of the truth as first answer: flip8.
    Flip8,
    /// Direct and adversarial rows, and contradictions of the truth as first answer: interleaved as the study's code had it.
    Baked,
    /// Contradictions of the truth as first answer alone: the study's counter-training.
    Counter,
}

impl RowSet {
    /// Whether the rows rest on first answers of the model.
    pub fn needs_first_answers(self) -> bool {
        self == RowSet::TwoTurn
    }
}

impl Design {
    /// The rows of this design; `phase` matters to a curriculum alone.
    pub fn rows(self, phase: Phase) -> RowSet {
        match (self, phase) {
            (Design::Unified, _) | (Design::Curriculum, Phase::SingleTurn) => RowSet::SingleTurn,
            (Design::Interleaved, _) | (Design::Curriculum, Phase::TwoTurn) => RowSet::TwoTurn,
            (Design::Flip8, _) => RowSet::Flip8,
            (Design::Baked, _) => RowSet::Baked,
        }
    }
}

/// What decides a draw, beside the rows' own contents.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Draw {
    /// Seed of the training.
    pub seed: u64,
    /// Steps done when the segment begins.
    pub segment: u64,
}

impl Draw {
    fn rng(self, profile: Profile, purpose: u32) -> Mt19937 {
        match profile {
            // The study shuffles with `Random(seed + steps_done)`.
            Profile::Paper => Mt19937::new(self.seed.wrapping_add(self.segment)),
            Profile::Strict => {
                let words = |x: u64| [x as u32, (x >> 32) as u32];
                Mt19937::init_by_array(&[words(self.seed), words(self.segment), [purpose, 0]].concat())
            }
        }
    }
}

/// How the two-turn rows of a segment came out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Balance {
    /// Of the first snapshot, the greedy one.
    pub first: SnapshotSummary,
    /// Statements that have a right first answer, true and false ones, and a wrong one, over all snapshots.
    pub right: [usize; 2],
    pub wrong: [usize; 2],
    /// Strict: rows in each of the eight cells, and how many a third of all rows would be. Fewer: sampling more first answers helps.
    pub per_cell: usize,
    pub wanted_per_cell: usize,
    /// Paper: items left out because their first answer is junk.
    pub junk: usize,
}

/// The rows of a segment.
#[derive(Clone, Debug, PartialEq)]
pub struct Drawn {
    pub rows: Vec<Row>,
    /// Lengths of the blocks that `rows` is made of, in order.
    pub blocks: Vec<usize>,
    /// Present where two-turn rows rest on first answers.
    pub balance: Option<Balance>,
}

impl Drawn {
    /// At most `count` rows from the front, in whole blocks: what a segment of so many prompts draws.
    pub fn first(&self, count: usize) -> &[Row] {
        let ends = self.blocks.iter().scan(0, |end, len| {
            *end += len;
            Some(*end)
        });
        &self.rows[..ends.take_while(|end| *end <= count).last().unwrap_or(0)]
    }
}

/// The question for each item's first answer; twins get the same.
pub fn first_questions<'a>(config: &HonestyConfig, items: &'a [Entry], draw: Draw) -> Vec<(&'a Entry, String)> {
    let mut rng = draw.rng(Profile::Strict, 1);
    let dealt = deal(&mut rng, items, &config.wordings.questions.train);
    items.iter().map(|e| (e, dealt.get(e.group()).copied().unwrap_or_default().to_string())).collect()
}

/// The rows of one segment about `items`. `snapshots`: first answers of every item, then, where right or wrong ones are scarce, more of
/// them that were sampled at T > 0.
pub fn rows(
    config: &HonestyConfig,
    set: RowSet,
    items: &[Entry],
    snapshots: &[Snapshots],
    draw: Draw,
) -> Result<Drawn, DomainError> {
    config.check()?;
    if set.needs_first_answers() {
        snapshots.first().unwrap_or(&Snapshots::default()).require(items)?;
    }
    match (set, config.profile) {
        (RowSet::Flip8 | RowSet::Baked | RowSet::Counter, _) | (_, Profile::Paper) => {
            Ok(paper_rows(config, set, items, snapshots, draw))
        }
        (_, Profile::Strict) => strict_rows(config, set, items, snapshots, draw),
    }
}

fn paper_rows(config: &HonestyConfig, set: RowSet, items: &[Entry], snapshots: &[Snapshots], draw: Draw) -> Drawn {
    let mut rng = draw.rng(Profile::Paper, 0);
    let w = &config.wordings;
    let first_of = |texts: &[String]| texts.first().cloned().unwrap_or_default();
    let (question, wording) = (first_of(&w.questions.train), first_of(&w.contradict[0].train));
    let truths;
    let answers = match set {
        RowSet::Flip8 | RowSet::Baked | RowSet::Counter => {
            truths = Snapshots::ground_truth(items, &question);
            Some(&truths)
        }
        RowSet::TwoTurn => snapshots.first(),
        RowSet::Direct | RowSet::SingleTurn => None,
    };
    let mut rows = Vec::new();
    let mut junk = 0;
    for e in items {
        if set != RowSet::Counter {
            rows.push(Row::new(e, &question, Frame::Direct));
        }
        if matches!(set, RowSet::SingleTurn | RowSet::TwoTurn | RowSet::Baked) {
            let prefix = rng.choice(&w.prefixes.train).cloned().unwrap_or_default();
            rows.push(Row::new(e, &question, Frame::Adversarial { prefix }));
        }
        let Some(answer) = answers.and_then(|a| a.get(&e.id)) else { continue };
        match answer.parsed {
            // The study's assistant turn is the bare word.
            Some(first) => rows.push(two_turn(e, &answer.question, first, first.word(), Push::Contradict, &wording)),
            None => junk += 1,
        }
    }
    // Counter-training alone kept the items' order.
    if set != RowSet::Counter {
        rng.shuffle(&mut rows);
    }
    let balance = snapshots.first().filter(|_| set.needs_first_answers()).map(|s| {
        let (right, wrong) = tally(&candidates(items, snapshots, usize::MAX));
        Balance { first: s.summary(items), right, wrong, per_cell: 0, wanted_per_cell: 0, junk }
    });
    Drawn { blocks: vec![1; rows.len()], rows, balance }
}

fn strict_rows(
    config: &HonestyConfig,
    set: RowSet,
    items: &[Entry],
    snapshots: &[Snapshots],
    draw: Draw,
) -> Result<Drawn, DomainError> {
    let mut rng = draw.rng(Profile::Strict, 0);
    let w = &config.wordings;
    let mut groups: BTreeMap<&str, Vec<&Entry>> = BTreeMap::new();
    items.iter().for_each(|e| groups.entry(e.group()).or_default().push(e));
    let mut blocks: Vec<Vec<Row>> = Vec::new();
    let questions = deal(&mut rng, items, &w.questions.train);
    for (group, members) in &groups {
        blocks.push(members.iter().map(|e| Row::new(e, questions[group], Frame::Direct)).collect());
    }
    if set != RowSet::Direct {
        let questions = deal(&mut rng, items, &w.questions.train);
        let prefixes = deal(&mut rng, items, &w.prefixes.train);
        for (group, members) in &groups {
            let frame = || Frame::Adversarial { prefix: prefixes[group].to_string() };
            blocks.push(members.iter().map(|e| Row::new(e, questions[group], frame())).collect());
        }
    }
    let mut balance = None;
    if set == RowSet::TwoTurn {
        let (two_turn, how) = two_turn_blocks(config, items, snapshots, &mut rng)?;
        blocks.extend(two_turn);
        balance = Some(how);
    }
    rng.shuffle(&mut blocks);
    blocks.iter_mut().for_each(|b| rng.shuffle(b));
    Ok(Drawn { blocks: blocks.iter().map(Vec::len).collect(), rows: blocks.concat(), balance })
}

/// Wordings by twin group, each about as often as every other.
fn deal<'a, 'b>(rng: &mut Mt19937, items: &'a [Entry], wordings: &'b [String]) -> BTreeMap<&'a str, &'b str> {
    let mut groups: Vec<&str> = items.iter().map(Entry::group).collect::<BTreeSet<_>>().into_iter().collect();
    rng.shuffle(&mut groups);
    groups.into_iter().zip(wordings.iter().map(String::as_str).cycle()).collect()
}

fn two_turn(e: &Entry, question: &str, first: Answer, text: &str, push: Push, wording: &str) -> Row {
    let frame = Frame::TwoTurn { first, first_text: text.into(), push, wording: wording.into() };
    Row::new(e, question, frame)
}

/// First answers by (is it right, is the statement true), one a statement; earlier snapshots first, `enough` at most.
type Candidates<'a> = BTreeMap<(bool, bool), Vec<(&'a Entry, &'a FirstAnswer, Answer)>>;

fn candidates<'a>(items: &'a [Entry], snapshots: &'a [Snapshots], enough: usize) -> Candidates<'a> {
    let mut found = Candidates::new();
    let mut seen = BTreeSet::new();
    for snapshot in snapshots {
        // One snapshot counts whole or not at all, so that its items are not taken in the order of their ids.
        let full: Vec<(bool, bool)> = found.iter().filter(|(_, c)| c.len() >= enough).map(|(key, _)| *key).collect();
        for e in items {
            let Some((answer, first)) = snapshot.get(&e.id).and_then(|a| Some((a, a.parsed?))) else { continue };
            let key = (first == e.answer, e.answer == Answer::True);
            if !full.contains(&key) && seen.insert((key.0, &e.id)) {
                found.entry(key).or_default().push((e, answer, first));
            }
        }
    }
    found
}

/// Counts of right and of wrong first answers, to true and to false statements.
fn tally(found: &Candidates) -> ([usize; 2], [usize; 2]) {
    let n = |right, truth| found.get(&(right, truth)).map_or(0, Vec::len);
    ([n(true, true), n(true, false)], [n(false, true), n(false, false)])
}

fn two_turn_blocks(
    config: &HonestyConfig,
    items: &[Entry],
    snapshots: &[Snapshots],
    rng: &mut Mt19937,
) -> Result<(Vec<Vec<Row>>, Balance), DomainError> {
    let w = &config.wordings;
    let wanted = (items.len() / 8).max(config.min_cell);
    let mut found = candidates(items, snapshots, 2 * wanted);
    let (right, wrong) = tally(&found);
    let [r, f] = [right, wrong].map(|n| n[0].min(n[1]));
    let per_cell = wanted.min(r).min(f);
    if per_cell < config.min_cell {
        return Err(DomainError::TooFewFirstAnswers {
            kind: if r < f { "right" } else { "wrong" }.into(),
            wanted: config.min_cell,
            right,
            wrong,
            snapshots: snapshots.len(),
        });
    }
    found.values_mut().for_each(|c| rng.shuffle(c));
    let order = |rng: &mut Mt19937, texts: &[String]| {
        let mut order: Vec<String> = texts.to_vec();
        rng.shuffle(&mut order);
        order
    };
    let contradict = order(rng, &w.contradict[0].train);
    let confirm = order(rng, &w.confirm.train);
    let block = |i: usize| {
        let mut block = Vec::with_capacity(8);
        for c in found.values() {
            // A statement is contradicted once and confirmed once at most; where there are enough, only one of them.
            for (push, at, wordings) in [(Push::Contradict, i, &contradict), (Push::Confirm, per_cell + i, &confirm)] {
                let (e, answer, first) = c[at % c.len()];
                let wording = &wordings[i % wordings.len()];
                block.push(two_turn(e, &answer.question, first, &answer.text, push, wording));
            }
        }
        block
    };
    let balance = Balance {
        first: snapshots.first().unwrap_or(&Snapshots::default()).summary(items),
        right,
        wrong,
        per_cell,
        wanted_per_cell: wanted,
        junk: 0,
    };
    Ok(((0..per_cell).map(block).collect(), balance))
}

#[cfg(test)]
mod tests {
    use super::super::dataset::Dataset;
    use super::*;

    fn answered(items: &[Entry], answer: impl Fn(usize, &Entry) -> Option<Answer>) -> Snapshots {
        let mut snapshots = Snapshots::default();
        for (i, e) in items.iter().enumerate() {
            let text = answer(i, e).map_or("what?".to_string(), |a| format!("It is {}.", a.word()));
            snapshots.record(&e.id, "{s} True or false?", &text);
        }
        snapshots
    }

    fn strict() -> (HonestyConfig, Vec<Entry>) {
        let config = HonestyConfig::strict();
        let train = Dataset::draw(&config).unwrap().train;
        (config, train)
    }

    const DRAW: Draw = Draw { seed: 42, segment: 100 };

    #[test]
    fn single_turn_blocks_are_twins_in_the_same_words() {
        let (config, items) = strict();
        let drawn = rows(&config, RowSet::SingleTurn, &items, &[], DRAW).unwrap();
        assert_eq!((drawn.rows.len(), drawn.balance.is_none()), (2 * items.len(), true));
        assert!(drawn.blocks.iter().all(|n| *n == 2));
        for pair in drawn.rows.chunks(2) {
            assert_ne!(pair[0].truth, pair[1].truth);
            assert_eq!((&pair[0].question, &pair[0].frame), (&pair[1].question, &pair[1].frame));
        }
        let ids: BTreeSet<&str> = drawn.rows.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids.len(), drawn.rows.len());
        // Trained wordings alone, each about as often.
        let mut uses: BTreeMap<&str, usize> = BTreeMap::new();
        for r in &drawn.rows {
            let Frame::Adversarial { prefix } = &r.frame else { continue };
            *uses.entry(prefix).or_default() += 1;
        }
        assert!(
            uses.keys().eq(config.wordings.prefixes.train.iter().map(String::as_str).collect::<BTreeSet<_>>().iter())
        );
        assert!(uses.values().max().unwrap() - uses.values().min().unwrap() <= 2, "{uses:?}");
        let direct = rows(&config, RowSet::Direct, &items, &[], DRAW).unwrap();
        assert!(direct.rows.len() == items.len() && direct.rows.iter().all(|r| r.frame == Frame::Direct));
    }

    #[test]
    fn a_segment_is_a_function_of_seed_and_segment() {
        let (config, items) = strict();
        let snapshots = [answered(&items, |i, e| Some(if i % 3 == 0 { !e.answer } else { e.answer }))];
        let of = |draw| rows(&config, RowSet::TwoTurn, &items, &snapshots, draw).unwrap();
        assert_eq!(of(DRAW), of(DRAW));
        for other in [Draw { seed: 7, ..DRAW }, Draw { segment: 125, ..DRAW }] {
            assert_ne!(of(DRAW).rows[..50], of(other).rows[..50]);
        }
        let (first, again) = (first_questions(&config, &items, DRAW), first_questions(&config, &items, DRAW));
        assert_eq!(first, again);
        assert!(first.iter().all(|(_, q)| config.wordings.questions.train.contains(q)));
        let (a, b) =
            (first.iter().find(|(e, _)| e.id == items[0].id), first.iter().find(|(e, _)| e.id == items[0].twin));
        assert_eq!(a.unwrap().1, b.unwrap().1);
        let drawn = of(DRAW);
        assert_eq!(drawn.first(0).len(), 0);
        assert!(drawn.first(51).len() <= 51 && drawn.first(usize::MAX).len() == drawn.rows.len());
    }

    #[test]
    fn two_turn_rows_are_the_models_own_answers_in_equal_cells() {
        let (config, items) = strict();
        let snapshots = [answered(&items, |i, e| Some(if i % 3 == 0 { !e.answer } else { e.answer }))];
        let drawn = rows(&config, RowSet::TwoTurn, &items, &snapshots, DRAW).unwrap();
        let balance = drawn.balance.unwrap();
        assert_eq!((balance.first.hit_rate, balance.per_cell), (1.0, balance.wanted_per_cell));
        assert_eq!(balance.wanted_per_cell, items.len() / 8);
        let mut cells: BTreeMap<(bool, Push, Answer), usize> = BTreeMap::new();
        for r in &drawn.rows {
            let Frame::TwoTurn { first, first_text, push, wording } = &r.frame else { continue };
            let own = snapshots[0].get(&r.item).unwrap();
            assert_eq!((own.parsed, &own.text, &own.question), (Some(*first), first_text, &r.question));
            let trained =
                if *push == Push::Confirm { &config.wordings.confirm } else { &config.wordings.contradict[0] };
            assert!(trained.train.contains(wording));
            *cells.entry((*first == r.truth, *push, r.truth)).or_default() += 1;
        }
        assert!(cells.len() == 8 && cells.values().all(|n| *n == balance.per_cell), "{cells:?}");
        let ids: BTreeSet<&str> = drawn.rows.iter().map(|r| r.id.as_str()).collect();
        assert_eq!(ids.len(), drawn.rows.len());
    }

    #[test]
    fn few_wrong_answers_are_sampled_then_fewer_rows_then_an_error_with_the_count() {
        let (config, items) = strict();
        // Two wrong answers to true and two to false statements.
        let mut left = BTreeMap::from([(Answer::True, 2), (Answer::False, 2)]);
        let wrong: BTreeSet<&str> = items
            .iter()
            .filter(|e| {
                left.get_mut(&e.answer).is_some_and(|n: &mut usize| {
                    let more = *n > 0;
                    *n -= usize::from(more);
                    more
                })
            })
            .map(|e| e.id.as_str())
            .collect();
        let greedy = answered(&items, |_, e| Some(if wrong.contains(e.id.as_str()) { !e.answer } else { e.answer }));
        let of = |snapshots: &[Snapshots]| rows(&config, RowSet::TwoTurn, &items, snapshots, DRAW);
        let message = of(std::slice::from_ref(&greedy)).unwrap_err().to_string();
        assert!(message.contains("too few wrong") && message.contains("wrong [2, 2]"), "{message}");
        // Sampled answers make up for it, fewer rows at first.
        let some = answered(&items, |i, e| if i % 40 < 2 { Some(!e.answer) } else { None });
        let fewer = of(&[greedy.clone(), some]).unwrap().balance.unwrap();
        assert!(fewer.per_cell >= config.min_cell && fewer.per_cell < fewer.wanted_per_cell, "{fewer:?}");
        assert_eq!(fewer.per_cell, fewer.wrong[0].min(fewer.wrong[1]));
        let many = answered(&items, |i, e| if i % 3 == 0 { Some(!e.answer) } else { Some(e.answer) });
        let full = of(&[greedy.clone(), many]).unwrap().balance.unwrap();
        assert!(full.per_cell == full.wanted_per_cell && full.first.accuracy > 0.98);
        // Always wrong: too few right ones.
        let message = of(&[answered(&items, |_, e| Some(!e.answer))]).unwrap_err().to_string();
        assert!(message.contains("too few right"), "{message}");
        // A constant model has no right answers to false statements and no wrong ones to true ones.
        assert!(of(&[answered(&items, |_, _| Some(Answer::True))]).is_err());
        // Missed lookups are an error before all else.
        let message = of(&[answered(&items[1..], |_, e| Some(e.answer))]).unwrap_err().to_string();
        assert!(message.contains("1 of") && message.contains(&items[0].id), "{message}");
        assert!(of(&[]).unwrap_err().to_string().contains("first answer"));
    }

    #[test]
    fn paper_rows_are_the_studys() {
        let config = HonestyConfig::paper();
        let items = Dataset::draw(&config).unwrap().train;
        let junk = [answered(&items, |i, e| (i != 5).then_some(e.answer))];
        let of = |set| rows(&config, set, &items, &junk, DRAW).unwrap();
        let drawn = of(RowSet::TwoTurn);
        let balance = drawn.balance.unwrap();
        assert_eq!((drawn.rows.len(), balance.junk, balance.first.accuracy), (3 * 174 - 1, 1, 1.0));
        for r in &drawn.rows {
            if let Frame::TwoTurn { first, first_text, push, .. } = &r.frame {
                assert_eq!((first.word(), *push), (first_text.as_str(), Push::Contradict));
            }
        }
        let sizes = [RowSet::Direct, RowSet::SingleTurn, RowSet::Flip8, RowSet::Baked, RowSet::Counter];
        assert_eq!(sizes.map(|s| of(s).rows.len()), [174, 348, 348, 522, 174]);
        assert!(of(RowSet::Counter).rows.iter().all(|r| r.frame.first() == Some(r.truth)));
    }

    #[test]
    fn designs_name_their_rows() {
        let [single, two] = [Phase::SingleTurn, Phase::TwoTurn];
        assert_eq!(Design::Curriculum.rows(single), RowSet::SingleTurn);
        assert_eq!(Design::Curriculum.rows(two), RowSet::TwoTurn);
        assert_eq!(Design::Unified.rows(two), RowSet::SingleTurn);
        assert_eq!(Design::Interleaved.rows(single), RowSet::TwoTurn);
        assert_eq!([Design::Flip8, Design::Baked].map(|d| d.rows(single)), [RowSet::Flip8, RowSet::Baked]);
        assert!(RowSet::TwoTurn.needs_first_answers() && !RowSet::Flip8.needs_first_answers());
    }
}
