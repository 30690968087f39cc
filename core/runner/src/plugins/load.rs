//! From a file to a plugin's objects. The only place that names libloading.
#![expect(unsafe_code, reason = "loading a library runs its code")]

use std::error::Error as _;
use std::ffi::c_void;
use std::fs::File;
use std::io;
use std::path::PathBuf;

use libloading::Library;
use object::{Architecture, BinaryFormat, ReadCache};
use tlbench_sdk::IdError;
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
            (
                LoadError::NotAFile(_)
                | LoadError::NoLibrary(_)
                | LoadError::OtherMachine { .. }
                | LoadError::NoPlugin,
                Origin::Scanned,
            ) => false,
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
    /// A link that leads nowhere.
    #[error("is a link to {target}: {error}", target = target.display())]
    Dangling {
        /// What it names.
        target: PathBuf,
        /// What the system says.
        error: io::Error,
    },
    /// It cannot be read.
    #[error("cannot be read: {0}")]
    Unreadable(io::Error),
    /// Something else under a plugin's name.
    #[error("is {0}, and no file")]
    NotAFile(&'static str),
    /// A folder that somebody named, without anything in it that could be a plugin.
    #[error(
        "is a folder without plugins: none of its files is called `*tlbench_*.{}`",
        std::env::consts::DLL_EXTENSION
    )]
    EmptyFolder,
    /// Some other kind of file.
    #[error("is no dynamic library ({0})")]
    NoLibrary(String),
    /// A library without a stamp that this machine could not load anyway.
    #[error("is a library for another machine ({format:?} for {architecture:?})")]
    OtherMachine {
        /// The kind of file.
        format: BinaryFormat,
        /// The processor.
        architecture: Architecture,
    },
    /// A library, but not one of ours.
    #[error("is no tlbench plugin: it exports no stamp")]
    NoPlugin,
    /// Ours, but not for this host.
    #[error(transparent)]
    Stamp(#[from] StampError),
    /// The system's loader refused it.
    #[error("cannot be loaded: {}", reason(.0))]
    Dlopen(libloading::Error),
    /// It was loaded, but cannot be talked to.
    #[error(transparent)]
    Attach(#[from] AttachError),
    /// It offers something under a name that is no id.
    #[error("offers the {kind} {error}")]
    Id {
        /// Architecture, model type, reference, benchmark or module.
        kind: &'static str,
        /// The name.
        error: IdError,
    },
    /// It offers a reference under a name that means something else.
    #[error("offers the reference `{id}`, which is what configs call the references of a tier")]
    Reserved {
        /// The id.
        id: String,
    },
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

/// The system's own words, where it has some.
fn reason(error: &libloading::Error) -> String {
    error
        .source()
        .map_or_else(|| error.to_string(), ToString::to_string)
}

/// Loads one candidate. The library stays loaded for the rest of the process: objects of it may live anywhere.
pub(super) fn load(candidate: &Candidate) -> Result<(Stamp, LoadedPlugin), LoadError> {
    let file = File::open(&candidate.path).map_err(LoadError::Unreadable)?;
    // Of a file that may be of any size, what is asked for is read, and no more.
    let stamp = read_stamp(&ReadCache::new(file))?;
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
