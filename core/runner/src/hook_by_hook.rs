//! A subject beside the truth, hook by hook: as errors add up, and each component on true inputs.

use tlbench_sdk::judge::{Findings, Forward, judge_forward, plan_forward};
use tlbench_sdk::{ModelInfo, PluginError, Quantity, Role, Trace, TraceRequest, TraceSource};

/// What came of it.
pub(crate) struct HookByHook {
    pub(crate) findings: Findings,
    /// The question whose hooks were set to the truth.
    pub(crate) local: TraceRequest,
    /// What the subject made of each of them.
    pub(crate) shown: Trace,
}

impl HookByHook {
    /// Compares what `is_compared` of the answers to `request`, to which `truth` is the reference's.
    ///
    /// # Errors
    /// If the subject does not answer, or the reference gives no floor.
    pub(crate) fn compare(
        info: &ModelInfo,
        request: &TraceRequest,
        truth: &Trace,
        subject: &dyn TraceSource,
        is_compared: impl Fn(&Quantity) -> bool,
    ) -> Result<Self, PluginError> {
        let check = plan_forward(info, "hook_by_hook", request.clone());
        let mut answers = Vec::new();
        for planned in &check.requests {
            answers.push(match planned.role {
                Role::Reference => truth.clone(),
                Role::Subject | Role::ExactSubject => subject.trace(&planned.request)?,
            });
        }
        let local = match judge_forward(info, &check, &is_compared, &answers, None)? {
            Forward::Local(mut requests) if requests.len() == 1 => requests.remove(0).request,
            Forward::Local(_) | Forward::Done(_) => {
                return Err(PluginError::internal("expected one local run"));
            }
        };
        let shown = subject.trace(&local)?;
        answers.push(shown.clone());
        match judge_forward(info, &check, &is_compared, &answers, None)? {
            Forward::Done(findings) => Ok(Self {
                findings,
                local,
                shown,
            }),
            Forward::Local(_) => Err(PluginError::internal("expected the end of the comparison")),
        }
    }
}
