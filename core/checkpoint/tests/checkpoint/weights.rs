//! Tensors come out of a file exactly as they lie in it.

use half::{bf16, f16};
use proptest::prelude::*;
use safetensors::Dtype;
use safetensors::tensor::TensorView;
use tlbench_checkpoint::Weights;
use tlbench_sdk::spec::TensorSource;
use tlbench_sdk::{DType, Tensor};

use crate::support::{Folder, two_tensors};

/// A file with one tensor `x`.
fn stored(dtype: Dtype, shape: &[usize], bytes: &[u8]) -> (Folder, Weights) {
    let view = TensorView::new(dtype, shape.to_vec(), bytes).unwrap();
    let folder = Folder::new();
    let file = folder.write(
        "x.safetensors",
        safetensors::serialize([("x", view)], None).unwrap(),
    );
    let weights = Weights::open(file).unwrap();
    (folder, weights)
}

#[test]
fn names_shapes_types_and_metadata() {
    let folder = Folder::new();
    let weights = Weights::open(folder.write("model.safetensors", two_tensors())).unwrap();
    assert_eq!(weights.names().collect::<Vec<_>>(), ["a", "b"]);
    assert_eq!(weights.shape("a").unwrap(), [2, 2]);
    assert_eq!(weights.dtype("b").unwrap(), DType::BF16);
    assert_eq!(weights.metadata()["format"], "pt");
    let b = vec![bf16::from_f32(1.0), bf16::from_f32(-2.0), bf16::INFINITY];
    assert_eq!(weights.read("b").unwrap(), Tensor::vector(b));
    assert_eq!(weights.read_f32("b").unwrap(), [1.0, -2.0, f32::INFINITY]);
}

#[test]
fn empty_and_zero_dimensional_tensors() {
    let (_folder, weights) = stored(Dtype::F32, &[], &1.5_f32.to_le_bytes());
    assert_eq!(weights.read("x").unwrap(), Tensor::scalar(1.5_f32));
    let (_folder, weights) = stored(Dtype::F16, &[0, 7], &[]);
    assert_eq!(
        weights.read("x").unwrap(),
        Tensor::from_vec::<f16>(vec![], &[0, 7]).unwrap()
    );
    assert!(weights.read_f64("x").unwrap().is_empty());
}

#[test]
fn conversion_works_across_the_pieces_in_which_it_is_done() {
    let values: Vec<f16> = (0..200_001_u32)
        .map(|index| f16::from_bits((index % 31_744) as u16))
        .collect();
    let bytes: Vec<u8> = values
        .iter()
        .flat_map(|value| value.to_le_bytes())
        .collect();
    let (_folder, weights) = stored(Dtype::F16, &[values.len()], &bytes);
    let expected: Vec<f32> = values.iter().map(|value| value.to_f32()).collect();
    assert_eq!(weights.read_f32("x").unwrap(), expected);
}

#[test]
fn a_source_takes_the_first_of_its_names_that_is_there() {
    let folder = Folder::new();
    let weights = Weights::open(folder.write("model.safetensors", two_tensors())).unwrap();
    assert_eq!(
        weights
            .resolve(&TensorSource::new(["gone", "a", "b"], [2, 2]))
            .unwrap(),
        "a"
    );
}

proptest! {
    #[test]
    fn every_bit_pattern_survives(bits in prop::collection::vec(any::<u32>(), 0..50)) {
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        let (_folder, weights) = stored(Dtype::F32, &[bits.len()], &bytes);
        let read = weights.read("x").unwrap();
        prop_assert_eq!(read.bytes(), &bytes);
        let widened: Vec<u64> = weights.read_f64("x").unwrap().into_iter().map(f64::to_bits).collect();
        prop_assert_eq!(widened, bits.iter().map(|&bits| f64::from(f32::from_bits(bits)).to_bits()).collect::<Vec<_>>());
    }

    #[test]
    fn low_precision_widens_exactly(bits in prop::collection::vec(any::<u16>(), 0..50)) {
        let bytes: Vec<u8> = bits.iter().flat_map(|bits| bits.to_le_bytes()).collect();
        for (dtype, exact) in [
            (Dtype::F16, (|bits| f16::from_bits(bits).to_f64()) as fn(u16) -> f64),
            (Dtype::BF16, |bits| bf16::from_bits(bits).to_f64()),
        ] {
            let (_folder, weights) = stored(dtype, &[bits.len()], &bytes);
            let expected: Vec<f64> = bits.iter().map(|&bits| exact(bits)).collect();
            let narrow = weights.read_f32("x").unwrap();
            for (found, expected) in narrow.iter().map(|&value| f64::from(value)).zip(&expected) {
                prop_assert!(found == *expected || (found.is_nan() && expected.is_nan()));
            }
            for (found, expected) in weights.read_f64("x").unwrap().iter().zip(&expected) {
                prop_assert!(found == expected || (found.is_nan() && expected.is_nan()));
            }
        }
    }
}
