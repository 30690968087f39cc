//! Models of the HuggingFace Hub, as folders.
//!
//! [`Hub::fetch`] asks the Hub what a name stands for, downloads those files that make up a model, and says in which
//! folder they lie. They lie in the cache that Python's `huggingface_hub` uses, laid out as it does it, so that what one of
//! the two has downloaded, the other finds.
//!
//! Everything that arrives was written by somebody else: sizes and digests are checked before a file is taken for what
//! it should be, and names before they become paths. The token goes to the Hub's own address and nowhere else. Nothing
//! is printed.

#![warn(missing_docs)]

mod address;
mod cache;
mod client;
mod description;
mod download;
mod error;
mod hub;
mod id;
mod retries;
mod selection;
mod settings;
mod step;

pub use error::HubError;
pub use hub::{Hub, Snapshot};
pub use id::{Commit, HubId, HubIdError, IdProblem, Revision};
pub use settings::{Patience, Settings, Token, is_true};
pub use step::{Bytes, Step, Transfer};
