//! Identities in words.

use std::fmt;

use tlbench_sdk::spec::NormKind;

use crate::identities::{Claim, Identity, Summand};

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hook, claim } = self;
        match claim {
            Claim::Sum(summands) if summands.len() > 4 => {
                write!(f, "{hook} = embeddings and the outputs of all branches")
            }
            Claim::Sum(summands) => {
                let summand = |summand: &Summand| match summand.factor {
                    1.0 => summand.hook.clone(),
                    factor => format!("{factor} * {}", summand.hook),
                };
                let summands: Vec<String> = summands.iter().map(summand).collect();
                write!(f, "{hook} = {}", summands.join(" + "))
            }
            Claim::RowsSumToOne => write!(f, "each row of {hook} sums to 1"),
            Claim::Heads { heads, bias, .. } => {
                write!(f, "{hook} = sum over heads of {heads}")?;
                bias.as_ref().map_or(Ok(()), |bias| write!(f, " + {bias}"))
            }
            Claim::Normalized { scale, input, kind } => {
                let mean = match kind {
                    NormKind::LayerNorm => " - mean",
                    NormKind::RmsNorm => "",
                };
                write!(f, "{hook} * {scale} = {input}{mean}")
            }
            Claim::Finished {
                normalized,
                gain,
                bias,
            } => {
                write!(f, "{hook} = {normalized}")?;
                gain.as_ref()
                    .map_or(Ok(()), |gain| write!(f, " * {gain}"))?;
                bias.as_ref().map_or(Ok(()), |bias| write!(f, " + {bias}"))
            }
        }
    }
}
