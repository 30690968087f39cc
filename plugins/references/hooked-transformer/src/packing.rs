//! How matrix products walk through the weights.

/// Has the matrix kernel copy a block of a matrix together before it multiplies with it, however few rows there are. By default
/// it does so from 49 rows on, and steps through the whole of it for fewer, which takes up to twice the time.
pub(crate) fn pack_matrices() {
    gemm::set_lhs_packing_threshold_single_thread(0);
    gemm::set_lhs_packing_threshold_multi_thread(0);
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Tensor};

    use super::*;

    #[test]
    fn sums_are_the_same() {
        for rows in [1, 20, 48] {
            let noise =
                |shape: (usize, usize)| Tensor::randn(0.0_f32, 1.0, shape, &Device::Cpu).unwrap();
            let (left, matrix) = (noise((rows, 768)), noise((768, 320)));
            let product = || left.matmul(&matrix).unwrap().to_vec2::<f32>().unwrap();
            gemm::set_lhs_packing_threshold_single_thread(8);
            gemm::set_lhs_packing_threshold_multi_thread(16);
            let unpacked = product();
            pack_matrices();
            assert_eq!(product(), unpacked, "{rows} rows");
        }
    }
}
