//! What families share.

use tlbench_sdk::spec::{
    Branch, BranchInput, HfTap, NormKind, NormSpec, Pairing, PositionSpec, ProjectionSpec,
    ResidualSource, RotaryScaling, RotarySpec, TensorSource,
};

pub(crate) fn keys(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

/// A tensor that is named as its module is.
pub(crate) fn stored(path: &str, shape: &[usize]) -> TensorSource {
    TensorSource::new([path], shape)
}

/// A `Linear`, named on disk as in the module tree.
pub(crate) fn linear(path: &str, outputs: usize, inputs: usize, bias: bool) -> ProjectionSpec {
    ProjectionSpec {
        weight: stored(&format!("{path}.weight"), &[outputs, inputs]),
        bias: bias.then(|| stored(&format!("{path}.bias"), &[outputs])),
        tap: Some(HfTap::output(path)),
    }
}

pub(crate) fn layer_norm(path: &str, d_model: usize, eps: f64, config_key: &str) -> NormSpec {
    NormSpec {
        kind: NormKind::LayerNorm,
        eps,
        gain: Some(stored(&format!("{path}.weight"), &[d_model])),
        gain_offset: 0.0,
        bias: Some(stored(&format!("{path}.bias"), &[d_model])),
        module: Some(path.to_owned()),
        config_keys: keys(&["hidden_size", config_key]),
    }
}

pub(crate) fn rms_norm(path: &str, d_model: usize, eps: f64) -> NormSpec {
    NormSpec {
        kind: NormKind::RmsNorm,
        bias: None,
        ..layer_norm(path, d_model, eps, "rms_norm_eps")
    }
}

pub(crate) fn rotary(dim: usize, theta: f64, scaling: RotaryScaling) -> PositionSpec {
    PositionSpec::Rotary(RotarySpec {
        dim,
        pairing: Pairing::Half,
        theta,
        scaling,
    })
}

/// A branch with a norm on either side.
pub(crate) fn sandwich<T>(before: NormSpec, body: T, after: NormSpec) -> Branch<T> {
    Branch {
        input: BranchInput::Norm(before),
        body,
        output_norm: Some(after),
        output_scale: 1.0,
        residual: ResidualSource::Stream,
        sum_norm: None,
    }
}
