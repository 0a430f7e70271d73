//! `probity fetch ORG/NAME`: a model from the hub into the local cache; and `--fetch` of the commands that take a model.

use std::error::Error;
use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use super::console::Progress;
use crate::hub::{Env, Fetched, Hub, HubError, ModelId, Plan, Watch, locate, size_text};
use crate::model::config::Family;

/// Options of `probity fetch`.
#[derive(clap::Args)]
pub struct Args {
    /// ORG/NAME, or ORG/NAME@REVISION for a branch, tag or commit
    model: String,
    /// Ask the hub which files and how many bytes there are; download nothing
    #[arg(long)]
    dry_run: bool,
    #[arg(long, value_enum, default_value = "auto")]
    progress: Progress,
    #[arg(long)]
    json: bool,
}

/// `--fetch` of every command that takes a model.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct FetchArg {
    /// Download a model ORG/NAME that is not in the local cache first; without this nothing touches the network
    #[arg(long)]
    fetch: bool,
}

impl FetchArg {
    /// Stops, before any work, where a model of the hub is not in the cache; with `--fetch` brings it.
    pub fn ensure(self, model: &str, progress: Progress) -> Result<(), Box<dyn Error>> {
        let Some(id) = ModelId::of_name(model)? else { return Ok(()) };
        let env = Env::of_process()?;
        match locate(&env, &id) {
            Err(HubError::Missing { .. }) if self.fetch => {
                let hub = Hub::new(&env)?;
                let plan = hub.plan(&id)?;
                runs(&plan)?;
                bring(&hub, &plan, progress)?;
                Ok(())
            }
            found => Ok(found.map(|_| ())?),
        }
    }
}

/// Runs the command.
pub fn run(args: Args) -> Result<i32, Box<dyn Error>> {
    let env = Env::of_process()?;
    let id = ModelId::parse(&args.model)?;
    let hub = Hub::new(&env)?;
    let plan = hub.plan(&id)?;
    if args.dry_run {
        super::print(&if args.json { format!("{:#}\n", described(&plan)) } else { listed(&plan) });
        return Ok(0);
    }
    runs(&plan)?;
    let quiet = if args.json { Progress::None } else { args.progress };
    let done = bring(&hub, &plan, quiet)?;
    if args.json {
        let mut value = described(&plan);
        value["folder"] = json!(done.folder);
        value["downloaded_bytes"] = json!(done.downloaded);
        super::print(&format!("{value:#}\n"));
        return Ok(0);
    }
    let came = match done.downloaded {
        0 => "all of it was in the cache".to_string(),
        n => format!("{} downloaded and checked against the hub's hashes", size_text(n)),
    };
    super::print(&format!(
        "{}: {} files, {} ({came})\nFolder: {}\nTo pin this commit: {}@{}\n",
        plan.id,
        plan.files.len(),
        size_text(plan.bytes()),
        done.folder.display(),
        plan.id.repository,
        done.commit
    ));
    Ok(0)
}

/// Refuses what could not be run after the download.
fn runs(plan: &Plan) -> Result<(), HubError> {
    match &plan.model_type {
        Some(t) if Family::of(t).is_none() => Err(HubError::Unusable {
            id: plan.id.to_string(),
            detail: format!(
                "it is a {t} model of {}, and this program runs {} models; nothing was downloaded",
                size_text(plan.bytes()),
                Family::ALL.map(Family::model_type).join(" and ")
            ),
        }),
        _ => Ok(()),
    }
}

fn bring(hub: &Hub, plan: &Plan, progress: Progress) -> Result<Fetched, HubError> {
    let mut watch = Meter::new(progress);
    let missing = plan.missing_bytes();
    if missing > 0 {
        let text = format!("fetching {} at commit {}: {}", plan.id, plan.commit, size_text(missing));
        watch.say(&text);
    }
    let done = hub.fetch(plan, &mut watch);
    watch.finish();
    done
}

fn described(plan: &Plan) -> serde_json::Value {
    json!({
        "model": plan.id.to_string(),
        "commit": plan.commit,
        "model_type": plan.model_type,
        "bytes": plan.bytes(),
        "missing_bytes": plan.missing_bytes(),
        "files": plan.files,
    })
}

fn listed(plan: &Plan) -> String {
    let mut out = format!("{} at commit {}\n", plan.id, plan.commit);
    for f in &plan.files {
        let cached = if f.cached { "  in the cache" } else { "" };
        out.push_str(&format!("  {:>10}  {}{cached}\n", size_text(f.size), f.name));
    }
    out.push_str(&format!("{} in all, {} to download\n", size_text(plan.bytes()), size_text(plan.missing_bytes())));
    if let Err(e) = runs(plan) {
        out.push_str(&format!("{e}\n"));
    }
    out
}

/// A download on standard error: a bar over all bytes on a terminal, a line for every tenth elsewhere.
struct Meter {
    mode: Progress,
    bar: Option<ProgressBar>,
    file: String,
    tenth: u64,
}

impl Meter {
    fn new(mode: Progress) -> Self {
        let mode = match mode {
            Progress::Auto if !std::io::stderr().is_terminal() => Progress::Plain,
            m => m,
        };
        Self { mode, bar: None, file: String::new(), tenth: 0 }
    }

    fn say(&self, text: &str) {
        match (&self.bar, self.mode) {
            (_, Progress::None) => {}
            (Some(bar), _) => bar.println(text),
            (None, _) => eprintln!("{text}"),
        }
    }

    fn finish(&self) {
        if let Some(bar) = &self.bar {
            bar.abandon();
        }
    }
}

impl Watch for Meter {
    fn file(&mut self, name: &str, _: u64) {
        self.file = name.into();
        if let Some(bar) = &self.bar {
            bar.set_message(self.file.clone());
        }
    }

    fn progress(&mut self, done: u64, total: u64) {
        match self.mode {
            Progress::None => {}
            Progress::Plain => {
                let tenth = 10 * done / total.max(1);
                // Files that were there from the start are no news.
                if tenth > self.tenth && !self.file.is_empty() {
                    eprintln!("{}: {} of {}", self.file, size_text(done), size_text(total));
                }
                self.tenth = self.tenth.max(tenth);
            }
            Progress::Auto if self.file.is_empty() => {}
            Progress::Auto => {
                let file = &self.file;
                let bar = self.bar.get_or_insert_with(|| {
                    let template =
                        "{bar:24} {decimal_bytes}/{decimal_total_bytes} {decimal_bytes_per_sec} {eta}  {msg}";
                    let style = ProgressStyle::with_template(template);
                    let bar = ProgressBar::new(total);
                    // Rate and remaining time count from here, not from nothing.
                    bar.set_position(done);
                    bar.reset_eta();
                    bar.set_message(file.clone());
                    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
                });
                bar.set_position(done);
            }
        }
    }

    fn note(&mut self, text: &str) {
        self.say(text);
    }
}
