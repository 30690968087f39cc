//! What is asked, refused and spelled; what the ports compute is judged by recordings.

use candle_core::{DType, Device, Result as CandleResult, Tensor};
use serde_json::{Map, Value, json};
use tlbench_sdk::{
    GenerateRequest, Padding, PluginError, Processing, ProcessingStep, Quantity, Sampling,
    Stimulus, TraceRequest,
};

use crate::answer::answer;
use crate::config::Config;
use crate::error::Error;
use crate::ports::{self, Port};

/// Likes the token after the sum of all that it was fed, of 5; and notes in what pieces.
#[derive(Default)]
struct Counting {
    fed: Vec<u32>,
    calls: Vec<(usize, usize)>,
}

impl Port for Counting {
    fn last_logits(&mut self, tokens: &Tensor, past: usize) -> CandleResult<Tensor> {
        assert_eq!(past, self.fed.len(), "the cache holds something else");
        let tokens = tokens.flatten_all()?.to_vec1::<u32>()?;
        self.calls.push((past, tokens.len()));
        self.fed.extend(tokens);
        let likes = self.fed.iter().sum::<u32>() % 5;
        let logits = (0..5).map(|token| f32::from(u8::from(token == likes)));
        Tensor::from_vec(logits.collect::<Vec<f32>>(), (1, 5), &Device::Cpu)
    }

    fn forget(&mut self) -> CandleResult<()> {
        self.fed.clear();
        Ok(())
    }
}

fn asking(rows: &[Vec<i64>], capture: &[Quantity]) -> TraceRequest {
    let stimulus = Stimulus::from_rows("x", rows, Padding::Left, 0).unwrap();
    stimulus.showing(capture.iter().cloned()).request
}

fn refusal(request: &TraceRequest) -> String {
    let error = answer(&mut Counting::default(), request, None).unwrap_err();
    let error = PluginError::from(error);
    format!("{:?}: {}", error.kind, error.message)
}

#[test]
fn every_position_is_the_end_of_a_prefix() {
    let request = asking(&[vec![1, 2, 4]], &[Quantity::Logits]);
    let values = answer(&mut Counting::default(), &request, None).unwrap();
    let likes = |likes: usize| (0..5).map(move |token| f64::from(u8::from(token == likes)));
    let expected: Vec<f64> = [1, 3, 2].into_iter().flat_map(likes).collect();
    assert_eq!(values[&Quantity::Logits].to_f64_vec(), expected);
    assert_eq!(values.len(), 1);
}

#[test]
fn an_absent_mask_hides_nothing() {
    let request = asking(&[vec![1, 2, 4]], &[Quantity::Logits]);
    let mut without = request.clone();
    assert!(without.inputs.remove("attention_mask").is_some());
    let logits = |request| {
        let values = answer(&mut Counting::default(), request, None).unwrap();
        values[&Quantity::Logits].to_f64_vec()
    };
    assert_eq!(logits(&without), logits(&request));
}

#[test]
fn pieces_go_through_the_cache() {
    let mut port = Counting::default();
    let mut request = asking(&[vec![1, 2, 4]], &[Quantity::Loss]);
    request.chunks = vec![2, 1];
    answer(&mut port, &request, None).unwrap();
    assert_eq!(port.calls, [(0, 1), (0, 2), (0, 2), (2, 1)]);
}

#[test]
fn a_loss_is_that_of_the_token_that_follows() {
    let request = asking(&[vec![1, 1, 0]], &[Quantity::LossPerToken, Quantity::Loss]);
    let values = answer(&mut Counting::default(), &request, None).unwrap();
    let (hit, miss) = ((1.0_f64.exp() + 4.0).ln() - 1.0, (1.0_f64.exp() + 4.0).ln());
    let losses = values[&Quantity::LossPerToken].to_f64_vec();
    assert!((losses[0] - hit).abs() < 1e-12 && (losses[1] - miss).abs() < 1e-12);
    let mean = values[&Quantity::Loss].to_f64_vec()[0];
    assert!((mean - (hit + miss) / 2.0).abs() < 1e-12);
}

#[test]
fn tokens_are_appended_until_one_stops_or_the_context_is_full() {
    let generate = |use_cache, stop: usize, n_ctx| {
        let mut request = asking(&[vec![1, 2]], &[Quantity::Generated]);
        request.generate = Some(GenerateRequest {
            max_new_tokens: 4,
            stop_tokens: vec![stop],
            use_cache,
            sampling: Sampling::Greedy,
        });
        let mut port = Counting::default();
        let values = answer(&mut port, &request, n_ctx).unwrap();
        (values[&Quantity::Generated].to_f64_vec(), port.calls)
    };
    let (tokens, calls) = generate(true, 4, None);
    assert_eq!(tokens, [3.0, 1.0, 2.0, 4.0]);
    assert_eq!(calls, [(0, 2), (2, 1), (3, 1), (4, 1)]);
    let (tokens, calls) = generate(false, 1, None);
    assert_eq!(tokens, [3.0, 1.0]);
    assert_eq!(calls, [(0, 2), (0, 3)]);
    assert_eq!(generate(true, 4, Some(3)).0, [3.0]);
}

#[test]
fn what_ports_do_not_do_is_refused_with_the_reason() {
    let row = vec![1, 2];
    let plain = asking(std::slice::from_ref(&row), &[Quantity::Logits]);
    let fold: Processing = [ProcessingStep::FoldLn].into_iter().collect();
    let mut sampled = asking(std::slice::from_ref(&row), &[Quantity::Generated]);
    sampled.generate = Some(GenerateRequest {
        max_new_tokens: 1,
        stop_tokens: vec![],
        use_cache: true,
        sampling: Sampling::Temperature {
            temperature: 1.0,
            seed: 0,
        },
    });
    let mut chunked = plain.clone();
    chunked.chunks = vec![3];
    let refusals = [
        asking(std::slice::from_ref(&row), &[Quantity::hook("hook_embed")]),
        plain.clone().processed(fold),
        plain.local(Default::default()),
        asking(&[row, vec![3]], &[Quantity::Logits]),
        sampled,
        chunked,
    ];
    insta::assert_snapshot!(refusals.iter().map(refusal).collect::<Vec<_>>().join("\n"), @"
    Unsupported: candle-transformers' models show logits alone
    Unsupported: candle-transformers' models do not process weights
    Unsupported: candle-transformers' models do not run on another one's values
    Unsupported: candle-transformers' models take no attention mask
    Unsupported: candle-transformers' models choose the likeliest token, and do not sample here
    InvalidInput: chunks: expected lengths from 1 on that sum to 2, found [3]
    ");
}

fn spelled(config: &Value) -> Result<Value, Error> {
    Config::new(config.as_object().unwrap())?.read()
}

#[test]
fn the_newer_spelling_of_rotary_keys_becomes_the_older() {
    let scaled =
        json!({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}});
    let plain = json!({"rope_parameters": {"rope_type": "default", "rope_theta": 1e6}});
    assert_eq!(
        [scaled, plain].map(|config| spelled(&config).unwrap()),
        [
            json!({"rope_theta": 5e5, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}, "use_flash_attn": false}),
            json!({"rope_theta": 1e6, "use_flash_attn": false}),
        ]
    );
}

#[test]
fn types_of_layers_become_a_pattern_or_are_refused() {
    let config = |types: &[&str]| {
        let types: Vec<String> = types
            .iter()
            .map(|kind| format!("{kind}_attention"))
            .collect();
        json!({
            "layer_types": types,
            "rope_parameters": {
                "full_attention": {"rope_type": "default", "rope_theta": 1e6},
                "sliding_attention": {"rope_type": "default", "rope_theta": 1e4},
            },
        })
    };
    let regular = spelled(&config(&["sliding", "sliding", "full", "sliding"])).unwrap();
    assert_eq!(
        [
            &regular["sliding_window_pattern"],
            &regular["rope_local_base_freq"],
            &regular["rope_theta"]
        ],
        [&json!(3), &json!(1e4), &json!(1e6)]
    );
    let error = spelled(&config(&["sliding", "full", "full"])).unwrap_err();
    insta::assert_snapshot!(error, @r#"candle-transformers cannot express `layer_types`: expected full attention in every n-th layer, found "full_attention" in layer 2"#);
}

#[test]
fn a_family_or_a_config_that_there_is_no_port_for() {
    let open = |config: Value| {
        let config = Config::new(config.as_object().unwrap_or(&Map::new())).unwrap();
        let weights = candle_nn::VarBuilder::zeros(DType::F32, &Device::Cpu);
        let error = PluginError::from(ports::open(&config, weights).err().unwrap());
        format!("{:?}: {}", error.kind, error.message)
    };
    let errors = [
        open(json!({"model_type": "gpt2"})),
        open(json!({"model_type": "mistral", "vocab_size": 5})),
    ];
    insta::assert_snapshot!(errors.join("\n"), @"
    Unsupported: candle-transformers has no model for model_type `gpt2` (it has gemma, gemma2, gemma3_text, llama, mistral, mixtral, qwen2, qwen3, qwen3_moe, starcoder2)
    InvalidInput: candle-transformers' `mistral` cannot read the config: missing field `hidden_size`
    ");
}

#[test]
fn the_release_is_the_one_that_is_linked() {
    let lock = include_str!("../../../../Cargo.lock");
    let release = crate::source::RELEASE;
    let entry = format!("name = \"candle-transformers\"\nversion = \"{release}\"\n");
    assert!(lock.contains(&entry), "{entry}");
}

#[test]
fn weights_of_f64_keep_their_bits() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("model.safetensors");
    let value = 1.0 + f64::EPSILON;
    let tensor = Tensor::from_vec(vec![value, -value], (1, 2), &Device::Cpu).unwrap();
    candle_core::safetensors::save(&[("w", tensor)].into(), &file).unwrap();
    let weights = tlbench_checkpoint::Weights::open(file).unwrap();
    let stored = crate::source::stored(&weights, "w").unwrap();
    assert_eq!(stored.to_vec2::<f64>().unwrap(), [[value, -value]]);
}
