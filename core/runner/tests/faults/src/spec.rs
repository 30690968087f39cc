//! Edits of a spec. Those of the whole model are in every block; those of a single tensor are in one block that is not
//! the first, so that only a comparison hook by hook can say where.

use tlbench_sdk::ModelSpec;
use tlbench_sdk::spec::{
    Activation, AttentionSpec, BranchInput, Cut, DenseMlp, Mask, MlpSpec, NormSpec, ProjectionSpec,
};

/// An epsilon of another family.
pub fn eps(spec: &mut ModelSpec) {
    each_norm(spec, |norm| norm.eps = 1e-6);
}

/// The GELU that the config names `gelu`, for `gelu_new`.
pub fn exact_gelu(spec: &mut ModelSpec) {
    each_mlp(spec, |mlp| mlp.activation = Activation::Gelu);
}

/// One bias that was forgotten.
pub fn dropped_bias(spec: &mut ModelSpec) {
    if let Some(MlpSpec::Dense(mlp)) = spec.layers[1].mlp.as_mut().map(|branch| &mut branch.body) {
        mlp.output.bias = None;
    }
}

/// A `Conv1D` that was taken for a `Linear`: it is square, so that no shape can tell.
pub fn transposed_weight(spec: &mut ModelSpec) {
    each_attention(spec, |attention| {
        attention.o.weight.cut.retain(|cut| *cut != Cut::Transpose);
    });
}

/// Positions that count from 1.
pub fn shifted_positions(spec: &mut ModelSpec) {
    if let Some(positions) = &mut spec.embedding.positions {
        positions.offset = 1;
    }
}

/// Scores that are not divided by the root of the head's width.
pub fn unscaled_attention(spec: &mut ModelSpec) {
    each_attention(spec, |attention| attention.scale = 1.0);
}

/// A diagonal that is one too far to the right.
pub fn shifted_mask(spec: &mut ModelSpec) {
    each_attention(spec, |attention| {
        attention.mask = Mask::Band {
            back: None,
            ahead: Some(1),
        };
    });
}

/// The parts of the fused projection in another order.
pub fn swapped_q_and_k(spec: &mut ModelSpec) {
    each_attention(spec, |attention| {
        std::mem::swap(&mut attention.q, &mut attention.k);
    });
}

/// Channel by channel instead of head by head.
pub fn interleaved_heads(spec: &mut ModelSpec) {
    each_attention(spec, |attention| {
        let (heads, width) = (attention.n_heads, attention.d_head);
        for projection in [&mut attention.q, &mut attention.k, &mut attention.v] {
            interleave(projection, heads, width);
        }
    });
}

fn interleave(projection: &mut ProjectionSpec, heads: usize, width: usize) {
    let inputs = projection.weight.shape[0];
    projection.weight.cut.extend([
        Cut::Reshape {
            shape: vec![width, heads, inputs],
        },
        Cut::Permute {
            dims: vec![1, 0, 2],
        },
        Cut::Reshape {
            shape: vec![heads * width, inputs],
        },
    ]);
    if let Some(bias) = &mut projection.bias {
        bias.cut.extend([
            Cut::Reshape {
                shape: vec![width, heads],
            },
            Cut::Permute { dims: vec![1, 0] },
            Cut::Reshape {
                shape: vec![heads * width],
            },
        ]);
    }
}

/// The stream as it is, for the unembedding.
pub fn dropped_final_norm(spec: &mut ModelSpec) {
    spec.final_norm = None;
}

/// An epsilon that is a fifth too large.
pub fn weak_eps(spec: &mut ModelSpec) {
    each_norm(spec, |norm| norm.eps *= 1.2);
}

/// One element of one bias that is off by 2e-5.
pub fn weak_bias(spec: &mut ModelSpec) {
    shift_bias(spec, 2e-5);
}

/// The same by so little that it drowns in the rounding errors that have added up by then.
pub fn drowned_bias(spec: &mut ModelSpec) {
    shift_bias(spec, 6.1e-6);
}

fn shift_bias(spec: &mut ModelSpec, by: f64) {
    let mut values = vec![0.0; spec.d_model];
    values[17] = by;
    if let Some(bias) = spec.layers[1]
        .attn
        .as_mut()
        .and_then(|branch| branch.body.o.bias.as_mut())
    {
        bias.cut.push(Cut::Add { values });
    }
}

/// Attention that sees no further back than 32 tokens.
pub fn short_memory(spec: &mut ModelSpec) {
    each_attention(spec, |attention| attention.mask = Mask::sliding(32));
}

fn each_attention(spec: &mut ModelSpec, edit: impl Fn(&mut AttentionSpec)) {
    for branch in spec
        .layers
        .iter_mut()
        .filter_map(|layer| layer.attn.as_mut())
    {
        edit(&mut branch.body);
    }
}

fn each_mlp(spec: &mut ModelSpec, edit: impl Fn(&mut DenseMlp)) {
    for branch in spec
        .layers
        .iter_mut()
        .filter_map(|layer| layer.mlp.as_mut())
    {
        if let MlpSpec::Dense(mlp) = &mut branch.body {
            edit(mlp);
        }
    }
}

fn each_norm(spec: &mut ModelSpec, edit: impl Fn(&mut NormSpec)) {
    let inputs = spec.layers.iter_mut().flat_map(|layer| {
        let attn = layer.attn.as_mut().map(|branch| &mut branch.input);
        let mlp = layer.mlp.as_mut().map(|branch| &mut branch.input);
        [attn, mlp].into_iter().flatten()
    });
    for input in inputs {
        if let BranchInput::Norm(norm) = input {
            edit(norm);
        }
    }
    if let Some(norm) = &mut spec.final_norm {
        edit(norm);
    }
}
