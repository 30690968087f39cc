//! TransformerLens's weight processing, on canonical weights in f64.
//!
//! A norm that was folded stays, with gain 1 and bias 0: the function is the same, and so are the names.

use candle_core::{D, Tensor};
use tlbench_sdk::spec::{BranchInput, MlpSpec, NormKind, NormSpec};
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
        if let Some(branch) = &layer.attn
            && let BranchInput::Norm(norm) = &branch.input
        {
            let ln = format!("{block}.ln1");
            for letter in ["Q", "K", "V"] {
                fold_into(
                    weights,
                    norm,
                    &ln,
                    &format!("{block}.attn.W_{letter}"),
                    &format!("{block}.attn.b_{letter}"),
                )?;
            }
            unfold_nothing(weights, &ln)?;
        }
        if let Some(branch) = &layer.mlp
            && let (BranchInput::Norm(norm), MlpSpec::Dense(_)) = (&branch.input, &branch.body)
        {
            let (ln, mlp) = (format!("{block}.ln2"), format!("{block}.mlp"));
            fold_into(
                weights,
                norm,
                &ln,
                &format!("{mlp}.W_in"),
                &format!("{mlp}.b_in"),
            )?;
            unfold_nothing(weights, &ln)?;
        }
    }
    if let Some(norm) = &spec.final_norm {
        fold_into(weights, norm, "ln_final", "unembed.W_U", "unembed.b_U")?;
        unfold_nothing(weights, "ln_final")?;
    }
    Ok(())
}

/// Takes gain and bias of the norm `ln` into the weight `[.., d_model, out]` that reads it, and its bias `[.., out]`.
fn fold_into(
    weights: &mut Parameters,
    norm: &NormSpec,
    ln: &str,
    weight_name: &str,
    bias_name: &str,
) -> Result<()> {
    let mut weight = weights.get(weight_name)?.clone();
    if let Some(b) = weights.find(&format!("{ln}.b")) {
        let moved = weight.broadcast_mul(&b.unsqueeze(1)?)?.sum(D::Minus2)?;
        let bias = match weights.find(bias_name) {
            Some(bias) => (bias + moved)?,
            None => moved,
        };
        weights.set(bias_name, bias);
    }
    if let Some(w) = weights.find(&format!("{ln}.w")) {
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
    for index in 0..spec.layers.len() {
        let parts = ["attn.W_O", "attn.b_O", "mlp.W_out", "mlp.b_out"];
        writers.extend(parts.map(|part| format!("blocks.{index}.{part}")));
    }
    for name in writers {
        if let Some(weight) = weights.find(&name) {
            let weight = centered(weight, D::Minus1)?;
            weights.set(name, weight);
        }
    }
    Ok(())
}

fn center_unembed(weights: &mut Parameters) -> Result<()> {
    for name in ["unembed.W_U", "unembed.b_U"] {
        if let Some(weight) = weights.find(name) {
            let weight = centered(weight, D::Minus1)?;
            weights.set(name, weight);
        }
    }
    Ok(())
}

/// The rows of a pattern sum to 1, so what every value has is in every mixture.
fn fold_value_biases(spec: &ModelSpec, weights: &mut Parameters) -> Result<()> {
    for index in 0..spec.layers.len() {
        let name = |part: &str| format!("blocks.{index}.attn.{part}");
        let Some(b_v) = weights.find(&name("b_V")).cloned() else {
            continue;
        };
        let w_o = weights.get(&name("W_O"))?;
        let moved = w_o.broadcast_mul(&b_v.unsqueeze(2)?)?.sum((0, 1))?;
        let b_o = match weights.find(&name("b_O")) {
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
