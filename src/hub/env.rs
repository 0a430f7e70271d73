//! The environment variables that Python's `huggingface_hub` reads, with its meanings.

use std::fmt;
use std::path::{Path, PathBuf};

use super::{HubError, Result};

const ENDPOINT: &str = "https://huggingface.co";

/// Where the cache is, and how the hub is reached. Built from a lookup function, so that tests need no process-wide variables.
#[derive(Clone)]
pub struct Env {
    /// `HF_HUB_CACHE`, else `$HF_HOME/hub`, else `$XDG_CACHE_HOME/huggingface/hub`, else `~/.cache/huggingface/hub`.
    pub cache: PathBuf,
    /// `HF_ENDPOINT`, without a slash at its end.
    pub endpoint: String,
    /// `HF_TOKEN`, else the content of `HF_TOKEN_PATH`, else of `$HF_HOME/token`.
    pub(super) token: Option<String>,
    /// `HF_HUB_OFFLINE` or `TRANSFORMERS_OFFLINE`.
    pub offline: bool,
    /// Proxies for http and https (`HTTP_PROXY`, `HTTPS_PROXY`, else `ALL_PROXY`): the variable and its value.
    pub(super) proxies: [Option<(&'static str, String)>; 2],
    /// `NO_PROXY`, entry by entry.
    pub(super) no_proxy: Vec<String>,
    /// Root certificates instead of the built-in ones (`SSL_CERT_FILE`, `REQUESTS_CA_BUNDLE`, `CURL_CA_BUNDLE`).
    pub(super) certificates: Option<(&'static str, PathBuf)>,
}

impl Env {
    /// From the variables of this process.
    pub fn of_process() -> Result<Self> {
        Self::from(|name| std::env::var(name).ok())
    }

    /// From a function that looks variables up.
    pub fn from(lookup: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let get = |name: &str| lookup(name).filter(|v| !v.trim().is_empty());
        let user = get("HOME").or_else(|| get("USERPROFILE"));
        let path = |text: String| match (text.strip_prefix('~'), &user) {
            (Some(rest), Some(user)) if rest.is_empty() || rest.starts_with('/') => {
                Path::new(user).join(rest.trim_start_matches('/'))
            }
            _ => PathBuf::from(text),
        };
        let home = get("HF_HOME").map(path).or_else(|| {
            let cache = get("XDG_CACHE_HOME").map(path).or_else(|| Some(Path::new(user.as_ref()?).join(".cache")));
            cache.map(|c| c.join("huggingface"))
        });
        let cache = get("HF_HUB_CACHE").or_else(|| get("HUGGINGFACE_HUB_CACHE")).map(path);
        let Some(cache) = cache.or_else(|| home.as_ref().map(|h| h.join("hub"))) else {
            let detail = "is not set, and neither is HOME: where the cache is cannot be known".into();
            return Err(HubError::Env { variable: "HF_HOME", detail });
        };
        let endpoint = get("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into()).trim().trim_end_matches('/').to_string();
        if !endpoint.starts_with("https://") && !endpoint.starts_with("http://") {
            let detail = format!("{endpoint}: a URL that begins with https:// was expected");
            return Err(HubError::Env { variable: "HF_ENDPOINT", detail });
        }
        let token_file = get("HF_TOKEN_PATH").map(path).or_else(|| home.map(|h| h.join("token")));
        let token = get("HF_TOKEN")
            .or_else(|| get("HUGGING_FACE_HUB_TOKEN"))
            .or_else(|| std::fs::read_to_string(token_file?).ok())
            .map(|t| t.trim().to_string())
            .filter(|t| !t.is_empty());
        if token.as_ref().is_some_and(|t| !t.bytes().all(|b| b.is_ascii_graphic())) {
            let detail = "the token has characters that no token has; copy it again".into();
            return Err(HubError::Env { variable: "HF_TOKEN", detail });
        }
        let truth = |name: &str| {
            get(name).is_some_and(|v| ["1", "on", "yes", "true"].contains(&v.trim().to_ascii_lowercase().as_str()))
        };
        let first = |names: &[&'static str]| names.iter().find_map(|n| Some((*n, get(n)?)));
        let proxies = [
            // Upper-case HTTP_PROXY is left out by some programs for fear of CGI; a command line has no such trouble.
            first(&["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]),
            first(&["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]),
        ];
        let no_proxy = get("no_proxy").or_else(|| get("NO_PROXY")).unwrap_or_default();
        let certificates = first(&["SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"]);
        Ok(Self {
            cache,
            endpoint,
            token,
            offline: truth("HF_HUB_OFFLINE") || truth("TRANSFORMERS_OFFLINE"),
            proxies,
            no_proxy: no_proxy.split(',').map(|e| e.trim().to_string()).filter(|e| !e.is_empty()).collect(),
            certificates: certificates.map(|(name, value)| (name, PathBuf::from(value))),
        })
    }
}

/// Tokens and the passwords of proxies stay out of every message.
impl fmt::Debug for Env {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Env")
            .field("cache", &self.cache)
            .field("endpoint", &self.endpoint)
            .field("token", &self.token.as_ref().map(|_| "…"))
            .field("offline", &self.offline)
            .finish_non_exhaustive()
    }
}
