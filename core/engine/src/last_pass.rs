//! What the last differentiated run left, for the next question about it.
//!
//! The gradients of all parameters take as much memory as the model, so they are asked for in parts. The passes forward and
//! back are the same for all of them.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tlbench_sdk::{Deviation, Quantity, TraceRequest};

use crate::arithmetic::Arithmetic;
use crate::model::Model;
use crate::tape::Recorded;

/// A place for it, which all bridges that come from one share.
#[derive(Clone, Default)]
pub(crate) struct LastPass(Arc<Mutex<Option<Left>>>);

impl LastPass {
    /// Takes out what is left, if a run for `request` by `runner` would leave the same. What is of another run
    /// is gone.
    pub(crate) fn take_for(&self, runner: &Runner, request: &TraceRequest) -> Option<Left> {
        let left = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        left.filter(|left| left.runner.is(runner) && left.serves(request))
    }

    /// Keeps what is left for the next question.
    pub(crate) fn keep(&self, left: Left) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(left);
    }
}

/// Who runs, and how.
pub(crate) struct Runner {
    pub(crate) model: Weak<Model>,
    pub(crate) arithmetic: Arithmetic,
    pub(crate) deviation: Option<Deviation>,
}

impl Runner {
    fn is(&self, other: &Self) -> bool {
        self.model.ptr_eq(&other.model)
            && self.arithmetic == other.arithmetic
            && self.deviation == other.deviation
    }
}

/// What a run left.
pub(crate) struct Left {
    runner: Runner,
    /// What the run was for, whatever it shows.
    asked: TraceRequest,
    recorded: Recorded,
    /// The parameters whose gradients were shown. Who asks for one once more wants it computed anew.
    shown: BTreeSet<String>,
}

impl Left {
    /// By a run for `request`, which nobody has seen a gradient of.
    pub(crate) fn new(runner: Runner, request: &TraceRequest, recorded: Recorded) -> Self {
        Self {
            runner,
            asked: without_capture(request),
            recorded,
            shown: BTreeSet::new(),
        }
    }

    /// For a question that wants the gradients of `capture`.
    pub(crate) fn shown_to(&mut self, capture: &[Quantity]) -> &Recorded {
        let parameters = capture.iter().filter_map(parameter);
        self.shown.extend(parameters.map(str::to_owned));
        &self.recorded
    }

    /// Whether `request` is for the same run, and for nothing but gradients of parameters that were not shown.
    fn serves(&self, request: &TraceRequest) -> bool {
        let mut capture = request.capture.iter();
        let is_new =
            |quantity| parameter(quantity).is_some_and(|parameter| !self.shown.contains(parameter));
        !request.capture.is_empty() && capture.all(is_new) && self.asked == without_capture(request)
    }
}

fn parameter(quantity: &Quantity) -> Option<&str> {
    match quantity {
        Quantity::ParameterGradient(name) => Some(name),
        _ => None,
    }
}

fn without_capture(request: &TraceRequest) -> TraceRequest {
    TraceRequest {
        capture: Vec::new(),
        ..request.clone()
    }
}

#[cfg(test)]
mod tests {
    use candle_core::DType;
    use tlbench_sdk::{GradientRequest, Objective};

    use super::*;
    use crate::tape::Tape;

    fn asked(capture: &[Quantity]) -> TraceRequest {
        TraceRequest {
            capture: capture.to_vec(),
            gradients: Some(GradientRequest {
                objective: Objective::Loss,
            }),
            ..TraceRequest::default()
        }
    }

    fn of(name: &str) -> Quantity {
        Quantity::ParameterGradient(name.to_owned())
    }

    #[test]
    fn it_serves_other_parameters_of_the_same_run_and_each_once() {
        let runner = || Runner {
            model: Weak::new(),
            arithmetic: Arithmetic::Native,
            deviation: None,
        };
        let run = || {
            let recorded = Tape::new(BTreeSet::new(), DType::F64).unwrap().finish();
            let mut left = Left::new(runner(), &asked(&[]), recorded);
            left.shown_to(&[of("a")]);
            let last = LastPass::default();
            last.keep(left);
            last
        };
        let serves = |runner: &Runner, request: &TraceRequest| {
            let last = run();
            let found = last.take_for(runner, request).is_some();
            assert!(last.take_for(runner, request).is_none(), "it is taken out");
            found
        };
        assert!(serves(&runner(), &asked(&[of("b"), of("c")])));
        let hook = Quantity::HookGradient("hook_embed".into());
        for capture in [&[of("b"), of("a")][..], &[of("b"), hook], &[]] {
            assert!(!serves(&runner(), &asked(capture)), "{capture:?}");
        }
        let plain = TraceRequest::new([].into(), vec![of("b")]);
        assert!(!serves(&runner(), &plain));
        let backwards = Runner {
            arithmetic: Arithmetic::Backwards,
            ..runner()
        };
        assert!(!serves(&backwards, &asked(&[of("b")])));
    }
}
