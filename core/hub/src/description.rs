//! What the Hub says of a repository: its commit and its files.

use serde::Deserialize;

use crate::address::{Address, malformed};
use crate::error::HubError;
use crate::id::Commit;

/// A repository at one commit.
#[derive(Debug)]
pub(crate) struct Description {
    pub(crate) commit: Commit,
    pub(crate) files: Vec<RemoteFile>,
}

/// A file of a repository.
#[derive(Clone, Debug)]
pub(crate) struct RemoteFile {
    /// Its path in the repository.
    pub(crate) name: String,
    /// As a mirror of the Hub may not say it.
    pub(crate) size: Option<u64>,
    /// Of its content; only large files have one.
    pub(crate) sha256: Option<String>,
}

#[derive(Deserialize)]
struct Answer {
    sha: String,
    #[serde(default)]
    siblings: Vec<Sibling>,
}

#[derive(Deserialize)]
struct Sibling {
    rfilename: String,
    size: Option<u64>,
    lfs: Option<LargeFile>,
}

#[derive(Deserialize)]
struct LargeFile {
    sha256: Option<String>,
}

impl Description {
    /// From what the Hub answered at `address`.
    pub(crate) fn parse(address: Address<'_>, text: &str) -> Result<Self, HubError> {
        let answer: Answer = serde_json::from_str(text)
            .map_err(|error| malformed(address, "the description of a model", error.to_string()))?;
        let commit = Commit::new(&answer.sha).ok_or_else(|| {
            let found = format!("{:?}", answer.sha);
            malformed(address, "the full hash of a commit in `sha`", found)
        })?;
        let file = |sibling: Sibling| RemoteFile {
            name: sibling.rfilename,
            size: sibling.size,
            sha256: sibling.lfs.and_then(|large| large.sha256),
        };
        Ok(Self {
            commit,
            files: answer.siblings.into_iter().map(file).collect(),
        })
    }

    pub(crate) fn file(&self, name: &str) -> Option<&RemoteFile> {
        self.files.iter().find(|file| file.name == name)
    }
}
