//! TransformerLens's weight processing, on canonical weights in f64.
//!
//! A norm that was folded stays, with gain 1 and bias 0: the function is the same, and so are the names.

use candle_core::{D, Tensor};
use tlbench_sdk::spec::{BranchInput, DenseMlp, MlpSpec, NormKind, NormSpec};
use tlbench_sdk::{ModelSpec, Processing, ProcessingStep};

use crate::error::{Error, Result};
use crate::parameters::Parameters;

/// `weights` after every step of `processing`. What a step replaces is let go of.
pub(crate) fn process(
    spec: &ModelSpec,
    mut weights: Parameters,
    processing: &Processing,
) -> Result<Parameters> {
    for step in processing.steps() {
        if let Some(reason) = step.refusal(spec) {
            return Err(Error::Processing { step, reason });
        }
        match step {
            ProcessingStep::FoldLn => fold_ln(spec, &mut weights)?,
            ProcessingStep::CenterWritingWeights => center_writing_weights(spec, &mut weights)?,
            ProcessingStep::CenterUnembed => center_unembed(&mut weights)?,
            ProcessingStep::FoldValueBiases => fold_value_biases(spec, &mut weights)?,
        }
    }
    Ok(weights)
}

fn fold_ln(spec: &ModelSpec, weights: &mut Parameters) -> Result<()> {
    for (index, layer) in spec.layers.iter().enumerate() {
        let block = format!("blocks.{index}");
        let mlp = format!("{block}.mlp");
        if let Some(branch) = &layer.attn
            && let Some(norm) = branch.input_norm()
        {
            let ln = format!("{block}.ln1");
            for letter in ["Q", "K", "V"] {
                fold_into(weights, norm, &ln, &format!("{block}.attn"), letter)?;
            }
            if let Some(sharing) = &layer.mlp
                && sharing.input == BranchInput::SharedNorm
            {
                fold_into_mlp(weights, norm, &ln, &mlp, &sharing.body)?;
            }
            unfold_nothing(weights, &ln)?;
        }
        if let Some(branch) = &layer.mlp
            && let Some(norm) = branch.input_norm()
        {
            let ln = format!("{block}.ln2");
            fold_into_mlp(weights, norm, &ln, &mlp, &branch.body)?;
            unfold_nothing(weights, &ln)?;
        }
    }
    if let Some(norm) = &spec.final_norm {
        fold_into(weights, norm, "ln_final", "unembed", "U")?;
        unfold_nothing(weights, "ln_final")?;
    }
    Ok(())
}

/// Takes the norm `ln` into all that reads the input of `mlp`: a router, and each network's way in.
fn fold_into_mlp(
    weights: &mut Parameters,
    norm: &NormSpec,
    ln: &str,
    mlp: &str,
    body: &MlpSpec,
) -> Result<()> {
    if let MlpSpec::Moe(_) = body {
        fold_into(weights, norm, ln, mlp, "gate")?;
    }
    for (name, network) in networks(mlp, body) {
        fold_into(weights, norm, ln, &name, "in")?;
        if network.gate.is_some() {
            fold_into(weights, norm, ln, &name, "gate")?;
        }
    }
    Ok(())
}

/// The networks of an MLP by name.
fn networks<'a>(mlp: &str, body: &'a MlpSpec) -> Vec<(String, &'a DenseMlp)> {
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

/// Takes gain and bias of the norm `ln` into `component.W_part [.., d_model, out]` that reads it, and its bias `[.., out]`.
fn fold_into(
    weights: &mut Parameters,
    norm: &NormSpec,
    ln: &str,
    component: &str,
    part: &str,
) -> Result<()> {
    let [weight_name, bias_name] = ["W", "b"].map(|kind| format!("{component}.{kind}_{part}"));
    let mut weight = weights.exact(&weight_name)?;
    if let Some(b) = weights.find_exact(&format!("{ln}.b"))? {
        let moved = weight.broadcast_mul(&b.unsqueeze(1)?)?.sum(D::Minus2)?;
        let bias = match weights.find_exact(&bias_name)? {
            Some(bias) => (bias + moved)?,
            None => moved,
        };
        weights.set(bias_name, bias);
    }
    if let Some(w) = weights.find_exact(&format!("{ln}.w"))? {
        weight = weight.broadcast_mul(&w.unsqueeze(1)?)?;
    }
    // What a centring norm gives has no mean over d_model, so that of a column is never read.
    if norm.kind == NormKind::LayerNorm {
        weight = centered(&weight, D::Minus2)?;
    }
    weights.set(weight_name, weight);
    Ok(())
}

/// Leaves the norm `ln` nothing to do but to normalize.
fn unfold_nothing(weights: &mut Parameters, ln: &str) -> Result<()> {
    let (w, b) = (format!("{ln}.w"), format!("{ln}.b"));
    if let Some(gain) = weights.find(&w) {
        let ones = gain.ones_like()?;
        weights.set(w, ones);
    }
    if let Some(bias) = weights.find(&b) {
        let zeros = bias.zeros_like()?;
        weights.set(b, zeros);
    }
    Ok(())
}

fn center_writing_weights(spec: &ModelSpec, weights: &mut Parameters) -> Result<()> {
    let mut writers = vec!["embed.W_E".to_owned(), "pos_embed.W_pos".to_owned()];
    for (index, layer) in spec.layers.iter().enumerate() {
        let block = format!("blocks.{index}");
        writers.extend(["W_O", "b_O"].map(|part| format!("{block}.attn.{part}")));
        let body = layer.mlp.iter().map(|branch| &branch.body);
        for (name, _) in body.flat_map(|body| networks(&format!("{block}.mlp"), body)) {
            writers.extend(["W_out", "b_out"].map(|part| format!("{name}.{part}")));
        }
    }
    for name in writers {
        if let Some(weight) = weights.find_exact(&name)? {
            let weight = centered(&weight, D::Minus1)?;
            weights.set(name, weight);
        }
    }
    Ok(())
}

fn center_unembed(weights: &mut Parameters) -> Result<()> {
    for name in ["unembed.W_U", "unembed.b_U"] {
        if let Some(weight) = weights.find_exact(name)? {
            let weight = centered(&weight, D::Minus1)?;
            weights.set(name, weight);
        }
    }
    Ok(())
}

/// The rows of a pattern sum to 1, so what every value has is in every mixture.
fn fold_value_biases(spec: &ModelSpec, weights: &mut Parameters) -> Result<()> {
    for index in 0..spec.layers.len() {
        let name = |part: &str| format!("blocks.{index}.attn.{part}");
        let Some(b_v) = weights.find_exact(&name("b_V"))? else {
            continue;
        };
        let w_o = weights.exact(&name("W_O"))?;
        let (heads, d_head, d_model) = w_o.dims3()?;
        let kv_heads = b_v.dim(0)?;
        // Each head of values serves consecutive heads of queries.
        let by_value = w_o.reshape((kv_heads, heads / kv_heads, d_head, d_model))?;
        let b_v_column = b_v.reshape((kv_heads, 1, d_head, 1))?;
        let moved = by_value.broadcast_mul(&b_v_column)?.sum((0, 1, 2))?;
        let b_o = match weights.find_exact(&name("b_O"))? {
            Some(b_o) => (b_o + moved)?,
            None => moved,
        };
        weights.set(name("b_O"), b_o);
        weights.set(name("b_V"), b_v.zeros_like()?);
    }
    Ok(())
}

/// Without its mean over `dim`.
fn centered(weight: &Tensor, dim: D) -> Result<Tensor> {
    Ok(weight.broadcast_sub(&weight.mean_keepdim(dim)?)?)
}
