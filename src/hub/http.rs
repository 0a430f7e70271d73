//! Requests to the hub. Redirects are followed here, not in the HTTP library: the first answer carries the hub's own headers, and
//! the token must not travel to another host.

use std::io::Read;
use std::time::Duration;

use ureq::http::{HeaderMap, Response, StatusCode, Uri};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, Body, Proxy};

use super::{Env, HubError, Result};

const MAX_REDIRECTS: usize = 8;
/// Largest answer of the API that is read.
const MAX_JSON: u64 = 32 << 20;

/// Why a request brought nothing.
#[derive(Debug)]
pub(super) enum Failure {
    /// Worth another try: the connection broke, or the server is busy.
    Again(String),
    /// The hub said no.
    Status(u16, HeaderMap),
    Stop(HubError),
}

/// An answer, and the headers of the endpoint's own answer before a redirect to another host.
pub(super) struct Answer {
    pub response: Response<Body>,
    pub hub: HeaderMap,
}

/// The agents for http and https; they differ in their proxy.
pub(super) struct Client {
    agents: [Agent; 2],
    origin: String,
    token: Option<String>,
}

impl Client {
    pub fn new(env: &Env) -> Result<Self> {
        let roots = certificates(env)?;
        let agent = |proxy: Option<Proxy>| -> Agent {
            let tls = TlsConfig::builder().root_certs(roots.clone()).build();
            Agent::config_builder()
                .max_redirects(0)
                .http_status_as_error(false)
                .user_agent(concat!("probity/", env!("CARGO_PKG_VERSION")))
                .timeout_connect(Some(Duration::from_secs(30)))
                .timeout_recv_response(Some(Duration::from_secs(60)))
                .timeout_per_read(Some(Duration::from_secs(60)))
                .tls_config(tls)
                .proxy(proxy)
                .build()
                .into()
        };
        let [http, https] = [proxy(env, 0)?, proxy(env, 1)?];
        let origin = origin(&env.endpoint)
            .ok_or_else(|| HubError::Env { variable: "HF_ENDPOINT", detail: format!("{} is no URL", env.endpoint) })?;
        Ok(Self { agents: [agent(http), agent(https)], origin, token: env.token.clone() })
    }

    /// One request with its redirects; `from` asks for the bytes from there on.
    pub fn request(&self, url: &str, head: bool, from: u64) -> std::result::Result<Answer, Failure> {
        let mut url = url.to_string();
        let mut hub = None;
        for _ in 0..MAX_REDIRECTS {
            let agent = &self.agents[usize::from(url.starts_with("https://"))];
            let mut request =
                if head { agent.head(&url) } else { agent.get(&url) }.header("accept-encoding", "identity");
            let ours = origin(&url).as_ref() == Some(&self.origin);
            if let Some(token) = self.token.as_ref().filter(|_| ours) {
                request = request.header("authorization", format!("Bearer {token}"));
            }
            if from > 0 {
                request = request.header("range", format!("bytes={from}-"));
            }
            let response = request.call().map_err(|e| failure(&url, e))?;
            let status = response.status();
            if status.is_redirection() {
                let target = header(response.headers(), "location").and_then(|l| join(&url, l));
                let Some(target) = target.filter(|t| t.starts_with("https://") || url.starts_with("http://")) else {
                    let detail = "a redirect to nowhere, or from https to http".into();
                    return Err(Failure::Stop(HubError::Answer { url, detail }));
                };
                // What the hub says of a file stands in the answer that leads to another host, or in the last one.
                let leaves = origin(&target) != origin(&url);
                if head && leaves {
                    let hub = response.headers().clone();
                    return Ok(Answer { response, hub });
                }
                if leaves && hub.is_none() {
                    hub = Some(response.headers().clone());
                }
                url = target;
                continue;
            }
            if status.is_success() {
                let hub = hub.unwrap_or_else(|| response.headers().clone());
                return Ok(Answer { response, hub });
            }
            let busy = status.is_server_error()
                || [StatusCode::TOO_MANY_REQUESTS, StatusCode::REQUEST_TIMEOUT, StatusCode::RANGE_NOT_SATISFIABLE]
                    .contains(&status);
            // Links to storage expire; the hub hands out new ones.
            return Err(match busy || !ours {
                true => Failure::Again(format!("{} answers {status}", origin(&url).unwrap_or(url))),
                false => Failure::Status(status.as_u16(), response.headers().clone()),
            });
        }
        Err(Failure::Stop(HubError::Answer { url, detail: "too many redirects".into() }))
    }

    /// The body of a small answer.
    pub fn text(&self, url: &str) -> std::result::Result<Vec<u8>, Failure> {
        let answer = self.request(url, false, 0)?;
        let mut body = Vec::new();
        let reader = answer.response.into_body().into_reader();
        reader.take(MAX_JSON).read_to_end(&mut body).map_err(|e| Failure::Again(e.to_string()))?;
        Ok(body)
    }
}

/// A header's text.
pub(super) fn header<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// Which errors another try may cure.
fn failure(url: &str, e: ureq::Error) -> Failure {
    use ureq::Error as E;
    match e {
        E::Io(_) | E::Timeout(_) | E::HostNotFound | E::ConnectionFailed | E::Protocol(_) | E::BodyStalled => {
            Failure::Again(e.to_string())
        }
        e => Failure::Stop(HubError::Network { url: url.into(), detail: e.to_string() }),
    }
}

/// Scheme, host and port.
fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?;
    let port = uri.port_u16().unwrap_or(if scheme == "https" { 443 } else { 80 });
    Some(format!("{scheme}://{}:{port}", uri.host()?.to_ascii_lowercase()))
}

/// The target of a redirect, which may leave out scheme and host.
fn join(base: &str, location: &str) -> Option<String> {
    if location.contains("://") {
        return Some(location.to_string());
    }
    let base: Uri = base.parse().ok()?;
    let scheme = base.scheme_str()?;
    match location.strip_prefix("//") {
        Some(rest) => Some(format!("{scheme}://{rest}")),
        None if location.starts_with('/') => Some(format!("{scheme}://{}{location}", base.authority()?)),
        None => None,
    }
}

fn proxy(env: &Env, https: usize) -> Result<Option<Proxy>> {
    let Some((variable, value)) = &env.proxies[https] else { return Ok(None) };
    // The value may hold a password: messages name the variable alone.
    let refuse = |detail: &str| HubError::Env { variable, detail: detail.into() };
    let given = Proxy::new(value).map_err(|_| refuse("is no proxy's URL, such as http://user:password@host:port"))?;
    use ureq::ProxyProtocol::{Http, Https};
    if !matches!(given.protocol(), Http | Https) {
        return Err(refuse("names a SOCKS proxy, which is not supported; use an HTTP proxy"));
    }
    let mut proxy = Proxy::builder(given.protocol()).host(given.host()).port(given.port());
    if let Some(user) = given.username() {
        proxy = proxy.username(user);
    }
    if let Some(password) = given.password() {
        proxy = proxy.password(password);
    }
    for entry in &env.no_proxy {
        // By convention `example.com` covers its subdomains too; the library wants the two said apart.
        let bare = entry.trim_start_matches("*.").trim_start_matches('.');
        proxy = proxy.no_proxy(bare);
        if bare != "*" {
            proxy = proxy.no_proxy(&format!(".{bare}"));
        }
    }
    proxy.build().map(Some).map_err(|_| refuse("is no proxy's URL, such as http://user:password@host:port"))
}

fn certificates(env: &Env) -> Result<RootCerts> {
    let Some((variable, path)) = &env.certificates else { return Ok(RootCerts::WebPki) };
    let refuse = |why: String| HubError::Env { variable, detail: format!("{}: {why}", path.display()) };
    let bytes = std::fs::read(path).map_err(|e| refuse(e.to_string()))?;
    let found: Vec<_> = parse_pem(&bytes)
        .filter_map(|item| match item {
            Ok(PemItem::Certificate(c)) => Some(c),
            _ => None,
        })
        .collect();
    match found.is_empty() {
        true => Err(refuse("no PEM certificate in this file".into())),
        false => Ok(RootCerts::new_with_certs(&found)),
    }
}
