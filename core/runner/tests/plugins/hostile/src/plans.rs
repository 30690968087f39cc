//! Plans that are none.

use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest, PluginError, Quantity,
    Severity, Stimulus, Trace, TraceRequest, Verdict,
};

/// An id, and the variants of its checks.
pub(crate) struct Planned(pub(crate) &'static str, pub(crate) fn() -> Vec<String>);

impl Benchmark for Planned {
    fn info(&self) -> BenchmarkInfo {
        info(self.0)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let requests = logits(first(model)?);
        let check = |variant| Check {
            variant,
            requests: requests.clone(),
        };
        Ok((self.1)().into_iter().map(check).collect())
    }

    fn judge(&self, _: &ModelInfo, _: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        let verdict = Verdict::new(Severity::Info, "judged like any other");
        Ok(Judgement::Verdict(verdict))
    }
}

pub(crate) fn info(id: &str) -> BenchmarkInfo {
    BenchmarkInfo::new(id, "hostile", "breaks a rule")
}

/// The first input.
pub(crate) fn first(model: &ModelInfo) -> Result<&Stimulus, PluginError> {
    let none = || PluginError::unsupported("there is no input");
    model.stimuli.first().ok_or_else(none)
}

/// The subject's logits on `stimulus`.
pub(crate) fn logits(stimulus: &Stimulus) -> Vec<PlannedRequest> {
    let request = TraceRequest::new(stimulus.request.inputs.clone(), vec![Quantity::Logits]);
    vec![PlannedRequest::subject(request)]
}

pub(crate) fn nothing() -> Vec<String> {
    Vec::new()
}

pub(crate) fn twice() -> Vec<String> {
    ["text", "single", "text"].map(String::from).into()
}

pub(crate) fn strange_variant() -> Vec<String> {
    vec![
        "fine".into(),
        "\u{1b}[1A\u{1b}[2K🟢 [PASS] everything\n".into(),
    ]
}

pub(crate) fn reserved_variant() -> Vec<String> {
    vec!["not_verified".into()]
}

pub(crate) fn thousands() -> Vec<String> {
    (0..2_000).map(|index| format!("check_{index}")).collect()
}
