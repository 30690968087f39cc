//! A model folder says what is wrong with it.

use tlbench_checkpoint::ModelFolder;

use crate::support::{Folder, two_tensors};

const CONFIG: &str = r#"{"model_type": "some_family", "n_layer": 2}"#;

fn refusal(folder: &Folder) -> String {
    folder.said(ModelFolder::open(folder.path()).unwrap_err())
}

#[test]
fn a_folder_with_config_and_weights_opens() {
    let folder = Folder::new()
        .with("config.json", CONFIG)
        .with("model.safetensors", two_tensors());
    let model = ModelFolder::open(folder.path()).unwrap();
    assert_eq!(model.model_type(), "some_family");
    assert_eq!(model.config()["n_layer"], 2);
    assert_eq!(model.path(), folder.path());
    assert_eq!(model.weights().names().collect::<Vec<_>>(), ["a", "b"]);
}

#[test]
fn what_is_no_model_folder() {
    let folder = Folder::new();
    let file = folder.write("file", "");
    let messages = [
        refusal(&folder),
        folder.said(ModelFolder::open(file).unwrap_err()),
        folder.said(ModelFolder::open(folder.path().join("gone")).unwrap_err()),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    [folder]: expected a folder with a config.json, found a folder without one
    [folder]/file: expected a folder with a config.json, found a file
    [folder]/gone: expected a folder with a config.json, found nothing
    ");
}

#[test]
fn what_is_wrong_with_a_config() {
    let configs: [&[u8]; 9] = [
        b"",
        b"{\n  \"model_type\": \"x\",\n  \"n_layer\": 2,\n}",
        b"{\"model_type\": \"\xff\"}",
        b"{\n  \"model_type\": \"x\",\n  \"note\": \"\xff\"}",
        b"[1, 2]",
        b"{\"eps\": NaN}",
        b"{}",
        b"{\"model_type\": [\"x\"]}",
        b"{\"model_type\": \"\"}",
    ];
    let messages = configs.map(|config| refusal(&Folder::new().with("config.json", config)));
    insta::assert_snapshot!(messages.join("\n"), @r#"
    [folder]/config.json: line 1, column 1: EOF while parsing a value
    [folder]/config.json: line 4, column 1: trailing comma
    [folder]/config.json: line 1, column 17: invalid UTF-8
    [folder]/config.json: line 3, column 12: invalid UTF-8
    [folder]/config.json: line 1, column 1: expected an object, found [1,2]
    [folder]/config.json: line 1, column 9: expected value
    [folder]/config.json: key `model_type`: expected the name of a model family, found nothing
    [folder]/config.json: key `model_type`: expected the name of a model family, found ["x"]
    [folder]/config.json: key `model_type`: expected the name of a model family, found ""
    "#);
}

#[test]
fn forms_of_weights_that_are_not_read_come_with_a_remedy() {
    let files = [
        vec!["adapter_model.safetensors", "adapter_config.json"],
        vec!["model.fp16.safetensors", "pytorch_model.bin"],
        vec!["pytorch_model.bin", "training_args.bin"],
        vec!["model.pt"],
        vec!["consolidated.00.pth"],
        vec!["model.Q4_0.gguf"],
        vec![
            "training_args.bin",
            "optimizer.pt",
            "recording.safetensors",
            "README.md",
        ],
    ];
    let messages = files.map(|names| {
        let folder = Folder::new().with("config.json", CONFIG);
        refusal(
            &names
                .iter()
                .fold(folder, |folder, name| folder.with(name, "")),
        )
    });
    insta::assert_snapshot!(messages.join("\n"), @r#"
    [folder]/adapter_model.safetensors: the weights of an adapter are not read: they are no model by themselves; merge them into their base model with merge_and_unload() and save that with save_pretrained(folder)
    [folder]/model.fp16.safetensors: weights under another name than model.safetensors are not read: which file is meant would be a guess; rename it to model.safetensors if it holds the whole model
    [folder]/pytorch_model.bin: pickled weights are not read: to unpickle a file is to run the code in it; load the model with transformers and save it with save_pretrained(folder)
    [folder]/model.pt: pickled weights are not read: to unpickle a file is to run the code in it; load the model with transformers and save it with save_pretrained(folder)
    [folder]/consolidated.00.pth: pickled weights are not read: to unpickle a file is to run the code in it; load the model with transformers and save it with save_pretrained(folder)
    [folder]/model.Q4_0.gguf: GGUF weights are not read: their names and layout are those of llama.cpp, and most are quantised; load the model with from_pretrained(folder, gguf_file="NAME") and save it with save_pretrained(folder)
    [folder]: expected weights in a model.safetensors or a model.safetensors.index.json, found neither
    "#);
}

#[test]
fn quantised_weights_are_refused_with_their_method() {
    let configs = [
        r#"{"model_type": "x", "quantization_config": {"quant_method": "gptq", "bits": 4}}"#,
        r#"{"model_type": "x", "quantization_config": {"load_in_4bit": true}}"#,
        r#"{"model_type": "x", "quantization": {"group_size": 64, "bits": 4}}"#,
        r#"{"model_type": "x", "quantization_config": []}"#,
    ];
    let messages = configs.map(|config| {
        let folder = Folder::new().with("config.json", config);
        refusal(&folder.with("model.safetensors", two_tensors()))
    });
    insta::assert_snapshot!(messages.join("\n"), @"
    [folder]/config.json: key `quantization_config`: weights that were quantised by `gptq` are not read: only that method knows what the stored numbers stand for; load the model with transformers, dequantise it with model.dequantize() and save it with save_pretrained(folder)
    [folder]/config.json: key `quantization_config`: weights that were quantised are not read: only that method knows what the stored numbers stand for; load the model with transformers, dequantise it with model.dequantize() and save it with save_pretrained(folder)
    [folder]/config.json: key `quantization`: weights that were quantised are not read: only that method knows what the stored numbers stand for; load the model with transformers, dequantise it with model.dequantize() and save it with save_pretrained(folder)
    [folder]/config.json: key `quantization_config`: weights that were quantised are not read: only that method knows what the stored numbers stand for; load the model with transformers, dequantise it with model.dequantize() and save it with save_pretrained(folder)
    ");
    let plain = Folder::new()
        .with(
            "config.json",
            r#"{"model_type": "x", "quantization_config": null}"#,
        )
        .with("model.safetensors", two_tensors());
    ModelFolder::open(plain.path()).unwrap();
}

#[test]
fn the_digest_of_weights_is_about_tensors_not_about_the_file() {
    let digest = |file: Vec<u8>| {
        let folder = Folder::new()
            .with("config.json", CONFIG)
            .with("model.safetensors", file);
        ModelFolder::open(folder.path())
            .unwrap()
            .weights_digest()
            .unwrap()
    };
    let reference = digest(two_tensors());
    assert!(
        reference.starts_with("sha256:") && reference.len() == 71,
        "{reference}"
    );

    // The same tensors, in another order and without metadata.
    let tensors = safetensors::SafeTensors::deserialize;
    let bytes = two_tensors();
    let parsed = tensors(&bytes).unwrap();
    let rewritten = safetensors::serialize(parsed.tensors(), None).unwrap();
    assert_ne!(rewritten, bytes);
    assert_eq!(digest(rewritten), reference);

    let mut other_value = bytes.clone();
    *other_value.last_mut().unwrap() ^= 1;
    assert_ne!(digest(other_value), reference);
    let other_shape = replaced(&bytes, b"[2,2]", b"[4,1]");
    assert_ne!(digest(other_shape), reference);
    let other_name = replaced(&bytes, b"\"b\"", b"\"c\"");
    assert_ne!(digest(other_name), reference);
}

fn replaced(bytes: &[u8], old: &[u8], new: &[u8]) -> Vec<u8> {
    let at = bytes
        .windows(old.len())
        .position(|window| window == old)
        .unwrap();
    [&bytes[..at], new, &bytes[at + old.len()..]].concat()
}

#[test]
fn the_generation_config_says_what_ends_a_text_before_the_config_does() {
    let said = |config: &str, generation: Option<&str>| {
        let folder = Folder::new()
            .with("config.json", format!(r#"{{"model_type": "x"{config}}}"#))
            .with("model.safetensors", two_tensors());
        if let Some(generation) = generation {
            folder.write("generation_config.json", generation);
        }
        let tokens = ModelFolder::open(folder.path()).unwrap().stop_tokens();
        tokens.map_err(|error| folder.said(error))
    };
    let config = r#", "eos_token_id": 7"#;
    assert_eq!(said("", None), Ok(vec![]));
    assert_eq!(said(config, None), Ok(vec![7]));
    assert_eq!(said(config, Some("{}")), Ok(vec![7]));
    let list = r#"{"eos_token_id": [8, 9]}"#;
    assert_eq!(said(config, Some(list)), Ok(vec![8, 9]));
    let wrong = said(config, Some(r#"{"eos_token_id": [8, "x"]}"#)).unwrap_err();
    assert_eq!(
        wrong,
        r#"[folder]/generation_config.json: key `eos_token_id`: expected a token id or a list of them, found [8,"x"]"#
    );
}
