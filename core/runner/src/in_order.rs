//! Models that are judged at the same time, and what happens to them in the order of the config.

use std::any::Any;
use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::{self, available_parallelism};

use crate::events::{Event, EventSink};

/// How many lanes keep the machine busy: as many as there are processors, or as candle and rayon may use.
pub(crate) fn lanes() -> usize {
    let limit = std::env::var("RAYON_NUM_THREADS").ok();
    let limit = limit.and_then(|count| count.parse::<usize>().ok());
    let processors = || available_parallelism().map_or(1, NonZero::get);
    limit.filter(|&count| count > 0).unwrap_or_else(processors)
}

/// Does `work` for each of `0..count`, on as many threads as `lanes` says, the first ones first. What one panicked with
/// goes to `panicked`, and the others go on.
pub(crate) fn in_lanes(
    count: usize,
    lanes: usize,
    work: impl Fn(usize) + Sync,
    panicked: impl Fn(usize, String) + Sync,
) {
    let next = AtomicUsize::new(0);
    let lane = || {
        loop {
            let index = next.fetch_add(1, Ordering::Relaxed);
            if index >= count {
                return;
            }
            if let Err(payload) = catch_unwind(AssertUnwindSafe(|| work(index))) {
                panicked(index, text_of(payload.as_ref()));
            }
        }
    };
    thread::scope(|scope| {
        // This thread is a lane as well.
        for _ in 1..lanes.min(count) {
            scope.spawn(lane);
        }
        lane();
    });
}

fn text_of(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().map(ToString::to_string);
    text.or_else(|| payload.downcast_ref::<String>().cloned())
        .unwrap_or_else(|| "without a message".to_owned())
}

/// Passes the events of several parties on, those of the first party first. What tells of progress alone is passed on at
/// once, for those who wait.
pub(crate) struct InOrder<'a> {
    sink: &'a dyn EventSink,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Whose events are passed on as they happen. All before have finished.
    turn: usize,
    /// What happened to those after.
    waiting: BTreeMap<usize, Waiting>,
}

#[derive(Default)]
struct Waiting {
    events: Vec<Event>,
    has_finished: bool,
}

impl<'a> InOrder<'a> {
    pub(crate) fn new(sink: &'a dyn EventSink) -> Self {
        Self {
            sink,
            state: Mutex::default(),
        }
    }

    /// The sink of one party.
    pub(crate) fn party(&self, index: usize) -> Party<'_> {
        Party { order: self, index }
    }

    /// Nothing more comes from that party.
    pub(crate) fn finish(&self, index: usize) {
        let mut state = self.state();
        state.waiting.entry(index).or_default().has_finished = true;
        loop {
            let turn = state.turn;
            let Some(next) = state.waiting.get_mut(&turn) else {
                return;
            };
            for event in std::mem::take(&mut next.events) {
                self.sink.emit(event);
            }
            if !next.has_finished {
                return;
            }
            state.waiting.remove(&turn);
            state.turn += 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One of those whose events are put in order.
pub(crate) struct Party<'a> {
    order: &'a InOrder<'a>,
    index: usize,
}

impl EventSink for Party<'_> {
    fn emit(&self, event: Event) {
        if matches!(event, Event::Progress { .. } | Event::Download { .. }) {
            self.order.sink.emit(event);
            return;
        }
        let mut state = self.order.state();
        if state.turn == self.index {
            // Under the lock, so that nobody's come in between.
            self.order.sink.emit(event);
        } else {
            let waiting = state.waiting.entry(self.index).or_default();
            waiting.events.push(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::events::EventLog;

    fn note(index: usize, number: usize) -> Event {
        Event::Note {
            model: index.to_string(),
            message: number.to_string(),
        }
    }

    fn told(log: &EventLog) -> Vec<(usize, usize)> {
        let events = log.events().into_iter();
        events
            .filter_map(|event| match event {
                Event::Note { model, message } => {
                    Some((model.parse().unwrap(), message.parse().unwrap()))
                }
                _ => None,
            })
            .collect()
    }

    proptest! {
        /// Party after party, whatever happens first: `who` does the next thing, of which each does three and finishes.
        #[test]
        fn events_stand_in_the_order_of_the_parties(who in prop::collection::vec(0..4_usize, 0..40)) {
            let log = EventLog::default();
            let order = InOrder::new(&log);
            let mut done = [0; 4];
            let all = who.into_iter().chain((0..4).flat_map(|index| [index; 4]));
            for index in all {
                match done[index] {
                    0..3 => order.party(index).emit(note(index, done[index])),
                    3 => order.finish(index),
                    _ => continue,
                }
                done[index] += 1;
            }
            let expected: Vec<_> = (0..4).flat_map(|index| (0..3).map(move |n| (index, n))).collect();
            prop_assert_eq!(told(&log), expected);
        }
    }

    #[test]
    fn the_first_party_is_heard_at_once_and_so_is_anybodys_progress() {
        let log = EventLog::default();
        let order = InOrder::new(&log);
        order.party(1).emit(note(1, 0));
        order.party(0).emit(note(0, 0));
        order.party(1).emit(Event::Progress {
            message: "reading".into(),
        });
        assert_eq!(told(&log), [(0, 0)]);
        assert_eq!(log.events().len(), 2);
        order.finish(0);
        order.party(1).emit(note(1, 1));
        assert_eq!(told(&log), [(0, 0), (1, 0), (1, 1)]);
    }

    #[test]
    fn all_is_done_once_and_a_panic_is_told_and_costs_nobody_else_anything() {
        for lanes in [1, 2, 3, 20] {
            let (done, failed) = (Mutex::new(Vec::new()), Mutex::new(Vec::new()));
            let work = |index| {
                assert!(index != 4, "no {index}");
                done.lock().unwrap().push(index);
            };
            let panicked = |index, message| failed.lock().unwrap().push((index, message));
            in_lanes(10, lanes, work, panicked);
            let mut done = done.into_inner().unwrap();
            done.sort_unstable();
            assert_eq!(done, [0, 1, 2, 3, 5, 6, 7, 8, 9], "{lanes} lanes");
            assert_eq!(failed.into_inner().unwrap(), [(4, "no 4".to_owned())]);
        }
    }
}
