//! The hook points of a spec: the one source of their names, shapes and order.
//!
//! Names, shapes and meaning are HookedTransformer's.

mod block;
mod point;

pub use point::{Dim, Gate, HookPoint, layer_of, short_name};

use crate::spec::{HfTap, ModelSpec, NormSpec, Port};
use block::block_hooks;

/// The hook points of `spec`, in execution order.
pub fn hooks(spec: &ModelSpec) -> Vec<HookPoint> {
    let mut points = Points::default();
    let stream = [Dim::Batch, Dim::Pos, Dim::sized("d_model", spec.d_model)];
    let embedding = &spec.embedding;
    if let Some(norm) = &embedding.norm {
        points.push_norm("embed.ln", &stream, norm);
    }
    let embedded = match &embedding.norm {
        Some(norm) => &norm.module,
        None => &embedding.module,
    };
    points.push("hook_embed", &stream, embedded.as_ref().map(HfTap::output));
    if let Some(positions) = &embedding.positions {
        points.push(
            "hook_pos_embed",
            &stream,
            positions.module.as_ref().map(HfTap::output),
        );
    }
    for (index, layer) in spec.layers.iter().enumerate() {
        block_hooks(&mut points, spec, index, layer);
    }
    if let Some(norm) = &spec.final_norm {
        points.push_norm("ln_final", &stream, norm);
    }
    let head = spec.unembed.projection.tap.as_ref();
    points.push(
        "unembed.hook_in",
        &stream,
        head.map(|tap| HfTap::input(&tap.module)),
    );
    let logits = [
        Dim::Batch,
        Dim::Pos,
        Dim::sized("d_vocab_out", spec.unembed.d_vocab_out),
    ];
    // HF shows the head's output before a scale or softcap, which belong to the logits here.
    let plain = spec.unembed.logit_scale == 1.0 && spec.unembed.softcap.is_none();
    points.push("unembed.hook_out", &logits, head.filter(|_| plain).cloned());
    points.list
}

#[derive(Default)]
struct Points {
    list: Vec<HookPoint>,
}

impl Points {
    fn push(&mut self, name: impl Into<String>, shape: &[Dim], hf_tap: Option<HfTap>) {
        self.push_gated(name, shape, None, hf_tap);
    }

    fn push_gated(
        &mut self,
        name: impl Into<String>,
        shape: &[Dim],
        gate: Option<Gate>,
        hf_tap: Option<HfTap>,
    ) {
        let order = self.list.len();
        self.list.push(HookPoint {
            name: name.into(),
            shape: shape.to_vec(),
            order,
            gate,
            hf_tap,
        });
    }

    fn push_norm(&mut self, name: &str, input: &[Dim], norm: &NormSpec) {
        let tap = |port| norm.module.as_ref().map(|module| HfTap::new(module, port));
        let mut scale = input.to_vec();
        if let Some(last) = scale.last_mut() {
            *last = Dim::One;
        }
        self.push(format!("{name}.hook_scale"), &scale, tap(Port::NormScale));
        self.push(
            format!("{name}.hook_normalized"),
            input,
            tap(Port::NormNormalized),
        );
    }
}
