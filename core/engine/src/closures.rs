//! Closures that see a run's hooks as they fire.
//!
//! What happens on the way back lies in candle's graph, which can borrow nothing. So the run has a thread of its own,
//! and asks the caller's, where the closures stay: they may borrow, and need not be `Send`.

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use candle_core::Tensor as CandleTensor;
use tlbench_sdk::{HookPoint, Tensor};

use crate::convert::from_candle;
use crate::error::EngineError;
use crate::hook_names::HookNames;

/// What a closure answers: `None` if it has only looked, and what the run goes on with if it has not.
pub type HookResult = Result<Option<Tensor>, Box<dyn Error + Send + Sync>>;

type Closure<'f> = Box<dyn FnMut(&Tensor, &HookPoint) -> HookResult + 'f>;

/// Closures at hooks, for one run: [`Bridge::run_with_hooks`](crate::Bridge::run_with_hooks).
///
/// Those at one hook are called in the order in which they were added, each with what the one before it has left.
#[derive(Default)]
#[doc(alias = "fwd_hooks")]
#[doc(alias = "bwd_hooks")]
pub struct Hooks<'f>(Vec<Added<'f>>);

struct Added<'f> {
    way: Way,
    names: HookNames<'f>,
    closure: Closure<'f>,
}

/// On which way through the model a closure is called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Way {
    Forward,
    Back,
}

impl<'f> Hooks<'f> {
    /// None yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// With a closure that sees the value at each of `names` as the model computes it, edits of the request included.
    /// What it returns instead is a constant: nothing of it flows back to what is before the hook.
    #[must_use]
    pub fn forward(
        self,
        names: impl Into<HookNames<'f>>,
        closure: impl FnMut(&Tensor, &HookPoint) -> HookResult + 'f,
    ) -> Self {
        self.with(Way::Forward, names.into(), Box::new(closure))
    }

    /// With a closure that sees the objective's gradient at each of `names`. What it returns instead is what flows back
    /// to what is before the hook.
    #[must_use]
    pub fn backward(
        self,
        names: impl Into<HookNames<'f>>,
        closure: impl FnMut(&Tensor, &HookPoint) -> HookResult + 'f,
    ) -> Self {
        self.with(Way::Back, names.into(), Box::new(closure))
    }

    fn with(mut self, way: Way, names: HookNames<'f>, closure: Closure<'f>) -> Self {
        self.0.push(Added {
            way,
            names,
            closure,
        });
        self
    }
}

/// What a run knows of the closures: where they are, and how to have them called.
#[derive(Clone)]
pub(crate) struct Calls {
    at: Arc<BTreeSet<(Way, String)>>,
    caller: Sender<Call>,
}

/// A hook that has fired.
struct Call {
    at: (Way, String),
    value: Tensor,
    answer: Sender<Option<Tensor>>,
}

impl Calls {
    /// Where closures wait on one way.
    pub(crate) fn names(&self, way: Way) -> impl Iterator<Item = &str> {
        let names = self.at.iter().filter(move |(on, _)| *on == way);
        names.map(|(_, name)| name.as_str())
    }

    /// Whether a closure waits there.
    pub(crate) fn wait_at(&self, way: Way, name: &str) -> bool {
        self.names(way).any(|other| other == name)
    }

    /// What the closures there put in the place of `value`, if anything.
    pub(crate) fn call(
        &self,
        way: Way,
        name: &str,
        value: &CandleTensor,
    ) -> Result<Option<Tensor>, EngineError> {
        let (answer, answered) = channel();
        let call = Call {
            at: (way, name.to_owned()),
            value: from_candle(value)?,
            answer,
        };
        // Without an answer the caller's thread knows why.
        let sent = self.caller.send(call).ok();
        let answered = sent.and_then(|()| answered.recv().ok());
        let silent = || candle_core::Error::Msg(format!("no answer of the closure at {name}"));
        Ok(answered.ok_or_else(silent)?)
    }
}

/// The closures, on the thread of whoever brought them.
pub(crate) struct Answering<'f> {
    hooks: BTreeMap<String, HookPoint>,
    closures: Vec<Closure<'f>>,
    /// Indices of `closures`, in their order.
    at: BTreeMap<(Way, String), Vec<usize>>,
    calls: Receiver<Call>,
}

/// Gives the run of a model with `points` a way to call `hooks`.
pub(crate) fn connect<'f>(
    hooks: Hooks<'f>,
    points: &[HookPoint],
) -> Result<(Calls, Answering<'f>), EngineError> {
    let mut closures = Vec::new();
    let mut at: BTreeMap<_, Vec<usize>> = BTreeMap::new();
    for added in hooks.0 {
        for name in added.names.among(points, "hooks of this model")? {
            at.entry((added.way, name))
                .or_default()
                .push(closures.len());
        }
        closures.push(added.closure);
    }
    let (caller, calls) = channel();
    let run = Calls {
        at: Arc::new(at.keys().cloned().collect()),
        caller,
    };
    let points = points.iter().map(|hook| (hook.name.clone(), hook.clone()));
    let answering = Answering {
        hooks: points.collect(),
        closures,
        at,
        calls,
    };
    Ok((run, answering))
}

impl Answering<'_> {
    /// Answers until the run has ended, or a closure fails: the run gets no answer then, and ends.
    pub(crate) fn until_the_end(mut self) -> Result<(), EngineError> {
        while let Ok(call) = self.calls.recv() {
            let replaced = self.replaced(&call.at, call.value)?;
            // A run that does not wait any more needs no answer.
            let _ = call.answer.send(replaced);
        }
        Ok(())
    }

    fn replaced(
        &mut self,
        at: &(Way, String),
        mut value: Tensor,
    ) -> Result<Option<Tensor>, EngineError> {
        let (_, name) = at;
        let (Some(hook), Some(indices)) = (self.hooks.get(name), self.at.get(at)) else {
            return Ok(None);
        };
        let mut is_replaced = false;
        for &index in indices {
            let answer = self.closures[index](&value, hook);
            let answer = answer.map_err(|source| EngineError::Closure {
                hook: name.clone(),
                source,
            })?;
            if let Some(other) = answer {
                refuse_another_form(name, &value, &other)?;
                value = other;
                is_replaced = true;
            }
        }
        Ok(is_replaced.then_some(value))
    }
}

/// What stands in for `value` has its shape and element type.
fn refuse_another_form(name: &str, value: &Tensor, other: &Tensor) -> Result<(), EngineError> {
    let form = |tensor: &Tensor| format!("{} of shape {:?}", tensor.dtype(), tensor.shape());
    let (expected, found) = (form(value), form(other));
    if expected == found {
        return Ok(());
    }
    Err(EngineError::request(name, expected, found))
}
