//! The steps, each on canonical weights in f64.

use candle_core::{Device, Tensor};
use tlbench_sdk::spec::{AttentionSpec, NormKind, NormSpec};

use super::draft::Draft;
use super::exact::Axis;
use super::readers::Linear;
use crate::error::EngineError;

/// Moves the gain and bias of `norm` into what reads it.
///
/// A norm that centres gives every reader an input without a mean, so that the mean of what a reader does to it is
/// without effect, and is taken out. TransformerLens leaves it in `W_gate`; here all readers are treated alike.
pub(super) fn fold_norm(
    draft: &mut Draft<'_>,
    name: &str,
    norm: &NormSpec,
    readers: &[Linear],
) -> Result<(), EngineError> {
    let gain = draft.get(&format!("{name}.w"))?.to_vec1::<f64>()?;
    let shift = draft.get(&format!("{name}.b"))?.to_vec1::<f64>()?;
    for reader in readers {
        if !draft.is_wanted(&reader.weight) && !draft.is_wanted(&reader.bias) {
            continue;
        }
        if norm.bias.is_some() {
            let bias = draft.get(&reader.bias)?;
            let shift = draft.change(&reader.weight)?.applied_to(&shift)?;
            let shift = Tensor::from_vec(shift, bias.shape(), &Device::Cpu)?;
            draft.set(&reader.bias, &(bias + shift)?)?;
        }
        let weight = draft.change(&reader.weight)?;
        weight.scale_inputs(&gain);
        match norm.kind {
            NormKind::LayerNorm => weight.centre(Axis::Input)?,
            NormKind::RmsNorm => {}
        }
    }
    Ok(())
}

/// Takes the mean over the last dimension out of the weight `name`, if the model has it.
pub(super) fn centre(draft: &mut Draft<'_>, name: &str) -> Result<(), EngineError> {
    if draft.has(name) && draft.is_wanted(name) {
        draft.change(name)?.centre(Axis::Output)?;
    }
    Ok(())
}

/// Moves the bias of the values into that of the output: each row of a pattern sums to 1, so every query gets all of it.
pub(super) fn fold_value_bias(
    draft: &mut Draft<'_>,
    name: &str,
    attention: &AttentionSpec,
) -> Result<(), EngineError> {
    let [b_v, w_o, b_o] = ["b_V", "W_O", "b_O"].map(|part| format!("{name}.{part}"));
    if !draft.has(&b_v) || !draft.is_wanted(&b_v) {
        return Ok(());
    }
    let bias = draft.get(&b_v)?;
    let served = attention.n_heads / attention.n_kv_heads.max(1);
    let (kv_heads, d_head) = bias.dims2()?;
    // `[n_heads, d_head, 1]`: each head of values serves consecutive queries.
    let per_query_head = bias
        .unsqueeze(1)?
        .broadcast_as((kv_heads, served, d_head))?
        .reshape((kv_heads * served, d_head, 1))?;
    let moved = draft.get(&w_o)?.broadcast_mul(&per_query_head)?;
    let moved = moved.sum((0, 1))?;
    let output = (draft.get(&b_o)? + moved)?;
    draft.set(&b_o, &output)?;
    draft.set(&b_v, &bias.zeros_like()?)
}
