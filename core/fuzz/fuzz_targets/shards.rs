//! The index of a sharded checkpoint, beside two shards that are sound: what it says is there, or it is refused by name.
#![no_main]

use std::cell::LazyCell;
use std::fs;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tlbench_checkpoint::{INDEX_FILE, Weights};

const SHARDS: [(&str, &str); 2] = [("a.safetensors", "x"), ("b.safetensors", "y")];

thread_local! {
    static FOLDER: LazyCell<TempDir> = LazyCell::new(|| {
        let folder = tempfile::tempdir().expect("a folder");
        for (shard, tensor) in SHARDS {
            let header = format!(r#"{{"{tensor}":{{"dtype":"U8","shape":[1],"data_offsets":[0,1]}}}}"#);
            let length = (header.len() as u64).to_le_bytes();
            let bytes = [&length, header.as_bytes(), &[7]].concat();
            fs::write(folder.path().join(shard), bytes).expect("a shard");
        }
        folder
    });
}

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with(|folder| {
        let index = folder.path().join(INDEX_FILE);
        fs::write(&index, bytes).expect("an index");
        match Weights::open_sharded(&index) {
            Ok(weights) => {
                let known: Vec<&str> = weights.names().collect();
                assert!(matches!(known[..], ["x"] | ["y"] | ["x", "y"]), "{known:?}");
            }
            Err(error) => assert!(error.to_string().contains(INDEX_FILE), "{error}"),
        }
    });
});
