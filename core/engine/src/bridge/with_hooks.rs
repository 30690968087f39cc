//! A run that calls closures.

use tlbench_sdk::{Evaluation, Quantity, Trace, TraceRequest};

use super::Bridge;
use crate::closures::{Hooks, Way, connect};
use crate::error::EngineError;
use crate::gradients::on_a_large_stack;
use crate::last_pass::LastPass;

impl Bridge {
    /// Answers one request while `hooks` see what fires, and put something else in its place if they want to. They are
    /// gone when this returns, whether or not it has gone well, and no other run sees them: not even one that a closure
    /// begins.
    ///
    /// What the request wants to see of a hook is its value before closures and edits. A closure at a gated hook makes it
    /// fire. One on the way back takes an objective ([`TraceRequest::gradients`]). While tokens are generated, closures are
    /// called in every step, with the positions of that step alone if there is a cache.
    ///
    /// # Errors
    /// As [`Bridge::run`]; if a name is none of a hook, a closure fails, or what it returns is of another shape or type;
    /// if the request is for a local run or chunks.
    #[doc(alias = "fwd_hooks")]
    #[doc(alias = "bwd_hooks")]
    pub fn run_with_hooks(
        &self,
        request: &TraceRequest,
        hooks: Hooks<'_>,
    ) -> Result<Trace, EngineError> {
        refuse(request)?;
        let mut bridge = self.for_request(request)?;
        let (calls, answering) = connect(hooks, bridge.hooks())?;
        let mut asked = request.clone();
        // A gradient flows where somebody wants it.
        let back = calls.names(Way::Back).map(str::to_owned);
        asked.capture.extend(back.map(Quantity::HookGradient));
        bridge.calls = Some(calls);
        // What closures do is in no request.
        bridge.last_pass = LastPass::default();
        let asked = &asked;
        let (trace, called) = on_a_large_stack(
            // Nobody calls any more once the bridge is gone.
            move || bridge.respond(asked),
            || answering.until_the_end(),
        )?;
        called?;
        let mut trace = trace?;
        let wanted = |quantity: &Quantity| request.capture.contains(quantity);
        trace.values.retain(|quantity, _| wanted(quantity));
        Ok(trace)
    }
}

/// Refuses the runs in which a hook does not show all positions at once, or the model does not go on with its own values.
fn refuse(request: &TraceRequest) -> Result<(), EngineError> {
    let runs = [
        (request.evaluation == Evaluation::Local, "a local run"),
        (!request.chunks.is_empty(), "chunks"),
    ];
    match runs.iter().find(|(wanted, _)| *wanted) {
        Some((_, run)) => Err(EngineError::Unanswerable(format!(
            "{run} with closures at hooks"
        ))),
        None => Ok(()),
    }
}
