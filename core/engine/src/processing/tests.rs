//! What cannot be seen from outside: which memory is shared, and which models.

use std::collections::BTreeMap;
use std::sync::{Arc, Barrier};
use std::thread;

use candle_core::{CpuStorage, Storage, Tensor};
use tlbench_sdk::{DType, ModelSpec, Processing, ProcessingStep};

use super::process;
use crate::canonical_weights::CanonicalWeights;
use crate::convert::to_candle;
use crate::model::Model;
use crate::precision::Precision;
use crate::processed_weights::ProcessedWeights;
use crate::weights::Parameters;

/// An embedding, a norm, and a head that is tied.
fn spec() -> ModelSpec {
    let norm = serde_json::json!({
        "kind": "layer_norm", "eps": 1e-5, "module": null,
        "gain": { "names": ["norm.w"], "shape": [3] },
        "bias": { "names": ["norm.b"], "shape": [3] },
    });
    let table = serde_json::json!({ "names": ["table"], "shape": [5, 3] });
    let spec = serde_json::json!({
        "architecture": "Tied", "d_model": 3, "d_vocab": 5, "n_ctx": null,
        "embedding": { "tokens": table, "module": null },
        "layers": [], "final_norm": norm,
        "unembed": { "projection": { "weight": table, "bias": null, "tap": null }, "d_vocab_out": 5 },
    });
    serde_json::from_value(spec).unwrap()
}

fn raw() -> CanonicalWeights {
    let vector = |count: u8| (0..count).map(|i| f32::from(i * i)).collect::<Vec<_>>();
    let tensors = [("table", 15), ("norm.w", 3), ("norm.b", 3)].map(|(name, count)| {
        let tensor = tlbench_sdk::Tensor::vector(vector(count));
        let tensor = if count == 15 {
            tensor.reshaped(&[5, 3]).unwrap()
        } else {
            tensor
        };
        (name.to_owned(), to_candle(&tensor).unwrap())
    });
    CanonicalWeights {
        spec: spec(),
        parameters: Parameters::from(BTreeMap::from(tensors)),
        precision: Precision::new(DType::F32).unwrap(),
    }
}

fn address(tensor: &Tensor) -> usize {
    let (storage, _) = tensor.storage_and_layout();
    match &*storage {
        Storage::Cpu(CpuStorage::F32(values)) => values.as_ptr().addr(),
        _ => panic!("expected f32"),
    }
}

#[test]
fn what_no_step_changes_keeps_its_memory_and_a_tied_head_comes_apart() {
    let raw = raw();
    let table = address(raw.parameters.get("table").unwrap());
    let step = |step| Processing::from_iter([step]);
    let weights = raw.processed(&step(ProcessingStep::FoldLn)).unwrap();
    assert_eq!(address(weights.parameters.get("embed.W_E").unwrap()), table);
    assert_ne!(
        address(weights.parameters.get("unembed.W_U").unwrap()),
        table
    );
    let weights = raw
        .processed(&step(ProcessingStep::CenterWritingWeights))
        .unwrap();
    assert_ne!(address(weights.parameters.get("embed.W_E").unwrap()), table);
    assert_eq!(
        address(weights.parameters.get("unembed.W_U").unwrap()),
        table
    );
    let norm = address(raw.parameters.get("norm.w").unwrap());
    assert_eq!(address(weights.parameters.get("ln_final.w").unwrap()), norm);
}

#[test]
fn the_function_of_no_steps_renames_and_does_nothing_else() {
    let raw = raw();
    let CanonicalWeights {
        spec, parameters, ..
    } = process(&raw, &Processing::raw()).unwrap();
    assert_eq!(spec.unembed.projection.weight.names, ["unembed.W_U"]);
    let table = address(raw.parameters.get("table").unwrap());
    assert_eq!(address(parameters.get("embed.W_E").unwrap()), table);
    assert_eq!(address(parameters.get("unembed.W_U").unwrap()), table);
}

#[test]
fn who_want_the_same_at_once_get_one_model() {
    let processing = Processing::from_iter([ProcessingStep::FoldLn]);
    for _ in 0..2000 {
        let raw = Arc::new(Model::assemble(raw()).unwrap());
        let (processed, together) = (ProcessedWeights::of(raw), Barrier::new(4));
        let models = thread::scope(|scope| {
            let want = || {
                together.wait();
                processed.after(&processing).unwrap().0
            };
            let wanting = [(); 4].map(|()| scope.spawn(want));
            wanting.map(|one| one.join().unwrap())
        });
        assert!(models.iter().all(|one| Arc::ptr_eq(one, &models[0])));
    }
}
