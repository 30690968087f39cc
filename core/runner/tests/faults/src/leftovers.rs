//! Edits of a question by the run before it: what an implementation keeps, and should not.

use tlbench_sdk::{Action, Processing, ProcessingStep, Sampling, Target};

use crate::{Question, Run};

/// From this many positions on, threads share the work.
const LONG: usize = 32;

/// Long inputs are summed in the order in which threads finish: in another one each time.
pub(crate) fn sums_by_turns(last: &Run, now: &mut Question) {
    let [_, pos] = now.request.shape();
    if pos >= LONG {
        now.pieces = Some(2 + last.runs % 7);
    }
}

/// A hook that scales stays for one run more.
pub(crate) fn scaling_stays(last: &Run, now: &mut Question) {
    let edits = last.asked.interventions.iter();
    let scaling = edits.filter(|edit| matches!(edit.action, Action::Scale { .. }));
    if now.request.interventions.is_empty() {
        now.request.interventions = scaling.cloned().collect();
    }
}

/// An edited weight is restored one run too late.
pub(crate) fn weight_restored_late(last: &Run, now: &mut Question) {
    let edits = last.asked.interventions.iter();
    let of_weights = edits.filter(|edit| matches!(edit.target, Target::Weight(_)));
    let is_same_model = last.asked.processing == now.request.processing;
    if is_same_model && now.request.interventions.is_empty() {
        now.request.interventions = of_weights.cloned().collect();
        now.request.operands.clone_from(&last.asked.operands);
    }
}

/// Centring the unembedding centres the stored tensor.
pub(crate) fn raw_unembed_centred(last: &Run, now: &mut Question) {
    if now.request.processing.is_raw() && !last.answered.request.processing.is_raw() {
        now.request.processing = Processing::from_iter([ProcessingStep::CenterUnembed]);
    }
}

/// Random numbers go on from call to call.
pub(crate) fn seed_runs_on(last: &Run, now: &mut Question) {
    let seed_of = |question: &Question| match question.request.generate.as_ref()?.sampling {
        Sampling::Temperature { seed, .. } => Some(seed),
        Sampling::Greedy => None,
    };
    let Some(last) = seed_of(&last.answered) else {
        return;
    };
    if let Some(generate) = &mut now.request.generate
        && let Sampling::Temperature { seed, .. } = &mut generate.sampling
    {
        *seed = last + 1;
    }
}
