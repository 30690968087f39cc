//! Activations by HF's names.

use super::{ConfigError, ConfigReader};
use crate::spec::Activation;

/// The functions that HF's `ACT2FN` means by these names; the others among its names are no activation of ours.
const ACTIVATIONS: &[(&str, Activation)] = &[
    ("gelu_new", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("quick_gelu", Activation::QuickGelu),
    ("silu", Activation::Silu),
    ("swish", Activation::Silu),
    ("relu", Activation::Relu),
    ("relu2", Activation::ReluSquared),
];

impl ConfigReader {
    /// An activation, or HF's default where the key is absent.
    ///
    /// # Errors
    /// If it is none of those that a spec can name.
    pub fn activation_or(&self, names: &[&str], default: &str) -> Result<Activation, ConfigError> {
        self.choice_or(names, default, ACTIVATIONS)
    }
}
