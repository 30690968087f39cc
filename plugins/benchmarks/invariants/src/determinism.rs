//! The same question twice.

use tlbench_sdk::judge::{applicable, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest, PluginError, Severity,
    Trace, TraceRequest, Verdict,
};

use crate::{EXPLAINED, MODULE};

pub(crate) struct Determinism;

impl Benchmark for Determinism {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "determinism",
            MODULE,
            "the same question twice gives the same bits",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        let plain = model
            .stimuli
            .iter()
            .filter(|stimulus| stimulus.request.is_plain());
        let checks = plain.map(|stimulus| {
            let known = tlbench_sdk::judge::askable(model, &stimulus.request.capture);
            let once = PlannedRequest::subject(TraceRequest {
                capture: known,
                ..stimulus.request.clone()
            });
            Check {
                variant: stimulus.id.clone(),
                requests: vec![once.clone(), once.again()],
            }
        });
        applicable(checks.collect(), "a plain run")
    }

    fn judge(&self, _: &ModelInfo, _: &Check, answers: &[Trace]) -> Result<Judgement, PluginError> {
        let [once, twice] = answers else {
            return Err(wrong_count(answers));
        };
        let values = once.values.iter();
        let other: Vec<String> = values
            .filter(|(quantity, value)| twice.value(quantity) != Some(value))
            .map(|(quantity, _)| quantity.to_string())
            .collect();
        let verdict = match other.first() {
            None => Verdict::new(
                Severity::Info,
                format!("{} values are the same bits twice", once.values.len()),
            ),
            Some(first) => Verdict::new(
                Severity::Danger,
                format!(
                    "{first} comes out otherwise the second time (and {} more)",
                    other.len() - 1
                ),
            ),
        };
        Ok(Judgement::Verdict(verdict))
    }
}
