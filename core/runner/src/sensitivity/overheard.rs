//! Who is asked, with a memory of the questions.

use std::sync::{Mutex, PoisonError};

use tlbench_sdk::{Evaluation, PluginError, SourceInfo, Trace, TraceRequest, TraceSource};

/// A source that remembers what it was asked about values that it has computed itself.
pub(crate) struct Overheard<'a> {
    source: &'a dyn TraceSource,
    asked: Mutex<Vec<TraceRequest>>,
}

impl<'a> Overheard<'a> {
    pub(crate) fn new(source: &'a dyn TraceSource) -> Self {
        Self {
            source,
            asked: Mutex::default(),
        }
    }

    /// Each once, in the order in which it was asked.
    pub(crate) fn questions(self) -> Vec<TraceRequest> {
        self.asked
            .into_inner()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl TraceSource for Overheard<'_> {
    fn info(&self) -> SourceInfo {
        self.source.info()
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        // A local run is about the same values as the one whose truth it starts from.
        if request.evaluation == Evaluation::Cumulative {
            let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
            if !asked.contains(request) {
                asked.push(request.clone());
            }
        }
        self.source.trace(request)
    }
}
