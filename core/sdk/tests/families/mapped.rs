//! How values of a processed model follow from those of the raw one, where families differ.

use tlbench_sdk::mapped::Mapping;
use tlbench_sdk::{Processing, ProcessingStep, Quantity};

use crate::bloom;

#[test]
fn a_value_bias_that_a_folded_norm_has_made_moves_too() {
    let mut spec = bloom::spec();
    for branch in spec
        .layers
        .iter_mut()
        .filter_map(|layer| layer.attn.as_mut())
    {
        branch.body.v.bias = None;
    }
    let is_raw = |steps: &[ProcessingStep], hook: &str| {
        let processing: Processing = steps.iter().copied().collect();
        let quantity = Quantity::hook(hook);
        let mapping = Mapping::new(&spec, &processing, &quantity).unwrap();
        mapping.is_identity(&quantity)
    };
    for hook in ["blocks.1.attn.hook_v", "blocks.1.attn.hook_z"] {
        let biases = ProcessingStep::FoldValueBiases;
        assert!(is_raw(&[biases], hook), "{hook}");
        assert!(!is_raw(&[ProcessingStep::FoldLn, biases], hook), "{hook}");
    }
}
