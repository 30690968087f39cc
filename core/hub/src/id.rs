//! How a model of the Hub is named.

use std::fmt;
use std::str::FromStr;

/// The branch that a model is taken from where no revision is named.
const DEFAULT_REVISION: &str = "main";
/// Of owner and name, with the slash between them.
const MAX_ID_LENGTH: usize = 96;
/// A revision is a path in the cache as well.
const MAX_REVISION_LENGTH: usize = 200;

/// A model of the Hub at some revision: `owner/name@revision`.
///
/// A few old models have no owner. Without `@revision` it is the branch `main`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct HubId {
    owner: Option<String>,
    name: String,
    revision: Revision,
}

impl HubId {
    /// The name without its owner.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The revision.
    pub fn revision(&self) -> &Revision {
        &self.revision
    }

    /// `owner/name`, or `name`: the repository without a revision.
    pub fn repository(&self) -> String {
        match &self.owner {
            Some(owner) => format!("{owner}/{}", self.name),
            None => self.name.clone(),
        }
    }
}

impl fmt::Display for HubId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.repository(), self.revision)
    }
}

impl FromStr for HubId {
    type Err = HubIdError;

    fn from_str(text: &str) -> Result<Self, HubIdError> {
        let wrong = |problem| HubIdError {
            found: text.to_owned(),
            problem,
        };
        let (repository, revision) = text.split_once('@').unwrap_or((text, DEFAULT_REVISION));
        if repository.len() > MAX_ID_LENGTH {
            return Err(wrong(IdProblem::TooLong));
        }
        let (owner, name) = match repository.split_once('/') {
            Some((owner, name)) => (Some(owner), name),
            None => (None, repository),
        };
        for part in owner.into_iter().chain([name]) {
            check_part(part).map_err(wrong)?;
        }
        Ok(Self {
            owner: owner.map(str::to_owned),
            name: name.to_owned(),
            revision: Revision::new(revision).map_err(wrong)?,
        })
    }
}

/// The Hub's own rules for the names of users, organisations and repositories.
fn check_part(part: &str) -> Result<(), IdProblem> {
    if part.is_empty() {
        return Err(IdProblem::Empty);
    }
    if part.contains('/') {
        return Err(IdProblem::Slashes);
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if let Some(character) = part.chars().find(|&c| !allowed(c)) {
        return Err(IdProblem::Character { character });
    }
    if part.starts_with(['-', '.']) || part.ends_with(['-', '.']) {
        return Err(IdProblem::Edge);
    }
    for sequence in ["--", ".."] {
        if part.contains(sequence) {
            return Err(IdProblem::Sequence { sequence });
        }
    }
    if part.ends_with(".git") {
        return Err(IdProblem::Git);
    }
    Ok(())
}

/// A branch, a tag, a commit, or a reference such as `refs/pr/1`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Revision(String);

impl Revision {
    fn new(text: &str) -> Result<Self, IdProblem> {
        let allowed = |c: char| c.is_ascii_alphanumeric() || "-_.+/".contains(c);
        // It becomes a path in the cache.
        let is_component =
            |part: &str| !part.is_empty() && !part.starts_with(['.', '-']) && !part.ends_with('.');
        let is_revision = text.len() <= MAX_REVISION_LENGTH
            && text.chars().all(allowed)
            && !text.contains("..")
            && text.split('/').all(is_component);
        if is_revision {
            Ok(Self(text.to_owned()))
        } else {
            Err(IdProblem::Revision {
                revision: text.to_owned(),
            })
        }
    }

    /// As the Hub takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The commit that it names in full, which never moves.
    pub fn as_commit(&self) -> Option<Commit> {
        Commit::new(&self.0)
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The full hash of a commit.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Commit(String);

impl Commit {
    /// `text`, if it is one.
    pub(crate) fn new(text: &str) -> Option<Self> {
        let is_digit = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (text.len() == 40 && text.bytes().all(is_digit)).then(|| Self(text.to_owned()))
    }

    /// 40 hexadecimal digits.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A text that names no model of the Hub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "expected a model of the Hub as owner/name or owner/name@revision, found {found:?}: {problem}"
)]
pub struct HubIdError {
    /// The text.
    pub found: String,
    /// What is wrong with it.
    pub problem: IdProblem,
}

/// Why a text names no model of the Hub.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdProblem {
    /// An owner or a name without a character.
    #[error("an owner or a name is missing")]
    Empty,
    /// More than one slash before the revision.
    #[error("there is more than one slash before the revision")]
    Slashes,
    /// Too long for the Hub.
    #[error("owner and name have more than {MAX_ID_LENGTH} characters")]
    TooLong,
    /// A character that the Hub does not allow.
    #[error("the Hub allows letters, digits, `-`, `_` and `.`, and not `{}`", .character.escape_default())]
    Character {
        /// The first such character.
        character: char,
    },
    /// A dot or dash at either end.
    #[error("no owner and no name begins or ends with `-` or `.`")]
    Edge,
    /// What stands for something else in paths.
    #[error("no owner and no name has `{sequence}` in it")]
    Sequence {
        /// `--` or `..`.
        sequence: &'static str,
    },
    /// A name that ends as the URL of its repository does.
    #[error("no owner and no name ends with `.git`")]
    Git,
    /// What git would not take for a revision, either.
    #[error("`{revision}` is no branch, tag, commit or refs/pr/NUMBER")]
    Revision {
        /// What stands after the `@`.
        revision: String,
    },
}

#[cfg(test)]
mod tests;
