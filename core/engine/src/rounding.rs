//! The bridge as its own reference: what is left where there is no other.

use std::collections::BTreeMap;

use tlbench_sdk::calibration::true_inputs;
use tlbench_sdk::compare::{Axes, Floor, Region, STORAGE_ROUNDING, compare, log_softmax};
use tlbench_sdk::{
    ATTENTION_MASK, DType, Evaluation, PluginError, Quantity, SourceInfo, Tensor, Trace,
    TraceRequest, TraceSource,
};

use crate::arithmetic::Arithmetic;
use crate::bridge::Bridge;

/// The bridge in f64 as truth, with the error of runs in the precision on trial, summed in other orders, as floor.
///
/// It measures rounding alone: a mistake in spec or engine is in both.
pub struct RoundingReference {
    exact: Bridge,
    variants: Vec<Bridge>,
    dtype: DType,
}

impl RoundingReference {
    /// From the same model opened in f64 and in the precision on trial.
    pub fn new(exact: Bridge, rounded: &Bridge) -> Self {
        // One of them is to be as rough as the order on trial, which cannot be its own measure.
        let variants = [Arithmetic::Backwards, Arithmetic::SplitSums(3)]
            .map(|order| rounded.with_arithmetic(order))
            .into();
        Self {
            exact,
            variants,
            dtype: rounded.dtype(),
        }
    }

    fn floors(
        &self,
        request: &TraceRequest,
        truth: &Trace,
    ) -> Result<BTreeMap<Quantity, Floor>, PluginError> {
        let region = request.inputs.get(ATTENTION_MASK).and_then(Region::new);
        let region = region.ok_or_else(|| {
            PluginError::invalid_input("attention_mask: expected [batch, pos] of i64")
        })?;
        let Some(request) = &shown_of_the_prompt(request) else {
            return Ok(BTreeMap::new());
        };
        let cumulative = self.errors(request, truth, &region)?;
        let hooks = true_inputs(self.exact.hooks(), &truth.values);
        // There is nothing to overwrite with the truth in a run that is edited, differentiated or cut.
        let local = if request.is_plain() {
            self.errors(&request.clone().local(hooks), truth, &region)?
        } else {
            BTreeMap::new()
        };
        Ok(cumulative
            .into_iter()
            .map(|(quantity, cumulative)| {
                let is_local = matches!(quantity, Quantity::Hook(_) | Quantity::Logits);
                let local = local.get(&quantity).copied().filter(|_| is_local);
                (quantity, Floor { cumulative, local })
            })
            .collect())
    }

    /// The largest RMS error of the variants in each quantity.
    fn errors(
        &self,
        request: &TraceRequest,
        truth: &Trace,
        region: &Region,
    ) -> Result<BTreeMap<Quantity, f64>, PluginError> {
        let mut errors: BTreeMap<Quantity, f64> = BTreeMap::new();
        for variant in &self.variants {
            let mut trace = variant.trace(request)?;
            add_log_probs(&mut trace.values);
            for (quantity, truth) in &truth.values {
                let (Some(value), Some(axes)) = (
                    trace.value(quantity),
                    Axes::of(quantity, self.exact.hooks()),
                ) else {
                    continue;
                };
                let Ok(difference) = compare(value, truth, axes, region) else {
                    continue;
                };
                let once = self.dtype.roundoff().max(STORAGE_ROUNDING) * difference.truth_rms;
                let error = difference.rms.max(once);
                let slot = errors.entry(quantity.clone()).or_insert(0.0);
                *slot = slot.max(error);
            }
        }
        Ok(errors)
    }
}

impl TraceSource for RoundingReference {
    fn info(&self) -> SourceInfo {
        let provenance = [(
            "precision".to_owned(),
            format!("{} against {} in other orders", DType::F64, self.dtype),
        )]
        .into();
        SourceInfo {
            provenance,
            processes_weights: true,
            ..SourceInfo::default()
        }
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        let mut truth = self.exact.trace(request)?;
        if request.evaluation == Evaluation::Cumulative {
            let mut with_log_probs = truth.clone();
            add_log_probs(&mut with_log_probs.values);
            truth.floors = self.floors(request, &with_log_probs)?;
        }
        Ok(truth)
    }
}

/// The request without the tokens to append, which have no rounding error; `None` if nothing else is asked for.
fn shown_of_the_prompt(request: &TraceRequest) -> Option<TraceRequest> {
    let mut request = request.clone();
    request.generate = None;
    request.capture.retain(|q| *q != Quantity::Generated);
    (!request.capture.is_empty()).then_some(request)
}

/// The log-softmax has a floor of its own.
fn add_log_probs(values: &mut BTreeMap<Quantity, Tensor>) {
    if let Some(logits) = values.get(&Quantity::Logits) {
        let log_probs = log_softmax(logits);
        values.insert(Quantity::LogProbs, log_probs);
    }
}
