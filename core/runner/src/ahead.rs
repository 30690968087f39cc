//! A reference that is asked before its answers are needed.
//!
//! A large model is alone, and most of a run over it is one product after the other, for which not every core is needed. So
//! while the subject answers, and is judged, the reference answers the next questions.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use tlbench_sdk::{PluginError, Quantity, SourceInfo, Trace, TraceRequest, TraceSource};

/// Bytes of answers from which on nothing more is asked before some are judged.
const HELD: usize = 256 << 20;

/// Asks `source` the questions `next` in their order, ahead of whoever `work` asks them through what it is given. Any other
/// question is passed on.
pub(crate) fn ahead<T>(
    source: &dyn TraceSource,
    next: Vec<TraceRequest>,
    work: impl FnOnce(&dyn TraceSource) -> T,
) -> T {
    let ahead = Ahead {
        source,
        state: Mutex::new(State {
            next: next.into(),
            ..State::default()
        }),
        changed: Condvar::new(),
    };
    thread::scope(|scope| {
        scope.spawn(|| ahead.ask());
        let _end = End(&ahead);
        work(&ahead)
    })
}

struct Ahead<'a> {
    source: &'a dyn TraceSource,
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Default)]
struct State {
    /// Not asked yet.
    next: VecDeque<TraceRequest>,
    /// Being answered.
    asked: Option<TraceRequest>,
    /// Answered, and not taken.
    held: VecDeque<(TraceRequest, Result<Trace, PluginError>)>,
    /// Bytes of the answer that was taken last, and is being judged.
    taken: usize,
}

impl Ahead<'_> {
    /// Asks one question after the other, until there are no more.
    fn ask(&self) {
        let _end = End(self);
        while let Some(request) = self.next() {
            let answer = self.source.trace(&request);
            let mut state = self.state();
            state.asked = None;
            state.held.push_back((request, answer));
            self.changed.notify_all();
        }
    }

    /// The next question, as soon as there is room for its answer.
    fn next(&self) -> Option<TraceRequest> {
        let waits = |state: &mut State| !state.next.is_empty() && state.is_full();
        let waited = self.changed.wait_while(self.state(), waits);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let request = state.next.pop_front()?;
        state.asked = Some(request.clone());
        Some(request)
    }

    /// The answer to `request`, if it is among those that are asked here, once it is there. The next one is: who answers may
    /// have begun with the one after it otherwise, and what they have in common would be done twice.
    fn answer(&self, request: &TraceRequest) -> Option<Result<Trace, PluginError>> {
        let is_asked = |state: &mut State| {
            let is_next = || state.next.front() == Some(request) && !state.is_full();
            state.asked.as_ref() == Some(request) || is_next()
        };
        let mut state = self.state();
        state.taken = 0;
        self.changed.notify_all();
        let waited = self.changed.wait_while(state, is_asked);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        let place = state.held.iter().position(|(asked, _)| asked == request);
        let answer = place.and_then(|place| state.held.remove(place));
        if answer.is_none() {
            // It is asked here and now; nobody needs it a second time.
            state.next.retain(|next| next != request);
        }
        let answer = answer.map(|(_, answer)| answer);
        state.taken = answer.as_ref().map_or(0, bytes);
        self.changed.notify_all();
        answer
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl TraceSource for Ahead<'_> {
    fn info(&self) -> SourceInfo {
        self.source.info()
    }

    fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
        self.answer(request)
            .unwrap_or_else(|| self.source.trace(request))
    }
}

impl State {
    /// Whether there is no room for the answer to the next question. Gradients of parameters, which take little time and the
    /// most memory, are answered when nothing else is there.
    fn is_full(&self) -> bool {
        let is_large = |one: &Quantity| matches!(one, Quantity::ParameterGradient(_));
        let next = self.next.front();
        let is_next_large = next.is_some_and(|next| next.capture.iter().all(is_large));
        self.held_bytes() > if is_next_large { 0 } else { HELD }
    }

    /// Bytes of answers that are in memory.
    fn held_bytes(&self) -> usize {
        let held = self.held.iter().map(|(_, answer)| bytes(answer));
        self.taken + held.sum::<usize>()
    }
}

fn bytes(answer: &Result<Trace, PluginError>) -> usize {
    let values = answer.iter().flat_map(|trace| trace.values.values());
    values.map(|value| value.bytes().len()).sum()
}

/// When this is gone, by a panic too, nothing more is asked, and nobody waits for what was.
struct End<'a, 'b>(&'a Ahead<'b>);

impl Drop for End<'_, '_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.next.clear();
        state.asked = None;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};
    use std::time::Duration;

    use tlbench_sdk::{INPUT_IDS, Tensor};

    use super::*;

    /// Shows the token that it is asked about, and remembers whom it was asked by.
    #[derive(Default)]
    struct Echo(Mutex<Vec<(i64, thread::ThreadId)>>);

    impl TraceSource for Echo {
        fn info(&self) -> SourceInfo {
            SourceInfo::default()
        }

        fn trace(&self, request: &TraceRequest) -> Result<Trace, PluginError> {
            let token = request.inputs[INPUT_IDS].to_f64_vec()[0];
            let asked = (token as i64, thread::current().id());
            self.0.lock().unwrap().push(asked);
            assert!(token >= 0.0, "a token below 0");
            let values = [(Quantity::Logits, Tensor::scalar(token))].into();
            Ok(Trace {
                values,
                ..Trace::default()
            })
        }
    }

    fn question(token: i64) -> TraceRequest {
        let inputs = [(INPUT_IDS.to_owned(), Tensor::vector(vec![token]))].into();
        TraceRequest::new(inputs, vec![Quantity::Logits])
    }

    fn answered(source: &dyn TraceSource, token: i64) -> f64 {
        let trace = source.trace(&question(token)).unwrap();
        trace.value(&Quantity::Logits).unwrap().to_f64_vec()[0]
    }

    #[test]
    fn every_question_is_answered_once_whatever_the_order_in_which_it_is_asked() {
        for asked in [[1, 2, 3, 2], [3, 1, 2, 2], [2, 2, 3, 1]] {
            let echo = Echo::default();
            let next = [1, 2, 2, 3].map(question).to_vec();
            let answers = ahead(&echo, next, |source| asked.map(|one| answered(source, one)));
            assert_eq!(answers, asked.map(|token| token as f64));
        }
    }

    #[test]
    fn what_was_not_announced_is_asked_by_whoever_wants_it() {
        let echo = Echo::default();
        ahead(&echo, vec![question(1)], |source| {
            assert_eq!((answered(source, 7), answered(source, 1)), (7.0, 1.0));
        });
        let asked = echo.0.into_inner().unwrap();
        assert!(asked.contains(&(7, thread::current().id())));
    }

    #[test]
    fn gradients_of_parameters_are_asked_for_when_nothing_else_is_there() {
        let echo = Echo::default();
        let gradient = TraceRequest {
            capture: vec![Quantity::ParameterGradient("W_E".to_owned())],
            ..question(2)
        };
        let is_asked = || echo.0.lock().unwrap().iter().any(|(token, _)| *token == 2);
        let next = vec![question(1), gradient.clone()];
        ahead(&echo, next, |source| {
            answered(source, 1);
            thread::sleep(Duration::from_millis(20));
            assert!(!is_asked(), "beside the answer that is judged");
            source.trace(&gradient).unwrap();
            assert!(is_asked());
        });
    }

    #[test]
    fn nothing_waits_for_work_that_has_ended() {
        let echo = Echo::default();
        ahead(&echo, (0..1000).map(question).collect(), |_| ());
        assert!(echo.0.into_inner().unwrap().len() <= 1000);
    }

    #[test]
    fn a_panic_ahead_leaves_nobody_waiting() {
        let echo = Echo::default();
        let next = vec![question(-1), question(2)];
        let work = |source: &dyn TraceSource| {
            while echo
                .0
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .is_empty()
            {
                thread::yield_now();
            }
            answered(source, 2)
        };
        let run = || ahead(&echo, next, work);
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
    }
}
