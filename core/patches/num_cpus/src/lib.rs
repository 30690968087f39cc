//! How many processors there are, asked once.
//!
//! candle asks before each matrix product, and the `num_cpus` of crates.io reads and parses `/proc/cpuinfo` each time: a
//! quarter of a run of small models. This one stands in its place in the workspace's `[patch.crates-io]`. It has what
//! candle-core calls; whoever links tlbench without the patch is slower, and computes the same.

use std::cell::Cell;
use std::num::NonZero;
use std::sync::OnceLock;
use std::thread::available_parallelism;

/// Threads that can run at once.
pub fn get() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| available_parallelism().map_or(1, NonZero::get))
}

/// The same, but within [`as_if_one`]: how many of them share a core is not told apart, and a product is cut in pieces of
/// which no result depends.
pub fn get_physical() -> usize {
    if COUNTS_ONE.get() { 1 } else { get() }
}

thread_local! {
    static COUNTS_ONE: Cell<bool> = const { Cell::new(false) };
}

/// Does `work`, during which this thread sees one processor. What candle sets up then has no threads of its own.
pub fn as_if_one<T>(work: impl FnOnce() -> T) -> T {
    let before = COUNTS_ONE.replace(true);
    let done = work();
    COUNTS_ONE.set(before);
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_is_one_at_least_and_asking_again_reads_nothing() {
        let first = get();
        assert!(first > 0);
        assert_eq!([get(), get_physical()], [first, first]);
    }

    #[test]
    fn there_is_one_while_work_is_done_as_if() {
        let within = || (get_physical(), as_if_one(get_physical), get_physical());
        assert_eq!(as_if_one(within), (1, 1, 1));
        assert_eq!(get_physical(), get());
    }
}
