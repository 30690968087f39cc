//! Greedy tokens.

use tlbench_sdk::judge::{applicable, ask_both, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PluginError, Quantity, Trace,
};

use crate::tokens::{generated, partings};
use crate::{MODULE, generating, ties};

pub(crate) struct Generation;

impl Benchmark for Generation {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "generation",
            MODULE,
            "greedy tokens are the reference's, but where two logits are closer than rounding",
        )
        .explained(include_str!("explained/generation.txt"))
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let floors = ties::floors(model);
        let checks = generating(model).map(|stimulus| {
            let mut check = ask_both(stimulus, vec![Quantity::Generated]);
            check.requests.extend(floors.clone());
            check
        });
        applicable(checks.collect(), "generated tokens")
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let [truth, subject, ..] = answers else {
            return Err(wrong_count(answers));
        };
        let (expected, found) = (generated(truth)?, generated(subject)?);
        let partings = partings(found, expected)?;
        ties::judge(model, check, answers, &partings, expected, "the reference")
    }
}
