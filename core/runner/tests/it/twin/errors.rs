//! What has no twin, in a line each.

use serde_json::{Map, Value, json};

use super::test;
use crate::support::cli_test::CliTest;

/// A copy of a model's config with other keys; `null` takes one away.
fn respelled(test: &CliTest, model: &str, keys: &Value) {
    let text = std::fs::read(test.path(model).join("config.json")).unwrap();
    let mut config: Map<String, Value> = serde_json::from_slice(&text).unwrap();
    for (key, value) in keys.as_object().unwrap() {
        match value {
            Value::Null => config.remove(key),
            value => config.insert(key.clone(), value.clone()),
        };
    }
    test.write("other/config.json", Value::Object(config).to_string());
}

#[test]
fn each_is_told_in_a_line() {
    let test = test();
    let mut told = String::new();
    let mut tell = |test: &CliTest, model: &str, out: &str| {
        let run = test.run(["twin", model, "--out", out]).exits(101);
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
        told.push_str(&run.stderr);
    };
    tell(&test, "nowhere", "twin");
    test.write("empty/README.md", "");
    tell(&test, "empty", "twin");
    // What lies there may be a model.
    tell(&test, "gpt2-xl", "mistral-7b");
    test.write("file", "");
    tell(&test, "gpt2-xl", "file");
    test.write("strange/config.json", r#"{"model_type": "strange"}"#);
    tell(&test, "strange", "twin");
    for (model, keys) in [
        ("llama-3.1-8b", json!({"hidden_act": "gleu"})),
        (
            "llama-3.1-8b",
            json!({"quantization_config": {"quant_method": "fp8"}}),
        ),
        // HF's default is 28, and nothing of the small model says otherwise.
        (
            "qwen2-with-windows-and-yarn",
            json!({"num_hidden_layers": 32, "max_window_layers": null}),
        ),
        (
            "mixtral-8x7b",
            json!({"num_local_experts": 700, "num_experts_per_tok": 600}),
        ),
    ] {
        respelled(&test, model, &keys);
        tell(&test, "other", "twin");
    }
    assert!(!test.path("twin").exists());
    insta::assert_snapshot!(told);
}
