//! What happens at a hook: capture, edit, overwrite, on the way forward and on the way back.

mod gradient;

use std::collections::{BTreeMap, BTreeSet};

use candle_core::{DType, Tensor};
use tlbench_sdk::{Evaluation, HookPoint, Intervention, Quantity, Target, TraceRequest};

use crate::closures::{Calls, Way};
use crate::convert::from_candle;
use crate::edit::{Edit, Edited, replacement};
use crate::error::EngineError;
use gradient::{CapturedGradients, HookOp};

/// Sees every hook of one run as it fires.
pub(crate) struct Probe<'a> {
    request: &'a TraceRequest,
    calls: Option<&'a Calls>,
    dtype: DType,
    wanted: BTreeSet<&'a str>,
    edits: BTreeMap<&'a str, Vec<&'a Intervention>>,
    wanted_gradients: BTreeSet<&'a str>,
    gradient_edits: BTreeMap<&'a str, Vec<&'a Intervention>>,
    position_axis: BTreeMap<&'a str, Option<usize>>,
    captured: BTreeMap<String, Tensor>,
    captured_gradients: CapturedGradients,
    fired: BTreeSet<String>,
}

impl<'a> Probe<'a> {
    pub(crate) fn new(
        request: &'a TraceRequest,
        hooks: &'a [HookPoint],
        dtype: DType,
        calls: Option<&'a Calls>,
    ) -> Result<Self, EngineError> {
        let mut edits: BTreeMap<&str, Vec<&Intervention>> = BTreeMap::new();
        let mut gradient_edits: BTreeMap<&str, Vec<&Intervention>> = BTreeMap::new();
        for intervention in &request.interventions {
            match &intervention.target {
                Target::Hook(name) => edits.entry(name).or_default().push(intervention),
                Target::HookGradient(name) => {
                    gradient_edits.entry(name).or_default().push(intervention);
                }
                // Done before the run began.
                Target::Weight(_) => {}
            }
        }
        let capture = request.capture.iter();
        let probe = Self {
            request,
            calls,
            dtype,
            wanted: capture.clone().filter_map(Quantity::as_hook).collect(),
            edits,
            wanted_gradients: capture.filter_map(as_hook_gradient).collect(),
            gradient_edits,
            position_axis: hooks
                .iter()
                .map(|hook| (hook.name.as_str(), position_axis(hook)))
                .collect(),
            captured: BTreeMap::new(),
            captured_gradients: CapturedGradients::default(),
            fired: BTreeSet::new(),
        };
        probe.check_names()?;
        probe.check_gradients(hooks)?;
        Ok(probe)
    }

    fn check_names(&self) -> Result<(), EngineError> {
        let truth = self.request.truth.keys().map(String::as_str);
        let unknown = self
            .named()
            .chain(truth)
            .find(|&name| !self.position_axis.contains_key(name));
        unknown.map_or(Ok(()), |name| {
            Err(EngineError::request(
                name,
                "a hook of this model",
                "none of that name",
            ))
        })
    }

    fn check_gradients(&self, hooks: &[HookPoint]) -> Result<(), EngineError> {
        let mut integers = hooks.iter().filter(|hook| hook.holds_integers());
        match integers.find(|hook| self.looks_back_at(&hook.name)) {
            Some(hook) => Err(EngineError::request(
                &hook.name,
                "a hook with a gradient",
                "choices of experts, which have none",
            )),
            None => Ok(()),
        }
    }

    /// Every hook that has to fire.
    fn named(&self) -> impl Iterator<Item = &'a str> {
        let shown = self.wanted.iter().chain(&self.wanted_gradients);
        let edited = self.edits.keys().chain(self.gradient_edits.keys());
        // Those on the way back want a gradient.
        let called = self
            .calls
            .into_iter()
            .flat_map(|calls| calls.names(Way::Forward));
        shown.chain(edited).copied().chain(called)
    }

    /// Whether anybody looks at `name`, so that it is worth computing.
    pub(crate) fn looks_at(&self, name: &str) -> bool {
        self.wanted.contains(name) || self.changes(name) || self.looks_back_at(name)
    }

    /// Whether the value at `name` may be changed, so that what follows has to be computed from it.
    pub(crate) fn changes(&self, name: &str) -> bool {
        self.edits.contains_key(name)
            || self.truth(name).is_some()
            || self.calls_at(Way::Forward, name).is_some()
    }

    /// Whether anybody looks at the gradient at `name`, or edits it.
    fn looks_back_at(&self, name: &str) -> bool {
        self.wanted_gradients.contains(name) || self.changes_gradient(name)
    }

    /// Whether the gradient at `name` may be changed.
    pub(crate) fn changes_gradient(&self, name: &str) -> bool {
        self.gradient_edits.contains_key(name) || self.calls_at(Way::Back, name).is_some()
    }

    /// Whether the model has to compute what follows from the value at `name`, where it could do without: a value that
    /// is only shown takes no part in what is differentiated.
    pub(crate) fn is_passed_through(&self, name: &str) -> bool {
        self.changes(name) || (self.request.gradients.is_some() && self.looks_at(name))
    }

    /// Shows `value` and returns what the model goes on with.
    pub(crate) fn hook(&mut self, name: &str, value: Tensor) -> Result<Tensor, EngineError> {
        self.fired.insert(name.to_owned());
        if self.wanted.contains(name) {
            self.captured.insert(name.to_owned(), value.detach());
        }
        if !self.changes(name) && !self.looks_back_at(name) {
            return Ok(value);
        }
        let shape = value.dims().to_vec();
        let edited = Edited {
            name,
            shape: &shape,
            position_axis: self.position_axis.get(name).copied().flatten(),
            dtype: self.dtype,
        };
        if let Some(truth) = self.truth(name) {
            return replacement(truth, edited);
        }
        let ready = |edits: &BTreeMap<&str, Vec<&Intervention>>| -> Result<Vec<Edit>, EngineError> {
            let edits = edits.get(name).into_iter().flatten();
            edits
                .map(|edit| Edit::new(edit, &self.request.operands, edited))
                .collect()
        };
        let mut edits = ready(&self.edits)?;
        let mut shown = value.detach();
        for edit in &edits {
            shown = edit.apply(&shown)?;
        }
        if let Some(calls) = self.calls_at(Way::Forward, name)
            && let Some(other) = calls.call(Way::Forward, name, &shown)?
        {
            shown = replacement(&other, edited)?;
            edits.push(Edit::replacing(shown.clone()));
        }
        let operation = HookOp {
            name: name.to_owned(),
            edits,
            gradient_edits: ready(&self.gradient_edits)?,
            capture: self
                .wanted_gradients
                .contains(name)
                .then(|| self.captured_gradients.clone()),
            calls: self.calls_at(Way::Back, name).cloned(),
        };
        Ok(operation.apply(&value, &shown)?)
    }

    /// What was captured, once everything has run; a hook that did not fire, or that no gradient came back to, is an
    /// error.
    pub(crate) fn finish(self) -> Result<BTreeMap<Quantity, tlbench_sdk::Tensor>, EngineError> {
        if let Some(name) = self.named().find(|&name| !self.fired.contains(name)) {
            return Err(EngineError::request(
                name,
                "a hook that fires",
                "that it did not",
            ));
        }
        let gradients = self.captured_gradients.take();
        if let Some(name) = self
            .wanted_gradients
            .iter()
            .find(|&&name| !gradients.contains_key(name))
        {
            return Err(EngineError::NoGradient {
                of: (*name).to_owned(),
                detail: "none came back to it".to_owned(),
            });
        }
        let values = self.captured.into_iter();
        let values = values.map(|(name, value)| (Quantity::Hook(name), value));
        let gradients = gradients.into_iter();
        let gradients = gradients.map(|(name, value)| (Quantity::HookGradient(name), value));
        values
            .chain(gradients)
            .map(|(quantity, value)| Ok((quantity, from_candle(&value)?)))
            .collect()
    }

    /// The closures that wait at `name`.
    fn calls_at(&self, way: Way, name: &str) -> Option<&'a Calls> {
        self.calls.filter(|calls| calls.wait_at(way, name))
    }

    fn truth(&self, name: &str) -> Option<&'a tlbench_sdk::Tensor> {
        match self.request.evaluation {
            Evaluation::Local => self.request.truth.get(name),
            Evaluation::Cumulative => None,
        }
    }
}

fn as_hook_gradient(quantity: &Quantity) -> Option<&str> {
    match quantity {
        Quantity::HookGradient(name) => Some(name),
        _ => None,
    }
}

/// The dimension that counts query positions.
fn position_axis(hook: &HookPoint) -> Option<usize> {
    match tlbench_sdk::compare::Axes::of_hook(hook) {
        tlbench_sdk::compare::Axes::Positions { pos } => Some(pos),
        tlbench_sdk::compare::Axes::Pairs | tlbench_sdk::compare::Axes::Whole => None,
    }
}

/// One copy per head: `[batch, pos, d_model]` to `[batch, pos, heads, d_model]`.
pub(crate) fn per_head(stream: &Tensor, heads: usize) -> candle_core::Result<Tensor> {
    let (batch, pos, d_model) = stream.dims3()?;
    stream
        .unsqueeze(2)?
        .broadcast_as((batch, pos, heads, d_model))?
        .contiguous()
}
