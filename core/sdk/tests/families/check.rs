//! What holds for every spec, whatever the family.

use std::collections::BTreeMap;

use tlbench_sdk::spec::TensorSource;
use tlbench_sdk::{ModelSpec, Tensor};

/// Each element of each tensor is taken by one component, but for the embedding, which a tied head takes as well.
pub(crate) fn taken_once(family: &str, spec: &ModelSpec) {
    let embedding = &spec.embedding.tokens.names[0];
    let tied = spec.unembed.projection.weight.names.contains(embedding);
    let mut taken: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    let sources = spec.sources();
    for (role, source) in &sources {
        // A checkpoint with a tied head has no tensor of the head's own.
        let tied_head = tied && role == "unembed.weight";
        let name = if tied_head {
            embedding
        } else {
            &source.names[0]
        };
        let counts = taken
            .entry(name)
            .or_insert_with(|| vec![0; source.shape.iter().product()]);
        for place in places(source) {
            counts[place] += 1;
        }
    }
    for (name, counts) in taken {
        let expected = if tied && name == embedding { 2 } else { 1 };
        let all = counts.iter().all(|&count| count == expected);
        assert!(all, "{family}: {name}");
    }
}

/// Which elements of the stored tensor the source takes.
fn places(source: &TensorSource) -> Vec<usize> {
    let all = (0_i64..).take(source.shape.iter().product()).collect();
    let whole = Tensor::from_vec::<i64>(all, &source.shape).unwrap();
    let part = source
        .cut
        .iter()
        .try_fold(whole, |whole, cut| cut.apply(&whole))
        .unwrap();
    let places = part.as_slice::<i64>().unwrap();
    places
        .iter()
        .map(|&place| usize::try_from(place).unwrap())
        .collect()
}
