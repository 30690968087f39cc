//! Room in memory: for one large model, or for several small ones.

use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// What all models of a run share.
#[derive(Default)]
pub(crate) struct Room(RwLock<()>);

/// The place of one model, until it is dropped.
#[expect(dead_code, reason = "it is held, not read")]
pub(crate) enum Place<'a> {
    /// Beside other small ones.
    Shared(RwLockReadGuard<'a, ()>),
    Alone(RwLockWriteGuard<'a, ()>),
}

impl Room {
    /// Waits until there is room.
    pub(crate) fn take(&self, is_large: bool) -> Place<'_> {
        if is_large {
            Place::Alone(self.0.write().unwrap_or_else(PoisonError::into_inner))
        } else {
            Place::Shared(self.0.read().unwrap_or_else(PoisonError::into_inner))
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use super::*;

    #[test]
    fn a_large_model_is_alone() {
        let (room, small, large) = (Room::default(), AtomicUsize::new(0), AtomicUsize::new(0));
        let judge = |is_large: bool| {
            let _place = room.take(is_large);
            let own = if is_large { &large } else { &small };
            own.fetch_add(1, Ordering::SeqCst);
            thread::yield_now();
            let (small, large) = (small.load(Ordering::SeqCst), large.load(Ordering::SeqCst));
            assert!(
                large == 0 || (small, large) == (0, 1),
                "{small} small, {large} large"
            );
            own.fetch_sub(1, Ordering::SeqCst);
        };
        thread::scope(|scope| {
            for lane in 0..4 {
                let judge = &judge;
                scope.spawn(move || (0..200).for_each(|index| judge((index + lane) % 5 == 0)));
            }
        });
    }

    #[test]
    fn small_ones_share() {
        let room = Room::default();
        let first = room.take(false);
        thread::scope(|scope| {
            scope.spawn(|| drop(room.take(false)));
        });
        drop(first);
    }
}
