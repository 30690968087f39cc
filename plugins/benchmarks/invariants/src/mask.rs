//! No attention mask.

use tlbench_sdk::judge::{applicable, wrong_count};
use tlbench_sdk::{
    ATTENTION_MASK, Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest,
    PluginError, Trace, is_padded,
};

use crate::sample::sample;
use crate::twins::{Stretch, Twins, agree};
use crate::{EXPLAINED, MODULE, for_logits, with_logits};

pub(crate) struct AbsentMask;

impl Benchmark for AbsentMask {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new("absent_mask", MODULE, "no attention mask means one of ones")
            .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let unpadded = with_logits(model).filter(|stimulus| !is_padded(&stimulus.request.inputs));
        let unpadded = sample(model, unpadded).into_iter();
        let checks = unpadded.map(|stimulus| {
            let with = for_logits(&stimulus.request);
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
        let (Some(asked), [floors, with, without]) = (check.requests.first(), answers) else {
            return Err(wrong_count(answers));
        };
        let [batch, pos] = asked.request.shape();
        let twins = (0..batch).map(|row| {
            let complaint =
                format!("row {row} gives other logits without a mask than with one of ones");
            let whole = Stretch::beginning(row, pos);
            Twins::new((without, whole), (with, whole), complaint)
        });
        agree(model, floors, twins, "rows without a mask").map(Judgement::Verdict)
    }
}
