//! The steps, each on canonical weights in f64.

use candle_core::D;
use tlbench_sdk::spec::{AttentionSpec, NormKind, NormSpec};

use super::draft::Draft;
use super::in_place;
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
    let gain = draft.get(&format!("{name}.w"))?;
    let shift = draft.get(&format!("{name}.b"))?.unsqueeze(0)?;
    for reader in readers {
        let weight = draft.take(&reader.weight)?;
        if norm.bias.is_some() {
            let shift = shift.broadcast_matmul(&weight)?.squeeze(D::Minus2)?;
            let bias = (draft.get(&reader.bias)? + shift)?;
            draft.set(&reader.bias, bias);
        }
        in_place::scale_inputs(&weight, &gain)?;
        match norm.kind {
            NormKind::LayerNorm => in_place::centre(&weight, D::Minus2)?,
            NormKind::RmsNorm => {}
        }
        draft.set(&reader.weight, weight);
    }
    Ok(())
}

/// Takes the mean over the last dimension out of the weight `name`, if the model has it.
pub(super) fn centre(draft: &mut Draft<'_>, name: &str) -> Result<(), EngineError> {
    if draft.has(name) {
        let weight = draft.take(name)?;
        in_place::centre(&weight, D::Minus1)?;
        draft.set(name, weight);
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
    if !draft.has(&b_v) {
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
    draft.set(&b_o, output);
    draft.set(&b_v, bias.zeros_like()?);
    Ok(())
}
