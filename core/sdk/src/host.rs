//! For hosts that load plugins; authors of plugins need nothing of it.

pub use crate::abi::{
    ABI_VERSION, AttachError, ForeignArchitecture, ForeignBenchmark, ForeignFaultZoo,
    ForeignReference, LoadedPlugin, MODELS_AT_ONCE, PluginDescription, ROOT_SYMBOL, STAMP_SYMBOL,
    Stamp, StampError, attach,
};
