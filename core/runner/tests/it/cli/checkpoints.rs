//! Checkpoints as HuggingFace writes them in several ways, and malformed ones.

use super::alone;
use crate::support::checkpoint::Checkpoint;
use crate::support::cli_test::CliTest;

/// What is told of a checkpoint that was changed into one that cannot be read.
fn refused(test: &CliTest, edit: impl FnOnce(Checkpoint) -> Checkpoint) -> String {
    let checkpoint = edit(Checkpoint::at(test.path("model")));
    alone(test, &checkpoint, &[]).exits(101).model_failure()
}

#[test]
fn without_the_prefix_of_a_language_model_it_is_the_same_model() {
    let test = CliTest::new();
    let shipped = Checkpoint::at(test.path("shipped"));
    let inner = Checkpoint::at(test.path("inner")).with_tensors(|tensors| {
        *tensors = std::mem::take(tensors)
            .into_iter()
            .map(|(name, tensor)| {
                let short = name.strip_prefix("transformer.").unwrap_or(&name);
                (short.to_owned(), tensor)
            })
            .collect();
    });
    let (shipped, inner) = (
        alone(&test, &shipped, &[]).exits(0),
        alone(&test, &inner, &[]).exits(0),
    );
    assert_eq!(inner.measurements(), shipped.measurements());
}

#[test]
fn an_untied_head_is_the_heads_own_tensor() {
    let test = CliTest::new();
    let untied = |name: &str, factor: f32| {
        let checkpoint = Checkpoint::at(test.path(name))
            .with_config(|config| {
                config.insert("tie_word_embeddings".into(), false.into());
            })
            .with_tensors(|tensors| {
                let head = tensors["transformer.wte.weight"].scaled(factor);
                tensors.insert("lm_head.weight".into(), head);
            });
        alone(&test, &checkpoint, &[]).exits(0).measurements()
    };
    let tied = Checkpoint::at(test.path("tied"));
    let tied = alone(&test, &tied, &[]).exits(0).measurements();
    assert_eq!(untied("equal", 1.0), tied);
    assert_ne!(untied("larger", 1.5), tied);
}

#[test]
fn an_untied_head_that_is_missing() {
    let test = CliTest::new();
    insta::assert_snapshot!(refused(&test, |checkpoint| checkpoint.with_config(
        |config| {
            config.insert("tie_word_embeddings".into(), false.into());
        }
    )), @"[FOLDER]/model/model.safetensors: expected a tensor `lm_head.weight`, found none");
}

#[test]
fn what_config_and_checkpoint_hold_beyond_the_spec_is_told() {
    let test = CliTest::new();
    let checkpoint = Checkpoint::at(test.path("model"))
        .with_config(|config| {
            config.insert("rope_theta".into(), 10000.into());
        })
        .with_tensors(|tensors| {
            let gate = tensors["transformer.ln_f.weight"].clone();
            tensors.insert("transformer.h.0.gate.weight".into(), gate);
        });
    let folder = checkpoint.folder().display().to_string();
    let run = test.run([
        "--quiet",
        "--no-hf-reference",
        "--benchmark",
        "loss*",
        "--model",
        &folder,
    ]);
    insta::assert_snapshot!(run.exits(0));
}

#[test]
fn a_missing_tensor() {
    let test = CliTest::new();
    insta::assert_snapshot!(refused(&test, |checkpoint| checkpoint.with_tensors(
        |tensors| {
            tensors.remove("transformer.h.1.mlp.c_fc.weight");
        }
    )), @"[FOLDER]/model/model.safetensors: expected a tensor `transformer.h.1.mlp.c_fc.weight` or `h.1.mlp.c_fc.weight`, found none; did you mean `transformer.h.0.mlp.c_fc.weight` or `transformer.h.2.mlp.c_fc.weight` or `transformer.h.1.mlp.c_proj.weight`?");
}

#[test]
fn a_tensor_of_the_wrong_shape() {
    let test = CliTest::new();
    insta::assert_snapshot!(refused(&test, |checkpoint| checkpoint.with_tensors(
        |tensors| {
            let name = "transformer.h.1.mlp.c_fc.weight";
            if let Some(tensor) = tensors.get_mut(name) {
                tensor.shape.reverse();
            }
        }
    )), @"[FOLDER]/model/model.safetensors: tensor `transformer.h.1.mlp.c_fc.weight`: expected shape [30, 77], found [77, 30]");
}

#[test]
fn an_unknown_model_type() {
    let test = CliTest::new();
    insta::assert_snapshot!(refused(&test, |checkpoint| checkpoint.with_config(
        |config| {
            config.insert("model_type".into(), "gpt3".into());
        }
    )), @r#"[FOLDER]/model/config.json: key `model_type`: expected one of gpt2, found "gpt3""#);
}

#[test]
fn an_architecture_that_no_plugin_offers() {
    let test = CliTest::new();
    Checkpoint::at(test.path("model"));
    test.write(
        "tlbench.toml",
        "[[models]]\npath = 'model'\narchitecture = 'gpt3'\n",
    );
    let run = test.run(["--quiet", "--format", "json"]).exits(101);
    let failed = run.events("model_failed");
    insta::assert_snapshot!(failed[0]["message"].as_str().unwrap(), @"architecture `gpt3`: expected one of gpt2");
}

#[test]
fn a_key_that_the_adapter_refuses() {
    let test = CliTest::new();
    insta::assert_snapshot!(refused(&test, |checkpoint| checkpoint.with_config(
        |config| {
            config.insert("activation_function".into(), "mish".into());
        }
    )), @r#"[FOLDER]/model/config.json: key `activation_function`: expected one of "gelu_new", "gelu_fast", "gelu_accurate", "gelu_pytorch_tanh", "gelu_python_tanh", "gelu", "gelu_python", "quick_gelu", "silu", "swish", "relu", "relu2", found "mish""#);
}

#[test]
fn a_config_that_is_no_json() {
    let test = CliTest::new();
    insta::assert_snapshot!(refused(&test, |checkpoint| checkpoint
        .with_file("config.json", |bytes| bytes[..bytes.len() / 2].to_vec())), @"[FOLDER]/model/config.json: line 20, column 11: EOF while parsing a string");
}

#[test]
fn truncated_weights() {
    let test = CliTest::new();
    insta::assert_snapshot!(refused(&test, |checkpoint| checkpoint
        .with_file("model.safetensors", |bytes| bytes[..bytes.len() - 1000]
            .to_vec())), @"[FOLDER]/model/model.safetensors: tensor `transformer.wte.weight`: data_offsets end at byte 148524, but the file holds 147524 bytes of data");
}

#[test]
fn no_weights() {
    let test = CliTest::new();
    insta::assert_snapshot!(refused(&test, |checkpoint| {
        std::fs::remove_file(checkpoint.file("model.safetensors")).unwrap();
        checkpoint
    }), @"[FOLDER]/model: expected weights in a model.safetensors or a model.safetensors.index.json, found neither");
}
