//! How many processors there are, asked once.
//!
//! candle asks before each matrix product, and the `num_cpus` of crates.io reads and parses `/proc/cpuinfo` each time: a
//! quarter of a run of small models. This one stands in its place in the workspace's `[patch.crates-io]`. It has what
//! candle-core calls; whoever links tlbench without the patch is slower, and computes the same.

use std::num::NonZero;
use std::sync::OnceLock;
use std::thread::available_parallelism;

/// Threads that can run at once.
pub fn get() -> usize {
    static COUNT: OnceLock<usize> = OnceLock::new();
    *COUNT.get_or_init(|| available_parallelism().map_or(1, NonZero::get))
}

/// The same: how many of them share a core is not told apart, and a product is cut in pieces of which no result depends.
pub fn get_physical() -> usize {
    get()
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
}
