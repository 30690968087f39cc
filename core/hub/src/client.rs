//! Requests to the Hub: who is asked, and who may see the token.

mod refusal;

use std::io;

use ureq::http::header::{CONTENT_LENGTH, ETAG, LOCATION};
use ureq::http::{Response, StatusCode};
use ureq::typestate::WithoutBody;
use ureq::{Agent, Body, RequestBuilder, Timeout};

use crate::address::{Address, encoded, malformed, origin, resolved};
use crate::error::HubError;
use crate::id::{Commit, HubId};
use crate::retries::{Failure, Retries};
use crate::settings::{Patience, Settings, Token};

const MAX_REDIRECTS: usize = 10;
/// The description of a repository with ten thousands of files takes a few MB.
const MAX_TEXT: u64 = 64 << 20;

/// What the Hub says of a file before it sends it.
#[derive(Clone, Debug)]
pub(crate) struct Head {
    /// The name of the content in the cache: a sha256 for large files, a git hash for small ones.
    pub(crate) etag: String,
    pub(crate) size: Option<u64>,
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
        Retries::new(self.patience)
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
            let Some(next) = redirect(address, &url, &response)? else {
                return match response.status() {
                    status if status.is_success() => Ok(response),
                    StatusCode::RANGE_NOT_SATISFIABLE => Ok(response),
                    _ => Err(self.refusal(address, &mut response)),
                };
            };
            let is_answer = || header(&response, "x-linked-etag").is_some() || origin(&next) != hub;
            if follow == Follow::Hub && is_answer() {
                return Ok(response);
            }
            url = next;
        }
        let found = format!("more than {MAX_REDIRECTS} of them");
        Err(malformed(address, "redirects that end", found).into())
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

pub(crate) fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name)?.to_str().ok()
}

/// Where `response` sends whoever asked for `url`, if it sends anywhere.
fn redirect(
    address: Address<'_>,
    url: &str,
    response: &Response<Body>,
) -> Result<Option<String>, HubError> {
    if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
        return Ok(None);
    }
    let location = header(response, LOCATION.as_str());
    match location.and_then(|location| resolved(url, location)) {
        Some(next) => Ok(Some(next)),
        None => {
            let found = format!("{:?}", location.unwrap_or_default());
            Err(malformed(address, "a redirect to an address", found))
        }
    }
}
