//! Element-wise operations stay in the thread that asks for them.

use candle_core::utils::barrier_pool;

/// candle shares large ones out among threads that wait for each other, and then for the next one, by spinning: they take
/// the processor from whatever else runs, and gain nothing. Matrix products have a pool of another kind, and keep it.
pub(crate) fn compute_in_one_thread() {
    num_cpus::as_if_one(|| {
        barrier_pool();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_thread_waits_for_element_wise_operations() {
        compute_in_one_thread();
        assert_eq!(barrier_pool().n_workers(), 0);
    }
}
