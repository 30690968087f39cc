//! Local runs that a later check wants as well.
//!
//! They are asked for when the truth is known, so none is announced. Who asks for one has planned a question about the same
//! inputs with errors adding up: as long as somebody waits for that one, the local run may be wanted again.

use tlbench_sdk::{Evaluation, PlannedRequest, TensorMap, Trace, TraceRequest};

use super::{differ_in_capture_alone, shown};

/// What was answered on the truth, and is kept.
#[derive(Default)]
pub(super) struct LocalRuns(Vec<LocalRun>);

struct LocalRun {
    asked: PlannedRequest,
    /// The question about the same inputs that was planned.
    announced: PlannedRequest,
    answer: Trace,
}

impl LocalRuns {
    /// What `planned` asks for, if one of these has all of it.
    pub(super) fn shown(&self, planned: &PlannedRequest) -> Option<Trace> {
        let is_the_same = |run: &&LocalRun| {
            run.asked.role == planned.role
                && differ_in_capture_alone(&run.asked.request, &planned.request)
        };
        let same = self.0.iter().filter(is_the_same);
        let mut shown = same.filter_map(|run| shown(&run.answer, &planned.request.capture).ok());
        shown.next()
    }

    /// Keeps the answer to `planned`, if it is a local run.
    pub(super) fn keep(&mut self, planned: &PlannedRequest, answer: &Trace) {
        if planned.request.evaluation != Evaluation::Local {
            return;
        }
        let announced = TraceRequest {
            evaluation: Evaluation::Cumulative,
            truth: TensorMap::new(),
            ..planned.request.clone()
        };
        self.0.push(LocalRun {
            asked: planned.clone(),
            announced: PlannedRequest {
                request: announced,
                ..planned.clone()
            },
            answer: answer.clone(),
        });
    }

    /// Forgets those whose announced question nobody waits for.
    pub(super) fn retain(&mut self, is_awaited: impl Fn(&PlannedRequest) -> bool) {
        self.0.retain(|run| is_awaited(&run.announced));
    }
}
