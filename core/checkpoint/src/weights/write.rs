//! Weights, as `save_pretrained` writes them.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::Path;

use tlbench_sdk::Tensor;

use crate::error::CheckpointError;
use crate::stored::StoredTensor;

/// Writes `tensors` by name to the safetensors file `file`. The same tensors give the same bytes.
///
/// # Errors
/// If it cannot be written.
pub fn write_weights(
    tensors: BTreeMap<String, Tensor>,
    file: &Path,
) -> Result<(), CheckpointError> {
    // Releases of transformers up to 4 refuse a file that does not say this.
    let metadata = BTreeMap::from([("format".to_owned(), "pt".to_owned())]);
    write_tensors(tensors, metadata, file)
}

/// Writes `tensors` by name to the safetensors file `file`, with texts beside them.
///
/// # Errors
/// If it cannot be written.
pub fn write_tensors(
    tensors: BTreeMap<String, Tensor>,
    metadata: BTreeMap<String, String>,
    file: &Path,
) -> Result<(), CheckpointError> {
    let metadata: HashMap<String, String> = metadata.into_iter().collect();
    let stored = tensors
        .into_iter()
        .map(|(name, tensor)| (name, StoredTensor(tensor)));
    let written = safetensors::serialize(stored, Some(metadata))
        .map_err(io::Error::other)
        .and_then(|bytes| fs::write(file, bytes));
    written.map_err(CheckpointError::io(file, "write"))
}
