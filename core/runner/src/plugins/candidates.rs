//! Which files are tried, and in which order.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use super::load::{LoadError, Problem};

/// A file that may be a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    /// The file.
    pub path: PathBuf,
    /// How it came to be tried.
    pub origin: Origin,
}

/// How a file came to be tried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Somebody named this very file: it has to load.
    Named,
    /// It lies in a folder that is searched, and its name has `tlbench_` in it.
    Scanned,
}

/// Where plugins are looked for, in order.
#[derive(Clone, Debug, Default)]
pub struct SearchPath {
    /// Files and folders that somebody named: `--plugin`, `TLBENCH_PLUGIN_PATH`, the config.
    pub named: Vec<PathBuf>,
    /// Folders that are searched if they are there: the executable's own, and its `plugins`.
    pub implied: Vec<PathBuf>,
}

impl SearchPath {
    /// What lies beside the running executable.
    pub fn beside_executable() -> Vec<PathBuf> {
        let folder = std::env::current_exe()
            .ok()
            .and_then(|exe| exe.parent().map(Path::to_owned));
        folder
            .into_iter()
            .flat_map(|folder| [folder.clone(), folder.join("plugins")])
            .collect()
    }

    /// The files to try, each once whatever its names, and what is wrong with the places themselves.
    pub fn candidates(&self) -> (Vec<Candidate>, Vec<Problem>) {
        let mut found = Found::default();
        for path in &self.named {
            if path.is_dir() {
                found.named_folder(path);
            } else {
                found.file(path.clone(), Origin::Named);
            }
        }
        for folder in self.implied.iter().filter(|folder| folder.is_dir()) {
            found.folder(folder, libraries(folder));
        }
        (found.candidates, found.problems)
    }
}

#[derive(Default)]
struct Found {
    candidates: Vec<Candidate>,
    problems: Vec<Problem>,
    seen: BTreeSet<Identity>,
}

impl Found {
    /// Whoever names a folder expects a plugin in it.
    fn named_folder(&mut self, folder: &Path) {
        match libraries(folder) {
            Ok(paths) if paths.is_empty() => {
                self.problem(folder.to_owned(), Origin::Named, LoadError::EmptyFolder);
            }
            libraries => self.folder(folder, libraries),
        }
    }

    fn folder(&mut self, folder: &Path, libraries: io::Result<Vec<PathBuf>>) {
        match libraries {
            Ok(paths) => {
                for path in paths {
                    self.file(path, Origin::Scanned);
                }
            }
            Err(error) => {
                let error = LoadError::Unreadable(error);
                self.problem(folder.to_owned(), Origin::Named, error);
            }
        }
    }

    fn file(&mut self, path: PathBuf, origin: Origin) {
        match identity(&path) {
            Ok(identity) => {
                if self.seen.insert(identity) {
                    self.candidates.push(Candidate { path, origin });
                }
            }
            Err(error) => self.problem(path, origin, error),
        }
    }

    /// Tells once what is wrong at `path`, also where it was named and is met again.
    fn problem(&mut self, path: PathBuf, origin: Origin, error: LoadError) {
        if self.problems.iter().all(|known| known.path != path) {
            self.problems.push(Problem {
                path,
                origin,
                error,
            });
        }
    }
}

/// The entries of `folder` that are named as plugins are, sorted.
fn libraries(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut paths = fs::read_dir(folder)?
        .map(|entry| Ok(entry?.path()))
        .collect::<io::Result<Vec<PathBuf>>>()?;
    paths.retain(|path| is_named_as_library(path));
    paths.sort();
    Ok(paths)
}

fn is_named_as_library(path: &Path) -> bool {
    let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    path.extension() == Some(OsStr::new(std::env::consts::DLL_EXTENSION))
        && name.contains("tlbench_")
}

/// What two names of one file have in common.
#[cfg(unix)]
type Identity = (u64, u64);
#[cfg(not(unix))]
type Identity = PathBuf;

#[cfg(unix)]
fn identity_of(_: &Path, metadata: &Metadata) -> io::Result<Identity> {
    use std::os::unix::fs::MetadataExt;

    Ok((metadata.dev(), metadata.ino()))
}

#[cfg(not(unix))]
fn identity_of(path: &Path, _: &Metadata) -> io::Result<Identity> {
    path.canonicalize()
}

/// The file behind `path`. Nothing is opened: that of a pipe would wait for somebody to write.
fn identity(path: &Path) -> Result<Identity, LoadError> {
    let metadata = path.metadata().map_err(|error| absent(path, error))?;
    if !metadata.is_file() {
        return Err(LoadError::NotAFile(kind(metadata.file_type())));
    }
    identity_of(path, &metadata).map_err(LoadError::Unreadable)
}

/// Why there is nothing at `path`.
fn absent(path: &Path, error: io::Error) -> LoadError {
    match (path.read_link(), error.kind()) {
        (Ok(target), io::ErrorKind::NotFound) => LoadError::Dangling { target, error },
        (Err(_), io::ErrorKind::NotFound) => LoadError::NotThere,
        _ => LoadError::Unreadable(error),
    }
}

fn kind(file_type: FileType) -> &'static str {
    #[cfg(unix)]
    {
        use std::os::unix::fs::FileTypeExt;

        if file_type.is_fifo() {
            return "a named pipe";
        }
    }
    if file_type.is_dir() {
        "a folder"
    } else {
        "a device or socket"
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn named_files_come_first_and_each_file_once() {
        let folder = tempfile::tempdir().unwrap();
        let library = |name: &str| {
            let path = folder
                .path()
                .join(name)
                .with_extension(std::env::consts::DLL_EXTENSION);
            fs::write(&path, "").unwrap();
            path
        };
        let (b, a, other) = (
            library("libtlbench_b"),
            library("libtlbench_a"),
            library("libother"),
        );
        fs::create_dir(folder.path().join("notes")).unwrap();
        let search = SearchPath {
            named: vec![other.clone(), b.clone(), folder.path().join("gone.so")],
            implied: vec![folder.path().to_owned(), folder.path().join("plugins")],
        };
        let (found, problems) = search.candidates();
        let expected = [
            (other, Origin::Named),
            (b, Origin::Named),
            (a, Origin::Scanned),
        ];
        assert_eq!(
            found,
            expected.map(|(path, origin)| Candidate { path, origin })
        );
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].error.to_string(), "no such file or folder");
    }
}
