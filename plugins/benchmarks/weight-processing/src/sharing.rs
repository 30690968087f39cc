//! The same edit does the same to the reference.

use tlbench_sdk::judge::{Comparison, Outcome, ratio_text, truth_of, with_blindness, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Evaluation, Judgement, Mode, ModelInfo, PlannedRequest,
    PluginError, Quantity, Severity, Tier, Trace, Verdict,
};

use crate::edit::{Edit, asked, input_with_loss};
use crate::{EXPLAINED, MODULE};

pub(crate) struct WeightSharing;

impl Benchmark for WeightSharing {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "weight_sharing",
            MODULE,
            "an edit of a weight does to every loss what it does to the reference's",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        model.options(&[])?;
        takes_edits(model)?;
        let edit = Edit::of(model)?;
        let stimulus = input_with_loss(model)?;
        let plain = asked(stimulus, vec![Quantity::LossPerToken]);
        let edited = edit.made_in(plain.clone());
        Ok(vec![Check {
            variant: stimulus.id.clone(),
            requests: vec![
                PlannedRequest::reference(plain),
                PlannedRequest::reference(edited.clone()),
                PlannedRequest::subject(edited),
            ],
        }])
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let ([_, planned, _], [plain, truth, subject]) = (&check.requests[..], answers) else {
            return Err(wrong_count(answers));
        };
        let losses = Quantity::LossPerToken;
        let comparison = Comparison::new(model, &planned.request, truth)?;
        let measure = |value: &Trace, expected: &Trace| {
            let expected = truth_of(expected, &losses)?;
            comparison.measure(
                &losses,
                Evaluation::Cumulative,
                value.value(&losses),
                expected,
            )
        };
        let what = format!("{} of the first head set to 0", Edit::of(model)?.weight);
        let difference = match measure(subject, truth)? {
            Outcome::Measured(measurement) => measurement,
            Outcome::Broken(divergence) => {
                let message = format!("{what}: {}", divergence.reason);
                return Ok(Judgement::Verdict(Verdict::new(Severity::Danger, message)));
            }
        };
        let is_exercised = match measure(plain, truth)? {
            Outcome::Measured(effect) => effect.severity == Severity::Danger,
            Outcome::Broken(_) => false,
        };
        let severity = match difference.severity {
            Severity::Info if !is_exercised => Severity::Warning,
            severity => severity,
        };
        let ratio = ratio_text(difference.ratio);
        let mut message = format!("{what}: error ratio per token {ratio}");
        if !is_exercised {
            message
                .push_str("; the edit does hardly anything to the reference, so this shows little");
        }
        let message = with_blindness(message, model, Some(&difference));
        let mut verdict = Verdict::new(severity, message);
        verdict.measurements = vec![difference];
        Ok(Judgement::Verdict(verdict))
    }
}

/// Whether the reference can be asked about edited weights.
fn takes_edits(model: &ModelInfo) -> Result<(), PluginError> {
    let reason = match (model.tier, model.mode) {
        (Tier::HookedTransformer, _) | (Tier::BridgeAlone, Mode::Raw) => return Ok(()),
        (Tier::HuggingFace, _) => "HuggingFace is not asked about edited weights",
        (Tier::BridgeAlone, Mode::Compat) => {
            "the truth for processed weights is mapped from raw ones, which an edit would have to be as well"
        }
    };
    Err(PluginError::unsupported(format!(
        "{reason}: HookedTransformer is"
    )))
}
