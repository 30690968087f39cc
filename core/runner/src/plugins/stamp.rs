//! Reading a plugin's stamp from its file, before any of its code can run.

use object::{
    Architecture, BinaryFormat, ExportTarget, File, NameOrOrdinal, Object, ObjectSection,
    ObjectSymbol, ReadRef,
};
use tlbench_sdk::host::{STAMP_SYMBOL, Stamp, StampError};

use super::load::LoadError;

/// The stamp in the library `file`.
///
/// # Errors
/// If it is no library, exports no stamp, or exports something else under the stamp's name.
pub fn read_stamp<'data>(file: impl ReadRef<'data>) -> Result<Stamp, LoadError> {
    let library = File::parse(file).map_err(|error| LoadError::NoLibrary(error.to_string()))?;
    if library.format() != BinaryFormat::native_object() {
        return Err(no_stamp(&library));
    }
    let address = stamp_address(&library)?.ok_or_else(|| no_stamp(&library))?;
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

/// Where in memory the stamp would be.
fn stamp_address<'data>(
    library: &File<'data, impl ReadRef<'data>>,
) -> Result<Option<u64>, LoadError> {
    let is_stamp = |name: &[u8]| name.strip_prefix(b"_").unwrap_or(name) == STAMP_SYMBOL.as_bytes();
    if library.format() == BinaryFormat::MachO {
        // The exports are a trie there, in which a file of 1 KB can have more paths than anybody can follow.
        let mut symbols = library.symbols();
        let stamp = symbols.find(|symbol| symbol.name_bytes().is_ok_and(is_stamp));
        return Ok(stamp.map(|symbol| symbol.address()));
    }
    let exports = library
        .exports()
        .map_err(|error| LoadError::NoLibrary(error.to_string()))?;
    let mut addresses =
        exports
            .flatten()
            .filter_map(|export| match (export.name(), export.target()) {
                (NameOrOrdinal::Name(name), ExportTarget::Address { address })
                    if is_stamp(name) =>
                {
                    Some(address)
                }
                _ => None,
            });
    Ok(addresses.next())
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What fuzzing started from, and what it found.
    fn seed(name: &str) -> Vec<u8> {
        let seeds = concat!(env!("CARGO_MANIFEST_DIR"), "/../fuzz/seeds/stamp/");
        std::fs::read(format!("{seeds}{name}")).unwrap()
    }

    #[test]
    fn exports_that_nobody_can_follow_to_the_end_are_not_followed() {
        let error = read_stamp(seed("macho_trie").as_slice()).unwrap_err();
        assert!(
            matches!(error, LoadError::OtherMachine { .. } | LoadError::NoPlugin),
            "{error}"
        );
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_stamp_of_a_library_that_is_nothing_else() {
        let stamp = read_stamp(seed("elf").as_slice()).unwrap();
        assert_eq!(stamp.target(), "x86_64-unknown-linux-gnu");
    }
}
