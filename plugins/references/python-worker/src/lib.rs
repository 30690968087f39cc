//! A worker process in the user's own Python, and the conversation with it.
//!
//! Python computes on its own side of a pipe, so that whatever happens to it is an error here and nothing more. A
//! reference says what it runs there as a [`Program`], and takes its [`Python`] from a [`Pool`], so that one process
//! serves the models of a run one after the other.

#![warn(missing_docs)]

mod ending;
mod folder;
mod frame;
mod options;
mod pipes;
mod pool;
mod program;
mod protocol;
mod stderr;
mod tensors;
#[cfg(test)]
#[cfg(unix)]
mod tests;
mod worker;

pub use folder::absolute;
pub use pool::{Pool, Python};
pub use program::{Library, Program};
pub use protocol::Method;
pub use tensors::{from_blob, to_blob};
