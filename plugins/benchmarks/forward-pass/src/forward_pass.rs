//! Every hook, cumulatively and locally.

use tlbench_sdk::compare::{Closeness, Tolerance};
use tlbench_sdk::judge::{
    Findings, Forward, applicable, judge_forward, plan_forward, tolerance_text,
};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Detail, Judgement, Judging, ModelInfo, PluginError, Quantity,
    Severity, Stimulus, Trace, Verdict,
};

use crate::tolerance::{options, tolerance};
use crate::{EXPLAINED, MODULE};

/// The tolerance of the same name in TransformerLens.
const TOLERANCE: Tolerance = Tolerance {
    atol: 1e-3,
    rtol: 3e-2,
};

pub(crate) struct ForwardPass;

impl Benchmark for ForwardPass {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "forward_pass",
            MODULE,
            "every hook and the logits equal the reference's, and each component by itself does",
        )
        .explained(EXPLAINED)
        .taking(options(TOLERANCE))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        tolerance(model, TOLERANCE)?;
        let check = |stimulus: &Stimulus| {
            let mut request = stimulus.request.clone();
            request.capture.retain(is_compared);
            // A check that compares nothing would pass.
            let compares = request.is_plain() && !request.capture.is_empty();
            compares.then(|| plan_forward(model, &stimulus.id, request))
        };
        let checks = model.stimuli.iter().filter_map(check);
        applicable(checks.collect(), "a hook or the logits")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let tolerance = Some(tolerance(model, TOLERANCE)?);
        Ok(
            match judge_forward(model, check, |_| true, answers, tolerance)? {
                Forward::Local(requests) | Forward::Readers(requests, _) => {
                    Judgement::More(requests)
                }
                Forward::Done(findings) => Judgement::Verdict(verdict(findings, model)),
            },
        )
    }
}

fn verdict(findings: Findings, model: &ModelInfo) -> Verdict {
    let closeness = findings.measurements().iter().find_map(|m| m.closeness);
    let severity = match model.judging {
        Judging::Calibrated => findings.severity(),
        Judging::Tolerance if closeness.is_some_and(Closeness::all) => Severity::Info,
        Judging::Tolerance => Severity::Danger,
    };
    let mut verdict = findings.verdict_of(model, severity, "values");
    if let Some(closeness) = closeness {
        let detail = Detail {
            name: "tolerance of the logits".into(),
            value: tolerance_text(closeness),
        };
        verdict.details.insert(0, detail);
    }
    verdict
}

/// Scalars are judged by the vector that they sum, and that belongs to the loss benchmark.
fn is_compared(quantity: &Quantity) -> bool {
    matches!(quantity, Quantity::Hook(_) | Quantity::Logits)
}
