//! What a trace can show.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Something that a model computes. As text: `logits`, `loss_per_token`, `hook:NAME`, `hook_grad:NAME`, ...
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Quantity {
    /// `[batch, pos, d_vocab_out]`.
    Logits,
    /// The log-softmax of the logits, `[batch, pos, d_vocab_out]`.
    LogProbs,
    /// The cross entropy of each next token, `[batch, pos - 1]`.
    LossPerToken,
    /// Its mean over all pairs of tokens that are not padding.
    Loss,
    /// The tokens that were appended, `[batch, new]` of I64.
    Generated,
    /// The value at a hook.
    Hook(String),
    /// The objective's gradient by the value at a hook.
    HookGradient(String),
    /// The objective's gradient by a parameter: a checkpoint tensor, or a canonical weight in compatibility mode.
    ParameterGradient(String),
    /// A canonical weight after processing (`blocks.0.attn.W_Q`, `[n_heads, d_model, d_head]`).
    Weight(String),
}

impl Quantity {
    /// The value at the hook `name`.
    pub fn hook(name: impl Into<String>) -> Self {
        Self::Hook(name.into())
    }

    /// The hook's name, if it is the value at one.
    pub fn as_hook(&self) -> Option<&str> {
        match self {
            Self::Hook(name) => Some(name),
            _ => None,
        }
    }
}

impl fmt::Display for Quantity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Logits => f.write_str("logits"),
            Self::LogProbs => f.write_str("log_probs"),
            Self::LossPerToken => f.write_str("loss_per_token"),
            Self::Loss => f.write_str("loss"),
            Self::Generated => f.write_str("generated"),
            Self::Hook(name) => write!(f, "hook:{name}"),
            Self::HookGradient(name) => write!(f, "hook_grad:{name}"),
            Self::ParameterGradient(name) => write!(f, "param_grad:{name}"),
            Self::Weight(name) => write!(f, "weight:{name}"),
        }
    }
}

/// A text that names no quantity.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is no quantity (logits, log_probs, loss_per_token, loss, generated, hook:NAME, hook_grad:NAME, param_grad:NAME, weight:NAME)"
)]
pub struct QuantityError(String);

impl FromStr for Quantity {
    type Err = QuantityError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(match text.split_once(':') {
            Some(("hook", name)) => Self::Hook(name.to_owned()),
            Some(("hook_grad", name)) => Self::HookGradient(name.to_owned()),
            Some(("param_grad", name)) => Self::ParameterGradient(name.to_owned()),
            Some(("weight", name)) => Self::Weight(name.to_owned()),
            None if text == "logits" => Self::Logits,
            None if text == "log_probs" => Self::LogProbs,
            None if text == "loss_per_token" => Self::LossPerToken,
            None if text == "loss" => Self::Loss,
            None if text == "generated" => Self::Generated,
            _ => return Err(QuantityError(text.to_owned())),
        })
    }
}

impl TryFrom<String> for Quantity {
    type Error = QuantityError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Quantity> for String {
    fn from(quantity: Quantity) -> Self {
        quantity.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_back() {
        for quantity in [
            Quantity::Logits,
            Quantity::LogProbs,
            Quantity::LossPerToken,
            Quantity::Loss,
            Quantity::Generated,
            Quantity::hook("blocks.0.attn.hook_q"),
            Quantity::HookGradient("hook_embed".into()),
            Quantity::ParameterGradient("transformer.wte.weight".into()),
            Quantity::Weight("blocks.0.attn.W_Q".into()),
        ] {
            assert_eq!(quantity.to_string().parse(), Ok(quantity));
        }
    }

    #[test]
    fn unknown_text_is_refused() {
        assert!(
            "hooks:x"
                .parse::<Quantity>()
                .unwrap_err()
                .to_string()
                .starts_with("`hooks:x` is no quantity")
        );
    }
}
