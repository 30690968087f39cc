//! Reading a plugin's stamp from its file, before any of its code can run.

use object::{
    Architecture, BinaryFormat, ExportTarget, File, NameOrOrdinal, Object, ObjectSection, ReadRef,
};
use tlbench_sdk::host::{STAMP_SYMBOL, Stamp, StampError};

use super::load::LoadError;

/// The stamp in the library `file`.
///
/// # Errors
/// If it is no library, exports no stamp, or exports something else under the stamp's name.
pub fn read_stamp<'data>(file: impl ReadRef<'data>) -> Result<Stamp, LoadError> {
    let library = File::parse(file).map_err(|error| LoadError::NoLibrary(error.to_string()))?;
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
        .ok_or_else(|| no_stamp(&library))?;
    let bytes = library
        .sections()
        .find_map(|section| {
            section
                .data_range(address, Stamp::SIZE as u64)
                .ok()
                .flatten()
        })
        .unwrap_or_default();
    let stamp = Stamp::parse(bytes)?;
    let expected = Stamp::of_this_build(true).target();
    // The system's loader says of such a file that it is not there.
    if stamp.target() == expected && !is_of_this_machine(&library) {
        let found = format!("{:?} ({:?})", library.architecture(), library.format());
        return Err(StampError::Target { expected, found }.into());
    }
    Ok(stamp)
}

/// Why a library has no stamp.
fn no_stamp<'data>(library: &File<'data, impl ReadRef<'data>>) -> LoadError {
    if is_of_this_machine(library) {
        return LoadError::NoPlugin;
    }
    LoadError::OtherMachine {
        format: library.format(),
        architecture: library.architecture(),
    }
}

fn is_of_this_machine<'data>(library: &File<'data, impl ReadRef<'data>>) -> bool {
    library.format() == BinaryFormat::native_object() && is_native(library.architecture())
}

fn is_native(architecture: Architecture) -> bool {
    match architecture {
        Architecture::X86_64 => cfg!(target_arch = "x86_64"),
        Architecture::Aarch64 => cfg!(target_arch = "aarch64"),
        _ => !cfg!(any(target_arch = "x86_64", target_arch = "aarch64")),
    }
}
