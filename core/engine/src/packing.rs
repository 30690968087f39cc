//! How matrix products walk through the weights.

/// Has the matrix kernel copy a block of the weights together before it multiplies with it, however few rows there are. By
/// default it does so from 49 rows on; below, it steps from row to row of the matrix as it multiplies, which takes up to
/// twice the time where the weights do not fit into a cache. What is summed in which order is the same.
pub(crate) fn pack_weights() {
    gemm::set_lhs_packing_threshold_single_thread(0);
    gemm::set_lhs_packing_threshold_multi_thread(0);
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};
    use tlbench_sdk::noise;

    use super::*;

    #[test]
    fn packing_changes_no_bit() {
        let matrix = |seed, shape: (usize, usize)| {
            let values = noise(seed, shape.0 * shape.1).into_iter();
            let values = values.map(|value| value as f32).collect::<Vec<_>>();
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        for rows in [1, 3, 20, 48] {
            let (x, weights) = (matrix(1, (rows, 768)), matrix(2, (768, 320)));
            let product = || x.matmul(&weights).unwrap().to_vec2::<f32>().unwrap();
            gemm::set_lhs_packing_threshold_single_thread(8);
            gemm::set_lhs_packing_threshold_multi_thread(16);
            let unpacked = product();
            pack_weights();
            assert_eq!(product(), unpacked, "{rows} rows");
        }
    }
}
