//! What attention can be asked for, each on a model with fewer key and value heads than queries.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    AlibiSpec, AttentionSpec, Extent, HeadNorm, HeadNorms, Mask, NormKind, NormOrder, NormSpec,
    Pairing, PositionSpec, ProjectionSpec, RotaryScaling, RotarySpec, TensorSource,
};

use crate::model::{D_MODEL, spec};

pub(crate) const N_HEADS: usize = 4;
pub(crate) const N_KV_HEADS: usize = 2;
/// So that the heads together are wider than the stream.
pub(crate) const D_HEAD: usize = 6;

/// A kind of attention, by name.
pub(crate) struct Feature {
    pub(crate) name: &'static str,
    pub(crate) spec: ModelSpec,
}

pub(crate) fn features() -> Vec<Feature> {
    let feature = |name, edit: &dyn Fn(usize, &mut AttentionSpec)| Feature {
        name,
        spec: grouped(edit),
    };
    vec![
        feature("grouped queries", &|_, _| {}),
        feature("rotary", &|_, a| {
            a.position = rotary(6, Pairing::Half, RotaryScaling::None)
        }),
        feature("partial rotary", &|_, a| {
            a.position = rotary(4, Pairing::Half, RotaryScaling::None);
        }),
        feature("interleaved rotary", &|_, a| {
            a.position = rotary(4, Pairing::Interleaved, RotaryScaling::None);
        }),
        feature("yarn", &|_, a| {
            a.position = rotary(6, Pairing::Half, yarn())
        }),
        feature("head norms", &|layer, a| {
            a.position = rotary(6, Pairing::Half, RotaryScaling::None);
            a.qk_norm = Some(norms(layer, Extent::Head, NormOrder::BeforeRotary));
        }),
        feature("norms of all heads, and a clip", &|layer, a| {
            a.position = rotary(6, Pairing::Half, RotaryScaling::None);
            a.qk_norm = Some(norms(layer, Extent::AllHeads, NormOrder::BeforeRotary));
            a.clip_qkv = Some(0.8);
        }),
        feature("norms after the rotation", &|layer, a| {
            a.position = rotary(4, Pairing::Half, RotaryScaling::None);
            a.qk_norm = Some(norms(layer, Extent::Head, NormOrder::AfterRotary));
        }),
        feature("norms without a rotation", &|layer, a| {
            a.qk_norm = Some(norms(layer, Extent::Head, NormOrder::BeforeRotary));
        }),
        feature("softcap", &|_, a| a.softcap = Some(0.7)),
        feature("alibi", &|_, a| {
            let slopes = vec![0.5, 0.25, 0.125, 0.0625];
            a.position = PositionSpec::Alibi(AlibiSpec { slopes });
        }),
        feature("a window in every other layer", &|layer, a| {
            a.position = rotary(6, Pairing::Half, RotaryScaling::None);
            a.mask = [Mask::sliding(2), Mask::CAUSAL][layer];
        }),
        feature("chunks", &|_, a| a.mask = Mask::Chunked { size: 3 }),
    ]
}

/// Kinds whose angles depend on the length of a call, which is over the original context after 4 positions.
pub(crate) fn length_dependent() -> Vec<Feature> {
    let dynamic = RotaryScaling::Dynamic {
        factor: 3.0,
        original_n_ctx: 4,
    };
    let longrope = RotaryScaling::LongRope {
        short_factors: vec![1.0, 1.1, 1.2],
        long_factors: vec![1.5, 2.0, 4.0],
        original_n_ctx: 4,
        attention_factor: 1.2,
    };
    let feature = |name, scaling: &RotaryScaling| Feature {
        name,
        spec: grouped(&|_, a| a.position = rotary(6, Pairing::Half, scaling.clone())),
    };
    vec![feature("dynamic", &dynamic), feature("longrope", &longrope)]
}

/// The attention of a layer.
pub(crate) fn attention(spec: &ModelSpec, layer: usize) -> &AttentionSpec {
    &spec.layers[layer].attn.as_ref().unwrap().body
}

fn grouped(edit: &dyn Fn(usize, &mut AttentionSpec)) -> ModelSpec {
    let mut spec = spec();
    for (index, layer) in spec.layers.iter_mut().enumerate() {
        let body = &mut layer.attn.as_mut().unwrap().body;
        (body.n_heads, body.n_kv_heads, body.d_head) = (N_HEADS, N_KV_HEADS, D_HEAD);
        let projection = |letter: &str, outputs, inputs| ProjectionSpec {
            weight: TensorSource::new([format!("h.{index}.{letter}")], [outputs, inputs]),
            bias: None,
            tap: None,
        };
        body.q = projection("q", N_HEADS * D_HEAD, D_MODEL);
        body.k = projection("k", N_KV_HEADS * D_HEAD, D_MODEL);
        body.v = projection("v", N_KV_HEADS * D_HEAD, D_MODEL);
        body.o = projection("o", D_MODEL, N_HEADS * D_HEAD);
        edit(index, body);
    }
    spec
}

fn rotary(dim: usize, pairing: Pairing, scaling: RotaryScaling) -> PositionSpec {
    PositionSpec::Rotary(RotarySpec {
        dim,
        pairing,
        theta: 100.0,
        scaling,
    })
}

fn yarn() -> RotaryScaling {
    RotaryScaling::Yarn {
        factor: 4.0,
        original_n_ctx: 16,
        beta_fast: 2.0,
        beta_slow: 0.5,
        attention_factor: 1.3,
        truncate: false,
    }
}

fn norms(layer: usize, extent: Extent, order: NormOrder) -> HeadNorms {
    let norm = |letter: &str, heads: usize| {
        let width = match extent {
            Extent::Head => D_HEAD,
            Extent::AllHeads => heads * D_HEAD,
        };
        let norm = NormSpec {
            kind: NormKind::RmsNorm,
            eps: 1e-6,
            gain: Some(TensorSource::new(
                [format!("h.{layer}.{letter}_norm")],
                [width],
            )),
            gain_offset: 1.0,
            bias: None,
            module: None,
            config_keys: Vec::new(),
        };
        HeadNorm { norm, extent }
    };
    HeadNorms {
        q: norm("q", N_HEADS),
        k: norm("k", N_KV_HEADS),
        order,
    }
}
