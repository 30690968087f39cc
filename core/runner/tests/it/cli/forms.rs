//! The forms in which the weights of a checkpoint lie in its folder.

use half::{bf16, f16};
use safetensors::Dtype;

use super::alone;
use crate::support::checkpoint::Checkpoint;
use crate::support::cli_test::CliTest;

#[test]
fn in_shards_it_is_the_same_model_and_has_the_same_recording() {
    let test = CliTest::new();
    let sharded = Checkpoint::at(test.path("sharded"))
        .with_recording()
        .in_shards(3);
    let folder = sharded.folder().display().to_string();
    let run = test.run(["--quiet", "--model", &folder]).exits(0);
    assert!(run.stdout.contains("hf-recorded"), "{run}");
}

#[test]
fn shards_that_are_not_whole() {
    let test = CliTest::new();
    let refused = |name: &str, break_it: &dyn Fn(&Checkpoint)| {
        let sharded = Checkpoint::at(test.path(name)).in_shards(3);
        break_it(&sharded);
        alone(&test, &sharded, &[]).exits(101).model_failure()
    };
    let second = "model-00002-of-00003.safetensors";
    let third = "model-00003-of-00003.safetensors";
    let messages = [
        refused("missing", &|sharded| {
            std::fs::remove_file(sharded.file(second)).unwrap();
        }),
        refused("twice", &|sharded| {
            std::fs::copy(sharded.file(third), sharded.file(second)).unwrap();
        }),
    ];
    insta::assert_snapshot!(messages.join("\n"), @"
    [FOLDER]/missing/model.safetensors.index.json: shard `model-00002-of-00003.safetensors` is missing: it holds 13 of 40 tensors, `transformer.h.0.attn.c_attn.weight` among them
    [FOLDER]/twice/model.safetensors.index.json: tensor `transformer.h.0.attn.c_proj.bias` is in two shards, `model-00002-of-00003.safetensors` and `model-00003-of-00003.safetensors`
    ");
}

/// A checkpoint in a narrow type is judged in f32, as the numbers that its own numbers are.
#[test]
fn narrow_weights_are_widened_exactly() {
    let test = CliTest::new();
    let with = |name: &str, convert: fn(f32) -> Vec<u8>, dtype: Dtype| {
        let checkpoint = Checkpoint::at(test.path(name)).with_tensors(|tensors| {
            for stored in tensors.values_mut() {
                *stored = stored.converted(dtype, convert);
            }
        });
        alone(&test, &checkpoint, &[]).exits(0).measurements()
    };
    let f32_bytes = |value: f32| value.to_le_bytes().to_vec();
    let exact = with("exact", f32_bytes, Dtype::F32);
    let bf16s = with(
        "bf16",
        |value| bf16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::BF16,
    );
    let bf16_values = with(
        "bf16-values",
        |value| bf16::from_f32(value).to_f32().to_le_bytes().to_vec(),
        Dtype::F32,
    );
    let f16s = with(
        "f16",
        |value| f16::from_f32(value).to_le_bytes().to_vec(),
        Dtype::F16,
    );
    let f16_values = with(
        "f16-values",
        |value| f16::from_f32(value).to_f32().to_le_bytes().to_vec(),
        Dtype::F32,
    );
    assert_eq!(bf16s, bf16_values);
    assert_eq!(f16s, f16_values);
    assert_ne!(bf16s, exact);
    assert_ne!(f16s, bf16s);
}

#[test]
fn weights_that_were_quantised() {
    let test = CliTest::new();
    let checkpoint = Checkpoint::at(test.path("model")).with_config(|config| {
        let quantised = serde_json::json!({"quant_method": "awq", "bits": 4});
        config.insert("quantization_config".into(), quantised);
    });
    insta::assert_snapshot!(alone(&test, &checkpoint, &[]).exits(101).model_failure(), @"[FOLDER]/model/config.json: key `quantization_config`: weights that were quantised by `awq` are not read: only that method knows what the stored numbers stand for; load the model with transformers, dequantise it with model.dequantize() and save it with save_pretrained(folder)");
}
