//! A model folder and a recording, as they lie on disk.
//!
//! Everything here reads files that somebody else wrote: what does not fit is an error that names the file, the key or
//! tensor, what was expected and what was found. There is no network here, no memory map and no arithmetic.

#![warn(missing_docs)]

mod digest;
mod error;
mod folder;
mod forms;
mod json;
pub mod recording;
mod stored;
mod tokenizer;
mod weights;

pub use digest::{config_digest, weights_digest};
pub use error::CheckpointError;
pub use folder::{CONFIG_FILE, ModelConfig, ModelFolder};
pub use forms::{INDEX_FILE, RefusedForm, WEIGHTS_FILE, refused_form};
pub use recording::{Floors, RECORDING_FILE, RecordedAnswer, Recording, RecordingError};
pub use stored::StoredTensor;
pub use tokenizer::{TOKENIZER_FILE, Tokenizer};
pub use weights::{
    HeaderProblem, IndexProblem, Weights, shard_names, write_tensors, write_weights,
};
