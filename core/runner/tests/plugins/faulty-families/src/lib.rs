//! Llama and its kin, Gemma, Bloom and GPT-2 with mistakes in what a table is made of or in what is read at all: the real
//! adapters, and one edit of what they return or read.

#[path = "../../../../../../architectures/llama/src/adapter.rs"]
mod adapter;
#[path = "../../../../../../architectures/bloom/src/adapter.rs"]
mod bloom;
#[path = "../../../../../../architectures/llama/src/family.rs"]
mod family;
#[path = "../../../../../../architectures/gemma/src/adapter.rs"]
mod gemma;
#[path = "../../../../../../architectures/gpt2/src/adapter.rs"]
mod gpt2;
#[path = "../../../../../../architectures/gemma/src/hyper.rs"]
mod hyper;

use adapter::LlamaLike;
use serde_json::Map;
use tlbench_sdk::spec::{
    AttentionSpec, BranchInput, Mask, MlpSpec, NormSpec, Pairing, PositionSpec, RotaryScaling,
    RotarySpec,
};
use tlbench_sdk::{ArchitectureAdapter, ArchitectureInfo, ConfigError, ConfigReader, ModelSpec};

tlbench_sdk::plugin! {
    architectures: [
        Faulty("llama-other-theta", LlamaLike(family::LLAMA), other_theta),
        Faulty("llama-interleaved", LlamaLike(family::LLAMA), interleaved),
        Faulty("llama-unstretched", LlamaLike(family::LLAMA), unstretched),
        Faulty("llama-scaling-ignored", LlamaLike(family::LLAMA), scaling_ignored),
        Faulty("llama-without-mlp-biases", LlamaLike(family::LLAMA), without_mlp_biases),
        Faulty("mistral-wider-window", LlamaLike(family::MISTRAL), wider_window),
        Faulty("qwen2-other-theta", LlamaLike(family::QWEN2), other_theta),
        Faulty("qwen3-other-theta", LlamaLike(family::QWEN3), other_theta),
        Faulty("mistral-wider-window-and-scale", LlamaLike(family::MISTRAL), wider_window_and_scale),
        Faulty("llama-interleaved-other-theta", LlamaLike(family::LLAMA), interleaved_other_theta),
        Faulty("gemma-without-offset", gemma::Gemma, without_offset),
        Faulty("bloom-geometric-slopes", bloom::Bloom, geometric_slopes),
        Blind("gpt2-blind-to-scale", gpt2::Gpt2, "scale_attn_weights"),
    ],
}

/// A name by which configs ask for it, the real adapter, and what is wrong with its spec.
struct Faulty<A>(&'static str, A, fn(&mut ModelSpec));

impl<A: ArchitectureAdapter> ArchitectureAdapter for Faulty<A> {
    fn info(&self) -> ArchitectureInfo {
        info(self.0)
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        let mut right = self.1.spec(config)?;
        (self.2)(&mut right);
        Ok(right)
    }
}

/// A name, the real adapter, and a key that it does not look for.
struct Blind<A>(&'static str, A, &'static str);

impl<A: ArchitectureAdapter> ArchitectureAdapter for Blind<A> {
    fn info(&self) -> ArchitectureInfo {
        info(self.0)
    }

    fn spec(&self, config: &ConfigReader) -> Result<ModelSpec, ConfigError> {
        let Self(_, adapter, unseen) = self;
        // What it looks for, it looks for in an empty config as well.
        let empty = ConfigReader::new(Map::new());
        adapter.spec(&empty)?;
        let keys = empty.keys_read().into_iter().filter(|key| key != unseen);
        let seen = keys.filter_map(|key| Some((key.clone(), config.value(&[&key])?.clone())));
        let seen = ConfigReader::new(seen.collect());
        let spec = adapter.spec(&seen)?;
        let neutral = seen.keys_neutral();
        config.neutral(&neutral.iter().map(String::as_str).collect::<Vec<_>>());
        Ok(spec)
    }
}

fn info(id: &str) -> ArchitectureInfo {
    ArchitectureInfo {
        id: id.to_owned(),
        description: "a family with a mistake".into(),
        model_types: Vec::new(),
    }
}

fn attentions(spec: &mut ModelSpec) -> impl Iterator<Item = &mut AttentionSpec> {
    let branches = spec
        .layers
        .iter_mut()
        .filter_map(|layer| layer.attn.as_mut());
    branches.map(|branch| &mut branch.body)
}

fn rotaries(spec: &mut ModelSpec) -> impl Iterator<Item = &mut RotarySpec> {
    attentions(spec).filter_map(|attention| match &mut attention.position {
        PositionSpec::Rotary(rotary) => Some(rotary),
        _ => None,
    })
}

fn other_theta(spec: &mut ModelSpec) {
    rotaries(spec).for_each(|rotary| rotary.theta *= 1.1);
}

fn interleaved(spec: &mut ModelSpec) {
    rotaries(spec).for_each(|rotary| rotary.pairing = Pairing::Interleaved);
}

fn unstretched(spec: &mut ModelSpec) {
    for rotary in rotaries(spec) {
        if let RotaryScaling::Yarn {
            attention_factor, ..
        } = &mut rotary.scaling
        {
            *attention_factor = 1.0;
        }
    }
}

fn scaling_ignored(spec: &mut ModelSpec) {
    rotaries(spec).for_each(|rotary| rotary.scaling = RotaryScaling::None);
}

fn without_mlp_biases(spec: &mut ModelSpec) {
    for branch in spec
        .layers
        .iter_mut()
        .filter_map(|layer| layer.mlp.as_mut())
    {
        if let MlpSpec::Dense(mlp) = &mut branch.body {
            mlp.output.bias = None;
        }
    }
}

fn wider_window(spec: &mut ModelSpec) {
    for attention in attentions(spec) {
        if let Mask::Band {
            back: Some(back), ..
        } = &mut attention.mask
        {
            *back += 1;
        }
    }
}

fn wider_window_and_scale(spec: &mut ModelSpec) {
    wider_window(spec);
    attentions(spec).for_each(|attention| attention.scale *= 1.01);
}

fn interleaved_other_theta(spec: &mut ModelSpec) {
    interleaved(spec);
    other_theta(spec);
}

/// Every norm takes its gains as they are stored, around 0.
fn without_offset(spec: &mut ModelSpec) {
    fn input(input: &mut BranchInput) -> Option<&mut NormSpec> {
        match input {
            BranchInput::Norm(norm) => Some(norm),
            BranchInput::Stream | BranchInput::SharedNorm => None,
        }
    }
    let inputs = spec.layers.iter_mut().flat_map(|layer| {
        let attn = layer
            .attn
            .as_mut()
            .and_then(|branch| input(&mut branch.input));
        let mlp = layer
            .mlp
            .as_mut()
            .and_then(|branch| input(&mut branch.input));
        attn.into_iter().chain(mlp)
    });
    for norm in inputs.chain(&mut spec.final_norm) {
        norm.gain_offset = 0.0;
    }
}

/// One geometric series, as it is right for powers of two alone.
fn geometric_slopes(spec: &mut ModelSpec) {
    for attention in attentions(spec) {
        if let PositionSpec::Alibi(alibi) = &mut attention.position {
            let heads = alibi.slopes.len() as f64;
            for (head, slope) in alibi.slopes.iter_mut().enumerate() {
                *slope = (-8.0 * (head + 1) as f64 / heads).exp2();
            }
        }
    }
}
