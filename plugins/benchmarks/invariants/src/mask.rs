//! No attention mask.

use tlbench_sdk::judge::{applicable, wrong_count};
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest,
    PluginError, Quantity, Trace, TraceRequest,
};

use crate::twin::{Stretch, agree, logits};
use crate::{EXPLAINED, MODULE, with_logits};

pub(crate) struct AbsentMask;

impl Benchmark for AbsentMask {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new("absent_mask", MODULE, "no attention mask means one of ones")
            .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let unpadded = with_logits(model).filter(|stimulus| {
            let mask = stimulus.request.inputs.get(ATTENTION_MASK);
            let ones = |mask: &[i64]| mask.iter().all(|&value| value != 0);
            mask.and_then(|mask| mask.as_slice::<i64>())
                .is_some_and(ones)
        });
        let checks = unpadded.map(|stimulus| {
            let with = TraceRequest {
                capture: vec![Quantity::Logits],
                ..stimulus.request.clone()
            };
            let mut without = with.clone();
            without.inputs.remove(ATTENTION_MASK);
            Check {
                variant: stimulus.id.clone(),
                requests: vec![
                    PlannedRequest::reference(with.clone()),
                    PlannedRequest::subject(with),
                    PlannedRequest::subject(without),
                ],
            }
        });
        applicable(checks.collect(), "the logits of an input without padding")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let [floors, with, without] = answers else {
            return Err(wrong_count(answers));
        };
        let [batch, len] = check.requests[0].request.shape();
        let pairs = (0..batch).map(|row| {
            let stretch = Stretch { row, start: 0, len };
            Ok((logits(without, stretch)?, logits(with, stretch)?))
        });
        agree(
            model,
            floors,
            pairs.collect::<Result<_, PluginError>>()?,
            "rows without a mask",
        )
    }
}
