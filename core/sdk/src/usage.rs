//! What of config and checkpoint an adapter used.

use serde::{Deserialize, Serialize};

/// What of config and checkpoint was used, and what not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Config keys that the adapter read.
    pub keys_read: Vec<String>,
    /// Keys that are there, were not read, and are not known to be harmless.
    pub keys_not_read: Vec<String>,
    /// Checkpoint tensors that the spec takes.
    pub tensors_taken: Vec<String>,
    /// Tensors that it neither takes nor ignores.
    pub tensors_not_taken: Vec<String>,
}
