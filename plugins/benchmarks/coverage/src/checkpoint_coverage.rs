//! Tensors that nobody took.

use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, Mode, ModelInfo, PluginError, Severity, Trace,
    Verdict,
};

use crate::{MODULE, listed};

/// Every stored tensor is taken, or is one that HF ignores as well.
pub(crate) struct CheckpointCoverage;

impl Benchmark for CheckpointCoverage {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "checkpoint_coverage",
            MODULE,
            "every tensor of the checkpoint is taken by a component, or is one that HF ignores as well",
        )
        .explained(include_str!("explained/checkpoint_coverage.txt"))
        .only_in(Mode::Raw)
    }

    fn plan(&self, _: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        Ok(vec![Check {
            variant: "checkpoint".to_owned(),
            requests: Vec::new(),
        }])
    }

    fn judge(&self, model: &ModelInfo, _: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        Ok(Judgement::Verdict(verdict(model)))
    }
}

fn verdict(model: &ModelInfo) -> Verdict {
    let left = &model.usage.tensors_not_taken;
    let taken = model.usage.tensors_taken.len();
    if left.is_empty() {
        let message = format!("no tensor is left: {taken} are taken by the spec");
        return Verdict::new(Severity::Info, message);
    }
    let all = left.len() + taken;
    let message = format!(
        "{} of {all} tensors are not taken: {}",
        left.len(),
        listed(left)
    );
    let verdict = Verdict::new(Severity::Danger, message);
    left.iter().fold(verdict, |verdict, name| {
        verdict.detail("tensor not taken", name)
    })
}
