//! A good plugin, beside which others have to work.

#[path = "../../../../../../architectures/gpt2/src/adapter.rs"]
mod adapter;

use tlbench_sdk::{
    ArchitectureAdapter, ArchitectureInfo, Benchmark, BenchmarkInfo, Check, ConfigError,
    ConfigReader, Judgement, ModelInfo, ModelSpec, PlannedRequest, PluginError, Quantity, Severity,
    Trace, TraceRequest, Verdict,
};

tlbench_sdk::plugin! {
    architectures: [Second],
    benchmarks: [FiniteLogits],
}

/// A family that computes what GPT-2 computes, under another name.
struct Second;

impl ArchitectureAdapter for Second {
    fn info(&self) -> ArchitectureInfo {
        ArchitectureInfo {
            id: "second".into(),
            description: "GPT-2 under another name".into(),
            model_types: vec!["second".into()],
        }
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        adapter::Gpt2.spec(config)
    }
}

struct FiniteLogits;

impl Benchmark for FiniteLogits {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new("finite_logits", "sanity", "no logit is NaN or infinite")
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let check = |stimulus: &tlbench_sdk::Stimulus| Check {
            variant: stimulus.id.clone(),
            requests: vec![PlannedRequest::subject(TraceRequest::new(
                stimulus.request.inputs.clone(),
                vec![Quantity::Logits],
            ))],
        };
        Ok(model.stimuli.iter().map(check).collect())
    }

    fn judge(&self, _: &ModelInfo, _: &Check, answers: &[Trace]) -> Result<Judgement, PluginError> {
        let logits = answers
            .first()
            .and_then(|trace| trace.value(&Quantity::Logits))
            .ok_or_else(|| PluginError::internal("no logits to judge"))?;
        let values = logits.to_f64_vec();
        let bad = values.iter().filter(|value| !value.is_finite()).count();
        let severity = if bad == 0 {
            Severity::Info
        } else {
            Severity::Danger
        };
        let message = format!("{bad} of {} logits are not finite", values.len());
        Ok(Judgement::Verdict(Verdict::new(severity, message)))
    }
}
