//! The model on trial, and the same in f64 for questions that need it.

use std::sync::OnceLock;

use tlbench_checkpoint::Weights;
use tlbench_engine::{Bridge, EngineError};
use tlbench_sdk::{DType, ModelSpec, PluginError, SourceInfo, Trace, TraceRequest, TraceSource};

/// A bridge that is opened in f64 when it is first asked, as few questions need it.
pub(crate) struct ExactSubject<'a> {
    spec: &'a ModelSpec,
    weights: &'a Weights,
    opened: OnceLock<Result<Bridge, PluginError>>,
}

impl<'a> ExactSubject<'a> {
    pub(crate) fn new(spec: &'a ModelSpec, weights: &'a Weights) -> Self {
        Self {
            spec,
            weights,
            opened: OnceLock::new(),
        }
    }

    fn bridge(&self) -> Result<&Bridge, PluginError> {
        let open = || {
            let opened: Result<Bridge, EngineError> =
                Bridge::open(self.spec, self.weights, DType::F64);
            opened.map_err(PluginError::from)
        };
        self.opened.get_or_init(open).as_ref().map_err(Clone::clone)
    }
}

impl TraceSource for ExactSubject<'_> {
    fn info(&self) -> SourceInfo {
        SourceInfo::default()
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        self.bridge()?.trace(request)
    }
}
