//! Which files are tried, and in which order.

use std::collections::BTreeSet;
use std::ffi::OsStr;
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

    /// The files to try, each once, and what is wrong with the places themselves.
    pub fn candidates(&self) -> (Vec<Candidate>, Vec<Problem>) {
        let (mut found, mut problems, mut seen) = (Vec::new(), Vec::new(), BTreeSet::new());
        for path in &self.named {
            if path.is_dir() {
                scan(path, &mut found, &mut problems);
            } else if path.is_file() {
                found.push(Candidate {
                    path: path.clone(),
                    origin: Origin::Named,
                });
            } else {
                problems.push(Problem {
                    path: path.clone(),
                    origin: Origin::Named,
                    error: LoadError::NotThere,
                });
            }
        }
        for folder in self.implied.iter().filter(|folder| folder.is_dir()) {
            scan(folder, &mut found, &mut problems);
        }
        found.retain(|candidate| {
            seen.insert(
                candidate
                    .path
                    .canonicalize()
                    .unwrap_or_else(|_| candidate.path.clone()),
            )
        });
        (found, problems)
    }
}

/// The libraries of `folder` whose names have `tlbench_` in them, sorted by name.
fn scan(folder: &Path, found: &mut Vec<Candidate>, problems: &mut Vec<Problem>) {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => {
            let error = LoadError::Unreadable(error);
            problems.push(Problem {
                path: folder.to_owned(),
                origin: Origin::Named,
                error,
            });
            return;
        }
    };
    let mut paths: Vec<PathBuf> = entries
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_library(path))
        .collect();
    paths.sort();
    found.extend(paths.into_iter().map(|path| Candidate {
        path,
        origin: Origin::Scanned,
    }));
}

fn is_library(path: &Path) -> bool {
    let name = path.file_stem().and_then(OsStr::to_str).unwrap_or_default();
    path.extension() == Some(OsStr::new(std::env::consts::DLL_EXTENSION))
        && name.contains("tlbench_")
        && path.is_file()
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
        fs::create_dir(folder.path().join("libtlbench_folder.so")).unwrap();
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
