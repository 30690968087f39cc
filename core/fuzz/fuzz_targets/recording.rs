//! A recording: what is read can be written, and says the same when it is read again.
#![no_main]

use std::cell::LazyCell;
use std::fs;
use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tlbench_checkpoint::Recording;
use tlbench_sdk::TraceRequest;

thread_local! {
    static FOLDER: LazyCell<TempDir> = LazyCell::new(|| tempfile::tempdir().expect("a folder"));
}

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with(|folder| {
        let file = folder.path().join("recording.safetensors");
        fs::write(&file, bytes).expect("a file");
        match Recording::read(&file) {
            Ok(recording) => read_again(&recording, folder.path()),
            Err(error) => assert!(
                error.to_string().contains("recording.safetensors"),
                "{error}"
            ),
        }
    });
});

fn read_again(recording: &Recording, folder: &Path) {
    for answer in &recording.answers {
        let capture = answer.values.keys().cloned().collect();
        let request = TraceRequest {
            capture,
            ..answer.stimulus.request.clone()
        };
        for precision in recording.precisions() {
            let trace = recording.answer(&request, precision);
            assert_eq!(
                trace.expect("what it declares").floors,
                answer.floors[&precision]
            );
        }
    }
    let (once, twice) = (folder.join("once"), folder.join("twice"));
    recording
        .write(&once)
        .expect("what was read can be written");
    Recording::read(&once)
        .expect("what was written can be read")
        .write(&twice)
        .expect("and written again");
    // Bytes, because a NaN does not equal itself.
    assert_eq!(fs::read(once).ok(), fs::read(twice).ok());
}
