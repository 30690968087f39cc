//! Projections, scores, masks and heads.

use tlbench_sdk::spec::{
    AlibiSpec, AttentionSpec, Cut, HeadNorm, Mask, NormOrder, NormSpec, PositionSpec,
    ProjectionSpec, TensorSource,
};
use tlbench_sdk::{ModelSpec, Symptom};

use super::places::attentions_by_name;
use super::tensors::{LeftNorm, bias_beside, left_norms};
use super::variant::{Parts, Variant, Variants, keys};
use super::{rotary, said};
use crate::catalogue::attention::{geometric, interleave_heads};
use crate::parts::projections;

/// Every attention.
pub(super) struct Attentions;

impl Parts<AttentionSpec> for Attentions {
    fn parts<'s>(&self, spec: &'s mut ModelSpec) -> Vec<(String, &'s mut AttentionSpec)> {
        attentions_by_name(spec)
    }

    fn variants(
        &self,
        symptom: &Symptom,
        component: &str,
        attention: &AttentionSpec,
    ) -> Vec<Variant<AttentionSpec>> {
        let mut variants = Variants::of(attention);
        let mut spec = symptom.spec.clone();
        let others: Vec<AttentionSpec> = attentions_by_name(&mut spec)
            .into_iter()
            .map(|(_, other)| other.clone())
            .collect();
        products(&mut variants);
        biases(&mut variants, symptom);
        head_norms(&mut variants, symptom, component);
        rotary::variants(&mut variants, &others, symptom);
        scores(&mut variants, symptom.spec.d_model);
        masks(&mut variants, &others, said::window(&symptom.config));
        alibi(&mut variants);
        variants.done()
    }

    fn look_at(&self, attention: &AttentionSpec) -> String {
        keys(&attention.config_keys)
    }
}

fn products(variants: &mut Variants<'_, AttentionSpec>) {
    let finding = "queries and keys are in each other's place";
    variants.push("q-k-swapped", finding, |attention| {
        exchange(&mut attention.q, &mut attention.k);
    });
    let finding = "keys and values are in each other's place";
    variants.push("k-v-swapped", finding, |attention| {
        exchange(&mut attention.k, &mut attention.v);
    });
    let finding = "queries and values are in each other's place";
    variants.push("qkv-order", finding, |attention| {
        exchange(&mut attention.q, &mut attention.v);
    });
    let finding = "queries, keys and values stand in another order: k, v, q are q, k, v";
    variants.push("qkv-order", finding, |attention| {
        exchange(&mut attention.q, &mut attention.k);
        exchange(&mut attention.k, &mut attention.v);
    });
    let finding = "queries, keys and values stand in another order: v, q, k are q, k, v";
    variants.push("qkv-order", finding, |attention| {
        exchange(&mut attention.k, &mut attention.v);
        exchange(&mut attention.q, &mut attention.k);
    });
    let finding = "heads are cut channel by channel where head by head fits";
    variants.push("heads-interleaved", finding, |attention| {
        projections(attention).into_iter().for_each(contiguous);
    });
    let finding = "heads are cut head by head where channel by channel fits";
    variants.push("heads-interleaved", finding, interleave_heads);
    for (name, projection) in NAMES {
        let finding = format!("the square weight of {name} is used as its transpose");
        variants.push("square-transposed", finding, |attention| {
            transpose(projection(attention));
        });
    }
}

type Projection = fn(&mut AttentionSpec) -> &mut ProjectionSpec;

const NAMES: [(&str, Projection); 4] = [
    ("queries", |attention| &mut attention.q),
    ("keys", |attention| &mut attention.k),
    ("values", |attention| &mut attention.v),
    ("the output", |attention| &mut attention.o),
];

/// Only where no shape can tell; what HF shows of the one is at its place.
fn exchange(a: &mut ProjectionSpec, b: &mut ProjectionSpec) {
    if a.weight.cut_shape() == b.weight.cut_shape() {
        std::mem::swap(a, b);
    }
}

/// Undoes what [`interleave_heads`] does.
fn contiguous(projection: &mut ProjectionSpec) {
    let sources = [Some(&mut projection.weight), projection.bias.as_mut()];
    for source in sources.into_iter().flatten() {
        if let [
            ..,
            Cut::Reshape { .. },
            Cut::Permute { .. },
            Cut::Reshape { .. },
        ] = source.cut.as_slice()
        {
            source.cut.truncate(source.cut.len() - 3);
        }
    }
}

fn transpose(projection: &mut ProjectionSpec) {
    let weight = &mut projection.weight;
    if let Ok(&[rows, columns]) = weight.cut_shape().as_deref()
        && rows == columns
        && weight.cut.pop_if(|cut| *cut == Cut::Transpose).is_none()
    {
        weight.cut.push(Cut::Transpose);
    }
}

fn biases(variants: &mut Variants<'_, AttentionSpec>, symptom: &Symptom) {
    let faults = [
        "q-bias-dropped",
        "k-bias-dropped",
        "v-bias-dropped",
        "attention-output-bias-dropped",
    ];
    for ((name, projection), fault) in NAMES.into_iter().zip(faults) {
        let mut copy = variants.part().clone();
        let beside = bias_beside(symptom, projection(&mut copy));
        let finding = format!("the bias of {name} is left out where it fits");
        variants.push(fault, finding, |attention| {
            let projection = projection(attention);
            projection.bias = projection.bias.take().or(beside);
        });
        let finding = format!("there is a bias of {name} where none fits");
        variants.push(fault, finding, |attention| {
            projection(attention).bias = None
        });
    }
    let mut copy = variants.part().clone();
    let beside = projections(&mut copy).map(|projection| bias_beside(symptom, projection));
    let finding = "the biases of queries, keys and values are left out where they fit";
    variants.push("q-bias-dropped", finding, |attention| {
        for (projection, bias) in projections(attention).into_iter().zip(beside) {
            projection.bias = projection.bias.take().or(bias);
        }
    });
    let finding = "there are biases of queries, keys and values where none fit";
    variants.push("q-bias-dropped", finding, |attention| {
        for projection in projections(attention) {
            projection.bias = None;
        }
    });
}

fn head_norms(variants: &mut Variants<'_, AttentionSpec>, symptom: &Symptom, component: &str) {
    let finding = match variants.part().qk_norm.as_ref().map(|norms| norms.order) {
        Some(NormOrder::AfterRotary) => {
            "queries and keys are normed after their rotation where before fits"
        }
        Some(NormOrder::BeforeRotary) | None => {
            "queries and keys are normed before their rotation where after fits"
        }
    };
    variants.push("qk-norm-order", finding, |attention| {
        if let Some(norms) = &mut attention.qk_norm {
            norms.order = match norms.order {
                NormOrder::BeforeRotary => NormOrder::AfterRotary,
                NormOrder::AfterRotary => NormOrder::BeforeRotary,
            };
        }
    });
    let finding = "queries and keys are normed where they fit as they are";
    variants.push("qk-norm-missing", finding, |attention| {
        attention.qk_norm = None;
    });
    head_gains(variants, symptom);
    if variants.part().qk_norm.is_none() {
        missing_head_norms(variants, symptom, component);
    }
}

/// Gains of both norms, which may be there and left out.
fn head_gains(variants: &mut Variants<'_, AttentionSpec>, symptom: &Symptom) {
    let left = |norm: &NormSpec| {
        let name = format!("{}.weight", norm.module.as_ref()?);
        let mut left = symptom.tensors_not_taken.iter();
        let (name, shape) = left.find(|(known, _)| *known == name)?;
        Some(TensorSource::new([name], shape.clone()))
    };
    for offset in [0.0, 1.0] {
        let finding = match offset {
            0.0 => "the gains of the norms of queries and keys are left out where they fit",
            _ => {
                "the gains of the norms of queries and keys are left out where they fit, with 1 added"
            }
        };
        variants.push("qk-norm-gain-dropped", finding, |attention| {
            let norms = attention.qk_norm.iter_mut();
            for norm in norms.flat_map(|norms| [&mut norms.q.norm, &mut norms.k.norm]) {
                if norm.gain.is_none()
                    && let Some(gain) = left(norm)
                {
                    (norm.gain, norm.gain_offset) = (Some(gain), offset);
                }
            }
        });
    }
}

/// Norms of the width of a head, or of all heads, that nobody takes.
fn missing_head_norms(
    variants: &mut Variants<'_, AttentionSpec>,
    symptom: &Symptom,
    component: &str,
) {
    use tlbench_sdk::spec::{Extent, HeadNorms};
    let attention = variants.part();
    let (d_head, d_q) = (attention.d_head, attention.n_heads * attention.d_head);
    let d_k = attention.n_kv_heads * d_head;
    for (extent, [q_width, k_width]) in [
        (Extent::Head, [d_head, d_head]),
        (Extent::AllHeads, [d_q, d_k]),
    ] {
        let find = |letter: &str, width| {
            let mut left = left_norms(symptom, component, width).into_iter();
            let named = |norm: &LeftNorm| {
                let short = norm.stem.rsplit('.').next().unwrap_or_default();
                short.starts_with(letter)
            };
            left.find(named)
        };
        let (Some(q), Some(k)) = (find("q", q_width), find("k", k_width)) else {
            continue;
        };
        let finding = format!("`{}` and `{}` are left out where they fit", q.stem, k.stem);
        let [q, k] = [q, k].map(|left| HeadNorm {
            norm: left.like_others(&symptom.spec),
            extent,
        });
        let order = NormOrder::BeforeRotary;
        variants.push("qk-norm-missing", finding, |attention| {
            attention.qk_norm = Some(HeadNorms { q, k, order });
        });
    }
}

fn scores(variants: &mut Variants<'_, AttentionSpec>, d_model: usize) {
    let AttentionSpec {
        scale,
        d_head,
        n_heads,
        softcap,
        clip_qkv,
        ..
    } = *variants.part();
    let root = |width: f64| width.sqrt().recip();
    let usual = [
        (root(d_head as f64), "1 / sqrt(d_head)"),
        (
            root(d_model as f64 / n_heads as f64),
            "1 / sqrt(d_model / n_heads)",
        ),
        (1.0, "1"),
        (root(d_model as f64), "1 / sqrt(d_model)"),
        (root(d_head as f64).powi(2), "1 / d_head"),
    ];
    for (value, name) in usual {
        let fault = match name {
            "1 / sqrt(d_model / n_heads)" => "attention-scale-by-model",
            "1 / sqrt(d_head)" => "attention-unscaled",
            _ => "attention-scale-by-head",
        };
        let finding = format!("scores are multiplied by {scale:.6} where {name} = {value:.6} fits");
        variants.push(fault, finding, |attention| attention.scale = value);
    }
    for cap in [None, Some(50.0), Some(30.0)] {
        let text = |cap: Option<f64>| cap.map_or("none".to_owned(), |cap| cap.to_string());
        let finding = format!(
            "the softcap of the scores is {} where {} fits",
            text(softcap),
            text(cap)
        );
        variants.push("attention-softcap-missing", finding, |attention| {
            attention.softcap = cap;
        });
    }
    if let Some(clip) = clip_qkv {
        let finding = format!("queries, keys and values are clipped at {clip} where no limit fits");
        variants.push("qkv-clip-missing", finding, |attention| {
            attention.clip_qkv = None;
        });
    }
}

fn masks(variants: &mut Variants<'_, AttentionSpec>, others: &[AttentionSpec], said: Option<Mask>) {
    let found = mask_text(variants.part().mask);
    let seen = others.iter().map(|other| other.mask);
    let usual = [
        Mask::CAUSAL,
        Mask::Band {
            back: None,
            ahead: None,
        },
    ];
    let causal = match variants.part().mask {
        Mask::Band { back, .. } => Some(Mask::Band {
            back,
            ahead: Some(0),
        }),
        Mask::Chunked { .. } => None,
    };
    for mask in causal.into_iter().chain(seen).chain(usual) {
        let fault = match (variants.part().mask, mask) {
            (Mask::Band { ahead: None, .. }, _) => "mask-missing",
            (
                Mask::Band {
                    ahead: Some(1..), ..
                },
                _,
            ) => "mask-sees-next",
            (Mask::Band { back: None, .. }, Mask::Band { back: Some(_), .. }) => "window-ignored",
            _ => "window-everywhere",
        };
        let finding = format!("a token sees {found} where {} fits", mask_text(mask));
        variants.push(fault, finding, |attention| attention.mask = mask);
    }
    if let Some(window) = said {
        let fault = match variants.part().mask {
            Mask::Band { back: None, .. } => "window-ignored",
            _ => "window-one-more",
        };
        let fits = mask_text(window);
        let finding = format!(
            "a token sees {found} where {fits} fits, as config.json says in `sliding_window`"
        );
        variants.push(fault, finding, |attention| attention.mask = window);
    }
}

fn mask_text(mask: Mask) -> String {
    match mask {
        Mask::Band {
            back: None,
            ahead: None,
        } => "all tokens".to_owned(),
        Mask::Band {
            back: None,
            ahead: Some(0),
        } => "all tokens up to itself".to_owned(),
        Mask::Band {
            back: Some(back),
            ahead: Some(0),
        } => format!("itself and {back} tokens before"),
        Mask::Band { back, ahead } => {
            let count = |side: Option<usize>| side.map_or("all".to_owned(), |n| n.to_string());
            format!("{} tokens before and {} behind", count(back), count(ahead))
        }
        Mask::Chunked { size } => format!("its own piece of {size} tokens"),
    }
}

fn alibi(variants: &mut Variants<'_, AttentionSpec>) {
    let heads = variants.part().n_heads;
    let found = match &variants.part().position {
        PositionSpec::None => "there is no bias per distance",
        PositionSpec::Alibi(_) => "other slopes are taken",
        PositionSpec::Rotary(_) | PositionSpec::RelativeBias(_) => return,
    };
    let fault = match &variants.part().position {
        PositionSpec::Alibi(_) => "alibi-slopes",
        _ => "alibi-missing",
    };
    let finding = format!("{found} where the slopes of ALiBi fit");
    variants.push(fault, finding, |attention| {
        attention.position = PositionSpec::Alibi(AlibiSpec {
            slopes: alibi_slopes(heads),
        });
    });
    let finding = format!("{found} where 2^(-8 i / n) fits for head i of n");
    variants.push(fault, finding, |attention| {
        attention.position = PositionSpec::Alibi(AlibiSpec {
            slopes: geometric(heads),
        });
    });
}

/// One geometric series for the largest power of two, and every other term of the next finer one for the rest.
fn alibi_slopes(heads: usize) -> Vec<f64> {
    let whole = 1 << heads.max(1).ilog2();
    let finer = geometric(2 * whole).into_iter().step_by(2);
    geometric(whole)
        .into_iter()
        .chain(finer)
        .take(heads)
        .collect()
}
