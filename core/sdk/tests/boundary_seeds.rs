//! What the fuzz target of the boundary starts from is understood, and every kind of message is among it.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use tlbench_sdk::fuzzing::reread;
use tlbench_sdk::{Tensor, TensorMap};

#[test]
fn every_seed_is_a_message_that_survives() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/seeds/boundary");
    let mut kinds = BTreeSet::new();
    for seed in fs::read_dir(folder).unwrap() {
        let path = seed.unwrap().path();
        let text = fs::read_to_string(&path).unwrap();
        let (head, json) = text.split_once("\n\n").unwrap();
        let mut lines = head.lines();
        let kind = lines.next().unwrap();
        let tensors: TensorMap = lines
            .map(|name| (name.to_owned(), Tensor::scalar(1.0)))
            .collect();
        let (again, kept) = reread(kind, json, &tensors).unwrap().unwrap();
        assert_eq!(kept, tensors, "{}", path.display());
        assert!(!again.is_empty());
        kinds.insert(kind.to_owned());
    }
    assert_eq!(kinds.len(), 20);
}
