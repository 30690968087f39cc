//! A plugin with a benchmark that the plugin `second` offers as well, beside one that nobody else offers.

use tlbench_sdk::{Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PluginError, Trace};

tlbench_sdk::plugin! {
    benchmarks: [Idle("finite_logits"), Idle("unheard_of")],
}

/// Applies to nothing.
struct Idle(&'static str);

impl Benchmark for Idle {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(self.0, "idle", "nothing")
    }

    fn plan(&self, _: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        Err(PluginError::unsupported("it applies to no model"))
    }

    fn judge(&self, _: &ModelInfo, _: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        Err(PluginError::internal("there is nothing to judge"))
    }
}
