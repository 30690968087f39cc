//! Is a transformer implementation right, and if not, where does it first go wrong?
//!
//! The library behind the command `tlbench`. From a test:
//!
//! ```no_run
//! use std::path::Path;
//!
//! use tlbench::{Config, EventLog, Outcome, Registry, SearchPath, run};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let config = Config::load(Path::new("tlbench.toml"))?;
//! let registry = Registry::load(&SearchPath { named: vec!["target/release".into()], implied: vec![] });
//! let log = EventLog::default();
//! run(&config, &registry, &log)?;
//! assert_eq!(Outcome::of(&log.events()), Outcome::Passed);
//! # Ok(())
//! # }
//! ```

mod answers;
pub mod config;
pub mod events;
mod exit;
mod inputs;
pub mod inspect;
pub mod list;
pub mod model;
mod outcome;
pub mod plugins;
mod record;
mod references;
pub mod report;
mod run;
mod session;
mod stimuli;

pub use config::Config;
pub use events::{Event, EventLog, EventSink};
pub use exit::Failure;
pub use outcome::Outcome;
pub use plugins::{Registry, SearchPath};
pub use record::{RecordError, record};
pub use run::{SelectionError, run};
