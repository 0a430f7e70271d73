//! Several runs on one page: their verdicts test by test, and the study's statistics. Nothing is pooled and nothing computed anew.

use std::path::{Component, Path, PathBuf};

use crate::battery::record::Outcome;
use crate::durable;

use super::html::{escape, slug};
use super::page::{answer, checks, domain, health_link, notes, shell};
use super::read::{self, Run, TestFolder};
use super::verdicts::{badge, effect_cell, test_number};
use super::{ReportError, Written, number, published, rules, write_all};

/// A page over several runs, and what was written for each of them.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Beside {
    pub page: PathBuf,
    pub bytes: usize,
    pub runs: Vec<Written>,
}

/// Writes every run's own report, then `out`, which shows them side by side and links to each.
///
/// Errors: see [`ReportError`]; fewer than two runs, the same one twice, or runs of different program versions, whose verdicts may follow
/// different code.
pub fn write(dirs: &[PathBuf], out: &Path) -> Result<Beside, ReportError> {
    let mut places: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let place = dir.canonicalize().map_err(ReportError::io(dir))?;
        if places.contains(&place) {
            return Err(ReportError::Apart { detail: format!("{} is named twice", dir.display()) });
        }
        places.push(place);
    }
    let runs = dirs.iter().map(|d| read::read(d)).collect::<Result<Vec<_>, _>>()?;
    let version = |r: &Run| format!("{} {}", r.manifest.program, r.manifest.version);
    let Some(first) = runs.first().filter(|_| runs.len() > 1) else {
        return Err(ReportError::Apart { detail: "a page side by side needs at least two runs".into() });
    };
    if let Some(other) = runs.iter().find(|r| version(r) != version(first)) {
        return Err(ReportError::Apart {
            detail: format!(
                "{} was made by {}, {} by {}: a verdict of one version says nothing beside another's. Make both with one version",
                first.dir.display(),
                version(first),
                other.dir.display(),
                version(other)
            ),
        });
    }
    let parent = match out.parent() {
        Some(p) if !p.as_os_str().is_empty() => p,
        _ => Path::new("."),
    };
    let from = parent.canonicalize().map_err(ReportError::io(parent))?;
    let written = dirs.iter().map(|d| write_all(d)).collect::<Result<Vec<_>, _>>()?;
    let links: Vec<String> = places.iter().map(|p| relative(&from, &p.join("report.html"))).collect();
    let html = page(&runs, &links);
    durable::write(out, html.as_bytes()).map_err(|e| ReportError::io(&e.path)(e.source))?;
    Ok(Beside { page: out.to_path_buf(), bytes: html.len(), runs: written })
}

/// The way from a folder to a file, as a link; both absolute.
fn relative(from: &Path, to: &Path) -> String {
    let (a, b): (Vec<_>, Vec<_>) = (from.components().collect(), to.components().collect());
    let same = a.iter().zip(&b).take_while(|(x, y)| x == y).count();
    if same == 0 {
        // Another drive: only the whole path leads there.
        return format!("file:///{}", encoded(&to.to_string_lossy().replace('\\', "/")));
    }
    let up = a[same..].iter().map(|_| "..".to_string());
    let down = b[same..].iter().map(|c: &Component<'_>| encoded(&c.as_os_str().to_string_lossy()));
    up.chain(down).collect::<Vec<_>>().join("/")
}

/// What a URL's path may hold, percent-encoded.
fn encoded(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~/".contains(&b);
    text.bytes().map(|b| if plain(b) { (b as char).to_string() } else { format!("%{b:02X}") }).collect()
}

fn name(run: &Run) -> String {
    run.dir.file_name().map_or_else(|| run.dir.display().to_string(), |n| n.to_string_lossy().into_owned())
}

fn page(runs: &[Run], links: &[String]) -> String {
    let title = runs.iter().map(|r| format!("{}: {}", capital(&r.manifest.domain), answer(r))).collect::<Vec<_>>();
    let m = &runs[0].manifest;
    let mut body = format!(
        "<header><p class=\"eyebrow\">{} runs side by side · {} {}</p><h1>{}</h1></header>",
        runs.len(),
        escape(&m.program),
        escape(&m.version),
        title.iter().map(|t| escape(t)).collect::<Vec<_>>().join("<br>")
    );
    body.push_str(&of_runs(runs, links));
    body.push_str(&verdicts(runs, links));
    body.push_str(
        "<section id=\"how\" class=\"box\"><h3>How to read this</h3><ul>\
         <li>Every verdict is its own run's, by its own rule, with its own p; Holm adjusts within a run. Nothing is pooled over runs.</li>\
         <li>Effects of different domains are in different units (logarithms of tokens, nats of log-odds): compare outcomes, not sizes. \
         Below zero is more of the trained value everywhere.</li>\
         <li>All runs here were made by one version of the program; runs of different versions are refused.</li></ul></section>",
    );
    body.push_str(&headlines(runs, links));
    for (run, link) in runs.iter().zip(links) {
        let own = notes(run);
        if own.is_empty() {
            continue;
        }
        let items: String = own.iter().map(|n| format!("<li>{}</li>", escape(n))).collect();
        body.push_str(&format!(
            "<section class=\"box\"><h3>Notes to read first: <a href=\"{}\">{}</a></h3><ul>{items}</ul></section>",
            escape(link),
            escape(&name(run))
        ));
    }
    shell(&title.join(" · "), &body, None)
}

fn capital(name: &str) -> String {
    crate::domain::measure::capital(&domain(name))
}

/// A column's head for each run: domain and folder, which leads to its report.
fn head(runs: &[Run], links: &[String]) -> String {
    let one = |(r, link): (&Run, &String)| {
        let domain = escape(&capital(&r.manifest.domain));
        format!("<th scope=\"col\">{domain}<br><a href=\"{}\">{}</a></th>", escape(link), escape(&name(r)))
    };
    runs.iter().zip(links).map(one).collect()
}

/// What each run is: a column each.
fn of_runs(runs: &[Run], links: &[String]) -> String {
    let head = head(runs, links);
    type Fact<'a> = (&'a str, &'a dyn Fn(&Run) -> String);
    let list = |all: &[String]| all.join(", ");
    let facts: [Fact<'_>; 7] = [
        ("Profile", &|r| r.manifest.profile.clone()),
        ("Model", &|r| r.manifest.model.clone()),
        ("Arms", &|r| list(&r.manifest.arms)),
        ("Seeds", &|r| list(&r.manifest.seeds.iter().map(u64::to_string).collect::<Vec<_>>())),
        ("Device", &|r| r.manifest.device.clone()),
        ("Started", &|r| number::utc(r.manifest.started_unix)),
        ("Wall time", &|r| number::duration(r.manifest.seconds.values().sum())),
    ];
    let row = |(label, value): &Fact<'_>| {
        let cells: String = runs.iter().map(|r| format!("<td>{}</td>", escape(&value(r)))).collect();
        format!("<tr><th scope=\"row\">{label}</th>{cells}</tr>")
    };
    let mut rows: String = facts.iter().map(row).collect();
    let health: String = runs.iter().zip(links).map(|(r, link)| format!("<td>{}</td>", health(r, link))).collect();
    rows.push_str(&format!("<tr><th scope=\"row\">Health</th>{health}</tr>"));
    format!(
        "<section id=\"runs\"><div class=\"scroll\" tabindex=\"0\"><table class=\"beside\"><thead><tr><th></th>{head}</tr></thead><tbody>{rows}</tbody></table></div></section>"
    )
}

fn health(run: &Run, link: &str) -> String {
    let all = checks(run);
    let count = |by_design: bool| all.iter().filter(|(_, h)| !h.ok && h.by_design == by_design).count();
    let (failed, by_design) = (count(false), count(true));
    health_link(all.len() - by_design, failed, by_design, &format!("{}#health", escape(link)))
}

/// Numbers of the tests that any run has, in order.
fn numbers(runs: &[Run]) -> Vec<u32> {
    let mut all: Vec<u32> = runs.iter().flat_map(|r| r.tests.iter().filter_map(test_number)).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn of(run: &Run, number: u32) -> Option<&TestFolder> {
    run.tests.iter().find(|t| test_number(t) == Some(number))
}

fn title(runs: &[Run], number: u32) -> String {
    let mut results = runs.iter().filter_map(|r| of(r, number)?.result.as_ref());
    results.next().map_or_else(|| format!("Test {number}"), |r| format!("{number} {}", r.title))
}

/// Test by test: outcome, effect, p and reason of every run, and its rule.
fn verdicts(runs: &[Run], links: &[String]) -> String {
    let head = head(runs, links);
    let mut out = format!(
        "<section id=\"verdicts\"><h2>Verdicts, test by test</h2><div class=\"scroll\" tabindex=\"0\"><table class=\"beside\"><thead><tr>\
         <th scope=\"col\">Test</th>{head}</tr></thead><tbody>"
    );
    for number in numbers(runs) {
        out.push_str(&format!("<tr><th scope=\"row\">{}</th>", escape(&title(runs, number))));
        for (at, (run, link)) in runs.iter().zip(links).enumerate() {
            out.push_str(&format!("<td>{}</td>", verdict(run, number, link, at)));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></section>");
    out
}

fn verdict(run: &Run, number: u32, link: &str, at: usize) -> String {
    let Some(t) = of(run, number) else { return "<small>not part of this run</small>".into() };
    let to = format!("{}#test-{}", escape(link), slug(&t.id));
    let Some(r) = &t.result else { return format!("<a class=\"plain\" href=\"{to}\">{}</a>", badge(None)) };
    let v = &r.verdict;
    let effect = match &v.primary {
        Some(e) if v.outcome != Outcome::NotTested => effect_cell(e, &format!("{at}-{}", slug(&t.id))),
        _ => String::new(),
    };
    let p = match v.p {
        Some(_) => format!("{}, {}; ", number::p_text("p", v.p), number::p_text("Holm p", v.p_holm)),
        None => String::new(),
    };
    format!(
        "<a class=\"plain\" href=\"{to}\">{}</a>{effect}<small>{}{}, {}, {}</small><p>{}</p>{}",
        badge(Some(v.outcome)),
        escape(&p),
        number::plural(r.n_items, "item", "items"),
        number::plural(r.n_prompts, "prompt", "prompts"),
        number::plural(r.n_seeds, "seed", "seeds"),
        escape(&v.reason),
        rules::folded(&run.rules, t)
    )
}

/// The study's own statistic of every test here, and what it printed.
fn headlines(runs: &[Run], links: &[String]) -> String {
    let head = head(runs, links);
    let mut out = format!(
        "<section id=\"headlines\"><h2>As the study reports it</h2><div class=\"scroll\" tabindex=\"0\"><table class=\"beside\"><thead><tr>\
         <th scope=\"col\">Test</th>{head}</tr></thead><tbody>"
    );
    for number in numbers(runs) {
        out.push_str(&format!("<tr><th scope=\"row\">{}</th>", escape(&title(runs, number))));
        for (run, link) in runs.iter().zip(links) {
            let cell = match of(run, number).and_then(|t| Some((t, t.result.as_ref()?))) {
                None => "<small>no result</small>".to_string(),
                Some((t, r)) => format!(
                    "<p>{}</p><small><a href=\"{}#test-{}\">tables and figures</a></small>{}",
                    escape(&r.headline.summary),
                    escape(link),
                    slug(&t.id),
                    published::of_test(run, number)
                ),
            };
            out.push_str(&format!("<td>{cell}</td>"));
        }
        out.push_str("</tr>");
    }
    out.push_str("</tbody></table></div></section>");
    out
}

#[cfg(test)]
mod tests {
    use super::super::synthetic;
    use super::*;
    use crate::battery::record::{Manifest, TestResult};

    fn two() -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let runs = ["a run", "b"].map(|n| dir.path().join(n)).to_vec();
        runs.iter().for_each(|r| synthetic::write(r, 20));
        (dir, runs)
    }

    fn edit(path: &Path, change: impl FnOnce(&mut Manifest)) {
        let mut m: Manifest = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        change(&mut m);
        std::fs::write(path, serde_json::to_string(&m).unwrap()).unwrap();
    }

    #[test]
    fn verdicts_of_two_runs_stand_side_by_side() {
        let (dir, runs) = two();
        edit(&runs[1].join("manifest.json"), |m| m.domain = "honesty".into());
        let out = dir.path().join("both.html");
        let made = write(&runs, &out).unwrap();
        let html = std::fs::read_to_string(&out).unwrap();
        assert_eq!((made.bytes, made.runs.len()), (html.len(), 2));
        for text in [
            "Compute frugality: Mixed: 3 of 8 tests",
            "Honesty: Mixed: 3 of 8 tests",
            "href=\"a%20run/report.html#test-01-generalisation\"",
            "href=\"b/report.html#health\"",
            "Verdicts, test by test",
            "As the study reports it",
            "Arms</th><td>base, control, value</td><td>base, control, honest</td>",
        ] {
            assert!(html.contains(text), "missing: {text}");
        }
        // Both runs have their own report, and every test its two verdicts as the results have them.
        for run in &runs {
            assert!(run.join("report.html").is_file());
            for t in read::read(run).unwrap().tests {
                let r: TestResult = t.result.unwrap();
                assert_eq!(html.matches(&escape(&r.verdict.reason)).count(), 2, "{}", r.id);
            }
        }
        assert!(!html.contains("<script") && !html.contains("src="));
    }

    #[test]
    fn what_cannot_stand_side_by_side_is_refused() {
        let (dir, runs) = two();
        let out = dir.path().join("both.html");
        let refused = |dirs: &[PathBuf]| write(dirs, &out).unwrap_err().to_string();
        assert!(refused(&runs[..1]).contains("at least two"));
        assert!(refused(&[runs[0].clone(), runs[0].join("../a run")]).contains("named twice"));
        edit(&runs[1].join("manifest.json"), |m| m.version = "9.9.9".into());
        // The results of the other version have its key.
        assert!(refused(&runs).contains("9.9.9") || refused(&runs).contains("do not belong together"));
        std::fs::remove_dir_all(runs[1].join("tests")).unwrap();
        let message = refused(&runs);
        assert!(message.contains("probity 9.9.9") && message.contains("one version"), "{message}");
        assert!(!out.exists());
    }

    #[test]
    fn links_lead_from_one_folder_to_another() {
        let way = |a: &str, b: &str| relative(Path::new(a), Path::new(b));
        assert_eq!(way("/x/y", "/x/y/r/report.html"), "r/report.html");
        assert_eq!(way("/x/y", "/x/ä b/report.html"), "../%C3%A4%20b/report.html");
    }
}
