//! Inside attention.

use tlbench_sdk::spec::{AttentionSpec, BranchInput, NormOrder, PositionSpec};
use tlbench_sdk::{ATTENTION_MASK, POSITION_IDS};

use super::{Block, Operation, Source, norm};

/// The operation at `short` of a block's attention.
pub(super) fn operation(block: &Block<'_>, short: &str) -> Option<Operation> {
    let branch = block.layer.attn.as_ref()?;
    let attention = &branch.body;
    let hook = |short: &str| block.part(&format!("attn.{short}"));
    if let Some((name, short)) = short.split_once('.') {
        return head_norm(block, attention, name, short);
    }
    let result = hook(short);
    Some(match short {
        "hook_q" | "hook_k" | "hook_v" => {
            let letter = &short["hook_".len()..];
            projected(block, attention, &branch.input, letter)
        }
        "hook_rot_q" | "hook_rot_k" => {
            let letter = &short["hook_rot_".len()..];
            let input = placed(block, attention, letter);
            Operation::new(result, input.formula.clone()).through(input)
        }
        "hook_attn_scores" => scores(block, attention),
        "hook_pattern" => {
            let formula = "softmax over the keys of hook_attn_scores";
            let operation = Operation::new(result, formula).reading(hook("hook_attn_scores"));
            match attention.sinks {
                Some(_) => operation.with_weights(hook("sinks")),
                None => operation,
            }
        }
        "hook_z" => {
            let formula = "sum over the keys of hook_pattern * hook_v, each KV head for its heads";
            Operation::new(result, formula)
                .reading(hook("hook_pattern"))
                .reading_keys(hook("hook_v"))
                .with("clip_qkv", attention.clip_qkv)
        }
        "hook_result" => Operation::new(result, "W_O hook_z, head by head")
            .reading(hook("hook_z"))
            .with_weights(hook("o")),
        _ => return None,
    })
}

/// What attention gives: no hook shows it before a norm and a factor of the branch.
pub(super) fn output(block: &Block<'_>) -> Source {
    let mut source = Source::hook(block.part("attn.hook_z"));
    source.formula = "W_O hook_z + b_O".to_owned();
    source.weights.push(block.part("attn.o"));
    source
}

fn projected(
    block: &Block<'_>,
    attention: &AttentionSpec,
    input: &BranchInput,
    letter: &str,
) -> Operation {
    let input = match input {
        BranchInput::Norm(spec) => norm::output(spec, &block.part("ln1")),
        BranchInput::Stream | BranchInput::SharedNorm => Source::hook(block.part("hook_resid_pre")),
    };
    let capital = letter.to_uppercase();
    let formula = format!(
        "W_{capital} x + b_{capital}, by head, x = {}",
        input.formula
    );
    Operation::new(block.part(&format!("attn.hook_{letter}")), formula)
        .through(input)
        .with_weights(block.part(&format!("attn.{letter}")))
        .with("d_head", attention.d_head)
}

fn head_norm(
    block: &Block<'_>,
    attention: &AttentionSpec,
    name: &str,
    short: &str,
) -> Option<Operation> {
    let norms = attention.qk_norm.as_ref()?;
    let (spec, letter) = match name {
        "q_norm" => (&norms.q, "q"),
        "k_norm" => (&norms.k, "k"),
        _ => return None,
    };
    let mut input = Source::hook(block.part(&format!("attn.hook_{letter}")));
    if norms.order == NormOrder::AfterRotary {
        input = rotated(attention, clipped(attention, input));
    }
    let name = block.part(&format!("attn.{name}"));
    norm::operation(&spec.norm, &name, short, input)
}

/// Queries or keys as the scores take them, of what hooks before a rotation show.
fn placed(block: &Block<'_>, attention: &AttentionSpec, letter: &str) -> Source {
    let plain = || Source::hook(block.part(&format!("attn.hook_{letter}")));
    let Some(norms) = &attention.qk_norm else {
        return rotated(attention, clipped(attention, plain()));
    };
    let spec = match letter {
        "q" => &norms.q,
        _ => &norms.k,
    };
    let normed = norm::output(&spec.norm, &block.part(&format!("attn.{letter}_norm")));
    match norms.order {
        NormOrder::BeforeRotary => rotated(attention, clipped(attention, normed)),
        NormOrder::AfterRotary => normed,
    }
}

fn clipped(attention: &AttentionSpec, mut x: Source) -> Source {
    if let Some(limit) = attention.clip_qkv {
        x.formula = format!("clip({}, clip_qkv)", x.formula);
        x.parameters.insert("clip_qkv".into(), limit.into());
    }
    x
}

fn rotated(attention: &AttentionSpec, mut x: Source) -> Source {
    let PositionSpec::Rotary(rotary) = &attention.position else {
        return x;
    };
    x.formula = format!("{}, rotated by position_ids", x.formula);
    x.reads.extend(Source::hook(POSITION_IDS).reads);
    let rotary = serde_json::to_value(rotary).unwrap_or_default();
    x.parameters.insert("rotary".into(), rotary);
    x
}

fn scores(block: &Block<'_>, attention: &AttentionSpec) -> Operation {
    let taken = |letter: &str| match attention.position {
        PositionSpec::Rotary(_) => Source::hook(block.part(&format!("attn.hook_rot_{letter}"))),
        _ => placed(block, attention, letter),
    };
    let (q, k) = (taken("q"), taken("k").of_keys());
    let mut formula = format!("scale * q . k, q = {}, k = {}", q.formula, k.formula);
    if attention.softcap.is_some() {
        formula = format!("softcap * tanh(s / softcap), s = {formula}");
    }
    let result = block.part("attn.hook_attn_scores");
    let mut operation = Operation::new(result, "").through(q).through(k);
    match &attention.position {
        PositionSpec::Alibi(alibi) => {
            formula = format!("{formula}, + slope * position of the key");
            operation = operation.with("slopes", &alibi.slopes);
        }
        PositionSpec::RelativeBias(bias) => {
            formula = format!("{formula}, + a bias by distance");
            operation = operation
                .with_weights(block.part("attn.relative_bias"))
                .with("n_buckets", bias.n_buckets)
                .with("max_distance", bias.max_distance);
        }
        PositionSpec::None | PositionSpec::Rotary(_) => {}
    }
    operation.formula = format!("{formula}, -inf where the mask hides the key");
    operation
        .reading_keys(ATTENTION_MASK)
        .with("scale", attention.scale)
        .with("softcap", attention.softcap)
        .with("mask", attention.mask)
}
