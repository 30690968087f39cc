//! A safetensors file. Ours reads what the `safetensors` crate reads, byte for byte, and refuses what that refuses; a
//! name that is there twice it refuses as well.
#![no_main]

use std::cell::LazyCell;
use std::fs;

use libfuzzer_sys::fuzz_target;
use safetensors::SafeTensors;
use tempfile::TempDir;
use tlbench_checkpoint::{CheckpointError, HeaderProblem, Weights, weights_digest};

thread_local! {
    static FOLDER: LazyCell<TempDir> = LazyCell::new(|| tempfile::tempdir().expect("a folder"));
}

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with(|folder| {
        let file = folder.path().join("model.safetensors");
        fs::write(&file, bytes).expect("a file");
        let theirs = SafeTensors::deserialize(bytes);
        match Weights::open(&file) {
            Ok(ours) => compare(&ours, &theirs.expect("the crate refuses what we read")),
            Err(error) => {
                assert!(error.to_string().contains("model.safetensors"), "{error}");
                let is_twice = matches!(
                    error,
                    CheckpointError::Header {
                        problem: HeaderProblem::Duplicate { .. },
                        ..
                    }
                );
                assert!(theirs.is_err() || is_twice, "the crate reads it: {error}");
            }
        }
    });
});

fn compare(ours: &Weights, theirs: &SafeTensors<'_>) {
    let mut names = theirs.names();
    names.sort_unstable();
    assert!(ours.names().eq(names.iter().copied()));
    for name in names {
        let theirs = theirs.tensor(name).expect("one of its names");
        assert_eq!(ours.shape(name).expect("one of the names"), theirs.shape());
        // An element type that is not read is an error, whichever way it is asked for.
        if let Ok(tensor) = ours.read(name) {
            assert_eq!(tensor.bytes(), theirs.data());
            let _ = (ours.read_f32(name), ours.read_f64(name));
        } else {
            assert!(ours.read_f32(name).is_err() && ours.read_f64(name).is_err());
        }
    }
    weights_digest(ours).expect("what was checked can be read");
}
