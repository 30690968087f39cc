//! From a file to a plugin's objects. The only place that names libloading.
#![expect(unsafe_code, reason = "loading a library runs its code")]

use std::ffi::c_void;
use std::path::PathBuf;

use libloading::Library;
use tlbench_sdk::host::{AttachError, LoadedPlugin, ROOT_SYMBOL, Stamp, StampError, attach};

use super::candidates::{Candidate, Origin};
use super::stamp::read_stamp;

/// A plugin that could not be used.
#[derive(Debug)]
pub struct Problem {
    /// The file.
    pub path: PathBuf,
    /// How it came to be tried.
    pub origin: Origin,
    /// What is wrong.
    pub error: LoadError,
}

impl Problem {
    /// Whether the run may not end well because of it: the file was named, or is a plugin by its stamp.
    pub fn is_fatal(&self) -> bool {
        match (&self.error, self.origin) {
            (_, Origin::Named) => true,
            (LoadError::NoLibrary(_) | LoadError::NoPlugin, Origin::Scanned) => false,
            (_, Origin::Scanned) => true,
        }
    }
}

/// Why a file could not be used as a plugin.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A path that leads nowhere.
    #[error("no such file or folder")]
    NotThere,
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(std::io::Error),
    /// Some other kind of file.
    #[error("is no dynamic library ({0})")]
    NoLibrary(String),
    /// A library, but not one of ours.
    #[error("is no tlbench plugin: it exports no stamp")]
    NoPlugin,
    /// Ours, but not for this host.
    #[error(transparent)]
    Stamp(#[from] StampError),
    /// The system's loader refused it.
    #[error("cannot be loaded: {0}")]
    Dlopen(libloading::Error),
    /// It was loaded, but cannot be talked to.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// It offers two things under one id.
    #[error("offers the {kind} `{id}` twice")]
    Twice {
        /// Architecture, model type, reference or benchmark.
        kind: &'static str,
        /// The id.
        id: String,
    },
    /// What it offers is offered already.
    #[error("offers the {kind} `{id}`, which {first} offers already", first = first.display())]
    Duplicate {
        /// Architecture, model type, reference or benchmark.
        kind: &'static str,
        /// The id.
        id: String,
        /// The file that was loaded before.
        first: PathBuf,
    },
}

/// Loads one candidate. The library stays loaded for the rest of the process: objects of it may live anywhere.
pub(super) fn load(candidate: &Candidate) -> Result<(Stamp, LoadedPlugin), LoadError> {
    let bytes = std::fs::read(&candidate.path).map_err(LoadError::Unreadable)?;
    let stamp = read_stamp(&bytes)?;
    Stamp::of_this_build(true).check(&stamp)?;
    // A name without a slash would be looked up in the system's folders.
    let path = candidate
        .path
        .canonicalize()
        .map_err(LoadError::Unreadable)?;
    // SAFETY: the stamp says that this is a plugin of ours; its initialisers only register what it offers.
    let library = unsafe { Library::new(path) }.map_err(LoadError::Dlopen)?;
    // SAFETY: the symbol is a static, whose address is taken and not read here.
    let header: *const c_void = unsafe { library.get::<*const c_void>(ROOT_SYMBOL) }
        .map(|symbol| *symbol)
        .map_err(LoadError::Dlopen)?;
    std::mem::forget(library);
    // SAFETY: the address is that of the root symbol, the library is never unloaded, and its stamp was checked.
    Ok((stamp, unsafe { attach(header) }?))
}
