//! What crosses the plugin boundary: a message is refused, or is the same when it crosses again.
//!
//! An input is text: the kind of the message, the names of the tensors beside it, one a line, an empty line, and JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use tlbench_sdk::fuzzing::reread;
use tlbench_sdk::{Tensor, TensorMap};

fuzz_target!(|text: &str| {
    let Some((head, json)) = text.split_once("\n\n") else {
        return;
    };
    let mut lines = head.lines();
    let kind = lines.next().unwrap_or_default();
    let tensors: TensorMap = lines
        .zip(0_i64..)
        .map(|(name, value)| (name.to_owned(), Tensor::vector(vec![value])))
        .collect();
    let Some(Ok((json, tensors))) = reread(kind, json, &tensors) else {
        return;
    };
    let again = reread(kind, &json, &tensors).expect("the same kind");
    let again = again.expect("what was written is understood");
    assert_eq!((json, tensors), again);
});
