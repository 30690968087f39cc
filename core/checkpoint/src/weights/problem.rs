//! What can be wrong with a safetensors file.

/// Where a safetensors file contradicts itself.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HeaderProblem {
    /// Not even room for the length of the header.
    #[error("expected 8 bytes with the length of the header, found a file of {found} bytes")]
    TooShort {
        /// Bytes in the file.
        found: u64,
    },
    /// A length that the file, or the format, does not allow.
    #[error("header length: expected at most {limit} bytes ({reason}), found {found}")]
    Length {
        /// The largest length that would do.
        limit: u64,
        /// Why no more.
        reason: &'static str,
        /// The length as it stands there.
        found: u64,
    },
    /// A header that is no JSON, or not of the expected structure.
    #[error("header: column {column}: {message}")]
    Json {
        /// From 1 on; a header is one line.
        column: usize,
        /// What the parser expected and found.
        message: String,
    },
    /// A name that is there twice.
    #[error("header: tensor `{tensor}` is declared twice")]
    Duplicate {
        /// The name.
        tensor: String,
    },
    /// Offsets in the wrong order.
    #[error("tensor `{tensor}`: data_offsets [{begin}, {end}] end before they begin")]
    Reversed {
        /// The tensor.
        tensor: String,
        /// Its first byte.
        begin: u64,
        /// The byte after its last one.
        end: u64,
    },
    /// A tensor that goes on after the end of the file.
    #[error(
        "tensor `{tensor}`: data_offsets end at byte {end}, but the file holds {available} bytes of data"
    )]
    BeyondTheFile {
        /// The tensor.
        tensor: String,
        /// The byte after its last one.
        end: u64,
        /// Bytes after the header.
        available: u64,
    },
    /// Two tensors that share bytes.
    #[error(
        "tensor `{tensor}` begins at byte {begin}, inside tensor `{other}`, which ends at byte {end}"
    )]
    Overlap {
        /// The tensor.
        tensor: String,
        /// Its first byte.
        begin: u64,
        /// The one before it.
        other: String,
        /// The byte after the other's last one.
        end: u64,
    },
    /// Bytes that belong to no tensor.
    #[error("data: bytes {begin} to {end} belong to no tensor")]
    Gap {
        /// The first one.
        begin: u64,
        /// The byte after the last one.
        end: u64,
    },
    /// A shape that comes to no number of bytes.
    #[error(
        "tensor `{tensor}`: {dtype} {shape:?} does not come to a whole number of bytes below 2^64"
    )]
    Uncountable {
        /// The tensor.
        tensor: String,
        /// The element type as the format names it.
        dtype: String,
        /// The shape.
        shape: Vec<usize>,
    },
    /// A shape that does not describe the tensor's bytes.
    #[error(
        "tensor `{tensor}`: {dtype} {shape:?} takes {expected} bytes, but data_offsets hold {found}"
    )]
    Size {
        /// The tensor.
        tensor: String,
        /// The element type as the format names it.
        dtype: String,
        /// The shape.
        shape: Vec<usize>,
        /// Bytes by type and shape.
        expected: u64,
        /// Bytes by offsets.
        found: u64,
    },
}
