//! A plugin that panics when it is asked what it offers.

use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, ModelSpec};

tlbench_sdk::plugin! {
    architectures: [Shy],
}

struct Shy;

impl ArchitectureAdapter for Shy {
    fn info(&self) -> ArchitectureInfo {
        panic!("it does not say")
    }

    fn spec(&self, _: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Err(ConfigError::new("model_type", "another one", "shy"))
    }
}
