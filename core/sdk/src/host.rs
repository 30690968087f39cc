//! For hosts that load plugins; authors of plugins need nothing of it.

pub use crate::abi::{
    ABI_VERSION, AttachError, LoadedPlugin, PluginDescription, ROOT_SYMBOL, STAMP_SYMBOL, Stamp,
    StampError, attach,
};
