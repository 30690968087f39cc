//! A model that is wrong somewhere, looked at on true inputs.

use std::collections::BTreeSet;

use serde_json::{Map, Value};
use tlbench_checkpoint::Weights;
use tlbench_engine::Bridge;
use tlbench_sdk::judge::Findings;
use tlbench_sdk::{
    Evaluation, ModelInfo, ModelSpec, PluginError, Quantity, Severity, Trace, TraceRequest,
    TraceSource, hooks, layer_of, short_name,
};

use crate::hook_by_hook::HookByHook;

/// A model that is wrong somewhere.
pub(crate) struct Patient<'a> {
    /// What it is taken for.
    pub(crate) spec: &'a ModelSpec,
    pub(crate) weights: &'a Weights,
    /// Its `config.json`.
    pub(crate) config: &'a Map<String, Value>,
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
    /// The one that shows it, if that is another.
    reader: Option<String>,
    pub(super) hook: String,
    quantity: Quantity,
    pub(super) ratio: f64,
    /// The largest local ratio of the component.
    pub(super) worst: f64,
    /// What is wrong by itself.
    failures: BTreeSet<Quantity>,
    /// The blocks in which the same is wrong.
    pub(super) wrong_layers: BTreeSet<usize>,
}

/// What became of a component with a repair.
pub(super) struct Tried {
    /// Its largest local ratio.
    pub(super) worst: f64,
    /// Whether it is right.
    pub(super) is_cured: bool,
}

impl<'a> Patient<'a> {
    /// The first question that shows a component which differs on true inputs.
    ///
    /// # Errors
    /// If the reference or the engine cannot answer.
    pub(crate) fn case(&'a self) -> Result<Option<Case<'a>>, PluginError> {
        let info = self.of(self.spec.clone());
        let bridge = Bridge::open(&info.spec, self.weights, info.dtype)?;
        for (input, request) in &self.questions {
            let truth = self.reference.trace(request)?;
            let findings = HookByHook::locate(&info, request, &truth, &bridge)?.findings;
            let (Some(divergence), Some(at_fault)) =
                (findings.first_divergence(), findings.at_fault(&info))
            else {
                continue;
            };
            let hook = divergence.quantity.as_hook();
            let mut case = Case {
                patient: self,
                input: input.clone(),
                request: request.clone(),
                truth,
                component: at_fault.component(self.spec),
                reader: hook
                    .filter(|_| at_fault.because.is_some())
                    .map(|hook| component_at(self.spec, hook)),
                part: at_fault.part,
                hook: hook.map_or_else(|| divergence.quantity.to_string(), str::to_owned),
                quantity: divergence.quantity.clone(),
                ratio: divergence.ratio,
                worst: divergence.ratio,
                wrong_layers: layers_like(&findings, hook),
                failures: findings.failures().cloned().collect(),
            };
            case.worst = case.judged(self.spec, &findings).worst;
            return Ok(Some(case));
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

impl<'a> Case<'a> {
    pub(super) fn spec(&self) -> &ModelSpec {
        self.patient.spec
    }

    pub(super) fn patient(&self) -> &'a Patient<'a> {
        self.patient
    }

    /// The component at fault.
    pub(crate) fn component(&self) -> &str {
        &self.component
    }

    /// The hook at which it shows first.
    pub(crate) fn hook(&self) -> &str {
        &self.hook
    }

    /// What becomes of the component in a model of `spec`; nothing if that cannot be run.
    pub(super) fn tried(&self, spec: &ModelSpec) -> Option<Tried> {
        Some(self.judged(spec, &self.look(spec).ok()?))
    }

    fn judged(&self, spec: &ModelSpec, findings: &Findings) -> Tried {
        let own = |quantity: &Quantity| self.is_own(spec, quantity);
        let local = findings
            .measurements()
            .iter()
            .filter(|one| own(&one.quantity) && one.evaluation == Evaluation::Local);
        let (mut worst, mut is_cured) = (0.0_f64, true);
        for one in local {
            is_cured &= one.severity == Severity::Info;
            worst = worst.max(one.ratio);
        }
        let first = findings.first_divergence();
        if let Some(first) = first.filter(|first| own(&first.quantity)) {
            worst = worst.max(first.ratio);
            is_cured = false;
        }
        is_cured &= !findings.failures().any(|one| own(one) || self.is_new(one));
        Tried { worst, is_cured }
    }

    /// Whether it was right before, in the same block. Others like it may have been right because they are otherwise.
    fn is_new(&self, failure: &Quantity) -> bool {
        let layer = failure.as_hook().and_then(layer_of);
        layer == layer_of(&self.component) && !self.failures.contains(failure)
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

    /// Whether the quantity is of the component at fault or of a part of it, or else of the one that shows it.
    fn is_own(&self, spec: &ModelSpec, quantity: &Quantity) -> bool {
        let is_of_either = |hook: &str| {
            let component = component_at(spec, hook);
            component == self.component || Some(component) == self.reader
        };
        quantity == &self.quantity || quantity.as_hook().is_some_and(is_of_either)
    }
}

/// The blocks in which what `hook` shows in its own is wrong by itself.
fn layers_like(findings: &Findings, hook: Option<&str>) -> BTreeSet<usize> {
    let short = hook.map(short_name);
    let failures = findings.failures().filter_map(Quantity::as_hook);
    let alike = failures.filter(|failure| Some(short_name(failure)) == short);
    alike.filter_map(layer_of).collect()
}

/// The component that a hook is named after.
fn component_at(spec: &ModelSpec, hook: &str) -> String {
    let split = hook.rsplit_once('.');
    spec.component_of(split.map_or(hook, |(component, _)| component))
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
