//! Norms: their scale, what they divide, and what is made of that.

use tlbench_sdk::spec::{BranchInput, NormKind, NormSpec};

use super::{Block, Operation, Source, attention, mlp, stream};

/// The operation at `short` of a block's norm `norm`.
pub(super) fn of_block(block: &Block<'_>, norm: &str, short: &str) -> Option<Operation> {
    let layer = block.layer;
    let (spec, input) = match norm {
        "ln1" => {
            let BranchInput::Norm(spec) = &layer.attn.as_ref()?.input else {
                return None;
            };
            (spec, Source::hook(block.part("hook_resid_pre")))
        }
        "ln2" => {
            let BranchInput::Norm(spec) = &layer.mlp.as_ref()?.input else {
                return None;
            };
            (spec, stream::before_mlp(block))
        }
        "ln1_post" => {
            let branch = layer.attn.as_ref()?;
            (branch.output_norm.as_ref()?, attention::output(block))
        }
        "ln2_post" => {
            let branch = layer.mlp.as_ref()?;
            (
                branch.output_norm.as_ref()?,
                mlp::output(block, &branch.body),
            )
        }
        _ => return None,
    };
    operation(spec, &block.part(norm), short, input)
}

/// The operation at `short` of the norm called `name`, which reads `input`.
pub(super) fn operation(
    norm: &NormSpec,
    name: &str,
    short: &str,
    input: Source,
) -> Option<Operation> {
    let x = &input.formula;
    let (scale, normalized) = match norm.kind {
        NormKind::LayerNorm => ("sqrt(var(x) + eps)", "(x - mean(x)) / hook_scale"),
        NormKind::RmsNorm => ("sqrt(mean(x^2) + eps)", "x / hook_scale"),
    };
    let formula = |formula: &str| format!("{formula}, x = {x}");
    let result = format!("{name}.{short}");
    let operation = match short {
        "hook_scale" => Operation::new(result, formula(scale)).with("eps", norm.eps),
        "hook_normalized" => {
            Operation::new(result, formula(normalized)).reading(format!("{name}.hook_scale"))
        }
        _ => return None,
    };
    Some(operation.through(input))
}

/// What the norm called `name` gives: the normalised value with gain and bias.
pub(super) fn output(norm: &NormSpec, name: &str) -> Source {
    let mut source = Source::hook(format!("{name}.hook_normalized"));
    if norm.gain.is_some() {
        let gain = if norm.gain_offset == 0.0 {
            "gain".to_owned()
        } else {
            format!("({} + gain)", norm.gain_offset)
        };
        source.formula = format!("{} * {gain}", source.formula);
    }
    if norm.bias.is_some() {
        source.formula = format!("{} + bias", source.formula);
    }
    if norm.gain.is_some() || norm.bias.is_some() {
        source.weights.push(name.to_owned());
    }
    source
}
