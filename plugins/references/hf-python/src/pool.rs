//! Pythons that are kept from one model to the next: to import torch takes seconds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tlbench_sdk::PluginError;

use crate::options::Options;
use crate::worker::Worker;

/// A Python that serves one model, and is free for the next when its last other holder lets go.
pub(crate) type Shared = Arc<Mutex<Worker>>;

/// The Pythons of one run; they end with it.
#[derive(Default)]
pub(crate) struct Pool(Mutex<Vec<Shared>>);

impl Pool {
    /// A Python of that name that is free, or a new one.
    pub(crate) fn take(
        &self,
        options: &Options,
        progress: &dyn Fn(&str),
    ) -> Result<Shared, PluginError> {
        if let Some(free) = self.take_free(options) {
            lock(&free).set_timeout(options.timeout);
            return Ok(free);
        }
        // Others are not kept waiting meanwhile.
        let started = Arc::new(Mutex::new(Worker::start(options, progress)?));
        lock(&self.0).push(Arc::clone(&started));
        Ok(started)
    }

    fn take_free(&self, options: &Options) -> Option<Shared> {
        let mut all = lock(&self.0);
        // One that failed its last model is of no use to the next, nor one that may be in the middle of an answer.
        all.retain(|shared| !is_free(shared) || (!shared.is_poisoned() && lock(shared).is_idle()));
        all.iter()
            .find(|shared| is_free(shared) && lock(shared).runs(&options.python))
            .cloned()
    }
}

fn is_free(shared: &Shared) -> bool {
    Arc::strong_count(shared) == 1
}

/// Whoever panicked before, this one goes on.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
