use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::cache::folder;
use super::digest::Digest;
use super::tests_server::{COMMIT, Server, TOKEN, etag, files, listener, serve};
use super::*;

struct Silent(Vec<String>);

impl Watch for Silent {
    fn file(&mut self, _: &str, _: u64) {}
    fn progress(&mut self, done: u64, total: u64) {
        assert!(done <= total);
    }
    fn note(&mut self, text: &str) {
        self.0.push(text.into());
    }
}

fn id(name: &str) -> ModelId {
    ModelId::parse(name).unwrap()
}

fn hub(env: &Env) -> Hub {
    let mut hub = Hub::new(env).unwrap();
    hub.pause = Duration::ZERO;
    hub
}

fn fetch(hub: &Hub, name: &str) -> Result<Fetched> {
    hub.fetch(&hub.plan(&id(name))?, &mut Silent(Vec::new()))
}

fn blobs(env: &Env) -> Vec<String> {
    let dir = folder(env, &id("org/tiny")).join("blobs");
    let entries = std::fs::read_dir(dir).into_iter().flatten();
    entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect()
}

fn weights() -> Vec<u8> {
    files()["model.safetensors"].clone()
}

#[test]
fn a_fetch_fills_the_cache_and_a_second_one_downloads_nothing() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
    server.mood.lock().unwrap().wants_token = true;
    let env = server.env(dir.path(), &[("HF_TOKEN", TOKEN)]);
    let hub = hub(&env);
    let plan = hub.plan(&id("org/tiny")).unwrap();
    let names: Vec<&str> = plan.files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["config.json", "tokenizer.json", "tokenizer_config.json", "model.safetensors"]);
    assert_eq!((plan.model_type.as_deref(), plan.missing_bytes()), (Some("qwen2"), plan.bytes()));
    let done = hub.fetch(&plan, &mut Silent(Vec::new())).unwrap();
    assert_eq!((done.commit.as_str(), done.downloaded), (COMMIT, plan.bytes()));

    let root = folder(&env, &id("org/tiny"));
    assert_eq!(std::fs::read_to_string(root.join("refs/main")).unwrap(), COMMIT);
    for name in names {
        let bytes = &files()[name];
        let path = done.folder.join(name);
        assert_eq!(std::fs::read(&path).unwrap(), *bytes, "{name}");
        #[cfg(unix)]
        assert_eq!(std::fs::read_link(&path).unwrap(), Path::new("../../blobs").join(etag(name, bytes)));
    }
    assert_eq!(blobs(&env).len(), 4, "no partial file is left");
    assert!(hf_hub::Cache::new(env.cache.clone()).model("org/tiny".into()).get("model.safetensors").is_some());
    assert_eq!(locate(&env, &id("org/tiny")).unwrap(), Snapshot { folder: done.folder, commit: COMMIT.into() });

    // The token goes to the hub and to nobody else.
    assert!(server.seen.lock().unwrap().iter().all(|s| s.authorization == Some(format!("Bearer {TOKEN}"))));
    let stored = server.stored.lock().unwrap().clone();
    assert!(stored.len() == 1 && stored.iter().all(|s| s.authorization.is_none()), "{stored:?}");

    let before = server.seen.lock().unwrap().len();
    assert_eq!(fetch(&hub, "org/tiny").unwrap().downloaded, 0);
    assert_eq!(server.seen.lock().unwrap().len(), before + 1, "the second fetch asks for the description alone");

    // A blob that is gone is brought alone.
    std::fs::remove_file(root.join("blobs").join(etag("model.safetensors", &weights()))).unwrap();
    let text = locate(&env, &id("org/tiny")).unwrap_err().to_string();
    assert!(text.contains("it without model.safetensors"), "{text}");
    assert_eq!(fetch(&hub, "org/tiny").unwrap().downloaded, weights().len() as u64);
    locate(&env, &id("org/tiny")).unwrap();
}

#[test]
fn a_connection_that_breaks_goes_on_where_it_stopped() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
    let env = server.env(dir.path(), &[]);
    server.mood.lock().unwrap().cuts = [1000, 5000].into();
    let mut watch = Silent(Vec::new());
    let hub = hub(&env);
    hub.fetch(&hub.plan(&id("org/tiny")).unwrap(), &mut watch).unwrap();
    let ranges: Vec<_> = server.stored.lock().unwrap().iter().map(|s| s.range).collect();
    assert_eq!(ranges, [None, Some(1000), Some(6000)]);
    assert_eq!(server.stored_bytes(), weights().len(), "no byte is sent twice");
    assert!(watch.0.len() == 2 && watch.0[1].contains("byte 6000"), "{:?}", watch.0);
    locate(&env, &id("org/tiny")).unwrap();
}

#[test]
fn a_fetch_that_was_stopped_leaves_no_half_model_and_resumes() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
    let env = server.env(dir.path(), &[]);
    server.mood.lock().unwrap().cuts = [3000].into();
    let mut impatient = hub(&env);
    impatient.attempts = 1;
    let e = fetch(&impatient, "org/tiny").unwrap_err();
    assert!(matches!(e, HubError::Interrupted { have: 3000, .. }), "{e}");
    assert!(e.to_string().contains("goes on from there"), "{e}");
    assert!(matches!(locate(&env, &id("org/tiny")), Err(HubError::Missing { .. })));
    fetch(&impatient, "org/tiny").unwrap();
    assert_eq!(server.stored.lock().unwrap()[1].range, Some(3000));
    assert_eq!(server.stored_bytes(), weights().len());
    locate(&env, &id("org/tiny")).unwrap();
}

#[test]
fn a_server_without_ranges_starts_over() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
    let env = server.env(dir.path(), &[]);
    {
        let mut mood = server.mood.lock().unwrap();
        (mood.cuts, mood.ignores_ranges) = ([3000].into(), true);
    }
    fetch(&hub(&env), "org/tiny").unwrap();
    assert_eq!(server.stored_bytes(), 3000 + weights().len());
    locate(&env, &id("org/tiny")).unwrap();
}

#[test]
fn what_arrives_damaged_is_deleted_and_refused() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
    let env = server.env(dir.path(), &[]);
    server.mood.lock().unwrap().corrupt = true;
    let e = fetch(&hub(&env), "org/tiny").unwrap_err();
    assert!(matches!(&e, HubError::Checksum { file, hash: "SHA-256", .. } if file == "model.safetensors"), "{e}");
    let sha = etag("model.safetensors", &weights());
    assert!(!blobs(&env).iter().any(|b| b.starts_with(&sha)), "{:?}", blobs(&env));
    assert!(matches!(locate(&env, &id("org/tiny")), Err(HubError::Missing { .. })));

    // A partial file of something else is found out too, and does not stand in the way twice.
    server.mood.lock().unwrap().corrupt = false;
    let part = folder(&env, &id("org/tiny")).join("blobs").join(format!("{sha}.incomplete"));
    std::fs::write(&part, vec![7; 500]).unwrap();
    assert!(matches!(fetch(&hub(&env), "org/tiny"), Err(HubError::Checksum { .. })));
    fetch(&hub(&env), "org/tiny").unwrap();
    locate(&env, &id("org/tiny")).unwrap();
}

#[test]
fn a_file_that_another_process_downloads_is_left_alone() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
    let env = server.env(dir.path(), &[]);
    let blobs = folder(&env, &id("org/tiny")).join("blobs");
    std::fs::create_dir_all(&blobs).unwrap();
    let part = blobs.join(format!("{}.incomplete", etag("model.safetensors", &weights())));
    let held = std::fs::File::create(part).unwrap();
    held.lock().unwrap();
    assert!(matches!(fetch(&hub(&env), "org/tiny"), Err(HubError::Locked { .. })));
    drop(held);
    fetch(&hub(&env), "org/tiny").unwrap();
}

#[test]
fn a_revision_is_pinned() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
    let env = server.env(dir.path(), &[]);
    let pinned = format!("org/tiny@{COMMIT}");
    fetch(&hub(&env), &pinned).unwrap();
    assert_eq!(locate(&env, &id(&pinned)).unwrap().commit, COMMIT);
    assert!(matches!(locate(&env, &id("org/tiny")), Err(HubError::Missing { .. })), "main was not asked for");
    for name in ["org/tiny@v1", "org/tiny@refs/pr/1"] {
        assert_eq!(fetch(&hub(&env), name).unwrap().downloaded, 0, "{name}");
        assert_eq!(locate(&env, &id(name)).unwrap().commit, COMMIT);
    }
    let text = locate(&env, &id("org/tiny@v2")).unwrap_err().to_string();
    assert!(text.contains("no revision v2") && text.contains("`probity fetch org/tiny@v2`"), "{text}");
}

#[test]
fn a_renamed_repository_and_a_terse_server_are_followed() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
    {
        let mut mood = server.mood.lock().unwrap();
        (mood.terse, mood.wants_token) = (true, true);
    }
    let env = server.env(dir.path(), &[("HF_TOKEN", TOKEN)]);
    let plan = hub(&env).plan(&id("old/tiny")).unwrap();
    assert_eq!(plan.bytes(), plan.files.iter().map(|f| files()[f.name.as_str()].len() as u64).sum::<u64>());
    fetch(&hub(&env), "old/tiny").unwrap();
    locate(&env, &id("old/tiny")).unwrap();
    assert!(server.stored.lock().unwrap().iter().all(|s| s.authorization.is_none()));
}

#[test]
fn refusals_say_what_to_do() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
    let env = server.env(dir.path(), &[]);
    let says = |env: &Env, name: &str, words: &[&str]| {
        let text = fetch(&hub(env), name).unwrap_err().to_string();
        assert!(words.iter().all(|w| text.contains(w)), "{text}");
    };
    says(&env, "org/tiny@v9", &["org/tiny@v9", "no such revision", "404"]);
    says(&env, "org/none", &["no such repository", "HF_TOKEN", "401"]);
    server.mood.lock().unwrap().wants_token = true;
    let page = format!("accept the licence at http://127.0.0.1:{}/org/tiny", server.port);
    says(&env, "org/tiny", &["401", &page, "set HF_TOKEN"]);
    let wrong = server.env(dir.path(), &[("HF_TOKEN", "hf_wrong")]);
    says(&wrong, "org/tiny", &["the token that is set may not read it"]);
    assert!(!fetch(&hub(&wrong), "org/tiny").unwrap_err().to_string().contains("hf_wrong"));

    let before = server.seen.lock().unwrap().len();
    for variable in ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"] {
        let offline = server.env(dir.path(), &[(variable, "YES")]);
        says(&offline, "org/tiny", &["HF_HUB_OFFLINE", "nothing is fetched"]);
    }
    assert_eq!(server.seen.lock().unwrap().len(), before, "offline asks nobody");

    let gone = server.env(dir.path(), &[("HF_ENDPOINT", "http://127.0.0.1:1")]);
    says(&gone, "org/tiny", &["127.0.0.1:1", "HTTPS_PROXY"]);

    let mut bare = files();
    bare.remove("model.safetensors");
    let server = Server::start(bare);
    says(&server.env(dir.path(), &[]), "org/tiny", &["no safetensors weights"]);
    assert!(blobs(&env).is_empty());
}

#[test]
fn a_missing_model_names_its_size_and_the_command() {
    let dir = tempfile::tempdir().unwrap();
    let cache = dir.path().to_string_lossy().into_owned();
    let env = Env::from(|n| (n == "HF_HUB_CACHE").then(|| cache.clone())).unwrap();
    let text = |name: &str| locate(&env, &id(name)).unwrap_err().to_string();
    let known = text("Qwen/Qwen2-0.5B-Instruct");
    assert!(known.contains("`probity fetch Qwen/Qwen2-0.5B-Instruct`") && known.contains("988 MB"), "{known}");
    let unknown = text("org/tiny@main");
    assert!(unknown.contains("`probity fetch org/tiny@main --dry-run` asks the hub for its size"), "{unknown}");
}

#[test]
fn known_sizes_are_those_of_the_models() {
    // Parameters of a Llama model with eight key-value heads of 128.
    let (h, kv, mlp) = (4096, 8 * 128, 14_336);
    let llama = 2 * 128_256 * h + 32 * (2 * h * h + 2 * h * kv + 3 * h * mlp + 2 * h) + h;
    for name in ["meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-R1-Distill-Llama-8B"] {
        assert_eq!(known_bytes(name), Some(2 * llama));
    }
    assert_eq!(known_bytes("meta-llama/Llama-3.1-70B"), None);
    // Parameters of a Qwen2 model with heads of 128 (0.5B: 64) and two, four key-value heads.
    let count = |vocab: u64, h: u64, kv: u64, mlp: u64, layers: u64, tied: bool| {
        let layer = h * h + h + 2 * (h * kv + kv) + h * h + 3 * h * mlp + 2 * h;
        (if tied { 1 } else { 2 }) * vocab * h + layers * layer + h
    };
    let bytes = |name: &str| known_bytes(&format!("Qwen/{name}"));
    assert_eq!(bytes("Qwen2-0.5B-Instruct"), Some(2 * count(151_936, 896, 128, 4864, 24, true)));
    assert_eq!(bytes("Qwen2.5-1.5B"), Some(2 * count(151_936, 1536, 256, 8960, 28, true)));
    assert_eq!(bytes("Qwen2.5-3B-Instruct"), Some(2 * count(151_936, 2048, 256, 11_008, 36, true)));
    assert_eq!(bytes("Qwen2-7B"), Some(2 * count(152_064, 3584, 512, 18_944, 28, false)));
    assert_eq!((bytes("Qwen2-3B"), bytes("Qwen3-0.5B"), known_bytes("org/Qwen2-0.5B")), (None, None, None));
    let texts = [0, 999, 1000, 988_065_536, 999_600_000, 15_231_233_024].map(size_text);
    assert_eq!(texts, ["0 bytes", "999 bytes", "1.00 kB", "988 MB", "1.00 GB", "15.2 GB"]);
}

#[test]
fn names_are_read_and_hostile_ones_refused() {
    assert_eq!(id("Qwen/Qwen2-0.5B@refs/pr/1").revision(), "refs/pr/1");
    assert_eq!((id("a/b").revision(), id("a/b@v1").to_string().as_str()), ("main", "a/b@v1"));
    for name in
        ["a", "a/b/c", "a/", "a/..", "../b", "a/b@", "a/b@../../x", "a/b@/etc", "a--b/c", "a/b c", "a/b?x=1", ".a/b"]
    {
        assert!(matches!(ModelId::parse(name), Err(HubError::Name { .. })), "{name}");
    }
    for path in ["embedded", "./a/b", "/a/b", "~/a", "a/b/c", "C:\\a/b", "data/tiny"] {
        assert_eq!(ModelId::of_name(path).unwrap(), None, "{path}");
    }
    assert_eq!(ModelId::of_name("a/b@v1").unwrap(), Some(id("a/b@v1")));
}

#[test]
fn the_environment_is_read_as_python_reads_it() {
    let env = |vars: &[(&str, &str)]| Env::from(|n| vars.iter().find(|(v, _)| *v == n).map(|(_, v)| v.to_string()));
    let cache = |vars: &[(&str, &str)]| env(vars).unwrap().cache;
    let home = ("HOME", "/h");
    assert_eq!(cache(&[home]), Path::new("/h/.cache/huggingface/hub"));
    assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "/x")]), Path::new("/x/huggingface/hub"));
    assert_eq!(cache(&[home, ("XDG_CACHE_HOME", "/x"), ("HF_HOME", "~/hf")]), Path::new("/h/hf/hub"));
    assert_eq!(cache(&[("HF_HOME", "/hf"), ("HF_HUB_CACHE", "/c")]), Path::new("/c"));
    assert!(matches!(env(&[]), Err(HubError::Env { variable: "HF_HOME", .. })));
    assert_eq!(env(&[home]).unwrap().endpoint, "https://huggingface.co");
    assert!(matches!(env(&[home, ("HF_ENDPOINT", "hub")]), Err(HubError::Env { variable: "HF_ENDPOINT", .. })));
    assert!(!env(&[home, ("HF_HUB_OFFLINE", "0")]).unwrap().offline);

    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_string_lossy().into_owned();
    std::fs::write(dir.path().join("token"), "hf_stored\n").unwrap();
    let token = |vars: &[(&str, &str)]| env(vars).unwrap().token;
    assert_eq!(token(&[("HF_HOME", &at)]).as_deref(), Some("hf_stored"));
    assert_eq!(token(&[("HF_HOME", &at), ("HF_TOKEN", "hf_given")]).as_deref(), Some("hf_given"));
    assert_eq!(token(&[home, ("HF_TOKEN_PATH", &format!("{at}/token"))]).as_deref(), Some("hf_stored"));
    let shown = format!("{:?}", env(&[home, ("HF_TOKEN", "hf_given"), ("HTTPS_PROXY", "http://u:pw@p:1")]).unwrap());
    assert!(!shown.contains("hf_given") && !shown.contains("pw@"), "{shown}");
}

#[test]
fn proxies_are_used_and_passed_by() {
    let (dir, server) = (tempfile::tempdir().unwrap(), Server::start(files()));
    let lines: Arc<Mutex<Vec<String>>> = Arc::default();
    let (proxy, log) = (listener(), lines.clone());
    let url = format!("http://user:secret@127.0.0.1:{}", proxy.local_addr().unwrap().port());
    serve(proxy, move |stream, seen| {
        log.lock().unwrap().push(seen.line);
        stream.write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n").unwrap();
    });
    let through = server.env(dir.path(), &[("HTTP_PROXY", &url)]);
    let text = fetch(&hub(&through), "org/tiny").unwrap_err().to_string();
    assert!(!text.contains("secret"), "{text}");
    assert_eq!(lines.lock().unwrap()[0], format!("CONNECT 127.0.0.1:{} HTTP/1.1", server.port));
    assert!(server.seen.lock().unwrap().is_empty());
    let past = server.env(dir.path(), &[("HTTP_PROXY", &url), ("NO_PROXY", "example.org, 127.0.0.1,localhost")]);
    fetch(&hub(&past), "org/tiny").unwrap();

    let socks = server.env(dir.path(), &[("ALL_PROXY", "socks5://127.0.0.1:1")]);
    assert!(matches!(Hub::new(&socks), Err(HubError::Env { variable: "ALL_PROXY", .. })));
    let certificates = server.env(dir.path(), &[("SSL_CERT_FILE", "/no/such/file.pem")]);
    assert!(matches!(Hub::new(&certificates), Err(HubError::Env { variable: "SSL_CERT_FILE", .. })));
}

#[test]
fn hashes_are_those_of_git_and_sha256() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("hello");
    std::fs::write(&path, "hello\n").unwrap();
    let git = Digest::parse("W/\"ce013625030ba8dba906f756967f9e9ca394464a\"").unwrap();
    assert_eq!((git.of_file(&path).unwrap().as_str(), git.name()), (git.hex(), "git hash"));
    let sha = Digest::parse("5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03").unwrap();
    assert_eq!((sha.of_file(&path).unwrap().as_str(), sha.name()), (sha.hex(), "SHA-256"));
    assert_eq!(Digest::parse("\"abc-2\""), None);
}
