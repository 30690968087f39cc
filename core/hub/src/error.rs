//! What can keep a model of the Hub from being had.

use std::io;
use std::path::PathBuf;

use tlbench_checkpoint::{CheckpointError, INDEX_FILE, RefusedForm, WEIGHTS_FILE};

use crate::id::HubId;

/// A model of the Hub that cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HubError {
    /// Nobody answers at the Hub's address.
    #[error(
        "{id}: {endpoint} cannot be reached: {reason}; --offline or HF_HUB_OFFLINE=1 takes what is in the cache"
    )]
    Unreachable {
        /// The model.
        id: HubId,
        /// Who was asked.
        endpoint: String,
        /// What the system said.
        reason: String,
    },
    /// The Hub began to answer and did not get to an end, however often it was asked.
    #[error("{id}: {url}: {reason}, {attempts} times in a row")]
    Interrupted {
        /// The model.
        id: HubId,
        /// What was asked for.
        url: String,
        /// What happened last.
        reason: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The Hub says that it exists, but not for everybody.
    #[error("{id}: {}; {remedy}", .message.as_deref().unwrap_or("access is restricted"))]
    Gated {
        /// The model.
        id: HubId,
        /// What the Hub said.
        message: Option<String>,
        /// What the user can do.
        remedy: &'static str,
    },
    /// The Hub does not know the repository, or does not want to say that it does.
    #[error("{id}: found no such repository at {endpoint}; {remedy}")]
    RepositoryNotFound {
        /// The model.
        id: HubId,
        /// Who was asked.
        endpoint: String,
        /// What the user can do.
        remedy: &'static str,
    },
    /// The Hub does not know the revision.
    #[error("{id}: expected a branch, tag, commit or refs/pr/NUMBER of {}, found no `{}`", .id.repository(), .id.revision())]
    RevisionNotFound {
        /// The model.
        id: HubId,
    },
    /// The Hub lists a file and then does not have it.
    #[error("{id}: {file}: the Hub lists this file and does not have it")]
    FileNotFound {
        /// The model.
        id: HubId,
        /// The file.
        file: String,
    },
    /// The Hub does not know the token.
    #[error("{id}: the Hub does not accept the token (HF_TOKEN, or the file in HF_TOKEN_PATH){}", said(.message))]
    TokenRefused {
        /// The model.
        id: HubId,
        /// What the Hub said.
        message: Option<String>,
    },
    /// Any other refusal.
    #[error("{id}: {url}: the Hub answered {status}{}", said(.message))]
    Status {
        /// The model.
        id: HubId,
        /// What was asked for.
        url: String,
        /// The status code.
        status: u16,
        /// What the Hub said.
        message: Option<String>,
    },
    /// An answer that is none.
    #[error("{id}: {url}: expected {expected}, found {found}")]
    Malformed {
        /// The model.
        id: HubId,
        /// What was asked for.
        url: String,
        /// In words.
        expected: &'static str,
        /// What is there instead.
        found: String,
    },
    /// A repository without a file that every model has.
    #[error("{id}: expected a {expected}, found {found}")]
    NoModel {
        /// The model.
        id: HubId,
        /// The file.
        expected: &'static str,
        /// What the repository has instead.
        found: String,
    },
    /// Weights in a form that is not read. Nothing of them was downloaded.
    #[error(
        "{id}: {file}: {} are not read: {}; {}, or name a revision that has a {WEIGHTS_FILE} (often refs/pr/1)",
        .form.name, .form.reason, .form.remedy
    )]
    UnreadForm {
        /// The model.
        id: HubId,
        /// The file that shows the form.
        file: String,
        /// The form.
        form: &'static RefusedForm,
    },
    /// An index of shards that cannot be used.
    #[error("{id}: {source}")]
    Index {
        /// The model.
        id: HubId,
        /// What is wrong with it.
        source: Box<CheckpointError>,
    },
    /// A shard that the index names and the repository does not have.
    #[error("{id}: {INDEX_FILE}: expected the shard `{shard}` in the repository, found none")]
    NoShard {
        /// The model.
        id: HubId,
        /// The shard.
        shard: String,
    },
    /// A file of another length than the Hub said.
    #[error("{id}: {file}: expected {expected} bytes, found {found}")]
    Size {
        /// The model.
        id: HubId,
        /// The file.
        file: String,
        /// As announced.
        expected: u64,
        /// What arrived.
        found: u64,
    },
    /// A file with another content than the Hub said.
    #[error(
        "{id}: {file}: expected content of sha256 {expected}, found {found}; nothing of it is kept"
    )]
    Digest {
        /// The model.
        id: HubId,
        /// The file.
        file: String,
        /// As announced.
        expected: String,
        /// Of what arrived.
        found: String,
    },
    /// Offline, and the cache does not know the revision.
    #[error("{id}: found no copy of it in the cache {}, and offline nothing is downloaded", .cache.display())]
    NotCached {
        /// The model.
        id: HubId,
        /// The cache.
        cache: PathBuf,
    },
    /// Offline, and the copy lacks a file.
    #[error("{id}: {}: {problem}, and offline nothing is downloaded", .file.display())]
    Incomplete {
        /// The model.
        id: HubId,
        /// The file.
        file: PathBuf,
        /// How it is missing.
        problem: &'static str,
    },
    /// A token that cannot be sent. It is not shown.
    #[error("{from}: expected a token of letters, digits and signs, found other characters in it")]
    Token {
        /// The variable or the file.
        from: String,
    },
    /// An address that is none.
    #[error("HF_ENDPOINT: expected an address such as https://host, found {found:?}")]
    Endpoint {
        /// The address.
        found: String,
    },
    /// No place for a cache.
    #[error("found no home folder to keep models of the Hub in; name a folder in HF_HUB_CACHE")]
    NoHome,
    /// The operating system said no.
    #[error("{}: cannot {action} it: {source}", .file.display())]
    Io {
        /// The file or folder.
        file: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        source: io::Error,
    },
}

impl HubError {
    /// Whether a model of that name is nowhere, as far as can be told.
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::RepositoryNotFound { .. } | Self::NotCached { .. } | Self::Unreachable { .. }
        )
    }

    /// What happened, without what it happened to.
    pub(crate) fn reason(&self) -> String {
        match self {
            Self::Interrupted { reason, .. } => reason.clone(),
            Self::Size {
                expected, found, ..
            } => format!("expected {expected} bytes, found {found}"),
            other => other.to_string(),
        }
    }

    /// For `map_err` at a call of the operating system.
    pub(crate) fn io(
        file: impl Into<PathBuf>,
        action: &'static str,
    ) -> impl FnOnce(io::Error) -> Self {
        let file = file.into();
        move |source| Self::Io {
            file,
            action,
            source,
        }
    }
}

fn said(message: &Option<String>) -> String {
    message
        .as_ref()
        .map_or_else(String::new, |message| format!(": {message}"))
}
