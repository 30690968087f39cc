//! Is a transformer implementation right, and if not, where does it first go wrong?
//!
//! The library behind the command `tlbench`. [`Suite`] is the way in for programs and tests; the command itself is [`run`] on
//! a [`Config`] and a [`Registry`], with an [`EventSink`] that shows what happens.

mod ahead;
mod answers;
pub mod bisect;
pub mod config;
pub mod diagnosis;
pub mod events;
mod exit;
pub mod explain;
mod faulty;
mod hook_by_hook;
mod in_order;
mod inputs;
pub mod inspect;
mod known_answers;
pub mod list;
mod located;
pub mod model;
mod notes;
mod outcome;
pub mod plugins;
mod processed;
mod record;
mod references;
pub mod report;
mod results;
mod room;
mod run;
mod selection;
pub mod sensitivity;
mod session;
mod stimuli;
mod subject;
mod suite;
pub mod twin;
mod unreached;

pub use config::Config;
pub use events::{Event, EventLog, EventSink};
pub use exit::Failure;
pub use located::{HubCopy, LocateError, Located};
pub use outcome::Outcome;
pub use plugins::{Registry, SearchPath};
pub use record::{Extent, RecordError, record};
pub use results::Results;
pub use run::run;
pub use selection::SelectionError;
pub use suite::{Suite, SuiteError};
pub use tlbench_sdk::{DType, Judging, Mode, Severity, Tier};

/// The README's examples compile.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
