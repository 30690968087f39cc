//! What can be read from a plugin's file before any of its code runs.

use std::fmt;

/// The version of the boundary. It changes whenever host and plugin built from different versions would misunderstand
/// each other: message shapes, object methods, tensor layout.
pub const ABI_VERSION: u32 = 3;

/// The exported symbol that holds the stamp.
pub const STAMP_SYMBOL: &str = "TLBENCH_PLUGIN_STAMP";

const MAGIC: [u8; 16] = *b"tlbench plugin\0\x01";

/// Fixed-size and without pointers, so that its bytes in the file are its value.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Stamp {
    magic: [u8; 16],
    abi_version: u32,
    pointer_width: u32,
    panic_unwinds: u32,
    reserved: u32,
    sdk_version: [u8; 32],
    rustc: [u8; 96],
    target: [u8; 64],
}

impl Stamp {
    /// Bytes that a stamp takes.
    pub const SIZE: usize = size_of::<Self>();

    /// The stamp of what is being compiled; `panic_unwinds` has to be evaluated in the plugin's own crate.
    pub const fn of_this_build(panic_unwinds: bool) -> Self {
        Self {
            magic: MAGIC,
            abi_version: ABI_VERSION,
            pointer_width: usize::BITS,
            panic_unwinds: panic_unwinds as u32,
            reserved: 0,
            sdk_version: padded(env!("CARGO_PKG_VERSION")),
            rustc: padded(env!("TLBENCH_RUSTC")),
            target: padded(env!("TLBENCH_TARGET")),
        }
    }

    /// Reads a stamp as it lies in a file.
    ///
    /// # Errors
    /// If there are too few bytes, or other ones than a stamp starts with.
    pub fn parse(bytes: &[u8]) -> Result<Self, StampError> {
        let bytes: &[u8; Self::SIZE] = bytes
            .get(..Self::SIZE)
            .and_then(|b| b.try_into().ok())
            .ok_or(StampError::Truncated { found: bytes.len() })?;
        let (magic, rest) = split::<16>(bytes);
        if magic != MAGIC {
            return Err(StampError::Magic);
        }
        let number =
            |at: usize| u32::from_ne_bytes([rest[at], rest[at + 1], rest[at + 2], rest[at + 3]]);
        let (sdk_version, rest_of_text) = split::<32>(&rest[16..]);
        let (rustc, rest_of_text) = split::<96>(rest_of_text);
        let (target, _) = split::<64>(rest_of_text);
        Ok(Self {
            magic,
            abi_version: number(0),
            pointer_width: number(4),
            panic_unwinds: number(8),
            reserved: number(12),
            sdk_version,
            rustc,
            target,
        })
    }

    /// Whether a host built like `self` can load a plugin stamped `plugin`.
    ///
    /// # Errors
    /// Names the first difference that forbids it. Another rustc or SDK version alone does not.
    pub fn check(&self, plugin: &Self) -> Result<(), StampError> {
        if plugin.abi_version != self.abi_version {
            return Err(StampError::Abi {
                expected: self.abi_version,
                found: plugin.abi_version,
                sdk_version: plugin.sdk_version(),
            });
        }
        if plugin.target != self.target || plugin.pointer_width != self.pointer_width {
            return Err(StampError::Target {
                expected: self.target(),
                found: plugin.target(),
            });
        }
        if plugin.panic_unwinds != 1 {
            return Err(StampError::PanicAbort);
        }
        Ok(())
    }

    /// The SDK's version.
    pub fn sdk_version(&self) -> String {
        text(&self.sdk_version)
    }

    /// What `rustc --version` said.
    pub fn rustc(&self) -> String {
        text(&self.rustc)
    }

    /// The target triple.
    pub fn target(&self) -> String {
        text(&self.target)
    }
}

impl fmt::Debug for Stamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stamp")
            .field("abi_version", &self.abi_version)
            .field("sdk_version", &self.sdk_version())
            .field("rustc", &self.rustc())
            .field("target", &self.target())
            .field("panic_unwinds", &self.panic_unwinds)
            .finish_non_exhaustive()
    }
}

/// Why a plugin cannot be loaded, known before any of its code ran.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StampError {
    /// Fewer bytes than a stamp has.
    #[error(
        "its stamp is cut short: expected {} bytes, found {found}",
        Stamp::SIZE
    )]
    Truncated {
        /// Bytes there are.
        found: usize,
    },
    /// Something else under the symbol's name.
    #[error("its stamp does not start as a stamp does")]
    Magic,
    /// Another version of the boundary.
    #[error(
        "built for plugin ABI {found} (tlbench-sdk {sdk_version}), this host speaks {expected}; rebuild it against this tlbench-sdk"
    )]
    Abi {
        /// The host's.
        expected: u32,
        /// The plugin's.
        found: u32,
        /// The SDK that the plugin was built with.
        sdk_version: String,
    },
    /// Another machine.
    #[error("built for {found}, this host is {expected}")]
    Target {
        /// The host's.
        expected: String,
        /// The plugin's.
        found: String,
    },
    /// A panic in it would end the host.
    #[error(
        "built with panic = \"abort\"; set `panic = \"unwind\"` in its release profile and rebuild it"
    )]
    PanicAbort,
}

const fn padded<const N: usize>(text: &str) -> [u8; N] {
    let bytes = text.as_bytes();
    let mut padded = [0; N];
    let mut i = 0;
    // The last byte stays 0.
    while i < bytes.len() && i + 1 < N {
        padded[i] = bytes[i];
        i += 1;
    }
    padded
}

fn split<const N: usize>(bytes: &[u8]) -> ([u8; N], &[u8]) {
    let (head, tail) = bytes.split_at(N.min(bytes.len()));
    let mut array = [0; N];
    array[..head.len()].copy_from_slice(head);
    (array, tail)
}

fn text(bytes: &[u8]) -> String {
    let end = bytes
        .iter()
        .position(|&byte| byte == 0)
        .unwrap_or(bytes.len());
    String::from_utf8_lossy(&bytes[..end]).into_owned()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn bytes_of(stamp: Stamp) -> Vec<u8> {
        let mut bytes = stamp.magic.to_vec();
        for number in [
            stamp.abi_version,
            stamp.pointer_width,
            stamp.panic_unwinds,
            stamp.reserved,
        ] {
            bytes.extend(number.to_ne_bytes());
        }
        bytes.extend(stamp.sdk_version);
        bytes.extend(stamp.rustc);
        bytes.extend(stamp.target);
        bytes
    }

    #[test]
    fn a_stamp_is_its_bytes() {
        let stamp = Stamp::of_this_build(true);
        assert_eq!(bytes_of(stamp).len(), Stamp::SIZE);
        assert_eq!(Stamp::parse(&bytes_of(stamp)), Ok(stamp));
        assert!(stamp.rustc().starts_with("rustc 1."), "{}", stamp.rustc());
        assert!(stamp.target().contains('-'));
    }

    #[test]
    fn what_forbids_loading_is_said_in_one_line() {
        let host = Stamp::of_this_build(true);
        assert_eq!(host.check(&host), Ok(()));
        assert_eq!(
            host.check(&Stamp {
                rustc: padded("rustc 9.9.9"),
                ..host
            }),
            Ok(())
        );
        let messages = [
            host.check(&Stamp {
                abi_version: 7,
                sdk_version: padded("0.0.9"),
                ..host
            })
            .unwrap_err(),
            host.check(&Stamp {
                panic_unwinds: 0,
                ..host
            })
            .unwrap_err(),
            Stamp::parse(&[1, 2, 3]).unwrap_err(),
            Stamp::parse(&[0; Stamp::SIZE]).unwrap_err(),
        ]
        .map(|error| error.to_string());
        insta::assert_snapshot!(messages.join("\n"), @r#"
        built for plugin ABI 7 (tlbench-sdk 0.0.9), this host speaks 3; rebuild it against this tlbench-sdk
        built with panic = "abort"; set `panic = "unwind"` in its release profile and rebuild it
        its stamp is cut short: expected 224 bytes, found 3
        its stamp does not start as a stamp does
        "#);
        let elsewhere = host
            .check(&Stamp {
                target: padded("mips-unknown"),
                ..host
            })
            .unwrap_err()
            .to_string();
        assert!(elsewhere.starts_with("built for mips-unknown, this host is "));
    }

    proptest! {
        #[test]
        fn any_bytes_can_be_parsed(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            if let Ok(stamp) = Stamp::parse(&bytes) {
                let _ = Stamp::of_this_build(true).check(&stamp);
            }
        }
    }
}
