//! Downloading a model into the cache: resumed by `Range`, checked against the hub's hash before it gets its name.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::cache::{folder, repo};
use super::digest::Digest;
use super::http::{Client, Failure, header};
use super::plan::{Info, Plan, Remote};
use super::{Env, HubError, ModelId, Result, is_hex};

/// Follows a download.
pub trait Watch {
    /// A file begins.
    fn file(&mut self, name: &str, size: u64);
    /// Bytes of the plan that are here.
    fn progress(&mut self, done: u64, total: u64);
    fn note(&mut self, text: &str);
}

/// What a fetch left in the cache.
#[derive(Clone, Debug, PartialEq)]
pub struct Fetched {
    pub commit: String,
    pub folder: PathBuf,
    /// Bytes that came over the network.
    pub downloaded: u64,
}

/// The hub, reached over the network.
pub struct Hub {
    env: Env,
    client: Client,
    /// Failed connections in a row, none of which brought a byte, before a file is given up.
    pub(super) attempts: u32,
    /// Pause after the first of them; it doubles.
    pub(super) pause: Duration,
}

impl Hub {
    pub fn new(env: &Env) -> Result<Self> {
        Ok(Self { env: env.clone(), client: Client::new(env)?, attempts: 5, pause: Duration::from_millis(500) })
    }

    /// Asks the hub which commit a revision is and which files a fetch would bring.
    pub fn plan(&self, id: &ModelId) -> Result<Plan> {
        if self.env.offline {
            return Err(HubError::Offline { id: id.to_string() });
        }
        let revision = id.revision().replace('/', "%2F");
        let url = format!("{}/api/models/{}/revision/{revision}?blobs=true", self.env.endpoint, id.repository);
        let body = self.again(id, &url, || self.client.text(&url))?;
        let info: Info = serde_json::from_slice(&body)
            .map_err(|e| HubError::Answer { url: url.clone(), detail: format!("no description of a model: {e}") })?;
        if is_hex(id.revision(), 40) && info.sha != id.revision() {
            let detail = format!("commit {} instead of the one asked for", info.sha);
            return Err(HubError::Answer { url, detail });
        }
        let mut files = Vec::new();
        for wanted in info.wanted(id)? {
            let (size, digest) = match (wanted.size, wanted.digest) {
                (Some(size), Some(digest)) => (size, digest),
                _ => self.described(id, &info.sha, &wanted.name)?,
            };
            let at = Place::new(&self.env, id, &info.sha, &wanted.name, &digest);
            let cached = holds(&at.pointer, size) || holds(&at.blob, size);
            files.push(Remote { name: wanted.name, size, digest, cached });
        }
        Ok(Plan { id: id.clone(), model_type: info.model_type(), commit: info.sha, files })
    }

    /// Brings what the cache lacks. The revision is recorded last: until then nobody finds half a model.
    pub fn fetch(&self, plan: &Plan, watch: &mut dyn Watch) -> Result<Fetched> {
        if self.env.offline {
            return Err(HubError::Offline { id: plan.id.to_string() });
        }
        let total = plan.bytes();
        let (mut before, mut downloaded) = (0, 0);
        for file in &plan.files {
            let at = Place::new(&self.env, &plan.id, &plan.commit, &file.name, &file.digest);
            if !holds(&at.pointer, file.size) {
                watch.file(&file.name, file.size);
                let mut job = Job { hub: self, plan, file, at: &at, watch, before, total, downloaded: 0 };
                let done = job.bring();
                downloaded += job.downloaded;
                done?;
                at.link(&file.name, &file.digest)?;
            }
            before += file.size;
            watch.progress(before, total);
        }
        let cache = repo(&self.env, &plan.id);
        if !is_hex(plan.id.revision(), 40) {
            let refs = folder(&self.env, &plan.id).join("refs");
            cache.create_ref(&plan.commit).map_err(HubError::io(refs, "write the revision into"))?;
        }
        Ok(Fetched { folder: cache.pointer_path(&plan.commit), commit: plan.commit.clone(), downloaded })
    }

    /// Size and hash of a file from the headers, for servers whose API leaves them out.
    fn described(&self, id: &ModelId, commit: &str, name: &str) -> Result<(u64, Digest)> {
        let url = self.url(id, commit, name);
        let answer = self.again(id, &url, || self.client.request(&url, true, 0))?;
        let find = |names: [&str; 2]| names.iter().find_map(|n| header(&answer.hub, n));
        let digest = find(["x-linked-etag", "etag"]).and_then(Digest::parse);
        let size = find(["x-linked-size", "content-length"]).and_then(|s| s.parse().ok());
        match (size, digest) {
            (Some(size), Some(digest)) => Ok((size, digest)),
            _ => {
                let detail =
                    "neither the API nor the headers give the file's size and hash, so it could not be checked";
                Err(HubError::Answer { url, detail: detail.into() })
            }
        }
    }

    fn url(&self, id: &ModelId, commit: &str, name: &str) -> String {
        format!("{}/{}/resolve/{commit}/{name}", self.env.endpoint, id.repository)
    }

    /// A small request, repeated while another try may help.
    fn again<T>(&self, id: &ModelId, url: &str, request: impl Fn() -> std::result::Result<T, Failure>) -> Result<T> {
        let mut failed = 0;
        loop {
            match request() {
                Ok(answer) => return Ok(answer),
                Err(Failure::Again(detail)) => {
                    failed += 1;
                    if failed >= self.attempts {
                        return Err(HubError::Network { url: url.into(), detail });
                    }
                    self.wait(failed);
                }
                Err(Failure::Status(status, headers)) => {
                    return Err(self.refused(id, url, status, header(&headers, "x-error-code")));
                }
                Err(Failure::Stop(e)) => return Err(e),
            }
        }
    }

    fn wait(&self, failed: u32) {
        std::thread::sleep(self.pause * (1 << failed.saturating_sub(1).min(5)));
    }

    /// The hub's "no" in words.
    fn refused(&self, id: &ModelId, url: &str, status: u16, code: Option<&str>) -> HubError {
        let page = format!("{}/{}", self.env.endpoint, id.repository);
        let (id, endpoint) = (id.to_string(), self.env.endpoint.clone());
        match (status, code) {
            (404, Some("EntryNotFound")) => HubError::NotFound { id, what: format!("file ({url})"), endpoint },
            (404, Some("RevisionNotFound")) => HubError::NotFound { id, what: "revision".into(), endpoint },
            (404, _) => HubError::NotFound { id, what: "repository or revision".into(), endpoint },
            (401 | 403, _) => {
                let licence = format!("accept the licence at {page}");
                let hint = match (code, &self.env.token) {
                    (Some("GatedRepo"), None) => format!("{licence}, then set HF_TOKEN to a token of that account"),
                    (_, Some(_)) => {
                        format!("the token that is set may not read it: {licence}, or set HF_TOKEN to another token")
                    }
                    (_, None) => format!(
                        "no such repository, or one that is private or gated: check the name; otherwise set HF_TOKEN and {licence}"
                    ),
                };
                HubError::Denied { id, status, hint }
            }
            _ => HubError::Answer { url: url.into(), detail: format!("status {status}") },
        }
    }
}

/// Where a file lives in the cache.
struct Place {
    blob: PathBuf,
    part: PathBuf,
    pointer: PathBuf,
}

impl Place {
    fn new(env: &Env, id: &ModelId, commit: &str, name: &str, digest: &Digest) -> Self {
        let blobs = folder(env, id).join("blobs");
        Self {
            blob: blobs.join(digest.hex()),
            part: blobs.join(format!("{}.incomplete", digest.hex())),
            pointer: repo(env, id).pointer_path(commit).join(name),
        }
    }

    /// Puts the file's name into the snapshot.
    fn link(&self, name: &str, digest: &Digest) -> Result<()> {
        make_dir(&self.pointer)?;
        if self.pointer.symlink_metadata().is_ok() {
            std::fs::remove_file(&self.pointer).map_err(HubError::io(&self.pointer, "replace"))?;
        }
        // Relative, so that the cache can be moved.
        let target = "../".repeat(1 + name.split('/').count()) + "blobs/" + digest.hex();
        match symlink(Path::new(&target), &self.blob, &self.pointer) {
            Err(e) if e.kind() != std::io::ErrorKind::AlreadyExists => Err(HubError::io(&self.pointer, "link")(e)),
            _ => Ok(()),
        }
    }
}

#[cfg(unix)]
fn symlink(target: &Path, _: &Path, pointer: &Path) -> std::io::Result<()> {
    std::os::unix::fs::symlink(target, pointer)
}

/// Windows allows links only to some users; the others get the file itself.
#[cfg(not(unix))]
fn symlink(target: &Path, blob: &Path, pointer: &Path) -> std::io::Result<()> {
    #[cfg(windows)]
    if std::os::windows::fs::symlink_file(target.to_string_lossy().replace('/', "\\"), pointer).is_ok() {
        return Ok(());
    }
    let _ = target;
    std::fs::copy(blob, pointer).map(|_| ())
}

fn holds(path: &Path, size: u64) -> bool {
    std::fs::metadata(path).is_ok_and(|m| m.is_file() && m.len() == size)
}

fn make_dir(file: &Path) -> Result<()> {
    let Some(dir) = file.parent() else { return Ok(()) };
    std::fs::create_dir_all(dir).map_err(HubError::io(dir, "create"))
}

/// One file on its way.
struct Job<'a> {
    hub: &'a Hub,
    plan: &'a Plan,
    file: &'a Remote,
    at: &'a Place,
    watch: &'a mut dyn Watch,
    /// Bytes of the files before this one, and of all.
    before: u64,
    total: u64,
    downloaded: u64,
}

impl Job<'_> {
    /// The blob, complete and checked.
    fn bring(&mut self) -> Result<()> {
        let Place { blob, part, .. } = self.at;
        let size = self.file.size;
        if holds(blob, size) {
            return Ok(());
        }
        make_dir(part)?;
        let open = OpenOptions::new().append(true).create(true).open(part);
        let mut out = open.map_err(HubError::io(part, "write"))?;
        match out.try_lock() {
            Err(TryLockError::WouldBlock) => return Err(HubError::Locked { path: part.clone() }),
            // File systems without locks: the hash would find what two writers mix.
            Err(TryLockError::Error(_)) | Ok(()) => {}
        }
        // Another process may have finished between the first look and the lock.
        if holds(blob, size) {
            return Ok(());
        }
        self.fill(&mut out)?;
        out.sync_all().map_err(HubError::io(part, "write"))?;
        let digest = &self.file.digest;
        let found = digest.of_file(part)?;
        if found != digest.hex() {
            std::fs::remove_file(part).map_err(HubError::io(part, "delete"))?;
            return Err(HubError::Checksum {
                id: self.plan.id.to_string(),
                file: self.file.name.clone(),
                hash: digest.name(),
                expected: digest.hex().into(),
                found,
            });
        }
        std::fs::rename(part, blob).map_err(HubError::io(blob, "write"))
    }

    /// Appends to the partial file until it has its size.
    fn fill(&mut self, out: &mut File) -> Result<()> {
        let size = self.file.size;
        let url = self.hub.url(&self.plan.id, &self.plan.commit, &self.file.name);
        let mut failed = 0;
        loop {
            let mut have = self.length(out)?;
            if have > size {
                out.set_len(0).map_err(HubError::io(&self.at.part, "empty"))?;
                have = 0;
            }
            if have == size {
                return Ok(());
            }
            let detail = match self.attempt(out, &url, have) {
                Ok(()) => "the connection closed early".to_string(),
                Err(Failure::Again(detail)) => detail,
                Err(Failure::Stop(e)) => return Err(e),
                Err(Failure::Status(status, headers)) => {
                    return Err(self.hub.refused(&self.plan.id, &url, status, header(&headers, "x-error-code")));
                }
            };
            let now = self.length(out)?;
            if now == size {
                return Ok(());
            }
            failed = if now > have { 1 } else { failed + 1 };
            if failed >= self.hub.attempts {
                return Err(HubError::Interrupted {
                    id: self.plan.id.to_string(),
                    file: self.file.name.clone(),
                    have: now,
                    size,
                    detail,
                });
            }
            self.watch.note(&format!("{}: {detail}; going on at byte {now}", self.file.name));
            self.hub.wait(failed);
        }
    }

    fn length(&self, out: &File) -> Result<u64> {
        Ok(out.metadata().map_err(HubError::io(&self.at.part, "read"))?.len())
    }

    /// One connection: the bytes from `have` on, as many as come.
    fn attempt(&mut self, out: &mut File, url: &str, have: u64) -> std::result::Result<(), Failure> {
        let stop = |e: HubError| Failure::Stop(e);
        let answer = self.hub.client.request(url, false, have)?;
        if let Some(commit) = header(&answer.hub, "x-repo-commit").filter(|c| *c != self.plan.commit) {
            let detail = format!("a file of commit {commit} instead of {}", self.plan.commit);
            return Err(stop(HubError::Answer { url: url.into(), detail }));
        }
        let mut have = have;
        let headers = answer.response.headers();
        if answer.response.status().as_u16() == 206 {
            let starts = header(headers, "content-range").and_then(|r| r.strip_prefix("bytes "));
            let start = starts.and_then(|r| r.split('-').next()?.trim().parse::<u64>().ok());
            if start != Some(have) {
                return Err(Failure::Again("the server sent another range than was asked for".into()));
            }
        } else if have > 0 {
            // A server without ranges sends everything again.
            out.set_len(0).map_err(|e| stop(HubError::io(&self.at.part, "empty")(e)))?;
            have = 0;
        }
        let mut body = answer.response.into_body().into_reader().take(self.file.size - have);
        let mut buffer = vec![0; 1 << 17];
        loop {
            self.watch.progress(self.before + have, self.total);
            let n = match body.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(e) if e.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(Failure::Again(e.to_string())),
            };
            out.write_all(&buffer[..n]).map_err(|e| stop(HubError::io(&self.at.part, "write")(e)))?;
            have += n as u64;
            self.downloaded += n as u64;
        }
    }
}
