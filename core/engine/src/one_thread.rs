//! candle's threads for element-wise operations, of which there are none.

use candle_core::utils::barrier_pool;

/// Sets candle's pool for element-wise operations up without a thread. Its threads spin while they wait for the next
/// operation, which takes the processor from the reference that answers at the same time. Matrix products have another pool.
pub(crate) fn without_spinning_threads() {
    num_cpus::as_if_one(|| {
        barrier_pool();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn element_wise_operations_have_no_threads() {
        without_spinning_threads();
        assert_eq!(barrier_pool().n_workers(), 0);
    }
}
