//! Whatever a file holds: it is read, or it is refused. Nothing panics, and nothing is believed that is not so.

use std::fs;

use proptest::prelude::*;
use proptest::sample::Index;
use safetensors::SafeTensors;
use tlbench_checkpoint::{HeaderProblem, ModelFolder, Recording, Tokenizer, Weights};
use tlbench_sdk::DType;

use crate::support::{Folder, recording, two_tensors};

/// One thing that can happen to a file.
#[derive(Clone, Debug)]
enum Mishap {
    Truncate(Index),
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Length(u64),
    /// A digit becomes another one: the JSON stays JSON, and says something else.
    Digit(Index, u8),
    /// A word becomes one that means something elsewhere.
    Word(Index, &'static str),
}

const WORDS: [&str; 12] = [
    "null",
    "[]",
    "{}",
    "-1",
    "1e400",
    "18446744073709551616",
    "\"F64\"",
    "\"logits\"",
    "\"hook:\"",
    "[0,0]",
    "\"__metadata__\"",
    "\"0/inputs/input_ids\"",
];

fn mishap() -> impl Strategy<Value = Mishap> {
    let lengths = prop_oneof![0..400_u64, any::<u64>(), Just(1 << 63), Just(100_000_001)];
    prop_oneof![
        any::<Index>().prop_map(Mishap::Truncate),
        (any::<Index>(), any::<u8>()).prop_map(|(at, bits)| Mishap::Flip(at, bits)),
        (any::<Index>(), prop::collection::vec(any::<u8>(), 1..9))
            .prop_map(|(at, new)| Mishap::Insert(at, new)),
        (any::<Index>(), 1..40_usize).prop_map(|(at, count)| Mishap::Remove(at, count)),
        lengths.prop_map(Mishap::Length),
        (any::<Index>(), b'0'..=b'9').prop_map(|(at, digit)| Mishap::Digit(at, digit)),
        (any::<Index>(), prop::sample::select(&WORDS[..]))
            .prop_map(|(at, word)| Mishap::Word(at, word)),
    ]
}

fn mangle(mut bytes: Vec<u8>, mishaps: &[Mishap]) -> Vec<u8> {
    for mishap in mishaps {
        if bytes.is_empty() {
            break;
        }
        match mishap {
            Mishap::Truncate(at) => bytes.truncate(at.index(bytes.len())),
            Mishap::Flip(at, bits) => {
                let at = at.index(bytes.len());
                bytes[at] ^= bits;
            }
            Mishap::Insert(at, new) => {
                let at = at.index(bytes.len());
                bytes.splice(at..at, new.iter().copied());
            }
            Mishap::Remove(at, count) => {
                let at = at.index(bytes.len());
                let end = (at + count).min(bytes.len());
                bytes.drain(at..end);
            }
            Mishap::Length(length) => {
                let field = bytes.len().min(8);
                bytes[..field].copy_from_slice(&length.to_le_bytes()[..field]);
            }
            Mishap::Digit(at, digit) => {
                let digits: Vec<usize> = (0..bytes.len())
                    .filter(|&at| bytes[at].is_ascii_digit())
                    .collect();
                if !digits.is_empty() {
                    bytes[*at.get(&digits)] = *digit;
                }
            }
            Mishap::Word(at, word) => replace_value(&mut bytes, *at, word),
        }
    }
    bytes
}

/// Puts `word` in the place of a JSON value, and sets the length of the header right again.
fn replace_value(bytes: &mut Vec<u8>, at: Index, word: &str) {
    let begins: Vec<usize> = (8..bytes.len())
        .filter(|&at| b":,[".contains(&bytes[at - 1]))
        .collect();
    if begins.is_empty() {
        return;
    }
    let begin = *at.get(&begins);
    let end = (begin..bytes.len())
        .find(|&at| b",]}".contains(&bytes[at]))
        .unwrap_or(bytes.len());
    bytes.splice(begin..end, word.bytes());
    let length = u64::from_le_bytes(bytes[..8].try_into().unwrap());
    let grown = length
        .wrapping_add(word.len() as u64)
        .wrapping_sub((end - begin) as u64);
    bytes[..8].copy_from_slice(&grown.to_le_bytes());
}

fn mishaps() -> impl Strategy<Value = Vec<Mishap>> {
    prop::collection::vec(mishap(), 1..4)
}

fn recording_bytes() -> Vec<u8> {
    let folder = Folder::new();
    let file = folder.path().join("r.safetensors");
    recording().write(&file).unwrap();
    fs::read(file).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn weights_are_read_whole_or_refused_as_the_format_demands(mishaps in mishaps()) {
        let bytes = mangle(two_tensors(), &mishaps);
        let folder = Folder::new();
        let file = folder.write("model.safetensors", &bytes);
        match (Weights::open(file), SafeTensors::deserialize(&bytes)) {
            (Ok(ours), Ok(theirs)) => {
                prop_assert_eq!(ours.names().count(), theirs.len());
                for (name, view) in theirs.iter() {
                    prop_assert_eq!(ours.shape(name).unwrap(), view.shape());
                    if let Ok(tensor) = ours.read(name) {
                        prop_assert_eq!(tensor.bytes(), view.data());
                    }
                }
            }
            (Err(tlbench_checkpoint::CheckpointError::Header { problem: HeaderProblem::Duplicate { .. }, .. }), Ok(_)) => {}
            (Err(ours), Ok(_)) => prop_assert!(false, "refused for no reason: {}", ours),
            (Ok(_), Err(theirs)) => prop_assert!(false, "should have been refused: {}", theirs),
            (Err(_), Err(_)) => {}
        }
    }

    #[test]
    fn a_recording_that_is_read_can_be_written_and_read_again(mishaps in mishaps()) {
        let folder = Folder::new();
        let file = folder.write("r.safetensors", mangle(recording_bytes(), &mishaps));
        if let Ok(read) = Recording::read(&file) {
            for answer in &read.answers {
                prop_assert!(read.answer(&answer.stimulus.request, DType::F32).is_ok());
            }
            let again = folder.path().join("again.safetensors");
            read.write(&again).unwrap();
            prop_assert_eq!(Recording::read(&again).unwrap(), read);
        }
    }

    #[test]
    fn a_config_is_read_or_refused(mishaps in mishaps()) {
        let config = br#"{"model_type": "x", "n_layer": 2, "list": [1, {"eps": 1e-5}], "text": "\u00e4"}"#;
        let folder = Folder::new().with("model.safetensors", two_tensors());
        folder.write("config.json", mangle(config.to_vec(), &mishaps));
        if let Ok(model) = ModelFolder::open(folder.path()) {
            prop_assert!(!model.model_type().is_empty());
            prop_assert_eq!(model.config_digest().len(), 71);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_tokenizer_is_read_or_refused(mishaps in mishaps()) {
        let measured: serde_json::Value =
            serde_json::from_str(include_str!("../fixtures/tokenizers.json")).unwrap();
        for base in ["byte_level", "metaspace"] {
            let content = measured["bases"][base].to_string().into_bytes();
            let folder = Folder::new().with("tokenizer.json", mangle(content, &mishaps));
            if let Ok(tokenizer) = Tokenizer::open(folder.path()) {
                let _ = tokenizer.encode("the cat<s> sat on");
            }
        }
    }
}
