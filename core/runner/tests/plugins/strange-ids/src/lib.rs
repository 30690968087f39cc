//! A plugin whose names and descriptions are those that the environment gives it.

use tlbench_sdk::{
    ArchitectureAdapter, ArchitectureInfo, Benchmark, BenchmarkInfo, Check, ConfigError,
    ConfigReader, Host, Judgement, ModelInfo, ModelSpec, OpenRequest, PluginError, ReferenceInfo,
    ReferenceModel, Tier, Trace, TraceSource,
};

tlbench_sdk::plugin! {
    architectures: [Strange],
    references: [Strange],
    benchmarks: [Strange],
}

struct Strange;

/// The variable `name`, where there is one.
fn given(name: &str, default: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| default.to_owned())
}

fn nothing() -> PluginError {
    PluginError::unsupported("there is only a name to it")
}

impl ArchitectureAdapter for Strange {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: given("STRANGE_ARCHITECTURE", "strange"),
            description: given("STRANGE_DESCRIPTION", "nothing"),
            model_types: vec![given("STRANGE_MODEL_TYPE", "strange")],
        }
    }

    fn spec(&self, _: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        Err(ConfigError::new("model_type", "another family", "strange"))
    }
}

impl ReferenceModel for Strange {
    fn info(&self) -> ReferenceInfo {
        ReferenceInfo {
            id: given("STRANGE_REFERENCE", "strange"),
            description: given("STRANGE_DESCRIPTION", "nothing"),
            tier: Tier::HuggingFace,
            rank: None,
            can_be_subject: false,
        }
    }

    fn open(&self, _: &OpenRequest, _: &dyn Host) -> Result<Box<dyn TraceSource>, PluginError> {
        Err(nothing())
    }
}

impl Benchmark for Strange {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            &given("STRANGE_BENCHMARK", "strange"),
            &given("STRANGE_MODULE", "strange"),
            &given("STRANGE_DESCRIPTION", "nothing"),
        )
    }

    fn plan(&self, _: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        Err(nothing())
    }

    fn judge(&self, _: &ModelInfo, _: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        Err(nothing())
    }
}
