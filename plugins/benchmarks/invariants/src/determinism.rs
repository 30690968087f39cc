//! The same question twice.

use tlbench_sdk::judge::{answer_of, applicable, askable, quantity_text, wrong_count};
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PlannedRequest, PluginError, Severity,
    Stimulus, Trace, TraceRequest, Verdict,
};

use crate::sample::sample;
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
        let is_asked = |stimulus: &&Stimulus| {
            stimulus.request.is_plain() && !askable(model, &stimulus.request.capture).is_empty()
        };
        let inputs = sample(model, model.stimuli.iter().filter(is_asked)).into_iter();
        let checks = inputs.map(|stimulus| check(model, stimulus));
        applicable(checks.collect(), "a value of a plain run")
    }

    fn judge(
        &self,
        _: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let (Some(asked), [once, twice]) = (check.requests.first(), answers) else {
            return Err(wrong_count(answers));
        };
        let asked = &asked.request.capture;
        let mut differing = Vec::new();
        for quantity in asked {
            if answer_of(once, quantity)? != answer_of(twice, quantity)? {
                differing.push(quantity_text(quantity));
            }
        }
        Ok(Judgement::Verdict(verdict(asked.len(), &differing)))
    }
}

/// The question about all that the subject knows of this input, and the same once more.
fn check(model: &ModelInfo, stimulus: &Stimulus) -> Check {
    let once = PlannedRequest::subject(TraceRequest {
        capture: askable(model, &stimulus.request.capture),
        ..stimulus.request.clone()
    });
    Check {
        variant: stimulus.id.clone(),
        requests: vec![once.clone(), once.again()],
    }
}

fn verdict(count: usize, differing: &[String]) -> Verdict {
    let message = match (differing, count) {
        ([], 1) => "1 value has the same bits twice".to_owned(),
        ([], _) => format!("{count} values have the same bits twice"),
        ([only], _) => format!("other bits the second time: {only}"),
        ([first, others @ ..], _) => {
            let others = others.len();
            format!("other bits the second time: {first} (and {others} more)")
        }
    };
    let severity = if differing.is_empty() {
        Severity::Info
    } else {
        Severity::Danger
    };
    Verdict::new(severity, message)
}
