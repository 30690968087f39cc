//! `tlbench.toml`: whatever stands in it is a config, or an error that says where.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use tlbench::Config;
use tlbench::config::ConfigError;

fuzz_target!(|text: &str| {
    let lines = text.split('\n').count();
    match Config::parse(text, Path::new(Config::FILE)) {
        Ok(config) => {
            for id in config.references.keys() {
                config.reference_options(id);
            }
            for benchmark in &config.benchmarks {
                benchmark.options_as_json();
            }
        }
        Err(error @ ConfigError::Invalid { .. }) => {
            let told = error.to_string();
            let ConfigError::Invalid { problems, .. } = error else {
                unreachable!()
            };
            assert!(!problems.is_empty(), "refused without a reason");
            for problem in &problems {
                assert!((1..=lines).contains(&problem.position.line), "{told}");
                assert!(problem.position.column >= 1, "{told}");
            }
        }
        Err(error @ ConfigError::Unreadable { .. }) => panic!("a text is readable: {error}"),
    }
});
