//! Requests to the Hub: who may see the token, what is asked again, and what a refusal means.

use std::fmt::Write as _;
use std::io;
use std::thread;
use std::time::Duration;

use ureq::http::header::{CONTENT_LENGTH, ETAG, LOCATION};
use ureq::http::{Response, StatusCode, Uri};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder, Timeout};

use crate::error::HubError;
use crate::id::{Commit, HubId};
use crate::settings::{Patience, Settings, Token};

const MAX_REDIRECTS: usize = 10;
/// The description of a repository with ten thousands of files takes a few MB.
const MAX_TEXT: u64 = 64 << 20;
const MAX_MESSAGE: usize = 300;

/// Why a request came to nothing.
#[derive(Debug)]
pub(crate) enum Failure {
    /// It may go well another time.
    Transient(HubError),
    Final(HubError),
}

impl From<HubError> for Failure {
    fn from(error: HubError) -> Self {
        Self::Final(error)
    }
}

/// What the Hub says of a file before it sends it.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The name of the content in the cache: a sha256 for large files, a git hash for small ones.
    pub(crate) etag: String,
    pub(crate) size: Option<u64>,
}

/// What is asked for, and on whose behalf.
#[derive(Clone, Copy)]
pub(crate) struct Address<'a> {
    pub(crate) id: &'a HubId,
    /// `None`: the description of the repository.
    pub(crate) file: Option<&'a str>,
    pub(crate) url: &'a str,
}

/// Whom a request follows.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Follow {
    /// The Hub alone: what is wanted is what it says itself.
    Hub,
    /// Whoever the Hub names, without the token.
    Anyone,
}

/// Speaks to the Hub.
pub(crate) struct Client {
    agent: Agent,
    endpoint: String,
    token: Option<Token>,
    patience: Patience,
}

impl Client {
    pub(crate) fn new(settings: &Settings) -> Self {
        let patience = settings.patience;
        let agent = Agent::config_builder()
            // The agent would not know which headers may go along.
            .max_redirects(0)
            .http_status_as_error(false)
            .user_agent(concat!("tlbench/", env!("CARGO_PKG_VERSION")))
            .accept_encoding("identity")
            .timeout_connect(Some(patience.answer))
            .timeout_recv_response(Some(patience.answer))
            .timeout_per_read(Some(patience.read))
            .build();
        Self {
            agent: agent.into(),
            endpoint: settings.endpoint.clone(),
            token: settings.token.clone(),
            patience,
        }
    }

    /// Where the Hub describes `id` at its revision.
    pub(crate) fn description_url(&self, id: &HubId) -> String {
        let revision = encoded(id.revision().as_str());
        format!(
            "{}/api/models/{}/revision/{revision}?blobs=true",
            self.endpoint,
            id.repository()
        )
    }

    /// Where the Hub has `file`.
    pub(crate) fn file_url(&self, id: &HubId, commit: &Commit, file: &str) -> String {
        let path: Vec<String> = file.split('/').map(encoded).collect();
        let (endpoint, path) = (&self.endpoint, path.join("/"));
        format!("{endpoint}/{}/resolve/{commit}/{path}", id.repository())
    }

    /// The text at `address`.
    pub(crate) fn text(&self, address: Address<'_>) -> Result<String, HubError> {
        self.persist(|| {
            let mut response = self.send(address, Follow::Anyone, |agent, url| agent.get(url))?;
            let body = response.body_mut().with_config().limit(MAX_TEXT);
            body.read_to_string()
                .map_err(|error| self.transport(address, address.url, &error))
        })
    }

    /// What the Hub says of the file at `address`.
    pub(crate) fn head(&self, address: Address<'_>) -> Result<Head, HubError> {
        self.persist(|| {
            let response = self.send(address, Follow::Hub, |agent, url| agent.head(url))?;
            head(address, &response).map_err(Failure::Final)
        })
    }

    /// The file at `address` from byte `start` on, or all of it if the server will not have it otherwise.
    pub(crate) fn content(
        &self,
        address: Address<'_>,
        start: u64,
    ) -> Result<Response<Body>, Failure> {
        self.send(address, Follow::Anyone, |agent, url| {
            let request = agent.get(url);
            match start {
                0 => request,
                _ => request.header("Range", format!("bytes={start}-")),
            }
        })
    }

    /// Tries until it goes well, or has failed too often.
    fn persist<T>(&self, attempt: impl Fn() -> Result<T, Failure>) -> Result<T, HubError> {
        let mut retries = self.retries();
        loop {
            match attempt() {
                Ok(value) => return Ok(value),
                Err(failure) => retries.after(failure)?,
            }
        }
    }

    pub(crate) fn retries(&self) -> Retries {
        Retries {
            patience: self.patience,
            failures: 0,
        }
    }

    /// An error of the connection to `url`, which may be another server's.
    pub(crate) fn transport(
        &self,
        address: Address<'_>,
        url: &str,
        error: &ureq::Error,
    ) -> Failure {
        let reason = match error {
            ureq::Error::Timeout(Timeout::PerRead | Timeout::RecvBody) => {
                format!("nothing arrived for {} s", self.patience.read.as_secs_f64())
            }
            ureq::Error::Timeout(_) => {
                format!("no answer within {} s", self.patience.answer.as_secs_f64())
            }
            ureq::Error::HostNotFound => "no such host".to_owned(),
            ureq::Error::Io(error) => error.to_string(),
            other => other.to_string(),
        };
        let goes_away = match error {
            ureq::Error::Timeout(_) | ureq::Error::Protocol(_) => true,
            ureq::Error::Io(error) => is_transient(error.kind()),
            _ => false,
        };
        if goes_away {
            self.interrupted(address, reason)
        } else {
            Failure::Final(HubError::Unreachable {
                id: address.id.clone(),
                endpoint: origin(url).unwrap_or_else(|| self.endpoint.clone()),
                reason,
            })
        }
    }

    /// Something that may go well another time.
    pub(crate) fn interrupted(&self, address: Address<'_>, reason: String) -> Failure {
        Failure::Transient(HubError::Interrupted {
            id: address.id.clone(),
            url: address.url.to_owned(),
            reason,
            attempts: self.patience.attempts,
        })
    }

    fn send(
        &self,
        address: Address<'_>,
        follow: Follow,
        request: impl Fn(&Agent, &str) -> RequestBuilder<WithoutBody>,
    ) -> Result<Response<Body>, Failure> {
        let hub = origin(&self.endpoint);
        let mut url = address.url.to_owned();
        for _ in 0..=MAX_REDIRECTS {
            let is_hub = origin(&url) == hub;
            let mut request = request(&self.agent, &url);
            if let Some(token) = self.token.as_ref().filter(|_| is_hub) {
                request = request.header("Authorization", token.bearer());
            }
            let mut response = request
                .call()
                .map_err(|error| self.transport(address, &url, &error))?;
            let Some(next) = redirect(&url, &response) else {
                return match response.status() {
                    status if status.is_success() => Ok(response),
                    StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
                    _ => Err(self.refusal(address, &mut response)),
                };
            };
            let next = next.ok_or_else(|| {
                malformed(address, "a redirect to an address", "one to nowhere".into())
            })?;
            let is_answer = || header(&response, "x-linked-etag").is_some() || origin(&next) != hub;
            if follow == Follow::Hub && is_answer() {
                return Ok(response);
            }
            url = next;
        }
        let found = format!("more than {MAX_REDIRECTS} of them");
        Err(malformed(address, "redirects that end", found).into())
    }

    /// What the Hub means by a status that is no success.
    fn refusal(&self, address: Address<'_>, response: &mut Response<Body>) -> Failure {
        let id = address.id.clone();
        let code = header(response, "x-error-code").map(str::to_owned);
        let message = self.message(response);
        let status = response.status();
        if matches!(status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504) {
            let said = message.map_or_else(String::new, |message| format!(" ({message})"));
            return self.interrupted(
                address,
                format!("the server answered {}{said}", status.as_u16()),
            );
        }
        let is_unknown_token = message
            .as_deref()
            .is_some_and(|message| message.starts_with("Invalid credentials"));
        Failure::Final(match (code.as_deref(), status, address.file) {
            (Some("GatedRepo"), ..) => HubError::Gated {
                remedy: self.gate_remedy(),
                id,
                message,
            },
            (Some("RevisionNotFound"), ..) => HubError::RevisionNotFound { id },
            (_, StatusCode::UNAUTHORIZED, _) if is_unknown_token => {
                HubError::TokenRefused { id, message }
            }
            (Some("EntryNotFound"), _, Some(file)) | (None, StatusCode::NOT_FOUND, Some(file)) => {
                HubError::FileNotFound {
                    id,
                    file: file.to_owned(),
                }
            }
            // The Hub does not tell strangers what it has, so 401 is what they get for what is not there as well.
            (Some("RepoNotFound"), ..)
            | (None, StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED, _) => {
                HubError::RepositoryNotFound {
                    id,
                    endpoint: self.endpoint.clone(),
                    remedy: self.absence_remedy(),
                }
            }
            _ => HubError::Status {
                id,
                url: address.url.to_owned(),
                status: status.as_u16(),
                message,
            },
        })
    }

    fn gate_remedy(&self) -> &'static str {
        match self.token {
            Some(_) => "ask for access on the model's page, or use a token that may read it",
            None => "ask for access on the model's page, and name a token in HF_TOKEN",
        }
    }

    fn absence_remedy(&self) -> &'static str {
        match self.token {
            Some(_) => "if it is private, the token has to be of somebody who may read it",
            None => "if it is private, name a token in HF_TOKEN",
        }
    }

    /// What the Hub says for people, on one line.
    fn message(&self, response: &mut Response<Body>) -> Option<String> {
        let text = match header(response, "x-error-message") {
            Some(text) => text.to_owned(),
            None => {
                let body = response.body_mut().with_config().limit(MAX_TEXT);
                let value: serde_json::Value =
                    serde_json::from_str(&body.read_to_string().ok()?).ok()?;
                value.get("error")?.as_str()?.to_owned()
            }
        };
        let words: Vec<&str> = text.trim_end_matches('.').split_whitespace().collect();
        let line: String = words.join(" ").chars().take(MAX_MESSAGE).collect();
        (!line.is_empty()).then_some(line)
    }
}

/// Counts failures, and waits longer after each.
pub(crate) struct Retries {
    patience: Patience,
    failures: u32,
}

impl Retries {
    /// Something arrived: what failed before does not count any more.
    pub(crate) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Waits, if there is to be another attempt.
    pub(crate) fn after(&mut self, failure: Failure) -> Result<(), HubError> {
        let error = match failure {
            Failure::Transient(error) => error,
            Failure::Final(error) => return Err(error),
        };
        self.failures += 1;
        if self.failures >= self.patience.attempts {
            return Err(error);
        }
        thread::sleep(self.wait());
        Ok(())
    }

    fn wait(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(6);
        self.patience.wait * 2_u32.pow(doublings)
    }
}

fn is_transient(kind: io::ErrorKind) -> bool {
    use io::ErrorKind as Kind;
    matches!(
        kind,
        Kind::ConnectionReset
            | Kind::ConnectionAborted
            | Kind::BrokenPipe
            | Kind::UnexpectedEof
            | Kind::TimedOut
            | Kind::Interrupted
    )
}

fn head(address: Address<'_>, response: &Response<Body>) -> Result<Head, HubError> {
    // Large files lie on another server; what the Hub itself knows of them stands in headers of their own.
    let etag = header(response, "x-linked-etag").or_else(|| header(response, ETAG.as_str()));
    let size = header(response, "x-linked-size").or_else(|| {
        let is_file = response.status().is_success();
        header(response, CONTENT_LENGTH.as_str()).filter(|_| is_file)
    });
    let plain = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"'));
    let is_name = |etag: &&str| {
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        (1..=200).contains(&etag.len()) && etag.chars().all(allowed) && !etag.starts_with('.')
    };
    let expected = "a header ETag that can name a file";
    let etag = plain.filter(is_name).ok_or_else(|| {
        let found = etag.map_or_else(|| "none".to_owned(), |etag| format!("{etag:?}"));
        malformed(address, expected, found)
    })?;
    Ok(Head {
        etag: etag.to_owned(),
        size: size.and_then(|size| size.trim().parse().ok()),
    })
}

pub(crate) fn malformed(address: Address<'_>, expected: &'static str, found: String) -> HubError {
    HubError::Malformed {
        id: address.id.clone(),
        url: address.url.to_owned(),
        expected,
        found,
    }
}

pub(crate) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Where `response` sends whoever asked for `url`: nowhere at all, or `None` if it does not say where.
fn redirect(url: &str, response: &Response<Body>) -> Option<Option<String>> {
    let is_redirect = matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    is_redirect.then(|| {
        let location = header(response, LOCATION.as_str())?;
        let next = if let Some(rest) = location.strip_prefix("//") {
            format!("{}://{rest}", url.split_once("://")?.0)
        } else if location.starts_with('/') {
            format!("{}{location}", origin(url)?)
        } else {
            location.to_owned()
        };
        origin(&next).map(|_| next)
    })
}

/// Scheme, host and port: to whom a secret may be told.
pub(crate) fn origin(url: &str) -> Option<String> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = match (uri.port_u16(), scheme.as_str()) {
        (Some(443), "https") | (Some(80), "http") | (None, "https" | "http") => String::new(),
        (Some(port), "https" | "http") => format!(":{port}"),
        _ => return None,
    };
    Some(format!(
        "{scheme}://{}{port}",
        uri.host()?.to_ascii_lowercase()
    ))
}

/// `text` as one segment of a URL's path.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                encoded.push(char::from(byte));
            }
            _ => {
                let _ = write!(encoded, "%{byte:02X}");
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_origin_is_scheme_host_and_port() {
        for (url, expected) in [
            ("https://Hub.example/a?b", Some("https://hub.example")),
            ("https://hub.example:443/", Some("https://hub.example")),
            ("http://hub.example:443/", Some("http://hub.example:443")),
            ("http://user@hub.example/", Some("http://hub.example")),
            ("http://[::1]:8080/x", Some("http://[::1]:8080")),
            ("ftp://hub.example/", None),
            ("/a/b", None),
        ] {
            assert_eq!(origin(url).as_deref(), expected, "{url}");
        }
    }

    #[test]
    fn a_segment_of_a_url_has_no_slash() {
        assert_eq!(encoded("refs/pr/1"), "refs%2Fpr%2F1");
        assert_eq!(encoded("a b#?%é"), "a%20b%23%3F%25%C3%A9");
    }

    #[test]
    fn each_attempt_waits_longer_than_the_one_before() {
        let patience = Patience::default();
        let waits = (1..=4).map(|failures| Retries { patience, failures }.wait().as_secs());
        assert_eq!(waits.collect::<Vec<_>>(), [1, 2, 4, 8]);
    }
}
