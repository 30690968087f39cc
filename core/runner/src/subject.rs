//! The model on trial, and the same in f64 for questions that need it.

use std::sync::OnceLock;

use tlbench_checkpoint::Weights;
use tlbench_engine::{Bridge, EngineError};
use tlbench_sdk::{
    DType, FaultEdit, Host, ModelSpec, OpenRequest, PluginError, ReferenceModel, Role, SourceInfo,
    Trace, TraceRequest, TraceSource,
};

use crate::faulty::FaultyBridge;

/// Who is on trial.
pub(crate) enum Subject {
    Bridge(Bridge),
    /// A reference in that role.
    Other(Box<dyn TraceSource>),
}

impl Subject {
    pub(crate) fn source(&self) -> &dyn TraceSource {
        match self {
            Self::Bridge(bridge) => bridge,
            Self::Other(source) => source.as_ref(),
        }
    }

    pub(crate) fn bridge(&self) -> Option<&Bridge> {
        match self {
            Self::Bridge(bridge) => Some(bridge),
            Self::Other(_) => None,
        }
    }
}

/// The subject in f64, opened when it is first asked, as few questions need it.
pub(crate) struct ExactSubject<'a> {
    open: Box<dyn Fn() -> Result<Box<dyn TraceSource>, PluginError> + Send + Sync + 'a>,
    opened: OnceLock<Result<Box<dyn TraceSource>, PluginError>>,
}

impl<'a> ExactSubject<'a> {
    pub(crate) fn bridge(spec: &'a ModelSpec, weights: &'a Weights) -> Self {
        Self::new(move || {
            let opened: Result<Bridge, EngineError> = Bridge::open(spec, weights, DType::F64);
            Ok(Box::new(opened?))
        })
    }

    /// The bridge with a mistake.
    pub(crate) fn faulty(
        spec: &'a ModelSpec,
        weights: &'a Weights,
        edits: &'a [FaultEdit],
    ) -> Self {
        Self::new(move || {
            let opened = FaultyBridge::open(spec, weights, DType::F64, edits);
            Ok(Box::new(opened?))
        })
    }

    pub(crate) fn other(
        reference: &'a dyn ReferenceModel,
        request: OpenRequest,
        host: &'a dyn Host,
    ) -> Self {
        let request = OpenRequest {
            role: Role::ExactSubject,
            dtype: DType::F64,
            ..request
        };
        Self::new(move || reference.open(&request, host))
    }

    fn new(
        open: impl Fn() -> Result<Box<dyn TraceSource>, PluginError> + Send + Sync + 'a,
    ) -> Self {
        Self {
            open: Box::new(open),
            opened: OnceLock::new(),
        }
    }
}

impl TraceSource for ExactSubject<'_> {
    fn info(&self) -> SourceInfo {
        SourceInfo::default()
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        let opened = self.opened.get_or_init(|| (self.open)());
        opened.as_ref().map_err(Clone::clone)?.trace(request)
    }
}
