//! A hub on this machine: enough of its API, its redirects to storage, and its faults on demand.

use std::collections::{BTreeMap, VecDeque};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::{Arc, Mutex};

use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::Env;

pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";
pub(crate) const TOKEN: &str = "hf_secretOfTheTest";

/// One request as the server saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub line: String,
    pub authorization: Option<String>,
    pub range: Option<usize>,
    /// Bytes of the body that were sent.
    pub sent: usize,
}

/// What goes wrong, and what is asked of a client.
#[derive(Default)]
pub(crate) struct Mood {
    /// Storage closes the connection after so many bytes, once each.
    pub cuts: VecDeque<usize>,
    /// Storage flips a bit.
    pub corrupt: bool,
    pub ignores_ranges: bool,
    pub wants_token: bool,
    /// The API tells names of files only.
    pub terse: bool,
}

type Log = Arc<Mutex<Vec<Seen>>>;
type Files = BTreeMap<&'static str, Vec<u8>>;

/// A hub and, on another port and under another host name, its storage.
pub(crate) struct Server {
    pub port: u16,
    pub seen: Log,
    pub stored: Log,
    pub mood: Arc<Mutex<Mood>>,
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|b| format!("{b:02x}")).collect()
}

/// Large files are those that a real hub keeps outside git.
pub(crate) fn large(name: &str) -> bool {
    name.ends_with(".safetensors") || name.ends_with(".bin")
}

pub(crate) fn etag(name: &str, bytes: &[u8]) -> String {
    match large(name) {
        true => hex(&Sha256::digest(bytes)),
        false => hex(&Sha1::new().chain_update(format!("blob {}\0", bytes.len())).chain_update(bytes).finalize()),
    }
}

/// The embedded model as a repository, with files that nobody wants.
pub(crate) fn files() -> Files {
    let tiny = |n: &str| std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("data/tiny").join(n)).unwrap();
    let mut files: Files = ["config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"]
        .into_iter()
        .map(|n| (n, tiny(n)))
        .collect();
    files.insert("README.md", b"# tiny".to_vec());
    files.insert("pytorch_model.bin", vec![1; 50]);
    files.insert("onnx/model.safetensors", vec![1; 50]);
    files.insert("additional_chat_templates/../../../evil.jinja", vec![1; 50]);
    files
}

impl Server {
    pub fn start(files: Files) -> Self {
        let (hub, storage) = (listener(), listener());
        let (port, store) = (hub.local_addr().unwrap().port(), storage.local_addr().unwrap().port());
        let files = Arc::new(files);
        let mood: Arc<Mutex<Mood>> = Arc::default();
        let (seen, stored) = (Log::default(), Log::default());
        let (f, m, log) = (files.clone(), mood.clone(), seen.clone());
        serve(hub, move |stream, request| answer_hub(stream, request, &f, &m, &log, store));
        let (f, m, log) = (files, mood.clone(), stored.clone());
        serve(storage, move |stream, request| answer_storage(stream, request, &f, &m, &log));
        Self { port, seen, stored, mood }
    }

    /// An environment whose cache is `dir` and whose hub is this server.
    pub fn env(&self, dir: &Path, more: &[(&str, &str)]) -> Env {
        let endpoint = format!("http://127.0.0.1:{}/", self.port);
        let cache = dir.join("hub").to_string_lossy().into_owned();
        let fixed = [("HF_ENDPOINT", endpoint.as_str()), ("HF_HUB_CACHE", cache.as_str())];
        let find = |name: &str| more.iter().chain(&fixed).find(|(n, _)| *n == name).map(|(_, v)| v.to_string());
        Env::from(find).unwrap()
    }

    pub fn stored_bytes(&self) -> usize {
        self.stored.lock().unwrap().iter().map(|s| s.sent).sum()
    }
}

pub(crate) fn listener() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// Answers every connection on its own thread, until the test ends.
pub(crate) fn serve(listener: TcpListener, answer: impl Fn(&mut TcpStream, Seen) + Send + Sync + 'static) {
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { break };
            let answer = answer.clone();
            std::thread::spawn(move || {
                if let Some(request) = read(&stream) {
                    answer(&mut stream, request);
                }
            });
        }
    });
}

fn read(stream: &TcpStream) -> Option<Seen> {
    let mut lines = BufReader::new(stream).lines();
    let mut seen = Seen { line: lines.next()?.ok()?, ..Seen::default() };
    for line in lines {
        let line = line.ok()?;
        let Some((name, value)) = line.split_once(':') else { break };
        match name.to_ascii_lowercase().as_str() {
            "authorization" => seen.authorization = Some(value.trim().into()),
            "range" => seen.range = value.trim().strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok(),
            _ => {}
        }
    }
    Some(seen)
}

fn send(stream: &mut TcpStream, status: &str, headers: &[(&str, String)], body: &[u8]) -> usize {
    let mut head = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
    for (name, value) in headers {
        head.push_str(&format!("{name}: {value}\r\n"));
    }
    stream.write_all(format!("{head}\r\n").as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    body.len()
}

fn length(body: &[u8]) -> (&'static str, String) {
    ("Content-Length", body.len().to_string())
}

fn answer_hub(
    stream: &mut TcpStream,
    mut request: Seen,
    files: &Files,
    mood: &Mutex<Mood>,
    log: &Mutex<Vec<Seen>>,
    store: u16,
) {
    // Held over the answer: who has the answer finds it in the log.
    let (mood, mut log) = (mood.lock().unwrap(), log.lock().unwrap());
    let words: Vec<String> = request.line.split(' ').map(String::from).collect();
    let (head, path) = (words[0] == "HEAD", words[1].as_str());
    let refuse = |stream: &mut TcpStream, status: &str, code: &str| {
        send(stream, status, &[("X-Error-Code", code.into()), length(b"no")], b"no")
    };
    let (commit, empty) = (("X-Repo-Commit", COMMIT.to_string()), length(b""));
    let sent = if path.contains("/old/tiny/") {
        send(stream, "307 Temporary Redirect", &[("Location", path.replace("/old/", "/org/")), empty], b"")
    } else if mood.wants_token && request.authorization != Some(format!("Bearer {TOKEN}")) {
        refuse(stream, "401 Unauthorized", "GatedRepo")
    } else if let Some(rest) = path.strip_prefix("/api/models/org/tiny/revision/") {
        match rest.strip_suffix("?blobs=true").unwrap() {
            "main" | "v1" | "refs%2Fpr%2F1" | COMMIT => {
                let body = info(files, mood.terse).to_string().into_bytes();
                send(stream, "200 OK", &[length(&body)], &body)
            }
            _ => refuse(stream, "404 Not Found", "RevisionNotFound"),
        }
    } else if let Some(name) = path.strip_prefix(&format!("/org/tiny/resolve/{COMMIT}/")) {
        let bytes = &files[name];
        let tag = etag(name, bytes);
        if large(name) {
            let headers = [
                ("Location", format!("http://localhost:{store}/{name}?signature=1")),
                ("X-Linked-Etag", format!("\"{tag}\"")),
                ("X-Linked-Size", bytes.len().to_string()),
                commit,
                empty,
            ];
            send(stream, "302 Found", &headers, b"")
        } else {
            let body: &[u8] = if head { b"" } else { bytes };
            send(stream, "200 OK", &[("ETag", format!("W/\"{tag}\"")), commit, length(bytes)], body)
        }
    } else {
        refuse(stream, "401 Unauthorized", "RepoNotFound")
    };
    request.sent = sent;
    log.push(request);
}

fn info(files: &Files, terse: bool) -> serde_json::Value {
    let siblings: Vec<_> = files
        .iter()
        .map(|(name, bytes)| {
            let mut file = serde_json::json!({ "rfilename": name });
            if !terse {
                file["size"] = bytes.len().into();
                file["blobId"] = "f".repeat(40).into();
                match large(name) {
                    true => {
                        file["lfs"] =
                            serde_json::json!({ "sha256": etag(name, bytes), "size": bytes.len(), "pointerSize": 134 })
                    }
                    false => file["blobId"] = etag(name, bytes).into(),
                }
            }
            file
        })
        .collect();
    serde_json::json!({ "id": "org/tiny", "sha": COMMIT, "siblings": siblings, "config": { "model_type": "qwen2" } })
}

fn answer_storage(
    stream: &mut TcpStream,
    mut request: Seen,
    files: &Files,
    mood: &Mutex<Mood>,
    log: &Mutex<Vec<Seen>>,
) {
    let (mut mood, mut log) = (mood.lock().unwrap(), log.lock().unwrap());
    let name = request.line.split(['/', '?']).nth(1).unwrap();
    let mut bytes = files[name].clone();
    if mood.corrupt {
        bytes[2000] ^= 1;
    }
    let from = request.range.filter(|_| !mood.ignores_ranges).unwrap_or(0);
    let (body, total) = (&bytes[from..], bytes.len());
    let range = ("Content-Range", format!("bytes {from}-{}/{total}", total - 1));
    let (status, headers) = match from {
        0 => ("200 OK", vec![length(body)]),
        _ => ("206 Partial Content", vec![length(body), range]),
    };
    let cut = mood.cuts.pop_front().unwrap_or(body.len()).min(body.len());
    request.sent = send(stream, status, &headers, &body[..cut]);
    log.push(request);
}
