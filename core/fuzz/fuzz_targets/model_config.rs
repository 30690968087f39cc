//! `config.json` of a checkpoint: as a folder is opened, and as an adapter reads it.
#![no_main]

use std::cell::LazyCell;
use std::fs;

use libfuzzer_sys::fuzz_target;
use tempfile::TempDir;
use tlbench_checkpoint::{CONFIG_FILE, ModelFolder, WEIGHTS_FILE};
use tlbench_sdk::ConfigReader;

/// Spellings of keys that adapters ask for.
const KEYS: [&[&str]; 4] = [
    &["n_layer", "num_hidden_layers"],
    &["layer_norm_epsilon"],
    &["activation_function", "hidden_act"],
    &["tie_word_embeddings"],
];

thread_local! {
    static FOLDER: LazyCell<TempDir> = LazyCell::new(|| {
        let folder = tempfile::tempdir().expect("a folder for checkpoints");
        let no_tensors = [&2_u64.to_le_bytes()[..], b"{}"].concat();
        fs::write(folder.path().join(WEIGHTS_FILE), no_tensors).expect("weights");
        folder
    });
}

fuzz_target!(|bytes: &[u8]| {
    FOLDER.with(|folder| {
        fs::write(folder.path().join(CONFIG_FILE), bytes).expect("a config");
        match ModelFolder::open(folder.path()) {
            Ok(model) => {
                assert!(!model.model_type().is_empty());
                assert_eq!(model.config_digest().len(), "sha256:".len() + 64);
                read(&ConfigReader::new(model.config().clone()));
            }
            Err(error) => assert!(error.to_string().contains(CONFIG_FILE), "{error}"),
        }
    });
});

fn read(config: &ConfigReader) {
    for names in KEYS {
        let told = [
            config.size(names).map(|size| assert!(size > 0)),
            config
                .optional_number(names)
                .map(|number| assert!(number.is_none_or(f64::is_finite))),
            config.flag_or(names, true).map(drop),
            config.choice_or(names, "gelu", &[("gelu", ()), ("relu", ())]),
        ];
        for error in told.into_iter().filter_map(Result::err) {
            assert!(error.to_string().contains(names[0]), "{error}");
        }
    }
    assert!(config.keys_read().contains("num_hidden_layers"));
}
