//! The plugin boundary: the only place that names abi_stable, and with the loader the only one with `unsafe`.
//!
//! Structured data crosses as JSON text, tensors as DLPack-shaped structs that the producer frees, errors as data.
//! Panics are caught on the plugin's side, since one that reaches abi_stable's glue ends the process.
#![expect(unsafe_code, reason = "this module is the boundary")]

mod guard;
mod host_side;
mod kinds;
mod message;
mod objects;
mod plugin_side;
mod stamp;
mod tensor;

pub use host_side::{
    AttachError, ForeignArchitecture, ForeignBenchmark, ForeignFaultZoo, ForeignReference,
    LoadedPlugin, MODELS_AT_ONCE, attach,
};
pub use kinds::{Message, reread};
pub use objects::ROOT_SYMBOL;
pub use plugin_side::{LibHeader, PluginIdentity, Registration, root_header};
pub use stamp::{ABI_VERSION, STAMP_SYMBOL, Stamp, StampError};
pub(crate) use tensor::ForeignBytes;

/// The most that `describe` may say about one plugin, for the host to list it.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct PluginDescription {
    /// The crate's name.
    pub name: String,
    /// The crate's version.
    pub version: String,
}
