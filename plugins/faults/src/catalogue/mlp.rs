//! Feed-forward bodies, routers and experts.

use tlbench_sdk::spec::{Activation, Renormalise, RouterScore, ScoreOrder};
use tlbench_sdk::{Feature, ModelSpec, Runs};

use crate::parts::{activations, moes, networks};
use crate::zoo::{Entry, Make};

const fn mlp(id: &'static str, description: &'static str, edit: fn(&mut ModelSpec)) -> Entry {
    Entry::new(Feature::Mlp, id, description, Make::Spec(Runs::All, edit))
}

const fn moe(id: &'static str, description: &'static str, edit: fn(&mut ModelSpec)) -> Entry {
    Entry::new(Feature::Moe, id, description, Make::Spec(Runs::All, edit))
}

const GELUS: &[Activation] = &[Activation::Gelu, Activation::GeluTanh];

pub(crate) const FAULTS: &[Entry] = &[
    mlp(
        "gelu-kind",
        "GELU by the error function where its tanh approximation is meant, or the reverse",
        |spec| {
            for network in networks(spec) {
                network.activation = match network.activation {
                    Activation::Gelu => Activation::GeluTanh,
                    Activation::GeluTanh => Activation::Gelu,
                    other => other,
                };
            }
        },
    )
    .made_in(&[
        "https://github.com/huggingface/candle/pull/969",
        "https://github.com/google/gemma_pytorch/pull/37",
    ]),
    mlp("gelu-quick", "quick GELU, for GELU", |spec| {
        activations(spec, GELUS, Activation::QuickGelu);
    }),
    mlp("silu-for-gelu", "SiLU, for GELU", |spec| {
        activations(spec, GELUS, Activation::Silu);
    })
    .made_in(&["https://github.com/huggingface/candle/issues/3745"]),
    mlp("gelu-for-silu", "GELU, for SiLU", |spec| {
        activations(spec, &[Activation::Silu], Activation::Gelu);
    })
    .made_in(&["https://github.com/huggingface/candle/pull/991"]),
    mlp("relu-for-all", "ReLU, for the activation", |spec| {
        activations(
            spec,
            &[Activation::Gelu, Activation::GeluTanh, Activation::Silu],
            Activation::Relu,
        );
    }),
    mlp(
        "gate-up-swapped",
        "gate and up projection in each other's place",
        |spec| {
            for network in networks(spec) {
                if let Some(gate) = &mut network.gate {
                    std::mem::swap(gate, &mut network.input);
                }
            }
        },
    ),
    mlp("mlp-input-bias-dropped", "no bias at the input of MLPs", |spec| {
        networks(spec).for_each(|network| network.input.bias = None);
    }),
    mlp("mlp-gate-bias-dropped", "no bias of the gates of MLPs", |spec| {
        let gates = networks(spec).filter_map(|network| network.gate.as_mut());
        gates.for_each(|gate| gate.bias = None);
    }),
    mlp("mlp-output-bias-dropped", "no bias at the output of MLPs", |spec| {
        networks(spec).for_each(|network| network.output.bias = None);
    }),
    moe(
        "router-normalisation",
        "weights of chosen experts that are divided by their sum where they are not meant to, or the reverse",
        |spec| {
            for moe in moes(spec) {
                moe.renormalise = match moe.renormalise {
                    Renormalise::Yes => Renormalise::No,
                    Renormalise::No => Renormalise::Yes,
                };
            }
        },
    )
    .made_in(&[
        "https://github.com/sgl-project/sglang/pull/35160",
        "https://github.com/pytorch/torchtitan/issues/1448",
    ]),
    moe(
        "router-order",
        "the router's softmax after the choice where it is meant before, or the reverse",
        |spec| {
            for moe in moes(spec) {
                moe.order = match moe.order {
                    ScoreOrder::BeforeTopK => ScoreOrder::AfterTopK,
                    ScoreOrder::AfterTopK => ScoreOrder::BeforeTopK,
                };
            }
        },
    )
    .shown_by("weights that are not divided by their sum; where they are, both orders are the same"),
    moe("router-sigmoid", "a sigmoid in the router, for the softmax", |spec| {
        moes(spec).for_each(|moe| moe.score = RouterScore::Sigmoid);
    })
    .made_in(&["https://github.com/ml-explore/mlx-lm/pull/1354"]),
    moe("experts-one-less", "one expert too few for each token", |spec| {
        moes(spec).for_each(|moe| moe.top_k = (moe.top_k - 1).max(1));
    })
    .made_in(&["https://github.com/ml-explore/mlx-examples/pull/676"]),
    moe("experts-one-more", "one expert too many for each token", |spec| {
        moes(spec).for_each(|moe| moe.top_k = (moe.top_k + 1).min(moe.experts.len()));
    }),
    moe("experts-rotated", "experts in another order than the router's rows", |spec| {
        moes(spec).for_each(|moe| moe.experts.rotate_left(1));
    }),
    moe("shared-expert-dropped", "no expert that serves every token", |spec| {
        moes(spec).for_each(|moe| moe.shared = None);
    }),
];
