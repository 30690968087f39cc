//! A plugin that is built with `panic = "abort"`: a panic in it would end its host.

use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, ModelSpec};

tlbench_sdk::plugin! {
    architectures: [Aborts],
}

struct Aborts;

impl ArchitectureAdapter for Aborts {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: "aborts".into(),
            description: "a family in a plugin that no host may load".into(),
            model_types: Vec::new(),
        }
    }

    fn spec(&self, _: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Err(ConfigError::new("model_type", "another one", "aborts"))
    }
}
