//! What the crate promises about the files that it reads, file by file.

#![expect(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod folder;
mod mangled;
mod recording;
mod recording_errors;
mod shards;
mod support;
mod tokenizer;
mod weights;
mod weights_errors;
