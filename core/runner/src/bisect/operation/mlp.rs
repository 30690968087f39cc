//! Inside the MLP.

use tlbench_sdk::spec::{BranchInput, DenseMlp, MlpSpec, MoeSpec};

use super::{Block, Operation, Source, norm, stream};

/// The operation at `short` of a block's MLP.
pub(super) fn operation(block: &Block<'_>, short: &str) -> Option<Operation> {
    match &block.layer.mlp.as_ref()?.body {
        MlpSpec::Dense(dense) => network(block, dense, "mlp", short, "hook_pre", "hook_pre_linear"),
        MlpSpec::Moe(moe) => of_experts(block, moe, short),
    }
}

/// What the MLP gives: no hook shows it before a norm and a factor of the branch.
pub(super) fn output(block: &Block<'_>, mlp: &MlpSpec) -> Source {
    match mlp {
        MlpSpec::Dense(_) => {
            let mut source = Source::hook(block.part("mlp.hook_post"));
            source.formula = "W_out hook_post + b_out".to_owned();
            source.weights.push(block.part("mlp.out"));
            source
        }
        MlpSpec::Moe(moe) => mixed(block, moe),
    }
}

fn mixed(block: &Block<'_>, moe: &MoeSpec) -> Source {
    let mut source = Source::hook(block.part("mlp.hook_expert_weights"));
    source.formula =
        "the sum over the experts chosen of hook_expert_weights * (W_out hook_post)".to_owned();
    for index in 0..moe.experts.len() {
        let expert = format!("mlp.experts.{index}");
        let post = Source::hook(block.part(&format!("{expert}.hook_post")));
        source.reads.extend(post.reads);
        source.weights.push(block.part(&format!("{expert}.out")));
    }
    if moe.shared.is_some() {
        source.formula.push_str(" + the shared expert");
        source.reads.extend(input(block).reads);
        let parts = ["in", "gate", "out"].map(|part| block.part(&format!("mlp.shared.{part}")));
        source.weights.extend(parts);
    }
    source
}

/// What the MLP reads.
fn input(block: &Block<'_>) -> Source {
    let before = stream::before_mlp(block);
    let attention = block.layer.attn.as_ref().map(|branch| &branch.input);
    match block
        .layer
        .mlp
        .as_ref()
        .map(|branch| (&branch.input, attention))
    {
        Some((BranchInput::Norm(spec), _)) => norm::output(spec, &block.part("ln2")),
        Some((BranchInput::SharedNorm, Some(BranchInput::Norm(spec)))) => {
            norm::output(spec, &block.part("ln1"))
        }
        _ => before,
    }
}

/// The operation inside of one network: `active` shows what goes through the activation, `linear` what does not.
fn network(
    block: &Block<'_>,
    dense: &DenseMlp,
    name: &str,
    short: &str,
    active: &str,
    linear: &str,
) -> Option<Operation> {
    let hook = |short: &str| block.part(&format!("{name}.{short}"));
    let result = hook(short);
    let is_gated = dense.gate.is_some();
    let project = |letter: &str, part: &str| {
        let x = input(block);
        let formula = format!("W_{letter} x + b_{letter}, x = {}", x.formula);
        Operation::new(result.clone(), formula)
            .through(x)
            .with_weights(hook(part))
    };
    let operation = match short {
        "hook_post" if is_gated => {
            let formula = format!("activation({active}) * {linear}");
            let operation = Operation::new(result, formula);
            let operation = operation.reading(hook(active)).reading(hook(linear));
            operation.with("activation", dense.activation)
        }
        "hook_post" => Operation::new(result, format!("activation({active})"))
            .reading(hook(active))
            .with("activation", dense.activation),
        _ if short == active && is_gated => project("gate", "gate"),
        _ if short == active || short == linear => project("in", "in"),
        _ => return None,
    };
    Some(operation)
}

fn of_experts(block: &Block<'_>, moe: &MoeSpec, short: &str) -> Option<Operation> {
    let hook = |short: &str| block.part(&format!("mlp.{short}"));
    let router = |result: &str, formula: &str| {
        let x = input(block);
        let formula = format!("{formula}, x = {}", x.formula);
        Operation::new(hook(result), formula)
            .through(x)
            .with_weights(hook("router"))
            .with_weights(hook("choice_bias"))
            .with("score", moe.score)
            .with("order", moe.order)
            .with("top_k", moe.top_k)
            .with("renormalise", moe.renormalise)
            .with("routed_scale", moe.routed_scale)
    };
    match short {
        "hook_expert_weights" => Some(router(short, "score(W_router x), kept for the top_k")),
        "hook_expert_indices" => Some(router(short, "the top_k of W_router x")),
        _ => {
            let rest = short.strip_prefix("experts.")?;
            let (index, short) = rest.split_once('.')?;
            let expert = moe.experts.get(index.parse::<usize>().ok()?)?;
            let name = format!("mlp.experts.{index}");
            let active = match expert.gate {
                Some(_) => "hook_gate",
                None => "hook_pre",
            };
            network(block, expert, &name, short, active, "hook_pre")
        }
    }
}
