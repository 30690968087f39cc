//! The two ends of the stream.

use half::bf16;
use tlbench_sdk::{Feature, ModelSpec, Runs};

use crate::zoo::{Entry, Make};

const fn embedding(id: &'static str, description: &'static str, edit: fn(&mut ModelSpec)) -> Entry {
    Entry::new(
        Feature::Embedding,
        id,
        description,
        Make::Spec(Runs::All, edit),
    )
}

const fn unembed(id: &'static str, description: &'static str, edit: fn(&mut ModelSpec)) -> Entry {
    Entry::new(
        Feature::Unembed,
        id,
        description,
        Make::Spec(Runs::All, edit),
    )
}

pub(crate) const FAULTS: &[Entry] = &[
    embedding(
        "embed-scale-missing",
        "an embedding that is not scaled",
        |spec| {
            spec.embedding.scale = None;
        },
    ),
    embedding(
        "embed-scale-rounded",
        "an embedding scaled by a factor that was rounded to bf16",
        |spec| {
            if let Some(scale) = &mut spec.embedding.scale {
                scale.value = bf16::from_f64(scale.value).to_f64();
            }
        },
    )
    .shown_by("a width whose root bf16 does not hold")
    .made_in(&["https://github.com/huggingface/transformers/pull/29402"]),
    embedding(
        "embed-norm-missing",
        "an embedding that is not normed",
        |spec| {
            spec.embedding.norm = None;
        },
    ),
    embedding(
        "position-table-offset",
        "learned positions that count from 1",
        |spec| {
            if let Some(positions) = &mut spec.embedding.positions {
                positions.offset += 1;
            }
        },
    )
    .made_in(&["https://github.com/ggml-org/llama.cpp/pull/10856"]),
    embedding("position-table-missing", "no learned positions", |spec| {
        spec.embedding.positions = None;
    }),
    embedding(
        "output-scale-missing",
        "outputs of branches that join the stream without their factor",
        |spec| {
            for layer in &mut spec.layers {
                if let Some(branch) = &mut layer.attn {
                    branch.output_scale = 1.0;
                }
                if let Some(branch) = &mut layer.mlp {
                    branch.output_scale = 1.0;
                }
            }
        },
    ),
    unembed(
        "head-tied",
        "the token embedding as unembedding, where the checkpoint has one of its own",
        |spec| {
            let tokens = &spec.embedding.tokens;
            let weight = &mut spec.unembed.projection.weight;
            if weight.cut_shape() == tokens.cut_shape() && weight.names != tokens.names {
                *weight = tokens.clone();
            }
        },
    )
    .made_in(&["https://github.com/huggingface/candle/pull/2445"]),
    unembed("head-bias-dropped", "no bias of the unembedding", |spec| {
        spec.unembed.projection.bias = None;
    }),
    unembed(
        "logit-scale-missing",
        "logits that are not scaled",
        |spec| {
            spec.unembed.logit_scale = 1.0;
        },
    ),
    unembed(
        "final-softcap-missing",
        "logits without their softcap",
        |spec| {
            spec.unembed.softcap = None;
        },
    )
    .shown_by("logits as large as the cap")
    .made_in(&[
        "https://github.com/ml-explore/mlx-examples/pull/857",
        "https://github.com/ggml-org/llama.cpp/pull/8197",
    ]),
];
