//! No weight is NaN or infinite.

use tlbench_sdk::judge::wrong_count;
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, Mode, ModelInfo, PluginError, Quantity, Severity,
    Trace, Verdict,
};

use crate::formulas::Formulas;
use crate::questions::{variant, weights};
use crate::{EXPLAINED, MODULE, parts};

pub(crate) struct NoNanInf;

impl Benchmark for NoNanInf {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "no_nan_inf",
            MODULE,
            "no weight is NaN or infinite, as stored or processed",
        )
        .explained(EXPLAINED)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        model.options(&[])?;
        let formulas = Formulas::new(&model.spec, &model.processing).all();
        let variant = match model.mode {
            Mode::Compat if !model.processing.is_raw() => variant(&model.processing),
            Mode::Raw | Mode::Compat => "raw".into(),
        };
        parts::checks(model, &variant, formulas, |part| {
            let names = parts::names(part);
            Ok(vec![weights(model, model.processing.clone(), names)?])
        })
    }

    fn judge(
        &self,
        _: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let ([planned], [answer]) = (&check.requests[..], answers) else {
            return Err(wrong_count(answers));
        };
        let strange: Vec<String> = planned
            .request
            .capture
            .iter()
            .filter_map(|quantity| complaint(quantity, answer))
            .collect();
        let count = planned.request.capture.len();
        Ok(Judgement::Verdict(match strange.first() {
            None => Verdict::new(Severity::Info, format!("{count} weights are finite")),
            Some(first) => Verdict::new(Severity::Danger, first.clone()).detail(
                "wrong",
                format!("{} of {count}: {}", strange.len(), strange.join(", ")),
            ),
        }))
    }
}

fn complaint(quantity: &Quantity, answer: &Trace) -> Option<String> {
    let Some(value) = answer.value(quantity) else {
        return Some(format!("{quantity} is not shown"));
    };
    let strange = value.count_not_finite();
    (strange > 0).then(|| {
        format!(
            "{quantity}: {strange} of {} elements are not finite",
            value.len()
        )
    })
}
