//! The canonical weights that read a norm, or write to the stream.

use tlbench_sdk::spec::{DenseMlp, MlpSpec};

/// The names of a linear map's weight `[.., in, out]` and bias `[.., out]`.
pub(super) struct Linear {
    pub(super) weight: String,
    pub(super) bias: String,
}

pub(super) fn linear(weight: impl Into<String>, bias: impl Into<String>) -> Linear {
    Linear {
        weight: weight.into(),
        bias: bias.into(),
    }
}

/// Queries, keys and values.
pub(super) fn attention_readers(name: &str) -> Vec<Linear> {
    ["Q", "K", "V"].map(|letter| part(name, letter)).into()
}

/// All that an MLP does to its input.
pub(super) fn mlp_readers(name: &str, mlp: &MlpSpec) -> Vec<Linear> {
    let dense_readers = |(name, dense): (String, &DenseMlp)| {
        let gate = dense.gate.as_ref().map(|_| part(&name, "gate"));
        std::iter::once(part(&name, "in")).chain(gate)
    };
    let router = match mlp {
        MlpSpec::Dense(_) => None,
        MlpSpec::Moe(_) => Some(part(name, "gate")),
    };
    let networks = networks(name, mlp).into_iter().flat_map(dense_readers);
    router.into_iter().chain(networks).collect()
}

/// All that an MLP's output is made with.
pub(super) fn mlp_writers(name: &str, mlp: &MlpSpec) -> Vec<Linear> {
    let networks = networks(name, mlp).into_iter();
    networks.map(|(name, _)| part(&name, "out")).collect()
}

fn networks<'a>(name: &str, mlp: &'a MlpSpec) -> Vec<(String, &'a DenseMlp)> {
    match mlp {
        MlpSpec::Dense(dense) => vec![(name.to_owned(), dense)],
        MlpSpec::Moe(moe) => {
            let experts = moe.experts.iter().enumerate();
            let experts =
                experts.map(|(index, expert)| (format!("{name}.experts.{index}"), expert));
            let shared = moe.shared.iter();
            experts
                .chain(shared.map(|shared| (format!("{name}.shared"), &**shared)))
                .collect()
        }
    }
}

fn part(name: &str, suffix: &str) -> Linear {
    linear(format!("{name}.W_{suffix}"), format!("{name}.b_{suffix}"))
}
