//! Parts of the model under a language model's head, as nearly all families name and store them.

use super::embedding::PositionTable;
use super::mlp::{Activation, DenseMlp};
use super::norm::{NormKind, NormSpec};
use super::source::{ProjectionSpec, TensorSource};
use super::tap::HfTap;

/// The model under the head, by the name of its module (HF's `base_model_prefix`). A checkpoint may hold its tensors
/// with that prefix, or without, as the inner model alone saves them.
#[derive(Clone, Copy, Debug)]
pub struct InnerModel(pub &'static str);

impl InnerModel {
    /// The path of one of its modules from the language model's root.
    pub fn module(self, path: &str) -> String {
        format!("{}.{path}", self.0)
    }

    /// One of its tensors.
    pub fn tensor<const RANK: usize>(self, path: &str, shape: [usize; RANK]) -> TensorSource {
        TensorSource::new([self.module(path), path.to_owned()], shape)
    }

    /// A `Linear`.
    pub fn linear(self, path: &str, outputs: usize, inputs: usize, bias: bool) -> ProjectionSpec {
        ProjectionSpec {
            weight: self.tensor(&format!("{path}.weight"), [outputs, inputs]),
            bias: bias.then(|| self.tensor(&format!("{path}.bias"), [outputs])),
            tap: Some(HfTap::output(self.module(path))),
        }
    }

    /// A learned table of positions `[n_ctx, d_model]`, from the config keys `keys`.
    pub fn positions(
        self,
        path: &str,
        [n_ctx, d_model]: [usize; 2],
        keys: &[&str],
    ) -> PositionTable {
        PositionTable {
            table: self.tensor(&format!("{path}.weight"), [n_ctx, d_model]),
            offset: 0,
            module: Some(self.module(path)),
            config_keys: config_keys(keys),
        }
    }

    /// A gated MLP, with the names that Llama gave its parts, from the config keys `keys`.
    pub fn gated_mlp(
        self,
        path: &str,
        [d_model, d_mlp]: [usize; 2],
        activation: Activation,
        bias: bool,
        keys: &[&str],
    ) -> DenseMlp {
        let linear = |name: &str, outputs, inputs| {
            self.linear(&format!("{path}.{name}"), outputs, inputs, bias)
        };
        DenseMlp {
            d_mlp,
            input: linear("up_proj", d_mlp, d_model),
            gate: Some(linear("gate_proj", d_mlp, d_model)),
            output: linear("down_proj", d_model, d_mlp),
            activation,
            module: Some(self.module(path)),
            post_tap: Some(HfTap::input(self.module(&format!("{path}.down_proj")))),
            config_keys: config_keys(keys),
        }
    }

    /// An MLP without a gate, from the config keys `keys`.
    pub fn mlp(
        self,
        path: &str,
        names: MlpNames<'_>,
        [d_model, d_mlp]: [usize; 2],
        activation: Activation,
        bias: bool,
        keys: &[&str],
    ) -> DenseMlp {
        let linear = |name: &str, outputs, inputs| {
            self.linear(&format!("{path}.{name}"), outputs, inputs, bias)
        };
        let act = self.module(&format!("{path}.{}", names.activation));
        DenseMlp {
            d_mlp,
            input: linear(names.input, d_mlp, d_model),
            gate: None,
            output: linear(names.output, d_model, d_mlp),
            activation,
            module: Some(self.module(path)),
            post_tap: Some(HfTap::output(act)),
            config_keys: config_keys(keys),
        }
    }

    /// A `LayerNorm` with gain and bias.
    pub fn layer_norm(self, path: &str, width: usize, eps: f64, keys: &[&str]) -> NormSpec {
        NormSpec {
            kind: NormKind::LayerNorm,
            eps,
            gain: Some(self.tensor(&format!("{path}.weight"), [width])),
            gain_offset: 0.0,
            bias: Some(self.tensor(&format!("{path}.bias"), [width])),
            module: Some(self.module(path)),
            config_keys: config_keys(keys),
        }
    }

    /// An RMS norm with a gain.
    pub fn rms_norm(self, path: &str, width: usize, eps: f64, keys: &[&str]) -> NormSpec {
        NormSpec {
            kind: NormKind::RmsNorm,
            bias: None,
            ..self.layer_norm(path, width, eps, keys)
        }
    }
}

/// What a family calls the parts of an MLP without a gate.
#[derive(Clone, Copy, Debug)]
pub struct MlpNames<'a> {
    /// The product that reads the stream.
    pub input: &'a str,
    /// The module of the activation.
    pub activation: &'a str,
    /// The product that writes to the stream.
    pub output: &'a str,
}

impl<'a> MlpNames<'a> {
    /// In the order in which they run.
    pub const fn new(input: &'a str, activation: &'a str, output: &'a str) -> Self {
        Self {
            input,
            activation,
            output,
        }
    }
}

/// The config keys that a component was made from.
pub fn config_keys(names: &[&str]) -> Vec<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}
