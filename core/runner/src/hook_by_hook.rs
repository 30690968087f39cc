//! A subject beside the truth, hook by hook: as errors add up, and each component on true inputs.

use tlbench_sdk::judge::{Findings, Forward, judge_forward, plan_forward};
use tlbench_sdk::{
    Check, ModelInfo, PlannedRequest, PluginError, Quantity, Role, Trace, TraceRequest, TraceSource,
};

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
        Ok(Dialogue::with(info, request, truth, subject)?
            .compared(&is_compared)?
            .0)
    }

    /// The same, and asks for what else tells who is at fault.
    ///
    /// # Errors
    /// As above.
    pub(crate) fn locate(
        info: &ModelInfo,
        request: &TraceRequest,
        truth: &Trace,
        subject: &dyn TraceSource,
    ) -> Result<Self, PluginError> {
        let mut dialogue = Dialogue::with(info, request, truth, subject)?;
        let (compared, more) = dialogue.compared(&|_| true)?;
        if more.is_empty() {
            return Ok(compared);
        }
        for planned in more {
            dialogue.answers.push(subject.trace(&planned.request)?);
        }
        match dialogue.judged(&|_| true)? {
            Forward::Done(findings) => Ok(Self {
                findings,
                ..compared
            }),
            Forward::Local(_) | Forward::Readers(..) => {
                Err(PluginError::internal("expected the end of the comparison"))
            }
        }
    }
}

/// What was asked and answered so far.
struct Dialogue<'a> {
    info: &'a ModelInfo,
    subject: &'a dyn TraceSource,
    check: Check,
    answers: Vec<Trace>,
}

impl<'a> Dialogue<'a> {
    fn with(
        info: &'a ModelInfo,
        request: &TraceRequest,
        truth: &Trace,
        subject: &'a dyn TraceSource,
    ) -> Result<Self, PluginError> {
        let check = plan_forward(info, "hook_by_hook", request.clone());
        let mut answers = Vec::new();
        for planned in &check.requests {
            answers.push(match planned.role {
                Role::Reference => truth.clone(),
                Role::Subject | Role::ExactSubject => subject.trace(&planned.request)?,
            });
        }
        Ok(Self {
            info,
            subject,
            check,
            answers,
        })
    }

    fn judged(&self, is_compared: &dyn Fn(&Quantity) -> bool) -> Result<Forward, PluginError> {
        judge_forward(self.info, &self.check, is_compared, &self.answers, None)
    }

    /// What the local run shows, and what more could be asked.
    fn compared(
        &mut self,
        is_compared: &dyn Fn(&Quantity) -> bool,
    ) -> Result<(HookByHook, Vec<PlannedRequest>), PluginError> {
        let local = match self.judged(is_compared)? {
            Forward::Local(mut requests) if requests.len() == 1 => requests.remove(0).request,
            Forward::Local(_) | Forward::Readers(..) | Forward::Done(_) => {
                return Err(PluginError::internal("expected one local run"));
            }
        };
        let shown = self.subject.trace(&local)?;
        self.answers.push(shown.clone());
        let (findings, more) = match self.judged(is_compared)? {
            Forward::Done(findings) => (findings, Vec::new()),
            Forward::Readers(more, findings) => (findings, more),
            Forward::Local(_) => {
                return Err(PluginError::internal("expected the end of the comparison"));
            }
        };
        let compared = HookByHook {
            findings,
            local,
            shown,
        };
        Ok((compared, more))
    }
}
