//! A run that is differentiated.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use candle_core::{DType, Tensor};
use tlbench_sdk::spec::Cut;
use tlbench_sdk::{Evaluation, Quantity, Target, TraceRequest};

use crate::convert::{from_candle, moved};
use crate::error::EngineError;
use crate::inputs::Inputs;
use crate::model::Model;
use crate::objective::differentiable;
use crate::tape::{Recorded, Tape};
use crate::weights::apply;

/// candle walks a graph, and frees it, by recursion: 10,000 operations take 2 MiB. Memory is taken as it is touched.
const STACK: usize = 1 << 30;

/// The stored parameter that each `param_grad:NAME` of `request` is about.
pub(crate) struct WantedParameters<'a> {
    stored: BTreeMap<&'a str, &'a str>,
    /// The name that each parameter of the model is stored under, by every name that it goes by.
    all: &'a BTreeMap<String, String>,
    /// From a stored gradient to that of a canonical weight.
    cuts: &'a BTreeMap<String, Vec<Cut>>,
}

impl<'a> WantedParameters<'a> {
    pub(crate) fn new(request: &'a TraceRequest, model: &'a Model) -> Result<Self, EngineError> {
        let names = request
            .capture
            .iter()
            .filter_map(|quantity| match quantity {
                Quantity::ParameterGradient(name) => Some(name.as_str()),
                _ => None,
            });
        let stored = names.map(|name| match model.parameters.get(name) {
            Some(stored) => Ok((name, stored.as_str())),
            None => Err(EngineError::request(
                name,
                "a parameter of this model",
                "none of that name",
            )),
        });
        Ok(Self {
            stored: stored.collect::<Result<_, _>>()?,
            all: &model.parameters,
            cuts: &model.cuts,
        })
    }

    /// Whether any is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.stored.is_empty()
    }

    /// A tape that records all parameters if one is wanted: the next question may be about others.
    pub(crate) fn tape(&self, dtype: DType) -> Result<Tape, EngineError> {
        let recorded = self.all.values().filter(|_| !self.is_empty());
        Ok(Tape::new(recorded.cloned().collect(), dtype)?)
    }

    /// Each under the name that it was asked for by. One is worked out after the other, so that one full set is in memory.
    pub(crate) fn found(
        &self,
        recorded: &Recorded,
    ) -> Result<Vec<(Quantity, tlbench_sdk::Tensor)>, EngineError> {
        let mut found = Vec::with_capacity(self.stored.len());
        let distinct: BTreeSet<&str> = self.stored.values().copied().collect();
        for stored in distinct {
            let gradient = recorded.gradient(stored)?;
            let names = self.stored.iter().filter(|(_, name)| **name == stored);
            let mut names = names.map(|(&name, _)| name).peekable();
            while let Some(name) = names.next() {
                let cut = self.cut(name, gradient.clone())?;
                let cut = match names.peek() {
                    Some(_) => from_candle(&cut)?,
                    None => moved(&cut)?,
                };
                found.push((Quantity::ParameterGradient(name.to_owned()), cut));
            }
        }
        Ok(found)
    }

    fn cut(&self, name: &str, gradient: Tensor) -> candle_core::Result<Tensor> {
        let cuts = self.cuts.get(name).into_iter().flatten();
        let mut cuts = cuts.filter(|cut| !matches!(cut, Cut::Add { .. }));
        cuts.try_fold(gradient, |gradient, cut| apply(cut, &gradient))
    }
}

/// Whether `request` asks for anything that takes differentiation.
///
/// # Errors
/// If what it asks for does not go together.
pub(crate) fn is_differentiated(request: &TraceRequest) -> Result<bool, EngineError> {
    let shown = request.capture.iter().find(|quantity| {
        matches!(
            quantity,
            Quantity::HookGradient(_) | Quantity::ParameterGradient(_)
        )
    });
    let edit = request
        .interventions
        .iter()
        .find_map(|edit| match &edit.target {
            Target::HookGradient(name) => Some(name),
            Target::Hook(_) | Target::Weight(_) => None,
        });
    let what = shown
        .map(Quantity::to_string)
        .or_else(|| edit.map(|name| format!("an edit of the gradient at `{name}`")));
    let Some(what) = what else { return Ok(false) };
    let together = [
        (request.gradients.is_none(), "an objective", "none"),
        (
            request.evaluation == Evaluation::Local,
            "a cumulative run",
            "a local one, through which no gradient flows",
        ),
        (!request.chunks.is_empty(), "a run in one piece", "chunks"),
        (request.generate.is_some(), "no generation", "some"),
    ];
    match together.iter().find(|(wrong, ..)| *wrong) {
        Some((_, expected, found)) => Err(EngineError::request(what, *expected, *found)),
        None => Ok(true),
    }
}

/// Lets the gradient of the objective flow back from `logits`.
pub(crate) fn backward(
    request: &TraceRequest,
    logits: &Tensor,
    inputs: &Inputs,
) -> Result<(), EngineError> {
    if let Some(gradients) = &request.gradients {
        differentiable(&gradients.objective, logits, inputs)?.backward()?;
    }
    Ok(())
}

/// Runs `work` where there is room for a deep graph, and `meanwhile` here.
pub(crate) fn on_a_large_stack<T: Send, U>(
    work: impl FnOnce() -> T + Send,
    meanwhile: impl FnOnce() -> U,
) -> Result<(T, U), EngineError> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .name("backward".to_owned())
            .stack_size(STACK)
            .spawn_scoped(scope, work)
            .map_err(candle_core::Error::from)?;
        let here = meanwhile();
        match thread.join() {
            Ok(there) => Ok((there, here)),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}
