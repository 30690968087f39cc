//! Text becomes the tokens that HuggingFace's tokenizer makes of it; `fixtures/tokenizers.json` holds what that is.

use serde_json::{Map, Value, json};
use tlbench_checkpoint::Tokenizer;

use crate::support::Folder;

const MEASURED: &str = include_str!("../fixtures/tokenizers.json");

/// The folder that a case was measured on.
fn folder(measured: &Value, case: &Value) -> Folder {
    let mut tokenizer = measured["bases"][case["base"].as_str().unwrap()]
        .as_object()
        .unwrap()
        .clone();
    tokenizer.extend(case["replace"].as_object().unwrap().clone());
    let files = case["files"].as_object().unwrap();
    let folder = Folder::new().with("tokenizer.json", Value::Object(tokenizer).to_string());
    files.iter().fold(folder, |folder, (name, content)| {
        folder.with(name, content.to_string())
    })
}

fn measured_ids(case: &Value) -> Vec<(&str, Vec<i64>)> {
    let ids = |texts: &Value| {
        texts
            .as_array()
            .unwrap()
            .iter()
            .map(|id| id.as_i64().unwrap())
            .collect()
    };
    let measured = case["measured"].as_array().unwrap();
    measured
        .iter()
        .map(|entry| (entry["text"].as_str().unwrap(), ids(&entry["ids"])))
        .collect()
}

#[test]
fn every_measured_text_has_the_tokens_that_huggingface_gives_it() {
    let measured: Value = serde_json::from_str(MEASURED).unwrap();
    for case in measured["cases"].as_array().unwrap() {
        let name = &case["name"];
        let tokenizer = Tokenizer::open(folder(&measured, case).path()).unwrap();
        let agrees = measured_ids(case)
            .into_iter()
            .all(|(text, ids)| tokenizer.encode(text).unwrap() == ids);
        // Those are the ones that the documentation says are not reproduced.
        let rebuilt = case["rebuilt"].as_bool().unwrap();
        assert_eq!(agrees, !rebuilt, "{name}");
        if !rebuilt {
            assert_eq!(
                tokenizer.token_count() as u64,
                case["vocab"].as_u64().unwrap(),
                "{name}"
            );
        }
        if case["files"].get("tokenizer_config.json").is_some() && !rebuilt {
            let roles = [tokenizer.bos(), tokenizer.eos(), tokenizer.pad()];
            assert_eq!(
                roles,
                ["bos", "eos", "pad"].map(|role| case[role].as_i64()),
                "{name}"
            );
        }
    }
}

#[test]
fn bos_and_eos_flags_of_the_tokenizer_config_have_no_effect() {
    let measured: Value = serde_json::from_str(MEASURED).unwrap();
    let cases = measured["cases"].as_array().unwrap();
    for case in cases
        .iter()
        .filter(|case| !case["rebuilt"].as_bool().unwrap())
    {
        let folder = folder(&measured, case);
        let plain = Tokenizer::open(folder.path())
            .unwrap()
            .encode("the cat")
            .unwrap();
        for flag in [true, false] {
            let mut config: Map<String, Value> = case["files"]
                .get("tokenizer_config.json")
                .map_or_else(Map::new, |c| c.as_object().unwrap().clone());
            config.extend([
                ("add_bos_token".to_owned(), json!(flag)),
                ("add_eos_token".to_owned(), json!(flag)),
            ]);
            folder.write("tokenizer_config.json", Value::Object(config).to_string());
            assert_eq!(
                Tokenizer::open(folder.path())
                    .unwrap()
                    .encode("the cat")
                    .unwrap(),
                plain,
                "{}",
                case["name"]
            );
        }
    }
}

fn word_level(change: impl FnOnce(&mut Value)) -> String {
    let mut tokenizer = json!({
        "version": "1.0", "truncation": null, "padding": null, "added_tokens": [], "normalizer": null,
        "pre_tokenizer": {"type": "Whitespace"}, "post_processor": null, "decoder": null,
        "model": {"type": "WordLevel", "vocab": {"the": 0, "cat": 1, "<unk>": 2}, "unk_token": "<unk>"},
    });
    change(&mut tokenizer);
    tokenizer.to_string()
}

#[test]
fn tokens_become_the_text_that_they_came_from() {
    let shipped = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../../architectures/gpt2/fixtures/trained"
    );
    let tokenizer = Tokenizer::open(shipped.as_ref()).unwrap();
    for text in ["", "And it came to pass,", " é 🟢\n", "Amen.<|endoftext|>"] {
        let tokens = tokenizer.encode(text).unwrap();
        assert_eq!(tokenizer.decode(&tokens).unwrap(), text);
    }
    let folder = Folder::new().with("tokenizer.json", word_level(|_| ()));
    let tokenizer = Tokenizer::open(folder.path()).unwrap();
    let said =
        [3, -1, 1 << 40].map(|token| folder.said(tokenizer.decode(&[0, token]).unwrap_err()));
    insta::assert_snapshot!(said.join("\n"), @"
    [folder]/tokenizer.json: expected ids of its vocabulary, found 3
    [folder]/tokenizer.json: expected ids of its vocabulary, found -1
    [folder]/tokenizer.json: expected ids of its vocabulary, found 1099511627776
    ");
}

#[test]
fn what_is_wrong_with_a_tokenizer() {
    let undeclared = json!({
        "type": "TemplateProcessing", "pair": [], "special_tokens": {},
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    });
    let said = |content: String| {
        let folder = Folder::new().with("tokenizer.json", content);
        folder.said(
            Tokenizer::open(folder.path())
                .and_then(|tokenizer| tokenizer.encode("the dog"))
                .unwrap_err(),
        )
    };
    let messages = [
        folder_without_tokenizer(),
        said("{\n\"version\": }".to_owned()),
        said(word_level(|tokenizer| {
            tokenizer["model"]["vocab"] = json!({"the": -1});
        })),
        said(word_level(|tokenizer| {
            tokenizer["model"]["unk_token"] = json!("<gone>");
        })),
        said(word_level(|tokenizer| {
            tokenizer["post_processor"] = undeclared;
        })),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r"
    [folder]: found no tokenizer.json; give token ids instead of text
    [folder]/tokenizer.json: line 2, column 12: expected value
    [folder]/tokenizer.json: line 1, column 101: invalid value: integer `-1`, expected u32
    [folder]/tokenizer.json: WordLevel error: Missing [UNK] token from the vocabulary
    [folder]/tokenizer.json: the tokenizers library gave up on this file (no entry found for key)
    ");
}

fn folder_without_tokenizer() -> String {
    let folder = Folder::new();
    folder.said(Tokenizer::open(folder.path()).unwrap_err())
}

#[test]
fn what_is_wrong_with_a_tokenizer_config() {
    let said = |config: &Value| {
        let folder = Folder::new()
            .with("tokenizer.json", word_level(|_| {}))
            .with("tokenizer_config.json", config.to_string());
        folder.said(Tokenizer::open(folder.path()).unwrap_err())
    };
    let messages = [
        said(&json!([])),
        said(&json!({"bos_token": 5})),
        said(&json!({"pad_token": {"lstrip": true}})),
        said(&json!({"extra_special_tokens": "<x>"})),
        said(&json!({"added_tokens_decoder": {"first": {"content": "<x>"}}})),
    ];
    insta::assert_snapshot!(messages.join("\n"), @r#"
    [folder]/tokenizer_config.json: line 1, column 1: expected an object, found []
    [folder]/tokenizer_config.json: key `bos_token`: expected a token: a text, or an object with `content`, found 5
    [folder]/tokenizer_config.json: key `pad_token`: expected a token: a text, or an object with `content`, found {"lstrip":true}
    [folder]/tokenizer_config.json: key `extra_special_tokens`: expected a list or an object of tokens, found "<x>"
    [folder]/tokenizer_config.json: key `added_tokens_decoder`: expected token ids as keys, found "first"
    "#);
}
