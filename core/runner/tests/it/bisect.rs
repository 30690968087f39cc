//! `tlbench bisect`: adapters and subjects with one mistake, and what the file about it reproduces.

use std::collections::HashMap;
use std::f64::consts::PI;
use std::fs;
use std::iter::zip;
use std::path::Path;

use safetensors::SafeTensors;
use safetensors::tensor::Metadata;
use serde_json::Value;

use crate::support::built::{plugin, test_plugin};
use crate::support::cli_test::{CliTest, Run};
use crate::support::{fixture, repository};

/// With the adapters that are wrong, and the recordings of HuggingFace.
fn test() -> CliTest {
    CliTest::without_plugins()
        .plugin(plugin("tlbench_hf_recorded"))
        .plugin(plugin("tlbench_gpt2"))
        .plugin(test_plugin("faulty_gpt2"))
        .plugin(test_plugin("faulty_families"))
}

/// The checkpoint in `folder` through the adapter `architecture`.
fn bisected(test: &CliTest, folder: &Path, architecture: &str, arguments: &[&str]) -> Run {
    let path = folder.display();
    let model =
        format!("[[models]]\nname = 'm'\npath = '{path}'\narchitecture = '{architecture}'\n");
    test.write("tlbench.toml", model);
    test.run(["bisect", "m", "--quiet"].iter().chain(arguments))
}

/// Ratios are the processor's.
fn without_ratios(assert: impl FnOnce()) {
    let mut settings = insta::Settings::clone_current();
    settings.add_filter(r"error ratio \d[\d.]*", "error ratio [RATIO]");
    settings.add_filter(r"(after each block  ).*", "$1[RATIOS]");
    settings.bind(assert);
}

#[test]
fn help() {
    insta::assert_snapshot!(CliTest::without_plugins().run(["bisect", "--help"]));
}

#[test]
fn nothing_is_wrong() {
    let test = test();
    let run = bisected(&test, &fixture(""), "gpt2-no-fault", &[]).exits(0);
    insta::assert_snapshot!(run);
    assert!(!test.path("reproduction.safetensors").exists());
}

#[test]
fn the_first_wrong_operation_with_what_goes_in() {
    let test = test();
    let run = bisected(&test, &fixture(""), "gpt2-exact-gelu", &[]).exits(100);
    without_ratios(|| insta::assert_snapshot!("wrong_activation", run));
    let run = bisected(&test, &fixture(""), "gpt2-shifted-mask", &[]).exits(100);
    without_ratios(|| insta::assert_snapshot!("shifted_mask", run));
    let mistral = repository().join("architectures/llama/fixtures/mistral");
    let run = bisected(&test, &mistral, "mistral-wider-window", &[]).exits(100);
    without_ratios(|| insta::assert_snapshot!("wider_window", run));
    let llama = repository().join("architectures/llama/fixtures/tiny");
    let run = bisected(&test, &llama, "llama-interleaved", &[]).exits(100);
    without_ratios(|| insta::assert_snapshot!("interleaved_rotation", run));
}

#[test]
fn for_programs() {
    let test = test();
    let arguments = ["--format", "json", "--out", "a/b"];
    let run = bisected(&test, &fixture(""), "gpt2-swapped-q-and-k", &arguments).exits(100);
    let found = run.json();
    assert_eq!(
        found["first_wrong"]["divergence"]["quantity"],
        "hook:blocks.0.attn.hook_q"
    );
    let reproduction = &found["first_wrong"]["reproduction"];
    insta::assert_json_snapshot!(reproduction["tensors"]);
    assert!(test.path("a/b/reproduction.safetensors").exists());
}

#[test]
fn each_mistake_is_found_at_the_hook_that_it_is_made_at() {
    let test = test();
    let table = crate::faults::FAULTS.map(|(fault, hook)| {
        let run = bisected(&test, &fixture(""), fault, &["--format", "json"]).exits(100);
        let first = run.json()["first_wrong"].clone();
        assert_eq!(first["divergence"]["quantity"], hook, "{fault}");
        let operations = first["operations"]
            .as_array()
            .map_or(&[][..], Vec::as_slice);
        let Some(last) = operations.last() else {
            return format!("{fault:<24} no operation");
        };
        format!(
            "{fault:<24} {} of {} operations: {} = {}",
            first["reproduction"]["place"]
                .as_str()
                .unwrap_or("no reproduction"),
            operations.len(),
            last["result"].as_str().unwrap(),
            last["formula"].as_str().unwrap()
        )
    });
    insta::assert_snapshot!(table.join("\n"));
}

#[test]
fn what_cannot_be_bisected_is_told_in_a_line() {
    let test = test();
    test.write("occupied", "");
    let occupied = bisected(&test, &fixture(""), "gpt2-eps", &["--out", "occupied"]);
    let nowhere = test.run(["bisect", "nowhere", "--quiet"]);
    let runs = [occupied.exits(101), nowhere.exits(101)];
    let told = runs.iter().map(|run| {
        assert_eq!(run.stderr.lines().count(), 1, "{run}");
        run.stderr.clone()
    });
    insta::assert_snapshot!(told.collect::<String>());
}

/// A reproduction, read.
struct Reproduction {
    values: HashMap<String, Vec<f64>>,
    parameters: Value,
}

impl Reproduction {
    fn read(file: &Path) -> Self {
        let bytes = fs::read(file).unwrap();
        let tensors = SafeTensors::deserialize(&bytes).unwrap();
        let values = tensors.tensors().into_iter();
        let widened = |bytes: &[u8]| -> Vec<f64> {
            let floats = bytes.chunks_exact(4);
            floats
                .map(|b| f64::from(f32::from_le_bytes([b[0], b[1], b[2], b[3]])))
                .collect()
        };
        let (_, metadata): (usize, Metadata) = SafeTensors::read_metadata(&bytes).unwrap();
        let parameters = &metadata.metadata().as_ref().unwrap()["parameters"];
        Self {
            values: values
                .map(|(name, view)| (name, widened(view.data())))
                .collect(),
            parameters: serde_json::from_str(parameters).unwrap(),
        }
    }

    fn value(&self, name: &str) -> &[f64] {
        &self.values[name]
    }

    /// Whether `computed` is the value of this name as near as f32 comes to it.
    fn is(&self, name: &str, computed: &[f64]) -> bool {
        let value = self.value(name);
        assert_eq!(value.len(), computed.len(), "{name}");
        let near = |(value, computed): (&f64, &f64)| {
            value == computed || (value - computed).abs() < 2e-6 * computed.abs().max(0.1)
        };
        zip(value, computed).all(near)
    }
}

fn exact_gelu(x: f64) -> f64 {
    // Of the error function, by its series.
    let z = x / 2.0_f64.sqrt();
    let mut term = z;
    let mut sum = z;
    for n in 1..80 {
        let n = f64::from(n);
        term *= -z * z / n;
        sum += term / (2.0 * n + 1.0);
    }
    x * 0.5 * (1.0 + 2.0 / PI.sqrt() * sum)
}

fn tanh_gelu(x: f64) -> f64 {
    0.5 * x * (1.0 + ((2.0 / PI).sqrt() * (x + 0.044_715 * x.powi(3))).tanh())
}

#[test]
fn the_reproduction_of_an_activation_gives_what_was_found_by_the_spec_and_else_what_is_right() {
    let test = test();
    bisected(&test, &fixture(""), "gpt2-exact-gelu", &[]).exits(100);
    let file = Reproduction::read(&test.path("reproduction.safetensors"));
    let hook = "blocks.0.mlp.hook_post";
    assert_eq!(file.parameters[hook]["activation"], "gelu");
    let pre = file.value("inputs/blocks.0.mlp.hook_pre");
    let by = |function: fn(f64) -> f64| pre.iter().map(|&x| function(x)).collect::<Vec<_>>();
    assert!(file.is(&format!("found/{hook}"), &by(exact_gelu)));
    assert!(file.is(&format!("expected/{hook}"), &by(tanh_gelu)));
    assert!(!file.is(&format!("found/{hook}"), &by(tanh_gelu)));
}

#[test]
fn the_reproduction_of_scores_gives_what_was_found_by_the_spec_and_else_what_is_right() {
    let test = test();
    bisected(&test, &fixture(""), "gpt2-unscaled-attention", &[]).exits(100);
    let file = Reproduction::read(&test.path("reproduction.safetensors"));
    let hook = "blocks.0.attn.hook_attn_scores";
    let q = file.value("inputs/blocks.0.attn.hook_q");
    let k = file.value("inputs/blocks.0.attn.hook_k");
    // One query of one head, and the keys that it sees.
    let scores = |scale: f64| -> Vec<f64> {
        let keys = k.chunks_exact(q.len());
        keys.map(|k| scale * zip(q, k).map(|(q, k)| q * k).sum::<f64>())
            .collect()
    };
    let scale = file.parameters[hook]["scale"].as_f64().unwrap();
    assert!(file.is(&format!("found/{hook}"), &scores(scale)));
    let right = 1.0 / (q.len() as f64).sqrt();
    assert!(file.is(&format!("expected/{hook}"), &scores(right)));
}

/// The spec is right, so that by it comes out what was expected: it is the code that is wrong.
#[test]
fn a_subject_of_its_own_is_bisected_as_well() {
    let test = CliTest::without_plugins()
        .plugin(plugin("tlbench_hf_recorded"))
        .plugin(plugin("tlbench_gpt2"))
        .plugin(plugin("faulty_subject"));
    test.write(
        "tlbench.toml",
        format!(
            "[[models]]\nname = 'm'\npath = '{}'\n[reference.faulty-subject]\nfault = 'exact-gelu'\n",
            fixture("").display()
        ),
    );
    let run = test.run(["bisect", "m", "--quiet", "--subject", "faulty-subject"]);
    let run = run.exits(100);
    assert!(
        run.stdout.contains("first wrong: blocks.0.mlp.hook_post"),
        "{run}"
    );
    let file = Reproduction::read(&test.path("reproduction.safetensors"));
    let pre = file.value("inputs/blocks.0.mlp.hook_pre");
    let by_spec: Vec<f64> = pre.iter().map(|&x| tanh_gelu(x)).collect();
    assert!(file.is("expected/blocks.0.mlp.hook_post", &by_spec));
    assert!(!file.is("found/blocks.0.mlp.hook_post", &by_spec));
}
