//! What families share.

use tlbench_sdk::spec::{
    Branch, BranchInput, Cut, HfTap, NormKind, NormSpec, Pairing, PositionSpec, ProjectionSpec,
    ResidualSource, RotaryScaling, RotarySpec, TapStep, TensorSource,
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

/// A product that yields queries, keys and values head by head: `[n_heads, 3, d_head]`.
pub(crate) struct FusedHeads {
    pub(crate) path: String,
    pub(crate) n_heads: usize,
    pub(crate) d_head: usize,
    pub(crate) d_model: usize,
}

impl FusedHeads {
    /// The rows of queries (0), keys (1) or values (2).
    pub(crate) fn part(&self, nth: usize) -> ProjectionSpec {
        let &Self {
            n_heads,
            d_head,
            d_model,
            ..
        } = self;
        let width = n_heads * d_head;
        let slice = Cut::Slice {
            dim: 1,
            start: nth,
            len: 1,
        };
        let weight = stored(&format!("{}.weight", self.path), &[3 * width, d_model])
            .cut(Cut::Reshape {
                shape: vec![n_heads, 3, d_head, d_model],
            })
            .cut(slice.clone())
            .cut(Cut::Reshape {
                shape: vec![width, d_model],
            });
        let bias = stored(&format!("{}.bias", self.path), &[3 * width])
            .cut(Cut::Reshape {
                shape: vec![n_heads, 3, d_head],
            })
            .cut(slice)
            .cut(Cut::Reshape { shape: vec![width] });
        ProjectionSpec {
            weight,
            bias: Some(bias),
            tap: None,
        }
    }

    /// Where HF shows them, for an override: the heads come apart before queries, keys and values do.
    pub(crate) fn tap(&self, nth: usize) -> HfTap {
        HfTap::output(&self.path)
            .step(TapStep::Split {
                sizes: vec![self.n_heads, 3, self.d_head],
            })
            .step(TapStep::Select {
                dim: -2,
                index: nth,
            })
    }

    pub(crate) fn taps(&self) -> impl Iterator<Item = (String, HfTap)> {
        [("attn.hook_q", 0), ("attn.hook_k", 1), ("attn.hook_v", 2)]
            .map(|(hook, nth)| (hook.to_owned(), self.tap(nth)))
            .into_iter()
    }
}
