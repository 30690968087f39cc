//! Finding and loading plugins.

mod candidates;
mod load;
mod registry;
mod stamp;

pub use candidates::{Candidate, Origin, SearchPath};
pub use load::{LoadError, Problem};
pub use registry::{Offer, PluginFile, Registry};
pub use stamp::read_stamp;
