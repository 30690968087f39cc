//! A recording answers what was recorded, and nothing else.

use std::fs;

use tlbench_checkpoint::Recording;
use tlbench_sdk::{
    DType, ErrorKind, Evaluation, GradientRequest, Objective, Quantity, Tensor, TensorMap,
    TraceRequest,
};

use crate::support::{Folder, recording};

fn inputs(answer: usize) -> TensorMap {
    recording().answers[answer].stimulus.request.inputs.clone()
}

#[test]
fn what_was_written_is_read() {
    let folder = Folder::new();
    let file = folder.path().join("recording.safetensors");
    let mut written = recording();
    // An edit with its operand, and a gradient.
    let edited = &mut written.answers[1];
    let gradient = Quantity::HookGradient("hook_embed".to_owned());
    edited.stimulus.request.capture.push(gradient.clone());
    let operand = Tensor::vector(vec![0.25_f64, -0.0]);
    edited.stimulus.request.operands = TensorMap::from([("direction".to_owned(), operand.clone())]);
    edited.stimulus.request.gradients = Some(GradientRequest {
        objective: Objective::Projection { seed: 3 },
    });
    edited.values.insert(gradient, operand);
    written.write(&file).unwrap();
    assert_eq!(Recording::read(&file).unwrap(), written);
    assert_eq!(
        fs::read_dir(folder.path()).unwrap().count(),
        1,
        "nothing is left beside it"
    );
}

#[test]
fn the_same_recording_is_the_same_bytes() {
    let folder = Folder::new();
    let bytes = ["first", "second"].map(|name| {
        let file = folder.path().join(name);
        recording().write(&file).unwrap();
        fs::read(file).unwrap()
    });
    assert_eq!(bytes[0], bytes[1]);
}

#[test]
fn the_text_of_a_recording() {
    let folder = Folder::new();
    let file = folder.path().join("recording.safetensors");
    recording().write(&file).unwrap();
    let bytes = fs::read(file).unwrap();
    let (_, header) = safetensors::SafeTensors::read_metadata(&bytes).unwrap();
    let text = &header.metadata().as_ref().unwrap()["tlbench_recording"];
    let text: serde_json::Value = serde_json::from_str(text).unwrap();
    insta::assert_json_snapshot!("text_of_a_recording", text);
    let mut tensors = header.offset_keys();
    tensors.sort_unstable();
    insta::assert_snapshot!("tensors_of_a_recording", tensors.join("\n"));
}

#[test]
fn an_answer_shows_what_was_asked_for_and_every_floor() {
    let embed = Quantity::hook("hook_embed");
    let trace = recording()
        .answer(
            &TraceRequest::new(inputs(1), vec![embed.clone()]),
            DType::F32,
        )
        .unwrap();
    assert_eq!(trace.values.keys().collect::<Vec<_>>(), [&embed]);
    assert_eq!(trace.floors, recording().answers[1].floors[&DType::F32]);
    assert!(trace.floor(&Quantity::LogProbs).is_some());
}

#[test]
fn each_precision_has_floors_of_its_own_and_the_same_truth() {
    let question = TraceRequest::new(inputs(1), vec![Quantity::Logits]);
    let answers = [DType::F32, DType::BF16].map(|precision| {
        let recording = recording();
        assert!(recording.precisions().any(|known| known == precision));
        recording.answer(&question, precision).unwrap()
    });
    assert_eq!(answers[0].values, answers[1].values);
    let floors = answers.map(|answer| answer.floor(&Quantity::Logits).unwrap().cumulative);
    assert_eq!(floors, [1e-7, 65_536.0 * 1e-7]);
}

#[test]
fn what_is_not_plain_may_be_judged_in_fewer_precisions() {
    let mut recording = recording();
    recording.answers[2].floors.remove(&DType::BF16);
    let folder = Folder::new();
    let file = folder.path().join("recording.safetensors");
    recording.write(&file).unwrap();
    let ids = |precision| {
        let stimuli = recording.source_info(precision).stimuli.into_iter();
        stimuli.map(|stimulus| stimulus.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(DType::F32), ["text", "padded", "in_chunks"]);
    assert_eq!(ids(DType::BF16), ["text", "padded"]);
    let question = &recording.answers[2].stimulus.request;
    assert!(recording.answer(question, DType::F32).is_ok());
    let error = recording.answer(question, DType::BF16).unwrap_err();
    assert_eq!(error.kind, ErrorKind::Unsupported);
    assert_eq!(
        error.message,
        "`in_chunks` is recorded without the rounding errors of bf16; held: f32"
    );

    recording.answers[1].floors.remove(&DType::BF16);
    let error = folder.said(recording.write(&file).unwrap_err());
    assert_eq!(
        error,
        "[folder]/recording.safetensors: answer 1: expected floors in f32, bf16, found them in f32"
    );
}

#[test]
fn questions_on_the_same_inputs_are_told_apart() {
    let chunked = TraceRequest {
        chunks: vec![2, 1],
        ..TraceRequest::new(inputs(0), vec![Quantity::Logits])
    };
    assert_eq!(
        recording()
            .answer(&chunked, DType::F32)
            .unwrap()
            .value(&Quantity::Logits),
        recording().answers[2].values.get(&Quantity::Logits)
    );
}

#[test]
fn what_is_not_recorded_is_unsupported_and_says_what_is_held() {
    let mut other_inputs = inputs(0);
    other_inputs.insert(
        "input_ids".to_owned(),
        Tensor::from_vec(vec![5_i64, 6, 8], &[1, 3]).unwrap(),
    );
    let plain = |capture| TraceRequest::new(inputs(0), capture);
    let requests = [
        TraceRequest::new(other_inputs, vec![]),
        TraceRequest {
            chunks: vec![1, 2],
            ..plain(vec![])
        },
        TraceRequest {
            evaluation: Evaluation::Local,
            ..plain(vec![])
        },
        plain(vec![
            Quantity::Logits,
            Quantity::hook("blocks.0.hook_resid_pre"),
        ]),
        plain(vec![Quantity::LogProbs]),
    ];
    let messages = requests.map(|request| {
        let error = recording().answer(&request, DType::F32).unwrap_err();
        assert_eq!(error.kind, ErrorKind::Unsupported);
        error.to_string()
    });
    insta::assert_snapshot!(messages.join("\n"), @"
    these inputs are not recorded; held: `text` [1, 3], `padded` [2, 2], `in_chunks` [1, 3]
    input `text` is recorded, but not in chunks of [1, 2]; held: run as it is, in chunks of [2, 1]
    input `text` is recorded, but not with the truth put in at each hook; held: run as it is, in chunks of [2, 1]
    `hook:blocks.0.hook_resid_pre` is not recorded on input `text`; held: `logits`, `hook:hook_embed`
    `log_probs` is not recorded on input `text`; held: `logits`, `hook:hook_embed`
    ");
}

#[test]
fn a_recording_tells_its_inputs_and_its_origin() {
    let info = recording().source_info(DType::BF16);
    let stimuli: Vec<_> = info
        .stimuli
        .iter()
        .map(|stimulus| (stimulus.id.as_str(), stimulus.request.shape()))
        .collect();
    assert_eq!(
        stimuli,
        [("text", [1, 3]), ("padded", [2, 2]), ("in_chunks", [1, 3])]
    );
    assert_eq!(info.stimuli[0].request.inputs, inputs(0));
    assert_eq!(info.stimuli[0].request.capture.len(), 2);
    assert_eq!(info.provenance["transformers"], "5.23.0");
    assert_eq!(info.provenance["dtype"], "bf16");
}
