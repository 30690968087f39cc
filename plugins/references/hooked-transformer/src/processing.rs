//! TransformerLens's weight processing, on canonical weights in f64.
//!
//! A norm that was folded stays, with gain 1 and bias 0: the function is the same, and so are the names. Matrices stay as
//! they are stored, with what is done to their rows and columns.

use candle_core::{D, DType, Device, Tensor};
use tlbench_sdk::spec::{BranchInput, DenseMlp, MlpSpec, NormKind, NormSpec};
use tlbench_sdk::{ModelSpec, Processing, ProcessingStep};

use crate::error::{Error, Result};
use crate::matrix::product;
use crate::parameters::Parameters;
use crate::weight::{Along, Weight};

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
    let mut weight = weights.get(&weight_name)?.clone();
    if let Some(b) = weights.find_exact(&format!("{ln}.b"))? {
        let moved = through(&b, &weight)?;
        let bias = match weights.find_exact(&bias_name)? {
            Some(bias) => (bias + moved)?,
            None => moved,
        };
        weights.set(bias_name, bias);
    }
    if let Some(w) = weights.find_exact(&format!("{ln}.w"))? {
        weight = weight.multiplied(Along::Rows, &w)?;
    }
    // What a centring norm gives has no mean over d_model, so that of a column is never read.
    if norm.kind == NormKind::LayerNorm {
        weight = centered(weight, Along::Columns)?;
    }
    weights.set(weight_name, weight);
    Ok(())
}

/// Leaves the norm `ln` nothing to do but to normalize.
fn unfold_nothing(weights: &mut Parameters, ln: &str) -> Result<()> {
    let (w, b) = (format!("{ln}.w"), format!("{ln}.b"));
    if let Some(gain) = weights.find(&w) {
        let ones = Tensor::ones(gain.dims(), DType::F64, &Device::Cpu)?;
        weights.set(w, ones);
    }
    if let Some(bias) = weights.find(&b) {
        let zeros = Tensor::zeros(bias.dims(), DType::F64, &Device::Cpu)?;
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
        center(weights, name)?;
    }
    Ok(())
}

fn center_unembed(weights: &mut Parameters) -> Result<()> {
    center(weights, "unembed.W_U".to_owned())?;
    center(weights, "unembed.b_U".to_owned())
}

/// The rows of a pattern sum to 1, so what every value has is in every mixture.
fn fold_value_biases(spec: &ModelSpec, weights: &mut Parameters) -> Result<()> {
    for index in 0..spec.layers.len() {
        let name = |part: &str| format!("blocks.{index}.attn.{part}");
        let Some(b_v) = weights.find_exact(&name("b_V"))? else {
            continue;
        };
        let w_o = weights.get(&name("W_O"))?;
        let (kv_heads, d_head) = b_v.dims2()?;
        let served = w_o.dims()[0] / kv_heads;
        // Each head of values serves consecutive heads of queries.
        let of_each_query = b_v
            .unsqueeze(1)?
            .broadcast_as((kv_heads, served, d_head))?
            .reshape((1, kv_heads * served * d_head))?;
        let moved = product(&of_each_query, &w_o.stacked()?)?.squeeze(0)?;
        let b_o = match weights.find_exact(&name("b_O"))? {
            Some(b_o) => (b_o + moved)?,
            None => moved,
        };
        weights.set(name("b_O"), b_o);
        weights.set(name("b_V"), b_v.zeros_like()?);
    }
    Ok(())
}

/// Takes off what the weight `name` has in common over its last dimension, if the model has it.
fn center(weights: &mut Parameters, name: String) -> Result<()> {
    let Some(weight) = weights.find(&name).cloned() else {
        return Ok(());
    };
    if weight.dims().len() == 1 {
        let bias = weights.exact(&name)?;
        weights.set(name, bias.broadcast_sub(&bias.mean_keepdim(D::Minus1)?)?);
    } else {
        weights.set(name, centered(weight, Along::Rows)?);
    }
    Ok(())
}

/// A matrix whose rows, or columns, have no mean.
fn centered(weight: Weight, along: Along) -> Result<Weight> {
    let summed = match along {
        Along::Rows => weight.t()?,
        Along::Columns => weight.clone(),
    };
    let count = summed.dims()[summed.dims().len() - 2];
    let ones = Tensor::ones(count, DType::F64, &Device::Cpu)?;
    let mean = (through(&ones, &summed)? / count as f64)?;
    Ok(weight.lowered(along, &mean)?)
}

/// `vector [in]` times `weight [.., in, out]`: `[.., out]`.
fn through(vector: &Tensor, weight: &Weight) -> Result<Tensor> {
    let mut rows = weight.dims().to_vec();
    rows.pop();
    rows.insert(rows.len() - 1, 1);
    let row = vector.broadcast_as(rows)?.contiguous()?;
    Ok(product(&row, weight)?.squeeze(D::Minus2)?)
}
