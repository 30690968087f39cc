//! Processing neither blows weights up nor wipes them out.

use tlbench_sdk::Mode;
use tlbench_sdk::judge::wrong_count;
use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, ModelInfo, PluginError, Severity, Tensor, Trace,
    Verdict,
};

use crate::expected::Raw;
use crate::formulas::{Formula, Formulas};
use crate::questions::{in_compatibility_mode, variant, weights_of};
use crate::values::Values;
use crate::{EXPLAINED, MODULE, parts};

pub(crate) struct WeightMagnitudes;

impl Benchmark for WeightMagnitudes {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "weight_magnitudes",
            MODULE,
            "no processed weight is larger than the raw ones can make it, and none is wiped out",
        )
        .explained(EXPLAINED)
        .only_in(Mode::Compat)
    }

    fn plan(&self, model: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        model.options(&[])?;
        in_compatibility_mode(model)?;
        let formulas = Formulas::new(&model.spec, &model.processing).all();
        let processing = &model.processing;
        parts::checks(model, &variant(processing), formulas, |part| {
            parts::raw_and_processed(model, processing, part)
        })
    }

    fn judge(
        &self,
        model: &ModelInfo,
        check: &Check,
        answers: &[Trace],
    ) -> Result<Judgement, PluginError> {
        let ([_, planned], [raw, processed]) = (&check.requests[..], answers) else {
            return Err(wrong_count(answers));
        };
        let (raw, processed) = (weights_of(raw), weights_of(processed));
        let formulas = Formulas::new(&model.spec, &model.processing).all();
        let formulas = parts::asked(formulas, planned);
        let mut strange = Vec::new();
        for formula in &formulas {
            strange.extend(complaint(
                formula,
                &raw,
                processed.get(&formula.name),
                model,
            )?);
        }
        let count = formulas.len();
        Ok(Judgement::Verdict(match strange.first() {
            None => Verdict::new(
                Severity::Info,
                format!("{count} weights are of a size that the raw ones explain"),
            ),
            Some(first) => Verdict::new(Severity::Danger, first.clone()).detail(
                "strange",
                format!("{} of {count}: {}", strange.len(), strange.join(", ")),
            ),
        }))
    }
}

fn complaint(
    formula: &Formula,
    raw: &Raw,
    value: Option<&Tensor>,
    model: &ModelInfo,
) -> Result<Option<String>, PluginError> {
    let Formula { name, expected, .. } = formula;
    let value = value.ok_or_else(|| PluginError::internal(format!("{name} is not shown")))?;
    let bound = expected.bound(raw)?.largest;
    // Rounding to the nearest can go half a unit beyond.
    let reached = bound * (1.0 + 2.0 * model.dtype.roundoff());
    let largest = Values::Shown(value).largest();
    if largest.is_nan() || largest > reached {
        return Ok(Some(format!(
            "{name} reaches {largest:.2e}, where {bound:.2e} is the most that raw weights of that size can give"
        )));
    }
    let is_wiped_out =
        largest == 0.0 && expected.value(raw)?.largest() > reached * model.dtype.roundoff();
    Ok(is_wiped_out.then(|| format!("{name} is 0 throughout")))
}
