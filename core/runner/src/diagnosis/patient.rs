//! A model that is wrong somewhere, looked at on true inputs.

use std::collections::BTreeSet;

use tlbench_checkpoint::Weights;
use tlbench_engine::Bridge;
use tlbench_sdk::judge::{Findings, component_of};
use tlbench_sdk::{
    Evaluation, ModelInfo, ModelSpec, PluginError, Quantity, Severity, Trace, TraceRequest,
    TraceSource, hooks, layer_of,
};

use super::place::owner;
use crate::hook_by_hook::HookByHook;

/// A model that is wrong somewhere.
pub(crate) struct Patient<'a> {
    /// What it is taken for.
    pub(crate) spec: &'a ModelSpec,
    pub(crate) weights: &'a Weights,
    /// What is known of it beside its spec.
    pub(crate) info: &'a ModelInfo,
    pub(crate) reference: &'a dyn TraceSource,
    /// Plain questions about its weights as they are, with the names of their inputs.
    pub(crate) questions: Vec<(String, TraceRequest)>,
}

/// The component that differs first, and the question that shows it.
pub(crate) struct Case<'a> {
    patient: &'a Patient<'a>,
    pub(super) input: String,
    request: TraceRequest,
    truth: Trace,
    /// As the hook has it, which may be a part of a component (`blocks.0.attn.q_norm`).
    pub(super) part: String,
    pub(super) component: String,
    pub(super) hook: String,
    quantity: Quantity,
    pub(super) ratio: f64,
}

impl<'a> Patient<'a> {
    /// The first question that shows a component which differs on true inputs.
    pub(super) fn case(&'a self) -> Result<Option<Case<'a>>, PluginError> {
        let info = self.of(self.spec.clone());
        for (input, request) in &self.questions {
            let truth = self.reference.trace(request)?;
            let findings = self.look(&info, request, &truth, |_| true)?;
            let Some(divergence) = findings.first_divergence() else {
                continue;
            };
            let Some(part) = component_of(&info, &divergence.quantity) else {
                continue;
            };
            // A hook that the subject does not have is named after itself.
            let part = match part.as_str() {
                "hook_embed" => "embed".to_owned(),
                "hook_pos_embed" => "pos_embed".to_owned(),
                _ => part,
            };
            let hook = divergence.quantity.as_hook();
            return Ok(Some(Case {
                patient: self,
                input: input.clone(),
                request: request.clone(),
                truth,
                component: owner(self.spec, &part),
                part,
                hook: hook.map_or_else(|| divergence.quantity.to_string(), str::to_owned),
                quantity: divergence.quantity.clone(),
                ratio: divergence.ratio,
            }));
        }
        Ok(None)
    }

    /// The largest local ratio of a model of this spec on any question; infinite if it cannot be run.
    pub(super) fn worst(&self, spec: &ModelSpec) -> f64 {
        let info = self.of(spec.clone());
        let worst = |(_, request): &(String, TraceRequest)| {
            let truth = self.reference.trace(request)?;
            let findings = self.look(&info, request, &truth, |_| true)?;
            let local = findings.measurements().iter();
            let local = local.filter(|one| one.evaluation == Evaluation::Local);
            Ok(local.map(|one| one.ratio).fold(0.0, f64::max))
        };
        let ratios = self.questions.iter().map(worst);
        let ratios = ratios.map(|ratio: Result<f64, PluginError>| ratio.unwrap_or(f64::INFINITY));
        ratios.fold(0.0, f64::max)
    }

    fn of(&self, spec: ModelSpec) -> ModelInfo {
        ModelInfo {
            hooks: hooks(&spec),
            spec,
            ..self.info.clone()
        }
    }

    fn look(
        &self,
        info: &ModelInfo,
        request: &TraceRequest,
        truth: &Trace,
        is_compared: impl Fn(&Quantity) -> bool,
    ) -> Result<Findings, PluginError> {
        let bridge = Bridge::open(&info.spec, self.weights, info.dtype)?;
        let compared = HookByHook::compare(info, request, truth, &bridge, is_compared)?;
        Ok(compared.findings)
    }
}

impl Case<'_> {
    pub(super) fn spec(&self) -> &ModelSpec {
        self.patient.spec
    }

    /// The largest local ratio of the component in a model of `spec`, if that brings it back.
    pub(super) fn cured(&self, spec: &ModelSpec) -> Option<f64> {
        let findings = self.look(spec).ok()?;
        let own = |quantity: &Quantity| self.is_own(spec, quantity);
        let first = findings.first_divergence();
        if first.is_some_and(|first| own(&first.quantity)) {
            return None;
        }
        let local = findings
            .measurements()
            .iter()
            .filter(|one| own(&one.quantity) && one.evaluation == Evaluation::Local);
        let mut worst = 0.0_f64;
        for one in local {
            if one.severity != Severity::Info {
                return None;
            }
            worst = worst.max(one.ratio);
        }
        Some(worst)
    }

    /// The error ratio in a model of `spec` at the place that differs.
    pub(super) fn ratio_of(&self, spec: &ModelSpec) -> Option<f64> {
        let findings = self.look(spec).ok()?;
        let at_hook = |evaluation| {
            let mut all = findings.measurements().iter();
            all.find(|one| one.quantity == self.quantity && one.evaluation == evaluation)
        };
        let one = at_hook(Evaluation::Local).or_else(|| at_hook(Evaluation::Cumulative))?;
        Some(one.ratio)
    }

    /// Only as far as the component: what comes behind it says nothing of it.
    fn look(&self, spec: &ModelSpec) -> Result<Findings, PluginError> {
        let mut cut = spec.clone();
        let is_early = |quantity: &Quantity| match (layer_of(&self.component), quantity) {
            (Some(last), Quantity::Hook(name)) => layer_of(name).is_some_and(|layer| layer <= last),
            (Some(_), _) => false,
            (None, _) => true,
        };
        if let Some(last) = layer_of(&self.component) {
            cut.layers.truncate(last + 1);
        }
        let info = self.patient.of(cut);
        self.patient
            .look(&info, &self.request, &self.truth, is_early)
    }

    /// Whether the quantity is of the component that differs, or of a part of it.
    fn is_own(&self, spec: &ModelSpec, quantity: &Quantity) -> bool {
        let name = match quantity {
            Quantity::Hook(name) => name,
            _ => return quantity == &self.quantity,
        };
        let hook = name
            .rsplit_once('.')
            .map_or(name.as_str(), |(component, _)| component);
        quantity == &self.quantity || owner(spec, hook) == self.component
    }
}

/// Checkpoint tensors that `spec` does not take and that a model may need, with their shapes.
pub(crate) fn tensors_not_taken(spec: &ModelSpec, weights: &Weights) -> Vec<(String, Vec<usize>)> {
    let sources = spec.sources();
    let taken: BTreeSet<&str> = sources
        .iter()
        .filter_map(|(_, source)| weights.resolve(source).ok())
        .collect();
    let ignored: Vec<_> = spec
        .ignored_tensors
        .iter()
        .filter_map(|pattern| Some(globset::Glob::new(pattern).ok()?.compile_matcher()))
        .collect();
    let left = weights
        .names()
        .filter(|name| !taken.contains(name) && !ignored.iter().any(|glob| glob.is_match(name)));
    left.filter_map(|name| Some((name.to_owned(), weights.shape(name).ok()?.to_vec())))
        .collect()
}
