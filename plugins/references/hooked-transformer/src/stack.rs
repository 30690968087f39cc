//! Threads with room for deep recursion.

use std::thread::{self, Scope, ScopedJoinHandle};

use crate::error::{Error, Result};

/// candle walks a graph, and drops it, by recursion: a node takes a frame of the stack.
const STACK: usize = 1 << 28;

/// Runs `work` on a thread of its own with a large stack.
pub(crate) fn with_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| joined(spawned(scope, work)?))
}

/// What `work` makes of each of `items`, all at once; each has a thread of its own with a large stack.
pub(crate) fn at_once<I: Sync, T: Send>(
    items: &[I],
    work: impl Fn(&I) -> Result<T> + Sync,
) -> Result<Vec<T>> {
    if let [item] = items {
        return Ok(vec![work(item)?]);
    }
    let work = &work;
    thread::scope(|scope| {
        let threads = items.iter().map(|item| spawned(scope, move || work(item)));
        let threads = threads.collect::<Result<Vec<_>>>()?;
        threads.into_iter().map(joined).collect()
    })
}

fn spawned<'scope, T: Send + 'scope>(
    scope: &'scope Scope<'scope, '_>,
    work: impl FnOnce() -> Result<T> + Send + 'scope,
) -> Result<ScopedJoinHandle<'scope, Result<T>>> {
    let thread = thread::Builder::new()
        .stack_size(STACK)
        .spawn_scoped(scope, work);
    thread.map_err(|error| Error::Thread(error.to_string()))
}

fn joined<T>(thread: ScopedJoinHandle<'_, Result<T>>) -> Result<T> {
    thread
        .join()
        .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}
