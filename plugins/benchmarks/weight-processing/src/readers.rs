//! The linear maps that read a norm, under their canonical names.

use tlbench_sdk::spec::{AttentionSpec, DenseMlp, MlpSpec, ProjectionSpec};

/// A linear map under its canonical names.
pub(crate) struct Linear {
    pub(crate) weight: String,
    pub(crate) bias: String,
    pub(crate) has_bias: bool,
    pub(crate) is_gate: bool,
}

/// The map of `component` that is called `part`.
pub(crate) fn linear(component: &str, part: &str, has_bias: bool) -> Linear {
    Linear {
        weight: format!("{component}.W_{part}"),
        bias: format!("{component}.b_{part}"),
        has_bias,
        is_gate: part == "gate",
    }
}

/// Queries, keys and values.
pub(crate) fn attention_readers(attn: &str, body: &AttentionSpec) -> Vec<Linear> {
    let parts = [("Q", &body.q), ("K", &body.k), ("V", &body.v)];
    let reader =
        |(part, projection): (&str, &ProjectionSpec)| linear(attn, part, projection.bias.is_some());
    parts.into_iter().map(reader).collect()
}

/// All that an MLP does to its input.
pub(crate) fn mlp_readers(mlp: &str, body: &MlpSpec) -> Vec<Linear> {
    let router = match body {
        MlpSpec::Moe(moe) => Some(linear(mlp, "gate", moe.router.bias.is_some())),
        MlpSpec::Dense(_) => None,
    };
    let of_network = |(name, dense): (String, &DenseMlp)| {
        let gate = dense.gate.as_ref();
        let gate = gate.map(|gate| linear(&name, "gate", gate.bias.is_some()));
        let input = linear(&name, "in", dense.input.bias.is_some());
        std::iter::once(input).chain(gate).collect::<Vec<_>>()
    };
    let networks = networks(mlp, body).into_iter().flat_map(of_network);
    router.into_iter().chain(networks).collect()
}

/// The networks of an MLP by name.
pub(crate) fn networks<'a>(mlp: &str, body: &'a MlpSpec) -> Vec<(String, &'a DenseMlp)> {
    match body {
        MlpSpec::Dense(dense) => vec![(mlp.to_owned(), dense)],
        MlpSpec::Moe(moe) => {
            let experts = moe.experts.iter().enumerate();
            let experts = experts.map(|(i, expert)| (format!("{mlp}.experts.{i}"), expert));
            let shared = moe.shared.iter();
            let shared = shared.map(|shared| (format!("{mlp}.shared"), &**shared));
            experts.chain(shared).collect()
        }
    }
}
