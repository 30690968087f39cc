//! The stamp of a plugin, which is read from a file that may be anything.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlbench::plugins::read_stamp;
use tlbench_sdk::host::Stamp;

fuzz_target!(|bytes: &[u8]| {
    match read_stamp(bytes) {
        Ok(stamp) => {
            let _ = Stamp::of_this_build(true).check(&stamp);
            let _ = format!("{stamp:?}");
        }
        Err(error) => assert!(!error.to_string().is_empty()),
    }
});
