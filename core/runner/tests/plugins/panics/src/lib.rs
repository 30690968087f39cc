//! A plugin whose every method panics, each of an object of its own.

mod benchmarks;
mod references;

use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, ModelSpec};

tlbench_sdk::plugin! {
    architectures: [Adapter],
    references: [references::Opening, references::Tracing, references::Dropping],
    benchmarks: [benchmarks::Planning, benchmarks::Judging, benchmarks::Bombing],
}

struct Adapter;

impl ArchitectureAdapter for Adapter {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: "panics".into(),
            description: "panics when it reads a config".into(),
            model_types: vec!["panics".into()],
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        let heads = config.size(&["n_head"])?;
        panic!("{heads} heads are too many")
    }
}
