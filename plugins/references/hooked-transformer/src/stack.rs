//! Room for deep recursion.

use std::thread;

use crate::error::{Error, Result};

/// candle walks a graph, and drops it, by recursion: a node takes a frame of the stack.
const STACK: usize = 1 << 28;

/// Runs `work` on a thread of its own with a large stack.
pub(crate) fn with_large_stack<T: Send>(work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    thread::scope(|scope| {
        let thread = thread::Builder::new()
            .stack_size(STACK)
            .spawn_scoped(scope, work);
        let thread = thread.map_err(|error| Error::Thread(error.to_string()))?;
        thread
            .join()
            .unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
