//! Reading a plugin's stamp from its file, before any of its code can run.

use object::{ExportTarget, NameOrOrdinal, Object, ObjectSection};
use tlbench_sdk::host::{STAMP_SYMBOL, Stamp};

use super::load::LoadError;

/// The stamp in the library whose bytes are `file`.
///
/// # Errors
/// If it is no library, exports no stamp, or exports something else under the stamp's name.
pub fn read_stamp(file: &[u8]) -> Result<Stamp, LoadError> {
    let library =
        object::File::parse(file).map_err(|error| LoadError::NoLibrary(error.to_string()))?;
    let exports = library
        .exports()
        .map_err(|error| LoadError::NoLibrary(error.to_string()))?;
    let is_stamp = |name: &[u8]| name.strip_prefix(b"_").unwrap_or(name) == STAMP_SYMBOL.as_bytes();
    let address = exports
        .flatten()
        .find_map(|export| match (export.name(), export.target()) {
            (NameOrOrdinal::Name(name), ExportTarget::Address { address }) if is_stamp(name) => {
                Some(address)
            }
            _ => None,
        })
        .ok_or(LoadError::NoPlugin)?;
    let bytes = library
        .sections()
        .find_map(|section| {
            section
                .data_range(address, Stamp::SIZE as u64)
                .ok()
                .flatten()
        })
        .unwrap_or_default();
    Ok(Stamp::parse(bytes)?)
}
