//! The cache on disk, as Python's `huggingface_hub` lays it out. The names are those of the `hf-hub` crate, which knows
//! half of it:
//!
//! ```text
//! models--owner--name/refs/main                  the commit that the branch stood for
//!                    /blobs/ETAG                 a content, under the name that the Hub has for it
//!                    /snapshots/COMMIT/FILE      a link to the content
//!                    /.no_exist/COMMIT/FILE      a file that this commit does not have
//! .locks/models--owner--name/ETAG.lock           held while the content is written
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use hf_hub::{Cache, CacheRepo, Repo};

use crate::error::HubError;
use crate::id::{Commit, HubId, Revision};

/// The part of the cache that one repository has.
pub(crate) struct Repository {
    layout: CacheRepo,
    root: PathBuf,
    locks: PathBuf,
}

/// How a file of a snapshot is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Presence {
    /// With this many bytes.
    Present {
        size: u64,
    },
    /// The link leads nowhere.
    Dangling,
    /// It is known that the commit has no such file.
    KnownAbsent,
    Unknown,
}

impl Repository {
    pub(crate) fn new(cache: &Path, id: &HubId) -> Self {
        let repository = Repo::model(id.repository());
        let folder = repository.folder_name();
        Self {
            layout: Cache::new(cache.to_owned()).repo(repository),
            root: cache.join(&folder),
            locks: cache.join(".locks").join(folder),
        }
    }

    /// What `revision` stood for when it was last asked for.
    pub(crate) fn commit(&self, revision: &Revision) -> Option<Commit> {
        revision.as_commit().or_else(|| {
            let text = fs::read_to_string(self.reference(revision)).ok()?;
            Commit::new(text.trim())
        })
    }

    /// Notes what `revision` stands for now.
    pub(crate) fn set_commit(&self, revision: &Revision, commit: &Commit) -> Result<(), HubError> {
        let file = self.reference(revision);
        if revision.as_str() == commit.as_str() || self.commit(revision).as_ref() == Some(commit) {
            return Ok(());
        }
        // A reader sees the old commit or the new one, and never half of one.
        let folder = create_parent(&file)?;
        let mut new =
            tempfile::NamedTempFile::new_in(folder).map_err(HubError::io(folder, "write to"))?;
        new.write_all(commit.as_str().as_bytes())
            .map_err(HubError::io(new.path(), "write"))?;
        new.persist(&file)
            .map_err(|error| HubError::io(&file, "write")(error.error))?;
        Ok(())
    }

    pub(crate) fn snapshot(&self, commit: &Commit) -> PathBuf {
        self.layout.pointer_path(commit.as_str())
    }

    pub(crate) fn presence(&self, commit: &Commit, file: &str) -> Presence {
        let path = self.snapshot(commit).join(file);
        match fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() => Presence::Present {
                size: metadata.len(),
            },
            _ if path.is_symlink() => Presence::Dangling,
            _ if self.marker(commit, file).is_file() => Presence::KnownAbsent,
            _ => Presence::Unknown,
        }
    }

    /// Notes that `commit` has no `file`.
    pub(crate) fn mark_absent(&self, commit: &Commit, file: &str) -> Result<(), HubError> {
        let marker = self.marker(commit, file);
        create_parent(&marker)?;
        File::create(&marker).map_err(HubError::io(&marker, "write"))?;
        Ok(())
    }

    /// Where the content `etag` is kept.
    pub(crate) fn blob(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(etag)
    }

    /// Where the content `etag` is kept until all of it is there.
    pub(crate) fn incomplete(&self, etag: &str) -> PathBuf {
        self.root.join("blobs").join(format!("{etag}.incomplete"))
    }

    /// Keeps every other process from writing the content `etag`, for as long as the file lives. `wait` is called if
    /// one is at it.
    pub(crate) fn lock(&self, etag: &str, wait: impl FnOnce()) -> Result<File, HubError> {
        let path = self.locks.join(format!("{etag}.lock"));
        create_parent(&path)?;
        let lock = File::options()
            .write(true)
            .create(true)
            .truncate(false)
            .open(&path)
            .map_err(HubError::io(&path, "open"))?;
        let taken = match lock.try_lock() {
            Ok(()) => Ok(()),
            Err(fs::TryLockError::WouldBlock) => {
                wait();
                lock.lock()
            }
            Err(fs::TryLockError::Error(error)) => Err(error),
        };
        match taken {
            // Some network file systems have no locks; contents are still checked before they are kept.
            Err(error) if error.kind() != io::ErrorKind::Unsupported => {
                Err(HubError::io(path, "lock")(error))
            }
            _ => Ok(lock),
        }
    }

    /// Makes the content `etag` the `file` of `commit`.
    pub(crate) fn link(&self, commit: &Commit, file: &str, etag: &str) -> Result<(), HubError> {
        let pointer = self.snapshot(commit).join(file);
        create_parent(&pointer)?;
        match link(&self.blob(etag), &pointer) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                fs::remove_file(&pointer).map_err(HubError::io(&pointer, "replace"))?;
                match link(&self.blob(etag), &pointer) {
                    // Another process made the same link in between.
                    Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                    linked => linked,
                }
            }
            linked => linked,
        }
        .map_err(HubError::io(&pointer, "write"))
    }

    fn reference(&self, revision: &Revision) -> PathBuf {
        self.root.join("refs").join(revision.as_str())
    }

    fn marker(&self, commit: &Commit, file: &str) -> PathBuf {
        let markers = self.root.join(".no_exist");
        markers.join(commit.as_str()).join(file)
    }
}

fn create_parent(file: &Path) -> Result<&Path, HubError> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(HubError::io(folder, "create"))?;
    Ok(folder)
}

/// A relative link, so that the cache may be moved.
#[cfg(unix)]
fn link(blob: &Path, pointer: &Path) -> io::Result<()> {
    let repository = blob.ancestors().nth(2).unwrap_or(blob);
    let within = |path: &Path| path.strip_prefix(repository).map(Path::to_owned);
    let (Ok(blob_within), Ok(pointer_within)) = (within(blob), within(pointer)) else {
        return std::os::unix::fs::symlink(blob, pointer);
    };
    let up = pointer_within.components().skip(1).map(|_| "..");
    let target = up.collect::<PathBuf>().join(blob_within);
    std::os::unix::fs::symlink(target, pointer)
}

/// Links need a privilege on Windows.
#[cfg(not(unix))]
fn link(blob: &Path, pointer: &Path) -> io::Result<()> {
    match fs::hard_link(blob, pointer) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
            fs::copy(blob, pointer).map(|_| ())
        }
        linked => linked,
    }
}
