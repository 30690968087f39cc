//! The residual stream: its two ends, and where branches join it.

use tlbench_sdk::spec::{BranchInput, ModelSpec, ResidualSource, Wiring};
use tlbench_sdk::{INPUT_IDS, POSITION_IDS};

use super::{Block, LOGITS, Operation, Source, attention, mlp, norm};

/// The operation at a hook outside of the blocks, or the one that makes the logits.
pub(super) fn operation(spec: &ModelSpec, hook: &str) -> Option<Operation> {
    match hook {
        "embed.ln.hook_scale" | "embed.ln.hook_normalized" => {
            let (name, short) = hook.rsplit_once('.')?;
            norm::operation(spec.embedding.norm.as_ref()?, name, short, token(spec))
        }
        "hook_embed" => {
            let input = match &spec.embedding.norm {
                Some(spec) => norm::output(spec, "embed.ln"),
                None => token(spec),
            };
            Some(Operation::new(hook, input.formula.clone()).through(input))
        }
        "hook_pos_embed" => {
            let positions = spec.embedding.positions.as_ref()?;
            let operation = Operation::new(hook, "W_pos[position_ids + offset]");
            let operation = operation.reading(POSITION_IDS).with_weights("pos_embed");
            Some(operation.with("offset", positions.offset))
        }
        "ln_final.hook_scale" | "ln_final.hook_normalized" => {
            let (name, short) = hook.rsplit_once('.')?;
            let input = Source::hook(last(spec));
            norm::operation(spec.final_norm.as_ref()?, name, short, input)
        }
        "unembed.hook_in" => {
            let input = match &spec.final_norm {
                Some(spec) => norm::output(spec, "ln_final"),
                None => Source::hook(last(spec)),
            };
            Some(Operation::new(hook, input.formula.clone()).through(input))
        }
        "unembed.hook_out" => {
            let unembed = &spec.unembed;
            let bias = unembed.projection.bias.as_ref().map_or("", |_| " + b_U");
            let mut formula = format!("W_U unembed.hook_in{bias}");
            let mut operation = Operation::new(hook, "").reading("unembed.hook_in");
            if unembed.logit_scale != 1.0 {
                formula = format!("logit_scale * ({formula})");
                operation = operation.with("logit_scale", unembed.logit_scale);
            }
            if let Some(cap) = unembed.softcap {
                formula = format!("cap * tanh(({formula}) / cap)");
                operation = operation.with("cap", cap);
            }
            operation.formula = formula;
            Some(operation.with_weights("unembed"))
        }
        LOGITS => Some(Operation::new(hook, "unembed.hook_out").reading("unembed.hook_out")),
        _ => None,
    }
}

/// The operation at a hook of a block that belongs to the stream.
pub(super) fn in_block(block: &Block<'_>, short: &str) -> Option<Operation> {
    let result = block.part(short);
    let layer = block.layer;
    match short {
        "hook_resid_pre" => Some(entered(block, result)),
        "hook_attn_in" | "hook_q_input" | "hook_k_input" | "hook_v_input" => Some(
            Operation::new(result, "hook_resid_pre, once per head")
                .reading(block.part("hook_resid_pre")),
        ),
        "hook_mlp_in" => {
            let input = before_mlp(block);
            Some(Operation::new(result, input.formula.clone()).through(input))
        }
        "hook_attn_out" => {
            let branch = layer.attn.as_ref()?;
            let output = match &branch.output_norm {
                Some(spec) => norm::output(spec, &block.part("ln1_post")),
                None => attention::output(block),
            };
            Some(added(result, output, branch.output_scale))
        }
        "hook_mlp_out" => {
            let branch = layer.mlp.as_ref()?;
            let output = match &branch.output_norm {
                Some(spec) => norm::output(spec, &block.part("ln2_post")),
                None => mlp::output(block, &branch.body),
            };
            Some(added(result, output, branch.output_scale))
        }
        "hook_resid_mid" => {
            let branch = layer.attn.as_ref()?;
            let residual = residual(
                block,
                branch.residual,
                "hook_resid_pre",
                &branch.input,
                "ln1",
            );
            Some(sum(result, residual, block, &["hook_attn_out"]))
        }
        "hook_resid_post" => Some(left(block, result)),
        _ => None,
    }
}

/// What the MLP branch reads, before a norm of its own.
pub(super) fn before_mlp(block: &Block<'_>) -> Source {
    let is_after_attention = block.layer.wiring == Wiring::Sequential && block.layer.attn.is_some();
    let hook = match is_after_attention {
        true => "hook_resid_mid",
        false => "hook_resid_pre",
    };
    Source::hook(block.part(hook))
}

fn token(spec: &ModelSpec) -> Source {
    let mut source = Source::hook(INPUT_IDS);
    source.formula = "W_E[input_ids]".to_owned();
    source.weights.push("embed".to_owned());
    if let Some(scale) = &spec.embedding.scale {
        source.formula = "scale * W_E[input_ids]".to_owned();
        source.parameters.insert("scale".into(), scale.value.into());
    }
    source
}

fn last(spec: &ModelSpec) -> String {
    match spec.layers.len() {
        0 => "hook_embed".to_owned(),
        layers => format!("blocks.{}.hook_resid_post", layers - 1),
    }
}

fn entered(block: &Block<'_>, result: String) -> Operation {
    match block.index {
        0 if block.spec.embedding.positions.is_some() => {
            Operation::new(result, "hook_embed + hook_pos_embed")
                .reading("hook_embed")
                .reading("hook_pos_embed")
        }
        0 => Operation::new(result, "hook_embed").reading("hook_embed"),
        index => Operation::new(result, "the stream as the block before leaves it")
            .reading(format!("blocks.{}.hook_resid_post", index - 1)),
    }
}

fn left(block: &Block<'_>, result: String) -> Operation {
    let layer = block.layer;
    match (layer.wiring, &layer.attn, &layer.mlp) {
        (Wiring::Sequential, _, Some(branch)) => {
            let before = before_mlp(block);
            let residual = match branch.residual {
                ResidualSource::Stream => before,
                ResidualSource::Input => read_by(block, &branch.input, "ln2").unwrap_or(before),
            };
            sum(result, residual, block, &["hook_mlp_out"])
        }
        (_, attn, mlp) => {
            let outputs = [
                attn.as_ref().map(|_| "hook_attn_out"),
                mlp.as_ref().map(|_| "hook_mlp_out"),
            ];
            let outputs: Vec<&str> = outputs.into_iter().flatten().collect();
            let residual = Source::hook(block.part("hook_resid_pre"));
            sum(result, residual, block, &outputs)
        }
    }
}

fn residual(
    block: &Block<'_>,
    residual: ResidualSource,
    stream: &str,
    input: &BranchInput,
    norm: &str,
) -> Source {
    let stream = Source::hook(block.part(stream));
    match residual {
        ResidualSource::Stream => stream,
        ResidualSource::Input => read_by(block, input, norm).unwrap_or(stream),
    }
}

/// What a branch reads through a norm of its own.
fn read_by(block: &Block<'_>, input: &BranchInput, norm: &str) -> Option<Source> {
    match input {
        BranchInput::Norm(spec) => Some(norm::output(spec, &block.part(norm))),
        BranchInput::Stream | BranchInput::SharedNorm => None,
    }
}

/// What a branch gives, scaled.
fn added(result: String, output: Source, scale: f64) -> Operation {
    if scale == 1.0 {
        return Operation::new(result, output.formula.clone()).through(output);
    }
    let formula = format!("output_scale * ({})", output.formula);
    Operation::new(result, formula)
        .through(output)
        .with("output_scale", scale)
}

fn sum(result: String, residual: Source, block: &Block<'_>, outputs: &[&str]) -> Operation {
    let summands: Vec<&str> = std::iter::once(residual.formula.as_str())
        .chain(outputs.iter().copied())
        .collect();
    let operation = Operation::new(result, summands.join(" + ")).through(residual);
    let read = |operation: Operation, output: &&str| operation.reading(block.part(output));
    outputs.iter().fold(operation, read)
}
