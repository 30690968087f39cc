//! Questions about processed weights leave the raw model as it is.

use tlbench_sdk::Mode;
use tlbench_sdk::judge::{askable, quantity_text, richest, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest, PluginError, Processing,
    Quantity, Severity, Trace, TraceRequest, Verdict,
};

use crate::questions::in_compatibility_mode;
use crate::{EXPLAINED, MODULE};

pub(crate) struct RawUntouched;

impl Benchmark for RawUntouched {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "raw_untouched",
            MODULE,
            "the raw model answers after its weights were processed as it did before, bit by bit",
        )
        .explained(EXPLAINED)
        .only_in(Mode::Compat)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        model.options(&[])?;
        in_compatibility_mode(model)?;
        let stimulus = richest(model, |_| true)?;
        let asked = TraceRequest {
            capture: askable(model, &stimulus.request.capture),
            ..stimulus.request.clone()
        };
        let raw = asked.clone().processed(Processing::raw());
        let processed = asked.processed(model.processing.clone());
        Ok(vec![Check {
            variant: stimulus.id.clone(),
            requests: vec![
                PlannedRequest::subject(raw),
                PlannedRequest::subject(processed),
            ],
        }])
    }

    fn judge(
        &self,
        _: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let Some(raw) = check.requests.first() else {
            return Err(PluginError::internal("a check without a question"));
        };
        match answers {
            // Only what is asked now is asked after the processing for certain.
            [_, _] => Ok(Judgement::More(vec![raw.clone().again()])),
            [before, _, after] => Ok(Judgement::Verdict(match first_change(before, after) {
                None => {
                    let message = format!("{} raw values are bit-identical", before.values.len());
                    Verdict::new(Severity::Info, message)
                }
                Some(quantity) => {
                    let message =
                        format!("{quantity} is not what it was before weights were processed");
                    Verdict::new(Severity::Danger, message)
                }
            })),
            _ => Err(wrong_count(answers)),
        }
    }
}

/// The first quantity that is not the same in both answers, bit by bit.
pub(crate) fn first_change(before: &Trace, after: &Trace) -> Option<String> {
    let changed = |quantity: &&Quantity| before.value(quantity) != after.value(quantity);
    before.values.keys().find(changed).map(quantity_text)
}
