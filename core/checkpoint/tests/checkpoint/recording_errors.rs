//! A recording that contradicts itself is refused with the contradiction, read or written.

use std::collections::{BTreeMap, HashMap};
use std::fs;

use safetensors::tensor::TensorView;
use safetensors::{Dtype, SafeTensors};
use tlbench_checkpoint::Recording;
use tlbench_sdk::compare::Floor;
use tlbench_sdk::{Action, DType, Intervention, Quantity, Target, Tensor};

use crate::support::{Folder, recording, two_tensors};

/// Reads a file and says what is wrong with it.
fn refusal(content: impl AsRef<[u8]>) -> String {
    let folder = Folder::new();
    let file = folder.write("r.safetensors", content);
    folder
        .said(Recording::read(&file).unwrap_err())
        .replace("[folder]/r.safetensors: ", "")
}

/// Writes a recording and says what is wrong with it.
fn refusal_to_write(change: impl FnOnce(&mut Recording)) -> String {
    let folder = Folder::new();
    let file = folder.path().join("r.safetensors");
    let mut changed = recording();
    change(&mut changed);
    let said = folder.said(changed.write(&file).unwrap_err());
    assert!(!file.exists());
    said.replace("[folder]/r.safetensors: ", "")
}

type Tensors<'a> = BTreeMap<String, TensorView<'a>>;

/// The bytes of a recording with its text and its tensors changed.
fn edited(change: impl FnOnce(&mut String, &mut Tensors<'_>)) -> Vec<u8> {
    let folder = Folder::new();
    let file = folder.path().join("r.safetensors");
    recording().write(&file).unwrap();
    let bytes = fs::read(file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let mut text = header.metadata().as_ref().unwrap()["tlbench_recording"].clone();
    let mut tensors: Tensors<'_> = SafeTensors::deserialize(&bytes)
        .unwrap()
        .tensors()
        .into_iter()
        .collect();
    change(&mut text, &mut tensors);
    let metadata = HashMap::from([("tlbench_recording".to_owned(), text)]);
    safetensors::serialize(tensors, Some(metadata)).unwrap()
}

fn with_text(old: &str, new: &str) -> String {
    refusal(edited(|text, _| {
        assert!(text.contains(old), "{text}");
        *text = text.replacen(old, new, 1);
    }))
}

fn with_tensors(change: impl FnOnce(&mut Tensors<'_>)) -> String {
    refusal(edited(|_, tensors| change(tensors)))
}

#[test]
fn what_is_no_recording() {
    let messages = [
        refusal("no safetensors"),
        refusal(two_tensors()),
        with_text("\"format\":3", "\"format\":7"),
        with_text("\"format\":3", "\"format\":\"3\""),
        with_text("\"format\":3,", ""),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r#"
    header length: expected at most 6 bytes (the file ends there), found 8387222449776783214
    expected a recording (`tlbench_recording` in `__metadata__`), found other tensors
    format 7; this build reads 3 (make the recording again with `tlbench record`)
    `tlbench_recording`: line 1, column 13: invalid type: string "3", expected u64
    `tlbench_recording`: line 1, column 1274: missing field `format`
    "#);
}

#[test]
fn what_is_wrong_with_the_text() {
    let messages = [
        with_text("\"answers\":[", "\"answers\":"),
        with_text("\"f32\":{", "\"f31\":{"),
        with_text(
            "\"weights_digest\":",
            "\"mood\":\"good\",\"weights_digest\":",
        ),
        with_text("\"bf16\":{", "\"f16\":{"),
        with_text("\"capture\":[", "\"later\":1,\"capture\":["),
        with_text("\"logits\"]", "\"logit\"]"),
        with_text("1e-7", "1e999"),
        with_text("1e-7", "-1e-7"),
        with_text("\"local\":2e-8", "\"local\":-2e-8"),
        with_text("\"chunks\":[2,1],", ""),
    ];
    insta::assert_snapshot!(messages.join("\n"), @"
    `tlbench_recording`: line 1, column 500: key must be a string
    `tlbench_recording`: line 1, column 224: unknown variant `f31`, expected one of `f64`, `f32`, `f16`, `bf16`, `i64`
    `tlbench_recording`: line 1, column 85: unknown field `mood`, expected one of `format`, `provenance`, `config_digest`, `weights_digest`, `answers`
    answer 1: expected floors in f32, f16, found them in f32, bf16
    `tlbench_recording`: line 1, column 150: unknown field `later`, expected one of `processing`, `chunks`, `capture`, `evaluation`, `gradients`, `interventions`, `generate`
    `tlbench_recording`: line 1, column 180: `logit` is no quantity (logits, log_probs, loss_per_token, loss, generated, hook:NAME, hook_grad:NAME, param_grad:NAME, weight:NAME)
    `tlbench_recording`: line 1, column 254: number out of range
    answer 0: cumulative floor of `logits` in f32: expected a finite number that is not negative, found -1e-7
    answer 0: local floor of `logits` in f32: expected a finite number that is not negative, found -2e-8
    expected one answer to a question, and names of their own, found answers 0 and 2 alike
    ");
}

#[test]
fn what_is_wrong_with_the_tensors() {
    let set = |name: &str, tensor: TensorView<'static>| {
        with_tensors(|tensors| drop(tensors.insert(name.to_owned(), tensor)))
    };
    let messages = [
        with_tensors(|tensors| drop(tensors.remove("0/inputs/input_ids"))),
        with_tensors(|tensors| drop(tensors.remove("1/inputs/position_ids"))),
        set("0/inputs/input_ids", view(Dtype::F32, &[1, 3])),
        set("0/inputs/input_ids", view(Dtype::I64, &[3])),
        set("0/inputs/input_ids", view(Dtype::I64, &[1, 0])),
        set("0/inputs/attention_mask", view(Dtype::I64, &[3, 1])),
        set("0/inputs/attention_mask", view(Dtype::BOOL, &[1, 3])),
        with_tensors(|tensors| drop(tensors.remove("0/value/logits"))),
        set("0/value/logits", view(Dtype::F32, &[1, 2, 4])),
        set("0/value/log_probs", view(Dtype::F32, &[1])),
        set("0/value/colour", view(Dtype::F32, &[1])),
        set("3/value/logits", view(Dtype::F32, &[1])),
        set("00/value/logits", view(Dtype::F32, &[1])),
        set("wte.weight", view(Dtype::F32, &[1])),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    tensor `0/inputs/input_ids`: expected i64 [batch, pos] with at least one token, found nothing
    tensor `1/inputs/position_ids`: expected i64 [2, 2], found nothing
    tensor `0/inputs/input_ids`: expected i64 [batch, pos] with at least one token, found f32 [1, 3]
    tensor `0/inputs/input_ids`: expected i64 [batch, pos] with at least one token, found i64 [3]
    tensor `0/inputs/input_ids`: expected i64 [batch, pos] with at least one token, found i64 [1, 0]
    tensor `0/inputs/attention_mask`: expected i64 [1, 3], found i64 [3, 1]
    tensor `0/inputs/attention_mask`: expected elements of f64, f32, f16, bf16 or i64, found BOOL
    tensor `0/value/logits`: expected the value that the answer declares, found nothing
    tensor `0/value/logits`: expected [1, 3, vocabulary], found f32 [1, 2, 4]
    tensor `0/value/log_probs`: expected one that an answer declares, found a stray one
    tensor `0/value/colour`: expected one that an answer declares, found a stray one
    tensor `3/value/logits`: expected one that an answer declares, found a stray one
    tensor `00/value/logits`: expected one that an answer declares, found a stray one
    tensor `wte.weight`: expected one that an answer declares, found a stray one
    ");
}

fn view(dtype: Dtype, shape: &[usize]) -> TensorView<'static> {
    static ZEROS: [u8; 64] = [0; 64];
    let bytes = shape.iter().product::<usize>() * dtype.bitsize() / 8;
    TensorView::new(dtype, shape.to_vec(), &ZEROS[..bytes]).unwrap()
}

#[test]
fn what_is_not_written() {
    let floor = |cumulative, local| {
        move |recording: &mut Recording| {
            let floors = recording.answers[1].floors.get_mut(&DType::F32).unwrap();
            floors.insert(Quantity::Logits, Floor { cumulative, local });
        }
    };
    let messages = [
        refusal_to_write(floor(f64::NAN, None)),
        refusal_to_write(floor(0.0, Some(f64::INFINITY))),
        refusal_to_write(|recording| recording.answers[1].values.clear()),
        refusal_to_write(|recording| {
            recording.answers[1]
                .stimulus
                .request
                .capture
                .push(Quantity::Loss)
        }),
        refusal_to_write(|recording| recording.answers.push(recording.answers[0].clone())),
        refusal_to_write(|recording| recording.answers[1].stimulus.id = "text".to_owned()),
        refusal_to_write(|recording| {
            let action = Action::Add {
                operand: "direction".to_owned(),
            };
            let target = Target::Hook("hook_embed".to_owned());
            recording.answers[0].stimulus.request.interventions = vec![Intervention {
                target,
                rows: None,
                positions: None,
                action,
            }];
        }),
        refusal_to_write(|recording| {
            let losses = Tensor::from_vec(vec![0.0_f32; 3], &[1, 3]).unwrap();
            recording.answers[0]
                .values
                .insert(Quantity::LossPerToken, losses);
        }),
    ];
    insta::assert_snapshot!(messages.join("\n"), @"
    answer 1: cumulative floor of `logits` in f32: expected a finite number that is not negative, found NaN
    answer 1: local floor of `logits` in f32: expected a finite number that is not negative, found inf
    answer 1: expected a value for each quantity of `capture`, and no other
    answer 1: expected a value for each quantity of `capture`, and no other
    expected one answer to a question, and names of their own, found answers 0 and 3 alike
    expected one answer to a question, and names of their own, found answers 0 and 1 alike
    tensor `0/operands/direction`: expected the operand that the question names, found nothing
    tensor `0/value/loss_per_token`: expected [1, 2], found f32 [1, 3]
    ");
}

#[test]
fn a_folder_that_is_not_there() {
    let folder = Folder::new();
    let file = folder.path().join("gone").join("r.safetensors");
    let messages = [
        recording().write(&file).unwrap_err(),
        Recording::read(&file).unwrap_err(),
    ];
    insta::assert_snapshot!(messages.map(|error| folder.said(error)).join("\n"), @r"
    [folder]/gone/r.safetensors: cannot write it: No such file or directory (os error 2)
    [folder]/gone/r.safetensors: cannot open it: No such file or directory (os error 2)
    ");
}
