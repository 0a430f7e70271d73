//! `probity pair audit`: published 2×2 tables of paired proportions, recomputed from whatever was printed of them.
//!
//! Every table of whole numbers that rounds to what was printed is enumerated; a row whose numbers no table has is named, with the
//! number that does not fit. Signs: arm 1 is `free`, arm 2 is `paid`, b pairs refused only under free, c only under paid, Δ = p2 − p1.

mod printed;

use serde::Serialize;

use super::error::{PairError, Result};
use crate::stats::{FlipRate, McNemar, PairedTable, mcnemar};

pub use printed::{COLUMNS, Claim, claims};

/// Tables tried for one row.
const LIMIT: u64 = 4_000_000;

/// Tables listed in a finding.
const SHOWN: usize = 6;

/// The tests that a printed p may come from, by the name the column `test` has.
const TESTS: [(&str, McNemar, &str); 4] = [
    ("exact", McNemar::Exact, "p_exact"),
    ("mid-p", McNemar::MidP, "p_mid"),
    ("corrected", McNemar::ChiSquaredCorrected, "p_chi2_corrected"),
    ("uncorrected", McNemar::ChiSquared, "p_chi2"),
];

/// What became of one row of the file.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Audited {
    pub name: String,
    pub line: usize,
    pub n: u64,
    /// Some table has every printed number.
    pub agrees: bool,
    /// Tables that have them (the first [`SHOWN`]), and how many there are.
    pub tables: Vec<PairedTable>,
    pub n_tables: u64,
    /// What disagrees, in words.
    pub problems: Vec<String>,
    /// What agrees and deserves a second look.
    pub notes: Vec<String>,
}

/// Discordant counts, and how many pairs may have refused under both.
#[derive(Clone, Copy, Debug)]
struct Candidate {
    b: u64,
    c: u64,
    /// Least and largest count of pairs refused under both.
    both: (u64, u64),
}

impl Candidate {
    fn tables(&self, n: u64) -> impl Iterator<Item = PairedTable> + '_ {
        (self.both.0..=self.both.1).map(move |a| PairedTable { a, b: self.b, c: self.c, d: n - a - self.b - self.c })
    }
}

/// Audits every row of a CSV text; `origin` names it in errors.
///
/// # Errors
/// A file that is no CSV, has a column that is not known, a value that is no number, or a row that leaves too much open.
pub fn audit(origin: &str, text: &str) -> Result<Vec<Audited>> {
    claims(origin, text)?.iter().map(|claim| check(origin, claim)).collect()
}

fn check(origin: &str, claim: &Claim) -> Result<Audited> {
    let mut out = Audited {
        name: claim.name.clone(),
        line: claim.line,
        n: claim.n,
        agrees: false,
        tables: Vec::new(),
        n_tables: 0,
        problems: Vec::new(),
        notes: Vec::new(),
    };
    let too_open = || {
        PairError::Refused(format!(
            "{origin}, line {} ({}): more than {LIMIT} tables would have to be tried; give a count or a percentage of each arm, or b and c",
            claim.line, claim.name
        ))
    };
    let margins = [margin(claim, 0), margin(claim, 1)];
    for (arm, m) in ["free", "paid"].into_iter().zip(&margins) {
        if let Err(problem) = m {
            out.problems.push(format!("{arm}: {problem}"));
        }
    }
    let [Ok(first), Ok(second)] = margins else { return Ok(out) };

    // Δ from the marginals alone, before anything else is asked of the table.
    let n = claim.n as i64;
    let span = (second.0 as i64 - first.1 as i64, second.1 as i64 - first.0 as i64);
    let mut lean = span;
    if let Some(delta) = &claim.delta {
        let (low, high) = delta.counts(n as f64);
        lean = (span.0.max(low), span.1.min(high));
        if lean.0 > lean.1 {
            out.problems.push(format!(
                "delta_pp {} does not follow from the marginals, which give {}",
                delta.text,
                range(100.0 * span.0 as f64 / n as f64, 100.0 * span.1 as f64 / n as f64, "pp")
            ));
            return Ok(out);
        }
    }
    let fixed = |v: Option<u64>| v.map_or((0, claim.n), |v| (v, v));
    let (b_range, c_range) = (fixed(claim.b), fixed(claim.c));
    if (b_range.1 - b_range.0 + 1).saturating_mul((lean.1 - lean.0 + 1) as u64) > LIMIT {
        return Err(too_open());
    }
    let by_counts = |flips: (u64, u64)| {
        let mut found = Vec::new();
        for b in b_range.0..=b_range.1.min(first.1) {
            for by in lean.0..=lean.1 {
                let Some(c) = b.checked_add_signed(by).filter(|c| (c_range.0..=c_range.1).contains(c)) else {
                    continue;
                };
                if !(flips.0..=flips.1).contains(&(b + c)) || b + c > claim.n {
                    continue;
                }
                let low = first.0.saturating_sub(b).max(second.0.saturating_sub(c));
                let high = match (first.1.checked_sub(b), second.1.checked_sub(c)) {
                    (Some(x), Some(y)) => x.min(y).min(claim.n - b - c),
                    _ => continue,
                };
                if low <= high {
                    found.push(Candidate { b, c, both: (low, high) });
                }
            }
        }
        found
    };

    let open = by_counts((0, claim.n));
    if open.is_empty() {
        out.problems.push(format!(
            "b = {}, c = {} do not fit the marginals: c - b must be {}, and neither may exceed its arm's refusals or answers",
            text_of(claim.b),
            text_of(claim.c),
            range(lean.0 as f64, lean.1 as f64, "")
        ));
        return Ok(out);
    }
    let mut left = open.clone();
    if let Some(rate) = &claim.flip_rate {
        let (low, high) = rate.counts(claim.n as f64);
        left = by_counts((low.max(0) as u64, high.max(0) as u64));
        if left.is_empty() {
            out.problems.push(flips_problem(&rate.text, (low, high), &open, lean, claim.n));
            return Ok(out);
        }
    }
    let asked = claim.p.is_some() || claim.chi2.is_some();
    let by = |k: &Candidate| if asked { reproduced(claim, k.b, k.c) } else { Ok(Vec::new()) };
    let tested: Vec<(Candidate, Vec<&'static str>)> = left.iter().map(|k| Ok((*k, by(k)?))).collect::<Result<_>>()?;
    let kept: Vec<&(Candidate, Vec<&str>)> = tested.iter().filter(|(_, by)| !asked || !by.is_empty()).collect();
    if kept.is_empty() {
        out.problems.push(test_problem(claim, &left)?);
        return Ok(out);
    }
    out.agrees = true;
    out.n_tables = kept.iter().map(|(k, _)| k.both.1 - k.both.0 + 1).sum();
    out.tables = kept.iter().flat_map(|(k, _)| k.tables(claim.n)).take(SHOWN).collect();
    notes(&mut out, claim, &kept)?;
    Ok(out)
}

/// Least and largest number of refusals of an arm that rounds to what was printed.
fn margin(claim: &Claim, arm: usize) -> std::result::Result<(u64, u64), String> {
    let mut range = claim.refused[arm].map_or((0, claim.n), |k| (k, k));
    if range.1 > claim.n {
        return Err(format!("{} refusals of {} items", range.1, claim.n));
    }
    if let Some(percent) = &claim.percent[arm] {
        let (low, high) = percent.counts(claim.n as f64);
        let (low, high) = (low.max(0) as u64, high.max(0) as u64);
        if low > high || low > claim.n {
            return Err(format!("no number of refusals out of {} is {} %", claim.n, percent.text));
        }
        let both = (range.0.max(low), range.1.min(high));
        if both.0 > both.1 {
            return Err(format!(
                "{} of {} is {:.2} %, printed as {} %",
                range.0,
                claim.n,
                100.0 * range.0 as f64 / claim.n as f64,
                percent.text
            ));
        }
        range = both;
    }
    Ok(range)
}

/// Names of the tests, among those that the row allows, which give the printed p and χ².
fn reproduced(claim: &Claim, b: u64, c: u64) -> Result<Vec<&'static str>> {
    let r = mcnemar(b, c, McNemar::Exact, 0.95)?;
    let of = |key: &str| r.details.get(key).copied();
    let chi2 = |name: &str| match name {
        "corrected" => of("chi2_corrected"),
        "uncorrected" => of("chi2"),
        _ => None,
    };
    let fits = |name: &'static str, p: &str| {
        claim.test.is_none_or(|t| t == name)
            && claim.p.as_ref().is_none_or(|printed| of(p).is_some_and(|v| printed.holds(v)))
            && claim.chi2.as_ref().is_none_or(|printed| chi2(name).is_some_and(|v| printed.holds(v)))
    };
    Ok(TESTS.iter().filter(|(name, _, p)| fits(name, p)).map(|t| t.0).collect())
}

/// Which flip counts the marginals allow, and why the printed one is not among them.
fn flips_problem(text: &str, asked: (i64, i64), open: &[Candidate], lean: (i64, i64), n: u64) -> String {
    let mut counts: Vec<u64> = open.iter().map(|k| k.b + k.c).collect();
    counts.sort_unstable();
    counts.dedup();
    let (Some(least), Some(most)) = (counts.first(), counts.last()) else { return String::new() };
    let percent = |m: u64| 100.0 * m as f64 / n as f64;
    let why = if asked.0 > *most as i64 {
        format!(
            "no more than {most} pairs ({:.2} %) can differ, the sum of what can be discordant in both arms",
            percent(*most)
        )
    } else if asked.1 < *least as i64 {
        format!("at least {least} pairs ({:.2} %) must differ for that difference", percent(*least))
    } else if lean.0 == lean.1 {
        let parity = if lean.0 % 2 == 0 { "an even" } else { "an odd" };
        format!("|b - c| = {} forces {parity} number of pairs that differ", lean.0.abs())
    } else {
        "no number of pairs that differ lies there".to_string()
    };
    format!("flip_rate {text} %: {why}")
}

/// What the tables that are left would give, and which other discordant counts give what was printed.
fn test_problem(claim: &Claim, left: &[Candidate]) -> Result<String> {
    let mut printed = Vec::new();
    if let Some(p) = &claim.p {
        printed.push(format!("p = {}", p.text));
    }
    if let Some(chi2) = &claim.chi2 {
        printed.push(format!("chi-squared = {}", chi2.text));
    }
    let mut text = format!(
        "{}{}: no table with these marginals, difference and flips gives it",
        printed.join(" and "),
        claim.test.map_or(String::new(), |t| format!(" by the {t} test")),
    );
    for (name, variant, _) in TESTS.iter().filter(|t| claim.test.is_none_or(|name| name == t.0)) {
        let mut values = left
            .iter()
            .map(|k| Ok(mcnemar(k.b, k.c, *variant, 0.95)?.p.unwrap_or(1.0)))
            .collect::<Result<Vec<f64>>>()?;
        values.sort_by(f64::total_cmp);
        values.dedup_by(|x, y| (*x - *y).abs() < 5e-4);
        let more = if values.len() > SHOWN { ", …" } else { "" };
        let shown: Vec<String> = values.iter().take(SHOWN).map(|v| format!("{v:.3}")).collect();
        text.push_str(&format!("; {name} gives {}{more}", shown.join(", ")));
    }
    // Elsewhere: the same number of flips, any difference.
    let flips = claim.flip_rate.as_ref().map(|r| r.counts(claim.n as f64));
    let (low, high) = flips.unwrap_or_else(|| {
        let m = || left.iter().map(|k| (k.b + k.c) as i64);
        (m().min().unwrap_or(0), m().max().unwrap_or(0))
    });
    let mut elsewhere = Vec::new();
    'search: for m in low.max(0) as u64..=(high.max(0) as u64).min(2000) {
        for b in 0..=m / 2 {
            let by = reproduced(claim, b, m - b)?;
            if !by.is_empty() {
                let delta = 100.0 * (m - 2 * b) as f64 / claim.n as f64;
                elsewhere.push(format!(
                    "{{b, c}} = {{{b}, {}}} ({}; a difference of {delta:.2} pp)",
                    m - b,
                    by.join(", ")
                ));
            }
            if elsewhere.len() == SHOWN {
                break 'search;
            }
        }
    }
    if !elsewhere.is_empty() {
        text.push_str(&format!(". With that many flips it takes {}", elsewhere.join(" or ")));
    }
    Ok(text)
}

/// Which test gives the printed p, and whether the flip rate means anything.
fn notes(out: &mut Audited, claim: &Claim, kept: &[&(Candidate, Vec<&'static str>)]) -> Result<()> {
    if claim.p.is_some() || claim.chi2.is_some() {
        let by: Vec<&str> =
            TESTS.iter().map(|t| t.0).filter(|name| kept.iter().any(|(_, by)| by.contains(name))).collect();
        out.notes.push(format!("the test is reproduced as: {}", by.join(", ")));
    }
    if let [table] = out.tables[..] {
        out.notes.push(FlipRate::new(table, 0.95)?.to_string());
    } else if let (Some(first), Some(last)) = (out.tables.first(), out.tables.last()) {
        out.notes.push(format!("{} tables fit, e.g. {}", out.n_tables, FlipRate::new(*first, 0.95)?));
        if out.n_tables as usize <= SHOWN {
            out.notes.push(format!("and {}", FlipRate::new(*last, 0.95)?));
        }
    }
    for table in &out.tables {
        let (flips, refused) = (table.b + table.c, 2 * table.a + table.b + table.c);
        if flips > 0 && 10 * refused < 2 * table.n() && flips * 2 >= refused {
            out.notes.push(
                "a floor: hardly anything was refused and most refusals are discordant, so a small flip rate is not stability"
                    .into(),
            );
            break;
        }
    }
    Ok(())
}

fn text_of(v: Option<u64>) -> String {
    v.map_or("?".into(), |v| v.to_string())
}

fn range(low: f64, high: f64, unit: &str) -> String {
    let one = |x: f64| format!("{}{}{unit}", (x * 100.0).round() / 100.0, if unit.is_empty() { "" } else { " " });
    if low == high { one(low) } else { format!("{} to {}", one(low), one(high)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &str) -> Vec<Audited> {
        audit("counts.csv", text).unwrap()
    }

    /// The study's four rows: the replication of one model has a p that its own counts cannot give.
    #[test]
    fn published_rows() {
        let all = rows(include_str!("../../../data/paired_published.csv"));
        let verdicts: Vec<(&str, bool)> = all.iter().map(|r| (r.name.as_str(), r.agrees)).collect();
        let want = [
            ("DeepSeek pilot", true),
            ("Qwen pilot", true),
            ("DeepSeek replication", false),
            ("Qwen replication", true),
        ];
        assert_eq!(verdicts, want, "{all:#?}");
        assert_eq!(all[0].tables, [PairedTable { a: 16, b: 20, c: 7, d: 157 }]);
        assert!(all[0].notes[0].ends_with("corrected"), "{:?}", all[0].notes);
        assert!(all[1].tables.contains(&PairedTable { a: 95, b: 13, c: 17, d: 75 }), "{:?}", all[1]);
        let problem = &all[2].problems[0];
        assert!(problem.contains("{b, c} = {3, 5} (corrected; a difference of 0.50 pp)"), "{problem}");
        assert!(problem.contains("uncorrected gives") && problem.contains("0.705, 0.739"), "{problem}");
        assert!(all[3].tables.contains(&PairedTable { a: 18, b: 5, c: 4, d: 373 }), "{:?}", all[3]);
        assert!(all[3].notes.iter().all(|n| !n.starts_with("a floor")), "{:?}", all[3]);
    }

    #[test]
    fn each_check_names_what_does_not_fit() {
        let head = "name,n,refuse_free,percent_free,refuse_paid,percent_paid,b,c,flip_rate,p,test,delta_pp\n";
        for (row, part) in [
            ("x,200,36,18.5,,,,,,,,", "36 of 200 is 18.00 %, printed as 18.5 %"),
            ("x,200,,18.3,,,,,,,,", "no number of refusals out of 200 is 18.3 %"),
            ("x,200,201,,,,,,,,,", "201 refusals of 200"),
            ("x,200,36,,23,,,,,,,-6.0", "delta_pp -6.0 does not follow from the marginals, which give -6.5 pp"),
            ("x,200,36,,23,,20,8,,,,", "c - b must be -13"),
            ("x,400,4,,5,,,,2.0,,,", "an odd number"),
            ("x,400,4,,5,,,,5,,,", "no more than 9 pairs (2.25 %)"),
            ("x,200,36,,23,,,,3,,,", "at least 13 pairs (6.50 %)"),
            ("x,200,36,,23,,20,7,,0.021,exact,", "p = 0.021 by the exact test"),
        ] {
            let got = rows(&format!("{head}{row}"));
            assert!(!got[0].agrees && got[0].problems[0].contains(part), "{row}: {:?}", got[0]);
        }
        // Nothing but marginals always fits; the discordant counts alone have a p.
        assert!(rows("name,n,refuse_free,refuse_paid\nx,200,36,23\n")[0].agrees);
        assert!(rows("name,n,b,c,p,test\nx,200,20,7,0.019,exact\n")[0].agrees);
        let floor = rows("name,n,refuse_free,refuse_paid,b\nx,400,4,5,3\n");
        assert!(floor[0].notes.iter().any(|n| n.starts_with("a floor")), "{floor:?}");
    }

    /// Whatever table is printed, rounded and with its p, is found again.
    #[test]
    fn tables_are_found_again() {
        let mut state = 7u64;
        let mut next = |n: u64| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % n
        };
        for _ in 0..60 {
            let t = PairedTable { a: next(40), b: next(20), c: next(20), d: next(100) + 1 };
            let n = t.n() as f64;
            let pct = |k: u64| format!("{:.1}", 100.0 * k as f64 / n);
            let (name, variant, _) = TESTS[next(4) as usize];
            let p = mcnemar(t.b, t.c, variant, 0.95).unwrap().p.unwrap();
            let text = format!(
                "name,n,percent_free,percent_paid,flip_rate,p,test\nx,{},{},{},{},{p:.2},{name}\n",
                t.n(),
                pct(t.a + t.b),
                pct(t.a + t.c),
                pct(t.b + t.c)
            );
            let got = rows(&text);
            assert!(got[0].agrees, "{t:?} {text} {got:?}");
        }
    }

    #[test]
    fn mistakes_in_the_file_are_named() {
        for (text, part) in [
            ("n,b\n20,1\n", "no column name"),
            ("name,b\nx,1\n", "no column n"),
            ("name,n,rate\nx,20,1\n", "\"rate\""),
            ("name,n,b\nx,20,one\n", "line 2, column \"b\": \"one\""),
            ("name,n,p\nx,20,1.5\n", "0 to 1"),
            ("name,n,test\nx,20,wald\n", "exact, mid-p, corrected or uncorrected"),
            ("name,n\nx,0\n", "a number of items from 1"),
            ("name,n\nx,20,3\n", "3 fields"),
            ("name,n,n\nx,20,3\n", "twice"),
            ("name,n\nx,100000\n", "would have to be tried"),
        ] {
            let e = audit("counts.csv", text).unwrap_err().to_string();
            assert!(e.contains("counts.csv") && e.contains(part), "{text:?}: {e}");
        }
    }
}
