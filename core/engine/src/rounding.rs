//! The bridge as its own reference: what is left where there is no other.

use std::collections::BTreeMap;

use tlbench_sdk::compare::{Axes, Floor, Region, STORAGE_ROUNDING, compare, log_softmax};
use tlbench_sdk::{
    ATTENTION_MASK, DType, Evaluation, PluginError, Quantity, SourceInfo, Target, Tensor, Trace,
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
        let variants = [3, 5]
            .map(|pieces| rounded.with_arithmetic(Arithmetic::SplitSums(pieces)))
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
        let cumulative = self.errors(request, truth, &region)?;
        let hooks = truth
            .values
            .iter()
            .filter_map(|(quantity, value)| Some((quantity.as_hook()?.to_owned(), value.clone())));
        let local = forward_alone(request).local(hooks.collect());
        let local = self.errors(&local, truth, &region)?;
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

/// The same question without what flows back, which stops where a value is overwritten.
fn forward_alone(request: &TraceRequest) -> TraceRequest {
    let mut request = request.clone();
    request.gradients = None;
    request.capture.retain(|quantity| {
        !matches!(
            quantity,
            Quantity::HookGradient(_) | Quantity::ParameterGradient(_)
        )
    });
    request
        .interventions
        .retain(|edit| !matches!(edit.target, Target::HookGradient(_)));
    request
}

/// The log-softmax has a floor of its own.
fn add_log_probs(values: &mut BTreeMap<Quantity, Tensor>) {
    if let Some(logits) = values.get(&Quantity::Logits) {
        let log_probs = log_softmax(logits);
        values.insert(Quantity::LogProbs, log_probs);
    }
}
