//! A site that speaks the Hub's protocol: one repository, whose answers a test can replace.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::server::{Request, Response, Server};

/// The commit that every revision of the repository stands for.
pub(crate) const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A file of the repository.
#[derive(Clone)]
struct Stored {
    content: Vec<u8>,
    is_large: bool,
}

impl Stored {
    fn sha256(&self) -> String {
        let digest = Sha256::digest(&self.content);
        digest.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    /// A sha256 for large files, and something else for small ones.
    fn etag(&self) -> String {
        let mut etag = self.sha256();
        if !self.is_large {
            etag.truncate(40);
        }
        etag
    }
}

/// What is answered instead of what the Hub would answer.
struct Replacement {
    method: &'static str,
    /// Part of the path.
    path: String,
    /// How often; `None`: always.
    times: Option<usize>,
    response: Response,
}

#[derive(Default)]
struct State {
    files: BTreeMap<String, Stored>,
    replacements: Vec<Replacement>,
    /// Where large files lie; by default on the same server.
    elsewhere: Option<String>,
    /// Who may read the files, if not everybody.
    token: Option<String>,
}

/// The Hub, with the repository `owner/tiny`.
pub(crate) struct Site {
    server: Server,
    state: Arc<Mutex<State>>,
}

impl Site {
    pub(crate) fn new() -> Self {
        let state: Arc<Mutex<State>> = Arc::default();
        let shared = state.clone();
        Self {
            server: Server::new(move |request| answer(&mut shared.lock().unwrap(), request)),
            state,
        }
    }

    /// With a file that lies in the repository itself.
    pub(crate) fn small(self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.file(name, content.into(), false)
    }

    /// With a file that lies on another server.
    pub(crate) fn large(self, name: &str, content: impl Into<Vec<u8>>) -> Self {
        self.file(name, content.into(), true)
    }

    fn file(self, name: &str, content: Vec<u8>, is_large: bool) -> Self {
        let stored = Stored { content, is_large };
        self.state().files.insert(name.to_owned(), stored);
        self
    }

    /// With large files at another address.
    pub(crate) fn elsewhere(self, address: String) -> Self {
        self.state().elsewhere = Some(address);
        self
    }

    /// With files for those alone who show `token`.
    pub(crate) fn for_holders_of(self, token: &str) -> Self {
        self.state().token = Some(token.to_owned());
        self
    }

    /// Answers `response` to `method` on every path with `path` in it, from now on.
    pub(crate) fn replace(
        &self,
        method: &'static str,
        path: impl Into<String>,
        response: Response,
    ) {
        self.replace_times(None, method, path, response);
    }

    /// The same a number of times.
    pub(crate) fn replace_times(
        &self,
        times: Option<usize>,
        method: &'static str,
        path: impl Into<String>,
        response: Response,
    ) {
        let path = path.into();
        self.state().replacements.push(Replacement {
            method,
            path,
            times,
            response,
        });
    }

    pub(crate) fn url(&self) -> String {
        self.server.url("127.0.0.1")
    }

    /// The same server under another name.
    pub(crate) fn other_url(&self) -> String {
        self.server.url("localhost")
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.server.requests()
    }

    /// What was asked for, as `METHOD path` with the range and whether a token came along.
    pub(crate) fn log(&self) -> String {
        let line = |request: &Request| {
            let range = request.headers.get("range");
            let range = range.map_or_else(String::new, |range| format!(" {range}"));
            let token = request.headers.get("authorization");
            let token = token.map_or("", |_| " with a token");
            format!("{} {}{range}{token}", request.method, request.path)
        };
        self.requests()
            .iter()
            .map(line)
            .collect::<Vec<_>>()
            .join("\n")
    }

    fn state(&self) -> std::sync::MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

fn answer(state: &mut State, request: &Request) -> Response {
    let replacement = state.replacements.iter_mut().find(|replacement| {
        replacement.times != Some(0)
            && replacement.method == request.method
            && request.path.contains(&replacement.path)
    });
    if let Some(replacement) = replacement {
        replacement.times = replacement.times.map(|times| times - 1);
        return replacement.response.clone();
    }
    let path = request.path.as_str();
    if path.starts_with("/api/models/owner/tiny/revision/") {
        return Response::new(200).body(description(state).to_string());
    }
    if let Some(etag) = path.strip_prefix("/large/") {
        let stored = state.files.values().find(|stored| stored.etag() == etag);
        return stored.map_or(Response::new(404), |stored| {
            ranged(request, &stored.content)
        });
    }
    let name = path.strip_prefix(&format!("/owner/tiny/resolve/{COMMIT}/"));
    match name.and_then(|name| state.files.get(name)) {
        Some(stored) => match &state.token {
            Some(token) if !shows(request, token) => gated(),
            _ => resolved(state, request, stored),
        },
        None => Response::new(404).header("X-Error-Code", "RepoNotFound"),
    }
}

fn shows(request: &Request, token: &str) -> bool {
    request.headers.get("authorization") == Some(&format!("Bearer {token}"))
}

fn gated() -> Response {
    Response::new(401)
        .header("X-Error-Code", "GatedRepo")
        .header(
            "X-Error-Message",
            "Access to model owner/tiny is restricted and you are not in the authorized list.",
        )
}

fn description(state: &State) -> Value {
    let siblings: Vec<Value> = state
        .files
        .iter()
        .map(|(name, stored)| {
            let mut sibling =
                json!({ "rfilename": name, "size": stored.content.len(), "blobId": "-" });
            if stored.is_large {
                sibling["lfs"] = json!({ "sha256": stored.sha256(), "size": stored.content.len() });
            }
            sibling
        })
        .collect();
    json!({ "id": "owner/tiny", "sha": COMMIT, "siblings": siblings })
}

fn resolved(state: &State, request: &Request, stored: &Stored) -> Response {
    if !stored.is_large {
        return ranged(request, &stored.content)
            .header("ETag", format!("\"{}\"", stored.etag()))
            .header("X-Repo-Commit", COMMIT);
    }
    let address = state.elsewhere.clone().unwrap_or_default();
    Response::new(302)
        .header("Location", format!("{address}/large/{}", stored.etag()))
        .header("X-Linked-Etag", format!("\"{}\"", stored.etag()))
        .header("X-Linked-Size", stored.content.len().to_string())
        .header("X-Repo-Commit", COMMIT)
}

/// What the request wants of `content`.
fn ranged(request: &Request, content: &[u8]) -> Response {
    let range = request.headers.get("range");
    let start = range.and_then(|range| {
        range
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    });
    match start {
        None => Response::new(200).body(content),
        Some(start) if start < content.len() => Response::new(206)
            .header(
                "Content-Range",
                format!("bytes {start}-{}/{}", content.len() - 1, content.len()),
            )
            .body(&content[start..]),
        Some(_) => Response::new(416),
    }
}
