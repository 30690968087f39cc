//! Projections, scores, masks and heads.

use tlbench_sdk::spec::{
    AttentionSpec, Cut, LayerSpec, Mask, NormOrder, PositionSpec, ProjectionSpec, ResidualSource,
    Wiring,
};
use tlbench_sdk::{Deviation, FaultEdit, Feature, ModelSpec, Runs};

use crate::parts::{attentions, projections};
use crate::zoo::{Entry, Make};

const fn fault(id: &'static str, description: &'static str, edit: fn(&mut ModelSpec)) -> Entry {
    Entry::new(
        Feature::Attention,
        id,
        description,
        Make::Spec(Runs::All, edit),
    )
}

const PAST_WINDOW: &str = "more tokens than the window";

pub(crate) const FAULTS: &[Entry] = &[
    fault(
        "attention-unscaled",
        "scores that are not divided by the root of the head's width",
        |spec| attentions(spec).for_each(|attention| attention.scale = 1.0),
    ),
    fault(
        "attention-scale-by-head",
        "scores divided by the root of the head's width, where the config names another number",
        |spec| {
            attentions(spec).for_each(|attention| attention.scale = root(attention.d_head));
        },
    )
    .made_in(&["https://github.com/ggml-org/llama.cpp/pull/8473"]),
    fault(
        "attention-scale-by-model",
        "scores divided by the root of d_model / n_heads, where a head has another width",
        scale_by_model,
    )
    .made_in(&["https://github.com/ggml-org/llama.cpp/pull/8473"]),
    fault(
        "attention-softcap-missing",
        "scores without their softcap",
        |spec| attentions(spec).for_each(|attention| attention.softcap = None),
    )
    .shown_by("scores as large as the cap")
    .made_in(&[
        "https://github.com/ml-explore/mlx-examples/pull/857",
        "https://github.com/vllm-project/vllm/pull/5908",
    ]),
    fault(
        "mask-sees-next",
        "a causal mask that shows the next token as well",
        |spec| {
            attentions(spec).for_each(|attention| {
                if let Mask::Band {
                    ahead: Some(ahead), ..
                } = &mut attention.mask
                {
                    *ahead += 1;
                }
            });
        },
    ),
    fault("mask-missing", "no causal mask", |spec| {
        attentions(spec).for_each(|attention| {
            if let Mask::Band { ahead, .. } = &mut attention.mask {
                *ahead = None;
            }
        });
    })
    .made_in(&["https://github.com/huggingface/candle/pull/937"]),
    fault(
        "window-one-more",
        "a sliding window that shows one key too many",
        |spec| windows(spec, |back| Some(back + 1)),
    )
    .shown_by(PAST_WINDOW)
    .made_in(&[
        "https://github.com/huggingface/transformers/pull/26792",
        "https://github.com/ml-explore/mlx-lm/pull/390",
    ]),
    fault(
        "window-one-less",
        "a sliding window that shows one key too few",
        |spec| windows(spec, |back| Some(back.saturating_sub(1))),
    )
    .shown_by(PAST_WINDOW),
    fault("window-ignored", "no sliding window", |spec| {
        windows(spec, |_| None);
    })
    .shown_by(PAST_WINDOW)
    .made_in(&[
        "https://github.com/ggml-org/llama.cpp/issues/7709",
        "https://github.com/huggingface/transformers/pull/35691",
    ]),
    fault(
        "window-everywhere",
        "a sliding window in every layer, where some have none",
        window_everywhere,
    )
    .shown_by(PAST_WINDOW)
    .made_in(&["https://github.com/ml-explore/mlx-lm/pull/39"]),
    fault(
        "window-layers-swapped",
        "the sliding window in the layers that have none, and none in those that have one",
        window_layers_swapped,
    )
    .shown_by(PAST_WINDOW)
    .made_in(&[
        "https://github.com/huggingface/transformers/pull/31775",
        "https://github.com/TransformerLensOrg/TransformerLens/issues/778",
    ]),
    Entry::new(
        Feature::Attention,
        "kv-heads-tiled",
        "key heads that serve every n-th query head, for neighbouring ones",
        Make::Edits(tiled),
    ),
    Entry::new(
        Feature::Attention,
        "scores-f16",
        "scores stored in f16",
        Make::Edits(|_| vec![FaultEdit::Engine(Deviation::ScoresInF16)]),
    )
    .made_in(&["https://github.com/ggml-org/llama.cpp/pull/8412"]),
    fault(
        "q-k-swapped",
        "queries and keys in each other's place",
        |spec| {
            for attention in attentions(spec) {
                if attention.n_heads == attention.n_kv_heads {
                    std::mem::swap(&mut attention.q, &mut attention.k);
                }
            }
        },
    ),
    fault(
        "k-v-swapped",
        "keys and values in each other's place",
        |spec| {
            attentions(spec)
                .for_each(|attention| std::mem::swap(&mut attention.k, &mut attention.v));
        },
    ),
    fault(
        "heads-interleaved",
        "heads that are cut channel by channel, and not head by head",
        |spec| attentions(spec).for_each(interleave_heads),
    )
    .made_in(&["https://github.com/ggml-org/llama.cpp/pull/5392"]),
    fault(
        "square-transposed",
        "a square projection that is used as its transpose",
        transposed,
    )
    .made_in(&["https://github.com/NVIDIA-NeMo/Megatron-Bridge/pull/3743"]),
    fault("q-bias-dropped", "no bias of the queries", |spec| {
        attentions(spec).for_each(|attention| attention.q.bias = None);
    }),
    fault("k-bias-dropped", "no bias of the keys", |spec| {
        attentions(spec).for_each(|attention| attention.k.bias = None);
    })
    .shown_by("rotary positions; without them it adds the same to all scores of a query"),
    fault("v-bias-dropped", "no bias of the values", |spec| {
        attentions(spec).for_each(|attention| attention.v.bias = None);
    }),
    fault(
        "attention-output-bias-dropped",
        "no bias at the output of attention",
        |spec| attentions(spec).for_each(|attention| attention.o.bias = None),
    )
    .made_in(&["https://github.com/TransformerLensOrg/TransformerLens/pull/654"]),
    fault(
        "qkv-clip-missing",
        "queries, keys and values that are not clipped",
        |spec| {
            attentions(spec).for_each(|attention| attention.clip_qkv = None);
        },
    )
    .shown_by("values beyond the limit")
    .made_in(&["https://github.com/ggml-org/llama.cpp/pull/6910"]),
    fault(
        "qk-norm-missing",
        "queries and keys that are not normed",
        |spec| {
            attentions(spec).for_each(|attention| attention.qk_norm = None);
        },
    ),
    fault(
        "qk-norm-order",
        "queries and keys normed after their rotation, for before",
        |spec| {
            for norms in attentions(spec).filter_map(|attention| attention.qk_norm.as_mut()) {
                norms.order = match norms.order {
                    NormOrder::BeforeRotary => NormOrder::AfterRotary,
                    NormOrder::AfterRotary => NormOrder::BeforeRotary,
                };
            }
        },
    ),
    fault(
        "alibi-missing",
        "scores without a bias per distance",
        |spec| {
            for attention in attentions(spec) {
                if let PositionSpec::Alibi(_) = attention.position {
                    attention.position = PositionSpec::None;
                }
            }
        },
    ),
    fault(
        "alibi-slopes",
        "slopes 2^(-8 i / n) also where the number of heads is no power of two",
        geometric_slopes,
    )
    .made_in(&["https://github.com/huggingface/candle/pull/1117"]),
    fault(
        "wiring",
        "attention and MLP one after the other, where they are side by side, or the reverse",
        |spec| {
            for layer in spec.layers.iter_mut().filter(|layer| adds_to_stream(layer)) {
                layer.wiring = match layer.wiring {
                    Wiring::Sequential => Wiring::Parallel,
                    Wiring::Parallel => Wiring::Sequential,
                };
            }
        },
    )
    .made_in(&["https://github.com/ggml-org/llama.cpp/pull/3837"]),
];

/// What is added to the normed input is so one after the other alone.
fn adds_to_stream(layer: &LayerSpec) -> bool {
    let of_attn = layer.attn.as_ref().map(|branch| branch.residual);
    let of_mlp = layer.mlp.as_ref().map(|branch| branch.residual);
    let mut sources = of_attn.into_iter().chain(of_mlp);
    sources.all(|source| source == ResidualSource::Stream)
}

fn root(width: usize) -> f64 {
    (width as f64).sqrt().recip()
}

fn scale_by_model(spec: &mut ModelSpec) {
    let d_model = spec.d_model;
    for attention in attentions(spec) {
        attention.scale = (d_model as f64 / attention.n_heads as f64).sqrt().recip();
    }
}

/// How far back, for every layer with a window.
fn windows(spec: &mut ModelSpec, back: impl Fn(usize) -> Option<usize>) {
    for attention in attentions(spec) {
        if let Mask::Band {
            back: window @ Some(_),
            ..
        } = &mut attention.mask
        {
            *window = window.and_then(&back);
        }
    }
}

fn is_window(mask: Mask) -> bool {
    matches!(mask, Mask::Band { back: Some(_), .. })
}

/// A window of some layer.
fn window(spec: &mut ModelSpec) -> Option<Mask> {
    let mut masks = attentions(spec).map(|attention| attention.mask);
    masks.find(|mask| is_window(*mask))
}

fn window_everywhere(spec: &mut ModelSpec) {
    if let Some(window) = window(spec) {
        attentions(spec).for_each(|attention| attention.mask = window);
    }
}

fn window_layers_swapped(spec: &mut ModelSpec) {
    let Some(window) = window(spec) else {
        return;
    };
    if attentions(spec).all(|attention| is_window(attention.mask)) {
        return;
    }
    for attention in attentions(spec) {
        attention.mask = match is_window(attention.mask) {
            true => Mask::CAUSAL,
            false => window,
        };
    }
}

fn tiled(spec: &ModelSpec) -> Vec<FaultEdit> {
    let shares = |attention: &AttentionSpec| (2..attention.n_heads).contains(&attention.n_kv_heads);
    let applies = attentions(&mut spec.clone()).any(|attention| shares(attention));
    let edit = FaultEdit::Engine(Deviation::TiledKvHeads);
    applies.then_some(edit).into_iter().collect()
}

/// Cuts queries, keys and values channel by channel.
pub(crate) fn interleave_heads(attention: &mut AttentionSpec) {
    let (width, heads, kv_heads) = (attention.d_head, attention.n_heads, attention.n_kv_heads);
    for (projection, heads) in projections(attention)
        .into_iter()
        .zip([heads, kv_heads, kv_heads])
    {
        interleave(projection, heads, width);
    }
}

fn interleave(projection: &mut ProjectionSpec, heads: usize, width: usize) {
    if heads == 1 {
        return;
    }
    let weight = &mut projection.weight;
    let Ok(&[_, inputs]) = weight.cut_shape().as_deref() else {
        return;
    };
    let turned = |rest: &[usize], dims: Vec<usize>| {
        let shape = |first: &[usize]| first.iter().chain(rest).copied().collect();
        [
            Cut::Reshape {
                shape: shape(&[width, heads]),
            },
            Cut::Permute { dims },
            Cut::Reshape {
                shape: shape(&[heads * width]),
            },
        ]
    };
    weight.cut.extend(turned(&[inputs], vec![1, 0, 2]));
    if let Some(bias) = &mut projection.bias {
        bias.cut.extend(turned(&[], vec![1, 0]));
    }
}

/// One projection of attention that is square, so that no shape can tell.
fn transposed(spec: &mut ModelSpec) {
    for attention in attentions(spec) {
        let weight = &mut attention.o.weight;
        if let Ok(&[rows, columns]) = weight.cut_shape().as_deref()
            && rows == columns
        {
            weight.cut.push(Cut::Transpose);
        }
    }
}

fn geometric_slopes(spec: &mut ModelSpec) {
    for attention in attentions(spec) {
        if let PositionSpec::Alibi(alibi) = &mut attention.position
            && !attention.n_heads.is_power_of_two()
        {
            alibi.slopes = geometric(attention.n_heads);
        }
    }
}

/// `2^(-8 i / n)` for head `i` of `n`, counted from 1.
pub(crate) fn geometric(heads: usize) -> Vec<f64> {
    let slope = |head: usize| (-8.0 * head as f64 / heads as f64).exp2();
    (1..=heads).map(slope).collect()
}
